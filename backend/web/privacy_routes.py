"""Your data as a page: what you allow, who read what, take it with you, freeze it, erase it.

Everything is a form that works without script; with it, only the part that changed is exchanged. A visitor without a
session gets one with the first answer.
"""

from __future__ import annotations

import uuid
from datetime import date
from typing import Annotated, Any, Final

from fastapi import APIRouter, BackgroundTasks, Depends, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from backend.accounts import visitors
from backend.consent import erasure, export, service
from backend.consent.gate import freeze, frozen_since, thaw
from backend.consent.persons import make_person, person_of
from backend.consent.purposes import NOTICES, Purpose
from backend.consent.reads import WORDS
from backend.consent.tasks import erase, make_export
from backend.deps import CoreDep, DbSession, Now, of_another_site, page_session, session_cookie
from backend.errors import AppError, Forbidden
from backend.models.engagement import NOBODY
from backend.pagination import MAX_CURSOR, decode_cursor, encode_cursor, page
from backend.payouts.reading import address
from backend.wake import wake
from backend.web.routes import Visitor

router = APIRouter(prefix="/privacy", include_in_schema=False, default_response_class=HTMLResponse)

USES: Final = 20
RECEIPTS: Final = 10
WORDS_OF_PURPOSE: Final = {purpose.value: notice.title for purpose, notice in NOTICES.items()} | {
    "service": "needed by the service"
}


class Reader:
    """Who looks at the page: a person, a visitor, or nobody yet."""

    def __init__(self, request: Request, core: CoreDep, session: DbSession, now: Now) -> None:
        self.request, self.core, self.session, self.now = request, core, session, now
        self.current = page_session(request, core, session)

    @property
    def account_id(self) -> uuid.UUID | None:
        return None if self.current is None else self.current.account_id

    @property
    def wallet(self) -> bytes | None:
        return None if self.current is None else self.current.account.wallet

    @property
    def partial(self) -> bool:
        """Whether the page's script asks, which exchanges a part."""
        return "hx-request" in self.request.headers

    def show(self, template: str, status: int = 200, **context: Any) -> HTMLResponse:
        """A template, which no cache may keep."""
        me = None if self.wallet is None else address(self.wallet)
        answer = Visitor(self.request, me).page(template, status, reader=self, **context)
        answer.headers["Cache-Control"] = "no-store"
        return answer

    def back(self, place: str = "") -> RedirectResponse:
        return RedirectResponse(f"/privacy{place}", status_code=303)


ReaderDep = Annotated[Reader, Depends()]


def require_our_page(reader: Reader) -> None:
    """A page of another site must not make visitors of people. Raises Forbidden."""
    if of_another_site(reader.request, reader.core.settings):
        raise Forbidden("This was sent by a page of another site; nothing was changed.", code="cross_origin")


# --- what is shown ----------------------------------------------------------------------------------------------------


def _consents(reader: Reader) -> list[dict[str, Any]]:
    mine = reader.account_id
    answers = {} if mine is None else dict(service.current(reader.session, reader.core.vault, account_id=mine))
    shown = []
    for purpose, notice in NOTICES.items():
        receipt = answers.get(purpose)
        granted = service.counts(receipt)
        shown.append(
            {
                "purpose": purpose.value,
                "title": notice.title,
                "text": notice.text,
                "granted": granted,
                "ask_again": receipt is not None and receipt.granted and not granted,
                "at": receipt.at if receipt else None,
                "record_id": receipt.record_id if receipt else None,
            }
        )
    return shown


def _uses(reader: Reader, cursor: str | None) -> dict[str, Any]:
    if reader.account_id is None:
        return {"uses": [], "more": None}
    after = None if cursor is None else decode_cursor("data-use", cursor, date.fromisoformat, str, str)
    rows = service.data_use(reader.session, reader.core.vault, account_id=reader.account_id, after=after, limit=USES)
    shown, more = page(rows, USES, lambda row: encode_cursor("data-use", row.day.isoformat(), row.reader, row.purpose))
    uses = [
        {
            "day": row.day,
            "what": WORDS.get(row.reader, row.reader),
            "purpose": WORDS_OF_PURPOSE.get(row.purpose, row.purpose),
            "times": row.times,
            "everybody": row.person_id == NOBODY,
        }
        for row in shown
    ]
    return {"uses": uses, "more": more}


def _receipts(reader: Reader) -> list[dict[str, Any]]:
    if reader.account_id is None:
        return []
    rows = service.list_receipts(
        reader.session, reader.core.vault, account_id=reader.account_id, before=None, limit=RECEIPTS
    )
    return [
        {"record_id": row.record_id, "title": NOTICES[Purpose(row.purpose)].title, "granted": row.granted, "at": row.at}
        for row in rows[:RECEIPTS]
    ]


def _export(reader: Reader) -> dict[str, Any]:
    rows = [] if reader.account_id is None else export.listed(reader.session, account_id=reader.account_id)
    newest = rows[0] if rows else None
    unfinished = newest is not None and newest.state in export.UNFINISHED
    return {"export": newest, "unfinished": unfinished}


def _frozen(reader: Reader) -> Any:
    person = reader.account_id and person_of(reader.session, reader.core.vault, reader.account_id)
    return frozen_since(reader.session, person) if person else None


def _whole(reader: Reader, *, cursor: str | None = None, status: int = 200) -> HTMLResponse:
    consents = _consents(reader)
    return reader.show(
        "privacy.html",
        status,
        consents=consents,
        allowed=sum(each["granted"] for each in consents),
        frozen=_frozen(reader),
        receipts=_receipts(reader),
        older=cursor is not None,
        **_uses(reader, cursor),
        **_export(reader),
    )


@router.get("")
def privacy_page(reader: ReaderDep, cursor: Annotated[str | None, Query(max_length=MAX_CURSOR)] = None) -> HTMLResponse:
    """What you allow, and what is done with it."""
    try:
        return _whole(reader, cursor=cursor)
    except AppError as error:
        return Visitor(reader.request, None).trouble(error)


# --- what is done -----------------------------------------------------------------------------------------------------


@router.post("/consents/{purpose}")
def answer_consent(reader: ReaderDep, purpose: Purpose, granted: Annotated[bool, Form()]) -> Response:
    """Allow or withdraw one purpose. Who has no session yet becomes a visitor with this answer."""
    require_our_page(reader)
    cookie = record_answer(reader, purpose, granted)
    answer: Response = reader.back(f"#{purpose.value}")
    if reader.partial:
        consents = _consents(reader)
        allowed = sum(each["granted"] for each in consents)
        answer = reader.show("_consents.html", consents=consents, allowed=allowed, frozen=_frozen(reader), swap=True)
    if cookie is not None:
        set_cookie(reader, answer, cookie)
    return answer


def record_answer(reader: Reader, purpose: Purpose, granted: bool) -> str | None:
    """Keep an answer to a purpose; the token of the visitor that who had no session has become, if so."""
    token = welcome(reader) if reader.current is None else None
    assert reader.current is not None
    service.record(
        reader.session,
        reader.core.vault,
        account_id=reader.current.account_id,
        purpose=purpose,
        granted=granted,
        at=reader.now,
        by=service.controller(reader.core.settings),
    )
    return token


def welcome(reader: Reader) -> str:
    """Make a visitor of who has no session; the token of it."""
    settings = reader.core.settings
    token, row = visitors.welcome(
        reader.session, current=None, token=None, now=reader.now, ttl_s=settings.visitor_ttl_s
    )
    reader.session.refresh(row, ["account"])
    reader.current = row
    return token


def set_cookie(reader: Reader, answer: Response, token: str) -> None:
    """Give a browser its session."""
    settings, current = reader.core.settings, reader.current
    assert current is not None
    answer.set_cookie(
        session_cookie(settings),
        token,
        max_age=int((current.expires_at - reader.now).total_seconds()),
        path="/",
        secure=settings.secure_cookies,
        httponly=True,
        samesite="lax",
    )


@router.post("/export")
def ask_for_export(reader: ReaderDep, after: BackgroundTasks) -> Response:
    """Ask for everything that is kept of you."""
    if reader.account_id is None:
        return reader.back("#export")
    row = export.ask(reader.session, account_id=reader.account_id, now=reader.now)
    after.add_task(wake, make_export, str(row.id))
    return reader.show("_export.html", **_export(reader)) if reader.partial else reader.back("#export")


@router.get("/export")
def export_part(reader: ReaderDep) -> Response:
    """How far the export is, to be looked at again."""
    return reader.show("_export.html", **_export(reader)) if reader.partial else reader.back("#export")


@router.post("/freeze")
def set_freeze(reader: ReaderDep, frozen: Annotated[bool, Form()]) -> Response:
    """Freeze your data, or lift the freeze."""
    if reader.account_id is not None:
        person = make_person(reader.session, reader.core.vault, reader.account_id)
        if frozen:
            freeze(reader.session, person, now=reader.now)
        else:
            thaw(reader.session, person)
    return reader.back("#freeze")


# --- erasure ----------------------------------------------------------------------------------------------------------


def _erase_page(reader: Reader, status: int = 200, problem: str | None = None) -> Response:
    if reader.current is None:
        return reader.back("#erase")
    means = erasure.meaning(reader.session, reader.core.vault, reader.current.account_id)
    return reader.show(
        "privacy_erase.html",
        status,
        means=means,
        total=sum(means.destroyed.values()),
        fresh=erasure.is_fresh(reader.current, now=reader.now),
        problem=problem,
    )


@router.get("/erase")
def erase_page(reader: ReaderDep) -> Response:
    """What erasing means, before you say it."""
    return _erase_page(reader)


@router.post("/erase")
def erase_everything(reader: ReaderDep, after: BackgroundTasks, confirm: Annotated[str, Form()] = "") -> Response:
    """Erase everything, once the word is typed and the sign-in is fresh."""
    if reader.current is None:
        return reader.back("#erase")
    if confirm.strip().lower() != "erase":
        return _erase_page(reader, 422, "Nothing was erased: type the word “erase” to say that you mean it.")
    try:
        row = erasure.begin(reader.session, reader.core.vault, reader.current, now=reader.now)
    except Forbidden as error:
        return _erase_page(reader, error.status, error.detail)
    after.add_task(wake, erase, str(row.id))
    settings = reader.core.settings
    answer = reader.back(f"/erasures/{row.id}")
    answer.delete_cookie(
        session_cookie(settings), path="/", secure=settings.secure_cookies, httponly=True, samesite="lax"
    )
    return answer


@router.get("/erasures/{erasure_id}")
def erasure_page(reader: ReaderDep, erasure_id: uuid.UUID) -> Response:
    """How far an erasure is, and its receipt, for whoever knows its id."""
    try:
        row = erasure.find(reader.session, erasure_id)
    except AppError as error:
        return Visitor(reader.request, None).trouble(error)
    reached = erasure.STATES.index(row.state)
    steps = [
        {"words": step.words, "done": index < reached, "now": index == reached}
        for index, step in enumerate(erasure.STEPS.values())
    ]
    template = "_erasure.html" if reader.partial else "privacy_erasure.html"
    return reader.show(template, row=row, steps=steps, done=row.state == "done")
