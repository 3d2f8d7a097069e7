"""From what people allow to be learned from to a model that serves. Sync: it runs as a task."""

from __future__ import annotations

import shutil
import time
import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from backend.consent import reads
from backend.consent.gate import read
from backend.models.personalization import ModelSnapshot
from backend.personalization import content, linear, scoring, snapshots
from backend.personalization.catalogue import WORKS
from backend.personalization.content import Described
from backend.personalization.scoring import Norm, Weights
from backend.personalization.signals import EventKind, signal
from backend.personalization.snapshots import Model

POSITIVE_FROM: Final = 0.5
"""A work counts as liked by a person when its signals sum to this or more."""


@dataclass(frozen=True)
class Pair:
    """A person liked a work, last at `at`."""

    person: uuid.UUID
    work_id: int
    at: datetime


def positive_pairs(session: Session, *, now: datetime) -> list[Pair]:
    """Where the signals of a person who allows it sum to POSITIVE_FROM or more; by person and work."""
    sums: dict[tuple[uuid.UUID, int], float] = {}
    last: dict[tuple[uuid.UUID, int], datetime] = {}
    for row in read(session, reads.TRAINING_PAIRS, now=now):
        pair = row.person_id, row.work_id
        value = signal(EventKind(row.kind), row.duration_ms, row.completion_bps) * row.times
        sums[pair] = sums.get(pair, 0.0) + value
        last[pair] = max(row.last_at, last.get(pair, row.last_at))
    return [Pair(*pair, last[pair]) for pair, value in sorted(sums.items()) if value >= POSITIVE_FROM]


@dataclass(frozen=True)
class Work:
    """A work as training sees it."""

    work_id: int
    created_at: int
    described: Described


def works(session: Session) -> list[Work]:
    """The works that may be shown, by id."""
    return [
        Work(row.work_id, row.created_at, Described(row.title or "", [f"kind-{row.kind}"]))
        for row in session.execute(text(WORKS))
    ]


def fit(pairs: list[Pair], known: list[Work], *, now: datetime, weights: Weights) -> Model:
    """Learn a model. Pure: the same pairs and works give the same model."""
    numbers = {person: i for i, person in enumerate(sorted({pair.person for pair in pairs}))}
    people = np.array([numbers[pair.person] for pair in pairs], dtype=np.int64)
    liked = np.array([pair.work_id for pair in pairs], dtype=np.int64)
    work_ids = np.array([work.work_id for work in known], dtype=np.int64)
    at = np.searchsorted(work_ids, liked).clip(max=max(len(work_ids) - 1, 0))
    shown = work_ids[at] == liked if len(work_ids) else np.zeros(len(liked), dtype=bool)
    ages = np.array([(now - pair.at).total_seconds() for pair in pairs])
    popularity = np.bincount(at[shown], minlength=len(work_ids)).astype(np.float64)
    familiar = np.log1p(
        scoring.decayed_counts(
            at[shown], -ages[shown], now=0.0, half_life_s=scoring.FAMILIAR_HALF_LIFE_S, works=len(work_ids)
        )
    )
    created = np.array([work.created_at for work in known], dtype=np.float64)
    recency = scoring.recency(created, now.timestamp(), weights)
    history = sparse.csr_array(
        (np.ones(int(shown.sum())), (people[shown], at[shown])), shape=(len(numbers), len(work_ids))
    )
    return Model(
        items=linear.fit(people, liked),
        work_ids=work_ids,
        popularity=popularity,
        familiar=familiar,
        content=_described(known),
        people=len(numbers),
        liking=_usual(recency, history),
        mainstream=_usual(familiar, history),
        weights=weights,
    )


def _described(known: list[Work]) -> NDArray[np.float32]:
    return content.embed([work.described for work in known])


def _usual(values: NDArray[np.float64], history: sparse.csr_array) -> Norm:
    return scoring.traits(values, history) if len(values) else Norm(0.0, 0.0)


def train(session: Session, *, models: Path, now: datetime, growth: float = 0.05) -> ModelSnapshot | None:
    """Fit a model on what people allow and make it the one that serves.

    Returns None when there is nothing to learn from, or less than `growth` of what may be learned from has changed
    since the newest snapshot and no work was added or taken away: the persons' rows are read only when they are used.
    """
    ((events,),) = read(session, reads.TRAINING_SIZE, now=now)
    newest = session.scalars(select(ModelSnapshot).order_by(ModelSnapshot.version.desc()).limit(1)).first()
    known = works(session)
    if newest is not None:
        changed = abs(events - newest.metrics["events"]) >= growth * max(newest.metrics["events"], 1)
        if not changed and newest.metrics["catalogue"] == len(known):
            return None
    pairs = positive_pairs(session, now=now) if events else []
    if not pairs:
        return None
    started = time.perf_counter()
    model = fit(pairs, known, now=now, weights=Weights())
    snapshot = ModelSnapshot(
        folder=snapshots.write(models, model),
        pairs=len(pairs),
        works=len(model.items.work_ids),
        metrics={
            "events": events,
            "catalogue": len(known),
            "people": model.people,
            "entries": int(model.items.matrix.nnz),
            "fit_s": time.perf_counter() - started,
        },
        created_at=now,
    )
    session.add(snapshot)
    session.flush()
    return snapshot


def retrain(session: Session, *, models: Path, now: datetime) -> bool:
    """Train on what people allow now and drop every older model, on the disk too; False when there is nothing to learn.

    For when what a model learnt from must leave it. Where nothing is left to learn from, no model serves.
    """
    made = train(session, models=models, now=now, growth=0.0)
    older = session.scalars(select(ModelSnapshot).where(ModelSnapshot.version != (made.version if made else 0))).all()
    for snapshot in older:
        session.delete(snapshot)
        shutil.rmtree(models / snapshot.folder, ignore_errors=True)
    return made is not None
