"""Policies judged by the platform's own impressions: equal to the estimators on rows, true in a world that is known."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from backend.consent.gate import entered
from backend.db import Database
from backend.personalization.evaluation import off_policy, own_log
from backend.personalization.evaluation.off_policy import Rounds
from backend.personalization.evaluation.own_log import POLICIES, TooLittle, buckets_of, estimates, judge, verdict
from backend.personalization.ranking.slate import DEPTH, Policy, fill
from stack.postgres import DatabaseUrls
from tests.backend.personalization.test_experiments import EVENT, SLATE, consent
from tests.backend.personalization.test_slate import PLAIN, SCORE, SHELF, shelf

pytestmark = pytest.mark.feature("X9")
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PEOPLE = 140
WORKS = 6
WORTH = np.array([0.9, 0.1, 0.1, 0.5, 0.2, 0.3])
"""The chance that a person is pleased by each work; the served score takes work 1 for the best, and work 0 is."""


def drawn(seed: int, people: int, slates: int) -> list[dict[str, Any]]:
    """What the real slate draws in a small world, with a reward for each place."""
    rng = np.random.default_rng(seed)
    small = shelf(works=WORKS)
    score, popular = np.array([1.0, 2.0, 0.5, 0.2, 0.0, -0.5]), np.array([5.0, 1, 1, 1, 1, 1])
    policy = Policy(**(vars(PLAIN) | {"explore": 0.15}))
    found = []
    for person in range(people):
        for n in range(slates):
            places = fill(score, np.arange(WORKS), small, policy=policy, size=3, rng=rng, popular=popular)
            for at, place in enumerate(places):
                row = {"person": person, "slate": (person, n), "place": at, "work": place.work, "p": place.propensity}
                row |= {"why": place.why, "choices": place.choices, "usual": place.usual}
                found.append(row | {"r": float(rng.random() < WORTH[place.work])})
    return found


ROWS = drawn(7, PEOPLE, 6)


def weights(row: dict[str, Any]) -> dict[str, float]:
    return {
        "served": 1.0,
        "greedy": (row["p"] > 0.15) / row["p"],
        "uniform": 1 / row["choices"] / row["p"],
        "popular": row["usual"] / row["p"],
    }


def summed(rows: list[dict[str, Any]], buckets: int) -> own_log.Buckets:
    """The sums that the database would give, made in Python."""
    made = []
    for bucket in range(buckets):
        there = [row for row in rows if row["person"] % buckets == bucket]
        sums: dict[str, float] = {"rounds": len(there), "rewards": sum(row["r"] for row in there)}
        for policy in POLICIES:
            w = np.array([weights(row)[policy] for row in there])
            r = np.array([row["r"] for row in there])
            sums |= {f"{policy}_w": w.sum(), f"{policy}_wr": w @ r, f"{policy}_ww": w @ w}
        made.append(SimpleNamespace(**sums))
    return buckets_of(made)


class TestEstimates:
    @pytest.mark.parametrize("policy", POLICIES)
    def test_sums_give_what_the_rows_give(self, policy: str) -> None:
        pi = np.array([weights(row)[policy] * row["p"] for row in ROWS])
        rounds = Rounds(
            np.zeros(len(ROWS), dtype=np.int64),
            np.array([row["r"] for row in ROWS]),
            np.array([row["p"] for row in ROWS]),
            np.column_stack([pi, 1 - pi]),
        )
        sums = summed(ROWS, 28)
        assert sums.ips(policy) == pytest.approx(off_policy.ips(rounds), rel=1e-9)
        assert sums.snips(policy) == pytest.approx(off_policy.snips(rounds), rel=1e-9)
        assert sums.effective(policy) == pytest.approx(rounds.effective(), rel=1e-9)

    def test_the_logging_policy_is_worth_its_own_mean(self) -> None:
        [served] = [each for each in estimates(summed(ROWS, 28), np.random.default_rng(1)) if each.policy == "served"]
        mean = np.mean([row["r"] for row in ROWS])
        assert served.ips == pytest.approx(mean)
        assert served.low <= mean <= served.high
        assert served.effective == pytest.approx(len(ROWS))

    def test_weights_are_one_on_average_for_each_policy(self) -> None:
        """Wrong propensities would show: the mean weight of a policy that can be judged is 1, within its noise."""
        rows = drawn(8, 400, 6)
        for policy in POLICIES:
            w = np.array([weights(row)[policy] for row in rows])
            assert w.mean() == pytest.approx(1, abs=4 * w.std() / np.sqrt(len(w)) + 1e-9), policy
        turned = np.array([weights(row | {"p": min(1.0, 2 * row["p"])})["uniform"] for row in rows])
        assert abs(turned.mean() - 1) > 4 * turned.std() / np.sqrt(len(turned))  # a planted slip is seen

    def test_what_is_better_is_found_and_what_is_not_is_not_told(self) -> None:
        rows = [row for row in drawn(9, 600, 6) if row["place"] == 0]
        by = {each.policy: each for each in estimates(summed(rows, 60), np.random.default_rng(2))}
        assert by["popular"].snips == pytest.approx(WORTH[0], abs=0.12)
        assert by["uniform"].snips == pytest.approx(WORTH.mean(), abs=0.1)
        assert by["greedy"].snips == pytest.approx(WORTH[1], abs=0.03)
        assert by["greedy"].against.high < 0
        assert verdict(by["greedy"], by["popular"]).startswith("-0.")
        same = [row | {"r": float(row["person"] % 2)} for row in rows]
        by = {each.policy: each for each in estimates(summed(same, 60), np.random.default_rng(3))}
        assert verdict(by["uniform"], by["popular"]).startswith("within noise")

    def test_of_few_rounds_nothing_is_said(self) -> None:
        rows = [row | {"usual": 0.0} for row in ROWS]
        by = {each.policy: each for each in estimates(summed(rows, 28), np.random.default_rng(3))}
        assert (by["popular"].snips, by["popular"].effective) == (0, 0)
        assert "too few rounds like those of 'popular'" in verdict(by["greedy"], by["popular"])


def write(database: Database, rows: list[dict[str, Any]]) -> None:
    slates: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        slates.setdefault(row["slate"], []).append(row)
    insert = text(
        str(SLATE)
        .replace("ARRAY[1,2], ARRAY['best','best'], ARRAY[1.0,1.0]", ":works, :whys, :ps")
        .replace("ARRAY[2,1], ARRAY[1.0,1.0]", ":choices, :usual")
    )
    kept, events = [], []
    for (person, n), places in slates.items():
        name, slate, at = uuid.UUID(int=person + 1), uuid.uuid4(), NOW - timedelta(days=2, minutes=n)
        said = {"person": name, "slate": slate, "at": at, "arms": "{}"}
        said |= {"works": [row["work"] + 1 for row in places], "whys": [row["why"] for row in places]}
        said |= {"ps": [row["p"] for row in places], "choices": [row["choices"] for row in places]}
        kept.append(said | {"usual": [row["usual"] for row in places]})
        done = {"person": name, "slate": slate, "at": at + timedelta(minutes=5), "kind": "watch", "duration": 9}
        events += [done | {"work": row["work"] + 1, "completion": 6_000 if row["r"] else 100} for row in places]
    with database.session() as session, entered(session):
        for person in sorted({row["person"] for row in rows}):
            session.add(consent(uuid.UUID(int=person + 1)))
        session.execute(insert, kept)
        session.execute(EVENT, events)


class TestFromTheLog:
    @pytest.mark.slow
    def test_the_database_sums_as_python_does_and_says_when_there_is_too_little(self, db_urls: DatabaseUrls) -> None:
        database = Database(db_urls.backend)
        rows = [row for row in ROWS if row["person"] < 120]
        few = pytest.raises(TooLittle, match=r"0 people with 0 places .* it takes 100 people")
        with database.session() as session, few:
            judge(session, now=NOW)
        write(database, rows)
        with database.session() as session:
            found = judge(session, now=NOW)
            assert (found.people, found.rounds) == (120, len(rows))
            assert found.explored == sum(row["why"] == "explored" for row in rows)
            sums = summed(rows, 24)
            for each in found.policies:
                assert each.ips == pytest.approx(sums.ips(each.policy))
                assert each.snips == pytest.approx(sums.snips(each.policy))
                assert each.effective == pytest.approx(sums.effective(each.policy))
                assert 0 < each.snips_error < 0.2
            with entered(session):  # thirty withdraw: too little is left
                for person in range(30):
                    session.add(consent(uuid.UUID(int=person + 1), granted=False))
            with pytest.raises(TooLittle, match="90 people"):
                judge(session, now=NOW)
            session.rollback()
        database.dispose()


class TestExploration:
    """Of the places that are nobody's special ones, about a tenth are drawn by chance, over any thousand in a row."""

    def test_the_share_stays_within_its_bounds_over_any_thousand_impressions(self) -> None:
        policy = Policy()
        rng = np.random.default_rng(12)
        whys = [
            place.why == "explored"
            for _ in range(400)
            for place in fill(SCORE, np.arange(len(SCORE)), SHELF, policy=policy, size=20, rng=rng)
            if place.why in ("best", "explored")
        ]
        shares = np.convolve(whys, np.ones(1_000) / 1_000, mode="valid")
        assert len(shares) > 6_000
        assert 0.05 <= shares.min() <= shares.max() <= 0.15

    def test_the_second_of_two_special_places_had_one_candidate_less(self) -> None:
        policy = Policy(**(vars(PLAIN) | {"fresh": 3}))
        rng = np.random.default_rng(13)
        places = fill(SCORE, np.arange(len(SCORE)), SHELF, policy=policy, size=10, rng=rng)
        fresh = [place for place in reversed(places) if place.why == "fresh"]
        assert [place.choices for place in fresh] == [fresh[0].choices - n for n in range(3)]
        assert [place.propensity for place in fresh] == [1 / place.choices for place in fresh]

    def test_popularitys_own_choice_is_one_work_or_shared_among_equals(self) -> None:
        popular = np.zeros(len(SCORE))
        popular[[3, 5]] = 7.0
        places = fill(
            SCORE + 50 * popular,
            np.arange(len(SCORE)),
            SHELF,
            policy=PLAIN,
            size=3,
            popular=popular,
            rng=np.random.default_rng(1),
        )
        assert [place.usual for place in places] == [0.5, 1.0, 1 / (DEPTH - 2)]


def test_the_table_says_that_popular_and_uniform_are_within_the_persons_best() -> None:
    """Of 2,000 works only the DEPTH best can stand at an explored place, and the note says so."""
    score = np.arange(2_000, dtype=np.float64)
    big = shelf(works=2_000)
    policy = Policy(**(vars(PLAIN) | {"explore": 0.15}))
    drawn = [
        place
        for seed in range(20)
        for place in fill(score, np.arange(2_000), big, policy=policy, size=10, rng=np.random.default_rng(seed))
        if place.why == "explored"
    ]
    assert drawn
    assert all(place.choices <= DEPTH and place.work >= 2_000 - DEPTH - 10 for place in drawn)
    assert f"within the {DEPTH} works that score best for the person" in own_log.NOTE
