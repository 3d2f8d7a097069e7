"""What somebody meant who mistyped: words of the catalogue one slip away, or that begin so. Pure.

The index is Garbe's symmetric deletion: two words are one insertion, deletion, substitution or swap of neighbours apart
only if they share a word that each becomes by at most one deletion. Deletions are kept as sorted hashes, 12 bytes each.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final
from zlib import crc32

import numpy as np

SHORTEST: Final = 4
"""Shorter words have too many neighbours to guess among."""
LONGEST: Final = 30
COMPLETIONS: Final = 200


def distance(a: str, b: str) -> int:
    """Insertions, deletions, substitutions and swaps of neighbours between two words (optimal string alignment)."""
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            row.append(min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (x != y)))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                row[j] = min(row[j], before[j - 2] + 1)
        before, last = last, row
    return last[-1]


def _deletions(word: str) -> Iterator[str]:
    yield word
    for at in range(len(word)):
        yield word[:at] + word[at + 1 :]


class Spelling:
    """The words of a catalogue, each with how much it counts among equals."""

    def __init__(self, vocabulary: Mapping[str, float]) -> None:
        self._counts = vocabulary
        self._sorted = sorted(vocabulary)
        hashes, places = [], []
        for place, word in enumerate(self._sorted):
            if SHORTEST - 1 <= len(word) <= LONGEST:
                for part in _deletions(word):
                    hashes.append(crc32(part.encode()))
                    places.append(place)
        order = np.argsort(np.array(hashes, dtype=np.uint32), kind="stable")
        self._hashes = np.array(hashes, dtype=np.uint32)[order]
        self._places = np.array(places, dtype=np.int32)[order]

    def __contains__(self, word: str) -> bool:
        return word in self._counts

    def nearest(self, word: str) -> str | None:
        """The word that was meant: itself if it is known; else what is one slip away; else what begins with it.

        Among several the one that counts most, then the first by the alphabet. None: nothing is near.
        """
        if word in self._counts or len(word) < SHORTEST or len(word) > LONGEST:
            return word if word in self._counts else self._begun(word)
        wanted = np.unique(np.array([crc32(part.encode()) for part in _deletions(word)], dtype=np.uint32))
        left, right = np.searchsorted(self._hashes, wanted, "left"), np.searchsorted(self._hashes, wanted, "right")
        places = {int(place) for a, b in zip(left, right, strict=True) for place in self._places[a:b]}
        near = [found for found in (self._sorted[place] for place in places) if distance(word, found) == 1]
        return min(near, key=self._rank) if near else self._begun(word)

    def _begun(self, word: str) -> str | None:
        if len(word) < SHORTEST - 1:
            return None
        start = bisect_left(self._sorted, word)
        found = [each for each in islice(self._sorted, start, start + COMPLETIONS) if each.startswith(word)]
        return min(found, key=self._rank) if found else None

    def _rank(self, word: str) -> tuple[float, str]:
        return -self._counts[word], word
