"""Which title, picture and preview a work is shown under: a contextual bandit over the few that its owner offers.

Disjoint linear Thompson sampling (Agrawal and Goyal 2013): one ridge regression for each arm a. With x the context and
r the reward of what was shown:

    A_a = lambda I + sum x x',  b_a = sum r x,  theta ~ N(A_a^-1 b_a, v^2 A_a^-1),  shown: the largest theta' x

A_a^-1 is kept up to date by Sherman and Morrison's formula. What is drawn has a probability that can be written down:
p = .9 m + .1 / K, with m how often each of the K arms won DRAWS draws. So no arm is ever shut out, and no weight of an
off-policy estimate is above 10 K.

The reward is not the click: it is that a person opened the work, saw half of it or more, and did not complain. An arm
that is opened more and seen less teaches against itself, and one whose people are significantly less pleased than
those of the work's others is retired (`misled`). Pure: no row, no clock, and the generator is passed in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from backend.personalization.evaluation.experiment import Sums, sequential_sums

ARMS: Final = 8
"""At most, the work's own title and picture among them."""
DIMENSIONS: Final = 24
"""At most."""
RIDGE: Final = 1.0
SPREAD: Final = 0.2
"""v."""
DRAWS: Final = 64
FLOOR: Final = 0.1
CLICKS_AT_LEAST: Final = 30
"""Before an arm is retired, and of the others together too."""
WORTH: Final = 0.1
"""The difference in satisfaction after the click that would be worth finding."""
ALPHA: Final = 0.05
"""Divided by the arms of a work that are offered now: the chance that one is retired without having deserved it."""
WHYS: Final = ("explored", "unlike", "fresh")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Arm:
    """What is known of one arm. Sums over many people; the newest state follows from the rewards in their order."""

    inverse: Floats
    """A^-1, (d, d)."""
    b: Floats
    shown: int = 0
    clicks: int = 0
    satisfied: int = 0
    """After a click."""

    @classmethod
    def new(cls, dimensions: int) -> Arm:
        """An arm that nobody was shown."""
        if not 1 <= dimensions <= DIMENSIONS:
            raise ValueError(f"a context has 1 to {DIMENSIONS} numbers, not {dimensions}")
        return cls(np.eye(dimensions) / RIDGE, np.zeros(dimensions))

    @property
    def theta(self) -> Floats:
        """The mean of the belief: A^-1 b."""
        return np.asarray(self.inverse @ self.b, dtype=np.float64)


def learn(arm: Arm, x: Floats, *, clicked: bool, satisfied: bool) -> Arm:
    """The arm after it was shown in a context, and what came of it."""
    x = checked(x, len(arm.b))
    ax = arm.inverse @ x
    inverse = arm.inverse - np.outer(ax, ax) / (1 + x @ ax)
    rewarded = clicked and satisfied
    return replace(
        arm,
        inverse=(inverse + inverse.T) / 2,  # what rounding takes from its symmetry would grow over many rounds
        b=arm.b + x if rewarded else arm.b,
        shown=arm.shown + 1,
        clicks=arm.clicks + clicked,
        satisfied=arm.satisfied + rewarded,
    )


def checked(x: Floats, dimensions: int) -> Floats:
    """A context as it is used: what is no number says nothing. Raises ValueError for another length."""
    x = np.asarray(x, dtype=np.float64)
    if x.shape != (dimensions,):
        raise ValueError(f"a context of {dimensions} numbers was expected, not of shape {x.shape}")
    return np.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0)


def propensities(
    arms: Sequence[Arm], x: Floats, rng: np.random.Generator, *, watched: Sequence[bool] | None = None
) -> Floats:
    """The probability with which each arm is shown in a context; they sum to 1, and none is below FLOOR / K.

    A `watched` arm has FLOOR / K and no more, unless all are watched.

    theta' x of each draw is drawn directly: it is normal with mean x' A^-1 b and variance v^2 x' A^-1 x.
    """
    if not arms:
        raise ValueError("there is no arm to show")
    count = len(arms)
    x = checked(x, len(arms[0].b))
    means = np.array([x @ arm.theta for arm in arms])
    spreads = SPREAD * np.sqrt(np.maximum([x @ arm.inverse @ x for arm in arms], 0.0))
    worth = means + spreads * rng.standard_normal((DRAWS, count))
    if watched is not None and not all(watched):
        worth[:, np.array(watched, dtype=bool)] = -np.inf
    won = np.bincount(worth.argmax(axis=1), minlength=count) / DRAWS
    p = (1 - FLOOR) * won + FLOOR / count
    return np.asarray(p / p.sum(), dtype=np.float64)


def draw(p: Floats, rng: np.random.Generator) -> int:
    """One arm by its probability."""
    upto = np.cumsum(p)
    return int(np.searchsorted(upto, rng.random() * upto[-1], side="right"))


# --- what it is shown in ----------------------------------------------------------------------------------------------


def context(
    *, place: int, why: str, terms: Mapping[str, float], events: int, novelty: float | None, energy: float | None
) -> Floats:
    """The context of a work in a slate: where it stands and why, what brought it, how much is known of the person, and
    what they set. Nothing that was not read for the slate anyway, and nothing that says who it is."""
    numbers = [1.0, 1 / np.log2(place + 2)]
    numbers += [float(why == each) for each in WHYS]
    numbers += [float(np.tanh(terms[name])) if np.isfinite(terms[name]) else 0.0 for name in sorted(terms)]
    numbers += [min(float(np.log1p(events)) / 7, 1.0), novelty or 0.0, energy or 0.0]
    return np.array(numbers, dtype=np.float64)


def may_show(*, spoiler: bool, finished: bool) -> bool:
    """Whether a person may see a variant: what gives a work away is for those who have finished it."""
    return finished or not spoiler


# --- the clickbait guard ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Misled:
    """An arm whose people were less pleased after the click than those of the work's others."""

    arm: int
    satisfied: float
    """Part of its clicks."""
    others: float
    low: float = field(default=0.0)
    high: float = field(default=0.0)

    @property
    def why(self) -> str:
        """In words, for who offered it."""
        return (
            f"Of those who opened the work from it, {self.satisfied:.0%} saw half of it or more; from its other"
            f" titles and pictures it was {self.others:.0%}. It promises what the work does not keep."
        )


def misled(arms: Sequence[Arm]) -> list[Misled]:
    """The arms to retire: whose satisfaction after a click lies below that of the work's others together, beyond noise.

    The test may be looked at after every reward (evaluation.experiment.sequential); the chance of retiring any arm of a
    work without cause stays below ALPHA, however often one looks.
    """
    found = []
    for n, arm in enumerate(arms):
        others = [other for m, other in enumerate(arms) if m != n]
        clicks, satisfied = sum(other.clicks for other in others), sum(other.satisfied for other in others)
        if min(arm.clicks, clicks) < CLICKS_AT_LEAST:
            continue
        ours = Sums(arm.clicks, arm.satisfied, arm.satisfied)  # of zeros and ones, sum and sum of squares are one
        theirs = Sums(clicks, satisfied, satisfied)
        _, low, high, _ = sequential_sums(ours, theirs, tau=WORTH, alpha=ALPHA / len(arms))
        if high < 0:
            found.append(Misled(n, arm.satisfied / arm.clicks, satisfied / clicks, low, high))
    return found
