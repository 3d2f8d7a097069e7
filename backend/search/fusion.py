"""One ranking out of several, by places alone: scores of words and of meaning have no common scale. Pure.

Source: Cormack, Clarke, Buettcher, "Reciprocal rank fusion outperforms Condorcet and individual rank learning methods"
(SIGIR 2009): score(d) = sum over rankings r of weight_r / (K + place of d in r), places from 1.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final, TypeVar

K: Final = 60

D = TypeVar("D", bound=Hashable)


def fused(*rankings: tuple[float, Sequence[D]], k: int = K) -> list[tuple[D, float]]:
    """Every document of the rankings (weight, best first) with its score, best first; equals by the document."""
    scores: dict[D, float] = {}
    for weight, ranking in rankings:
        for place, document in enumerate(ranking, 1):
            scores[document] = scores.get(document, 0.0) + weight / (k + place)
    return sorted(scores.items(), key=lambda entry: (-entry[1], entry[0]))
