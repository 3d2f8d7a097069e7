"""What variety costs: slates beside the lists that relevance alone would make, for the same people, on MovieTweetings.

The score is the served one, with weights learned before the cut. Diversity is 1 - the mean cosine of two works of the
list (ILD@20); the loss is in NDCG@10 on what the people did afterwards. What is judged is the slate as it is served,
special places and novelty included, but for what is drawn by chance (explore). Its weight of similarity is the least,
in steps of a quarter, that is worth a tenth more of diversity at a loss of at most three hundredths on the last earlier
cut, which has seen nothing of what it is judged by.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from backend.personalization.evaluation import metrics, offline, report, splits
from backend.personalization.evaluation.datasets import Dataset, movietweetings
from backend.personalization.evaluation.splits import Split
from backend.personalization.ranking import scoring, slate
from backend.personalization.ranking.scoring import Past, Weights
from backend.personalization.ranking.slate import Policy, Shelf, Viewer
from bench.ranking.frame import Report, Sizes
from bench.ranking.quality import DATA

SERVED = Policy(explore=0)
VARIETY = replace(SERVED, novelty=0, quality=0, fatigue=0, unlike=0, fresh=0)
"""The served slate's variety and nothing else of it."""
TRIED = tuple(1 + n / 4 for n in range(21))
PEOPLE = 500
"""So many of the earlier cut choose."""
MORE, LEFT = 1.10, 0.97

Values = tuple[NDArray[np.float64], NDArray[np.float64]]
"""NDCG and ILD, a person."""


class Shop:
    """A split with the score of everybody, to fill slates from."""

    def __init__(self, data: Dataset, split: Split, weights: Weights, at_most: int | None = None) -> None:
        self.data, self.judged = data, offline.Judged.of(split, at_most=at_most)
        facts = offline.facts_at(split, data.works, weights)
        known = np.asarray(self.judged.known.sum(axis=0)).ravel()
        zeros = np.zeros(len(known))
        people = int((np.diff(self.judged.known.indptr) > 0).sum())
        novelty = scoring.standardised(-np.log2(np.maximum(known, 0.5) / people))
        self.shelf = Shelf(data.works.content, novelty, zeros, zeros, known)
        self.pasts = [Past.flat(self.judged.past(person)) for person in self.judged.people.tolist()]
        self.scores = [scoring.total(scoring.terms(facts, past), weights) for past in self.pasts]

    def filled(self, policy: Policy | None) -> Values:
        """How good slates of a policy are; None: lists of relevance alone."""
        lists = np.full((len(self.pasts), offline.LIST), -1)
        rng = np.random.default_rng(0)
        for row, (past, score) in enumerate(zip(self.pasts, self.scores, strict=True)):
            if policy is None:
                lists[row] = scoring.best(score, past.works, offline.LIST)
                continue
            allowed, viewer = np.setdiff1d(np.arange(len(score)), past.works), Viewer(past=past.towards)
            places = slate.fill(score, allowed, self.shelf, viewer=viewer, policy=policy, size=offline.LIST, rng=rng)
            lists[row] = [place.work for place in places]
        found = metrics.hits(lists, self.judged.held_out, self.judged.people)
        ndcg = metrics.ndcg(found, self.judged.relevant, offline.K)
        return ndcg, metrics.diversity(lists, self.data.works.content)


def run(out: Report, sizes: Sizes) -> None:
    """Relevance alone, the served variety, and the whole slate, whose weight is the one chosen before the cut."""
    data = movietweetings(DATA)
    weights = report.evaluate(data).weights
    cut = float(np.quantile(data.log.at, report.QUANTILE))
    chosen = _chosen(Shop(data, splits.folds_before(data.log, cut, count=1)[0], weights, PEOPLE))
    off = abs(SERVED.similar - chosen)
    out.figure("weight of similarity chosen before the cut", chosen, "weight")
    out.figure("weight of similarity that is served, from that", off, "weight", at_most=0.0)
    shop = Shop(data, splits.cut_at(data.log, cut), weights)
    base_ndcg, base_ild = shop.filled(None)
    out.figure("ILD@20 of relevance alone", float(base_ild.mean()), "1 - cosine")
    out.figure("NDCG@10 of relevance alone", float(base_ndcg.mean()), "mean over people")
    for name, policy in {"served variety": VARIETY, "served slate": SERVED}.items():
        ndcg, ild = shop.filled(policy)
        gained, left = float(ild.mean() / base_ild.mean()), float(ndcg.mean() / base_ndcg.mean())
        against = metrics.difference(ndcg, base_ndcg, np.random.default_rng(report.SEED))
        beside = f"relevance alone: {report.verdict(against)}"
        out.figure(f"ILD@20 of {name}", float(ild.mean()), "1 - cosine", beside="relevance alone", ratio=gained)
        out.figure(f"NDCG@10 of {name}", float(ndcg.mean()), "mean over people", beside=beside, ratio=left)
        if policy is SERVED:
            out.figure("ILD@20 of it over relevance alone", gained, "times", at_least=MORE)
            out.figure("NDCG@10 of it over relevance alone", left, "times", at_least=LEFT)


def _chosen(earlier: Shop) -> float:
    """The least weight that is worth it on the earlier cut; the largest tried where none is."""
    base_ndcg, base_ild = earlier.filled(None)
    for similar in TRIED:
        ndcg, ild = earlier.filled(replace(SERVED, similar=similar))
        if ild.mean() >= MORE * base_ild.mean() and ndcg.mean() >= LEFT * base_ndcg.mean():
            return similar
    return TRIED[-1]
