"""Visitors: no address, no name, and yet consents, engagement and a feed of their own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from eth_account.signers.local import LocalAccount
from fastapi import FastAPI

from backend import worker
from backend.accounts import tasks
from backend.deps import Core
from stack.postgres import DatabaseUrls
from tests.backend.conftest import Client, Clock, allow
from tests.factories import Mirror

pytestmark = pytest.mark.feature("C1", via="http")

NINETY_DAYS = 90 * 24 * 3600


def visit(client: Client) -> Client:
    """A new visitor's device, by bearer token."""
    answer = client.post("/v1/visitors")
    assert answer.status_code == 201, answer.text
    client.cookies.clear()
    return client.bearing(answer.json()["token"])


def play(client: Client, *works: int) -> dict[str, Any]:
    like = {"kind": "like", "at": "2026-11-21T09:00:00Z"}
    events = [like | {"id": str(uuid.uuid4()), "work_id": work} for work in works]
    answer = client.post("/v1/engagement", json={"events": events})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


@pytest.fixture
def works(mirror: Mirror, bob: LocalAccount) -> Mirror:
    mirror.block(1)
    for work_id in range(1, 6):
        mirror.work(work_id, owner=bob, block=1)
    return mirror


@pytest.fixture
def database(clean_db: DatabaseUrls) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(clean_db.conninfo(), autocommit=True) as connection:
        yield connection


@pytest.fixture
def the_worker(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> Core:
    """Tasks run on the application's database and by its clock."""
    core: Core = app.state.core
    monkeypatch.setattr(tasks, "core", lambda: core)
    monkeypatch.setattr(worker, "core", lambda: core)
    return core


def test_a_visitor_is_known_by_a_token_and_by_a_cookie(client: Client) -> None:
    answer = client.post("/v1/visitors")
    assert answer.status_code == 201
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert f"Max-Age={NINETY_DAYS}" in cookie
    token = answer.json()["token"]
    client.cookies.clear()
    for headers in ({"Authorization": f"Bearer {token}"}, {"Cookie": f"troupe_session={token}"}):
        assert client.get("/v1/me", headers=headers).json()["visitor"] is True
        assert client.get("/v1/me", headers=headers).json()["address"] is None


def test_nothing_is_noted_of_a_visitor(client: Client, database: psycopg.Connection[Any]) -> None:
    token = client.post("/v1/visitors", headers={"User-Agent": "A very rare browser"}).json()["token"]
    rows = database.execute(
        "SELECT row_to_json(s)::text || row_to_json(a)::text FROM app.auth_session s, app.account a"
    ).fetchall()
    assert len(rows) == 1
    assert "rare browser" not in rows[0][0]
    assert token not in rows[0][0]


def test_a_visitor_who_asks_again_stays_the_same_and_is_kept_longer(client: Client, clock: Clock) -> None:
    visitor = visit(client)
    before = visitor.get("/v1/auth/session").json()
    clock.forward(days=60)
    again = visitor.post("/v1/visitors")
    assert again.status_code == 200
    assert again.json()["session_id"] == before["id"]
    clock.forward(days=60)
    assert visitor.get("/v1/me").status_code == 200
    clock.forward(days=31)
    assert visitor.get("/v1/me").json()["code"] == "session_expired"


@pytest.mark.parametrize("token", ["expired", "never-given"])
def test_a_browser_with_a_dead_cookie_becomes_a_new_visitor(token: str, client: Client, clock: Clock) -> None:
    if token == "expired":
        token = client.post("/v1/visitors").json()["token"]
        client.cookies.clear()
        clock.forward(days=91)
    answer = client.post("/v1/visitors", headers={"Cookie": f"troupe_session={token}"})
    assert answer.status_code == 201
    assert answer.json()["token"] != token


def test_who_is_signed_in_with_a_wallet_is_no_visitor(client: Client, alice: LocalAccount) -> None:
    answer = client.as_(alice).post("/v1/visitors")
    assert (answer.status_code, answer.json()["code"]) == (409, "already_signed_in")


def test_a_page_of_another_site_cannot_make_our_pages_a_visitors(client: Client) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = client.post("/v1/visitors", headers=headers)
        assert answer.status_code == 201
        assert "set-cookie" not in answer.headers


@pytest.mark.feature("C2", via="http")
def test_V11_a_visitors_consents_and_events_are_their_own(client: Client, works: Mirror) -> None:
    visitor, other = visit(client), visit(client)
    assert play(visitor, 1)["counted_as"] == "nobody"
    allow(visitor, "behaviour", "content_taste")
    assert play(visitor, 1, 2)["counted_as"] == "person"
    assert visitor.get("/v1/feed").json()["personal"] is True
    assert other.get("/v1/feed").json()["personal"] is False
    assert play(other, 1)["counted_as"] == "nobody"
    assert visitor.put("/v1/me/personalization", json={"enabled": False}).status_code == 200
    assert visitor.get("/v1/feed").json()["personal"] is False
    assert other.get("/v1/me/personalization").json()["enabled"] is True


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/works/drafts"), ("POST", "/v1/plans/1/close-intent"), ("POST", "/v1/works/1/reassign-intent")],
)
def test_what_needs_an_address_tells_a_visitor_to_sign_in(
    method: str, path: str, client: Client, works: Mirror
) -> None:
    body = {"moves": [], "token": None} if path.endswith("reassign-intent") else None
    answer = visit(client).request(method, path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (403, "wallet_required"), answer.text
    assert "sign in with a wallet" in answer.json()["detail"]


def test_a_visitor_signs_out(client: Client) -> None:
    visitor = visit(client)
    assert visitor.delete("/v1/auth/session").status_code == 204
    assert visitor.get("/v1/me").json()["code"] == "session_unknown"


def test_V10_abandoned_visitors_are_forgotten_with_what_they_did(
    *,
    the_worker: Core,
    client: Client,
    clock: Clock,
    works: Mirror,
    alice: LocalAccount,
    database: psycopg.Connection[Any],
) -> None:
    gone, stays, person = visit(client), visit(client), client.as_(alice)
    for each in (gone, stays, person):
        allow(each, "behaviour")
        play(each, 1, 2)
    clock.forward(days=80)
    stays.post("/v1/visitors")
    clock.forward(days=20)
    tasks.forget_expired()
    count = "SELECT count(*) FROM app."
    assert database.execute(count + "account WHERE address IS NULL").fetchall() == [(1,)]
    assert database.execute(count + "account WHERE address IS NOT NULL").fetchall() == [(1,)], "a person stays"
    assert database.execute(count + "engagement_event").fetchall() == [(4,)]
    assert database.execute(count + "consent_receipt").fetchall() == [(2,)]
    assert stays.get("/v1/me").status_code == 200
