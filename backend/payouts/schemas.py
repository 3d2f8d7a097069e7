"""The JSON of payouts, payments and reassignments. Amounts are decimal strings of base units (see `token.decimals`)."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from backend.intents import Intent
from backend.schemas import AddressStr, Amount, AmountIn, AsOf, Hash32, Schema, Time


class PaymentKind(IntEnum):
    """What a payment is for; recorded on chain with it."""

    TIP = 1
    SALE = 2
    SUBSCRIPTION = 3
    ROYALTY = 4
    AD = 5
    CROWDFUND = 6
    TICKET = 7
    MICRO = 8
    REWARD = 9


KindName = Literal["tip", "sale", "subscription", "royalty", "ad", "crowdfund", "ticket", "micro", "reward"]
Source = Literal[
    "tip", "sale", "subscription", "royalty", "ad", "crowdfund", "ticket", "micro", "reward", "derived", "fee", "other"
]
"""Where income came from: a kind of payment, `derived` works, or the platform's `fee`."""

WorkIdIn = Annotated[int, Field(ge=0, lt=2**64, examples=[7])]


class TokenInfo(Schema):
    """A currency; the native coin is the zero address."""

    address: AddressStr
    symbol: str = Field(examples=["ETH"])
    decimals: int = Field(examples=[18])


class WorkFigures(Schema):
    """What one work brought the holder in one currency."""

    work_id: int
    earned: Amount = Field(description="The holder's part of all income so far, withdrawn or not")
    withdrawn: Amount
    claimable: Amount = Field(description="What `withdraw` pays at once")
    upstream: Amount = Field(description="What settling derived works first adds to that")
    stopped_until: Time | None = Field(
        description="Withdrawals of this work are refused until then (block time): it is frozen, or all are paused"
    )


class TokenFigures(Schema):
    """The holder's money in one currency. `claimable + upstream` is what withdrawing everything pays now."""

    token: TokenInfo
    earned: Amount
    withdrawn: Amount
    claimable: Amount = Field(description="What `withdraw` pays at once")
    upstream: Amount = Field(description="Income of derived works that is not settled yet, this holder's part")
    works: list[WorkFigures]


class Summary(Schema):
    """What an address has earned, taken and can take."""

    address: AddressStr
    as_of: AsOf
    final_block: int = Field(description="Up to this block the network calls everything final")
    tokens: list[TokenFigures]


class SettleStep(Schema):
    """One settlement: edge number `edge` of a derived work passes on what it owes to the parent."""

    work_id: int
    edge: int
    parent_id: int


class ProofNode(Schema):
    """One sibling on the way to the root."""

    hash: Hash32
    sum: Amount


class Claim(Schema):
    """What one share of one split version can take in one currency, and how."""

    work_id: int
    version: int
    position: int = Field(description="Place of the share in the split's tree: (1 << proof length) | path")
    token: TokenInfo
    weight: Amount
    total_weight: Amount
    amount: Amount = Field(description="What `withdraw` pays, to the unit, once `settles` have run")
    claimable: Amount = Field(description="What it pays without them")
    settles: list[SettleStep] = Field(description="To run first, in this order")
    path: int
    proof: list[ProofNode]
    stopped_until: Time | None
    intents: list[Intent] = Field(description="settleMany (where there is something to settle), then withdraw")


class Claims(Schema):
    """All that an address can withdraw. `intents` withdraws everything on this page, settlements first, each once."""

    address: AddressStr
    as_of: AsOf
    items: list[Claim]
    intents: list[Intent]
    next: str | None = Field(description="Pass it as `cursor` for the next page; null on the last")


class Line(Schema):
    """One dated line of a statement."""

    time: Time
    block: int
    log_index: int
    transaction: Hash32
    stage: Literal["seen", "final"]
    type: Literal["payment", "royalty", "fee", "withdrawal"]
    source: Source | None = Field(description="What the income was for; null for a withdrawal")
    work_id: int = Field(description="The work whose share this is")
    from_work_id: int | None = Field(description="The work that was paid, or the derived work that passed it on")
    payer: AddressStr | None
    token: TokenInfo
    credited: Amount = Field(description="What the event brought the whole work, before its parents' part")
    amount: Amount = Field(description="This holder's part of it, or what was withdrawn")


class Statement(Schema):
    """Payments, settlements and withdrawals of an address, newest first."""

    address: AddressStr
    as_of: AsOf
    items: list[Line]
    next: str | None


class Point(Schema):
    """What one source brought on one day."""

    day: str = Field(examples=["2026-11-21"])
    source: Source
    work_id: int
    amount: Amount


class PolicyMark(Schema):
    """A change of the platform's fee."""

    day: str
    block: int
    old_bps: int
    new_bps: int


class Series(Schema):
    """Earnings by day, source and work in one currency. Days without income are left out; the sum is `earned`."""

    address: AddressStr
    as_of: AsOf
    token: TokenInfo
    first_day: str
    last_day: str
    points: list[Point]
    fee_changes: list[PolicyMark]


def _ref(value: str) -> str:
    body = value.removeprefix("0x")
    if len(body) != 64 or any(c not in "0123456789abcdefABCDEF" for c in body):
        raise ValueError("a reference is 32 bytes: 0x and 64 hexadecimal digits")
    return "0x" + body.lower()


class PaymentRequest(Schema):
    """What somebody wants to pay."""

    work_id: WorkIdIn
    token: AddressStr = Field(
        "0x0000000000000000000000000000000000000000", description="The currency; the zero address is the native coin"
    )
    amount: AmountIn = Field(description="In base units, as a decimal string")
    kind: KindName
    ref: Annotated[str, AfterValidator(_ref)] = Field(
        "0x" + 64 * "0", description="The payer's reference, 32 bytes", examples=["0x" + 64 * "0"]
    )
    payer: AddressStr | None = Field(
        None, description="Who will pay, to see what the ledger may take already; the signed-in account by default"
    )


class PaymentIntent(Schema):
    """The transactions that make a payment, in their order."""

    as_of: AsOf
    intents: list[Intent] = Field(description="`approve` where the allowance is missing, then the payment")
    fee: Amount = Field(description="The platform's part, by the fee in force now")
    credited: Amount = Field(description="What the work gets")


class Recipient(Schema):
    """Who gets how much of the share."""

    account: AddressStr
    weight: AmountIn = Field(description="Of the split's total weight", examples=["250000"])


class ReassignRequest(Schema):
    """Give a share of a work, or part of it, to others; what is not given stays with its holder."""

    recipients: Annotated[list[Recipient], Field(min_length=1, max_length=3000)]
    position: int | None = Field(
        None, ge=1, lt=2**41, description="Which of the holder's shares; may be left out when there is one only"
    )
    activate_by: Time | None = Field(
        None, description="The move is void if it could not be active by then; two weeks after it could, by default"
    )


class ReassignIntent(Schema):
    """The transaction that moves a share, and what it does."""

    as_of: AsOf
    intents: list[Intent]
    position: int
    weight: Amount = Field(description="What the share weighed; the new ones weigh the same together")
    settles: list[SettleStep] = Field(description="Settlements that run inside, so that what is earned stays earned")
    new_hash: Hash32
    tree_digest: Hash32
    tree_cid: str = Field(description="The published file of the new shares; its digest is `tree_digest`")
    shares: list[Recipient] = Field(description="The new shares in their order, what is kept first")
    active_from: Time = Field(description="When the next split version can begin (block time)")


class ActivateIntent(Schema):
    """The transaction that makes a work's gathered reassignments its next split version."""

    as_of: AsOf
    intents: list[Intent]
    active_from: Time
