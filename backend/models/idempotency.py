"""What was answered to a request with an Idempotency-Key, so that its repetition gets the same answer."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from backend.models.accounts import Account
from backend.models.base import Base, CreatedAt, Id
from backend.models.marks import OfAccount, marked
from backend.vault.vault import Sealed


class IdempotentAnswer(Base):
    """One key of one person, or of nobody. It goes with the account, and a day after it was made."""

    __tablename__ = "idempotent_answer"
    __table_args__ = (
        UniqueConstraint("account_id", "key_hash", postgresql_nulls_not_distinct=True),
        CheckConstraint("octet_length(key_hash) = 32 AND octet_length(fingerprint) = 32", name="hash_lengths"),
        CheckConstraint("account_id IS NULL OR body IS NULL", name="personal_bodies_are_sealed"),
        marked(OfAccount("answers to repeat, sealed, of requests with a key", "a day", ("edge.idempotency",))),
    )

    id: Mapped[Id]
    account_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"))
    key_hash: Mapped[bytes]
    """HMAC of the key under a key derived from the person's; SHA-256 where nobody is signed in."""
    fingerprint: Mapped[bytes]
    """The same of method, address and body: what the key was used for."""
    status: Mapped[int]
    headers: Mapped[dict[str, Any]]
    body: Mapped[bytes | None]
    """What was answered to nobody."""
    sealed_body: Mapped[bytes | None] = mapped_column(Sealed)
    """What was answered to the person. Neither is there when the answer held a secret."""
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[datetime] = mapped_column(index=True)
