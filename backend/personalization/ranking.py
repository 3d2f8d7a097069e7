"""From a person's signals to a slate with true reasons. Pure: arrays and the time go in, scores and terms come out."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from backend.personalization.linear import ItemItem
from backend.personalization.signals import clip

TASTE_HALF_LIFE_S: Final = 60 * 86_400.0
TREND_HALF_LIFE_S: Final = 3 * 86_400.0
NAMED_SHARE: Final = 0.15
"""A past item is named in a reason when it carries at least this part of the positive sum."""
NAMED_AT_MOST: Final = 2

ReasonKind = Literal["taste", "trend", "fresh"]


@dataclass(frozen=True)
class Signal:
    """What one past event said about one work, `age_s` seconds ago."""

    work_id: int
    value: float
    age_s: float


@dataclass(frozen=True)
class Catalogue:
    """The works that may be shown, with what is known of each. All arrays have one entry a work."""

    work_ids: NDArray[np.int64]
    trend: NDArray[np.float64]
    """Decayed count of what people did with the work."""
    registered_at: NDArray[np.int64]
    """Unix seconds of the chain."""


@dataclass(frozen=True)
class Weights:
    """The policy's numbers; what is not here is not in the score."""

    taste: float = 1.0
    trend: float = 0.5
    fresh_slots: int = 1


@dataclass(frozen=True)
class Ranked:
    """One item of a slate: its score is the sum of `terms`, and `because` names past works with what each added."""

    work_id: int
    score: float
    terms: Mapping[str, float]
    reason: ReasonKind
    because: Sequence[tuple[int, float]] = ()


def decayed(age_s: float, half_life_s: float) -> float:
    """2^(-age/half-life); what happened in the future counts as now."""
    return math.exp2(-max(age_s, 0.0) / half_life_s)


def weights_by_work(signals: Sequence[Signal]) -> dict[int, float]:
    """The decayed, clipped sum of a person's signals for each work."""
    sums: dict[int, float] = {}
    for signal in signals:
        value = signal.value * decayed(signal.age_s, TASTE_HALF_LIFE_S)
        sums[signal.work_id] = sums.get(signal.work_id, 0.0) + value
    return {work_id: clip(value) for work_id, value in sums.items() if value}


def standardised(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """z-scores and the scale that was divided by (1 where all values are equal, so that z is 0 there)."""
    scale = float(values.std()) if len(values) else 0.0
    if scale < 1e-12:
        return np.zeros_like(values), 1.0
    return (values - values.mean()) / scale, scale


def slate(
    catalogue: Catalogue,
    model: ItemItem | None,
    signals: Sequence[Signal],
    *,
    hidden: Collection[int] = (),
    limit: int = 20,
    weights: Weights = Weights(),
) -> list[Ranked]:
    """The `limit` best works for a person, best first; ties go to the lower id.

    score = taste * z(s) + trend * z(log1p t), s the sum over past works h of y_h B_hi. Without signals, or without a
    model, the taste term is 0 for every work and the slate is the popular one. The last place goes to the newest work
    that would otherwise not be shown, so that what nobody has seen yet is seen.
    """
    count = len(catalogue.work_ids)
    if count == 0 or limit <= 0:
        return []
    by_work = weights_by_work(signals)
    taste = np.zeros(count)
    if model is not None and by_work:
        where = np.searchsorted(model.work_ids, catalogue.work_ids).clip(max=max(len(model.work_ids) - 1, 0))
        known = model.work_ids[where] == catalogue.work_ids if len(model.work_ids) else np.zeros(count, dtype=bool)
        sums = np.zeros(len(model.work_ids))
        for work_id, value in sorted(by_work.items()):
            if (at := model.position(work_id)) is not None:
                columns, amounts = model.row(at)
                sums[columns] += value * amounts
        taste[known] = sums[where[known]]
    taste_z, taste_scale = standardised(taste)
    trend_z, _ = standardised(np.log1p(catalogue.trend))
    score = weights.taste * taste_z + weights.trend * trend_z
    open_ = ~np.isin(catalogue.work_ids, np.fromiter(hidden, dtype=np.int64, count=len(hidden)))
    order = np.lexsort((catalogue.work_ids, -score))
    order = order[open_[order]]
    chosen = list(order[:limit])
    reasons: dict[int, ReasonKind] = {}
    for _ in range(min(weights.fresh_slots, len(order) - len(chosen))):
        rest = [i for i in order if i not in set(chosen)]
        newest = max(rest, key=lambda i: (catalogue.registered_at[i], -catalogue.work_ids[i]))
        if catalogue.registered_at[newest] <= max(catalogue.registered_at[i] for i in chosen):
            break  # something as new is in the slate already
        chosen[-1] = newest
        reasons[int(newest)] = "fresh"
    ranked = []
    for i in chosen:
        because = _because(model, by_work, int(catalogue.work_ids[i]), weights.taste / taste_scale)
        reason = reasons.get(int(i)) or ("taste" if because else "trend")
        ranked.append(
            Ranked(
                work_id=int(catalogue.work_ids[i]),
                score=float(score[i]),
                terms={"taste": weights.taste * float(taste_z[i]), "trend": weights.trend * float(trend_z[i])},
                reason=reason,
                because=because if reason == "taste" else (),
            )
        )
    return ranked


def _because(
    model: ItemItem | None, by_work: Mapping[int, float], work_id: int, scale: float
) -> tuple[tuple[int, float], ...]:
    """The past works that carried this one, largest part first: c_h = y_h B_hi, named from 15 % of the positive sum.

    Faithful: the score of the work without h is lower by exactly c_h before the common shift of z-scores.
    """
    if model is None or (column := model.position(work_id)) is None:
        return ()
    parts = []
    for past, value in by_work.items():
        row = model.position(past)
        part = value * model.entry(row, column) * scale if row is not None else 0.0
        if part > 0 and value > 0:
            parts.append((past, part))
    total = sum(part for _, part in parts)
    named = [(past, part) for past, part in parts if part >= NAMED_SHARE * total]
    return tuple(sorted(named, key=lambda item: (-item[1], item[0]))[:NAMED_AT_MOST])
