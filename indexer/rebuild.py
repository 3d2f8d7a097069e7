"""Making the mirror anew: the typed rows from the raw logs, or everything from the chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice

import psycopg

from indexer import faults, migrate, notify, schema
from indexer.connection import WRITER_LOCK, Connection, connect
from indexer.deployment import Deployment
from indexer.errors import Fatal
from indexer.store import LOGS_PER_PASS, EventWriters, raw_logs, write_events

CORE = frozenset(table.name for table in schema.CORE)
BESIDE = "new_"


def rebuild(database_url: str, deployment: Deployment, *, from_chain: bool, lock_wait_s: float) -> str:
    """Make the chain tables anew in one transaction; returns what was done, in a sentence.

    The typed rows are decoded again from `chain.log` when the raw logs are those of this deployment, into tables beside
    the old ones, which readers have until the end; else, or with `from_chain`, all is emptied and `indexer run` fetches
    it from the chain. Raises Fatal when an indexer is running.
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
        if replay and _is_of(connection, deployment):
            return _beside(connection, deployment)
        told = notify.last_id(connection) if schema.OUTBOX.name in migrate.tables(connection) else 0
        migrate.drop_views(connection)
        migrate.drop_tables(connection)
        migrate.create_core(connection)
        migrate.create_events(connection)
        migrate.create_views(connection)
        notify.rebuilt(connection, told)
        faults.point("before rebuild commit")
    return "The mirror is empty now; `python -m indexer run` fills it from the chain"


def _beside(connection: Connection, deployment: Deployment) -> str:
    """Decode all raw logs into new tables while the old ones are read, compare them, and swap.

    Raises Fatal when the raw logs are not as many as were mirrored: rows would be lost that `reindex` can mend.
    """
    new = {table.name: replace(table, name=BESIDE + table.name) for table in schema.typed()}
    for table in new.values():
        for statement in table.ddl():
            connection.execute(statement.encode())
    count = replay_logs(connection, deployment, new)
    ((mirrored,),) = connection.execute("SELECT log_count FROM chain.cursor").fetchall()
    if count != mirrored:
        raise Fatal(
            f"{mirrored:,} logs were mirrored and {count:,} are kept: `python -m indexer reindex` fetches them again."
            " Nothing was changed"
        )
    there = migrate.tables(connection) - CORE - {table.name for table in new.values()}
    differing = []
    for name, table in new.items():
        before = rows_digest(connection, name) if name in there else None
        after = rows_digest(connection, table.name)
        if before != after:
            differing.append(f"{name} ({'not there' if before is None else f'{before[0]:,} rows'}, now {after[0]:,})")
    migrate.drop_views(connection)
    migrate.drop_tables(connection, keep=CORE | {table.name for table in new.values()})
    faults.point("mid swap")
    for name, table in new.items():
        connection.execute(f"ALTER TABLE chain.{table.name} RENAME TO {name}".encode())
        connection.execute(f"ALTER INDEX chain.{table.name}_pkey RENAME TO {name}_pkey".encode())
    migrate.create_views(connection)
    faults.point("before rebuild commit")
    verdict = "differing from before: " + ", ".join(differing) if differing else "every table is as it was before"
    return f"{count:,} logs decoded anew from the mirror's own raw logs; {verdict}"


def rows_digest(connection: Connection, table: str) -> tuple[int, int]:
    """How many rows a table has, and a hash of them that does not depend on their order."""
    statement = f"SELECT count(*), coalesce(bit_xor(hashtextextended(t::text, 0)), 0) FROM chain.{table} t"
    ((count, digest),) = connection.execute(statement.encode()).fetchall()
    return count, digest


def _is_of(connection: Connection, deployment: Deployment) -> bool:
    """Whether the raw logs are those of this deployment's contracts, or of some of them."""
    row = connection.execute("SELECT chain_id, genesis_hash, contracts FROM chain.cursor").fetchone()
    return row is not None and deployment.extends(*row)


def replay_logs(connection: Connection, deployment: Deployment, tables: Mapping[str, schema.Table]) -> int:
    """Write the typed rows of all raw logs into `tables` (event table -> the one that takes its rows); their number."""
    writers = EventWriters(deployment, tables)
    times: dict[int, int] = dict(
        connection.execute("SELECT number, time FROM chain.block WHERE log_count > 0").fetchall()
    )
    logs = raw_logs(connection)
    count = 0
    while some := list(islice(logs, LOGS_PER_PASS)):
        write_events(connection, writers, some, times)
        count += len(some)
        faults.point("mid rebuild")
    return count
