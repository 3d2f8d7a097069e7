"""The search page in a browser: words and wishes in one box, and what was understood can be taken back (X11)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from backend.web import search_page
from stack.postgres import DatabaseUrls
from tests.backend.search.conftest import WORKS, Add, add, catalogue, core, refresh  # noqa: F401  fixtures
from tests.factories import Mirror
from tests.web.conftest import LOOKS, Look
from tests.web.test_pages import assert_fits, assert_quiet, picture

pytestmark = [pytest.mark.browser, pytest.mark.feature("X11", via="page")]
Open = Callable[..., Page]


@pytest.fixture
def mirror(clean_db: DatabaseUrls) -> Iterator[Mirror]:
    made = Mirror(clean_db)
    yield made
    made.close()


def titles(page: Page) -> list[str]:
    return page.locator(".work-card h2").all_inner_texts()


def chips(page: Page) -> list[str]:
    return [text.strip() for text in page.locator(".chip").all_inner_texts()]


@pytest.mark.usefixtures("catalogue")
def test_a_wish_by_keyboard_alone_and_a_chip_that_is_taken_away(open_page: Open) -> None:
    page = open_page("/")
    page.get_by_role("navigation").get_by_role("link", name="Search").click()
    expect(page.locator("h1")).to_have_text("What would you like?")
    expect(page.locator(".wishes a")).to_have_count(len(search_page.EXAMPLES))
    page.evaluate("window.stayed = true")
    page.get_by_role("searchbox").focus()
    page.keyboard.type("songs under 20 minutes, not horror, under")
    page.keyboard.press("Enter")
    expect(page.locator("#slate-said")).to_have_text("1 work, best first.")
    assert chips(page) == ["songs", "under 20 minutes", "not about horror"]
    assert titles(page) == ["Lantern Song"]
    expect(page.locator(".rest")).to_have_text("Not understood, and left out: under.")
    expect(page.locator(".work-card .labels")).to_contain_text("made by people")
    expect(page.locator(".work-card .labels")).to_contain_text("4 min")
    expect(page.locator(".work-card .why")).not_to_be_empty()
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Take away: songs")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#slate-said")).to_have_text("5 works, best first.")
    expect(page.locator("#slate-said")).to_be_focused()
    assert chips(page) == ["under 20 minutes", "not about horror"]
    assert "Lantern Song" in titles(page)
    assert "The House Below" not in titles(page)
    expect(page.get_by_role("searchbox")).to_have_value('under 20 minutes, not about "horror"')
    assert page.evaluate("window.stayed"), "only the part that changed was exchanged"
    page.go_back()
    expect(page.get_by_role("searchbox")).to_have_value("songs under 20 minutes, not horror, under")
    assert titles(page) == ["Lantern Song"]
    page.goto(page.url)
    assert titles(page) == ["Lantern Song"], "a search has an address"
    assert_quiet(page)


@pytest.mark.usefixtures("catalogue")
def test_words_slips_and_markup_that_stays_text(open_page: Open) -> None:
    page = open_page("/search?q=lantern+-flooded")
    assert titles(page)[0] == "Lantern Song"
    assert "The House Below" not in titles(page)
    expect(page.locator(".work-card mark").first).to_have_text("Lantern")
    bold = page.locator('.work-card[data-work="8"]')
    expect(bold.locator("h2")).to_have_text("<b>Bold</b> & Brave")
    expect(bold.locator(".excerpt")).to_contain_text("<script>alert('lantern')</script>")
    page.get_by_role("searchbox").fill("lantren")
    page.keyboard.press("Enter")
    expect(page.locator(".instead")).to_have_text(
        "Nothing has the words of lantren. Did you mean lantern? That is what you see."
    )
    page.locator(".instead a").click()
    expect(page.get_by_role("searchbox")).to_have_value("lantern")
    assert titles(page)[0] == "Lantern Song"
    page.get_by_role("searchbox").fill('xylophonist"><img src=x onerror=alert(1)>')
    page.keyboard.press("Enter")
    expect(page.get_by_role("searchbox")).to_have_value('xylophonist"><img src=x onerror=alert(1)>')
    assert page.locator("main img").count() == 0
    assert_quiet(page)


@pytest.mark.slow
@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.name)
def test_what_a_person_sees_who_searches(open_page: Open, pictures: Path, look: Look) -> None:
    for shown, path in (
        ("search", "/search"),
        ("search-wish", "/search?q=something calmer, under 20 minutes, not horror, about zzqq, under"),
        ("search-words", "/search?q=lantren"),
        ("search-nothing", "/search?q=xylophonist"),
        ("search-no-match", "/search?q=songs over an hour"),
    ):
        page = open_page(path, look)
        picture(page, pictures, shown, look)
        assert_fits(page)
        assert_quiet(page)


@pytest.mark.usefixtures("catalogue")
def test_searching_works_without_script(open_page: Open) -> None:
    page = open_page("/search", java_script_enabled=False)
    page.get_by_role("searchbox").fill("songs over an hour")
    page.get_by_role("button", name="Search").click()
    expect(page.locator(".empty")).to_contain_text("No work meets all of this.")
    page.get_by_role("link", name="Take away: songs").click()
    assert titles(page) == ["The House Below"]
    page.get_by_role("link", name="Take away: over 60 minutes").click()
    expect(page.locator("h1")).to_have_text("What would you like?")
