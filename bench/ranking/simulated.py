"""What a log can't show, in a world whose truth is known: intervals that hold, and people who stay."""

from __future__ import annotations

import numpy as np

from backend.personalization.evaluation import metrics, report, simulator
from bench.ranking.frame import Report, Sizes

RUNS = 500


def run(out: Report, sizes: Sizes) -> None:
    """DR's coverage with its limits; every way to choose beside the one that serves."""
    held = simulator.intervals_hold(runs=RUNS)
    error = float(np.sqrt(0.95 * 0.05 / RUNS))
    name = f"DR's 95 % interval holds the truth, {RUNS} logs"
    out.figure(name, held, "part of the logs", beside="what it says", ratio=held / 0.95, noise=error, at_least=0.93)
    out.figure(f"{name}, at most", held, "part of the logs", at_most=0.97)
    outcomes = {outcome.name: outcome for outcome in simulator.compare()}
    base = np.mean([life.finished for life in outcomes["served"].lives])
    last = simulator.RETENTION[-1]
    stayed = np.mean([life.here[-1] for life in outcomes["served"].lives])
    for outcome in outcomes.values():
        finished = metrics.mean(np.array([life.finished for life in outcome.lives]))
        beside = f"served: {report.verdict(outcome.finished_against)}"
        ratio = finished.value / float(base)
        out.figure(
            f"finished, {outcome.name}",
            finished.value,
            "works a person",
            beside=beside,
            ratio=ratio,
            noise=finished.error,
        )
        here = metrics.mean(np.array([life.here[-1] for life in outcome.lives]))
        beside = f"served: {report.verdict(outcome.here_against)}"
        ratio = here.value / float(stayed)
        out.figure(
            f"here after {last} days, {outcome.name}",
            here.value,
            "part of the people",
            beside=beside,
            ratio=ratio,
            noise=here.error,
        )
