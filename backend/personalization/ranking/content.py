"""What works are about, as vectors: the features of each pipeline side by side, one unit row a work.

PIPELINES is the place where image and audio features join: a pipeline turns works into rows, and how much it counts is
what its rows are multiplied by. The first of them folds TF-IDF over words and tags to few dimensions by LSA. A work
that no pipeline knows anything of has the zero vector, whose cosine with everything is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

DIMENSIONS: Final = 64
TAG_WEIGHT: Final = 3
"""A tag counts as often as a word that is said three times: somebody chose it to say what the work is."""


@dataclass(frozen=True)
class Described:
    """What one work says of itself: the words of its title and text, and its tags and genre."""

    text: str
    tags: Sequence[str] = field(default_factory=tuple)


class Pipeline(Protocol):
    """Features of one kind."""

    @property
    def weight(self) -> float:
        """How much the features count beside those of other pipelines: the length of a work's row."""
        ...

    def rows(self, works: Sequence[Described]) -> NDArray[np.float32]:
        """One row a work in the order of the works, the same for the same works; zeros where nothing is known."""
        ...


@dataclass(frozen=True)
class Words:
    """TF-IDF over words and tags, folded by LSA."""

    weight: float = 1.0
    dimensions: int = DIMENSIONS

    def rows(self, works: Sequence[Described]) -> NDArray[np.float32]:
        """At most `dimensions` columns."""
        return _folded(works, self.dimensions)


PIPELINES: Final[tuple[Pipeline, ...]] = (Words(),)
"""What vectors are made of; a pipeline for images or sound adds its line."""


def embed(works: Sequence[Described], *, pipelines: Sequence[Pipeline] = PIPELINES) -> NDArray[np.float32]:
    """One unit row a work; a work that nothing is known of has a row of zeros. Raises ValueError for a wrong number."""
    parts = []
    for pipeline in pipelines:
        rows = unit_rows(pipeline.rows(works))
        if len(rows) != len(works):
            raise ValueError(f"{type(pipeline).__name__} made {len(rows)} rows of {len(works)} works")
        parts.append(np.float32(pipeline.weight) * rows)
    return unit_rows(np.concatenate(parts, axis=1))


def _folded(works: Sequence[Described], dimensions: int, seed: int = 0) -> NDArray[np.float32]:
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
