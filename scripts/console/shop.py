"""The storefront: editions, tickets, characters, rentals, subscriptions."""

from __future__ import annotations

from typing import Any

from scripts.console.amounts import Amount, Refused, amount, days, readable, span, table
from scripts.console.chain import Troupe
from scripts.console.commands import command
from scripts.console.works import NONE, check, follow, parted, title
from scripts.deploy.plan import ZERO_ADDRESS

EDITION, CHARACTER, WORK, RENTAL = range(4)
COMMON = 0


def _listed(troupe: Troupe, by: Any, kind: int, asset: int, *, price: Amount, supply: int, **more: Any) -> int:
    terms = {"period": 0, "cidDigest": NONE} | more
    params = (kind, asset, price.token.address, price.units, supply, 0, 0, *terms.values(), ZERO_ADDRESS, 0)
    return int(troupe.send(by, troupe.Storefront, "list", params).event("Storefront", "Listed")["listingId"])


def _offer(troupe: Troupe, listing: int) -> Any:
    if not isinstance(listing, int) or not 1 <= listing <= troupe.Storefront.listingCount():
        raise Refused(f"there is no listing {listing}: shelf() lists what is on sale")
    return troupe.Storefront.listingOf(listing)


def _price(troupe: Troupe, offer: Any, units: int) -> Amount:
    return Amount(units, troupe.token_of(offer["token"]))


def _rent(offer: Any, seconds: int) -> int:
    """What a rental costs for so long, rounded up as the contract does; its price is for its period."""
    return -(-int(offer["price"]) * seconds // int(offer["period"]))


def _what(troupe: Troupe, offer: Any) -> tuple[str, str]:
    """What a listing offers, in a word, and its name where its metadata can be had."""
    kind, asset = offer["kind"], offer["assetId"]
    if kind == EDITION:
        return "edition", troupe.named(troupe.Items.itemOf(asset)["cidDigest"])
    if kind == CHARACTER:
        is_ticket = troupe.Characters.classOf(asset)["ticket"]
        return "ticket" if is_ticket else "character", troupe.named(offer["cidDigest"])
    return ("work", "") if kind == WORK else ("rental", f"of character {asset}")


@command
def edition(troupe: Troupe, work: int, name: str, supply: int, price: Any, *, by: Any = None) -> str:
    """offer copies of a work: so many, at a price each"""
    check(troupe, work)
    wanted = amount(price, troupe.tokens)
    made = troupe.send(by, troupe.Items, "createItem", work, supply, 0, COMMON, False, troupe.keep_metadata(name))
    item = int(made.event("Items", "ItemCreated")["id"])
    listing = _listed(troupe, by, EDITION, item, price=wanted, supply=supply)
    return f"listing {listing}: {supply} copies of «{name}», {wanted} each\nnext: buy({listing}, by=zoe)"


@command
def ticket(troupe: Troupe, work: int, name: str, supply: int, price: Any, *, by: Any = None) -> str:
    """offer tickets of a work; who offers them checks them in"""
    return _class(troupe, work, name, supply, amount(price, troupe.tokens), by=by, ticket=True)


@command
def character(troupe: Troupe, work: int, name: str, supply: int, price: Any, *, by: Any = None) -> str:
    """offer characters of a work, each unique; their owners can let them"""
    return _class(troupe, work, name, supply, amount(price, troupe.tokens), by=by, ticket=False)


def _class(troupe: Troupe, work: int, name: str, supply: int, price: Amount, *, by: Any, ticket: bool) -> str:
    check(troupe, work)
    sender = troupe.sender(by)
    params = (work, supply, COMMON, False, ticket, ZERO_ADDRESS, sender if ticket else ZERO_ADDRESS, NONE)
    made = troupe.send(sender, troupe.Characters, "createClass", params)
    kind = int(made.event("Characters", "ClassCreated")["classId"])
    listing = _listed(troupe, sender, CHARACTER, kind, price=price, supply=supply, cidDigest=troupe.keep_metadata(name))
    what = "tickets" if ticket else "characters"
    return f"listing {listing}: {supply} {what} «{name}», {price} each\nnext: buy({listing}, by=zoe)"


@command
def let(troupe: Troupe, token: int, price: Any, most: Any = 30, *, by: Any = None) -> str:
    """offer the use of a character at a price a day, for so many days at most"""
    wanted, sender = amount(price, troupe.tokens), troupe.sender(by)
    troupe.send(sender, troupe.Characters, "approve", troupe.Storefront.address, token)
    listing = _listed(troupe, sender, RENTAL, token, price=wanted, supply=days(most), period=days(1))
    return f"listing {listing}: character {token} for {wanted} a day\nnext: rent({listing}, 3, by=zoe)"


@command
def plan(troupe: Troupe, work: int, price: Any, every: Any = 30, *, by: Any = None) -> str:
    """offer access to a work by subscription, at a price for `every` so many days"""
    check(troupe, work)
    wanted = amount(price, troupe.tokens)
    made = troupe.send(by, troupe.Storefront, "createPlan", work, wanted.token.address, wanted.units, days(every))
    number = int(made.event("Storefront", "PlanCreated")["planId"])
    offered = f"plan {number}: {title(troupe, work)} for {wanted} every {span(days(every))}"
    return f"{offered}\nnext: subscribe({number}, by=zoe)"


@command
def shelf(troupe: Troupe) -> str:
    """what is on sale: listings and plans"""
    store, rows = troupe.Storefront, []
    for number in range(1, store.listingCount() + 1):
        offer = store.listingOf(number)
        left = offer["maxSupply"] - offer["sold"]
        if not offer["closed"] and left:
            rental = offer["kind"] == RENTAL
            cost, per = (_rent(offer, days(1)), "day") if rental else (offer["price"], "piece")
            each = f"{_price(troupe, offer, cost)} a {per}"
            stock = f"at most {span(offer['maxSupply'])}" if rental else f"{left} left"
            rows.append((number, " ".join(_what(troupe, offer)), title(troupe, offer["workId"]), each, stock))
    for number in range(1, store.planCount() + 1):
        offer = store.planOf(number)
        if not offer["closed"]:
            each = _price(troupe, offer, offer["price"])
            rows.append((number, "plan", title(troupe, offer["workId"]), each, f"every {span(offer['period'])}"))
    if not rows:
        return "nothing is on sale; edition(...), ticket(...), plan(...) offer something"
    return table(rows, ("no.", "what", "of", "price", "how much"), right="no.")


@command
def buy(troupe: Troupe, listing: int, pieces: int = 1, *, by: Any = None) -> str:
    """buy from a listing"""
    offer, buyer = _offer(troupe, listing), troupe.sender(by)
    price = _price(troupe, offer, offer["price"] * pieces)
    receipt = troupe.pay(buyer, price, troupe.Storefront, "buy", listing, pieces, price.units, buyer, NONE)
    minted = [event["tokenId"] for event in receipt.events("Characters", "CharacterMinted")]
    what, name = _what(troupe, offer)
    got = (
        " and ".join(f"{what} {token} {name}" for token in minted)
        if minted
        else f"{pieces} {'copy' if pieces == 1 else 'copies'} of {name}"
    )
    bought = f"{troupe.called(buyer)} bought {got} for {price}: {parted(troupe, receipt)}"
    return f"{bought}\n{follow(offer['workId'])}"


@command
def rent(troupe: Troupe, listing: int, number_of_days: Any, *, by: Any = None) -> str:
    """rent a character for days"""
    offer, user, seconds = _offer(troupe, listing), troupe.sender(by), days(number_of_days)
    if offer["kind"] != RENTAL:
        raise Refused(f"listing {listing} is no rental: buy({listing}, by={by})")
    price = _price(troupe, offer, _rent(offer, seconds))
    receipt = troupe.pay(user, price, troupe.Storefront, "rent", listing, seconds, price.units)
    rented = receipt.event("Storefront", "Rented")
    royalty = sum(event["amount"] for event in receipt.events("RevenueLedger", "PaymentReceived"))
    token = price.token
    return (
        f"{troupe.called(user)} uses character {rented['tokenId']} for {span(seconds)}, for {price}: "
        f"{readable(royalty, token)} to the work as royalty, {readable(price.units - royalty, token)} to "
        f"{troupe.called(offer['seller'])}\nnext: access({offer['workId']}, {troupe.called(user)}, {rented['tokenId']})"
    )


@command
def subscribe(troupe: Troupe, number: int, periods: int = 1, *, by: Any = None) -> str:
    """subscribe by a plan for so many of its periods"""
    if not isinstance(number, int) or not 1 <= number <= troupe.Storefront.planCount():
        raise Refused(f"there is no plan {number}: shelf() lists them")
    offer, who = troupe.Storefront.planOf(number), troupe.sender(by)
    price = _price(troupe, offer, offer["price"] * periods)
    receipt = troupe.pay(who, price, troupe.Storefront, "subscribe", number, periods, price.units, who)
    ends = receipt.event("Storefront", "Subscribed")["expiresAt"]
    work = offer["workId"]
    bought = f"{troupe.called(who)} has access to {title(troupe, work)} for {span(ends - troupe.now())}, for {price}"
    return f"{bought}: {parted(troupe, receipt)}\nnext: access({work}, {troupe.called(who)})"


@command
def access(troupe: Troupe, work: int, who: Any, token: Any = None) -> str:
    """whether somebody has access to a work, by what they hold or by a character"""
    check(troupe, work)
    store, account = troupe.Storefront, troupe.account(who)
    has = store.hasAccess(account, work) if token is None else store.hasAccessBy(account, work, token)
    return f"{troupe.called(account)} has {'' if has else 'no '}access to {title(troupe, work)}"


@command
def checkin(troupe: Troupe, token: int, *, by: Any = None) -> str:
    """check a ticket in, once, as its organiser"""
    holder = troupe.send(by, troupe.Characters, "checkIn", token).event("Characters", "CheckedIn")["holder"]
    return f"ticket {token} of {troupe.called(holder)} is checked in by {troupe.called(troupe.sender(by))}"
