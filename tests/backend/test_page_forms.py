"""What no form of a page ever sends is answered with a page that says so, and never breaks anything."""

from __future__ import annotations

from typing import Any, Final

import pytest
from eth_account.signers.local import LocalAccount
from fastapi.routing import APIRoute

from backend.consent import taste_writes
from tests.backend.conftest import Client, allow
from tests.factories import Mirror

PAGE: Final = {"Accept": "text/html"}
HOSTILE: Final = ("nan", "9" * 5_000, "\0", "../../etc/passwd", "٣")
"""Values for any field: no number, without end, not to be stored, no place to look, no digit that a program takes."""


@pytest.fixture
def me(client: Client, mirror: Mirror, alice: LocalAccount, bob: LocalAccount) -> Client:
    mirror.block(1)
    mirror.work(1, owner=bob, block=1)
    made = client.as_(alice)
    allow(made, "behaviour", "content_taste")
    token = made.headers.pop("Authorization").removeprefix("Bearer ")
    made.cookies.set("troupe_session", token)
    return made


def forms(client: Client) -> dict[str, list[str]]:
    """Path -> fields, of all forms of pages."""
    found: dict[str, list[str]] = {}
    for route in client.app.routes:  # type: ignore[attr-defined]
        if isinstance(route, APIRoute) and "POST" in route.methods and not route.include_in_schema:
            found[route.path] = [field.alias for field in route.dependant.body_params]
    return found


GOOD: Final[dict[str, dict[str, Any]]] = {
    "/feed/events": {"kind": "like", "work": "1"},
    "/feed/hide": {"work": "1"},
    "/feed/show": {"creator": "0x" + "11" * 20},
    "/feed/settings": {"novelty": "0.5", "energy": "0"},
    "/feed/switch": {"to": "on"},
    "/feed/consents/{purpose}": {"granted": "true"},
    "/taste/forget": {"work": "1"},
    "/taste/reset": {"scope": "tag:noir"},
    "/privacy/consents/{purpose}": {"granted": "true"},
    "/privacy/freeze": {"frozen": "false"},
}
"""What each form sends at least."""


@pytest.mark.feature("X5", via="page")
def test_v15_no_value_of_any_form_breaks_a_page(me: Client) -> None:
    all_forms = forms(me)
    assert GOOD.keys() <= all_forms.keys()
    assert len(all_forms) >= 15
    wrong = []
    for path, fields in all_forms.items():
        for name in fields:
            for value in HOSTILE:
                answer = me.post(
                    path.replace("{purpose}", "behaviour"),
                    data=GOOD.get(path, {}) | {name: value},
                    headers=PAGE,
                    follow_redirects=False,
                )
                page = answer.headers.get("content-type", "").startswith("text/html")
                if answer.status_code >= 500 or not (answer.status_code == 303 or page):
                    wrong.append((path, name, value[:12], answer.status_code))
    assert not wrong
    assert me.get("/feed", headers=PAGE).status_code == 200, "and nothing that was kept breaks the next page"


@pytest.mark.feature("X5", via="page")
@pytest.mark.parametrize("name", ["novelty", "energy"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "x"])
def test_v15_a_slider_that_is_no_number_is_a_page_that_says_so(me: Client, name: str, value: str) -> None:
    answer = me.get("/feed", params={name: value}, headers=PAGE)
    assert answer.status_code == 422
    assert name in answer.text
    assert me.get("/v1/feed", params={name: value}).status_code == 422


@pytest.mark.feature("X5", via="page")
def test_hiding_a_creator_hides_who_is_the_creator_now(me: Client, mirror: Mirror, people: Any) -> None:
    author = people("clara").address
    claimant = bytes.fromhex(author[2:])
    mirror.log("WorkStanding", "DisputeClosed", block=1, work_id=1, claimant=claimant, outcome=1)
    assert 'id="card-1"' in me.get("/feed").text
    me.post("/feed/hide", data={"work": "1"})
    assert 'id="card-1"' not in me.get("/feed").text
    me.post("/feed/show", data={"creator": author})
    assert 'id="card-1"' in me.get("/feed").text


@pytest.mark.feature("X5", via="page")
def test_hiding_one_creator_too_many_says_what_to_do(
    me: Client, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taste_writes, "HIDDEN_AT_MOST", 0)
    told = me.post("/feed/hide", data={"work": "1"}, follow_redirects=True).text
    assert "creators already: show one of them again first." in told
    assert "You hid the creator" not in told
    assert 'id="card-1"' in told
