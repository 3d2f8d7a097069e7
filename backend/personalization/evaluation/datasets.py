"""Logs to evaluate on: sets of ratings in the form of MovieTweetings."""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from backend.personalization.evaluation import splits
from backend.personalization.evaluation.offline import Works
from backend.personalization.evaluation.splits import Log
from backend.personalization.ranking import content

POSITIVE_FROM: Final = 6
"""Of ten stars."""
LEFT_UPTO: Final = 4
"""Who gives so few has turned away: what an early skip is in a log of ours."""
CORE: Final = 5
YEAR: Final = re.compile(r"\((\d{4})\)\s*$")


class BadDataset(Exception):
    """A file is missing or is not what its form says; the text names the file, the row, and what was expected."""


@dataclass(frozen=True)
class Dataset:
    """A log, its works, and how to name it."""

    name: str
    log: Log
    works: Works


def _rows(file: Path, header: list[str]) -> Iterator[tuple[int, list[str]]]:
    try:
        with gzip.open(file, "rt", encoding="utf-8", newline="") as text:
            reader = csv.reader(text)
            found = next(reader, [])
            if found != header:
                raise BadDataset(f"{file}: the first row must be {','.join(header)}, not {','.join(found)[:80]!r}")
            for number, row in enumerate(reader, start=2):
                if len(row) != len(header):
                    raise BadDataset(f"{file}: row {number} has {len(row)} columns, not {len(header)}")
                yield number, row
    except FileNotFoundError:
        raise BadDataset(f"{file} is not there: give a folder with ratings.csv.gz and movies.csv.gz") from None
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise BadDataset(f"{file} cannot be read: {error}") from error


def movietweetings(folder: Path) -> Dataset:
    """Films with genres and years, and who gave them six stars or more; people and films with five of them or more.

    A film counts as published in the middle of the year that its title ends with. Raises BadDataset.
    """
    file = folder / "ratings.csv.gz"
    rated, left = [], []
    for number, row in _rows(file, ["user", "movie", "rating", "ts"]):
        try:
            user, movie, rating, at = (int(float(cell)) for cell in row)
        except ValueError:
            raise BadDataset(f"{file}: row {number} holds something that is no number: {row}") from None
        if rating >= POSITIVE_FROM:
            rated.append((user, movie, at))
        elif rating <= LEFT_UPTO:
            left.append((user, movie, at))
    if not rated:
        raise BadDataset(f"{file}: there is no rating of {POSITIVE_FROM} or more in it")
    table = np.array(rated, dtype=np.int64)
    table = table[splits.core(table[:, 0], table[:, 1], least=CORE)]
    log, users, ids = splits.log_of(table[:, 0], table[:, 1], table[:, 2].astype(np.float64))
    works = _films(folder / "movies.csv.gz", ids.tolist())
    return Dataset("movietweetings", log, replace(works, left=_known(left, users, ids)))


def _known(rows: list[tuple[int, int, int]], users: NDArray[np.int64], ids: NDArray[np.int64]) -> Log:
    """The rows of people and films of a log, under its numbers."""
    table = np.array(rows, dtype=np.int64).reshape(-1, 3)
    table = table[np.isin(table[:, 0], users) & np.isin(table[:, 1], ids)]
    person, work = np.searchsorted(users, table[:, 0]), np.searchsorted(ids, table[:, 1])
    return Log(person, work, table[:, 2].astype(np.float64), len(users), len(ids))


def _films(file: Path, ids: list[int]) -> Works:
    titles: dict[int, tuple[str, list[str]]] = {}
    for row_number, (number, title, genres) in _rows(file, ["movie", "title", "genres"]):
        try:
            titles[int(number)] = title, [genre for genre in genres.split("|") if genre]
        except ValueError:
            raise BadDataset(f"{file}: row {row_number} has {number!r} as its number") from None
    missing = [movie for movie in ids if movie not in titles]
    if missing:
        raise BadDataset(f"{file}: {len(missing)} rated films have no row, the first is {missing[0]}")
    described, published = [], []
    for movie in ids:
        name, tags = titles[movie]
        year = YEAR.search(name)
        described.append(content.Described(YEAR.sub("", name), tags))
        published.append(datetime(int(year[1]) if year else 1970, 7, 1, tzinfo=UTC).timestamp())
    return Works(content.embed(described), np.array(published))
