"""The feed and taste pages in a browser: what a person does, sets and forgets changes what they see next (X5, X6)."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from eth_account.signers.local import LocalAccount
from PIL import Image, ImageDraw
from playwright.sync_api import Page, expect
from sqlalchemy import text

from backend.consent.gate import entered
from backend.deps import Core
from backend.personalization.models import training
from backend.settings import Settings
from stack.postgres import DatabaseUrls
from tests.backend.accounts.test_memory import wait_for
from tests.backend.conftest import signature
from tests.backend.personalization.test_feed import answer
from tests.factories import Mirror, hash32
from tests.web.conftest import LOOKS, Look
from tests.web.test_pages import assert_fits, assert_quiet, picture
from tests.web.test_privacy import go_to

pytestmark = pytest.mark.browser
Open = Callable[..., Page]

SONG, STORY, VIDEO, GAME = 2, 1, 3, 4
WORKS = [
    ("The Lamplighter", VIDEO, 1, ["noir", "rain"]),
    ("A Street of Two Moons", STORY, 1, ["noir", "city"]),
    ("Harbour at Four", VIDEO, 2, ["noir", "sea"]),
    ("The Cellist’s Alibi", STORY, 1, ["noir", "music"]),
    ("Rain on Glass", SONG, 3, ["rain", "calm"]),
    ("Custard Kingdom", GAME, 1, ["comedy", "puzzle"]),
    ("Nine Aunts and a Goat", STORY, 1, ["comedy", "family"]),
    ("The Understudy’s Understudy", VIDEO, 2, ["comedy", "stage"]),
    ("Slapstick Suite in D", SONG, 1, ["comedy", "music"]),
    ("The Mayor of Nowhere", VIDEO, 0, ["comedy", "city"]),
    ("Tides, Slowly", SONG, 1, ["calm", "sea"]),
    ("A Field Guide to Ghosts", STORY, 2, ["ghosts"]),
    ("Lighthouse Keeper Simulator", GAME, 1, ["sea", "puzzle"]),
    ("Moss", SONG, 3, ["calm"]),
]


@pytest.fixture
def core(settings: Settings) -> Iterator[Core]:
    made = Core(settings)
    yield made
    made.database.dispose()


@pytest.fixture
def programme(clean_db: DatabaseUrls, core: Core, bob: LocalAccount) -> None:
    """Fourteen works with words, and a model of sixty people of two tastes."""
    mirror = Mirror(clean_db)
    mirror.block(1)
    for number, (_, kind, label, _) in enumerate(WORKS, 1):
        mirror.work(number, owner=bob, block=1, kind=kind, ai_label=label)
    mirror.close()
    with core.database.session() as session:
        for number, (title, kind, _, tags) in enumerate(WORKS, 1):
            session.execute(
                text(
                    "INSERT INTO app.work_text (work_id, content_hash, cid_digest, kept, seen_block, kind, title, tags,"
                    " ai_tools) VALUES (:work, :content, :cid, true, 1, :kind, :title, :tags, '{}')"
                ),
                {
                    "work": number,
                    "content": hash32("content", number),
                    "cid": hash32("cid", number),
                    "kind": kind,
                    "title": title,
                    "tags": tags,
                },
            )
    with core.database.session() as session, entered(session):
        for person in range(60):
            known = uuid.UUID(int=1000 + person)
            for purpose in ("behaviour", "content_taste"):
                answer(session, known, purpose)
            for work in range(1, len(WORKS) + 1):
                fits = work <= 5 if person % 2 else 6 <= work <= 10
                if (fits or (work > 10 and person % 7 == work % 7)) and (work + person) % 5:
                    session.execute(
                        text(
                            "INSERT INTO app.engagement_event (person_id, event_id, work_id, kind, at, received_at,"
                            " duration_ms, completion_bps, epoch, digest)"
                            " VALUES (:person, :id, :work, 'like', now(), now(), 0, 0, 1, '')"
                        ),
                        {"person": known, "id": uuid.uuid4(), "work": work},
                    )
    with core.database.session() as session:
        assert training.train(session, models=core.settings.data_dir / "models", now=core.clock()) is not None


@pytest.fixture
def api(site: str, programme: None, alice: LocalAccount) -> Iterator[httpx.Client]:
    """Alice, signed in, with what a personal feed needs."""
    with httpx.Client(base_url=site, timeout=30) as made:
        message = made.post("/v1/auth/nonce", json={"address": alice.address}).json()["message"]
        signed = {"message": message, "signature": signature(alice, message)}
        token = made.post("/v1/auth/verify", json=signed).json()["token"]
        made.cookies.clear()
        made.headers["Authorization"] = f"Bearer {token}"
        for purpose in ("behaviour", "content_taste"):
            assert made.put(f"/v1/consents/{purpose}", json={"granted": True}).status_code == 200
        yield made


def do(api: httpx.Client, kind: str, *works: int) -> None:
    events = [{"id": str(uuid.uuid4()), "kind": kind, "work_id": work, "at": "2026-11-21T20:00:00Z"} for work in works]
    assert api.post("/v1/engagement", json={"events": events}).json()["accepted"] == len(works)


def signed_in(api: httpx.Client) -> dict[str, Any]:
    """Options of a browser context."""
    token = api.headers["Authorization"].removeprefix("Bearer ")
    cookie = {"name": "troupe_session", "value": token, "domain": urlsplit(str(api.base_url)).hostname, "path": "/"}
    return {"storage_state": {"cookies": [cookie], "origins": []}}


def order(page: Page) -> list[str]:
    return page.locator(".work-card h2").all_inner_texts()


@pytest.mark.feature("X5", via="page")
@pytest.mark.feature("X1", via="page")
def test_a_like_a_slider_a_pause_and_a_reset_change_the_next_slate(open_page: Open, api: httpx.Client) -> None:
    page = open_page("/feed", **signed_in(api))
    expect(page.locator("h1")).to_have_text("Chosen for you")
    first = order(page)
    page.get_by_role("button", name="Like Nine Aunts and a Goat", exact=True).click()
    expect(page.locator("#slate-said")).to_contain_text("You liked Nine Aunts and a Goat.")
    expect(page.locator(".moved-mark").first).to_be_visible()
    assert order(page) != first
    expect(page.locator(".work-card .why", has_text="Because you liked Nine Aunts and a Goat").first).to_be_visible()

    liked = order(page)
    page.get_by_role("button", name="Less like The Lamplighter", exact=True).click()
    expect(page.locator("#slate-said")).to_contain_text("You will see less like The Lamplighter.")
    assert "The Lamplighter" not in order(page)
    assert liked != order(page)

    settled = order(page)
    slider = page.get_by_role("slider", name="Novelty")
    slider.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    expect(page.locator("#slate-said")).to_contain_text("Your sliders are set.")
    expect(slider).to_be_focused()
    assert api.get("/v1/me/personalization").json()["novelty"] == 1, "the last place of the slider is kept"
    page.reload()
    assert order(page) != settled
    expect(page.get_by_role("slider", name="Novelty")).to_have_value("1")

    page.get_by_role("button", name="a day").click()
    expect(page.locator("h1")).to_have_text("What is popular and new")
    expect(page.locator(".slate .muted").first).to_contain_text("You paused personalization until")
    expect(page.get_by_role("switch", name="Chosen for you")).to_have_attribute("aria-checked", "false")
    page.get_by_role("button", name="End the pause").click()
    expect(page.locator("h1")).to_have_text("Chosen for you")

    page.get_by_role("switch", name="Chosen for you").click()
    expect(page.locator(".slate .muted").first).to_contain_text("You switched personalization off.")
    page.get_by_role("switch", name="Chosen for you").click()
    expect(page.locator("h1")).to_have_text("Chosen for you")

    page.goto(page.url.split("/feed")[0] + "/taste")
    expect(page.locator("h1")).to_contain_text("comedy")
    page.get_by_role("link", name="What if Nine Aunts and a Goat were forgotten?").click()
    expect(page.locator("#without-7")).to_contain_text("Nothing has been changed.")
    page.get_by_role("button", name="Forget everything").click()
    expect(page.locator("h1")).to_contain_text("We do not know what you like")
    assert api.get("/v1/me/taste").json()["works"] == []
    assert_quiet(page)


@pytest.mark.feature("X5", via="page")
def test_a_taste_is_taken_along_and_brought_back(open_page: Open, api: httpx.Client) -> None:
    do(api, "like", 7, 9)
    page = open_page("/taste", accept_downloads=True, **signed_in(api))
    with page.expect_download() as download:
        page.locator("#taste-export").click()
    assert api.post("/v1/me/personalization/reset", json={"scope": "all"}).status_code == 200
    page.set_input_files("#taste-file", download.value.path())
    page.get_by_role("button", name="Bring it along", exact=True).click()
    expect(page.locator("#slate-said")).to_contain_text("What you brought along counts from now on.")
    expect(page.locator(".weights").first).to_contain_text("you brought it along")
    page.set_input_files("#taste-file", {"name": "x.json", "mimeType": "application/json", "buffer": b"{}"})
    page.get_by_role("button", name="Bring it along", exact=True).click()
    expect(page.locator("main")).to_contain_text("Nothing was changed")


@pytest.mark.feature("X5", via="page")
@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.name)
def test_what_a_person_sees(open_page: Open, api: httpx.Client, pictures: Path, look: Look) -> None:
    do(api, "like", 7, 9, 3)
    do(api, "less_like_this", 13)
    page = open_page("/feed", look, **signed_in(api))
    page.get_by_role("button", name="Like Custard Kingdom", exact=True).click()
    expect(page.locator("#slate-said")).to_be_visible()
    picture(page, pictures, "feed", look)
    assert_fits(page)
    page.locator(".exactly").first.click()
    expect(page.locator(".account-of").first).to_contain_text("the sum of six terms")
    picture(page, pictures, "feed-why", look)
    assert_fits(page)
    page.goto(page.url.split("/feed")[0] + "/taste")
    expect(page.locator("h1")).to_contain_text("We think you like")
    page.get_by_role("link", name="What if").first.click()
    expect(page.locator(".places").first).to_be_visible()
    picture(page, pictures, "taste", look)
    assert_fits(page)
    assert_quiet(page)


def stage_light(work: int) -> bytes:
    """A picture of its own for each work: a cone of light on a stage, from another side and in another colour."""
    drawn = Image.new("RGB", (480, 480), (29, 26, 22))
    pen, lamp = ImageDraw.Draw(drawn), 60 + 90 * (work % 5)
    light = tuple(90 + 55 * (work * part % 4) for part in (1, 2, 3))
    pen.polygon([(lamp, 30), (440, 400), (40, 400)], fill=light)
    pen.ellipse((lamp - 25, 20, lamp + 25, 70), fill=(255, 230, 190))
    pen.rectangle((0, 400, 480, 480), fill=(60, 40, 30))
    out = io.BytesIO()
    drawn.save(out, "PNG")
    return out.getvalue()


def offer(api: httpx.Client, person: LocalAccount) -> dict[str, tuple[str, str]]:
    """Of every work another title, picture and preview; variant -> its work's title, and where its picture is."""
    with httpx.Client(base_url=api.base_url, timeout=30) as owner:
        message = owner.post("/v1/auth/nonce", json={"address": person.address}).json()["message"]
        signed = {"message": message, "signature": signature(person, message)}
        token = owner.post("/v1/auth/verify", json=signed).json()["token"]
        owner.cookies.clear()
        owner.headers["Authorization"] = f"Bearer {token}"
        offered = {}
        for work, (title, *_) in enumerate(WORKS, 1):
            files = {"file": ("light.png", stage_light(work), "image/png")}
            made = owner.post(f"/v1/works/{work}/pictures", files=files).json()
            said = {"title": f"{title}!", "thumbnail_cid": made["thumbnail_cid"], "preview": f"{title}, in a sentence."}
            answer = owner.put(f"/v1/works/{work}/packaging", json={"variants": [said]})
            assert answer.status_code == 200, answer.text
            offered[answer.json()["variants"][0]["variant"]] = title, made["url"]
    return offered


@pytest.mark.feature("X4", via="page")
@pytest.mark.parametrize("look", [LOOKS[0], LOOKS[3]], ids=lambda look: look.name)
def test_a_card_shows_what_was_drawn_for_it_and_the_impression_says_the_same(  # noqa: PLR0917 - fixtures by name
    open_page: Open, api: httpx.Client, bob: LocalAccount, pictures: Path, look: Look, clean_db: DatabaseUrls
) -> None:
    offered = offer(api, bob)
    do(api, "like", 7, 9, 3)
    page = open_page("/feed", look, **signed_in(api))
    expect(page.locator(".work-card")).to_have_count(12)
    slate_id = page.locator("#slate-id").input_value()
    with psycopg.connect(clean_db.conninfo(), autocommit=True) as connection:
        query = "SELECT works, packaging FROM app.impression WHERE slate_id = %s"
        wait_for(lambda: connection.execute(query, [slate_id]).fetchone() is not None)  # kept once the answer has left
        row = connection.execute(query, [slate_id]).fetchone()
    assert row is not None
    drawn = {row[0][one["place"]]: one["variant"] for one in row[1]}
    assert len(drawn) == 12
    assert len(set(drawn.values()) & offered.keys()) > 1, "some are shown under the variant, some as they are"
    for work, variant in drawn.items():
        card = page.locator(f"#card-{work}")
        image, own = card.locator(".poster img"), variant not in offered
        title = WORKS[work - 1][0]
        expect(card.locator("h2")).to_have_text(title if own else f"{title}!")
        expect(image).to_have_count(0 if own else 1)
        if own:
            expect(card.locator(".preview")).to_have_count(0)
            continue
        expect(card.locator(".preview")).to_have_text(f"{title}, in a sentence.")
        expect(image).to_have_attribute("alt", f"The picture of {title}!")
        image.scroll_into_view_if_needed()
        page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=image.element_handle())
        assert image.get_attribute("src") == offered[variant][1]
        box, poster = image.bounding_box(), card.locator(".poster").bounding_box()
        assert box == poster, "it lies on the drawn one"
    page.evaluate("scrollTo(0, 0)")
    picture(page, pictures, "feed-pictures", look)
    assert_fits(page)
    assert_quiet(page)


@pytest.mark.feature("X4", via="page")
def test_a_picture_that_cannot_be_had_leaves_the_drawn_one(
    open_page: Open, api: httpx.Client, core: Core, bob: LocalAccount
) -> None:
    offer(api, bob)
    for block in (core.settings.data_dir / "content" / "blocks").rglob("*"):
        if block.is_file():
            block.write_bytes(b"damaged")
    page = open_page("/feed", **signed_in(api))
    expect(page.locator(".preview").first).to_be_visible()
    page.evaluate("for (const image of document.querySelectorAll('.poster img')) image.loading = 'eager'")
    expect(page.locator(".poster img")).to_have_count(0)
    expect(page.locator(".poster svg")).to_have_count(12)


@pytest.mark.feature("X5", via="page")
def test_nobody_sees_what_is_popular_and_becomes_somebody_by_keyboard(
    open_page: Open, programme: None, pictures: Path
) -> None:
    picture(
        open_page("/feed"), pictures, "feed-nobody", LOOKS[0]
    )  # of its own: taking it leaves empty style attributes
    page = open_page("/feed")
    expect(page.locator("h1")).to_have_text("What is popular and new")
    expect(page.locator(".slate .muted").first).to_contain_text("Nothing about you is read")
    first = order(page)
    with page.expect_response("**/feed?*novelty=1*"):
        page.get_by_role("slider", name="Novelty").press("End")
    expect(page.locator(".moved-mark").first).to_be_visible()
    assert order(page) != first
    for name in ("Keep what I do", "Choose for me"):
        switch = page.get_by_role("switch", name=name)
        switch.focus()
        page.keyboard.press("Enter")
        page.wait_for_load_state()
    expect(page.locator("h1")).to_have_text("Chosen for you")
    go_to(page, "like-6")
    page.keyboard.press("Enter")
    expect(page.locator("#slate-said")).to_contain_text("You liked Custard Kingdom.")
    expect(page.locator("#like-6")).to_be_focused()
    assert page.locator("video, audio, [autoplay]").count() == 0, "nothing plays by itself"
    assert_quiet(page)


@pytest.mark.feature("X6", via="page")
def test_it_works_without_script_and_says_when_it_is_enough(open_page: Open, api: httpx.Client) -> None:
    page = open_page("/feed", java_script_enabled=False, **signed_in(api))
    first = order(page)
    page.get_by_role("button", name="Like Nine Aunts and a Goat", exact=True).click()
    expect(page.locator("#slate-said")).to_contain_text("You liked Nine Aunts and a Goat.")
    assert order(page) != first
    page.locator(".limits summary").click()
    page.get_by_label("Night from").fill("00:00")
    page.get_by_label("until", exact=True).fill("23:59")
    page.get_by_role("button", name="Keep these limits").click()
    expect(page.locator(".enough")).to_contain_text("It is your night until 23:59")
    expect(page.locator(".work-card")).to_have_count(5)
    page.get_by_role("link", name="Show the whole list anyway").click()
    expect(page.locator(".work-card")).to_have_count(12)
    page.locator(".exactly").first.click()
    expect(page.locator(".account-of")).to_contain_text("the sum of six terms")


def test_no_other_site_can_send_the_forms(site: str, programme: None) -> None:
    evil = {"Origin": "https://evil.example"}
    for path, data in (
        ("/feed/consents/behaviour", {"granted": "true"}),
        ("/taste/reset", {"scope": "all"}),
        ("/feed/switch", {"to": "off"}),
    ):
        forged = httpx.post(f"{site}{path}", data=data, headers=evil)
        assert (forged.status_code, "set-cookie" in forged.headers) == (403, False), path


@pytest.mark.feature("X5", via="page")
def test_a_creator_can_be_hidden_and_shown_again(open_page: Open, api: httpx.Client) -> None:
    page = open_page("/feed", **signed_in(api))
    page.get_by_role("button", name="Hide the creator of").first.click()
    expect(page.locator("#slate-said")).to_contain_text("You hid the creator of")
    expect(page.locator(".empty")).to_contain_text("No work can be shown")
    page.locator("summary", has_text="1 hidden creator").click()
    page.get_by_role("button", name="Show").last.click()
    expect(page.locator(".work-card")).to_have_count(12)
    assert_quiet(page)
