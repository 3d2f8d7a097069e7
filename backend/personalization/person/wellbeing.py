"""Limits that a person set for themselves: which are reached, and what the feed then does. Pure; time is passed in.

    session   a sitting is a run of events with less than half an hour between two; so many minutes are enough
    night     between two times of the day in the person's zone
    autoplay  works begun in a row that the person did not choose, like, save or share; so many are enough

When one is reached the feed says so in a sentence and no work may begin by itself. A sitting that was long enough and a
night make the slate short and leave nothing of it to chance; at night calm works come first as well. It is the person's
own wish and no lock: the same request with `anyway=true` gives the whole slate, and says the sentence all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

from backend.personalization.person.controls import DAY_MINUTES, Limits
from backend.personalization.ranking.signals import EventKind
from backend.personalization.ranking.slate import Policy, turned
from backend.personalization.ranking.taste import SESSION_GAP_S

REST: Final = 5
"""So many works are a short slate."""
CALM: Final = -0.5
"""The energy of a night's slate, as a person's slider would say it, unless theirs is calmer."""
AUTOPLAY_DEFAULT: Final = 0
"""Nothing begins by itself unless a person asks for it."""

CHOSEN: Final = frozenset(
    {EventKind.CHOICE, EventKind.LIKE, EventKind.SAVE, EventKind.SHARE, EventKind.PURCHASE, EventKind.REPLAY}
)
BEGUN: Final = frozenset({EventKind.PLAY})

LimitName = Literal["session", "night", "autoplay"]


class Did(NamedTuple):
    """One event, as far as limits look at it."""

    at: datetime
    kind: EventKind


@dataclass(frozen=True)
class Standing:
    """How a person's limits stand at a moment."""

    reached: Sequence[tuple[LimitName, str]] = ()
    session_minutes: int | None = None
    autoplay_left: int = AUTOPLAY_DEFAULT
    until: datetime | None = None

    def has(self, *names: LimitName) -> bool:
        """Whether one of these limits is reached."""
        return any(name in names for name, _ in self.reached)


def sitting(events: Sequence[Did], now: datetime) -> Sequence[Did]:
    """The events of the present sitting, oldest first; none when the last break is still going on."""
    gap = timedelta(seconds=SESSION_GAP_S)
    begun: list[Did] = []
    after = now
    for event in sorted(events, key=lambda each: each.at, reverse=True):
        if after - event.at > gap:
            break
        begun.append(event)
        after = min(after, event.at)
    return begun[::-1]


def streak(events: Sequence[Did]) -> int:
    """Works begun since the person last chose something, in a sitting."""
    count = 0
    for event in events:
        if event.kind in CHOSEN:
            count = 0
        elif event.kind in BEGUN:
            count += 1
    return count


def night_until(limits: Limits, now: datetime) -> datetime | None:
    """When the night that it is now ends; None by day, or without one."""
    if limits.night_from is None or limits.night_until is None:
        return None
    here = now.astimezone(limits.zone)
    minute = 60 * here.hour + here.minute
    inside = (minute - limits.night_from) % DAY_MINUTES < (limits.night_until - limits.night_from) % DAY_MINUTES
    if not inside:
        return None
    ends = here.replace(hour=limits.night_until // 60, minute=limits.night_until % 60, second=0, microsecond=0)
    return ends if limits.night_until > minute else ends + timedelta(days=1)


def standing(limits: Limits, events: Sequence[Did] | None, now: datetime) -> Standing:
    """How the limits stand. `events`: what the person did lately; None where that may not be read."""
    present = None if events is None else sitting(events, now)
    length = None
    if present is not None:
        length = int((now - present[0].at).total_seconds() // 60) if present else 0
    most = AUTOPLAY_DEFAULT if limits.autoplay_at_most is None else limits.autoplay_at_most
    begun = streak(present or ())
    reached: list[tuple[LimitName, str]] = []
    if limits.session_minutes is not None and length is not None and length >= limits.session_minutes:
        reached.append(
            ("session", f"You have been here for {length} minutes; you wanted to stop after {limits.session_minutes}.")
        )
    until = night_until(limits, now)
    if until is not None:
        reached.append(("night", f"It is your night until {until:%H:%M}: this is a short list of calm things."))
    if limits.autoplay_at_most and begun >= limits.autoplay_at_most:
        reached.append(
            ("autoplay", f"{begun} works began one after the other; choose the next one yourself, as you wanted.")
        )
    left = 0 if reached else max(most - begun, 0)
    return Standing(tuple(reached), length, left, until)


def kept(policy: Policy, size: int, standing: Standing) -> tuple[Policy, int]:
    """The policy and the length of a slate under limits that are reached."""
    if not standing.has("session", "night"):
        return policy, size
    calm = min(policy.energy, turned(policy, energy=CALM).energy) if standing.has("night") else policy.energy
    return replace(policy, explore=0, energy=calm), min(size, REST)
