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

from backend.personalization.scoring import PRIOR, Facts, Norm, Past, Weights, item_sums, mood, standardised

NAMED_SHARE: Final = 0.15
"""A past work is named when it carries at least this part of what the person's past adds."""
NAMED_AT_MOST: Final = 2

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Mean row and Gram matrix of the content of all works; computed once for a catalogue."""

    mean: Floats
    gram: Floats

    @classmethod
    def of(cls, rows: NDArray[np.float64]) -> Moments:
        count = max(len(rows), 1)
        return cls(rows.sum(axis=0) / count, rows.T @ rows / count)


def _standard(value: Floats, mean: Floats, square: Floats) -> Floats:
    """(value - mean) / spread from the mean and the mean square; zeros where all values are equal."""
    spread = np.broadcast_to(np.sqrt(np.maximum(square - mean**2, 0.0)), value.shape)
    return np.asarray(np.divide(value - mean, spread, out=np.zeros_like(value), where=spread > 1e-12))


class _Rows:
    """The rows of B of the past works, laid out flat once for both scales."""

    def __init__(self, taste: sparse.csr_array, works: NDArray[np.int64], items: NDArray[np.int64]) -> None:
        starts = taste.indptr[works]
        self.lengths = taste.indptr[works + 1] - starts
        begins = np.cumsum(self.lengths) - self.lengths
        self.filled = np.flatnonzero(self.lengths)
        self.begins = begins[self.filled]
        at = np.arange(int(self.lengths.sum())) + np.repeat(starts - begins, self.lengths)
        self.columns, self.amounts = taste.indices[at], taste.data[at]
        slot = np.full(taste.shape[1], -1, dtype=np.int16)
        slot[items] = np.arange(len(items), dtype=np.int16)
        where = slot[self.columns]
        hit = np.flatnonzero(where >= 0)
        self.touched = np.zeros((len(works), len(items)))
        """(past works, items)."""
        np.add.at(self.touched, (begins.searchsorted(hit, side="right") - 1, where[hit]), self.amounts[hit])
        self.sums, self.squares = self._by_row(self.amounts), self._by_row(self.amounts * self.amounts)

    def _by_row(self, entries: Floats) -> Floats:
        """The sum over each past work's entries."""
        found = np.zeros(len(self.lengths))
        if len(self.filled):
            found[self.filled] = np.add.reduceat(entries, self.begins)
        return found

    def total(self, values: Floats, size: int) -> Floats:
        """s, for all works."""
        weights = self.amounts * np.repeat(values, self.lengths)
        return np.bincount(self.columns, weights=weights, minlength=size).astype(np.float64, copy=False)

    def cross(self, sums: Floats) -> Floats:
        """B_h . s for each past work h."""
        return self._by_row(self.amounts * sums[self.columns])


def _without(facts: Facts, past: Past, rows: _Rows, values: Floats, items: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """z(s) of the items, and the same without each past work: (items,), (past works, items)."""
    size = len(facts.trend)
    sums = rows.total(values, size)
    total, squares = float(sums.sum()), float(sums @ sums)
    change = rows.touched * values[:, None]
    mean = (total - rows.sums * values) / size
    square = (squares - 2 * rows.cross(sums) * values + rows.squares * values**2) / size
    standard = _standard(sums[items][None] - change, mean[:, None], square[:, None])
    # where one past work was nearly all of s, the difference of large numbers tells nothing: those are computed anew
    for row in np.flatnonzero(square - mean**2 < 1e-8 * squares / size):
        keep = np.arange(len(values)) != row
        standard[row] = standardised(item_sums(facts.taste, past.works[keep], values[keep]))[items]
    return standardised(sums)[items], standard


def _content(facts: Facts, moments: Moments, past: Past, items: NDArray[np.int64]) -> tuple[Floats, Floats]:
    rows, wanted = facts.content[past.works], facts.content[items]
    whole = past.values @ rows
    directions = np.concatenate([whole[None], whole[None] - past.values[:, None] * rows])
    length = np.linalg.norm(directions, axis=1, keepdims=True)
    directions = np.divide(directions, length, out=np.zeros_like(directions), where=length > 1e-9)
    mean, square = directions @ moments.mean, ((directions @ moments.gram) * directions).sum(axis=1)
    standard = _standard(directions @ wanted.T, mean[:, None], square[:, None])
    return standard[0], standard[1:]


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
    fall = np.zeros((len(past.works), len(items)))
    rows = _Rows(facts.taste, past.works, items)
    for values, share in ((past.long, 1 - rho), (past.short, rho)):
        if share:
            now, without = _without(facts, past, rows, values, items)
            fall += weights.taste * share * (now[None] - without)
    now, without = _content(facts, moments, past, items)
    fall += weights.content * (now[None] - without)
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
