"""The page of a work's shop as it is sent: which offers of other holders it shows, under which names, at what price."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest
from eth_account.signers.local import LocalAccount

from backend.shop.catalogue import Reader
from backend.web import shop_routes
from tests.backend.shop.market import EDITION, Market
from tests.backend.shop.test_orders import posted

BUTTON = re.compile(r'data-path="(.*?)" data-body="(.*?)" aria-label="(.*?)"')


def test_other_holders_offers_are_the_cheapest_that_anyone_can_buy(
    market: Market, alice: LocalAccount, bob: LocalAccount, carol: LocalAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = market.register(market.client, alice, b"A song.", title="A song")
    market.do(alice, f"/v1/works/{work}/items-intent", name="First pressing", max_supply="9")
    for holder in (bob, carol):
        market.at(alice, "Items", "mint", holder.address, 1, 2)
    market.listed(alice, EDITION, 1, 9_999_000, token=market.usd)
    market.sync()
    dear = posted(market, bob, price="7000", amount="2")
    cheap = posted(market, bob, price="6000")
    private = posted(market, bob, price="1", taker=carol.address)
    dollars = posted(market, carol, price="8999000", token=market.usd)
    itself = posted(market, alice, collection="works", token_id=str(work), price="9000")
    assert itself["token_id"] == "1"  # as the item has
    asked: list[list[int]] = []
    names = shop_routes._item_names

    def counted(shop: Reader, item_ids: list[int]) -> dict[int, str]:
        asked.append(item_ids)
        return names(shop, item_ids)

    monkeypatch.setattr(shop_routes, "_item_names", counted)
    text = market.client.get(f"/works/{work}", headers={"Accept": "text/html"}).text
    buttons = [(path, json.loads(unescape(body)), label) for path, body, label in BUTTON.findall(text)]
    assert buttons[0] == ("/v1/listings/1/buy-intent", {"qty": "1", "max_total": "9999000"}, "Buy: First pressing")
    assert "9.999" in text
    assert "9.99<" not in text
    orders = {path.split("/")[3]: label for path, _, label in buttons[1:]}
    assert set(orders) == {one["order_hash"] for one in (cheap, dollars, itself)}
    assert not {dear["order_hash"], private["order_hash"]} & set(orders)
    assert orders[cheap["order_hash"]] == "Buy: First pressing"
    assert orders[itself["order_hash"]] == "Buy: The work itself"
    assert len(asked) == 1
    market.at(bob, "Items", "safeTransferFrom", bob.address, carol.address, 1, 2, b"")
    market.sync()
    monkeypatch.setattr(shop_routes, "SHOWN", 1)
    text = market.client.get(f"/works/{work}").text
    assert dollars["order_hash"] in text or itself["order_hash"] in text
