"""Pictures that owners bring for the cards of their works: kept in the content store, theirs to take away."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import BinaryIO, Final

import structlog
from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from backend.content import service as content
from backend.content.media import RefusedMedia
from backend.content.pictures import TYPE, CardPicture, card_picture
from backend.content.store import ContentError, ContentStore
from backend.content.uploads import TooLarge
from backend.errors import AppError, Conflict
from backend.models.content import Content
from backend.models.packaging import PackagingPicture

log = structlog.get_logger()

AT_MOST: Final = 100
"""Pictures of an account that are kept at once."""
UNUSED: Final = timedelta(days=1)
"""So long a picture is kept that no variant shows."""
_LOCK: Final = 0x70696374


def bring(
    session: Session, store: ContentStore, file: BinaryIO, *, account_id: uuid.UUID, now: datetime
) -> tuple[str, CardPicture]:
    """Keep a picture for cards; its content id and what is kept. What its account let lie unused goes.

    Raises AppError (413, 415), Conflict (`too_many_pictures`), Unavailable.
    """
    try:
        made = card_picture(file)
    except TooLarge as error:
        raise AppError(413, "upload_too_large", "The file is too large", f"The file is refused: {error}.") from error
    except RefusedMedia as error:
        raise AppError(
            415, "media_type_refused", "This type of file is not taken", f"The file is refused: {error}."
        ) from error
    session.execute(select(func.pg_advisory_xact_lock(_LOCK, account_id.int % 2**31)))  # one after the other
    _let_go_unused(session, store, account_id, now)
    kept = session.scalars(select(PackagingPicture.cid).where(PackagingPicture.account_id == account_id)).all()
    cid = content.cid_of([made.data])
    if cid not in kept and len(kept) >= AT_MOST:
        raise Conflict(
            f"You keep {AT_MOST} pictures for your works already. Offer fewer; what no variant shows goes after a day.",
            code="too_many_pictures",
            title="Too many pictures",
        )
    content.keep(session, store, [made.data], TYPE)
    row = {"account_id": account_id, "cid": cid, "added_at": now}
    session.execute(
        insert(PackagingPicture)
        .values(row)
        .on_conflict_do_update(index_elements=["account_id", "cid"], set_={"added_at": now})
    )
    return cid, made


_ALONE: Final = text("""
SELECT p.cid FROM app.packaging_picture p JOIN app.content c ON c.cid = p.cid
WHERE p.account_id = :account AND p.cid = ANY(:cids)
  AND NOT EXISTS (SELECT FROM app.packaging_picture o WHERE o.cid = p.cid AND o.account_id <> p.account_id)
  AND NOT EXISTS (SELECT FROM app.packaging_variant v WHERE v.thumbnail_cid = p.cid AND v.account_id <> p.account_id)
  AND NOT EXISTS (SELECT FROM app.work_text t WHERE t.media_cid = p.cid)
ORDER BY p.cid
""")


def alone(session: Session, account_id: uuid.UUID, cids: Sequence[str] | None = None) -> list[str]:
    """Files that are public as pictures of this account's cards and as nothing else; of `cids`, or of all."""
    if cids is None:
        cids = session.scalars(select(PackagingPicture.cid).where(PackagingPicture.account_id == account_id)).all()
    return list(session.scalars(_ALONE, {"account": account_id, "cids": list(cids)}))


_UNSHOWN: Final = text("""
SELECT p.cid FROM app.packaging_picture p
WHERE p.account_id = :account AND p.added_at <= :before
  AND NOT EXISTS (SELECT FROM app.packaging_variant v WHERE v.thumbnail_cid = p.cid AND v.account_id = p.account_id)
""")


def _let_go_unused(session: Session, store: ContentStore, account_id: uuid.UUID, now: datetime) -> None:
    unshown = list(session.scalars(_UNSHOWN, {"account": account_id, "before": now - UNUSED}))
    if not unshown:
        return
    files = alone(session, account_id, unshown)
    session.execute(
        delete(PackagingPicture).where(PackagingPicture.account_id == account_id, PackagingPicture.cid.in_(unshown))
    )
    session.execute(delete(Content).where(Content.cid.in_(files)))
    try:
        content.let_go(store, files)
    except ContentError as error:
        log.warning("pictures_left", reason=str(error))  # public files that nothing names; the store's own to collect
