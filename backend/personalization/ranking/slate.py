"""From scores to a slate: what may be shown first, then what should be, then what nobody would have asked for.

Hard constraints come before everything and are never traded for score: the caller passes the works that may be shown.
Among them, in the notation of Carbonell and Goldstein's maximal marginal relevance, places are filled one by one from
the `DEPTH` best:

    total(i) = score(i) + novelty * nov_i + quality * q_i - fatigue * log1p(shown_i) + energy * z(energy_i)
             - unwanted * averse_i
             - similar * max over j in the slate of cos(e_i, e_j)

and no work enters that would be the (similar_at_most + 1)th alike (cosine from ALIKE on) in a session. One place, never
the first, goes to a work unlike all that the person knows (out of distribution), one to a work that hardly anybody has
seen; a part `explore` of the other places is drawn by a softmax of the totals instead of taken from the top. Each
place says with which probability its work came there, so that other policies can be judged from the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Positions = NDArray[np.int64]

DEPTH: Final = 200
ALIKE: Final = 0.8
"""From this cosine on two works are alike."""
UNLIKE_FROM: Final = 50
"""The out-of-distribution place is drawn from so many of the best by quality."""
KNOWN: Final = 32
"""So many past works, those that weigh most, say what a person knows: more would cost more than the rest of a slate."""
LOWEST: Final = 0.1
"""The part of the works that may be shown that counts as unlike a person's past."""
SPECIAL_FROM: Final = 5
"""Shorter slates have no special places, nor has one that shows all there is."""
EXPLORE_LEAST: Final = 0.05
EXPLORE_MOST: Final = 0.15

Why = Literal["best", "explored", "unlike", "fresh"]


@dataclass(frozen=True)
class Policy:
    """The numbers of a slate; those a person can turn are `novelty`, `energy` and `unlike`."""

    novelty: float = 0.15
    similar: float = 2.5
    """Chosen by what whole slates were worth before the cut (bench/ranking/slates.py)."""
    quality: float = 0.25
    fatigue: float = 0.3
    energy: float = 0.0
    unwanted: float = 0.3
    """For each tag of a work of which the person asked for less."""
    similar_at_most: int = 3
    unlike: int = 1
    """Places for works unlike the past."""
    fresh: int = 1
    """Places for works of which hardly anybody has been shown anything."""
    explore: float = 0.10

    def __post_init__(self) -> None:
        if not (self.explore == 0 or EXPLORE_LEAST <= self.explore <= EXPLORE_MOST):
            raise ValueError(f"explore is {self.explore}: it must be 0, or {EXPLORE_LEAST} to {EXPLORE_MOST}")
        if self.similar_at_most < 1 or self.unlike < 0 or self.fresh < 0:
            raise ValueError("similar_at_most must be 1 or more, unlike and fresh 0 or more")


def turned(policy: Policy, *, novelty: float | None = None, energy: float | None = None) -> Policy:
    """The policy under a person's sliders: novelty 0 to 1, energy -1 (calm) to 1. Raises ValueError outside."""
    changed = dict(vars(policy))
    if novelty is not None:
        if not 0 <= novelty <= 1:
            raise ValueError("novelty goes from 0 to 1")
        changed |= {"novelty": 0.5 * novelty, "unlike": 1 + int(2 * novelty)}
    if energy is not None:
        if not -1 <= energy <= 1:
            raise ValueError("energy goes from -1 to 1")
        changed["energy"] = 0.5 * energy
    return Policy(**changed)


@dataclass(frozen=True)
class Shelf:
    """What slates know of the works, one entry a work; nothing about persons."""

    content: NDArray[np.float32]
    novelty: Floats
    """z of -log2 of the part of people who know the work."""
    quality: Floats
    """Community assessment; 0 where there is none."""
    energy: Floats
    """z of how lively a work is; 0 where that is not known."""
    exposures: Floats
    """How often each work has been shown to anybody, and its creator's works on average (candidates.seldom)."""


@dataclass(frozen=True)
class Viewer:
    """What a slate knows of a person; empty for anonymous ones."""

    past: Positions = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """What the person turned towards, what weighs most first."""
    shown: Floats | None = None
    """How often each work was shown to the person lately and not taken; None when nothing is known."""
    session: Sequence[int] = ()
    """Works that this session has shown already."""
    averse: Floats | None = None
    """How much of each work's tags the person asked for less of (aversion.py); None: nothing."""


@dataclass(frozen=True)
class Place:
    """One work of a slate, why it stands there, and with which probability it came there."""

    work: int
    total: float
    why: Why
    propensity: float
    """Given the places that were filled before it."""
    choices: int = 1
    """How many works could have come here."""
    usual: float = 0.0
    """With which probability a policy that takes the most popular of those would have put this work here."""


def clean(values: Floats) -> Floats:
    """What is no number counts as the worst there is, so that it is shown last and never breaks an order."""
    return values if np.isfinite(values).all() else np.nan_to_num(values, nan=-1e9, posinf=1e9, neginf=-1e9)


def totals(score: Floats, shelf: Shelf, viewer: Viewer, policy: Policy) -> Floats:
    """The total of each work before what the slate itself holds is taken into account."""
    total = score + policy.novelty * shelf.novelty + policy.quality * shelf.quality + policy.energy * shelf.energy
    if viewer.shown is not None:
        total = total - policy.fatigue * np.log1p(viewer.shown)
    if viewer.averse is not None:
        total = total - policy.unwanted * viewer.averse
    return clean(total)


def unlike(shelf: Shelf, viewer: Viewer, allowed: Positions) -> Positions:
    """The works that may stand in the out-of-distribution place, ascending; none for a person without a past.

    Those whose largest cosine to any of the KNOWN past works is in the lowest tenth of the allowed ones, of at least
    median quality; of these the UNLIKE_FROM best by quality.
    """
    if len(viewer.past) == 0 or len(allowed) == 0:
        return np.zeros(0, dtype=np.int64)
    nearest = (shelf.content[viewer.past[:KNOWN]] @ shelf.content.T).max(axis=0)[allowed]
    quality = shelf.quality[allowed]
    far = (nearest <= _rank(nearest, LOWEST)) & (quality >= np.partition(quality, len(quality) // 2)[len(quality) // 2])
    candidates = allowed[far]
    best = candidates[np.lexsort((candidates, -shelf.quality[candidates]))][:UNLIKE_FROM]
    return np.sort(best)


def _rank(values: NDArray[np.floating], part: float) -> float:
    """The largest of the lowest `part` of the values: what is not above it is what numpy's quantile has below it."""
    at = int((len(values) - 1) * part)
    return float(np.partition(values, at)[at])


def fill(
    score: Floats,
    allowed: Positions,
    shelf: Shelf,
    *,
    viewer: Viewer = Viewer(),
    policy: Policy = Policy(),
    size: int = 20,
    rng: np.random.Generator,
    popular: Floats | None = None,
) -> list[Place]:
    """A slate of at most `size` of the allowed works (ascending positions); fewer allowed give fewer places.

    `popular`, one entry a work, is what a policy that shows the most popular would go by (Place.usual). Deterministic
    for a given generator; with `explore` 0 and no special place it draws nothing.
    """
    if len(allowed) == 0 or size <= 0:
        return []
    total = totals(score, shelf, viewer, policy)
    depth = min(max(DEPTH, 4 * size), len(allowed))
    order = np.lexsort((allowed, -total[allowed])) if depth == len(allowed) else _best(total[allowed], depth)
    pool = _Pool(allowed[order], total, shelf, viewer, policy, popular)
    places: list[Place | None] = [None] * min(size, len(allowed))
    if len(places) >= SPECIAL_FROM and len(allowed) > len(places):
        _reserve(places, pool, allowed, rng)
    for at in range(len(places)):
        if places[at] is None:
            places[at] = pool.take(rng)
    return [place for place in places if place is not None]


def _best(values: Floats, depth: int) -> Positions:
    at = np.argpartition(-values, depth - 1)[:depth]
    return at[np.lexsort((at, -values[at]))]


def _reserve(places: list[Place | None], pool: _Pool, allowed: Positions, rng: np.random.Generator) -> None:
    """Put the works of the special places where they stand: from the last place upwards, never the first."""
    free = list(range(len(places) - 1, 0, -1))
    policy, shelf = pool.policy, pool.shelf
    if policy.unlike and free:
        candidates = unlike(shelf, pool.viewer, allowed)
        chosen = rng.permutation(candidates)[: min(policy.unlike, len(free))]
        _draw(places, free, pool, "unlike", candidates, chosen)
    if policy.fresh and free:
        rest = allowed
        for work in pool.slate:  # one or two: cheaper than a set difference
            rest = rest[rest != work]
        seen = shelf.exposures[rest]
        seldom = rest[seen <= _rank(seen, LOWEST)] if len(rest) else rest
        _draw(places, free, pool, "fresh", seldom, rng.permutation(seldom)[: min(policy.fresh, len(free))])


def _draw(  # noqa: PLR0917
    places: list[Place | None], free: list[int], pool: _Pool, why: Why, candidates: Positions, chosen: Positions
) -> None:
    """Put works that were drawn without replacement where they stand: the second had one candidate less."""
    for work in chosen.tolist():
        usual = pool.usual(candidates, work)
        places[free.pop(0)] = pool.place(work, why, 1 / len(candidates), choices=len(candidates), usual=usual)
        candidates = candidates[candidates != work]


class _Pool:
    """The candidates of one slate and how much each is like what stands in it already."""

    def __init__(  # noqa: PLR0917
        self,
        works: Positions,
        total: Floats,
        shelf: Shelf,
        viewer: Viewer,
        policy: Policy,
        popular: Floats | None = None,
    ) -> None:
        self.popular = popular
        self.works, self.total, self.shelf, self.viewer, self.policy = works, total, shelf, viewer, policy
        self.vectors = shelf.content[works]
        self.at = {work: at for at, work in enumerate(works.tolist())}
        self.cosines = self.vectors @ self.vectors.T
        self.close = self.cosines >= ALIKE
        self.worth = total[works]
        """Of each candidate by itself; -inf once it has its place."""
        self.liked = None if popular is None else popular[works]
        self.left = len(works)
        self.nearest = np.zeros(len(works), dtype=shelf.content.dtype)
        self.alike = np.zeros(len(works), dtype=np.int64)
        self.slate: set[int] = set()
        self.barred: NDArray[np.bool_] | None = None
        """Which would be one too many alike; None: none."""
        if len(viewer.session):
            earlier = self.vectors @ shelf.content[list(viewer.session)].T
            self._like(np.arange(len(works)), (earlier >= ALIKE).sum(axis=1))

    def _count(self, work: int) -> None:
        at = self.at.get(work)
        cosine = self.vectors @ self.shelf.content[work] if at is None else self.cosines[at]
        np.maximum(self.nearest, cosine, out=self.nearest)
        close = (cosine >= ALIKE if at is None else self.close[at]).nonzero()[0]
        if len(close) > (at is not None):  # a candidate is like itself, and has its place
            self._like(close, 1)

    def _like(self, close: Positions, times: Positions | int) -> None:
        """Count works that are like these candidates."""
        self.alike[close] += times
        barred = self.alike >= self.policy.similar_at_most
        self.barred = barred if barred.any() else None

    def usual(self, candidates: Positions, work: int) -> float:
        """The probability of the work where the most popular of the candidates is taken, any one of equals."""
        return 0.0 if self.popular is None else _one_of_most(self.popular[candidates], float(self.popular[work]))

    def place(self, work: int, why: Why, propensity: float, *, choices: int = 1, usual: float = 0.0) -> Place:
        """Let a work stand in the slate."""
        self.slate.add(work)
        at = self.at.get(work)
        if at is not None:
            self.worth[at] = -np.inf
            self.left -= 1
            if self.liked is not None:
                self.liked[at] = -np.inf
        self._count(work)
        return Place(work, float(self.total[work]), why, propensity, choices, usual)

    def take(self, rng: np.random.Generator) -> Place | None:
        """The work of the next place; None when nothing is left. Alike works are passed over while others are there."""
        if not self.left:
            return None
        marginal = self.worth - self.policy.similar * self.nearest
        liked, choices = self.liked, self.left
        if self.barred is not None and (fewer := int(np.count_nonzero(marginal[~self.barred] > -np.inf))):
            marginal[self.barred] = -np.inf
            liked = None if liked is None else np.where(self.barred, -np.inf, liked)
            choices = fewer
        greedy = int(marginal.argmax())  # the first of equals, which is the better by total
        explore, chosen, explored = self.policy.explore, greedy, False
        propensity = 1.0
        if explore:
            drawn = np.exp(marginal - marginal[greedy])
            drawn /= drawn.sum()
            explored = bool(rng.random() < explore)
            if explored:
                upto = drawn.cumsum()  # a work without any probability is never drawn: it spans nothing
                chosen = int(upto.searchsorted(rng.random() * upto[-1], side="right"))
            propensity = min(explore * float(drawn[chosen]) + (1 - explore) * (chosen == greedy), 1.0)
        usual = 0.0 if liked is None else _one_of_most(liked, float(liked[chosen]))
        why: Why = "explored" if explored else "best"
        return self.place(int(self.works[chosen]), why, propensity, choices=choices, usual=usual)


def _one_of_most(among: Floats, value: float) -> float:
    """The probability of something of this value where the largest is taken, any one of equals."""
    most = among.max()
    return 1 / int(np.count_nonzero(among == most)) if value == most else 0.0
