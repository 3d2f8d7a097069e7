"""A work's shop as people see it, on real contracts: what they get, what it costs, who is paid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from eth_account.signers.local import LocalAccount
from playwright.sync_api import Page, expect

from tests.backend.conftest import app, bob, client  # noqa: F401  fixtures
from tests.backend.shop.conftest import carol, market  # noqa: F401  fixtures
from tests.backend.shop.market import DAY, HOUR, Market
from tests.backend.shop.test_orders import posted
from tests.web.conftest import LOOKS, Look
from tests.web.test_pages import assert_fits, assert_quiet, picture
from tests.web.test_wallet import Wallet, opened

pytestmark = pytest.mark.browser

Open = Callable[..., Page]


@pytest.fixture
def sequel(market: Market, alice: LocalAccount, bob: LocalAccount, carol: LocalAccount) -> int:  # noqa: F811
    """A sequel with a shop: copies, tickets, a rental, a plan, and a copy that somebody sells on."""
    licence = market.licence(market.client, alice, relative=False)
    first = market.register(market.client, alice, b"One.", title="The Lamplighter", licence_id=licence)
    work = market.register(
        market.client,
        alice,
        b"Two.",
        title="The Lamplighter II: The Long Night of the Unfinished Harbour",
        description="A harbour that is never finished, and who keeps its lamps.",
        parents=[{"work_id": first, "share_bps": 1000}],
        kind="video",
    )
    item = {"name": "Numbered edition, with the director’s notes", "max_supply": "100"}
    market.do(alice, f"/v1/works/{work}/items-intent", **item)
    usd = {"token": market.usd}
    edition = {"kind": "edition", "asset_id": "1", "price": "4000000", "max_supply": "100"}
    market.do(alice, "/v1/listings/intent", **edition, **usd)
    market.do(alice, f"/v1/works/{work}/classes-intent", max_supply=30, ticket=True)
    seat = {"character": {"name": "A seat at the première"}, "price": "6000000", "max_supply": "30"}
    market.do(alice, "/v1/listings/intent", kind="character", asset_id="1", **seat, **usd)
    market.do(alice, f"/v1/works/{work}/classes-intent", max_supply=5)
    market.do(alice, "/v1/classes/2/mint-intent", name="Ada, keeper of the lamps", to=bob.address)
    hero = market.get("/v1/characters", owner=bob.address)["items"][0]["token_id"]
    rental = {"period_s": HOUR, "longest_s": 30 * DAY, "price": str(2 * 10**15)}
    market.do(bob, "/v1/listings/intent", kind="rental", asset_id=hero, **rental)
    market.do(alice, f"/v1/works/{work}/plans-intent", price="3000000", period_s=30 * DAY, **usd)
    market.do(carol, "/v1/listings/1/buy-intent")
    posted(market, carol, token_id="1", price="10000000", **usd)
    return work


@pytest.mark.feature("O2", via="page")
@pytest.mark.feature("O3", via="page")
@pytest.mark.feature("O5", via="page")
def test_the_shop_of_a_work(open_page: Open, sequel: int, pictures: Path) -> None:
    for look in LOOKS:
        page = open_page(f"/works/{sequel}", look)
        expect(page.locator("h1")).to_contain_text("The Lamplighter II")
        expect(page.locator(".hero")).to_contain_text("3 mUSD")
        expect(page.locator(".goods > li")).to_have_count(5)
        copy = page.locator(".goods > li", has_text="Numbered edition").first
        expect(copy).to_contain_text("99 left")
        expect(copy.locator(".paid")).to_contain_text("3.9 mUSD (97.5%) to the work’s holders")
        expect(page.locator(".goods > li", has_text="second hand").locator(".paid")).to_contain_text(
            "0.4875 mUSD (4.875%) to the work’s holders"
        )
        expect(page.get_by_role("link", name="The Lamplighter", exact=True)).to_be_visible()
        picture(page, pictures, "shop", look)
        assert_fits(page)
        assert_quiet(page)
        assert page.request.get(page.url).text().count("style=") == 0


@pytest.mark.feature("O2", via="page")
def test_a_copy_is_bought_from_the_page(
    open_page: Open,
    sequel: int,
    market: Market,  # noqa: F811
    bob: LocalAccount,  # noqa: F811
) -> None:
    wallet = Wallet(market, bob)
    page = opened(open_page, wallet, f"/works/{sequel}")
    page.get_by_role("button", name="Buy: Numbered edition").first.click()
    steps = page.locator("#steps li")
    expect(steps).to_have_count(2)
    expect(steps.nth(1)).to_contain_text("Buy item 1 for 4 mUSD")
    expect(steps.nth(1)).to_contain_text("in a block")
    market.sync()
    expect(steps.nth(1)).to_contain_text("seen")
    assert market.view("Items", "balanceOf", bob.address, 1) == 1
    assert len(wallet.sent) == 2
    assert_quiet(page)


def test_a_work_that_sells_nothing_and_one_that_is_not(open_page: Open, sequel: int, pictures: Path) -> None:
    look: Look = LOOKS[0]
    page = open_page(f"/works/{sequel - 1}", look)
    expect(page.locator(".empty")).to_contain_text("Nothing is on sale here yet")
    picture(page, pictures, "shop-empty", look)
    page = open_page("/works/99", look)
    expect(page.locator("main")).to_contain_text("There is no work 99")
