"""What a sender is told: its limits, when a block is final, and what each kind of intent adds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from sqlalchemy.orm import Session

from backend.models.sender import OutboxIntent
from backend.node import Node
from backend.sender.states import Event

GWEI = 10**9


@dataclass(frozen=True, slots=True)
class Policy:
    """The sender's limits."""

    fee_cap: int = 500 * GWEI
    """Wei for a unit of gas that is never exceeded, by replacements neither."""
    daily_cap: int = 10**18
    """Wei of gas that one account may spend in a UTC day, counted at the worst until it is mined."""
    stuck_blocks: int = 5
    stuck_s: int = 90
    """A transaction is replaced after this many blocks or seconds, whichever comes first, since a node took it."""
    max_in_flight: int = 16
    max_attempts: int = 5
    """Unexpected failures after which an intent is parked."""
    gas_margin_bps: int = 2_000
    """What is added to an estimate of gas."""


@dataclass(frozen=True, slots=True)
class Finality:
    """When a block counts as final: the node's `finalized` tag, or `depth` blocks below the head.

    With `reopen` (the development chain) even a final transaction is sent again when the chain has lost it.
    """

    mode: str = "tag"
    depth: int = 0
    reopen: bool = False


class Answer(Enum):
    """What a kind's check says of an intent that is about to be signed."""

    GO = "go"
    DONE = "done"
    """The chain shows the effect already."""
    WAIT = "wait"
    """Not yet: look again at the next sweep; others go first."""
    REFUSE = "refuse"
    """It can't have its effect any more."""
    HALT = "halt"
    """The chain contradicts us: stop the account and call the operator."""


class Verdict(NamedTuple):
    """An answer, with a code and words for people."""

    answer: Answer
    code: str = ""
    detail: str = ""


def _go(session: Session, intent: OutboxIntent, node: Node) -> Verdict:
    return Verdict(Answer.GO)


def _nothing(session: Session, intent: OutboxIntent) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kind of intent adds: a look at the chain before signing, a step after its end (which may run again)."""

    check: Callable[[Session, OutboxIntent, Node], Verdict] = _go
    finish: Callable[[Session, OutboxIntent], None] = _nothing


@dataclass(slots=True)
class Sweep:
    """What one sweep did."""

    busy: bool = False
    """Another process is sweeping this account."""
    unreachable: str | None = None
    halted: str | None = None
    events: list[tuple[int, Event]] = field(default_factory=list)
    """(intent, event) in order."""
