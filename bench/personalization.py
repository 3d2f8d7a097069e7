"""The ranking's quality and speed, each figure beside what it is measured against in the same run.

    python -m bench.personalization [--works 5000] [--large 100000] [--slates 2000]

Quality: `troupe evaluate` on MovieTweetings. Speed: synthetic works of the given numbers, one thread; the floor of a
ranking is numpy's argpartition of as many scores, that of an event one row of the matrix added. Training is measured
in a process of its own: processor seconds and peak memory. Prints one JSON object a line: bench, metric, value, unit,
reference (what `ratio` is against), ratio.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from scipy import sparse

from backend.personalization import explain, scoring, slate
from backend.personalization.content import unit_rows
from backend.personalization.evaluation import metrics, report
from backend.personalization.evaluation.datasets import movietweetings
from backend.personalization.explain import Moments
from backend.personalization.scoring import Facts, Norm, Weights
from backend.personalization.taste import Taste
from bench import _support

DATA = Path(__file__).parent / "data" / "movietweetings"
TOP = 128
HISTORY = 200
NOW = 1.75e9


figure = partial(_support.figure, "personalization", digits=4)


def quality() -> None:
    found = report.evaluate(movietweetings(DATA))
    for result in found.results:
        ndcg, recall = metrics.mean(result.ndcg), metrics.mean(result.recall)
        against = found.against(result.name)
        figure(f"NDCG@10 of {result.name}", ndcg.value, f"± {ndcg.error:.4f}", report.verdict(against), None)
        figure(f"Recall@20 of {result.name}", recall.value, f"± {recall.error:.4f}")
        figure(f"coverage@20 of {result.name}", result.coverage, "part of the works")


def facts_of(works: int, rng: np.random.Generator) -> Facts:
    """A catalogue as large as asked for, with a matrix of TOP entries a row."""
    columns = rng.integers(0, works, size=(works, TOP)).ravel()
    rows = np.repeat(np.arange(works), TOP)
    matrix = sparse.csr_array((rng.normal(size=works * TOP) / 10, (rows, columns)), shape=(works, works))
    matrix.sort_indices()
    return Facts(
        trend=np.log1p(rng.exponential(size=works)),
        familiar=rng.exponential(size=works),
        popularity=rng.normal(size=works),
        recency=rng.random(works),
        content=unit_rows(rng.normal(size=(works, 64)).astype(np.float32)).astype(np.float64),
        taste=matrix,
        liking=Norm(0.5, 0.1),
        mainstream=Norm(1.0, 0.3),
    )


def timed(call: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Median and 99th percentile in milliseconds."""
    call()
    taken = np.empty(rounds)
    for n in range(rounds):
        started = time.perf_counter()
        call()
        taken[n] = time.perf_counter() - started
    return float(np.median(taken)) * 1e3, float(np.quantile(taken, 0.99)) * 1e3


def serving(works: int, slates: int) -> None:
    rng = np.random.default_rng(0)
    facts, weights = facts_of(works, rng), Weights()
    moments = Moments.of(facts.content)
    zeros = np.zeros(works)
    content = facts.content.astype(np.float32)
    shelf = slate.Shelf(content, rng.normal(size=works), zeros, zeros, rng.integers(0, 99, works).astype(float))
    taste = Taste(facts.taste, now=NOW)
    for n, work in enumerate(rng.integers(0, works, size=HISTORY).tolist()):
        taste.apply(work, 1.0, NOW - 3_600.0 * n, now=NOW)
    event = int(rng.integers(0, works))
    floor, _ = timed(lambda: np.add.at(zeros, facts.taste.indices[:TOP], facts.taste.data[:TOP]), 2_000)
    median, slow = timed(lambda: taste.apply(event, 0.5, NOW, now=NOW), 2_000)
    figure(f"one event, {works:,} works, p50", median, "ms", "numpy's add.at of one row", median / floor)
    figure(f"one event, {works:,} works, p99", slow, "ms")

    past = taste.past(NOW)
    score = scoring.total(scoring.terms(facts, past, taste.sums), weights)
    hidden = np.sort(past.works)
    floor, _ = timed(lambda: np.argpartition(-score, 20)[:20], 2_000)
    median, slow = timed(lambda: scoring.best(score, hidden, 20), 2_000)
    figure(f"rank a hot person, {works:,} works, p50", median, "ms", "numpy's argpartition alone", median / floor)
    figure(f"rank a hot person, {works:,} works, p99", slow, "ms")

    allowed = np.setdiff1d(np.arange(works), hidden)
    viewer = slate.Viewer(past=past.towards)

    def whole() -> None:
        then = taste.past(NOW)
        total = scoring.total(scoring.terms(facts, then, taste.sums), weights)
        places = slate.fill(total, allowed, shelf, viewer=viewer, size=20, rng=rng)
        items = np.array([place.work for place in places])
        explain.named(explain.parts(facts, moments, then, items, weights))

    rank, _ = timed(lambda: scoring.best(score, hidden, 20), 500)
    median, slow = timed(whole, slates)
    figure(f"slate of 20 with reasons, {works:,} works, p50", median, "ms", "ranking alone", median / rank)
    figure(f"slate of 20 with reasons, {works:,} works, p99", slow, "ms")


def training(works: int) -> None:
    """What a training process costs; run as `python -m bench.personalization --train N` by the parent."""
    from backend.personalization import linear  # noqa: PLC0415 - in the process that is measured

    rng = np.random.default_rng(1)
    people = rng.integers(0, works, size=works * 80)
    liked = (rng.beta(0.6, 2.0, size=works * 80) * works).astype(np.int64)
    before = time.process_time()
    model = linear.fit(people, liked)
    taken = time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": taken, "megabytes": peak, "entries": int(model.matrix.nnz)}))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--works", type=int, default=5_000)
    arguments.add_argument("--large", type=int, default=100_000)
    arguments.add_argument("--slates", type=int, default=500)
    arguments.add_argument("--train", type=int, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.train:
        training(options.train)
        return
    quality()
    serving(options.works, options.slates)
    serving(options.large, max(50, options.slates // 5))
    command = [sys.executable, "-m", "bench.personalization", "--train", str(options.works)]
    cost = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    figure(f"train {options.works:,} works", cost["seconds"], "CPU s")
    figure(f"train {options.works:,} works", cost["megabytes"], "MB at most")


if __name__ == "__main__":
    main()
