"""What a person set about their feed, and which model snapshot serves."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Identity
from sqlalchemy.orm import Mapped, mapped_column

from backend.models.accounts import Account
from backend.models.base import Base


class FeedSettings(Base):
    """A person's own switches; no row means the defaults."""

    __tablename__ = "feed_settings"

    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"), primary_key=True)
    enabled: Mapped[bool]
    """False: the feed reads nothing about the person."""
    changed_at: Mapped[datetime]


class ModelSnapshot(Base):
    """An immutable model on disk; the newest row serves."""

    __tablename__ = "model_snapshot"

    version: Mapped[int] = mapped_column(Identity(), primary_key=True)
    folder: Mapped[str]
    """Below the data folder's models/."""
    pairs: Mapped[int]
    """How many positive (person, work) pairs it was trained on."""
    works: Mapped[int]
    metrics: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
