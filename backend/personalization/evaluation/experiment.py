"""Experiments on people who are drawn by a key, judged so that looking every day does no harm.

Who is in which arm follows from a secret key and the experiment's name alone: nobody can pick their arm, two
experiments draw independently, and the same person stays where they are. A test that may be looked at whenever one
likes is the mixture sequential probability ratio test (Johari, Pekelis, Walsh, arXiv 1512.04922). Before any result,
the arms' sizes are checked against what was planned: a broken split makes every other figure worthless.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from hashlib import sha256
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

RATIO_ALARM: Final = 0.001
"""A split less likely than this is called broken; looked at each day for weeks, it still rarely cries wolf."""


@dataclass(frozen=True)
class Arm:
    """A name and its part of the people."""

    name: str
    share: Fraction


def assign(key: bytes, experiment: str, person: bytes, arms: Sequence[Arm]) -> str:
    """The arm of a person: the first 64 bits of HMAC-SHA256(key, experiment, person) fall into one arm's part.

    Raises ValueError unless the shares are positive and sum to 1.
    """
    if not arms or any(arm.share <= 0 for arm in arms) or sum(arm.share for arm in arms) != 1:
        raise ValueError("the shares of an experiment's arms must be above 0 and sum to 1")
    name = experiment.encode()
    drawn = hmac.new(key, len(name).to_bytes(4) + name + person, sha256).digest()[:8]
    point, upto = Fraction(int.from_bytes(drawn), 1 << 64), Fraction(0)
    for arm in arms:
        upto += arm.share
        if point < upto:
            return arm.name
    raise AssertionError("the shares sum to 1")


def ratio_check(counts: Mapping[str, int], arms: Sequence[Arm]) -> float:
    """The probability of a split as uneven as this one, if people were drawn as planned (chi-square); 1 for nobody."""
    total = sum(counts.get(arm.name, 0) for arm in arms)
    if total == 0 or len(arms) < 2:
        return 1.0
    observed = [counts.get(arm.name, 0) for arm in arms]
    return float(stats.chisquare(observed, [float(arm.share) * total for arm in arms]).pvalue)


@dataclass(frozen=True)
class Sample:
    """One arm's people: a number each, and one from before the experiment where there is one (for CUPED)."""

    values: NDArray[np.float64]
    before: NDArray[np.float64] | None = None


def cuped(ours: Sample, theirs: Sample) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both arms' values less what was foreseeable from before: y - theta (x - mean x), theta = cov(x, y) / var(x).

    Theta is taken over both arms together (Deng, Xu, Kohavi, Walker 2013): the difference of means keeps its
    expectation, and its variance falls by the square of the correlation. As given where nothing is known from before.
    """
    if ours.before is None or theirs.before is None:
        return ours.values, theirs.values
    x, y = np.concatenate([ours.before, theirs.before]), np.concatenate([ours.values, theirs.values])
    spread = float(x.var())
    if spread < 1e-12:
        return ours.values, theirs.values
    theta = float(np.mean((x - x.mean()) * (y - y.mean()))) / spread
    return ours.values - theta * (ours.before - x.mean()), theirs.values - theta * (theirs.before - x.mean())


@dataclass(frozen=True)
class Sums:
    """An arm's people as sums alone, so that no row of one person leaves the database: y is the value, x is from before
    the experiment (0 for all where nothing is known)."""

    people: int
    y: float
    yy: float
    x: float = 0.0
    xx: float = 0.0
    xy: float = 0.0

    @classmethod
    def of(cls, sample: Sample) -> Sums:
        y, x = sample.values, np.zeros(len(sample.values)) if sample.before is None else sample.before
        return cls(len(y), float(y.sum()), float(y @ y), float(x.sum()), float(x @ x), float(x @ y))

    def __add__(self, other: Sums) -> Sums:
        return Sums(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def mean(self) -> float:
        return self.y / self.people if self.people else 0.0

    @property
    def variance(self) -> float:
        """Of the values, over people - 1."""
        return max(self.yy - self.people * self.mean**2, 0.0) / (self.people - 1) if self.people > 1 else 0.0

    @property
    def error(self) -> float:
        """The standard error of the mean."""
        return float(np.sqrt(self.variance / self.people)) if self.people else 0.0


def cuped_sums(ours: Sums, theirs: Sums) -> tuple[Sums, Sums]:
    """As `cuped`: both arms' sums of what is left of y when what was foreseeable from x is taken out."""
    both = ours + theirs
    n = max(both.people, 1)
    spread = both.xx / n - (both.x / n) ** 2
    if spread < 1e-12:
        return ours, theirs
    theta, usual = (both.xy / n - both.x * both.y / n**2) / spread, both.x / n

    def left(arm: Sums) -> Sums:
        # z = y - theta (x - usual)
        k, people = theta * usual, arm.people
        z = arm.y - theta * arm.x + people * k
        zz = arm.yy + theta**2 * arm.xx - 2 * theta * arm.xy + 2 * k * (arm.y - theta * arm.x) + people * k * k
        return Sums(people, z, zz)

    return left(ours), left(theirs)


@dataclass(frozen=True)
class Verdict:
    """What an experiment says so far. `p` may be looked at whenever one likes: it never falls below its promise."""

    difference: float
    low: float
    high: float
    p: float
    sound: bool
    """False when the arms' sizes are not what was planned; then nothing else here means anything."""

    @property
    def tells(self) -> bool:
        """Whether the arms may be called different at 5 %."""
        return self.sound and self.p < 0.05


def sequential(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], *, tau: float, alpha: float = 0.05
) -> tuple[float, float, float, float]:
    """(difference, low, high, p) of the mixture SPRT on two means; `tau` is the effect that would be worth finding.

    With v the variance of the difference, the mixture N(0, tau^2) gives
    Lambda = sqrt(v / (v + tau^2)) exp(tau^2 d^2 / (2 v (v + tau^2))), p = min(1, 1 / Lambda), and an interval of
    half-width sqrt(v (v + tau^2) / tau^2 * (log((v + tau^2) / v) - 2 log alpha)) that holds at all times at once.
    """
    return sequential_sums(Sums.of(Sample(ours)), Sums.of(Sample(theirs)), tau=tau, alpha=alpha)


def sequential_sums(ours: Sums, theirs: Sums, *, tau: float, alpha: float = 0.05) -> tuple[float, float, float, float]:
    """`sequential` from sums."""
    if tau <= 0:
        raise ValueError("tau must be above 0: the effect that would be worth finding")
    if min(ours.people, theirs.people) < 2:
        return 0.0, -np.inf, np.inf, 1.0
    difference = ours.mean - theirs.mean
    v = ours.variance / ours.people + theirs.variance / theirs.people
    if v <= 0:
        return difference, difference, difference, 1.0 if difference == 0 else 0.0
    t = tau * tau
    log_ratio = 0.5 * np.log(v / (v + t)) + t * difference**2 / (2 * v * (v + t))
    half = float(np.sqrt(v * (v + t) / t * (np.log((v + t) / v) - 2 * np.log(alpha))))
    return difference, difference - half, difference + half, float(min(1.0, np.exp(-log_ratio)))


def judge(ours: Sample, theirs: Sample, *, arms: Sequence[Arm], tau: float, lowest_p: float = 1.0) -> Verdict:
    """The first arm against the second. `lowest_p` is the smallest p of earlier looks, which later ones keep."""
    counts = {arm.name: len(sample.values) for arm, sample in zip(arms, (ours, theirs), strict=True)}
    difference, low, high, p = sequential(*cuped(ours, theirs), tau=tau)
    return Verdict(difference, low, high, min(p, lowest_p), ratio_check(counts, arms) >= RATIO_ALARM)


def judge_sums(ours: Sums, theirs: Sums, *, sound: bool, tau: float) -> Verdict:
    """The first arm against the second from sums alone; `sound`: whether the split of all arms is as planned."""
    difference, low, high, p = sequential_sums(*cuped_sums(ours, theirs), tau=tau)
    return Verdict(difference, low, high, p, sound)
