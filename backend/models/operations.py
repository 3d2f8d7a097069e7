"""Tables of the background: who sends the periodic tasks, which were sent, and which tasks were begun and not ended."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, Index
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from backend.models.base import Base
from backend.models.marks import NotPersonal, marked


class Lease(Base):
    """What one process at a time may do; held until `expires_at`, renewed by its holder."""

    __tablename__ = "lease"
    __table_args__ = (marked(NotPersonal("which of our own processes does what")),)

    name: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[uuid.UUID]
    fence: Mapped[int] = mapped_column(comment="one more with each new holder; what an earlier one claims is refused")
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class BeatSlot(Base):
    """The last slot of a periodic task that was sent; a slot is sent once, whoever sends it."""

    __tablename__ = "beat_slot"
    __table_args__ = (marked(NotPersonal("when our own periodic tasks were sent")),)

    job: Mapped[str] = mapped_column(primary_key=True)
    slot: Mapped[int] = mapped_column(comment="number of the interval since 1970, by the database's clock")
    fence: Mapped[int]
    sent_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class TaskAttempt(Base):
    """A task that a worker began and has not ended: it runs, or took its worker with it; parked after a few."""

    __tablename__ = "task_attempt"
    __table_args__ = (
        Index("ix_task_attempt_parked", "parked_at", postgresql_where="parked_at IS NOT NULL"),
        marked(NotPersonal("tasks that were begun, with ids of what they work on and of nobody")),
    )

    task_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    arguments: Mapped[list[Any]] = mapped_column(JSONB, comment="[args, kwargs]: ids, as in the message")
    attempts: Mapped[int]
    first_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    last_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    parked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
