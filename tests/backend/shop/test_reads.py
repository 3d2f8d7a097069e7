"""What the shop shows is what the contracts say: random histories of a market, compared getter by getter."""

from __future__ import annotations

import random
from collections import Counter
from datetime import datetime
from typing import Any

import psycopg
import pytest
from eth_account.signers.local import LocalAccount
from sqlalchemy import RowMapping
from sqlalchemy.orm import Session

from backend.chain import NATIVE
from backend.shop import catalogue
from tests.backend.live import Reverted
from tests.backend.shop.conftest import People
from tests.backend.shop.market import CHARACTER, DAY, EDITION, HOUR, RENTAL, WORK, Market

STEPS = 70


def seconds(moment: str | None) -> int:
    return 0 if moment is None else int(datetime.fromisoformat(moment).timestamp())


class Season:
    """Three people make, list, sell, lend, burn and subscribe at random; what the contracts refuse is not done."""

    def __init__(self, market: Market, people: list[LocalAccount], seed: int) -> None:
        self.market, self.people, self.dice = market, people, random.Random(seed)
        self.works = [
            market.register(market.client, person, b"Act of %s, %d." % (person.address.encode(), seed), title="Act")
            for person in people
        ]
        self.done: Counter[str] = Counter()
        for owner, work in zip(people, self.works, strict=True):
            self.make(owner, work)
            for contract in ("Items", "Characters", "WorkRegistry"):
                market.approve_shop(owner, contract)
            market.allow(owner, 10**12)

    def make(self, owner: LocalAccount, work: int) -> None:
        market = self.market
        item = market.item(owner, work, supply=20, cap=self.dice.choice([0, 4]))
        market.item(owner, work, supply=5, expires=market.now + self.dice.choice([HOUR, 2**48 - 1 - market.now]))
        people, tickets = market.kind(owner, work), market.kind(owner, work, ticket=True)
        market.listed(owner, EDITION, item, self.dice.randrange(10**15), supply=8)
        market.listed(owner, CHARACTER, people, 7, supply=6, token=market.usd)
        market.listed(owner, CHARACTER, tickets, 9, supply=6, ends=market.now + DAY)
        market.at(owner, "Storefront", "createPlan", work, market.usd, 3 * 10**6, DAY)
        market.mint(owner, people, self.dice.choice(self.people))

    def tokens(self) -> list[int]:
        counts = [
            (number, int(self.market.view("Characters", "classOf", number)[2]))
            for number in range(1, int(self.market.view("Characters", "classCount")) + 1)
        ]
        return [(number << 32) | one for number, minted in counts for one in range(1, minted + 1)]

    def step(self) -> None:
        often = (self.buy, self.let, self.rent)
        acts = (*often, *often, self.buy, self.subscribe, self.hand_on, self.tidy, self.time)
        act = self.dice.choice(acts)
        try:
            act(self.dice.choice(self.people))
        except Reverted:
            return
        self.done[act.__name__] += 1

    def buy(self, person: LocalAccount) -> None:
        market = self.market
        number = self.dice.randrange(1, int(market.view("Storefront", "listingCount")) + 1)
        listing = market.view("Storefront", "listingOf", number)
        qty = self.dice.randrange(1, 4)
        value = listing[8] * qty if listing[5] == NATIVE else 0
        to = self.dice.choice(self.people).address
        market.at(person, "Storefront", "buy", number, qty, listing[8] * qty, to, bytes(32), value=value)

    def let(self, person: LocalAccount) -> None:
        period = self.dice.choice([HOUR, DAY])
        mine = [token for token in self.tokens() if owner_of(self.market, token) == person.address.lower()]
        token = self.dice.choice(mine or self.tokens())
        self.market.listed(person, RENTAL, token, self.dice.randrange(1, 10**12), supply=3 * DAY, period=period)

    def rent(self, person: LocalAccount) -> None:
        market = self.market
        offered = [number for token in self.tokens() if (number := market.view("Storefront", "rentalOf", token))]
        if not offered:
            return self.let(person)
        number = self.dice.choice(offered)
        listing = market.view("Storefront", "listingOf", number)
        duration = self.dice.randrange(listing[14], listing[14] * 2)
        total = -(-listing[8] * duration // listing[14])
        market.at(person, "Storefront", "rent", number, duration, total, value=total)
        self.done["rented"] += 1

    def subscribe(self, person: LocalAccount) -> None:
        plan = self.dice.randrange(1, int(self.market.view("Storefront", "planCount")) + 1)
        to = self.dice.choice(self.people).address
        periods = self.dice.choice([1, 2, 10**9])
        self.market.at(person, "Storefront", "subscribe", plan, periods, periods * 3 * 10**6, to)

    def hand_on(self, person: LocalAccount) -> None:
        market, to = self.market, self.dice.choice(self.people).address
        if self.dice.random() < 0.5:
            token = self.dice.choice(self.tokens())
            market.at(person, "Characters", "transferFrom", person.address, to, token)
            return
        items = [number for number in range(1, 1 + int(market.view("Items", "itemCount")))]
        pair = self.dice.sample(items, 2)
        market.at(person, "Items", "safeBatchTransferFrom", person.address, to, pair, [1, 1], b"")

    def tidy(self, person: LocalAccount) -> None:
        market = self.market
        act = self.dice.randrange(7)
        listing = self.dice.randrange(1, int(market.view("Storefront", "listingCount")) + 1)
        if act == 0:
            market.at(person, "Storefront", "cancelListing", listing)
        elif act == 1:
            market.at(person, "Storefront", "reprice", listing, self.dice.randrange(100))
        elif act == 2:
            market.at(person, "Characters", "checkIn", self.dice.choice(self.tokens()))
        elif act == 3:
            market.at(person, "Characters", "burn", self.dice.choice(self.tokens()))
        elif act == 4:
            market.at(person, "Items", "burn", person.address, self.dice.randrange(1, 7), 1)
        elif act == 5:
            work = self.dice.choice(self.works)
            to = self.dice.choice(self.people).address
            market.at(person, "WorkRegistry", "transferFrom", person.address, to, work)
        else:
            market.at(person, "Storefront", "closePlan", self.dice.choice([1, 2, 3]))

    def time(self, person: LocalAccount) -> None:
        self.market.forward(self.dice.choice([60, HOUR, DAY]))


def check_listings(market: Market, season: Season) -> None:
    shown = {row["listing_id"]: row for row in market.all("/v1/listings")}
    assert len(shown) == market.view("Storefront", "listingCount")
    openly = {row["listing_id"] for row in market.all("/v1/listings", open=True)}
    for number, row in shown.items():
        said = market.view("Storefront", "listingOf", number)
        seller, work, kind, _, closed, token, starts, ends, price, supply, sold, asset, *_ = said
        assert (row["seller"].lower(), row["work_id"], row["asset_id"]) == (seller, work, str(asset))
        assert (row["token"]["address"].lower(), row["price"], row["sold"]) == (token, str(price), str(sold))
        assert (seconds(row["starts_at"]), seconds(row["ends_at"])) == (starts, ends)
        assert (row["state"] == "cancelled") is closed
        assert row["left"] == str(0 if kind == RENTAL else supply - sold)
        assert (row["state"] == "open") is (number in openly) is can_be_bought(market, season, number, said)


def can_be_bought(market: Market, season: Season, number: int, said: Any) -> bool:
    """Whether the contract would sell one, or let for the shortest time, to anybody at all."""
    buyer, price = season.people[0].address, said[8]
    value = price if said[5] == NATIVE else 0
    if said[2] == RENTAL:
        call: tuple[str, list[Any]] = ("rent", [number, said[14], 2**200])
    else:
        call = ("buy", [number, 1, 2**200, season.people[0].address, bytes(32)])
    try:
        market.attempt(buyer, market.info.address("Storefront"), market.data("Storefront", *call), value)
    except Reverted as refused:
        own = ("CharacterRented", "ItemAccountCapExceeded", "ItemSupplyExceeded", "CharacterSupplyExceeded")
        return str(refused).startswith(own)  # of the buyer or the asset, not of the offer
    return True


def check_items(market: Market, season: Season) -> None:
    mine = {
        person.address: {one["item_id"]: one["balance"] for one in market.all(f"/v1/holdings/{person.address}/items")}
        for person in season.people
    }
    for row in market.all("/v1/items"):
        number = row["item_id"]
        said = market.view("Items", "itemOf", number)
        assert (row["work_id"], row["max_supply"], row["minted"]) == (said[0], str(said[1]), str(said[2]))
        assert row["supply"] == str(market.view("Items", "totalSupply", number))
        assert seconds(row["expires_at"]) == min(said[6], 253_402_300_799)
        held = {one["account"]: one["balance"] for one in market.all(f"/v1/items/{number}/holders")}
        for person in season.people:
            balance = market.view("Items", "balanceOf", person.address, number)
            assert held.get(person.address, "0") == str(balance)
            assert mine[person.address].get(number, "0") == str(balance)


def check_characters(market: Market, season: Season) -> None:
    shown = {int(row["token_id"]): row for row in market.all("/v1/characters")}
    assert sorted(shown) == season.tokens()
    for token, row in shown.items():
        owner = owner_of(market, token)
        assert (row["owner"] and row["owner"].lower()) == owner
        if owner is None:
            continue
        user = market.view("Characters", "userOf", token)
        assert (row["user"] or "0x" + "00" * 20).lower() == user
        assert seconds(row["checked_in_at"]) == market.view("Characters", "checkedInAt", token)


def check_access(market: Market, season: Season) -> None:
    for work in season.works:
        for person in season.people:
            shown = market.get(f"/v1/works/{work}/access/{person.address}")
            assert shown["has_access"] is market.view("Storefront", "hasAccess", person.address, work)
            said = market.view("Storefront", "subscribedUntil", work, person.address)
            ends = [seconds(right["until"]) for right in shown["rights"] if right["by"] == "subscription"]
            assert ends == ([min(said, 253_402_300_799)] if said > market.now else [])
            listed = {int(right["token_id"]) for right in shown["rights"] if right["token_id"]}
            assert listed == {
                token
                for token in season.tokens()
                if owner_of(market, token) and market.view("Storefront", "hasAccessBy", person.address, work, token)
            }
            assert shown["access"] is bool(shown["has_access"] or listed)


def owner_of(market: Market, token: int) -> str | None:
    """Who owns a character; nobody, once it is burned."""
    try:
        found: str = market.view("Characters", "ownerOf", token)
    except Reverted:
        return None
    return found


@pytest.mark.feature("O2", via="http")
@pytest.mark.feature("O5", via="http")
@pytest.mark.feature("R4", via="http")
def test_the_shop_shows_what_the_contracts_say(
    market: Market, alice: LocalAccount, bob: LocalAccount, carol: LocalAccount
) -> None:
    season = Season(market, [alice, bob, carol], 1)
    for _part in range(2):
        for _ in range(STEPS // 2):
            season.step()
        market.sync()
        check_listings(market, season)
        check_items(market, season)
        check_characters(market, season)
        check_access(market, season)
    assert {"buy", "let", "rented", "subscribe", "hand_on", "tidy"} <= set(season.done), season.done


def test_an_offer_says_who_is_paid(market: Market, alice: LocalAccount, bob: LocalAccount) -> None:
    work = market.register(market.client, alice, b"One act.", title="One act")
    item = market.item(alice, work)
    copy = market.listed(alice, EDITION, item, 1_001)
    market.approve_shop(alice, "WorkRegistry")
    whole = market.listed(alice, WORK, work, 1_001, supply=1)
    market.sync()
    sale, resale = (market.get(f"/v1/listings/{number}") for number in (copy, whole))
    assert sale["pays"] == {"total": "1001", "royalty": "0", "fee": "25", "to_work": "976", "to_seller": "0"}
    assert resale["pays"] == {"total": "1001", "royalty": "50", "fee": "1", "to_work": "49", "to_seller": "951"}
    assert (sale["kind"], resale["kind"], resale["name"]) == ("edition", "work", "One act")
    assert sale["as_of"]["block"] == int(market.ask("eth_blockNumber"), 16)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v1/listings/1", "listing_not_found"),
        ("/v1/items/7", "asset_not_found"),
        ("/v1/items/7/holders", "asset_not_found"),
        ("/v1/classes/7", "asset_not_found"),
        ("/v1/characters/4294967297", "asset_not_found"),
        ("/v1/plans/7", "asset_not_found"),
        ("/v1/works/9/access/0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "work_not_found"),
    ],
)
def test_what_is_not_there_is_said_so(market: Market, path: str, code: str) -> None:
    answer = market.client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, code)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/listings?cursor=%00",
        "/v1/listings?cursor=WyJ3b3JrcyIsMSwxLCIiXQ",
        "/v1/items/99999999999999999999",
        "/v1/items/0",
        "/v1/classes/4294967296",
        "/v1/characters?owner=0x12",
        "/v1/characters?class_id=-1",
        "/v1/characters?cursor=WyJjaGFyYWN0ZXJzIiwtMSwtMV0xxx",
        "/v1/listings?kind=painting",
        "/v1/subscriptions/bob",
        "/v1/works/1/access/0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD",
    ],
)
def test_hostile_reads_are_refused_in_words(market: Market, path: str) -> None:
    answer = market.client.get(path)
    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_cursor_is_void_after_a_reorganisation(market: Market, alice: LocalAccount, people: People) -> None:
    work = market.register(market.client, alice, b"One act.", title="One act")
    item = market.item(alice, work)
    for price in (1, 2, 3):
        market.listed(alice, EDITION, item, price)
    market.sync()
    cursor = market.get("/v1/listings", limit=1)["next"]
    assert market.get("/v1/listings", limit=1, cursor=cursor)["items"][0]["price"] == "2"
    market.ask("anvil_reorg", 3, [])
    market.sync()
    answer = market.client.get("/v1/listings", params={"limit": 1, "cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (409, "cursor_void")
    assert market.get("/v1/listings")["items"] == []


def test_what_is_taken_back_meanwhile_makes_no_answer_of_two_blocks(
    market: Market, alice: LocalAccount, bob: LocalAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mirror takes an item back, then its listing, after a request has read the head."""
    work = market.register(market.client, alice, b"An act", title="Act")
    path = f"/v1/listings/{market.listed(alice, EDITION, market.item(alice, work), 5)}"
    market.sync()
    before = market.get(path)
    find_listing = catalogue.find_listing

    def take_back(table: str) -> None:
        with psycopg.connect(market.urls.conninfo(), autocommit=True) as connection:
            assert connection.execute(f"DELETE FROM chain.{table}".encode()).rowcount > 0

    def slow(session: Session, listing_id: int) -> RowMapping:
        take_back("storefront_listed")
        return find_listing(session, listing_id)

    take_back("items_item_created")
    assert market.ask_for(None, f"{path}/buy-intent", 404, buyer=bob.address)["code"] == "asset_not_found"
    monkeypatch.setattr(catalogue, "find_listing", slow)
    assert market.get(path) == before
    monkeypatch.undo()
    assert market.client.get(path).status_code == 404
