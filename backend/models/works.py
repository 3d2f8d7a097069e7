"""Works that their authors prepare, and the words of those that the chain has."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import ARRAY, CheckConstraint, ForeignKey, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from backend.models.accounts import Account
from backend.models.base import Base, CreatedAt, Id
from backend.models.marks import NotPersonal, OfAccount, marked
from backend.vault.vault import Sealed


class Draft(Base):
    """A work that its author prepares. What it says is sealed, and never changes (backend.works.drafts).

    `files` says where its three files are; backend.works.publication says what leads from where to where. The columns
    after it are of the registration that made them public, and null while nothing has.
    """

    __tablename__ = "draft"
    __table_args__ = (
        Index(None, "account_id", "id"),
        CheckConstraint("files IN ('sealed', 'publishing', 'published', 'public', 'lost')", name="files_known"),
        CheckConstraint("(files = 'sealed') = (content_hash IS NULL)", name="sealed_says_nothing"),
        marked(
            OfAccount(
                "works that you prepare, until you register them; what you said of them is sealed",
                "until you erase them",
                ("works", "backup"),
            )
        ),
    )

    id: Mapped[Id]
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"))
    created_at: Mapped[CreatedAt]
    record: Mapped[bytes] = mapped_column(Sealed)
    """`backend.works.drafts.Prepared`."""
    content_index: Mapped[bytes] = mapped_column(index=True)
    """Blind index of the media file's sha256: a registration on chain finds its draft, and nobody guesses the file."""
    files: Mapped[str]
    content_hash: Mapped[bytes | None]
    """The media file's sha256, as the chain has it."""
    cid_digest: Mapped[bytes | None]
    """The metadata file's sha256, as the registration has it."""
    seen_block: Mapped[int | None]
    cids: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    """What lies in the content store for it."""
    published_at: Mapped[datetime | None]


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
