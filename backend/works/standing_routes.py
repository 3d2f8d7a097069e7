"""A work's standing over HTTP: disputes and consents."""

from __future__ import annotations

from fastapi import APIRouter

from backend.deps import Chain, CoreDep, DbSession
from backend.edge.scoped import WorksAuthor
from backend.errors import Problem
from backend.mirror import ChainHead
from backend.works import standing
from backend.works.routes import WorkId
from backend.works.schemas import ContestIn, ContestIntent, StandingOut

router = APIRouter(prefix="/v1/works", tags=["works"])


@router.get("/{work_id}/standing", responses={404: {"model": Problem, "description": "`work_not_found`"}})
def get_standing(work_id: WorkId, session: DbSession, head: ChainHead) -> StandingOut:
    """A work's standing: its status, the dispute that runs and those that ended, what contesting it takes, consents.

    Who committed to the file before `older_than` can contest, with `POST /v1/works/{work_id}/contest-intent`.
    """
    return standing.standing(session, head, work_id)


@router.post(
    "/{work_id}/contest-intent",
    responses={
        404: {"model": Problem, "description": "`work_not_found`"},
        409: {"model": Problem, "description": "Why no claim can be made, or not with this commitment"},
    },
)
def contest_work(
    *,
    work_id: WorkId,
    wanted: ContestIn,
    session: DbSession,
    me: WorksAuthor,
    chain: Chain,
    core: CoreDep,
    head: ChainHead,
) -> ContestIntent:
    """The transactions that contest a work by your own, older commitment to its file, with the bond that this takes.

    The most that you post is `bond`: should it double meanwhile, nothing happens. Name the salt of your commitment, or
    leave it out when you made it with a draft here.
    """
    return standing.contest_intent(
        session,
        vault=core.vault,
        chain=chain,
        node=core.node,
        head=head,
        me=me,
        work_id=work_id,
        salt=wanted.salt,
    )
