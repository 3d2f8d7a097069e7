"""What the feed makes of a person's past, as it leaves; what it shall forget, as it comes."""

from __future__ import annotations

import uuid
from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field

from backend.schemas import Schema, Time
from backend.works.schemas import KindName

KINDS: Final = "other|story|song|video|game|character|event|world|image"

Did = Literal["finished", "liked", "watched", "hidden", "brought"]


class ResetIn(Schema):
    """What the feed shall forget."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"scope": "short"}, {"scope": "tag:noir"}]})

    scope: Annotated[str, Field(pattern=rf"^(all|short|kind:({KINDS})|tag:[^\s].{{0,63}})$")] = Field(
        description="`all`: whatever you did until now; `short`: the mood of today; `kind:song`, `tag:noir`: what you "
        "did with works of that kind, or with that tag.",
        examples=["short"],
    )


class ResetOut(Schema):
    """A reset that was done. The log of what you did stays: to erase that, see POST /v1/me/erasure."""

    scope: str
    at: Time = Field(description="What was done until then says nothing to your feed any more, nor to the next model.")
    works: int | None = Field(description="Of how many works something was forgotten; null for `all` and `short`.")


class TasteWork(Schema):
    """A past work and what it weighs now."""

    work_id: int
    title: str | None
    kind: KindName | None
    did: Did
    long: float = Field(description="Lasting taste, halved every 60 days; below 0 it speaks against works like it.")
    short: float = Field(description="The mood of today, halved every 6 hours.")
    weight: float = Field(description="Both together: what the score takes.")


class TopicWeight(Schema):
    """A tag or a kind, and the sum over your past works that have it."""

    topic: str = Field(description="As a reset takes it: `tag:noir`, `kind:song`.")
    weight: float
    works: int


class TraitsOut(Schema):
    """How your works differ from other people's, in spreads."""

    newness: float
    fame: float
    sentences: list[str]


class Unwanted(Schema):
    """A tag of a work of which you asked for less."""

    tag: str
    penalty: float = Field(description="What a work with this tag pays in your slate now; it halves every 30 days.")


class TasteOut(Schema):
    """What we think you like, and all there is of it."""

    read: bool = Field(description="Whether anything you did was read for this.")
    why_not: str | None
    works: list[TasteWork] = Field(description="Largest weight first, whatever its sign.")
    topics: list[TopicWeight]
    traits: TraitsOut | None = Field(description="Null before you turned towards anything.")
    unwanted: list[Unwanted]
    session_events: int = Field(description="What you did in this session; it says how much the mood of today counts.")
    mood: float = Field(description="The part of the taste that is the mood of today, 0 to 0.7.")
    drift: str | None = Field(
        None, description="In words, that you changed suddenly, and until when your feed tries more for it; else null."
    )


class Changed(Schema):
    """A work whose score a past one changes."""

    work_id: int
    title: str | None
    score_with: float
    score_without: float
    part: float = Field(description="By how much the score falls without the past work, as reasons say it.")
    place_with: int | None = Field(description="1 is the first; null: not in the slate.")
    place_without: int | None


class WhatIf(Schema):
    """Your slate as it is, and as it would be had you never done anything with one work."""

    work_id: int
    title: str | None
    works: list[Changed] = Field(description="Every work of either slate, in the order of the present one.")


class TermOut(Schema):
    """One term of a score."""

    name: str
    words: str
    value: float = Field(description="The term before its weight.")
    weight: float
    part: float = Field(description="Value times weight.")


class PartOut(Schema):
    """What a past work adds to an item."""

    work_id: int
    title: str | None
    did: Did
    part: float = Field(description="By how much the score would fall without it; below 0 it would rise.")


class Recorded(Schema):
    """The place as it was kept when the slate was shown."""

    slate_id: uuid.UUID
    at: Time
    place: int
    filled: str
    propensity: float
    configuration: str
    model_version: int | None


class WhyHere(Schema):
    """Everything about one work's place in your feed."""

    work_id: int
    title: str | None
    why: str
    reason: Literal["taste", "trend", "new", "unlike", "fresh", "not_shown"]
    place: int | None = Field(description="Where it stands in your slate of 20 now; null: not in it.")
    filled: str | None = Field(description="How the place was filled: best, explored, unlike or fresh.")
    propensity: float | None
    score: float
    terms: list[TermOut]
    penalty: float = Field(description="What its tags cost it in your slate, because you asked for less like them.")
    parts: list[PartOut] = Field(description="Each past work's part, largest first.")
    configuration: str
    model_version: int | None
    recorded: Recorded | None = Field(description="With `slate_id`: the place as it was shown then.")
