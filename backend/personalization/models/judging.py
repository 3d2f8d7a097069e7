"""A new model is judged before it may serve: on the last part of the log, which what is judged has not seen.

The pairs are cut where the last fifth of them begins. A twin of the new model, made in the same way from what came
before the cut, ranks for the people who came back afterwards; beside it «popular lately», which knows no person, and
the model that serves. That one is judged as it stands where it was made before the cut; if it was made later it has
seen what is held out, and a twin of its own weights is judged in its place. Who is worse beyond noise (paired
bootstrap over people, 95 %) is refused. The model itself, which has seen everything, is checked to be whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from backend.personalization.evaluation import metrics, offline, splits
from backend.personalization.evaluation.offline import Judged, Result
from backend.personalization.evaluation.splits import Log, Split
from backend.personalization.models import knowledge
from backend.personalization.models.progress import Said, quiet
from backend.personalization.models.snapshots import Model
from backend.personalization.ranking import scoring
from backend.personalization.ranking.scoring import Weights

HELD_OUT: Final = 0.2
LEAST_PEOPLE: Final = 30
"""Fewer people can't show that a model is worse; it is accepted, and its row says that nobody could judge."""
MOST_PEOPLE: Final = 1_000
SEED: Final = 7_411
BASELINE: Final = "popular lately"
NEW: Final = "this model"
SERVES: Final = "the model that serves"

Twin = Callable[[NDArray[np.bool_], float, Weights], Model]
"""A model of the chosen rows of the log, as of a moment, with these weights."""


@dataclass(frozen=True)
class Past:
    """The log that models are judged on: who liked which work when, and the works by position."""

    log: Log
    """Works are positions in `work_ids`."""
    work_ids: NDArray[np.int64]
    created_at: NDArray[np.float64]


@dataclass(frozen=True)
class Verdict:
    """What is kept with a model: its figures, and why it may not serve; None when it may."""

    metrics: dict[str, Any]
    refused: str | None


def judge(
    past: Past,
    twin: Twin,
    *,
    weights: Weights,
    serving: Model | None = None,
    served_since: float = np.inf,
    said: Said = quiet,
) -> Verdict:
    """Judge models made with `weights` beside the baseline and the model that serves since `served_since`."""
    cut = float(np.quantile(past.log.at, 1 - HELD_OUT)) if len(past.log) else 0.0
    split = splits.cut_at(past.log, cut)
    judged = Judged.of(split, at_most=MOST_PEOPLE)
    if len(judged.people) < LEAST_PEOPLE:
        return Verdict({"judged": len(judged.people)}, None)
    before = past.log.at < cut
    said("judge the new model", 0, 2)
    mine = twin(before, cut, weights)
    works = offline.Works(mine.content, past.created_at)
    results = [
        offline.judge(BASELINE, judged, _lately(split), works),
        offline.judge(NEW, judged, _served(mine, past, split), works),
    ]
    how = None
    if serving is not None:
        said("judge the model that serves", 1, 2)
        how = "as it stands" if served_since <= cut else "its weights, on what the new one knew"
        theirs = serving if served_since <= cut else replace(mine, weights=serving.weights)
        results.append(offline.judge(SERVES, judged, _served(theirs, past, split), works))
    said("judge the new model", 2, 2)
    return _verdict(results, judged, cut=cut, how=how)


def _lately(split: Split) -> offline.Scorer:
    trend = offline.trend_at(split, offline.LATELY_S)
    return lambda past: trend


def _served(model: Model, past: Past, split: Split) -> offline.Scorer:
    """The score as it would be served at the cut."""
    facts = knowledge.facts(
        model,
        knowledge.of_works(model, past.work_ids),
        past.work_ids,
        trend=offline.trend_at(split, model.weights.trend_half_life_s),
        recency=scoring.recency(past.created_at, split.cut, model.weights),
    )
    return offline.served(facts, model.weights)


def _verdict(results: list[Result], judged: Judged, *, cut: float, how: str | None) -> Verdict:
    by_name = {result.name: result for result in results}
    mine = by_name[NEW]
    said: dict[str, Any] = {
        "judged": len(judged.people),
        "cut": cut,
        "models": {result.name: _figures(result) for result in results},
        "against": {},
    }
    if how is not None:
        said["serving_judged"] = how
    refused = None
    for name in (SERVES, BASELINE):
        if name not in by_name:
            continue
        found = metrics.difference(mine.ndcg, by_name[name].ndcg, np.random.default_rng(SEED))
        said["against"][name] = {"value": found.value, "low": found.low, "high": found.high}
        if found.high < 0:
            refused = (
                f"on what {len(judged.people)} people did after the cut its NDCG@10 is {-found.value:.4f} below that of"
                f" {name} (95 %: {found.low:+.4f} to {found.high:+.4f})"
            )
    return Verdict(said, refused)


def _figures(result: Result) -> dict[str, float]:
    ndcg, recall = metrics.mean(result.ndcg), metrics.mean(result.recall)
    return {
        "ndcg": ndcg.value,
        "ndcg_error": ndcg.error,
        "recall": recall.value,
        "recall_error": recall.error,
        "coverage": result.coverage,
        "diversity": metrics.mean(result.diversity).value,
        "novelty": metrics.mean(result.novelty).value,
        "serendipity": metrics.mean(result.serendipity).value,
    }


def broken(model: Model) -> str | None:
    """Why a model can't serve whatever it scores: not whole, or not numbers; None when it is sound."""
    size = len(model.work_ids)
    if not all(len(array) == size for array in (model.popularity, model.familiar, model.content)):
        return f"its arrays are not of the {size} works that it names"
    arrays = (model.items.matrix.data, model.popularity, model.familiar, model.content)
    norms = (model.liking.mean, model.liking.spread, model.mainstream.mean, model.mainstream.spread)
    if not (all(np.isfinite(array).all() for array in arrays) and np.isfinite(norms).all()):
        return "it holds something that is no number"
    return None
