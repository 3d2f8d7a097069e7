"""What was shown to whom, and with which probability: what policies are judged by."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, Double, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from backend.models.base import Base
from backend.models.marks import Gated, marked

KEPT_DAYS = 180
KEPT_AN_HOUR = 120
"""Slates of one person; who is shown more weighs no more in what is learned."""


class Impression(Base):
    """One slate as it was shown to a person who allows `behaviour`: a row a slate, an entry a place, best first.

    It never changes. What came of it are the engagement events of the same person with its slate_id.
    """

    __tablename__ = "impression"
    __table_args__ = (
        Index("ix_impression_at", "at"),
        Index("ix_impression_person_id_at", "person_id", "at"),
        Index("ix_impression_packaged", "at", postgresql_where=text("packaging <> '[]'")),
        CheckConstraint(
            "cardinality(works) BETWEEN 1 AND 100 AND cardinality(whys) = cardinality(works)"
            " AND cardinality(propensities) = cardinality(works) AND cardinality(choices) = cardinality(works)"
            " AND cardinality(usual) = cardinality(works)",
            name="one_entry_a_place",
        ),
        marked(
            Gated(
                "which works you were shown, why, and how likely each was",
                f"for {KEPT_DAYS} days, or until you erase it",
            )
        ),
    )

    person_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    slate_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    works: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    whys: Mapped[list[str]] = mapped_column(ARRAY(Text))
    """best, explored, unlike or fresh: how the place was filled."""
    propensities: Mapped[list[float]] = mapped_column(ARRAY(Double))
    """With which probability the work came to its place, given the places that were filled before."""
    choices: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    """How many works could have come there."""
    usual: Mapped[list[float]] = mapped_column(ARRAY(Double))
    """With which probability a policy that shows what is popular now would have put the same work there."""
    configuration: Mapped[str]
    """The digest of all numbers that chose it."""
    model_version: Mapped[int | None]
    arms: Mapped[dict[str, Any]]
    """The person's arm in each experiment that ran."""
    packaging: Mapped[list[Any]]
    """Where a bandit chose the packaging: {place, variant, propensity, context, arms}."""
