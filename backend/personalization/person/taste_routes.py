"""What do you think I like, why do I see this, what if I forget that: the account of a feed, and what it forgets."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Request
from sqlalchemy.orm import Session

from backend.consent import reads, taste_writes
from backend.consent.gate import read_async
from backend.consent.persons import make_person
from backend.deps import AccountOrVisitor, AsyncDb, CoreDep, DbSession, Now, PersonOrVisitor, VaultDep
from backend.edge.scoped import OptionalFeedReader
from backend.errors import NotFound
from backend.personalization import service
from backend.personalization.catalogue import Catalogue
from backend.personalization.person import taste_view
from backend.personalization.person.taste_schemas import (
    Changed,
    Did,
    PartOut,
    Recorded,
    ResetIn,
    ResetOut,
    TasteOut,
    TasteWork,
    TermOut,
    TopicWeight,
    TraitsOut,
    Unwanted,
    WhatIf,
    WhyHere,
)
from backend.personalization.ranking.scoring import Past, mood
from backend.personalization.reading import Asked, Reading, read
from backend.personalization.routes import item_of
from backend.personalization.schemas import Terms
from backend.works.rules import Kind

router = APIRouter(prefix="/v1", tags=["feed"])

WorkId = Annotated[int, Path(ge=1, le=2**63 - 1, description="The work's id in the registry")]
TERM_WORDS: Final = {name: field.description or "" for name, field in Terms.model_fields.items()}


# --- what shall be forgotten ------------------------------------------------------------------------------------------


@router.post("/me/personalization/reset")
def reset_personalization(
    session: DbSession, vault: VaultDep, me: AccountOrVisitor, now: Now, body: ResetIn
) -> ResetOut:
    """Let your feed forget: everything, the mood of today, or a topic. It acts on the next request.

    What you did until now is as if it had never been done: works that you finished or hid may be shown again. The log
    of what you did stays: creators are paid by it, and it is yours to take along. What you do from now on counts again.
    `short` forgets nothing but that it was today: it counts as lasting taste. Creators whose works you hid stay hidden.
    """
    works = reset(session, person=make_person(session, vault, me.id), scope=body.scope, now=now)
    return ResetOut(scope=body.scope, at=now, works=works)


def reset(session: Session, *, person: uuid.UUID, scope: str, now: datetime) -> int | None:
    """Do a reset, whose scope is as `ResetIn` takes it; of how many works a topic was forgotten."""
    if scope == "all":
        taste_writes.forget_all(session, person=person, now=now)
        return None
    if scope == "short":
        taste_writes.forget_today(session, person=person, now=now)
        return None
    what, _, word = scope.partition(":")
    topic = f"kind:{Kind[word.upper()].value}" if what == "kind" else scope
    return taste_writes.forget_topic(session, person=person, topic=topic, now=now)


@router.delete("/me/taste/works/{work_id}")
def forget_work(session: DbSession, vault: VaultDep, me: AccountOrVisitor, now: Now, work_id: WorkId) -> ResetOut:
    """Let your feed forget what you did with one work until now."""
    person = make_person(session, vault, me.id)
    if not taste_writes.forget_work(session, person=person, work_id=work_id, now=now):
        raise NotFound(f"Your feed knows of nothing that you did with work {work_id}.", code="taste_unknown")
    return ResetOut(scope=f"work:{work_id}", at=now, works=1)


# --- what the feed makes of it ----------------------------------------------------------------------------------------


def _did(found: Reading, work_id: int) -> Did:
    if work_id in found.history.hidden - found.history.finished:
        return "hidden"
    return found.history.did(work_id)


def _title(catalogue: Catalogue, work_id: int) -> str | None:
    return catalogue.words.get(work_id, {}).get("title")


def _past(found: Reading) -> Past:
    return service.past(found.catalogue, found.history.rows, found.now, found.history.brought)


def taste_of(found: Reading) -> TasteOut:
    """What a reading makes of the person's past."""
    catalogue, past = found.catalogue, _past(found)
    works = taste_view.known(catalogue, past)
    labels = catalogue.labels
    topics = {
        each.work_id: [
            *([f"kind:{labels[each.work_id].kind_name}"] if labels[each.work_id].kind_name else []),
            *(f"tag:{tag}" for tag in labels[each.work_id].tags),
        ]
        for each in works
    }
    traits = taste_view.traits(catalogue, past)
    penalty = found.policy.unwanted
    return TasteOut(
        read=found.why_not is None,
        why_not=found.why_not,
        works=[
            TasteWork(
                work_id=each.work_id,
                title=_title(catalogue, each.work_id),
                kind=labels[each.work_id].kind_name,
                did=_did(found, each.work_id),
                long=each.long,
                short=each.short,
                weight=each.weight,
            )
            for each in works
        ],
        topics=[
            TopicWeight(topic=topic, weight=weight, works=sum(topic in of for of in topics.values()))
            for topic, weight in taste_view.summed(works, topics)
        ],
        traits=None
        if traits is None
        else TraitsOut(newness=traits.newness, fame=traits.fame, sentences=traits.sentences),
        unwanted=[
            Unwanted(tag=tag, penalty=penalty * strength)
            for tag, strength in sorted(
                service.unwanted(catalogue, found.history, found.now).items(), key=lambda each: (-each[1], each[0])
            )
        ],
        session_events=past.session,
        mood=mood(past.session),
        drift=found.drift.words,
    )


@router.get("/me/taste")
async def get_taste(request: Request, core: CoreDep, me: PersonOrVisitor, now: Now) -> TasteOut:
    """What we think you like: every past work with its weight on both scales, topics, traits. There is nothing else.

    Read under the same consents as your feed, and counted in the log of uses like it.
    """
    return taste_of(await read(request, core, me, now, Asked()))


def what_if(found: Reading, work_id: int) -> WhatIf:
    """A reading's slate with and without a past work. Raises NotFound."""
    catalogue, past = found.catalogue, _past(found)
    forgotten = catalogue.positions([work_id])
    if not len(forgotten) or forgotten[0] not in past.works:
        raise NotFound(f"Your feed knows of nothing that you did with work {work_id}.", code="taste_unknown")
    now = [item.work_id for item in found.slate()]
    then = [item.work_id for item in found.slate(forgetting=[work_id])]
    shown = [*now, *(work for work in then if work not in now)]
    before, after = taste_view.scores(catalogue, past), taste_view.scores(catalogue, past.without(forgotten))
    accounts = taste_view.account(catalogue, past, shown)
    return WhatIf(
        work_id=work_id,
        title=_title(catalogue, work_id),
        works=[
            Changed(
                work_id=each.work_id,
                title=_title(catalogue, each.work_id),
                score_with=before[each.work_id],
                score_without=after[each.work_id],
                part=dict(each.parts)[work_id],
                place_with=now.index(each.work_id) + 1 if each.work_id in now else None,
                place_without=then.index(each.work_id) + 1 if each.work_id in then else None,
            )
            for each in accounts
        ],
    )


@router.get("/me/taste/without/{work_id}")
async def get_taste_without(request: Request, core: CoreDep, me: PersonOrVisitor, now: Now, work_id: WorkId) -> WhatIf:
    """What if I forget this: your slate as it is and without one past work, and by how much each score changes.

    Nothing is changed by asking. Both scores are computed anew; `part` is what reasons say, and is their difference.
    """
    return what_if(await read(request, core, me, now, Asked()), work_id)


@router.get("/feed/{work_id}/why")
async def get_feed_why(  # noqa: PLR0917 - FastAPI calls it by name
    request: Request,
    core: CoreDep,
    db: AsyncDb,
    person: OptionalFeedReader,
    now: Now,
    work_id: WorkId,
    slate_id: Annotated[uuid.UUID | None, Query(description="As your feed named it; for how it was then.")] = None,
) -> WhyHere:
    """Why am I seeing this: a work's score in your feed, term by term and past work by past work, and its place."""
    found = await read(request, core, person, now, Asked())
    recorded = None
    if slate_id is not None:
        recorded = await _recorded(db, found, slate_id, work_id, now)
    return why(found, work_id, recorded)


async def _recorded(db: AsyncDb, found: Reading, slate_id: uuid.UUID, work_id: int, now: datetime) -> Recorded:
    allowed = found.allowed
    if allowed.frozen or allowed.withheld(program=found.program):
        why_not = allowed.refusal(program=found.program)
        raise NotFound(f"How a slate came about is not read now: {why_not}", code="slate_unknown")
    rows = []
    if found.person is not None:
        async with db.connection() as connection:
            (rows,) = await read_async(
                connection, (reads.MY_SLATE, {"slate_id": slate_id}), person=found.person, now=now
            )
    if not rows or work_id not in rows[0]["works"]:
        raise NotFound(f"No slate of that id, with work {work_id} in it, is kept of you.", code="slate_unknown")
    row = rows[0]
    at = row["works"].index(work_id)
    return Recorded(
        slate_id=slate_id,
        at=row["at"],
        place=at + 1,
        filled=row["whys"][at],
        propensity=row["propensities"][at],
        configuration=row["configuration"],
        model_version=row["model_version"],
    )


def why(found: Reading, work_id: int, recorded: Recorded | None = None) -> WhyHere:
    """The account of one work in a reading. Raises NotFound."""
    catalogue, past = found.catalogue, _past(found)
    if work_id not in catalogue.place:
        raise NotFound(f"Work {work_id} is not among those that can be shown.", code="not_in_catalogue")
    (account,) = taste_view.account(catalogue, past, [work_id])
    shown = found.slate()
    place = next((n for n, item in enumerate(shown, 1) if item.work_id == work_id), None)
    item = None if place is None else item_of(shown[place - 1], found.history, catalogue)
    averse = service.averse(catalogue, found.history, found.now)
    return WhyHere(
        work_id=work_id,
        title=_title(catalogue, work_id),
        why=item.why if item else "It is not in your feed now.",
        reason=item.reason if item else "not_shown",
        place=place,
        filled=None if place is None else shown[place - 1].place.why,
        propensity=None if place is None else shown[place - 1].propensity,
        score=account.score,
        terms=[
            TermOut(name=name, words=TERM_WORDS[name], value=value, weight=weight, part=value * weight)
            for name, (value, weight) in account.terms.items()
        ],
        penalty=0.0 if averse is None else found.policy.unwanted * float(averse[catalogue.place[work_id]]),
        parts=[
            PartOut(work_id=each, title=_title(catalogue, each), did=_did(found, each), part=part)
            for each, part in account.parts
        ],
        configuration=catalogue.configuration.digest,
        model_version=catalogue.model_version,
        recorded=recorded,
    )
