"""Which signed orders are kept and shown: what cannot be filled costs neither its buyer nor anybody else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, BoundedSemaphore
from typing import Any

import psycopg
import pytest
from eth_account.signers.local import LocalAccount

from backend.shop import orderbook
from tests.backend.shop.market import DAY, HOUR, NOBODY, Market
from tests.backend.shop.test_orders import copies, deadline, posted, signed  # noqa: F401  a fixture

PLATFORM = b"\x01" * 32
NEEDY_WALLET = "62{:06x}5a11600e5760006000fd5b631626ba7e60e01b60005260206000f3"
"""Runtime code that calls every signature its own, if it is given more gas than this."""


def state(market: Market, order: dict[str, Any]) -> str:
    return str(market.get(f"/v1/orders/{order['order_hash']}")["state"])


def decided(market: Market, contract: str, function: str, *args: Any) -> None:
    """What a vote has decided is done."""
    timelock = market.info.address("TimelockController")
    market.ask("anvil_setBalance", timelock, hex(10**20))
    market.send(timelock, market.info.address(contract), market.data(contract, function, args))


def test_a_character_that_is_let_or_elsewhere_is_not_sold(
    market: Market,
    copies: int,  # noqa: F811
    bob: LocalAccount,
    carol: LocalAccount,
) -> None:
    token = market.get("/v1/characters", owner=bob.address)["items"][0]["token_id"]
    order = posted(market, bob, collection="characters", token_id=token)
    terms = {"collection": "characters", "token_id": token, "price": "5", "deadline": deadline(market)}
    market.at(bob, "Characters", "setUser", int(token), carol.address, market.now + HOUR)
    market.sync()
    assert state(market, order) == "stalled"
    fill = f"/v1/orders/{order['order_hash']}/fill-intent"
    assert market.ask_for(carol, fill, 409)["code"] == "order_uncovered"
    assert market.ask_for(bob, "/v1/orders/draft", 409, **terms)["code"] == "character_rented"
    market.forward(HOUR + 1)
    market.sync()
    assert state(market, order) == "open"
    decided(market, "Characters", "setPlatform", PLATFORM, carol.address)
    market.at(bob, "Characters", "exportTo", int(token), PLATFORM)
    market.sync()
    assert state(market, order) == "stalled"


def test_only_orders_that_can_still_be_filled_are_counted(
    market: Market,
    copies: int,  # noqa: F811
    bob: LocalAccount,
    carol: LocalAccount,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(orderbook, "MAX_OPEN", 1)
    terms = {"collection": "items", "token_id": "1", "price": "5", "deadline": deadline(market)}
    draft = market.ask_for(bob, "/v1/orders/draft", **terms)
    sold = {"order": draft["order"], "signature": signed(bob, draft)}
    market.approve_shop(bob, "Items")
    market.sync()
    market.ask_for(None, "/v1/orders", 201, **sold)
    another = market.ask_for(bob, "/v1/orders/draft", **terms)
    second = {"order": another["order"], "signature": signed(bob, another)}
    assert market.ask_for(None, "/v1/orders", 409, **second)["code"] == "too_many_orders"
    market.do(carol, f"/v1/orders/{draft['order_hash']}/fill-intent")
    assert market.ask_for(None, "/v1/orders", 409, **sold)["code"] == "not_enough_left"
    market.ask_for(None, "/v1/orders", 201, **second)
    market.do(bob, f"/v1/orders/{another['order_hash']}/cancel-intent")
    third = posted(market, bob)
    market.do(bob, "/v1/orders/cancel-all-intent")
    assert state(market, third) == "cancelled"
    posted(market, bob)
    before_1970 = terms | {"deadline": "1969-07-20T20:17:00Z"}
    assert market.ask_for(bob, "/v1/orders/draft", 422, **before_1970)["code"] == "order_expired"


def test_the_same_order_posted_twice_at_once_is_kept_once(
    market: Market,
    copies: int,  # noqa: F811
    bob: LocalAccount,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    market.approve_shop(bob, "Items")
    market.sync()
    terms = {"collection": "items", "token_id": "1", "price": "5", "deadline": deadline(market)}
    draft = market.ask_for(bob, "/v1/orders/draft", **terms)
    both, keep = Barrier(2, timeout=30), orderbook._keep

    def kept_by_both(*args: Any) -> Any:
        both.wait()
        return keep(*args)

    monkeypatch.setattr(orderbook, "_keep", kept_by_both)
    body = {"order": draft["order"], "signature": signed(bob, draft)}
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(lambda _: market.client.post("/v1/orders", json=body), range(2))
    assert (one.status_code, two.status_code) == (201, 201)
    assert one.json() == two.json()


def test_an_order_of_another_storefront_is_not_here(
    market: Market,
    copies: int,  # noqa: F811
    bob: LocalAccount,
    carol: LocalAccount,
) -> None:
    order = posted(market, bob)
    with psycopg.connect(market.urls.conninfo()) as connection:
        connection.execute("UPDATE app.signed_order SET order_hash = %s", (b"\x07" * 32,))
    path = f"/v1/orders/0x{'07' * 32}"
    assert market.client.get(path).status_code == 404
    assert market.ask_for(carol, f"{path}/fill-intent", 404)["code"] == "order_not_found"
    assert market.all("/v1/orders") == []
    assert order["state"] == "open"


def test_a_contract_wallet_is_asked_with_bounded_gas_and_few_at_a_time(
    market: Market,
    copies: int,  # noqa: F811
    bob: LocalAccount,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wallet = "0x" + "77" * 20
    market.at(bob, "Items", "safeTransferFrom", bob.address, wallet, 1, 1, b"")
    market.sync()
    terms = {"collection": "items", "token_id": "1", "price": "5", "deadline": deadline(market)}
    order = market.ask_for(bob, "/v1/orders/draft", **terms)["order"] | {"seller": wallet}

    def post(status: int) -> str:
        return str(market.ask_for(None, "/v1/orders", status, order=order, signature="0x")["code"])

    market.ask("anvil_setCode", wallet, "0x" + NEEDY_WALLET.format(500_000))
    assert post(409) == "seller_must_approve"  # its signature was taken
    market.ask("anvil_setCode", wallet, "0x" + NEEDY_WALLET.format(2_000_000))
    assert post(422) == "order_signature"
    busy = BoundedSemaphore(1)
    busy.acquire()
    monkeypatch.setattr(orderbook, "_wallets", busy)
    assert post(503) == "node_away"


def test_no_currency_that_was_taken_off_the_list_is_approved(
    market: Market,
    copies: int,  # noqa: F811
    alice: LocalAccount,
    bob: LocalAccount,
    carol: LocalAccount,
) -> None:
    paid, free = posted(market, bob, token=market.usd), posted(market, bob, token=market.usd, price="0")
    market.listed(alice, 0, 1, 7, token=market.usd)
    market.at(alice, "Storefront", "createPlan", copies, market.usd, 3, DAY)
    decided(market, "RevenueLedger", "setTokenAllowed", market.usd, False)
    market.sync()
    for path in (
        f"/v1/orders/{paid['order_hash']}/fill-intent",
        "/v1/listings/1/buy-intent",
        "/v1/plans/1/subscribe-intent",
    ):
        assert market.ask_for(carol, path, 422)["code"] == "token_not_allowed"
    fill = f"/v1/orders/{free['order_hash']}/fill-intent"
    assert market.ask_for(carol, fill, 422, to=NOBODY)["code"] == "buyer_unknown"
    market.do(carol, fill)
