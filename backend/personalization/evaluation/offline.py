"""Models judged on what people did after a cut: the served score beside popularity and what was popular lately.

The two baselines are always shown: on fresh catalogues the clock alone beats every collaborative model, and a table
without it flatters. Weights are learned on earlier cuts and never see what comes after the judged one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from backend.personalization.evaluation import metrics
from backend.personalization.evaluation.splits import Log, Split
from backend.personalization.models import linear, sequence
from backend.personalization.ranking import scoring
from backend.personalization.ranking.scoring import DAY_S, Facts, Past, Weights

K: Final = 10
LIST: Final = 20
BREADTH: Final = 0.06
"""The part of all works that should stand in somebody's list."""
DRAW: Final = 90_210
"""The seed by which people are drawn where there are more than are judged."""
LATELY_S: Final = 3 * DAY_S
"""The half-life of the baseline «popular lately»."""


@dataclass(frozen=True)
class Works:
    """What is known of the works themselves, one entry a work of the log."""

    content: NDArray[np.float32]
    published_at: NDArray[np.float64]
    """Seconds; what lies after the cut counts as new."""
    left: Log | None = None
    """Who turned away from which work at once, where the log says so."""


def matrix(log: Log) -> sparse.csr_array:
    """People by works, 1 where a person did something with a work."""
    ones = np.ones(len(log), dtype=np.float64)
    made = sparse.csr_array((ones, (log.person, log.work)), shape=(log.people, log.works))
    made.sum_duplicates()
    made.data[:] = 1.0
    made.sort_indices()
    return made


def facts_at(split: Split, works: Works, weights: Weights) -> Facts:
    """What a server would know at the cut, from what came before it alone."""
    known, now = split.known, split.cut
    counts = np.bincount(known.work, minlength=known.works).astype(np.float64)
    familiar = np.log1p(
        scoring.decayed_counts(
            known.work, known.at, now=now, half_life_s=scoring.FAMILIAR_HALF_LIFE_S, works=known.works
        )
    )
    recency = scoring.recency(works.published_at, now, weights)
    history = matrix(known)
    model = linear.fit(known.person, known.work)
    return Facts(
        trend=trend_at(split, weights.trend_half_life_s),
        familiar=familiar,
        popularity=scoring.standardised(np.log1p(counts)),
        recency=recency,
        content=works.content.astype(np.float64),
        taste=scoring.placed(model, np.arange(known.works, dtype=np.int64)),
        liking=scoring.traits(recency, history),
        mainstream=scoring.traits(familiar, history),
    )


def trend_at(split: Split, half_life_s: float) -> NDArray[np.float64]:
    """log1p of the decayed counts at the cut."""
    known = split.known
    return np.log1p(
        scoring.decayed_counts(known.work, known.at, now=split.cut, half_life_s=half_life_s, works=known.works)
    )


@dataclass(frozen=True)
class Judged:
    """The people of a split with what they knew and what they did next, and everybody's terms at the cut."""

    people: NDArray[np.int64]
    known: sparse.csr_array
    held_out: sparse.csr_array
    relevant: NDArray[np.int64]
    """How many works were held out for each of `people`."""

    @classmethod
    def of(cls, split: Split, *, at_most: int | None = None) -> Judged:
        """Everybody of the split; of more than `at_most`, so many of them, drawn the same way each time."""
        held_out = matrix(split.held_out)
        people = np.unique(split.held_out.person)
        if at_most is not None and len(people) > at_most:
            people = np.sort(np.random.default_rng(DRAW).choice(people, at_most, replace=False))
        return cls(people, matrix(split.known), held_out, np.diff(held_out.indptr)[people].astype(np.int64))

    def past(self, person: int) -> NDArray[np.int64]:
        """The works that a person knew."""
        return np.asarray(self.known.indices[self.known.indptr[person] : self.known.indptr[person + 1]], dtype=np.int64)


Scorer = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""From the works that a person knew to a score of every work."""


def lists(judged: Judged, scorer: Scorer, size: int = LIST) -> NDArray[np.int64]:
    """Each person's list of works they did not know, best first; -1 where there are no more."""
    made = np.full((len(judged.people), size), -1, dtype=np.int64)
    for row, person in enumerate(judged.people.tolist()):
        past = judged.past(person)
        chosen = scoring.best(scorer(past), past, size)
        made[row, : len(chosen)] = chosen
    return made


@dataclass(frozen=True)
class Result:
    """How good a model's lists were, one number a person but for coverage."""

    name: str
    ndcg: NDArray[np.float64]
    recall: NDArray[np.float64]
    coverage: float
    diversity: NDArray[np.float64]
    novelty: NDArray[np.float64]
    serendipity: NDArray[np.float64]
    early_skips: NDArray[np.float64] | None
    """None where the log does not say who turned away from what."""


def judge(name: str, judged: Judged, scorer: Scorer, works: Works) -> Result:
    """Make everybody's list with a scorer and measure it."""
    made = lists(judged, scorer)
    found = metrics.hits(made, judged.held_out, judged.people)
    popularity = np.asarray(judged.known.sum(axis=0)).ravel()
    people = int((np.diff(judged.known.indptr) > 0).sum())
    return Result(
        name=name,
        ndcg=metrics.ndcg(found, judged.relevant, K),
        recall=metrics.recall(found, judged.relevant, LIST),
        coverage=metrics.coverage(made, judged.known.shape[1]),
        diversity=metrics.diversity(made, works.content),
        novelty=metrics.novelty(made, popularity, people),
        serendipity=metrics.serendipity(
            made,
            found,
            popularity=popularity,
            content=works.content,
            known=judged.known,
            people=judged.people,
        ),
        early_skips=metrics.turned_away(made, matrix(works.left), judged.people, K) if works.left else None,
    )


def served(facts: Facts, weights: Weights) -> Scorer:
    """The score that serves, of people whose past works all count as one."""

    def score(past: NDArray[np.int64]) -> NDArray[np.float64]:
        return scoring.total(scoring.terms(facts, Past.flat(past)), weights)

    return score


def compare(split: Split, works: Works, weights: Weights) -> list[Result]:
    """The table: popularity, what was popular lately, the item-item model alone, and the score that serves."""
    judged = Judged.of(split)
    facts = facts_at(split, works, weights)
    popularity = np.asarray(judged.known.sum(axis=0)).ravel()
    lately = trend_at(split, LATELY_S)
    only_taste = replace(weights, trend=0.0, recent=0.0, liking=0.0, mainstream=0.0, content=0.0, taste=1.0)
    return [
        judge("popularity", judged, lambda past: popularity, works),
        judge("popular lately", judged, lambda past: lately, works),
        judge("item-item alone", judged, served(facts, only_taste), works),
        judge("served score", judged, served(facts, weights), works),
    ]


# -- weights by validation


@dataclass(frozen=True)
class Fold:
    """An earlier split with every judged person's terms, so that many weights can be tried on it."""

    judged: Judged
    common: dict[str, NDArray[np.float32]]
    """trend (for each half-life tried) and recent: one entry a work."""
    personal: dict[str, NDArray[np.float32]]
    """One row a person, one column a work."""

    @classmethod
    def of(cls, split: Split, works: Works, weights: Weights, *, at_most: int | None = None) -> Fold:
        judged = Judged.of(split, at_most=at_most)
        facts = facts_at(split, works, weights)
        shape = (len(judged.people), split.known.works)
        personal = {name: np.zeros(shape, dtype=np.float32) for name in scoring.TERMS[2:]}
        for row, person in enumerate(judged.people.tolist()):
            past = judged.past(person)
            for name, part in scoring.personal_terms(facts, Past.flat(past)).items():
                personal[name][row] = part
        common = {"trend": facts.trend.astype(np.float32), "recent": facts.recency.astype(np.float32)}
        return cls(judged, common, personal)

    def objective(self, weights: Weights) -> float:
        """NDCG@10 + Recall@20 / 4, less half of what coverage lacks to BREADTH: breadth is a floor and no aim."""
        score = np.zeros_like(self.personal["taste"])
        for name, part in (self.common | self.personal).items():
            score += np.float32(getattr(weights, name)) * part
        rows = iter(score)
        made = lists(self.judged, lambda past: next(rows))
        found = metrics.hits(made, self.judged.held_out, self.judged.people)
        return float(
            metrics.ndcg(found, self.judged.relevant, K).mean()
            + metrics.recall(found, self.judged.relevant, LIST).mean() / 4
            + min(0.0, metrics.coverage(made, self.judged.known.shape[1]) - BREADTH) / 2
        )


def learn(
    splits: Sequence[Split],
    works: Works,
    start: Weights,
    *,
    steps: int = 6,
    step: float = 0.2,
    at_most: int | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Weights:
    """Weights by coordinate search on earlier splits: each in turn a step up or down, halved where neither helps.

    Deterministic. The half-lives stay as they are in `start`. `at_most` people a split are looked at, if given.
    """
    folds = [Fold.of(split, works, start, at_most=at_most) for split in splits]

    def value(weights: Weights) -> float:
        return float(np.mean([fold.objective(weights) for fold in folds]))

    weights, reached = start, value(start)
    sizes = dict.fromkeys(scoring.TERMS, step)
    for done in range(steps):
        for name in scoring.TERMS:
            for sign in (1, -1):
                tried = replace(weights, **{name: getattr(weights, name) + sign * sizes[name]})
                if (found := value(tried)) > reached + 1e-5:
                    weights, reached = tried, found
                    break
            else:
                sizes[name] /= 2
        progress(done + 1, steps)
    return weights


SESSION_WEIGHTS: Final = (0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class Session:
    """What co-visits of a session add on earlier cuts: the weight that they earn there, and the best that was tried."""

    weight: float
    """0 unless the best one's gain is beyond noise."""
    best: float
    gain: metrics.Difference
    """In NDCG@10, on the same people."""


def session_weight(splits: Sequence[Split], works: Works, weights: Weights) -> Session:
    """Try SESSION_WEIGHTS on earlier splits, beside the served score; the last works that each person knew go on."""
    tried: dict[float, list[NDArray[np.float64]]] = {weight: [] for weight in (0.0, *SESSION_WEIGHTS)}
    for split in splits:
        judged, facts, known = Judged.of(split), facts_at(split, works, weights), split.known
        follows = sequence.fit(known.person, known.work, known.at)
        matrix_ = scoring.placed(follows, np.arange(known.works, dtype=np.int64))
        newest = np.lexsort((-np.arange(len(known)), known.person))
        first, last = (np.searchsorted(known.person[newest], judged.people, side) for side in ("left", "right"))
        base = [scoring.total(scoring.terms(facts, Past.flat(judged.past(p))), weights) for p in judged.people.tolist()]
        goes_on = [
            sequence.scores(matrix_, known.work[newest[at : min(at + sequence.REACH, end)]])
            for at, end in zip(first.tolist(), last.tolist(), strict=True)
        ]
        for weight, kept in tried.items():
            rows = iter(zip(base, goes_on, strict=True))
            made = lists(judged, lambda past, rows=rows, weight=weight: _with(next(rows), weight))  # type: ignore[misc]
            found = metrics.hits(made, judged.held_out, judged.people)
            kept.append(metrics.ndcg(found, judged.relevant, K))
    by_weight = {weight: np.concatenate(kept) if kept else np.zeros(0) for weight, kept in tried.items()}
    best = max(SESSION_WEIGHTS, key=lambda weight: float(by_weight[weight].sum()))
    gain = metrics.difference(by_weight[best], by_weight[0.0], np.random.default_rng(DRAW))
    return Session(best if gain.low > 0 else 0.0, best, gain)


def _with(parts: tuple[NDArray[np.float64], NDArray[np.float64]], weight: float) -> NDArray[np.float64]:
    return parts[0] + weight * parts[1]
