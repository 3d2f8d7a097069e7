"""Experiments in what is served: who is in which arm, what an arm changes, and what came of it.

They stand in one file, so that a change of them is reviewed like a change of code; every process reads it when it
starts. Who is in which arm follows from a key of the installation, the experiment's name and the pseudonym; nothing is
kept of it but the arms in the impressions of who allows `behaviour`, and nobody else is in any.
"""

from __future__ import annotations

import re
import tomllib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from sqlalchemy.orm import Session

from backend.consent import reads
from backend.consent.gate import read
from backend.personalization.configuration import BUILT_IN, BadConfiguration, Configuration, changed
from backend.personalization.evaluation import experiment
from backend.personalization.evaluation.experiment import RATIO_ALARM, Sums, Verdict
from backend.personalization.ranking.scoring import TERMS
from backend.vault.vault import Vault

METRICS: Final = ("satisfied", "early_skips", "complaints", "days")
BEFORE: Final = timedelta(days=28)
NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


class BadExperiments(ValueError):
    """The file of experiments cannot be used; the text says where, and what is expected."""


@dataclass(frozen=True)
class Arm(experiment.Arm):
    """An arm, and what is other for its people."""

    personal: bool = True
    """False: nothing is chosen for them."""
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Part of the configuration -> number -> value."""


@dataclass(frozen=True)
class Experiment:
    """One experiment as declared; the first metric of `worth` is the one that it is for."""

    name: str
    says: str
    arms: Sequence[Arm]
    control: str
    worth: Mapping[str, float]
    since: datetime | None = None
    until: datetime | None = None

    def runs(self, now: datetime) -> bool:
        """Whether people are in its arms now."""
        return (self.since is None or self.since <= now) and (self.until is None or now < self.until)


# --- the file ---------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def load(file: Path | None) -> tuple[Experiment, ...]:
    """The experiments of a file, by name; none without a file. Raises BadExperiments."""
    if file is None:
        return ()
    try:
        return parse(file.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise BadExperiments(f"{file} cannot be read: {error}") from None
    except BadExperiments as error:
        raise BadExperiments(f"{file}: {error}") from None


def parse(text: str) -> tuple[Experiment, ...]:
    """The experiments of a text, by name. Raises BadExperiments."""
    try:
        declared = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadExperiments(f"it is no TOML: {error}") from None
    found = tuple(_experiment(name, declared[name]) for name in sorted(declared))
    touched: dict[str, str] = {}
    for each in found:
        for number in {f"{part}.{n}" for arm in each.arms for part, values in arm.changes.items() for n in values}:
            if touched.setdefault(number, each.name) != each.name:
                raise BadExperiments(f"{touched[number]} and {each.name} both change {number}: one of them at a time")
    return found


def _experiment(name: str, table: Any) -> Experiment:
    if not NAME.fullmatch(name) or not isinstance(table, dict):
        raise BadExperiments(f"[{name}] must be a table, named by small letters, digits and hyphens, 40 at most")
    _known(name, table, {"says", "control", "worth", "arms", "since", "until"})
    arms = table.get("arms")
    if not isinstance(arms, list) or len(arms) < 2:
        raise BadExperiments(f"{name} must have two arms or more: [[{name}.arms]]")
    made = [_arm(name, arm) for arm in arms]
    if len({arm.name for arm in made}) < len(made):
        raise BadExperiments(f"{name} has two arms of one name")
    if sum(arm.share for arm in made) != 1:
        raise BadExperiments(f"the shares of {name} sum to {sum(arm.share for arm in made)}, and must sum to 1")
    control, worth = table.get("control"), table.get("worth")
    if control not in {arm.name for arm in made}:
        raise BadExperiments(f"{name}.control must name one of its arms")
    if not isinstance(worth, dict) or not worth or not worth.keys() <= set(METRICS):
        raise BadExperiments(f"[{name}.worth] must have one of {', '.join(METRICS)} or more")
    for metric, value in worth.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise BadExperiments(f"{name}.worth.{metric} must be above 0: the difference that would be worth finding")
    since, until = table.get("since"), table.get("until")
    for when, value in (("since", since), ("until", until)):
        if value is not None and not (isinstance(value, datetime) and value.tzinfo is not None):
            raise BadExperiments(f"{name}.{when} must be a time with an offset, such as 2026-12-01T00:00:00Z")
    if since and until and until <= since:
        raise BadExperiments(f"{name} ends before it begins")
    says = table.get("says")
    if not isinstance(says, str) or not says:
        raise BadExperiments(f"{name}.says must say what is tried")
    return Experiment(name, says, tuple(made), str(control), {m: float(v) for m, v in worth.items()}, since, until)


def _arm(name: str, table: Any) -> Arm:
    if not isinstance(table, dict) or not isinstance(arm := table.get("name"), str) or not NAME.fullmatch(arm):
        raise BadExperiments(f"each arm of {name} must have a name: small letters, digits and hyphens, 40 at most")
    where = f"{name}.{arm}"
    _known(where, table, {"name", "share", "personal", "policy", "weights"})
    try:
        share = Fraction(table.get("share", ""))
    except (ValueError, TypeError, ZeroDivisionError):
        raise BadExperiments(f'the share of {where} must be a fraction as text, such as "1/20"') from None
    if not 0 < share <= 1:
        raise BadExperiments(f"the share of {where} must be above 0 and at most 1")
    personal = table.get("personal", True)
    if not isinstance(personal, bool):
        raise BadExperiments(f"{where}.personal must be true or false")
    changes = {part: table[part] for part in ("policy", "weights") if part in table}
    try:
        if lasting := [n for n in changes.get("weights", {}) if n not in TERMS]:
            raise BadExperiments(
                f"{where}: the weight {lasting[0]} is the same for all; an arm may change {', '.join(TERMS)}"
            )
        changed(BUILT_IN, changes)
    except BadExperiments:
        raise
    except (BadConfiguration, AttributeError, TypeError) as error:
        raise BadExperiments(f"{where}: {error}") from None
    return Arm(arm, share, personal, changes)


def _known(where: str, table: Mapping[str, Any], names: Iterable[str]) -> None:
    if stray := sorted(table.keys() - set(names)):
        raise BadExperiments(f"{where} has {stray[0]!r}, which is nothing of an experiment's")


# --- in serving -------------------------------------------------------------------------------------------------------


def key(vault: Vault) -> bytes:
    """The key that draws arms: the installation's own, and the same after the master key is rotated."""
    return vault.blind("experiments", b"arms")


@dataclass(frozen=True)
class Assigned:
    """A person's arms."""

    arms: Mapping[str, Arm]
    """Experiment -> arm."""

    @property
    def names(self) -> dict[str, str]:
        return {name: arm.name for name, arm in self.arms.items()}

    @property
    def personal(self) -> bool:
        """False where one of the arms is without anything chosen."""
        return all(arm.personal for arm in self.arms.values())

    def configuration(self, served: Configuration) -> Configuration:
        """The one in force with what the arms change; it stays where governance's numbers leave no room for that."""
        for arm in self.arms.values():
            if arm.changes:
                try:
                    served = changed(served, arm.changes)
                except BadConfiguration:
                    continue
        return served


NOBODYS: Final = Assigned({})
HELD_OUT: Final = (
    "You are among the people for whom nothing is chosen, drawn by lot, so that we learn what choosing is worth."
)
"""Why the feed of somebody in an arm without personalization is not personal."""


def assigned(running: Sequence[Experiment], secret: bytes, person: uuid.UUID, *, now: datetime) -> Assigned:
    """The arms of a person in the experiments that run now."""
    arms: dict[str, Arm] = {}
    for each in running:
        if each.runs(now):
            drawn = experiment.assign(secret, each.name, person.bytes, each.arms)
            arms[each.name] = next(arm for arm in each.arms if arm.name == drawn)
    return Assigned(arms)


# --- what came of it --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ArmResult:
    """One arm's people and, for each metric of METRICS, their sums; no sums where there are too few people."""

    name: str
    share: Fraction
    people: int
    slates: int
    sums: Mapping[str, Sums]


@dataclass(frozen=True)
class Comparison:
    """One arm against the control by one metric."""

    arm: str
    metric: str
    verdict: Verdict


@dataclass(frozen=True)
class Result:
    """An experiment as it stands: whether its split is sound comes before all else."""

    experiment: Experiment
    arms: Sequence[ArmResult]
    ratio_p: float
    """The probability of a split as uneven as this one, if people were drawn as planned."""
    comparisons: Sequence[Comparison]

    @property
    def sound(self) -> bool:
        return self.ratio_p >= RATIO_ALARM


def results(session: Session, declared: Sequence[Experiment], *, now: datetime) -> list[Result]:
    """What came of each experiment up to now, from sums over the people of each arm."""
    return [result(each, read(session, reads.EXPERIMENT_SUMS, now=now, **_window(each, now))) for each in declared]


def _window(each: Experiment, now: datetime) -> dict[str, Any]:
    since = each.since or datetime.fromisoformat("2000-01-01T00:00:00+00:00")
    return {
        "experiment": each.name,
        "since": since,
        "until": min(each.until or now, now),
        "before": since - BEFORE if each.since else since,
        "least": reads.LEAST_PEOPLE,
    }


def result(each: Experiment, rows: Sequence[Any]) -> Result:
    """The verdicts from the sums of each arm. Pure."""
    by_arm = {row.arm: row for row in rows}
    arms = []
    for arm in each.arms:
        row = by_arm.get(arm.name)
        sums = {}
        if row is not None and row.people >= reads.LEAST_PEOPLE:
            for metric in METRICS:
                y, yy, xy = (getattr(row, f"{metric}_{which}") for which in ("y", "yy", "xy"))
                sums[metric] = Sums(row.people, y, yy, row.x, row.xx, xy)
        people, slates = (row.people, row.slates) if row is not None else (0, 0)
        arms.append(ArmResult(arm.name, arm.share, people, slates, sums))
    ratio_p = experiment.ratio_check({arm.name: arm.people for arm in arms}, each.arms)
    control = next(arm for arm in arms if arm.name == each.control)
    comparisons = [
        Comparison(
            arm.name,
            metric,
            experiment.judge_sums(
                arm.sums[metric], control.sums[metric], sound=ratio_p >= RATIO_ALARM, tau=each.worth[metric]
            ),
        )
        for arm in arms
        for metric in each.worth
        if arm is not control and arm.sums and control.sums
    ]
    return Result(each, arms, ratio_p, comparisons)
