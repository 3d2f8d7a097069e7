"""Finding works over HTTP: by words, by meaning, despite slips, with reasons, and never what may not be shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from sqlalchemy import delete, text

from backend.deps import Core
from backend.models.search import SearchSpace
from backend.models.works import WorkText
from backend.personalization import catalogue as read_works
from backend.search import service
from backend.search.indexing import Refreshed
from backend.search.words import words
from tests.backend.conftest import Client, Clock, allow
from tests.backend.consent import owndata
from tests.backend.personalization.test_constraints import TERMS
from tests.backend.search.conftest import WORKS, Add
from tests.factories import Mirror, canonical

pytestmark = [pytest.mark.usefixtures("catalogue"), pytest.mark.feature("X11", via="http")]


def found(client: Client, q: str, **options: Any) -> dict[str, Any]:
    answer = client.get("/v1/search", params={"q": q, **options})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def titles(body: dict[str, Any]) -> list[str]:
    return ["".join(piece["text"] for piece in item["title"]) for item in body["items"]]


def test_a_title_counts_more_than_a_description(client: Client) -> None:
    first, *rest = titles(found(client, "lanterns"))
    assert first == "Lantern Song"
    assert {"The Night Market", "The House Below"} <= set(rest)


def test_words_exclude_and_phrases_hold_together(client: Client) -> None:
    assert "The House Below" not in titles(found(client, "lantern -horror"))
    body = found(client, '"night market"')
    assert next(item["work_id"] for item in body["items"] if item["why"]["words"]) == 1
    assert {"The House Below", "Café des Ombres"} <= set(titles(found(client, '"flooded house" or cafe')))


def test_accents_do_not_matter(client: Client) -> None:
    for query in ("cafe", "CAFÉ", "ｃａｆé"):
        assert titles(found(client, query))[0] == "Café des Ombres"


def test_what_is_about_the_same_is_found_without_sharing_the_words(client: Client) -> None:
    body = found(client, "rocket")
    both = {item["work_id"]: item["why"] for item in body["items"]}
    assert {6, 7} <= set(both)
    meant = found(client, "merchants")
    near = next(item for item in meant["items"] if item["work_id"] == 1)  # The Night Market has no merchant in it
    assert near["why"]["words"] == []
    assert near["why"]["nearness"] >= service.NEAR
    assert set(near["why"]["shared"]) & {"noodles", "bazaar", "night", "market", "fantasy"}


def test_every_result_says_why_and_the_reason_is_true(client: Client) -> None:
    for query in ("lantern", "noodles market", "funny engineers"):
        for item in found(client, query)["items"]:
            why, work = item["why"], WORKS[item["work_id"] - 1]
            said = " ".join(words(f"{work['title']} {work['description']} {work['tags']} {item['kind']}"))
            assert why["words"] or why["nearness"] is not None
            assert why["sentence"]
            assert all(word in said for word in why["words"] + why["shared"])


def test_highlights_are_pieces_of_text_and_never_markup(client: Client) -> None:
    item = next(item for item in found(client, "lantern")["items"] if item["work_id"] == 8)
    assert "".join(piece["text"] for piece in item["excerpt"]) == WORKS[7]["description"]
    assert [piece["text"] for piece in item["excerpt"] if piece["hit"]] == ["lantern"]
    assert titles({"items": [item]}) == ["<b>Bold</b> & Brave"]


def test_a_slip_is_understood_and_said(client: Client) -> None:
    for typed, meant in {"lantren": "lantern", "rockett": "rocket", "bazar": "bazaar", "lante": "lantern"}.items():
        body = found(client, typed)
        assert body["instead"] == meant
        assert titles(body) == titles(found(client, meant)) != []


def test_what_is_spelled_right_is_not_corrected(client: Client) -> None:
    assert found(client, "lantern")["instead"] is None
    assert found(client, "lantern -rockett")["instead"] is None
    nothing = found(client, "xylophonist")
    assert (nothing["items"], nothing["instead"], nothing["next"]) == ([], None, None)


FILTERS: list[tuple[dict[str, Any], set[int]]] = [
    ({"kind": "song"}, {2}),
    ({"ai_label": "ai_generated"}, {3}),
    ({"max_duration_ms": 10 * 60_000}, {2, 8}),
    ({"min_duration_ms": 60 * 60_000}, {3}),
    ({"licence_id": 9}, set()),
]


def test_filters(client: Client) -> None:
    for options, works in FILTERS:
        items = found(client, "lantern", **options)["items"]
        assert {item["work_id"] for item in items if item["why"]["words"]} == works
        assert all(WORKS[item["work_id"] - 1].get("kind", 1) == 2 for item in items if "kind" in options)


def test_pages_hold_everything_once_whatever_is_added_meanwhile(
    client: Client, add: Add, refresh: Callable[[], Refreshed]
) -> None:
    whole = [item["work_id"] for item in found(client, "night lantern rocket")["items"]]
    assert len(whole) >= 5
    pages, cursor = [], None
    while True:
        body = found(client, "night lantern rocket", limit=2, **({"cursor": cursor} if cursor else {}))
        pages += [item["work_id"] for item in body["items"]]
        cursor = body["next"]
        if cursor is None:
            break
        if len(pages) == 2:
            add(99, title="Night Lantern Rocket")
    assert pages == whole
    first = found(client, "night lantern rocket", limit=2)
    refresh()  # with work 99: the space is fitted anew, so places in the old ranking mean nothing
    refused = client.get("/v1/search", params={"q": "night lantern rocket", "cursor": first["next"]})
    assert (refused.status_code, refused.json()["code"]) == (409, "cursor_void")
    assert found(client, "night lantern rocket")["items"][0]["work_id"] == 99


def test_a_cursor_of_another_search_is_refused(client: Client) -> None:
    cursor = found(client, "night lantern rocket", limit=2)["next"]
    assert client.get("/v1/search", params={"q": "rocket", "cursor": cursor}).json()["code"] == "cursor_void"
    assert client.get("/v1/search", params={"q": "rocket", "cursor": "bm8"}).json()["code"] == "cursor_invalid"


def test_only_works_that_may_be_shown_are_found(client: Client, mirror: Mirror) -> None:
    standing = {"work_id": 2, "reason_hash": bytes(32), "actor": bytes(20)}
    for block, status in enumerate([1, 2, 3, 0, 4], 2):
        mirror.block(block)
        mirror.log("WorkRegistry", "WorkStatusChanged", block=block, status=status, **standing)
        assert (2 in {item["work_id"] for item in found(client, "lantern")["items"]}) is (status == 0)


@pytest.mark.feature("K5", via="http")
def test_a_work_that_is_newer_than_what_the_process_knows_is_found_by_who_may_see_it_alone(  # noqa: PLR0917
    client: Client,
    mirror: Mirror,
    add: Add,
    alice: LocalAccount,
    refresh: Callable[[], Refreshed],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("REFRESH_S", "AHEAD_S"):
        monkeypatch.setattr(read_works, name, 3_600.0)
    made = client.as_(alice).post("/v1/licences/intent", json={"title": "Here", "territory": ["DE"]})
    assert made.status_code == 200, made.text
    mirror.block(2)
    terms = {f"terms_{name}": value for name, value in TERMS.items()}
    terms["terms_terms_hash"] = bytes.fromhex(made.json()["terms_hash"][2:])
    mirror.log("WorkRegistry", "LicenceCreated", block=2, licence_id=7, creator=canonical(alice), **terms)
    here = client.as_(alice)
    assert here.patch("/v1/me/personalization", json={"territory": "DE"}).status_code == 200
    assert found(client, "harbour")["items"] == [], "the process has read its catalogue"
    add(77, title="Harbour lantern", licence_id=7)
    add(78, title="Harbour rocket")
    refresh()
    assert {item["work_id"] for item in found(client, "harbour")["items"]} == {78}
    assert {item["work_id"] for item in found(here, "harbour")["items"]} == {77, 78}
    for caller in (client, here):
        wish = caller.post("/v1/wishes", json={"terms": [{"slot": "about", "value": "harbour", "wanted": True}]})
        assert [item["work_id"] for item in wish.json()["items"]] == [], "the next reading knows who may see it"


def test_v11_a_search_reads_what_a_person_stated_and_nothing_that_they_did(
    client: Client, core: Core, clock: Clock, alice: LocalAccount, bob: LocalAccount
) -> None:
    me = client.as_(alice)
    allow(me, "behaviour", "content_taste")
    owndata.send(me, clock(), "like", 2)

    def readers() -> set[str]:
        uses = me.get("/v1/me/data-use").json()["items"]
        return {use["reader"] for use in uses if use["about"] != "everybody"}  # what trends is of everybody

    assert found(me, "lantern")["items"]
    assert readers() == set()
    assert me.post("/v1/wishes", json={"text": "songs"}).json()["personal"]
    assert "feed.history" in readers(), "which a wish reads, where that is allowed"
    assert me.put(f"/v1/me/hidden-creators/{bob.address}").status_code < 300
    assert found(me, "lantern")["items"] == [], "what they stated holds"
    assert found(client, "lantern")["items"]


def test_words_that_are_taken_back_are_not_found_at_once_nor_later(
    client: Client, core: Core, refresh: Callable[[], Refreshed]
) -> None:
    with core.database.session() as session:
        session.execute(delete(WorkText).where(WorkText.work_id == 2))
    assert 2 not in {item["work_id"] for item in found(client, "lantern")["items"]}
    assert refresh().gone == 1
    with core.database.session() as session:
        assert session.scalar(text("SELECT count(*) FROM app.search_entry WHERE work_id = 2")) == 0


def test_refreshing_again_changes_nothing(refresh: Callable[[], Refreshed]) -> None:
    assert refresh() == Refreshed(0, 0, None)


def test_a_new_work_is_found_at_once_and_placed_in_the_space_that_is_there(
    client: Client, core: Core, add: Add, refresh: Callable[[], Refreshed]
) -> None:
    for number in range(100, 140):
        add(number, title=f"Filler {number}", description=f"word{number} other{number % 7}")
    refresh()
    add(200, title="Harbour", description="rocket engineer launch")
    assert refresh() == Refreshed(1, 0, None)  # 1 of 49 is less than a twentieth: the space stays
    near = {item["work_id"]: item["why"]["nearness"] for item in found(client, "comedy rocket engineers")["items"]}
    assert near[200] is not None
    with core.database.session() as session:
        assert session.query(SearchSpace).count() == 1


def test_a_space_that_cannot_be_read_is_fitted_anew_and_words_serve_meanwhile(
    client: Client, core: Core, refresh: Callable[[], Refreshed]
) -> None:
    for file in (core.settings.data_dir / "search").glob("*/axes.npy"):
        file.write_bytes(b"broken")
    body = found(client, "lantern")
    assert titles(body)[0] == "Lantern Song"
    assert all(item["why"]["nearness"] is None for item in body["items"])
    assert refresh().space is None or found(client, "merchants")["items"]


def test_queries_that_say_nothing_or_cannot_be_shown_are_refused(client: Client) -> None:
    for q, status in {"": 422, "   ": 422, "\x00": 400, "a\u202eb": 422, "x" * 301: 422, "a\x01": 422}.items():
        answer = client.get("/v1/search", params={"q": q})
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), q


def test_no_query_is_too_odd(client: Client) -> None:
    for q in ["'", "\\", "a & | ! <->", '"', '-"', "':*", "%", "((((", "-horror", "or", "é" * 150, "--", "a:b*"]:
        found(client, q)
