"""Take your taste with you, and bring it along."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import APIRouter, Body, Request, Response
from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.consent import reads, taste_writes
from backend.consent.gate import look
from backend.consent.persons import make_person, person_of
from backend.consent.taste_writes import Prior
from backend.consent.writes import set_feed
from backend.deps import AccountOrVisitor, Core, CoreDep, DbSession, Now, PersonOrVisitor
from backend.errors import Conflict, Invalid, Unavailable
from backend.personalization import service
from backend.personalization.person import portable, taste_view
from backend.personalization.person.portable import (
    MILLION,
    DocumentError,
    Liking,
    Sliders,
    TagLiking,
    TasteDocument,
    Unsigned,
)
from backend.personalization.ranking.signals import clip
from backend.personalization.reading import Asked, Reading, read
from backend.personalization.service import Allowed
from backend.schemas import HexBytes, Schema, Time
from indexer.models import view

log = structlog.get_logger()
router = APIRouter(tags=["feed"])


class KeyOut(Schema):
    """A key that taste documents are signed with here."""

    alg: str
    public_key: HexBytes


class KeysOut(Schema):
    """Whose signatures of this platform count."""

    issuer: str
    keys: list[KeyOut]


class ImportOut(Schema):
    """What a document brought."""

    issuer: str
    issued_at: Time
    taken: int = Field(description="Likings for works that are on the chain here.")
    unknown: int = Field(description="Likings for works that nobody registered here; they are left out.")


class DropOut(Schema):
    """What was dropped."""

    dropped: int


def _key(core: Core) -> Ed25519PrivateKey:
    try:
        return portable.key_of(core.settings.taste_key)
    except (OSError, ValueError) as error:
        log.error("taste_key_unusable", reason=str(error))
        raise Unavailable("The platform's signing key cannot be used now; tell the operator.") from error


@router.get("/.well-known/troupe-taste-key.json")
def get_taste_key(core: CoreDep) -> KeysOut:
    """The public key of the taste documents that are signed here, for checking them elsewhere."""
    key = KeyOut(alg="Ed25519", public_key=portable.public_bytes(_key(core)))
    return KeysOut(issuer=core.settings.public_url, keys=[key])


@router.get("/v1/me/taste/export")
async def export_taste(
    request: Request, core: CoreDep, me: PersonOrVisitor, now: Now, response: Response
) -> TasteDocument:
    """Your taste as a portable document, signed by this platform: `./troupe taste verify FILE` checks it offline.

    It names no person. Whoever holds it can bring it along elsewhere.
    """
    found = await read(request, core, me, now, Asked())
    if found.why_not is not None:
        raise Conflict(
            f"{found.why_not} So nothing is read that could be exported.",
            code="taste_not_read",
            title="Nothing is read",
        )
    async with core.database.async_pool.connection() as connection:
        rows = await (
            await connection.execute(
                "SELECT work_id::bigint AS work_id, content_hash FROM chain.work WHERE work_id = ANY(%s)",
                ([int(row["work_id"]) for row in [*found.history.rows, *found.history.brought]],),
            )
        ).fetchall()
    hashes = {row["work_id"]: bytes(row["content_hash"]) for row in rows}
    response.headers["Content-Disposition"] = 'attachment; filename="taste.json"'
    return signed(core, found, hashes)


def signed(core: Core, found: Reading, hashes: Mapping[int, bytes]) -> TasteDocument:
    """The document of a reading."""
    catalogue = found.catalogue
    past = service.past(catalogue, found.history.rows, found.now, found.history.brought)
    works = [each for each in taste_view.known(catalogue, past) if each.work_id in hashes]
    lasting = [replace(each, short=0.0) for each in works]
    tags = taste_view.summed(lasting, {each.work_id: catalogue.labels[each.work_id].tags for each in works})
    key = _key(core)
    document = Unsigned(
        format=portable.FORMAT,
        issuer=core.settings.public_url,
        issued_at=found.now,
        public_key=portable.public_bytes(key),
        chain_id=core.settings.chain_id,
        sliders=Sliders(
            novelty_millionths=_millionths(found.controls.novelty), energy_millionths=_millionths(found.controls.energy)
        ),
        likings=[
            Liking(
                work_id=each.work_id,
                content_hash=hashes[each.work_id],
                title=catalogue.words.get(each.work_id, {}).get("title"),
                value_millionths=_millionths(clip(each.long)) or 0,
            )
            for each in works[: portable.LIKINGS_AT_MOST]
        ],
        tags=[TagLiking(tag=tag, value_millionths=_millionths(weight) or 0) for tag, weight in tags[:1_000]],
    )
    return portable.sign(document, key)


def _millionths(value: float | None) -> int | None:
    return None if value is None else round(value * MILLION)


@router.post("/v1/me/taste/import")
def import_taste(
    session: DbSession, core: CoreDep, me: AccountOrVisitor, now: Now, body: Annotated[dict[str, Any], Body()]
) -> ImportOut:
    """Bring your taste along: a document that this platform, or one that it knows, has signed.

    Its likings count as lasting taste that fades from the day it was issued, and reasons name them as brought along. It
    takes the place of what you brought along before; sliders that you have not set yet are set as it says.
    """
    try:
        document = portable.parse(json.dumps(body, ensure_ascii=False).encode())  # of integers of any size
        return bring_along(session, core, me.id, document, now)
    except DocumentError as error:
        raise Invalid(f"{error} Nothing was changed.", code=error.code, title="This document is not taken") from None


def bring_along(
    session: Session, core: Core, account_id: uuid.UUID, document: TasteDocument, now: datetime
) -> ImportOut:
    """Take a document in. Raises DocumentError."""
    settings = core.settings
    own = portable.public_bytes(_key(core))
    portable.check(document, now=now, own=own, issuer=settings.public_url, known=settings.taste_issuers)
    by_hash = {liking.content_hash: liking for liking in document.likings}
    work = view("work")
    rows = session.execute(
        select(work.c.work_id, work.c.content_hash)
        .where(work.c.content_hash.in_(by_hash), work.c.work_id > 0)
        .order_by(work.c.work_id.desc())
    ).all()
    here = {bytes(row.content_hash): int(row.work_id) for row in rows}  # of several registrations the first
    priors = [
        Prior(here[content_hash], liking.value_millionths / MILLION, document.issued_at)
        for content_hash, liking in by_hash.items()
        if content_hash in here
    ]
    person = make_person(session, core.vault, account_id)
    taste_writes.bring_along(session, person=person, issuer=document.issuer, priors=priors, now=now)
    said = Allowed.of(look(session, reads.FEED_STATUS, now=now, person=person)).said
    sliders = {
        name: value / MILLION
        for name, value, set_already in (
            ("novelty", document.sliders.novelty_millionths, said.novelty is not None),
            ("energy", document.sliders.energy_millionths, said.energy is not None),
        )
        if value is not None and not set_already
    }
    if sliders:
        set_feed(session, person=person, values=sliders, now=now)
    return ImportOut(
        issuer=document.issuer,
        issued_at=document.issued_at,
        taken=len(priors),
        unknown=len(document.likings) - len(priors),
    )


@router.delete("/v1/me/taste/import")
def drop_imported_taste(session: DbSession, core: CoreDep, me: AccountOrVisitor) -> DropOut:
    """Drop what you brought along."""
    person = person_of(session, core.vault, me.id)
    return DropOut(dropped=0 if person is None else taste_writes.leave_behind(session, person=person))
