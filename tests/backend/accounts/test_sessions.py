"""Sessions: listed, ended, and never those of somebody else."""

from __future__ import annotations

import uuid

import pytest
from eth_account.signers.local import LocalAccount
from fastapi import FastAPI

from tests.backend.conftest import PUBLIC_URL, Client, Clock, sign_in

pytestmark = pytest.mark.feature("C1", via="http")

SIGNED_IN_ONLY = [
    ("GET", "/v1/me"),
    ("GET", "/v1/auth/session"),
    ("DELETE", "/v1/auth/session"),
    ("GET", "/v1/auth/sessions"),
    ("DELETE", f"/v1/auth/sessions/{uuid.UUID(int=7)}"),
]


@pytest.mark.parametrize(("method", "path"), SIGNED_IN_ONLY)
@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "sign_in_required"),
        ({"Authorization": "Bearer not-a-token"}, "session_unknown"),
        ({"Authorization": "Bearer "}, "session_unknown"),
        ({"Authorization": "Basic YTpi"}, "session_unknown"),
        ({"Authorization": "Bearer " + "é"}, "session_unknown"),
        ({"Cookie": "troupe_session=not-a-token"}, "session_unknown"),
        ({"Cookie": "troupe_session="}, "sign_in_required"),
    ],
)
def test_V15_without_a_session_nothing_is_answered(
    method: str, path: str, headers: dict[str, str], code: str, client: Client
) -> None:
    answer = client.request(method, path, headers={k: v.encode() for k, v in headers.items()})  # type: ignore[dict-item]
    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_sessions_are_listed_newest_first_with_the_present_one_marked(
    client: Client, alice: LocalAccount, clock: Clock
) -> None:
    first = client.as_(alice)
    clock.forward(seconds=5)
    second = client.as_(alice)
    items = second.get("/v1/auth/sessions").json()["items"]
    assert [item["current"] for item in items] == [True, False]
    assert [item["current"] for item in first.get("/v1/auth/sessions").json()["items"]] == [False, True]


def test_signing_out_ends_this_session_at_once_and_no_other(client: Client, alice: LocalAccount) -> None:
    phone, laptop = client.as_(alice), client.as_(alice)
    assert phone.delete("/v1/auth/session").status_code == 204
    assert phone.get("/v1/me").json()["code"] == "session_unknown"
    assert laptop.get("/v1/me").status_code == 200


def test_a_session_can_be_ended_from_another_device(client: Client, alice: LocalAccount) -> None:
    phone, laptop = client.as_(alice), client.as_(alice)
    lost = phone.get("/v1/auth/session").json()["id"]
    assert laptop.delete(f"/v1/auth/sessions/{lost}").status_code == 204
    assert phone.get("/v1/me").status_code == 401
    assert laptop.delete(f"/v1/auth/sessions/{lost}").status_code == 404


def test_H2_the_sessions_of_others_are_neither_listed_nor_ended(
    client: Client, alice: LocalAccount, bob: LocalAccount
) -> None:
    of_alice, of_bob = client.as_(alice), client.as_(bob)
    session_of_alice = of_alice.get("/v1/auth/session").json()["id"]
    assert len(of_bob.get("/v1/auth/sessions").json()["items"]) == 1
    foreign = of_bob.delete(f"/v1/auth/sessions/{session_of_alice}")
    absent = of_bob.delete(f"/v1/auth/sessions/{uuid.UUID(int=7)}")
    assert foreign.status_code == absent.status_code == 404
    assert foreign.json()["detail"] == absent.json()["detail"]
    assert of_alice.get("/v1/me").status_code == 200


def test_an_expired_session_is_refused_and_not_listed(client: Client, alice: LocalAccount, clock: Clock) -> None:
    old = client.as_(alice)
    clock.forward(days=30)
    assert old.get("/v1/me").json()["code"] == "session_expired"
    assert len(client.as_(alice).get("/v1/auth/sessions").json()["items"]) == 1


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:8001", "https://127.0.0.1:8000"])
def test_a_page_of_another_site_cannot_use_the_cookie(origin: str, client: Client, alice: LocalAccount) -> None:
    cookie = {"Cookie": f"troupe_session={sign_in(client, alice)['token']}"}
    answer = client.delete("/v1/auth/session", headers=cookie | {"Origin": origin})
    assert (answer.status_code, answer.json()["code"]) == (403, "cross_origin")
    assert client.get("/v1/me", headers=cookie).status_code == 200
    assert client.delete("/v1/auth/session", headers=cookie | {"Origin": PUBLIC_URL}).status_code == 204


def test_a_form_of_another_site_without_origin_cannot_use_the_cookie(client: Client, alice: LocalAccount) -> None:
    cookie = {"Cookie": f"troupe_session={sign_in(client, alice)['token']}", "Sec-Fetch-Site": "cross-site"}
    assert client.delete("/v1/auth/session", headers=cookie).status_code == 403


def test_the_cookie_is_taken_back_at_sign_out(app: FastAPI, client: Client, alice: LocalAccount) -> None:
    cookie = {"Cookie": f"troupe_session={sign_in(client, alice)['token']}"}
    answer = client.delete("/v1/auth/session", headers=cookie)
    assert 'troupe_session=""' in answer.headers["set-cookie"]
    assert "Max-Age=0" in answer.headers["set-cookie"]
