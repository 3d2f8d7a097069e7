"""How epochs, scores and claims look over HTTP."""

from __future__ import annotations

import uuid
from typing import Literal

from pydantic import Field

from backend.intents import Intent
from backend.schemas import AddressStr, Amount, AsOf, Hash32, HexBytes, Schema, Time


class FileOut(Schema):
    """A pinned file; `recompute` wants it."""

    sha256: Hash32
    cid: str | None = Field(examples=["bafkreigu6cpfywxztismpyyezj4zputmwaeqc2l54cfetpqni2vvqonwcq"])
    url: str | None = Field(description="Where this API serves it", examples=["/v1/content/bafkrei..."])


class VoiceOut(Schema):
    """What a voice costs in one token, and what it pays out of that token's stream, an epoch."""

    token: AddressStr
    symbol: str
    decimals: int
    fee: Amount | None = Field(
        description="Platform fees of one's payments of the epoch to works of others, in this token alone, from which "
        "on one has a voice in it; null: fees in this token give none"
    )
    payout: Amount = Field(description="What one whole voice pays its creators out of this stream at most")


class CurrentEpoch(Schema):
    """The epoch that is open by the chain's clock, and what a voice in it costs."""

    epoch: int
    starts_at: Time
    ends_at: Time
    voice: list[VoiceOut]


class RootOut(Schema):
    """What an epoch adds to one token's stream. granted + carried = rewarded + rollover, to the unit."""

    token: AddressStr
    symbol: str
    decimals: int
    status: Literal[
        "nothing_due", "publishing", "pending", "challenged", "final", "rejected", "not_published", "withdrawn"
    ] = Field(
        description="`publishing`: on its way to the chain; `pending`: in its window; `final`: can be claimed; "
        "`nothing_due`: nobody is rewarded; `not_published`: it could not be, and is planned anew; "
        "`withdrawn`: rejected on chain and let go"
    )
    attempt: int
    granted: Amount = Field(description="What the epoch adds to the budget")
    carried: Amount = Field(description="Left over by the epoch before")
    pool: Amount = Field(description="Shared out, as far as the contract allows at a time")
    rewarded: Amount
    rollover: Amount = Field(description="Left over for the next epoch")
    total: Amount = Field(description="All that was ever awarded in this stream")
    root: Hash32 | None
    tree: FileOut | None = Field(description="Its sha256 is `treeDigest` on chain")
    finalizable_at: Time | None = Field(description="When the window ends")
    proposed_tx: Hash32 | None
    reason: str | None = Field(description="Why it was rejected, or could not be published")


class EpochOut(Schema):
    """An epoch: `open` takes events; `fixed` waits to be scored; `scored` has its files."""

    epoch: int
    starts_at: Time
    ends_at: Time
    state: Literal["open", "over", "fixed", "scored"]
    events: int | None
    log_root: Hash32 | None = Field(description="Root over the events' leaves; committed with the reward root")
    log: FileOut | None
    scores: FileOut | None
    roots: list[RootOut]


class EpochPage(Schema):
    """Fixed epochs, newest first."""

    current: CurrentEpoch
    items: list[EpochOut]
    next: str | None
    as_of: AsOf


class AwardOut(Schema):
    """What an epoch awarded a creator in one stream."""

    token: AddressStr
    symbol: str
    amount: Amount
    share_of_pool_bps: int = Field(description="Rounded down")


class ScoreOut(Schema):
    """A creator's score and what it is made of."""

    creator: AddressStr
    voice: Amount = Field(description="Voices given by verified people; 10^18 is one whole voice")
    share_bps: int = Field(description="Of all voices of the epoch, rounded down")
    value: Amount = Field(description="Values of the views behind it; 80,000 is one completed view")
    viewers: int = Field(description="People whose voice reached this creator")
    awards: list[AwardOut]


class RuleOut(Schema):
    """The rule an epoch was scored by; docs/rewards.md explains it."""

    min_watch_ms: int
    min_completion_bps: int
    min_values: int
    cluster_cap_bps: int


class EpochDetail(Schema):
    """An epoch with its scores, strongest first."""

    epoch: EpochOut
    rule: RuleOut | None
    voices: Amount = Field(description="All voices that were given; 10^18 is one")
    creators: int
    scores: list[ScoreOut] = Field(description="The first `limit` creators; the scores file has all")
    as_of: AsOf


class ProofNode(Schema):
    """A sibling on the way from a leaf to the root."""

    hash: Hash32
    sum: Amount


class ClaimOut(Schema):
    """An account's rewards in one stream."""

    token: AddressStr
    symbol: str
    decimals: int
    cumulative: Amount = Field(description="All that the active root awards")
    claimed: Amount
    due: Amount = Field(description="cumulative - claimed")
    claimable: Amount = Field(description="What a claim pays now: what is due, up to the account's allowance")
    allowance: Amount = Field(description="What the contract pays this account at most in this epoch")
    pending: Amount = Field(description="What a root that is still in its window adds")
    pending_from: Time | None = Field(description="When that window ends")
    root: Hash32 | None
    path: Amount | None = Field(description="Of the leaf: bit i set means a right child at step i")
    proof: list[ProofNode]
    intent: Intent | None = Field(description="Pays what is claimable; anyone may send it, the account is paid")


class AccountRewards(Schema):
    """What an account can claim, with proofs."""

    account: AddressStr
    streams: list[ClaimOut]
    claim_all: Intent | None = Field(description="One transaction for all streams")
    as_of: AsOf


class CountedEvent(Schema):
    """An event of one's own in an epoch's log, with the proof that it was counted."""

    id: uuid.UUID | None = Field(description="The id that your client gave it; null when the event is gone by now")
    logged_as: HexBytes = Field(description="Its name in the log: first 16 bytes of sha256(`troupe-event/1`, salt, id)")
    work_id: int
    kind: str
    duration_ms: int
    completion_bps: int
    leaf: Hash32
    path: Amount
    proof: list[ProofNode]


class CountedEvents(Schema):
    """One's own events of an epoch, under one's pseudonym, which sha256 of epoch, address and salt gives."""

    epoch: int
    pseudonym: HexBytes
    salt: HexBytes
    verified: bool = Field(description="Whether these events carried a voice")
    log_root: Hash32
    items: list[CountedEvent]
    next: str | None
