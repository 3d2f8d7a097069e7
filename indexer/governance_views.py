"""Votes and the policy they make: who holds the token and who votes with it, proposals, ballots, tallies.

How a proposal stands depends on the clock and is left to who asks; what it is counted from is here. Votes are base
units of the token, times seconds of the chain's clock.
"""

from __future__ import annotations

from indexer.view import (
    BYTES,
    CREATED,
    FLAG,
    INDEX,
    JSON,
    NUMBER,
    SMALL,
    TEXT,
    WRITTEN,
    View,
    created,
    latest,
    place,
    written,
)

NOBODY = r"'\x0000000000000000000000000000000000000000'::bytea"
DIVIDED = "length(params) = 48"
"""Whether a ballot is divided: its params are three uint128, against, for, abstaining (GovernorCountingFractional)."""


def uint128(column: str, at: int) -> str:
    """The number in 16 bytes of a bytea, from the byte `at` on, most significant first."""
    fours = (f"substring({column} FROM {at + 1 + 4 * n} FOR 4)" for n in range(4))
    words = (f"('x' || encode({four}, 'hex'))::bit(32)::int8::numeric" for four in fours)
    return "(" + " + ".join(f"{word} * {2 ** (96 - 32 * n)}" for n, word in enumerate(words)) + ")"


def _part(side: int) -> str:
    """What a ballot gives to a side: 0 against, 1 for, 2 abstaining."""
    whole = f"CASE WHEN support = {side} THEN weight ELSE 0 END"
    return f"(CASE WHEN {DIVIDED} THEN {uint128('params', 16 * side)} ELSE {whole} END)::numeric(78, 0)"


TOKEN_ACCOUNT = View(
    "token_account",
    {"account": BYTES, "balance": NUMBER, "delegate": BYTES, "votes": NUMBER, **WRITTEN},
    f"""
    -- what an account holds of the platform's token, who votes with that (none: nobody does), and what it votes with
    SELECT a.account, a.balance, nullif(troupe_token_delegate_changed.to_delegate, {NOBODY}) AS delegate,
           coalesce(troupe_token_delegate_votes_changed.new_votes, 0)::numeric(78, 0) AS votes, {written("a.place")}
    FROM (
        SELECT account, sum(amount)::numeric(78, 0) AS balance, max({place("m")}) AS place
        FROM (
            SELECT to_ AS account, value AS amount, block_number, log_index FROM chain.troupe_token_transfer
            UNION ALL
            SELECT from_, -value, block_number, log_index FROM chain.troupe_token_transfer
            UNION ALL
            SELECT delegator, 0, block_number, log_index FROM chain.troupe_token_delegate_changed
            UNION ALL
            SELECT delegate, 0, block_number, log_index FROM chain.troupe_token_delegate_votes_changed
        ) m
        WHERE account <> {NOBODY} GROUP BY account
    ) a
    {latest("troupe_token_delegate_changed", "delegator", "a.account", "to_delegate")}
    {latest("troupe_token_delegate_votes_changed", "delegate", "a.account", "new_votes")}
    """,
    key=("account",),
)

TOKEN_SUPPLY = View(
    "token_supply",
    {"supply": NUMBER, "block_time": SMALL, **WRITTEN},
    f"""
    -- how many there are of the platform's token, after each time that some were made or burned
    SELECT (sum(amount) OVER (ORDER BY block_number, log_index))::numeric(78, 0) AS supply, block_time,
           block_number, log_index
    FROM (
        SELECT CASE WHEN from_ = {NOBODY} THEN value ELSE -value END AS amount, block_time, block_number, log_index
        FROM chain.troupe_token_transfer WHERE from_ = {NOBODY} OR to_ = {NOBODY}
    ) m
    """,
    key=("block_number", "log_index"),
)

VOTE = View(
    "vote",
    {
        "proposal_id": NUMBER,
        "voter": BYTES,
        "support": SMALL,
        "weight": NUMBER,
        "reason": TEXT,
        "divided": FLAG,
        "against": NUMBER,
        "for_": NUMBER,
        "abstain": NUMBER,
        "block_time": SMALL,
        **WRITTEN,
    },
    f"""
    -- every ballot, and what it gives to each side
    SELECT proposal_id, voter, support, weight, reason, {DIVIDED} AS divided,
           {_part(0)} AS against, {_part(1)} AS for_, {_part(2)} AS abstain, block_time, block_number, log_index
    FROM (
        SELECT proposal_id, voter, support, weight, reason, ''::bytea AS params, block_time, block_number, log_index
        FROM chain.troupe_governor_vote_cast
        UNION ALL
        SELECT proposal_id, voter, support, weight, reason, params, block_time, block_number, log_index
        FROM chain.troupe_governor_vote_cast_with_params
    ) ballot
    """,
    key=("block_number", "log_index"),
)

TALLY = View(
    "tally",
    {"proposal_id": NUMBER, "against": NUMBER, "for_": NUMBER, "abstain": NUMBER, "ballots": SMALL, **WRITTEN},
    f"""
    SELECT proposal_id, sum(against)::numeric(78, 0) AS against, sum(for_)::numeric(78, 0) AS for_,
           sum(abstain)::numeric(78, 0) AS abstain, count(*) AS ballots, {written(f"max({place('v')})")}
    FROM chain.vote v GROUP BY proposal_id
    """,
    key=("proposal_id",),
)

PROPOSAL = View(
    "proposal",
    {
        "proposal_id": NUMBER,
        "proposer": BYTES,
        "description": TEXT,
        "targets": JSON,
        "values_": JSON,
        "calldatas": JSON,
        "vote_start": NUMBER,
        "vote_end": NUMBER,
        "eta": NUMBER,
        "queued": FLAG,
        "executed": FLAG,
        "canceled": FLAG,
        "against": NUMBER,
        "for_": NUMBER,
        "abstain": NUMBER,
        **CREATED,
        "created_log_index": INDEX,
        **WRITTEN,
    },
    f"""
    -- a proposal with all that decides how it stands but the clock and the quorum: `vote_end` with its extension, if a
    -- late quorum made one; `eta` is when the timelock lets it through, none before it is queued. It is not joined to
    -- `tally`: a list would count the votes of all proposals, and this way counts those of its own
    SELECT p.proposal_id, p.proposer, p.description, p.targets, p.values_, p.calldatas, p.vote_start,
           greatest(p.vote_end, extended.extended_deadline)::numeric(78, 0) AS vote_end,
           queued.eta_seconds AS eta, queued.place IS NOT NULL AS queued,
           executed.place IS NOT NULL AS executed, canceled.place IS NOT NULL AS canceled,
           coalesce(t.against, 0)::numeric(78, 0) AS against, coalesce(t.for_, 0)::numeric(78, 0) AS for_,
           coalesce(t.abstain, 0)::numeric(78, 0) AS abstain,
           {created("p")}, p.log_index AS created_log_index,
           {written(place("p"), "extended.place", "queued.place", "executed.place", "canceled.place", "t.place")}
    FROM chain.troupe_governor_proposal_created p
    {latest("troupe_governor_proposal_extended", "proposal_id", "p.proposal_id", "extended_deadline", name="extended")}
    {latest("troupe_governor_proposal_queued", "proposal_id", "p.proposal_id", "eta_seconds", name="queued")}
    {latest("troupe_governor_proposal_executed", "proposal_id", "p.proposal_id", name="executed")}
    {latest("troupe_governor_proposal_canceled", "proposal_id", "p.proposal_id", name="canceled")}
    LEFT JOIN LATERAL (SELECT sum(v.against) AS against, sum(v.for_) AS for_, sum(v.abstain) AS abstain,
                              max({place("v")}) AS place
                       FROM chain.vote v WHERE v.proposal_id = p.proposal_id) t ON true
    """,
    key=("proposal_id",),
)


def _newest(table: str, name: str) -> str:
    return f"""LEFT JOIN LATERAL (SELECT e.*, {place("e")} AS place FROM chain.{table} e
                       ORDER BY e.block_number DESC, e.log_index DESC LIMIT 1) {name} ON true"""


POLICY = View(
    "policy",
    {
        "fee_bps": SMALL,
        "fee_since_block": SMALL,
        "fee_since": SMALL,
        "royalty_bps": SMALL,
        "dispute_bond": NUMBER,
        "quorum_percent": NUMBER,
        **WRITTEN,
    },
    f"""
    -- one row: the policy in force; nulls where no event has set it yet
    SELECT fee.new_bps AS fee_bps, fee.block_number AS fee_since_block, fee.block_time AS fee_since,
           royalty.new_bps AS royalty_bps, bond.new_bond AS dispute_bond,
           quorum.new_quorum_numerator AS quorum_percent,
           {written("fee.place", "royalty.place", "bond.place", "quorum.place")}
    FROM (SELECT) one
    {_newest("revenue_ledger_fee_changed", "fee")}
    {_newest("work_registry_royalty_changed", "royalty")}
    {_newest("work_standing_dispute_bond_changed", "bond")}
    {_newest("troupe_governor_quorum_numerator_updated", "quorum")}
    """,
    key=(),
)

VIEWS = (TOKEN_ACCOUNT, TOKEN_SUPPLY, VOTE, TALLY, PROPOSAL, POLICY)
"""In an order in which they can be created."""

LOOKUPS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("TroupeToken", "Transfer", ("from_",)),
    ("TroupeToken", "Transfer", ("to_",)),
    ("TroupeToken", "DelegateChanged", ("delegator",)),
    ("TroupeToken", "DelegateVotesChanged", ("delegate",)),
    ("TroupeGovernor", "ProposalCreated", ("proposal_id",)),
    ("TroupeGovernor", "ProposalExtended", ("proposal_id",)),
    ("TroupeGovernor", "ProposalQueued", ("proposal_id",)),
    ("TroupeGovernor", "ProposalExecuted", ("proposal_id",)),
    ("TroupeGovernor", "ProposalCanceled", ("proposal_id",)),
    ("TroupeGovernor", "VoteCast", ("proposal_id",)),
    ("TroupeGovernor", "VoteCastWithParams", ("proposal_id",)),
)
"""As indexer.views.LOOKUPS."""
