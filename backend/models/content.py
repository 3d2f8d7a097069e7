"""What this installation keeps in its content store, and so what it serves."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from backend.models.base import Base, CreatedAt
from backend.models.marks import NotPersonal, marked


class Content(Base):
    """A file in the store, pinned. Its media type was told from all of its bytes when it came."""

    __tablename__ = "content"
    __table_args__ = (
        CheckConstraint("octet_length(sha256) = 32", name="sha256_length"),
        CheckConstraint("size_bytes >= 0", name="size_is_positive"),
        marked(NotPersonal("files by their content, which is public; nothing says who added them")),
    )

    cid: Mapped[str] = mapped_column(primary_key=True)
    """CIDv1 in base32: one text a file."""
    sha256: Mapped[bytes] = mapped_column(index=True)
    """Of the whole file; for a file of one block it is the CID's digest."""
    size_bytes: Mapped[int]
    media_type: Mapped[str]
    added_at: Mapped[CreatedAt]
    card_only: Mapped[bool] = mapped_column(server_default=false())
    """Whether it was brought as a picture of a card, and nothing else names it: then it goes with the last card."""
