"""Random slates under random rules: how many show somebody what they may not be shown. There must be none.

Each world has a few dozen works with random limits, and many random persons at random moments, with sliders, pasts and
exploration turned at random. Every work of every slate is judged by `may_be_shown`, which is written from the words of
the page, work by work, and shares nothing with what it judges.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from backend.personalization.ranking import slate
from backend.personalization.ranking.content import unit_rows
from backend.personalization.showing.constraints import AGES, STATES, Limit, Positions, Rules, Stated, build, eligible
from bench.ranking.frame import Report, Sizes

PLACES: Final = ("DE", "FR", "JP", "US")
WORKS: Final = 40
PERSONS: Final = 500
"""In each world."""
SPAN: Final = 100.0

Eligible = Callable[..., Positions]


@dataclass(frozen=True)
class World:
    """Works, what limits them, who made them, and what slates know of them."""

    limits: dict[int, Limit]
    creators: list[bytes]
    rules: Rules
    shelf: slate.Shelf


def world(rng: np.random.Generator) -> World:
    """A world in which about a third of the works have some limit or other."""
    limits = {}
    for work_id in range(1, WORKS + 1):
        if rng.random() < 0.5:
            continue
        opens, closes = (float(rng.integers(0, SPAN)) if rng.random() < 0.3 else None for _ in range(2))
        places = None
        if rng.random() < 0.3:
            places = frozenset(np.array(PLACES)[rng.random(len(PLACES)) < 0.5].tolist())
        limits[work_id] = Limit(
            work_id,
            live=bool(rng.random() < 0.9),
            state=STATES[int(rng.choice(3, p=[0.8, 0.1, 0.1]))],
            age=int(rng.choice(AGES)),
            opens=opens,
            closes=closes,
            territory=places,
        )
    creators = [bytes([int(each)]) for each in rng.integers(0, 6, WORKS)]
    shelf = slate.Shelf(
        content=unit_rows(rng.normal(size=(WORKS, 6)).astype(np.float32)),
        novelty=rng.normal(size=WORKS),
        quality=rng.normal(size=WORKS),
        energy=rng.normal(size=WORKS),
        exposures=rng.integers(0, 50, WORKS).astype(np.float64),
    )
    return World(limits, creators, build(np.arange(1, WORKS + 1), limits.values(), creators), shelf)


def may_be_shown(there: World, work: int, stated: Stated, now: float, hidden: Positions) -> bool:
    """Whether the work at a position may stand in the person's feed, in the page's words."""
    limit = there.limits.get(work + 1)
    if work in hidden or there.creators[work] in stated.hidden_creators:
        return False
    if limit is None:
        return True
    if not limit.live or limit.state != "live":
        return False
    if (limit.opens is not None and limit.opens > now) or (limit.closes is not None and limit.closes <= now):
        return False
    grown = 17 if stated.age is None else stated.age  # who does not say is no adult
    if limit.age > grown:
        return False
    return limit.territory is None or (stated.territory is not None and stated.territory in limit.territory)


def violations(slates: int, seed: int = 0, *, eligible: Eligible = eligible) -> Iterator[tuple[int, int]]:
    """Of so many random slates, one by one: how many works each has, and how many of them may not be in it."""
    rng = np.random.default_rng(seed)
    for number in range(slates):
        if number % PERSONS == 0:
            there = world(rng)
        chance = rng.random(6)
        stated = Stated(
            territory=None if chance[0] < 0.3 else PLACES[int(rng.integers(len(PLACES)))],
            age=None if chance[1] < 0.3 else int(rng.integers(0, 30)),
            hidden_creators=frozenset([bytes([int(rng.integers(6))])]) if chance[2] < 0.3 else frozenset(),
        )
        now = float(rng.integers(0, SPAN))
        hidden = np.sort(rng.choice(WORKS, int(rng.integers(0, 6)), replace=False))
        policy = replace(_POLICIES[int(rng.integers(len(_POLICIES)))], unlike=int(3 * chance[3]))
        viewer = slate.Viewer(past=rng.integers(0, WORKS, int(rng.integers(0, 4))))
        allowed = eligible(there.rules, stated, now, hidden=hidden)
        size = int(rng.integers(1, 12))
        score = rng.normal(size=WORKS)
        places = slate.fill(score, allowed, there.shelf, viewer=viewer, policy=policy, size=size, rng=rng)
        wrong = sum(not may_be_shown(there, place.work, stated, now, hidden) for place in places)
        yield len(places), wrong


_POLICIES: Final = (slate.Policy(), slate.Policy(explore=0), slate.turned(slate.Policy(), novelty=1.0, energy=-1.0))


def run(out: Report, sizes: Sizes) -> None:
    """As many slates as asked for."""
    started = time.process_time()
    shown = wrong = 0
    for number, bad in violations(sizes.slates):
        shown += number
        wrong += bad
    taken = time.process_time() - started
    out.figure("random slates", sizes.slates, "slates")
    out.figure("works in random slates", shown, "works")
    out.figure("violations in random slates", wrong, "works", at_most=0)
    out.figure("a random slate and its judgement", 1e3 * taken / sizes.slates, "CPU ms")
