"""The item-item model: a linear auto-encoder with dropout, in closed form, sparsified. Pure numpy and scipy.

Source: Steck, "Autoencoders that don't overfit towards the Identity" (NeurIPS 2020), with columns cut to their K
largest entries. In the notation of that page, X the binary person-by-item matrix with rows scaled by
d_u^(-eta/2), d_u the person's number of items:

    G = X'X,   C = (G + lambda I + p/(1-p) diag G)^-1,   B_ij = -C_ij / C_jj,   B_jj = 0

G is made in blocks of columns, each of which sums over the persons in their order, whoever makes it: here, or processes
on other machines (cluster.py), with the same bits. It is inverted where it stands, in single precision: 4 M^2 bytes
are all that a catalogue of M works needs, and beyond HEAD works only the most popular lately are in it. The others,
the tail, are ranked by what they are about, like works that nobody has seen yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import lapack

LAMBDA: Final = 50.0
DROPOUT: Final = 0.2
ETA: Final = 0.5
TOP_K: Final = 128
HEAD: Final = 20_000
"""More works than these do not fit: their matrix would need more than 1.6 GB, and hours."""
BLOCK: Final = 512
"""Columns that are made at once."""


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


Share = Callable[[Callable[[Any, int], Any], Any, Sequence[int]], Iterator[Any]]
"""Call a function, somewhere, on what all calls share and on each number; the results in the order of the numbers."""


def here(function: Callable[[Any, int], Any], shared: Any, numbers: Sequence[int]) -> Iterator[Any]:
    """One after the other, in this process."""
    return (function(shared, number) for number in numbers)


def head(work: NDArray[np.int64], weight: NDArray[np.float64] | None, most: int = HEAD) -> NDArray[np.bool_]:
    """The rows of the `most` works of the largest sum of weights (of rows, without them); ties go to the lower id."""
    ids, at = np.unique(work, return_inverse=True)
    if len(ids) <= most:
        return np.ones(len(work), dtype=bool)
    sums = np.bincount(at, weights=weight, minlength=len(ids))
    kept = np.zeros(len(ids), dtype=bool)
    kept[np.lexsort((ids, -sums))[:most]] = True
    return np.asarray(kept[at], dtype=bool)


def fit(
    person: NDArray[np.int64],
    work: NDArray[np.int64],
    *,
    lambda_: float = LAMBDA,
    dropout: float = DROPOUT,
    eta: float = ETA,
    top_k: int = TOP_K,
    weight: NDArray[np.float64] | None = None,
    most: int = HEAD,
    share: Share = here,
) -> ItemItem:
    """Fit B on positive (person, work) pairs; pairs may repeat. Ties between equal weights go to the lower work id.

    `weight` says how much each pair counts when the `most` works of the head are chosen.
    """
    chosen = head(work, weight, most)
    work_ids, columns = np.unique(work[chosen], return_inverse=True)
    _, rows = np.unique(person[chosen], return_inverse=True)
    size = len(work_ids)
    if size == 0:
        return ItemItem(work_ids.astype(np.int64), sparse.csr_array((0, 0), dtype=np.float32))
    inverse = _inverse(_gram(_scaled(rows, columns, size, eta), share), lambda_, dropout)
    return ItemItem(work_ids.astype(np.int64), _columns(inverse, top_k))


def _scaled(rows: NDArray[np.int64], columns: NDArray[np.int64], size: int, eta: float) -> sparse.csc_array:
    x = sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(int(rows.max()) + 1, size))
    x.data[:] = 1.0  # repeated pairs were summed
    degree = np.diff(x.indptr)
    scale = degree ** (-eta / 2)
    x.data *= np.repeat(scale / scale.mean(), degree)
    return sparse.csc_array(x)


def gram_block(x: sparse.csc_array, start: int) -> NDArray[np.float32]:
    """The columns of X'X from `start` on, below and on the diagonal: (works - start, at most BLOCK)."""
    return np.asarray((x[:, start:].T @ x[:, start : start + BLOCK]).toarray(), dtype=np.float32)


def _gram(x: sparse.csc_array, share: Share) -> NDArray[np.float32]:
    """The lower triangle of X'X."""
    size = x.shape[1]
    gram = np.zeros((size, size), dtype=np.float32, order="F")
    starts = range(0, size, BLOCK)
    for start, block in zip(starts, share(gram_block, x, starts), strict=True):
        gram[start:, start : start + BLOCK] = block
    return gram


def _inverse(gram: NDArray[np.float32], lambda_: float, dropout: float) -> NDArray[np.float32]:
    """(G + lambda I + p/(1-p) diag G)^-1 in the place of G; of both only the lower triangle."""
    gram[np.diag_indices(len(gram))] += lambda_ + dropout / (1 - dropout) * np.diag(gram)
    factor, failed = lapack.spotrf(gram, lower=1, overwrite_a=1, clean=0)
    if failed:
        raise ValueError(f"the matrix of works is not positive definite at {failed}: lambda {lambda_} is too small")
    inverse, _ = lapack.spotri(factor, lower=1, overwrite_c=1)
    return np.asarray(inverse, dtype=np.float32)


def _columns(inverse: NDArray[np.float32], top_k: int) -> sparse.csr_array:
    """B from the lower triangle of C: its columns cut to their `top_k` largest entries."""
    size = len(inverse)
    diagonal = np.diag(inverse).copy()
    data, indices, counts = [], [], []
    for start in range(0, size, BLOCK):
        end = min(start + BLOCK, size)
        square = np.tril(inverse[start:end, start:end])
        b = np.concatenate([inverse[start:end, :start].T, square + np.tril(square, -1).T, inverse[end:, start:end]])
        b /= -diagonal[None, start:end]
        b[np.arange(start, end), np.arange(end - start)] = 0.0
        kept = _largest(np.abs(b), top_k) & (b != 0)
        column, row = np.nonzero(kept.T)
        data.append(b[row, column])
        indices.append(row.astype(np.int32))
        counts.append(kept.sum(axis=0))
    starts = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    made = sparse.csc_array((np.concatenate(data), np.concatenate(indices), starts), shape=(size, size)).tocsr()
    made.sort_indices()
    return sparse.csr_array(made)


def _largest(values: NDArray[np.float32], k: int) -> NDArray[np.bool_]:
    """The k largest of each column; of equal ones those higher up."""
    size = len(values)
    if k >= size:
        return np.ones(values.shape, dtype=bool)
    least = np.partition(values, size - k, axis=0)[size - k]
    above, equal = values > least, values == least
    return np.asarray(above | (equal & (np.cumsum(equal, axis=0) <= k - above.sum(axis=0))), dtype=bool)
