"""The table of `troupe evaluate`: models with their errors, and only such differences as are beyond noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from backend.jsontext import significant
from backend.personalization.evaluation import metrics, offline, splits
from backend.personalization.evaluation.datasets import Dataset
from backend.personalization.evaluation.offline import Result
from backend.personalization.evaluation.simulator import RETENTION, Outcome
from backend.personalization.ranking.scoring import TERMS, Weights

QUANTILE: Final = 0.8
FOLDS: Final = 3
BASELINE: Final = "popular lately"
SEED: Final = 20_130_901


@dataclass(frozen=True)
class Evaluation:
    """One data set, cut once, with every model's result."""

    dataset: str
    split: str
    """The split's digest."""
    people: int
    known: int
    held_out: int
    weights: Weights
    results: list[Result]
    session: offline.Session | None = None
    """What co-visits would add, by earlier cuts alone; None where weights were given and nothing was learned."""

    def against(self, name: str, baseline: str = BASELINE) -> metrics.Difference:
        """How much better one model's NDCG is than the baseline's, on the same people."""
        by_name = {result.name: result for result in self.results}
        return metrics.difference(by_name[name].ndcg, by_name[baseline].ndcg, np.random.default_rng(SEED))


def evaluate(
    dataset: Dataset,
    *,
    weights: Weights | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, of: None,
) -> Evaluation:
    """Cut the log at its 80 % quantile of time, learn weights before the cut unless given, judge all models after it.

    Raises ValueError for a log that is too small to judge anybody by.
    """
    cut = float(np.quantile(dataset.log.at, QUANTILE))
    split = splits.cut_at(dataset.log, cut)
    if len(split.held_out) == 0:
        raise ValueError(
            f"{dataset.name}: nobody of {splits.AT_LEAST_KNOWN} known works did anything after the cut:"
            " there is too little in the log to judge by"
        )
    session = None
    if weights is None:
        folds = [fold for fold in splits.folds_before(dataset.log, cut, count=FOLDS) if len(fold.held_out)]
        start = Weights(trend=1.0, recent=0.0, liking=0.0, mainstream=0.0, content=0.0, taste=0.0)
        learned = offline.learn(
            folds, dataset.works, start, progress=lambda done, of: progress("learn the weights", done, of)
        )
        weights = learned if folds else Weights()
        progress("look whether order tells", 0, 1)
        session = offline.session_weight(folds, dataset.works, weights) if folds else None
    results = offline.compare(split, dataset.works, weights)
    people = len(np.unique(split.held_out.person))
    return Evaluation(
        dataset.name, split.digest, people, len(split.known), len(split.held_out), weights, results, session
    )


def verdict(found: metrics.Difference) -> str:
    """A difference in words; within noise it is not called one."""
    if not found.beyond_noise:
        return f"within noise ({found.low:+.4f} to {found.high:+.4f})"
    return f"{found.value:+.4f} ({found.low:+.4f} to {found.high:+.4f})"


def tables(evaluation: Evaluation) -> list[Table]:
    """All models, best practice's way: error beside each mean, baselines first. Each table fits 80 columns."""
    hits = _grid(
        f"{evaluation.dataset}: {evaluation.people:,} people, {evaluation.known:,} known, "
        f"{evaluation.held_out:,} held out, split {evaluation.split[:12]}",
        ["model", "NDCG@10 ± SE", "Recall@20 ± SE", "early skips"],
    )
    beyond = _grid("beyond hits", ["model", "coverage", "diversity ± SE", "novelty ± SE", "serendipity ± SE"])
    against = _grid(f"NDCG@10 against {BASELINE!r}, 95 %", ["model", "difference"])
    for result in evaluation.results:
        skips = "" if result.early_skips is None else _said(result.early_skips)
        hits.add_row(result.name, _said(result.ndcg), _said(result.recall), skips)
        beyond.add_row(
            result.name,
            f"{result.coverage:.3f}",
            _said(result.diversity, 3),
            _said(result.novelty, 2),
            _said(result.serendipity),
        )
        if result.name != BASELINE:
            against.add_row(result.name, verdict(evaluation.against(result.name)))
    return [hits, beyond, against]


def _grid(title: str, headings: Sequence[str]) -> Table:
    """A table whose first column has names and whose others numbers."""
    grid = Table(title=title, title_justify="left")
    grid.add_column(headings[0])
    for heading in headings[1:]:
        grid.add_column(heading, justify="right")
    return grid


def _said(values: NDArray[np.float64], digits: int = 4) -> str:
    found = metrics.mean(values)
    return f"{found.value:.{digits}f} ± {found.error:.{digits}f}"


def terms(evaluation: Evaluation) -> dict[str, float]:
    """The weight of each term of the score."""
    return {name: getattr(evaluation.weights, name) for name in TERMS}


def order(evaluation: Evaluation) -> str:
    """In a sentence, what co-visits of a session are worth."""
    found = evaluation.session
    if found is None:
        return "session co-visits: not looked at"
    return (
        f"session co-visits: weight {found.weight:g} (the best tried, {found.best:g}, on the earlier cuts: NDCG@10"
        f" {verdict(found.gain)})"
    )


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """The same for programs; measures with 6 significant digits, the weights as they are."""
    measures = {
        "dataset": evaluation.dataset,
        "split": evaluation.split,
        "people": evaluation.people,
        "known": evaluation.known,
        "held_out": evaluation.held_out,
        "session_co_visits": None if evaluation.session is None else asdict(evaluation.session),
        "models": [
            {
                "name": result.name,
                "ndcg_at_10": asdict(metrics.mean(result.ndcg)),
                "recall_at_20": asdict(metrics.mean(result.recall)),
                "coverage_at_20": result.coverage,
                "diversity": asdict(metrics.mean(result.diversity)),
                "novelty": asdict(metrics.mean(result.novelty)),
                "serendipity": asdict(metrics.mean(result.serendipity)),
                "early_skips": None if result.early_skips is None else asdict(metrics.mean(result.early_skips)),
                "ndcg_against_popular_lately": asdict(evaluation.against(result.name)),
            }
            for result in evaluation.results
        ],
    }
    weights = asdict(evaluation.weights) | {"digest": evaluation.weights.digest}
    return dict(significant(measures)) | {"weights": weights}


# --- the simulated world ---


def lived(outcomes: Sequence[Outcome], baseline: str = "served") -> list[Table]:
    """What became of people under each way to choose. Each table fits 80 columns."""
    runs = len(outcomes[0].lives)
    done = _grid(
        f"a simulated world, {runs} runs, the same people and luck for all",
        ["chosen by", "finished a person ± SE", "a day there", "let down", "works finished by anybody"],
    )
    here = _grid("people who are still here", ["chosen by", *(f"after {day} d" for day in RETENTION)])
    finished = _grid(f"finished a person, against {baseline!r}, 95 %", ["chosen by", "difference"])
    stayed = _grid(f"here after {RETENTION[-1]} d, against {baseline!r}, 95 %", ["chosen by", "difference"])
    for outcome in outcomes:
        values = {name: np.array([getattr(life, name) for life in outcome.lives]) for name in LIVED}
        done.add_row(
            outcome.name,
            _said(values["finished"], 2),
            f"{values['a_day'].mean():.2f}",
            f"{values['let_down'].mean():.0%}",
            f"{values['explored'].mean():.0%}",
        )
        parts = np.array([life.here for life in outcome.lives]).mean(axis=0)
        here.add_row(outcome.name, *(f"{part:.1%}" for part in parts))
        if outcome.name != baseline:
            finished.add_row(outcome.name, verdict(outcome.finished_against))
            stayed.add_row(outcome.name, verdict(outcome.here_against))
    return [done, here, finished, stayed]


LIVED: Final = ("finished", "a_day", "let_down", "explored")


def lived_as_json(outcomes: Sequence[Outcome], held: float) -> dict[str, Any]:
    """The same for programs; `held`: in which part of runs DR's intervals held the truth."""
    measures = {
        "retention_days": list(RETENTION),
        "dr_intervals_hold": held,
        "ways": [
            {"name": outcome.name}
            | {name: asdict(metrics.mean(np.array([getattr(x, name) for x in outcome.lives]))) for name in LIVED}
            | {"here": np.array([life.here for life in outcome.lives]).mean(axis=0).tolist()}
            | {"finished_against_served": asdict(outcome.finished_against)}
            | {"here_against_served": asdict(outcome.here_against)}
            for outcome in outcomes
        ],
    }
    return dict(significant(measures))
