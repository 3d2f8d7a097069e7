"""Fetching and decoding again, from a block on, what the mirror has: what differs is named and put right.

One pass, a range of blocks a transaction; how far it is stands in `chain.reindex`, so that a pass that was broken off
goes on where it stopped. The indexer must not be running. Between two ranges the mirror is whole but for what is still
to be put right, and the digests of blocks above a difference, which the end of the pass makes good.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from psycopg.types.json import Jsonb

from indexer import faults, notify, schema
from indexer.abi import Log
from indexer.chain import Chain, Header, Segment
from indexer.connection import Connection
from indexer.deployment import Deployment
from indexer.errors import Fatal, Retryable
from indexer.fetch import Prefetcher, RangeSize
from indexer.nodes import Nodes
from indexer.store import GENESIS_DIGEST, Cursor, EventWriters, Store, copy_rows, next_digest

RANGES_AHEAD = 2
NAMED = 1_000
"""Differences that are named; more are counted."""

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Pass:
    """How far a pass is: all blocks from `first` to before `next` are as the chain has them."""

    first: int
    next: int
    at_hash: bytes
    """Of the block before `next`."""
    digest: bytes
    """Of the mirror up to and with that block."""
    digest_before: bytes
    """Of the whole mirror, when the pass began."""
    logs: int = 0
    wrong: int = 0
    findings: tuple[str, ...] = ()

    def found(self, some: Iterable[str]) -> Pass:
        """With these differences, too."""
        told = list(some)
        return replace(self, wrong=self.wrong + len(told), findings=(*self.findings, *told)[:NAMED])


@dataclass(frozen=True)
class Outcome:
    """What a pass found in blocks `first` to `last`. Digests are of the whole mirror."""

    first: int
    last: int
    logs: int
    wrong: int
    """Rows that differed."""
    findings: tuple[str, ...]
    digest_before: bytes
    digest_after: bytes

    @property
    def right(self) -> bool:
        """Whether the mirror was as the chain is."""
        return not self.wrong and self.digest_before == self.digest_after


def reindex(
    store: Store,
    deployment: Deployment,
    nodes: Nodes,
    *,
    first: int | None,
    range_bytes: int,
    report: Callable[[Pass, Cursor], None] = lambda *_: None,
) -> Outcome:
    """Fetch again all from block `first` on (the mirror's first if None), and put right what differs.

    A pass from the same block that was broken off goes on; `report` hears of each range. Raises Fatal when the mirror
    has no such block or lacks a contract, Retryable when the chain changes meanwhile.
    """
    cursor = store.open()
    if cursor is None:
        raise Fatal("The mirror is empty: run `python -m indexer run` first")
    if store.unmirrored:
        raise Fatal(f"The mirror lacks {store.unmirrored[0].name}: run `python -m indexer run --once` first")
    first = cursor.start_block if first is None else first
    if not cursor.start_block <= first <= cursor.head_number:
        raise Fatal(
            f"The mirror has blocks {cursor.start_block:,} to {cursor.head_number:,}: --from must be one of them,"
            f" not {first:,}"
        )
    chain = Chain(nodes, deployment)
    chain.check()
    connection = store.connection
    done = _begun(connection, chain, cursor, first)
    size = RangeSize(range_bytes)
    writers, settled = EventWriters(deployment), store.settled(cursor.final_number)
    if done.next <= cursor.head_number:
        again = Chain(nodes.again(), deployment)
        with Prefetcher(again, done.next, cursor.head_number, size, range_bytes * RANGES_AHEAD) as segments:
            for segment in segments:
                if segment.first.parent != done.at_hash:
                    raise Retryable("the chain changed while its logs were fetched again")
                _still(chain, cursor, segment.last)
                done = _put_right(connection, writers, cursor, done, segment, settled=settled)
                faults.point("mid reindex")
                report(done, cursor)
    return _finish(connection, cursor, done)


def _begun(connection: Connection, chain: Chain, cursor: Cursor, first: int) -> Pass:
    """The pass from `first` that was broken off, if the chain still has what it reached; else a new one.

    Raises Retryable when the chain has replaced the mirror's head.
    """
    head = chain.header(cursor.head_number)
    if head is None or head.hash != cursor.head_hash:
        raise Retryable(
            f"the chain has replaced the mirror's head (block {cursor.head_number:,}): let the indexer follow first, by"
            " `python -m indexer run --once`"
        )
    row = connection.execute(
        "SELECT first_block, next_block, at_hash, digest, digest_before, logs, wrong, findings FROM chain.reindex"
    ).fetchone()
    if row is not None:  # what a pass that was broken off put right must end in a right digest, too
        first = min(first, row[0])
    if row is not None and row[0] == first and row[1] <= cursor.head_number + 1:
        facts = dict(zip(("first", "next", "at_hash", "digest", "digest_before", "logs", "wrong"), row, strict=False))
        kept = Pass(**facts, findings=tuple(row[-1]))
        at = chain.header(kept.next - 1)
        if at is not None and at.hash == kept.at_hash:
            return replace(kept, digest_before=cursor.digest)
    before = chain.header(first - 1)
    if before is None:
        raise Retryable(f"{chain.rpc.node} does not show block {first - 1:,}")
    stored = connection.execute(
        "SELECT digest FROM chain.block WHERE number < %s ORDER BY number DESC LIMIT 1", (first,)
    ).fetchone()
    return Pass(first, first, before.hash, stored[0] if stored else GENESIS_DIGEST, cursor.digest)


def _still(chain: Chain, cursor: Cursor, last: Header) -> None:
    """Raise Retryable unless the mirror's head and the range that was read before are on the chain together."""
    for number, block_hash in ((cursor.head_number, cursor.head_hash), (last.number, last.hash)):
        header = chain.header(number)
        if header is None or header.hash != block_hash:
            raise Retryable("the chain changed while its logs were fetched again")


def _put_right(
    connection: Connection, writers: EventWriters, cursor: Cursor, done: Pass, segment: Segment, *, settled: int
) -> Pass:
    """Hold a range against the mirror's rows, replace the tables' rows that differ, and note how far the pass is."""
    between = segment.first.number, segment.last.number
    wanted: dict[str, dict[Row, Row]] = {}

    def want(table: schema.Table, rows: Iterable[Row]) -> None:
        wanted.setdefault(table.name, {}).update((tuple(row[: len(table.key)]), tuple(row)) for row in rows)

    want(schema.LOG, segment.logs)
    for _, table, rows in writers.rows(segment.logs, {header.number: header.time for header in segment.headers}):
        want(table, rows)
    by_block: dict[int, list[Log]] = {}
    for log in segment.logs:
        by_block.setdefault(log.block_number, []).append(log)
    digest = done.digest
    with connection.transaction():
        stored = _stored(connection, schema.BLOCK, between)
        for header in segment.headers:
            number, found = header.number, by_block.get(header.number, [])
            if found:
                digest = next_digest(digest, header.hash, found)
            if found or number > settled or number == cursor.head_number or (number,) in stored:
                want(schema.BLOCK, [(number, header.hash, header.parent, header.time, len(found), digest)])
        moved = replace(
            done, next=between[1] + 1, at_hash=segment.last.hash, digest=digest, logs=done.logs + len(segment.logs)
        )
        for table in (schema.LOG, *schema.typed(), schema.BLOCK):
            for finding, follows in _replace(connection, table, between, wanted.get(table.name, {})):
                moved = moved.found([] if follows and moved.wrong else [finding])
        _keep(connection, moved)
    return moved


def _stored(connection: Connection, table: schema.Table, between: tuple[int, int]) -> dict[Row, Row]:
    """A table's rows of some blocks, by key."""
    rows = connection.execute(
        f"SELECT * FROM chain.{table.name} WHERE {table.undo} BETWEEN %s AND %s".encode(), between
    )
    found = (tuple(int(value) if hasattr(value, "as_tuple") else value for value in row) for row in rows)
    return {row[: len(table.key)]: row for row in found}


def _replace(
    connection: Connection, table: schema.Table, between: tuple[int, int], wanted: dict[Row, Row]
) -> list[tuple[str, bool]]:
    """Make a table's rows of some blocks the wanted ones. Says of each row that differed what did, and whether that may
    only follow from a difference further down: the digest of a block.
    """
    stored = _stored(connection, table, between)
    if stored == wanted:
        return []
    connection.execute(f"DELETE FROM chain.{table.name} WHERE {table.undo} BETWEEN %s AND %s".encode(), between)
    copy_rows(connection, table.copy, table.kinds, wanted.values())
    found = []
    for key in sorted(stored.keys() | wanted.keys()):
        was, be = stored.get(key), wanted.get(key)
        if was == be:
            continue
        names = [name for name, old, new in zip(table.names, was or (), be or (), strict=False) if old != new]
        what = "was missing" if was is None else "should not be there" if be is None else f"other {', '.join(names)}"
        found.append((f"{table.name}, {_place(key)}: {what}", table is schema.BLOCK and names == ["digest"]))
    return found


def _place(key: Row) -> str:
    return ", ".join(f"{name} {part:,}" for name, part in zip(("block", "log", "member"), key, strict=False))


def _keep(connection: Connection, done: Pass) -> None:
    connection.execute(
        "INSERT INTO chain.reindex (id, first_block, next_block, at_hash, digest, digest_before, logs, wrong, findings)"
        " VALUES (1, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (id) DO UPDATE SET first_block = excluded.first_block,"
        " next_block = excluded.next_block, at_hash = excluded.at_hash, digest = excluded.digest,"
        " digest_before = excluded.digest_before, logs = excluded.logs, wrong = excluded.wrong,"
        " findings = excluded.findings",
        (
            *(done.first, done.next, done.at_hash, done.digest, done.digest_before, done.logs, done.wrong),
            Jsonb(done.findings),
        ),
    )


def _finish(connection: Connection, cursor: Cursor, done: Pass) -> Outcome:
    """Take away rows above the head, set the cursor's count and digest, and tell readers if anything was wrong."""
    with connection.transaction():
        beyond = []
        for table, column in schema.undo_columns().items():
            statement = f"DELETE FROM chain.{table} WHERE {column} > %s".encode()
            if removed := connection.execute(statement, (cursor.head_number,)).rowcount:
                beyond.append(f"{table}: {removed:,} rows above the mirror's head")
        ((logs,),) = connection.execute("SELECT count(*) FROM chain.log").fetchall()
        if logs != cursor.log_count and not done.wrong:
            beyond.append(f"cursor: log_count was {cursor.log_count:,}, and there are {logs:,}")
        done = done.found(beyond)
        connection.execute("UPDATE chain.cursor SET log_count = %s, digest = %s", (logs, done.digest))
        connection.execute("DELETE FROM chain.reindex")
        outcome = Outcome(
            done.first, cursor.head_number, done.logs, done.wrong, done.findings, done.digest_before, done.digest
        )
        if not outcome.right:
            notify.reindexed(connection, done.first)
        faults.point("before reindex commit")
    return outcome
