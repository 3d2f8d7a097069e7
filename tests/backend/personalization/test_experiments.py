"""Experiments in serving: declared in a file, drawn by a key, kept in impressions, and judged from sums alone."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eth_account.signers.local import LocalAccount
from fastapi import FastAPI
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import text

from backend.app import create_app
from backend.consent import reads
from backend.consent.gate import entered
from backend.consent.purposes import NOTICES, Purpose
from backend.db import Database
from backend.models.consent import ConsentReceipt
from backend.personalization.configuration import BUILT_IN, changed
from backend.personalization.evaluation import experiments
from backend.personalization.evaluation.experiment import Sample, Sums, cuped, cuped_sums, sequential, sequential_sums
from backend.personalization.evaluation.experiments import BadExperiments, assigned, load, parse
from backend.settings import Settings
from backend.vault.vault import SEALED
from stack.postgres import DatabaseUrls
from tests.backend.conftest import Client, Clock, allow
from tests.factories import Mirror

HOLDOUT = Path(experiments.__file__).with_name("experiments.toml")
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
TWO = """
[variety]
says = "Does more variety please?"
control = "as-now"
since = 2026-11-01T00:00:00Z
until = 2026-12-01T00:00:00Z
[variety.worth]
satisfied = 0.05
[[variety.arms]]
name = "varied"
share = "1/2"
policy = { similar = 1.5 }
weights = { taste = 0.5 }
[[variety.arms]]
name = "as-now"
share = "1/2"
"""


class TestFile:
    def test_the_built_in_one_holds_out_one_in_twenty(self) -> None:
        [holdout] = load(HOLDOUT)
        assert [(arm.name, arm.share, arm.personal) for arm in holdout.arms] == [
            ("holdout", Fraction(1, 20), False),
            ("chosen", Fraction(19, 20), True),
        ]
        assert holdout.runs(NOW)

    def test_without_a_file_none_runs(self) -> None:
        assert load(None) == ()

    @pytest.mark.parametrize(
        ("old", "new", "words"),
        [
            ('share = "1/2"\npolicy', 'share = "2/3"\npolicy', "sum to 7/6"),
            ('share = "1/2"\npolicy', 'share = "many"\npolicy', "must be a fraction"),
            ('share = "1/2"\npolicy', 'share = "1/0"\npolicy', "must be a fraction"),
            ('share = "1/2"\npolicy', 'share = "-1/2"\npolicy', "above 0"),
            ("similar = 1.5", "alike = 1.5", "no number policy.alike"),
            ("similar = 1.5", "explore = 0.9", "explore is 0.9"),
            ("similar = 1.5", 'similar = "much"', "must be a number"),
            ("taste = 0.5", "trend_half_life_s = 5.0", "same for all"),
            ("{ taste = 0.5 }", "3", "variety.varied"),
            ('control = "as-now"', 'control = "nobody"', "must name one of its arms"),
            ("satisfied = 0.05", "satisfied = 0", "above 0"),
            ("satisfied = 0.05", "satisfied = nan", "above 0"),
            ("satisfied = 0.05", "clicks = 0.05", "must have one of"),
            ('name = "varied"', 'name = "as-now"', "two arms of one name"),
            ("2026-12-01T00:00:00Z", "2026-10-01T00:00:00Z", "ends before it begins"),
            ("2026-12-01T00:00:00Z", "2026-12-01T00:00:00", "with an offset"),
            ("[variety]", "[Variety]", "small letters"),
            ('says = "Does more variety please?"', "", "must say what is tried"),
            ("[variety]", "[variety]\ncolour = 1", "colour"),
            ("[variety]", "[variety", "no TOML"),
        ],
    )
    def test_v15_what_cannot_be_meant_is_refused_with_its_place(self, old: str, new: str, words: str) -> None:
        assert old in TWO
        with pytest.raises(BadExperiments, match=words):
            parse(TWO.replace(old, new, 1))

    def test_v15_two_experiments_never_change_one_number(self) -> None:
        with pytest.raises(BadExperiments, match="both change"):
            parse(TWO + TWO.replace("variety", "other"))

    def test_v15_a_file_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(BadExperiments, match=r"none.toml cannot be read"):
            load(tmp_path / "none.toml")


class TestArms:
    def test_an_arm_changes_the_configuration_and_its_digest(self) -> None:
        declared = parse(TWO)
        drawn = {assigned(declared, b"k", uuid.UUID(int=n), now=NOW).names["variety"]: n for n in range(40)}
        varied = assigned(declared, b"k", uuid.UUID(int=drawn["varied"]), now=NOW).configuration(BUILT_IN)
        assert (varied.policy.similar, varied.weights.taste) == (1.5, 0.5)
        assert varied.digest != BUILT_IN.digest
        same = assigned(declared, b"k", uuid.UUID(int=drawn["as-now"]), now=NOW)
        assert same.configuration(BUILT_IN) == BUILT_IN

    def test_before_and_after_nobody_is_in_an_arm(self) -> None:
        for day in (datetime(2026, 10, 31, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)):
            assert assigned(parse(TWO), b"k", uuid.UUID(int=1), now=day).names == {}

    def test_an_arm_that_does_not_fit_what_was_voted_for_leaves_it(self) -> None:
        arm = experiments.Arm("a", Fraction(1), changes={"policy": {"explore": 0.9}})
        voted = changed(BUILT_IN, {"policy": {"explore": 0.15}})
        assert experiments.Assigned({"x": arm}).configuration(voted) == voted


values = st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), min_size=2, max_size=40)


class TestSums:
    """What is computed from sums equals what is computed from the rows that nobody hands out."""

    @examples(max_examples=40)
    @given(values, values, st.booleans())
    def test_cuped_and_sequential_from_sums_equal_those_from_rows(self, a: Any, b: Any, before: bool) -> None:
        ours, theirs = (
            Sample(y, x if before else None) for y, x in (np.array(pairs).T.astype(float) for pairs in (a, b))
        )
        sums = cuped_sums(Sums.of(ours), Sums.of(theirs))
        rows = cuped(ours, theirs)
        for left, values in zip(sums, rows, strict=True):
            assert left.mean == pytest.approx(values.mean(), abs=1e-6)
            assert left.variance == pytest.approx(values.var(ddof=1), abs=1e-5, rel=1e-6)
        by_rows, by_sums = sequential(*rows, tau=0.5), sequential_sums(*sums, tau=0.5)
        if min(values.var() for values in rows) > 1e-6:
            assert by_sums[0] == pytest.approx(by_rows[0], abs=1e-6)
            assert by_sums[1:3] == pytest.approx(by_rows[1:3], rel=1e-4, abs=1e-4)

    def test_a_planted_slip_in_the_sums_is_noticed(self) -> None:
        rng = np.random.default_rng(1)
        ours, theirs = (Sample(rng.normal(size=50), rng.normal(size=50)) for _ in range(2))
        wrong = Sums.of(ours)
        wrong = Sums(wrong.people, wrong.y, wrong.yy, wrong.x, wrong.xx, -wrong.xy)
        left = cuped_sums(wrong, Sums.of(theirs))[0]
        assert left.variance != pytest.approx(cuped(ours, theirs)[0].var(ddof=1), rel=1e-3)


# --- from the log -----------------------------------------------------------------------------------------------------


def consent(person: uuid.UUID, granted: bool = True) -> ConsentReceipt:
    return ConsentReceipt(
        record_id=uuid.uuid4(),
        person_id=person,
        purpose="behaviour",
        granted=granted,
        notice_version=NOTICES[Purpose.BEHAVIOUR].version,
        notice_digest=b"",
        at=NOW,
        salt=SEALED,
        document=SEALED,
        commitment=bytes(32),
    )


SLATE = text(
    "INSERT INTO app.impression (person_id, slate_id, at, works, whys, propensities, choices, usual, configuration,"
    " model_version, arms, packaging) VALUES (:person, :slate, :at, ARRAY[1,2], ARRAY['best','best'], ARRAY[1.0,1.0],"
    " ARRAY[2,1], ARRAY[1.0,1.0], 'c', NULL, CAST(:arms AS jsonb), '[]')"
)
EVENT = text(
    "INSERT INTO app.engagement_event (person_id, event_id, work_id, kind, at, received_at, duration_ms,"
    " completion_bps, epoch, slate_id, digest)"
    " VALUES (:person, gen_random_uuid(), :work, :kind, :at, :at, :duration, :completion, 1, :slate, '')"
)


class Diary:
    """Writes what people were shown and did, as the gate keeps it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.people: list[uuid.UUID] = []

    def write(self, arms: dict[int, str], finished: dict[int, int], before: dict[int, int]) -> None:
        """Person -> arm; person -> how many of ten slates end in a watch to the end; -> watches before."""
        slates: list[dict[str, Any]] = []
        events: list[dict[str, Any]] = []
        with self.database.session() as session, entered(session):
            for person, arm in arms.items():
                name = uuid.UUID(int=person + 1)
                session.add(consent(name))
                for n in range(10):
                    slate, at = uuid.uuid4(), NOW - timedelta(days=1, minutes=n)
                    slates.append({"person": name, "slate": slate, "at": at, "arms": f'{{"variety": "{arm}"}}'})
                    done = {"person": name, "work": 1, "at": at, "slate": slate, "duration": 9, "completion": 9_000}
                    if n < finished[person]:
                        events.append(done | {"kind": "watch"})
                    else:  # on a work that the slate does not hold, and on another's slate: both join nothing
                        events.append(done | {"kind": "watch", "work": 3})
                        events.append(done | {"kind": "watch", "slate": uuid.uuid4()})
                for n in range(before[person]):
                    long_ago = datetime(2026, 10, 20, tzinfo=UTC)
                    earlier = {"person": name, "work": 100 + n, "kind": "watch", "at": long_ago, "slate": None}
                    events.append(earlier | {"duration": 9, "completion": 9_000})
            session.execute(SLATE, slates)
            session.execute(EVENT, events)


@pytest.fixture(scope="module")
def written(module_db_urls: DatabaseUrls) -> Any:
    """Sixty people: half varied, who finish more, as much as they did before and a little."""
    database = Database(module_db_urls.backend)
    rng = np.random.default_rng(4)
    people = range(60)
    arms = {n: "varied" if n % 2 else "as-now" for n in people}
    before = {n: int(rng.integers(0, 8)) for n in people}
    finished = {n: min(10, before[n] + (2 if n % 2 else 0) + int(rng.integers(0, 2))) for n in people}
    Diary(database).write(arms, finished, before)
    yield database, arms, finished, before
    database.dispose()


@pytest.mark.feature("X9")
class TestResults:
    def test_they_are_what_the_rows_say(self, written: Any) -> None:
        database, arms, finished, before = written
        with database.session() as session:
            [found] = experiments.results(session, parse(TWO), now=NOW)
        assert [(arm.name, arm.people, arm.slates) for arm in found.arms] == [("varied", 30, 300), ("as-now", 30, 300)]
        assert found.sound
        for arm in found.arms:
            y = np.array([finished[n] / 10 for n, name in arms.items() if name == arm.name])
            x = np.array([float(before[n]) for n, name in arms.items() if name == arm.name])
            there, expected = arm.sums["satisfied"], Sums.of(Sample(y, x))
            assert vars(there) == pytest.approx(vars(expected))
            assert arm.sums["days"].mean == 1
            assert arm.sums["complaints"].mean == 0
        [comparison] = found.comparisons
        assert (comparison.arm, comparison.metric) == ("varied", "satisfied")
        assert comparison.verdict.tells
        assert comparison.verdict.low <= 0.2 <= comparison.verdict.high

    def test_v11_who_withdrew_is_in_no_sum(self, written: Any) -> None:
        database = written[0]
        with database.session() as session:
            with entered(session):
                session.add(consent(uuid.UUID(int=1), granted=False))
            [found] = experiments.results(session, parse(TWO), now=NOW)
            assert {arm.name: arm.people for arm in found.arms} == {"varied": 30, "as-now": 29}
            session.rollback()

    def test_of_few_people_nothing_but_their_number_is_told(self, db_urls: DatabaseUrls) -> None:
        database = Database(db_urls.backend)
        few = range(reads.LEAST_PEOPLE - 1)
        Diary(database).write(dict.fromkeys(few, "varied"), dict.fromkeys(few, 3), dict.fromkeys(few, 0))
        with database.session() as session:
            [found] = experiments.results(session, parse(TWO), now=NOW)
        database.dispose()
        assert [(arm.people, dict(arm.sums)) for arm in found.arms] == [(len(few), {}), (0, {})]
        assert found.comparisons == []
        assert found.sound  # nine to none are not yet unlikely enough

    def test_a_broken_split_tells_nothing(self, written: Any) -> None:
        database, *_ = written
        nineteen = TWO.replace('share = "1/2"\npolicy', 'share = "19/20"\npolicy').replace('"1/2"', '"1/20"')
        with database.session() as session:
            [found] = experiments.results(session, parse(nineteen), now=NOW)
        assert not found.sound
        assert not any(one.verdict.tells for one in found.comparisons)


# --- over HTTP --------------------------------------------------------------------------------------------------------


@pytest.fixture
def mirror(mirror: Mirror, bob: LocalAccount) -> Mirror:
    mirror.block(1)
    for work_id in range(1, 11):
        mirror.work(work_id, owner=bob, block=1)
    return mirror


@pytest.fixture
def app(settings: Settings, clock: Clock, tmp_path: Path, alice: LocalAccount) -> Any:
    file = tmp_path / "experiments.toml"
    file.write_text(HOLDOUT.read_text().replace('"1/20"', '"1/2"').replace('"19/20"', '"1/2"'))
    made = create_app(
        settings.model_copy(update={"experiments": file, "operators": frozenset({alice.address})}), clock=clock
    )
    yield made
    made.state.core.database.dispose()


@pytest.mark.feature("X9", via="http")
class TestServed:
    def test_half_are_held_out_told_so_and_get_what_everybody_gets(
        self, client: Client, mirror: Mirror, app: FastAPI, people: Any
    ) -> None:
        everybodys = client.get("/v1/feed").json()
        drawn = {}
        for n in range(8):
            one = client.as_(people(f"p{n}"))
            allow(one, "behaviour", "content_taste")
            feed = one.get("/v1/feed").json()
            drawn[n] = feed["personal"]
            if not feed["personal"]:
                assert feed["why_not_personal"] == experiments.HELD_OUT
                assert feed["items"] == everybodys["items"]
            assert feed["slate_id"]
            readers = {use["reader"] for use in one.get("/v1/me/data-use").json()["items"]}
            assert ({"feed.history", "feed.shown"} & readers == set()) is not feed["personal"], "nor is anything read"
        assert set(drawn.values()) == {True, False}
        core = app.state.core
        with core.database.session() as session, entered(session):
            kept = session.execute(text("SELECT arms ->> 'holdout' AS arm, count(*) FROM app.impression GROUP BY 1"))
            counted = {row.arm: row.count for row in kept}
        assert counted == {"chosen": sum(drawn.values()), "holdout": 8 - sum(drawn.values())}

    def test_operators_see_results_and_others_do_not(
        self, client: Client, mirror: Mirror, alice: LocalAccount, bob: LocalAccount
    ) -> None:
        assert client.as_(bob).get("/v1/experiments").status_code == 403
        [found] = client.as_(alice).get("/v1/experiments").json()["items"]
        assert (found["name"], found["runs"], found["sound"], found["control"]) == ("holdout", True, True, "holdout")
        assert [(arm["name"], arm["share"], arm["people"], arm["means"]) for arm in found["arms"]] == [
            ("holdout", 0.5, 0, []),
            ("chosen", 0.5, 0, []),
        ]
        assert found["comparisons"] == []
