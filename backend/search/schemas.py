"""What searching takes and gives."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from backend.schemas import AddressStr, AsOf, Schema
from backend.works.metadata import printable
from backend.works.schemas import KindName, LabelName, MediaOut

MAX_QUERY = 300


def _shown(value: str) -> str:
    if not printable(value):
        raise ValueError("it holds characters that can't be shown (controls, line breaks, direction overrides)")
    if not value.strip():
        raise ValueError("it says nothing: write what you look for")
    return value.strip()


Query = Annotated[str, AfterValidator(_shown)]


class PieceOut(Schema):
    """A piece of a text as it was written. Plain text: escape it where you show it."""

    text: str
    hit: bool = Field(description="Whether it is what was searched for")


class WhyOut(Schema):
    """Why a work was found; at least one of the two rankings has it."""

    sentence: str = Field(examples=["Has lantern in its title."])
    words: list[str] = Field(description="Words of the search that stand in it, as they stand there")
    fields: list[Literal["title", "tags", "description"]] = Field(description="Where they stand")
    nearness: float | None = Field(
        description="How near its meaning is (cosine, up to 1); null where that did not find it"
    )
    shared: list[str] = Field(description="Its words that carry the nearness, those that carry most first")


class HitOut(Schema):
    """A work that was found."""

    work_id: int
    title: list[PieceOut]
    excerpt: list[PieceOut] = Field(description="The part of its description that has most of what was searched for")
    kind: str
    ai_label: LabelName
    licence_id: int
    creator: AddressStr
    tags: list[str]
    language: str | None
    duration_ms: int | None
    media: MediaOut | None
    score: float = Field(description="Sum of weight / (60 + place) over both rankings")
    why: WhyOut


class SearchOut(Schema):
    """A page of what was found, best first."""

    items: list[HitOut]
    instead: str | None = Field(
        description="What was searched for instead, because nothing has the words of the query and a slip explains it"
    )
    next: str | None
    as_of: AsOf


__all__ = ["HitOut", "KindName", "PieceOut", "Query", "SearchOut", "WhyOut"]
