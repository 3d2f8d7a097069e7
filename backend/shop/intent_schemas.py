"""What the shop's intents are asked with, and what they answer."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from backend.chain import NATIVE
from backend.intents import Intent
from backend.schemas import AddressStr, AmountIn, AsOf, Hash32, Schema, Time
from backend.shop.schemas import Division
from backend.works.schemas import Title, lines

UINT32 = 2**32 - 1
UINT48 = 2**48 - 1
UINT64 = 2**64 - 1
UINT128 = 2**128 - 1
NO_REF = bytes(32)
MAX_USE_S = 366 * 86_400
"""Characters.MAX_USE: nobody has the use of a character for longer."""


def amount_within(low: int, high: int) -> AfterValidator:
    """A bound on an amount of a request."""

    def check(value: int) -> int:
        if not low <= value <= high:
            raise ValueError(f"it is between {low} and {high}")
        return value

    return AfterValidator(check)


Uint64In = Annotated[AmountIn, amount_within(1, UINT64)]
PriceIn = Annotated[AmountIn, amount_within(0, UINT128)]
Rarity = Annotated[int, Field(strict=True, ge=0, le=255, description="A number that the contract gives no meaning")]
Token = Annotated[AddressStr, Field(description="What it is paid in; the zero address is the native coin")]
MaxTotal = Annotated[AmountIn | None, Field(description="The most that it may cost, such as the price that you saw")]
Seconds = Annotated[int, Field(strict=True, ge=1, le=UINT32)]


class AssetIn(Schema):
    """What is said of an item or character, in its metadata file."""

    name: Title
    description: Annotated[str, AfterValidator(lines), Field(max_length=10_000)] = ""
    image_cid: str | None = Field(None, max_length=100, description="A picture that is kept here, by its content id")


class ItemIn(AssetIn):
    """A new item of a work. Nothing of it ever changes."""

    max_supply: Uint64In = Field(description="Most that can ever be minted")
    per_account_cap: int = Field(0, strict=True, ge=0, le=UINT32, description="0: no bound")
    rarity: Rarity = 0
    soulbound: bool = Field(False, strict=True)
    expires_at: Time | None = Field(None, description="A pass: it can't be minted or used from then on")


class ClassIn(Schema):
    """A new class of characters or tickets of a work. Supply, rarity and nature of it never change."""

    max_supply: int = Field(strict=True, ge=1, le=UINT32)
    rarity: Rarity = 0
    soulbound: bool = Field(False, strict=True)
    ticket: bool = Field(False, strict=True)
    organiser: AddressStr | None = Field(None, description="Who checks tickets in; of tickets only, you by default")
    trait_setter: AddressStr | None = Field(None, description="Null: nobody ever sets traits of its tokens")
    platform_id: Hash32 | None = Field(None, description="A registered platform that alone mints it")

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.organiser is not None and not self.ticket:
            raise ValueError("only tickets have an organiser")
        return self


class MintIn(AssetIn):
    """A new character, given away by the work's owner."""

    to: AddressStr


class ListingIn(Schema):
    """What is offered: copies of an item, characters of a class, a work, or the use of a character."""

    kind: Literal["edition", "character", "work", "rental"]
    asset_id: Annotated[AmountIn, amount_within(1, 2**63 - 1)] = Field(description="The item, class, work or character")
    token: Token = NATIVE
    price: PriceIn = Field(description="Of one; of a period for a rental; 0 is free")
    max_supply: Uint64In | None = Field(None, description="How many; of editions and characters only")
    starts_at: Time | None = None
    ends_at: Time | None = None
    period_s: Seconds | None = Field(None, description="Of a rental: what the price is for, and the shortest duration")
    longest_s: int | None = Field(None, strict=True, ge=1, le=MAX_USE_S, description="Of a rental")
    character: AssetIn | None = Field(None, description="What each new character or ticket is called; of these only")

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        wanted = {
            "max_supply": self.kind in ("edition", "character"),
            "period_s": self.kind == "rental",
            "longest_s": self.kind == "rental",
            "character": self.kind == "character",
        }
        for name, needed in wanted.items():
            if (getattr(self, name) is not None) is not needed:
                raise ValueError(f"{name} is {'needed for' if needed else 'not of'} a listing of kind {self.kind}")
        if self.period_s and self.longest_s and self.period_s > self.longest_s:
            raise ValueError("period_s is the shortest duration, and longest_s the longest")
        return self


class BuyIn(Schema):
    """How many, by whom, for whom."""

    qty: Uint64In = 1
    buyer: AddressStr | None = Field(None, description="Who sends it; you, if you are signed in")
    to: AddressStr | None = Field(None, description="Who gets it; the buyer by default")
    ref: Hash32 = Field(NO_REF, description="The buyer's reference, recorded with the payment")
    max_total: MaxTotal = None


class RentIn(Schema):
    """For how long, by whom."""

    duration_s: int = Field(strict=True, ge=1, le=MAX_USE_S)
    buyer: AddressStr | None = Field(None, description="Who rents it; you, if you are signed in")
    max_total: MaxTotal = None


class SubscribeIn(Schema):
    """How many periods, by whom, for whom."""

    periods: int = Field(1, strict=True, ge=1, le=UINT32)
    buyer: AddressStr | None = Field(None, description="Who pays; you, if you are signed in")
    to: AddressStr | None = Field(None, description="Who gets access; the buyer by default")


class PlanIn(Schema):
    """Access to a work for a time."""

    token: Token = NATIVE
    price: Annotated[AmountIn, amount_within(1, UINT128)] = Field(description="Of a period")
    period_s: Seconds


class RepriceIn(Schema):
    """The new price."""

    price: PriceIn


class ShopIntent(Schema):
    """Transactions to sign in this order."""

    intents: list[Intent]
    as_of: AsOf


class AssetIntent(ShopIntent):
    """As ShopIntent; where the metadata file is served."""

    metadata_url: str


class SaleIntent(ShopIntent):
    """As ShopIntent; what it costs and who gets it, by the price and policy of `as_of`."""

    pays: Division
    until: Time | None = Field(description="Of a rental or subscription: when it ends, if sent now")
