"""The feed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

from fastapi import APIRouter, BackgroundTasks, Query, Request

from backend.db import AsyncPool
from backend.deps import Core
from backend.edge.scoped import OptionalFeedReader
from backend.personalization import service
from backend.personalization.catalogue import Catalogue
from backend.personalization.packaging import impressions
from backend.personalization.packaging.variants import Package
from backend.personalization.person.control_schemas import Reached, Wellbeing
from backend.personalization.person.wellbeing import Standing
from backend.personalization.reading import SIZE, Asked, Reading, read_and_choose
from backend.personalization.schemas import Because, Feed, FeedItem, Packaging, Terms

router = APIRouter(prefix="/v1", tags=["feed"])
NO_CHOICE: Final[Mapping[int, Package]] = {}


@router.get("/feed")
async def get_feed(  # noqa: PLR0917 - FastAPI calls it by name
    request: Request,
    person: OptionalFeedReader,
    after: BackgroundTasks,
    limit: Annotated[int, Query(ge=1, le=100)] = SIZE,
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
    asked = Asked(limit, novelty, energy, anyway)
    core: Core = request.app.state.core  # by dependencies of their own core, clock and pool would be found much slower
    found, shown = await read_and_choose(request, core, person, core.clock(), asked)
    packages = found.packages(shown)
    keep(found, shown, packages, core.database.async_pool, after)
    return feed_of(found, shown, packages)


def keep(
    found: Reading,
    shown: Sequence[service.Shown],
    packages: Mapping[int, Package],
    db: AsyncPool,
    after: BackgroundTasks,
) -> None:
    """Keep a slate once its answer has left, where the person allows that."""
    if found.viewed is None or not shown:
        return
    kept = impressions.row(
        found.viewed,
        [item.work_id for item in shown],
        [item.place for item in shown],
        configuration=found.catalogue.configuration.digest,
        model_version=found.catalogue.model_version,
        packaging=[packages[item.work_id].row(n) for n, item in enumerate(shown) if item.work_id in packages],
        now=found.now,
    )
    after.add_task(impressions.keep, db, kept)


def feed_of(found: Reading, shown: Sequence[service.Shown], packages: Mapping[int, Package] = NO_CHOICE) -> Feed:
    """A slate as it leaves."""
    catalogue = found.catalogue
    return Feed(
        slate_id=found.viewed.slate_id if found.viewed is not None and shown else None,
        items=[packed(item_of(item, found.history, catalogue), packages.get(item.work_id)) for item in shown],
        personal=found.why_not is None,
        why_not_personal=found.why_not,
        drift=found.drift.words,
        model_version=catalogue.model_version,
        configuration=catalogue.configuration.digest,
        wellbeing=_wellbeing(found.standing),
    )


def _wellbeing(standing: Standing) -> Wellbeing:
    return Wellbeing(
        reached=[Reached(limit=name, sentence=sentence) for name, sentence in standing.reached],
        session_minutes=standing.session_minutes,
        autoplay_left=standing.autoplay_left,
        until=standing.until,
    )


def packed(item: FeedItem, package: Package | None) -> FeedItem:
    """An item under the title, picture and preview that were chosen for it."""
    if package is None:
        return item
    chosen = package.choice
    said = Packaging(
        variant=chosen.variant,
        propensity=package.propensity,
        thumbnail_cid=chosen.thumbnail_cid,
        preview=chosen.preview,
    )
    return item.model_copy(update={"title": chosen.title or item.title, "packaging": said})


def item_of(shown: service.Shown, history: service.History, catalogue: Catalogue) -> FeedItem:
    """One item as it leaves."""
    words = catalogue.words
    because = [
        Because(
            work_id=work_id,
            title=words.get(work_id, {}).get("title"),
            did=history.did(work_id),
            part=part,
        )
        for work_id, part in shown.because
    ]
    word, label = words.get(shown.work_id, {}), catalogue.labels[shown.work_id]
    return FeedItem(
        work_id=shown.work_id,
        kind=label.kind_name,
        ai_label=label.ai_label_name,
        tags=list(label.tags),
        title=word.get("title"),
        media_cid=word.get("media_cid"),
        score=shown.score,
        terms=Terms(**shown.terms),
        reason=shown.reason,
        because=because,
        why=sentence(shown.reason, because),
        propensity=shown.propensity,
        packaging=None,
    )


_WHY: Final[Mapping[service.Reason, str]] = {
    "trend": "Many people liked it in the last days.",
    "new": "It is new here.",
    "unlike": "It is unlike anything you know: one place of each slate is for that.",
    "fresh": "Hardly anybody has been shown it yet: one place of each slate is for that.",
}


def sentence(reason: service.Reason, because: list[Because]) -> str:
    """A reason in words."""
    if reason != "taste":
        return _WHY[reason]
    verbs = {"brought": "brought along a liking for"}
    said, did = [], None
    for each in because:
        verb = f"{verbs.get(each.did, each.did)} " if each.did != did else ""
        said.append(f"{verb}{each.title or f'work {each.work_id}'}")
        did = each.did
    return f"Because you {' and '.join(said)}."
