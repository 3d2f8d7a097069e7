"""Reward epochs: their logs and scores, and the roots that were made of them."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from backend.models.base import Base
from backend.models.marks import Gated, NotPersonal, marked
from backend.vault.vault import Sealed
from indexer.db import Uint256


class RewardEpoch(Base):
    """An epoch whose events are fixed: what arrives later belongs to a later one. Scored once the digests are there."""

    __tablename__ = "reward_epoch"
    __table_args__ = (
        CheckConstraint("(scored_at IS NULL) = (log_sha256 IS NULL)", name="scored_whole"),
        CheckConstraint("(scored_at IS NULL) = (scores_sha256 IS NULL)", name="scores_whole"),
        marked(NotPersonal("an epoch's figures, all published")),
    )

    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    fixed_at: Mapped[datetime]
    scored_at: Mapped[datetime | None]
    block_number: Mapped[int | None]
    """The mirror's head when it was scored; only events of the epoch's own time and before were used."""
    block_hash: Mapped[bytes | None]
    event_count: Mapped[int | None]
    log_root: Mapped[bytes | None]
    """Root of the log's tree; 32 zero bytes for an epoch without events."""
    log_sha256: Mapped[bytes | None]
    scores_sha256: Mapped[bytes | None]


class RewardScore(Base):
    """A creator's score in an epoch, with the parts it was made of (units of backend.rewards.engine)."""

    __tablename__ = "reward_score"
    __table_args__ = (marked(NotPersonal("creators' scores, all published in the epoch's file")),)

    epoch: Mapped[int] = mapped_column(ForeignKey(RewardEpoch.epoch), primary_key=True)
    creator: Mapped[bytes] = mapped_column(primary_key=True)
    voice: Mapped[int] = mapped_column(Uint256)
    value: Mapped[int] = mapped_column(Uint256)
    viewers: Mapped[int]


class RewardViewer(Base):
    """The pseudonym of a person in one epoch's published log; deleting the row makes it nobody's."""

    __tablename__ = "reward_viewer"
    __table_args__ = (
        UniqueConstraint("epoch", "tag"),
        marked(Gated("under which name you are in each epoch's published log", "until you erase it")),
    )

    person_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    epoch: Mapped[int] = mapped_column(ForeignKey(RewardEpoch.epoch), primary_key=True)
    salt: Mapped[bytes] = mapped_column(Sealed)
    """With it, who knows an address could find its tag: only the person's key opens it."""
    tag: Mapped[bytes]
    verified: Mapped[bool]


class RewardRoot(Base):
    """What one epoch adds to one token's stream, and the cumulative tree that says so. Amounts in base units."""

    __tablename__ = "reward_root"
    __table_args__ = (
        UniqueConstraint("epoch", "token", "attempt"),
        Index("ix_reward_root_root", "root"),
        CheckConstraint("(root IS NULL) = (tree_sha256 IS NULL)", name="tree_whole"),
        marked(NotPersonal("roots that are on the chain")),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    epoch: Mapped[int] = mapped_column(ForeignKey(RewardEpoch.epoch))
    token: Mapped[bytes]
    attempt: Mapped[int]
    previous_id: Mapped[int | None] = mapped_column(ForeignKey("app.reward_root.id"))
    """The root whose leaves this one adds to."""
    granted: Mapped[int] = mapped_column(Uint256)
    """What the epoch adds to the budget."""
    carried: Mapped[int] = mapped_column(Uint256)
    """What earlier epochs left over."""
    pool: Mapped[int] = mapped_column(Uint256)
    """What is shared out: granted and carried, as far as the contract allows now."""
    rollover: Mapped[int] = mapped_column(Uint256)
    """What is left over: granted + carried = what is rewarded + rollover."""
    root: Mapped[bytes | None]
    """None when the epoch rewards nobody: then there is nothing to publish."""
    total: Mapped[int] = mapped_column(Uint256)
    tree_sha256: Mapped[bytes | None]
    outbox_key: Mapped[str | None] = mapped_column(unique=True)
    void: Mapped[str | None]
    """Why it counts no more: it could not be published, or was rejected and withdrawn."""
    planned_at: Mapped[datetime]


class RewardLeaf(Base):
    """A leaf of a root's tree: all that an account was ever awarded in the stream, and what this epoch added."""

    __tablename__ = "reward_leaf"
    __table_args__ = (
        UniqueConstraint("root_id", "account"),
        Index("ix_reward_leaf_account", "account"),
        marked(NotPersonal("creators' rewards, all published in the tree's file")),
    )

    root_id: Mapped[int] = mapped_column(ForeignKey(RewardRoot.id), primary_key=True)
    index: Mapped[int] = mapped_column(primary_key=True)
    account: Mapped[bytes]
    cumulative: Mapped[int] = mapped_column(Uint256)
    amount: Mapped[int] = mapped_column(Uint256)
