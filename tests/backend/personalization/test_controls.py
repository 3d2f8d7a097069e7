"""What a person sets about their feed over HTTP: it acts on the next request, and is theirs to take and to erase."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from eth_account.signers.local import LocalAccount

from backend.personalization.person import wellbeing
from backend.personalization.person.controls import DEFAULTS, Controls, Limits
from backend.personalization.person.wellbeing import Did, Standing
from backend.personalization.ranking.signals import EventKind
from backend.personalization.ranking.slate import Policy
from backend.personalization.reading import Asked
from stack.postgres import DatabaseUrls
from tests.backend.conftest import Client, Clock, allow
from tests.backend.consent import owndata
from tests.factories import Mirror, hash32

PATH = "/v1/me/personalization"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def works(mirror: Mirror, bob: LocalAccount) -> Mirror:
    mirror.block(1)
    for work_id in range(1, 11):
        mirror.work(work_id, owner=bob, block=1)
    return mirror


@pytest.fixture
def me(client: Client, works: Mirror, alice: LocalAccount) -> Client:
    made = client.as_(alice)
    allow(made, "behaviour", "content_taste")
    return made


def do(me: Client, clock: Clock, kind: str, *works: int, **more: Any) -> None:
    owndata.send(me, clock(), kind, *works, **more)


@pytest.mark.feature("X5", via="http")
class TestSettings:
    def test_nobody_has_set_anything_at_first(self, client: Client, works: Mirror, alice: LocalAccount) -> None:
        found = client.as_(alice).get(PATH).json()
        assert found["enabled"]
        assert not found["personal"]
        assert found["limits"] == {"session_minutes": None, "autoplay_at_most": None, "night": None, "time_zone": None}
        assert {found[name] for name in ("novelty", "energy", "paused_until", "birth_year", "territory")} == {None}

    def test_the_energy_slider_moves_the_slate(self, me: Client, client: Client, clean_db: DatabaseUrls) -> None:
        """Odd works are calm, even ones lively; all else of them is the same."""
        with psycopg.connect(clean_db.conninfo()) as connection:
            for work in range(1, 11):
                row = [work, hash32("content", work), hash32("cid", work), ["calm" if work % 2 else "metal"]]
                connection.execute(
                    "INSERT INTO app.work_text (work_id, content_hash, cid_digest, kept, seen_block, kind, title, tags,"
                    " ai_tools) VALUES (%s, %s, %s, true, 1, 1, 'A work', %s, '{}')",
                    row,
                )

        def odd(**asked: float) -> list[bool]:
            items = me.get("/v1/feed", params={"limit": 4, **asked}).json()["items"]
            return [item["work_id"] % 2 == 1 for item in items]

        me.patch(PATH, json={"energy": -1})
        calm = odd()
        me.patch(PATH, json={"energy": 1})
        lively = odd()
        assert sum(calm) >= 3, "one place in ten is drawn by chance"
        assert sum(lively) <= 1
        assert odd(energy=-1) != odd(energy=1), "what the request asks goes before what was set"

    def test_put_sets_all_and_patch_a_part(self, me: Client) -> None:
        whole = {
            "enabled": True,
            "novelty": 0.5,
            "energy": -1,
            "birth_year": 1990,
            "territory": "FR",
            "limits": {
                "session_minutes": 90,
                "autoplay_at_most": 3,
                "night": {"begins": "22:30", "ends": "06:15"},
                "time_zone": "Europe/Paris",
            },
        }
        said = me.put(PATH, json=whole).json()
        assert {name: said[name] for name in whole} == whole
        changed = me.patch(PATH, json={"energy": None, "territory": "DE"}).json()
        assert {name: changed[name] for name in whole} == whole | {"energy": None, "territory": "DE"}
        assert me.patch(PATH, json={"limits": None}).json()["limits"]["night"] is None
        bare = me.put(PATH, json={"enabled": False}).json()
        assert (bare["enabled"], bare["novelty"], bare["territory"]) == (False, None, None)
        assert me.get(PATH).json() == bare

    def test_v11_a_pause_acts_on_the_next_request_and_ends_by_itself(self, me: Client, clock: Clock) -> None:
        until = clock() + timedelta(hours=2)
        assert me.patch(PATH, json={"paused_until": until.isoformat()}).json()["personal"] is False
        feed = me.get("/v1/feed").json()
        assert not feed["personal"]
        assert feed["why_not_personal"] == f"You paused personalization until {until:%Y-%m-%d %H:%M} UTC."
        clock.forward(hours=2)
        assert me.get("/v1/feed").json()["personal"]
        assert me.get(PATH).json()["paused_until"] is None

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ({"novelty": 1.1}, "invalid"),
            ({"energy": -1.01}, "invalid"),
            ({"enabled": "maybe"}, "invalid"),
            ({"territory": "France"}, "invalid"),
            ({"territory": "fr"}, "invalid"),
            ({"birth_year": 1899}, "invalid"),
            ({"birth_year": 2099}, "birth_year_ahead"),
            ({"paused_until": "2001-01-01T00:00:00Z"}, "pause_not_ahead"),
            ({"paused_until": "2099-01-01T00:00:00Z"}, "pause_not_ahead"),
            ({"paused_until": "2099-01-01T00:00:00"}, "invalid"),
            ({"limits": {"session_minutes": 4}}, "invalid"),
            ({"limits": {"autoplay_at_most": -1}}, "invalid"),
            ({"limits": {"night": {"begins": "23:00", "ends": "23:00"}}}, "invalid"),
            ({"limits": {"night": {"begins": "24:00", "ends": "06:00"}}}, "invalid"),
            ({"limits": {"time_zone": "Mars/Olympus"}}, "invalid"),
            ({"limits": {"time_zone": "../../etc/passwd"}}, "invalid"),
            ({"volume": 11}, "invalid"),
        ],
    )
    def test_v15_what_cannot_be_meant_is_refused_and_changes_nothing(
        self, me: Client, body: dict[str, Any], code: str
    ) -> None:
        before = me.get(PATH).json()
        answer = me.patch(PATH, json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, code)
        assert me.get(PATH).json() == before

    def test_it_is_taken_along_and_erased(self, client: Client, me: Client) -> None:
        me.patch(PATH, json={"novelty": 0.75, "limits": {"session_minutes": 60}})
        archive = owndata.taken(me, owndata.make(client, me))
        (row,) = owndata.lines(archive, "feed_settings")
        assert (row["novelty"], row["session_minutes"]) == (0.75, 60)
        owndata.erase(client, me)
        core = owndata.core_of(client)
        with core.database.engine.connect() as connection:
            connection.exec_driver_sql("SET LOCAL ROLE troupe_gate")
            assert connection.exec_driver_sql("SELECT count(*) FROM app.feed_settings").scalar_one() == 0


def did(*events: tuple[float, EventKind], now: datetime = NOON) -> list[Did]:
    """(minutes ago, kind)."""
    return [Did(now - timedelta(minutes=ago), kind) for ago, kind in events]


PLAY, LIKE = EventKind.PLAY, EventKind.LIKE


@pytest.mark.feature("X6")
class TestLimits:
    @pytest.mark.parametrize(
        ("ago", "minutes"),
        [([], 0), ([31], 0), ([30], 30), ([5, 20, 45], 45), ([5, 20, 51], 20), ([29, 58, 87, 116, 147], 116)],
    )
    def test_a_sitting_ends_with_half_an_hour_without_anything(self, ago: list[float], minutes: int) -> None:
        events = did(*((each, PLAY) for each in ago))
        assert wellbeing.standing(Limits(), events, NOON).session_minutes == minutes

    @pytest.mark.parametrize(("minutes", "reached"), [(44, True), (45, True), (46, False)])
    def test_a_sitting_is_long_enough_from_the_minute_on(self, minutes: int, reached: bool) -> None:
        found = wellbeing.standing(Limits(session_minutes=minutes), did((20, PLAY), (45, PLAY)), NOON)
        assert found.has("session") is reached
        if reached:
            assert found.reached[0][1] == f"You have been here for 45 minutes; you wanted to stop after {minutes}."

    def test_what_may_not_be_read_reaches_no_limit(self) -> None:
        assert wellbeing.standing(Limits(session_minutes=5), None, NOON) == Standing()

    @pytest.mark.parametrize(
        ("hour", "minute", "night"),
        [(21, 59, False), (22, 0, True), (23, 59, True), (0, 0, True), (5, 59, True), (6, 0, False), (12, 0, False)],
    )
    def test_a_night_passes_midnight(self, hour: int, minute: int, night: bool) -> None:
        limits = Limits(night_from=22 * 60, night_until=6 * 60)
        now = NOON.replace(hour=hour, minute=minute)
        until = wellbeing.night_until(limits, now)
        assert (until is not None) is night
        if until is not None:
            assert (until.hour, until > now, until - now <= timedelta(hours=8)) == (6, True, True)

    def test_a_night_is_where_the_person_is(self) -> None:
        limits = Limits(night_from=22 * 60, night_until=6 * 60, time_zone="Asia/Tokyo")
        assert wellbeing.night_until(limits, NOON) is None
        until = wellbeing.night_until(limits, NOON.replace(hour=14))
        assert until is not None
        assert f"{until:%H:%M %Z}" == "06:00 JST"

    def test_a_streak_is_ended_by_a_choice(self) -> None:
        limits = Limits(autoplay_at_most=3)
        three = did((4, PLAY), (3, PLAY), (2, PLAY))
        assert wellbeing.standing(limits, three, NOON).autoplay_left == 0
        assert wellbeing.standing(limits, three, NOON).has("autoplay")
        chosen = wellbeing.standing(limits, [*three, *did((1, LIKE))], NOON)
        assert (chosen.autoplay_left, chosen.reached) == (3, ())
        assert wellbeing.standing(Limits(), three, NOON).autoplay_left == 0, "nothing begins by itself unasked"

    def test_a_long_sitting_and_a_night_make_the_slate_short_and_certain(self) -> None:
        policy = Policy(explore=0.1, energy=0.3)
        session = Standing(reached=(("session", "."),))
        night = Standing(reached=(("night", "."),))
        assert wellbeing.kept(policy, 20, Standing()) == (policy, 20)
        assert wellbeing.kept(policy, 20, Standing(reached=(("autoplay", "."),))) == (policy, 20)
        kept, size = wellbeing.kept(policy, 20, session)
        assert (kept.explore, kept.energy, size) == (0, 0.3, wellbeing.REST)
        kept, size = wellbeing.kept(policy, 3, night)
        assert (kept.explore, kept.energy, size) == (0, -0.25, 3)
        assert wellbeing.kept(Policy(energy=-0.5), 20, night)[0].energy == -0.5, "who wants it calmer gets it"

    @pytest.mark.parametrize(("year", "age"), [(None, None), (2008, 17), (2026, 0), (2025, 0)])
    def test_somebody_is_as_old_as_they_are_for_certain(self, year: int | None, age: int | None) -> None:
        assert Controls(birth_year=year).age(NOON) == age
        assert DEFAULTS.age(NOON) is None


@pytest.mark.feature("X6", via="http")
class TestLimitsOverHttp:
    def test_a_long_sitting_makes_the_feed_short_unless_the_person_goes_on_anyway(
        self, me: Client, clock: Clock
    ) -> None:
        me.patch(PATH, json={"limits": {"session_minutes": 40, "autoplay_at_most": 2}})
        do(me, clock, "play", 1)
        assert len(me.get("/v1/feed").json()["items"]) == 10
        for work in (2, 3):
            clock.forward(minutes=20)
            do(me, clock, "play", work)
        feed = me.get("/v1/feed").json()
        assert len(feed["items"]) == wellbeing.REST
        assert [each["limit"] for each in feed["wellbeing"]["reached"]] == ["session", "autoplay"]
        assert feed["wellbeing"]["reached"][0]["sentence"].startswith("You have been here for 40 minutes")
        assert (feed["wellbeing"]["session_minutes"], feed["wellbeing"]["autoplay_left"]) == (40, 0)
        anyway = me.get("/v1/feed", params={"anyway": True}).json()
        assert (len(anyway["items"]), anyway["wellbeing"]) == (10, feed["wellbeing"])
        clock.forward(minutes=31)
        assert me.get("/v1/feed").json()["wellbeing"]["reached"] == []

    def test_v11_what_is_done_is_read_for_limits_only_where_one_is_set_and_keeping_it_is_allowed(
        self, me: Client, clock: Clock
    ) -> None:
        def read() -> set[str]:
            return {use["reader"] for use in me.get("/v1/me/data-use").json()["items"]}

        do(me, clock, "play", 1)
        me.get("/v1/feed")
        assert "feed.sitting" not in read()
        allow(me, "behaviour", granted=False)
        me.patch(PATH, json={"limits": {"session_minutes": 5}})
        assert me.get("/v1/feed").json()["wellbeing"]["session_minutes"] == 0
        assert "feed.sitting" not in read()
        allow(me, "behaviour")
        me.get("/v1/feed")
        assert "feed.sitting" in read()

    def test_off_is_off(self, me: Client, clock: Clock) -> None:
        me.patch(PATH, json={"enabled": False, "limits": {"night": {"begins": "00:00", "ends": "23:59"}}})
        assert me.get("/v1/feed").json()["wellbeing"]["reached"] == []


@pytest.mark.feature("X5", via="http")
class TestHiddenCreators:
    def test_a_hidden_creator_is_in_no_slate_until_shown_again(
        self, me: Client, works: Mirror, alice: LocalAccount, bob: LocalAccount
    ) -> None:
        works.work(11, owner=alice, block=1)
        path = f"/v1/me/hidden-creators/{bob.address}"
        assert len(me.get("/v1/feed").json()["items"]) == 11
        assert me.put(path).status_code == me.put(path).status_code == 204
        assert me.get(PATH).json()["hidden_creators"] == [bob.address]
        assert [item["work_id"] for item in me.get("/v1/feed").json()["items"]] == [11]
        me.patch(PATH, json={"enabled": False})
        assert [item["work_id"] for item in me.get("/v1/feed").json()["items"]] == [11], "personal or not"
        assert me.delete(path).status_code == 204
        assert len(me.get("/v1/feed").json()["items"]) == 11

    def test_v15_what_is_no_address_is_refused(self, me: Client) -> None:
        assert me.put("/v1/me/hidden-creators/bob").status_code == 422


def test_a_slider_moves_in_hundredths_so_that_slates_to_keep_are_few() -> None:
    """Attack: fill the impressions with slates that differ by a billionth of a slider."""
    asked = {Asked(novelty=0.5 + n * 1e-9, energy=-0.25 - n * 1e-9).turned(DEFAULTS) for n in range(100)}
    assert asked == {Controls(novelty=0.5, energy=-0.25)}
    assert Asked().turned(Controls(novelty=0.123)).novelty == 0.12
