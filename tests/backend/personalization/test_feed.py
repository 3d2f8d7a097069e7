"""The feed over HTTP: personal only where it may be, with true reasons, and an off switch that acts at once."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from eth_account.signers.local import LocalAccount
from fastapi import FastAPI
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from backend.consent import reads
from backend.consent.gate import Read, entered, read
from backend.consent.persons import person_of
from backend.consent.purposes import NOTICES, Purpose
from backend.deps import Core
from backend.engagement.schemas import EventIn
from backend.models.accounts import Account
from backend.models.consent import ConsentReceipt
from backend.models.engagement import NOBODY, PersonVoice
from backend.models.personalization import ModelSnapshot
from backend.personalization import catalogue
from backend.personalization.models import snapshots, training
from backend.personalization.models.linear import fit
from backend.personalization.ranking.scoring import Norm, Weights
from backend.personalization.ranking.signals import CLIP
from backend.settings import Settings
from backend.vault.vault import SEALED
from stack.postgres import DatabaseUrls
from tests.backend.accounts.test_visitors import visit
from tests.backend.conftest import Client, Clock, allow
from tests.factories import Mirror

HALF_LIFE_S = Weights().trend_half_life_s


@pytest.fixture
def mirror(mirror: Mirror, bob: LocalAccount) -> Mirror:
    """Ten works, all of one time."""
    mirror.block(1)
    for work_id in range(1, 11):
        mirror.work(work_id, owner=bob, block=1)
    return mirror


@pytest.fixture
def core(settings: Settings, clock: Clock) -> Core:
    return Core(settings, clock)


def answers(
    session: Session, people: Iterable[uuid.UUID], *purposes: str, granted: bool = True, voice: bool = True
) -> None:
    """Answers to the first notice, of people who have no account: a pseudonym is all that the feed knows, and
    whether it is one of a wallet."""
    people = list(people)
    if voice:
        voices = [{"person_id": person} for person in people]
        session.execute(insert(PersonVoice).on_conflict_do_nothing(), voices)
    receipts = [
        {
            "record_id": uuid.uuid4(),
            "person_id": person,
            "purpose": purpose,
            "granted": granted,
            "notice_version": NOTICES[Purpose(purpose)].version,
            "notice_digest": b"",
            "at": datetime.now(UTC),
            "salt": SEALED,
            "document": SEALED,
            "commitment": bytes(32),
        }
        for person in people
        for purpose in purposes
    ]
    session.execute(insert(ConsentReceipt), receipts)


def answer(session: Session, person: uuid.UUID, purpose: str, granted: bool = True, *, voice: bool = True) -> None:
    answers(session, [person], purpose, granted=granted, voice=voice)


def likes(session: Session, works_of: dict[uuid.UUID, Iterable[int]]) -> None:
    """Each person likes some works now."""
    session.execute(
        text(
            "INSERT INTO app.engagement_event (person_id, event_id, work_id, kind, at, received_at,"
            " duration_ms, completion_bps, epoch, digest)"
            " VALUES (:person, :id, :work, 'like', now(), now(), 0, 0, 1, '')"
        ),
        [{"person": person, "id": uuid.uuid4(), "work": work} for person, works in works_of.items() for work in works],
    )


@pytest.fixture
def trained(core: Core, mirror: Mirror) -> ModelSnapshot:
    """A model of 40 people of two tastes, works 1 to 5 and 6 to 10, who all allow what it needs."""
    people = {
        uuid.UUID(int=1000 + person): [
            work for work in range(1, 11) if (work <= 5) == (person % 2 == 0) and work % 5 != person % 5
        ]
        for person in range(40)
    }
    with core.database.session() as session, entered(session):
        answers(session, people, "behaviour", "content_taste")
        likes(session, people)
    with core.database.session() as session:
        made = training.train(session, models=core.settings.data_dir / "models", now=core.clock())
    assert made is not None
    core.database.dispose()
    return made


def feed(client: Client, **params: Any) -> dict[str, Any]:
    answer = client.get("/v1/feed", params=params)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def do(client: Client, clock: Clock, kind: str, work_id: int, **more: Any) -> None:
    event = {"id": str(uuid.uuid4()), "kind": kind, "work_id": work_id, "at": clock().isoformat(), **more}
    assert client.post("/v1/engagement", json={"events": [event]}).json()["accepted"] == 1


@pytest.mark.feature("X1", via="http")
@pytest.mark.feature("X5", via="http")
class TestPersonal:
    def test_a_like_changes_the_next_feed_and_is_its_reason(
        self, client: Client, trained: ModelSnapshot, clock: Clock, alice: LocalAccount
    ) -> None:
        signed_in = client.as_(alice)
        allow(signed_in, "behaviour", "content_taste")
        before = feed(signed_in, limit=4)
        do(signed_in, clock, "like", 7)
        after = feed(signed_in, limit=4)
        assert before["personal"]
        assert not any(item["reason"] == "taste" for item in before["items"])
        near = [item for item in after["items"] if item["work_id"] in (6, 7, 8, 9, 10)]
        assert len(near) >= 3
        assert all(
            item["because"][0] | {"part": 0} == {"work_id": 7, "title": None, "did": "liked", "part": 0}
            for item in near
            if item["work_id"] != 7
        )
        assert after["model_version"] == trained.version

    def test_finished_and_unwanted_works_are_not_shown_again(
        self, client: Client, trained: ModelSnapshot, clock: Clock, alice: LocalAccount
    ) -> None:
        signed_in = client.as_(alice)
        allow(signed_in, "behaviour", "content_taste")
        do(signed_in, clock, "watch", 1, duration_ms=60_000, completion_bps=9_500)
        do(signed_in, clock, "less_like_this", 7)
        score = {item["work_id"]: item["score"] for item in feed(signed_in)["items"]}
        assert score.keys() == {2, 3, 4, 5, 6, 8, 9, 10}
        assert min(score[w] for w in (2, 3, 4, 5)) > max(score[w] for w in (6, 8, 9, 10))

    def test_terms_sum_to_the_score(
        self, client: Client, trained: ModelSnapshot, clock: Clock, alice: LocalAccount
    ) -> None:
        signed_in = client.as_(alice)
        allow(signed_in, "behaviour", "content_taste")
        do(signed_in, clock, "like", 7)
        for item in feed(signed_in)["items"]:
            assert item["score"] == pytest.approx(sum(item["terms"].values()))


def done(session: Session, person: uuid.UUID, work_id: int, kind: str, at: datetime) -> None:
    session.execute(
        text(
            "INSERT INTO app.engagement_event (person_id, event_id, work_id, kind, at, received_at,"
            " duration_ms, completion_bps, epoch, digest)"
            " VALUES (:person, gen_random_uuid(), :work, :kind, :at, :at, 0, 0, 1, '')"
        ),
        {"person": person, "work": work_id, "kind": kind, "at": at},
    )


def rows_of(session: Session, what: Read, now: datetime, **more: Any) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in read(session, what, now=now, **more)]


@pytest.mark.feature("X4", via="http")
class TestFresh:
    """Attack: events of nobody and of visitors that say of rivals that they have been seen."""

    def test_v15_only_what_the_feed_showed_to_people_with_a_wallet_counts_as_shown(
        self, app: FastAPI, client: Client, mirror: Mirror, clock: Clock, alice: LocalAccount
    ) -> None:
        visitor = visit(client)
        allow(visitor, "behaviour")
        for who in (client, visitor):
            for _ in range(3):
                do(who, clock, "impression", 7)
                do(who, clock, "play", 7)
        feed(visitor, limit=10)
        clock.forward(seconds=120)
        feed(client)
        assert app.state.feed_window._catalogue.shelf.exposures.tolist() == [0.0] * 10
        signed_in = client.as_(alice)
        allow(signed_in, "behaviour")
        shown = set()
        for _ in range(2):  # twice is one voice
            shown |= {item["work_id"] for item in feed(signed_in, limit=3)["items"]}
            clock.forward(seconds=120)
        del app.state.feed_window
        feed(client)
        exposures = app.state.feed_window._catalogue.shelf.exposures
        mean = len(shown) / 10
        assert exposures.tolist() == pytest.approx([(work in shown) + mean for work in range(1, 11)])


class TestTrend:
    """Attack: whoever sends more moves more."""

    def test_ten_thousand_likes_without_a_name_move_a_work_as_two_of_one_person(
        self, client: Client, mirror: Mirror, clock: Clock, core: Core
    ) -> None:
        with core.database.session() as session, entered(session):
            session.execute(
                text(
                    "INSERT INTO app.engagement_event (person_id, event_id, work_id, kind, at, received_at,"
                    " duration_ms, completion_bps, epoch, digest)"
                    " SELECT :nobody, gen_random_uuid(), 1, 'like', now, now, 0, 0, 1, ''"
                    " FROM generate_series(1, 10000), (SELECT date_trunc('hour', :now ::timestamptz) AS now) t"
                ),
                {"nobody": NOBODY, "now": clock()},
            )
            for person, work in ((1, 2), (2, 2), (3, 2)):
                answer(session, uuid.UUID(int=person), "behaviour")
                session.execute(
                    text(
                        "INSERT INTO app.engagement_event (person_id, event_id, work_id, kind, at, received_at,"
                        " duration_ms, completion_bps, epoch, digest)"
                        " VALUES (:person, gen_random_uuid(), :work, 'like', :now, :now, 0, 0, 1, '')"
                    ),
                    {"person": uuid.UUID(int=person), "work": work, "now": clock()},
                )
        core.database.dispose()
        assert [item["work_id"] for item in feed(client)["items"]][:3] == [2, 1, 3]

    def test_a_hundred_visitors_trend_as_one_and_assess_nothing(
        self, client: Client, mirror: Mirror, clock: Clock, core: Core
    ) -> None:
        """A visitor is one request: all of them together move a work as one person does, and judge none."""
        with core.database.session() as session, entered(session):
            for n in range(103):
                person, visits = uuid.UUID(int=3000 + n), n < 100
                answer(session, person, "behaviour", voice=not visits)
                done(session, person, 1 if visits else 2, "like", clock())
                if visits:
                    done(session, person, 3, "complaint", clock())
        core.database.dispose()
        assert [item["work_id"] for item in feed(client)["items"]][:2] == [2, 1]
        with core.database.session() as session:
            since = {"since": clock() - timedelta(days=1)}
            trended = catalogue.trend(rows_of(session, reads.FEED_TREND, clock(), **since), clock(), HALF_LIFE_S)
            assert trended == {1: CLIP, 2: 3.0}
            assert [tuple(row) for row in read(session, reads.ASSESSED, now=clock(), **since)] == [(2, 3, 3, 0)]
        core.database.dispose()

    def rows(self, clock: Clock, *times: tuple[int, int, int]) -> list[dict[str, Any]]:
        """(person, work, likes)."""
        like = {"kind": "like", "duration_ms": 0, "completion_bps": 0, "received_at": clock()}
        return [like | {"who": person, "work_id": work, "times": count} for person, work, count in times]

    def test_a_work_moves_by_the_clip_a_person_and_all_nameless_visitors_are_one(self, clock: Clock) -> None:
        rows = self.rows(clock, (0, 1, 10_000), (0, 1, 1), (7, 2, 1), (8, 2, 500), (9, 2, 1))
        assert catalogue.trend(rows, clock(), HALF_LIFE_S) == {1: CLIP, 2: 1 + CLIP + 1}

    def test_what_a_person_did_long_ago_weighs_less_before_it_is_clipped(self, clock: Clock) -> None:
        rows = self.rows(clock, (7, 1, 2))
        later = clock() + timedelta(seconds=HALF_LIFE_S)
        assert catalogue.trend(rows, later, HALF_LIFE_S) == {1: pytest.approx(1.0)}


@pytest.mark.feature("X5", via="http")
class TestOff:
    @pytest.mark.parametrize("missing", ["behaviour", "content_taste", "switch"])
    def test_v11_without_consent_or_switched_off_nothing_of_the_person_is_read(
        self, client: Client, trained: ModelSnapshot, clock: Clock, alice: LocalAccount, missing: str
    ) -> None:
        signed_in = client.as_(alice)
        allow(signed_in, "behaviour", "content_taste")
        do(signed_in, clock, "like", 7)
        do(signed_in, clock, "less_like_this", 1)
        if missing == "switch":
            assert signed_in.put("/v1/me/personalization", json={"enabled": False}).status_code == 200
        else:
            allow(signed_in, missing, granted=False)
        mine, nobodys = feed(signed_in), feed(client)
        assert not mine["personal"]
        assert mine["why_not_personal"]
        assert mine["items"] == nobodys["items"]

    def test_switching_on_again_acts_at_once(
        self, client: Client, trained: ModelSnapshot, clock: Clock, alice: LocalAccount
    ) -> None:
        signed_in = client.as_(alice)
        allow(signed_in, "behaviour", "content_taste")
        for enabled in (False, True):
            signed_in.put("/v1/me/personalization", json={"enabled": enabled})
            assert feed(signed_in)["personal"] is enabled
        settings = signed_in.get("/v1/me/personalization").json()
        assert all(settings[name] for name in ("enabled", "behaviour", "content_taste", "personal"))

    def test_a_visitor_gets_what_is_popular(self, client: Client, trained: ModelSnapshot) -> None:
        answer = feed(client)
        assert not answer["personal"]
        assert len(answer["items"]) == 10
        assert {item["reason"] for item in answer["items"]} <= {"trend", "new", "fresh"}

    def test_an_empty_catalogue_is_an_empty_feed(self, client: Client) -> None:
        assert feed(client)["items"] == []

    @pytest.mark.parametrize("limit", [0, 101, "many"])
    def test_v15_a_wrong_limit_is_refused(self, client: Client, limit: Any) -> None:
        assert client.get("/v1/feed", params={"limit": limit}).status_code == 422


class TestTraining:
    def test_v11_a_person_who_withdrew_is_not_learned_from(self, core: Core, trained: ModelSnapshot) -> None:
        with core.database.session() as session:
            before = len(training.positive_pairs(session, now=core.clock()))
            with entered(session):
                answer(session, uuid.UUID(int=1000), "content_taste", granted=False)
            assert before - len(training.positive_pairs(session, now=core.clock())) == 4
        core.database.dispose()

    def test_nothing_new_makes_no_new_model(self, core: Core, trained: ModelSnapshot) -> None:
        with core.database.session() as session:
            assert training.train(session, models=core.settings.data_dir / "models", now=core.clock()) is None
        core.database.dispose()

    def test_a_broken_snapshot_is_refused_and_the_one_before_serves_on(
        self, client: Client, app: FastAPI, core: Core, trained: ModelSnapshot
    ) -> None:
        assert feed(client)["model_version"] == trained.version
        folder = core.settings.data_dir / "models" / trained.folder
        broken = core.settings.data_dir / "models" / "broken"
        broken.mkdir()
        for file in folder.iterdir():
            (broken / file.name).write_bytes(file.read_bytes())
        (broken / "data.npy").write_bytes(b"something else")
        with core.database.session() as session:
            session.add(ModelSnapshot(folder="broken", pairs=1, works=1, metrics={}, created_at=core.clock()))
        app.state.feed_window._read_at = -1e9
        assert feed(client)["model_version"] == trained.version
        core.database.dispose()


def test_a_snapshot_reads_back_what_was_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    model = snapshots.Model(
        items=fit(rng.integers(0, 30, 200), rng.integers(1, 20, 200)),
        work_ids=np.arange(1, 25),
        popularity=rng.random(24),
        familiar=rng.random(24),
        content=rng.random((24, 3)).astype(np.float32),
        people=30,
        liking=Norm(0.5, 0.1),
        mainstream=Norm(2.0, 0.5),
        weights=Weights(taste=0.7),
    )
    name = snapshots.write(tmp_path, model)
    assert snapshots.write(tmp_path, model) == name
    again = snapshots.read(tmp_path, name)
    np.testing.assert_array_equal(again.items.matrix.toarray(), model.items.matrix.toarray())
    for field in ("work_ids", "popularity", "familiar", "content"):
        np.testing.assert_array_equal(getattr(again, field), getattr(model, field))
    assert (again.people, again.liking, again.mainstream, again.weights) == (
        model.people,
        model.liking,
        model.mainstream,
        model.weights,
    )
    (tmp_path / name / "indices.npy").unlink()
    with pytest.raises(snapshots.BrokenSnapshot):
        snapshots.read(tmp_path, name)


def test_a_snapshot_of_another_form_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "manifest.json").write_text('{"format": "troupe-item-item/1", "sha256": {}}')
    with pytest.raises(snapshots.BrokenSnapshot, match="troupe-item-item/1, which this version does not read"):
        snapshots.read(tmp_path, "old")


@pytest.mark.feature("X3", via="http")
class TestPeople:
    """What people make of works, and what one person makes of what they were shown."""

    @pytest.mark.feature("X6", via="http")
    @pytest.mark.feature("G4", via="http")
    def test_what_people_complain_of_sinks_and_what_they_finish_rises(
        self, app: FastAPI, client: Client, mirror: Mirror, clock: Clock, core: Core
    ) -> None:
        before = [item["work_id"] for item in feed(client, limit=10)["items"]]
        with core.database.session() as session, entered(session):
            for person in range(12):
                account = uuid.UUID(int=2000 + person)
                answer(session, account, "behaviour")
                for work, kind, bps in ((before[0], "complaint", 0), (before[-1], "watch", 9_500)):
                    session.execute(
                        text(
                            "INSERT INTO app.engagement_event (person_id, event_id, work_id, kind, at, received_at,"
                            " duration_ms, completion_bps, epoch, digest)"
                            " VALUES (:person, :id, :work, :kind, :at, :at, 0, :bps, 1, '')"
                        ),
                        {
                            "person": account,
                            "id": uuid.uuid4(),
                            "work": work,
                            "kind": kind,
                            "bps": bps,
                            "at": clock() - timedelta(days=60),  # long after its trend is over
                        },
                    )
        core.database.dispose()
        del app.state.feed_window  # as after a minute
        after = [item["work_id"] for item in feed(client, limit=10)["items"]]
        assert after[0] == before[-1]
        assert after[-1] == before[0]

    def test_what_was_passed_by_again_and_again_makes_room(
        self, client: Client, trained: ModelSnapshot, clock: Clock, alice: LocalAccount
    ) -> None:
        signed_in = client.as_(alice)
        allow(signed_in, "behaviour", "content_taste")
        seen: list[list[int]] = []
        for _ in range(3):
            seen.append([item["work_id"] for item in feed(signed_in, limit=3)["items"]])
            again = [item["work_id"] for item in feed(signed_in, limit=3)["items"]]
            assert again == seen[-1], "the same page within a minute is the same"
            clock.forward(seconds=90)
        assert set(seen[0]) != set(seen[1])
        assert len({work for slate in seen for work in slate}) >= 5, "one place in ten is drawn by chance"
        allow(signed_in, "content_taste", granted=False)
        plain = [item["work_id"] for item in feed(signed_in, limit=3)["items"]]
        clock.forward(seconds=90)
        assert [item["work_id"] for item in feed(signed_in, limit=3)["items"]] == plain, "nothing is read of them now"


@pytest.mark.feature("X8", via="http")
class TestDrift:
    def test_other_hours_are_noticed_where_that_is_allowed_and_told_in_words(
        self, client: Client, mirror: Mirror, clock: Clock, core: Core, alice: LocalAccount
    ) -> None:
        """Sixty mornings, then five nights."""
        signed_in = client.as_(alice)
        allow(signed_in, "behaviour", "content_taste")
        with core.database.session() as session:
            account = session.scalars(select(Account.id)).one()
            person = person_of(session, core.vault, account)
            with entered(session):
                day = clock().replace(hour=0, minute=0, second=0)
                for n in range(65):
                    at = day - timedelta(days=64 - n) + timedelta(hours=9 if n < 60 else 0, seconds=1)
                    session.execute(
                        text(
                            "INSERT INTO app.engagement_event (person_id, event_id, work_id, kind, at, received_at,"
                            " duration_ms, completion_bps, epoch, digest)"
                            " VALUES (:person, :id, 1, 'play', :at, :at, 0, 0, 1, '')"
                        ),
                        {"person": person, "id": uuid.uuid4(), "at": at},
                    )
        core.database.dispose()
        clock.now = day + timedelta(hours=1)
        assert feed(signed_in)["drift"] is None, "the hours may not be looked at"
        allow(signed_in, "location_time")
        words = feed(signed_in)["drift"]
        assert words.startswith("You are here at other hours than before")
        assert signed_in.get("/v1/me/taste").json()["drift"] == words
        assert words in signed_in.get("/taste").text
        allow(signed_in, "location_time", granted=False)
        assert feed(signed_in)["drift"] is None
        assert signed_in.get("/v1/me/taste").json()["drift"] is None
        assert "at other hours" not in signed_in.get("/taste").text

    @pytest.mark.parametrize(
        ("kind", "usual", "other", "words"),
        [
            ("device", "phone", "tv", "You use another device than before"),
            ("place", "DE", "FR", "You are in another place than before"),
        ],
        ids=["device", "place"],
    )
    def test_another_device_or_place_is_noticed_where_that_is_allowed(  # noqa: PLR0917 - fixtures by name
        self,
        client: Client,
        mirror: Mirror,
        clock: Clock,
        alice: LocalAccount,
        kind: str,
        usual: str,
        other: str,
        words: str,
    ) -> None:
        """Forty sittings with one, five with another; what was said before it was allowed is not there."""
        me = client.as_(alice)
        allow(me, "behaviour", "content_taste")
        for n in range(55):
            if n == 10:
                allow(me, "location_time")
            said = other if n < 10 or n >= 50 else usual
            if kind == "place" and n in (0, 10, 50):
                assert me.patch("/v1/me/personalization", json={"territory": said}).status_code == 200
            do(me, clock, "play", 1, **({"device": said} if kind == "device" else {}))
            clock.forward(hours=1)
        found = feed(me)["drift"]
        assert found is not None
        assert found.startswith(words)
        assert found in me.get("/taste").text
        allow(me, "agent")
        made = me.post("/v1/keys", json={"name": "A reader", "scopes": ["feed:read"]}).json()
        program = feed(client.bearing(made["token"]))
        assert (program["personal"], program["drift"]) == (True, None), "a program reads taste, not where they are"
        allow(me, "location_time", granted=False)
        assert feed(me)["drift"] is None

    def test_v11_device_and_place_are_kept_where_that_is_allowed_alone(
        self, client: Client, mirror: Mirror, clock: Clock, clean_db: DatabaseUrls, alice: LocalAccount
    ) -> None:
        me = client.as_(alice)
        me.patch("/v1/me/personalization", json={"territory": "DE"})
        do(me, clock, "play", 1, device="phone")
        allow(me, "behaviour")
        do(me, clock, "play", 2, device="phone")
        allow(me, "location_time")
        do(me, clock, "play", 3, device="phone")
        do(me, clock, "play", 4)
        allow(me, "behaviour", granted=False)
        do(me, clock, "play", 5, device="phone")
        with psycopg.connect(clean_db.conninfo()) as connection:
            query = "SELECT work_id, device, place FROM app.engagement_event ORDER BY work_id"
            rows = connection.execute(query).fetchall()
        assert rows == [(1, None, None), (2, None, None), (3, "phone", "DE"), (4, None, "DE"), (5, None, None)]
        event = {"id": str(uuid.uuid4()), "kind": "play", "work_id": 1, "at": clock().isoformat(), "device": "tv"}
        assert EventIn(**event).digest == EventIn(**event | {"device": "phone"}).digest, "else it could be tried out"
        event |= {"device": "Pixel 9"}
        assert me.post("/v1/engagement", json={"events": [event]}).status_code == 422

    def test_what_was_liked_before_the_season_counts_a_quarter_once(
        self, client: Client, trained: ModelSnapshot, clock: Clock, alice: LocalAccount
    ) -> None:
        weights = []
        clock.now = datetime(2026, 11, 30, 23, tzinfo=UTC)
        allow(client.as_(alice), "behaviour", "content_taste")
        do(client.as_(alice), clock, "like", 7)
        for hours in (0.5, 1, 24):
            clock.forward(hours=hours)
            [work] = client.as_(alice).get("/v1/me/taste").json()["works"]
            weights.append(work["long"])
        assert weights[1] / weights[0] == pytest.approx(0.25, rel=0.01)
        assert weights[2] / weights[1] == pytest.approx(2 ** (-1 / 60), rel=0.01)
