"""The feed: what may be shown, what a person allows to be read, and the slate that follows from it."""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import structlog
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.consent import reads
from backend.consent.gate import read, read_async
from backend.models.personalization import ModelSnapshot
from backend.personalization import linear, snapshots
from backend.personalization.linear import ItemItem
from backend.personalization.ranking import TREND_HALF_LIFE_S, Catalogue, Signal, decayed
from backend.personalization.signals import FINISHED_BPS, EventKind, clip, signal

log = structlog.get_logger()

TREND_WINDOW_S = 5 * TREND_HALF_LIFE_S
"""Older events would weigh less than 1/32 and are not counted in the trend."""
REFRESH_S = 2.0
"""How old the catalogue and the model pointer of a process may be. A person's own events are never cached."""
POSITIVE_FROM = 0.5
"""A work counts as liked by a person when its signals sum to this or more."""
ACTIVE = 0


@dataclass(frozen=True)
class Allowed:
    """What may be read about a person for their feed; all three must be true for a personal slate."""

    enabled: bool
    behaviour: bool
    content_taste: bool
    frozen: bool = False

    @property
    def personal(self) -> bool:
        return self.why_not is None

    @property
    def why_not(self) -> str | None:
        """In a person's words, why the feed is not personal; None when it is."""
        if self.frozen:
            return "You had your data frozen."
        if not self.enabled:
            return "You switched personalization off."
        if not self.behaviour:
            return "You have not allowed us to keep what you do."
        if not self.content_taste:
            return "You have not allowed us to use what you do to choose for you."
        return None


@dataclass(frozen=True)
class Past:
    """A person's own history as the feed reads it."""

    signals: Sequence[Signal]
    finished: frozenset[int]
    liked: frozenset[int]
    hidden: frozenset[int]


NOTHING = Past((), frozenset(), frozenset(), frozenset())
STRANGER = Allowed(enabled=True, behaviour=False, content_taste=False)
"""Somebody who never answered anything."""


async def allowed(connection: AsyncConnection[DictRow], *, person: uuid.UUID | None, now: datetime) -> Allowed:
    """The person's switches and consents, as they are now."""
    if person is None:
        return STRANGER
    ((status,),) = await read_async(connection, (reads.FEED_STATUS, {}), person=person, now=now)
    return Allowed(**status)


async def taste(
    connection: AsyncConnection[DictRow], *, person: uuid.UUID | None, now: datetime
) -> tuple[Allowed, Past]:
    """What may be read about the person, and their history; it is empty unless consent holds in the very statement
    that reads it (promise V11)."""
    if person is None:
        return STRANGER, NOTHING
    (status,), history = await read_async(
        connection, (reads.FEED_STATUS, {}), (reads.FEED_HISTORY, {}), person=person, now=now
    )
    return Allowed(**status), past(history, now)


def past(rows: Sequence[DictRow], now: datetime) -> Past:
    """A history as the ranking takes it, from rows with the newest first."""
    signals, finished, liked, hidden = [], set(), set(), set()
    for row in rows:
        kind, work_id = EventKind(row["kind"]), int(row["work_id"])
        value = signal(kind, row["duration_ms"], row["completion_bps"])
        if value:
            signals.append(Signal(work_id, value, (now - row["received_at"]).total_seconds()))
        if kind is EventKind.WATCH and row["completion_bps"] >= FINISHED_BPS:
            finished.add(work_id)
        if kind in (EventKind.LIKE, EventKind.SAVE):
            liked.add(work_id)
        if kind in (EventKind.LESS_LIKE_THIS, EventKind.COMPLAINT):
            hidden.add(work_id)
    return Past(signals, frozenset(finished), frozenset(liked), frozenset(hidden | finished))


# -- what a process keeps for two seconds


@dataclass(frozen=True)
class Shelf:
    """The catalogue with its words, and the model, as one process last read them."""

    catalogue: Catalogue
    words: Mapping[int, Mapping[str, str]]
    model: ItemItem | None
    model_version: int | None


_WORKS = f"""
SELECT w.work_id::bigint AS work_id, w.created_at, d.title, d.media_cid
FROM chain.work w
LEFT JOIN LATERAL (
    SELECT title, media_cid FROM app.draft JOIN app.account ON account.id = draft.account_id
    WHERE draft.content_hash = w.content_hash AND account.address = w.registrant ORDER BY draft.created_at LIMIT 1
) d ON true
WHERE w.work_id > 0 AND w.status = {ACTIVE}
ORDER BY w.work_id
"""


def trend(rows: Sequence[DictRow], now: datetime) -> dict[int, float]:
    """Work -> decayed sum of positive signals; what people turned away from does not trend.

    Each person moves a work by CLIP at most, however much they send. All visitors without a name are one person here:
    nothing tells a thousand of them from one that calls a thousand times.
    """
    by_person: dict[tuple[int, int], float] = {}
    for row in rows:
        value = signal(EventKind(row["kind"]), row["duration_ms"], row["completion_bps"])
        if value > 0:
            age = (now - row["received_at"]).total_seconds()
            pair = row["who"], row["work_id"]
            by_person[pair] = by_person.get(pair, 0.0) + row["times"] * value * decayed(age, TREND_HALF_LIFE_S)
    sums: dict[int, float] = {}
    for (_, work_id), value in by_person.items():
        sums[work_id] = sums.get(work_id, 0.0) + clip(value)
    return sums


class Window:
    """One process's view of the catalogue, the trend and the model, at most two seconds old.

    It holds nothing about persons. Several processes may differ by those two seconds, and by nothing else: a person's
    own events are read from the database in every request.
    """

    def __init__(self, models: Path) -> None:
        self._models = models
        self._shelf: Shelf | None = None
        self._read_at = -math.inf
        self._lock = asyncio.Lock()

    async def shelf(self, connection: AsyncConnection[DictRow], *, now: datetime, tick: float) -> Shelf:
        """The shelf, read anew when it is older than REFRESH_S; `tick` is a monotonic clock in seconds."""
        if self._shelf is not None and tick - self._read_at < REFRESH_S:
            return self._shelf
        async with self._lock:
            if self._shelf is None or tick - self._read_at >= REFRESH_S:
                self._shelf = await self._read(connection, now)
                self._read_at = tick
            return self._shelf

    async def _read(self, connection: AsyncConnection[DictRow], now: datetime) -> Shelf:
        works = await (await connection.execute(_WORKS)).fetchall()
        since = now - timedelta(seconds=TREND_WINDOW_S)
        (rows,) = await read_async(connection, (reads.FEED_TREND, {"since": since}), now=now)
        trending = trend(rows, now)
        newest = await (
            await connection.execute("SELECT version, folder FROM app.model_snapshot ORDER BY version DESC LIMIT 1")
        ).fetchone()
        version, model = (self._shelf.model_version, self._shelf.model) if self._shelf else (None, None)
        if newest is not None and newest["version"] != version:
            try:
                version, model = newest["version"], snapshots.read(self._models, newest["folder"])
            except snapshots.BrokenSnapshot as error:
                log.error("model_refused", version=newest["version"], reason=str(error))  # the one before serves on
        catalogue = Catalogue(
            work_ids=np.array([row["work_id"] for row in works], dtype=np.int64),
            trend=np.array([trending.get(row["work_id"], 0.0) for row in works], dtype=np.float64),
            registered_at=np.array([row["created_at"] for row in works], dtype=np.int64),
        )
        words = {row["work_id"]: {"title": row["title"], "media_cid": row["media_cid"]} for row in works}
        return Shelf(catalogue, words, model, version)


# -- training, sync


def positive_pairs(session: Session, *, now: datetime) -> list[tuple[uuid.UUID, int]]:
    """(person, work) where the signals of a person who allows it sum to POSITIVE_FROM or more; sorted."""
    sums: dict[tuple[uuid.UUID, int], float] = {}
    for row in read(session, reads.TRAINING_PAIRS, now=now):
        value = signal(EventKind(row.kind), row.duration_ms, row.completion_bps) * row.times
        sums[row.person_id, row.work_id] = sums.get((row.person_id, row.work_id), 0.0) + value
    return sorted(pair for pair, value in sums.items() if value >= POSITIVE_FROM)


def train(session: Session, *, models: Path, now: datetime, growth: float = 0.05) -> ModelSnapshot | None:
    """Fit the item-item model on what people allow and make it the one that serves.

    Returns None when there is nothing to learn from, or less than `growth` of what may be learned from has changed
    since the newest snapshot: the persons' rows are read only when they are used.
    """
    ((events,),) = read(session, reads.TRAINING_SIZE, now=now)
    newest = session.scalars(select(ModelSnapshot).order_by(ModelSnapshot.version.desc()).limit(1)).first()
    if newest is not None and abs(events - newest.metrics["events"]) < growth * max(newest.metrics["events"], 1):
        return None
    pairs = positive_pairs(session, now=now) if events else []
    if not pairs:
        return None
    numbers = {person: i for i, person in enumerate(sorted({person for person, _ in pairs}))}
    people = np.array([numbers[person] for person, _ in pairs], dtype=np.int64)
    works = np.array([work for _, work in pairs], dtype=np.int64)
    started = time.perf_counter()
    model = linear.fit(people, works)
    snapshot = ModelSnapshot(
        folder=snapshots.write(models, model),
        pairs=len(pairs),
        works=len(model.work_ids),
        metrics={
            "events": events,
            "people": len(numbers),
            "entries": int(model.matrix.nnz),
            "fit_s": time.perf_counter() - started,
        },
        created_at=now,
    )
    session.add(snapshot)
    session.flush()
    return snapshot
