"""What an engagement event says about taste: one signed number an event. Pure, and the only place to change it."""

from __future__ import annotations

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
BARELY_BPS: Final = 2_000
SKIP_EARLY_MS: Final = 5_000
SKIP_LATE_MS: Final = 30_000
DWELL_FULL_MS: Final = 3_000
CLIP: Final = 2.0

_FIXED: Final = {
    EventKind.LIKE: 1.0,
    EventKind.SAVE: 0.8,
    EventKind.SHARE: 0.8,
    EventKind.PURCHASE: 1.0,
    EventKind.REPLAY: 0.3,
    EventKind.LESS_LIKE_THIS: -1.5,
    EventKind.COMPLAINT: -2.0,
}


def signal(kind: EventKind, duration_ms: int = 0, completion_bps: int = 0) -> float:
    """The taste value y of one event in [-2, 2]; 0 says nothing about taste (an impression, a bare play).

    A watch counts as far as it went (1 when finished, nothing below a fifth); a skip counts against the work the
    earlier it comes; a dwell on the thumbnail is a tenth at most.
    """
    match kind:
        case EventKind.WATCH:
            if completion_bps >= FINISHED_BPS:
                return 1.0
            return completion_bps / 10_000 if completion_bps >= BARELY_BPS else 0.0
        case EventKind.SKIP:
            if duration_ms < SKIP_EARLY_MS:
                return -0.5
            return -0.2 if duration_ms < SKIP_LATE_MS else 0.0
        case EventKind.DWELL:
            return 0.1 * min(duration_ms / DWELL_FULL_MS, 1.0)
        case _:
            return _FIXED.get(kind, 0.0)


def clip(value: float) -> float:
    """The summed signals of one person for one work stay within [-2, 2]."""
    return max(-CLIP, min(CLIP, value))
