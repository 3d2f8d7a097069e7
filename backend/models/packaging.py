"""What owners offer to show of their works, and what the bandit over it has learned."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import ARRAY, CheckConstraint, Double, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from backend.models.accounts import Account
from backend.models.base import Base
from backend.models.content import Content
from backend.models.marks import NotPersonal, OfAccount, marked

ORIGINAL = uuid.UUID(int=0)
"""The variant of a work that is its own title and picture."""


class PackagingVariant(Base):
    """Another title, picture or preview of a work, as its owner offers it."""

    __tablename__ = "packaging_variant"
    __table_args__ = (
        CheckConstraint("title IS NOT NULL OR thumbnail_cid IS NOT NULL OR preview IS NOT NULL", name="says_something"),
        Index("ix_packaging_variant_changed_at", "changed_at"),
        marked(
            OfAccount(
                "other titles, pictures and previews that you offer of your works",
                "until you take them off",
                ("personalization.packaging.pictures", "personalization.packaging.variants"),
            )
        ),
    )

    work_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    variant: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    """Follows from what it says: the same offered again is the same, with all that was learned of it."""
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"))
    owner: Mapped[bytes]
    """The address that owned the work on chain when it was offered; with another owner it is not shown."""
    place: Mapped[int]
    title: Mapped[str | None]
    thumbnail_cid: Mapped[str | None] = mapped_column(ForeignKey(Content.cid, ondelete="CASCADE"))
    preview: Mapped[str | None]
    spoiler: Mapped[bool]
    changed_at: Mapped[datetime]


class PackagingPicture(Base):
    """A picture that an owner brought for cards."""

    __tablename__ = "packaging_picture"
    __table_args__ = (
        marked(
            OfAccount(
                "pictures that you brought for the cards of your works",
                "until no variant of yours shows them and a day has passed",
                ("personalization.packaging.pictures",),
            )
        ),
    )

    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"), primary_key=True)
    cid: Mapped[str] = mapped_column(ForeignKey(Content.cid, ondelete="CASCADE"), primary_key=True)
    added_at: Mapped[datetime]


class PackagingNew(Base):
    """That a variant was offered for the first time lately: what limits how often an owner begins anew."""

    __tablename__ = "packaging_new"
    __table_args__ = (marked(NotPersonal("which titles of a work are new, as hashes, for a limit; not whose")),)

    work_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    variant: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime]


class PackagingArm(Base):
    """What the bandit knows of one variant: sums over many people, made anew from the impressions at any time."""

    __tablename__ = "packaging_arm"
    __table_args__ = (
        Index("ix_packaging_arm_changed_at", "changed_at"),
        marked(NotPersonal("sums over those who were shown a title or a picture, and no person's part in them")),
    )

    work_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    variant: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    inverse: Mapped[list[float]] = mapped_column(ARRAY(Double))
    """A^-1, row by row."""
    b: Mapped[list[float]] = mapped_column(ARRAY(Double))
    shown: Mapped[int]
    clicks: Mapped[int]
    satisfied: Mapped[int]
    retired_at: Mapped[datetime | None]
    retired_because: Mapped[str | None]
    changed_at: Mapped[datetime]


class PackagingCursor(Base):
    """Up to which moment impressions have been learned from; one row."""

    __tablename__ = "packaging_cursor"
    __table_args__ = (
        CheckConstraint("id = 1", name="one_row"),
        marked(NotPersonal("a moment in time, of the platform's own work")),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    upto: Mapped[datetime]
    made_at: Mapped[datetime]
    """When all of it was last learned anew."""
