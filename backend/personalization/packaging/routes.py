"""How a work is shown: what its owner offers, and what came of it."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, UploadFile
from pydantic import AfterValidator, Field, model_validator

from backend.content.pictures import MAX_BYTES
from backend.content.routes import Store
from backend.deps import DbSession, Now
from backend.edge.scoped import WorksAuthor, WorksReader
from backend.errors import Problem
from backend.models.packaging import PackagingArm
from backend.personalization.packaging import bandit as packaging
from backend.personalization.packaging import pictures, variants
from backend.personalization.packaging.variants import Offered, Standing
from backend.schemas import Schema
from backend.works.catalogue import content_url
from backend.works.routes import MULTIPART_OVERHEAD_BYTES, WorkId
from backend.works.schemas import Title, lines

router = APIRouter(prefix="/v1/works", tags=["works"])

FEW = 10
"""Of fewer clicks no part is told: it would say what single persons did."""


class VariantIn(Schema):
    """Another title, picture or preview; what is left out is the work's own."""

    title: Title | None = None
    thumbnail_cid: Annotated[str, Field(min_length=1, max_length=100)] | None = Field(
        None,
        description="A picture that is kept here, of two megabytes at most: see `POST /v1/works/{work_id}/pictures`.",
    )
    preview: Annotated[str, AfterValidator(lines), Field(min_length=1, max_length=500)] | None = Field(
        None, description="A few sentences, as plain text."
    )
    spoiler: bool = Field(False, description="It gives the work away: only who has finished the work is shown it.")

    @model_validator(mode="after")
    def _says_something(self) -> VariantIn:
        if self.title is None and self.thumbnail_cid is None and self.preview is None:
            raise ValueError("a variant has a title, a picture or a preview of its own")
        return self


class PackagingIn(Schema):
    """All that is offered of a work; the work's own title and picture are always among what is tried."""

    variants: list[VariantIn] = Field(max_length=packaging.ARMS - 1)


class Came(Schema):
    """What came of a title or picture, of people who allow that it is kept."""

    shown: int
    clicks: int
    satisfied: float | None = Field(
        description=f"The part of the clicks after which half of the work or more was seen; null below {FEW} clicks."
    )


class VariantOut(VariantIn):
    """A variant and what became of it."""

    variant: uuid.UUID
    state: Literal["tried", "retired"]
    why: str | None = Field(description="Why it is shown to nobody any more.")
    retired_at: datetime | None
    came: Came


class PackagingOut(Schema):
    """How a work is shown."""

    work_id: int
    original: Came
    variants: list[VariantOut]


def _came(arm: PackagingArm | None) -> Came:
    if arm is None:
        return Came(shown=0, clicks=0, satisfied=None)
    told = arm.satisfied / arm.clicks if arm.clicks >= FEW else None
    return Came(shown=arm.shown, clicks=arm.clicks, satisfied=told)


def _out(found: Standing) -> VariantOut:
    row, arm = found.row, found.arm
    retired_at = arm.retired_at if arm else None
    return VariantOut(
        variant=row.variant,
        title=row.title,
        thumbnail_cid=row.thumbnail_cid,
        preview=row.preview,
        spoiler=row.spoiler,
        state="retired" if retired_at else "tried",
        why=arm.retired_because if arm else None,
        retired_at=retired_at,
        came=_came(arm),
    )


def _packaging(session: DbSession, work_id: int) -> PackagingOut:
    return PackagingOut(
        work_id=work_id,
        original=_came(variants.original(session, work_id)),
        variants=[_out(each) for each in variants.standing(session, work_id)],
    )


_ANSWERS = {403: {"model": Problem, "description": "`not_your_work`"}}


@router.get("/{work_id}/packaging", responses=_ANSWERS)  # type: ignore[arg-type]
def get_packaging(work_id: WorkId, session: DbSession, me: WorksReader) -> PackagingOut:
    """The titles, pictures and previews that you offer of a work of yours, and what came of each.

    One that disappoints those who open the work from it is retired, and says why.
    """
    variants.require_owner(session, work_id, me.address)
    return _packaging(session, work_id)


_LIMITED = _ANSWERS | {409: {"model": Problem, "description": "`too_many_new_variants`"}}


@router.put("/{work_id}/packaging", responses=_LIMITED)  # type: ignore[arg-type]
def set_packaging(work_id: WorkId, session: DbSession, me: WorksAuthor, now: Now, body: PackagingIn) -> PackagingOut:
    """Offer up to seven other titles, pictures and previews of a work of yours; replaces what you offered before.

    Each person who allows it sees the work under one of them, or under its own; which, is learned from who then saw
    half of the work or more. The same variant offered again keeps all that was learned of it. At most 14 are new in 30
    days; where one was retired, a new one is shown seldom until 30 people have opened the work from it.
    """
    variants.require_owner(session, work_id, me.address)
    wanted = [Offered(each.title, each.thumbnail_cid, each.preview, each.spoiler) for each in body.variants]
    variants.offer(session, work_id, wanted, account_id=me.id, owner=me.address, now=now)
    return _packaging(session, work_id)


class PictureOut(Schema):
    """A picture as it is kept."""

    thumbnail_cid: str = Field(description="What a variant names it by.")
    url: str
    width: int
    height: int
    size_bytes: int


@router.post(
    "/{work_id}/pictures",
    status_code=201,
    max_body_size=MAX_BYTES + MULTIPART_OVERHEAD_BYTES,
    responses={
        **_ANSWERS,  # type: ignore[dict-item]
        409: {"model": Problem, "description": "`too_many_pictures`"},
        413: {"model": Problem, "description": "`upload_too_large`, `body_too_large`"},
        415: {"model": Problem, "description": "`media_type_refused`"},
    },
)
def add_picture(  # noqa: PLR0917 - FastAPI calls it by name
    work_id: WorkId, session: DbSession, me: WorksAuthor, now: Now, store: Store, file: UploadFile
) -> PictureOut:
    """Bring a picture for the card of a work of yours, and offer it with `PUT /v1/works/{work_id}/packaging`.

    It is kept as WebP, upright, 640 pixels at the longer edge at most, and without what a camera noted in it. It is
    public. What no variant of yours shows goes after a day; a hundred are kept at most.
    """
    made = pictures.read(file.file)  # before anything is asked of the database: unpacking takes its time
    variants.require_owner(session, work_id, me.address)
    cid = pictures.bring(session, store, made, account_id=me.id, now=now)
    return PictureOut(
        thumbnail_cid=cid, url=content_url(cid), width=made.width, height=made.height, size_bytes=len(made.data)
    )
