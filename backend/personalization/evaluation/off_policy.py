"""What a policy would have earned, judged from the log of another one that wrote down its propensities.

Notation of Saito et al. (arXiv 2008.07146): in round t the logging policy drew action a with probability pscore, and
reward r was seen; pi is the probability with which the policy to be judged would have drawn each action; q the reward
that a model expects of each action.

    IPS   = mean of w r,              w = pi(a) / pscore
    SNIPS = sum of w r / sum of w
    DM    = mean of sum_a pi(a) q(a)
    DR    = DM + mean of w (r - q(a))
    SNDR  = DM + sum of w (r - q(a)) / sum of w
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

BOOTSTRAPS: Final = 1_000


@dataclass(frozen=True)
class Rounds:
    """A log with one row a decision, beside what the policy to be judged would have done. Checked when it is made."""

    action: NDArray[np.int64]
    reward: NDArray[np.float64]
    pscore: NDArray[np.float64]
    """The probability with which the logging policy drew the action."""
    policy: NDArray[np.float64]
    """(rounds, actions): the probabilities of the policy to be judged; each row sums to 1."""

    def __post_init__(self) -> None:
        if len(self.action) == 0:
            raise ValueError("there is no round in the log")
        if not ((self.pscore > 0) & (self.pscore <= 1)).all():
            raise ValueError("propensities must be above 0 and at most 1: an action that could not be drawn was logged")
        if (self.policy < 0).any() or np.abs(self.policy.sum(axis=1) - 1).max() > 1e-9:
            raise ValueError("the policy's probabilities must be 0 or more and sum to 1 in each round")

    @property
    def weight(self) -> NDArray[np.float64]:
        """How often the judged policy would have drawn what was drawn, for each time that the logging one did."""
        return np.asarray(self.policy[np.arange(len(self.action)), self.action] / self.pscore, dtype=np.float64)

    def effective(self) -> float:
        """Kish's effective sample size: so many rounds of the policy's own would tell as much."""
        weight = self.weight
        squares = float(np.square(weight).sum())
        return float(weight.sum()) ** 2 / squares if squares else 0.0

    def drawn(self, rows: NDArray[np.int64]) -> Rounds:
        """The same log with these rows, for a bootstrap."""
        return Rounds(self.action[rows], self.reward[rows], self.pscore[rows], self.policy[rows])


def ips(rounds: Rounds, expected: NDArray[np.float64] | None = None) -> float:
    """Inverse propensity score; without bias, and noisy where weights are large."""
    return float((rounds.weight * rounds.reward).mean())


def snips(rounds: Rounds, expected: NDArray[np.float64] | None = None) -> float:
    """Self-normalised IPS: a little bias for much less noise. 0 when the policy would have drawn nothing of the log."""
    weight = rounds.weight
    return float((weight * rounds.reward).sum() / weight.sum()) if weight.any() else 0.0


def direct(rounds: Rounds, expected: NDArray[np.float64]) -> float:
    """The direct method: only as true as the model is. `expected` is (rounds, actions)."""
    return float((rounds.policy * expected).sum(axis=1).mean())


def doubly_robust(rounds: Rounds, expected: NDArray[np.float64]) -> float:
    """Without bias when the propensities are right, or the model is."""
    rest = rounds.reward - expected[np.arange(len(rounds.action)), rounds.action]
    return direct(rounds, expected) + float((rounds.weight * rest).mean())


def self_normalised_doubly_robust(rounds: Rounds, expected: NDArray[np.float64]) -> float:
    """DR with its correction self-normalised."""
    weight = rounds.weight
    rest = rounds.reward - expected[np.arange(len(rounds.action)), rounds.action]
    return direct(rounds, expected) + (float((weight * rest).sum() / weight.sum()) if weight.any() else 0.0)


ESTIMATORS: Final[dict[str, Callable[[Rounds, NDArray[np.float64]], float]]] = {
    "IPS": ips,
    "SNIPS": snips,
    "DM": direct,
    "DR": doubly_robust,
    "SNDR": self_normalised_doubly_robust,
}


@dataclass(frozen=True)
class Estimate:
    """A policy's worth and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def estimate(
    name: str, rounds: Rounds, expected: NDArray[np.float64], rng: np.random.Generator, *, draws: int = BOOTSTRAPS
) -> Estimate:
    """One of ESTIMATORS with its interval: rounds are drawn anew `draws` times."""
    judged = ESTIMATORS[name]
    values = np.empty(draws)
    for n in range(draws):
        rows = rng.integers(0, len(rounds.action), size=len(rounds.action))
        values[n] = judged(rounds.drawn(rows), expected[rows])
    low, high = np.quantile(values, [0.025, 0.975])
    return Estimate(judged(rounds, expected), float(low), float(high))
