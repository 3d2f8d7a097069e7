"""The packaging bandit: its formulas, probabilities and guards, and what it is worth in a world of known truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from backend.personalization.packaging import bandit as packaging
from backend.personalization.packaging.bandit import (
    ARMS,
    FLOOR,
    Arm,
    context,
    draw,
    learn,
    may_show,
    misled,
    propensities,
)

pytestmark = pytest.mark.feature("X4")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def taught(seed: int, rounds: int, dimensions: int = 6) -> tuple[Arm, NDArray[np.float64], NDArray[np.bool_]]:
    """An arm after random rounds, with their contexts and rewards."""
    generator = rng(seed)
    contexts = generator.normal(size=(rounds, dimensions))
    rewards = generator.random(rounds) < 0.5
    arm = Arm.new(dimensions)
    for x, reward in zip(contexts, rewards, strict=True):
        arm = learn(arm, x, clicked=True, satisfied=bool(reward))
    return arm, contexts, rewards


class TestLearning:
    @settings(max_examples=25)
    @given(st.integers(0, 2**32), st.integers(0, 60), st.integers(1, 24))
    def test_it_is_the_ridge_regression_written_out_slowly(self, seed: int, rounds: int, dimensions: int) -> None:
        arm, contexts, rewards = taught(seed, rounds, dimensions)
        whole = packaging.RIDGE * np.eye(dimensions) + contexts.T @ contexts
        np.testing.assert_allclose(arm.inverse, np.linalg.inv(whole), atol=1e-9)
        np.testing.assert_allclose(arm.theta, np.linalg.solve(whole, contexts.T @ rewards), atol=1e-8)

    def test_thousands_of_updates_stay_as_exact(self) -> None:
        arm, contexts, _ = taught(5, 5_000, 4)
        np.testing.assert_allclose(arm.inverse, np.linalg.inv(np.eye(4) + contexts.T @ contexts), rtol=1e-8)

    @pytest.mark.parametrize(
        ("clicked", "satisfied", "reward", "counted"),
        [(True, True, 1, 1), (True, False, 0, 0), (False, False, 0, 0), (False, True, 0, 0)],
    )
    def test_a_click_alone_is_no_reward(self, clicked: bool, satisfied: bool, reward: int, counted: int) -> None:
        arm = learn(Arm.new(1), np.ones(1), clicked=clicked, satisfied=satisfied)
        assert (arm.b[0], arm.shown, arm.clicks, arm.satisfied) == (reward, 1, int(clicked), counted)

    @pytest.mark.parametrize("worth", [np.nan, np.inf, -np.inf])
    def test_what_is_no_number_says_nothing(self, worth: float) -> None:
        x = np.array([1.0, worth])
        assert np.isfinite(learn(Arm.new(2), x, clicked=True, satisfied=True).theta).all()
        assert propensities([Arm.new(2)] * 3, x, rng()).sum() == pytest.approx(1, abs=1e-9)

    @pytest.mark.parametrize("dimensions", [0, 25])
    def test_v15_contexts_have_their_bounds(self, dimensions: int) -> None:
        with pytest.raises(ValueError, match="1 to 24"):
            Arm.new(dimensions)

    def test_v15_a_context_of_another_length_is_refused(self) -> None:
        with pytest.raises(ValueError, match="3 numbers"):
            learn(Arm.new(3), np.ones(4), clicked=True, satisfied=True)


class TestPropensities:
    @settings(max_examples=30)
    @given(st.integers(0, 2**32), st.integers(1, ARMS), st.integers(0, 30))
    def test_they_sum_to_one_and_none_is_shut_out(self, seed: int, count: int, rounds: int) -> None:
        arms = [taught(seed + n, rounds, 3)[0] for n in range(count)]
        p = propensities(arms, rng(seed).normal(size=3), rng(seed))
        assert p.sum() == pytest.approx(1, abs=1e-9)
        assert p.min() >= FLOOR / count - 1e-12

    def test_arms_are_drawn_as_often_as_is_written_down(self) -> None:
        p = np.array([0.6, 0.25, 0.0, 0.15])
        drawn = np.bincount([draw(p, generator) for generator in [rng(1)] for _ in range(20_000)], minlength=4) / 20_000
        assert drawn == pytest.approx(p, abs=4 * (0.25 / 20_000) ** 0.5)
        assert drawn[2] == 0

    def test_the_shares_of_won_draws_are_the_probability_that_an_arm_is_best(self) -> None:
        """Two arms: P(best) has a closed form, the normal distribution of the difference."""
        one, other = taught(1, 40, 2)[0], taught(2, 40, 2)[0]
        x = np.array([0.5, -0.2])
        mean = x @ one.theta - x @ other.theta
        spread = packaging.SPREAD * np.sqrt(x @ one.inverse @ x + x @ other.inverse @ x)
        truth = 0.5 * (1 + _erf(mean / spread / np.sqrt(2)))
        generator = rng(3)
        p = np.mean([propensities([one, other], x, generator)[0] for _ in range(2_000)])
        assert p == pytest.approx(0.9 * truth + FLOOR / 2, abs=0.01)

    def test_no_arm_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="no arm"):
            propensities([], np.ones(2), rng())


def _erf(value: float) -> float:
    import math  # noqa: PLC0415

    return math.erf(value)


class TestContext:
    TERMS = dict.fromkeys(("trend", "recent", "liking", "mainstream", "content", "taste"), 0.5)

    def test_it_fits_and_stays_small(self) -> None:
        x = context(place=0, why="best", terms=self.TERMS, events=500, novelty=1.0, energy=-1.0)
        assert len(x) <= packaging.DIMENSIONS
        assert np.abs(x).max() <= 1

    def test_nothing_known_and_no_numbers_are_zeros(self) -> None:
        x = context(place=3, why="fresh", terms=self.TERMS | {"taste": np.nan}, events=0, novelty=None, energy=None)
        assert np.isfinite(x).all()
        assert (x[-3:] == 0).all()

    @pytest.mark.parametrize(
        ("spoiler", "finished", "shown"), [(True, False, False), (True, True, True), (False, False, True)]
    )
    def test_what_gives_a_work_away_is_for_who_has_finished_it(
        self, spoiler: bool, finished: bool, shown: bool
    ) -> None:
        assert may_show(spoiler=spoiler, finished=finished) is shown


def counted(clicks: int, satisfied: int) -> Arm:
    return Arm(np.eye(1), np.zeros(1), shown=clicks * 4, clicks=clicks, satisfied=satisfied)


class TestClickbait:
    def test_a_watched_arm_has_the_floor_alone_however_good_it_looks(self) -> None:
        x = np.array([1.0, 0.5])
        good = Arm.new(2)
        for _ in range(50):
            good = packaging.learn(good, x, clicked=True, satisfied=True)
        arms = [Arm.new(2), good, Arm.new(2)]
        assert packaging.propensities(arms, x, rng(1))[1] > 0.5
        p = packaging.propensities(arms, x, rng(1), watched=[False, True, False])
        assert p[1] == pytest.approx(packaging.FLOOR / 3)
        assert p.sum() == pytest.approx(1)
        assert packaging.propensities(arms, x, rng(1), watched=[True] * 3)[1] > 0.5

    def test_an_arm_that_disappoints_is_found_and_told_why(self) -> None:
        [found] = misled([counted(300, 210), counted(200, 60), counted(150, 110)])
        assert found.arm == 1
        assert "30% saw half" in found.why
        assert "71%" in found.why

    def test_few_clicks_tell_nothing(self) -> None:
        assert misled([counted(29, 0), counted(400, 400)]) == []
        assert misled([counted(400, 400), counted(29, 0)]) == []

    def test_the_better_arm_is_never_retired(self) -> None:
        assert {found.arm for found in misled([counted(500, 450), counted(500, 100)])} == {1}

    def test_equal_arms_looked_at_after_every_click_are_rarely_retired(self) -> None:
        generator, retired = rng(9), 0
        for _ in range(60):
            clicks, satisfied = np.zeros(3, dtype=int), np.zeros(3, dtype=int)
            for step, arm in enumerate(generator.integers(0, 3, size=600)):
                clicks[arm] += 1
                satisfied[arm] += generator.random() < 0.5
                if step % 20 == 0 and misled([counted(*both) for both in zip(clicks, satisfied, strict=True)]):
                    retired += 1
                    break
        assert retired / 60 <= 0.1

    def test_a_test_for_one_look_would_retire_far_more(self) -> None:
        """The oracle above can fail: the usual z-test under the same looks."""
        generator, retired = rng(9), 0
        for _ in range(60):
            rewards = generator.random((2, 300)) < 0.5
            means = np.cumsum(rewards, axis=1) / np.arange(1, 301)
            z = (means[0] - means[1]) / np.sqrt(0.5 / np.arange(1, 301))
            retired += bool((np.abs(z[30::5]) > 1.96).any())
        assert retired / 60 > 0.2


@pytest.mark.slow
def test_in_a_known_world_regret_is_a_third_of_uniforms_and_no_arm_is_starved() -> None:
    """8 arms, 16 numbers of context, 20,000 rounds: what is lost against who knows the truth, beside a blind draw."""
    generator = rng(16)
    arms, dimensions, rounds = 8, 16, 20_000
    truth = generator.normal(size=(arms, dimensions)) / 4
    state = [Arm.new(dimensions) for _ in range(arms)]
    lost = blindly = 0.0
    shown = np.zeros(arms)
    for _ in range(rounds):
        x = np.concatenate([[1.0], generator.normal(size=dimensions - 1) / 2])
        pleased = 1 / (1 + np.exp(-(truth @ x) - truth[:, 0]))
        p = propensities(state, x, generator)
        arm = draw(p, generator)
        clicked = generator.random() < 0.8
        state[arm] = learn(state[arm], x, clicked=bool(clicked), satisfied=bool(generator.random() < pleased[arm]))
        lost += 0.8 * (pleased.max() - pleased[arm])
        blindly += 0.8 * (pleased.max() - pleased.mean())
        shown[arm] += 1
    assert lost / blindly <= 0.35
    assert shown.min() >= 0.5 * rounds * FLOOR / arms
