"""A slate of 20 with its reasons from a large catalogue: by candidates, beside scoring everything, in processor time.

One thread; people of HISTORY works each, one after another, so that no cache holds one person's numbers. Recall is of
the 20 best works by the exact score among the candidates, which nothing but single precision can cost.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from backend.personalization.ranking import candidates, explain, scoring, slate
from backend.personalization.ranking.candidates import Index, Person
from backend.personalization.ranking.explain import Moments
from backend.personalization.ranking.scoring import Facts, Past, Weights
from backend.personalization.ranking.taste import Taste
from bench.ranking.frame import Report, Sizes, Times
from bench.ranking.serving import HISTORY, NOW, facts_of

PEOPLE = 20
TOP = 20


def run(out: Report, sizes: Sizes) -> None:
    """Figures of a catalogue of `sizes.large` works."""
    rng = np.random.default_rng(0)
    works, rounds = sizes.large, max(100, sizes.rounds // 2)
    facts, weights, policy = facts_of(works, rng), Weights(), slate.Policy(explore=0)
    moments, zeros = Moments.of(facts), np.zeros(works)
    exposures = candidates.seldom(rng.poisson(2.0, works).astype(float), rng.integers(0, works // 10, works).tolist())
    shelf = slate.Shelf(facts.content.astype(np.float32), rng.normal(size=works), zeros, zeros, exposures)
    index = Index.of(facts, shelf)
    people = [_person(facts.taste, rng) for _ in range(PEOPLE)]
    turn = [0]

    def next_person() -> tuple[Taste, NDArray[np.int64]]:
        turn[0] += 1
        taste = people[turn[0] % PEOPLE]
        shut = np.ones(works, dtype=bool)
        shut[taste.past(NOW).works] = False
        return taste, np.flatnonzero(shut)

    def by_candidates() -> None:
        taste, allowed = next_person()
        past = taste.past(NOW)
        slate_of(past, taste, allowed, index)

    def slate_of(past: Past, taste: Taste, allowed: NDArray[np.int64], index: Index | None) -> None:
        viewer = slate.Viewer(past=past.towards)
        ranked = candidates.slate_of(
            facts,
            shelf,
            moments,
            index=index,
            past=past,
            allowed=allowed,
            viewer=viewer,
            weights=weights,
            policy=policy,
            size=TOP,
            rng=rng,
        )
        items = np.array([place.work for place in ranked.places])
        explain.named(explain.parts(facts, moments, past, items, weights))

    def of_everything() -> None:
        taste, allowed = next_person()
        past = taste.past(NOW)
        slate_of(past, taste, allowed, None)

    exact = processor_times(of_everything, max(20, rounds // 5))
    found = processor_times(by_candidates, rounds)
    name, beside = f"slate by candidates, as served, {works:,} works", "scoring everything"
    out.figure(f"{name}, p50", found.p50, "CPU ms", beside=beside, ratio=found.p50 / exact.p50, noise=found.noise)
    out.figure(f"{name}, p99", found.p99, "CPU ms", beside=beside, ratio=found.p99 / exact.p99, at_most=15.0)
    out.figure(f"slate of everything, {works:,} works, p50", exact.p50, "CPU ms", noise=exact.noise)
    out.figure(f"slate of everything, {works:,} works, p99", exact.p99, "CPU ms")

    recall, scored = _recall([next_person() for _ in range(PEOPLE)], facts, index, weights)
    out.figure(f"exact top {TOP} among the candidates", recall, "part", at_least=0.99)
    out.figure("candidates that are scored", scored, "works", beside="all", ratio=scored / works)


def _recall(
    people: list[tuple[Taste, NDArray[np.int64]]], facts: Facts, index: Index, weights: Weights
) -> tuple[float, float]:
    """Which part of the exact best is among the candidates, and how many those are; means over people."""
    parts, numbers = [], []
    for taste, allowed in people:
        past = taste.past(NOW)
        score = scoring.total(scoring.terms(facts, past), weights)
        best = allowed[np.argsort(-score[allowed], kind="stable")[:TOP]]
        person = Person.of(facts, past)
        at = candidates.together(candidates.select(index, person, allowed, weights, rng=np.random.default_rng(1)))
        parts.append(float(np.isin(best, at).mean()))
        numbers.append(len(at))
    return float(np.mean(parts)), float(np.mean(numbers))


def _person(matrix: sparse.csr_array, rng: np.random.Generator) -> Taste:
    taste = Taste(matrix, now=NOW)
    for n, work in enumerate(rng.integers(0, matrix.shape[0], size=HISTORY).tolist()):
        taste.apply(work, 1.0, NOW - 3_600.0 * n, now=NOW)
    return taste


def processor_times(call: Callable[[], object], rounds: int) -> Times:
    """Processor time of each of `rounds` calls of this process, after one that is not counted."""
    call()
    taken = np.empty(rounds)
    for n in range(rounds):
        started = time.process_time()
        call()
        taken[n] = time.process_time() - started
    taken *= 1e3
    low, median, high, slow = np.quantile(taken, [0.25, 0.5, 0.75, 0.99])
    return Times(float(median), float(slow), float(high - low) / 2)
