"""The pages: server-rendered from the same services as the API, readable without script, livelier with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from anyio import to_thread
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from sqlalchemy import select

from backend.chain import NATIVE
from backend.deps import CoreDep, get_optional_person, person_of_session, presented_token
from backend.errors import AppError, Unauthorized
from backend.pagination import MAX_CURSOR
from backend.payouts.reading import Books, Connection, address, snapshot
from backend.payouts.routes import PayoutsDep, series, statement, zone_of
from backend.payouts.schemas import Series, Statement
from backend.payouts.service import Payouts
from backend.schemas import AddressStr, parse_address
from backend.web import checking, payouts_page
from backend.web.format import identicon, short_address
from backend.works import catalogue
from indexer.models import view

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

TEMPLATES: Final = Path(__file__).resolve().parent / "templates"
LINES: Final = 12
DEFAULT_DAYS: Final = 30

_pages = Environment(
    loader=FileSystemLoader(TEMPLATES),
    autoescape=select_autoescape(default=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_pages.globals.update(identicon=identicon, short_address=short_address, ranges=payouts_page.RANGES)
_pages.filters["query"] = urlencode


@dataclass(frozen=True)
class Visitor:
    """Who looks at a page, and what every page needs to know."""

    request: Request
    address: str | None
    """Of the signed-in account, EIP-55."""

    def page(self, template: str, code: int = 200, /, **context: Any) -> HTMLResponse:
        """A rendered template. Pages differ by who looks at them, so no shared cache may keep them."""
        text = _pages.get_template(template).render(me=self.address, path=self.request.url.path, **context)
        return HTMLResponse(text, status_code=code, headers={"Vary": "Cookie"})

    def trouble(self, error: AppError) -> HTMLResponse:
        """An error as a page: what happened, what to do next."""
        return self.page("error.html", error.status, title=error.title, detail=error.detail, status=error.status)


def trouble_page(request: Request, error: AppError) -> HTMLResponse | None:
    """An error as a page for a browser that asked for one; None for programs, and below the API's own addresses."""
    wants = request.headers.get("accept", "").partition(",")[0].partition(";")[0].strip()
    if (
        request.method not in ("GET", "HEAD", "POST")
        or wants != "text/html"
        or request.url.path.startswith(("/v1/", "/static/"))
        or "hx-request" in request.headers  # a part of a page, which shows what went wrong in its own place
    ):
        return None
    return Visitor(request, None).trouble(error)


async def get_visitor(request: Request, core: CoreDep) -> Visitor:
    """An expired or revoked session reads pages as nobody; it is the API that answers 401."""
    try:
        token = presented_token(request, core.settings)
        found = await person_of_session(request, core, token) if token else None
    except Unauthorized:
        found = None
    person = await get_optional_person(found)
    return Visitor(request, None if person is None else address(person.address))


VisitorDep = Annotated[Visitor, Depends(get_visitor)]
Days = Annotated[int, Query(ge=1, le=365)]
RequiredCursor = Annotated[str, Query(max_length=MAX_CURSOR)]


# --- home ------------------------------------------------------------------------------------------------------------


@router.get("/")
async def home_page(visitor: VisitorDep, payouts: PayoutsDep) -> HTMLResponse:
    """What Troupe is, in one screen."""
    async with snapshot(payouts.pool) as connection:
        head = await (await connection.execute("SELECT head_number FROM chain.cursor")).fetchone()
        works = await (
            await connection.execute("SELECT count(*) AS works FROM chain.work_registry_work_registered")
        ).fetchone()
        paid = await (await connection.execute("SELECT token, received FROM chain.ledger_balance")).fetchall()
    totals = {address(row["token"]): int(row["received"]) for row in paid}
    return visitor.page(
        "home.html",
        block=head["head_number"] if head else None,
        works=works["works"] if works else 0,
        paid=[payouts_page.money(payouts.token(t), totals[t]) for t in payouts.token_order(totals)],
    )


# --- payouts ---------------------------------------------------------------------------------------------------------


@router.get("/payouts")
async def own_payouts_page(
    visitor: VisitorDep, payouts: PayoutsDep, days: Days = DEFAULT_DAYS, token: str = NATIVE
) -> HTMLResponse:
    """The signed-in account's payouts, or how to see some."""
    if visitor.address is None:
        return visitor.page("welcome.html")
    return await _payouts_page(visitor, payouts, visitor.address, days=days, token=token)


@router.get("/payouts/find")
async def find_payouts(visitor: VisitorDep, address: str = "") -> Response:
    """Where the look-up form leads."""
    try:
        return RedirectResponse(f"/payouts/{parse_address(address.strip())}", status_code=303)
    except ValueError as error:
        return visitor.page("welcome.html", 422, typed=address, problem=_sentence(error))


@router.get("/payouts/{address}")
async def public_payouts_page(
    address: str, visitor: VisitorDep, payouts: PayoutsDep, days: Days = DEFAULT_DAYS, token: str = NATIVE
) -> HTMLResponse:
    """Anyone's payouts: the chain is public."""
    try:
        account = parse_address(address)
    except ValueError as error:
        return visitor.page("welcome.html", 422, typed=address, problem=_sentence(error))
    return await _payouts_page(visitor, payouts, account, days=days, token=token)


async def _payouts_page(visitor: Visitor, payouts: Payouts, account: str, *, days: int, token: str) -> HTMLResponse:
    try:
        currency = _currency(token)
        async with payouts.reading(account) as (connection, books):
            summary = payouts.summary(books)
            page = await statement(payouts, connection, books, cursor=None, limit=LINES)
            earned = await _earnings(payouts, connection, books, days=days, token=currency)
            titles = await _titles(payouts, books, page)
        own = visitor.address == account
        return visitor.page(
            "payouts.html",
            account=account,
            own=own,
            head=books.head,
            headline=payouts_page.headline(summary),
            tokens=[figures.token for figures in summary.tokens],
            earnings=payouts_page.earnings(earned, titles),
            days=days,
            rows=payouts_page.rows(page.items, titles, own=own),
            next=page.next,
        )
    except AppError as error:
        return visitor.trouble(error)


@router.get("/payouts/{address}/headline")
async def headline_part(address: AddressStr, visitor: VisitorDep, payouts: PayoutsDep) -> HTMLResponse:
    """The first sentence alone, to be looked at again."""
    books = await payouts.books(address)
    return visitor.page(
        "_headline.html",
        account=address,
        own=visitor.address == address,
        head=books.head,
        headline=payouts_page.headline(payouts.summary(books)),
    )


@router.get("/payouts/{address}/earnings")
async def earnings_part(
    address: AddressStr, visitor: VisitorDep, payouts: PayoutsDep, days: Days = DEFAULT_DAYS, token: str = NATIVE
) -> HTMLResponse:
    """The chart and bars for another range or currency."""
    currency = _currency(token)
    async with payouts.reading(address) as (connection, books):
        earned = await _earnings(payouts, connection, books, days=days, token=currency)
        titles = await _titles(payouts, books, None)
        tokens = [figures.token for figures in payouts.summary(books).tokens]
    return visitor.page(
        "_earnings.html",
        account=address,
        own=visitor.address == address,
        tokens=tokens,
        earnings=payouts_page.earnings(earned, titles),
        days=days,
    )


@router.get("/payouts/{address}/lines")
async def lines_part(
    address: AddressStr, visitor: VisitorDep, payouts: PayoutsDep, cursor: RequiredCursor
) -> HTMLResponse:
    """The next lines of the statement."""
    async with payouts.reading(address) as (connection, books):
        page = await statement(payouts, connection, books, cursor=cursor, limit=LINES)
        titles = await _titles(payouts, books, page)
    rows = payouts_page.rows(page.items, titles, own=visitor.address == address)
    return visitor.page("_lines.html", account=address, rows=rows, next=page.next)


@router.get("/payouts/{address}/check")
async def check_part(address: AddressStr, visitor: VisitorDep, payouts: PayoutsDep, core: CoreDep) -> HTMLResponse:
    """Whether the figures are the chain's, asked of the contract just now."""
    books = await payouts.books(address)
    checked = await to_thread.run_sync(checking.check, payouts.chain, core.node, books)
    return visitor.page("_check.html", account=address, checked=checked)


# --- helpers ---------------------------------------------------------------------------------------------------------


async def _earnings(payouts: Payouts, connection: Connection, books: Books, *, days: int, token: str) -> Series:
    return await series(payouts, connection, books, token=token, days=days, zone=zone_of("UTC"))


def _currency(token: str) -> str:
    """The currency of a link; what is none is the native coin."""
    try:
        return str(parse_address(token))
    except ValueError:
        return NATIVE


async def _titles(payouts: Payouts, books: Books, page: Statement | None) -> dict[int, str]:
    """What the works on the page are called, where their metadata is kept here."""
    shown = books.works | {line.from_work_id for line in (page.items if page else []) if line.from_work_id is not None}

    def read() -> dict[int, str]:
        work = view("work")
        with payouts.database.session() as session:
            found = session.execute(select(work).where(work.c.work_id.in_(shown))).mappings().all()
            described = catalogue.show_works(session, books.head, found)
            return {one.work_id: one.title for one in described if one.title}

    return await to_thread.run_sync(read) if shown else {}


def _sentence(error: ValueError) -> str:
    text = str(error)
    return text[0].upper() + text[1:] + "."
