"""The privacy page by keyboard, without script, and as a picture (rows C2, C3, C6)."""

from __future__ import annotations

import io
import uuid
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from eth_account.signers.local import LocalAccount
from playwright.sync_api import Page, expect

from backend.consent import erasure, export
from backend.consent.tasks import means, workshop
from backend.deps import Core
from backend.settings import Settings
from stack.postgres import DatabaseUrls
from tests.backend.conftest import signature
from tests.factories import Mirror
from tests.web.conftest import LOOKS, Look
from tests.web.test_pages import assert_fits, assert_quiet, picture

pytestmark = pytest.mark.browser
Open = Callable[..., Page]


@pytest.fixture
def core(settings: Settings) -> Iterator[Core]:
    """What a worker has; there is none beside the site, so the tests do its work."""
    made = Core(settings)
    yield made
    made.database.dispose()


def work(core: Core) -> None:
    """Do what waits for a worker."""
    with core.database.session() as session:
        erasures, exports = erasure.waiting(session), export.waiting(session)
    for each in erasures:
        erasure.advance(means(core), each, now=core.clock())
    for each in exports:
        export.run(workshop(core), each, now=core.clock())


def somebody(site: str, person: LocalAccount, mirror: Mirror) -> dict[str, Any]:
    """A person with a past, as options of a browser context that is signed in."""
    mirror.block(1)
    for work_id in range(1, 6):
        mirror.work(work_id, owner=person, block=1)
    with httpx.Client(base_url=site) as api:
        message = api.post("/v1/auth/nonce", json={"address": person.address}).json()["message"]
        signed = {"message": message, "signature": signature(person, message)}
        token = api.post("/v1/auth/verify", json=signed).json()["token"]
        api.cookies.clear()
        api.headers["Authorization"] = f"Bearer {token}"
        for purpose, granted in (("behaviour", True), ("content_taste", True), ("social", True), ("social", False)):
            assert api.put(f"/v1/consents/{purpose}", json={"granted": granted}).status_code == 200
        events = [
            {"id": str(uuid.uuid4()), "kind": "like", "work_id": work_id, "at": "2026-11-21T20:00:00Z"}
            for work_id in range(1, 6)
        ]
        assert api.post("/v1/engagement", json={"events": events}).json()["accepted"] == 5
        for _ in range(3):
            assert api.get("/v1/feed").status_code == 200
    host = urlsplit(site).hostname
    cookie = {"name": "troupe_session", "value": token, "domain": host, "path": "/"}
    return {"storage_state": {"cookies": [cookie], "origins": []}}


@pytest.fixture
def mirror(clean_db: DatabaseUrls) -> Iterator[Mirror]:
    made = Mirror(clean_db)
    yield made
    made.close()


def go_to(page: Page, identity: str) -> None:
    """Press Tab until the element has the focus; it must be seen then."""
    for _ in range(200):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id || document.activeElement.getAttribute('href')") == identity:
            expect(page.locator(":focus")).to_be_in_viewport()
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid", "no focus to see"
            return
    raise AssertionError(f"the keyboard never gets to {identity}")


@pytest.mark.feature("C2", via="page")
@pytest.mark.feature("C3", via="page")
def test_a_visitor_does_everything_by_keyboard_alone(open_page: Open, core: Core) -> None:
    page = open_page("/privacy", accept_downloads=True)
    expect(page.locator("h1")).to_contain_text("0 of 7")
    go_to(page, "switch-behaviour")
    page.keyboard.press("Enter")
    switch = page.get_by_role("switch", name="Keep what I do")
    expect(switch).to_have_attribute("aria-checked", "true")
    expect(page.locator("h1")).to_contain_text("1 of 7")
    expect(switch).to_be_focused()
    page.keyboard.press("Space")
    expect(switch).to_have_attribute("aria-checked", "false")
    page.reload()
    expect(page.locator(".receipts li")).to_have_count(2)

    go_to(page, "export-ask")
    page.keyboard.press("Enter")
    expect(page.locator("#export-state progress")).to_be_visible()
    work(core)
    expect(page.locator("#export-download")).to_be_visible()
    page.reload()
    go_to(page, "export-download")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    with zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes())) as archive:
        assert "index.html" in archive.namelist()
        assert len(archive.read("consent_receipt.jsonl").splitlines()) == 2

    go_to(page, "/privacy/erase")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("about you")
    go_to(page, "confirm")
    page.keyboard.type("please")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert").filter(has_text="Nothing was erased")).to_be_visible()
    go_to(page, "confirm")
    page.keyboard.type("erase")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("being erased")
    work(core)
    expect(page.locator("h1")).to_contain_text("Your data is erased")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the receipt").press("Enter")
    assert "troupe-erasure/1" in Path(download.value.path()).read_text()
    page.goto(page.url.split("/privacy")[0] + "/privacy")
    expect(page.locator("h1")).to_contain_text("0 of 7")
    assert [c for c in page.complaints if "422" not in c] == []  # type: ignore[attr-defined]


@pytest.mark.feature("C6", via="page")
@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.name)
def test_what_a_person_sees(  # noqa: PLR0917
    open_page: Open, site: str, alice: LocalAccount, mirror: Mirror, core: Core, pictures: Path, look: Look
) -> None:
    page = open_page("/privacy", look, **somebody(site, alice, mirror))
    expect(page.locator("h1")).to_contain_text("2 of 7")
    log = page.locator("#log")
    expect(log).to_contain_text("Your newest 500 events were read to choose your feed.")
    expect(log).to_contain_text("Choose for me")
    page.get_by_role("button", name="Prepare my data").click()
    expect(page.locator("progress")).to_be_visible()
    picture(page, pictures, "privacy-export", look)
    work(core)
    expect(page.locator("#export-download")).to_be_visible()
    picture(page, pictures, "privacy", look)
    assert_fits(page)
    page.get_by_role("button", name="Freeze my data").click()
    expect(page.locator("#freeze")).to_contain_text("Frozen since")
    page.get_by_role("link", name="See what would be erased").click()
    expect(page.locator(".remains")).to_contain_text("A chain cannot forget")
    picture(page, pictures, "privacy-erase", look)
    assert_fits(page)
    page.locator("#confirm").fill("erase")
    page.get_by_role("button", name="Erase everything").click()
    expect(page.locator("h1")).to_contain_text("being erased")
    work(core)
    expect(page.locator("h1")).to_contain_text("Your data is erased")
    picture(page, pictures, "privacy-erased", look)
    assert_fits(page)
    assert_quiet(page)


@pytest.mark.feature("C2", via="page")
def test_it_works_without_script(open_page: Open, core: Core) -> None:
    page = open_page("/privacy", java_script_enabled=False)
    page.get_by_role("switch", name="Choose for me").click()
    expect(page.get_by_role("switch", name="Choose for me")).to_have_attribute("aria-checked", "true")
    assert page.url.endswith("#content_taste")
    page.get_by_role("button", name="Prepare my data").click()
    expect(page.locator("#export-state")).to_contain_text("Look again")
    work(core)
    page.get_by_role("link", name="Look again").click()
    page.reload()
    expect(page.locator("#export-download")).to_be_visible()
    page.get_by_role("link", name="See what would be erased").click()
    page.locator("#confirm").fill("erase")
    page.get_by_role("button", name="Erase everything").click()
    work(core)
    page.reload()
    expect(page.locator("h1")).to_contain_text("Your data is erased")


def test_the_pages_keep_the_policy_and_no_other_site_can_send_their_forms(open_page: Open, site: str) -> None:
    page = open_page("/privacy")
    answer = page.request.get(page.url)
    policy = answer.headers["content-security-policy"]
    assert "'unsafe-" not in policy
    source = answer.text()
    assert source.count("<script") == source.count("<script src=")
    assert "<style" not in source
    assert "style=" not in source
    forged = httpx.post(
        f"{site}/privacy/consents/behaviour", data={"granted": "true"}, headers={"Origin": "https://evil.example"}
    )
    assert (forged.status_code, "set-cookie" in forged.headers) == (403, False)
