"""How good the ranking is: `troupe evaluate` on MovieTweetings, every model beside popularity and «popular lately»."""

from __future__ import annotations

from pathlib import Path

from backend.personalization.evaluation import metrics, report
from backend.personalization.evaluation.datasets import movietweetings
from bench.ranking.frame import Report, Sizes

DATA = Path(__file__).parent.parent / "data" / "movietweetings"
LEAST = {"served score": {"ndcg": 0.149, "recall": 0.25, "coverage": 0.05}}


def run(out: Report, sizes: Sizes) -> None:
    """Weights are learned before the cut; the limits are of the score that serves."""
    found = report.evaluate(movietweetings(DATA))
    baseline = next(result for result in found.results if result.name == report.BASELINE)
    base_ndcg, base_recall = metrics.mean(baseline.ndcg).value, metrics.mean(baseline.recall).value
    for result in found.results:
        least = LEAST.get(result.name, {})
        ndcg, recall = metrics.mean(result.ndcg), metrics.mean(result.recall)
        beside = f"{report.BASELINE}: {report.verdict(found.against(result.name))}"
        out.figure(
            f"NDCG@10 of {result.name}",
            ndcg.value,
            "mean over people",
            beside=beside,
            ratio=ndcg.value / base_ndcg,
            noise=ndcg.error,
            at_least=least.get("ndcg"),
        )
        out.figure(
            f"Recall@20 of {result.name}",
            recall.value,
            "mean over people",
            beside=report.BASELINE,
            ratio=recall.value / base_recall,
            noise=recall.error,
            at_least=least.get("recall"),
        )
        out.figure(
            f"coverage@20 of {result.name}",
            result.coverage,
            "part of the works",
            beside=report.BASELINE,
            ratio=result.coverage / baseline.coverage,
            at_least=least.get("coverage"),
        )
