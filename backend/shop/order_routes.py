"""Signed orders over HTTP: sell what you hold to whoever sends your signature to the storefront."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from backend.edge.scoped import OptionalTrader, Trader
from backend.errors import Problem
from backend.pagination import DEFAULT_LIMIT, Cursor, Limit, decode_cursor, encode_cursor, page
from backend.schemas import AddressStr
from backend.shop import orderbook
from backend.shop.holding import CollectionName
from backend.shop.intent_routes import DeskDep
from backend.shop.intent_schemas import SaleIntent, ShopIntent
from backend.shop.order_schemas import FillIn, OrderAnswer, OrderDraft, OrderIn, OrderOut, OrderPage, OrderPost
from backend.shop.routes import MAX_ID, Shop, raw

router = APIRouter(prefix="/v1/orders", tags=["shop"])

OrderHash = Annotated[str, Path(pattern="^0x[0-9a-f]{64}$", description="The order's hash")]


@router.post("/draft")
def draft_order(wanted: OrderIn, desk: DeskDep, me: Trader) -> OrderDraft:
    """What you sign to sell a work, a character or items of yours: typed data, and the approval where it is missing.

    Nothing is kept, and nothing is sold before somebody fills it. Each buyer pays the price; the work gets its royalty
    of it, you the rest.
    """
    return orderbook.draft(desk, me.address, wanted)


@router.post("", status_code=201)
def post_order(posted: OrderPost, desk: DeskDep) -> OrderOut:
    """Show a signed order to buyers. It is kept if the storefront would fill it now: signature for this chain and
    storefront, seller's balance and approval, deadline, counter. The same order again is the same.
    """
    return orderbook.post(desk, posted)


@router.get("")
def list_orders(
    shop: Shop,
    *,
    collection: CollectionName | None = None,
    token_id: Annotated[int | None, Query(ge=1, le=MAX_ID)] = None,
    seller: AddressStr | None = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> OrderPage:
    """Signed orders that can be filled now, newest first."""
    before = decode_cursor("orders", cursor, int)[0] if cursor else None
    orders, following = page(
        orderbook.list_orders(
            shop, before=before, limit=limit + 1, collection=collection, token_id=token_id, seller=raw(seller)
        ),
        limit,
        lambda order: encode_cursor("orders", order.number),
    )
    return OrderPage(items=orderbook.show_open(shop, orders), next=following, as_of=shop.head.as_of)


@router.post("/cancel-all-intent")
def cancel_all_orders(desk: DeskDep) -> ShopIntent:
    """The transaction that voids every order that its sender has signed so far, whether it was posted here or not."""
    return orderbook.cancel_all_intent(desk)


@router.get("/{order_hash}", responses={404: {"model": Problem, "description": "`order_not_found`"}})
def get_order(order_hash: OrderHash, shop: Shop) -> OrderAnswer:
    """One order that was posted here, and what became of it."""
    order = orderbook.show(shop, orderbook.find(shop, bytes.fromhex(order_hash[2:])))
    return OrderAnswer(**dict(order), as_of=shop.head.as_of)


@router.post("/{order_hash}/fill-intent")
def fill_order(order_hash: OrderHash, wanted: FillIn, desk: DeskDep, me: OptionalTrader) -> SaleIntent:
    """The transactions that buy of a signed order; `pays` shows the royalty that goes to the work."""
    return orderbook.fill_intent(desk, me.address if me else None, bytes.fromhex(order_hash[2:]), wanted)


@router.post("/{order_hash}/cancel-intent")
def cancel_order(order_hash: OrderHash, desk: DeskDep, me: Trader) -> ShopIntent:
    """The transaction that voids an order of yours. Until it is mined the order can still be filled."""
    return orderbook.cancel_intent(desk, me.address, bytes.fromhex(order_hash[2:]))
