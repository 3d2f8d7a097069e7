"""Selling and buying through the API on real contracts: predicted to the unit, refused before anything is signed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount

from backend.chain import NATIVE
from backend.shop.intent_schemas import MAX_USE_S
from backend.shop.prices import Rates, first_sale, rent, resale
from tests.backend.live import Reverted
from tests.backend.shop.market import CHARACTER, DAY, EDITION, HOUR, NOBODY, RENTAL, Market

SALE, SUBSCRIPTION, ROYALTY, TICKET = 2, 3, 4, 7
PLATFORM = "0x" + "01" * 32


def at(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def newest(market: Market, path: str, **wanted: Any) -> dict[str, Any]:
    found: dict[str, Any] = market.get(path, limit=1, **wanted)["items"][0]
    return found


@pytest.mark.parametrize("total", [0, 1, 19, 20, 399, 10**18 + 7])
def test_every_unit_of_a_price_goes_somewhere(total: int) -> None:
    policy = Rates(fee_bps=250, royalty_bps=500)
    for divided in (first_sale(total, policy), resale(total, policy)):
        assert divided.to_work + divided.fee + divided.to_seller == divided.total == total
        assert min(divided) >= 0
    assert resale(total, policy).royalty == total // 20
    assert first_sale(total, policy).to_seller == 0


def test_a_rent_is_rounded_up_for_the_owner() -> None:
    assert [rent(10, duration, 3) for duration in (3, 4, 6, 7)] == [10, 14, 20, 24]


@pytest.mark.feature("O2", via="http")
def test_an_edition_from_creation_to_the_last_copy(market: Market, alice: LocalAccount, bob: LocalAccount) -> None:
    work = market.register(market.client, alice, b"A song.", title="A song")
    made = market.do(
        alice, f"/v1/works/{work}/items-intent", name="First pressing", max_supply="5", per_account_cap=3, rarity=2
    )
    item = newest(market, "/v1/items", work_id=work)
    assert (item["name"], item["max_supply"], item["per_account_cap"]) == ("First pressing", "5", 3)
    assert market.get(made["metadata_url"])["name"] == "First pressing"
    market.do(
        alice, "/v1/listings/intent", kind="edition", asset_id=str(item["item_id"]), price="1000001", max_supply="5"
    )
    listing = newest(market, "/v1/listings", open=True)["listing_id"]
    buy = f"/v1/listings/{listing}/buy-intent"
    market.pays_as_said(bob, buy, work=work, kind=SALE, qty="2")
    market.pays_as_said(bob, buy, work=work, kind=SALE, qty="2", to=alice.address)
    full = market.ask_for(bob, buy, 409, qty="2")
    assert (full["code"], full["left"]) == ("not_enough_left", "1")
    with pytest.raises(Reverted, match="StoreSoldOut"):
        market.at(bob, "Storefront", "buy", listing, 2, 10**30, bob.address, bytes(32), value=2 * 1000001)
    market.pays_as_said(bob, buy, work=work, kind=SALE)
    assert market.ask_for(bob, buy, 409)["state"] == "sold_out"
    held = market.get(f"/v1/holdings/{bob.address}/items")["items"]
    assert held == [{"account": bob.address, "item_id": item["item_id"], "balance": "3"}]
    access = market.get(f"/v1/works/{work}/access/{bob.address}")
    assert [right["by"] for right in access["rights"]] == ["item"]
    assert access["until"] is None


@pytest.mark.feature("O2", via="http")
def test_a_cap_for_each_account_is_told_before_it_is_met(
    market: Market, alice: LocalAccount, bob: LocalAccount
) -> None:
    work = market.register(market.client, alice, b"A song.", title="A song")
    market.do(alice, f"/v1/works/{work}/items-intent", name="Pass", max_supply="9", per_account_cap=1)
    body = {"kind": "edition", "asset_id": "1", "price": "5", "token": market.usd, "max_supply": "9"}
    market.do(alice, "/v1/listings/intent", **body)
    market.pays_as_said(bob, "/v1/listings/1/buy-intent", work=work, kind=SALE)
    refused = market.ask_for(bob, "/v1/listings/1/buy-intent", 409)
    assert (refused["code"], refused["left"]) == ("not_enough_left", "0")
    market.allow(bob, 5)
    with pytest.raises(Reverted, match="ItemAccountCapExceeded"):
        market.at(bob, "Storefront", "buy", 1, 1, 5, bob.address, bytes(32))


@pytest.mark.feature("O5", via="http")
def test_a_rental_from_offer_to_the_next_user(
    market: Market, alice: LocalAccount, bob: LocalAccount, carol: LocalAccount
) -> None:
    work = market.register(market.client, alice, b"A hero.", title="A hero", kind="character")
    market.do(alice, f"/v1/works/{work}/classes-intent", max_supply=3)
    market.do(alice, "/v1/classes/1/mint-intent", name="Hero", to=bob.address)
    hero = newest(market, "/v1/characters", owner=bob.address)["token_id"]
    offer = {"kind": "rental", "asset_id": hero, "price": "1000003", "period_s": HOUR, "longest_s": DAY}
    assert market.ask_for(alice, "/v1/listings/intent", 403, **offer)["code"] == "not_the_owner"
    assert len(market.do(bob, "/v1/listings/intent", **offer)["intents"]) == 2
    path = "/v1/listings/1/rent-intent"
    rented = market.pays_as_said(carol, path, work=work, kind=ROYALTY, seller=bob.address, duration_s=HOUR + 7)
    assert rented["pays"]["total"] == str(-(-1000003 * (HOUR + 7) // HOUR))
    shown = market.get(f"/v1/characters/{hero}")
    assert (shown["owner"], shown["user"]) == (bob.address, carol.address)
    access = market.get(f"/v1/works/{work}/access/{carol.address}")
    assert [(right["by"], right["until"]) for right in access["rights"]] == [("rental", shown["user_until"])]
    assert market.get(f"/v1/works/{work}/access/{bob.address}")["access"] is False
    other = market.ask_for(alice, path, 409, duration_s=HOUR)
    assert other["code"] == "character_rented"
    with pytest.raises(Reverted, match="CharacterRented"):
        market.at(alice, "Storefront", "rent", 1, HOUR, 10**9, value=1000003)
    again = market.pays_as_said(carol, path, work=work, kind=ROYALTY, seller=bob.address, duration_s=HOUR)
    assert market.get(f"/v1/characters/{hero}")["user_until"] == again["until"]
    for duration in (HOUR - 1, DAY):
        assert market.ask_for(carol, path, 422, duration_s=duration)["code"] == "duration_invalid"
    market.forward(3 * HOUR)
    market.sync()
    assert market.get(f"/v1/characters/{hero}")["user"] is None
    market.pays_as_said(alice, path, work=work, kind=ROYALTY, seller=bob.address, duration_s=HOUR)


@pytest.mark.feature("R4", via="http")
def test_a_subscription_is_renewed_given_and_ends(
    market: Market, alice: LocalAccount, bob: LocalAccount, carol: LocalAccount
) -> None:
    work = market.register(market.client, alice, b"A serial.", title="A serial")
    market.do(alice, f"/v1/works/{work}/plans-intent", token=market.usd, price="3000001", period_s=DAY)
    path = "/v1/plans/1/subscribe-intent"
    for periods, to in ((1, bob), (2, bob), (1, carol)):
        said = market.pays_as_said(bob, path, work=work, kind=SUBSCRIPTION, periods=periods, to=to.address)
        row = market.get(f"/v1/subscriptions/{to.address}")["items"][0]
        assert row["active"]
        end = int(datetime.fromisoformat(row["until"]).timestamp())
        assert end == market.view("Storefront", "subscribedUntil", work, to.address)
        assert abs(end - int(datetime.fromisoformat(said["until"]).timestamp())) < 60  # the chain's clock went on
    assert market.get(f"/v1/works/{work}/access/{carol.address}")["has_access"] is True
    market.forward(DAY + 1)
    market.sync()
    assert market.get(f"/v1/works/{work}/access/{carol.address}")["access"] is False
    assert market.get(f"/v1/works/{work}/access/{bob.address}")["has_access"] is True
    assert market.ask_for(bob, path, 422, periods=2**32 - 1)["code"] == "duration_invalid"
    assert market.ask_for(bob, "/v1/plans/1/close-intent", 403)["code"] == "not_the_owner"
    market.do(alice, "/v1/plans/1/close-intent")
    assert market.ask_for(bob, path, 409)["state"] == "closed"


@pytest.mark.feature("O2", via="http")
def test_a_ticket_is_sold_and_lets_in_once(market: Market, alice: LocalAccount, bob: LocalAccount) -> None:
    work = market.register(market.client, alice, b"A concert.", title="A concert", kind="event")
    market.do(alice, f"/v1/works/{work}/classes-intent", max_supply=30, ticket=True)
    market.do(
        alice,
        "/v1/listings/intent",
        kind="character",
        asset_id="1",
        price="70",
        max_supply="30",
        character={"name": "Row 1"},
        ends_at=at(market.now + DAY),
    )
    path = "/v1/listings/1/buy-intent"
    assert market.ask_for(bob, path, 422, qty="21")["code"] == "quantity_invalid"
    market.pays_as_said(bob, path, work=work, kind=TICKET, qty="2")
    ticket = newest(market, "/v1/characters", owner=bob.address)
    assert (ticket["name"], ticket["ticket"], ticket["checked_in_at"]) == ("Row 1", True, None)
    check_in = f"/v1/characters/{ticket['token_id']}/check-in-intent"
    assert market.ask_for(bob, check_in, 403)["code"] == "not_the_organiser"
    market.do(alice, check_in)
    assert market.get(f"/v1/characters/{ticket['token_id']}")["checked_in_at"] is not None
    assert market.ask_for(alice, check_in, 409)["code"] == "ticket_used"
    with pytest.raises(Reverted, match="CharacterAlreadyCheckedIn"):
        market.at(alice, "Characters", "checkIn", int(ticket["token_id"]))
    market.forward(DAY)
    market.sync()
    assert market.ask_for(bob, path, 409)["state"] == "ended"


@pytest.mark.feature("O3", via="http")
def test_a_work_is_sold_by_its_owner(market: Market, alice: LocalAccount, bob: LocalAccount) -> None:
    work = market.register(market.client, alice, b"A play.", title="A play")
    offer = {"kind": "work", "asset_id": str(work), "price": "1000019"}
    assert [intent["description"] for intent in market.do(alice, "/v1/listings/intent", **offer)["intents"]] == [
        f"Let the storefront hand over work {work}",
        f"Offer work {work} for 0.000000000001000019 ETH",
    ]
    market.at(alice, "WorkRegistry", "approve", bob.address, work)  # to somebody else: the storefront has no more right
    market.sync()
    path = "/v1/listings/1/buy-intent"
    assert market.ask_for(bob, path, 409)["code"] == "seller_must_approve"
    market.at(alice, "WorkRegistry", "approve", market.info.address("Storefront"), work)
    market.sync()
    market.do(alice, "/v1/listings/1/reprice-intent", price="2000019")
    market.pays_as_said(bob, path, work=work, kind=ROYALTY, seller=alice.address)
    assert market.get(f"/v1/works/{work}")["owner"] == bob.address
    assert market.ask_for(alice, path, 409)["state"] == "seller_gone"
    assert market.ask_for(alice, f"/v1/works/{work}/items-intent", 403, name="x", max_supply="1")["code"] == (
        "not_the_owner"
    )
    market.do(bob, "/v1/listings/1/cancel-intent")  # of what is his by now
    assert market.get("/v1/listings/1")["state"] == "cancelled"
    statement = market.get(f"/v1/payouts/{alice.address}/statements")["items"]
    assert [(line["source"], line["credited"]) for line in statement] == [("royalty", "97500")]


def test_nothing_of_a_suspended_work_is_sold(market: Market, alice: LocalAccount, bob: LocalAccount) -> None:
    work = market.register(market.client, alice, b"A play.", title="A play")
    market.do(alice, f"/v1/works/{work}/items-intent", name="Copy", max_supply="9")
    offer = {"kind": "edition", "asset_id": "1", "price": "5", "max_supply": "9"}
    market.do(alice, "/v1/listings/intent", **offer)
    market.do(alice, f"/v1/works/{work}/plans-intent", price="5", period_s=DAY)
    timelock = market.info.address("TimelockController")
    market.ask("anvil_setBalance", timelock, hex(10**20))
    market.send(
        timelock, market.info.address("WorkRegistry"), market.data("WorkRegistry", "setStatus", [work, 2, bytes(32)])
    )
    market.sync()
    assert market.ask_for(bob, "/v1/listings/1/buy-intent", 409)["state"] == "work_stopped"
    assert market.ask_for(bob, "/v1/plans/1/subscribe-intent", 409)["state"] == "work_stopped"
    assert market.ask_for(alice, "/v1/listings/intent", 409, **offer)["code"] == "work_stopped"
    with pytest.raises(Reverted, match="StoreWorkStatus"):
        market.at(bob, "Storefront", "buy", 1, 1, 5, bob.address, bytes(32), value=5)


def test_bad_input_is_refused_in_words(market: Market, alice: LocalAccount, bob: LocalAccount) -> None:
    work = market.register(market.client, alice, b"A play.", title="A play")
    market.do(alice, f"/v1/works/{work}/items-intent", name="Copy", max_supply="9")
    listing: dict[str, Any] = {"kind": "edition", "asset_id": "1", "price": "5", "max_supply": "9"}
    item = {"name": "x", "max_supply": "1"}
    past = "2001-01-01T00:00:00Z"
    bad: list[tuple[str, dict[str, Any], int, str]] = [
        ("/v1/listings/intent", listing | {"price": 5}, 422, "invalid"),
        ("/v1/listings/intent", listing | {"price": str(2**128)}, 422, "invalid"),
        ("/v1/listings/intent", listing | {"max_supply": "0"}, 422, "invalid"),
        ("/v1/listings/intent", listing | {"period_s": 5}, 422, "invalid"),
        ("/v1/listings/intent", listing | {"kind": "work"}, 422, "invalid"),
        ("/v1/listings/intent", listing | {"token": bob.address}, 422, "token_not_allowed"),
        ("/v1/listings/intent", listing | {"ends_at": past}, 422, "window_invalid"),
        ("/v1/listings/intent", listing | {"starts_at": "1901-01-01T00:00:00Z"}, 422, "window_invalid"),
        ("/v1/listings/intent", listing | {"asset_id": "77"}, 404, "asset_not_found"),
        (f"/v1/works/{work}/items-intent", {"name": "x\u202ey", "max_supply": "1"}, 422, "invalid"),
        (f"/v1/works/{work}/items-intent", item | {"image_cid": "no"}, 422, "image_unknown"),
        (f"/v1/works/{work}/items-intent", item | {"max_supply": str(2**64)}, 422, "invalid"),
        (f"/v1/works/{work}/items-intent", item | {"expires_at": past}, 422, "window_invalid"),
        (f"/v1/works/{work}/classes-intent", {"max_supply": 1, "organiser": bob.address}, 422, "invalid"),
        (f"/v1/works/{work}/classes-intent", {"max_supply": 1, "platform_id": PLATFORM}, 422, "platform_unknown"),
        (f"/v1/works/{work}/plans-intent", {"price": "0", "period_s": 1}, 422, "invalid"),
        ("/v1/works/99/plans-intent", {"price": "1", "period_s": 1}, 404, "work_not_found"),
        ("/v1/listings/9/buy-intent", {}, 404, "listing_not_found"),
        ("/v1/plans/9/subscribe-intent", {}, 404, "asset_not_found"),
    ]  # fmt: skip
    for path, body, status, code in bad:
        assert market.ask_for(alice, path, status, **body)["code"] == code, (path, body)
    market.do(alice, "/v1/listings/intent", **listing)
    assert market.ask_for(None, "/v1/listings/intent", 401, **listing)["code"] == "sign_in_required"
    assert market.ask_for(None, "/v1/listings/1/buy-intent", 422)["code"] == "buyer_unknown"
    assert market.ask_for(None, "/v1/listings/1/buy-intent", 200, buyer=bob.address)["pays"]["total"] == "5"
    assert market.ask_for(bob, "/v1/listings/1/rent-intent", 422, duration_s=60)["code"] == "duration_invalid"
    assert market.ask_for(bob, "/v1/listings/1/reprice-intent", 403, price="1")["code"] == "not_the_owner"
    assert market.get("/v1/listings/1")["token"]["address"] == NATIVE


@pytest.mark.slow
def test_what_costs_more_than_was_seen_is_not_sold(market: Market, alice: LocalAccount, bob: LocalAccount) -> None:
    work = market.register(market.client, alice, b"A hero.", title="A hero", kind="character")
    market.do(alice, f"/v1/works/{work}/items-intent", name="Copy", max_supply="9")
    market.do(alice, "/v1/listings/intent", kind="edition", asset_id="1", price="1", max_supply="9", token=market.usd)
    market.kind(alice, work)
    hero = market.mint(alice, 1, alice)
    market.sync()
    offer = {"kind": "rental", "asset_id": str(hero), "price": "60", "period_s": HOUR, "longest_s": DAY}
    market.do(alice, "/v1/listings/intent", **offer)
    market.do(alice, "/v1/listings/1/reprice-intent", price="100")
    buy, rental = "/v1/listings/1/buy-intent", "/v1/listings/2/rent-intent"
    refused = market.ask_for(bob, buy, 409, max_total="1")
    assert (refused["code"], refused["total"]) == ("price_changed", "100")
    assert market.ask_for(bob, buy, 409, max_total="199", qty="2")["code"] == "price_changed"
    assert market.ask_for(bob, rental, 409, max_total="60", duration_s=HOUR + 60)["code"] == "price_changed"
    market.do(bob, buy, max_total="100")
    market.do(bob, rental, max_total="61", duration_s=HOUR + 60)


def test_what_the_contracts_would_refuse_after_the_approval_is_refused_before(
    market: Market, alice: LocalAccount, bob: LocalAccount
) -> None:
    work = market.register(market.client, alice, b"A hero.", title="A hero", kind="character")
    market.item(alice, work)
    market.listed(alice, EDITION, 1, 5)
    market.kind(alice, work)
    hero = market.mint(alice, 1, alice)
    market.approve_shop(alice, "Characters")
    longest = 2 * MAX_USE_S  # our API would not offer it
    market.listed(alice, RENTAL, hero, 5, supply=longest, period=DAY)
    timelock = market.info.address("TimelockController")
    market.ask("anvil_setBalance", timelock, hex(10**20))
    key = (bytes.fromhex(PLATFORM[2:]), bob.address)
    market.send(timelock, market.info.address("Characters"), market.data("Characters", "setPlatform", key))
    market.at(alice, "Characters", "createClass", (work, 50, 1, False, False, NOBODY, NOBODY, key[0]))
    market.listed(alice, CHARACTER, 2, 5)
    market.sync()
    buy = "/v1/listings/1/buy-intent"
    for who in ({"to": NOBODY}, {"buyer": NOBODY}):
        assert market.ask_for(bob, buy, 422, **who)["code"] == "buyer_unknown"
    mint = {"name": "Ada", "to": NOBODY}
    assert market.ask_for(alice, "/v1/classes/1/mint-intent", 422, **mint)["code"] == "buyer_unknown"
    rental = "/v1/listings/2/rent-intent"
    market.do(bob, rental, duration_s=MAX_USE_S - DAY)
    refused = market.ask_for(bob, rental, 422, duration_s=2 * DAY)
    assert refused["code"] == "duration_invalid"
    with pytest.raises(Reverted, match="CharacterExpiryInvalid"):
        market.at(bob, "Storefront", "rent", 2, 2 * DAY, 10, value=10)
    assert market.ask_for(bob, "/v1/listings/3/buy-intent", 409)["code"] == "platform_only"
    with pytest.raises(Reverted):
        market.at(bob, "Storefront", "buy", 3, 1, 5, bob.address, bytes(32), value=5)
