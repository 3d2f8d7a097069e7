"""Works that their authors prepare, and the words of those that the chain has."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import ARRAY, CheckConstraint, ForeignKey, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from backend.models.accounts import Account
from backend.models.base import Base, CreatedAt, Id
from backend.models.content import Content
from backend.models.marks import NotPersonal, OfAccount, marked


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
                ("works", "content", "backup"),
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


class WorkText(Base):
    """What is said of a work on chain, out of its metadata file, checked against the digest on chain.

    One row a registration, so that lists and searches need no file; made and taken back by `backend.works.words`. Who
    reads it joins it to `chain.work` by `work_id` and `cid_digest`: words of a registration that a reorganisation took
    are never shown.
    """

    __tablename__ = "work_text"
    __table_args__ = (
        CheckConstraint("octet_length(content_hash) = 32 AND octet_length(cid_digest) = 32", name="hash_lengths"),
        marked(NotPersonal("what the registration of a work on chain has published")),
    )

    work_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    content_hash: Mapped[bytes]
    cid_digest: Mapped[bytes]
    """sha256 of the metadata file that the words are of."""
    kept: Mapped[bool]
    """Whether that file is kept here; without it there are no words."""
    seen_block: Mapped[int]
    """Of the registration."""
    kind: Mapped[int]
    title: Mapped[str | None]
    description: Mapped[str | None]
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text))
    language: Mapped[str | None]
    ai_tools: Mapped[list[str]] = mapped_column(ARRAY(Text))
    media_cid: Mapped[str | None]
    media_type: Mapped[str | None]
    duration_ms: Mapped[int | None]
    """Of a film or a song, where its author said it."""
