"""Works that their authors prepare: drafts, until the chain has them."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from backend.models.accounts import Account
from backend.models.base import Base, CreatedAt, Id
from backend.models.content import Content
from backend.models.marks import OfAccount, marked


class Draft(Base):
    """All that a registration needs. It never changes; what became of it is read from the chain by `content_hash`."""

    __tablename__ = "draft"
    __table_args__ = (
        Index(None, "account_id", "id"),
        CheckConstraint("octet_length(content_hash) = 32 AND octet_length(salt) = 32", name="hash_lengths"),
        marked(
            OfAccount(
                "works that you prepare, until you register them",
                "until you erase them",
                ("works", "content", "backup", "personalization.catalogue"),
            )
        ),
    )

    id: Mapped[Id]
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"))
    created_at: Mapped[CreatedAt]
    title: Mapped[str]
    kind: Mapped[int]
    ai_label: Mapped[int]
    licence_id: Mapped[int]
    """Licence for the work's own derivations; 0: none may be made."""
    parents: Mapped[list[Any]]
    """[[work_id, share_bps], ...] by ascending work_id, as the registry wants them."""
    consents: Mapped[list[Any]]
    """Uids of attestations in hex, in the order of the registration."""
    content_hash: Mapped[bytes] = mapped_column(index=True)
    """sha256 of the media file."""
    media_cid: Mapped[str] = mapped_column(ForeignKey(Content.cid))
    metadata_cid: Mapped[str] = mapped_column(ForeignKey(Content.cid))
    split_cid: Mapped[str] = mapped_column(ForeignKey(Content.cid))
    salt: Mapped[bytes]
    """Random; hides the content hash in a commitment that is made before the registration."""
