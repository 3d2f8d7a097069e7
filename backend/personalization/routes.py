"""The feed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Final

from fastapi import APIRouter, BackgroundTasks, Query, Request

from backend.consent.persons import person_of_async
from backend.deps import AsyncDb, CoreDep, Now
from backend.edge.scoped import OptionalFeedReader
from backend.personalization import impressions, service, wellbeing
from backend.personalization.catalogue import Window
from backend.personalization.control_schemas import Reached, Wellbeing
from backend.personalization.controls import DEFAULTS
from backend.personalization.schemas import Because, Feed, FeedItem, Terms
from backend.personalization.wellbeing import Standing

router = APIRouter(prefix="/v1", tags=["feed"])


def window(request: Request, core: CoreDep) -> Window:
    """The process's window on the catalogue; made at the first request."""
    if not hasattr(request.app.state, "feed_window"):
        request.app.state.feed_window = Window(core.settings.data_dir / "models", lambda: core.database.async_pool)
    window: Window = request.app.state.feed_window
    return window


@router.get("/feed")
async def get_feed(  # noqa: PLR0917 - FastAPI calls it by name
    request: Request,
    core: CoreDep,
    db: AsyncDb,
    person: OptionalFeedReader,
    now: Now,
    after: BackgroundTasks,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    novelty: Annotated[float | None, Query(ge=0, le=1, description="For this slate, instead of your slider.")] = None,
    energy: Annotated[float | None, Query(ge=-1, le=1, description="For this slate, instead of your slider.")] = None,
    anyway: Annotated[bool, Query(description="The whole slate, whatever limit of yours is reached.")] = False,
) -> Feed:
    """What to watch next, best first, each item with the true reason why it is there.

    Signed in or as a visitor, and with the purposes `behaviour` and `content_taste` allowed, the slate follows what you
    did up to this moment; otherwise it is what is popular and new, and nothing about you is read. A program with an API
    key gets that, too, unless you allow the purpose `agent`.

    Where you allow `behaviour`, the slate is kept, and `slate_id` names it: send it along with what comes of it
    (`POST /v1/engagement`). Where it is chosen for you, too, about one place in ten is drawn by chance. The same page
    loaded again is the same slate.
    """
    async with db.connection() as connection:
        catalogue = await window(request, core).catalogue(connection, now=now, tick=time.monotonic())
        history, viewed = service.NOTHING, None
        controls, standing = DEFAULTS, Standing()
        why_not: str | None = "You are not signed in."
        if person is not None:
            pseudonym = await person_of_async(connection, core.vault, person.account_id)
            program = person.session_id is None
            found, history = await service.history(connection, person=pseudonym, now=now, program=program)
            why_not = found.why_not_for_a_program if program else found.why_not
            controls = found.controls
            standing = await service.limits(connection, person=pseudonym, controls=controls, now=now)
        turned = replace(controls, **_asked(novelty=novelty, energy=energy))
        policy = turned.policy(catalogue.configuration.policy)
        size = limit
        if not anyway:
            policy, size = wellbeing.kept(policy, limit, standing)
        if person is not None and pseudonym is not None and found.kept(program=program):
            viewed = impressions.viewing(
                catalogue,
                history.rows,
                account_id=person.account_id,
                person=pseudonym,
                arms={},
                explored=why_not is None,
                limit=size,
                policy=policy,
            )
    policy = impressions.exploring(policy, viewed)
    shown = service.choose(catalogue, history, now=now, limit=size, policy=policy, seed=impressions.seed(viewed))
    if viewed is not None and shown:
        kept = impressions.row(
            viewed,
            [item.work_id for item in shown],
            [item.place for item in shown],
            configuration=catalogue.configuration.digest,
            model_version=catalogue.model_version,
            now=now,
        )
        after.add_task(impressions.keep, db, kept)
    return Feed(
        slate_id=viewed.slate_id if viewed is not None and shown else None,
        items=[_item(item, history, catalogue.words) for item in shown],
        personal=why_not is None,
        why_not_personal=why_not,
        model_version=catalogue.model_version,
        configuration=catalogue.configuration.digest,
        wellbeing=_wellbeing(standing),
    )


def _asked(**sliders: float | None) -> dict[str, Any]:
    """The sliders that a request turns by itself."""
    return {name: value for name, value in sliders.items() if value is not None}


def _wellbeing(standing: Standing) -> Wellbeing:
    return Wellbeing(
        reached=[Reached(limit=name, sentence=sentence) for name, sentence in standing.reached],
        session_minutes=standing.session_minutes,
        autoplay_left=standing.autoplay_left,
        until=standing.until,
    )


def _item(shown: service.Shown, history: service.History, words: Mapping[int, Mapping[str, str | None]]) -> FeedItem:
    because = [
        Because(
            work_id=work_id,
            title=words.get(work_id, {}).get("title"),
            did="liked" if work_id in history.liked else "finished" if work_id in history.finished else "watched",
            part=part,
        )
        for work_id, part in shown.because
    ]
    word = words.get(shown.work_id, {})
    return FeedItem(
        work_id=shown.work_id,
        title=word.get("title"),
        media_cid=word.get("media_cid"),
        score=shown.score,
        terms=Terms(**shown.terms),
        reason=shown.reason,
        because=because,
        why=_sentence(shown.reason, because),
        propensity=shown.propensity,
    )


_WHY: Final[Mapping[service.Reason, str]] = {
    "trend": "Many people liked it in the last days.",
    "new": "It is new here.",
    "unlike": "It is unlike anything you know: one place of each slate is for that.",
    "fresh": "Hardly anybody has been shown it yet: one place of each slate is for that.",
}


def _sentence(reason: service.Reason, because: list[Because]) -> str:
    if reason != "taste":
        return _WHY[reason]
    named = " and ".join(f"{b.did} {b.title or f'work {b.work_id}'}" for b in because)
    return f"Because you {named}."
