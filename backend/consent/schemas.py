"""Consents as they enter and leave."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from backend.consent.purposes import Purpose
from backend.schemas import Schema


class ConsentIn(Schema):
    """Your answer to one purpose."""

    granted: bool


class Consent(Schema):
    """One purpose: what it means, and what you answered."""

    purpose: Purpose
    title: str
    text: str
    notice_version: int
    granted: bool
    answered_at: datetime | None
    answered_version: int | None = Field(description="The version of the notice that you answered.")
    receipt: int | None = Field(description="The number of your newest receipt for this purpose.")


class Consents(Schema):
    """All purposes."""

    items: list[Consent]
