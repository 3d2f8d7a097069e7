"""The reward streams as the mirror has them: caps, funds, roots, claims. Reads tables of schema `chain` only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Table, func, select
from sqlalchemy.orm import Session

from backend.rewards.epochs import Claimed, Stream
from indexer.models import event, view

CONTRACT = "RewardDistributor"
CAPS = event(CONTRACT, "CapsChanged")
FUNDED = event(CONTRACT, "Funded")
CLAIMED = event(CONTRACT, "RewardClaimed")
FINALIZED = event(CONTRACT, "RootFinalized")
ROOT = view("reward_root")

REASONS = {
    1: "a challenge was upheld",
    2: "a challenge was not ruled on in time",
    3: "the guardian withdrew it",
    4: "it lowered somebody's rewards",
    5: "it named an account twice",
    6: "its accounts were out of order",
    7: "it left somebody out",
}
"""IRewardDistributor.Reason in words."""


@dataclass(frozen=True)
class Proposal:
    """A root that was proposed, and what became of it."""

    token: bytes
    contract_epoch: int
    """The epoch that it was proposed in, one or more after the epoch that it rewards."""
    root: bytes
    total: int
    tree_digest: bytes
    log_root: bytes
    block_number: int
    tx_hash: bytes
    finalizable_at: int
    status: Literal["pending", "challenged", "final", "rejected"]
    reason: str | None
    """Why it was rejected."""
    ended_block: int | None


def tokens(session: Session) -> list[bytes]:
    """Tokens that governance has set caps for, ascending."""
    return [bytes(token) for token in session.scalars(select(CAPS.c.token).distinct().order_by(CAPS.c.token))]


@dataclass(frozen=True)
class Caps:
    """What holds from an epoch on, in base units: what an epoch may add, what an account may claim of it."""

    first_epoch: int
    epoch_cap: int
    account_cap: int


def caps(session: Session, token: bytes) -> list[Caps]:
    """A stream's caps in the order they were set."""
    rows = session.execute(select(CAPS).where(CAPS.c.token == token).order_by(CAPS.c.block_number, CAPS.c.log_index))
    return [Caps(int(row.from_epoch), int(row.epoch_cap), int(row.account_cap)) for row in rows]


def in_force(changes: list[Caps], epoch: int) -> Caps:
    """The caps of an epoch: of those that hold by then, the ones that were set last."""
    return next((change for change in reversed(changes) if change.first_epoch <= epoch), Caps(0, 0, 0))


def stream(session: Session, token: bytes, *, epoch: int, before: int | None = None) -> Stream:
    """A stream with the cap of `epoch`; with `before` (seconds) as it was after the last block before that time."""
    funded = _sum(session, FUNDED, token, before)
    claimed = _sum(session, CLAIMED, token, before)
    active = select(FINALIZED.c.epoch, FINALIZED.c.total).where(FINALIZED.c.token == token)
    if before is not None:
        active = active.where(FINALIZED.c.block_time < before)
    latest = active.order_by(FINALIZED.c.block_number.desc(), FINALIZED.c.log_index.desc()).limit(1)
    root = session.execute(latest).one_or_none()
    return Stream(
        epoch_cap=in_force(caps(session, token), epoch).epoch_cap,
        funded=funded - claimed,
        total=int(root.total) if root else 0,
        claimed=claimed,
        root_epoch=int(root.epoch) if root else 0,
    )


def _sum(session: Session, table: Table, token: bytes, before: int | None) -> int:
    query = select(func.coalesce(func.sum(table.c.amount), 0)).where(table.c.token == token)
    if before is not None:
        query = query.where(table.c.block_time < before)
    return int(session.scalar(query) or 0)


def proposals(session: Session, token: bytes) -> list[Proposal]:
    """All proposals of a stream, oldest first: one after the other, each ended before the next."""
    rows = session.execute(
        select(ROOT).where(ROOT.c.token == token).order_by(ROOT.c.created_block, ROOT.c.created_log_index)
    )
    return [
        Proposal(
            token=bytes(row.token),
            contract_epoch=int(row.epoch),
            root=bytes(row.root),
            total=int(row.total),
            tree_digest=bytes(row.tree_digest),
            log_root=bytes(row.log_root),
            block_number=row.created_block,
            tx_hash=bytes(row.created_tx),
            finalizable_at=row.finalizable_at,
            status=row.status,
            reason=REASONS.get(row.reason),
            ended_block=row.ended_block,
        )
        for row in rows
    ]


def claims(session: Session, token: bytes, account: bytes) -> list[Claimed]:
    """What an account was paid in a stream, oldest first."""
    rows = session.execute(
        select(CLAIMED.c.amount, CLAIMED.c.epoch)
        .where(CLAIMED.c.token == token, CLAIMED.c.account == account)
        .order_by(CLAIMED.c.block_number, CLAIMED.c.log_index)
    )
    return [Claimed(int(amount), int(epoch)) for amount, epoch in rows]
