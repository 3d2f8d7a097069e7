"""Signed orders through the API: what is kept the storefront fills, and who is paid was said before, to the unit."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount

from backend.shop.orders import Order, order_hash
from tests.backend.live import Reverted
from tests.backend.shop.market import DAY, EDITION, NOBODY, Market

ROYALTY = 4


def deadline(market: Market, after: int = DAY) -> str:
    return datetime.fromtimestamp(market.now + after, UTC).isoformat()


def signed(person: LocalAccount, draft: dict[str, Any]) -> str:
    """What eth_signTypedData_v4 returns."""
    data = {key: draft["typed_data"][key] for key in ("domain", "types", "primaryType", "message")}
    message = dict(data["message"])
    for entry in data["types"]["Order"]:
        if entry["type"].startswith("uint"):
            message[entry["name"]] = int(message[entry["name"]])
    made = Account.sign_typed_data(person.key, full_message=data | {"message": message})
    return "0x" + made.signature.hex().removeprefix("0x")


@pytest.fixture
def copies(market: Market, alice: LocalAccount, bob: LocalAccount) -> int:
    """A work of alice; bob has five copies of its item 1 and two tickets of its class 1."""
    work = market.register(market.client, alice, b"A song.", title="A song")
    market.item(alice, work)
    market.at(alice, "Items", "mint", bob.address, 1, 5)
    market.kind(alice, work, ticket=True)
    for _ in range(2):
        market.mint(alice, 1, bob)
    market.sync()
    return work


def posted(market: Market, seller: LocalAccount, **terms: Any) -> dict[str, Any]:
    """Draft, approve, sign and post an order; what the API shows of it."""
    order = {"collection": "items", "token_id": "1", "price": "1000019", "deadline": deadline(market)} | terms
    draft = market.ask_for(seller, "/v1/orders/draft", **order)
    for intent in draft["intents"]:
        market.sign(seller.address, intent)
    market.sync()
    answer = market.ask_for(None, "/v1/orders", 201, order=draft["order"], signature=signed(seller, draft))
    assert answer["order_hash"] == draft["order_hash"]
    return answer


@pytest.mark.feature("O3", via="http")
def test_an_order_is_filled_in_parts_with_the_royalty_shown(
    market: Market, copies: int, bob: LocalAccount, carol: LocalAccount
) -> None:
    order = posted(market, bob, amount="3")
    assert (order["state"], order["left"], order["work_id"]) == ("open", "3", copies)
    assert order["pays"]["royalty"] == "50000"
    assert [one["order_hash"] for one in market.all("/v1/orders", collection="items", token_id=1)] == [
        order["order_hash"]
    ]
    fill = f"/v1/orders/{order['order_hash']}/fill-intent"
    market.pays_as_said(carol, fill, work=copies, kind=ROYALTY, seller=bob.address, qty="2")
    assert market.get(f"/v1/orders/{order['order_hash']}")["left"] == "1"
    assert market.ask_for(carol, fill, 409, qty="2")["code"] == "not_enough_left"
    market.pays_as_said(carol, fill, work=copies, kind=ROYALTY, seller=bob.address)
    assert market.get(f"/v1/orders/{order['order_hash']}")["state"] == "filled"
    assert market.all("/v1/orders", collection="items", token_id=1) == []
    assert market.ask_for(carol, fill, 409)["code"] == "not_enough_left"
    assert {row["account"]: row["balance"] for row in market.all("/v1/items/1/holders")} == {
        bob.address: "2",
        carol.address: "3",
    }


@pytest.mark.slow
@pytest.mark.feature("O3", via="http")
def test_an_order_is_cancelled_expires_and_is_not_replayed(
    market: Market, copies: int, bob: LocalAccount, carol: LocalAccount
) -> None:
    one, two, three = (posted(market, bob, amount="1") for _ in range(3))
    path = f"/v1/orders/{one['order_hash']}"
    assert market.ask_for(carol, f"{path}/cancel-intent", 403)["code"] == "not_the_owner"
    stale = market.ask_for(carol, f"{path}/fill-intent")["intents"][0]
    market.do(bob, f"{path}/cancel-intent")
    assert market.get(path)["state"] == "cancelled"
    assert market.ask_for(carol, f"{path}/fill-intent", 409)["code"] == "order_cancelled"
    with pytest.raises(Reverted, match="StoreOrderCancelled"):
        market.sign(carol.address, stale)
    fill = f"/v1/orders/{two['order_hash']}/fill-intent"
    again = market.ask_for(carol, fill)["intents"][0]
    market.sign(carol.address, again)
    with pytest.raises(Reverted, match="StoreOrderExhausted"):
        market.sign(carol.address, again)
    market.do(bob, "/v1/orders/cancel-all-intent")
    assert market.get(f"/v1/orders/{three['order_hash']}")["state"] == "cancelled"
    four = posted(market, bob, amount="1")
    market.forward(DAY + 1)
    market.sync()
    assert market.get(f"/v1/orders/{four['order_hash']}")["state"] == "expired"
    assert market.ask_for(carol, f"/v1/orders/{four['order_hash']}/fill-intent", 409)["code"] == "order_expired"
    assert market.all("/v1/orders") == []


@pytest.mark.slow
def test_what_the_seller_can_no_longer_hand_over_is_not_shown(
    market: Market, copies: int, bob: LocalAccount, carol: LocalAccount
) -> None:
    order = posted(market, bob, amount="1")
    path = f"/v1/orders/{order['order_hash']}"
    market.at(bob, "Items", "setApprovalForAll", market.info.address("Storefront"), False)
    market.sync()
    assert (market.get(path)["state"], market.all("/v1/orders")) == ("stalled", [])
    assert market.ask_for(carol, f"{path}/fill-intent", 409)["code"] == "order_uncovered"
    market.at(bob, "Items", "setApprovalForAll", market.info.address("Storefront"), True)
    market.at(bob, "Items", "safeTransferFrom", bob.address, carol.address, 1, 5, b"")
    market.sync()
    assert market.get(path)["state"] == "stalled"


def test_an_order_for_one_buyer_and_an_unused_ticket(
    market: Market, copies: int, alice: LocalAccount, bob: LocalAccount, carol: LocalAccount
) -> None:
    ticket = market.get("/v1/characters", owner=bob.address)["items"][0]["token_id"]
    order = posted(market, bob, collection="characters", token_id=ticket, token=market.usd, taker=carol.address)
    fill = f"/v1/orders/{order['order_hash']}/fill-intent"
    assert market.ask_for(alice, fill, 403)["code"] == "order_not_for_you"
    ready = market.ask_for(carol, fill)
    market.do(alice, f"/v1/characters/{ticket}/check-in-intent")
    market.sign(carol.address, ready["intents"][0])
    with pytest.raises(Reverted, match="StoreTicketUsed"):
        market.sign(carol.address, ready["intents"][1])
    assert market.ask_for(carol, fill, 409)["code"] == "ticket_used"
    market.pays_as_said(carol, fill, work=copies, kind=ROYALTY, seller=bob.address, unused=False)
    assert market.get(f"/v1/characters/{ticket}")["owner"] == carol.address


@pytest.mark.feature("O3", via="http")
def test_a_work_changes_hands_by_a_signed_order(
    market: Market, copies: int, alice: LocalAccount, bob: LocalAccount
) -> None:
    order = posted(market, alice, collection="works", token_id=str(copies))
    fill = f"/v1/orders/{order['order_hash']}/fill-intent"
    market.pays_as_said(bob, fill, work=copies, kind=ROYALTY, seller=alice.address)
    assert market.get(f"/v1/works/{copies}")["owner"] == bob.address


def test_what_the_storefront_would_not_fill_is_not_kept(
    market: Market, copies: int, bob: LocalAccount, carol: LocalAccount
) -> None:
    body = {"collection": "items", "token_id": "1", "price": "5", "deadline": deadline(market)}
    draft = market.ask_for(bob, "/v1/orders/draft", **body)
    good = signed(bob, draft)

    def post(status: int, *, signature: str = good, **changes: Any) -> str:
        problem = market.ask_for(None, "/v1/orders", status, order=draft["order"] | changes, signature=signature)
        return str(problem["code"])

    assert post(409) == "seller_must_approve"
    market.approve_shop(bob, "Items")
    market.sync()
    assert post(422, price="4") == "order_signature"
    assert post(422, signature=signed(carol, draft)) == "order_signature"
    assert post(422, signature="0x") == "order_signature"
    assert post(422, signature=good[:-2] + "00") == "order_signature"
    elsewhere = draft["typed_data"] | {"domain": draft["typed_data"]["domain"] | {"chainId": 1}}
    assert post(422, signature=signed(bob, draft | {"typed_data": elsewhere})) == "order_signature"
    another = draft["typed_data"]["domain"] | {"verifyingContract": market.info.address("Items")}
    assert post(422, signature=signed(bob, draft | {"typed_data": draft["typed_data"] | {"domain": another}})) == (
        "order_signature"
    )
    assert post(409, amount="6") == "order_uncovered"
    assert post(409, seller=carol.address) == "order_uncovered"
    assert post(409, counter="1") == "order_cancelled"
    assert post(422, deadline=market.now - DAY) == "order_expired"
    assert post(404, token_id="99") == "asset_not_found"
    assert post(422, token=carol.address) == "token_not_allowed"
    assert post(422, salt=7) == "invalid"
    first = market.ask_for(None, "/v1/orders", 201, order=draft["order"], signature=good)
    again = market.ask_for(None, "/v1/orders", 201, order=draft["order"], signature=good)
    assert first == again
    assert len(market.all("/v1/orders", seller=bob.address)) == 1
    for path, status in ((f"/v1/orders/0x{'00' * 32}", 404), ("/v1/orders/0x12", 422)):
        assert market.client.get(path).status_code == status


def test_the_hash_is_the_contracts(market: Market, alice: LocalAccount, bob: LocalAccount) -> None:
    order = Order(alice.address, bob.address, 2**200, 3, NOBODY, 5, bob.address, 7, 8, 9, 2**255, 2**48 - 1)
    domain = market.info.typed_data_domain("Storefront", name="Troupe Storefront")
    assert order_hash(order, domain) == market.view("Storefront", "hashOf", tuple(order))


def test_soulbound_items_are_not_drafted(market: Market, alice: LocalAccount, bob: LocalAccount) -> None:
    work = market.register(market.client, alice, b"A song.", title="A song")
    market.item(alice, work, soulbound=True)
    market.at(alice, "Items", "mint", bob.address, 1, 1)
    market.listed(alice, EDITION, 1, 5)
    market.sync()
    order = {"collection": "items", "token_id": "1", "price": "5", "deadline": deadline(market)}
    assert market.ask_for(bob, "/v1/orders/draft", 409, **order)["code"] == "character_locked"
