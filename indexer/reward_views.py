"""Rewards by what the distributor has said: streams (one a token), roots and what became of them, claims."""

from __future__ import annotations

from indexer.view import (
    BYTES,
    CREATED,
    INDEX,
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

REWARD_STREAM = View(
    "reward_stream",
    {
        "token": BYTES,
        "funded": NUMBER,
        "claimed": NUMBER,
        "root": BYTES,
        "total": NUMBER,
        "root_epoch": NUMBER,
        **WRITTEN,
    },
    f"""
    -- what came into a token's stream and what was paid out of it, and the root that claims are proved by: its sum, and
    -- the epoch it was proposed in; none, and zero, before the first
    SELECT s.token, s.funded, s.claimed, reward_distributor_root_finalized.root,
           coalesce(reward_distributor_root_finalized.total, 0)::numeric(78, 0) AS total,
           coalesce(reward_distributor_root_finalized.epoch, 0)::numeric(78, 0) AS root_epoch,
           {written("s.place", "reward_distributor_root_finalized.place")}
    FROM (
        SELECT token, sum(funded)::numeric(78, 0) AS funded, sum(claimed)::numeric(78, 0) AS claimed,
               max({place("m")}) AS place
        FROM (
            SELECT token, 0 AS funded, 0 AS claimed, block_number, log_index
            FROM chain.reward_distributor_caps_changed
            UNION ALL
            SELECT token, amount, 0, block_number, log_index FROM chain.reward_distributor_funded
            UNION ALL
            SELECT token, 0, amount, block_number, log_index FROM chain.reward_distributor_reward_claimed
        ) m GROUP BY token
    ) s
    {latest("reward_distributor_root_finalized", "token", "s.token", "root", "total", "epoch")}
    """,
    key=("token",),
)

_BEFORE_NEXT = "(p.next IS NULL OR ARRAY[e.block_number, e.log_index] < p.next)"


def _became(event: str, name: str, *columns: str, where: str = "true") -> str:
    """A lateral join for the last such event between a proposal and the next one of its stream."""
    after = "(e.block_number, e.log_index) > (p.block_number, p.log_index)"
    return latest(
        f"reward_distributor_{event}",
        "token",
        "p.token",
        *columns,
        name=name,
        where=f"{after} AND {_BEFORE_NEXT} AND {where}",
    )


REWARD_ROOT = View(
    "reward_root",
    {
        "token": BYTES,
        "epoch": NUMBER,
        "root": BYTES,
        "total": NUMBER,
        "tree_digest": BYTES,
        "log_root": BYTES,
        "finalizable_at": SMALL,
        "status": TEXT,
        "reason": SMALL,
        "ended_block": SMALL,
        **CREATED,
        "created_log_index": INDEX,
        **WRITTEN,
    },
    f"""
    -- every root that was proposed, and what became of it: 'pending', 'challenged', 'final' or 'rejected' (`reason` as
    -- in IRewardDistributor.Reason). A stream's roots are proposed one after the other, each ended before the next.
    -- `epoch` is the one it was proposed in; `finalizable_at` that of the last ruling, where there was a challenge
    SELECT p.token, p.epoch, p.root, p.total, p.tree_digest, p.log_root,
           coalesce(ruled.finalizable_at, p.finalizable_at) AS finalizable_at,
           CASE WHEN final.place IS NOT NULL THEN 'final' WHEN rejected.place IS NOT NULL THEN 'rejected'
                WHEN challenged.place > coalesce(ruled.place, {place("p")}) THEN 'challenged' ELSE 'pending'
           END AS status,
           rejected.reason, (coalesce(final.place, rejected.place))[1] AS ended_block,
           {created("p")}, p.log_index AS created_log_index,
           {written(place("p"), "challenged.place", "ruled.place", "final.place", "rejected.place")}
    FROM (
        SELECT r.*, lead({place("r")}) OVER (PARTITION BY token ORDER BY block_number, log_index) AS next
        FROM chain.reward_distributor_root_proposed r
    ) p
    {_became("root_challenged", "challenged")}
    {_became("challenge_resolved", "ruled", "finalizable_at", where="NOT e.upheld")}
    {_became("root_finalized", "final")}
    {_became("root_rejected", "rejected", "reason")}
    """,
    key=("token", "created_block", "created_log_index"),
)

CLAIM = View(
    "claim",
    {
        "account": BYTES,
        "token": BYTES,
        "recipient": BYTES,
        "epoch": NUMBER,
        "amount": NUMBER,
        "cumulative": NUMBER,
        "block_time": SMALL,
        "tx_hash": BYTES,
        **WRITTEN,
    },
    """
    -- every payment of rewards: in which epoch, and what its root grants the account in all (`cumulative`)
    SELECT account, token, recipient, epoch, amount, cumulative, block_time, tx_hash, block_number, log_index
    FROM chain.reward_distributor_reward_claimed
    """,
    key=("block_number", "log_index"),
)

REWARD_ACCOUNT = View(
    "reward_account",
    {"account": BYTES, "token": BYTES, "claimed": NUMBER, "epoch": NUMBER, **WRITTEN},
    f"""
    -- what an account has been paid of a stream in all, and the epoch of its last claim
    SELECT account, token, sum(amount)::numeric(78, 0) AS claimed, max(epoch)::numeric(78, 0) AS epoch,
           {written(f"max({place('c')})")}
    FROM chain.claim c GROUP BY account, token
    """,
    key=("account", "token"),
)

VIEWS = (REWARD_STREAM, REWARD_ROOT, CLAIM, REWARD_ACCOUNT)
"""In an order in which they can be created."""

LOOKUPS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("RewardDistributor", "CapsChanged", ("token",)),
    ("RewardDistributor", "Funded", ("token",)),
    ("RewardDistributor", "RewardClaimed", ("account", "token")),
    ("RewardDistributor", "RewardClaimed", ("token",)),
    ("RewardDistributor", "RootProposed", ("token",)),
    ("RewardDistributor", "RootChallenged", ("token",)),
    ("RewardDistributor", "ChallengeResolved", ("token",)),
    ("RewardDistributor", "RootFinalized", ("token",)),
    ("RewardDistributor", "RootRejected", ("token",)),
)
"""As indexer.views.LOOKUPS."""
