"""What the feed makes of somebody's past over HTTP, exactly; what it forgets when asked, and what stays."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from eth_account.signers.local import LocalAccount
from sqlalchemy import text

from backend.deps import Core
from backend.models.personalization import ModelSnapshot
from backend.personalization.models import training
from backend.personalization.ranking import aversion, scoring
from backend.personalization.ranking.signals import EventKind
from backend.personalization.ranking.slate import Policy, Shelf, Viewer, totals
from backend.personalization.ranking.taste import Decays
from tests.backend.accounts.test_bringing_along import sign_in
from tests.backend.accounts.test_visitors import visit
from tests.backend.conftest import Client, Clock, allow
from tests.backend.consent import owndata
from tests.backend.personalization.test_feed import core, do, feed, mirror, trained  # noqa: F401  fixtures
from tests.factories import hash32

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
TAGS = {1: ["Noir"], 2: ["noir", "rain"], 3: ["rain"], 6: ["comedy"], 7: ["comedy"], 8: ["comedy", "rain"]}


@pytest.fixture
def tagged(core: Core, trained: ModelSnapshot) -> ModelSnapshot:  # noqa: F811
    """The ten works, some of which have tags."""
    with core.database.session() as session:
        for work_id, tags in TAGS.items():
            session.execute(
                text(
                    "INSERT INTO app.work_text (work_id, content_hash, cid_digest, kept, seen_block, kind, title, tags,"
                    " ai_tools) VALUES (:work, :content, :cid, true, 1, 1, :title, :tags, '{}')"
                ),
                {
                    "work": work_id,
                    "content": hash32("content", work_id),
                    "cid": hash32("cid", work_id),
                    "title": f"Film {work_id}",
                    "tags": tags,
                },
            )
    core.database.dispose()
    return trained


@pytest.fixture
def me(client: Client, tagged: ModelSnapshot, alice: LocalAccount) -> Client:
    made = client.as_(alice)
    allow(made, "behaviour", "content_taste")
    return made


def get(me: Client, path: str, **params: Any) -> dict[str, Any]:
    answer = me.get(path, params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def weights(me: Client) -> dict[int, float]:
    return {work["work_id"]: work["weight"] for work in get(me, "/v1/me/taste")["works"]}


@pytest.mark.feature("X5", via="http")
class TestTaste:
    def test_what_we_think_is_every_past_work_on_both_scales(self, me: Client, clock: Clock) -> None:
        do(me, clock, "like", 7)
        clock.forward(hours=6)
        do(me, clock, "less_like_this", 2)
        do(me, clock, "watch", 1, duration_ms=60_000, completion_bps=9_500)
        found = get(me, "/v1/me/taste")
        by_id = {work["work_id"]: work for work in found["works"]}
        assert [work["work_id"] for work in found["works"]] == [2, 1, 7], "the largest first, whatever its sign"
        assert (by_id[7]["short"], by_id[7]["did"], by_id[7]["title"]) == (pytest.approx(0.5), "liked", "Film 7")
        assert by_id[7]["long"] == pytest.approx(2 ** (-0.25 / 60))
        assert (by_id[2]["weight"], by_id[2]["did"]) == (pytest.approx(-3), "hidden")
        assert (by_id[1]["weight"], by_id[1]["did"]) == (pytest.approx(2), "finished")
        topics = {topic["topic"]: topic for topic in found["topics"]}
        assert topics["tag:noir"]["weight"] == pytest.approx(-3 + 2)
        assert (topics["tag:noir"]["works"], topics["kind:story"]["works"]) == (2, 3)
        assert {each["tag"]: each["penalty"] for each in found["unwanted"]} == {
            "noir": pytest.approx(0.3),
            "rain": pytest.approx(0.3),
        }
        assert (found["session_events"], found["mood"]) == (2, pytest.approx(0.7 * 2 / 7))
        assert len(found["traits"]["sentences"]) == 2

    @pytest.mark.parametrize("missing", ["behaviour", "content_taste"])
    def test_v11_nothing_is_read_without_consent(self, me: Client, clock: Clock, missing: str) -> None:
        do(me, clock, "like", 7)
        allow(me, missing, granted=False)
        found = get(me, "/v1/me/taste")
        assert (found["read"], found["works"], found["topics"], found["traits"]) == (False, [], [], None)
        assert found["why_not"]

    def test_without_a_work_every_score_falls_by_exactly_what_reasons_say(self, me: Client, clock: Clock) -> None:
        for work in (7, 8, 1):
            do(me, clock, "like", work)
            clock.forward(hours=1)
        items = {item["work_id"]: item for item in feed(me)["items"]}
        found = get(me, "/v1/me/taste/without/7")
        assert [work["place_with"] for work in found["works"]][: len(items)] == list(range(1, len(items) + 1))
        for work in found["works"]:
            assert work["part"] == pytest.approx(work["score_with"] - work["score_without"], abs=1e-9)
            if work["work_id"] in items:
                assert work["score_with"] == pytest.approx(items[work["work_id"]]["score"], abs=1e-9)
        assert any(abs(work["part"]) > 0.01 for work in found["works"])
        assert any(work["place_with"] != work["place_without"] for work in found["works"])
        assert weights(me).keys() == {7, 8, 1}, "asking changes nothing"

    def test_why_adds_up(self, me: Client, clock: Clock) -> None:
        do(me, clock, "like", 7)
        do(me, clock, "less_like_this", 2)
        slate = feed(me)
        for at, item in enumerate(slate["items"], 1):
            found = get(me, f"/v1/feed/{item['work_id']}/why", slate_id=slate["slate_id"])
            assert sum(term["part"] for term in found["terms"]) == pytest.approx(found["score"])
            assert all(term["part"] == pytest.approx(term["value"] * term["weight"]) for term in found["terms"])
            assert (found["place"], found["score"], found["why"]) == (at, pytest.approx(item["score"]), item["why"])
            assert (found["recorded"]["place"], found["recorded"]["propensity"]) == (at, item["propensity"])
            assert {part["work_id"] for part in found["parts"]} == {7, 2}
            tags = {tag.lower() for tag in TAGS.get(item["work_id"], ())}
            assert found["penalty"] == pytest.approx(0.3 * len(tags & {"noir", "rain"}))

    def test_why_of_what_is_not_shown_and_of_what_is_not_there(self, me: Client, client: Client, clock: Clock) -> None:
        do(me, clock, "less_like_this", 2)
        found = get(me, "/v1/feed/2/why")
        assert (found["place"], found["reason"], found["why"]) == (None, "not_shown", "It is not in your feed now.")
        assert me.get("/v1/feed/999/why").json()["code"] == "not_in_catalogue"
        assert me.get("/v1/feed/1/why", params={"slate_id": str(uuid.uuid4())}).json()["code"] == "slate_unknown"
        assert get(client, "/v1/feed/1/why")["parts"] == []
        assert me.get("/v1/me/taste/without/9").json()["code"] == "taste_unknown"

    def test_v11_a_slate_of_another_is_not_there(self, me: Client, client: Client, bob: LocalAccount) -> None:
        slate = feed(me)["slate_id"]
        other = client.as_(bob)
        allow(other, "behaviour", "content_taste")
        assert other.get("/v1/feed/1/why", params={"slate_id": slate}).json()["code"] == "slate_unknown"


@pytest.mark.feature("X1", via="http")
class TestResets:
    def reset(self, me: Client, scope: str) -> dict[str, Any]:
        answer = me.post("/v1/me/personalization/reset", json={"scope": scope})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def test_all_is_as_if_nothing_had_been_done_and_the_log_stays(
        self, client: Client, me: Client, clock: Clock
    ) -> None:
        untouched = feed(me)["items"]
        for work in (7, 8, 9):
            do(me, clock, "like", work)
        do(me, clock, "less_like_this", 1)
        assert [item["work_id"] for item in feed(me)["items"]] != [item["work_id"] for item in untouched]
        self.reset(me, "all")
        after = feed(me)
        assert after["personal"]
        assert {item["work_id"] for item in after["items"]} == {item["work_id"] for item in untouched}
        assert not any(item["because"] for item in after["items"])
        assert weights(me) == {}
        clock.forward(seconds=1)
        do(me, clock, "like", 6)
        assert weights(me).keys() == {6}, "what is done from now on counts"
        archive = owndata.taken(me, owndata.make(client, me))
        assert len(owndata.lines(archive, "engagement_event")) == 5, "the log is untouched"

    def test_short_keeps_the_lasting_taste(self, me: Client, clock: Clock) -> None:
        do(me, clock, "like", 7)
        before = get(me, "/v1/me/taste")
        self.reset(me, "short")
        after = get(me, "/v1/me/taste")
        assert (before["works"][0]["short"], before["session_events"]) == (pytest.approx(1), 1)
        assert (after["works"][0]["short"], after["session_events"], after["mood"]) == (0, 0, 0)
        assert after["works"][0]["long"] == pytest.approx(before["works"][0]["long"])

    @pytest.mark.parametrize(
        ("scope", "left", "works"),
        [
            ("tag:NOIR", {7, 8, 4}, 2),
            ("tag:rain", {1, 7, 4}, 2),
            ("kind:story", set(), 5),
            ("kind:song", {1, 2, 7, 8, 4}, 0),
        ],
    )
    def test_a_topic(self, me: Client, clock: Clock, scope: str, left: set[int], works: int) -> None:
        for work in (1, 2, 7, 8, 4):
            do(me, clock, "like", work)
        assert self.reset(me, scope)["works"] == works
        assert weights(me).keys() == left

    def test_one_work_and_only_what_was_done_until_then(self, me: Client, clock: Clock) -> None:
        do(me, clock, "like", 7)
        do(me, clock, "less_like_this", 2)
        assert me.delete("/v1/me/taste/works/7").json()["works"] == 1
        assert me.delete("/v1/me/taste/works/2").status_code == 200
        assert weights(me) == {}
        assert 2 in {item["work_id"] for item in feed(me)["items"]}, "what was hidden may be shown again"
        assert me.delete("/v1/me/taste/works/9").json()["code"] == "taste_unknown"
        clock.forward(seconds=1)
        do(me, clock, "save", 7)
        assert weights(me) == {7: pytest.approx(1.6)}

    def test_v11_the_next_model_forgets_as_well(self, me: Client, clock: Clock, core: Core) -> None:  # noqa: F811
        do(me, clock, "like", 7)
        do(me, clock, "like", 8)

        def pairs() -> int:
            with core.database.session() as session:
                return len(training.positive_pairs(session, now=core.clock()))

        before = pairs()
        me.delete("/v1/me/taste/works/7")
        assert before - pairs() == 1
        self.reset(me, "all")
        assert before - pairs() == 2
        core.database.dispose()

    @pytest.mark.parametrize(
        "scope", ["", "everything", "tag:", "tag: ", "kind:9", "kind:opera", "topic:x", "tag:" + "x" * 65]
    )
    def test_v15_what_is_no_scope_is_refused(self, me: Client, scope: str) -> None:
        assert me.post("/v1/me/personalization/reset", json={"scope": scope}).status_code == 422

    def test_a_visitors_reset_says_nothing_about_the_person_they_become(
        self, client: Client, me: Client, clock: Clock, alice: LocalAccount
    ) -> None:
        do(me, clock, "like", 6)
        visitor = visit(client)
        allow(visitor, "behaviour", "content_taste")
        clock.forward(seconds=1)
        do(visitor, clock, "like", 7)
        self.reset(visitor, "all")
        clock.forward(seconds=1)
        do(visitor, clock, "like", 8)
        made = sign_in(visitor, alice)
        assert weights(client.bearing(made["token"])).keys() == {6, 8}


@pytest.mark.feature("X5")
class TestLessLikeThis:
    def rows(self, *events: tuple[int, float], kind: EventKind = EventKind.LESS_LIKE_THIS) -> list[dict[str, Any]]:
        """(work, days ago)."""
        return [{"work_id": w, "kind": kind.value, "received_at": NOW - timedelta(days=ago)} for w, ago in events]

    def strengths(self, rows: list[dict[str, Any]]) -> dict[str, float]:
        tags = {work: tuple(map(aversion.fold, of)) for work, of in TAGS.items()}
        return aversion.unwanted(rows, tags, now=NOW.timestamp(), half_life_s=Decays().unwanted_s)

    def test_a_tag_pays_three_tenths_and_half_of_it_after_thirty_days(self) -> None:
        assert Policy().unwanted == 0.3
        assert self.strengths(self.rows((2, 0))) == {"noir": 1, "rain": 1}
        assert self.strengths(self.rows((2, 30))) == {"noir": 0.5, "rain": 0.5}
        assert self.strengths(self.rows((2, 60), (3, 0))) == {"noir": 0.25, "rain": 1}, "asked again, begun anew"
        assert self.strengths(self.rows((2, 0), kind=EventKind.SKIP)) == {}
        assert self.strengths(self.rows((2, -3))) == {"noir": 1, "rain": 1}, "a clock that went back"

    def test_the_total_pays_it_once_a_tag(self) -> None:
        tagged = {"noir": np.array([0, 1]), "rain": np.array([1, 2])}
        averse = aversion.averse({"noir": 1.0, "rain": 0.5, "gone": 1.0}, tagged, 4)
        assert averse is not None
        zero = np.zeros(4)
        shelf = Shelf(content=np.zeros((4, 1), np.float32), novelty=zero, quality=zero, energy=zero, exposures=zero)
        found = totals(zero, shelf, Viewer(averse=averse), Policy())
        np.testing.assert_allclose(found, [-0.3, -0.45, -0.15, 0])
        assert aversion.averse({}, tagged, 4) is None


@pytest.mark.feature("X5", via="http")
def test_less_like_this_changes_the_next_slate_beyond_the_one_work(me: Client, clock: Clock) -> None:
    def scores() -> dict[int, float]:
        return {item["work_id"]: item["score"] for item in feed(me)["items"]}

    before = scores()
    do(me, clock, "less_like_this", 7)
    after = scores()
    assert after.keys() == before.keys() - {7}
    assert after[6] < before[6]
    assert after[8] < before[8]
    assert get(me, "/v1/feed/8/why")["penalty"] == pytest.approx(0.3)
    assert get(me, "/v1/feed/9/why")["penalty"] == 0


def test_past_without_a_work_keeps_the_rest() -> None:
    past = scoring.Past(np.array([2, 5, 9]), np.array([1.0, 2.0, 3.0]), np.array([0.1, 0.2, 0.3]), session=4)
    left = past.without(np.array([5, 7]))
    assert (left.works.tolist(), left.long.tolist(), left.session) == ([2, 9], [1.0, 3.0], 4)
