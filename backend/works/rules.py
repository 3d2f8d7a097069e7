"""Which derivations the registry accepts: WorkRegistry's rules in Python, with every reason instead of the first.

Pure. A registration that the chain would refuse is refused here already, before anyone pays gas, and in words. The
order of edges and every bound are the contract's; a test registers random families on a real chain and compares.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

MAX_PARENTS: Final = 8
MAX_EDGES: Final = 16
MAX_UPSTREAM_BPS: Final = 8_000
BPS: Final = 10_000


class Kind(IntEnum):
    """What a work is; the chain stores the number and gives it no meaning."""

    OTHER = 0
    STORY = 1
    SONG = 2
    VIDEO = 3
    GAME = 4
    CHARACTER = 5
    EVENT = 6
    WORLD = 7
    IMAGE = 8


class AiLabel(IntEnum):
    """How much of a work a model made, as its owner declares it (row P5)."""

    UNSPECIFIED = 0
    HUMAN = 1
    AI_ASSISTED = 2
    AI_GENERATED = 3


class Status(IntEnum):
    """A work's standing: disputed (1) or not, suspended (2) or not, or REVOKED, which is final."""

    ACTIVE = 0
    DISPUTED = 1
    SUSPENDED = 2
    SUSPENDED_DISPUTED = 3
    REVOKED = 4


IN_DISPUTE = frozenset({Status.DISPUTED, Status.SUSPENDED_DISPUTED})
"""While it is ruled who made a work, its shares don't move."""


@dataclass(frozen=True, slots=True)
class Licence:
    """Terms under which derivations of a work may be registered; never changes. `expires` is a chain time, 0: never."""

    licence_id: int
    min_share_bps: int
    commercial: bool
    derivatives: bool
    approval_required: bool
    share_alike: bool
    attribution: bool
    fan_fiction: bool
    relative: bool
    ai_training: bool
    expires: int
    terms_hash: bytes


class Edge(NamedTuple):
    """The part of a work's revenue that goes to one ancestor: of all of it (relative) or of direct payments only."""

    parent_id: int
    bps: int
    relative: bool


@dataclass(frozen=True, slots=True)
class Parent:
    """A wanted parent with the share offered to it, and what the chain says of it. Licence None: none was given."""

    work_id: int
    share_bps: int
    status: Status
    licence: Licence | None
    edges: tuple[Edge, ...] = ()
    approved: bool = False


class Problem(NamedTuple):
    """One reason why the chain would refuse, with a stable code; `work_id` is the parent concerned, if it is one."""

    code: str
    detail: str
    work_id: int | None = None


def refusals(parents: Sequence[Parent], own: Licence | None, now: int, revoked: Container[int]) -> list[Problem]:
    """Every reason why a work with these parents and this licence of its own could not be registered at `now`.

    `now` is the chain's clock in seconds; `revoked` are the works whose inherited edges fall away. Empty: accepted.
    """
    problems = [problem for parent in parents for problem in _terms(parent, own, now)]
    if len(parents) > MAX_PARENTS:
        problems.append(Problem("work_too_many_parents", f"A work can name {MAX_PARENTS} parents, not {len(parents)}."))
    ids = [parent.work_id for parent in parents]
    problems += [
        Problem("work_parent_twice", f"Work {work_id} is named as a parent twice.", work_id)
        for work_id in sorted({work_id for work_id in ids if ids.count(work_id) > 1})
    ]
    return problems + _bounds(edges_of(parents, revoked))


def _terms(parent: Parent, own: Licence | None, now: int) -> list[Problem]:
    """What the standing and the licence of one parent say against the derivation."""
    found: list[Problem] = []

    def refuse(code: str, detail: str) -> None:
        found.append(Problem(code, f"Work {parent.work_id} {detail}", parent.work_id))

    if parent.status is not Status.ACTIVE:
        refuse("work_parent_not_active", f"is {parent.status.name.lower()}; nothing can be derived from it now.")
    terms = parent.licence
    if terms is None:
        refuse("licence_forbids_derivatives", "carries no licence, so nothing can be derived from it.")
        return found
    fan_fiction = own is not None and terms.fan_fiction and own.fan_fiction and not own.commercial
    if not terms.derivatives and not fan_fiction:
        way_out = " other than non-commercial fan fiction" if terms.fan_fiction else ""
        refuse("licence_forbids_derivatives", f"has licence {terms.licence_id}, which allows no derivatives{way_out}.")
    if terms.expires and now >= terms.expires:
        refuse("licence_expired", f"has licence {terms.licence_id}, which ended at {terms.expires} (chain time).")
    if terms.share_alike and (own is None or own.licence_id != terms.licence_id):
        refuse("licence_share_alike", f"demands its own licence {terms.licence_id} for whatever derives from it.")
    if own is not None and own.commercial and not terms.commercial:
        refuse("licence_not_commercial", f"has licence {terms.licence_id}, which allows no commercial use.")
    if own is not None and own.ai_training and not terms.ai_training:
        refuse("licence_no_training", f"has licence {terms.licence_id}, which allows no use as training data.")
    if terms.approval_required and not parent.approved:
        refuse("approval_missing", "needs its owner's approval of this very file; ask for approveDerivative.")
    if parent.share_bps < terms.min_share_bps:
        refuse("share_too_low", f"asks for at least {terms.min_share_bps} basis points, not {parent.share_bps}.")
    return found


def edges_of(parents: Sequence[Parent], revoked: Container[int]) -> list[Edge]:
    """The royalty edges that the registry would open: own ones first, then the parents' absolute ones.

    One edge is kept for each (ancestor, type), the largest; edges of 0 and inherited ones to revoked works are not.
    """
    largest: dict[tuple[int, bool], int] = {}
    own = [Edge(p.work_id, p.share_bps, p.licence is not None and p.licence.relative) for p in parents]
    inherited = [edge for p in parents for edge in p.edges if not edge.relative and edge.parent_id not in revoked]
    for edge in own + inherited:
        if edge.bps:
            key = (edge.parent_id, edge.relative)
            largest[key] = max(edge.bps, largest.get(key, 0))
    return [Edge(parent_id, bps, relative) for (parent_id, relative), bps in largest.items()]


def _bounds(edges: Sequence[Edge]) -> list[Problem]:
    """The two bounds of all edges together, inherited ones included."""
    found: list[Problem] = []
    ancestors = ", ".join(f"{edge.parent_id} ({edge.bps})" for edge in edges)
    if len(edges) > MAX_EDGES:
        detail = f"A work can pay {MAX_EDGES} ancestors; with inherited royalties this one would pay {len(edges)}: "
        found.append(Problem("work_too_many_edges", detail + ancestors + "."))
    total = sum(edge.bps for edge in edges)
    if total > MAX_UPSTREAM_BPS:
        detail = f"Ancestors may take {MAX_UPSTREAM_BPS} basis points in all; these would take {total}: "
        found.append(Problem("work_upstream_too_high", detail + ancestors + "."))
    return found
