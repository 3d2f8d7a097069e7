"""What follows what: directed co-visits within a session, in closed form. Pure.

    M_ij = sum over places where j came d <= REACH steps after i in a session of 1/d,
           divided by sqrt(n_i n_j) + DAMPING

with n the number of times each work came at all, so that the well known do not follow everything. The score of a
session whose last works are h_1 (the newest), h_2, ... is the sum of M[h_d, :] / d. It needs no person: somebody
without a name is served by what this session saw, and by nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from backend.personalization.models.linear import ItemItem
from backend.personalization.ranking.taste import SESSION_GAP_S

REACH: Final = 5
DAMPING: Final = 5.0


def fit(
    person: NDArray[np.int64],
    work: NDArray[np.int64],
    at: NDArray[np.float64],
    *,
    gap_s: float = SESSION_GAP_S,
    reach: int = REACH,
) -> ItemItem:
    """M from who did what when (seconds), in any order. A session ends where a person does nothing for `gap_s`.

    Of rows of one moment the lower work id counts as the earlier one.
    """
    work_ids, column = np.unique(work, return_inverse=True)
    size = len(work_ids)
    order = np.lexsort((work, at, person))
    person, column, at = person[order], column[order], at[order]
    starts = np.ones(len(order), dtype=bool)
    starts[1:] = (person[1:] != person[:-1]) | (at[1:] - at[:-1] > gap_s)
    session = np.cumsum(starts)
    counts = np.bincount(column, minlength=size).astype(np.float64)
    rows, columns, values = [], [], []
    for d in range(1, min(reach, max(len(order) - 1, 0)) + 1):
        together = (session[d:] == session[:-d]) & (column[d:] != column[:-d])
        before, then = column[:-d][together], column[d:][together]
        rows.append(before)
        columns.append(then)
        values.append(1 / d / (np.sqrt(counts[before] * counts[then]) + DAMPING))
    if not rows:
        return ItemItem(work_ids.astype(np.int64), sparse.csr_array((size, size), dtype=np.float32))
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    matrix = sparse.csr_array(entries, shape=(size, size))
    matrix.sum_duplicates()
    matrix.sort_indices()
    return ItemItem(work_ids.astype(np.int64), matrix.astype(np.float32))


def scores(matrix: sparse.csr_array, newest_first: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float64]:
    """What goes on from these works (positions): the sum of M[h_d, :] / d over the REACH newest; zeros for none."""
    said = np.zeros(matrix.shape[1])
    for d, work in enumerate(list(newest_first)[:REACH], start=1):
        start, end = matrix.indptr[work], matrix.indptr[work + 1]
        said[matrix.indices[start:end]] += matrix.data[start:end].astype(np.float64) / d
    return said
