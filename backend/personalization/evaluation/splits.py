"""Who did what when, cut at one moment: what was known before it, and what came after.

A cut by time is the only honest one for what is shown to people: nobody's future helps to foretell another's present.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import numpy as np
from numpy.typing import NDArray

AT_LEAST_KNOWN: Final = 3
"""A person is judged when so many of their works were known before the cut."""


@dataclass(frozen=True)
class Log:
    """Positive (person, work) pairs with their time in seconds, in the order of time; numbers are dense from 0."""

    person: NDArray[np.int64]
    work: NDArray[np.int64]
    at: NDArray[np.float64]
    people: int
    works: int

    def where(self, chosen: NDArray[np.bool_]) -> Log:
        """The chosen rows, under the same numbers."""
        return Log(self.person[chosen], self.work[chosen], self.at[chosen], self.people, self.works)

    def __len__(self) -> int:
        return len(self.person)


@dataclass(frozen=True)
class Split:
    """What was known at `cut`, and what the judged people did between the cut and `end`."""

    cut: float
    known: Log
    held_out: Log

    @property
    def digest(self) -> str:
        """sha256 of the rows on both sides: the same digest is the same split."""
        arrays = [a for log in (self.known, self.held_out) for a in (log.person, log.work, log.at)]
        return sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()


def core(person: NDArray[np.int64], work: NDArray[np.int64], *, least: int) -> NDArray[np.bool_]:
    """The rows of the largest part in which each person and each work has `least` rows or more."""
    keep = np.ones(len(person), dtype=bool)
    while keep.any():
        people = np.bincount(person[keep], minlength=int(person.max()) + 1)
        works = np.bincount(work[keep], minlength=int(work.max()) + 1)
        fewer = keep & (people[person] >= least) & (works[work] >= least)
        if fewer.sum() == keep.sum():
            break
        keep = fewer
    return keep


def log_of(
    person: NDArray[np.int64], work: NDArray[np.int64], at: NDArray[np.float64]
) -> tuple[Log, NDArray[np.int64], NDArray[np.int64]]:
    """A log of rows in any order under any ids, and the ids of its people and works by their new numbers."""
    people, dense_person = np.unique(person, return_inverse=True)
    works, dense_work = np.unique(work, return_inverse=True)
    order = np.argsort(at, kind="stable")
    log = Log(dense_person[order], dense_work[order], at[order].astype(np.float64), len(people), len(works))
    return log, people, works


def cut_at(log: Log, cut: float, end: float = np.inf, *, least_known: int = AT_LEAST_KNOWN) -> Split:
    """Cut at a moment; held out is what people of at least `least_known` known works did from then to before `end`."""
    before = log.at < cut
    known = np.bincount(log.person[before], minlength=log.people)
    after = ~before & (log.at < end) & (known[log.person] >= least_known)
    return Split(cut, log.where(before), log.where(after))


def folds_before(log: Log, cut: float, *, count: int, share: float = 0.2) -> list[Split]:
    """Earlier splits of the same kind, all their rows before `cut`: the last one holds out the last `share` of them.

    What is chosen by them (weights, half-lives) has seen nothing of what comes after the cut.
    """
    known = log.where(log.at < cut)
    if not len(known):
        return []
    last = float(np.quantile(known.at, 1 - share))
    width = cut - last
    return [cut_at(known, cut - (n + 1) * width, cut - n * width) for n in reversed(range(count))]
