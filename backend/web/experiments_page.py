"""What the page on experiments shows, made from what came of them day by day: sentences, rows, one chart each. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from backend.consent.reads import LEAST_PEOPLE
from backend.personalization.evaluation.experiment import Verdict
from backend.personalization.evaluation.experiments import Experiment, Result

LOOKS: Final = 28
"""So many days are looked back on."""
WORDS: Final = {
    "satisfied": ("satisfied", "works watched to the half or further and not complained of, per slate"),
    "early_skips": ("early skips", "works left within five seconds, per slate"),
    "complaints": ("complaints", "complaints per slate"),
    "days": ("days", "days with a slate, per person"),
}


def looks(each: Experiment, now: datetime) -> list[datetime]:
    """The ends of the days on which an experiment is looked at, the last one now or when it ended; at most LOOKS."""
    last = min(each.until or now, now)
    first = max(each.since or last - timedelta(days=LOOKS - 1), last - timedelta(days=LOOKS - 1))
    days = max((last - first).days, 0) if first <= last else -1
    return [last - timedelta(days=n) for n in range(days, -1, -1)]


@dataclass(frozen=True)
class ArmRow:
    """One arm: how many people it was planned for and has."""

    name: str
    control: bool
    planned: str
    seen: str
    people: str
    slates: str
    means: list[str]
    """A mean with its error for each metric of the experiment; empty text for too few people."""


@dataclass(frozen=True)
class Row:
    """One comparison: an arm against the control by one metric."""

    arm: str
    metric: str
    explained: str
    difference: str
    interval: str
    worth: str
    p: str
    says: str
    tells: bool


@dataclass(frozen=True)
class Day:
    """A day of the chart's table view."""

    day: str
    difference: str
    interval: str
    p: str


@dataclass(frozen=True)
class Chart:
    """The effect on the first metric over time, for one arm."""

    title: str
    data: str
    """What the drawing script needs, as JSON."""
    days: list[Day]


@dataclass(frozen=True)
class Shown:
    """One experiment."""

    name: str
    says: str
    span: str
    headline: str
    sound: bool
    anybody: bool
    ratio: str
    metrics: list[str]
    arms: list[ArmRow]
    rows: list[Row]
    charts: list[Chart]


def shown(history: Sequence[tuple[datetime, Result]], *, now: datetime) -> Shown:
    """An experiment from its looks, oldest first; the last one is what stands. At least one look."""
    _, result = history[-1]
    each = result.experiment
    people = sum(arm.people for arm in result.arms)
    rows = _rows(history)
    return Shown(
        name=each.name,
        says=each.says,
        span=_span(each, now),
        headline=_headline(result, rows, people),
        sound=result.sound,
        anybody=people > 0,
        ratio=_ratio(result, people),
        metrics=[WORDS[metric][0] for metric in each.worth],
        arms=_arms(result, people),
        rows=rows,
        charts=_charts(history) if result.sound else [],
    )


def _span(each: Experiment, now: datetime) -> str:
    since = f"since {each.since:%Y-%m-%d}" if each.since else "always"
    if each.since and now < each.since:
        return f"begins {each.since:%Y-%m-%d}"
    if each.until and each.until <= now:
        return f"{since}, ended {each.until:%Y-%m-%d}"
    return f"runs {since}" + (f" until {each.until:%Y-%m-%d}" if each.until else "")


def _headline(result: Result, rows: Sequence[Row], people: int) -> str:
    if not people:
        return "Nobody is in it yet."
    if not result.sound:
        return "The split is broken: no other figure here means anything."
    if not rows:
        return f"Too few people yet: an arm is shown from {LEAST_PEOPLE} people on."
    first = rows[0]
    if first.tells:
        return f"{first.arm}: {first.difference} {first.metric} against {result.experiment.control}, beyond chance."
    return f"No difference in {first.metric} can be told from chance yet."


def _ratio(result: Result, people: int) -> str:
    if not people:
        return "There is nobody to count yet."
    if result.sound:
        return f"The arms have the sizes that were planned (chance of a split as uneven: {_p(result.ratio_p)})."
    return (
        f"The arms do not have the sizes that were planned: chance alone would do this {_p(result.ratio_p)} of the"
        " time. Find out who is lost or counted twice before you read on."
    )


def _arms(result: Result, people: int) -> list[ArmRow]:
    return [
        ArmRow(
            name=arm.name,
            control=arm.name == result.experiment.control,
            planned=f"{float(arm.share):.1%}",
            seen=f"{arm.people / people:.1%}" if people else "–",
            people=f"{arm.people:,}",
            slates=f"{arm.slates:,}",
            means=[
                f"{_number(arm.sums[metric].mean)} ± {_number(arm.sums[metric].error)}" if arm.sums else ""
                for metric in result.experiment.worth
            ],
        )
        for arm in result.arms
    ]


def _rows(history: Sequence[tuple[datetime, Result]]) -> list[Row]:
    _, result = history[-1]
    rows = []
    for one in result.comparisons:
        lowest = min(verdict.p for _, verdict in _series(history, one.arm, one.metric))
        tells = result.sound and lowest < 0.05
        name, explained = WORDS[one.metric]
        rows.append(
            Row(
                arm=one.arm,
                metric=name,
                explained=explained,
                difference=_signed(one.verdict.difference),
                interval=_interval(one.verdict),
                worth=f"±{_number(result.experiment.worth[one.metric])}",
                p=_p(lowest),
                says=_says(one.verdict, sound=result.sound, tells=tells),
                tells=tells,
            )
        )
    return rows


def _says(verdict: Verdict, *, sound: bool, tells: bool) -> str:
    if not sound:
        return "nothing: the split is broken"
    if tells:
        return "more than in the control" if verdict.difference > 0 else "fewer than in the control"
    return "can’t be told from chance yet"


def _series(history: Sequence[tuple[datetime, Result]], arm: str, metric: str) -> list[tuple[datetime, Verdict]]:
    return [
        (at, one.verdict)
        for at, result in history
        for one in result.comparisons
        if (one.arm, one.metric) == (arm, metric)
    ]


def _charts(history: Sequence[tuple[datetime, Result]]) -> list[Chart]:
    _, result = history[-1]
    metric = next(iter(result.experiment.worth))
    charts = []
    for arm in result.arms:
        series = [(at, v) for at, v in _series(history, arm.name, metric) if math.isfinite(v.low + v.high)]
        if series:
            charts.append(_chart(arm.name, metric, result.experiment, series))
    return charts


def _chart(arm: str, metric: str, each: Experiment, series: Sequence[tuple[datetime, Verdict]]) -> Chart:
    data: dict[str, Any] = {
        "times": [int(at.timestamp()) for at, _ in series],
        "difference": [verdict.difference for _, verdict in series],
        "low": [verdict.low for _, verdict in series],
        "high": [verdict.high for _, verdict in series],
        "worth": each.worth[metric],
        "name": f"{arm} against {each.control}",
    }
    lowest = 1.0
    days = []
    for at, verdict in series:
        lowest = min(lowest, verdict.p)
        day = at.astimezone(UTC).date().isoformat()
        days.append(Day(day, _signed(verdict.difference), _interval(verdict), _p(lowest)))
    return Chart(f"{WORDS[metric][0]}: {arm} against {each.control}", json.dumps(data), days[::-1])


def _number(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 1 else f"{value:.2f}"


def _signed(value: float) -> str:
    return f"{'+' if value >= 0 else '−'}{_number(abs(value))}"


def _interval(verdict: Verdict) -> str:
    if not math.isfinite(verdict.low + verdict.high):
        return "none yet"
    return f"{_signed(verdict.low)} to {_signed(verdict.high)}"


def _p(value: float) -> str:
    return "less than 0.0001" if value < 0.0001 else f"{value:.4f}" if value < 0.1 else f"{value:.2f}"
