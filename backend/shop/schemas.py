"""What the shop's reads answer with."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from backend.payouts.schemas import TokenInfo
from backend.schemas import AddressStr, Amount, AsOf, Hash32, Schema, Time
from backend.shop.offers import KindName, OfferState, PlanState
from backend.works.schemas import MediaOut, StageName

Right = Literal["owner", "subscription", "item", "character", "rental"]

NEXT = "Cursor of the next page"


class Division(Schema):
    """Where a price goes, in base units: `total = to_work + fee + to_seller`."""

    total: Amount
    royalty: Amount = Field(description="Of a resale or rental, what goes to the work, fee included; else 0")
    fee: Amount = Field(description="The platform's, of what goes to the work")
    to_work: Amount = Field(description="Into the work's revenue, divided among its holders and parents")
    to_seller: Amount


class Arrived(Schema):
    """Since when the chain has it."""

    created_at: Time
    block: int
    tx_hash: Hash32
    stage: StageName


class ListingOut(Arrived):
    """An offer."""

    listing_id: int
    work_id: int
    kind: KindName = Field(
        description="`edition`: new copies of an item; `character`: new characters or tickets of a class; "
        "`work`: the work's own token; `rental`: the use of a character for a time"
    )
    asset_id: Amount = Field(description="Id of the item, class, work or character")
    name: str | None = Field(description="From the asset's metadata file, if that is kept here and names one")
    seller: AddressStr
    token: TokenInfo
    price: Amount = Field(description="Of one; of a period for a rental")
    pays: Division = Field(description="Where the price of one, or of a period, goes by the policy in force")
    state: OfferState
    left: Amount = Field(description="How many can still be sold; 0 for a rental")
    sold: Amount
    starts_at: Time | None
    ends_at: Time | None
    period_s: int | None = Field(description="For a rental: what the price is for, and the shortest duration")
    longest_s: int | None = Field(description="For a rental: no use ends farther than this from now")


class ListingAnswer(ListingOut):
    """An offer, and the block that this was read at."""

    as_of: AsOf


class ListingPage(Schema):
    """Offers, newest first."""

    items: list[ListingOut]
    next: str | None = Field(description=NEXT)
    as_of: AsOf


class ItemOut(Arrived):
    """An item of a work: copies, merchandise or passes that are alike."""

    item_id: int
    work_id: int
    name: str | None
    description: str | None
    image: MediaOut | None
    max_supply: Amount = Field(description="Most that can ever be minted; what is burned doesn't come back")
    minted: Amount
    supply: Amount = Field(description="What there is: minted less burned")
    per_account_cap: int = Field(description="Most that is ever minted to one account; 0 for no bound")
    rarity: int
    soulbound: bool
    expires_at: Time | None
    metadata_cid: str


class ItemAnswer(ItemOut):
    """An item, and the block that this was read at."""

    as_of: AsOf


class ItemPage(Schema):
    """Items, newest first."""

    items: list[ItemOut]
    next: str | None = Field(description=NEXT)
    as_of: AsOf


class HoldingOut(Schema):
    """How many of an item an account has."""

    account: AddressStr
    item_id: int
    balance: Amount


class HoldingPage(Schema):
    """Holdings in the order of accounts, or of items."""

    items: list[HoldingOut]
    next: str | None = Field(description=NEXT)
    as_of: AsOf


class ClassOut(Arrived):
    """A class of characters, tickets or achievements."""

    class_id: int
    work_id: int
    max_supply: int
    minted: int
    rarity: int
    soulbound: bool
    ticket: bool
    organiser: AddressStr | None = Field(description="Who checks tickets in")
    trait_setter: AddressStr | None = Field(
        description="Who sets traits and metadata of its tokens; null: nobody, ever"
    )
    platform_id: Hash32 | None = Field(description="The platform that alone mints it")


class ClassAnswer(ClassOut):
    """A class, and the block that this was read at."""

    as_of: AsOf


class ClassPage(Schema):
    """Classes, newest first."""

    items: list[ClassOut]
    next: str | None = Field(description=NEXT)
    as_of: AsOf


class CharacterOut(Arrived):
    """A character or ticket as it is now."""

    token_id: Amount
    class_id: int
    work_id: int
    name: str | None
    description: str | None
    image: MediaOut | None
    owner: AddressStr | None = Field(description="Null once it is burned")
    user: AddressStr | None = Field(description="Who has the use of it for a time (ERC-4907)")
    user_until: Time | None
    ticket: bool
    checked_in_at: Time | None = Field(description="When the ticket was used")
    soulbound: bool
    exported: bool = Field(description="It is on another platform, and locked here")
    metadata_cid: str


class CharacterAnswer(CharacterOut):
    """A character, and the block that this was read at."""

    as_of: AsOf


class CharacterPage(Schema):
    """Characters, newest ids first."""

    items: list[CharacterOut]
    next: str | None = Field(description=NEXT)
    as_of: AsOf


class PlanOut(Arrived):
    """Access to a work for a time, at a price."""

    plan_id: int
    work_id: int
    token: TokenInfo
    price: Amount = Field(description="Of a period")
    period_s: int
    pays: Division
    state: PlanState


class PlanAnswer(PlanOut):
    """A plan, and the block that this was read at."""

    as_of: AsOf


class PlanPage(Schema):
    """Plans, newest first."""

    items: list[PlanOut]
    next: str | None = Field(description=NEXT)
    as_of: AsOf


class SubscriptionOut(Schema):
    """Until when an account has, or had, access to a work by subscription."""

    work_id: int
    subscriber: AddressStr
    until: Time
    active: bool


class SubscriptionPage(Schema):
    """An account's subscriptions, by work."""

    items: list[SubscriptionOut]
    next: str | None = Field(description=NEXT)
    as_of: AsOf


class RightOut(Schema):
    """One right by which an account has access to a work."""

    by: Right
    until: Time | None = Field(description="It ends then, by the chain's clock; null: it has no end")
    item_id: int | None = None
    token_id: Amount | None = None


class Access(Schema):
    """Whether an account has access to a work, by which rights, the ones that last longest first."""

    work_id: int
    account: AddressStr
    access: bool
    until: Time | None = Field(description="When the last of the rights ends; null for never, or without access")
    rights: list[RightOut]
    has_access: bool = Field(
        description="What the contract's hasAccess says: by ownership, subscription and items. Of characters the chain "
        "keeps no list by account; ask hasAccessBy for each `token_id`"
    )
    as_of: AsOf
