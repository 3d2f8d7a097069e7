"""The item-item model: a linear auto-encoder with dropout, in closed form, sparsified. Pure numpy and scipy.

Source: Steck, "Autoencoders that don't overfit towards the Identity" (NeurIPS 2020), with columns cut to their K
largest entries. In the notation of that page, X the binary person-by-item matrix with rows scaled by
d_u^(-eta/2), d_u the person's number of items:

    G = X'X,   C = (G + lambda I + p/(1-p) diag G)^-1,   B_ij = -C_ij / C_jj,   B_jj = 0
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

LAMBDA: Final = 50.0
DROPOUT: Final = 0.2
ETA: Final = 0.5
TOP_K: Final = 128


@dataclass(frozen=True)
class ItemItem:
    """B by rows: `matrix[h, i]` is what having liked item h adds to the score of item i; items are `work_ids`."""

    work_ids: NDArray[np.int64]
    """Sorted; the position of a work is its row and its column."""
    matrix: sparse.csr_array

    def position(self, work_id: int) -> int | None:
        """The row of a work, or None when the model has not seen it."""
        at = int(np.searchsorted(self.work_ids, work_id))
        return at if at < len(self.work_ids) and self.work_ids[at] == work_id else None

    def row(self, position: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """What item `position` adds to others' scores: their positions (ascending) and the amounts."""
        start, end = self.matrix.indptr[position : position + 2]
        return self.matrix.indices[start:end], self.matrix.data[start:end]

    def entry(self, row: int, column: int) -> float:
        """One B_ij; 0 where it was cut."""
        columns, amounts = self.row(row)
        at = int(np.searchsorted(columns, column))
        return float(amounts[at]) if at < len(columns) and columns[at] == column else 0.0


def fit(
    person: NDArray[np.int64],
    work: NDArray[np.int64],
    *,
    lambda_: float = LAMBDA,
    dropout: float = DROPOUT,
    eta: float = ETA,
    top_k: int = TOP_K,
) -> ItemItem:
    """Fit B on positive (person, work) pairs; pairs may repeat. Ties between equal weights go to the lower work id."""
    work_ids, columns = np.unique(work, return_inverse=True)
    _, rows = np.unique(person, return_inverse=True)
    size = len(work_ids)
    if size == 0:
        return ItemItem(work_ids.astype(np.int64), sparse.csr_array((0, 0), dtype=np.float32))
    x = sparse.csr_array((np.ones(len(rows), dtype=np.float64), (rows, columns)), shape=(int(rows.max()) + 1, size))
    x.data[:] = 1.0  # repeated pairs were summed
    degree = np.asarray(x.sum(axis=1)).ravel()
    scale = degree ** (-eta / 2)
    x = sparse.csr_array(x.multiply((scale / scale.mean())[:, None]))
    gram = np.asarray((x.T @ x).todense())
    penalty = lambda_ + dropout / (1 - dropout) * np.diag(gram)
    gram[np.diag_indices(size)] += penalty
    factor = linalg.cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
    inverse = linalg.cho_solve(factor, np.eye(size), overwrite_b=True, check_finite=False)
    b = -inverse / np.diag(inverse)[None, :]
    np.fill_diagonal(b, 0.0)
    if top_k < size:
        # largest |B_ij| of each column; the stable sort makes equal weights fall to the lower id
        order = np.argsort(-np.abs(b), axis=0, kind="stable")
        b[order[top_k:], np.arange(size)[None, :]] = 0.0
    matrix = sparse.csr_array(b.astype(np.float32))
    matrix.sort_indices()
    return ItemItem(work_ids.astype(np.int64), matrix)
