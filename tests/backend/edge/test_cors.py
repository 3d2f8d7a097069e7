"""What pages of other origins may do: nothing by default, and nothing by the cookie unless they are named for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from pydantic import ValidationError

from backend.app import create_app
from backend.settings import Settings
from tests.backend.conftest import PUBLIC_URL, Client, Clock, sign_in

pytestmark = pytest.mark.feature("Q6", via="http")

DAPP = "https://dapp.example"
TRUSTED = "https://app.troupe.example"
EVIL = "https://evil.example"


@contextmanager
def serving(settings: Settings, clock: Clock, **changed: Any) -> Iterator[Client]:
    with Client(create_app(settings.model_copy(update=changed), clock=clock), base_url=PUBLIC_URL) as client:
        yield client


@pytest.fixture
def named(settings: Settings, clock: Clock) -> Iterator[Client]:
    with serving(settings, clock, cors_origins=frozenset({DAPP}), cors_credentials=frozenset({TRUSTED})) as client:
        yield client


def cors_headers(answer: Any) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


def preflight(client: Client, origin: str, method: str = "POST") -> Any:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "content-type",
    }
    return client.options("/v1/orders", headers=asked)


def test_nobody_is_allowed_by_default(client: Client) -> None:
    assert cors_headers(client.get("/v1/chain", headers={"Origin": DAPP})) == {}
    assert cors_headers(preflight(client, DAPP)) == {}


@pytest.mark.parametrize(
    ("origin", "allowed", "credentials"),
    [
        (DAPP, DAPP, None),
        (TRUSTED, TRUSTED, "true"),
        (EVIL, None, None),
        ("null", None, None),
        ("https://dapp.example.evil.example", None, None),
        ("http://dapp.example", None, None),
        ("https://dapp.example:444", None, None),
    ],
)
def test_origins_are_matched_exactly(origin: str, allowed: str | None, credentials: str | None, named: Client) -> None:
    for answer in (named.get("/v1/chain", headers={"Origin": origin}), preflight(named, origin)):
        assert answer.headers.get("access-control-allow-origin") == allowed
        assert answer.headers.get("access-control-allow-credentials") == credentials
        assert "Origin" in answer.headers["vary"]


def test_a_preflight_says_what_may_be_sent_and_an_answer_what_may_be_read(named: Client) -> None:
    answer = preflight(named, DAPP)
    assert answer.status_code == 204
    assert {"PUT", "DELETE"} <= set(answer.headers["access-control-allow-methods"].split(", "))
    assert {"authorization", "idempotency-key"} <= set(answer.headers["access-control-allow-headers"].split(", "))
    refused = preflight(named, EVIL)
    assert "access-control-allow-methods" not in refused.headers
    shown = named.get("/v1/chain", headers={"Origin": DAPP}).headers["access-control-expose-headers"].split(", ")
    assert {"ETag", "RateLimit", "Retry-After", "X-Request-ID"} <= set(shown)


def test_errors_can_be_read_by_the_page_too(named: Client) -> None:
    answer = named.get("/v1/nowhere", headers={"Origin": DAPP})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (404, DAPP)
    malformed = named.get("/v1/x%ff", headers={"Origin": DAPP})
    assert (malformed.status_code, malformed.headers["access-control-allow-origin"]) == (400, DAPP)


def test_any_origin_is_without_credentials(settings: Settings, clock: Clock) -> None:
    with serving(settings, clock, cors_origins=frozenset({"*"}), cors_credentials=frozenset({TRUSTED})) as client:
        anybody = cors_headers(client.get("/v1/chain", headers={"Origin": EVIL}))
        assert anybody["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in anybody
        trusted = cors_headers(client.get("/v1/chain", headers={"Origin": TRUSTED}))
        assert (trusted["access-control-allow-origin"], trusted["access-control-allow-credentials"]) == (
            TRUSTED,
            "true",
        )


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": PUBLIC_URL}, 200),
        ({"Origin": TRUSTED}, 200),
        ({"Origin": DAPP}, 403),
        ({"Origin": EVIL}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": PUBLIC_URL, "Sec-Fetch-Site": "cross-site"}, 200),
        ({}, 200),
    ],
    ids=str,
)
def test_a_cookie_changes_nothing_for_a_page_that_is_not_trusted(
    headers: dict[str, str], status: int, named: Client, alice: LocalAccount
) -> None:
    named.cookies.set("troupe_session", sign_in(named, alice)["token"])
    answer = named.put("/v1/consents/social", json={"granted": True}, headers=headers)
    assert answer.status_code == status, answer.text
    if status == 403:
        assert answer.json()["code"] == "cross_origin"
        consents = named.get("/v1/consents").json()["items"]
        assert not any(item["granted"] for item in consents if item["purpose"] == "social")


def test_a_bearer_token_is_nobodys_cookie(named: Client, alice: LocalAccount) -> None:
    answer = named.as_(alice).put("/v1/consents/social", json={"granted": True}, headers={"Origin": EVIL})
    assert answer.status_code == 200, "the page had to be given the token; CORS still hides the answer from it"


@pytest.mark.parametrize(
    "origin",
    ["dapp.example", f"{DAPP}/", f"{DAPP}/x", "https://u@x.example", "HTTPS://X.example", "null", ""],
)
def test_what_is_no_origin_is_refused_at_the_start(origin: str, settings: Settings) -> None:
    for name in ("cors_origins", "cors_credentials"):
        with pytest.raises(ValidationError):
            Settings(**settings.model_dump() | {name: [origin]})
    with pytest.raises(ValidationError):
        Settings(**settings.model_dump() | {"cors_credentials": ["*"]})
