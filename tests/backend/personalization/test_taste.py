"""Taste in memory equals taste computed anew, and an explanation is what would really change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from backend.personalization.ranking import explain, scoring
from backend.personalization.ranking.content import unit_rows
from backend.personalization.ranking.explain import Moments
from backend.personalization.ranking.scoring import DAY_S, Facts, Norm, Past, Weights
from backend.personalization.ranking.taste import LONG_S, SHORT_S, Taste

WORKS = 60
NOW = 1.7e9


def facts(seed: int = 0) -> Facts:
    rng = np.random.default_rng(seed)
    b = rng.normal(size=(WORKS, WORKS)) * (rng.random((WORKS, WORKS)) < 0.2)
    np.fill_diagonal(b, 0)
    content = unit_rows(rng.normal(size=(WORKS, 5)).astype(np.float32))
    content[7] = 0  # a work that nothing is known of
    return Facts(
        trend=rng.random(WORKS),
        familiar=rng.random(WORKS) * 4,
        popularity=rng.normal(size=WORKS),
        recency=rng.random(WORKS),
        content=content.astype(float),
        taste=sparse.csr_array(b),
        liking=Norm(0.5, 0.1),
        mainstream=Norm(2.0, 0.4),
    )


FACTS = facts()
EVENTS = st.lists(
    st.tuples(
        st.integers(0, WORKS - 1),
        st.floats(-2, 2, allow_nan=False),
        st.floats(0, 400 * DAY_S),
    ),
    max_size=40,
)


def anew(events: list[tuple[int, float, float]], half_life_s: float) -> np.ndarray:
    """s by its definition."""
    dense = FACTS.taste.toarray().astype(float)
    sums = np.zeros(WORKS)
    for work, y, age in events:
        sums += y * 2.0 ** (-age / half_life_s) * dense[work]
    return sums


class TestState:
    @settings(max_examples=60)
    @given(EVENTS, st.randoms())
    def test_events_in_any_order_give_what_the_definition_gives(self, events: list, random: object) -> None:
        shuffled = events[:]
        random.shuffle(shuffled)  # type: ignore[attr-defined]
        taste = Taste(FACTS.taste, now=NOW - 400 * DAY_S)
        for work, y, age in shuffled:
            taste.apply(work, y, NOW - age, now=NOW)
        past = taste.past(NOW)
        long = scoring.item_sums(FACTS.taste, past.works, past.long)
        assert np.abs(long - anew(events, LONG_S)).max(initial=0) < 1e-9
        short = scoring.item_sums(FACTS.taste, past.works, past.short)
        assert np.abs(short - anew(events, SHORT_S)).max(initial=0) < 1e-9

    def test_kept_sums_are_those_of_the_definition_through_years_of_events(self) -> None:
        rng = np.random.default_rng(4)
        taste = Taste(FACTS.taste, now=NOW - 2_000 * DAY_S)
        events = [
            (int(rng.integers(WORKS)), float(rng.normal()), float(age)) for age in range(170_000_000, 0, -400_000)
        ]
        for work, y, age in events:
            taste.apply(work, y, NOW - age, now=NOW)
        sums = taste.past(NOW).sums
        assert sums is not None
        for kept, half_life_s in zip(sums, (LONG_S, SHORT_S), strict=True):
            wanted = anew(events, half_life_s)
            assert kept == pytest.approx(wanted, abs=1e-9 * np.linalg.norm(wanted))

    def test_what_claims_to_come_from_the_future_counts_as_now(self) -> None:
        one, other = Taste(FACTS.taste, now=NOW), Taste(FACTS.taste, now=NOW)
        one.apply(3, 1.0, NOW + 10 * DAY_S, now=NOW)
        other.apply(3, 1.0, NOW, now=NOW)
        assert one.past(NOW).long.tolist() == other.past(NOW).long.tolist() == [1.0]

    def test_a_clock_that_goes_back_loses_no_event(self) -> None:
        taste = Taste(FACTS.taste, now=NOW)
        taste.apply(3, 1.0, NOW, now=NOW)
        taste.apply(4, 1.0, NOW - DAY_S, now=NOW - DAY_S)
        assert taste.past(NOW - DAY_S).works.tolist() == [3, 4]

    def test_a_pause_ends_the_session(self) -> None:
        taste = Taste(FACTS.taste, now=NOW)
        for minute in range(3):
            taste.apply(1, 1.0, NOW + 60 * minute, now=NOW + 60 * minute)
        assert taste.past(NOW + 200).session == 3
        assert taste.past(NOW + 7_200).session == 0
        taste.apply(1, 1.0, NOW + 7_200, now=NOW + 7_200)
        assert taste.past(NOW + 7_200).session == 1

    def test_an_old_event_that_comes_late_is_not_of_this_session(self) -> None:
        taste = Taste(FACTS.taste, now=NOW)
        for age in (0.0, 60.0, 2 * DAY_S):
            taste.apply(1, 1.0, NOW - age, now=NOW)
        assert taste.past(NOW).session == 2

    def test_forgetting_today_keeps_lasting_taste(self) -> None:
        taste = Taste(FACTS.taste, now=NOW)
        taste.apply(1, 1.0, NOW, now=NOW)
        taste.forget_today()
        past = taste.past(NOW)
        assert (past.long.tolist(), past.short.tolist(), past.session) == ([1.0], [0.0], 0)


class TestScore:
    def test_without_history_the_score_is_what_is_popular_and_new(self) -> None:
        nobody = Past.flat(np.array([], dtype=np.int64))
        assert set(scoring.terms(FACTS, nobody)) == {"trend", "recent"}

    @pytest.mark.parametrize("values", [[-1.0], [-1.5, -2.0], [1.0, -1.0]])
    def test_a_past_of_dislikes_gives_numbers(self, values: list[float]) -> None:
        past = Past(np.arange(len(values)), np.array(values), np.zeros(len(values)))
        assert np.isfinite(scoring.total(scoring.terms(FACTS, past), Weights())).all()

    def test_kept_sums_score_as_sums_computed_anew(self) -> None:
        taste = Taste(FACTS.taste, now=NOW - DAY_S)
        for n in range(6):
            taste.apply(n, 1.0 - n / 3, NOW - 600 * n, now=NOW)
        past = taste.past(NOW)
        kept, anew_ = scoring.personal_terms(FACTS, past), scoring.personal_terms(FACTS, replace(past, sums=None))
        for name in anew_:
            assert kept[name] == pytest.approx(anew_[name], abs=1e-6), name

    @given(st.lists(st.sampled_from([0.0, 1.0, 2.0, 2.0, 5.0]), min_size=1, max_size=30), st.integers(1, 12), st.data())
    def test_the_best_are_the_best_and_ties_go_to_the_lower(
        self, score: list[float], k: int, data: st.DataObject
    ) -> None:
        hidden = data.draw(st.sets(st.integers(0, len(score) - 1)))
        wanted = sorted((i for i in range(len(score)) if i not in hidden), key=lambda i: (-score[i], i))[:k]
        assert scoring.best(np.array(score), np.array(sorted(hidden), dtype=np.int64), k).tolist() == wanted

    @pytest.mark.parametrize("field", ["trend", "taste", "trend_half_life_s"])
    def test_weights_that_are_no_numbers_are_refused(self, field: str) -> None:
        with pytest.raises(ValueError, match=field):
            replace(Weights(), **{field: float("nan")})

    def test_another_number_is_another_digest(self) -> None:
        assert Weights().digest == Weights().digest != replace(Weights(), taste=0.2).digest


SIGNAL = st.floats(-2, 2).map(lambda y: round(y, 2))
PASTS = st.lists(
    st.tuples(st.integers(0, WORKS - 1), SIGNAL, st.floats(0, 1)),
    min_size=1,
    max_size=12,
    unique_by=lambda event: event[0],
)


def fallen(past: Past, items: np.ndarray, weights: Weights) -> np.ndarray:
    """By computing everything anew without each past work."""
    with_all = scoring.total(scoring.terms(FACTS, past), weights)[items]
    rows = []
    for n in range(len(past.works)):
        keep = np.arange(len(past.works)) != n
        less = Past(past.works[keep], past.long[keep], past.short[keep], past.session)
        rows.append(with_all - scoring.total(scoring.terms(FACTS, less), weights)[items])
    return np.array(rows)


class TestExplanation:
    @settings(max_examples=80)
    @given(PASTS, st.integers(0, 9))
    def test_what_is_stated_is_what_forgetting_would_change(self, chosen: list, session: int) -> None:
        works, long, short = (np.array(column) for column in zip(*sorted(chosen), strict=True))
        past = Past(works.astype(np.int64), long.astype(float), (short * long).astype(float), session)
        items = np.array([0, 7, 20, 59])
        weights = Weights(liking=0.5, mainstream=-0.2, content=0.4, taste=0.7)
        stated = explain.parts(FACTS, Moments.of(FACTS), past, items, weights)
        assert stated == pytest.approx(fallen(past, items, weights), abs=1e-6)

    @settings(max_examples=40)
    @given(st.lists(st.tuples(st.integers(0, WORKS - 1), SIGNAL, st.floats(0, 90 * DAY_S)), min_size=1, max_size=20))
    def test_what_is_stated_from_kept_sums_is_what_forgetting_would_change(self, events: list) -> None:
        taste = Taste(FACTS.taste, now=NOW)
        taste.apply(5, 1.0, NOW, now=NOW)
        for work, y, age in events:
            taste.apply(work, y, NOW - age, now=NOW)
        past, items, weights = taste.past(NOW), np.array([0, 7, 20, 59]), Weights(content=0.4, taste=0.7)
        stated = explain.parts(FACTS, Moments.of(FACTS), past, items, weights)
        assert stated == pytest.approx(fallen(replace(past, sums=None), items, weights), abs=1e-6)

    def test_a_past_work_that_carries_little_is_not_named(self) -> None:
        fall = np.array([[1.0, 0.0], [0.1, -1.0], [0.9, 0.0], [0.5, 0.0]])
        assert explain.named(fall) == [[0, 2], []]

    def test_without_a_past_nothing_is_named(self) -> None:
        nobody = Past.flat(np.array([], dtype=np.int64))
        assert explain.named(explain.parts(FACTS, Moments.of(FACTS), nobody, np.array([1, 2]), Weights())) == [
            [],
            [],
        ]
