"""API keys: shown once, within their scopes, rotated, revoked; and never more than a program."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from backend import worker
from backend.accounts import keys, tasks
from backend.accounts.scopes import MEANING, Scope
from backend.deps import Core
from stack.postgres import DatabaseUrls
from tests.backend.accounts.conftest import ContractWallets
from tests.backend.accounts.test_contract_wallets import sign_in as sign_in_as_wallet
from tests.backend.conftest import Client, Clock, allow
from tests.factories import Mirror

pytestmark = pytest.mark.feature("C1", via="http")

DRAFTS = "/v1/works/drafts"


def new_key(person: Client, *scopes: str, **said: Any) -> dict[str, Any]:
    answer = person.post("/v1/keys", json={"name": "Stage lights", "scopes": scopes or ["works:read"], **said})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


@pytest.fixture
def author(client: Client, alice: LocalAccount) -> Client:
    return client.as_(alice)


@pytest.fixture(scope="module")
def shared_author(shared: Client) -> Client:
    """A person on the application that the tables share."""
    return shared.as_(Account.from_key(keccak(text="the author of the tables")))


@pytest.fixture(scope="module")
def shared_program(shared_author: Client) -> Client:
    """A key of theirs with every scope."""
    return shared_author.bearing(new_key(shared_author, *Scope)["token"])


@pytest.fixture
def mirrored(mirror: Mirror) -> Mirror:
    mirror.block(1)
    return mirror


@pytest.fixture
def database(clean_db: DatabaseUrls) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(clean_db.conninfo(), autocommit=True) as connection:
        yield connection


# --- the token --------------------------------------------------------------------------------------------------------


def test_tokens_have_the_form_that_secret_scanners_look_for() -> None:
    tokens = {keys.new_token() for _ in range(200)}
    assert len(tokens) == 200
    for token in tokens:
        assert re.fullmatch(r"troupe_[0-9A-Za-z]{49}", token)
        assert keys.is_key(token)
        assert keys.is_whole(token)


@given(at=st.integers(0, 55), other=st.sampled_from("0Az9_-é "))
def test_a_mistyped_token_is_told_by_its_checksum(at: int, other: str) -> None:
    token = "troupe_" + "0" * 43
    token += keys._check(token)
    mistyped = token[:at] + other + token[at + 1 :]
    assert keys.is_whole(token)
    assert keys.is_whole(mistyped) == (mistyped == token)


# --- made, used, ended ------------------------------------------------------------------------------------------------


def test_a_key_acts_as_its_person_within_its_scopes(client: Client, author: Client, mirrored: Mirror) -> None:
    made = new_key(author)
    program = client.bearing(made["token"])
    assert program.get(DRAFTS).json()["items"] == []
    refused = program.post("/v1/licences/intent", json={"title": "x"})
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
    assert refused.json()["missing"] == ["works:write"]


def test_the_token_is_shown_once_and_is_nowhere_else(
    client: Client, author: Client, database: psycopg.Connection[Any]
) -> None:
    made = new_key(author)
    listed = author.get("/v1/keys")
    assert made["token"] not in listed.text
    assert listed.json()["items"] == [made["key"]]
    assert made["token"].endswith(made["key"]["hint"])
    row = database.execute("SELECT row_to_json(k)::text FROM app.api_key k").fetchone()
    assert row is not None
    assert made["token"] not in row[0]
    assert "Stage lights" not in row[0]
    assert b"Stage lights".hex() not in row[0], "the name is sealed"


def test_V10_what_the_browser_called_itself_is_sealed(author: Client, database: psycopg.Connection[Any]) -> None:
    assert author.get("/v1/auth/session").json()["user_agent"] == "testclient"
    row = database.execute("SELECT row_to_json(s)::text FROM app.auth_session s").fetchone()
    assert row is not None
    assert b"testclient".hex() not in row[0]


def test_the_last_use_is_noted_to_the_minute(client: Client, author: Client, mirrored: Mirror, clock: Clock) -> None:
    made = new_key(author, "works:read", "feed:read")
    program = client.bearing(made["token"])

    def used() -> Any:
        return author.get("/v1/keys").json()["items"][0]["last_used_at"]

    assert used() is None
    program.get(DRAFTS)
    first = used()
    assert first is not None
    clock.forward(seconds=59)
    program.get(DRAFTS)
    assert used() == first
    clock.forward(seconds=1)
    program.get("/v1/feed")
    assert used() > first


def test_a_key_expires(client: Client, author: Client, mirrored: Mirror, clock: Clock) -> None:
    program = client.bearing(new_key(author, lifetime_days=1)["token"])
    clock.forward(hours=23)
    assert program.get(DRAFTS).status_code == 200
    clock.forward(hours=1)
    answer = program.get(DRAFTS)
    assert (answer.status_code, answer.json()["code"]) == (401, "key_expired")


def test_a_revoked_key_ends_at_once_and_for_ever(client: Client, author: Client, mirrored: Mirror) -> None:
    made = new_key(author)
    program = client.bearing(made["token"])
    path = f"/v1/keys/{made['key']['id']}"
    for _ in range(2):
        assert author.delete(path).status_code == 204
        answer = program.get(DRAFTS)
        assert (answer.status_code, answer.json()["code"]) == (401, "key_revoked")
    assert author.post(f"{path}/rotate", json={}).json()["code"] == "key_ended"


def test_a_rotated_keys_tokens_overlap(client: Client, author: Client, mirrored: Mirror, clock: Clock) -> None:
    made = new_key(author)
    path = f"/v1/keys/{made['key']['id']}/rotate"
    tokens = [made["token"], author.post(path, json={"overlap_s": 3600}).json()["token"]]
    assert [client.bearing(token).get(DRAFTS).status_code for token in tokens] == [200, 200]
    tokens.append(author.post(path, json={"overlap_s": 3600}).json()["token"])
    assert [client.bearing(token).get(DRAFTS).status_code for token in tokens] == [401, 200, 200]
    clock.forward(hours=1)
    assert [client.bearing(token).get(DRAFTS).status_code for token in tokens] == [401, 401, 200]
    tokens.append(author.post(path, json={"overlap_s": 0}).json()["token"])
    assert [client.bearing(token).get(DRAFTS).status_code for token in tokens] == [401, 401, 401, 200]
    assert len(author.get("/v1/keys").json()["items"]) == 1


def test_a_rotation_at_the_end_does_not_prolong_the_old_token(
    client: Client, author: Client, mirrored: Mirror, clock: Clock
) -> None:
    made = new_key(author, lifetime_days=1)
    clock.forward(hours=23)
    author.post(f"/v1/keys/{made['key']['id']}/rotate", json={"overlap_s": 7 * 86400})
    clock.forward(hours=1)
    assert client.bearing(made["token"]).get(DRAFTS).json()["code"] == "key_revoked"


def test_rotations_at_once_leave_one_token_and_the_one_before_it(
    client: Client, author: Client, mirrored: Mirror
) -> None:
    made = new_key(author)
    path = f"/v1/keys/{made['key']['id']}/rotate"
    with ThreadPoolExecutor(4) as pool:
        tokens = [made["token"], *(a.json()["token"] for a in pool.map(lambda _: author.post(path, json={}), range(4)))]
    assert sorted(client.bearing(token).get(DRAFTS).status_code for token in tokens) == [200, 200, 401, 401, 401]


def test_no_more_than_twenty_keys_work_also_when_made_at_once(author: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "LIMIT", 3)
    new_key(author)
    body = {"name": "x", "scopes": ["works:read"]}
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: author.post("/v1/keys", json=body), range(6)))
    assert sorted(answer.status_code for answer in answers) == [201, 201, 409, 409, 409, 409]
    assert {a.json()["code"] for a in answers if a.status_code == 409} == {"too_many_keys"}


def test_H2_the_keys_of_others_are_neither_listed_nor_touched(
    client: Client, author: Client, bob: LocalAccount, mirrored: Mirror
) -> None:
    made = new_key(author)
    other = client.as_(bob)
    assert other.get("/v1/keys").json()["items"] == []
    for key_id in (made["key"]["id"], uuid.UUID(int=7)):
        assert other.delete(f"/v1/keys/{key_id}").status_code == 404
        assert other.post(f"/v1/keys/{key_id}/rotate", json={}).status_code == 404
    assert client.bearing(made["token"]).get(DRAFTS).status_code == 200


@pytest.mark.feature("C2", via="http")
def test_V11_a_program_is_shown_a_personal_feed_only_if_programs_may_read(
    client: Client, author: Client, mirrored: Mirror
) -> None:
    program = client.bearing(new_key(author, "feed:read")["token"])
    allow(author, "behaviour", "content_taste")
    assert author.get("/v1/feed").json()["personal"] is True
    assert program.get("/v1/feed").json()["why_not_personal"] == "You have not allowed programs to read your taste."
    allow(author, "agent")
    assert program.get("/v1/feed").json()["personal"] is True
    used = {item["reader"]: item["purpose"] for item in author.get("/v1/me/data-use").json()["items"]}
    assert used["feed.program"] == "agent", "the log says that a program read"
    allow(author, "agent", granted=False)
    assert program.get("/v1/feed").json()["personal"] is False


@pytest.mark.feature("C2", via="http")
def test_V11_a_program_that_may_not_read_taste_learns_nothing_of_limits_sliders_and_slates(
    client: Client, author: Client, mirrored: Mirror, clock: Clock, bob: LocalAccount
) -> None:
    for work_id in range(1, 7):
        mirrored.work(work_id, owner=bob, block=1)
    program = client.bearing(new_key(author, "feed:read")["token"])
    allow(author, "behaviour", "content_taste")
    night = {"begins": "00:00", "ends": "23:59"}
    body = {"novelty": 1, "energy": -1, "limits": {"session_minutes": 5, "autoplay_at_most": 3, "night": night}}
    assert author.patch("/v1/me/personalization", json=body).status_code == 200
    clock.now = clock.now.replace(hour=12)
    feed = program.get("/v1/feed").json()
    assert feed["wellbeing"] == client.get("/v1/feed").json()["wellbeing"]
    assert feed["items"] == client.get("/v1/feed").json()["items"]
    assert "feed.sitting" not in {one["reader"] for one in author.get("/v1/me/data-use").json()["items"]}
    mine = author.get("/v1/feed").json()
    assert mine["wellbeing"]["reached"]
    path = f"/v1/feed/{mine['items'][0]['work_id']}/why"
    slate = {"slate_id": mine["slate_id"]}
    assert author.get(path, params=slate).json()["recorded"]
    assert program.get(path, params=slate).json()["code"] == "slate_unknown"
    allow(author, "agent")
    assert program.get(path, params=slate).json()["recorded"]
    assert program.get("/v1/feed").json()["wellbeing"] == mine["wellbeing"]
    assert author.put("/v1/me/restriction", json={"frozen": True}).status_code == 200
    for one in (author, program):
        assert one.get(path, params=slate).json()["code"] == "slate_unknown"


@pytest.mark.parametrize(
    ("token", "code"),
    [
        ("troupe_", "key_unknown"),
        ("troupe_" + "0" * 49, "key_unknown"),
        ("troupe_" + "0" * 43 + keys._check("troupe_" + "0" * 43), "key_unknown"),
        ("TROUPE_" + "0" * 49, "session_unknown"),
    ],
)
def test_V15_what_is_no_key_is_refused(token: str, code: str, shared: Client) -> None:
    for path in (DRAFTS, "/v1/feed"):
        answer = shared.bearing(token).get(path)
        assert (answer.status_code, answer.json()["code"]) == (401, code)


def test_a_cookie_never_holds_a_key(client: Client, author: Client) -> None:
    cookie = {"Cookie": f"troupe_session={new_key(author)['token']}"}
    assert client.get(DRAFTS, headers=cookie).json()["code"] == "session_unknown"


NEEDS_THE_PERSON = [
    ("GET", "/v1/keys", None),
    ("POST", "/v1/keys", {"name": "x", "scopes": ["works:read"]}),
    ("POST", f"/v1/keys/{uuid.UUID(int=1)}/rotate", {}),
    ("DELETE", f"/v1/keys/{uuid.UUID(int=1)}", None),
    ("GET", "/v1/auth/session", None),
    ("GET", "/v1/auth/sessions", None),
    ("DELETE", f"/v1/auth/sessions/{uuid.UUID(int=1)}", None),
    ("GET", "/v1/consents", None),
    ("PUT", "/v1/consents/behaviour", {"granted": True}),
    ("PUT", "/v1/me/personalization", {"enabled": False}),
]


@pytest.mark.parametrize(("method", "path", "body"), NEEDS_THE_PERSON)
def test_no_key_does_what_needs_the_person(method: str, path: str, body: Any, shared_program: Client) -> None:
    answer = shared_program.request(method, path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (403, "key_not_allowed")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "x"},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["keys:write"]},
        {"name": "x", "scopes": ["works:read"] * 99},
        {"name": " ", "scopes": ["works:read"]},
        {"name": "x" * 81, "scopes": ["works:read"]},
        {"name": "x", "scopes": ["works:read"], "lifetime_days": 0},
        {"name": "x", "scopes": ["works:read"], "lifetime_days": 367},
        {"name": "x", "scopes": ["works:read"], "lifetime_days": 1.5},
        {"name": "x", "scopes": ["works:read"], "token": "troupe_mine"},
    ],
    ids=repr,
)
def test_V15_a_key_that_makes_no_sense_is_not_made(body: Any, shared_author: Client) -> None:
    before = shared_author.get("/v1/keys").json()["items"]
    answer = shared_author.post("/v1/keys", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert shared_author.get("/v1/keys").json()["items"] == before


def test_openapi_shows_each_routes_scope_and_each_scope_opens_one(app: FastAPI) -> None:
    schema = app.openapi()
    named = {
        scope
        for methods in schema["paths"].values()
        for operation in methods.values()
        for scheme in operation.get("security", [])
        for scope in scheme.get("key", [])
    }
    assert named == set(Scope) == set(MEANING)
    drafts = schema["paths"][DRAFTS]["get"]["security"]
    assert drafts == [{"bearer": []}, {"cookie": []}, {"key": ["works:read"]}]
    assert schema["paths"]["/v1/feed"]["get"]["security"][0] == {}, "serves nobody too"
    assert set(schema["components"]["securitySchemes"]) == {"bearer", "cookie", "key"}


def test_a_contract_wallet_is_asked_again_before_it_makes_keys_or_has_data_exported_or_erased(
    client: Client, contract_wallets: ContractWallets, alice: LocalAccount, bob: LocalAccount
) -> None:
    wallet = contract_wallets.owned("wallet", alice.address)
    devices = [sign_in_as_wallet(client, wallet, alice) for _ in range(4)]
    made = new_key(devices[0])
    contract_wallets.own(wallet, bob.address)
    asked = [
        ("/v1/keys", {"name": "x", "scopes": ["works:read"]}),
        (f"/v1/keys/{made['key']['id']}/rotate", {}),
        ("/v1/me/exports", None),
        ("/v1/me/erasure", {"confirm": "erase"}),
    ]
    for device, (path, body) in zip(devices, asked, strict=True):
        answer = device.post(path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (401, "session_unconfirmed"), answer.text
        assert device.get("/v1/me").json()["code"] == "session_unknown", "the session has ended"
    new_owner = sign_in_as_wallet(client, wallet, bob)
    assert new_owner.delete(f"/v1/keys/{made['key']['id']}").status_code == 204


def test_keys_that_ended_are_forgotten_after_a_month(
    app: FastAPI, author: Client, alice: LocalAccount, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "core", lambda: app.state.core)
    monkeypatch.setattr(worker, "core", lambda: app.state.core)
    core: Core = app.state.core
    assert core.settings.session_ttl_s == timedelta(days=30).total_seconds()
    revoked, lives = new_key(author)["key"]["id"], new_key(author, lifetime_days=60)["key"]["id"]
    author.delete(f"/v1/keys/{revoked}")
    clock.forward(days=29)
    tasks.forget_expired()
    assert {key["id"] for key in author.get("/v1/keys").json()["items"]} == {revoked, lives}
    clock.forward(days=1)
    tasks.forget_expired()
    again = Client.as_(author, alice)
    assert [key["id"] for key in again.get("/v1/keys").json()["items"]] == [lives]
