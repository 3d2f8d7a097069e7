"""The shop act: an edition and its resale, a rental, a subscription, a ticket; and a parent that a sale pays.

What was done before is read from the API and the chain, so that a second run goes on after it. Each sale keeps what the
API said that it would pay beside what the contracts paid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from eth_account import Account

from demo.films import Film
from demo.money import PAYMENT, ROYALTY_BPS, creator_of, give_dollars
from demo.people import Person
from demo.rpc import topic, word, words
from demo.stage import GAS, NATIVE, Stage

DAY = 86_400
HOUR = 3_600
COPY_USD, RESALE_USD, MONTH_USD, SEAT_USD = (number * 10**6 for number in (4, 10, 3, 6))
HOUR_WEI = 2 * 10**15
HOURS = 36
PURCHASED = "Purchased(uint256,address,address,uint256,uint256,bytes32)"
FILLED = "OrderFilled(bytes32,address,address,address,address,uint256,uint256,address,uint256,uint256)"
RENTED = "Rented(uint256,address,uint64,uint256)"
OWED = "owedOf(uint64,uint256,address)"
SUBSCRIBED = "Subscribed(uint256,address,address,uint48,uint256)"


@dataclass(frozen=True)
class Paid:
    """One thing that was paid in the act: in base units what the API said, and what the contracts did."""

    what: str
    token: str
    whom: str
    """work, platform, seller or parent"""
    predicted: int
    paid: int


@dataclass
class Shop:
    """The stage with what is sold on it: a sequel, so that its sales pay the first film too."""

    stage: Stage
    film: Film
    work: int
    buyers: list[Person]
    """A collector, who sells on and lets; another collector; a subscriber; a guest."""
    paid: list[Paid] = field(default_factory=list)

    @property
    def creator(self) -> Person:
        return creator_of(self.film)

    @property
    def usd(self) -> str:
        return str(self.stage.tokens["mUSD"]["address"])

    def get(self, path: str, **wanted: Any) -> list[dict[str, Any]]:
        """The first page of a list."""
        found: list[dict[str, Any]] = self.stage.api.get(path, limit=100, **wanted)["items"]
        return found

    def send(self, person: Person, path: str, **body: Any) -> None:
        """Ask for an intent as somebody, and send all of it."""
        answer = self.stage.api.post(path, person, **body)
        self.stage.send([self.signed(person, intent) for intent in answer["intents"]])

    def signed(self, person: Person, intent: dict[str, Any]) -> Any:
        return self.stage.sign(person, intent, GAS["default"], intent["description"])

    def logs(self, event: str, *topics: str | None) -> list[dict[str, Any]]:
        return self.stage.chain.logs(self.stage.contracts["Storefront"], event, *topics)

    def pay(self, what: str, person: Person, path: str, *, seller: Person | None = None, **body: Any) -> None:
        """As send; keeps who was said to get what, and who got it."""
        answer = self.stage.api.post(path, person, **body)
        said = {name: int(amount) for name, amount in answer["pays"].items()}
        token = NATIVE if int(answer["intents"][-1]["value"]) else self.usd
        before = self._balance(seller, token), self._owed(token)
        receipts = self.stage.send([self.signed(person, intent) for intent in answer["intents"]])
        to_work, fee = self._received(receipts[-1])
        rows = [("work", said["to_work"], to_work), ("platform", said["fee"], fee)]
        if seller is not None:
            rows.append(("seller", said["to_seller"], self._balance(seller, token) - before[0]))
        rows.append(("parent", said["to_work"] * ROYALTY_BPS // 10_000, self._owed(token) - before[1]))
        self.paid += [Paid(what, token, whom, predicted, paid) for whom, predicted, paid in rows]

    def _balance(self, person: Person | None, token: str) -> int:
        if person is None:
            return 0
        if token == NATIVE:
            return self.stage.chain.balance(person.address)
        return self.stage.chain.view(token, "balanceOf(address)", person.address)[0]

    def _owed(self, token: str) -> int:
        """What the sequel owes the first film in a currency, by the ledger itself."""
        return self.stage.chain.view(self.stage.contracts["RevenueLedger"], OWED, self.work, 0, token)[0]

    def _received(self, receipt: dict[str, Any]) -> tuple[int, int]:
        """What the work and the platform got in a transaction, by the ledger's own event."""
        amount, fee = next(words(log["data"])[:2] for log in receipt["logs"] if log["topics"][0] == topic(PAYMENT))
        return amount - fee, fee


def film_on_sale(stage: Stage) -> Film:
    """The first sequel."""
    return next(film for film in stage.slice.films.values() if film.first_film is not None)


def trade(stage: Stage) -> list[Paid]:
    """Open the shop of a sequel and let people buy in it; what is done already is left as it is."""
    film = film_on_sale(stage)
    buyers = list(stage.viewers.values())[:4]
    steps = (_assets, _offers, _copy, _resale, _rental, _subscription, _ticket)
    shop = Shop(stage, film, stage.work_of(film), buyers)
    with stage.act("the shop opens; people buy and rent", 0 if _told(shop) else len(steps)) as tick:
        if not tick.new:
            return []
        give_dollars(stage, dict(zip(buyers, (COPY_USD, RESALE_USD, MONTH_USD, SEAT_USD), strict=True)))
        for step in steps:
            step(shop)
            tick()
    return shop.paid


def _told(shop: Shop) -> bool:
    """Whether the last step was done before."""
    return any(ticket["checked_in_at"] for ticket in _tickets(shop))


def _assets(shop: Shop) -> None:
    """An item for copies, a class of characters, a class of tickets, a plan; by the creator."""
    work, title = shop.work, shop.film.title
    if not shop.get("/v1/items", work_id=work):
        shop.send(shop.creator, f"/v1/works/{work}/items-intent", name=f"{title}, numbered", max_supply="100")
    kinds = {kind["ticket"] for kind in shop.get("/v1/classes", work_id=work)}
    for ticket in (False, True):
        if ticket not in kinds:
            shop.send(shop.creator, f"/v1/works/{work}/classes-intent", max_supply=100, ticket=ticket)
    if not shop.get("/v1/plans", work_id=work):
        plan = {"token": shop.usd, "price": str(MONTH_USD), "period_s": 30 * DAY}
        shop.send(shop.creator, f"/v1/works/{work}/plans-intent", **plan)


def _class(shop: Shop, *, ticket: bool) -> int:
    return next(
        int(kind["class_id"]) for kind in shop.get("/v1/classes", work_id=shop.work) if kind["ticket"] is ticket
    )


def _listing(shop: Shop, kind: str) -> dict[str, Any] | None:
    return next(iter(shop.get("/v1/listings", work_id=shop.work, kind=kind)), None)


def _offers(shop: Shop) -> None:
    """Copies and tickets, by the creator; a character is given to the collector."""
    collector = shop.buyers[0]
    if not _listing(shop, "edition"):
        item = str(shop.get("/v1/items", work_id=shop.work)[0]["item_id"])
        _offer(shop, shop.creator, kind="edition", asset_id=item, price=str(COPY_USD), max_supply="100", token=shop.usd)
    if not _listing(shop, "character"):
        terms = {"price": str(SEAT_USD), "max_supply": "100", "token": shop.usd}
        seat = {"name": f"{shop.film.title}: a seat at the première"}
        _offer(shop, shop.creator, kind="character", asset_id=str(_class(shop, ticket=True)), character=seat, **terms)
    heroes = _class(shop, ticket=False)
    if not shop.get("/v1/characters", class_id=heroes):
        hero = {"name": f"A hero of {shop.film.title}", "to": collector.address}
        shop.send(shop.creator, f"/v1/classes/{heroes}/mint-intent", **hero)
    if not _listing(shop, "rental"):
        token = shop.get("/v1/characters", class_id=heroes)[0]["token_id"]
        times = {"period_s": HOUR, "longest_s": 30 * DAY}
        _offer(shop, collector, kind="rental", asset_id=token, price=str(HOUR_WEI), **times)


def _offer(shop: Shop, seller: Person, **terms: Any) -> None:
    shop.send(seller, "/v1/listings/intent", **terms)


def _number(shop: Shop, kind: str) -> int:
    listing = _listing(shop, kind)
    assert listing is not None, f"the offer of a {kind} was sent and the API does not list it"
    return int(listing["listing_id"])


def _topic(value: int | str) -> str:
    return "0x" + word(value)


def _copy(shop: Shop) -> None:
    """A collector buys a copy."""
    number, collector = _number(shop, "edition"), shop.buyers[0]
    if not shop.logs(PURCHASED, _topic(number), _topic(collector.address)):
        shop.pay("a copy is sold", collector, f"/v1/listings/{number}/buy-intent")


def _resale(shop: Shop) -> None:
    """The collector sells it on by a signature; the work gets its royalty."""
    seller, buyer = shop.buyers[:2]
    if shop.logs(FILLED, None, _topic(seller.address)):
        return
    item = str(shop.get("/v1/items", work_id=shop.work)[0]["item_id"])
    orders = shop.get("/v1/orders", collection="items", token_id=item, seller=seller.address)
    order = orders[0]["order_hash"] if orders else _signed_order(shop, seller, item)
    shop.pay("it is resold", buyer, f"/v1/orders/{order}/fill-intent", seller=seller)


def _signed_order(shop: Shop, seller: Person, item: str) -> str:
    """Draft, approve, sign and post the collector's order; its hash."""
    stage = shop.stage
    deadline = datetime.fromtimestamp(stage.chain.time + DAY, UTC).isoformat()
    wanted = {"collection": "items", "token_id": item, "price": str(RESALE_USD), "token": shop.usd}
    draft = stage.api.post("/v1/orders/draft", seller, deadline=deadline, **wanted)
    stage.send([shop.signed(seller, intent) for intent in draft["intents"]])
    made = Account.sign_typed_data(seller.wallet.key, full_message=_typed(draft["typed_data"]))
    signature = "0x" + made.signature.hex().removeprefix("0x")
    posted = stage.api.post("/v1/orders", order=draft["order"], signature=signature)
    return str(posted["order_hash"])


def _typed(data: Mapping[str, Any]) -> dict[str, Any]:
    """Typed data with its numbers as numbers, as wallets read them."""
    numbers = {one["name"] for one in data["types"][data["primaryType"]] if one["type"].startswith("uint")}
    message = {name: int(value) if name in numbers else value for name, value in data["message"].items()}
    return {**data, "message": message}


def _rental(shop: Shop) -> None:
    """Somebody rents the collector's character."""
    number, (owner, user) = _number(shop, "rental"), shop.buyers[:2]
    if not shop.logs(RENTED, None, _topic(user.address)):
        path = f"/v1/listings/{number}/rent-intent"
        shop.pay(f"a character is let for {HOURS} hours", user, path, seller=owner, duration_s=HOURS * HOUR)


def _subscription(shop: Shop) -> None:
    """Somebody subscribes for a month."""
    plan, person = int(shop.get("/v1/plans", work_id=shop.work)[0]["plan_id"]), shop.buyers[2]
    if not shop.logs(SUBSCRIBED, _topic(plan), _topic(person.address)):
        shop.pay("a month is subscribed", person, f"/v1/plans/{plan}/subscribe-intent")
        access = shop.stage.api.get(f"/v1/works/{shop.work}/access/{person.address}")
        assert [right["by"] for right in access["rights"]] == ["subscription"], access


def _ticket(shop: Shop) -> None:
    """A guest buys a ticket; the creator checks it in."""
    number, guest = _number(shop, "character"), shop.buyers[3]
    if not _tickets(shop):
        shop.pay("a ticket is sold", guest, f"/v1/listings/{number}/buy-intent")
    ticket = _tickets(shop)[0]
    if not ticket["checked_in_at"]:
        shop.send(shop.creator, f"/v1/characters/{ticket['token_id']}/check-in-intent")
    shop.stage.facts["ticket checked in"] = str(_tickets(shop)[0]["checked_in_at"])


def _tickets(shop: Shop) -> list[dict[str, Any]]:
    """The guest's tickets."""
    return [each for each in shop.get("/v1/characters", owner=shop.buyers[3].address) if each["ticket"]]
