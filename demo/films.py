"""The demo's input: 200 films, 1,000 people, their ratings in time order (MovieTweetings, MIT: demo/data/LICENSE)."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

DATA = Path(__file__).resolve().parent / "data"
CREATORS = 40


@dataclass(frozen=True)
class Film:
    number: int
    title: str
    genres: tuple[str, ...]
    first_film: int | None
    """The film that this one is a sequel of."""

    @property
    def creator(self) -> int:
        """Which of the 40 creators made it: by a hash of its number, for want of real rights holders."""
        return int.from_bytes(sha256(str(self.number).encode()).digest()[:4], "big") % CREATORS

    @property
    def card(self) -> bytes:
        """The file that is registered in place of the film itself."""
        return f"{self.title}\n{', '.join(self.genres)}\nMovieTweetings film {self.number:07d}\n".encode()

    @property
    def content_hash(self) -> bytes:
        return sha256(self.card).digest()


@dataclass(frozen=True)
class Rating:
    at: int
    """Unix seconds, 2013."""
    person: int
    film: int
    stars: int
    """1 to 10."""


@dataclass(frozen=True)
class Slice:
    films: dict[int, Film]
    people: tuple[int, ...]
    ratings: tuple[Rating, ...]


def _rows(name: str) -> Iterator[dict[str, str]]:
    with gzip.open(DATA / name, "rt", encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def load(scale: float = 1.0) -> Slice:
    """The slice, cut down to `scale` of its people and films for a quick run; first films are kept before sequels."""
    films = [
        Film(
            number=int(row["film"]),
            title=row["title"],
            genres=tuple(row["genres"].split("|")) if row["genres"] else (),
            first_film=int(row["first_film"]) if row["first_film"] else None,
        )
        for row in _rows("films.csv.gz")
    ]
    ratings = [
        Rating(int(r["ts"]), int(r["person"]), int(r["film"]), int(r["rating"])) for r in _rows("ratings.csv.gz")
    ]
    if scale < 1:
        by_number = {film.number: film for film in films}
        sequels = [film for film in films if film.first_film is not None]
        wanted = max(4, round(len(films) * scale))
        kept: dict[int, Film] = {}
        for film in [*sequels[: max(1, wanted // 4)], *films]:
            if len(kept) >= wanted:
                break
            if film.first_film is not None:
                kept[film.first_film] = by_number[film.first_film]
            kept[film.number] = film
        films = sorted(kept.values(), key=lambda film: (film.first_film is not None, film.number))
        ratings = [rating for rating in ratings if rating.film in kept]
    people = sorted({rating.person for rating in ratings})
    if scale < 1:
        people = people[: max(5, round(1_000 * scale))]
        ratings = [rating for rating in ratings if rating.person in set(people)]
    return Slice({film.number: film for film in films}, tuple(people), tuple(ratings))
