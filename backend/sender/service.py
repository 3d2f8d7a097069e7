"""Putting intents into the outbox and reading it. What is queued here is sent by `sweeper.Sender`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from backend.models.sender import OutboxIntent, SenderAccount
from backend.sender.states import State


class OutboxConflict(Exception):
    """A key was used again for another effect."""


@dataclass(frozen=True, slots=True)
class Effect:
    """A call that the operator's account `sender` means to make: 20-byte addresses, wei, call data."""

    chain_id: int
    sender: bytes
    target: bytes
    data: bytes = b""
    value: int = 0
    gas: int | None = None
    expires_at: datetime | None = None


def enqueue(session: Session, effect: Effect, *, kind: str, key: str) -> OutboxIntent:
    """Queue an effect in the caller's transaction, once for each key; the same key again gives the same intent.

    The intent exists exactly if the caller's transaction commits, so what was decided and what is sent can't part.
    Raises OutboxConflict when the key stands for another effect already.
    """
    values = {
        "key": key,
        "kind": kind,
        "chain_id": effect.chain_id,
        "sender": effect.sender,
        "target": effect.target,
        "value": effect.value,
        "data": effect.data,
        "gas": effect.gas,
        "expires_at": effect.expires_at,
        "state": State.QUEUED,
        "attempts": 0,
    }
    session.execute(insert(OutboxIntent).values(values).on_conflict_do_nothing(index_elements=["key"]))
    intent = session.scalars(select(OutboxIntent).where(OutboxIntent.key == key)).one()
    same = ("kind", "chain_id", "sender", "target", "value", "data")
    if differing := [name for name in same if getattr(intent, name) != values[name]]:
        raise OutboxConflict(f"outbox key {key!r} stands for another effect (differs in {', '.join(differing)})")
    return intent


def find(session: Session, key: str) -> OutboxIntent | None:
    """The intent of a key."""
    return session.scalars(select(OutboxIntent).where(OutboxIntent.key == key)).one_or_none()


def resume(session: Session, *, chain_id: int, address: bytes) -> bool:
    """Let a halted account sign again, once an operator has removed the cause. False when it was not halted."""
    resumed = session.execute(
        update(SenderAccount)
        .where(
            SenderAccount.chain_id == chain_id,
            SenderAccount.address == address,
            SenderAccount.halted_code.is_not(None),
        )
        .values(halted_code=None, halted_detail=None, halted_at=None)
        .returning(SenderAccount.address)
    )
    return resumed.first() is not None
