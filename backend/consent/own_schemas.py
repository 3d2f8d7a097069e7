"""A person's own data as they ask for it: exports, the freeze, erasure."""

from __future__ import annotations

import uuid
from typing import Literal

from pydantic import Field

from backend.schemas import Schema, Time


class ExportOut(Schema):
    """An export: how far it is, and where to take it from when it is ready."""

    id: uuid.UUID
    state: Literal["asked", "working", "ready", "failed"]
    asked_at: Time
    done: int = Field(description="Rows written")
    total: int = Field(description="Rows to write, as counted at the beginning; 0 before that")
    problem: str | None = Field(description="Why it failed, and what to do")
    size_bytes: int | None = Field(description="Of the zip, when it is ready")
    ready_at: Time | None
    expires_at: Time | None = Field(
        description="Until then it can be downloaded: 7 days, or an hour after the first time"
    )
    download: str | None = Field(description="Path of the zip, when it is ready")


class ExportList(Schema):
    """Your exports, newest first."""

    items: list[ExportOut]


class RestrictionOut(Schema):
    """Whether your data is frozen: kept, and read by nobody but you."""

    frozen: bool
    since: Time | None


class RestrictionIn(Schema):
    """Freeze your data, or lift the freeze."""

    frozen: bool


class ErasureMeaning(Schema):
    """What an erasure would do."""

    destroyed: dict[str, int] = Field(description="What would be destroyed, and how many rows of it")
    remains: list[str] = Field(description="What would remain, and why")
    fresh: bool = Field(description="Whether this sign-in is fresh enough; else sign in again first")


class ErasureIn(Schema):
    """Your word that this is meant. It cannot be taken back."""

    confirm: Literal["erase"] = Field(description="The word `erase`")


class ErasureOut(Schema):
    """An erasure, and when it is done its receipt. It names neither you nor your address."""

    format: str = Field(examples=["troupe-erasure/1"])
    id: uuid.UUID = Field(description="Keep it: it is the only way to this receipt")
    state: Literal["asked", "forgotten", "key_destroyed", "dropped", "done"]
    asked_at: Time
    done_at: Time | None
    steps: dict[str, Time] = Field(description="State -> when it was reached")
    destroyed: dict[str, int]
    remains: list[str]
