"""The engagement log."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from backend.models.base import Base
from backend.models.marks import Gated, marked

NOBODY = uuid.UUID(int=0)
"""The person of an event that is counted without a name: no pseudonym is this."""


class PersonVoice(Base):
    """A person who signs in with a wallet: a voice of their own where people are counted. A visitor, whom one request
    makes, has none. Written when the pseudonym is made (backend.consent.persons)."""

    __tablename__ = "person_voice"
    __table_args__ = (marked(Gated("that you sign in with a wallet, so that you count as one", "until you erase it")),)

    person_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)


class EngagementEvent(Base):
    """One signal, accepted once. Rows of persons who did not consent carry NOBODY, their times are hours, and neither
    id nor digest says more than that."""

    __tablename__ = "engagement_event"
    __table_args__ = (
        CheckConstraint("completion_bps BETWEEN 0 AND 10000", name="completion_is_bps"),
        CheckConstraint("duration_ms >= 0", name="duration_is_positive"),
        CheckConstraint("device IN ('phone', 'tablet', 'computer', 'tv', 'console', 'other')", name="device_is_coarse"),
        Index("ix_engagement_event_person", "person_id", text("received_at DESC")),
        Index("ix_engagement_event_epoch", "epoch", "work_id"),
        Index("ix_engagement_event_received", "received_at"),
        Index(
            "ix_engagement_event_slate",
            "person_id",
            "slate_id",
            postgresql_where=text("slate_id IS NOT NULL"),
        ),
        marked(
            Gated(
                "what you played, finished, skipped, liked and hid; where you allow that, on what kind of device and in"
                " which territory of those that you stated",
                "until you erase it",
            )
        ),
    )

    person_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    """The pseudonym of an account, or NOBODY. Part of the key so that nobody can take another person's event id."""
    event_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    """Chosen by the client; the same id again is the same event. A hash of it in the rows of NOBODY."""
    work_id: Mapped[int]
    kind: Mapped[str]
    at: Mapped[datetime]
    """When the client says it happened."""
    received_at: Mapped[datetime]
    duration_ms: Mapped[int]
    completion_bps: Mapped[int]
    epoch: Mapped[int]
    """The epoch that was open at the head of the chain when the event was received."""
    slate_id: Mapped[uuid.UUID | None]
    """The slate that it came of, as the client says; None for others, and in the rows of NOBODY. It counts where that
    slate was shown to the same person and holds the work."""
    device: Mapped[str | None]
    """What kind of device the client says; None without the person's consent to `location_time`."""
    place: Mapped[str | None]
    """The territory that the person had stated (ISO 3166 alpha-2); None without the same consent."""
    digest: Mapped[bytes]
    """sha256 of the event as sent (NOBODY's to the hour): tells a repeat from another event under the same id."""
