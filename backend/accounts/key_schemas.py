"""Bodies of the routes for API keys."""

from __future__ import annotations

import uuid
from typing import Annotated

from pydantic import Field, StringConstraints

from backend.accounts.scopes import Scope
from backend.schemas import Schema, Time

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]
LifetimeDays = Annotated[int, Field(strict=True, ge=1, le=366, description="Until the token expires")]


class KeyIn(Schema):
    """A key to be made."""

    name: Name = Field(description="What you call it; kept encrypted under your own key", examples=["Stage lights"])
    scopes: list[Scope] = Field(min_length=1, max_length=len(Scope), description="What it may do, and nothing else")
    lifetime_days: LifetimeDays = 90


class RotateIn(Schema):
    """How a key changes its token."""

    overlap_s: Annotated[int, Field(strict=True, ge=0, le=7 * 24 * 3600)] = Field(
        24 * 3600, description="How long the present token works on"
    )
    lifetime_days: LifetimeDays = 90


class KeyInfo(Schema):
    """A key, without its token."""

    id: uuid.UUID
    name: str
    hint: str = Field(description="The token's last four characters", examples=["x7Qz"])
    scopes: list[Scope]
    created_at: Time
    issued_at: Time = Field(description="When the present token was made")
    expires_at: Time
    previous_until: Time | None = Field(description="Until when the token before the last rotation works, or worked")
    last_used_at: Time | None = Field(description="To the minute")
    revoked_at: Time | None


class KeyList(Schema):
    """The account's keys, newest first."""

    items: list[KeyInfo]


class NewKey(Schema):
    """A key and its token, which is shown here once."""

    token: str = Field(description="Send it as `Authorization: Bearer`; keep it as you keep a password")
    key: KeyInfo
