"""A space in which texts lie near each other when they are about the same: TF-IDF over words and tags, folded by LSA.

Source: Deerwester et al., "Indexing by latent semantic analysis" (1990). With X the works-by-words matrix of TF-IDF
rows and X ~ U S V' its K largest singular values, a text x lies at x V: works and queries alike, so what was not there
at the fit is folded in. A space is immutable; it lies in a folder and is checked by hash when it is read.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from backend.files import sync
from backend.personalization.ranking.content import DIMENSIONS, TAG_WEIGHT, Described, unit_rows
from backend.search.words import EMPTY, stem, words

FORMAT: Final = "troupe-space/1"
KEPT: Final = 0.75
"""At most this part of as many directions as there are works: with all of them no two words would be drawn together."""
LEAST_WORKS: Final = 3
"""Fewer works span no space."""
MOST_WORDS: Final = 50_000
"""So many words, those of most works, are axes before folding."""


class BrokenSpace(Exception):
    """A space's files are not what was written."""


@dataclass(frozen=True)
class Space:
    """Words, how telling each is, and where it points."""

    vocabulary: Mapping[str, int]
    idf: NDArray[np.float32]
    """One entry a word: ln((1 + works) / (1 + works with it)) + 1."""
    axes: NDArray[np.float32]
    """V: one row a word, DIMENSIONS columns; columns that the catalogue is too small for are zero."""

    @cached_property
    def digest(self) -> str:
        """The first 24 hexadecimal digits of sha256 over all of it."""
        made = sha256(json.dumps(self.vocabulary, sort_keys=True).encode())
        for array in (self.idf, self.axes):
            made.update(np.ascontiguousarray(array).tobytes())
        return made.hexdigest()[:24]

    def _weighted(self, texts: Sequence[Sequence[str]]) -> sparse.csr_array:
        """TF-IDF rows of unit length: (1 + ln n) idf for a word that stands n times."""
        rows, columns, values = [], [], []
        for row, text in enumerate(texts):
            counts: dict[int, int] = {}
            for word in text:
                at = self.vocabulary.get(word)
                if at is not None:
                    counts[at] = counts.get(at, 0) + 1
            rows += [row] * len(counts)
            columns += list(counts)
            values += [(1 + np.log(n)) * self.idf[at] for at, n in counts.items()]
        made = sparse.csr_array((values, (rows, columns)), shape=(len(texts), len(self.vocabulary)), dtype=np.float32)
        length = np.sqrt(np.asarray(made.power(2).sum(axis=1)).ravel())
        return sparse.csr_array(made.multiply(1 / np.maximum(length, 1e-12)[:, None]))

    def project(self, texts: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        """Where texts (as words) lie: unit rows; a text without any known word is a row of zeros."""
        return unit_rows(np.asarray(self._weighted(texts) @ self.axes, dtype=np.float32))

    def shared(self, query: Sequence[str], work: Described, most: int = 3) -> list[str]:
        """The words of a work that carry its nearness to a query, as they stand in it, those that carry most first.

        With q where the query lies, a word w of weight x_w adds x_w (V_w . q) to the product: these sum to it.
        """
        towards = self.project([query])[0]
        row = self._weighted([text_of(work)])
        carried = dict(zip(row.indices.tolist(), (row.data * (self.axes[row.indices] @ towards)).tolist(), strict=True))
        surface = words(" ".join([work.text, *work.tags]))
        parts = {word: carried.get(self.vocabulary.get(stem(word), -1), 0.0) for word in surface if word not in EMPTY}
        found = sorted((word for word, part in parts.items() if part > 0), key=lambda word: (-parts[word], word))
        return found[:most]


TAG: Final = "#"
"""Begins a whole tag among the words of a space, which no word does."""


def text_of(work: Described) -> list[str]:
    """The words of a work as a space takes them, stemmed; each tag stands TAG_WEIGHT times, as words and as one."""
    tags = [word for tag in work.tags for word in (*stems(words(tag)), TAG + "-".join(words(tag)))]
    return stems(words(work.text)) + tags * TAG_WEIGHT


def stems(said: Sequence[str]) -> list[str]:
    """Words as a space takes them; those that carry no meaning are nobody's reason."""
    return [stem(word) for word in said if word not in EMPTY]


def fit(texts: Sequence[Sequence[str]], *, dimensions: int = DIMENSIONS, seed: int = 0) -> Space | None:
    """The space of these texts; None when they are too few or have too few words. Deterministic."""
    if len(texts) < LEAST_WORKS:
        return None
    vectorizer = TfidfVectorizer(
        analyzer=lambda text: text, sublinear_tf=True, dtype=np.float32, max_features=MOST_WORDS
    )
    try:
        rows = vectorizer.fit_transform(texts)
    except ValueError:  # no word in any of them
        return None
    width = min(dimensions, rows.shape[1] - 1, int(KEPT * rows.shape[0]))
    if width < 2:
        return None
    folding = TruncatedSVD(width, random_state=seed, algorithm="arpack" if rows.shape[0] <= 5_000 else "randomized")
    folding.fit(rows)
    axes = np.zeros((rows.shape[1], dimensions), dtype=np.float32)
    axes[:, :width] = folding.components_.T
    vocabulary = {word: int(at) for word, at in vectorizer.vocabulary_.items()}
    return Space(vocabulary, np.asarray(vectorizer.idf_, dtype=np.float32), axes)


def write(folder: Path, space: Space) -> str:
    """Write a space below `folder`; returns its name there. The same space is written once."""
    folder.mkdir(parents=True, exist_ok=True)
    name = space.digest
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder))
    try:
        np.save(partial / "idf.npy", space.idf, allow_pickle=False)
        np.save(partial / "axes.npy", space.axes, allow_pickle=False)
        (partial / "words.json").write_text(json.dumps({"format": FORMAT, "words": dict(space.vocabulary)}))
        for file in partial.iterdir():
            sync(file)
        if not (folder / name).exists():
            partial.rename(folder / name)
            sync(folder)
        return name
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read(folder: Path, name: str) -> Space:
    """Open a space. Raises BrokenSpace when its files are missing or not what was written."""
    try:
        said = json.loads((folder / name / "words.json").read_bytes())
        if said["format"] != FORMAT:
            raise BrokenSpace(f"the space {name} has the form {said['format']}, which this version does not read")
        found = Space(
            said["words"],
            np.load(folder / name / "idf.npy", allow_pickle=False),
            np.load(folder / name / "axes.npy", allow_pickle=False),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BrokenSpace(f"the space {name} cannot be read: {error}") from error
    if found.digest != name:
        raise BrokenSpace(f"the space {name} is not what was written")
    return found
