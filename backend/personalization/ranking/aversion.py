"""Less like this, beyond the one work: its tags cost other works something for a while. Pure.

    averse(i) = sum over the tags g of work i of 2^(-(t - t_g) / h)   t_g: when less was asked for of g last; h = 30 d

A slate's total pays `policy.unwanted` (0.3) for each unit. Asking again starts the half-life of a tag anew and does not
add to it, so that a work pays for each of its tags once at most.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.personalization.ranking.signals import EventKind

TagsOf = Mapping[int, Sequence[str]]
"""Work -> its tags, each once, folded as `fold` does."""


def fold(tag: str) -> str:
    """How tags are compared: without case, without spaces around them."""
    return tag.strip().casefold()


def unwanted(rows: Sequence[Mapping[str, Any]], tags: TagsOf, *, now: float, half_life_s: float) -> dict[str, float]:
    """Tag -> how strongly less of it was asked for, 1 just now; `rows` are a person's events."""
    newest: dict[str, float] = {}
    for row in rows:
        if row["kind"] == EventKind.LESS_LIKE_THIS:
            at = min(row["received_at"].timestamp(), now)
            for tag in tags.get(int(row["work_id"]), ()):
                newest[tag] = max(newest.get(tag, -math.inf), at)
    return {tag: math.exp2(-(now - at) / half_life_s) for tag, at in newest.items()}


def averse(
    strengths: Mapping[str, float], tagged: Mapping[str, NDArray[np.int64]], works: int
) -> NDArray[np.float64] | None:
    """One number a work; None where nothing is unwanted. `tagged`: tag -> positions of its works."""
    if not strengths:
        return None
    sums = np.zeros(works)
    for tag, strength in strengths.items():
        if tag in tagged:
            sums[tagged[tag]] += strength
    return sums
