"""Making the mirror anew: the typed rows from the raw logs, or everything from the chain."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import psycopg

from indexer import faults, migrate, schema
from indexer.abi import Log
from indexer.connection import WRITER_LOCK, Connection, connect
from indexer.deployment import Deployment
from indexer.errors import Fatal
from indexer.store import EventWriters, write_events

CORE = frozenset(table.name for table in schema.CORE)
LOGS_PER_PASS = 20_000


def rebuild(database_url: str, deployment: Deployment, *, from_chain: bool, lock_wait_s: float) -> str:
    """Make the chain tables anew in one transaction; returns what was done, in a sentence.

    The typed rows are decoded again from `chain.log` when the raw logs are those of this deployment; else, or with
    `from_chain`, all is emptied and `indexer run` fetches it from the chain. Raises Fatal when an indexer is running.
    """
    with connect(database_url) as connection:
        connection.execute(f"SET LOCAL lock_timeout = {max(1, int(lock_wait_s * 1000))}")
        try:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (WRITER_LOCK,))
        except psycopg.errors.LockNotAvailable:
            raise Fatal("An indexer is running on this database: stop it first") from None
        connection.execute("SET LOCAL lock_timeout = 0")
        found = migrate.present(connection)
        replay = not from_chain and found is not None and found.core == migrate.expected().core
        replay = replay and _is_of(connection, deployment)
        migrate.drop_views(connection)
        migrate.drop_tables(connection, keep=CORE if replay else frozenset())
        if not replay:
            migrate.create_core(connection)
        migrate.create_events(connection)
        count = replay_logs(connection, deployment) if replay else 0
        migrate.create_views(connection)
        faults.point("before rebuild commit")
    if replay:
        return f"{count:,} logs decoded anew from the mirror's own raw logs"
    return "The mirror is empty now; `python -m indexer run` fills it from the chain"


def _is_of(connection: Connection, deployment: Deployment) -> bool:
    """Whether the raw logs are those of this deployment's contracts."""
    row = connection.execute("SELECT chain_id, genesis_hash, contracts FROM chain.cursor").fetchone()
    return row == (deployment.chain_id, deployment.genesis_hash, deployment.addresses())


def raw_logs(connection: Connection) -> Iterator[Log]:
    """All raw logs in the order of the chain, without holding them in memory. Needs a transaction."""
    with connection.cursor(name="raw_logs", binary=True) as cursor:
        cursor.itersize = LOGS_PER_PASS
        cursor.execute(
            "SELECT block_number, log_index, tx_hash, address, topics, data FROM chain.log"
            " ORDER BY block_number, log_index"
        )
        for row in cursor:
            yield Log(*row)


def replay_logs(connection: Connection, deployment: Deployment) -> int:
    """Write the typed rows of all raw logs; returns their number."""
    writers = EventWriters(deployment)
    times: dict[int, int] = dict(
        connection.execute("SELECT number, time FROM chain.block WHERE log_count > 0").fetchall()
    )
    logs = raw_logs(connection)
    count = 0
    while some := list(islice(logs, LOGS_PER_PASS)):
        write_events(connection, writers, some, times)
        count += len(some)
    return count
