"""Pictures that owners bring for the cards of their works: kept in the content store, theirs to take away."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import BinaryIO, Final

import structlog
from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from backend.content import service as content
from backend.content.media import RefusedMedia
from backend.content.pictures import TYPE, CardPicture, card_picture
from backend.content.store import ContentError, ContentStore
from backend.content.uploads import TooLarge
from backend.errors import AppError, Conflict
from backend.models.packaging import PackagingPicture

log = structlog.get_logger()

AT_MOST: Final = 100
"""Pictures of an account that are kept at once."""
UNUSED: Final = timedelta(days=1)
"""So long a picture is kept that no variant shows."""
_LOCK: Final = 0x70696374
_SWEEP: Final = 0x7069637473


def read(file: BinaryIO) -> CardPicture:
    """The picture of a card from an uploaded one. Raises AppError (413, 415)."""
    try:
        return card_picture(file)
    except TooLarge as error:
        raise AppError(413, "upload_too_large", "The file is too large", f"The file is refused: {error}.") from error
    except RefusedMedia as error:
        raise AppError(
            415, "media_type_refused", "This type of file is not taken", f"The file is refused: {error}."
        ) from error


def bring(session: Session, store: ContentStore, made: CardPicture, *, account_id: uuid.UUID, now: datetime) -> str:
    """Keep a picture for cards; its content id. Raises Conflict (`too_many_pictures`), Unavailable."""
    session.execute(select(func.pg_advisory_xact_lock_shared(_SWEEP)))  # nothing is removed while something comes
    session.execute(select(func.pg_advisory_xact_lock(_LOCK, account_id.int % 2**31)))  # one after the other
    kept = session.scalars(select(PackagingPicture.cid).where(PackagingPicture.account_id == account_id)).all()
    cid = content.cid_of([made.data])
    if cid not in kept and len(kept) >= AT_MOST:
        raise Conflict(
            f"You keep {AT_MOST} pictures for your works already. Offer fewer; what no variant shows goes after a day.",
            code="too_many_pictures",
            title="Too many pictures",
        )
    content.keep(session, store, [made.data], TYPE, card_only=True)
    own(session, cid, account_id=account_id, now=now)
    return cid


def own(session: Session, cid: str, *, account_id: uuid.UUID, now: datetime) -> None:
    """Note that a picture is one of this account's: it stays while the account shows it, whoever brought it."""
    row = {"account_id": account_id, "cid": cid, "added_at": now}
    session.execute(
        insert(PackagingPicture)
        .values(row)
        .on_conflict_do_update(index_elements=["account_id", "cid"], set_={"added_at": now})
    )


_ALONE: Final = text("""
SELECT p.cid FROM app.packaging_picture p JOIN app.content c USING (cid)
WHERE p.account_id = :account AND c.card_only
  AND NOT EXISTS (SELECT FROM app.packaging_picture o WHERE o.cid = p.cid AND o.account_id <> p.account_id)
  AND NOT EXISTS (SELECT FROM app.packaging_variant v WHERE v.thumbnail_cid = p.cid AND v.account_id <> p.account_id)
  AND NOT EXISTS (SELECT FROM app.work_text t WHERE t.media_cid = p.cid)
ORDER BY p.cid
""")


def alone(session: Session, account_id: uuid.UUID) -> list[str]:
    """Files that are public as pictures of this account's cards and as nothing else."""
    return list(session.scalars(_ALONE, {"account": account_id}))


_FORGET: Final = text("""
DELETE FROM app.packaging_picture p
WHERE p.added_at <= :before
  AND NOT EXISTS (SELECT FROM app.packaging_variant v WHERE v.thumbnail_cid = p.cid AND v.account_id = p.account_id)
RETURNING p.cid
""")
_NAMELESS: Final = text("""
DELETE FROM app.content c
WHERE c.cid = ANY(:cids) AND c.card_only
  AND NOT EXISTS (SELECT FROM app.packaging_picture p WHERE p.cid = c.cid)
  AND NOT EXISTS (SELECT FROM app.packaging_variant v WHERE v.thumbnail_cid = c.cid)
  AND NOT EXISTS (SELECT FROM app.work_text t WHERE t.media_cid = c.cid)
RETURNING c.cid
""")


def sweep(session: Session, store: ContentStore, *, now: datetime) -> int:
    """Forget pictures that no variant of their owner's shows after a day, and remove the files that are nothing else;
    how many files.

    They are removed before the commit: where that fails they are found and removed again.
    """
    session.execute(select(func.pg_advisory_xact_lock(_SWEEP)))
    forgotten = sorted(set(session.scalars(_FORGET, {"before": now - UNUSED})))
    files = sorted(session.scalars(_NAMELESS, {"cids": forgotten})) if forgotten else []
    if files:
        try:
            content.let_go(store, files)
        except ContentError as error:
            log.warning("pictures_left", reason=str(error))  # nothing names them; the store's own to collect
    return len(files)
