"""The feed and its off switch."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Query, Request

from backend.consent.persons import make_person, person_of_async
from backend.consent.writes import set_feed_enabled
from backend.deps import (
    AccountOrVisitor,
    AsyncDb,
    CoreDep,
    DbSession,
    Now,
    PersonOrVisitor,
    VaultDep,
)
from backend.personalization import service
from backend.personalization.ranking import Ranked, slate
from backend.personalization.schemas import Because, Feed, FeedItem, PersonalizationIn, PersonalizationOut, Terms
from backend.scoped import OptionalFeedReader

router = APIRouter(prefix="/v1", tags=["feed"])


def _window(request: Request, core: CoreDep) -> service.Window:
    """The process's window on the catalogue; made at the first request."""
    if not hasattr(request.app.state, "feed_window"):
        request.app.state.feed_window = service.Window(core.settings.data_dir / "models")
    window: service.Window = request.app.state.feed_window
    return window


@router.get("/feed")
async def get_feed(  # noqa: PLR0917 - FastAPI calls it by name
    request: Request,
    core: CoreDep,
    db: AsyncDb,
    person: OptionalFeedReader,
    now: Now,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Feed:
    """What to watch next, best first, each item with the true reason why it is there.

    Signed in or as a visitor, and with the purposes `behaviour` and `content_taste` allowed, the slate follows what you
    did up to this moment; otherwise it is what is popular and new, and nothing about you is read.
    """
    async with db.connection() as connection:
        shelf = await _window(request, core).shelf(connection, now=now, tick=time.monotonic())
        past = service.NOTHING
        why_not: str | None = "You are not signed in."
        if person is not None:
            found, past = await service.taste(
                connection, person=await person_of_async(connection, core.vault, person.account_id), now=now
            )
            why_not = found.why_not
    ranked = slate(shelf.catalogue, shelf.model, past.signals, hidden=past.hidden, limit=limit)
    return Feed(
        items=[_item(item, past, shelf.words) for item in ranked],
        personal=why_not is None,
        why_not_personal=why_not,
        model_version=shelf.model_version,
    )


def _item(ranked: Ranked, past: service.Past, words: Mapping[int, Mapping[str, str | None]]) -> FeedItem:
    because = [
        Because(
            work_id=work_id,
            title=words.get(work_id, {}).get("title"),
            did="liked" if work_id in past.liked else "finished" if work_id in past.finished else "watched",
            part=part,
        )
        for work_id, part in ranked.because
    ]
    word = words.get(ranked.work_id, {})
    return FeedItem(
        work_id=ranked.work_id,
        title=word.get("title"),
        media_cid=word.get("media_cid"),
        score=ranked.score,
        terms=Terms(**ranked.terms),
        reason=ranked.reason,
        because=because,
        why=_sentence(ranked, because),
    )


def _sentence(ranked: Ranked, because: list[Because]) -> str:
    if ranked.reason == "fresh":
        return "New here, and hardly anybody has seen it yet."
    if ranked.reason == "trend":
        return "Many people liked it in the last days." if ranked.terms["trend"] > 0 else "You have not seen it yet."
    named = " and ".join(f"{b.did} {b.title or f'work {b.work_id}'}" for b in because)
    return f"Because you {named}."


@router.get("/me/personalization")
async def get_personalization(db: AsyncDb, vault: VaultDep, me: PersonOrVisitor, now: Now) -> PersonalizationOut:
    """Your off switch, and the two consents that a personal feed needs."""
    async with db.connection() as connection:
        person = await person_of_async(connection, vault, me.account_id)
        found = await service.allowed(connection, person=person, now=now)
    return PersonalizationOut(enabled=found.enabled, behaviour=found.behaviour, content_taste=found.content_taste)


@router.put("/me/personalization")
def set_personalization(
    session: DbSession, vault: VaultDep, me: AccountOrVisitor, now: Now, body: PersonalizationIn
) -> PersonalizationIn:
    """Switch your personal feed off or on. It acts on the next request."""
    set_feed_enabled(session, person=make_person(session, vault, me.id), enabled=body.enabled, now=now)
    return body
