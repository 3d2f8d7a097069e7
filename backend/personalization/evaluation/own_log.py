"""Policies judged by the platform's own impressions: what would be, had each place been filled by another rule.

One row a place that was drawn with a probability below 1 (or could hold one work alone), with what came of it: reward 1
where the person opened the work, saw half of it or more, and did not complain. Each policy is judged place by place,
given the places that were filled before: the weight of a row is the probability with which the policy would have put
the same work there, over the one with which it came there.

    served    as it is, exploration and all: weight 1, its mean is its worth
    greedy    the served score without exploration
    uniform   any of the works that could stand there, alike
    popular   the most popular of them

What could stand at an explored place is among the person's DEPTH best by the served score: `uniform` and `popular` are
within those, and say nothing of the whole catalogue.

No row leaves the database: it sums weights and rewards over BUCKETS of people, who are in one by a hash that is new
each time. Intervals come from drawing buckets anew (bootstrap), so that the places of one person count as one story.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from sqlalchemy.orm import Session

from backend.consent import reads
from backend.consent.gate import read
from backend.personalization.evaluation.metrics import Difference
from backend.personalization.ranking.slate import DEPTH

POLICIES: Final = ("served", "greedy", "uniform", "popular")
BASELINE: Final = "popular"
PEOPLE_A_BUCKET: Final = 5
"""At least, on average: no bucket is one person."""
BUCKETS_AT_LEAST: Final = 20
BUCKETS_AT_MOST: Final = 400
EFFECTIVE_AT_LEAST: Final = 50.0
"""Of a policy that so few rounds tell of nothing is said."""
BOOTSTRAPS: Final = 2_000
SEED: Final = 20_261_122
WINDOW: Final = timedelta(hours=3)
NOTE: Final = (
    "Reward: opened, seen to the half or further, and no complaint, within three hours. Place by place, given the"
    f" places before it. 'uniform' and 'popular' choose within the {DEPTH} works that score best for the person, from"
    " which places are drawn; they say nothing of the whole catalogue."
)
"""What stands below the table."""

Floats = NDArray[np.float64]


class TooLittle(ValueError):
    """The log is too short to judge anything by; the text says what there is and what it takes."""


@dataclass(frozen=True)
class Buckets:
    """Sums over the places of each bucket of people: rounds n, rewards r, and for each policy w, w r and w^2."""

    rounds: Floats
    rewards: Floats
    weight: dict[str, Floats]
    weighted: dict[str, Floats]
    squared: dict[str, Floats]

    def drawn(self, times: Floats) -> Buckets:
        """Each bucket so many times."""
        return Buckets(
            self.rounds * times,
            self.rewards * times,
            *(
                {name: sums * times for name, sums in part.items()}
                for part in (self.weight, self.weighted, self.squared)
            ),
        )

    def ips(self, policy: str) -> float:
        """Inverse propensity score."""
        return float(self.weighted[policy].sum() / self.rounds.sum())

    def snips(self, policy: str) -> float:
        """Self-normalised; 0 when the policy would have shown nothing of the log."""
        weight = float(self.weight[policy].sum())
        return float(self.weighted[policy].sum()) / weight if weight else 0.0

    def effective(self, policy: str) -> float:
        """Kish's effective sample size."""
        squares = float(self.squared[policy].sum())
        return float(self.weight[policy].sum()) ** 2 / squares if squares else 0.0


@dataclass(frozen=True)
class Judged:
    """A policy's worth: satisfied works a place."""

    policy: str
    effective: float
    ips: float
    ips_error: float
    snips: float
    snips_error: float
    low: float
    high: float
    """The 95 % interval of SNIPS."""
    against: Difference
    """SNIPS less that of the baseline, in the same draws."""

    @property
    def told(self) -> bool:
        """Whether there are rounds enough to say anything of it."""
        return self.effective >= EFFECTIVE_AT_LEAST


@dataclass(frozen=True)
class OwnLog:
    """The log, and each policy by it."""

    since: datetime
    until: datetime
    people: int
    rounds: int
    explored: int
    """Places that were drawn by chance."""
    policies: Sequence[Judged]


def judge(session: Session, *, now: datetime, days: int = 28, seed: int = SEED) -> OwnLog:
    """Judge POLICIES on the impressions of the last `days` whose time is over. Raises TooLittle."""
    until = now - WINDOW
    since = until - timedelta(days=days)
    window: dict[str, Any] = {"since": since, "until": until}
    ((people, rounds, explored),) = read(session, reads.OWN_LOG_SIZE, now=now, **window)
    needed = PEOPLE_A_BUCKET * BUCKETS_AT_LEAST
    if people < needed:
        who = "person" if people == 1 else "people"
        raise TooLittle(
            f"{people:,} {who} with {rounds:,} places drawn by chance in the last {days} days are too little to judge a"
            f" policy by: it takes {needed} people. Slates are kept, and explored with, of people who allow `behaviour`"
            " and `content_taste`."
        )
    buckets = min(people // PEOPLE_A_BUCKET, BUCKETS_AT_MOST)
    rows = read(session, reads.OWN_LOG, now=now, buckets=buckets, salt=os.urandom(8).hex(), **window)
    return OwnLog(since, until, people, rounds, explored, estimates(buckets_of(rows), np.random.default_rng(seed)))


def buckets_of(rows: Sequence[Any]) -> Buckets:
    """The sums of the rows of OWN_LOG."""

    def column(name: str) -> Floats:
        return np.array([float(getattr(row, name)) for row in rows])

    return Buckets(
        column("rounds"),
        column("rewards"),
        *({policy: column(f"{policy}_{which}") for policy in POLICIES} for which in ("w", "wr", "ww")),
    )


def estimates(sums: Buckets, rng: np.random.Generator, *, draws: int = BOOTSTRAPS) -> list[Judged]:
    """Each policy with its errors and its difference to the baseline, from the same draws of buckets. Pure."""
    count = len(sums.rounds)
    times = rng.multinomial(count, np.full(count, 1 / count), size=draws).astype(np.float64)
    rounds = np.maximum(times @ sums.rounds, 1.0)
    ips, snips = {}, {}
    for policy in POLICIES:
        weighted, weight = times @ sums.weighted[policy], times @ sums.weight[policy]
        ips[policy] = weighted / rounds
        snips[policy] = np.divide(weighted, weight, out=np.zeros(draws), where=weight > 0)
    found = []
    for policy in POLICIES:
        low, high = np.quantile(snips[policy], [0.025, 0.975])
        least, most = np.quantile(snips[policy] - snips[BASELINE], [0.025, 0.975])
        found.append(
            Judged(
                policy=policy,
                effective=sums.effective(policy),
                ips=sums.ips(policy),
                ips_error=float(ips[policy].std(ddof=1)),
                snips=sums.snips(policy),
                snips_error=float(snips[policy].std(ddof=1)),
                low=float(low),
                high=float(high),
                against=Difference(sums.snips(policy) - sums.snips(BASELINE), float(least), float(most)),
            )
        )
    return found


def verdict(judged: Judged, baseline: Judged) -> str:
    """A difference in words; within noise it is not called one, and of few rounds nothing is said."""
    if judged.policy == baseline.policy:
        return ""
    for each in (judged, baseline):
        if not each.told:
            few = f"{each.effective:,.0f}; it takes {EFFECTIVE_AT_LEAST:.0f}"
            return f"too few rounds like those of {each.policy!r} ({few})"
    against = judged.against
    if not against.beyond_noise:
        return f"within noise ({against.low:+.4f} to {against.high:+.4f})"
    return f"{against.value:+.4f} ({against.low:+.4f} to {against.high:+.4f})"


def tables(found: OwnLog) -> list[Table]:
    """All policies with their errors. Each table fits 80 columns."""
    shown = Table(
        title=f"own log, {found.since:%Y-%m-%d} to {found.until:%Y-%m-%d}: {found.people:,} people, {found.rounds:,}"
        f" places, {found.explored:,} drawn by chance",
        title_justify="left",
    )
    against = Table(title=f"SNIPS against {BASELINE!r}, 95 %", title_justify="left")
    for grid, headings in (
        (shown, ("effective rounds", "IPS ± SE", "SNIPS ± SE")),
        (against, ("SNIPS, 95 %", "difference")),
    ):
        grid.add_column("policy")
        for heading in headings:
            grid.add_column(heading, justify="right")
    baseline = next(each for each in found.policies if each.policy == BASELINE)
    for each in found.policies:
        shown.add_row(
            each.policy,
            f"{each.effective:,.0f}",
            f"{each.ips:.4f} ± {each.ips_error:.4f}",
            f"{each.snips:.4f} ± {each.snips_error:.4f}",
        )
        against.add_row(each.policy, f"{each.low:.4f} to {each.high:.4f}", verdict(each, baseline))
    return [shown, against]


def as_json(found: OwnLog) -> dict[str, Any]:
    """The same for programs."""
    baseline = next(each for each in found.policies if each.policy == BASELINE)
    return {
        "since": found.since.isoformat(),
        "until": found.until.isoformat(),
        "people": found.people,
        "rounds": found.rounds,
        "explored": found.explored,
        "policies": [asdict(each) | {"verdict": verdict(each, baseline)} for each in found.policies],
    }
