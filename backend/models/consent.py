"""Consent receipts: an append-only history; the newest row of a purpose is what holds."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import ForeignKey, Identity, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from backend.models.accounts import Account
from backend.models.base import Base


class ConsentReceipt(Base):
    """A person said yes or no to one purpose under one version of its notice."""

    __tablename__ = "consent_receipt"
    __table_args__ = (Index(None, "account_id", "purpose", text("number DESC")),)

    number: Mapped[int] = mapped_column(Identity(), primary_key=True)
    """Later answers have higher numbers."""
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"))
    purpose: Mapped[str]
    granted: Mapped[bool]
    notice_version: Mapped[int]
    notice_digest: Mapped[bytes]
    """sha256 of the notice as it was shown."""
    at: Mapped[datetime]
