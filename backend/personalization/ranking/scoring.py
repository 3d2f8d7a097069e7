"""How well each work fits a person: a sum of named terms, so that every score can be explained from its own parts.

    score(u, i) = trend      * log1p T_i                  T: positives, halved every `trend_half_life_s`
                + recent     * r_i                        r: 1 for a work of today, halved every `recency_half_life_s`
                + liking     * a_u r_i                    a: how much newer the person's works are than others'
                + mainstream * m_u p_i                    m: how much better known they are; p: z of log1p popularity
                + content    * z(cos(e_i, e_u))           e_u: the direction of the sum of y_h e_h over past works h
                + taste      * ((1-rho) z(s_i) + rho z(s'_i))   s = sum over past works h of y_h B_hi, the item-item
                                                          model; s' the same over hours instead of months

z is over the works, so that terms of people with long and short histories weigh alike. A person without history has a,
m, content and taste of 0: what is left is what is popular now and what is new. Pure: arrays go in, arrays come out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from typing import Final

import numpy as np
import orjson
from numpy.typing import NDArray
from scipy import sparse

from backend.personalization.models.linear import ItemItem

DAY_S: Final = 86_400.0
FAMILIAR_HALF_LIFE_S: Final = 30 * DAY_S
"""Over which a work's audience counts when a person's liking for the well known is measured."""
MOOD: Final = 0.7
MOOD_EVENTS: Final = 5.0
PRIOR: Final = 2.0
"""A person is believed to be like everybody as strongly as two works would say so."""

TERMS: Final = ("trend", "recent", "liking", "mainstream", "content", "taste")


@dataclass(frozen=True)
class Weights:
    """The numbers of the score, learned for each surface by validation (`./troupe evaluate` shows how).

    The defaults are for a surface whose log is still too short to learn from: a catalogue of lasting works, where taste
    says more than fashion.
    """

    trend: float = 1.0
    recent: float = 0.5
    liking: float = 0.5
    mainstream: float = -0.2
    content: float = 0.25
    taste: float = 1.0
    trend_half_life_s: float = 1.5 * DAY_S
    recency_half_life_s: float = 365 * DAY_S

    @property
    def digest(self) -> str:
        """The first 16 hexadecimal digits of sha256 over the numbers as canonical JSON."""
        return sha256(orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not np.isfinite(value) or (field.name.endswith("_s") and value <= 0):
                raise ValueError(f"the weight {field.name} is {value}: it must be a finite number, half-lives above 0")


@dataclass(frozen=True)
class Norm:
    """What is usual among people for one trait: its mean and spread."""

    mean: float
    spread: float

    def standard(self, value: float) -> float:
        """How many spreads a person is above what is usual; 0 where all are alike."""
        return (value - self.mean) / self.spread if self.spread > 1e-9 else 0.0


@dataclass(frozen=True)
class Facts:
    """What is known of the works at one moment, one entry a work; holds nothing about any one person."""

    trend: NDArray[np.float64]
    """log1p of the decayed count."""
    familiar: NDArray[np.float64]
    """The same over 30 days."""
    popularity: NDArray[np.float64]
    """z of log1p of all positives."""
    recency: NDArray[np.float64]
    content: NDArray[np.float64]
    """Unit rows."""
    taste: sparse.csr_array
    """B in double precision, rows and columns in the order of the works; zero where the model has not seen a work."""
    liking: Norm
    mainstream: Norm


def decayed_counts(
    work: NDArray[np.int64], at: NDArray[np.float64], *, now: float, half_life_s: float, works: int
) -> NDArray[np.float64]:
    """For each work the sum of 2^(-age/half-life) over its rows; what lies in the future counts as now."""
    age = np.maximum(now - at, 0.0)
    return np.bincount(work, weights=np.exp2(-age / half_life_s), minlength=works).astype(np.float64)


def recency(published_at: NDArray[np.float64], now: float, weights: Weights) -> NDArray[np.float64]:
    """r: 1 for a work of today and for one of the future, halved every `recency_half_life_s`."""
    return np.asarray(np.exp2(-np.maximum(now - published_at, 0.0) / weights.recency_half_life_s), dtype=np.float64)


def nothing_known(works: int) -> sparse.csr_array:
    """The matrix of no model at all."""
    return sparse.csr_array((works, works), dtype=np.float64)


def standardised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """z-scores; zeros where all values are equal."""
    if not len(values):
        return values
    off = values - values.mean()
    spread = float(np.sqrt(off @ off / len(off)))
    return off / spread if spread > 1e-12 else np.zeros(len(values))


def placed(model: ItemItem, work_ids: NDArray[np.int64]) -> sparse.csr_array:
    """The model's matrix with its rows and columns where the works stand in `work_ids` (sorted)."""
    coo = model.matrix.tocoo()
    at = np.searchsorted(work_ids, model.work_ids).clip(max=max(len(work_ids) - 1, 0))
    there = work_ids[at] == model.work_ids if len(work_ids) else np.zeros(len(at), dtype=bool)
    keep = there[coo.row] & there[coo.col]
    rows, columns = at[coo.row[keep]], at[coo.col[keep]]
    size = len(work_ids)
    made = sparse.csr_array((coo.data[keep].astype(np.float64), (rows, columns)), shape=(size, size))
    made.sort_indices()
    return made


def trait(values: NDArray[np.float64], works: NDArray[np.int64]) -> float:
    """The mean of a person's works' values, drawn towards the mean of all works by PRIOR."""
    usual = float(values.mean()) if len(values) else 0.0
    return (float(values[works].sum()) + PRIOR * usual) / (len(works) + PRIOR)


def traits(values: NDArray[np.float64], known: sparse.csr_array) -> Norm:
    """What is usual for `trait` among the people of a matrix with one row of works for each."""
    counts = np.diff(known.indptr)
    sums = known.sign() @ values
    each = (sums + PRIOR * values.mean()) / (counts + PRIOR)
    each = each[counts > 0]
    return Norm(float(each.mean()), float(each.std())) if len(each) else Norm(0.0, 0.0)


@dataclass(frozen=True)
class Past:
    """What a person did, one entry a past work, each work once: its position and what its signals y sum to now."""

    works: NDArray[np.int64]
    long: NDArray[np.float64]
    """Decayed over months: lasting taste."""
    short: NDArray[np.float64]
    """Decayed over hours: the mood of today."""
    session: int = 0
    """How many events this session had."""
    sums: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    """s of both scales where they are kept (taste.py); None: they are made anew."""

    @property
    def values(self) -> NDArray[np.float64]:
        """Both scales together: what happened today counts twice."""
        return self.long + self.short

    @property
    def towards(self) -> NDArray[np.int64]:
        """The works that the person turned towards, what weighs most first."""
        order = np.argsort(-self.values, kind="stable")
        return self.works[order[: int((self.values > 0).sum())]]

    def without(self, works: NDArray[np.int64]) -> Past:
        """As if nothing had been done with these works; the number of events of the session stays."""
        keep = ~np.isin(self.works, works)
        return Past(self.works[keep], self.long[keep], self.short[keep], self.session)

    @classmethod
    def flat(cls, works: NDArray[np.int64]) -> Past:
        """Works that all count as one, as a log without ratings or times has them."""
        return cls(works, np.ones(len(works)), np.zeros(len(works)))


def mood(session: int) -> float:
    """rho: how much of the taste is the session's, nothing at its start and seven tenths after many events."""
    return MOOD * session / (session + MOOD_EVENTS)


def item_sums(taste: sparse.csr_array, works: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """s_i = sum over h of y_h B_hi, for all works."""
    return np.asarray(taste[works].T @ values, dtype=np.float64)


def sums_of(taste: sparse.csr_array, past: Past) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """s of both scales."""
    return past.sums or (item_sums(taste, past.works, past.long), item_sums(taste, past.works, past.short))


def personal_terms(facts: Facts, past: Past) -> dict[str, NDArray[np.float64]]:
    """The four terms that depend on the person, before their weights; empty for a person without history."""
    if len(past.works) == 0:
        return {}
    direction = past.values @ facts.content[past.works]
    length = float(np.linalg.norm(direction))
    cosine = facts.content @ (direction / length) if length > 1e-9 else np.zeros(len(facts.trend))
    long, short = sums_of(facts.taste, past)
    towards, rho = past.towards, mood(past.session)
    liking = facts.liking.standard(trait(facts.recency, towards)) if len(towards) else 0.0
    mainstream = facts.mainstream.standard(trait(facts.familiar, towards)) if len(towards) else 0.0
    return {
        "liking": liking * facts.recency,
        "mainstream": mainstream * facts.popularity,
        "content": standardised(cosine),
        "taste": (1 - rho) * standardised(long) + rho * standardised(short) if rho else standardised(long),
    }


def terms(facts: Facts, past: Past) -> dict[str, NDArray[np.float64]]:
    """All terms of the score before their weights, for one person."""
    return {"trend": facts.trend, "recent": facts.recency} | personal_terms(facts, past)


def total(parts: Mapping[str, NDArray[np.float64]], weights: Weights) -> NDArray[np.float64]:
    """The score of each work: the weighted sum of its terms, in the order of TERMS."""
    score = np.zeros(len(parts["trend"]))
    for name in TERMS:
        if name in parts:
            score += getattr(weights, name) * parts[name]
    return score


def best(score: NDArray[np.float64], hidden: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """The positions of the k best works that are not hidden, best first; ties go to the lower position."""
    open_ = score.copy()
    open_[hidden] = -np.inf
    k = min(k, int(np.isfinite(open_).sum()))
    if k == 0:
        return np.zeros(0, dtype=np.int64)
    threshold = np.partition(open_, len(open_) - k)[len(open_) - k]
    candidates = np.flatnonzero(open_ >= threshold)
    return candidates[np.lexsort((candidates, -open_[candidates]))][:k]
