"""The shop over HTTP, to act: every answer is unsigned transactions that the contracts accept as of the mirror."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from backend.deps import CoreDep
from backend.edge.scoped import OptionalTrader, Trader
from backend.shop import service
from backend.shop.intent_schemas import (
    AssetIntent,
    BuyIn,
    ClassIn,
    ItemIn,
    ListingIn,
    MintIn,
    PlanIn,
    RentIn,
    RepriceIn,
    SaleIntent,
    ShopIntent,
    SubscribeIn,
)
from backend.shop.routes import ClassId, Id, Shop, WorkId
from backend.shop.service import Desk

router = APIRouter(prefix="/v1", tags=["shop"])


def get_desk(shop: Shop, core: CoreDep) -> Desk:
    return Desk(shop, core.node)


DeskDep = Annotated[Desk, Depends(get_desk)]


@router.post("/works/{work_id}/items-intent")
def create_item(work_id: WorkId, wanted: ItemIn, desk: DeskDep, me: Trader) -> AssetIntent:
    """The transaction by which you, the work's owner, create an item of it: copies, merchandise, a pass that expires.

    Its metadata file is written and pinned; nothing of the item ever changes.
    """
    return service.item_intent(desk, me.address, work_id, wanted)


@router.post("/works/{work_id}/classes-intent")
def create_class(work_id: WorkId, wanted: ClassIn, desk: DeskDep, me: Trader) -> ShopIntent:
    """The transaction by which you, the work's owner, create a class of characters or tickets of it."""
    return service.class_intent(desk, me.address, work_id, wanted)


@router.post("/classes/{class_id}/mint-intent")
def mint_character(class_id: ClassId, wanted: MintIn, desk: DeskDep, me: Trader) -> AssetIntent:
    """The transaction by which you, the work's owner, give a new character of a class away."""
    return service.mint_intent(desk, me.address, class_id, wanted)


@router.post("/characters/{token_id}/check-in-intent")
def check_in_ticket(token_id: Id, desk: DeskDep, me: Trader) -> ShopIntent:
    """The transaction by which you, the organiser, use a ticket up; refused for one that was used already."""
    return service.check_in_intent(desk, me.address, token_id)


@router.post("/listings/intent")
def create_listing(wanted: ListingIn, desk: DeskDep, me: Trader) -> ShopIntent:
    """The transactions that offer copies of an item, characters or tickets of a class, a work, or a character's use.

    New copies and characters are their work's owner's to offer, and the whole price is the work's revenue. Of a work
    or a rental the work gets its royalty, the seller the rest; the storefront is approved first where it is not yet.
    """
    return service.listing_intent(desk, me.address, wanted)


@router.post("/listings/{listing_id}/reprice-intent")
def reprice_listing(listing_id: Id, wanted: RepriceIn, desk: DeskDep, me: Trader) -> ShopIntent:
    """The transaction that changes the price of your offer."""
    return service.reprice_intent(desk, me.address, listing_id, wanted.price)


@router.post("/listings/{listing_id}/cancel-intent")
def cancel_listing(listing_id: Id, desk: DeskDep, me: Trader) -> ShopIntent:
    """The transaction that withdraws your offer, or somebody's offer of what is yours by now."""
    return service.cancel_listing_intent(desk, me.address, listing_id)


@router.post("/listings/{listing_id}/buy-intent")
def buy_of_listing(listing_id: Id, wanted: BuyIn, desk: DeskDep, me: OptionalTrader) -> SaleIntent:
    """The transactions that buy of an offer, for yourself or somebody else, with what each party gets.

    `buy` carries the total as the most that it may cost: should the price rise meanwhile, nothing is spent.
    """
    return service.buy_intent(desk, me.address if me else None, listing_id, wanted)


@router.post("/listings/{listing_id}/rent-intent")
def rent_of_listing(listing_id: Id, wanted: RentIn, desk: DeskDep, me: OptionalTrader) -> SaleIntent:
    """The transactions that rent a character for a time; who rents it already rents on."""
    return service.rent_intent(desk, me.address if me else None, listing_id, wanted)


@router.post("/works/{work_id}/plans-intent")
def create_plan(work_id: WorkId, wanted: PlanIn, desk: DeskDep, me: Trader) -> ShopIntent:
    """The transaction by which you, the work's owner, offer access to it for a time."""
    return service.plan_intent(desk, me.address, work_id, wanted)


@router.post("/plans/{plan_id}/close-intent")
def close_plan(plan_id: Id, desk: DeskDep, me: Trader) -> ShopIntent:
    """The transaction that closes a plan; what was paid for goes on."""
    return service.close_plan_intent(desk, me.address, plan_id)


@router.post("/plans/{plan_id}/subscribe-intent")
def subscribe_by_plan(plan_id: Id, wanted: SubscribeIn, desk: DeskDep, me: OptionalTrader) -> SaleIntent:
    """The transactions that pay for access, your own or somebody's as a gift; it is extended from its present end."""
    return service.subscribe_intent(desk, me.address if me else None, plan_id, wanted)
