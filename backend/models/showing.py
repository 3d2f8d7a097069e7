"""Who may be shown a work: what its owner declared, moderators decided, its licence allows."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Identity, Index, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from backend.models.base import Base
from backend.models.marks import NotPersonal, marked

_AGES = "0, 6, 12, 16, 18"


class WorkShowing(Base):
    """What a work's owner declared last; no row: for everybody, everywhere, always."""

    __tablename__ = "work_showing"
    __table_args__ = (
        CheckConstraint(f"age IN ({_AGES})", name="age_is_a_rating"),
        CheckConstraint("shown_from < shown_until", name="window_is_forward"),
        marked(NotPersonal("what owners of works that are on chain declare about them; shown to everybody")),
    )

    work_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    age: Mapped[int] = mapped_column(SmallInteger)
    territory: Mapped[list[Any]]
    """ISO 3166 alpha-2 codes, ascending; empty: everywhere."""
    shown_from: Mapped[datetime | None]
    shown_until: Mapped[datetime | None]
    declared_by: Mapped[bytes]
    changed_at: Mapped[datetime]


class ModerationDecision(Base):
    """What a moderator decided about a work, with the reason; the newest of a work holds."""

    __tablename__ = "moderation_decision"
    __table_args__ = (
        CheckConstraint("state IN ('live', 'limited', 'removed')", name="state_is_known"),
        CheckConstraint(f"age IN ({_AGES})", name="age_is_a_rating"),
        Index(None, "work_id", "number"),
        marked(NotPersonal("decisions about works by holders of a role on chain; shown to everybody")),
    )

    number: Mapped[int] = mapped_column(Identity(), primary_key=True)
    work_id: Mapped[int]
    state: Mapped[str]
    age: Mapped[int | None] = mapped_column(SmallInteger)
    """The least rating that it has from now on, whatever its owner declares; None: the owner's holds."""
    reason: Mapped[str]
    moderator: Mapped[bytes]
    decided_at: Mapped[datetime]


class LicenceTerritory(Base):
    """Where a licence holds, from the terms file whose sha256 the chain has; empty: everywhere."""

    __tablename__ = "licence_territory"
    __table_args__ = (marked(NotPersonal("a part of licences' terms, which are public")),)

    terms_hash: Mapped[bytes] = mapped_column(primary_key=True)
    territory: Mapped[list[Any]]
