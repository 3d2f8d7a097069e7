"""Bodies of the webhook routes, and of what is sent to endpoints."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from backend.schemas import AddressStr, Amount, Hash32, Schema, Time

EventType = Literal[
    "work.registered",
    "payment.received",
    "payout.withdrawn",
    "proposal.created",
    "proposal.closed",
    "reward.finalised",
    "chain.reorganised",
]
"""What an endpoint can ask for. `webhook.test` comes when a test is asked for, whatever an endpoint asked for."""

SentType = EventType | Literal["webhook.test"]

URL_LIMIT = 2_048
WORKS_LIMIT = 100
URL_EXAMPLE = "https://receiver.example/troupe"

Url = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=URL_LIMIT)]
Types = Annotated[list[EventType], Field(min_length=1, max_length=20)]
WorkIds = Annotated[
    list[Annotated[int, Field(strict=True, ge=0, lt=2**63)]], Field(min_length=1, max_length=WORKS_LIMIT)
]
State = Literal["active", "disabled"]
DeliveryState = Literal["waiting", "delivered", "dropped"]


class EndpointIn(Schema):
    """Where to send what."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"url": URL_EXAMPLE, "types": ["payment.received"], "work_ids": [7]}]}
    )

    url: Url = Field(description="https, to a public address; no user name, no fragment", examples=[URL_EXAMPLE])
    types: Types = Field(description="Ask for `chain.reorganised` too unless you wait for final blocks yourself")
    work_ids: WorkIds | None = Field(None, description="Only events of these works, where an event is of a work")


class EndpointPatch(Schema):
    """What to change; what is left out stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"enabled": True, "drop_waiting": False}]})

    url: Url | None = None
    types: Types | None = None
    work_ids: WorkIds | None = Field(None, description="Null leaves them; `all_works` takes the filter away")
    all_works: Literal[True] | None = None
    enabled: bool | None = Field(None, description="True begins again after a failure; false pauses")
    drop_waiting: bool = Field(False, description="Give up what waits, instead of sending it first")

    @model_validator(mode="after")
    def _one_filter(self) -> EndpointPatch:
        if self.work_ids is not None and self.all_works:
            raise ValueError("work_ids and all_works contradict each other: send one of them")
        return self


class Endpoint(Schema):
    """An endpoint as its owner sees it."""

    id: uuid.UUID
    url: str
    types: list[EventType]
    work_ids: list[int] | None
    state: State
    disabled_reason: str | None = Field(description="Why nothing is sent, when it is disabled")
    disabled_at: Time | None
    failures: int = Field(description="Failed attempts since the last success")
    waiting: int = Field(description="Events that wait for being sent, the first of them for its next attempt")
    next_attempt_at: Time | None = Field(description="When the first of them is sent at the earliest")
    old_secret_until: Time | None = Field(description="Until then both secrets sign, after a rotation")
    created_at: Time


class EndpointWithSecret(Endpoint):
    """An endpoint with its secret, which is shown this once."""

    secret: str = Field(
        description="Keep it: it verifies the signatures (Standard Webhooks)",
        examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )


class EndpointList(Schema):
    """All endpoints of the account, oldest first."""

    items: list[Endpoint]


class RotateIn(Schema):
    """How long the old secret goes on signing beside the new one."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"overlap_hours": 24}]})

    overlap_hours: Annotated[int, Field(strict=True, ge=0, le=168)] = Field(
        24, description="0: the old secret is void at once"
    )


class Attempt(Schema):
    """One request to the endpoint."""

    at: Time
    status: int | None = Field(description="The receiver's HTTP status; null when there was no answer")
    error: str | None = Field(description="Why there was none", examples=["timeout"])
    duration_ms: int


class Delivery(Schema):
    """One event for one endpoint."""

    id: str = Field(
        description="The `webhook-id`: the same each time it is sent", examples=["msg_0199f0c27f3b7c10a2b4d6e8f0a1b2c3"]
    )
    type: str = Field(examples=["payment.received"])
    state: DeliveryState
    created_at: Time
    delivered_at: Time | None
    attempts: int
    last_status: int | None
    last_error: str | None


class DeliveryPage(Schema):
    """A page of deliveries, newest first."""

    items: list[Delivery]
    next: str | None = Field(description="Cursor of the next page")


class DeliveryDetail(Delivery):
    """A delivery with what is sent and every attempt, newest first (at most 100)."""

    body: str = Field(description="The bytes that are signed and sent")
    log: list[Attempt]


class Queued(Schema):
    """What was put in the queue."""

    id: str = Field(description="The `webhook-id` that it will have", examples=["msg_0199f0c27f3b7c10a2b4d6e8f0a1b2c3"])


# what is sent


class Block(Schema):
    """The block that it happened in; a reorganisation may take it back until it is final."""

    number: int
    hash: Hash32
    time: Time


class OnChain(Schema):
    """Where it stands on the chain."""

    chain_id: int
    block: Block


class Logged(OnChain):
    """Where its event stands on the chain."""

    tx_hash: Hash32
    log_index: int


class WorkRegistered(Logged):
    """A work was registered."""

    work_id: int
    owner: AddressStr
    kind: str
    ai_label: str
    licence_id: int
    content_hash: Hash32


class PaymentReceived(Logged):
    """A work was paid; work 0 is the platform."""

    work_id: int
    payer: AddressStr
    token: AddressStr
    amount: Amount = Field(description="All that was paid, the fee included, in base units")
    fee: Amount
    kind: str


class PayoutWithdrawn(Logged):
    """Somebody took out what a share had earned."""

    work_id: int
    account: AddressStr
    token: AddressStr
    amount: Amount
    version: int
    position: str = Field(description="Of the share in the split's tree, decimal")


class ProposalCreated(Logged):
    """A vote will be held."""

    proposal_id: str
    proposer: AddressStr
    title: str
    votes_from: Time
    votes_until: Time


class ProposalClosed(OnChain):
    """A vote is over, or was called off."""

    proposal_id: str
    outcome: Literal["succeeded", "defeated", "canceled"]
    for_: Amount = Field(alias="for", serialization_alias="for")
    against: Amount
    abstain: Amount
    quorum: Amount


class RewardFinalised(Logged):
    """An epoch's rewards in a token can be claimed from now on."""

    token: AddressStr
    epoch: int
    root: Hash32
    total: Amount


class ChainReorganised(Schema):
    """What was told of this block and all above it is void; what the chain has instead follows."""

    chain_id: int
    first_block: int
    reason: Literal["reorganised", "rebuilt", "missed"] = Field(
        description="`rebuilt`: the mirror was made anew; `missed`: what was kept for telling did not reach back so far"
    )


class Trial(Schema):
    """Sent when you ask for it."""

    message: str


D = TypeVar("D")


class Envelope(Schema, Generic[D]):
    """The body of every delivery."""

    type: str
    timestamp: Time = Field(description="When it happened: by the block's time, where it has one")
    data: D


DATA: dict[str, type[Schema]] = {
    "work.registered": WorkRegistered,
    "payment.received": PaymentReceived,
    "payout.withdrawn": PayoutWithdrawn,
    "proposal.created": ProposalCreated,
    "proposal.closed": ProposalClosed,
    "reward.finalised": RewardFinalised,
    "chain.reorganised": ChainReorganised,
    "webhook.test": Trial,
}
"""The data of each type."""


def body_of(type_: str, at: Any, data: dict[str, Any]) -> str:
    """The text that is signed and sent. Raises ValidationError for data that are not the type's."""
    made = DATA[type_].model_validate(data, by_name=True, by_alias=True)
    return Envelope[Any](type=type_, timestamp=at, data=made).model_dump_json(by_alias=True)
