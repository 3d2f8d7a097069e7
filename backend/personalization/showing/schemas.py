"""Who may be shown a work, as it enters and leaves."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from backend.schemas import AddressStr, Schema, Time
from backend.works.schemas import lines

Age = Literal[0, 6, 12, 16, 18]
State = Literal["live", "limited", "removed"]
Territory = Annotated[str, Field(pattern="^[A-Z]{2}$", examples=["DE"])]


class ShowingIn(Schema):
    """Who may see a work, as its owner declares; what is left out is no limit."""

    age: Age = Field(0, description="From which age on it is for people")
    territory: list[Territory] = Field([], max_length=250, description="ISO 3166 codes; empty: everywhere")
    shown_from: AwareDatetime | None = None
    shown_until: AwareDatetime | None = Field(None, description="The first moment at which it is not shown any more")

    @model_validator(mode="after")
    def _is_forward(self) -> Self:
        if self.shown_from is not None and self.shown_until is not None and self.shown_from >= self.shown_until:
            raise ValueError("shown_from must be before shown_until")
        return self


class DecisionIn(Schema):
    """A moderator's decision about a work, with its reason, which everybody can read."""

    state: State = Field(description="`limited`: found by who looks for it, and in no feed; `removed`: neither")
    age: Age | None = Field(None, description="The least rating from now on, whatever the owner declares")
    reason: Annotated[str, Field(min_length=1, max_length=2_000), AfterValidator(lines)] = Field(
        examples=["Shows violence in its first minutes; rated 16 until it says so."]
    )


class DecisionOut(Schema):
    """A decision that was made."""

    state: State
    age: Age | None
    reason: str
    moderator: AddressStr
    decided_at: Time


class ShowingOut(Schema):
    """What limits who is shown a work, and why."""

    work_id: int
    active: bool = Field(description="Active on chain, and every consent that it was registered with stands")
    age: Age
    territory: list[str] | None = Field(
        description="Where it may be shown, by its owner, its licences and its ancestors'; null: everywhere"
    )
    shown_from: Time | None
    shown_until: Time | None
    state: State
    decisions: list[DecisionOut] = Field(description="Of moderators, newest first; the newest holds")
    why_not: str | None = Field(
        description="Why it is in no feed of somebody who says neither age nor territory; null: it may be"
    )
