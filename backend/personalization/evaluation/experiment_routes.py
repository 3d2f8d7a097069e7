"""What came of the experiments that run, for operators."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from fastapi import APIRouter
from pydantic import Field

from backend.consent.reads import LEAST_PEOPLE
from backend.deps import CurrentOperator, DbSession, Now, SettingsDep
from backend.personalization.evaluation import experiments
from backend.schemas import Schema

router = APIRouter(prefix="/v1", tags=["feed"])

Metric = Literal["satisfied", "early_skips", "complaints", "days"]


class Mean(Schema):
    """A mean over an arm's people."""

    metric: Metric
    mean: float
    error: float = Field(description="Its standard error.")


class ArmOut(Schema):
    """One arm."""

    name: str
    share: float = Field(description="The part of the people that it was planned for.")
    people: int
    slates: int
    means: list[Mean] = Field(description=f"Empty for fewer than {LEAST_PEOPLE} people.")


class ComparisonOut(Schema):
    """An arm against the control by one metric, with what was foreseeable from before taken out (CUPED)."""

    arm: str
    metric: Metric
    difference: float
    low: float | None = Field(description="The 95 % interval holds at all looks at once; null: there is none yet.")
    high: float | None
    p: float = Field(description="May be looked at whenever one likes.")
    worth: float = Field(description="The difference that would be worth finding.")
    tells: bool = Field(description="Whether the two may be called different.")


class ExperimentOut(Schema):
    """An experiment as it stands."""

    name: str
    says: str
    since: datetime | None
    until: datetime | None
    runs: bool
    control: str
    ratio_p: float = Field(description="The probability of a split as uneven as this one, if all is as planned.")
    sound: bool = Field(description="False: the split is broken, and nothing else here means anything.")
    arms: list[ArmOut]
    comparisons: list[ComparisonOut]


class ExperimentsOut(Schema):
    """All experiments of this installation."""

    items: list[ExperimentOut]


def shown(found: experiments.Result, *, now: datetime) -> ExperimentOut:
    """A result as it leaves."""
    each = found.experiment
    return ExperimentOut(
        name=each.name,
        says=each.says,
        since=each.since,
        until=each.until,
        runs=each.runs(now),
        control=each.control,
        ratio_p=found.ratio_p,
        sound=found.sound,
        arms=[
            ArmOut(
                name=arm.name,
                share=float(arm.share),
                people=arm.people,
                slates=arm.slates,
                means=[Mean(metric=m, mean=s.mean, error=s.error) for m, s in arm.sums.items()],  # type: ignore[arg-type]
            )
            for arm in found.arms
        ],
        comparisons=[
            ComparisonOut(
                arm=one.arm,
                metric=one.metric,  # type: ignore[arg-type]
                difference=one.verdict.difference,
                low=one.verdict.low if abs(one.verdict.low) < float("inf") else None,
                high=one.verdict.high if abs(one.verdict.high) < float("inf") else None,
                p=one.verdict.p,
                worth=each.worth[one.metric],
                tells=one.verdict.tells,
            )
            for one in found.comparisons
        ],
    )


@router.get("/experiments")
def list_experiments(session: DbSession, settings: SettingsDep, now: Now, _me: CurrentOperator) -> ExperimentsOut:
    """What came of each experiment up to now, from sums over people; for operators.

    Look at `sound` first: where the arms' sizes are not what was planned, no other figure means anything.
    """
    declared = experiments.load(settings.experiments_file)
    return ExperimentsOut(items=[shown(each, now=now) for each in experiments.results(session, declared, now=now)])
