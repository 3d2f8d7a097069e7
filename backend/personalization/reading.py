"""One reading of a person's feed: what may be read of them, what they set, and the slate that follows.

The feed, the account of one of its items and the pages read it by this one function, so that they never differ.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

import numpy as np
from fastapi import Request

from backend.accounts.service import Somebody
from backend.consent import reads
from backend.consent.gate import read_async
from backend.consent.persons import person_of_async
from backend.db import at_once
from backend.deps import Core
from backend.personalization import service
from backend.personalization.catalogue import Catalogue, Window
from backend.personalization.evaluation import experiments
from backend.personalization.packaging import bandit as packaging
from backend.personalization.packaging import impressions, variants
from backend.personalization.packaging.impressions import Viewing
from backend.personalization.packaging.variants import Choice, Package
from backend.personalization.person import wellbeing
from backend.personalization.person.controls import DEFAULTS, Controls
from backend.personalization.person.wellbeing import Standing
from backend.personalization.ranking.drift import EXPLORE, STEADY, Drift
from backend.personalization.ranking.slate import Policy
from backend.personalization.service import Allowed, History, Shown
from backend.personalization.showing import limits as showing
from backend.personalization.showing.constraints import NOTHING_STATED, Stated

SIZE: Final = 20
"""Of a slate, where nobody asks for another."""
CHECKS: Final = 3
"""So often a slate is made anew because the world changed meanwhile."""
Look = Callable[[Core, "Reading", Sequence[Shown]], Awaitable[tuple[Allowed, frozenset[int]]]]
NOBODY: Final = "You are not signed in."


@dataclass(frozen=True)
class Asked:
    """What one request asks for, instead of what the person set."""

    size: int = SIZE
    novelty: float | None = None
    energy: float | None = None
    anyway: bool = False
    """The whole slate, whatever limit is reached."""

    def turned(self, controls: Controls) -> Controls:
        """The person's sliders, or those of the request, in hundredths: finer ones would only make slates to keep."""
        novelty = controls.novelty if self.novelty is None else self.novelty
        energy = controls.energy if self.energy is None else self.energy
        return replace(
            controls,
            novelty=None if novelty is None else round(novelty, 2),
            energy=None if energy is None else round(energy, 2),
        )


@dataclass(frozen=True)
class Reading:
    """What a slate is chosen from."""

    catalogue: Catalogue
    now: datetime
    person: uuid.UUID | None
    history: History
    why_not: str | None
    """Why it is not personal; None when it is."""
    controls: Controls
    standing: Standing
    policy: Policy
    size: int
    viewed: Viewing | None
    """The slate as it is kept; None where it may not be."""
    choices: Mapping[int, Sequence[Choice]] = field(default_factory=dict)
    """Work -> how it may be shown, where there is a choice."""
    allowed: Allowed = service.STRANGER
    """What the person switched, set and allows."""
    program: bool = False
    """Whether an API key asks."""
    drift: Drift = STEADY
    """Whether the person changed suddenly; the feed then explores more for a while."""
    gone: frozenset[int] = frozenset()
    """Works that became unavailable since the catalogue was read."""

    def slate(self, forgetting: Collection[int] = ()) -> list[Shown]:
        """The slate; `forgetting`: as it would be had nothing been done with these works, drawn alike."""
        return service.choose(
            self.catalogue,
            self.history,
            now=self.now,
            limit=self.size,
            policy=self.policy,
            seed=impressions.seed(self.viewed),
            forgetting=forgetting,
            stated=self.allowed.controls.stated(self.now),
            gone=self.gone,
        )

    def without(self, gone: frozenset[int]) -> Reading:
        """The same where these works are gone: another slate, and another that is kept."""
        gone |= self.gone
        if self.viewed is None:
            return replace(self, gone=gone)
        other = impressions.slate_id(self.viewed.person, self.viewed.slate_id.hex, sorted(gone))
        return replace(self, gone=gone, viewed=replace(self.viewed, slate_id=other))

    def packages(self, shown: Sequence[Shown]) -> dict[int, Package]:
        """Work -> how it is shown, of those works of the slate where that is chosen; drawn by the slate's id."""
        if self.viewed is None or not self.choices:
            return {}
        found, seed = {}, impressions.seed(self.viewed) or []
        for place, item in enumerate(shown):
            if (choices := self.choices.get(item.work_id)) is None:
                continue
            x = packaging.context(
                place=place,
                why=item.place.why,
                terms=item.terms,
                events=len(self.history.rows),
                novelty=self.controls.novelty,
                energy=self.controls.energy,
            )
            finished = item.work_id in self.history.finished
            package = variants.pick(choices, x, finished=finished, rng=np.random.default_rng([*seed, place]))
            if package is not None:
                found[item.work_id] = package
        return found


def shelf(request: Request) -> variants.Shelf:
    """The process's variants."""
    if not hasattr(request.app.state, "feed_variants"):
        request.app.state.feed_variants = variants.Shelf()
    found: variants.Shelf = request.app.state.feed_variants
    return found


def window(request: Request, core: Core) -> Window:
    """The process's window on the catalogue; made at the first request."""
    if not hasattr(request.app.state, "feed_window"):
        request.app.state.feed_window = Window(core.settings.data_dir / "models", lambda: core.database.async_pool)
    found: Window = request.app.state.feed_window
    return found


async def within(request: Request, core: Core, somebody: Somebody | None, now: datetime) -> tuple[Catalogue, Stated]:
    """The catalogue, and what somebody stated that decides which of its works they may be shown.

    For what is no suggestion, such as a search: nothing that they did, like, set or allow is read.
    """
    async with core.database.async_pool.connection() as connection:
        catalogue = await window(request, core).catalogue(connection, now=now, tick=time.monotonic())
        if somebody is None:
            return catalogue, NOTHING_STATED
        person = await person_of_async(connection, core.vault, somebody.account_id)
        return catalogue, await service.stated(connection, person=person, now=now) if person else NOTHING_STATED


def _drawn(core: Core, person: uuid.UUID | None, now: datetime) -> experiments.Assigned:
    """The arms of a person: they follow from the pseudonym, and nothing that the person did or set is read for them."""
    if person is None:
        return experiments.NOBODYS
    declared = experiments.load(core.settings.experiments_file)
    return experiments.assigned(declared, experiments.key(core.vault), person, now=now)


async def read(request: Request, core: Core, somebody: Somebody | None, now: datetime, asked: Asked) -> Reading:
    """Read what may be read about somebody: what they allow and what they did in one statement's moment each."""
    async with core.database.async_pool.connection() as connection, at_once(connection):
        catalogue = await window(request, core).catalogue(connection, now=now, tick=time.monotonic())
        person, found, history = None, service.STRANGER, service.NOTHING
        why_not: str | None = NOBODY
        program = somebody is not None and somebody.session_id is None
        controls, standing, drawn = DEFAULTS, Standing(), experiments.NOBODYS
        choices = await shelf(request).choices(connection, tick=time.monotonic())
        if somebody is not None:
            person = await person_of_async(connection, core.vault, somebody.account_id)
            drawn = _drawn(core, person, now)
            if drawn.personal:
                found, history = await service.history(connection, person=person, now=now, program=program)
            else:  # nothing is chosen for them, so nothing that they did is read
                found = await service.allowed(connection, person=person, now=now)
            why_not = found.refusal(program=program)
            if found.withheld(program=program):
                controls = found.bare
            else:
                controls = found.controls
                standing = await service.limits(connection, person=person, controls=controls, now=now)
    mine = experiments.NOBODYS
    if why_not is None:
        mine = drawn
        catalogue = replace(catalogue, configuration=mine.configuration(catalogue.configuration))
        if not mine.personal:
            why_not = experiments.HELD_OUT
    drifted = STEADY if why_not is not None else service.drifted(catalogue, found, history, now, program=program)
    controls = asked.turned(controls)
    policy, size = controls.policy(catalogue.configuration.policy), asked.size
    if drifted.active and policy.explore:
        policy = replace(policy, explore=EXPLORE)
    if not asked.anyway:
        policy, size = wellbeing.kept(policy, size, standing)
    viewed = None
    if somebody is not None and person is not None and found.kept(program=program):
        viewed = impressions.viewing(
            catalogue,
            history.rows,
            account_id=somebody.account_id,
            person=person,
            arms=mine.names,
            explored=why_not is None,
            limit=size,
            policy=policy,
            also=[found.controls.stated(now).key, [row["at"] for row in history.slates[:1]]],
        )
    policy = impressions.exploring(policy, viewed)
    return Reading(
        catalogue=catalogue,
        now=now,
        person=person,
        history=history,
        why_not=why_not,
        controls=controls,
        standing=standing,
        policy=policy,
        size=size,
        viewed=viewed,
        choices=choices if viewed is not None and viewed.explored else {},
        allowed=found,
        program=program,
        drift=drifted,
    )


async def look_again(core: Core, found: Reading, shown: Sequence[Shown]) -> tuple[Allowed, frozenset[int]]:
    """What the person allows at this very moment, and which of the works may not be shown to them any more."""
    ids = [item.work_id for item in shown]
    async with core.database.async_pool.connection() as connection, at_once(connection):
        if found.person is None:
            return service.STRANGER, await showing.gone_async(
                connection, ids, stated=NOTHING_STATED, now=found.now, surface="feed"
            )
        active, limits, (status,) = await read_async(
            connection, (reads.FEED_STATUS, {}), person=found.person, now=found.now, before=showing.still(ids)
        )
    allowed = Allowed.of(status)
    stated = allowed.controls.stated(found.now)
    return allowed, showing.gone(ids, active, limits, stated=stated, now=found.now, surface="feed")


async def read_and_choose(
    request: Request, core: Core, somebody: Somebody | None, now: datetime, asked: Asked, *, look: Look = look_again
) -> tuple[Reading, list[Shown]]:
    """A slate as it leaves, looked at once more when it is ready, for what happened while it was made.

    A work that was removed, or whose consents went, between ranking and answer is replaced; where the person changed
    what they allow, set, or hide, all is read anew. What goes on changing after CHECKS times is left out.
    """
    found = await read(request, core, somebody, now, asked)
    for _ in range(CHECKS):
        shown = found.slate()
        allowed, gone = await look(core, found, shown)
        if allowed != found.allowed:
            found = replace(await read(request, core, somebody, now, asked), gone=found.gone)
        elif not gone:
            return found, shown
        found = found.without(gone)
    return found, found.slate()
