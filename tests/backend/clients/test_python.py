"""The Python client against the API in process."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from eth_account.signers.local import LocalAccount
from troupe_client import Troupe, TroupeProblem, idempotency_key

from tests.backend.conftest import Client
from tests.factories import Mirror


@pytest.fixture
def troupe(client: Client) -> Troupe:
    return Troupe("http://127.0.0.1:8000", client=client)


@pytest.mark.feature("Q6", via="http")
def test_it_signs_in_and_pages_through_works(troupe: Troupe, mirror: Mirror, alice: LocalAccount) -> None:
    for number in range(1, 6):
        mirror.block(number)
        mirror.work(number, owner=alice, block=number)
    troupe.sign_in(alice)
    troupe._http.cookies.clear()
    assert troupe.get("/v1/me")["address"] == alice.address
    assert [work["work_id"] for work in troupe.items("/v1/works", limit=2)] == [5, 4, 3, 2, 1]


def test_a_refusal_is_raised_with_its_code(troupe: Troupe, mirror: Mirror) -> None:
    mirror.block(1)
    with pytest.raises(TroupeProblem) as nobody:
        troupe.get("/v1/me")
    assert (nobody.value.status, nobody.value.code) == (401, "sign_in_required")
    with pytest.raises(TroupeProblem, match="GET /v1/works/999: 404 work_not_found"):
        troupe.get("/v1/works/999")


def test_V16_a_request_that_is_sent_again_with_its_key_is_done_once(troupe: Troupe, alice: LocalAccount) -> None:
    troupe.sign_in(alice)
    wish = idempotency_key()
    assert troupe.post("/v1/licences/intent", {"title": "A"}, headers=wish) == troupe.post(
        "/v1/licences/intent", {"title": "A"}, headers=wish
    )
    with pytest.raises(TroupeProblem, match="idempotency_key_reused"):
        troupe.post("/v1/licences/intent", {"title": "B"}, headers=wish)


def answering(*answers: Any, **options: Any) -> tuple[Troupe, list[httpx.Request], list[float]]:
    """A client of a server that gives these answers, what was asked, and how long was waited."""
    waiting, asked, slept = iter(answers), [], []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        found = next(waiting)
        if isinstance(found, Exception):
            raise found
        return found  # type: ignore[no-any-return]

    http = httpx.Client(base_url="http://x", transport=httpx.MockTransport(answer))
    return Troupe("http://x", client=http, sleep=slept.append, **options), asked, slept


def test_it_waits_as_long_as_the_server_says_and_no_longer_than_its_patience() -> None:
    busy = httpx.Response(503, headers={"Retry-After": "7"}, json={"code": "database_unavailable", "detail": ""})
    troupe, asked, slept = answering(busy, busy, httpx.Response(200, json={"ok": True}), patience_s=14)
    assert troupe.get("/v1/x", a=1, b=None) == {"ok": True}
    assert (slept, str(asked[0].url)) == ([7, 7], "http://x/v1/x?a=1")
    troupe, _, slept = answering(busy, busy, patience_s=7)
    with pytest.raises(TroupeProblem, match="database_unavailable"):
        troupe.get("/v1/x")
    assert slept == [7]


def test_what_a_proxy_says_is_a_problem_too() -> None:
    troupe, _, _ = answering(httpx.Response(502, text="<html>bad gateway"))
    with pytest.raises(TroupeProblem) as failed:
        troupe.get("/v1/x")
    assert (failed.value.code, failed.value.problem) == ("http_502", {})


def stream(*blocks: str) -> httpx.Response:
    def parts() -> Iterator[bytes]:
        yield from (block.encode() for block in blocks)

    return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=parts())


def test_live_events_go_on_from_the_last_one_whatever_breaks() -> None:
    troupe, asked, slept = answering(
        stream("retry: 3000\n\n", 'event: payment\ndata: {"a":', " 1}\nid: 7\n\n", ": still here\nid: 9\n\n"),
        httpx.ConnectError("away"),
        httpx.Response(503, json={"code": "live_unavailable"}),
        stream('data: {\ndata: "b": 2}\nid: 10\n\n', "event: half\nda"),
        httpx.Response(401, json={"code": "session_unknown"}),
    )
    live = troupe.live("work:7", "chain")
    told = [(event.type, event.data, event.id) for event in itertools.islice(live, 2)]
    with pytest.raises(TroupeProblem, match="session_unknown"):
        next(live)
    assert told == [("payment", {"a": 1}, "7"), ("message", {"b": 2}, "10")]
    assert asked[0].url.params.get_list("topic") == ["work:7", "chain"]
    assert [request.headers.get("last-event-id") for request in asked] == [None, "9", "9", "9", "10"]
    assert slept == [3.0, 6.0, 12.0, 3.0]


def test_the_helper_makes_a_new_key_each_time() -> None:
    keys = {idempotency_key()["Idempotency-Key"] for _ in itertools.repeat(None, 3)}
    assert len(keys) == 3
    assert idempotency_key("mine") == {"Idempotency-Key": "mine"}
