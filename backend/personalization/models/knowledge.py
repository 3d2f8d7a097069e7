"""What a model knows of given works: the one way from a snapshot to the arrays that are scored. Pure.

Serving and judging both go through here, so that a model is judged as it will serve.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from backend.personalization.models.snapshots import Model
from backend.personalization.ranking import scoring
from backend.personalization.ranking.scoring import Facts, Norm


@dataclass(frozen=True)
class Known:
    """One entry a work; works that the model has not seen have zeros."""

    popularity: NDArray[np.float64]
    familiar: NDArray[np.float64]
    content: NDArray[np.float32]
    people: int


def of_works(model: Model | None, work_ids: NDArray[np.int64]) -> Known:
    """What the model knows of the works (ids ascending); of no model, nothing."""
    size = len(work_ids)
    popularity, familiar, content = np.zeros(size), np.zeros(size), np.zeros((size, 1), dtype=np.float32)
    if model is not None and len(model.work_ids) and size:
        at = np.searchsorted(model.work_ids, work_ids).clip(max=len(model.work_ids) - 1)
        known = model.work_ids[at] == work_ids
        popularity[known], familiar[known] = model.popularity[at[known]], model.familiar[at[known]]
        content = np.zeros((size, model.content.shape[1]), dtype=np.float32)
        content[known] = model.content[at[known]]
        content[~np.isfinite(content).all(axis=1)] = 0.0  # what is no number says nothing
    return Known(popularity, familiar, content, max(model.people if model else 0, 1))


def facts(
    model: Model | None,
    known: Known,
    work_ids: NDArray[np.int64],
    *,
    trend: NDArray[np.float64],
    recency: NDArray[np.float64],
    laid_out: Facts | None = None,
) -> Facts:
    """The arrays of the score; `trend` is log1p of the decayed counts now, `recency` r of now.

    `laid_out`: of the same model and works, whose large arrays are taken over.
    """
    if laid_out is not None:
        return replace(laid_out, trend=trend, recency=recency)
    return Facts(
        trend=trend,
        familiar=known.familiar,
        popularity=scoring.standardised(np.log1p(known.popularity)),
        recency=recency,
        content=known.content.astype(np.float64),
        taste=scoring.placed(model.items, work_ids) if model else scoring.nothing_known(len(work_ids)),
        liking=model.liking if model else Norm(0.0, 0.0),
        mainstream=model.mainstream if model else Norm(0.0, 0.0),
    )
