"""What a person set about their feed, what it shall forget, what they brought along, and which model serves."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Identity, Index, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from backend.models.base import Base, CreatedAt
from backend.models.marks import Gated, NotPersonal, marked


class FeedSettings(Base):
    """A person's own switches and limits; no row, or NULL in a column, means the default."""

    __tablename__ = "feed_settings"
    __table_args__ = (
        CheckConstraint("novelty BETWEEN 0 AND 1", name="novelty"),
        CheckConstraint("energy BETWEEN -1 AND 1", name="energy"),
        CheckConstraint("(night_from IS NULL) = (night_until IS NULL)", name="night_whole"),
        marked(
            Gated(
                "how you set your feed: off switch, pause, sliders, limits, age and country as you said them",
                "until you erase it",
            )
        ),
    )

    person_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    enabled: Mapped[bool]
    """False: the feed reads nothing about the person."""
    paused_until: Mapped[datetime | None]
    """Until then, as if it were off."""
    novelty: Mapped[float | None]
    energy: Mapped[float | None]
    birth_year: Mapped[int | None] = mapped_column(SmallInteger)
    territory: Mapped[str | None]
    """ISO 3166-1 alpha-2, in capitals."""
    session_minutes: Mapped[int | None] = mapped_column(SmallInteger)
    """A sitting of so many minutes is enough."""
    autoplay_at_most: Mapped[int | None] = mapped_column(SmallInteger)
    """So many works may begin by themselves, one after the other."""
    night_from: Mapped[int | None] = mapped_column(SmallInteger)
    """Minutes after midnight in `time_zone`."""
    night_until: Mapped[int | None] = mapped_column(SmallInteger)
    time_zone: Mapped[str | None]
    """An IANA name."""
    forgotten_at: Mapped[datetime | None]
    """What was done until then says nothing to the feed: a reset. The rows stay in the log."""
    today_forgotten_at: Mapped[datetime | None]
    """What was done until then is no mood of today: it counts on the long scale alone."""
    changed_at: Mapped[datetime]


class FeedForgotten(Base):
    """A work of which the feed shall not know what the person did with it before `at`; the rows stay in the log."""

    __tablename__ = "feed_forgotten"
    __table_args__ = (marked(Gated("works that your feed shall forget", "until you erase it")),)

    person_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    work_id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    topic: Mapped[str | None]
    """`kind:3` or `tag:noir` where it was forgotten with its topic."""


class FeedHidden(Base):
    """A creator whose works the person does not want to be shown."""

    __tablename__ = "feed_hidden"
    __table_args__ = (marked(Gated("creators whose works you hid", "until you erase it")),)

    person_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    creator: Mapped[bytes] = mapped_column(primary_key=True)
    """The address that is the works' creator."""
    at: Mapped[datetime]


class FeedPrior(Base):
    """A liking that the person brought along in a signed document."""

    __tablename__ = "feed_prior"
    __table_args__ = (
        CheckConstraint("value BETWEEN -2 AND 2", name="value"),
        marked(Gated("likings that you brought along from elsewhere", "until you erase it")),
    )

    person_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    work_id: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[float]
    """What the person's signals for the work summed up to at `at`."""
    at: Mapped[datetime]
    """When the document was issued: the value decays from then on."""
    issuer: Mapped[str]
    imported_at: Mapped[datetime]


class ModelSnapshot(Base):
    """An immutable model on disk. The pinned one serves, else the newest that was accepted (versions.py)."""

    __tablename__ = "model_snapshot"
    __table_args__ = (
        Index(
            "one_pinned", text("(pinned_at IS NOT NULL)"), unique=True, postgresql_where=text("pinned_at IS NOT NULL")
        ),
        marked(NotPersonal("sums over many people: which works go together, and no person's part in it")),
    )

    version: Mapped[int] = mapped_column(Identity(), primary_key=True)
    folder: Mapped[str | None]
    """Below the data folder's models/; None when it was refused, or is old and was removed."""
    pairs: Mapped[int]
    """How many positive (person, work) pairs it was trained on."""
    works: Mapped[int]
    metrics: Mapped[dict[str, Any]]
    """What it was made from, and how good it was on what came after a cut of the log (judging.py)."""
    refused: Mapped[str | None]
    """Why it may not serve, in a sentence; None for one that may."""
    pinned_at: Mapped[datetime | None]
    """Since when it serves whatever is newer, because somebody said so."""
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
