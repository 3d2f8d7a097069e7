"""What works are about, as vectors: TF-IDF over their words and tags, folded to few dimensions by LSA.

The place where image and audio features join: `embed` takes further columns, which are scaled to unit rows and stand
beside the text's. Works without any feature have the zero vector, whose cosine with everything is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

DIMENSIONS: Final = 64
TAG_WEIGHT: Final = 3
"""A tag counts as often as a word that is said three times: somebody chose it to say what the work is."""


@dataclass(frozen=True)
class Described:
    """The words of one work: its title and text, and its tags and genre."""

    text: str
    tags: Sequence[str] = field(default_factory=tuple)


def embed(works: Sequence[Described], *, dimensions: int = DIMENSIONS, seed: int = 0) -> NDArray[np.float32]:
    """One unit row a work, of at most `dimensions` columns; a work that nothing is known of has a row of zeros."""
    documents = [" ".join([work.text, *([_tag(tag) for tag in work.tags] * TAG_WEIGHT)]) for work in works]
    vectorizer = TfidfVectorizer(token_pattern=r"(?u)\S\S+", sublinear_tf=True, dtype=np.float32)
    try:
        words = vectorizer.fit_transform(documents)
    except ValueError:  # no word in any of them
        return np.zeros((len(works), 1), dtype=np.float32)
    width = min(dimensions, words.shape[1] - 1, words.shape[0] - 1)
    if width < 2:
        return unit_rows(np.asarray(words.todense(), dtype=np.float32))
    folded = TruncatedSVD(width, random_state=seed, algorithm="arpack").fit_transform(words)
    return unit_rows(np.asarray(folded, dtype=np.float32))


def _tag(tag: str) -> str:
    """A tag as one word that no word of a text equals."""
    return "tag:" + "-".join(tag.split())


def unit_rows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each row divided by its length; rows of zeros, or with what is no number, become zeros."""
    clean = np.where(np.isfinite(rows).all(axis=1, keepdims=True), rows, 0.0)
    length = np.linalg.norm(clean, axis=1, keepdims=True)
    return np.asarray(np.divide(clean, length, out=np.zeros_like(clean), where=length > 1e-9), dtype=np.float32)
