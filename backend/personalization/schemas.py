"""The feed as it leaves, and its switches."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from backend.schemas import Schema


class Because(Schema):
    """A past work that carried an item, and how much of its score that is."""

    work_id: int
    title: str | None
    did: Literal["finished", "liked", "watched"]
    part: float


class Terms(Schema):
    """The parts of a score; they sum to it."""

    taste: float
    trend: float


class FeedItem(Schema):
    """A work, its score in parts, and the true reason why it is here."""

    work_id: int
    title: str | None = Field(description="From the work's draft; null when the work was registered elsewhere.")
    media_cid: str | None
    score: float
    terms: Terms
    reason: Literal["taste", "trend", "fresh"]
    because: list[Because]
    why: str = Field(description="The reason in one sentence.")


class Feed(Schema):
    """A slate, best first."""

    items: list[FeedItem]
    personal: bool = Field(description="Whether anything about you was read for it.")
    why_not_personal: str | None
    model_version: int | None


class PersonalizationIn(Schema):
    """The off switch."""

    enabled: bool


class PersonalizationOut(Schema):
    """Your switch and the two consents that a personal feed needs."""

    enabled: bool
    behaviour: bool
    content_taste: bool
