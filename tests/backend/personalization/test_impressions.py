"""Impressions: what is shown is kept where that is allowed, with its probabilities, and joins what came of it."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from sqlalchemy import create_engine, text

from backend.consent import writes
from backend.consent.writes import forget_slates
from backend.deps import Core
from backend.engagement.schemas import EventIn
from backend.models.impressions import KEPT_AN_HOUR, KEPT_DAYS
from backend.personalization import service
from backend.personalization.packaging import impressions
from stack.postgres import DatabaseUrls
from tests.backend.conftest import Client, Clock, allow
from tests.factories import Mirror


@pytest.fixture
def mirror(mirror: Mirror, bob: LocalAccount) -> Mirror:
    """Ten works, all of one time."""
    mirror.block(1)
    for work_id in range(1, 11):
        mirror.work(work_id, owner=bob, block=1)
    return mirror


def kept(urls: DatabaseUrls) -> list[Any]:
    engine = create_engine(urls.admin)
    with engine.connect() as connection:
        found = list(connection.execute(text("SELECT * FROM app.impression ORDER BY at, slate_id")))
    engine.dispose()
    return found


def feed(client: Client, **params: Any) -> dict[str, Any]:
    answer = client.get("/v1/feed", params=params)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


@pytest.fixture
def watcher(client: Client, mirror: Mirror, alice: LocalAccount) -> Client:
    """Alice, who allows both."""
    signed_in = client.as_(alice)
    allow(signed_in, "behaviour", "content_taste")
    return signed_in


@pytest.mark.feature("X9", via="http")
class TestKept:
    def test_a_slate_is_kept_as_it_was_shown(self, watcher: Client, clean_db: DatabaseUrls, clock: Clock) -> None:
        shown = feed(watcher, limit=6)
        [row] = kept(clean_db)
        assert str(row.slate_id) == shown["slate_id"]
        assert row.works == [item["work_id"] for item in shown["items"]]
        assert row.propensities == [item["propensity"] for item in shown["items"]]
        assert all(0 < p < 1 for p in row.propensities)
        assert set(row.whys) <= {"best", "explored", "unlike", "fresh"}
        assert (row.at, row.model_version, row.packaging) == (clock(), None, [])
        assert all(1 <= n <= 10 for n in row.choices)

    def test_the_same_page_again_is_the_same_slate_and_one_impression(
        self, watcher: Client, clean_db: DatabaseUrls
    ) -> None:
        assert feed(watcher) == feed(watcher)
        assert len(kept(clean_db)) == 1

    def test_of_one_person_so_many_an_hour_are_kept_and_more_are_served(
        self, watcher: Client, client: Client, clean_db: DatabaseUrls, clock: Clock, bob: LocalAccount
    ) -> None:
        feed(watcher, limit=6)
        copies = f"""INSERT INTO app.impression SELECT (jsonb_populate_record(i,
            jsonb_build_object('slate_id', gen_random_uuid()))).* FROM app.impression i,
            generate_series(1, {KEPT_AN_HOUR - 2})"""
        engine = create_engine(clean_db.admin)
        with engine.begin() as connection:
            connection.execute(text(copies))
        engine.dispose()
        clock.forward(minutes=59)
        last = feed(watcher, limit=6)
        assert last["slate_id"] is not None
        assert len(kept(clean_db)) == KEPT_AN_HOUR
        more = [feed(watcher, limit=size) for size in (6, 7, 8)]
        assert all(each["slate_id"] is None and each["personal"] for each in more)
        assert {item["propensity"] for item in more[0]["items"] if item["reason"] != "fresh"} == {1}
        assert len(kept(clean_db)) == KEPT_AN_HOUR
        other = client.as_(bob)
        allow(other, "behaviour", "content_taste")
        assert feed(other)["slate_id"] is not None, "each person has an hour of their own"
        clock.forward(minutes=1)
        assert feed(watcher)["slate_id"] is not None, "the first hour is over"

    def test_the_statement_that_keeps_holds_the_bound_by_itself(
        self, watcher: Client, clean_db: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Requests that were read at the same moment all see room."""
        monkeypatch.setattr(service.Allowed, "kept", lambda self, program: True)
        monkeypatch.setattr(writes, "KEEP_SLATE", writes.KEEP_SLATE.replace(f"OFFSET {KEPT_AN_HOUR - 1}", "OFFSET 1"))
        assert all(feed(watcher, limit=size)["slate_id"] for size in (5, 6, 7, 8))
        assert len(kept(clean_db)) == 2

    def test_two_persons_share_no_draws(self, watcher: Client, client: Client, bob: LocalAccount) -> None:
        other = client.as_(bob)
        allow(other, "behaviour", "content_taste")
        assert feed(watcher)["slate_id"] != feed(other)["slate_id"]

    def test_v11_nothing_is_kept_or_drawn_without_consent(
        self, watcher: Client, client: Client, clean_db: DatabaseUrls
    ) -> None:
        allow(watcher, "behaviour", granted=False)
        for who in (watcher, client):
            shown = feed(who)
            assert shown["slate_id"] is None
            assert {item["propensity"] for item in shown["items"]} == {1.0}
        assert kept(clean_db) == []

    @pytest.mark.parametrize("off", ["content_taste", "switch"])
    def test_who_wants_no_choice_made_gets_what_everybody_gets_and_it_is_kept(
        self, watcher: Client, client: Client, clean_db: DatabaseUrls, off: str
    ) -> None:
        if off == "switch":
            watcher.put("/v1/me/personalization", json={"enabled": False})
        else:
            allow(watcher, off, granted=False)
        mine = feed(watcher)
        assert mine["items"] == feed(client)["items"]
        assert [str(row.slate_id) for row in kept(clean_db)] == [mine["slate_id"]]

    def test_v11_consent_withdrawn_between_choice_and_keeping_keeps_nothing(
        self, watcher: Client, core: Core, clean_db: DatabaseUrls, clock: Clock
    ) -> None:
        feed(watcher)
        [row] = kept(clean_db)
        allow(watcher, "behaviour", granted=False)
        parameters = row._asdict() | {"account": _account(clean_db), "person": row.person_id, "slate": uuid.uuid4()}
        watcher.portal.call(
            impressions.keep, core.database.async_pool, parameters | {"now": clock(), "arms": "{}", "packaging": "[]"}
        )
        assert len(kept(clean_db)) == 1

    def test_nothing_to_show_is_no_impression(
        self, client: Client, alice: LocalAccount, clean_db: DatabaseUrls
    ) -> None:
        signed_in = client.as_(alice)
        allow(signed_in, "behaviour", "content_taste")
        shown = feed(signed_in)
        assert (shown["slate_id"], shown["items"], kept(clean_db)) == (None, [], [])


def _account(urls: DatabaseUrls) -> uuid.UUID:
    engine = create_engine(urls.admin)
    with engine.connect() as connection:
        found: uuid.UUID = connection.execute(
            text("SELECT id FROM app.account WHERE pseudonym IS NOT NULL")
        ).scalar_one()
    engine.dispose()
    return found


@pytest.fixture
def core(watcher: Client) -> Core:
    made: Core = watcher.app.state.core
    return made


def event(clock: Clock, **more: Any) -> dict[str, Any]:
    return {"id": str(uuid.uuid4()), "kind": "like", "work_id": 1, "at": clock().isoformat(), **more}


@pytest.mark.feature("E1", via="http")
class TestEvents:
    def test_an_event_says_which_slate_it_came_of(self, watcher: Client, clock: Clock, clean_db: DatabaseUrls) -> None:
        slate = feed(watcher)["slate_id"]
        one = event(clock, slate_id=slate)
        assert watcher.post("/v1/engagement", json={"events": [one]}).json()["accepted"] == 1
        assert watcher.post("/v1/engagement", json={"events": [one]}).json()["duplicate"] == 1
        without = {name: value for name, value in one.items() if name != "slate_id"}
        answer = watcher.post("/v1/engagement", json={"events": [without]}).json()
        assert answer["refused"] == [{"id": one["id"], "outcome": "conflict"}]
        assert slates(clean_db) == [slate]

    def test_of_nobody_no_slate_is_kept(
        self, client: Client, mirror: Mirror, clock: Clock, clean_db: DatabaseUrls
    ) -> None:
        one = event(clock, slate_id=str(uuid.uuid4()))
        assert client.post("/v1/engagement", json={"events": [one]}).json()["accepted"] == 1
        assert slates(clean_db) == [None]

    @pytest.mark.parametrize("wrong", ["x", 7, "00000000", [], {"id": 1}])
    def test_v15_what_is_no_id_is_refused(self, watcher: Client, clock: Clock, wrong: Any) -> None:
        assert watcher.post("/v1/engagement", json={"events": [event(clock, slate_id=wrong)]}).status_code == 422

    def test_events_without_a_slate_have_the_digest_they_always_had(self) -> None:
        """Clients that know nothing of slates repeat what they sent before."""
        said = {"id": uuid.UUID(int=7), "kind": "watch", "work_id": 3, "at": "2026-11-21T20:00:00Z"}
        one = EventIn(**said, duration_ms=60_000, completion_bps=9_000)  # type: ignore[arg-type]
        frozen = "c1c3ea801bff76bf7f6056ab20f02ba0be5c97e8a6a9b987a1d16f0c80c10e35"
        assert one.digest.hex() == frozen
        other = EventIn(**said, duration_ms=60_000, completion_bps=9_000, slate_id=uuid.UUID(int=1))  # type: ignore[arg-type]
        assert other.digest != one.digest
        assert other.nameless_digest == one.nameless_digest


def slates(urls: DatabaseUrls) -> list[str | None]:
    engine = create_engine(urls.admin)
    with engine.connect() as connection:
        found = [row.slate_id for row in connection.execute(text("SELECT slate_id FROM app.engagement_event"))]
    engine.dispose()
    return [None if slate is None else str(slate) for slate in found]


class TestForgetting:
    def test_slates_are_dropped_when_their_time_is_over(
        self, watcher: Client, core: Core, clock: Clock, clean_db: DatabaseUrls
    ) -> None:
        feed(watcher)
        clock.forward(days=1)
        feed(watcher, limit=5)
        later = clock() + timedelta(days=KEPT_DAYS)
        with core.database.session() as session:
            assert forget_slates(session, before=later - timedelta(days=KEPT_DAYS)) == 1
        assert [row.at for row in kept(clean_db)] == [clock()]


class TestId:
    def test_it_follows_from_the_person_the_process_and_all_that_the_slate_follows_from(self) -> None:
        alice, bob = uuid.UUID(int=1), uuid.UUID(int=2)
        one = impressions.slate_id(alice, 1, None, {"a": 1}, process=b"p")
        assert one == impressions.slate_id(alice, 1, None, {"a": 1}, process=b"p")
        others = {
            impressions.slate_id(bob, 1, None, {"a": 1}, process=b"p"),
            impressions.slate_id(alice, 2, None, {"a": 1}, process=b"p"),
            impressions.slate_id(alice, 1, None, {"a": 2}, process=b"p"),
            impressions.slate_id(alice, 1, None, {"a": 1}, process=b"q"),
        }
        assert len(others | {one}) == 5
        assert (one.version, one.variant) == (8, uuid.RFC_4122)
