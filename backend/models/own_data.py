"""What people ask for about their own data as a whole: exports, and erasures."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from backend.models.accounts import Account
from backend.models.base import Base, Id
from backend.models.marks import OfAccount, marked


class DataExport(Base):
    """An export that was asked for. Its file is below the data folder, under the person's key."""

    __tablename__ = "data_export"
    __table_args__ = (
        Index(None, "account_id", "asked_at"),
        CheckConstraint("state IN ('asked', 'working', 'ready', 'failed')", name="state"),
        CheckConstraint("(state = 'ready') = (size_bytes IS NOT NULL)", name="ready_whole"),
        marked(
            OfAccount("when you asked for an export, and how far it is", "until it expires", ("consent",)),
            backup=False,  # its file is in no backup either
        ),
    )

    id: Mapped[Id]
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"))
    state: Mapped[str]
    asked_at: Mapped[datetime]
    total: Mapped[int]
    """Rows to write, as far as they were counted when the work began."""
    done: Mapped[int]
    parts: Mapped[list[Any]]
    """[[source, page, rows, where the next page begins or null], ...]: what is on the disk, so that work goes on."""
    problem: Mapped[str | None]
    """Why it failed, in words."""
    size_bytes: Mapped[int | None]
    """Of the zip."""
    ready_at: Mapped[datetime | None]
    downloaded_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]


class Erasure(Base):
    """An erasure, and afterwards its receipt. It names no address: with the account gone, its id leads nowhere."""

    __tablename__ = "erasure"
    __table_args__ = (
        CheckConstraint("state IN ('asked', 'forgotten', 'key_destroyed', 'dropped', 'done')", name="state"),
        CheckConstraint("(state = 'done') = (done_at IS NOT NULL)", name="done_whole"),
        marked(
            OfAccount("that an account was erased, and what was told then", "for ever", ("consent", "accounts.sign_in"))
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    """Random; who knows it can read the receipt, without an account."""
    account_id: Mapped[uuid.UUID] = mapped_column(unique=True)
    state: Mapped[str]
    asked_at: Mapped[datetime]
    done_at: Mapped[datetime | None]
    steps: Mapped[dict[str, Any]]
    """state -> when it was reached."""
    destroyed: Mapped[dict[str, Any]]
    """What was destroyed, in words -> how many."""
    remains: Mapped[list[Any]]
    """What could not be destroyed, in words."""
