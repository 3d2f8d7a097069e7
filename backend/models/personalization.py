"""What a person set about their feed, and which model snapshot serves."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Identity
from sqlalchemy.orm import Mapped, mapped_column

from backend.models.base import Base, CreatedAt
from backend.models.marks import Gated, NotPersonal, marked


class FeedSettings(Base):
    """A person's own switches; no row means the defaults."""

    __tablename__ = "feed_settings"
    __table_args__ = (marked(Gated("whether you switched your personal feed off", "until you erase it")),)

    person_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    enabled: Mapped[bool]
    """False: the feed reads nothing about the person."""
    changed_at: Mapped[datetime]


class ModelSnapshot(Base):
    """An immutable model on disk; the newest row serves."""

    __tablename__ = "model_snapshot"
    __table_args__ = (
        marked(NotPersonal("sums over many people: which works go together, and no person's part in it")),
    )

    version: Mapped[int] = mapped_column(Identity(), primary_key=True)
    folder: Mapped[str]
    """Below the data folder's models/."""
    pairs: Mapped[int]
    """How many positive (person, work) pairs it was trained on."""
    works: Mapped[int]
    metrics: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class PersonalizationConfiguration(Base):
    """A configuration of what people see, known here so that a vote can put it in force by its digest."""

    __tablename__ = "personalization_configuration"
    __table_args__ = (
        CheckConstraint("octet_length(digest) = 32", name="digest_length"),
        marked(NotPersonal("numbers of the feed's policy, public and the same for everybody")),
    )

    digest: Mapped[bytes] = mapped_column(primary_key=True)
    """sha256 of the document; the topic of `WorkRegistry.signal`."""
    document: Mapped[bytes]
    """Canonical JSON (backend.personalization.configuration)."""
    created_at: Mapped[CreatedAt]
