"""What one person's ranking costs on synthetic works, one thread: an event, a ranking, a slate with its reasons.

The floor of a ranking is numpy's argpartition of as many scores, that of an event one row of the matrix added.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from backend.personalization.ranking import candidates, explain, scoring, slate
from backend.personalization.ranking.content import unit_rows
from backend.personalization.ranking.explain import Moments
from backend.personalization.ranking.scoring import Facts, Norm, Weights
from backend.personalization.ranking.taste import Taste
from bench.ranking.frame import Report, Sizes, timed

TOP = 128
HISTORY = 200
NOW = 1.75e9


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


def hot(out: Report, sizes: Sizes) -> None:
    """A catalogue of usual size."""
    _serving(out, sizes.works, sizes.rounds, limits=True)


def large(out: Report, sizes: Sizes) -> None:
    """A catalogue that no process looks through as a whole without noticing."""
    _serving(out, sizes.large, max(50, sizes.rounds // 5), limits=False)


def _serving(out: Report, works: int, rounds: int, *, limits: bool) -> None:
    def limit(value: float) -> float | None:
        return value if limits else None

    rng = np.random.default_rng(0)
    facts, weights = facts_of(works, rng), Weights()
    moments = Moments.of(facts)
    zeros = np.zeros(works)
    content = facts.content.astype(np.float32)
    shelf = slate.Shelf(content, rng.normal(size=works), zeros, zeros, rng.integers(0, 99, works).astype(float))
    taste = Taste(facts.taste, now=NOW)
    for n, work in enumerate(rng.integers(0, works, size=HISTORY).tolist()):
        taste.apply(work, 1.0, NOW - 3_600.0 * n, now=NOW)
    event = int(rng.integers(0, works))
    floor = timed(lambda: np.add.at(zeros, facts.taste.indices[:TOP], facts.taste.data[:TOP]), 4 * rounds)
    found = timed(lambda: taste.apply(event, 0.5, NOW, now=NOW), 4 * rounds)
    beside, name = "numpy's add.at of one row", f"one event, {works:,} works"
    out.figure(f"{name}, p50", found.p50, "ms", beside=beside, ratio=found.p50 / floor.p50, noise=found.noise)
    out.figure(f"{name}, p99", found.p99, "ms", beside=beside, ratio=found.p99 / floor.p99)

    past = taste.past(NOW)
    score = scoring.total(scoring.terms(facts, past), weights)
    hidden = np.sort(past.works)
    floor = timed(lambda: np.argpartition(-score, 20)[:20], 4 * rounds)
    rank = timed(lambda: scoring.best(score, hidden, 20), 4 * rounds)
    beside, name = "numpy's argpartition alone", f"rank a hot person, {works:,} works"
    ratio = rank.p50 / floor.p50
    out.figure(f"{name}, p50", rank.p50, "ms", beside=beside, ratio=ratio, noise=rank.noise, at_most=limit(0.036))
    out.figure(f"{name}, p99", rank.p99, "ms", beside=beside, ratio=rank.p99 / floor.p99)

    allowed = np.setdiff1d(np.arange(works), hidden)
    viewer = slate.Viewer(past=past.towards)

    def whole() -> None:
        then = taste.past(NOW)
        total = scoring.total(scoring.terms(facts, then), weights)
        places = slate.fill(total, allowed, shelf, viewer=viewer, size=20, rng=rng)
        items = np.array([place.work for place in places])
        explain.named(explain.parts(facts, moments, then, items, weights))

    found = timed(whole, rounds)
    served = "" if works <= candidates.EXACT else ", all scored (served: by candidates)"
    beside, name = "ranking alone", f"slate of 20 with reasons, {works:,} works{served}"
    ratio = found.p50 / rank.p50
    out.figure(f"{name}, p50", found.p50, "ms", beside=beside, ratio=ratio, noise=found.noise, at_most=limit(2.0))
    out.figure(f"{name}, p99", found.p99, "ms", beside=beside, ratio=found.p99 / rank.p99, at_most=limit(8.0))
