"""The shop's intents: unsigned transactions that the contracts accept, with prices predicted to the unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from eth_utils.address import to_checksum_address
from sqlalchemy import select

from backend.allowances import approve_first
from backend.chain import NATIVE
from backend.content import service as content
from backend.content.media import TEXT
from backend.errors import Conflict, Forbidden, Invalid
from backend.intents import Intent, call_intent
from backend.models.content import Content
from backend.node import Node
from backend.payouts.payments import check_token
from backend.shop import catalogue, checks
from backend.shop.catalogue import Reader, division, offer_of, rates, token_info
from backend.shop.holding import CONTRACTS, SHOP, CollectionName, shop_may_move
from backend.shop.intent_schemas import (
    MAX_USE_S,
    UINT48,
    AssetIn,
    AssetIntent,
    BuyIn,
    ClassIn,
    ItemIn,
    ListingIn,
    MintIn,
    PlanIn,
    RentIn,
    SaleIntent,
    ShopIntent,
    SubscribeIn,
)
from backend.shop.metadata import asset_file
from backend.shop.offers import Kind, Offer, plan_state
from backend.shop.prices import Division, first_sale, rent
from backend.web.format import exact
from backend.works.catalogue import content_url, find_work
from backend.works.rules import Status
from indexer.models import view

NOBODY: Final = "0x" + "00" * 20


@dataclass(frozen=True, slots=True)
class Desk:
    """Where intents are made: the shop as it is mirrored, and the node for allowances."""

    shop: Reader
    node: Node

    def answer(self, *intents: Intent) -> ShopIntent:
        return ShopIntent(intents=list(intents), as_of=self.shop.head.as_of)

    def call(self, contract: str, function: str, args: Sequence[Any], description: str, value: int = 0) -> Intent:
        return call_intent(self.shop.chain, contract, function, args, description=description, value=value)

    def priced(self, amount: int, token: str) -> str:
        """An amount as people read it."""
        info = token_info(self.shop.chain, raw(token))
        return f"{exact(amount, info.decimals)} {info.symbol}" if amount else "nothing"

    def sale(
        self, call: tuple[str, Sequence[Any]], *, token: str, payer: str, divided: Division, description: str
    ) -> list[Intent]:
        """The transactions that pay the storefront: the approval where it is missing, and the call.

        Raises Invalid for a currency that works can't be paid in any more.
        """
        function, args = call
        if divided.total:
            check_token(self.shop.session, self.shop.chain, token)
        price = self.priced(divided.total, token)
        approve = approve_first(
            self.shop.chain,
            self.node,
            token=token,
            spender=SHOP,
            payer=payer,
            amount=divided.total,
            description=f"Let the storefront take {price} from you",
        )
        value = divided.total if token == NATIVE else 0
        return [*approve, self.call(SHOP, function, args, f"{description} for {price}", value)]


def raw(address: str) -> bytes:
    """The 20 bytes of an address."""
    return bytes.fromhex(address[2:])


def somebody(account: str) -> str:
    """An account that can get or pay something. Raises Invalid for the zero address."""
    if account == NOBODY:
        raise Invalid("Nobody is the zero address.", code="buyer_unknown")
    return account


def buyer_of(named: str | None, me: bytes | None) -> str:
    """Who pays: the account that is named, else the one that is signed in. Raises Invalid."""
    if named is not None:
        return somebody(named)
    if me is None:
        raise Invalid("Say in `buyer` who will send this, or sign in.", code="buyer_unknown")
    return str(to_checksum_address(me))


def _seconds(moment: datetime | None) -> int:
    """A time for the chain, 0 for none. Raises Invalid for one before 1970."""
    seconds = 0 if moment is None else int(moment.timestamp())
    if not 0 <= seconds <= UINT48:
        raise Invalid("A time of the chain is after 1970.", code="window_invalid")
    return seconds


# --- what is sold -----------------------------------------------------------------------------------------------------


def _keep(desk: Desk, work_id: int, said: AssetIn) -> Content:
    """Write the metadata file of an item or character, and pin it. Raises Invalid for a picture we don't keep."""
    image = None
    if said.image_cid is not None:
        image = desk.shop.session.get(Content, said.image_cid)
        if image is None or not image.media_type.startswith("image/"):
            raise Invalid("The picture is not kept here, or is none; upload it first.", code="image_unknown")
        image.card_only = False
    file = asset_file(
        work_id=work_id,
        name=said.name,
        description=said.description,
        image_cid=None if image is None else image.cid,
        image_type=None if image is None else image.media_type,
    )
    return content.keep(desk.shop.session, desk.shop.store, [file], TEXT)


def _with_file(desk: Desk, intent: Intent, file: Content) -> AssetIntent:
    return AssetIntent(intents=[intent], metadata_url=content_url(file.cid), as_of=desk.shop.head.as_of)


def item_intent(desk: Desk, me: bytes, work_id: int, wanted: ItemIn) -> AssetIntent:
    """The transaction that creates an item. Raises NotFound, Forbidden, Invalid."""
    checks.owned_work(desk.shop.session, work_id, me)
    expires = _seconds(wanted.expires_at)
    if wanted.expires_at is not None and expires <= desk.shop.head.time:
        raise Invalid("A pass expires in the future, by the chain's clock.", code="window_invalid")
    file = _keep(desk, work_id, wanted)
    args = [work_id, wanted.max_supply, wanted.per_account_cap, wanted.rarity, wanted.soulbound, file.sha256]
    words = f"Create “{wanted.name}”, {wanted.max_supply} at most, as an item of work {work_id}"
    if expires:
        return _with_file(desk, desk.call("Items", "createPass", [*args, expires], words), file)
    return _with_file(desk, desk.call("Items", "createItem", args, words), file)


def class_intent(desk: Desk, me: bytes, work_id: int, wanted: ClassIn) -> ShopIntent:
    """The transaction that creates a class of characters or tickets. Raises NotFound, Forbidden, Invalid."""
    checks.owned_work(desk.shop.session, work_id, me)
    if wanted.platform_id is not None:
        checks.platform_known(desk.shop.session, wanted.platform_id)
    organiser = (wanted.organiser or str(to_checksum_address(me))) if wanted.ticket else NOBODY
    params = (
        work_id,
        wanted.max_supply,
        wanted.rarity,
        wanted.soulbound,
        wanted.ticket,
        wanted.trait_setter or NOBODY,
        organiser,
        wanted.platform_id or bytes(32),
    )
    what = "tickets" if wanted.ticket else "characters"
    words = f"Create a class of {wanted.max_supply} {what} of work {work_id}"
    return desk.answer(desk.call("Characters", "createClass", [params], words))


def mint_intent(desk: Desk, me: bytes, class_id: int, wanted: MintIn) -> AssetIntent:
    """The transaction by which a work's owner gives a new character away. Raises NotFound, Forbidden, Conflict."""
    row = catalogue.find(desk.shop.session, "character_class", "class_id", class_id, "class")
    checks.not_stopped(checks.owned_work(desk.shop.session, int(row["work_id"]), me))
    checks.sellable_class(row)
    if row["minted"] >= row["max_supply"]:
        raise Conflict(f"All {row['max_supply']} of class {class_id} were minted.", code="not_enough_left", left="0")
    to = somebody(wanted.to)
    file = _keep(desk, int(row["work_id"]), wanted)
    words = f"Give “{wanted.name}” to {to}"
    return _with_file(desk, desk.call("Characters", "mint", [to, class_id, file.sha256], words), file)


def check_in_intent(desk: Desk, me: bytes, token_id: int) -> ShopIntent:
    """The transaction that uses a ticket up. Raises NotFound, Forbidden, Conflict."""
    session = desk.shop.session
    row = catalogue.find(session, "character", "token_id", token_id, "character")
    if row["owner"] is None:
        raise Conflict(f"Ticket {token_id} was burned.", code="character_locked")
    if not row["ticket"]:
        raise Conflict(f"Character {token_id} is no ticket; there is nothing to check in.", code="not_a_ticket")
    organiser = catalogue.find(session, "character_class", "class_id", row["class_id"], "class")["organiser"]
    if bytes(organiser) != me:
        raise Forbidden(f"Only {to_checksum_address(organiser)} checks this ticket in.", code="not_the_organiser")
    if row["exported"]:
        raise Conflict(f"Ticket {token_id} is on another platform.", code="character_locked")
    if row["checked_in_at"]:
        raise Conflict(
            f"Ticket {token_id} was used at block time {row['checked_in_at']}; don't let it in again.",
            code="ticket_used",
            checked_in_at=int(row["checked_in_at"]),
        )
    return desk.answer(desk.call("Characters", "checkIn", [token_id], f"Check ticket {token_id} in"))


# --- offers -----------------------------------------------------------------------------------------------------------


def listing_intent(desk: Desk, me: bytes, wanted: ListingIn) -> ShopIntent:
    """The transactions that offer something: the approval that a sale or rental needs, and `list`.

    Raises NotFound, Forbidden, Conflict, Invalid.
    """
    session, now = desk.shop.session, desk.shop.head.time
    work_id = _offered(desk, me, wanted)
    check_token(session, desk.shop.chain, wanted.token)
    starts, ends = _seconds(wanted.starts_at), _seconds(wanted.ends_at)
    if wanted.ends_at is not None and (ends <= starts or ends <= now):
        raise Invalid("An offer ends after it starts, and in the future by the chain's clock.", code="window_invalid")
    digest = bytes(32) if wanted.character is None else _keep(desk, work_id, wanted.character).sha256
    kind = Kind[wanted.kind.upper()]
    supply = wanted.longest_s if kind is Kind.RENTAL else 1 if kind is Kind.WORK else wanted.max_supply
    params = (kind, wanted.asset_id, wanted.token, wanted.price, supply, starts, ends, wanted.period_s or 0, digest)
    words = f"Offer {_asset_words(kind, wanted.asset_id)} for {desk.priced(wanted.price, wanted.token)}"
    offer = desk.call(SHOP, "list", [(*params, NOBODY, 0)], words)
    collection = _MOVED.get(kind)
    return desk.answer(*([] if collection is None else approval(desk, collection, wanted.asset_id, me)), offer)


_MOVED: Final[dict[Kind, CollectionName]] = {Kind.WORK: "works", Kind.RENTAL: "characters"}
"""What the storefront moves or lends for its seller, and so has to be approved for."""


def _asset_words(kind: Kind, asset: int) -> str:
    words = {Kind.EDITION: "item", Kind.CHARACTER: "class", Kind.WORK: "work", Kind.RENTAL: "the use of character"}
    return f"{words[kind]} {asset}"


def _offered(desk: Desk, me: bytes, wanted: ListingIn) -> int:
    """The work of what is to be offered, if the account may offer it."""
    session, asset = desk.shop.session, wanted.asset_id
    if wanted.kind == "rental":
        row = catalogue.find(session, "character", "token_id", asset, "character")
        if row["owner"] is None or bytes(row["owner"]) != me:
            raise Forbidden(f"Only the owner of character {asset} can let it.", code="not_the_owner")
        checks.lendable(row)
        checks.not_stopped(find_work(session, int(row["work_id"])))
        return int(row["work_id"])
    if wanted.kind == "edition":
        work_id = int(catalogue.find(session, "item", "item_id", asset, "item")["work_id"])
    elif wanted.kind == "character":
        row = catalogue.find(session, "character_class", "class_id", asset, "class")
        checks.sellable_class(row)
        work_id = int(row["work_id"])
    else:
        work_id = asset
    checks.not_stopped(checks.owned_work(session, work_id, me))
    return work_id


def approval(desk: Desk, collection: CollectionName, token_id: int, owner: bytes) -> list[Intent]:
    """The approval by which the storefront can move or lend a token for its owner; none where it has one."""
    shop = desk.shop
    if shop_may_move(shop.session, shop.chain, collection, token_id, owner):
        return []
    store = shop.chain.address(SHOP)
    if collection == "items":
        words = "Let the storefront hand over items of yours that you sell by signed orders"
        return [desk.call("Items", "setApprovalForAll", [store, True], words)]
    words = f"Let the storefront hand over {collection[:-1]} {token_id}"
    return [desk.call(CONTRACTS[collection], "approve", [store, token_id], words)]


def _own_listing(desk: Desk, me: bytes, listing_id: int, *, or_owner: bool) -> Offer:
    offer = offer_of(catalogue.find_listing(desk.shop.session, listing_id))
    if me != offer.seller and not (or_owner and me == offer.owner):
        raise Forbidden(f"Listing {listing_id} is another account's.", code="not_the_owner")
    if offer.closed:
        raise checks.closed(f"Listing {listing_id}", "cancelled", listing_id=listing_id)
    return offer


def reprice_intent(desk: Desk, me: bytes, listing_id: int, price: int) -> ShopIntent:
    """The transaction that changes an offer's price. Raises NotFound, Forbidden, Conflict."""
    offer = _own_listing(desk, me, listing_id, or_owner=False)
    words = f"Change the price of listing {listing_id} to {desk.priced(price, to_checksum_address(offer.token))}"
    return desk.answer(desk.call(SHOP, "reprice", [listing_id, price], words))


def cancel_listing_intent(desk: Desk, me: bytes, listing_id: int) -> ShopIntent:
    """The transaction that withdraws an offer: its seller's, or the present owner's. Raises as reprice_intent."""
    _own_listing(desk, me, listing_id, or_owner=True)
    return desk.answer(desk.call(SHOP, "cancelListing", [listing_id], f"Withdraw listing {listing_id}"))


def buy_intent(desk: Desk, me: bytes | None, listing_id: int, wanted: BuyIn) -> SaleIntent:
    """The transactions that buy of a listing, at its present price at most. Raises NotFound, Conflict, Invalid."""
    shop = desk.shop
    offer = offer_of(catalogue.find_listing(shop.session, listing_id))
    buyer = buyer_of(wanted.buyer, me)
    to = somebody(wanted.to or buyer)
    checks.is_open(offer, shop.head.time)
    if offer.kind is Kind.RENTAL:
        raise Invalid(f"Listing {listing_id} is a rental: ask for its rent-intent.", code="quantity_invalid")
    checks.enough_left(shop.session, offer, wanted.qty, raw(to), shop.head.time)
    _seller_approves(desk, offer)
    divided = offer.divide(offer.price * wanted.qty, rates(shop.session))
    checks.price_as_seen(divided.total, wanted.max_total)
    count = f"{wanted.qty} of " if wanted.qty > 1 else ""
    intents = desk.sale(
        ("buy", [listing_id, wanted.qty, divided.total, to, wanted.ref]),
        token=to_checksum_address(offer.token),
        payer=buyer,
        divided=divided,
        description=f"Buy {count}{_asset_words(offer.kind, offer.asset_id)}",
    )
    return SaleIntent(intents=intents, pays=division(divided), until=None, as_of=shop.head.as_of)


def _seller_approves(desk: Desk, offer: Offer) -> None:
    collection = _MOVED.get(offer.kind)
    shop = desk.shop
    if collection and not shop_may_move(shop.session, shop.chain, collection, offer.asset_id, offer.seller):
        raise Conflict(
            f"The seller of listing {offer.listing_id} has not let the storefront hand it over; ask for that.",
            code="seller_must_approve",
        )


def rent_intent(desk: Desk, me: bytes | None, listing_id: int, wanted: RentIn) -> SaleIntent:
    """The transactions that rent a character for ceil(price * duration / period).

    Raises NotFound, Conflict, Invalid.
    """
    shop, now = desk.shop, desk.shop.head.time
    offer = offer_of(catalogue.find_listing(shop.session, listing_id))
    if offer.kind is not Kind.RENTAL:
        raise Invalid(f"Listing {listing_id} lets nothing: ask for its buy-intent.", code="duration_invalid")
    checks.is_open(offer, now)
    buyer = buyer_of(wanted.buyer, me)
    begins = _rental_begins(desk, offer, raw(buyer))
    until = begins + wanted.duration_s
    longest = min(offer.max_supply, MAX_USE_S)
    if wanted.duration_s < offer.period or until - now > longest:
        raise Invalid(
            f"It is let for {offer.period} to {longest} seconds from now, with what you have already.",
            code="duration_invalid",
            shortest_s=offer.period,
            longest_s=longest - (begins - now),
        )
    _seller_approves(desk, offer)
    divided = offer.divide(rent(offer.price, wanted.duration_s, offer.period), rates(shop.session))
    checks.price_as_seen(divided.total, wanted.max_total)
    intents = desk.sale(
        ("rent", [listing_id, wanted.duration_s, divided.total]),
        token=to_checksum_address(offer.token),
        payer=buyer,
        divided=divided,
        description=f"Rent character {offer.asset_id} for {wanted.duration_s} seconds",
    )
    return SaleIntent(intents=intents, pays=division(divided), until=catalogue.moment(until), as_of=shop.head.as_of)


def _rental_begins(desk: Desk, offer: Offer, buyer: bytes) -> int:
    """From when a rental would run: now, or the end of the buyer's own. Raises Conflict while it is somebody else's."""
    now = desk.shop.head.time
    row = catalogue.find(desk.shop.session, "character", "token_id", offer.asset_id, "character")
    checks.lendable(row)
    expires = int(row["user_expires"])
    if now >= expires or not any(row["user_"]):
        return now
    if bytes(row["user_"]) != buyer:
        raise Conflict(
            f"Character {offer.asset_id} is let to somebody else until block time {expires}.",
            code="character_rented",
            until=expires,
        )
    return expires


# --- subscriptions ----------------------------------------------------------------------------------------------------


def plan_intent(desk: Desk, me: bytes, work_id: int, wanted: PlanIn) -> ShopIntent:
    """The transaction that offers access to a work for a time. Raises NotFound, Forbidden, Invalid."""
    checks.owned_work(desk.shop.session, work_id, me)
    check_token(desk.shop.session, desk.shop.chain, wanted.token)
    words = f"Offer {wanted.period_s} seconds of work {work_id} for {desk.priced(wanted.price, wanted.token)}"
    return desk.answer(desk.call(SHOP, "createPlan", [work_id, wanted.token, wanted.price, wanted.period_s], words))


def close_plan_intent(desk: Desk, me: bytes, plan_id: int) -> ShopIntent:
    """The transaction that closes a plan; what was paid for goes on. Raises NotFound, Forbidden, Conflict."""
    row = catalogue.find(desk.shop.session, "plan", "plan_id", plan_id, "plan")
    checks.owned_work(desk.shop.session, int(row["work_id"]), me)
    if row["closed"]:
        raise checks.closed(f"Plan {plan_id}", "closed", plan_id=plan_id)
    return desk.answer(desk.call(SHOP, "closePlan", [plan_id], f"Close plan {plan_id}"))


def subscribe_intent(desk: Desk, me: bytes | None, plan_id: int, wanted: SubscribeIn) -> SaleIntent:
    """The transactions that pay for somebody's access, at the plan's price. Raises NotFound, Conflict, Invalid."""
    shop = desk.shop
    row = catalogue.find(shop.session, "plan", "plan_id", plan_id, "plan")
    status = Status(find_work(shop.session, int(row["work_id"]))["status"])
    state = plan_state(closed=row["closed"], status=status)
    if state != "open":
        raise checks.closed(f"Plan {plan_id}", state, plan_id=plan_id)
    buyer = buyer_of(wanted.buyer, me)
    to = somebody(wanted.to or buyer)
    until = max(shop.head.time, _subscribed_until(desk, int(row["work_id"]), raw(to))) + row["period"] * wanted.periods
    if until > UINT48:
        raise Invalid("The subscription would end later than the chain can tell; buy less.", code="duration_invalid")
    divided = first_sale(row["price"] * wanted.periods, rates(shop.session))
    intents = desk.sale(
        ("subscribe", [plan_id, wanted.periods, divided.total, to]),
        token=to_checksum_address(row["token"]),
        payer=buyer,
        divided=divided,
        description=f"Subscribe to work {row['work_id']}",
    )
    return SaleIntent(intents=intents, pays=division(divided), until=catalogue.moment(until), as_of=shop.head.as_of)


def _subscribed_until(desk: Desk, work_id: int, account: bytes) -> int:
    subscription = view("subscription").c
    query = select(subscription.expires_at).where(subscription.work_id == work_id, subscription.subscriber == account)
    return int(desk.shop.session.scalar(query) or 0)
