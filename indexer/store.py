"""The mirror's writes: one transaction a step, whose cursor moves with its rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from itertools import groupby, islice
from struct import Struct
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from indexer import abi, faults, migrate, notify, schema, views
from indexer.abi import Decode, Event, Log
from indexer.chain import Header, Segment
from indexer.connection import WRITER_LOCK, Connection, connect
from indexer.deployment import Contract, Deployment
from indexer.derived import DERIVED, Row
from indexer.errors import Fatal, Retryable, StaleMirror

GENESIS_DIGEST = bytes(32)
LOGS_PER_PASS = 20_000
LOGS_PER_FETCH = 2_000
LOGS_PER_GAP_PASS = 2_000
BLOCKS_PER_PASS = 10_000
GAP_LOG = replace(schema.LOG, name="gap_log", schema="pg_temp")
GAP_BLOCK = replace(schema.BLOCK, name="gap_block", schema="pg_temp")
"""Where the past of new contracts is laid aside until all of it is there."""


@dataclass(frozen=True)
class Cursor:
    """How far the mirror is. `head` is the last mirrored block, `final` the last one that is final."""

    start_block: int
    start_parent: bytes
    head_number: int
    head_hash: bytes
    head_time: int
    final_number: int
    log_count: int
    digest: bytes


_log_head = Struct(">qi32s20si").pack
_size_of = Struct(">i").pack


def log_bytes(log: Log) -> bytes:
    """A log as the digest takes it: fixed-width fields first, each variable one after its length."""
    number, index, tx_hash, address, topics, data = log
    return b"".join((_log_head(number, index, tx_hash, address, len(topics)), topics, _size_of(len(data)), data))


def next_digest(digest: bytes, block_hash: bytes, logs: Iterable[Log]) -> bytes:
    """The mirror's digest after a block with logs: sha256(digest before, block's hash, sha256(its logs))."""
    inner = hashlib.sha256()
    for log in logs:
        inner.update(log_bytes(log))
    return hashlib.sha256(digest + block_hash + inner.digest()).digest()


@dataclass(frozen=True)
class _EventWriter:
    event: Event
    table: schema.Table
    derived: schema.Table | None
    """What takes the rows made from its rows, where some are."""

    @property
    def decode(self) -> Decode:
        """The event's decoder, compiled when its first log comes."""
        return _decoder(self.event.contract, self.event.name)


@cache
def _decoder(contract: str, name: str) -> Decode:
    return abi.compile_decoder(next(event for event in abi.contracts()[contract] if event.name == name))


class EventWriters:
    """Decoders and tables of every event of the deployment, found by (address, first topic).

    `tables` gives, for each typed table, the one that takes its rows instead.
    """

    def __init__(self, deployment: Deployment, tables: Mapping[str, schema.Table] | None = None) -> None:
        self._by_topic: dict[tuple[bytes, bytes], _EventWriter] = {}
        for contract in deployment.contracts:
            for event in abi.contracts()[contract.name]:
                key = contract.name, event.name
                table = schema.events()[key]
                made = DERIVED[key][0] if key in DERIVED else None
                if tables:
                    table, made = tables[table.name], made and tables[made.name]
                self._by_topic[contract.address, event.topic] = _EventWriter(event, table, made)

    def rows(self, logs: Iterable[Log], times: Mapping[int, int]) -> Iterator[tuple[Event, schema.Table, list[Row]]]:
        """The typed rows of logs, table by table; a row begins with its table's key. Raises AbiMismatch.

        Logs of events that the ABI does not have stay in `chain.log` alone.
        """
        for writer, found in self._group(logs):
            rows = writer.decode(found, times)
            yield writer.event, writer.table, rows
            if writer.derived is not None:
                _, make = DERIVED[writer.event.contract, writer.event.name]
                yield writer.event, writer.derived, [made for row in rows for made in make(row)]

    def _group(self, logs: Iterable[Log]) -> list[tuple[_EventWriter, list[Log]]]:
        groups: dict[tuple[bytes, bytes], list[Log]] = {}
        for log in logs:
            key = (log[3], log[4][:32])
            if key in groups:
                groups[key].append(log)
            else:
                groups[key] = [log]
        return [(self._by_topic[key], found) for key, found in groups.items() if key in self._by_topic]


def copy_rows(connection: Connection, statement: bytes, types: Sequence[str], rows: Iterable[Any]) -> None:
    """COPY rows in binary form."""
    with connection.cursor().copy(statement) as copy:
        copy.set_types(types)
        write = copy.write_row
        for row in rows:
            write(row)


COPY_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_END = b"\xff\xff"
COPY_BYTES = 1 << 18
_fixed_fields = Struct(">hiqiii32si20si").pack


def copy_logs(connection: Connection, logs: Iterable[Log]) -> None:
    """COPY raw logs as `copy_rows` does, packed here: half of its time, and few waits for the server.

    The form is that of PostgreSQL's manual, COPY, binary format: of each row the number of fields, of each field its
    size and its bytes.
    """
    with connection.cursor().copy(schema.LOG.copy) as copy:
        parts = [COPY_HEAD]
        size = 0
        for number, index, tx_hash, address, topics, data in logs:
            words = len(topics)
            parts += (
                _fixed_fields(6, 8, number, 4, index, 32, tx_hash, 20, address, words),
                topics,
                _size_of(len(data)),
                data,
            )
            size += 120 + words + len(data)
            if size > COPY_BYTES:
                copy.write(b"".join(parts))
                parts, size = [], 0
        copy.write(b"".join([*parts, COPY_END]))


def write_events(
    connection: Connection, writers: EventWriters, logs: Iterable[Log], times: Mapping[int, int]
) -> list[str]:
    """Write the typed rows of logs; returns the names of their events. Raises AbiMismatch."""
    names: dict[str, None] = {}
    for event, table, rows in writers.rows(logs, times):
        faults.point("mid decode")
        copy_rows(connection, table.copy, table.kinds, rows)
        names[f"{event.contract}.{event.name}"] = None
    return list(names)


def raw_logs(connection: Connection, first: int = 0, *, table: str = "chain.log") -> Iterator[Log]:
    """The raw logs from block `first` on, in the order of the chain, not all in memory. Needs a transaction."""
    with connection.cursor(name="raw_logs", binary=True) as cursor:
        cursor.itersize = LOGS_PER_FETCH
        cursor.execute(
            f"SELECT block_number, log_index, tx_hash, address, topics, data FROM {table} WHERE block_number >= %s"
            " ORDER BY block_number, log_index".encode(),
            (first,),
        )
        for row in cursor:
            yield Log(*row)


def digests_anew(connection: Connection, first: int) -> bytes:
    """Write log count and digest of every block from `first` on anew, from the raw logs; returns the last digest."""
    before = connection.execute(
        "SELECT digest FROM chain.block WHERE number < %s ORDER BY number DESC LIMIT 1", (first,)
    ).fetchone()
    digest: bytes = before[0] if before else GENESIS_DIGEST
    by_block = groupby(raw_logs(connection, first), key=lambda log: log.block_number)
    number, logs = next(by_block, (None, iter(())))
    while blocks := connection.execute(
        "SELECT number, hash FROM chain.block WHERE number >= %s ORDER BY number LIMIT %s", (first, BLOCKS_PER_PASS)
    ).fetchall():
        changed = []
        for block, block_hash in blocks:
            count = 0
            if block == number:
                found = list(logs)
                count, digest = len(found), next_digest(digest, block_hash, found)
                number, logs = next(by_block, (None, iter(())))
            changed.append((count, digest, block))
        connection.cursor().executemany("UPDATE chain.block SET log_count = %s, digest = %s WHERE number = %s", changed)
        first = blocks[-1][0] + 1
    return digest


class Store:
    """The one writer of schema `chain`. Holds an advisory lock for as long as it is open."""

    _undo_columns = schema.undo_columns()

    def __init__(self, database_url: str, deployment: Deployment, *, lock_wait_s: float) -> None:
        self._url = database_url
        self._deployment = deployment
        self._lock_wait_s = lock_wait_s
        self._writers = EventWriters(deployment)
        self._connection: Connection | None = None
        self._backend: tuple[int, datetime] | None = None
        """The server's process behind the latest connection, and when it began."""
        self.unmirrored: tuple[Contract, ...] = ()
        """Contracts of the manifest whose logs the mirror does not have: see `fill`."""

    def open(self) -> Cursor | None:
        """Connect, take the writer's lock and read the cursor; None for a mirror that has not begun.

        Raises Fatal when another writer holds the lock or the mirror is not this deployment's, Retryable when the
        database does not answer.
        """
        self.close()
        connection = connect(self._url, autocommit=True)
        self._connection = connection
        with self._failures():
            self._end_previous(connection)
            self._lock(connection)
            migrate.require_current(connection)
            return self._read_cursor(connection)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def is_open(self) -> bool:
        return self._connection is not None and not self._connection.closed

    @property
    def connection(self) -> Connection:
        """The writer's connection. Raises Retryable when it is lost."""
        return self._open_connection()

    def _open_connection(self) -> Connection:
        if self._connection is None:
            raise Retryable("The connection to the database is lost")
        return self._connection

    def _end_previous(self, connection: Connection) -> None:
        """End our own former connection at the server, which may not know that it is cut and would keep the lock."""
        if self._backend is not None:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE (pid, backend_start) = (%s, %s)",
                self._backend,
            )
        self._backend = connection.execute(
            "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        ).fetchone()

    def _lock(self, connection: Connection) -> None:
        wait_ms = max(1, int(self._lock_wait_s * 1000))
        connection.execute(f"SET lock_timeout = {wait_ms}")
        try:
            connection.execute("SELECT pg_advisory_lock(%s)", (WRITER_LOCK,))
        except psycopg.errors.LockNotAvailable:
            self.close()
            raise Fatal(
                "Another indexer writes this database: stop it first, or run this one on a database of its own"
            ) from None
        connection.execute("SET lock_timeout = 0")

    def _read_cursor(self, connection: Connection) -> Cursor | None:
        row = connection.execute(
            "SELECT chain_id, genesis_hash, contracts, start_block, start_parent, head_number, head_hash, head_time,"
            " final_number, log_count, digest FROM chain.cursor"
        ).fetchone()
        if row is None:
            return None
        chain_id, genesis, contracts, *rest = row
        cursor = Cursor(*rest)
        expected = self._deployment
        known = expected.extends(chain_id, genesis, contracts)
        mirrored = [each for each in expected.contracts if each.name in contracts]
        if not known or any(max(1, each.block) < cursor.start_block for each in mirrored):
            raise StaleMirror(f"The mirror is of another deployment than the manifest's: {migrate.REMEDY}")
        self.unmirrored = tuple(each for each in expected.contracts if each.name not in contracts)
        return cursor

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Turn the database's errors into ours. After any of them the cursor must be read anew."""
        try:
            yield
        except psycopg.IntegrityError as error:
            self.close()
            raise Fatal(
                f"The chain tables hold rows that the cursor does not know of ({error.diag.message_primary}):"
                f" something else wrote there; {migrate.REMEDY}"
            ) from error
        except psycopg.errors.DiskFull as error:
            self.close()
            raise Retryable(
                "The database's disk is full: make room there, and the mirror goes on by itself"
                f" ({error.diag.message_primary})"
            ) from error
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            self.close()
            raise Retryable(f"The database failed: {str(error).strip()}") from error
        except psycopg.Error as error:
            self.close()
            raise Fatal(f"The database refuses: {str(error).strip()}") from error

    failures = _failures

    def begin(self, parent: Header) -> Cursor:
        """Write the first cursor: nothing is mirrored yet, and the deployment's first block follows `parent`.

        The indexes behind the views go: made at once when the head is reached (`index`), they cost a third of what
        they cost row by row. After that they stay.
        """
        connection = self._open_connection()
        expected = self._deployment
        with self._failures(), connection.transaction():
            for name in views.indexes():
                connection.execute(f"DROP INDEX IF EXISTS chain.{name}".encode())
            connection.execute(
                "INSERT INTO chain.cursor (id, chain_id, genesis_hash, contracts, start_block, start_parent,"
                " head_number, head_hash, head_time, final_number, log_count, digest)"
                " VALUES (1, %s, %s, %s, %s, %s, %s, %s, %s, %s, 0, %s)",
                (
                    expected.chain_id,
                    expected.genesis_hash,
                    Jsonb(expected.addresses()),
                    expected.start_block,
                    parent.hash,
                    parent.number,
                    parent.hash,
                    parent.time,
                    0,
                    GENESIS_DIGEST,
                ),
            )
            cursor = self._read_cursor(connection)
        if cursor is None:
            raise Fatal("The cursor that was just written is gone: something else writes schema chain")
        return cursor

    def index(self) -> None:
        """Make the indexes behind the views where they are missing."""
        connection = self._open_connection()
        with self._failures(), connection.transaction():
            there = {
                name for (name,) in connection.execute("SELECT indexname FROM pg_indexes WHERE schemaname = 'chain'")
            }
            for name, statement in views.indexes().items():
                if name not in there:
                    connection.execute(statement.encode())

    def append(self, cursor: Cursor, segment: Segment, final: int) -> Cursor:
        """Write a segment that follows `cursor`, in one transaction; returns the new cursor.

        Raises Retryable when the database failed (whether it committed is unknown: read the cursor again), Fatal when
        another writer was here.
        """
        connection = self._open_connection()
        by_block: dict[int, list[Log]] = {}
        for log in segment.logs:
            by_block.setdefault(log.block_number, []).append(log)
        digest = cursor.digest
        blocks = []
        last = segment.last
        final = self._final(cursor, last.number, final)
        settled = self.settled(final)
        for header in segment.headers:
            found = by_block.get(header.number)
            if found:
                digest = next_digest(digest, header.hash, found)
            if found or header.number > settled or header is last:
                count = len(found) if found else 0
                blocks.append((header.number, header.hash, header.parent, header.time, count, digest))
        moved = replace(
            cursor,
            head_number=last.number,
            head_hash=last.hash,
            head_time=last.time,
            final_number=final,
            log_count=cursor.log_count + len(segment.logs),
            digest=digest,
        )
        with self._failures():
            with connection.transaction():
                copy_rows(connection, schema.BLOCK.copy, schema.BLOCK.kinds, blocks)
                names: list[str] = []
                if segment.logs:
                    copy_logs(connection, segment.logs)
                    faults.point("raw logs written")
                    times = {header.number: header.time for header in segment.headers}
                    names = write_events(connection, self._writers, segment.logs, times)
                faults.point("rows written")
                self._move(connection, cursor, moved)
                self._prune(connection, moved)
                notify.blocks(connection, segment.first.number, last, moved.final_number, names)
                faults.point("before commit")
            faults.point("after commit")
        return moved

    def stage(self, cursor: Cursor, segments: Iterable[Segment]) -> None:
        """Lay segments of the `unmirrored` contracts aside as they come, for `fill`: no more than one is in memory.

        They are laid in tables of this connection, which are gone with it. Blocks are kept as `append` keeps them.
        """
        connection = self._open_connection()
        settled = self.settled(cursor.final_number)
        with self._failures():
            for table in (GAP_LOG, GAP_BLOCK):
                connection.execute(f"DROP TABLE IF EXISTS pg_temp.{table.name}".encode())
            connection.execute(b"CREATE TEMPORARY TABLE gap_log (LIKE chain.log)")
            connection.execute(b"CREATE TEMPORARY TABLE gap_block (LIKE chain.block)")
        for segment in segments:
            with_logs = {log.block_number for log in segment.logs}
            kept = [each for each in segment.headers if each.number in with_logs or each.number > settled]
            with self._failures(), connection.transaction():
                copy_rows(connection, GAP_LOG.copy, GAP_LOG.kinds, segment.logs)
                copy_rows(connection, GAP_BLOCK.copy, GAP_BLOCK.kinds, [(*each[:4], 0, b"") for each in kept])

    def fill(self, cursor: Cursor, before: Header | None) -> Cursor:
        """Add what was staged: all logs of the `unmirrored` contracts up to the cursor's head, in one transaction.

        With `before` the mirror begins with the block that follows it. The digests from the first block with such a log
        on are made anew from the raw logs.
        """
        connection = self._open_connection()
        with self._failures():
            with connection.transaction():
                connection.execute(b"DELETE FROM chain.reindex")  # its digests are from before these logs
                ((others,),) = connection.execute(
                    b"SELECT count(*) FROM pg_temp.gap_block g JOIN chain.block b USING (number) WHERE g.hash <> b.hash"
                ).fetchall()
                if others:
                    raise Retryable(f"{others} blocks came with other hashes than the mirror's: the chain changed")
                connection.execute(b"INSERT INTO chain.log SELECT * FROM pg_temp.gap_log")
                connection.execute(b"INSERT INTO chain.block SELECT * FROM pg_temp.gap_block ON CONFLICT DO NOTHING")
                count = self._decode_staged(connection)
                ((first,),) = connection.execute("SELECT min(number) FROM pg_temp.gap_block").fetchall()
                digest = cursor.digest if first is None else digests_anew(connection, first)
                moved = replace(cursor, log_count=cursor.log_count + count, digest=digest)
                self._move(connection, cursor, moved)
                if before is not None:
                    moved = replace(moved, start_block=before.number + 1, start_parent=before.hash)
                notify.contracts(connection, [each.name for each in self.unmirrored])
                connection.execute(
                    "UPDATE chain.cursor SET contracts = %s, start_block = %s, start_parent = %s",
                    (Jsonb(self._deployment.addresses()), moved.start_block, moved.start_parent),
                )
                connection.execute(b"DROP TABLE pg_temp.gap_log, pg_temp.gap_block")
                faults.point("before fill commit")
            faults.point("after fill")
        self.unmirrored = ()
        return moved

    def _decode_staged(self, connection: Connection) -> int:
        """Write the typed rows of the staged logs, some at a time; their number."""
        count = 0
        logs = raw_logs(connection, table="pg_temp.gap_log")
        while some := list(islice(logs, LOGS_PER_GAP_PASS)):
            times: dict[int, int] = dict(
                connection.execute(
                    "SELECT number, time FROM pg_temp.gap_block WHERE number BETWEEN %s AND %s",
                    (some[0].block_number, some[-1].block_number),
                ).fetchall()
            )
            write_events(connection, self._writers, some, times)
            count += len(some)
        return count

    def set_final(self, cursor: Cursor, final: int) -> Cursor:
        """Note that more of the mirrored blocks are final, while the head stays."""
        moved = replace(cursor, final_number=self._final(cursor, cursor.head_number, final))
        connection = self._open_connection()
        with self._failures(), connection.transaction():
            self._move(connection, cursor, moved)
            self._prune(connection, moved)
            notify.final(connection, moved.final_number)
        return moved

    def _final(self, cursor: Cursor, head: int, final: int) -> int:
        """The final block among the mirrored ones; it never goes back but where anything may be reorganised."""
        final = min(final, head)
        return final if self._deployment.development else max(final, cursor.final_number)

    def settled(self, final: int) -> int:
        """The last block that cannot be replaced; on the development chain none is safe."""
        return 0 if self._deployment.development else final

    def _prune(self, connection: Connection, cursor: Cursor) -> None:
        """Forget blocks without logs that cannot be replaced any more, the head apart."""
        connection.execute(
            "DELETE FROM chain.block WHERE log_count = 0 AND number <= %s AND number < %s",
            (self.settled(cursor.final_number), cursor.head_number),
        )

    def _move(self, connection: Connection, old: Cursor, new: Cursor) -> None:
        """Compare and set the cursor. Raises Fatal when it is not where we left it."""
        done = connection.execute(
            "UPDATE chain.cursor SET head_number = %s, head_hash = %s, head_time = %s, final_number = %s,"
            " log_count = %s, digest = %s, updated_at = now()"
            " WHERE head_number = %s AND head_hash = %s AND digest = %s",
            (
                new.head_number,
                new.head_hash,
                new.head_time,
                new.final_number,
                new.log_count,
                new.digest,
                old.head_number,
                old.head_hash,
                old.digest,
            ),
        )
        if done.rowcount != 1:
            raise Fatal("The cursor was moved by somebody else: only one indexer may write schema chain")

    def known_block(self, below: int, skip: int) -> tuple[int, bytes] | None:
        """Number and hash of the block that is `skip` rows below the highest mirrored one not above `below`."""
        with self._failures():
            row = (
                self._open_connection()
                .execute(
                    "SELECT number, hash FROM chain.block WHERE number <= %s ORDER BY number DESC LIMIT 1 OFFSET %s",
                    (below, skip),
                )
                .fetchone()
            )
        return None if row is None else (row[0], row[1])

    def undo(self, cursor: Cursor, ancestor: Header) -> Cursor:
        """Take back every row of the blocks above `ancestor`, in one transaction; returns the new cursor.

        `ancestor` is a mirrored block, or the one before the first. The statements come from the metadata: a table that
        holds a block's rows cannot be forgotten.
        """
        connection = self._open_connection()
        with self._failures():
            with connection.transaction():
                removed = 0
                for table, column in self._undo_columns.items():
                    statement = sql.SQL("DELETE FROM chain.{} WHERE {} > %s")
                    done = connection.execute(
                        statement.format(sql.Identifier(table), sql.Identifier(column)), (ancestor.number,)
                    )
                    if table == schema.LOG.name:
                        removed = done.rowcount
                    faults.point("mid undo")
                row = connection.execute("SELECT digest FROM chain.block ORDER BY number DESC LIMIT 1").fetchone()
                moved = replace(
                    cursor,
                    head_number=ancestor.number,
                    head_hash=ancestor.hash,
                    head_time=ancestor.time,
                    final_number=min(cursor.final_number, ancestor.number),
                    log_count=cursor.log_count - removed,
                    digest=row[0] if row else GENESIS_DIGEST,
                )
                self._move(connection, cursor, moved)
                connection.execute(
                    "INSERT INTO chain.reorganisation (first_block, old_head_number, old_head_hash)"
                    " VALUES (%s, %s, %s)",
                    (ancestor.number + 1, cursor.head_number, cursor.head_hash),
                )
                notify.undo(connection, ancestor.number + 1)
                faults.point("before undo commit")
            faults.point("after undo")
        return moved
