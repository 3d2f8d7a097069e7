"""Sudden changes of a person: of device, place and hour, and of taste. Pure; what was seen and when is passed in.

Each stream becomes standardised surprises z_t, from what the person did before t alone:

    device, place, hour   z = ((1 - p(c_t)) - E[1 - p]) / sd,   p the smoothed frequencies so far of the categories c
    taste                 z = (x_t - mean so far) / sd so far,   x_t = 1 - cos(e_t, mean of e so far)

and an alarm is where the one-sided cumulative sum (Page, "Continuous inspection schemes", 1954) S_t = max(0, S + z - k)
passes h; then the stream begins anew. After an alarm the feed explores more for two days, and the person is told, and
asked whether today's mood shall be forgotten.

Nothing is watched that the person did not allow: taste needs the consents of the personal feed, device, place and hour
the one for location and time of day too. The device is the kind that the client said with an event, the place is the
territory that the person had stated then, the hour is that of the time zone they set, else UTC's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Kind = Literal["taste", "hour", "place", "device"]

SAID: Final[tuple[Kind, ...]] = ("device", "place")
"""What events carry."""
EXPLORED_S: Final = 48 * 3_600.0
"""So long after an alarm the feed explores more."""
EXPLORE: Final = 0.15
LEARN: Final = 30
"""So many events of a stream say what is usual before one of them can be unusual."""
LATEST: Final = 300
"""So many newest events are looked at."""
CLIPPED: Final = 3.0
SMOOTH: Final = 0.5
DAYPARTS: Final = 6
ALLOWANCE: Final[dict[Kind, float]] = {"taste": 0.5, "hour": 0.75, "place": 0.75, "device": 0.75}
"""k, in standard deviations."""
LIMIT: Final[dict[Kind, float]] = {"taste": 8.0, "hour": 10.0, "place": 10.0, "device": 10.0}
"""h. With these fewer than one in fifty streams that do not change has an alarm in 300 entries (measured in tests)."""

WORDS: Final[dict[Kind, str]] = {
    "taste": "What you turn to has changed",
    "hour": "You are here at other hours than before",
    "place": "You are in another place than before",
    "device": "You use another device than before",
}


@dataclass(frozen=True)
class Watched:
    """What the person did, oldest first; a stream that may not be read, or is not known, is left empty."""

    at: Floats = field(default_factory=lambda: np.zeros(0))
    """Seconds since 1970, of each row of `content`."""
    content: Floats = field(default_factory=lambda: np.zeros((0, 1)))
    """What the works are about that the person turned towards; rows of zeros say nothing."""
    categories: dict[Kind, Sequence[tuple[float, str | int]]] = field(default_factory=dict)
    """Device, place or daypart with its moment, one a sitting: the events of one sitting are not each a surprise."""


@dataclass(frozen=True)
class Drift:
    """How a person stands: `kind` changed at `since`, and until `until` the feed explores more."""

    kind: Kind | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def active(self) -> bool:
        return self.kind is not None

    @property
    def words(self) -> str | None:
        """The same for the person."""
        if self.kind is None or self.since is None or self.until is None:
            return None
        return (
            f"{WORDS[self.kind]} since {self.since:%Y-%m-%d %H:%M} UTC. Until {self.until:%Y-%m-%d %H:%M} your feed"
            " tries more; you can make it forget your mood of today."
        )


STEADY: Final = Drift()


def daypart(at: float, offset_s: float = 0.0) -> int:
    """Which of the six parts of the day a moment lies in."""
    return int((at + offset_s) % 86_400 // (86_400 / DAYPARTS))


def surprises(categories: Sequence[str | int]) -> Floats:
    """z of each of a stream of categories against those before it; 0 for the first LEARN."""
    names = {name: n for n, name in enumerate(dict.fromkeys(categories))}
    codes = np.array([names[each] for each in categories], dtype=np.int64)
    size = len(codes)
    z = np.zeros(size)
    if size <= LEARN:
        return z
    width = len(names) + 1  # one for what was never seen
    seen = np.zeros((size, width))
    seen[np.arange(size), codes] = 1.0
    before = np.cumsum(seen, axis=0) - seen
    part = (before + SMOOTH) / (np.arange(size)[:, None] + SMOOTH * width)
    chance = part[np.arange(size), codes]
    square = (part**2).sum(axis=1)
    spread = np.sqrt(np.maximum((part**3).sum(axis=1) - square**2, 1e-4))
    z[:] = (square - chance) / spread
    z[:LEARN] = 0.0
    return z


def turns(content: Floats) -> Floats:
    """z of how far each work is from the mean direction of those before it; 0 for the first LEARN and empty rows."""
    size = len(content)
    rows = np.where(np.isfinite(content), content, 0.0)
    length = np.linalg.norm(rows, axis=1)
    rows = np.divide(rows, length[:, None], out=np.zeros_like(rows), where=length[:, None] > 1e-9)
    before = np.cumsum(rows, axis=0) - rows
    reach = np.linalg.norm(before, axis=1)
    known = (length > 1e-9) & (reach > 1e-9)
    away = np.where(known, 1 - np.divide((rows * before).sum(axis=1), reach, out=np.zeros(size), where=known), 0.0)
    count = np.maximum(np.cumsum(known) - known, 1)
    mean = (np.cumsum(away) - away) / count
    square = (np.cumsum(away**2) - away**2) / count
    spread = np.sqrt(np.maximum(square - mean**2, 0.01))
    z = np.where(known, (away - mean) / spread, 0.0)
    z[: min(LEARN, size)] = 0.0
    return np.asarray(z, dtype=np.float64)


def alarms(z: Floats, *, allowance: float, limit: float) -> list[int]:
    """Where the cumulative sum of what is above the allowance passes the limit; it begins anew after each."""
    found, height = [], 0.0
    for n, value in enumerate(np.clip(z, -CLIPPED, CLIPPED).tolist()):
        height = max(0.0, height + value - allowance)
        if height > limit:
            found.append(n)
            height = 0.0
    return found


def latest(watched: Watched, now: datetime) -> Drift:
    """The newest change of any stream whose time of more exploration is not over; of equals taste goes first."""
    streams: dict[Kind, tuple[Sequence[float], Floats]] = {
        "taste": (watched.at[-LATEST:].tolist(), turns(watched.content[-LATEST:]))
    }
    for kind, stream in watched.categories.items():
        last = stream[-LATEST:]
        streams[kind] = [at for at, _ in last], surprises([category for _, category in last])
    newest: tuple[float, Kind] | None = None
    for kind, (at, z) in streams.items():
        found = alarms(z, allowance=ALLOWANCE[kind], limit=LIMIT[kind])
        if found and (newest is None or at[found[-1]] > newest[0]):
            newest = at[found[-1]], kind
    if newest is None or not 0 <= now.timestamp() - newest[0] < EXPLORED_S:
        return STEADY
    since = datetime.fromtimestamp(newest[0], UTC)
    return Drift(newest[1], since, datetime.fromtimestamp(newest[0] + EXPLORED_S, UTC))


def season(now: datetime) -> datetime:
    """When the present season of the year began: the first of March, June, September or December, UTC."""
    now = now.astimezone(UTC)
    month = now.month - now.month % 3
    year = now.year if month else now.year - 1
    return datetime(year, month or 12, 1, tzinfo=UTC)
