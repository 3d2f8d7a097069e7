"""Searching as a page: one box that takes words or a wish. What stands in the box is all there is to a search, so that
each of its states has an address; without script the same links and the same form do.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from backend.deps import CoreDep
from backend.errors import AppError
from backend.pagination import Cursor
from backend.search import lexicon, wish
from backend.search.routes import WindowDep, search_works
from backend.search.schemas import MAX_QUERY
from backend.search.wish import MOST_TERMS, Term
from backend.search.wish_routes import TermIn, WishIn, make_wish
from backend.web import search_page
from backend.web.feed_routes import Watcher, WatcherDep
from backend.web.routes import Visitor
from backend.works.metadata import printable

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

ON_PAGE: Final = 20
UNSHOWN: Final = "There are characters in it that can’t be shown. Write it anew; nothing was searched for."

By = Literal["words", "wish", "chips"]
"""How the box is read: as words, as a wish, or as the chips that are left of one."""


@router.get("/search")
async def search_page_(  # noqa: PLR0917 - FastAPI calls it by name
    watcher: WatcherDep,
    core: CoreDep,
    window: WindowDep,
    q: Annotated[str, Query(max_length=2 * MAX_QUERY)] = "",
    by: By | None = None,
    work: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
    cursor: Cursor = None,
) -> HTMLResponse:
    """Find works by words, or by saying what you would like."""
    q = q.strip()
    base: dict[str, Any] = {"q": q, "work": work, "examples": search_page.EXAMPLES, "most": MAX_QUERY}
    base |= {"mode": None, "problem": None, "title": q}
    if not q:
        return _show(watcher, **base)
    if not printable(q):
        return _show(watcher, 422, **base | {"q": "", "title": "", "problem": UNSHOWN})
    words = lexicon.read()
    wishes = by in ("wish", "chips") or (by is None and search_page.is_wish(q, wish.parse(q, words)))
    try:
        if wishes or len(q) > MAX_QUERY:
            return _show(watcher, **base | await _wish(watcher, core, window, q, by=by, work=work))
        return _show(watcher, **base | await _words(watcher, core, window, q, cursor=cursor))
    except AppError as error:
        return Visitor(watcher.request, None).trouble(error)


def _show(watcher: Watcher, status: int = 200, **context: Any) -> HTMLResponse:
    """The part that is exchanged, or the page; who goes back in history gets the page."""
    part = watcher.partial and "hx-history-restore-request" not in watcher.request.headers
    return watcher.show("_search.html" if part else "search.html", status, **context)


async def _words(watcher: Watcher, core: CoreDep, window: WindowDep, q: str, *, cursor: str | None) -> dict[str, Any]:
    found = await search_works(
        watcher.request, core, watcher.somebody, watcher.now, window, q, cursor=cursor, limit=ON_PAGE
    )
    return {
        "mode": "words",
        "cards": [search_page.card(item) for item in found.items],
        "counted": search_page.counted(len(found.items), more=found.next is not None or cursor is not None),
        "instead": found.instead and {"q": found.instead, "link": search_page.link(found.instead, by="words")},
        "more": found.next and search_page.link(q, by="words", cursor=found.next),
        "other": search_page.link(q, by="wish"),
        "personal": False,
    }


async def _wish(
    watcher: Watcher, core: CoreDep, window: WindowDep, q: str, *, by: By | None, work: int | None
) -> dict[str, Any]:
    words = lexicon.read()
    body = WishIn(text=q, terms=None, work_id=work, limit=ON_PAGE)
    rest: tuple[str, ...] = ()
    if by == "chips":  # the person chose these conditions; nobody reads them anew
        read = wish.parse(q, words)
        rest = read.rest
        terms = [TermIn(slot=one.slot, value=one.value, wanted=one.wanted) for one in sorted(read.terms)[:MOST_TERMS]]
        body = WishIn(text=None, terms=terms, work_id=work, limit=ON_PAGE)
    found = await make_wish(watcher.request, core, watcher.somebody, watcher.now, window, body)
    understood = [(Term(chip.slot, chip.value, chip.wanted), chip.note) for chip in found.understood]
    return {
        "mode": "wish",
        "cards": [search_page.card(item) for item in found.items],
        "counted": search_page.counted(len(found.items), more=len(found.items) == ON_PAGE),
        "chips": search_page.chips(understood, words, work),
        "not_understood": found.not_understood or list(rest),
        "other": search_page.link(q, by="words") if len(q) <= MAX_QUERY else None,
        "personal": found.personal,
        "by_model": found.read_by == "model",
    }
