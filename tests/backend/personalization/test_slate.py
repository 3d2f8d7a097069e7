"""Slates: constraints before everything, variety that costs little, and every probability written down."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.personalization.ranking import slate
from backend.personalization.ranking.content import unit_rows
from backend.personalization.ranking.slate import ALIKE, Policy, Shelf, Viewer, fill, turned

WORKS = 300
PLAIN = Policy(novelty=0, similar=0, quality=0, fatigue=0, unlike=0, fresh=0, explore=0, similar_at_most=10**6)


def shelf(seed: int = 0, works: int = WORKS) -> Shelf:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(12, 8))
    content = unit_rows((centres[rng.integers(0, 12, works)] + 0.3 * rng.normal(size=(works, 8))).astype(np.float32))
    return Shelf(
        content=content,
        novelty=rng.normal(size=works),
        quality=rng.normal(size=works),
        energy=rng.normal(size=works),
        exposures=rng.integers(0, 500, works).astype(float),
    )


SHELF = shelf()
SCORE = np.random.default_rng(1).normal(size=WORKS)
EVERY = np.arange(WORKS)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


class TestConstraints:
    @settings(max_examples=60, deadline=None)
    @given(
        st.sets(st.integers(0, WORKS - 1), max_size=80),
        st.integers(0, 40),
        st.integers(0, 2**32),
        st.sets(st.integers(0, WORKS - 1), max_size=10),
    )
    def test_only_allowed_works_each_once_and_as_many_as_there_are(
        self, allowed: set[int], size: int, seed: int, past: set[int]
    ) -> None:
        works = np.array(sorted(allowed), dtype=np.int64)
        viewer = Viewer(past=np.array(sorted(past), dtype=np.int64))
        made = [p.work for p in fill(SCORE, works, SHELF, viewer=viewer, size=size, rng=rng(seed))]
        assert len(set(made)) == len(made) == min(size, len(allowed))
        assert set(made) <= allowed

    def test_nothing_allowed_is_an_empty_slate(self) -> None:
        assert fill(SCORE, np.zeros(0, dtype=np.int64), SHELF, rng=rng()) == []

    @pytest.mark.parametrize("worth", [np.nan, np.inf, -np.inf])
    def test_scores_that_are_no_numbers_break_nothing(self, worth: float) -> None:
        score = SCORE.copy()
        score[::7] = worth
        made = fill(score, EVERY, SHELF, rng=rng(), size=30)
        assert len(made) == 30
        assert np.isfinite([p.total for p in made]).all()

    def test_not_a_number_is_shown_last(self) -> None:
        score = np.full(10, np.nan)
        score[4] = -50.0
        first = fill(score, np.arange(10), shelf(works=10), policy=PLAIN, rng=rng())[0]
        assert first.work == 4


class TestOrder:
    def test_without_policy_the_best_scores_come_in_order(self) -> None:
        made = [p.work for p in fill(SCORE, EVERY, SHELF, policy=PLAIN, rng=rng())]
        assert made == np.lexsort((EVERY, -SCORE))[:20].tolist()

    @given(st.permutations(range(12)))
    @settings(max_examples=25)
    def test_equal_totals_go_to_the_lower_work(self, order: list[int]) -> None:
        made = fill(np.zeros(12), np.array(sorted(order)), shelf(works=12), policy=PLAIN, size=5, rng=rng())
        assert [p.work for p in made] == [0, 1, 2, 3, 4]

    def test_what_was_shown_in_vain_sinks(self) -> None:
        tired = np.zeros(WORKS)
        best = int(np.argmax(SCORE))
        tired[best] = 30
        policy = replace(PLAIN, fatigue=1.0)
        assert fill(SCORE, EVERY, SHELF, policy=policy, rng=rng())[0].work == best
        assert fill(SCORE, EVERY, SHELF, viewer=Viewer(shown=tired), policy=policy, rng=rng())[0].work != best

    def test_sliders_move_slates_towards_what_they_say(self) -> None:
        def mean(values: np.ndarray, policy: Policy) -> float:
            return float(np.mean([values[p.work] for p in fill(SCORE, EVERY, SHELF, policy=policy, rng=rng())]))

        plain = replace(PLAIN)
        assert mean(SHELF.energy, turned(plain, energy=1.0)) > mean(SHELF.energy, plain)
        assert mean(SHELF.energy, turned(plain, energy=-1.0)) < mean(SHELF.energy, plain)
        assert mean(SHELF.novelty, replace(turned(plain, novelty=1.0), unlike=0)) > mean(SHELF.novelty, plain)
        assert turned(plain, novelty=1.0).unlike == 3

    @pytest.mark.parametrize(
        "sliders", [{"novelty": 1.1}, {"novelty": -0.1}, {"energy": 2.0}, {"energy": float("nan")}]
    )
    def test_sliders_outside_their_range_are_refused(self, sliders: dict[str, float]) -> None:
        with pytest.raises(ValueError, match="goes from"):
            turned(Policy(), **sliders)

    @pytest.mark.parametrize("wrong", [{"explore": 0.04}, {"explore": 0.2}, {"similar_at_most": 0}, {"unlike": -1}])
    def test_policies_outside_their_bounds_are_refused(self, wrong: dict[str, float]) -> None:
        with pytest.raises(ValueError, match="must be"):
            Policy(**wrong)  # type: ignore[arg-type]


class TestVariety:
    def test_slates_are_more_varied_for_little_score(self) -> None:
        liking = SCORE + 3 * SHELF.content @ SHELF.content[0]  # a person who likes one kind of work

        def spread(policy: Policy) -> tuple[float, float]:
            works = [p.work for p in fill(liking, EVERY, SHELF, policy=policy, rng=rng())]
            vectors = SHELF.content[works]
            cosines = vectors @ vectors.T
            return 1 - float(cosines[np.triu_indices(len(works), 1)].mean()), float(liking[works].mean())

        plain, varied = spread(PLAIN), spread(replace(PLAIN, similar=0.35))
        assert varied[0] > 1.05 * plain[0]
        assert varied[1] > 0.97 * plain[1]

    def test_no_more_than_so_many_alike_in_a_session(self) -> None:
        same = replace(SHELF, content=np.repeat(SHELF.content[:30], 10, axis=0))  # ten copies of thirty works
        policy = replace(PLAIN, similar_at_most=2)
        first = [p.work for p in fill(SCORE, EVERY, same, policy=policy, size=15, rng=rng())]
        second = [
            p.work for p in fill(SCORE, EVERY, same, policy=policy, viewer=Viewer(session=first), size=15, rng=rng())
        ]
        vectors = same.content[first + second]
        assert ((vectors @ vectors.T) >= ALIKE).sum(axis=1).max() <= 2 + 2  # others of one kind, and chance likeness

    def test_when_all_are_alike_the_slate_is_still_full(self) -> None:
        same = replace(SHELF, content=np.repeat(SHELF.content[:1], WORKS, axis=0))
        assert len(fill(SCORE, EVERY, same, policy=Policy(), rng=rng())) == 20

    def test_one_work_is_unlike_all_that_the_person_knows_and_never_first(self) -> None:
        viewer = Viewer(past=np.array([1, 2, 3]))
        candidates = set(slate.unlike(SHELF, viewer, EVERY).tolist())
        for seed in range(50):
            made = fill(SCORE, EVERY, SHELF, viewer=viewer, rng=rng(seed))
            found = [n for n, place in enumerate(made) if place.why == "unlike"]
            assert len(found) == 1
            assert found[0] > 0
            assert made[found[0]].work in candidates

    def test_works_that_nobody_was_shown_get_their_turn(self) -> None:
        drawn = Counter(
            place.work for s in range(400) for place in fill(SCORE, EVERY, SHELF, rng=rng(s)) if place.why == "fresh"
        )
        seldom = EVERY[SHELF.exposures <= np.quantile(SHELF.exposures, 0.1)]
        assert set(drawn) <= set(seldom.tolist())
        assert len(drawn) > 0.9 * len(seldom)


class TestPropensity:
    def test_probabilities_of_a_place_are_as_often_as_they_say(self) -> None:
        """The first place, drawn 20,000 times: each work's share is its logged propensity."""
        small = shelf(works=6)
        score = np.array([2.0, 1.5, 1.0, 0.5, 0.0, -0.5])
        policy = replace(PLAIN, explore=0.15)
        said: dict[int, float] = {}
        counts: Counter[int] = Counter()
        generator = rng(3)
        for _ in range(8_000):
            place = fill(score, np.arange(6), small, policy=policy, size=1, rng=generator)[0]
            counts[place.work] += 1
            said[place.work] = place.propensity
        assert sum(said.values()) == pytest.approx(1, abs=1e-9)
        for work, propensity in said.items():
            error = 4 * (propensity * (1 - propensity) / 8_000) ** 0.5
            assert counts[work] / 8_000 == pytest.approx(propensity, abs=error)

    def test_between_five_and_fifteen_of_a_hundred_places_are_explored(self) -> None:
        places = [
            p.why for s in range(80) for p in fill(SCORE, EVERY, SHELF, policy=replace(PLAIN, explore=0.1), rng=rng(s))
        ]
        assert 0.05 <= places.count("explored") / len(places) <= 0.15

    def test_a_wrong_propensity_would_be_seen(self) -> None:
        """The comparison above can fail: the greedy place's own probability is not 1 under exploration."""
        made = fill(SCORE, EVERY, SHELF, policy=replace(PLAIN, explore=0.1), rng=rng(1))
        assert all(0 < place.propensity < 1 for place in made)
