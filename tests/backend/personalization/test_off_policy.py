"""Off-policy estimates: equal to frozen ones of another program, true in simulation, wrong where a bug is planted."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from backend.personalization.evaluation import off_policy
from backend.personalization.evaluation.off_policy import Rounds

DATA = Path(__file__).parent / "data" / "open-bandit"
REFERENCE = json.loads((DATA / "reference.json").read_text())
NAMES = {"IPS": "ipw", "SNIPS": "snipw", "DM": "dm", "DR": "dr", "SNDR": "sndr"}


def open_bandit(campaign: str) -> tuple[Rounds, np.ndarray]:
    """The log, under the policy and with the reward model of the data's README."""
    with gzip.open(DATA / f"random_{campaign}.csv.gz", "rt") as text:
        rows = list(csv.DictReader(text))
    action = np.array([int(row["item_id"]) for row in rows])
    position = np.array([int(row["position"]) - 1 for row in rows])
    reward = np.array([float(row["click"]) for row in rows])
    pscore = np.array([float(row["propensity_score"]) for row in rows])
    items = np.arange(action.max() + 1)
    policy = np.exp(np.sin(1 + 0.7 * items[None] + 0.3 * np.arange(3)[:, None]))
    policy /= policy.sum(axis=1, keepdims=True)
    shown, clicked = np.zeros((3, len(items))), np.zeros((3, len(items)))
    np.add.at(shown, (position, action), 1)
    np.add.at(clicked, (position, action), reward)
    return Rounds(action, reward, pscore, policy[position]), ((clicked + 1) / (shown + 200))[position]


@pytest.mark.parametrize("campaign", REFERENCE)
def test_estimates_equal_the_frozen_ones(campaign: str) -> None:
    rounds, expected = open_bandit(campaign)
    for ours, theirs in NAMES.items():
        value = off_policy.ESTIMATORS[ours](rounds, expected)
        assert value == pytest.approx(REFERENCE[campaign][theirs], rel=1e-9), ours


def test_a_planted_bug_is_found_by_the_frozen_estimates() -> None:
    """Weights turned upside down, as an oracle that could not fail would not notice."""
    rounds, expected = open_bandit("men")
    upside_down = float((rounds.reward / np.maximum(rounds.weight, 1e-12)).mean())
    assert upside_down != pytest.approx(REFERENCE["men"]["ipw"], rel=1e-3)
    no_correction = off_policy.direct(rounds, expected)
    assert no_correction != pytest.approx(REFERENCE["men"]["dr"], rel=1e-6)


def world(rng: np.random.Generator, rounds: int) -> tuple[Rounds, np.ndarray, float]:
    """A log of a world whose truth is known: reward rates by context, a wrong reward model, another policy to judge."""
    rates = np.array([[0.1, 0.3, 0.6], [0.5, 0.2, 0.1]])
    logging = np.array([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3]])
    judged = np.array([[0.1, 0.2, 0.7], [0.8, 0.1, 0.1]])
    context = rng.integers(0, 2, size=rounds)
    action = (rng.random(rounds)[:, None] > np.cumsum(logging[context], axis=1)).sum(axis=1)
    reward = (rng.random(rounds) < rates[context, action]).astype(float)
    truth = float((rates * judged).sum(axis=1).mean())
    made = Rounds(action, reward, logging[context, action], judged[context])
    return made, np.full((rounds, 3), 0.3), truth


def test_doubly_robust_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(11)
    held = 0
    for _ in range(120):
        rounds, expected, truth = world(rng, 400)
        found = off_policy.estimate("DR", rounds, expected, rng, draws=150)
        held += found.low <= truth <= found.high
    assert 0.89 <= held / 120 <= 0.995


def test_the_direct_method_is_as_wrong_as_its_model_and_the_others_are_not() -> None:
    rounds, expected, truth = world(np.random.default_rng(12), 60_000)
    assert abs(off_policy.direct(rounds, expected) - truth) > 0.1
    for name in ("IPS", "SNIPS", "DR", "SNDR"):
        assert off_policy.ESTIMATORS[name](rounds, expected) == pytest.approx(truth, abs=0.02), name


def test_the_logging_policy_is_worth_its_own_mean() -> None:
    rounds, _, _ = world(np.random.default_rng(13), 5_000)
    logging = np.array([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3]])
    own = np.where((rounds.policy[:, :1] == 0.1), logging[0], logging[1])
    same = Rounds(rounds.action, rounds.reward, rounds.pscore, own)
    assert off_policy.ips(same) == pytest.approx(float(rounds.reward.mean()))
    assert same.effective() == pytest.approx(5_000)


@pytest.mark.parametrize(
    ("pscore", "policy", "words"),
    [
        ([0.0], [[1.0]], "propensities must be above 0"),
        ([1.5], [[1.0]], "at most 1"),
        ([0.5], [[0.7]], "sum to 1"),
        ([], np.zeros((0, 1)), "no round"),
    ],
)
def test_a_log_that_cannot_be_is_refused(pscore: list[float], policy: list[list[float]], words: str) -> None:
    size = len(pscore)
    with pytest.raises(ValueError, match=words):
        Rounds(np.zeros(size, dtype=np.int64), np.zeros(size), np.array(pscore), np.array(policy))


def test_a_policy_that_would_have_drawn_nothing_of_the_log_is_worth_nothing() -> None:
    rounds = Rounds(np.array([0, 0]), np.array([1.0, 1.0]), np.array([0.5, 0.5]), np.array([[0.0, 1.0]] * 2))
    assert off_policy.snips(rounds) == 0
    assert rounds.effective() == 0
