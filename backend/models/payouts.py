"""Which accounts hold which leaves of which split root: read from tree files and events, kept to be looked up.

A root commits to every leaf and place below it, so a row once right is right for ever, whatever the chain reorganises:
rows are found by joining the chain's present splits on their roots, never by block.
"""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKey, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from backend.models.base import Base, CreatedAt
from backend.models.marks import NotPersonal, marked
from indexer.db import Uint256


class SplitRoot(Base):
    """A split root whose tree has been looked for; `complete` says whether every leaf of it is known."""

    __tablename__ = "split_root"
    __table_args__ = (
        CheckConstraint("octet_length(root) = 32", name="root_length"),
        marked(NotPersonal("read from the chain and from public files")),
    )

    root: Mapped[bytes] = mapped_column(primary_key=True)
    complete: Mapped[bool]
    created_at: Mapped[CreatedAt]


class SplitLeaf(Base):
    """One leaf of a root: `position` as the contract counts it, `(1 << depth) | path`, with at most 40 steps."""

    __tablename__ = "split_leaf"
    __table_args__ = (
        CheckConstraint("octet_length(account) = 20", name="account_length"),
        marked(NotPersonal("holders of shares, read from public files that the chain commits to")),
    )

    root: Mapped[bytes] = mapped_column(ForeignKey(SplitRoot.root, ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    account: Mapped[bytes] = mapped_column(index=True)
    weight: Mapped[int] = mapped_column(Uint256())


class SplitProgress(Base):
    """One row: up to this block, which carried a split, every root has been looked for."""

    __tablename__ = "split_progress"
    __table_args__ = (
        CheckConstraint("id = 1", name="one_row"),
        marked(NotPersonal("how far the chain was read")),
    )

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    block_number: Mapped[int]
    block_hash: Mapped[bytes]
