"""The configuration of the feed as it enters and leaves."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from backend.schemas import AsOf, Schema, Time


class NumberOut(Schema):
    """One number of the configuration, and what it does."""

    name: str = Field(examples=["policy.novelty"])
    value: float
    words: str


class VotedOut(Schema):
    """The vote that put a configuration in force."""

    block: int
    at: Time
    stage: Literal["seen", "final"]


class ConfigurationOut(Schema):
    """The numbers that decide what people see, all of them."""

    digest: str = Field(description="sha256 of `document`; it stands in every feed and in every impression.")
    source: Literal["built-in", "model", "governance"] = Field(
        description="`model`: built-in, with the weights that training has learned"
    )
    voted: VotedOut | None = Field(description="The executed vote that it follows; null where there is none")
    numbers: list[NumberOut]
    document: str = Field(description="The same as canonical JSON: what the digest is of.")
    as_of: AsOf


class ConfigurationIn(Schema):
    """Numbers to change, by part; what is left out stays as it is built in."""

    policy: dict[str, int | float] = Field(default_factory=dict, examples=[{"novelty": 0.2}])
    weights: dict[str, int | float] = Field(default_factory=dict)
    signals: dict[str, int | float] = Field(default_factory=dict)
    decays: dict[str, int | float] = Field(default_factory=dict)


class Action(Schema):
    """A call for `POST /v1/proposals/intent`."""

    contract: str
    function: str
    arguments: list[Any]


class KnownConfiguration(Schema):
    """A configuration that a vote can put in force."""

    digest: str
    document: str
    differs: list[str] = Field(
        description="In words, what differs from the one in force", examples=[["policy.novelty: 0.15 becomes 0.2"]]
    )
    action: Action = Field(description="What a proposal has to do: pass it on to `POST /v1/proposals/intent`")
