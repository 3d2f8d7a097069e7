"""A person's own settings of their feed, as they come and go."""

from __future__ import annotations

import re
import zoneinfo
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from backend.schemas import AddressStr, Schema, Time

_CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


def _is_zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is no time zone; use an IANA name such as Europe/Paris") from error
    return name


Clock = Annotated[str, Field(pattern=f"^{_CLOCK.pattern}$", examples=["23:00"])]
"""A time of the day, `HH:MM`."""


def minutes(clock: str) -> int:
    """Minutes after midnight."""
    hours, _, rest = clock.partition(":")
    return 60 * int(hours) + int(rest)


def clock(minutes: int) -> str:
    """A time of the day from minutes after midnight."""
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


class Night(Schema):
    """From when until when it is night; it may pass midnight."""

    begins: Clock
    ends: Clock

    @model_validator(mode="after")
    def _is_a_while(self) -> Night:
        if self.begins == self.ends:
            raise ValueError("a night that ends when it begins is none: leave it out, or say two times")
        return self


class LimitsIn(Schema):
    """How much is enough. What is null is no limit."""

    session_minutes: Annotated[int, Field(strict=True, ge=5, le=720)] | None = Field(
        None, description="After so many minutes without a break of half an hour your feed says so and becomes short."
    )
    autoplay_at_most: Annotated[int, Field(strict=True, ge=0, le=50)] | None = Field(
        None, description="So many works may begin by themselves in a row; none where it is null or 0."
    )
    night: Night | None = Field(None, description="Then your feed is short, calm, and nothing begins by itself.")
    time_zone: Annotated[str, Field(max_length=64), AfterValidator(_is_zone)] | None = Field(
        None, description="Where your night is; an IANA name. UTC when null.", examples=["Europe/Paris"]
    )


NO_LIMITS: Final = LimitsIn.model_validate({})


class SlidersAndLimits(Schema):
    """What a person sets, all of it optional; null is the platform's default."""

    paused_until: Time | None = Field(None, description="Until then the feed reads nothing about you; a year at most.")
    novelty: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="0: what fits; 1: what is new to you, and three places for what is unlike anything you know."
    )
    energy: Annotated[float, Field(ge=-1, le=1)] | None = Field(None, description="-1: calm; 1: lively.")
    birth_year: Annotated[int, Field(strict=True, ge=1900, le=2100)] | None = Field(
        None, description="As you say it. Without it you are shown what is for everybody."
    )
    territory: Annotated[str, Field(pattern="^[A-Z]{2}$")] | None = Field(
        None, description="Your country, ISO 3166-1 alpha-2, as you say it.", examples=["FR"]
    )


class PersonalizationIn(SlidersAndLimits):
    """All settings at once: what you leave out goes back to its default."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"enabled": True, "energy": -0.5, "limits": {"session_minutes": 90}}]}
    )

    enabled: bool = Field(description="The off switch.")
    limits: LimitsIn = NO_LIMITS


class PersonalizationPatch(SlidersAndLimits):
    """The settings to change: what you leave out stays, what you set to null goes back to its default."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"novelty": 0.8}]})

    enabled: bool | None = Field(None, description="The off switch; it has no null.")
    limits: LimitsIn | None = Field(None, description="All limits at once; null: none.")


class PersonalizationOut(SlidersAndLimits):
    """Your settings, the consents that a personal feed needs, and whether your feed is personal now."""

    enabled: bool
    limits: LimitsIn
    hidden_creators: list[AddressStr] = Field(description="Whose works you are not shown.")
    behaviour: bool
    content_taste: bool
    personal: bool = Field(description="Whether your feed follows what you do, as all of this stands now.")
    why_not_personal: str | None


def columns(body: PersonalizationIn | PersonalizationPatch) -> dict[str, Any]:
    """The columns that a request sets."""
    given = body.model_dump(exclude_unset=isinstance(body, PersonalizationPatch))
    if given.get("enabled", True) is None:
        del given["enabled"]
    if "limits" in given:
        given |= _limit_columns(body.limits or NO_LIMITS)
        del given["limits"]
    return given


def _limit_columns(limits: LimitsIn) -> dict[str, Any]:
    night = limits.night
    return {
        "session_minutes": limits.session_minutes,
        "autoplay_at_most": limits.autoplay_at_most,
        "night_from": minutes(night.begins) if night else None,
        "night_until": minutes(night.ends) if night else None,
        "time_zone": limits.time_zone,
    }


class Reached(Schema):
    """A limit of yours that is reached."""

    limit: Literal["session", "night", "autoplay"]
    sentence: str


class Wellbeing(Schema):
    """How your limits stand, where you set any."""

    reached: list[Reached] = Field(description="Empty as long as nothing is enough.")
    session_minutes: int | None = Field(
        description="How long you have been here without a break of half an hour; null when nothing tells us."
    )
    autoplay_left: int = Field(description="So many works may still begin by themselves; a client must keep to it.")
    until: datetime | None = Field(None, description="When the night ends.")
