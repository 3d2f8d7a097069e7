"""What the sections of the personalization benchmark share: how a figure is printed, and how a time is taken."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

BENCH: Final = "personalization"
DIGITS: Final = 4


@dataclass(frozen=True)
class Sizes:
    """How much is measured; the defaults are what the limits are of."""

    works: int = 5_000
    large: int = 100_000
    rounds: int = 500
    """Of each thing that is timed; slow things are timed less often."""
    slates: int = 1_000_000
    """Random ones, judged for violations."""


@dataclass
class Report:
    """Prints figures as they are measured and remembers which one missed its limit."""

    missed: list[str] = field(default_factory=list)

    def figure(
        self,
        metric: str,
        value: float,
        unit: str,
        *,
        beside: str | None = None,
        ratio: float | None = None,
        noise: float | None = None,
        at_most: float | None = None,
        at_least: float | None = None,
    ) -> None:
        """One figure as a line of JSON.

        `beside` is what `ratio` is against; `noise`, in the unit of the value, is half of the span between the
        quartiles of its rounds, or a standard error. A limit that is missed ends the run with 1.
        """
        line: dict[str, Any] = {"bench": BENCH, "metric": metric, "value": round(value, DIGITS), "unit": unit}
        line |= {"reference": beside, "ratio": None if ratio is None else round(ratio, 3)}
        line |= {} if noise is None else {"noise": round(noise, DIGITS)}
        line |= {} if at_most is None else {"at_most": at_most}
        line |= {} if at_least is None else {"at_least": at_least}
        print(json.dumps(line), flush=True)
        if (at_most is not None and not value <= at_most) or (at_least is not None and not value >= at_least):
            bound = f"at most {at_most:g}" if at_most is not None else f"at least {at_least:g}"
            self.missed.append(f"{metric}: {value:.4g} {unit}, {bound}")


Section = Callable[[Report, Sizes], None]


@dataclass(frozen=True)
class Times:
    """Milliseconds of many rounds of one thing."""

    p50: float
    p99: float
    noise: float
    """Half of the span between the quartiles."""


def timed(call: Callable[[], object], rounds: int) -> Times:
    """Wall-clock time of each of `rounds` calls, after one that is not counted."""
    call()
    taken = np.empty(rounds)
    for n in range(rounds):
        started = time.perf_counter()
        call()
        taken[n] = time.perf_counter() - started
    taken *= 1e3
    low, median, high, slow = np.quantile(taken, [0.25, 0.5, 0.75, 0.99])
    return Times(float(median), float(slow), float(high - low) / 2)


@contextmanager
def processor_seconds() -> Iterator[Callable[[], float]]:
    """The time that this process spent on processors inside the block, of all its threads."""
    started, spent = time.process_time(), [0.0]
    yield lambda: spent[0]
    spent[0] = time.process_time() - started


def chosen(only: list[str] | None, known: Mapping[str, Section]) -> dict[str, Section]:
    """The sections that were asked for, in the order of the table; all when none was named."""
    return {name: section for name, section in known.items() if not only or name in only}
