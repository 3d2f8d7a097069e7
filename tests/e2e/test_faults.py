"""SIGKILL to every process in turn while the story is told: it can be finished, and the table holds.

One run of a story is struck once for every victim, in an order and at points drawn from a seed (printed with a
failure). A killed part ends the stack, as `./troupe demo` does; it is started again in the same folder, and the driver
with it. The sender is struck by itself, between signing and sending.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from stack.supervisor import Ports, Settings, Stack
from stack.tree import PartFailed
from tests.e2e.support import CLOSING, Story, telling, verify_mirror, within

logger = logging.getLogger(__name__)

PARTS = ("postgres", "redis", "anvil", "indexer", "api", "worker", "beat")
DRIVER = "driver"
VICTIMS = (*PARTS, DRIVER)
FIRST_ACT, LAST_ACT = 1, 12
"""Strikes fall after one of these acts has ended: what follows takes longer than the longest delay."""
LONGEST_DELAY_S = 1.0
BETWEEN_SIGNING_AND_SENDING = ("after_sign", "before_commit", "after_commit", "before_send")


@dataclass(frozen=True)
class Strike:
    victim: str
    act: int
    """How many acts have ended before."""
    delay_s: float


def plan(seed: int) -> list[Strike]:
    """Each victim once, in a random order, spread over the story from its beginning to its end."""
    chance = random.Random(seed)
    victims = list(VICTIMS)
    chance.shuffle(victims)
    part = (LAST_ACT - FIRST_ACT + 1) / len(victims)
    return [
        Strike(victim, FIRST_ACT + int((number + chance.random()) * part), chance.random() * LONGEST_DELAY_S)
        for number, victim in enumerate(victims)
    ]


def runs_of(strikes: list[Strike]) -> Iterator[list[Strike]]:
    """The strikes that one life of the stack takes: the driver's do not end it."""
    life: list[Strike] = []
    for strike in strikes:
        life.append(strike)
        if strike.victim != DRIVER:
            yield life
            life = []
    yield life


def until_struck(stack: Stack, story: Story, strike: Strike) -> None:
    """Wait for the strike's act and its delay. The story must not have ended by then: it would be no strike."""
    stack.watch(until=within(180, lambda: story.acts >= strike.act or story.ended()))
    due = time.monotonic() + strike.delay_s
    stack.watch(until=lambda: time.monotonic() >= due or story.ended())
    assert not story.ended(), f"the story ended before {strike}:\n{story.said}"


def suffer(stack: Stack, strike: Strike, output: Path) -> None:
    """Tell the story until the strike. Raises PartFailed when the victim is a part of the stack."""
    with telling(stack.settings, output) as story:
        until_struck(stack, story, strike)
        logger.warning("%s: SIGKILL after act %d", strike, story.acts)
        if strike.victim == DRIVER:
            story.kill()
            return
        stack.kill(strike.victim)
        stack.watch(until=within(20, lambda: False))


def finish(stack: Stack, output: Path) -> str:
    """Tell the story to its end; returns what it said."""
    with telling(stack.settings, output) as story:
        stack.watch(until=within(240, story.ended))
        assert story.end() == 0, story.said
        return story.said


def strike_all(folder: Path, seed: int) -> None:
    chance = random.Random(f"sender {seed}")
    marker = folder / "struck"
    point = chance.choice(BETWEEN_SIGNING_AND_SENDING)
    extra = {"TROUPE_FAULT_AT": point, "TROUPE_FAULT_ONCE": str(marker)}
    strikes = plan(seed)
    logger.warning("seed %d: the sender at %s; %s", seed, point, strikes)
    ports = Ports.free()
    *lives, last = runs_of(strikes)
    for number, life in enumerate(lives):
        stack = Stack(folder / "state", ports, extra=extra)
        with stack:
            for strike in life[:-1]:
                suffer(stack, strike, folder / f"{number}-{strike.victim}")
            with pytest.raises(PartFailed) as failed:
                suffer(stack, life[-1], folder / f"{number}-{life[-1].victim}")
            assert failed.value.name == life[-1].victim
    stack = Stack(folder / "state", ports, extra=extra)
    with stack:
        for strike in last:
            suffer(stack, strike, folder / f"last-{strike.victim}")
        said = finish(stack, folder / "last")
        assert CLOSING in said, said
        assert marker.exists(), f"the sender was never at {point}"
        assert_mirror_true(stack.settings)


def assert_mirror_true(settings: Settings) -> None:
    done = verify_mirror(settings)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_plan_strikes_every_victim_once_and_in_the_story() -> None:
    for seed in range(200):
        strikes = plan(seed)
        assert sorted(strike.victim for strike in strikes) == sorted(VICTIMS)
        acts = [strike.act for strike in strikes]
        assert acts == sorted(acts)
        assert acts[0] >= FIRST_ACT
        assert acts[-1] <= LAST_ACT
        assert [strike for life in runs_of(strikes) for strike in life] == strikes


@pytest.mark.slow
def test_the_story_survives_a_kill_of_each_process(folder: Path) -> None:
    strike_all(folder, seed=1)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", [2, 3, 10])
def test_the_story_survives_a_kill_of_each_process_at_more_points(folder: Path, seed: int) -> None:
    strike_all(folder, seed)
