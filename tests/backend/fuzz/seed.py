"""A chain and a database with something of everything, so that made-up requests lead somewhere."""

from __future__ import annotations

from typing import Any

from eth_account.signers.local import LocalAccount

from tests.backend.conftest import allow
from tests.backend.shop.market import DAY, HOUR, Market
from tests.backend.shop.test_orders import posted
from tests.backend.works.uploads import upload


def everything(market: Market, alice: LocalAccount, bob: LocalAccount) -> dict[str, list[Any]]:
    """Fill them; values that exist, by the name of the parameter that takes them."""
    market.fund(alice, bob)
    market.sync()
    author = market.as_(alice)
    client = market.client
    licence = market.licence(client, alice, relative=False)
    works = [market.register(client, alice, b"Act one.", title="Act one", licence_id=licence)]
    works.append(market.register(client, alice, b"A song.", title="A song"))
    market.pay(client, bob, work=works[0], amount=10**18)
    market.do(alice, f"/v1/works/{works[0]}/items-intent", name="Print", max_supply="50")
    market.do(alice, f"/v1/works/{works[0]}/classes-intent", max_supply=30)
    market.do(alice, "/v1/classes/1/mint-intent", name="Hero", to=alice.address)
    hero = market.get("/v1/characters", owner=alice.address)["items"][0]["token_id"]
    listing = {"kind": "edition", "asset_id": "1", "price": "1000", "max_supply": "20"}
    market.do(alice, "/v1/listings/intent", **listing)
    rental = {"kind": "rental", "asset_id": hero, "price": "1003", "period_s": HOUR, "longest_s": DAY}
    market.do(alice, "/v1/listings/intent", **rental)
    market.do(alice, f"/v1/works/{works[0]}/plans-intent", token=market.usd, price="3000001", period_s=DAY)
    market.do(bob, "/v1/listings/1/buy-intent", qty="2")
    draft = upload(author, b"Act two.", title="Act two").json()["id"]
    allow(author, "behaviour")
    action = {"contract": "RevenueLedger", "function": "setFeeBps", "arguments": ["200"]}
    voter = next(iter(market.info.manifest.parameters["genesisSupply"]["voters"]))
    market.sign(voter, client.post("/v1/delegations/intent", json={"delegate": voter}).json()["intent"])
    market.forward(2)
    made = client.post("/v1/proposals/intent", json={"title": "Fee", "proposer": voter, "actions": [action]}).json()
    market.sign(voter, made["intent"])
    market.forward(86_401)
    market.sync()
    shown = market.get(f"/v1/works/{works[0]}")
    order = posted(market, bob, amount="2")
    return {
        "work_id": works,
        "licence_id": [licence],
        "item_id": ["1"],
        "asset_id": ["1", hero],
        "class_id": [1],
        "token_id": [hero],
        "listing_id": [1, 2],
        "plan_id": [1],
        "draft_id": [draft],
        "proposal_id": [made["proposal_id"]],
        "address": [alice.address, bob.address],
        "account": [alice.address],
        "to": [bob.address],
        "payer": [bob.address],
        "token": [market.usd],
        "cid": [shown["metadata_cid"]],
        "order_hash": [order["order_hash"]],
        "epoch": [0, 1],
    }
