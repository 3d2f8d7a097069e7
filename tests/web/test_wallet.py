"""A person with a wallet in a real browser, on the deployed contracts: signs in, withdraws, watches it settle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount
from playwright.sync_api import Page, Route, expect

from backend.app import create_app
from backend.settings import Settings
from stack.postgres import DatabaseUrls
from tests.backend.conftest import Client
from tests.backend.live import Live
from tests.conftest import Deployed
from tests.web.conftest import LOOKS, Look
from tests.web.test_pages import assert_fits, assert_quiet, picture

pytestmark = pytest.mark.browser

# What a wallet puts into a page (EIP-1193, announced by EIP-6963); its keys and its node are outside, in the test.
WALLET = """
(() => {
  const provider = { request: (call) => window.walletRequest(call).then((answer) => {
    if (answer.error) throw Object.assign(new Error(answer.error.message), { code: answer.error.code });
    return answer.result;
  }) };
  const info = Object.freeze({ uuid: "test", name: "Test wallet", icon: "data:,", rdns: "test.wallet" });
  const detail = Object.freeze({ info, provider });
  const announce = () => window.dispatchEvent(new CustomEvent("eip6963:announceProvider", { detail }));
  window.addEventListener("eip6963:requestProvider", announce);
})();
"""


class Wallet:
    """Somebody's wallet: signs messages, sends transactions to the node, or declines."""

    def __init__(self, live: Live, person: LocalAccount) -> None:
        self.live = live
        self.person = person
        self.declines = False
        self.gas = "0x7a1200"
        self.sent: list[dict[str, Any]] = []

    def request(self, call: dict[str, Any]) -> dict[str, Any]:
        method, params = call["method"], call.get("params") or []
        if method == "eth_requestAccounts":
            return {"result": [self.person.address.lower()]}
        if method == "personal_sign":
            text = encode_defunct(hexstr=params[0])
            return {"result": "0x" + self.person.sign_message(text).signature.hex().removeprefix("0x")}
        if method == "eth_sendTransaction":
            if self.declines:
                return {"error": {"code": 4001, "message": "User rejected the request."}}
            self.sent.append(params[0])
            return {"result": self.live.ask(method, {"gas": self.gas} | params[0])}
        return {"result": self.live.ask(method, *params)}


@pytest.fixture
def live(deployed: Deployed, clean_db: DatabaseUrls, people: Callable[[str], LocalAccount], settings: Settings) -> Live:
    """A film of Alice's, Bob's sequel that owes it, both paid: Alice has something to settle and to withdraw."""
    made = Live(deployed, clean_db)
    alice, bob = people("alice"), people("bob")
    made.fund(alice, bob)
    made.sync()
    with Client(create_app(settings), base_url=settings.public_url) as client:
        licence = made.licence(client, alice, relative=False)
        first = made.register(client, alice, b"Act one.", title="The Lamplighter", licence_id=licence)
        sequel = made.register(
            client, bob, b"Act two.", title="The Lamplighter II", parents=[{"work_id": first, "share_bps": 1000}]
        )
        made.pay(client, bob, work=first, amount=12 * 10**17)
        made.pay(client, bob, work=sequel, amount=10**18, kind="sale")
        made.pay(client, bob, work=first, amount=310 * 10**6, token=made.usd, kind="ticket")
    made.sync()
    return made


@pytest.fixture
def wallet(live: Live, alice: LocalAccount) -> Wallet:
    return Wallet(live, alice)


def sign_in(page: Page) -> None:
    """Until the page of who signed in is there with its scripts: a button is seen before it does something."""
    page.get_by_role("button", name="Sign in with your wallet").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    page.wait_for_load_state()


def opened(open_page: Callable[..., Page], wallet: Wallet, path: str, look: Look = LOOKS[0]) -> Page:
    page = open_page("/health", look, script=WALLET)
    page.expose_function("walletRequest", wallet.request)
    page.goto(page.url.replace("/health", path))
    return page


@pytest.mark.feature("C1", via="page")
@pytest.mark.feature("R9", via="page")
@pytest.mark.parametrize("look", [LOOKS[0], LOOKS[3]], ids=lambda look: look.name)
def test_sign_in_withdraw_everything_and_watch_the_stages(
    open_page: Callable[..., Page], wallet: Wallet, live: Live, pictures: Path, look: Look
) -> None:
    page = opened(open_page, wallet, "/payouts", look)
    sign_in(page)
    expect(page.locator("h1")).to_contain_text("You can withdraw")
    expect(page.locator("h1")).to_contain_text("1.2675")  # 1.17 of the first, 0.0975 of the sequel, less 2.5%
    expect(page.locator("h1")).to_contain_text("302.25")
    expect(page.locator("#check")).to_contain_text("matches the chain at block")
    picture(page, pictures, "own", look)
    before = live.balance(wallet.person.address, live.usd)

    page.get_by_role("button", name="Withdraw everything").click()
    steps = page.locator("#steps li")
    expect(steps).to_have_count(3)
    expect(steps.nth(2)).to_contain_text("in a block")
    picture(page, pictures, "withdrawing", look)
    live.sync()
    expect(steps.nth(2)).to_contain_text("seen")
    live.ask("anvil_mine", "0x5")
    live.sync()
    expect(steps.nth(2)).to_contain_text("final")
    expect(page.locator("h1")).to_contain_text("You have withdrawn everything")
    picture(page, pictures, "withdrawn", look)
    assert live.balance(wallet.person.address, live.usd) - before == 30225 * 10**4
    assert len(wallet.sent) == 3
    assert_fits(page)
    assert_quiet(page)

    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in with your wallet")).to_be_visible()


def test_declining_in_the_wallet_says_that_nothing_was_sent(open_page: Callable[..., Page], wallet: Wallet) -> None:
    page = opened(open_page, wallet, "/payouts")
    sign_in(page)
    wallet.declines = True
    page.get_by_role("button", name="Withdraw everything").click()
    expect(page.locator("#wallet-message")).to_have_text("You declined in the wallet. Nothing was sent.")
    assert wallet.sent == []


def test_without_a_wallet_the_page_says_what_to_do(open_page: Callable[..., Page], site: str) -> None:
    page = open_page("/payouts")
    page.get_by_role("button", name="Sign in with your wallet").click()
    expect(page.locator("#wallet-message")).to_contain_text("No wallet was found in this browser.")


def test_a_server_that_is_away_for_a_while_is_asked_again(
    open_page: Callable[..., Page], wallet: Wallet, live: Live
) -> None:
    page = opened(open_page, wallet, "/payouts")
    sign_in(page)
    withdraw = page.get_by_role("button", name="Withdraw everything")
    asked: list[str] = []

    def away(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=503, body="<html>") if len(asked) < 3 else route.continue_()

    page.route("**/summary", away)
    withdraw.click()
    last = page.locator("#steps li").nth(2)
    expect(last).to_contain_text("in a block")
    live.sync()
    expect(last).to_contain_text("seen")
    expect(page.locator("#wallet-message")).to_be_hidden()
    assert len(asked) > 3


def test_no_step_is_sent_after_one_that_the_chain_refused(
    open_page: Callable[..., Page], wallet: Wallet, live: Live
) -> None:
    page = opened(open_page, wallet, "/payouts")
    sign_in(page)
    wallet.gas = hex(30_000)  # the first step runs out of it
    page.get_by_role("button", name="Withdraw everything").click()
    expect(page.locator("#wallet-message")).to_contain_text("The chain refused this step.")
    expect(page.locator("#steps li")).to_have_count(3)
    assert len(wallet.sent) == 1
