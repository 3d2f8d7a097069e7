"""Payouts over HTTP: what an address earned and can withdraw, statements, payments, and moving shares."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from tempfile import SpooledTemporaryFile
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import StreamingResponse

from backend.chain import NATIVE
from backend.csvtext import csv_text
from backend.deps import Chain, CoreDep, DbSession
from backend.edge.scoped import OptionalPayer, ShareHolder
from backend.errors import Conflict, Invalid
from backend.mirror import ChainHead
from backend.pagination import DEFAULT_LIMIT, Cursor, Limit, decode_cursor, encode_cursor
from backend.payouts import moves, payments, statements
from backend.payouts.reading import Books, Connection, address
from backend.payouts.schemas import (
    ActivateIntent,
    Claims,
    Line,
    PaymentIntent,
    PaymentRequest,
    ReassignIntent,
    ReassignRequest,
    Series,
    Statement,
    Summary,
    TokenInfo,
)
from backend.payouts.service import CLAIMS, Payouts
from backend.schemas import AddressStr

router = APIRouter(prefix="/v1")

STATEMENTS = "statements"
MAX_DAYS = 3660
SPOOL_BYTES = 1024 * 1024
"""A statement above this waits on disk while it is sent."""
PIECE_CHARACTERS = 65_536
WorkId = Annotated[int, Path(ge=0, le=2**63 - 1, description="The work's id in the registry")]


async def get_payouts(core: CoreDep) -> Payouts:
    return Payouts.of(core)


PayoutsDep = Annotated[Payouts, Depends(get_payouts)]


@router.get("/payouts/{address}/summary", tags=["payouts"])
async def get_payout_summary(address: AddressStr, payouts: PayoutsDep) -> Summary:
    """What an address has earned, withdrawn and can withdraw now, by currency and work; of any address, by anyone."""
    return payouts.summary(await payouts.books(address))


@router.get("/payouts/{address}/claims", tags=["payouts"])
async def get_payout_claims(
    address: AddressStr, payouts: PayoutsDep, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
) -> Claims:
    """What can be withdrawn, share by share: the exact amount, what to settle first, the proof, the transactions.

    Withdrawals always pay the holder, whoever sends them.
    """
    after = None if cursor is None else decode_cursor(CLAIMS, cursor, int, int, int, str)
    return await payouts.claims(await payouts.books(address), after=after, limit=limit)


@router.get("/payouts/{address}/series", tags=["payouts"])
async def get_payout_series(
    address: AddressStr,
    payouts: PayoutsDep,
    token: Annotated[AddressStr, Query(description="The currency; the native coin by default")] = NATIVE,
    days: Annotated[int, Query(ge=1, le=MAX_DAYS, description="How many days, the last with the mirror's head")] = 90,
    tz: Annotated[str, Query(max_length=64, description="IANA name of the zone whose days are meant")] = "UTC",
) -> Series:
    """Earnings by day, source and work in one currency; days follow block time in the given zone."""
    zone = zone_of(tz)
    async with payouts.reading(address) as (connection, books):
        return await series(payouts, connection, books, token=token, days=days, zone=zone)


async def series(
    payouts: Payouts, connection: Connection, books: Books, *, token: str, days: int, zone: zoneinfo.ZoneInfo
) -> Series:
    """The earnings of the last days, in the snapshot of `connection`."""
    last = datetime.fromtimestamp(books.head.time, UTC).astimezone(zone).date()
    first = (last - timedelta(days=days - 1)).isoformat()
    points = await statements.read_points(connection, books, token=token, zone=zone)
    changes = await statements.read_fee_changes(connection, zone)
    return Series(
        address=books.account,
        as_of=books.head.as_of,
        token=payouts.token(token),
        first_day=first,
        last_day=last.isoformat(),
        points=[point for point in points if point.day >= first],
        fee_changes=[change for change in changes if change.day >= first],
    )


def zone_of(name: str) -> zoneinfo.ZoneInfo:
    """A time zone by its IANA name. Raises Invalid."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise Invalid(
            f"{name!r} is no time zone; use an IANA name such as Europe/Paris.", code="zone_unknown"
        ) from error


@router.get("/payouts/{address}/statements", tags=["payouts"])
async def get_payout_statements(
    address: AddressStr, payouts: PayoutsDep, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
) -> Statement:
    """Payments, settlements and withdrawals of an address, newest first; the parts add up to what was earned."""
    async with payouts.reading(address) as (connection, books):
        return await statement(payouts, connection, books, cursor=cursor, limit=limit)


async def statement(
    payouts: Payouts, connection: Connection, books: Books, *, cursor: str | None, limit: int
) -> Statement:
    """A page of the statement in the connection's snapshot. Raises Conflict when a reorganisation voids the cursor."""
    before = statements.END if cursor is None else await _position(connection, cursor)
    lines = await statements.read_lines(
        connection, books, before=before, limit=limit + 1, tokens=token_names(payouts, books)
    )
    items, more = lines[:limit], len(lines) > limit
    return Statement(
        address=books.account,
        as_of=books.head.as_of,
        items=items,
        next=await _cursor(connection, items[-1]) if more else None,
    )


def token_names(payouts: Payouts, books: Books) -> dict[str, TokenInfo]:
    """The currencies that occur in the books."""
    return {token: payouts.token(token) for token in books.tokens}


async def _cursor(connection: Connection, line: Line) -> str:
    found = await _block_hash(connection, line.block)
    return encode_cursor(STATEMENTS, line.block, line.log_index, line.work_id, (found or b"")[:8].hex())


async def _position(connection: Connection, cursor: str) -> statements.Position:
    block, log, work, prefix = decode_cursor(STATEMENTS, cursor, int, int, int, bytes.fromhex)
    found = await _block_hash(connection, block)
    if found is None or found[:8] != prefix:
        raise Conflict(
            f"The chain was reorganised at or below block {block} since this cursor was made; start again without it.",
            code="cursor_void",
            title="The list has changed",
            block=block,
        )
    return statements.Position(block, log, work)


async def _block_hash(connection: Connection, number: int) -> bytes | None:
    row = await (await connection.execute("SELECT hash FROM chain.block WHERE number = %s", (number,))).fetchone()
    return bytes(row["hash"]) if row else None


@router.get("/payouts/{address}/statements.csv", tags=["payouts"], response_class=StreamingResponse)
async def get_payout_statements_csv(address: AddressStr, payouts: PayoutsDep) -> StreamingResponse:
    """The whole statement as CSV (RFC 4180), streamed; text that a spreadsheet would run is made inert."""
    # Read to its end before anything is sent: while it is sent the reader sets the pace, and a few readers who take
    # their time would hold every connection of the pool.
    spool = SpooledTemporaryFile(max_size=SPOOL_BYTES, mode="w+", encoding="utf-8", newline="")  # noqa: SIM115
    try:
        spool.write(csv_text(statements.CSV_COLUMNS))
        async with payouts.reading(address) as (connection, books):
            async for line in statements.stream_lines(connection, books, token_names(payouts, books)):
                spool.write(statements.csv_record(line))
        spool.seek(0)
    except BaseException:
        spool.close()
        raise

    def pieces() -> Iterator[str]:
        with spool:
            while piece := spool.read(PIECE_CHARACTERS):
                yield piece

    name = f"troupe-statement-{address}.csv"
    return StreamingResponse(
        pieces(),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@router.post("/payments/intent", tags=["payouts"])
def create_payment_intent(
    *,
    request: PaymentRequest,
    session: DbSession,
    chain: Chain,
    core: CoreDep,
    head: ChainHead,
    me: OptionalPayer,
) -> PaymentIntent:
    """The transactions that pay a work: `payNative`, or `payToken` after `approve` where the allowance is missing."""
    payer = request.payer or (address(me.address) if me else None)
    return payments.payment_intent(session, chain=chain, node=core.node, head=head, request=request, payer=payer)


@router.post("/works/{work_id}/reassign-intent", tags=["payouts"])
async def create_reassign_intent(
    work_id: WorkId, request: ReassignRequest, payouts: PayoutsDep, me: ShareHolder
) -> ReassignIntent:
    """The transaction that gives one's share of a work, or part of it, to others; only its holder can send it.

    What derived works owe is settled inside, so that what was earned until then stays with the present holder. The file
    of the new shares is published. The move becomes the next split version at once, or a week after the last one.
    """
    books = await payouts.books(address(me.address), also=[work_id])

    def planned() -> ReassignIntent:
        with payouts.database.session() as session:
            return moves.reassign_intent(session, payouts, books=books, work_id=work_id, request=request)

    return await to_thread.run_sync(planned)


@router.post("/works/{work_id}/activate-intent", tags=["payouts"])
def create_activate_intent(work_id: WorkId, session: DbSession, payouts: PayoutsDep, head: ChainHead) -> ActivateIntent:
    """The transaction that makes a work's gathered reassignments its next split version; anyone may send it."""
    return moves.activate_intent(session, payouts, head=head, work_id=work_id)
