"""The feed as a page, and what it thinks you like: everything is a form that works without script.

With script only the part that changed is exchanged: what changes something answers with where to look (303), and the
browser fetches the new slate there.
"""

from __future__ import annotations

import uuid
from datetime import time, timedelta
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, BackgroundTasks, Depends, Form, Query, Request, UploadFile
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import select

from backend.accounts.service import SignedIn, Somebody
from backend.consent import taste_writes
from backend.consent.persons import make_person
from backend.consent.purposes import NOTICES, Purpose
from backend.consent.writes import set_feed
from backend.deps import Chain, CoreDep, Now, VaultDep, person_of_session, presented_token
from backend.edge.boundary import JSON_LIMIT
from backend.engagement.routes import send_engagement
from backend.engagement.schemas import BatchIn, EventIn
from backend.errors import AppError, Invalid, NotFound, Unauthorized
from backend.payouts.reading import address
from backend.personalization.person import portable, portable_routes
from backend.personalization.person.taste_routes import WorkId, reset, taste_of, what_if, why
from backend.personalization.person.taste_schemas import ResetIn
from backend.personalization.ranking.signals import EventKind
from backend.personalization.reading import Asked, Reading, read, read_and_choose
from backend.personalization.routes import feed_of, keep
from backend.schemas import AddressStr
from backend.web import feed_page
from backend.web.privacy_routes import Reader, ReaderDep, record_answer, require_our_page, set_cookie
from backend.web.routes import Visitor
from indexer.models import view

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

ON_PAGE: Final = 12
"""Works of the page's slate."""
NEEDED: Final = (Purpose.BEHAVIOUR, Purpose.CONTENT_TASTE)
PAUSES: Final = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7)}

SAID: Final = {
    "like": "You liked {name}.",
    "skip": "You skipped {name}.",
    "less_like_this": "You will see less like {name}.",
    "forget": "{name} is forgotten.",
    "settings": "Your sliders are set.",
    "off": "Your feed is not personal now.",
    "on": "Your feed is personal again.",
    "paused": "Your feed is paused.",
    "hide": "You hid the creator of {name}.",
    "full": f"You hide {taste_writes.HIDDEN_AT_MOST:,} creators already: show one of them again first.",
    "shown": "That creator is shown again.",
    "limits": "Your limits are kept.",
    "all": "Everything you did until now is forgotten.",
    "short": "The mood of today is forgotten.",
    "topic": "That topic is forgotten.",
    "brought": "What you brought along counts from now on.",
    "left": "What you brought along is dropped.",
    "consent": "Your answer is kept; its receipt is on the page Privacy.",
}
"""What has just been done, by the word that the address carries: no text of the address gets into a page."""

Said = Annotated[str | None, Query(max_length=20)]
Shown = Annotated[str, Form(max_length=100 * 20)]
"""The slate that the person sees now: at most a hundred works."""
Slider = Annotated[float | None, Query(allow_inf_nan=False)]


class Watcher:
    """Who looks at the feed: a person, a visitor, or nobody yet."""

    def __init__(self, request: Request, core: CoreDep, now: Now) -> None:
        self.request, self.core, self.now = request, core, now
        self.somebody: Somebody | None = None

    @property
    def partial(self) -> bool:
        return "hx-request" in self.request.headers

    def show(self, template: str, status: int = 200, **context: Any) -> HTMLResponse:
        """A template, which no cache may keep."""
        me = address(self.somebody.address) if isinstance(self.somebody, SignedIn) else None
        answer = Visitor(self.request, me).page(template, status, known=self.somebody is not None, **context)
        answer.headers["Cache-Control"] = "no-store"
        return answer

    async def read(self, asked: Asked) -> Reading:
        return await read(self.request, self.core, self.somebody, self.now, asked)


async def get_watcher(request: Request, core: CoreDep, now: Now) -> Watcher:
    """An expired session reads the feed as nobody."""
    made = Watcher(request, core, now)
    token = presented_token(request, core.settings)
    try:
        made.somebody = await person_of_session(request, core, token) if token else None
    except Unauthorized:
        made.somebody = None
    return made


WatcherDep = Annotated[Watcher, Depends(get_watcher)]


def _told(said: str | None, title: str | None, work: int | None) -> str | None:
    return SAID[said].format(name=feed_page.name(title, work or 0)) if said in SAID else None


def _ids(text: str) -> list[int]:
    """The works of the slate that the person saw before, out of the address; what is none is left out."""
    return [int(part) for part in text.split(",")[:100] if part.isascii() and part.isdigit() and len(part) < 20]


def _asked(novelty: float | None, energy: float | None, anyway: bool) -> Asked:
    """What the address asks for; what lies outside a slider is its end."""
    return Asked(
        size=ON_PAGE,
        novelty=None if novelty is None else min(max(novelty, 0.0), 1.0),
        energy=None if energy is None else min(max(energy, -1.0), 1.0),
        anyway=anyway,
    )


async def _slate(
    watcher: Watcher, after: BackgroundTasks, asked: Asked, *, before: str, said: str | None, work: int | None
) -> tuple[Reading, dict[str, Any]]:
    found, shown = await read_and_choose(watcher.request, watcher.core, watcher.somebody, watcher.now, asked)
    packages = found.packages(shown)
    keep(found, shown, packages, watcher.core.database.async_pool, after)
    context = feed_page.slate(feed_of(found, shown, packages), _ids(before), found.history.liked)
    words = found.catalogue.words.get(work or 0, {})
    context["said"] = _told(said, words.get("title"), work)
    context["asked"] = asked
    return found, context


@router.get("/feed")
async def feed_page_(  # noqa: PLR0917 - FastAPI calls it by name
    watcher: WatcherDep,
    after: BackgroundTasks,
    said: Said = None,
    work: int | None = None,
    before: str = "",
    novelty: Slider = None,
    energy: Slider = None,
    anyway: bool = False,
) -> HTMLResponse:
    """What to watch next, each with its reason; sliders, limits and the off switch beside it."""
    try:
        asked = _asked(novelty, energy, anyway)
        found, context = await _slate(watcher, after, asked, before=before, said=said, work=work)
        context |= {"controls": _controls(found, asked), "notices": _notices(found)}
        if watcher.partial:
            return watcher.show("_slate.html", **context, swap=True)
        return watcher.show("feed.html", **context)
    except AppError as error:
        return Visitor(watcher.request, None).trouble(error)


def _controls(found: Reading, asked: Asked) -> dict[str, Any]:
    """The sliders and switches as they stand."""
    allowed = found.allowed
    limits = allowed.said.limits
    return {
        "novelty": 0.3 if found.controls.novelty is None else found.controls.novelty,
        "energy": 0.0 if found.controls.energy is None else found.controls.energy,
        "enabled": allowed.enabled,
        "paused_until": allowed.paused_until,
        "behaviour": allowed.behaviour,
        "content_taste": allowed.content_taste,
        "session_minutes": limits.session_minutes,
        "night": None if limits.night_from is None else (limits.night_from, limits.night_until),
        "time_zone": limits.time_zone,
        "autoplay_left": found.standing.autoplay_left,
        "hidden": [address(creator) for creator in sorted(allowed.said.hidden_creators)],
        "asked": asked,
    }


def _notices(found: Reading) -> list[dict[str, Any]]:
    given = {Purpose.BEHAVIOUR: found.allowed.behaviour, Purpose.CONTENT_TASTE: found.allowed.content_taste}
    return [
        {"purpose": p.value, "title": NOTICES[p].title, "text": NOTICES[p].text, "granted": given[p]} for p in NEEDED
    ]


def _back(place: str, **query: Any) -> RedirectResponse:
    """Where to look now."""
    kept = {key: value for key, value in query.items() if value not in (None, "")}
    return RedirectResponse(f"{place}?{urlencode(kept)}" if kept else place, status_code=303)


@router.get("/feed/{work_id}")
async def why_page(watcher: WatcherDep, work_id: WorkId) -> HTMLResponse:
    """Why a work is in the feed, exactly."""
    try:
        account = feed_page.why(why(await watcher.read(Asked(size=ON_PAGE)), work_id))
        return watcher.show("_why.html" if watcher.partial else "feed_why.html", why=account)
    except AppError as error:
        return Visitor(watcher.request, None).trouble(error)


# --- what is done -----------------------------------------------------------------------------------------------------


@router.post("/feed/events")
async def feed_event(  # noqa: PLR0917 - FastAPI calls it by name
    watcher: WatcherDep,
    chain: Chain,
    vault: VaultDep,
    kind: Annotated[Literal["like", "skip", "less_like_this"], Form()],
    work: Annotated[int, Form(ge=1, lt=2**63)],
    shown: Shown = "",
    slate_id: Annotated[uuid.UUID | None, Form()] = None,
) -> Response:
    """A like, a skip, or less like this; the next slate follows from it."""
    sent = EventIn(id=uuid.uuid4(), kind=EventKind(kind), work_id=work, at=watcher.now, slate_id=slate_id, device=None)
    try:
        batch = BatchIn(events=[sent])
        await send_engagement(
            request=watcher.request,
            core=watcher.core,
            chain=chain,
            vault=vault,
            person=watcher.somebody,
            now=watcher.now,
            body=batch,
        )
    except AppError as error:
        return Visitor(watcher.request, None).trouble(error)
    return _back("/feed", said=kind, work=work, before=shown)


@router.post("/feed/hide")
def feed_hide(reader: ReaderDep, work: Annotated[int, Form(ge=1, lt=2**63)], shown: Shown = "") -> Response:
    """Hide the creator of a work, by whom feed and searches go."""
    require_our_page(reader)
    if reader.account_id is not None:
        listed = view("work")
        creator = reader.session.scalar(select(listed.c.creator).where(listed.c.work_id == work))
        if creator is not None:
            person = make_person(reader.session, reader.core.vault, reader.account_id)
            if not taste_writes.hide_creator(reader.session, person=person, creator=creator, now=reader.now):
                return _back("/feed", said="full", before=shown)
    return _back("/feed", said="hide", work=work, before=shown)


@router.post("/feed/show")
def feed_show(reader: ReaderDep, creator: Annotated[AddressStr, Form()]) -> Response:
    """Show a creator's works again."""
    require_our_page(reader)
    if reader.account_id is not None:
        person = make_person(reader.session, reader.core.vault, reader.account_id)
        taste_writes.show_creator(reader.session, person=person, creator=bytes.fromhex(creator[2:]))
    return _back("/feed", said="shown")


@router.post("/feed/settings")
def feed_settings(
    reader: ReaderDep,
    novelty: Annotated[float, Form(ge=0, le=1)],
    energy: Annotated[float, Form(ge=-1, le=1)],
    shown: Shown = "",
) -> Response:
    """The sliders of a person or visitor; nobody's turn the slate alone."""
    if reader.account_id is None:
        return _back("/feed", novelty=novelty, energy=energy, before=shown)
    _set(reader, {"novelty": novelty, "energy": energy})
    return _back("/feed", said="settings", before=shown)


@router.post("/feed/switch")
def feed_switch(
    reader: ReaderDep,
    to: Annotated[Literal["on", "off", "hour", "day", "week"], Form()],
    shown: Shown = "",
) -> Response:
    """The off switch, and the pause."""
    require_our_page(reader)
    if to in PAUSES:
        values: dict[str, Any] = {"paused_until": reader.now + PAUSES[to]}
    else:
        values = {"enabled": to == "on", "paused_until": None}
    if reader.account_id is not None:
        _set(reader, values)
    return _back("/feed", said=to if to in ("on", "off") else "paused", before=shown)


def _minute(text: str) -> int | None:
    """Minutes after midnight of a field of the browser; None when it is empty or no time."""
    try:
        found = time.fromisoformat(text)
    except ValueError:
        return None
    return 60 * found.hour + found.minute


@router.post("/feed/limits")
def feed_limits(
    reader: ReaderDep,
    session_minutes: Annotated[str, Form(max_length=3, pattern="^[0-9]*$")] = "",
    night_from: Annotated[str, Form()] = "",
    night_until: Annotated[str, Form()] = "",
    time_zone: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """How much is enough."""
    minutes = int(session_minutes or "0")
    begins, ends = _minute(night_from), _minute(night_until)
    whole = begins is not None and ends is not None and begins != ends
    if reader.account_id is not None:
        _set(
            reader,
            {
                "session_minutes": min(max(minutes, 5), 720) if minutes else None,
                "night_from": begins if whole else None,
                "night_until": ends if whole else None,
                "time_zone": time_zone or None,
            },
        )
    return _back("/feed", said="limits")


@router.post("/feed/consents/{purpose}")
def feed_consent(reader: ReaderDep, purpose: Purpose, granted: Annotated[bool, Form()]) -> Response:
    """Allow or withdraw what a personal feed needs. Who has no session yet becomes a visitor with this answer."""
    require_our_page(reader)
    cookie = record_answer(reader, purpose, granted)
    answer = _back("/feed", said="consent")
    if cookie is not None:
        set_cookie(reader, answer, cookie)
    return answer


def _set(reader: Reader, values: dict[str, Any]) -> None:
    require_our_page(reader)
    assert reader.account_id is not None
    person = make_person(reader.session, reader.core.vault, reader.account_id)
    set_feed(reader.session, person=person, values=values, now=reader.now)


# --- taste ------------------------------------------------------------------------------------------------------------


@router.get("/taste")
async def taste_page(watcher: WatcherDep, said: Said = None, work: int | None = None) -> HTMLResponse:
    """What we think you like, what it rests on, and how to have it forgotten."""
    try:
        found = await watcher.read(Asked(size=ON_PAGE))
    except AppError as error:
        return Visitor(watcher.request, None).trouble(error)
    words = found.catalogue.words.get(work or 0, {})
    told = _told(said, words.get("title"), work)
    template = "_taste.html" if watcher.partial else "taste.html"
    return watcher.show(template, taste=feed_page.taste(taste_of(found)), said=told, brought=len(found.history.brought))


@router.get("/taste/without/{work_id}")
async def without_page(watcher: WatcherDep, work_id: WorkId) -> HTMLResponse:
    """What if I forget this?"""
    try:
        found = feed_page.without(what_if(await watcher.read(Asked(size=ON_PAGE)), work_id))
    except AppError as error:
        return Visitor(watcher.request, None).trouble(error)
    return watcher.show("_without.html" if watcher.partial else "taste_without.html", without=found)


@router.post("/taste/import")
def taste_import(reader: ReaderDep, file: UploadFile) -> Response:
    """Bring a taste document along."""
    require_our_page(reader)
    if reader.account_id is None:
        return _back("/taste")
    try:
        document = portable.parse(file.file.read(JSON_LIMIT))
        portable_routes.bring_along(reader.session, reader.core, reader.account_id, document, reader.now)
    except portable.DocumentError as error:
        refused = Invalid(f"{error} Nothing was changed.", code=error.code, title="This document is not taken")
        return Visitor(reader.request, None).trouble(refused)
    return _back("/taste", said="brought")


@router.post("/taste/import/drop")
def taste_import_drop(reader: ReaderDep) -> Response:
    """Drop what was brought along."""
    require_our_page(reader)
    if reader.account_id is not None:
        person = make_person(reader.session, reader.core.vault, reader.account_id)
        taste_writes.leave_behind(reader.session, person=person)
    return _back("/taste", said="left")


@router.post("/taste/forget")
def taste_forget(
    reader: ReaderDep,
    work: Annotated[int, Form(ge=1, lt=2**63)],
    shown: Shown = "",
    back: Annotated[Literal["/feed", "/taste"], Form()] = "/taste",
) -> Response:
    """Forget what was done with one work."""
    require_our_page(reader)
    if reader.account_id is not None:
        person = make_person(reader.session, reader.core.vault, reader.account_id)
        taste_writes.forget_work(reader.session, person=person, work_id=work, now=reader.now)
    return _back(back, said="forget", work=work, before=shown)


@router.post("/taste/reset")
def taste_reset(reader: ReaderDep, scope: Annotated[str, Form(max_length=80)]) -> Response:
    """Forget everything, the mood of today, or a topic."""
    require_our_page(reader)
    try:
        asked = ResetIn(scope=scope).scope
    except ValueError:
        return Visitor(reader.request, None).trouble(NotFound("There is no such topic to forget; nothing was changed."))
    if reader.account_id is not None:
        person = make_person(reader.session, reader.core.vault, reader.account_id)
        reset(reader.session, person=person, scope=asked, now=reader.now)
    return _back("/taste", said=asked if asked in ("all", "short") else "topic")
