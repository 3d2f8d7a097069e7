"""How good lists are, for each person, so that means come with their standard errors.

NDCG with binary relevance (Järvelin, Kekäläinen 2002): the gain of a place is 1/log2(place + 1), and the ideal list has
min(k, held out) hits. Recall divides by all that was held out, also by works that nobody had seen before the cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

BOOTSTRAPS: Final = 2_000
WELL_KNOWN: Final = 100
"""A work of the hundred most popular is no surprise."""
LIKE_BEFORE: Final = 0.3
"""From this cosine on a work is like something that the person knew."""


@dataclass(frozen=True)
class Mean:
    """A mean over people and its standard error."""

    value: float
    error: float


def mean(values: NDArray[np.float64]) -> Mean:
    """The mean of one number a person; nobody has the mean 0 and no error that could be told."""
    if len(values) == 0:
        return Mean(0.0, float("nan"))
    return Mean(float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0)


def hits(lists: NDArray[np.int64], held_out: sparse.csr_array, people: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each place of each person's list holds something that the person did afterwards; -1 is an empty place."""
    found = np.zeros(lists.shape, dtype=bool)
    for row, person in enumerate(people):
        relevant = held_out.indices[held_out.indptr[person] : held_out.indptr[person + 1]]
        found[row] = np.isin(lists[row], relevant)
    return found


def ndcg(found: NDArray[np.bool_], relevant: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """NDCG@k of each person; `relevant` says how many works were held out for each, at least one."""
    gains = 1 / np.log2(np.arange(2, k + 2))
    gained = found[:, :k] @ gains[: found.shape[1]]
    ideal = np.concatenate([[0.0], np.cumsum(gains)])[np.minimum(relevant, k)]
    return np.asarray(gained / ideal, dtype=np.float64)


def recall(found: NDArray[np.bool_], relevant: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """The part of what was held out that stands in the first k places."""
    return np.asarray(found[:, :k].sum(axis=1) / relevant, dtype=np.float64)


def coverage(lists: NDArray[np.int64], works: int) -> float:
    """The part of all works that stands in anybody's list."""
    return len(np.unique(lists[lists >= 0])) / works if works else 0.0


def diversity(lists: NDArray[np.int64], content: NDArray[np.float32]) -> NDArray[np.float64]:
    """1 - the mean cosine between two works of a list; content has unit rows. Lists of one work have 0."""
    result = np.zeros(len(lists))
    for row, chosen in enumerate(lists):
        vectors = content[chosen[chosen >= 0]]
        size = len(vectors)
        if size > 1:
            total = float(np.square(vectors.sum(axis=0, dtype=np.float64)).sum())
            own = float(np.square(vectors, dtype=np.float64).sum())
            result[row] = 1 - (total - own) / (size * (size - 1))
    return result


def novelty(lists: NDArray[np.int64], popularity: NDArray[np.float64], people: int) -> NDArray[np.float64]:
    """The mean of -log2 of the part of people who knew each work of the list; a work nobody knew counts as half one."""
    surprise = -np.log2(np.maximum(popularity, 0.5) / max(people, 1))
    shown = np.where(lists >= 0, surprise[lists], np.nan)
    return np.asarray(np.nanmean(shown, axis=1), dtype=np.float64)


def serendipity(
    lists: NDArray[np.int64],
    found: NDArray[np.bool_],
    *,
    popularity: NDArray[np.float64],
    content: NDArray[np.float32],
    known: sparse.csr_array,
    people: NDArray[np.int64],
) -> NDArray[np.float64]:
    """The part of a list that hit, is not among the hundred most popular, and is like nothing that the person knew."""
    well_known = np.zeros(len(popularity), dtype=bool)
    well_known[np.lexsort((np.arange(len(popularity)), -popularity))[:WELL_KNOWN]] = True
    result = np.zeros(len(lists))
    for row, person in enumerate(people):
        hit = lists[row][found[row]]
        past = known.indices[known.indptr[person] : known.indptr[person + 1]]
        if len(hit) and len(past):
            alike = (content[hit] @ content[past].T).max(axis=1)
            result[row] = float((~well_known[hit] & (alike < LIKE_BEFORE)).sum()) / lists.shape[1]
    return result


def turned_away(
    lists: NDArray[np.int64], left: sparse.csr_array, people: NDArray[np.int64], k: int
) -> NDArray[np.float64]:
    """The part of the first k places that the person turned away from at once; less is better.

    `left` holds, a row a person, the works that they skipped early: within five seconds in a log of ours, and in a set
    of ratings those that they gave its lowest marks.
    """
    return np.asarray(hits(lists[:, :k], left, people).sum(axis=1) / k, dtype=np.float64)


@dataclass(frozen=True)
class Difference:
    """By how much one list is better than another for the same people: mean, 95 % interval, and whether it tells."""

    value: float
    low: float
    high: float

    @property
    def beyond_noise(self) -> bool:
        """True when the interval does not hold 0; else the two must not be called different."""
        return self.low > 0 or self.high < 0


def difference(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], rng: np.random.Generator, *, rounds: int = BOOTSTRAPS
) -> Difference:
    """A paired bootstrap (Efron): both lists were made for the same people, so people are drawn, not lists."""
    deltas = ours - theirs
    if len(deltas) == 0:
        return Difference(0.0, 0.0, 0.0)
    drawn = rng.integers(0, len(deltas), size=(rounds, len(deltas)))
    means = deltas[drawn].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Difference(float(deltas.mean()), float(low), float(high))
