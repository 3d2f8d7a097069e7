"""Signed orders that people posted: what the storefront fills once somebody sends them with their signature."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Identity, Index
from sqlalchemy.orm import Mapped, mapped_column

from backend.models.base import Base, CreatedAt
from backend.models.marks import NotPersonal, marked
from indexer.db import Uint256


class SignedOrder(Base):
    """An order as its seller signed it (EIP-712). Never changes; what became of it is read from the chain."""

    __tablename__ = "signed_order"
    __table_args__ = (
        Index(None, "collection", "token_id", "number"),
        Index(None, "seller", "number"),
        CheckConstraint("octet_length(order_hash) = 32", name="hash_length"),
        marked(NotPersonal("offers that their sellers signed to be public")),
    )

    order_hash: Mapped[bytes] = mapped_column(primary_key=True)
    """What the storefront calls it."""
    number: Mapped[int] = mapped_column(Identity(), unique=True)
    """In the order of arrival, for cursors."""
    created_at: Mapped[CreatedAt]
    seller: Mapped[bytes]
    collection: Mapped[str]
    """works, characters or items."""
    token_id: Mapped[int] = mapped_column(Uint256())
    amount: Mapped[int] = mapped_column(Uint256())
    token: Mapped[bytes]
    price: Mapped[int] = mapped_column(Uint256())
    taker: Mapped[bytes]
    counter: Mapped[int] = mapped_column(Uint256())
    salt: Mapped[int] = mapped_column(Uint256())
    deadline: Mapped[int]
    """The last block time at which it can be filled."""
    signature: Mapped[bytes]
