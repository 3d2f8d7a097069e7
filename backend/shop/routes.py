"""The shop over HTTP, to read: offers, items and holders, characters, plans, subscriptions, access."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from sqlalchemy import RowMapping

from backend.content.routes import Store
from backend.deps import Chain
from backend.errors import Problem
from backend.mirror import ChainHead, Snapshot, newest_first
from backend.pagination import DEFAULT_LIMIT, Cursor, Limit, decode_cursor, encode_cursor, page
from backend.schemas import AddressStr
from backend.shop import access, catalogue
from backend.shop.catalogue import CharacterFilter, ListingFilter, Reader
from backend.shop.offers import Kind, KindName
from backend.shop.schemas import (
    Access,
    CharacterAnswer,
    CharacterPage,
    ClassAnswer,
    ClassPage,
    HoldingPage,
    ItemAnswer,
    ItemPage,
    ListingAnswer,
    ListingPage,
    PlanAnswer,
    PlanPage,
    SubscriptionPage,
)

router = APIRouter(prefix="/v1", tags=["shop"])

MAX_ID = 2**63 - 1
Id = Annotated[int, Path(ge=1, le=MAX_ID)]
ClassId = Annotated[int, Path(ge=1, le=2**31 - 1)]
WorkId = Annotated[int, Path(ge=1, le=MAX_ID, description="The work's id in the registry")]
OfWork = Annotated[int | None, Query(ge=1, le=MAX_ID, description="Only of this work")]
MISSING: Any = {404: {"model": Problem, "description": "`asset_not_found`"}}


def get_reader(session: Snapshot, store: Store, chain: Chain, head: ChainHead) -> Reader:
    return Reader(session, store, chain, head)


Shop = Annotated[Reader, Depends(get_reader)]
"""The shop at the mirror's head."""


def raw(address: str | None) -> bytes | None:
    """The 20 bytes of an address."""
    return None if address is None else bytes.fromhex(address[2:])


def _of_works(
    shop: Reader, table: str, *, scope: str, key: str, cursor: str | None, limit: int, work_id: int | None
) -> tuple[list[RowMapping], str | None]:
    """A page of what works have, of one work or of all."""
    return newest_first(
        shop.session,
        lambda before, many: catalogue.list_rows(shop.session, table, key, before=before, limit=many, work_id=work_id),
        scope=scope,
        key=key,
        cursor=cursor,
        limit=limit,
    )


# --- offers -----------------------------------------------------------------------------------------------------------


@router.get("/listings")
def list_listings(
    shop: Shop,
    *,
    work_id: OfWork = None,
    kind: KindName | None = None,
    seller: AddressStr | None = None,
    asset_id: Annotated[int | None, Query(ge=1, le=MAX_ID, description="The item, class, work or character")] = None,
    only_open: Annotated[bool, Query(alias="open", description="Only what can be bought now")] = False,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> ListingPage:
    """What is offered, newest first: copies, characters and tickets, works, rentals; with what is left and who is paid.

    `state` says whether it can be bought by the chain's clock: an offer is dead while somebody else than its seller
    owns the work, or the character that is let.
    """
    wanted = ListingFilter(
        work_id=work_id,
        kind=None if kind is None else Kind[kind.upper()].value,
        seller=raw(seller),
        asset_id=asset_id,
        open_at=shop.head.time if only_open else None,
    )
    shown, following = newest_first(
        shop.session,
        lambda before, many: catalogue.list_listings(shop.session, wanted, before=before, limit=many),
        scope="listings",
        key="listing_id",
        cursor=cursor,
        limit=limit,
    )
    return ListingPage(items=catalogue.show_listings(shop, shown), next=following, as_of=shop.head.as_of)


@router.get("/listings/{listing_id}", responses={404: {"model": Problem, "description": "`listing_not_found`"}})
def get_listing(listing_id: Id, shop: Shop) -> ListingAnswer:
    """One offer."""
    listing = catalogue.show_listings(shop, [catalogue.find_listing(shop.session, listing_id)])[0]
    return ListingAnswer(**dict(listing), as_of=shop.head.as_of)


# --- items ------------------------------------------------------------------------------------------------------------


@router.get("/items")
def list_items(shop: Shop, *, work_id: OfWork = None, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT) -> ItemPage:
    """Items of works: copies, merchandise, passes; newest first."""
    shown, following = _of_works(
        shop, "item", scope="items", key="item_id", cursor=cursor, limit=limit, work_id=work_id
    )
    return ItemPage(items=catalogue.show_items(shop, shown), next=following, as_of=shop.head.as_of)


@router.get("/items/{item_id}", responses=MISSING)
def get_item(item_id: Id, shop: Shop) -> ItemAnswer:
    """One item: what was minted and burned of it, its caps, until when it lasts."""
    row = catalogue.find(shop.session, "item", "item_id", item_id, "item")
    return ItemAnswer(**dict(catalogue.show_items(shop, [row])[0]), as_of=shop.head.as_of)


@router.get("/items/{item_id}/holders", responses=MISSING)
def list_item_holders(
    item_id: Id, session: Snapshot, head: ChainHead, *, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
) -> HoldingPage:
    """Who holds an item, and how many, in the order of addresses."""
    catalogue.find(session, "item", "item_id", item_id, "item")
    after = decode_cursor("holders", cursor, bytes.fromhex)[0] if cursor else b""
    rows, following = page(
        catalogue.list_holders(session, item_id, after=after, limit=limit + 1),
        limit,
        lambda row: encode_cursor("holders", row["account"].hex()),
    )
    return HoldingPage(items=catalogue.show_holdings(rows), next=following, as_of=head.as_of)


@router.get("/holdings/{address}/items")
def list_held_items(
    address: AddressStr, session: Snapshot, head: ChainHead, *, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
) -> HoldingPage:
    """The items that an account holds, oldest first; its characters are `GET /v1/characters?owner=`."""
    after = decode_cursor("held", cursor, int)[0] if cursor else 0
    rows, following = page(
        catalogue.list_holdings(session, bytes.fromhex(address[2:]), after=after, limit=limit + 1),
        limit,
        lambda row: encode_cursor("held", int(row["item_id"])),
    )
    return HoldingPage(items=catalogue.show_holdings(rows), next=following, as_of=head.as_of)


# --- characters -------------------------------------------------------------------------------------------------------


@router.get("/classes")
def list_classes(
    shop: Shop, *, work_id: OfWork = None, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
) -> ClassPage:
    """Classes of characters, tickets and achievements, newest first."""
    shown, following = _of_works(
        shop, "character_class", scope="classes", key="class_id", cursor=cursor, limit=limit, work_id=work_id
    )
    return ClassPage(items=catalogue.show_classes(shop, shown), next=following, as_of=shop.head.as_of)


@router.get("/classes/{class_id}", responses=MISSING)
def get_class(class_id: ClassId, shop: Shop) -> ClassAnswer:
    """One class: how many can be and were minted, who checks its tickets in."""
    row = catalogue.find(shop.session, "character_class", "class_id", class_id, "class")
    return ClassAnswer(**dict(catalogue.show_classes(shop, [row])[0]), as_of=shop.head.as_of)


@router.get("/characters")
def list_characters(
    shop: Shop,
    *,
    work_id: OfWork = None,
    class_id: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    owner: AddressStr | None = None,
    user: Annotated[AddressStr | None, Query(description="Who has the use of it for a time, now")] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> CharacterPage:
    """Characters and tickets by falling id: owner, user, whether a ticket was used."""
    before = decode_cursor("characters", cursor, int, int) if cursor else None
    wanted = CharacterFilter(
        work_id=work_id,
        class_id=class_id,
        owner=raw(owner),
        user_at=None if user is None else (bytes.fromhex(user[2:]), shop.head.time),
    )
    rows, following = page(
        catalogue.list_characters(shop.session, wanted, before=before, limit=limit + 1),
        limit,
        lambda row: encode_cursor("characters", row["class_id"], catalogue.number_of(row["token_id"])),
    )
    return CharacterPage(items=catalogue.show_characters(shop, rows), next=following, as_of=shop.head.as_of)


@router.get("/characters/{token_id}", responses=MISSING)
def get_character(token_id: Id, shop: Shop) -> CharacterAnswer:
    """One character or ticket: owner, user and until when, whether it was checked in, whether it is exported."""
    row = catalogue.find(shop.session, "character", "token_id", token_id, "character")
    return CharacterAnswer(**dict(catalogue.show_characters(shop, [row])[0]), as_of=shop.head.as_of)


# --- plans, subscriptions, access -------------------------------------------------------------------------------------


@router.get("/plans")
def list_plans(shop: Shop, *, work_id: OfWork = None, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT) -> PlanPage:
    """Plans by which works can be subscribed to, newest first."""
    shown, following = _of_works(
        shop, "plan", scope="plans", key="plan_id", cursor=cursor, limit=limit, work_id=work_id
    )
    return PlanPage(items=catalogue.show_plans(shop, shown), next=following, as_of=shop.head.as_of)


@router.get("/plans/{plan_id}", responses=MISSING)
def get_plan(plan_id: Id, shop: Shop) -> PlanAnswer:
    """One plan."""
    row = catalogue.find(shop.session, "plan", "plan_id", plan_id, "plan")
    return PlanAnswer(**dict(catalogue.show_plans(shop, [row])[0]), as_of=shop.head.as_of)


@router.get("/subscriptions/{address}")
def list_subscriptions(
    address: AddressStr, session: Snapshot, head: ChainHead, *, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
) -> SubscriptionPage:
    """An account's subscriptions by work, with their ends; `active` by the chain's clock."""
    after = decode_cursor("subscriptions", cursor, int)[0] if cursor else 0
    rows, following = page(
        catalogue.list_subscriptions(session, bytes.fromhex(address[2:]), after=after, limit=limit + 1),
        limit,
        lambda row: encode_cursor("subscriptions", int(row["work_id"])),
    )
    return SubscriptionPage(items=catalogue.show_subscriptions(head, rows), next=following, as_of=head.as_of)


@router.get("/works/{work_id}/access/{address}", responses={404: {"model": Problem, "description": "`work_not_found`"}})
def get_access(work_id: WorkId, address: AddressStr, session: Snapshot, head: ChainHead) -> Access:
    """Whether an account has access to a work, by which right, and until when by the chain's clock.

    Rights are to own the work, a subscription, an item that has not expired, a character or ticket that is not lent,
    and the use of one that is. `has_access` is what the contract's `hasAccess` answers.
    """
    return access.access(session, head, work_id, bytes.fromhex(address[2:]))
