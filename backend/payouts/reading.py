"""Reading a holder's books from the mirror: one consistent state, few rows, through the async pool.

What is read is what the forecast needs: the leaves that the account holds, the works below those (what derives from
them), and for these the edges, versions, accruals, settlements and withdrawals. Never all payments of the platform.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from eth_utils.address import to_checksum_address
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from backend.db import AsyncPool
from backend.errors import Unavailable
from backend.mirror import Head
from backend.payouts.forecast import Holding
from backend.payouts.ledger import Accrual, Counters, Edge, Ledger

Rows = list[DictRow]
Connection = AsyncConnection[DictRow]

_HEAD = """
SELECT c.head_number, c.head_hash, c.head_time, c.final_number FROM chain.cursor c
"""

_UNRESOLVED = """
SELECT EXISTS (
    SELECT 1 FROM chain.revenue_ledger_split_activated s
    LEFT JOIN app.split_root r ON r.root = s.root
    WHERE r.root IS NULL AND s.block_number > coalesce(
        (SELECT p.block_number FROM app.split_progress p
         JOIN chain.block b ON b.number = p.block_number AND b.hash = p.block_hash), -1)
) AS unresolved
"""

_HOLDINGS = """
SELECT s.work_id, s.version, s.root, s.total_weight, l.position, l.weight
FROM app.split_leaf l
JOIN chain.revenue_ledger_split_activated s ON s.root = l.root
WHERE l.account = %(account)s
ORDER BY s.work_id, s.version, l.position
"""

_BELOW = """
WITH RECURSIVE below(work_id) AS (
    SELECT unnest(%(works)s::numeric[])
    UNION
    SELECT e.work_id FROM chain.revenue_ledger_edge_opened e JOIN below b ON e.parent_id = b.work_id
)
SELECT work_id FROM below
"""

_EDGES = """
SELECT work_id, index, parent_id, bps, relative FROM chain.revenue_ledger_edge_opened
WHERE work_id = ANY(%(works)s::numeric[]) ORDER BY work_id, index
"""

_VERSIONS = """
SELECT work_id, version, total_weight, block_number, log_index FROM chain.revenue_ledger_split_activated
WHERE work_id = ANY(%(works)s::numeric[])
"""

_SPANS = """
unnest(%(span_works)s::numeric[], %(span_versions)s::bigint[], %(from_blocks)s::bigint[], %(from_logs)s::bigint[],
       %(to_blocks)s::bigint[], %(to_logs)s::bigint[])
AS s(work_id, version, from_block, from_log, to_block, to_log)
"""

_WITHIN = """
(e.block_number, e.log_index) > (s.from_block, s.from_log) AND (e.block_number, e.log_index) < (s.to_block, s.to_log)
"""

CREDITS = f"""
    SELECT s.work_id, s.version, e.token, e.block_number, e.log_index, e.block_time, e.tx_hash,
           e.amount - e.fee AS direct, 0::numeric AS inherited, 'payment' AS type, e.kind,
           e.work_id AS source_work_id, e.payer
    FROM {_SPANS} JOIN chain.revenue_ledger_payment_received e ON e.work_id = s.work_id AND {_WITHIN}
    UNION ALL
    SELECT s.work_id, s.version, e.token, e.block_number, e.log_index, e.block_time, e.tx_hash,
           e.fee, 0, 'fee', e.kind, e.work_id, e.payer
    FROM {_SPANS} JOIN chain.revenue_ledger_payment_received e ON s.work_id = 0 AND e.fee > 0 AND {_WITHIN}
    UNION ALL
    SELECT s.work_id, s.version, e.token, e.block_number, e.log_index, e.block_time, e.tx_hash,
           0, e.amount, 'royalty', NULL, e.work_id, NULL
    FROM {_SPANS} JOIN chain.revenue_ledger_edge_settled e ON e.parent_id = s.work_id AND {_WITHIN}
"""
"""What arrived at works while given split versions of theirs were live (see chain.credit, which looks a version up for
every row: too slow for a work with many payments). Takes the parameters of `span_parameters`."""

_CREDITED = f"""
SELECT work_id, version, token, sum(direct) AS direct, sum(inherited) AS inherited
FROM ({CREDITS}) c GROUP BY work_id, version, token
"""

_SETTLED = """
SELECT work_id, edge_index, token, amount FROM chain.settled WHERE work_id = ANY(%(works)s::numeric[])
"""

_WITHDRAWN = """
SELECT work_id, token, version, position, amount FROM chain.withdrawn WHERE account = %(account)s
"""

_STOPPED = """
SELECT work_id, max(until) AS until FROM (
    SELECT DISTINCT ON (work_id) work_id, until FROM chain.revenue_ledger_work_frozen
    WHERE work_id = ANY(%(works)s::numeric[]) ORDER BY work_id, block_number DESC, log_index DESC
) f GROUP BY work_id
"""

_PAUSED = """
SELECT until FROM chain.revenue_ledger_pause_changed ORDER BY block_number DESC, log_index DESC LIMIT 1
"""


class TreesUnresolved(Exception):
    """A split on chain has not been looked for yet: run `trees.resolve` and read again."""


class Span(NamedTuple):
    """From which log (exclusive) to which (exclusive) a split version of a work was live."""

    work: int
    version: int
    start: tuple[int, int]
    end: tuple[int, int]


NEVER = (2**62, 0)
"""After every log."""


@dataclass(frozen=True)
class Books:
    """A holder's leaves, and a ledger that knows all that bears on them."""

    account: str
    head: Head
    holdings: tuple[Holding, ...]
    spans: tuple[Span, ...]
    """When the versions were live in which the account holds leaves."""
    roots: dict[tuple[int, int], bytes]
    ledger: Ledger
    frozen_until: dict[int, int]
    paused_until: int

    @property
    def tokens(self) -> set[str]:
        """The tokens in which anything was ever credited to the works concerned."""
        return {token for _, token, _ in self.ledger.accruals}

    @property
    def works(self) -> set[int]:
        return {holding.work for holding in self.holdings}

    def stopped_until(self, work: int) -> int | None:
        """Until when (block time) withdrawals from a work are refused; None when they aren't."""
        until = max(self.frozen_until.get(work, 0), self.paused_until)
        return until if until > self.head.time else None


@asynccontextmanager
async def snapshot(pool: AsyncPool) -> AsyncIterator[Connection]:
    """A connection that reads one state of the database, the mirror's block included."""
    async with pool.connection() as connection, connection.transaction():
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield connection


async def read_head(connection: Connection) -> Head:
    """How far the mirror is. Raises Unavailable while it has not begun."""
    row = await (await connection.execute(_HEAD)).fetchone()
    if row is None:
        raise Unavailable(
            "The indexer has not mirrored anything yet; is it running?",
            code="mirror_empty",
            title="Nothing mirrored yet",
        )
    return Head(row["head_number"], bytes(row["head_hash"]), row["head_time"], row["final_number"])


async def read_books(connection: Connection, account: str, also: Iterable[int] = ()) -> Books:
    """The books of an account (EIP-55) in the connection's snapshot. Raises TreesUnresolved, Unavailable.

    The ledger covers `also` too: works in which the account holds nothing (yet).
    """
    head = await read_head(connection)
    unresolved = await (await connection.execute(_UNRESOLVED)).fetchone()
    if unresolved is None or unresolved["unresolved"]:
        raise TreesUnresolved
    by_account = {"account": bytes.fromhex(account[2:])}
    held = await _rows(connection, _HOLDINGS, by_account)
    holdings = tuple(Holding(int(row["work_id"]), row["version"], row["position"], int(row["weight"])) for row in held)
    works = {"works": sorted({holding.work for holding in holdings} | set(also))}
    below = {"works": [int(row["work_id"]) for row in await _rows(connection, _BELOW, works)]}
    activated = await _rows(connection, _VERSIONS, below)
    spans = _spans(activated)
    ledger = Ledger.restored(
        edges=_edges(await _rows(connection, _EDGES, below)),
        versions=_versions(activated),
        accruals=_accruals(await _rows(connection, _CREDITED, span_parameters(spans))),
        settled={
            (int(row["work_id"]), row["edge_index"], address(row["token"])): int(row["amount"])
            for row in await _rows(connection, _SETTLED, below)
        },
        withdrawn={
            (int(row["work_id"]), address(row["token"]), row["version"], int(row["position"])): int(row["amount"])
            for row in await _rows(connection, _WITHDRAWN, by_account)
        },
    )
    roots = {(int(row["work_id"]), row["version"]): bytes(row["root"]) for row in held}
    frozen = {int(row["work_id"]): row["until"] for row in await _rows(connection, _STOPPED, works)}
    paused = await (await connection.execute(_PAUSED)).fetchone()
    return Books(
        account=account,
        head=head,
        holdings=holdings,
        spans=tuple(span for span in spans if (span.work, span.version) in roots),
        roots=roots,
        ledger=ledger,
        frozen_until=frozen,
        paused_until=paused["until"] if paused else 0,
    )


def span_parameters(spans: Iterable[Span]) -> dict[str, list[int]]:
    """The parameters of CREDITS."""
    chosen = list(spans)
    return {
        "span_works": [span.work for span in chosen],
        "span_versions": [span.version for span in chosen],
        "from_blocks": [span.start[0] for span in chosen],
        "from_logs": [span.start[1] for span in chosen],
        "to_blocks": [span.end[0] for span in chosen],
        "to_logs": [span.end[1] for span in chosen],
    }


def address(value: bytes) -> str:
    """20 bytes of a row as EIP-55."""
    return str(to_checksum_address(bytes(value)))


async def _rows(connection: Connection, query: str, parameters: dict[str, Any]) -> Rows:
    return await (await connection.execute(query, parameters)).fetchall()


def _edges(rows: Rows) -> dict[int, list[Edge]]:
    edges: dict[int, list[Edge]] = {}
    for row in rows:
        edges.setdefault(int(row["work_id"]), []).append(Edge(int(row["parent_id"]), row["bps"], row["relative"]))
    return edges


def _versions(rows: Rows) -> dict[int, dict[int, int]]:
    versions: dict[int, dict[int, int]] = {}
    for row in rows:
        versions.setdefault(int(row["work_id"]), {})[row["version"]] = int(row["total_weight"])
    return versions


def _spans(activated: Rows) -> list[Span]:
    """Each version from its activation to the next one."""
    spans: list[Span] = []
    for row in sorted(activated, key=lambda row: (row["work_id"], row["version"])):
        start = (row["block_number"], row["log_index"])
        if spans and spans[-1].work == row["work_id"]:
            spans[-1] = spans[-1]._replace(end=start)
        spans.append(Span(int(row["work_id"]), row["version"], start, NEVER))
    return spans


def _accruals(rows: Iterable[DictRow]) -> dict[tuple[int, str, int], Accrual]:
    """What each version found and left, from what was credited in each: counters run on from version to version."""
    counters: dict[tuple[int, bytes], Counters] = {}
    accruals: dict[tuple[int, str, int], Accrual] = {}
    for row in sorted(rows, key=lambda row: row["version"]):
        work, token = int(row["work_id"]), bytes(row["token"])
        before = counters.get((work, token), Counters())
        counters[work, token] = before.plus(int(row["direct"]), int(row["inherited"]))
        accruals[work, address(token), row["version"]] = Accrual(before, counters[work, token])
    return accruals
