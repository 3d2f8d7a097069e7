"""Tables of the outbox: what the operator means to do on chain, and every transaction signed for it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from backend.models.base import Base
from backend.models.marks import NotPersonal, marked
from backend.sender.states import IN_FLIGHT, State
from indexer.db import Uint256

_STATES = ", ".join(f"'{state}'" for state in State)
_IN_FLIGHT = ", ".join(f"'{state}'" for state in sorted(IN_FLIGHT))


class SenderAccount(Base):
    """One of the operator's accounts on one chain; its row is locked while a nonce is given out."""

    __tablename__ = "sender_account"
    __table_args__ = (marked(NotPersonal("the operator's own accounts")),)

    chain_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    address: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    halted_code: Mapped[str | None] = mapped_column(Text)
    halted_detail: Mapped[str | None] = mapped_column(Text)
    halted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class OutboxIntent(Base):
    """One effect that the operator means to have on chain, written in the transaction that decided it."""

    __tablename__ = "outbox_intent"
    __table_args__ = (
        UniqueConstraint("chain_id", "sender", "nonce"),
        CheckConstraint(f"state IN ({_STATES})", "state"),
        CheckConstraint("state NOT IN ('signed', 'broadcast', 'mined', 'replaced') OR nonce IS NOT NULL", "nonce_held"),
        CheckConstraint("state NOT IN ('queued', 'expired') OR nonce IS NULL", "nonce_free"),
        CheckConstraint("octet_length(sender) = 20 AND octet_length(target) = 20", "addresses"),
        Index("ix_outbox_intent_queued", "chain_id", "sender", "id", postgresql_where="state = 'queued'"),
        Index("ix_outbox_intent_in_flight", "chain_id", "sender", "nonce", postgresql_where=f"state IN ({_IN_FLIGHT})"),
        marked(NotPersonal("the operator's own transactions")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    key: Mapped[str] = mapped_column(Text, unique=True, comment="names the effect: the same key is the same intent")
    kind: Mapped[str] = mapped_column(Text, comment="what it is for: picks the check before and the step after")
    chain_id: Mapped[int] = mapped_column(BigInteger)
    sender: Mapped[bytes] = mapped_column(LargeBinary)
    target: Mapped[bytes] = mapped_column(LargeBinary)
    value: Mapped[int] = mapped_column(Uint256, comment="wei")
    data: Mapped[bytes] = mapped_column(LargeBinary)
    gas: Mapped[int | None] = mapped_column(BigInteger, comment="limit; estimated when null")
    expires_at: Mapped[datetime | None] = mapped_column(
        DateTime(timezone=True), comment="not signed after this; what is signed may still be mined"
    )
    state: Mapped[str] = mapped_column(Text, default=State.QUEUED)
    nonce: Mapped[int | None] = mapped_column(BigInteger)
    attempts: Mapped[int] = mapped_column(Integer, default=0, comment="unexpected failures; parked at the limit")
    code: Mapped[str | None] = mapped_column(Text, comment="why it ended, or why it waits")
    detail: Mapped[str | None] = mapped_column(Text)
    mined_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    mined_block: Mapped[int | None] = mapped_column(BigInteger)
    mined_block_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    succeeded: Mapped[bool | None] = mapped_column(comment="the receipt's status")
    cost: Mapped[int | None] = mapped_column(Uint256, comment="wei paid for gas")
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now(), onupdate=func.now()
    )
    done_at: Mapped[datetime | None] = mapped_column(
        DateTime(timezone=True), comment="its end has been acted upon (the kind's step after)"
    )

    transactions: Mapped[list[OutboxTransaction]] = relationship(
        order_by="OutboxTransaction.number", back_populates="intent", cascade="save-update, merge"
    )


class OutboxTransaction(Base):
    """Signed bytes for an intent's nonce. Never deleted: any of them may be the one that is mined."""

    __tablename__ = "outbox_transaction"
    __table_args__ = (
        UniqueConstraint("intent_id", "number"),
        marked(NotPersonal("the operator's own transactions")),
    )

    hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    intent_id: Mapped[int] = mapped_column(ForeignKey("app.outbox_intent.id"))
    number: Mapped[int] = mapped_column(Integer, comment="1 for the first, more for replacements with higher fees")
    raw: Mapped[bytes] = mapped_column(LargeBinary)
    gas: Mapped[int] = mapped_column(BigInteger)
    max_fee: Mapped[int] = mapped_column(Uint256, comment="wei for a unit of gas")
    priority: Mapped[int] = mapped_column(Uint256, comment="wei for a unit of gas")
    signed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    sent_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), comment="first acknowledged by a node")
    sent_block: Mapped[int | None] = mapped_column(BigInteger, comment="the chain's head then")

    intent: Mapped[OutboxIntent] = relationship(back_populates="transactions")
