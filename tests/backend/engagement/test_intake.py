"""Engagement is accepted once, in any order, and under a name only by consent."""

from __future__ import annotations

import random
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from sqlalchemy import create_engine, text

from backend.engagement.schemas import EventIn
from stack.postgres import DatabaseUrls
from tests.backend.conftest import Client, Clock, allow
from tests.factories import GENESIS_TIME, Mirror

WEEK = 7 * 86_400


@pytest.fixture
def mirror(mirror: Mirror, bob: LocalAccount) -> Mirror:
    """Three works of bob's, registered in block 1."""
    mirror.block(1)
    for work_id in (1, 2, 3):
        mirror.work(work_id, owner=bob, block=1)
    return mirror


def event(clock: Clock, *, kind: str = "like", work_id: int = 1, **more: Any) -> dict[str, Any]:
    return {"id": str(uuid.uuid4()), "kind": kind, "work_id": work_id, "at": clock().isoformat(), **more}


def send(client: Client, *events: dict[str, Any]) -> dict[str, Any]:
    answer = client.post("/v1/engagement", json={"events": list(events)})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def rows(urls: DatabaseUrls) -> list[Any]:
    engine = create_engine(urls.admin)
    with engine.connect() as connection:
        found = list(connection.execute(text("SELECT * FROM app.engagement_event ORDER BY event_id")))
    engine.dispose()
    return found


@pytest.mark.feature("E1", via="http")
class TestOnce:
    def test_the_same_batch_again_changes_nothing(self, client: Client, mirror: Mirror, clock: Clock) -> None:
        batch = [event(clock), event(clock, kind="watch", duration_ms=90_000, completion_bps=9_500)]
        assert send(client, *batch)["accepted"] == 2
        assert send(client, *batch) | {"epoch": 0} == {
            "accepted": 0,
            "duplicate": 2,
            "refused": [],
            "epoch": 0,
            "counted_as": "nobody",
        }
        assert len(rows(mirror.urls)) == 2

    def test_any_order_and_any_cutting_gives_the_same_rows(
        self, client: Client, mirror: Mirror, clock: Clock, clean_db: DatabaseUrls
    ) -> None:
        batch = [event(clock, work_id=1 + n % 3) for n in range(40)]
        shuffled = random.Random(7).sample(batch + batch[:15], 55)
        for start in range(0, 55, 8):
            send(client, *shuffled[start : start + 8])
        assert [row.event_id for row in rows(clean_db)] == sorted(EventIn(**e).nameless_id for e in batch)

    def test_a_batch_with_one_event_twice_counts_it_once(self, client: Client, mirror: Mirror, clock: Clock) -> None:
        one = event(clock)
        answer = send(client, one, one)
        assert (answer["accepted"], answer["duplicate"], answer["refused"]) == (1, 1, [])

    def test_an_id_with_other_content_is_a_conflict_and_the_first_stays(
        self, client: Client, mirror: Mirror, clock: Clock, clean_db: DatabaseUrls
    ) -> None:
        one = event(clock, work_id=1)
        send(client, one)
        answer = send(client, one | {"work_id": 2})
        assert answer["refused"] == [{"id": one["id"], "outcome": "conflict"}]
        assert [row.work_id for row in rows(clean_db)] == [1]

    def test_fifty_senders_of_one_event_store_it_once(
        self, client: Client, mirror: Mirror, clock: Clock, clean_db: DatabaseUrls
    ) -> None:
        one = event(clock)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: send(client, one), range(50)))
        assert sum(answer["accepted"] for answer in answers) == 1
        assert len(rows(clean_db)) == 1

    def test_a_work_the_mirror_does_not_know_is_refused_and_the_rest_is_taken(
        self, client: Client, mirror: Mirror, clock: Clock
    ) -> None:
        stray, good = event(clock, work_id=99), event(clock)
        answer = send(client, stray, good)
        assert answer["accepted"] == 1
        assert answer["refused"] == [{"id": stray["id"], "outcome": "unknown_work"}]


class TestEpoch:
    def test_events_belong_to_the_epoch_open_at_the_head(
        self, client: Client, mirror: Mirror, clock: Clock, clean_db: DatabaseUrls
    ) -> None:
        assert send(client, event(clock))["epoch"] == 1
        mirror.block(2, time=GENESIS_TIME + WEEK - 1)
        assert send(client, event(clock))["epoch"] == 1
        mirror.block(3, time=GENESIS_TIME + WEEK)
        assert send(client, event(clock))["epoch"] == 2
        assert sorted(row.epoch for row in rows(clean_db)) == [1, 1, 2]

    def test_before_the_first_block_it_says_try_again(self, client: Client, clock: Clock) -> None:
        answer = client.post("/v1/engagement", json={"events": [event(clock)]})
        assert (answer.status_code, answer.json()["code"]) == (503, "no_head")


@pytest.mark.feature("C2", via="http")
class TestConsent:
    def test_v11_without_consent_no_row_is_stored_under_a_person(
        self, client: Client, mirror: Mirror, clock: Clock, clean_db: DatabaseUrls, alice: LocalAccount
    ) -> None:
        signed_in = client.as_(alice)
        assert send(signed_in, event(clock))["counted_as"] == "nobody"
        [row] = rows(clean_db)
        assert row.person_id == uuid.UUID(int=0)
        assert (row.at.minute, row.at.second, row.received_at.minute) == (0, 0, 0)

    @pytest.mark.parametrize("version", [1, 7], ids=["v1", "v7"])
    def test_v11_a_row_without_a_name_keeps_neither_time_nor_machine_of_its_id(
        self, client: Client, mirror: Mirror, clock: Clock, clean_db: DatabaseUrls, version: int
    ) -> None:
        """Attack: such ids carry the time that the row gives to the hour alone; the digest lets one try it out."""
        own = uuid.UUID(int=(0x0199_ABCD_EF01 << 80) | (version << 76) | (2 << 62) | 0x0242_AC11_0002)
        sent = event(clock) | {"id": str(own)}
        later = sent | {"at": (clock() + timedelta(seconds=1)).isoformat()}
        assert [send(client, each)["accepted"] for each in (sent, sent, later)] == [1, 0, 0]
        assert send(client, later)["duplicate"] == 1, "within the hour it is the same event"
        other = sent | {"work_id": 2}
        assert send(client, other)["refused"] == [{"id": str(own), "outcome": "conflict"}]
        [row] = rows(clean_db)
        assert row.event_id != own
        assert row.digest == EventIn(**later).nameless_digest != EventIn(**sent).digest

    def test_v11_consent_and_its_withdrawal_act_on_the_next_request(
        self, client: Client, mirror: Mirror, clock: Clock, clean_db: DatabaseUrls, alice: LocalAccount
    ) -> None:
        signed_in = client.as_(alice)
        allow(signed_in, "behaviour")
        assert send(signed_in, event(clock))["counted_as"] == "person"
        allow(signed_in, "behaviour", granted=False)
        assert send(signed_in, event(clock))["counted_as"] == "nobody"
        assert sum(row.person_id != uuid.UUID(int=0) for row in rows(clean_db)) == 1

    def test_v11_another_purpose_is_not_enough(
        self, client: Client, mirror: Mirror, clock: Clock, alice: LocalAccount
    ) -> None:
        signed_in = client.as_(alice)
        allow(signed_in, "content_taste", "research")
        assert send(signed_in, event(clock))["counted_as"] == "nobody"

    def test_one_person_cannot_take_anothers_event_id(
        self, client: Client, mirror: Mirror, clock: Clock, alice: LocalAccount, bob: LocalAccount
    ) -> None:
        one, two = client.as_(alice), client.as_(bob)
        allow(one, "behaviour")
        allow(two, "behaviour")
        guessed = event(clock)
        assert send(two, guessed)["accepted"] == 1
        assert send(one, guessed)["accepted"] == 1

    def test_everything_is_off_until_it_is_answered(self, client: Client, alice: LocalAccount) -> None:
        items = client.as_(alice).get("/v1/consents").json()["items"]
        assert len(items) == 7
        assert not any(item["granted"] or item["receipt"] for item in items)

    def test_every_answer_is_a_receipt_of_its_own(self, client: Client, alice: LocalAccount) -> None:
        signed_in = client.as_(alice)
        first = signed_in.put("/v1/consents/research", json={"granted": True}).json()
        second = signed_in.put("/v1/consents/research", json={"granted": True}).json()
        assert second["receipt"] > first["receipt"]
        assert second["answered_version"] == second["notice_version"]


class TestBadInput:
    @pytest.mark.parametrize(
        "change",
        [
            {"kind": "stare"},
            {"work_id": 0},
            {"work_id": "1"},
            {"work_id": 2**63},
            {"at": "2026-11-21T09:00:00"},
            {"at": "yesterday"},
            {"at": "9999-12-31T23:59:59-12:00"},
            {"at": "0001-01-01T00:00:00+12:00"},
            {"id": "17"},
            {"duration_ms": -1, "kind": "watch"},
            {"completion_bps": 10_001, "kind": "watch"},
            {"completion_bps": 5_000},
            {"person_id": str(uuid.UUID(int=7))},
        ],
        ids=lambda change: ",".join(f"{k}={v}" for k, v in change.items()),
    )
    def test_v15_a_malformed_event_is_a_problem_that_names_the_field(
        self, client: Client, mirror: Mirror, clock: Clock, change: dict[str, Any]
    ) -> None:
        answer = client.post("/v1/engagement", json={"events": [event(clock) | change]})
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"
        assert "body.events.0" in answer.json()["errors"][0]["location"]

    @pytest.mark.parametrize("count", [0, 501])
    def test_a_batch_has_1_to_500_events(self, client: Client, mirror: Mirror, clock: Clock, count: int) -> None:
        answer = client.post("/v1/engagement", json={"events": [event(clock) for _ in range(count)]})
        assert answer.status_code == 422

    def test_an_unknown_purpose_is_refused(self, client: Client, alice: LocalAccount) -> None:
        assert client.as_(alice).put("/v1/consents/everything", json={"granted": True}).status_code == 422

    def test_consents_need_a_sign_in(self, client: Client) -> None:
        assert client.get("/v1/consents").status_code == 401
