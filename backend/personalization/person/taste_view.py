"""What the feed makes of a person's past, and what it would make of it without one work of it. Pure.

Everything here is what the score itself uses (scoring.py, taste.py); nothing is estimated for showing. Without a work
means: as if nothing had ever been done with it, and all else as it is, the number of events of this session included.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from backend.personalization.catalogue import Catalogue
from backend.personalization.ranking import explain, scoring
from backend.personalization.ranking.scoring import TERMS, Past

USUAL: Final = 0.5
"""Within so many spreads of other people a trait is as usual."""


@dataclass(frozen=True)
class Known:
    """A past work and what it weighs now, on both scales; below 0 it speaks against works like it."""

    work_id: int
    long: float
    short: float

    @property
    def weight(self) -> float:
        """What the score takes: what happened today counts on both scales."""
        return self.long + self.short


def known(catalogue: Catalogue, past: Past) -> list[Known]:
    """The past works, what weighs most first."""
    made = [
        Known(int(catalogue.work_ids[work]), float(long), float(short))
        for work, long, short in zip(past.works, past.long, past.short, strict=True)
    ]
    return sorted(made, key=lambda each: (-abs(each.weight), each.work_id))


def summed(works: Iterable[Known], labels: Mapping[int, Sequence[str]]) -> list[tuple[str, float]]:
    """What each label (a tag, a kind) weighs: the sum over the past works that have it, largest first."""
    sums: dict[str, float] = {}
    for work in works:
        for label in labels.get(work.work_id, ()):
            sums[label] = sums.get(label, 0.0) + work.weight
    return sorted(sums.items(), key=lambda each: (-abs(each[1]), each[0]))


@dataclass(frozen=True)
class Traits:
    """How many spreads above other people the person's works are: in newness, and in how well known they are."""

    newness: float
    fame: float

    @property
    def sentences(self) -> list[str]:
        return [
            _trait(
                self.newness, "You like newer works than most people do.", "You like older works than most people do."
            )
            or "You like works about as new as others do.",
            _trait(self.fame, "You like what is well known.", "You like what few people know.")
            or "You like well-known works about as much as others do.",
        ]


def _trait(value: float, above: str, below: str) -> str | None:
    return above if value > USUAL else below if value < -USUAL else None


def traits(catalogue: Catalogue, past: Past) -> Traits | None:
    """The person's traits as the score takes them; None before they turned towards anything."""
    facts, towards = catalogue.facts, past.towards
    if not len(towards):
        return None
    return Traits(
        facts.liking.standard(scoring.trait(facts.recency, towards)),
        facts.mainstream.standard(scoring.trait(facts.familiar, towards)),
    )


@dataclass(frozen=True)
class Account:
    """One work's score, taken apart: term by term, and past work by past work."""

    work_id: int
    score: float
    terms: Mapping[str, tuple[float, float]]
    """Name -> (the term before its weight, the weight); the products sum to the score."""
    parts: Sequence[tuple[int, float]]
    """(past work, by how much the score would fall without it), largest first; below 0 the score would rise."""


def account(catalogue: Catalogue, past: Past, work_ids: Sequence[int]) -> list[Account]:
    """The accounts of works of the catalogue; those that are not in it are left out."""
    known_ids = [work for work in work_ids if work in catalogue.place]
    items = np.array([catalogue.place[work] for work in known_ids], dtype=np.int64)
    raw = scoring.terms(catalogue.facts, past)
    fall = explain.parts(catalogue.facts, catalogue.moments, past, items, catalogue.weights)
    made = []
    for column, (work_id, item) in enumerate(zip(known_ids, items.tolist(), strict=True)):
        terms = {
            name: (float(raw[name][item]) if name in raw else 0.0, float(getattr(catalogue.weights, name)))
            for name in TERMS
        }
        parts = [(int(catalogue.work_ids[work]), float(fall[row, column])) for row, work in enumerate(past.works)]
        parts.sort(key=lambda each: (-abs(each[1]), each[0]))
        made.append(Account(work_id, sum(value * weight for value, weight in terms.values()), terms, parts))
    return made


def scores(catalogue: Catalogue, past: Past) -> Mapping[int, float]:
    """Every work's score, computed from nothing but the past: what an explanation must agree with."""
    total = scoring.total(scoring.terms(catalogue.facts, replace(past, sums=None)), catalogue.weights)
    return dict(zip(catalogue.work_ids.tolist(), total.tolist(), strict=True))
