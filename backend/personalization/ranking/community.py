"""How the people who were shown a work took it: the quality that slates count. Pure.

    Q = m - sqrt(ab / ((a + b)^2 (a + b + 1))),  m = a / (a + b),  a = 2 + satisfied,  b = 2 + others + complaints

the lower bound of a Beta distribution by one standard deviation, of which what nobody assessed has Q0. A work counts
Q - Q0: nothing for one that nobody began, little for one that a few liked, less than nothing for one that people gave
up or complained of. One person is one voice for a work, whatever they send.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

PRIOR: Final = 2.0
WINDOW_DAYS: Final = 180


def bound(persons: NDArray[np.float64], satisfied: NDArray[np.float64], complained: NDArray[np.float64]) -> Any:
    """Q of works that so many persons began, of whom so many were satisfied and so many complained."""
    a = PRIOR + satisfied
    b = PRIOR + np.maximum(persons - satisfied, 0.0) + complained
    return a / (a + b) - np.sqrt(a * b / ((a + b) ** 2 * (a + b + 1)))


UNKNOWN: Final = float(bound(np.zeros(1), np.zeros(1), np.zeros(1))[0])


def quality(place: Mapping[int, int], rows: Iterable[Mapping[str, Any]]) -> NDArray[np.float64]:
    """Q - Q0 of each work from the rows of reads.ASSESSED; 0 for works without one."""
    persons, satisfied, complained = np.zeros(len(place)), np.zeros(len(place)), np.zeros(len(place))
    for row in rows:
        at = place.get(int(row["work_id"]))
        if at is not None:
            persons[at], satisfied[at], complained[at] = row["persons"], row["satisfied"], row["complained"]
    return np.asarray(bound(persons, satisfied, complained) - UNKNOWN, dtype=np.float64)
