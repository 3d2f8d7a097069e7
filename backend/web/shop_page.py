"""What a work's shop shows, made from the API's own answers: what one gets, what it costs, who is paid. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backend.governance.words import duration, percent
from backend.payouts.schemas import TokenInfo
from backend.shop.order_schemas import OrderOut
from backend.shop.schemas import Division, ListingOut, PlanOut
from backend.web.format import Figure, exact, figure, iso, moment
from backend.works.schemas import WorkOut

BAR_UNITS = 1000
MAX_PLACES = 8

TITLES: Mapping[str, str] = {"edition": "Copy", "character": "Character", "work": "The work itself", "rental": "Rental"}


@dataclass(frozen=True)
class Part:
    """Somebody who is paid: in words, how much, and how much of the bar it is."""

    whom: str
    figure: Figure
    share: str
    start: int
    length: int
    """Of 1000."""
    tone: str
    """Which shade of the bar: work, platform or seller."""


@dataclass(frozen=True)
class Goods:
    """One thing that can be bought."""

    title: str
    kind: str
    gets: str
    price: Figure
    per: str
    """What the price is for, where that isn't one piece."""
    parts: list[Part]
    left: str
    ends: tuple[str, str] | None
    """RFC 3339, and in words."""
    seller: str | None
    """Who sells on, or lets; None for the work itself."""
    path: str
    body: str
    """What the wallet script sends to `path`, as JSON."""
    verb: str


def money(token: TokenInfo, amount: int) -> Figure:
    """An amount of a currency."""
    return figure(amount, symbol=token.symbol, decimals=token.decimals)


def in_full(token: TokenInfo, amount: int) -> Figure:
    """An amount with all its digits, so that the parts of a price add up to it; shortened where that would be many."""
    digits = exact(amount, token.decimals)
    if len(digits.partition(".")[2]) > MAX_PLACES:
        return money(token, amount)
    return Figure(digits, f"{digits} {token.symbol}", token.symbol, amount == 0)


def parts(token: TokenInfo, pays: Division) -> list[Part]:
    """Who gets what of a price, in the order of the bar; who gets nothing is left out."""
    found: list[Part] = []
    start = 0
    for whom, tone, amount in (
        ("the seller", "seller", pays.to_seller),
        ("the work’s holders", "work", pays.to_work),
        ("the platform", "platform", pays.fee),
    ):
        if not amount:
            continue
        length = amount * BAR_UNITS // pays.total
        share = f"{amount * 100_000 // pays.total / 1_000:.3f}".rstrip("0").rstrip(".") + "%"
        found.append(Part(whom, in_full(token, amount), share, start, length, tone))
        start += length
    return found


def goods_of_listing(listing: ListingOut, *, ticket: bool) -> Goods:
    """An offer in words."""
    what = "Ticket" if ticket else TITLES[listing.kind]
    rental = listing.kind == "rental"
    body: dict[str, object] = {"duration_s": listing.period_s} if rental else {"qty": "1"}
    body["max_total"] = str(listing.price)
    return Goods(
        title=listing.name or what,
        kind=what,
        gets=_gets(listing, ticket=ticket),
        price=in_full(listing.token, listing.price),
        per=f"for {duration(listing.period_s)}" if rental and listing.period_s else "",
        parts=parts(listing.token, listing.pays),
        left="" if rental or listing.kind == "work" else f"{listing.left:,} left",
        ends=None if listing.ends_at is None else _when(int(listing.ends_at.timestamp())),
        seller=listing.seller if listing.kind in ("rental", "work") else None,
        path=f"/v1/listings/{listing.listing_id}/{'rent' if rental else 'buy'}-intent",
        body=json.dumps(body),
        verb="Rent" if rental else "Buy",
    )


def _gets(listing: ListingOut, *, ticket: bool) -> str:
    if listing.kind == "rental" and listing.longest_s:
        return f"The use of it, and access to the work, for up to {duration(listing.longest_s)}. It stays its owner’s."
    if listing.kind == "work":
        return "Whoever owns it decides what is sold here. What it earns stays with the holders of its shares."
    if ticket:
        return "One entry, checked in at the door. Yours to hand on or sell until then."
    if listing.kind == "character":
        return "One of a kind: yours to keep, lend or sell, with access to the work."
    return "Yours to keep or sell, with access to the work while you hold it."


def goods_of_plan(plan: PlanOut) -> Goods:
    """A plan in words."""
    length = duration(plan.period_s)
    return Goods(
        title=f"{length[0].upper()}{length[1:]} of access",
        kind="Subscription",
        gets="Access to the work until then. Paying again adds to what is left.",
        price=in_full(plan.token, plan.price),
        per=f"for {length}",
        parts=parts(plan.token, plan.pays),
        left="",
        ends=None,
        seller=None,
        path=f"/v1/plans/{plan.plan_id}/subscribe-intent",
        body=json.dumps({"periods": 1}),
        verb="Subscribe",
    )


def goods_of_order(order: OrderOut, names: Mapping[int, str]) -> Goods:
    """A signed order in words."""
    what = {"items": "Copy", "characters": "Character", "works": "The work itself"}[order.collection]
    return Goods(
        title=(order.collection == "items" and names.get(int(order.token_id))) or what,
        kind=f"{what}, second hand",
        gets="Handed over by its holder as soon as you pay. The work has its royalty of it.",
        price=in_full(order.token, order.price),
        per="",
        parts=parts(order.token, order.pays),
        left=f"{order.left:,} left" if order.left > 1 else "",
        ends=_when(int(order.deadline.timestamp())),
        seller=order.seller,
        path=f"/v1/orders/0x{order.order_hash.hex()}/fill-intent",
        body=json.dumps({"qty": "1"}),
        verb="Buy",
    )


def _when(seconds: int) -> tuple[str, str]:
    return iso(seconds), moment(seconds)


def cheapest(goods: Sequence[Goods], listings: Sequence[ListingOut], plans: Sequence[PlanOut]) -> Figure | None:
    """The lowest price in the currency that most is sold in; None where nothing is."""
    offers: list[ListingOut | PlanOut] = [*listings, *plans]
    if not goods or not offers:
        return None
    symbols = [offer.token.symbol for offer in offers]
    most = max(symbols, key=lambda symbol: (symbols.count(symbol), symbol))
    lowest = min((offer for offer in offers if offer.token.symbol == most), key=lambda offer: offer.price)
    return in_full(lowest.token, lowest.price)


def upstream(work: WorkOut, titles: Mapping[int, str]) -> list[tuple[int, str, str]]:
    """(work, name, share) of the parents that are paid of what the work gets."""
    return [
        (parent.work_id, titles.get(parent.work_id) or f"Work {parent.work_id}", percent(parent.share_bps))
        for parent in work.parents
        if parent.share_bps
    ]
