"""Who may be shown a work: what its owner declares, and what moderators decide."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter

from backend.deps import CurrentModerator, DbSession, Now
from backend.edge.scoped import WorksAuthor
from backend.errors import Problem
from backend.personalization.showing import limits as showing
from backend.personalization.showing.constraints import NOTHING_STATED, why_not
from backend.personalization.showing.schemas import (
    DecisionIn,
    DecisionOut,
    ShowingIn,
    ShowingOut,
)
from backend.works.routes import WorkId

router = APIRouter(prefix="/v1", tags=["feed"])

_UNKNOWN: Final[dict[int | str, dict[str, Any]]] = {404: {"model": Problem, "description": "`work_not_found`"}}


@router.get("/works/{work_id}/showing", responses=_UNKNOWN)
def get_showing(work_id: WorkId, session: DbSession, now: Now) -> ShowingOut:
    """What limits who is shown a work, and why: chain, owner, licences, moderators."""
    limit = showing.limit_of(session, work_id)
    return ShowingOut(
        work_id=work_id,
        active=limit.live,
        age=limit.age,  # type: ignore[arg-type]  # the database holds no other
        territory=None if limit.territory is None else sorted(limit.territory),
        shown_from=limit.opens,  # type: ignore[arg-type]  # seconds since 1970
        shown_until=limit.closes,  # type: ignore[arg-type]
        state=limit.state,  # type: ignore[arg-type]
        decisions=[DecisionOut.model_validate(each) for each in showing.decisions(session, work_id)],
        why_not=why_not(limit, NOTHING_STATED, now.timestamp()),
    )


@router.put("/works/{work_id}/showing", responses=_UNKNOWN)
def declare_showing(work_id: WorkId, session: DbSession, me: WorksAuthor, now: Now, body: ShowingIn) -> ShowingOut:
    """Declare as a work's owner from which age on, where and when it may be shown. It acts on the next feed."""
    showing.declare(session, work_id=work_id, owner=me.address, now=now, **dict(body))
    return get_showing(work_id, session, now)


@router.post("/works/{work_id}/decisions", responses=_UNKNOWN)
def decide_on_work(work_id: WorkId, session: DbSession, me: CurrentModerator, now: Now, body: DecisionIn) -> ShowingOut:
    """Decide as a moderator that a work is shown, kept out of feeds, or removed, and for which ages. Acts on the next
    feed; every decision stays readable with its reason."""
    showing.decide(session, work_id=work_id, moderator=me.address, now=now, **dict(body))
    return get_showing(work_id, session, now)
