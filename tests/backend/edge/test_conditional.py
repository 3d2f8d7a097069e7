"""ETags, conditional requests and caching: exact, private where they must be, void after a reorganisation."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from eth_account.signers.local import LocalAccount
from hypothesis import given
from hypothesis import strategies as st

from backend.edge.conditional import AS_OF, entity_tag, matches
from backend.jsontext import read_json
from stack.postgres import DatabaseUrls
from tests.backend.conftest import Client
from tests.factories import Mirror, hash32

pytestmark = pytest.mark.feature("Q6", via="http")


@pytest.fixture
def read(mirror: Mirror, client: Client) -> Client:
    for number in (1, 2, 3):
        mirror.block(number)
    mirror.work(7, owner=b"\x01" * 20, block=2)
    return client


def test_an_answer_that_has_not_changed_is_304_without_a_body(read: Client) -> None:
    first = read.get("/v1/works")
    tag = first.headers["etag"]
    assert re.fullmatch(rf'"3-{hash32("block", 3).hex()[:16]}-[\w-]{{20}}"', tag)
    assert first.headers["cache-control"] == "no-cache"
    for header in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        again = read.get("/v1/works", headers={"If-None-Match": header})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
        assert again.headers["cache-control"] == "no-cache"
        assert "content-type" not in again.headers
    assert read.get("/v1/works", headers={"If-None-Match": '"other"'}).content == first.content


def test_a_new_block_is_a_new_answer(read: Client, mirror: Mirror) -> None:
    tag = read.get("/v1/works").headers["etag"]
    mirror.block(4)
    answer = read.get("/v1/works", headers={"If-None-Match": tag})
    assert answer.status_code == 200
    assert answer.headers["etag"].startswith('"4-')


def test_a_tag_of_before_a_reorganisation_is_void_with_a_code_that_says_so(
    read: Client, mirror: Mirror, clean_db: DatabaseUrls
) -> None:
    tag = read.get("/v1/works/7").headers["etag"]
    assert read.get("/v1/works/7", headers={"If-Match": tag}).status_code == 200
    mirror.block(4)
    changed = read.get("/v1/works/7", headers={"If-Match": tag})
    assert (changed.status_code, changed.json()["code"]) == (412, "precondition_failed"), "only more blocks came"
    other = hash32("another block 3")
    with psycopg.connect(clean_db.conninfo()) as connection:
        connection.execute("DELETE FROM chain.block WHERE number > 3")
        connection.execute("UPDATE chain.block SET hash = %s WHERE number = 3", (other,))
        connection.execute("UPDATE chain.cursor SET head_number = 3, head_hash = %s", (other,))
    void = read.get("/v1/works/7", headers={"If-Match": tag})
    assert (void.status_code, void.json()["code"]) == (412, "etag_void")
    fresh = read.get("/v1/works/7", headers={"If-None-Match": tag})
    assert fresh.status_code == 200
    assert fresh.headers["etag"].startswith(f'"3-{other.hex()[:16]}-')
    gone = read.get("/v1/works/7", headers={"If-Match": '"9-0123456789abcdef-x"'})
    assert gone.json()["code"] == "etag_void", "a block above the head"


def test_what_was_asked_with_a_token_is_kept_by_nobody(read: Client, alice: LocalAccount) -> None:
    person = read.as_(alice)
    for path in ("/v1/me", "/v1/works", "/v1/feed"):
        answer = person.get(path)
        assert answer.headers["cache-control"] == "private, no-store"
        assert {"Authorization", "Cookie"} <= {name.strip() for name in answer.headers["vary"].split(",")}
    assert "Authorization" in read.get("/v1/works").headers["vary"], "a cache must not give the one for the other"


@pytest.mark.parametrize("path", ["/v1/nowhere", "/v1/works/x", "/v1/me", "/health"])
def test_refusals_and_probes_are_kept_by_nobody(path: str, client: Client) -> None:
    answer = client.get(path)
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers


def test_settings_are_changed_only_as_they_were_seen(client: Client, alice: LocalAccount) -> None:
    person, path = client.as_(alice), "/v1/me/personalization"
    seen = person.get(path).headers["etag"]
    assert person.put(path, json={"enabled": False}, headers={"If-Match": seen}).status_code == 200
    lost = person.put(path, json={"enabled": True}, headers={"If-Match": seen})
    assert (lost.status_code, lost.json()["code"]) == (412, "precondition_failed")
    assert person.get(path).json()["enabled"] is False
    now = person.get(path).headers["etag"]
    assert person.put(path, json={"enabled": True}, headers={"If-Match": f'"x", {now}'}).status_code == 200
    assert person.put(path, json={"enabled": True}).status_code == 200, "who does not ask is not refused"
    absent = person.put("/v1/consents/social", json={"granted": True}, headers={"If-Match": "*"})
    assert absent.status_code == 412, "there is nothing to be read at this address"
    assert client.put(path, json={"enabled": True}, headers={"If-Match": now}).status_code in (401, 412)


def test_of_changes_at_once_one_wins(client: Client, alice: LocalAccount) -> None:
    person, path = client.as_(alice), "/v1/me/personalization"
    seen = person.get(path).headers["etag"]
    with ThreadPoolExecutor(8) as pool:
        put = lambda _: person.put(path, json={"enabled": False}, headers={"If-Match": seen})  # noqa: E731
        answers = list(pool.map(put, range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7


@given(st.text(), st.integers(0, 10**9))
def test_no_text_of_a_person_passes_for_the_block_of_an_answer(text: str, number: int) -> None:
    hostile = f'{text}"as_of":{{"block":{number},"hash":"0x{"ab" * 32}"'
    body = json.dumps({"title": hostile}, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")
    assert AS_OF.search(body) is None
    assert read_json(body)
    assert not entity_tag(body).startswith(f'"{number}-')


@given(st.text(), st.binary())
def test_V15_no_header_of_a_condition_breaks_it(header: str, body: bytes) -> None:
    tag = entity_tag(body)
    assert matches(tag, tag)
    assert matches(header, tag) in (True, False)
    assert entity_tag(body + b" ") != tag
