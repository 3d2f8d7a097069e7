"""What an engagement event says about taste: one signed number an event. Pure, and the only place to change it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class EventKind(StrEnum):
    """What a client can report. `watch` and `skip` carry how long and how far; the others stand for themselves."""

    IMPRESSION = "impression"
    DWELL = "dwell"
    PLAY = "play"
    WATCH = "watch"
    SKIP = "skip"
    REPLAY = "replay"
    LIKE = "like"
    SAVE = "save"
    SHARE = "share"
    CHOICE = "choice"
    PURCHASE = "purchase"
    LESS_LIKE_THIS = "less_like_this"
    COMPLAINT = "complaint"


FINISHED_BPS: Final = 9_000
"""From here on a work counts as finished."""
CLIP: Final = 2.0


@dataclass(frozen=True)
class Signals:
    """What each kind of event counts, and from where on. Part of the configuration (configuration.py)."""

    finish: float = 1.0
    like: float = 1.0
    save: float = 0.8
    share: float = 0.8
    purchase: float = 1.0
    replay: float = 0.3
    dwell: float = 0.1
    skip_early: float = -0.5
    skip_late: float = -0.2
    less_like_this: float = -1.5
    complaint: float = -2.0
    barely_bps: float = 2_000
    """A watch that went less far says nothing."""
    skip_early_ms: float = 5_000
    skip_late_ms: float = 30_000
    dwell_full_ms: float = 3_000
    """From here on a dwell counts in full."""


DEFAULT: Final = Signals()


def signal(kind: EventKind, duration_ms: int = 0, completion_bps: int = 0, signals: Signals = DEFAULT) -> float:
    """The taste value y of one event in [-2, 2]; 0 says nothing about taste (an impression, a bare play).

    A watch counts as far as it went (in full when finished, nothing below a fifth); a skip counts against the work the
    earlier it comes; a dwell on the thumbnail is a tenth at most.
    """
    match kind:
        case EventKind.WATCH:
            if completion_bps >= FINISHED_BPS:
                return signals.finish
            return signals.finish * completion_bps / 10_000 if completion_bps >= signals.barely_bps else 0.0
        case EventKind.SKIP:
            if duration_ms < signals.skip_early_ms:
                return signals.skip_early
            return signals.skip_late if duration_ms < signals.skip_late_ms else 0.0
        case EventKind.DWELL:
            return signals.dwell * min(duration_ms / signals.dwell_full_ms, 1.0)
        case _:
            return float(getattr(signals, kind.value, 0.0))  # impressions, plays and choices have no number


def clip(value: float) -> float:
    """The summed signals of one person for one work stay within [-2, 2]."""
    return max(-CLIP, min(CLIP, value))
