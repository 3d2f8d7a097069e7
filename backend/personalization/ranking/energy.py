"""How lively a work is, -1 (calm) to 1, from what is known of it. The one place where audio features plug in. Pure.

Until works carry features of their sound, it is the mean of what their tags and the words of their titles say, by a
small list of English words; a work that says nothing is not known, and counts as neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

_CALM: Final = (
    "ambient calm calming contemplative cosy cozy dream gentle lullaby meditation meditative mellow night peaceful"
    " quiet relax relaxed relaxing rest serene silence silent sleep slow soft soothing still tender tranquil whisper"
)
_SOME: Final = "acoustic ballad documentary drama family history landscape nature poem poetry romance sea slice winter"
_MORE: Final = "adventure comedy crime dance funny mystery pop race sport sports thriller travel upbeat western"
_LIVELY: Final = (
    "action battle beat chase energetic energy explosive fast fight fury hardcore horror intense loud metal party"
    " power punk rage rave riot rock speed storm techno war wild"
)
LEXICON: Final[Mapping[str, float]] = {
    word: value
    for words, value in ((_CALM, -1.0), (_SOME, -0.4), (_MORE, 0.5), (_LIVELY, 1.0))
    for word in words.split()
}
_WORD: Final = re.compile(r"[^\W\d_]+")


@lru_cache(maxsize=200_000)
def said(title: str, tags: tuple[str, ...]) -> float | None:
    """The energy that words say; None where they say nothing. A tag counts as three words of the title."""
    found = [LEXICON[word] for word in _WORD.findall(title.lower()) if word in LEXICON]
    for tag in tags:
        found += 3 * [LEXICON[word] for word in _WORD.findall(tag.lower()) if word in LEXICON]
    return sum(found) / len(found) if found else None


def energies(
    works: Iterable[tuple[int, str | None, Iterable[str]]], measured: Mapping[int, float] | None = None
) -> NDArray[np.float64]:
    """z of the energy of each work (id, title, tags) over those that are known; 0 for the others.

    `measured`: work id -> -1 to 1, from audio, which goes before words.
    """
    measured = measured or {}
    values = [measured.get(work_id, said(title or "", tuple(tags))) for work_id, title, tags in works]
    known = np.array([value is not None and bool(np.isfinite(value)) for value in values], dtype=bool)
    z = np.zeros(len(values))
    if known.any():
        there = np.array([value for value, is_known in zip(values, known, strict=True) if is_known], dtype=np.float64)
        spread = float(there.std())
        z[known] = (there - there.mean()) / spread if spread > 1e-9 else 0.0
    return z
