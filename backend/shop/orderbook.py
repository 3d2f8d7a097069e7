"""Signed orders between people: drafted, checked as the storefront would, kept, shown, filled, cancelled."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from threading import BoundedSemaphore
from typing import Any, Final, NamedTuple

from eth_utils.address import to_checksum_address
from sqlalchemy import ColumnElement, RowMapping, and_, case, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from backend.chain import ChainInfo, decode_result, encode_call
from backend.errors import Conflict, Forbidden, Invalid, NotFound, Unavailable
from backend.intents import TypedData
from backend.models.shop import SignedOrder
from backend.node import NodeRefused, NodeUnreachable
from backend.payouts.payments import check_token
from backend.shop import catalogue, checks
from backend.shop.catalogue import Reader, calendar, division, rates, token_info
from backend.shop.holding import CONTRACTS, SHOP, CollectionName, held, shop_may_move, work_of
from backend.shop.intent_schemas import UINT48, SaleIntent, ShopIntent
from backend.shop.order_schemas import (
    NOBODY,
    FillIn,
    OrderDraft,
    OrderIn,
    OrderOut,
    OrderPost,
    OrderSigned,
    OrderState,
)
from backend.shop.orders import DOMAIN_NAME, Order, order_hash, signer, typed_data
from backend.shop.prices import resale
from backend.shop.service import Desk, approval, buyer_of, raw, somebody
from backend.works.catalogue import find_work
from backend.works.rules import Status
from indexer.models import event, view

MAX_OPEN: Final = 200
"""Open orders of a seller that are kept at a time."""
SPARE: Final = 3
"""Times as many orders are read for a page as it shows, for those that can't be filled after all."""
MAGIC: Final = bytes.fromhex("1626ba7e")
"""What a contract wallet answers for a signature that is its own (ERC-1271)."""
SIGNATURE_GAS: Final = 1_000_000
"""Enough for a passkey checked in Solidity."""
SIGNATURE_TIMEOUT_S: Final = 2
_wallets: Final = BoundedSemaphore(4)
"""Each question to a contract wallet holds a connection of the database: few at a time."""


def domain(chain: ChainInfo) -> dict[str, Any]:
    """The EIP-712 domain of orders."""
    return chain.typed_data_domain(SHOP, name=DOMAIN_NAME)


def _contract_order(chain: ChainInfo, signed: OrderSigned | SignedOrder) -> Order:
    """As the contract takes it."""

    def account(value: str | bytes) -> str:
        return str(to_checksum_address(value))

    return Order(
        seller=account(signed.seller),
        collection=chain.address(CONTRACTS[signed.collection]),  # type: ignore[index]  # one of the three names
        token_id=int(signed.token_id),
        amount=int(signed.amount),
        token=account(signed.token),
        price=int(signed.price),
        taker=account(signed.taker),
        share_weight=0,
        share_nonce=0,
        counter=int(signed.counter),
        salt=int(signed.salt),
        deadline=signed.deadline,
    )


def _of_this_storefront(chain: ChainInfo, order: SignedOrder) -> bool:
    """Whether the storefront would know an order by its hash: another one's is not its own, whatever the rest says."""
    return order_hash(_contract_order(chain, order), domain(chain)) == order.order_hash


# --- what the chain says ----------------------------------------------------------------------------------------------


def counter_of(session: Session, seller: bytes) -> int:
    """The counter that a seller's orders must carry."""
    raised = event(SHOP, "OrdersCancelled").c
    return int(session.scalar(select(func.max(raised.counter)).where(raised.seller == seller)) or 0)


class Fate(NamedTuple):
    """What the chain did with an order."""

    filled: int = 0
    cancelled: bool = False


def fates(session: Session, hashes: Sequence[bytes]) -> dict[bytes, Fate]:
    """What the chain did with these orders."""
    filled, cancelled = event(SHOP, "OrderFilled").c, event(SHOP, "OrderCancelled").c
    sums = session.execute(
        select(filled.order_hash, func.sum(filled.qty)).where(filled.order_hash.in_(hashes)).group_by(filled.order_hash)
    )
    sold = {bytes(order): int(total) for order, total in sums}
    void = set(session.scalars(select(cancelled.order_hash).where(cancelled.order_hash.in_(hashes))))
    return {order: Fate(sold.get(order, 0), order in void) for order in hashes}


def state_of(shop: Reader, order: SignedOrder, fate: Fate) -> OrderState:
    """What an order is now, by the chain's clock."""
    if fate.filled >= order.amount:
        return "filled"
    if fate.cancelled or counter_of(shop.session, order.seller) != order.counter:
        return "cancelled"
    if shop.head.time > order.deadline:
        return "expired"
    return "open" if _covered(shop, order) else "stalled"


def _covered(shop: Reader, order: SignedOrder) -> bool:
    """Whether one could be handed over: the seller has it, the storefront may move it, its work may sell."""
    collection: CollectionName = order.collection  # type: ignore[assignment]  # one of the three names
    work_id = work_of(shop.session, collection, order.token_id)
    if work_id is None or find_work(shop.session, work_id)["status"] >= Status.SUSPENDED:
        return False
    if collection == "characters" and _kept_back(shop, order.token_id) is not None:
        return False
    return held(shop.session, collection, order.token_id, order.seller) > 0 and shop_may_move(
        shop.session, shop.chain, collection, order.token_id, order.seller
    )


def _kept_back(shop: Reader, token_id: int) -> Conflict | None:
    """Why a character can't be handed on now; None if it can."""
    row = catalogue.find(shop.session, "character", "token_id", token_id, "character")
    until = int(row["user_expires"])
    if row["soulbound"] or row["exported"]:
        return _locked()
    if until > shop.head.time:
        return Conflict(f"It is let until block time {until}; sell it then.", code="character_rented", until=until)
    return None


def _item(shop: Reader, item_id: int) -> RowMapping:
    return catalogue.find(shop.session, "item", "item_id", item_id, "item")


def _locked() -> Conflict:
    return Conflict("It is soulbound, or on another platform: it can't be handed on.", code="character_locked")


# --- drafting and posting ---------------------------------------------------------------------------------------------


def draft(desk: Desk, me: bytes, wanted: OrderIn) -> OrderDraft:
    """What its holder signs to sell something. Raises NotFound, Conflict, Invalid."""
    shop = desk.shop
    if not 0 <= wanted.deadline.timestamp() < UINT48:
        raise Invalid("The deadline is before 1970, or later than the chain can tell.", code="order_expired")
    signed = OrderSigned(
        seller=str(to_checksum_address(me)),
        collection=wanted.collection,
        token_id=str(wanted.token_id),  # type: ignore[arg-type]  # a request's amount is text
        amount=str(wanted.amount),  # type: ignore[arg-type]
        token=wanted.token,
        price=str(wanted.price),  # type: ignore[arg-type]
        taker=wanted.taker,
        counter=str(counter_of(shop.session, me)),  # type: ignore[arg-type]
        salt=str(secrets.randbits(128)),  # type: ignore[arg-type]
        deadline=int(wanted.deadline.timestamp()),
    )
    check_sellable(shop, signed)
    order = _contract_order(shop.chain, signed)
    return OrderDraft(
        order=signed,
        order_hash=order_hash(order, domain(shop.chain)),
        typed_data=TypedData(**typed_data(order, domain(shop.chain))),
        intents=approval(desk, wanted.collection, wanted.token_id, me),
        pays=division(resale(wanted.price, rates(shop.session))),
        as_of=shop.head.as_of,
    )


def check_sellable(shop: Reader, order: OrderSigned) -> int:
    """The work of what an order sells, if its seller can sell it now. Raises NotFound, Conflict, Invalid."""
    session = shop.session
    work_id = work_of(session, order.collection, order.token_id)
    if work_id is None:
        raise NotFound(f"There is no such token in {order.collection}: {order.token_id}.", code="asset_not_found")
    checks.not_stopped(find_work(session, work_id))
    check_token(session, shop.chain, order.token)
    if order.deadline < shop.head.time:
        raise Invalid("The order's deadline has passed, by the chain's clock.", code="order_expired")
    if order.collection != "items" and order.amount != 1:
        raise Invalid("There is one of each work and character: the amount is 1.", code="quantity_invalid")
    _transferable(shop, order)
    has = held(session, order.collection, order.token_id, raw(order.seller))
    if has < order.amount:
        raise Conflict(
            f"{order.seller} holds {has} of this, as of block {shop.head.number}, and would sell {order.amount}.",
            code="order_uncovered",
            held=str(has),
        )
    return work_id


def _transferable(shop: Reader, order: OrderSigned) -> None:
    """Raise Conflict for what can't be handed on."""
    if order.collection == "characters" and (refusal := _kept_back(shop, order.token_id)) is not None:
        raise refusal
    if order.collection == "items" and _item(shop, order.token_id)["soulbound"]:
        raise _locked()


def post(desk: Desk, posted: OrderPost) -> OrderOut:
    """Keep a signed order, if the storefront would fill it now. The same order again is the same.

    Raises NotFound, Conflict, Invalid, Unavailable (a contract wallet's signature, and the node is away).
    """
    shop, signed = desk.shop, posted.order
    check_sellable(shop, signed)
    seller = raw(signed.seller)
    if signed.counter != counter_of(shop.session, seller):
        raise Conflict("Its seller has cancelled all orders with this counter; sign a new one.", code="order_cancelled")
    order = _contract_order(shop.chain, signed)
    key = order_hash(order, domain(shop.chain))
    _check_signature(desk, key, signed.seller, posted.signature)
    fate = fates(shop.session, [key])[key]
    if fate.cancelled:
        raise Conflict("The order was cancelled on chain; sign a new one.", code="order_cancelled")
    if fate.filled >= signed.amount:
        raise Conflict("All of the order was sold.", code="not_enough_left", left="0")
    if not shop_may_move(shop.session, shop.chain, signed.collection, signed.token_id, seller):
        raise Conflict(
            "The seller has not let the storefront hand it over: send the approval that the draft came with first.",
            code="seller_must_approve",
        )
    kept = shop.session.get(SignedOrder, key)
    return _show(shop, [kept or _keep(shop, key, signed, posted.signature)])[0]


def _keep(shop: Reader, key: bytes, signed: OrderSigned, signature: bytes) -> SignedOrder:
    session, seller = shop.session, raw(signed.seller)
    # One post of a seller at a time, so that two at once are not both the last that may be kept.
    session.execute(select(func.pg_advisory_xact_lock(int.from_bytes(seller[:8], signed=True))))
    live = select(func.count()).select_from(SignedOrder).where(SignedOrder.seller == seller, *_alive(shop))
    if (session.scalar(live) or 0) >= MAX_OPEN:
        raise Conflict(f"{MAX_OPEN} open orders of this seller are kept already; cancel some.", code="too_many_orders")
    made = insert(SignedOrder).values(
        order_hash=key,
        seller=seller,
        collection=signed.collection,
        token_id=signed.token_id,
        amount=signed.amount,
        token=raw(signed.token),
        price=signed.price,
        taker=raw(signed.taker),
        counter=signed.counter,
        salt=signed.salt,
        deadline=signed.deadline,
        signature=signature,
    )
    session.execute(made.on_conflict_do_nothing())
    return find(shop, key)


def _alive(shop: Reader) -> list[ColumnElement[bool]]:
    """Conditions for orders that are neither expired nor sold nor cancelled."""
    filled, cancelled, raised = (event(SHOP, name).c for name in ("OrderFilled", "OrderCancelled", "OrdersCancelled"))
    sold = select(func.coalesce(func.sum(filled.qty), 0)).where(filled.order_hash == SignedOrder.order_hash)
    counter = select(func.coalesce(func.max(raised.counter), 0)).where(raised.seller == SignedOrder.seller)
    return [
        SignedOrder.deadline >= shop.head.time,
        SignedOrder.counter == counter.scalar_subquery(),
        SignedOrder.amount > sold.scalar_subquery(),
        ~select(cancelled.order_hash).where(cancelled.order_hash == SignedOrder.order_hash).exists(),
    ]


def _check_signature(desk: Desk, key: bytes, seller: str, signature: bytes) -> None:
    """Raise Invalid unless the signature is the seller's for this chain, storefront and order (OpenZeppelin's rule)."""
    try:
        code = desk.node.ask("eth_getCode", seller, "latest")
        if code in ("0x", "0x0", None):
            valid = signer(key, signature) == seller
        else:
            valid = _wallet_says(desk, key, seller, signature)
    except NodeUnreachable as error:
        raise Unavailable("The node does not answer, so the signature can't be checked.", code="node_away") from error
    except (NodeRefused, ValueError):
        valid = False
    if not valid:
        raise Invalid(
            "The signature is not the seller's for this order on this chain: sign the draft's typed data unchanged.",
            code="order_signature",
        )


def _wallet_says(desk: Desk, key: bytes, seller: str, signature: bytes) -> bool:
    """Whether a contract wallet, which is anybody's code, calls a signature its own.

    Raises NodeUnreachable, NodeRefused, ValueError; Unavailable when too many are asked at the same time.
    """
    if not _wallets.acquire(blocking=False):
        raise Unavailable("Too many contract wallets are asked at the same time.", code="node_away")
    try:
        asked = encode_call("ERC1271", "isValidSignature", [key, signature])
        said = desk.node.call(seller, asked, gas=SIGNATURE_GAS, timeout_s=SIGNATURE_TIMEOUT_S)
        return bool(decode_result("ERC1271", "isValidSignature", said) == MAGIC)
    finally:
        _wallets.release()


# --- reading ----------------------------------------------------------------------------------------------------------


def find(shop: Reader, key: bytes) -> SignedOrder:
    """An order that was posted, for this storefront on this chain. Raises NotFound."""
    order = shop.session.get(SignedOrder, key)
    if order is None or not _of_this_storefront(shop.chain, order):
        raise NotFound("No such order was posted here.", code="order_not_found")
    return order


def list_orders(
    shop: Reader, *, before: int | None, limit: int, collection: str | None, token_id: int | None, seller: bytes | None
) -> Sequence[SignedOrder]:
    """Orders that have not expired and were neither sold nor cancelled, newest first."""
    wanted = {"collection": collection, "token_id": token_id, "seller": seller}
    conditions = [getattr(SignedOrder, name) == value for name, value in wanted.items() if value is not None]
    if before is not None:
        conditions.append(SignedOrder.number < before)
    query = select(SignedOrder).where(*conditions, *_alive(shop))
    return shop.session.scalars(query.order_by(SignedOrder.number.desc()).limit(limit)).all()


def open_of_work(shop: Reader, work_id: int, *, limit: int) -> list[OrderOut]:
    """Orders that anyone can fill now for a work and for items and characters of it, the cheapest of each currency.

    Of a seller's orders for the same thing only the cheapest counts, and only while the seller has that thing: a copy
    that is handed from account to account does not crowd out everybody else's.
    """
    found = [("works", select(view("work").c.work_id).where(view("work").c.work_id == work_id))]
    for collection, name, key in (("items", "item", "item_id"), ("characters", "character", "token_id")):
        token = view(name).c
        found.append((collection, select(token[key]).where(token.work_id == work_id)))
    tokens = [and_(SignedOrder.collection == name, SignedOrder.token_id.in_(ids)) for name, ids in found]
    anyone = SignedOrder.taker == bytes.fromhex(NOBODY[2:])
    same = (SignedOrder.seller, SignedOrder.collection, SignedOrder.token_id, SignedOrder.token)
    by_price = (SignedOrder.price, SignedOrder.number)
    place = func.row_number().over(partition_by=same, order_by=by_price).label("place")
    found_orders = select(SignedOrder.number, place).where(or_(*tokens), anyone, _had(), *_alive(shop)).subquery()
    rank = func.row_number().over(partition_by=SignedOrder.token, order_by=by_price)
    query = select(SignedOrder).join(found_orders, found_orders.c.number == SignedOrder.number)
    query = query.where(found_orders.c.place == 1).order_by(rank, SignedOrder.number).limit(SPARE * limit)
    return show_open(shop, shop.session.scalars(query).all())[:limit]


def _had() -> ColumnElement[bool]:
    """Whether an order's seller has what it sells. Scalars, so that the views are read for one account and token."""
    owner = {
        name: select(view(table).c.owner).where(view(table).c[key] == SignedOrder.token_id).scalar_subquery()
        for name, table, key in (("works", "work", "work_id"), ("characters", "character", "token_id"))
    }
    balance = view("item_balance").c
    copies = select(balance.balance).where(
        balance.account == SignedOrder.seller, balance.item_id == SignedOrder.token_id
    )
    return case(
        (SignedOrder.collection == "items", copies.scalar_subquery() > 0),
        (SignedOrder.collection == "works", owner["works"] == SignedOrder.seller),
        else_=owner["characters"] == SignedOrder.seller,
    )


def show_open(shop: Reader, orders: Sequence[SignedOrder]) -> list[OrderOut]:
    """Those that can be filled now."""
    ours = [order for order in orders if _of_this_storefront(shop.chain, order)]
    return [order for order in _show(shop, ours) if order.state == "open"]


def show(shop: Reader, order: SignedOrder) -> OrderOut:
    """One order."""
    return _show(shop, [order])[0]


def _show(shop: Reader, orders: Iterable[SignedOrder]) -> list[OrderOut]:
    orders = list(orders)
    known = fates(shop.session, [order.order_hash for order in orders])
    policy = rates(shop.session)
    return [
        OrderOut(
            order_hash=order.order_hash,
            seller=order.seller,  # type: ignore[arg-type]  # an AddressStr takes 20 bytes
            collection=order.collection,  # type: ignore[arg-type]  # one of the three names
            token_id=order.token_id,
            work_id=work_of(shop.session, order.collection, order.token_id) or 0,  # type: ignore[arg-type]
            amount=order.amount,
            left=_left(shop, order, known[order.order_hash]),
            token=token_info(shop.chain, order.token),
            price=order.price,
            pays=division(resale(order.price, policy)),
            taker=order.taker if any(order.taker) else None,  # type: ignore[arg-type]
            deadline=calendar(order.deadline),
            state=state_of(shop, order, known[order.order_hash]),
            posted_at=order.created_at,
        )
        for order in orders
    ]


def _left(shop: Reader, order: SignedOrder, fate: Fate) -> int:
    """How many can still be bought: of the order, and of what its seller has."""
    has = held(shop.session, order.collection, order.token_id, order.seller)  # type: ignore[arg-type]
    return 0 if fate.cancelled else max(0, min(order.amount - fate.filled, has))


# --- filling and cancelling -------------------------------------------------------------------------------------------


def fill_intent(desk: Desk, me: bytes | None, key: bytes, wanted: FillIn) -> SaleIntent:
    """The transactions that buy of a signed order, with the work's royalty. Raises NotFound, Conflict, Forbidden."""
    shop = desk.shop
    order = find(shop, key)
    fate = fates(shop.session, [key])[key]
    _fillable(state_of(shop, order, fate))
    buyer = buyer_of(wanted.buyer, me)
    to = somebody(wanted.to or buyer)
    if any(order.taker) and order.taker != raw(buyer):
        raise Forbidden("The order is for another buyer.", code="order_not_for_you")
    left = _left(shop, order, fate)
    if wanted.qty > left:
        raise Conflict(f"{left} of the order are left, not {wanted.qty}.", code="not_enough_left", left=str(left))
    _ticket_unused(shop, order, wanted)
    made = _contract_order(shop.chain, order)
    divided = resale(order.price * wanted.qty, rates(shop.session))
    pin = (NOBODY, 0, wanted.unused)
    count = f"{wanted.qty} of " if wanted.qty > 1 else ""
    intents = desk.sale(
        ("fillOrder", [tuple(made), order.signature, wanted.qty, to, pin]),
        token=made.token,
        payer=buyer,
        divided=divided,
        description=f"Buy {count}{order.collection[:-1]} {order.token_id} from {made.seller}",
    )
    return SaleIntent(intents=intents, pays=division(divided), until=None, as_of=shop.head.as_of)


def _fillable(state: OrderState) -> None:
    """Raise Conflict unless an order can be filled."""
    if state == "filled":
        raise Conflict("All of the order was sold.", code="not_enough_left", left="0")
    if state == "cancelled":
        raise Conflict("Its seller has cancelled the order.", code="order_cancelled")
    if state == "expired":
        raise Conflict("The order's deadline has passed, by the chain's clock.", code="order_expired")
    if state == "stalled":
        raise Conflict(
            "Its seller no longer holds what it sells, or took the storefront's approval back.", code="order_uncovered"
        )


def _ticket_unused(shop: Reader, order: SignedOrder, wanted: FillIn) -> None:
    if order.collection != "characters" or not wanted.unused:
        return
    used = catalogue.find(shop.session, "character", "token_id", order.token_id, "character")["checked_in_at"]
    if used:
        raise Conflict(
            f"The ticket was used at block time {used}; send `unused: false` to buy it all the same.",
            code="ticket_used",
            checked_in_at=int(used),
        )


def cancel_intent(desk: Desk, me: bytes, key: bytes) -> ShopIntent:
    """The transaction that voids an order of one's own. Raises NotFound, Forbidden, Conflict."""
    shop = desk.shop
    order = find(shop, key)
    if order.seller != me:
        raise Forbidden("The order is another account's.", code="not_the_owner")
    if fates(shop.session, [key])[key].cancelled:
        raise Conflict("The order is cancelled already.", code="order_cancelled")
    words = f"Cancel your order for {order.collection[:-1]} {order.token_id}"
    return desk.answer(desk.call(SHOP, "cancelOrder", [tuple(_contract_order(shop.chain, order))], words))


def cancel_all_intent(desk: Desk) -> ShopIntent:
    """The transaction that voids all orders that one has signed so far, posted here or not."""
    return desk.answer(desk.call(SHOP, "cancelAllOrders", [], "Cancel every order that you have signed so far"))
