"""Experiments: who is in which arm, and verdicts that may be looked at every day."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from backend.personalization.evaluation.experiment import Arm, Sample, assign, cuped, judge, ratio_check, sequential

KEY = b"a key of the platform alone"
HALVES = (Arm("new", Fraction(1, 2)), Arm("old", Fraction(1, 2)))
HOLDOUT = (Arm("holdout", Fraction(5, 100)), Arm("rest", Fraction(95, 100)))


def people(count: int) -> list[bytes]:
    return [n.to_bytes(8) for n in range(count)]


class TestAssignment:
    def test_shares_are_as_planned_and_a_person_stays(self) -> None:
        counts = Counter(assign(KEY, "feed", person, HOLDOUT) for person in people(20_000))
        assert ratio_check(counts, HOLDOUT) > 0.001
        assert all(
            assign(KEY, "feed", person, HOLDOUT) == assign(KEY, "feed", person, HOLDOUT) for person in people(50)
        )

    def test_two_experiments_and_two_keys_draw_independently(self) -> None:
        for other in ((KEY, "search"), (b"another key", "feed")):
            both = Counter((assign(KEY, "feed", p, HALVES), assign(*other, p, HALVES)) for p in people(8_000))
            assert min(both.values()) > 1_800  # 2,000 each, and 200 are five standard deviations

    def test_names_do_not_run_into_persons(self) -> None:
        one = [assign(KEY, "feed1", p, HALVES) for p in people(64)]
        other = [assign(KEY, "feed", b"1" + p, HALVES) for p in people(64)]
        assert one != other

    @pytest.mark.parametrize("shares", [[], [Fraction(1, 2)], [Fraction(3, 2), Fraction(-1, 2)]])
    def test_shares_that_are_no_split_are_refused(self, shares: list[Fraction]) -> None:
        with pytest.raises(ValueError, match="sum to 1"):
            assign(KEY, "feed", b"p", [Arm(str(n), share) for n, share in enumerate(shares)])


class TestVerdict:
    def test_looking_every_day_calls_noise_a_difference_as_rarely_as_promised(self) -> None:
        rng = np.random.default_rng(21)
        told = 0
        for _ in range(300):
            ours, theirs = rng.normal(size=1_000), rng.normal(size=1_000)
            told += any(sequential(ours[:n], theirs[:n], tau=0.2)[3] < 0.05 for n in range(50, 1_001, 50))
        assert told / 300 <= 0.05

    def test_a_plain_test_looked_at_every_day_would_not_keep_it(self) -> None:
        """The oracle above can fail: the usual t-test under the same looks calls noise a difference far more often."""
        rng = np.random.default_rng(21)
        told = 0
        for _ in range(300):
            ours, theirs = rng.normal(size=1_000), rng.normal(size=1_000)
            looks = range(50, 1_001, 50)
            told += any(abs(ours[:n].mean() - theirs[:n].mean()) > 1.96 * np.sqrt(2 / n) for n in looks)
        assert told / 300 > 0.1

    def test_a_true_difference_is_found_with_an_interval_that_holds_it(self) -> None:
        rng = np.random.default_rng(22)
        found = judge(Sample(rng.normal(0.2, 1, 6_000)), Sample(rng.normal(0, 1, 6_000)), arms=HALVES, tau=0.1)
        assert found.tells
        assert found.low <= 0.2 <= found.high

    def test_what_was_told_once_stays_told(self) -> None:
        rng = np.random.default_rng(23)
        noise = Sample(rng.normal(size=500)), Sample(rng.normal(size=500))
        assert judge(*noise, arms=HALVES, tau=0.1, lowest_p=0.01).p == 0.01

    def test_a_broken_split_tells_nothing_however_large_the_difference(self) -> None:
        found = judge(Sample(np.full(700, 9.0) + np.arange(700)), Sample(np.arange(500.0)), arms=HALVES, tau=0.1)
        assert not found.sound
        assert not found.tells

    @pytest.mark.parametrize("size", [0, 1])
    def test_nobody_or_one_person_tells_nothing(self, size: int) -> None:
        found = judge(Sample(np.ones(size)), Sample(np.ones(size)), arms=HALVES, tau=0.1)
        assert (found.p, found.tells) == (1.0, False)

    def test_tau_must_be_an_effect(self) -> None:
        with pytest.raises(ValueError, match="tau"):
            sequential(np.ones(3), np.ones(3), tau=0)


class TestCuped:
    def test_variance_falls_by_the_square_of_the_correlation_and_the_mean_stays(self) -> None:
        rng = np.random.default_rng(24)
        before = rng.normal(size=(2, 20_000))
        values = 0.8 * before + 0.6 * rng.normal(size=(2, 20_000))
        values[0] += 0.1
        ours, theirs = cuped(Sample(values[0], before[0]), Sample(values[1], before[1]))
        assert np.var(ours) / np.var(values[0]) == pytest.approx(1 - 0.8**2, abs=0.02)
        assert ours.mean() - theirs.mean() == pytest.approx(0.1, abs=0.03)

    def test_without_a_past_values_stay_as_they_are(self) -> None:
        values = np.arange(5.0)
        assert cuped(Sample(values), Sample(values, values))[0] is values
        assert cuped(Sample(values, np.ones(5)), Sample(values, np.ones(5)))[0] is values
