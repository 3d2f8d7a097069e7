"""Statements and earnings by day: a holder's part of every credit, exact, so that the lines add up to what is paid.

A part of one credit is not rounded by itself: it is what the credit added to the holder's rounded whole. With c the
version's counters since its first credit, and share() as in ledger.py, the part of a credit that moved c to c' is
share(net(c')) - share(net(c)). So all parts add up to exactly what has been earned, whatever the number of payments.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from psycopg.rows import DictRow

from backend.csvtext import csv_text
from backend.payouts.ledger import Accrual, Counters, accrued, share
from backend.payouts.reading import CREDITS, Books, Connection, address, span_parameters
from backend.payouts.schemas import Line, PaymentKind, Point, PolicyMark, TokenInfo
from backend.web.format import exact

VersionKey = tuple[int, str, int]
"""(work, token, split version)"""

_SUMS_AFTER = f"""
SELECT work_id, token, version, sum(direct) AS direct, sum(inherited) AS inherited
FROM ({CREDITS}) c
WHERE (block_number, log_index, work_id) >= (%(block)s, %(log)s, %(work)s::numeric)
GROUP BY work_id, token, version
"""

_LINES = f"""
SELECT * FROM (
    {CREDITS}
    UNION ALL
    SELECT work_id, version, token, block_number, log_index, block_time, tx_hash, 0, amount, 'withdrawal', NULL, NULL,
           NULL
    FROM chain.revenue_ledger_withdrawn WHERE account = %(account)s
) l
WHERE (block_number, log_index, work_id) < (%(block)s, %(log)s, %(work)s::numeric)
ORDER BY block_number DESC, log_index DESC, work_id DESC
LIMIT %(limit)s
"""

_DAYS = f"""
SELECT work_id, token, version, (to_timestamp(block_time) AT TIME ZONE %(zone)s)::date AS day, type, kind,
       sum(direct) AS direct, sum(inherited) AS inherited
FROM ({CREDITS}) c
WHERE token = %(token)s
GROUP BY work_id, token, version, day, type, kind
ORDER BY day, work_id, version, type, kind
"""

_FEE_CHANGES = """
SELECT block_number, block_time, old_bps, new_bps FROM chain.revenue_ledger_fee_changed
ORDER BY block_number, log_index OFFSET 1  -- the first is the deployment's
"""

CSV_COLUMNS = (
    "time",
    "type",
    "source",
    "work",
    "from work",
    "payer",
    "token",
    "amount",
    "amount in base units",
    "credited to the work in base units",
    "block",
    "stage",
    "transaction",
)


class Position(NamedTuple):
    """A place in a statement; one log may credit two works. What lies before it is on the next page."""

    block: int
    log: int
    work: int


END = Position(2**62, 0, 0)
"""After everything."""


@dataclass
class Parts:
    """A holder's part of credits to the versions it holds, walking through them in time in either direction."""

    books: Books
    counters: dict[VersionKey, Counters]
    """Where each version's counters stand."""

    @classmethod
    def at_start(cls, books: Books) -> Parts:
        """Before the first credit of every version."""
        return cls(books, {key: accrual.before for key, accrual in books.ledger.accruals.items()})

    @classmethod
    def at_end(cls, books: Books) -> Parts:
        """After the last credit of every version."""
        return cls(books, {key: accrual.after for key, accrual in books.ledger.accruals.items()})

    def earned(self, key: VersionKey) -> int:
        """The holder's rounded whole of a version, all its leaves together."""
        work_id, _, version = key
        work = self.books.ledger.works[work_id]
        first = self.books.ledger.accruals[key].before
        total = accrued(Accrual(first, self.counters[key]), work.relative_bps, work.absolute_bps)
        weight = work.splits[version].total_weight
        return sum(
            share(total, holding.weight, weight)
            for holding in self.books.holdings
            if (holding.work, holding.version) == (work_id, version)
        )

    def forward(self, key: VersionKey, direct: int, inherited: int) -> int:
        """Take a credit in; returns the holder's part of it."""
        before = self.earned(key)
        self.counters[key] = self.counters[key].plus(direct, inherited)
        return self.earned(key) - before

    def backward(self, key: VersionKey, direct: int, inherited: int) -> int:
        """Take the last credit back; returns the holder's part of it."""
        after = self.earned(key)
        now = self.counters[key]
        self.counters[key] = Counters(now.direct - direct, now.inherited - inherited)
        return after - self.earned(key)


def _parameters(books: Books) -> dict[str, Any]:
    return {**span_parameters(books.spans), "account": bytes.fromhex(books.account[2:])}


async def read_lines(
    connection: Connection, books: Books, *, before: Position, limit: int, tokens: dict[str, TokenInfo]
) -> list[Line]:
    """Lines before a place, newest first, at most `limit`; `connection` must read the books' own snapshot."""
    parameters = _parameters(books) | before._asdict() | {"limit": limit}
    parts = Parts.at_end(books)
    if before != END:
        for row in await (await connection.execute(_SUMS_AFTER, parameters)).fetchall():
            key = _key(row)
            now = parts.counters[key]
            parts.counters[key] = Counters(now.direct - int(row["direct"]), now.inherited - int(row["inherited"]))
    rows = await (await connection.execute(_LINES, parameters)).fetchall()
    return [_line(row, books, parts, tokens) for row in rows]


async def stream_lines(connection: Connection, books: Books, tokens: dict[str, TokenInfo]) -> AsyncIterator[Line]:
    """All lines, newest first, through a server-side cursor."""
    parts = Parts.at_end(books)
    parameters = _parameters(books) | END._asdict() | {"limit": None}
    async with connection.cursor(name="statement") as cursor:
        cursor.itersize = 1000
        await cursor.execute(_LINES, parameters)
        async for row in cursor:
            yield _line(row, books, parts, tokens)


def _key(row: DictRow) -> VersionKey:
    return int(row["work_id"]), address(row["token"]), row["version"]


def _line(row: DictRow, books: Books, parts: Parts, tokens: dict[str, TokenInfo]) -> Line:
    withdrawal = row["type"] == "withdrawal"
    direct, inherited = int(row["direct"]), int(row["inherited"])
    token = address(row["token"])
    return Line(
        time=row["block_time"],
        block=row["block_number"],
        log_index=row["log_index"],
        transaction=bytes(row["tx_hash"]),
        stage=books.head.stage_of(row["block_number"]),
        type=row["type"],
        source=None if withdrawal else source_of(row["type"], row["kind"]),  # type: ignore[arg-type]
        work_id=int(row["work_id"]),
        from_work_id=None if row["source_work_id"] is None else int(row["source_work_id"]),
        payer=None if row["payer"] is None else address(row["payer"]),
        token=tokens[token],
        credited=0 if withdrawal else direct + inherited,
        amount=inherited if withdrawal else parts.backward(_key(row), direct, inherited),
    )


def source_of(kind_of_credit: str, payment_kind: int | None) -> str:
    """The word for where a credit came from."""
    if kind_of_credit == "royalty":
        return "derived"
    if kind_of_credit == "fee":
        return "fee"
    try:
        return "other" if payment_kind is None else PaymentKind(payment_kind).name.lower()
    except ValueError:
        return "other"


# --- by day ------------------------------------------------------------------------------------------------------


async def read_points(connection: Connection, books: Books, *, token: str, zone: ZoneInfo) -> list[Point]:
    """What each day brought the holder in one currency, by work and source; days are those of `zone`."""
    parameters = _parameters(books) | {"token": bytes.fromhex(token[2:]), "zone": zone.key}
    parts = Parts.at_start(books)
    amounts: dict[tuple[str, int, str], int] = {}
    for row in await (await connection.execute(_DAYS, parameters)).fetchall():
        part = parts.forward(_key(row), int(row["direct"]), int(row["inherited"]))
        place = (row["day"].isoformat(), int(row["work_id"]), source_of(row["type"], row["kind"]))
        amounts[place] = amounts.get(place, 0) + part
    return [
        Point(day=day, work_id=work, source=source, amount=amount)  # type: ignore[arg-type]
        for (day, work, source), amount in amounts.items()
        if amount
    ]


async def read_fee_changes(connection: Connection, zone: ZoneInfo) -> list[PolicyMark]:
    """When the platform's fee changed."""
    rows = await (await connection.execute(_FEE_CHANGES)).fetchall()
    return [
        PolicyMark(
            day=datetime.fromtimestamp(row["block_time"], UTC).astimezone(zone).date().isoformat(),
            block=row["block_number"],
            old_bps=row["old_bps"],
            new_bps=row["new_bps"],
        )
        for row in rows
    ]


# --- CSV ---------------------------------------------------------------------------------------------------------


def csv_record(line: Line) -> str:
    """A line as one CSV record; money that leaves the ledger is negative."""
    sign = "-" if line.type == "withdrawal" else ""
    return csv_text(
        (
            line.time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            line.type,
            line.source or "",
            line.work_id,
            "" if line.from_work_id is None else line.from_work_id,
            line.payer or "",
            line.token.symbol,
            sign + exact(line.amount, line.token.decimals).replace(",", ""),
            f"{sign}{line.amount}",
            line.credited,
            line.block,
            line.stage,
            "0x" + line.transaction.hex(),
        )
    )
