"""The feed as it leaves."""

from __future__ import annotations

import uuid
from typing import Literal

from pydantic import Field

from backend.personalization.person.control_schemas import Wellbeing
from backend.schemas import Schema
from backend.works.schemas import KindName, LabelName


class Because(Schema):
    """A past work that carried an item."""

    work_id: int
    title: str | None
    did: Literal["finished", "liked", "watched", "brought"] = Field(
        description="`brought`: you brought the liking along in a document from elsewhere."
    )
    part: float = Field(description="By how much the item's score would fall if you forgot this work; exact.")


class Terms(Schema):
    """The parts of a score; they sum to it."""

    trend: float = Field(description="How much is done with it now.")
    recent: float = Field(description="How new it is.")
    liking: float = Field(description="It is as new as you like works to be.")
    mainstream: float = Field(description="It is as well known as you like works to be.")
    content: float = Field(description="Its words are like those of what you liked.")
    taste: float = Field(description="People who liked what you liked, like it.")


class Packaging(Schema):
    """Under which of its owner's variants a work is shown."""

    variant: uuid.UUID = Field(description="All zeros: the work's own title and picture.")
    propensity: float = Field(description="The probability with which it is shown under this one.")
    thumbnail_cid: str | None
    preview: str | None


class FeedItem(Schema):
    """A work, its score in parts, and the true reason why it is here."""

    work_id: int
    title: str | None = Field(description="From the work's draft; null when the work was registered elsewhere.")
    kind: KindName | None
    ai_label: LabelName | None = Field(description="How much of it a model made, as its owner declares.")
    tags: list[str]
    media_cid: str | None
    score: float
    terms: Terms
    reason: Literal["taste", "trend", "new", "unlike", "fresh"]
    because: list[Because]
    why: str = Field(description="The reason in one sentence.")
    propensity: float = Field(description="The probability with which it came to this place; 1 where nothing is drawn.")
    packaging: Packaging | None = Field(
        description="Where its owner offers several titles or pictures and the slate is kept; else null."
    )


class Feed(Schema):
    """A slate, best first."""

    slate_id: uuid.UUID | None = Field(
        description="Send it along with what comes of the slate; null where it is not kept, and beyond 120 in an hour."
    )
    items: list[FeedItem]
    personal: bool = Field(description="Whether anything about you was read for it.")
    why_not_personal: str | None
    drift: str | None = Field(
        None, description="In words, that you changed suddenly, and until when your feed tries more for it; else null."
    )
    model_version: int | None
    configuration: str = Field(
        description="The digest of all numbers that decided it: see `GET /v1/personalization/configuration`."
    )
    wellbeing: Wellbeing = Field(description="The limits that you set, and which of them are reached.")
