"""Why a work is in a slate: by how much its score would fall had one past thing not been done. Exact, not estimated.

The score's personal terms are standardised over all works, so a past work changes every score a little through mean and
spread. All of that has a closed form, and no term has to be computed anew for all works:

    taste    s' = s - y_h B_h:  sum s' and sum s'^2 follow from the few works that B_h touches
    content  e' = e_u - v_h e_h: mean and second moment of e_i . e' follow from the mean row and the Gram matrix of e
    traits   means over the past works, less one
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from backend.personalization.ranking.scoring import (
    PRIOR,
    Facts,
    Norm,
    Past,
    Weights,
    item_sums,
    mood,
    standardised,
    sums_of,
)

NAMED_SHARE: Final = 0.15
"""A past work is named when it carries at least this part of what the person's past adds."""
NAMED_AT_MOST: Final = 2

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """What no person changes; computed once for a catalogue and its model."""

    mean: Floats
    """Of the rows of the content of all works."""
    gram: Floats
    """Their Gram matrix, a work."""
    sums: Floats
    """Of each row of B."""
    squares: Floats
    """The sum of its entries' squares."""

    @classmethod
    def of(cls, facts: Facts) -> Moments:
        rows, squared = facts.content, facts.taste.copy()
        squared.data **= 2
        count = max(len(rows), 1)
        sums, squares = (np.asarray(matrix.sum(axis=1)).ravel() for matrix in (facts.taste, squared))
        return cls(rows.sum(axis=0) / count, rows.T @ rows / count, sums, squares)


def _inverse(mean: Floats, square: Floats) -> Floats:
    """1 / spread from the mean and the mean square; 0 where all values are equal."""
    spread = np.sqrt(np.maximum(square - mean**2, 0.0))
    return np.asarray(np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 1e-12))


class _Rows:
    """The rows of B of the past works, laid out flat once for both scales."""

    def __init__(self, taste: sparse.csr_array, works: NDArray[np.int64], items: NDArray[np.int64]) -> None:
        starts = taste.indptr[works].astype(np.int64)
        lengths = taste.indptr[works + 1] - starts
        begins = np.cumsum(lengths) - lengths
        self.filled = np.flatnonzero(lengths)
        self.begins = begins[self.filled]
        at = np.repeat(starts - begins, lengths)
        at += np.arange(len(at))
        self.columns, self.amounts = taste.indices.take(at), taste.data.take(at)
        slot = np.full(taste.shape[1], -1, dtype=np.int16)
        slot[items] = np.arange(len(items), dtype=np.int16)
        where = slot.take(self.columns)
        hit = np.flatnonzero(where >= 0)
        self.touched = np.zeros((len(works), len(items)))
        """(past works, items)."""
        np.add.at(self.touched, (begins.searchsorted(hit, side="right") - 1, where[hit]), self.amounts[hit])

    def cross(self, sums: Floats) -> Floats:
        """B_h . s for each past work h."""
        found = np.zeros(len(self.touched))
        if len(self.filled):
            found[self.filled] = np.add.reduceat(self.amounts * sums.take(self.columns), self.begins)
        return found


def _taste(  # noqa: PLR0917
    facts: Facts, moments: Moments, past: Past, rows: _Rows, values: Floats, sums: Floats, items: NDArray[np.int64]
) -> Floats:
    """By how much z(s) of the items would fall without each past work: (past works, items)."""
    size, works = len(sums), past.works
    total, squares = float(sums.sum()), float(sums @ sums)
    mean = (total - moments.sums[works] * values) / size
    square = (squares - 2 * rows.cross(sums) * values + moments.squares[works] * values**2) / size
    mine = sums[items]
    without = mine - rows.touched * values[:, None]
    without -= mean[:, None]
    without *= _inverse(mean, square)[:, None]
    # where one past work was nearly all of s, the difference of large numbers tells nothing: those are computed anew
    for row in np.flatnonzero(square - mean**2 < 1e-8 * squares / size):
        keep = np.arange(len(values)) != row
        without[row] = standardised(item_sums(facts.taste, works[keep], values[keep]))[items]
    spread = float(sums.std())
    now = (mine - sums.mean()) / spread if spread > 1e-12 else np.zeros(len(items))
    return np.subtract(now, without, out=without)


def _content(facts: Facts, moments: Moments, past: Past, items: NDArray[np.int64]) -> Floats:
    """The same of the content term."""
    rows, values = facts.content[past.works], past.values
    whole = values @ rows
    directions = np.concatenate([whole[None], whole - values[:, None] * rows])
    length = np.sqrt(np.einsum("ij,ij->i", directions, directions))
    directions *= np.divide(1.0, length, out=np.zeros_like(length), where=length > 1e-9)[:, None]
    mean, square = directions @ moments.mean, np.einsum("ij,ij->i", directions @ moments.gram, directions)
    standard = directions @ facts.content[items].T
    standard -= mean[:, None]
    standard *= _inverse(mean, square)[:, None]
    return np.asarray(standard[0] - standard[1:])


def _trait(values: Floats, norm: Norm, past: Past) -> tuple[float, Floats]:
    """The person's trait in spreads, and without each past work."""
    counted = past.values > 0
    usual = float(values.mean())
    total, count = float(values[past.works[counted]].sum()), int(counted.sum())
    less, fewer = total - np.where(counted, values[past.works], 0.0), count - counted.astype(np.int64)
    now = norm.standard((total + PRIOR * usual) / (count + PRIOR)) if count else 0.0
    each = (less + PRIOR * usual) / (fewer + PRIOR)
    spread = norm.spread
    standard = (each - norm.mean) / spread if spread > 1e-9 else np.zeros(len(each))
    return now, np.where(fewer > 0, standard, 0.0)


def parts(facts: Facts, moments: Moments, past: Past, items: NDArray[np.int64], weights: Weights) -> Floats:
    """(past works, items): by how much each item's score would fall without each past work; below 0 it would rise.

    The session's number of events stays as it is: what is forgotten is the work, not that something was done.
    """
    if len(past.works) == 0:
        return np.zeros((0, len(items)))
    rho = mood(past.session)
    fall = weights.content * _content(facts, moments, past, items)
    rows, (long, short) = _Rows(facts.taste, past.works, items), sums_of(facts.taste, past)
    for values, sums, share in ((past.long, long, 1 - rho), (past.short, short, rho)):
        if share:
            fall += weights.taste * share * _taste(facts, moments, past, rows, values, sums, items)
    for weight, values, norm, term in (
        (weights.liking, facts.recency, facts.liking, facts.recency),
        (weights.mainstream, facts.familiar, facts.mainstream, facts.popularity),
    ):
        whole, each = _trait(values, norm, past)
        fall += weight * (whole - each)[:, None] * term[items][None]
    return fall


def named(fall: Floats) -> list[list[int]]:
    """For each item the past works to name, largest part first: those that carry NAMED_SHARE of what is positive."""
    if not len(fall):
        return [[] for _ in range(fall.shape[1])]
    positive = np.maximum(fall, 0.0)
    enough = np.maximum(NAMED_SHARE * positive.sum(axis=0), 1e-12)
    columns = np.arange(fall.shape[1])
    result: list[list[int]] = [[] for _ in columns]
    for _ in range(NAMED_AT_MOST):
        largest = positive.argmax(axis=0)  # the first of equals
        for column in np.flatnonzero(positive[largest, columns] >= enough).tolist():
            result[column].append(int(largest[column]))
        positive[largest, columns] = -1.0
    return result
