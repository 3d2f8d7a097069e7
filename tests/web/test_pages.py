"""The pages as people see them: four looks each, no complaint of the browser, nothing that runs off the screen."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from backend.payouts.ledger import NATIVE, Edge
from backend.works.splits import Share
from tests.backend.payouts.conftest import Tell
from tests.backend.payouts.story import DAY, USD, WEIGHT, Story, person
from tests.web.conftest import LOOKS, Look

pytestmark = pytest.mark.browser

ALICE, BOB, CAROL = (person(name) for name in ("alice", "bob", "carol"))
Open = Callable[..., Page]


def season() -> Story:
    """Sixty days of a small studio: three films, a sequel of Bob's, sales and tips, and a vote on the fee."""
    dice = random.Random(7)
    story = Story(fee_bps=500)
    story.register(
        ALICE, shares=[Share(ALICE, 700_000), Share(BOB, 200_000), Share(CAROL, 100_000)], title="The Lamplighter"
    )
    story.register(ALICE, title="A Street of Two Moons")
    story.register(BOB, [Edge(1, 1200, False)], title="The Lamplighter II: The Long Night of the Unfinished Harbour")
    story.register(ALICE, [Edge(2, 800, True)])
    for day in range(60):
        if day == 40:
            story.set_fee(400)
        for _ in range(dice.randrange(0, 4)):
            work = dice.choice([1, 1, 2, 3, 3, 4])
            kind = dice.choice([1, 2, 2, 7, 7, 3])
            story.paid(work, dice.randrange(10**14, 9 * 10**16), NATIVE, kind)
        if day % 9 == 4:
            story.paid(dice.choice([1, 2]), dice.randrange(10**6, 80 * 10**6), USD, 2)
        if day % 20 == 13:
            story.settled_up(3, 0)
        if day == 30:
            story.take(2, 1, 1, WEIGHT)
        story.next_block(DAY - 3600)
    story.paid(1, 31 * 10**15, NATIVE, 1)
    return story


def assert_fits(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"], (
        "it runs off the screen"
    )


def assert_quiet(page: Page) -> None:
    assert page.complaints == []  # type: ignore[attr-defined]


def picture(page: Page, pictures: Path, name: str, look: Look) -> None:
    page.screenshot(path=pictures / f"{name}-{look.name}.png", full_page=True)


@pytest.mark.feature("R9", via="page")
@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.name)
def test_public_payouts(open_page: Open, tell: Tell, pictures: Path, look: Look) -> None:
    story = tell(season())
    tell_seen = story.head
    page = open_page(f"/payouts/{ALICE}", look)
    expect(page.locator("h1")).to_contain_text("This address can withdraw")
    expect(page.locator("[data-drawn] canvas").first).to_be_visible()
    expect(page.locator("#check")).to_contain_text("the node could not be asked")
    assert f"{tell_seen:,}" in page.locator("#check").inner_text()
    picture(page, pictures, "payouts", look)
    assert_fits(page)
    assert_quiet(page)


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.name)
def test_home_welcome_and_empty_books(open_page: Open, tell: Tell, pictures: Path, look: Look) -> None:
    tell(season())
    for name, path in (
        ("home", "/"),
        ("welcome", "/payouts"),
        ("typo", "/payouts/find?address=0x12"),
        ("empty", f"/payouts/{person('nobody')}"),
    ):
        page = open_page(path, look)
        expect(page.locator("h1")).to_be_visible()
        picture(page, pictures, name, look)
        assert_fits(page)
        assert [c for c in page.complaints if "422" not in c] == []  # type: ignore[attr-defined]


def test_a_figure_opens_to_its_exact_value_and_older_lines_and_ranges_come_without_a_reload(
    open_page: Open, tell: Tell
) -> None:
    tell(season())
    page = open_page(f"/payouts/{ALICE}")
    page.evaluate("window.stayed = true")
    figure = page.locator("h1 .figure").first
    exact = figure.get_attribute("data-exact")
    assert exact is not None
    figure.click()
    expect(figure.locator(".number")).to_have_text(exact.removesuffix(" ETH"))
    lines = page.locator(".lines tbody tr:not(.more)")
    expect(lines).to_have_count(12)
    page.get_by_role("button", name="Show older lines").click()
    expect(lines).to_have_count(24)
    page.get_by_role("link", name="90 days").click()
    expect(page.locator("#earnings")).to_contain_text("in 90 days")
    expect(page.locator("#earnings [data-drawn] canvas").first).to_be_visible()
    page.get_by_role("link", name="USD").click()
    expect(page.locator("#earnings .tabs a[aria-current]").first).to_have_text("USD")
    page.get_by_text("Show as a table").click()
    expect(page.locator("#earnings table")).to_contain_text("USD")
    assert page.evaluate("window.stayed")
    assert_quiet(page)


def test_the_page_can_be_read_without_script(open_page: Open, tell: Tell) -> None:
    tell(season())
    page = open_page(f"/payouts/{ALICE}?days=90", java_script_enabled=False)
    expect(page.locator("h1")).to_contain_text("ETH")
    expect(page.locator(".lines tbody tr").first).to_be_visible()
    page.get_by_role("link", name="Year").click()
    expect(page.locator("#earnings")).to_contain_text("in 365 days")


def test_pages_carry_no_script_or_style_of_their_own(open_page: Open, tell: Tell) -> None:
    tell(season())
    for path in ("/", "/payouts", f"/payouts/{ALICE}"):
        page = open_page(path)
        policy = page.request.get(page.url).headers["content-security-policy"]
        assert "'unsafe-" not in policy
        assert "default-src 'self'" in policy
        source = page.request.get(page.url).text()
        assert source.count("<script") == source.count("<script src=")
        assert "<style" not in source
        assert "style=" not in source
        assert "onclick" not in source
