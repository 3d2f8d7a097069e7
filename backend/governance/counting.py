"""How a proposal stands: OpenZeppelin's Governor, recounted from what the mirror has of it. Pure.

Sources: Governor.sol `state`, GovernorVotesQuorumFraction.sol `quorum`, GovernorPreventLateQuorum.sol
`proposalDeadline`, tag v5.7.0. Votes are summed in the view `tally` (indexer/governance_views.py). Times are seconds of
the chain's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["pending", "active", "canceled", "defeated", "succeeded", "queued", "executed"]
QUORUM_DENOMINATOR = 100


@dataclass(frozen=True)
class Tally:
    """Votes in base units of the token."""

    against: int = 0
    for_: int = 0
    abstain: int = 0

    @property
    def towards_quorum(self) -> int:
        return self.for_ + self.abstain

    @property
    def total(self) -> int:
        return self.against + self.for_ + self.abstain


def quorum(supply_at_snapshot: int, numerator_at_snapshot: int) -> int:
    """Votes for and abstaining that a decision needs."""
    return supply_at_snapshot * numerator_at_snapshot // QUORUM_DENOMINATOR


@dataclass(frozen=True)
class Course:
    """What has happened to a proposal."""

    snapshot: int
    deadline: int
    """With its extension, if a late quorum made one."""
    queued: bool = False
    executed: bool = False
    canceled: bool = False


def state(course: Course, votes: Tally, needed: int, now: int) -> State:
    """The Governor's `state` at the chain's time `now`."""
    if course.executed:
        return "executed"
    if course.canceled:
        return "canceled"
    if course.snapshot >= now:
        return "pending"
    if course.deadline >= now:
        return "active"
    if votes.towards_quorum < needed or votes.for_ <= votes.against:
        return "defeated"
    return "queued" if course.queued else "succeeded"
