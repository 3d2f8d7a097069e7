"""The works that may be shown, and what one process knows of them: at most two seconds old, nothing about persons."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import psycopg
import structlog
from numpy.typing import NDArray
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg_pool import PoolTimeout

from backend.consent import reads
from backend.consent.gate import read_async
from backend.db import AsyncPool
from backend.personalization.configuration import BUILT_IN, BadConfiguration, Configuration, Source, parse
from backend.personalization.models import knowledge, snapshots, versions
from backend.personalization.models.snapshots import Model
from backend.personalization.ranking import candidates, community, energy, scoring, slate
from backend.personalization.ranking.aversion import fold
from backend.personalization.ranking.candidates import Index
from backend.personalization.ranking.explain import Moments
from backend.personalization.ranking.scoring import Facts, Weights
from backend.personalization.ranking.signals import DEFAULT, EventKind, Signals, clip, signal
from backend.personalization.showing import constraints
from backend.personalization.showing import limits as showing
from backend.personalization.showing.constraints import Limit, Rules
from backend.works.rules import AiLabel, Kind
from backend.works.schemas import KindName, LabelName, kind_name, label_name

log = structlog.get_logger()

REFRESH_S: Final = 2.0
"""How old the catalogue and the model pointer of a process may be. A person's own events are never cached."""
AHEAD_S: Final = 1.0
"""From this age on the next one is read while this one serves: under load no request waits for a reading."""
ASSESSED_S: Final = 60.0
TREND_WINDOW_HALF_LIVES: Final = 6
"""Older events would weigh less than 1/64 and are not counted in the trend."""
ACTIVE: Final = 0

WORKS: Final = f"""
SELECT w.work_id::bigint AS work_id, w.created_at, w.kind, w.ai_label, w.creator, t.title, t.media_cid, t.tags
FROM chain.work w
LEFT JOIN app.work_text t ON t.work_id = w.work_id AND t.cid_digest = w.cid_digest
WHERE w.work_id > 0 AND w.status = {ACTIVE}
ORDER BY w.work_id
"""

VOTED: Final = """
SELECT c.document, s.block_number, s.block_time
FROM chain.work_registry_signal s JOIN app.personalization_configuration c ON c.digest = s.topic
ORDER BY s.block_number DESC, s.log_index DESC LIMIT 1
"""
"""The configuration that governance put on record last, of those that are known here."""


class Label(NamedTuple):
    """What a work is, for lists and topics."""

    kind: int
    ai_label: int
    tags: tuple[str, ...]
    """As aversion.fold has them, each once."""

    @property
    def kind_name(self) -> KindName | None:
        """None for a number that this platform has no word for."""
        return _KINDS.get(self.kind)

    @property
    def ai_label_name(self) -> LabelName | None:
        return _AI_LABELS.get(self.ai_label)


_KINDS: Final = {int(kind): kind_name(kind) for kind in Kind}
_AI_LABELS: Final = {int(label): label_name(label) for label in AiLabel}


@dataclass(frozen=True)
class Catalogue:
    """The works in the order of their ids, what is known of each, and how they are scored."""

    work_ids: NDArray[np.int64]
    place: Mapping[int, int]
    """Where each work stands in `work_ids`."""
    words: Mapping[int, Mapping[str, str | None]]
    facts: Facts
    shelf: slate.Shelf
    rules: Rules
    """Who may be shown which."""
    moments: Moments
    configuration: Configuration
    source: Source
    model_version: int | None
    serial: int
    """How often this process has read it: what a slate draws by chance stays the same until the next reading."""
    labels: Mapping[int, Label]
    tagged: Mapping[str, NDArray[np.int64]]
    """Tag -> where its works stand."""
    index: Index | None = None
    """For choosing candidates of a large catalogue; None where all works are scored."""

    @property
    def weights(self) -> Weights:
        return self.configuration.weights

    def positions(self, work_ids: Iterable[int]) -> NDArray[np.int64]:
        """Where these works stand, ascending; those that may not be shown are left out."""
        return np.array(sorted(self.place[work] for work in work_ids if work in self.place), dtype=np.int64)


def trend(rows: Sequence[DictRow], now: datetime, half_life_s: float, signals: Signals = DEFAULT) -> dict[int, float]:
    """Work -> decayed sum of positive signals; what people turned away from does not trend.

    Each person moves a work by CLIP at most, however much they send. All visitors without a name are one person here:
    nothing tells a thousand of them from one that calls a thousand times.
    """
    by_person: dict[tuple[int, int], float] = {}
    for row in rows:
        value = signal(EventKind(row["kind"]), row["duration_ms"], row["completion_bps"], signals)
        if value > 0:
            age = max((now - row["received_at"]).total_seconds(), 0.0)
            pair = row["who"], row["work_id"]
            by_person[pair] = by_person.get(pair, 0.0) + row["times"] * value * math.exp2(-age / half_life_s)
    sums: dict[int, float] = {}
    for (_, work_id), value in by_person.items():
        sums[work_id] = sums.get(work_id, 0.0) + clip(value)
    return sums


def labelled(works: Sequence[DictRow]) -> tuple[dict[int, Label], dict[str, NDArray[np.int64]]]:
    """The works' labels, and where the works of each tag stand."""
    labels: dict[int, Label] = {}
    at: dict[str, list[int]] = {}
    for n, row in enumerate(works):
        tags = tuple(dict.fromkeys(fold(tag) for tag in row.get("tags") or ()))
        labels[row["work_id"]] = Label(row.get("kind", 0), row.get("ai_label", 0), tags)
        for tag in tags:
            at.setdefault(tag, []).append(n)
    return labels, {tag: np.array(places, dtype=np.int64) for tag, places in at.items()}


def build(
    works: Sequence[DictRow],
    events: Sequence[DictRow],
    model: Model | None,
    *,
    version: int | None,
    serial: int,
    now: datetime,
    voted: tuple[Configuration, Source] | None = None,
    before: Catalogue | None = None,
    limits: Iterable[Limit] = (),
    assessed: Sequence[DictRow] = (),
    exposed: Sequence[DictRow] = (),
) -> Catalogue:
    """The catalogue from its rows, under the configuration that was voted for, if there is one. Pure.

    What only the model and the list of works decide is taken from `before`.
    """
    configuration, source = voted or in_force(model)
    weights = configuration.weights
    work_ids = np.array([row["work_id"] for row in works], dtype=np.int64)
    place = {work: n for n, work in enumerate(work_ids.tolist())}
    trending = trend(events, now, weights.trend_half_life_s, configuration.signals)
    exposures = {row["work_id"]: row["persons"] for row in exposed}
    created = np.array([row["created_at"] for row in works], dtype=np.float64)
    same = before is not None and before.model_version == version and np.array_equal(before.work_ids, work_ids)
    known = knowledge.of_works(model, work_ids)
    facts = knowledge.facts(
        model,
        known,
        work_ids,
        trend=np.log1p(np.array([trending.get(work, 0.0) for work in work_ids.tolist()])),
        recency=scoring.recency(created, now.timestamp(), weights),
        laid_out=before.facts if before is not None and same else None,
    )
    shelf = slate.Shelf(
        content=known.content,
        novelty=scoring.standardised(-np.log2(np.maximum(known.popularity, 0.5) / known.people)),
        quality=community.quality(place, assessed),
        energy=energy.energies((row["work_id"], row["title"], row.get("tags") or ()) for row in works),
        exposures=candidates.seldom(
            np.array([float(exposures.get(work, 0)) for work in work_ids.tolist()]),
            [row.get("creator") for row in works],
        ),
    )
    words = {row["work_id"]: {"title": row["title"], "media_cid": row["media_cid"]} for row in works}
    labels, tagged = labelled(works)
    return Catalogue(
        work_ids,
        place,
        words,
        facts,
        shelf,
        constraints.build(work_ids, limits, [row.get("creator") for row in works]),
        before.moments if before is not None and same else Moments.of(facts),
        configuration=configuration,
        source=source,
        model_version=version,
        serial=serial,
        labels=labels,
        tagged=tagged,
        index=Index.of(facts, shelf) if len(work_ids) > candidates.EXACT else None,
    )


def in_force(model: Model | None) -> tuple[Configuration, Source]:
    """The configuration where none was voted for: the built-in one, with the weights that training has learned."""
    if model is None or model.weights == BUILT_IN.weights:
        return BUILT_IN, Source("built-in")
    return replace(BUILT_IN, weights=model.weights), Source("model")


def voted_for(row: DictRow | None) -> tuple[Configuration, Source] | None:
    """The configuration that the row of VOTED holds; None without one, and for one that this version can't serve."""
    if row is None:
        return None
    try:
        return parse(bytes(row["document"])), Source("governance", int(row["block_number"]), int(row["block_time"]))
    except BadConfiguration as error:
        log.error("configuration_refused", block=row["block_number"], reason=str(error))
        return None


class Window:
    """One process's catalogue, read anew when it is older than REFRESH_S, at most; from AHEAD_S on in the background.

    Several processes may differ by those two seconds, and by nothing else: a person's own events are read from the
    database in every request. A new model is read and its arrays are laid out beside the old ones, in a thread, while
    requests are answered from the old: then one name changes, and no request waits or sees a part of each.
    """

    def __init__(self, models: Path, pool: Callable[[], AsyncPool] | None = None) -> None:
        self._models = models
        self._pool = pool
        self._catalogue: Catalogue | None = None
        self._model: Model | None = None
        self._counted: tuple[datetime, Sequence[DictRow], Sequence[DictRow]] | None = None
        self._refused: set[str] = set()
        """Folders whose files were found broken."""
        self._read_at = -math.inf
        self._lock = asyncio.Lock()
        self._ahead: asyncio.Task[None] | None = None

    async def catalogue(self, connection: AsyncConnection[DictRow], *, now: datetime, tick: float) -> Catalogue:
        """The catalogue as of now; `tick` is a monotonic clock in seconds."""
        age = tick - self._read_at
        if self._catalogue is not None and age < REFRESH_S:
            if age >= AHEAD_S and self._pool is not None and (self._ahead is None or self._ahead.done()):
                self._ahead = asyncio.create_task(self._read_ahead(self._pool(), now, tick))
            return self._catalogue
        async with self._lock:
            if self._catalogue is None or tick - self._read_at >= REFRESH_S:
                self._catalogue = await self._read(connection, now)
                self._read_at = tick
            return self._catalogue

    async def _counts(
        self, connection: AsyncConnection[DictRow], now: datetime, since: datetime
    ) -> tuple[Sequence[DictRow], Sequence[DictRow]]:
        """How people took the works, and to how many each was shown since; at most ASSESSED_S old, for it counts every
        event of half a year and every slate of days."""
        if self._counted is None or not 0 <= (now - self._counted[0]).total_seconds() < ASSESSED_S:
            half_a_year = now - timedelta(days=community.WINDOW_DAYS)
            assessed, exposed = await read_async(
                connection, (reads.ASSESSED, {"since": half_a_year}), (reads.EXPOSED, {"since": since}), now=now
            )
            self._counted = now, assessed, exposed
        return self._counted[1:]

    async def _read_ahead(self, pool: AsyncPool, now: datetime, tick: float) -> None:
        try:
            async with pool.connection() as connection, self._lock:  # never wait for one with the lock
                self._catalogue = await self._read(connection, now)
                self._read_at = max(self._read_at, tick)
        except (psycopg.Error, PoolTimeout) as error:  # the next request reads it itself, and fails in its own words
            log.warning("catalogue_not_read_ahead", reason=type(error).__name__)

    async def _read(self, connection: AsyncConnection[DictRow], now: datetime) -> Catalogue:
        before = self._catalogue
        works = await (await connection.execute(WORKS)).fetchall()
        limits = await showing.limits_async(connection)
        voted = voted_for(await (await connection.execute(VOTED)).fetchone())
        half_life_s = (voted[0].weights if voted else before.weights if before else Weights()).trend_half_life_s
        since = now - timedelta(seconds=TREND_WINDOW_HALF_LIVES * half_life_s)
        assessed, exposed = await self._counts(connection, now, since)
        (events,) = await read_async(connection, (reads.FEED_TREND, {"since": since}), now=now)
        candidates = await (await connection.execute(versions.SERVING)).fetchall()
        version = before.model_version if before else None
        model, version = await asyncio.to_thread(self._newest, candidates, version)
        serial = before.serial + 1 if before else 0
        made = await asyncio.to_thread(
            build,
            works,
            events,
            model,
            version=version,
            serial=serial,
            now=now,
            voted=voted,
            before=before,
            limits=limits,
            assessed=assessed,
            exposed=exposed,
        )
        self._model = model
        return made

    def _newest(self, candidates: Sequence[DictRow], version: int | None) -> tuple[Model | None, int | None]:
        """The first of the candidates whose files are whole; that which serves where none of them is."""
        for row in candidates:
            if row["version"] == version:
                return self._model, version
            if row["folder"] in self._refused:
                continue
            try:
                return snapshots.read(self._models, row["folder"]), row["version"]
            except snapshots.BrokenSnapshot as error:
                self._refused.add(row["folder"])
                log.error("model_refused", version=row["version"], reason=str(error))
        return (self._model, version) if candidates else (None, None)
