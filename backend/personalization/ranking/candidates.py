"""Which works of a large catalogue are scored for a person: few enough for milliseconds, and none missed that counts.

Up to EXACT works all that may be shown are candidates. Above, one pass over all of them in single precision (a matrix
product of 64 columns and six sums, a few milliseconds for 100,000) ranks roughly, and candidates are, of what may be
shown:

    likely     the best by the rough score, which is the score of scoring.py but for rounding
    taste      the best by the item-item model alone: what people go on to who liked the same
    content    the nearest by what works are about
    trending   the best by what is done with works now
    new        the newest
    seldom     works that hardly anybody was shown, of creators who hardly are: the fresh place is drawn from them
    any        drawn evenly from all, so that what is unlike a person's past is there for the place that is kept for it

Then only candidates are scored, in double precision, against means and spreads of *all* works: a candidate's score, its
terms and its reasons are the very numbers that scoring everything gives. Pure; positions ascend.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from backend.personalization.ranking import scoring, slate
from backend.personalization.ranking.explain import Moments
from backend.personalization.ranking.scoring import Facts, Past, Weights
from backend.personalization.ranking.slate import LOWEST, Place, Policy, Shelf, Viewer

Floats = NDArray[np.float64]
Positions = NDArray[np.int64]

EXACT: Final = 20_000
"""Up to so many works that may be shown all are scored: nothing is gained by choosing among fewer."""

Source = Literal["likely", "taste", "content", "trending", "new", "seldom", "any"]
MOST: Final[Mapping[Source, int]] = {
    "likely": 600,
    "taste": 300,
    "content": 300,
    "trending": 100,
    "new": 100,
    "seldom": 300,
    "any": 300,
}
"""So many works of each source at most; the slate takes its places from the best 200."""


def seldom(exposures: Floats, creators: Sequence[Hashable]) -> Floats:
    """How little known a work is: how often it was shown, and how often its creator's works were on average.

    So a first work of an unknown creator comes before a new one of somebody whom everybody is shown.
    """
    if len(exposures) == 0:
        return exposures
    numbers: dict[Hashable, int] = {}
    of = np.array([numbers.setdefault(creator, len(numbers)) for creator in creators])
    return np.asarray(exposures + (np.bincount(of, weights=exposures) / np.bincount(of))[of])


@dataclass(frozen=True)
class Index:
    """What the rough pass reads, in single precision, and orders that no person changes; made once a catalogue."""

    content: NDArray[np.float32]
    trend: NDArray[np.float32]
    recency: NDArray[np.float32]
    popularity: NDArray[np.float32]
    trending: Positions
    """Best first."""
    newest: Positions
    least: Positions
    """The tenth of the works that hardly anybody was shown, in no order that anybody chose: by a fixed draw."""

    @classmethod
    def of(cls, facts: Facts, shelf: Shelf) -> Index:
        """The index of a catalogue."""
        works = len(facts.trend)
        few = np.flatnonzero(shelf.exposures <= np.quantile(shelf.exposures, LOWEST)) if works else np.zeros(0, int)
        single = np.float32
        return cls(
            content=np.ascontiguousarray(shelf.content, dtype=single),
            trend=facts.trend.astype(single),
            recency=facts.recency.astype(single),
            popularity=facts.popularity.astype(single),
            trending=np.argsort(-facts.trend, kind="stable").astype(np.int64),
            newest=np.argsort(-facts.recency, kind="stable").astype(np.int64),
            least=np.random.default_rng(works).permutation(few).astype(np.int64),
        )


@dataclass(frozen=True)
class Person:
    """What scoring needs of a person, computed once: traits, direction, and the model's sums with their norms."""

    past: Past
    liking: float
    mainstream: float
    direction: Floats
    """Of unit length; zeros for somebody without a past."""
    sums: tuple[Floats, Floats]
    norms: tuple[tuple[float, float], tuple[float, float]]
    """Mean and spread of each of the two sums over all works."""

    @classmethod
    def of(cls, facts: Facts, past: Past) -> Person:
        """As `scoring.personal_terms` has them."""
        sums = scoring.sums_of(facts.taste, past)
        towards = past.towards
        direction = past.values @ facts.content[past.works] if len(past.works) else np.zeros(facts.content.shape[1])
        length = float(np.linalg.norm(direction))
        return cls(
            past=past,
            liking=facts.liking.standard(scoring.trait(facts.recency, towards)) if len(towards) else 0.0,
            mainstream=facts.mainstream.standard(scoring.trait(facts.familiar, towards)) if len(towards) else 0.0,
            direction=direction / length if length > 1e-9 else np.zeros_like(direction),
            sums=sums,
            norms=((float(sums[0].mean()), float(sums[0].std())), (float(sums[1].mean()), float(sums[1].std()))),
        )

    def taste(self, at: Positions | slice) -> Floats:
        """The taste term of these works."""
        rho = scoring.mood(self.past.session)
        parts = [
            (values[at] - mean) / spread if spread > 1e-12 else np.zeros(len(values[at]))
            for values, (mean, spread) in zip(self.sums, self.norms, strict=True)
        ]
        return np.asarray((1 - rho) * parts[0] + rho * parts[1] if rho else parts[0])


def rough(index: Index, person: Person, weights: Weights) -> tuple[NDArray[np.float32], NDArray[np.float32], Floats]:
    """The score of all works in single precision, and its content and taste terms."""
    score = weights.trend * index.trend
    score += np.float32(weights.recent + weights.liking * person.liking) * index.recency
    score += np.float32(weights.mainstream * person.mainstream) * index.popularity
    cosine = index.content @ person.direction.astype(np.float32)
    spread = float(cosine.std())
    if spread > 1e-6:
        score += np.float32(weights.content / spread) * cosine  # less its mean, which moves all alike
    taste = person.taste(slice(None))
    score += (weights.taste * taste).astype(np.float32)
    return score, cosine, taste


def select(
    index: Index,
    person: Person,
    allowed: Positions,
    weights: Weights,
    *,
    rng: np.random.Generator,
    also: Floats | None = None,
    most: Mapping[Source, int] = MOST,
    exact: int = EXACT,
) -> dict[Source, Positions]:
    """The candidates among the allowed works, by source; few allowed works are all `likely`.

    `also` is what a slate adds to the score of each work: with it `likely` are the best by the total.
    """
    if len(allowed) <= exact:
        return {"likely": allowed}
    shut = np.ones(len(index.trend), dtype=bool)
    shut[allowed] = False
    found: dict[Source, Positions] = {}
    if len(person.past.works):
        score, cosine, taste = rough(index, person, weights)
        values: dict[Source, NDArray[np.float32]] = {
            "likely": score,
            "taste": taste.astype(np.float32),
            "content": cosine,
        }
    else:
        values = {"likely": weights.trend * index.trend + np.float32(weights.recent) * index.recency}
    if also is not None:
        values["likely"] += also
    for source, each in values.items():
        each[shut] = -np.inf
        found[source] = np.argpartition(-each, most[source])[: most[source]].astype(np.int64)
    for source, order in (("trending", index.trending), ("new", index.newest), ("seldom", index.least)):
        found[source] = _open(order, shut, most[source])
    found["any"] = allowed[rng.integers(0, len(allowed), most["any"])]
    return found


def _open(order: Positions, shut: NDArray[np.bool_], most: int) -> Positions:
    """The first works of an order that may be shown; looks no further than it has to."""
    for depth in (4 * most, len(order)):
        first = order[:depth]
        kept = first[~shut[first]]
        if len(kept) >= most or depth >= len(order):
            break
    return kept[:most]


def together(found: Mapping[Source, Positions]) -> Positions:
    """All candidates, each once, ascending."""
    return np.unique(np.concatenate(list(found.values())))


def terms(facts: Facts, moments: Moments, person: Person, at: Positions) -> dict[str, Floats]:
    """All terms of the score of the works `at` before their weights: what scoring.terms gives for them."""
    found = {"trend": facts.trend[at], "recent": facts.recency[at]}
    if len(person.past.works) == 0:
        return found
    direction = person.direction
    mean = float(direction @ moments.mean)
    variance = float(direction @ moments.gram @ direction) - mean**2
    cosine = facts.content[at] @ direction
    return found | {
        "liking": person.liking * facts.recency[at],
        "mainstream": person.mainstream * facts.popularity[at],
        "content": (cosine - mean) / np.sqrt(variance) if variance > 1e-24 else np.zeros(len(at)),
        "taste": person.taste(at),
    }


@dataclass(frozen=True)
class Part:
    """A part of a catalogue as if it were one: what a slate is made of. Its positions are places in `at`."""

    at: Positions
    shelf: Shelf

    @classmethod
    def of(cls, shelf: Shelf, *works: Positions) -> Part:
        """These works of a shelf."""
        at = np.unique(np.concatenate(works))
        size = len(shelf.novelty)
        taken = {
            field.name: value[at]
            for field in fields(shelf)
            if isinstance(value := getattr(shelf, field.name), np.ndarray) and len(value) == size
        }
        return cls(at, replace(shelf, **taken))

    def inside(self, works: Positions) -> Positions:
        """Where works of this part stand in it, in their own order."""
        return np.searchsorted(self.at, works)

    def viewer(self, viewer: Viewer) -> Viewer:
        """The same person before this part of the catalogue, which holds their past and session."""
        return replace(
            viewer,
            past=self.inside(viewer.past),
            shown=None if viewer.shown is None else viewer.shown[self.at],
            averse=None if viewer.averse is None else viewer.averse[self.at],
            session=self.inside(np.array(viewer.session, dtype=np.int64)).tolist(),
        )


@dataclass(frozen=True)
class Ranked:
    """A slate, and the terms of its works' scores before their weights, in the slate's order."""

    places: Sequence[Place]
    terms: Mapping[str, Floats]


def slate_of(
    facts: Facts,
    shelf: Shelf,
    moments: Moments,
    *,
    index: Index | None,
    past: Past,
    allowed: Positions,
    viewer: Viewer,
    weights: Weights,
    policy: Policy,
    size: int,
    rng: np.random.Generator,
) -> Ranked:
    """The slate of a person: of all allowed works where they are few or there is no index, else of candidates.

    Of candidates, what is drawn by chance is drawn among them, and a place's propensity is that draw's.
    """
    if index is None or len(allowed) <= EXACT:
        parts = scoring.terms(facts, past)
        score = scoring.total(parts, weights)
        places = slate.fill(
            score, allowed, shelf, viewer=viewer, policy=policy, size=size, rng=rng, popular=facts.trend
        )
        items = np.array([place.work for place in places], dtype=np.int64)
        return Ranked(places, {name: values[items] for name, values in parts.items()})
    person = Person.of(facts, past)
    also = slate.totals(np.zeros(len(facts.trend)), shelf, viewer, policy)
    at = together(select(index, person, allowed, weights, rng=rng, also=also))
    part = Part.of(shelf, at, past.works, np.array(viewer.session, dtype=np.int64))
    parts = terms(facts, moments, person, part.at)
    inside = slate.fill(
        scoring.total(parts, weights),
        part.inside(at),
        part.shelf,
        viewer=part.viewer(viewer),
        policy=policy,
        size=size,
        rng=rng,
        popular=facts.trend[part.at],
    )
    items = np.array([place.work for place in inside], dtype=np.int64)
    places = [replace(place, work=int(part.at[place.work])) for place in inside]
    return Ranked(places, {name: values[items] for name, values in parts.items()})
