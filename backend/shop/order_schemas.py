"""What signed orders are asked with, and what they answer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from backend.chain import NATIVE
from backend.intents import Intent, TypedData
from backend.payouts.schemas import TokenInfo
from backend.schemas import AddressStr, Amount, AmountIn, AsOf, Hash32, HexBytes, Schema, Time
from backend.shop.holding import CollectionName
from backend.shop.intent_schemas import UINT48, Token, Uint64In, amount_within
from backend.shop.schemas import NEXT, Division

OrderState = Literal["open", "stalled", "filled", "cancelled", "expired"]
NOBODY = "0x" + "00" * 20
MAX_SIGNATURE = 2_048
"""Bytes; contract wallets make long ones."""


class OrderIn(Schema):
    """What a holder wants to sell to people, at what price."""

    collection: CollectionName
    token_id: Annotated[AmountIn, amount_within(1, 2**63 - 1)]
    amount: Uint64In = Field(1, description="How many; 1 unless it is an item")
    token: Token = NATIVE
    price: Annotated[AmountIn, amount_within(0, 2**128 - 1)] = Field(description="Of one, royalty included")
    taker: AddressStr = Field(NOBODY, description="The only account that may buy; the zero address for anyone")
    deadline: Time = Field(description="It can be filled until then, by the chain's clock")


class OrderDraft(Schema):
    """What to sign (`eth_signTypedData_v4`), and to send before where the storefront isn't approved yet.

    Then post `order` with the signature to `POST /v1/orders`.
    """

    order: OrderSigned
    order_hash: Hash32
    typed_data: TypedData
    intents: list[Intent] = Field(description="The approval by which the storefront can hand over what is sold")
    pays: Division = Field(description="Of one, by the policy in force")
    as_of: AsOf


class OrderSigned(Schema):
    """An order as it is signed, without the signature."""

    seller: AddressStr
    collection: CollectionName
    token_id: Annotated[AmountIn, amount_within(1, 2**63 - 1)]
    amount: Uint64In
    token: Token
    price: Annotated[AmountIn, amount_within(0, 2**128 - 1)]
    taker: AddressStr
    counter: AmountIn
    salt: AmountIn
    deadline: int = Field(strict=True, ge=0, le=UINT48, description="Chain time in seconds")


class OrderPost(Schema):
    """An order and its seller's signature."""

    order: OrderSigned
    signature: HexBytes = Field(max_length=MAX_SIGNATURE)


class OrderOut(Schema):
    """An order that was posted, and what became of it on chain."""

    order_hash: Hash32
    seller: AddressStr
    collection: CollectionName
    token_id: Amount
    work_id: int
    amount: Amount
    left: Amount = Field(description="How many can still be bought")
    token: TokenInfo
    price: Amount = Field(description="Of one")
    pays: Division = Field(description="Of one, by the policy in force: the royalty goes to the work")
    taker: AddressStr | None
    deadline: Time
    state: OrderState = Field(
        description="`stalled`: its seller no longer holds what it sells, or took the storefront's approval back"
    )
    posted_at: Time


class OrderAnswer(OrderOut):
    """An order, and the block that this was read at."""

    as_of: AsOf


class OrderPage(Schema):
    """Orders, newest first. A page may be shorter than `limit`, or empty, and still have a next one."""

    items: list[OrderOut]
    next: str | None = Field(description=NEXT)
    as_of: AsOf


class FillIn(Schema):
    """How many, by whom, for whom."""

    qty: Uint64In = 1
    buyer: AddressStr | None = Field(None, description="Who sends it; you, if you are signed in")
    to: AddressStr | None = Field(None, description="Who gets it; the buyer by default")
    unused: bool = Field(True, strict=True, description="A ticket must not have been checked in")


OrderDraft.model_rebuild()
