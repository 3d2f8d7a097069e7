"""The feed: what a person allows to be read, their past, and the slate that follows from it with its reasons."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from backend.consent import reads
from backend.consent.gate import read_async
from backend.personalization.catalogue import Catalogue
from backend.personalization.person import wellbeing
from backend.personalization.person.controls import DEFAULTS, Controls
from backend.personalization.person.wellbeing import Did, Standing
from backend.personalization.ranking import aversion, candidates, drift, explain
from backend.personalization.ranking.drift import Drift, Watched
from backend.personalization.ranking.scoring import TERMS, Past
from backend.personalization.ranking.signals import FINISHED_BPS, EventKind, signal
from backend.personalization.ranking.slate import Place, Policy, Viewer
from backend.personalization.ranking.taste import Taste
from backend.personalization.showing.constraints import NOTHING_STATED, Stated, eligible

Reason = Literal["taste", "trend", "new", "unlike", "fresh"]


@dataclass(frozen=True)
class Allowed:
    """What may be read about a person for their feed; all three must be true for a personal slate."""

    enabled: bool
    behaviour: bool
    content_taste: bool
    agent: bool = False
    """Whether programs may read it, too."""
    location_time: bool = False
    """Whether the hours at which they are here may be looked at."""
    frozen: bool = False
    enough_kept: bool = False
    """So many slates of their last hour are kept that no more are."""
    paused_until: datetime | None = None
    """Set while the pause lasts."""
    said: Controls = DEFAULTS
    """Everything the person set, for showing it to them; the feed takes `controls`."""

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Allowed:
        """From what `reads.FEED_STATUS` found."""
        switches = (
            "enabled",
            "behaviour",
            "content_taste",
            "agent",
            "location_time",
            "frozen",
            "enough_kept",
            "paused_until",
        )
        return cls(**{name: row[name] for name in switches}, said=Controls.of(row))

    @property
    def controls(self) -> Controls:
        """What the feed takes of the settings: sliders and limits only where it may read anything about the person at
        all; what may not be shown to them holds always."""
        if self.frozen or not self.enabled or self.paused_until is not None:
            return self.bare
        return self.said

    @property
    def bare(self) -> Controls:
        """What holds always: what may not be shown to the person."""
        said = self.said
        return Controls(birth_year=said.birth_year, territory=said.territory, hidden_creators=said.hidden_creators)

    def withheld(self, *, program: bool) -> bool:
        """Whether a program asks that may not know how the person set their feed."""
        return program and not self.agent

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
        if self.paused_until is not None:
            return f"You paused personalization until {self.paused_until.astimezone(UTC):%Y-%m-%d %H:%M} UTC."
        if not self.behaviour:
            return "You have not allowed us to keep what you do."
        if not self.content_taste:
            return "You have not allowed us to use what you do to choose for you."
        return None

    def kept(self, *, program: bool) -> bool:
        """Whether what is shown is kept, and so may be explored with."""
        return self.behaviour and not (self.frozen or self.enough_kept or self.withheld(program=program))

    @property
    def why_not_for_a_program(self) -> str | None:
        """The same where an API key asks."""
        return self.why_not or (None if self.agent else "You have not allowed programs to read your taste.")

    def refusal(self, *, program: bool) -> str | None:
        """Why the feed is not personal, for the person or for a program of theirs."""
        return self.why_not_for_a_program if program else self.why_not


@dataclass(frozen=True)
class History:
    """A person's own events as the feed reads them, newest first."""

    rows: Sequence[DictRow]
    finished: frozenset[int]
    liked: frozenset[int]
    hidden: frozenset[int]
    brought: Sequence[DictRow] = ()
    """Likings that the person brought along in a document; no events."""
    slates: Sequence[DictRow] = ()
    """What the feed showed the person lately, newest first."""

    def did(self, work_id: int) -> Literal["liked", "finished", "watched", "brought"]:
        """What the person did with a past work, in a word."""
        if work_id in self.liked:
            return "liked"
        if work_id in self.finished:
            return "finished"
        if any(row["work_id"] == work_id for row in self.rows):
            return "watched"
        return "brought"


NOTHING: Final = History((), frozenset(), frozenset(), frozenset())
SESSION_AT_MOST: Final = 100
STRANGER: Final = Allowed(enabled=True, behaviour=False, content_taste=False)
"""Somebody who never answered anything."""


async def allowed(connection: AsyncConnection[DictRow], *, person: uuid.UUID | None, now: datetime) -> Allowed:
    """The person's switches and consents, as they are now."""
    if person is None:
        return STRANGER
    ((status,),) = await read_async(connection, (reads.FEED_STATUS, {}), person=person, now=now)
    return Allowed.of(status)


async def stated(connection: AsyncConnection[DictRow], *, person: uuid.UUID, now: datetime) -> Stated:
    """What the person stated of themselves and whom they hide, and nothing else of them."""
    ((row,),) = await read_async(connection, (reads.FEED_STATED, {}), person=person, now=now)
    return Controls.of(row).stated(now)


async def history(
    connection: AsyncConnection[DictRow], *, person: uuid.UUID | None, now: datetime, program: bool = False
) -> tuple[Allowed, History]:
    """What may be read about the person, and their events; there are none unless consent holds in the very statement
    that reads them (promise V11), and the one to `agent` too where a program asks."""
    if person is None:
        return STRANGER, NOTHING
    if program:
        (status,), rows = await read_async(
            connection, (reads.FEED_STATUS, {}), (reads.FEED_FOR_PROGRAM, {}), person=person, now=now
        )
        return Allowed.of(status), told(rows)
    (status,), rows, slates = await read_async(
        connection,
        (reads.FEED_STATUS, {}),
        (reads.FEED_HISTORY, {}),
        (reads.FEED_SHOWN, {}),
        person=person,
        now=now,
    )
    return Allowed.of(status), replace(told(rows), slates=slates)


async def limits(
    connection: AsyncConnection[DictRow], *, person: uuid.UUID | None, controls: Controls, now: datetime
) -> Standing:
    """How a person's limits stand. What they did lately is read where a limit needs it, and where they allow that."""
    rows: list[DictRow] = []
    known = controls.limits.need_the_sitting and person is not None
    if known:
        (rows,) = await read_async(connection, (reads.FEED_SITTING, {}), person=person, now=now)
    did = [Did(row["received_at"], EventKind(row["kind"])) for row in rows] if known else None
    return wellbeing.standing(controls.limits, did, now)


def told(rows: Sequence[DictRow]) -> History:
    """What a person finished, liked and does not want to see, from their events."""
    brought = [row for row in rows if row["kind"] == reads.BROUGHT]
    rows = [row for row in rows if row["kind"] != reads.BROUGHT] if brought else rows
    finished, liked, hidden = set(), set(), set()
    for row in rows:
        kind, work_id = EventKind(row["kind"]), int(row["work_id"])
        if kind is EventKind.WATCH and row["completion_bps"] >= FINISHED_BPS:
            finished.add(work_id)
        if kind in (EventKind.LIKE, EventKind.SAVE):
            liked.add(work_id)
        if kind in (EventKind.LESS_LIKE_THIS, EventKind.COMPLAINT):
            hidden.add(work_id)
    return History(rows, frozenset(finished), frozenset(liked), frozenset(hidden | finished), brought)


def past(catalogue: Catalogue, rows: Sequence[DictRow], now: datetime, brought: Sequence[DictRow] = ()) -> Past:
    """A history as the score takes it; events on works that may not be shown any more say nothing."""
    at = now.timestamp()
    signals = catalogue.configuration.signals
    taste = Taste(catalogue.facts.taste, now=at, decays=catalogue.configuration.decays)
    keep = catalogue.configuration.decays.season_keep
    begun = drift.season(now).timestamp()
    for row in reversed(rows):
        work = catalogue.place.get(int(row["work_id"]))
        if work is not None:
            value = signal(EventKind(row["kind"]), row["duration_ms"], row["completion_bps"], signals)
            when = row["received_at"].timestamp()
            value *= keep if when < begun else 1.0
            taste.apply(work, value, when, now=at, lately=row.get("lately", True))
    for row in brought:
        work = catalogue.place.get(int(row["work_id"]))
        if work is not None:
            taste.apply(work, row["value"], row["received_at"].timestamp(), now=at, lately=False)
    return taste.past(at)


def tired(catalogue: Catalogue, history: History, now: datetime) -> NDArray[np.float64] | None:
    """How often each work was shown to the person lately and not taken, halved every `shown_s`; None: never."""
    if not history.slates:
        return None
    shown, half_life_s = np.zeros(len(catalogue.work_ids)), catalogue.configuration.decays.shown_s
    age = np.array([max((now - row["at"]).total_seconds(), 0.0) for row in history.slates])
    works = np.array([work for row in history.slates for work in row["works"]], dtype=np.int64)
    at = catalogue.work_ids.searchsorted(works).clip(max=max(len(shown) - 1, 0))
    there = catalogue.work_ids[at] == works if len(shown) else np.zeros(len(works), dtype=np.bool_)
    part = np.repeat(2.0 ** -(age / half_life_s), [len(row["works"]) for row in history.slates])
    np.add.at(shown, at[there], part[there])
    shown[catalogue.positions({int(row["work_id"]) for row in history.rows})] = 0.0
    return shown


def session(catalogue: Catalogue, history: History, now: datetime) -> list[int]:
    """Where the works stand that this sitting has shown already, newest first."""
    found: dict[int, None] = {}
    last = now
    for row in history.slates:
        if (last - row["at"]).total_seconds() > catalogue.configuration.decays.session_gap_s:
            break
        last = min(last, row["at"])
        found |= {catalogue.place[work]: None for work in row["works"] if work in catalogue.place}
        if len(found) >= SESSION_AT_MOST:
            break
    return list(found)[:SESSION_AT_MOST]


def drifted(catalogue: Catalogue, allowed: Allowed, history: History, now: datetime, *, program: bool = False) -> Drift:
    """Whether the person changed suddenly, from what they allow to be looked at for it.

    A program is told of taste alone: it may read that, and not where they are, on what, or when.
    """
    if len(history.rows) <= drift.LEARN:
        return drift.STEADY
    signals = catalogue.configuration.signals
    at: list[float] = []
    works: list[int] = []
    seen: dict[drift.Kind, list[tuple[float, str | int]]] = {"hour": [], "device": [], "place": []}
    zone = allowed.controls.limits.zone
    began, last = 0.0, 0.0
    for row in reversed(history.rows):
        when = row["received_at"].timestamp()
        if when - last > catalogue.configuration.decays.session_gap_s:
            began = when
            offset = row["received_at"].astimezone(zone).utcoffset() or timedelta()
            seen["hour"].append((when, drift.daypart(when, offset.total_seconds())))
        for kind in drift.SAID:
            said = row.get(kind)
            if said is not None and (not seen[kind] or seen[kind][-1][0] < began):  # one a sitting
                seen[kind].append((when, said))
        last = when
        place = catalogue.place.get(int(row["work_id"]))
        event = EventKind(row["kind"])
        if place is not None and signal(event, row["duration_ms"], row["completion_bps"], signals) > 0:
            at.append(when)
            works.append(place)
    watched = Watched(
        at=np.array(at),
        content=catalogue.shelf.content[works].astype(np.float64),
        categories=dict(seen) if allowed.location_time and not program else {},
    )
    return drift.latest(watched, now)


def unwanted(
    catalogue: Catalogue, history: History, now: datetime, forgetting: Collection[int] = ()
) -> dict[str, float]:
    """Tags of which the person asked for less, and how strongly."""
    rows = [row for row in history.rows if row["work_id"] not in forgetting] if forgetting else history.rows
    tags = {work: catalogue.labels[work].tags for work in history.hidden if work in catalogue.labels}
    half_life_s = catalogue.configuration.decays.unwanted_s
    return aversion.unwanted(rows, tags, now=now.timestamp(), half_life_s=half_life_s)


def averse(
    catalogue: Catalogue, history: History, now: datetime, forgetting: Collection[int] = ()
) -> NDArray[np.float64] | None:
    """What each work pays for such tags, before the weight; None where there is none."""
    strengths = unwanted(catalogue, history, now, forgetting)
    return aversion.averse(strengths, catalogue.tagged, len(catalogue.work_ids))


@dataclass(frozen=True)
class Shown:
    """One work of a slate: `terms` sum to its score, and forgetting a work of `because` lowers that by the part."""

    work_id: int
    score: float
    terms: Mapping[str, float]
    reason: Reason
    because: Sequence[tuple[int, float]]
    propensity: float
    place: Place


def choose(
    catalogue: Catalogue,
    history: History,
    *,
    now: datetime,
    limit: int,
    policy: Policy | None = None,
    seed: Sequence[int] | None = None,
    forgetting: Collection[int] = (),
    stated: Stated = NOTHING_STATED,
    gone: Iterable[int] = (),
) -> list[Shown]:
    """The slate of a person, best first, every work with its true reason.

    Only works that may be shown to somebody who stated `stated` are in it; `gone` are ids of works that have become
    unavailable since the catalogue was read.

    What is drawn by chance follows from `seed` (impressions.seed), and without one from the catalogue's reading: a page
    that is loaded again within the two seconds shows the same. Without a `policy` it is the one in force, and nothing
    is explored. `forgetting`: as if nothing had been done with these works.
    """
    done = past(catalogue, history.rows, now, history.brought)
    done = done.without(catalogue.positions(forgetting)) if forgetting else done
    hidden = catalogue.positions({*(history.hidden - set(forgetting)), *gone})
    ranked = candidates.slate_of(
        catalogue.facts,
        catalogue.shelf,
        catalogue.moments,
        index=catalogue.index,
        past=done,
        allowed=eligible(catalogue.rules, stated, now.timestamp(), hidden=hidden),
        viewer=Viewer(
            past=done.towards,
            shown=tired(catalogue, history, now),
            session=session(catalogue, history, now),
            averse=averse(catalogue, history, now, forgetting),
        ),
        weights=catalogue.weights,
        policy=policy or replace(catalogue.configuration.policy, explore=0),
        size=limit,
        rng=np.random.default_rng(seed or [catalogue.serial, len(history.rows)]),
    )
    places, parts = ranked.places, ranked.terms
    items = np.array([place.work for place in places], dtype=np.int64)
    fall = explain.parts(catalogue.facts, catalogue.moments, done, items, catalogue.weights)
    nothing = np.zeros(len(items))
    summands = zip(
        *((getattr(catalogue.weights, name) * parts.get(name, nothing)).tolist() for name in TERMS), strict=True
    )
    shown = []
    for column, (place, rows, values) in enumerate(zip(places, explain.named(fall), summands, strict=True)):
        weighted = dict(zip(TERMS, values, strict=True))
        named = [
            (int(catalogue.work_ids[done.works[row]]), float(fall[row, column])) for row in rows if done.values[row] > 0
        ]
        reason = _reason(place, named, weighted)
        shown.append(
            Shown(
                work_id=int(catalogue.work_ids[place.work]),
                score=sum(weighted.values()),
                terms=weighted,
                reason=reason,
                because=named if reason == "taste" else [],
                propensity=place.propensity,
                place=place,
            )
        )
    return shown


def _reason(place: Place, named: Sequence[tuple[int, float]], terms: Mapping[str, float]) -> Reason:
    """What brought a work here: its special place, the person's past, that it is popular, or that it is new."""
    if place.why == "unlike":
        return "unlike"
    if place.why == "fresh":
        return "fresh"
    if named and sum(part for _, part in named) > 0:
        return "taste"
    return "trend" if terms["trend"] >= terms["recent"] and terms["trend"] > 0 else "new"
