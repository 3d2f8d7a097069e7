"""What a person set about their feed, as the feed takes it. Pure: nothing here is read or kept.

sliders     energy -1 (calm) to 1 (lively), novelty 0 (what fits) to 1 (what is new); None: as we do it
switches    off, or paused until a time: the feed then reads nothing about the person, these settings included
said        year of birth and country, as the person says them: what may be shown depends on them
limits      wellbeing.py says which of them are reached, and what then changes
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Final

from backend.personalization.ranking.slate import Policy, turned
from backend.personalization.showing.constraints import Stated

DAY_MINUTES: Final = 24 * 60


@dataclass(frozen=True)
class Limits:
    """How much is enough, as the person set it; None: no limit."""

    session_minutes: int | None = None
    autoplay_at_most: int | None = None
    """So many works may begin by themselves in a row."""
    night_from: int | None = None
    """Minutes after midnight in the person's zone; the night may pass midnight."""
    night_until: int | None = None
    time_zone: str | None = None

    @property
    def any(self) -> bool:
        return not (self.session_minutes is self.autoplay_at_most is self.night_from is None)

    @property
    def need_the_sitting(self) -> bool:
        """Whether a limit can be told from what the person did lately alone."""
        return not (self.session_minutes is self.autoplay_at_most is None)

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        """The person's zone; UTC where none is set, or where the system forgot the one that is."""
        try:
            return zoneinfo.ZoneInfo(self.time_zone or "UTC")
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            return zoneinfo.ZoneInfo("UTC")


@dataclass(frozen=True)
class Controls:
    """A person's sliders, what they said of themselves, and their limits."""

    novelty: float | None = None
    energy: float | None = None
    birth_year: int | None = None
    territory: str | None = None
    """ISO 3166-1 alpha-2."""
    hidden_creators: frozenset[bytes] = frozenset()
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Controls:
        """From the columns of the settings; what is missing is the default."""
        limits = Limits(**{each.name: row.get(each.name) for each in fields(Limits)})
        hidden = frozenset(bytes(address) for address in row.get("hidden_creators") or ())
        said = {name: row.get(name) for name in ("novelty", "energy", "birth_year", "territory")}
        return cls(**said, hidden_creators=hidden, limits=limits)

    def age(self, now: datetime) -> int | None:
        """How old the person is at least, in years; None where they did not say."""
        return None if self.birth_year is None else max(now.astimezone(UTC).year - self.birth_year - 1, 0)

    def stated(self, now: datetime) -> Stated:
        """What decides which works may be shown to the person at all."""
        return Stated(self.territory, self.age(now), self.hidden_creators)

    def policy(self, policy: Policy) -> Policy:
        """A policy under the person's sliders."""
        return turned(policy, novelty=self.novelty, energy=self.energy)


DEFAULTS: Final = Controls()
