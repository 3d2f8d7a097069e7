"""Cut the demo's input out of the MovieTweetings snapshot: `python3 scripts/demo_slice.py FOLDER`.

FOLDER holds movies.csv.gz, ratings.csv.gz and LICENSE. Written are demo/data/{films,ratings}.csv.gz and the licence:
200 films (the first films of the sequels that FIRST_FILM names, then the most rated), the 1,000 people who rated most
of them (ties by id), and all their ratings of them in time order. The same snapshot gives the same bytes.
"""

from __future__ import annotations

import csv
import gzip
import io
import shutil
import sys
from collections import Counter
from pathlib import Path

FILMS, PEOPLE = 200, 1_000
TARGET = Path(__file__).resolve().parent.parent / "demo" / "data"

# sequel -> the first film of its series, by title; a sequel is registered as a derivation of it.
FIRST_FILM = {
    "Iron Man 2 (2010)": "Iron Man (2008)",
    "Iron Man 3 (2013)": "Iron Man (2008)",
    "The Avengers (2012)": "Iron Man (2008)",
    "Star Trek Into Darkness (2013)": "Star Trek (2009)",
    "Fast & Furious 6 (2013)": "The Fast and the Furious (2001)",
    "The Hangover Part II (2011)": "The Hangover (2009)",
    "The Hangover Part III (2013)": "The Hangover (2009)",
    "Despicable Me 2 (2013)": "Despicable Me (2010)",
    "Monsters University (2013)": "Monsters, Inc. (2001)",
    "The Dark Knight (2008)": "Batman Begins (2005)",
    "The Dark Knight Rises (2012)": "Batman Begins (2005)",
    "Red 2 (2013)": "Red (2010)",
    "Kick-Ass 2 (2013)": "Kick-Ass (2010)",
    "Taken 2 (2012)": "Taken (2008)",
    "Grown Ups 2 (2013)": "Grown Ups (2010)",
    "Before Midnight (2013)": "Before Sunrise (1995)",
    "A Good Day to Die Hard (2013)": "Die Hard (1988)",
    "Scary Movie 5 (2013)": "Scary Movie (2000)",
    "The Expendables 2 (2012)": "The Expendables (2010)",
    "Men in Black 3 (2012)": "Men in Black (1997)",
    "The Bourne Legacy (2012)": "The Bourne Identity (2002)",
    "G.I. Joe: Retaliation (2013)": "G.I. Joe: The Rise of Cobra (2009)",
    "The Smurfs 2 (2013)": "The Smurfs (2011)",
    "The Lord of the Rings: The Return of the King (2003)": "The Lord of the Rings: The Fellowship of the Ring (2001)",
    "The Twilight Saga: Breaking Dawn - Part 2 (2012)": "Twilight (2008)",
}


def rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, header: list[str], lines: list[list[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    with path.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as packed:
        packed.write(text.getvalue().encode())


def main(folder: Path) -> None:
    films = {int(row["movie"]): row for row in rows(folder / "movies.csv.gz")}
    by_title = {row["title"]: number for number, row in films.items()}
    ratings = [tuple(int(row[k]) for k in ("user", "movie", "rating", "ts")) for row in rows(folder / "ratings.csv.gz")]
    count = Counter(movie for _, movie, _, _ in ratings)
    ranked = sorted(films, key=lambda movie: (-count[movie], movie))
    chosen = {by_title[first] for first in FIRST_FILM.values()}
    for movie in ranked:
        if len(chosen) == FILMS:
            break
        chosen.add(movie)
    per_person = Counter(user for user, movie, _, _ in ratings if movie in chosen)
    people = set(sorted(per_person, key=lambda user: (-per_person[user], user))[:PEOPLE])
    kept = sorted(
        (ts, user, movie, rating) for user, movie, rating, ts in ratings if movie in chosen and user in people
    )
    first = {by_title[a]: by_title[b] for a, b in FIRST_FILM.items() if by_title[a] in chosen}
    # first films before their sequels: a parent is registered before its derivation
    order = sorted(chosen, key=lambda movie: (movie in first, movie))
    TARGET.mkdir(parents=True, exist_ok=True)
    write(
        TARGET / "films.csv.gz",
        ["film", "title", "genres", "first_film"],
        [[m, films[m]["title"], films[m]["genres"], first.get(m, "")] for m in order],
    )
    write(TARGET / "ratings.csv.gz", ["ts", "person", "film", "rating"], [list(row) for row in kept])
    shutil.copyfile(folder / "LICENSE", TARGET / "LICENSE")
    print(
        f"{len(order)} films, {len(people)} people, {len(kept)} ratings, "
        f"{len(first)} sequels of {len(set(first.values()))} first films"
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python3 scripts/demo_slice.py FOLDER_WITH_MOVIETWEETINGS")
    main(Path(sys.argv[1]))
