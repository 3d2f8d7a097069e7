"""Proposals, votes and powers as they enter and leave."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from backend.intents import Intent
from backend.schemas import AddressStr, Amount, AsOf, HexBytes, Schema, Time

StateName = Literal["pending", "active", "canceled", "defeated", "succeeded", "queued", "executed"]
SupportName = Literal["against", "for", "abstain"]


class CallOut(Schema):
    """One call that the proposal makes when it is executed."""

    target: AddressStr
    value: Amount
    data: HexBytes
    contract: str | None = Field(description="Null when the target is not one of Troupe's contracts")
    function: str | None = Field(examples=["setFeeBps(uint16)"])
    words: str = Field(examples=["Set the platform fee on payments to 4.00%"])


class TallyOut(Schema):
    """Votes in base units of the token, as counted so far."""

    for_: Amount = Field(alias="for", serialization_alias="for")
    against: Amount
    abstain: Amount
    quorum: Amount = Field(description="What `for` and `abstain` must reach together")
    quorum_reached: bool


class ProposalOut(Schema):
    """A proposal and how it stands at the head of the mirror."""

    id: str = Field(description="The Governor's number of it, decimal")
    title: str
    body: str = Field(description="Markdown, as its author wrote it")
    proposer: AddressStr
    state: StateName
    calls: list[CallOut]
    votes_from: Time = Field(description="Votes count as they were held at this moment")
    votes_until: Time
    executable_from: Time | None = Field(description="When the timelock lets it through; null until it is queued")
    tally: TallyOut
    block: int
    stage: Literal["seen", "final"]


class ProposalAnswer(ProposalOut):
    """A proposal, and the block that this was read at."""

    as_of: AsOf


class ProposalPage(Schema):
    """A page of proposals, newest first."""

    items: list[ProposalOut]
    next: str | None
    as_of: AsOf


class VoteOut(Schema):
    """One vote."""

    voter: AddressStr
    support: SupportName | Literal["divided"]
    weight: Amount
    reason: str
    at: Time
    block: int


class VotePage(Schema):
    """A page of a proposal's votes, newest first."""

    items: list[VoteOut]
    next: str | None
    as_of: AsOf


class PowerOut(Schema):
    """What an address can vote with on one proposal."""

    address: AddressStr
    votes: Amount = Field(description="At the proposal's snapshot; delegated to this address, its own included")
    voted: Amount = Field(description="What it has cast already")
    as_of: AsOf


class ActionIn(Schema):
    """A call that the proposal shall make; `arguments` in order, integers as decimal strings, bytes as 0x-hex."""

    contract: Annotated[str, Field(max_length=64, examples=["RevenueLedger"])]
    function: Annotated[str, Field(max_length=200, examples=["setFeeBps"])]
    arguments: Annotated[list[Any], Field(max_length=16, examples=[["400"]])]


class ProposalIn(Schema):
    """What is proposed. The description on chain is the title, a blank line, and the body."""

    title: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\r\n]*\S[^\r\n]*$")]
    body: Annotated[str, Field(max_length=50_000)] = ""
    actions: Annotated[list[ActionIn], Field(min_length=1, max_length=10)]
    proposer: AddressStr | None = Field(
        None, description="Binds the description to this account, so that nobody can propose it first and cancel it"
    )


class ProposalIntent(Schema):
    """The transaction that proposes, and the number that the proposal will have."""

    proposal_id: str
    intent: Intent
    words: list[str]


class VoteIn(Schema):
    """How to vote, and why."""

    support: SupportName
    reason: Annotated[str, Field(max_length=2_000)] = ""


class DelegationIn(Schema):
    """Who shall vote with your tokens; yourself, to vote with them at all."""

    delegate: AddressStr


class IntentOut(Schema):
    """One transaction to sign."""

    intent: Intent


class Policy(Schema):
    """What governance has decided, as it is in force."""

    platform_fee_bps: int
    changed_in_block: int
    as_of: AsOf
