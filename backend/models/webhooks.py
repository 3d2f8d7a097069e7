"""Webhooks: where people want to be told, what there is to tell, and what became of each telling."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from backend.models.accounts import Account
from backend.models.base import Base, CreatedAt, Id
from backend.models.marks import NotPersonal, OfAccount, marked
from backend.vault.vault import Sealed
from indexer.db import Uint256


class WebhookCursor(Base):
    """How far `chain.outbox` has been told: one row, locked by whoever tells on."""

    __tablename__ = "webhook_cursor"
    __table_args__ = (
        CheckConstraint("id = 1", name="one_row"),
        marked(NotPersonal("how far what happened on the chain was told")),
    )

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    last_id: Mapped[int] = mapped_column(comment="the last message of chain.outbox that has been told")
    final_number: Mapped[int] = mapped_column(comment="up to here all is told and final: not told again by a rebuild")
    head_time: Mapped[int] = mapped_column(comment="the latest time of the chain's clock that votes were closed by")


class WebhookEndpoint(Base):
    """An address of a person's, where events are sent in order. The address and its secrets are sealed."""

    __tablename__ = "webhook_endpoint"
    __table_args__ = (
        CheckConstraint("(disabled_reason IS NULL) = (disabled_at IS NULL)", name="disabled"),
        CheckConstraint("(old_secret IS NULL) = (old_secret_until IS NULL)", name="old_secret"),
        Index("ix_webhook_endpoint_due", "next_at", postgresql_where=text("disabled_at IS NULL")),
        marked(OfAccount("where you want to be told, sealed", "until you remove it", ("webhooks",))),
    )

    id: Mapped[Id]
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"), index=True)
    url: Mapped[bytes] = mapped_column(Sealed)
    secret: Mapped[bytes] = mapped_column(Sealed)
    old_secret: Mapped[bytes | None] = mapped_column(Sealed)
    old_secret_until: Mapped[datetime | None] = mapped_column(comment="until then both secrets sign")
    types: Mapped[list[str]] = mapped_column(ARRAY(Text))
    work_ids: Mapped[list[int] | None] = mapped_column(ARRAY(Uint256), comment="null: events of all works")
    created_at: Mapped[CreatedAt]
    disabled_at: Mapped[datetime | None]
    disabled_reason: Mapped[str | None]
    failures: Mapped[int] = mapped_column(Integer, default=0, comment="failed attempts since the last success")
    next_at: Mapped[datetime] = mapped_column(comment="nothing is sent before")
    lease: Mapped[uuid.UUID | None] = mapped_column(comment="of the process that is sending now")
    leased_until: Mapped[datetime | None]


class WebhookEvent(Base):
    """Something that happened, as it is sent: the same bytes and the same id each time, to every endpoint."""

    __tablename__ = "webhook_event"
    __table_args__ = (
        Index("uq_webhook_event_key", "key", unique=True, postgresql_where=text("NOT undone")),
        Index("ix_webhook_event_block_number", "block_number", postgresql_where=text("NOT undone")),
        marked(NotPersonal("what happened on the chain, the same for everybody who is told")),
    )

    position: Mapped[int] = mapped_column(Identity(), primary_key=True, comment="the order of telling")
    id: Mapped[uuid.UUID] = mapped_column(unique=True, comment="webhook-id is msg_ and its hexadecimal digits")
    key: Mapped[str] = mapped_column(comment="what happened: told once, unless the chain took it back")
    type: Mapped[str]
    body: Mapped[str]
    work_id: Mapped[int | None] = mapped_column(Uint256)
    block_number: Mapped[int | None]
    undone: Mapped[bool] = mapped_column(default=False, comment="a reorganisation took its block back")
    created_at: Mapped[datetime] = mapped_column(index=True)


class WebhookDelivery(Base):
    """One event for one endpoint."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'delivered', 'dropped')", name="state"),
        Index("ix_webhook_delivery_waiting", "endpoint_id", "position", postgresql_where=text("state = 'waiting'")),
        Index("ix_webhook_delivery_position", "position"),
        marked(OfAccount("which events were sent to you", "until you remove the endpoint", ("webhooks",))),
    )

    endpoint_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(WebhookEndpoint.id, ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(ForeignKey(WebhookEvent.position, ondelete="CASCADE"), primary_key=True)
    state: Mapped[str] = mapped_column(server_default="waiting")
    delivered_at: Mapped[datetime | None]


class WebhookAttempt(Base):
    """One request that was made, and how it ended."""

    __tablename__ = "webhook_attempt"
    __table_args__ = (
        ForeignKeyConstraint(
            ["endpoint_id", "position"],
            [WebhookDelivery.endpoint_id, WebhookDelivery.position],
            ondelete="CASCADE",
        ),
        Index("ix_webhook_attempt_delivery", "endpoint_id", "position"),
        marked(OfAccount("how each sending to you ended", "until you remove the endpoint", ("webhooks",))),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    endpoint_id: Mapped[uuid.UUID]
    position: Mapped[int]
    at: Mapped[datetime]
    status: Mapped[int | None] = mapped_column(Integer, comment="the receiver's HTTP status; null without an answer")
    error: Mapped[str | None] = mapped_column(comment="a code of backend.webhooks.transport, when there was no answer")
    duration_ms: Mapped[int] = mapped_column(Integer)
