"""A person's taste as it stands in memory: updated by each event, exactly as if it were computed anew.

For two half-lives h (months and hours), with B the item-item model and y_e the signal of event e on work i_e:

    s(t) = sum over e of y_e 2^(-(t - t_e) / h) B[i_e, :]

Time only scales s, and scores are standardised, so what is kept is s as of a fixed moment t0: an event adds
y_e 2^((t_e - t0) / h) B[i_e, :], a few hundred numbers, in any order of events. t0 moves on by whole half-lives before
the powers grow large; that multiplies by powers of two, which is exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from backend.personalization.ranking.scoring import DAY_S, Past

LONG_S: Final = 60 * DAY_S
SHORT_S: Final = 6 * 3_600.0
SESSION_GAP_S: Final = 30 * 60.0


@dataclass(frozen=True)
class Decays:
    """How fast the past fades, in seconds. Part of the configuration (configuration.py)."""

    long_s: float = LONG_S
    """Half-life of lasting taste."""
    short_s: float = SHORT_S
    """Half-life of today's mood."""
    season_keep: float = 0.25
    """What lasting taste from before the present season still counts, once."""
    shown_s: float = DAY_S
    """Half-life of having been shown a work in vain."""
    session_gap_s: float = SESSION_GAP_S
    """After so long without an event the next one begins a new session."""
    unwanted_s: float = 30 * DAY_S
    """Half-life of a tag's penalty after «less like this»."""


DEFAULT: Final = Decays()
POWERS: Final = 64
"""t0 moves on when an event lies more half-lives after it."""


class Scale:
    """s of one half-life, and what each past work adds to it."""

    def __init__(self, half_life_s: float, size: int, t0: float) -> None:
        self._half_life_s = half_life_s
        self._t0 = t0
        self.sums: NDArray[np.float64] = np.zeros(size)
        self.values: dict[int, float] = {}

    def add(self, taste: sparse.csr_array, work: int, y: float, at: float) -> None:
        """Count an event, whenever it happened."""
        power = (at - self._t0) / self._half_life_s
        if power > POWERS:
            power -= self._move(math.floor(power))
        value = y * math.exp2(max(power, -1_000.0))
        start, end = taste.indptr[work], taste.indptr[work + 1]
        self.sums[taste.indices[start:end]] += value * taste.data[start:end]
        self.values[work] = self.values.get(work, 0.0) + value

    def _move(self, powers: int) -> int:
        self._t0 += powers * self._half_life_s
        self.sums = np.ldexp(self.sums, -powers)
        self.values = {work: math.ldexp(value, -powers) for work, value in self.values.items()}
        return powers

    def now(self, now: float) -> float:
        """What turns a kept number into the one of `now`."""
        return math.exp2(-(now - self._t0) / self._half_life_s)


class Taste:
    """One person's events, folded. Works are positions in a catalogue; another catalogue or model is another Taste."""

    def __init__(self, taste: sparse.csr_array, *, now: float, decays: Decays = DEFAULT) -> None:
        self._taste = taste
        self._decays = decays
        self._long = Scale(decays.long_s, taste.shape[1], now)
        self._short = Scale(decays.short_s, taste.shape[1], now)
        self._last = -math.inf
        self._session = 0

    def apply(self, work: int, y: float, at: float, *, now: float, lately: bool = True) -> None:
        """Count one event on one work; what claims to come from the future happened now.

        Not `lately`: it counts as lasting taste alone, and belongs to no session.
        """
        at = min(at, now)
        if not lately:
            if y:
                self._long.add(self._taste, work, y, at)
            return
        if at - self._last > self._decays.session_gap_s:
            self._session = 0
        if self._last - at <= self._decays.session_gap_s:  # an older event that comes late belongs to an older session
            self._session += 1
        self._last = max(self._last, at)
        if y:
            for scale in (self._long, self._short):
                scale.add(self._taste, work, y, at)

    def forget_today(self) -> None:
        """Empty the short scale: what was done today no longer counts twice."""
        self._short = Scale(
            self._decays.short_s, len(self._short.sums), self._last if math.isfinite(self._last) else 0.0
        )
        self._session = 0

    def past(self, now: float) -> Past:
        """The past as scores take it, decayed to `now`; works ascend."""
        works = sorted(self._long.values)
        long, short = self._long.now(now), self._short.now(now)
        kept, lately = self._long.values, self._short.values
        return Past(
            np.array(works, dtype=np.int64),
            np.array([kept[work] for work in works]) * long,
            np.array([lately.get(work, 0.0) for work in works]) * short,
            self._session if now - self._last <= self._decays.session_gap_s else 0,
            (self._long.sums * long, self._short.sums * short),
        )
