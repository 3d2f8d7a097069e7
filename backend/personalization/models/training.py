"""From what people allow to be learned from to a model that serves. Sync: a task does it, or `./troupe models train`.

A training that is killed, wherever, has changed nothing: a folder gets its name when it is whole, the row that names it
comes with the commit, and the next training sweeps what is left (versions.py).
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from backend.consent import reads
from backend.consent.gate import read
from backend.models.personalization import ModelSnapshot
from backend.personalization.catalogue import ACTIVE
from backend.personalization.evaluation import offline, splits
from backend.personalization.evaluation.splits import Log
from backend.personalization.models import judging, linear, snapshots, versions
from backend.personalization.models.linear import Share, here
from backend.personalization.models.progress import Said, quiet
from backend.personalization.models.snapshots import BrokenSnapshot, Model
from backend.personalization.ranking import content, scoring
from backend.personalization.ranking.content import Described
from backend.personalization.ranking.scoring import Norm, Weights
from backend.personalization.ranking.signals import EventKind, signal

DESCRIBED: Final = f"""
SELECT w.work_id::bigint AS work_id, w.created_at, w.kind, t.title, t.description, t.tags
FROM chain.work w
LEFT JOIN app.work_text t ON t.work_id = w.work_id AND t.cid_digest = w.cid_digest
WHERE w.work_id > 0 AND w.status = {ACTIVE}
ORDER BY w.work_id
"""
POSITIVE_FROM: Final = 0.5
"""A work counts as liked by a person when its signals sum to this or more."""
LEARN_FROM: Final = 200
"""Weights are learned from when so many people can be judged in the last fold; before that they are what they were."""
LEARN_AGAIN: Final = 1.5
"""They are learned anew when there are so many times the pairs that they were learned from."""
CELLS: Final = 4_000_000
"""People times works of a fold that weights are learned on; what memory allows."""


@dataclass(frozen=True)
class Pairs:
    """Who liked which work, last when: one row a person and work. Columns, so that many of them fit."""

    person: NDArray[np.int64]
    """Numbers from 0, in the order of the pseudonyms."""
    work_id: NDArray[np.int64]
    at: NDArray[np.float64]
    """Seconds."""

    def where(self, chosen: NDArray[np.bool_]) -> Pairs:
        """The chosen rows."""
        return Pairs(self.person[chosen], self.work_id[chosen], self.at[chosen])

    def __len__(self) -> int:
        return len(self.person)


def positive_pairs(session: Session, *, now: datetime) -> Pairs:
    """Where the signals of a person who allows it sum to POSITIVE_FROM or more; by person and work."""
    sums: dict[tuple[uuid.UUID, int], float] = {}
    last: dict[tuple[uuid.UUID, int], float] = {}
    for row in read(session, reads.TRAINING_PAIRS, now=now):
        pair, at = (row.person_id, row.work_id), row.last_at.timestamp()
        value = signal(EventKind(row.kind), row.duration_ms, row.completion_bps) * row.times
        sums[pair] = sums.get(pair, 0.0) + value
        last[pair] = max(at, last.get(pair, at))
    liked = sorted(pair for pair, value in sums.items() if value >= POSITIVE_FROM)
    numbers = {person: number for number, person in enumerate(sorted({person for person, _ in liked}))}
    return Pairs(
        np.array([numbers[person] for person, _ in liked], dtype=np.int64),
        np.array([work_id for _, work_id in liked], dtype=np.int64),
        np.array([last[pair] for pair in liked], dtype=np.float64),
    )


@dataclass(frozen=True)
class Work:
    """A work as training sees it."""

    work_id: int
    created_at: int
    described: Described


def works(session: Session) -> list[Work]:
    """The works that may be shown, by id."""
    return [
        Work(
            row.work_id,
            row.created_at,
            Described(f"{row.title or ''}\n{row.description or ''}", [*(row.tags or ()), f"kind-{row.kind}"]),
        )
        for row in session.execute(text(DESCRIBED))
    ]


@dataclass(frozen=True)
class Shelf:
    """What is known of the works themselves, one entry a work, ids ascending."""

    work_ids: NDArray[np.int64]
    created_at: NDArray[np.float64]
    content: NDArray[np.float32]

    @classmethod
    def of(cls, known: list[Work]) -> Shelf:
        return cls(
            np.array([work.work_id for work in known], dtype=np.int64),
            np.array([work.created_at for work in known], dtype=np.float64),
            content.embed([work.described for work in known]),
        )

    def places(self, work_ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Where works stand here, and whether they do."""
        if not len(self.work_ids):
            return np.zeros(len(work_ids), dtype=np.int64), np.zeros(len(work_ids), dtype=bool)
        at = np.searchsorted(self.work_ids, work_ids).clip(max=len(self.work_ids) - 1)
        return at, self.work_ids[at] == work_ids


def fit(pairs: Pairs, shelf: Shelf, *, now: float, weights: Weights, share: Share = here) -> Model:
    """Learn a model as of `now` (seconds). Pure: the same pairs and works give the same model, wherever it is made."""
    size = len(shelf.work_ids)
    at, shown = shelf.places(pairs.work_id)
    people, person = np.unique(pairs.person, return_inverse=True)
    popularity = np.bincount(at[shown], minlength=size).astype(np.float64)
    familiar = np.log1p(
        scoring.decayed_counts(
            at[shown], pairs.at[shown], now=now, half_life_s=scoring.FAMILIAR_HALF_LIFE_S, works=size
        )
    )
    fresh = np.exp2(np.minimum(pairs.at - now, 0.0) / scoring.FAMILIAR_HALF_LIFE_S)
    recency = scoring.recency(shelf.created_at, now, weights)
    history = sparse.csr_array((np.ones(int(shown.sum())), (person[shown], at[shown])), shape=(len(people), size))
    return Model(
        items=linear.fit(pairs.person, pairs.work_id, weight=fresh, share=share),
        work_ids=shelf.work_ids,
        popularity=popularity,
        familiar=familiar,
        content=shelf.content,
        people=len(people),
        liking=_usual(recency, history),
        mainstream=_usual(familiar, history),
        weights=weights,
    )


def _usual(values: NDArray[np.float64], history: sparse.csr_array) -> Norm:
    return scoring.traits(values, history) if len(values) else Norm(0.0, 0.0)


def log_of(pairs: Pairs, shelf: Shelf) -> tuple[Log, Pairs]:
    """The pairs on works that may be shown, in the order of time: as what models are judged on, and as pairs."""
    at, shown = shelf.places(pairs.work_id)
    kept = np.flatnonzero(shown)
    kept = kept[np.argsort(pairs.at[kept], kind="stable")]
    people = int(pairs.person.max()) + 1 if len(pairs) else 0
    log = Log(pairs.person[kept], at[kept], pairs.at[kept], people, len(shelf.work_ids))
    return log, Pairs(pairs.person[kept], pairs.work_id[kept], pairs.at[kept])


@dataclass(frozen=True)
class Learned:
    """Weights, and from how many pairs they were learned; 0 for those that nobody learned."""

    weights: Weights
    pairs: int


def weights_for(log: Log, shelf: Shelf, before: Learned, *, said: Said = quiet) -> Learned:
    """The weights for a log: learned on earlier cuts of it, or those from before while it has not grown enough.

    Nothing after the cut that models are judged by is looked at.
    """
    if len(log) < LEARN_AGAIN * before.pairs or not len(log):
        return before
    cut = float(np.quantile(log.at, 1 - judging.HELD_OUT))
    folds = [fold for fold in splits.folds_before(log, cut, count=3) if len(fold.held_out)]
    if not folds or len(np.unique(folds[-1].held_out.person)) < LEARN_FROM:
        return before
    learned = offline.learn(
        folds,
        offline.Works(shelf.content, shelf.created_at),
        before.weights,
        at_most=max(CELLS // max(log.works, 1), LEARN_FROM),
        progress=lambda done, of: said("learn the weights", done, of),
    )
    return Learned(learned, len(log))


def train(
    session: Session,
    *,
    models: Path,
    now: datetime,
    growth: float = 0.05,
    share: Share = here,
    said: Said = quiet,
    replaces: bool = False,
) -> ModelSnapshot | None:
    """Fit a model on what people allow, judge it, and make it the one that serves, or keep why it may not.

    Returns None when there is nothing to learn from, when another training is under way, or when less than `growth` of
    what may be learned from has changed since the newest snapshot and no work was added or taken away: the persons'
    rows are read only when they are used. `replaces`: no older model may stay, so that it is not compared with them.
    """
    if not versions.lock(session, wait=replaces):
        return None
    versions.sweep(session, models)
    ((events,),) = read(session, reads.TRAINING_SIZE, now=now)
    newest = session.scalars(select(ModelSnapshot).order_by(ModelSnapshot.version.desc()).limit(1)).first()
    known = works(session)
    if newest is not None:
        changed = abs(events - newest.metrics["events"]) >= growth * max(newest.metrics["events"], 1)
        if not changed and newest.metrics["catalogue"] == len(known):
            return None
    said("read what may be learned from", 0, 1)
    pairs = positive_pairs(session, now=now) if events else Pairs(*(np.zeros(0, dtype=np.int64),) * 2, np.zeros(0))
    if not len(pairs):
        return None
    started = time.process_time()
    shelf = Shelf.of(known)
    log, shown = log_of(pairs, shelf)
    serves = versions.serving(session)
    learned = weights_for(log, shelf, _learned(serves), said=said)
    verdict = judging.judge(
        judging.Past(log, shelf.work_ids, shelf.created_at),
        lambda before, cut, weights: fit(shown.where(before), shelf, now=cut, weights=weights, share=share),
        weights=learned.weights,
        serving=None if replaces else _served(models, serves),
        served_since=serves.created_at.timestamp() if serves else np.inf,
        said=said,
    )
    said("fit the model", 0, 1)
    model = fit(pairs, shelf, now=now.timestamp(), weights=learned.weights, share=share)
    refused = judging.broken(model) or verdict.refused
    said("write the model", 1, 1)
    snapshot = ModelSnapshot(
        folder=None if refused else snapshots.write(models, model),
        pairs=len(pairs),
        works=len(model.items.work_ids),
        metrics={
            "events": events,
            "catalogue": len(known),
            "people": model.people,
            "entries": int(model.items.matrix.nnz),
            "weights": asdict(model.weights),
            "learned_from": learned.pairs,
            "processor_s": time.process_time() - started,
        }
        | verdict.metrics,
        refused=refused,
        created_at=now,
    )
    session.add(snapshot)
    session.flush()
    versions.drop_old(session)
    return snapshot


def _learned(serves: ModelSnapshot | None) -> Learned:
    if serves is None or "learned_from" not in serves.metrics:
        return Learned(Weights(), 0)
    kept: dict[str, Any] = serves.metrics["weights"]
    try:
        return Learned(Weights(**kept), serves.metrics["learned_from"])
    except TypeError:  # of a version with other terms
        return Learned(Weights(), 0)


def _served(models: Path, serves: ModelSnapshot | None) -> Model | None:
    """The model that serves; None where there is none, or its files are broken: then it is nothing to be beaten."""
    if serves is None or serves.folder is None:
        return None
    try:
        return snapshots.read(models, serves.folder)
    except BrokenSnapshot:
        return None


Unit = Callable[[], AbstractContextManager[Session]]
"""One unit of work, committed at its end."""


def train_and_sweep(
    unit: Unit, *, models: Path, now: datetime, growth: float = 0.05, share: Share = here, said: Said = quiet
) -> ModelSnapshot | None:
    """`train`, and when that is committed, remove the folders that it put out of use."""
    with unit() as session:
        made = train(session, models=models, now=now, growth=growth, share=share, said=said)
        if made is not None:
            session.expunge(made)
    if made is not None:
        with unit() as session:
            if versions.lock(session):
                versions.sweep(session, models)
    return made


def retrain(session: Session, *, models: Path, now: datetime, since: int = 1) -> bool:
    """Drop the models from version `since` on, on the disk too, and train on what people allow now in their place.

    For when what a model learnt from must leave it: also a pinned one goes. Older models hold none of it and stay;
    where no model holds it nothing is trained. Where nothing is left to learn from, or the new model is refused, the
    newest of those that stay serves; where none does, no model serves, and feeds are made of what is popular and new.
    Returns whether a model serves.
    """
    versions.lock(session, wait=True)
    holding = session.scalars(select(ModelSnapshot).where(ModelSnapshot.version >= since)).all()
    folders = [snapshot.folder for snapshot in holding if snapshot.folder is not None]
    if folders:
        train(session, models=models, now=now, growth=0.0, replaces=True)
    for snapshot in holding:
        session.delete(snapshot)
    session.flush()
    for folder in folders:
        if session.scalar(select(ModelSnapshot.version).where(ModelSnapshot.folder == folder)) is None:
            shutil.rmtree(models / folder, ignore_errors=True)
    return versions.serving(session) is not None
