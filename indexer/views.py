"""What is current, and what money is where: views over the event tables, in docs/money.md's words.

Order in time is (block_number, log_index) everywhere; every row has those of its last write (`indexer.view.WRITTEN`).
Amounts are base units, the native coin is the zero address.

`credit` and `version_accrual` are quick for works that are named as values (`work_id = 5`, `work_id = ANY(array)`),
which PostgreSQL hands down to the events' indexes; for works that come from a join it computes every work's first.
"""

from __future__ import annotations

from indexer import governance_views, reward_views, schema, shop_views
from indexer.view import (
    BYTES,
    CREATED,
    FLAG,
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

WORK = View(
    "work",
    {
        "work_id": NUMBER,
        "owner": BYTES,
        "creator": BYTES,
        "registrant": BYTES,
        "content_hash": BYTES,
        "cid_digest": BYTES,
        "kind": SMALL,
        "ai_label": SMALL,
        "licence_id": SMALL,
        "status": SMALL,
        **CREATED,
        **WRITTEN,
    },
    f"""
    -- a registered work as it is now. Its creator is who registered it, until a ruling for somebody who had committed
    -- to it before is in force (outcome 1, ENFORCED)
    SELECT r.work_id,
           coalesce(work_registry_transfer.to_, r.owner) AS owner,
           coalesce(ruling.claimant, r.owner) AS creator,
           r.owner AS registrant,
           r.content_hash,
           coalesce(work_registry_metadata_changed.cid_digest, r.cid_digest) AS cid_digest,
           r.kind,
           coalesce(work_registry_ai_label_changed.label, r.ai_label) AS ai_label,
           r.licence_id,
           coalesce(work_registry_work_status_changed.status, 0) AS status,
           {created("r")},
           {
        written(
            place("r"),
            "work_registry_transfer.place",
            "work_registry_metadata_changed.place",
            "work_registry_ai_label_changed.place",
            "work_registry_work_status_changed.place",
            "ruling.place",
        )
    }
    FROM chain.work_registry_work_registered r
    {latest("work_registry_transfer", "token_id", "r.work_id", "to_")}
    {latest("work_registry_metadata_changed", "work_id", "r.work_id", "cid_digest")}
    {latest("work_registry_ai_label_changed", "work_id", "r.work_id", "label")}
    {latest("work_registry_work_status_changed", "work_id", "r.work_id", "status")}
    {latest("work_standing_dispute_closed", "work_id", "r.work_id", "claimant", name="ruling", where="e.outcome = 1")}
    """,
    key=("work_id",),
)

DERIVATION = View(
    "derivation",
    {
        "work_id": NUMBER,
        "parent_id": NUMBER,
        "share_bps": SMALL,
        "absolute": FLAG,
        "licence_id": SMALL,
        "block_time": SMALL,
        "tx_hash": BYTES,
        **WRITTEN,
    },
    """
    SELECT work_id, parent_id, share_bps, absolute, licence_id, block_time, tx_hash, block_number, log_index
    FROM chain.work_registry_derivation_recorded
    """,
    key=("work_id", "parent_id"),
)

ANCESTOR = View(
    "ancestor",
    {"work_id": NUMBER, "ancestor_id": NUMBER, "depth": INDEX, **WRITTEN},
    f"""
    -- all that a work derives from, and over how few derivations; written by the work's own first one on such a way.
    -- Quick for works that are named: the walk begins at each
    SELECT w.work_id, up.ancestor_id, up.depth, {written("up.place")}
    FROM chain.work_registry_work_registered w CROSS JOIN LATERAL (
        WITH RECURSIVE walk(ancestor_id, depth, place) AS (
            SELECT d.parent_id, 1, {place("d")}
            FROM chain.work_registry_derivation_recorded d WHERE d.work_id = w.work_id
            UNION
            SELECT d.parent_id, walk.depth + 1, walk.place
            FROM walk JOIN chain.work_registry_derivation_recorded d ON d.work_id = walk.ancestor_id
        )
        SELECT DISTINCT ON (ancestor_id) ancestor_id, depth, place FROM walk ORDER BY ancestor_id, depth, place
    ) up
    """,
    key=("work_id", "ancestor_id"),
)

DESCENDANT = View(
    "descendant",
    {"work_id": NUMBER, "descendant_id": NUMBER, "depth": INDEX, **WRITTEN},
    f"""
    -- all that came of a work: the same pairs as in `ancestor`, quick from the other end
    SELECT w.work_id, down.descendant_id, down.depth, {written("down.place")}
    FROM chain.work_registry_work_registered w CROSS JOIN LATERAL (
        WITH RECURSIVE walk(descendant_id, depth, place) AS (
            SELECT d.work_id, 1, {place("d")}
            FROM chain.work_registry_derivation_recorded d WHERE d.parent_id = w.work_id
            UNION
            SELECT d.work_id, walk.depth + 1, {place("d")}
            FROM walk JOIN chain.work_registry_derivation_recorded d ON d.parent_id = walk.descendant_id
        )
        SELECT DISTINCT ON (descendant_id) descendant_id, depth, place FROM walk ORDER BY descendant_id, depth, place
    ) down
    """,
    key=("work_id", "descendant_id"),
)

LICENCE = View(
    "licence",
    {
        "licence_id": SMALL,
        "creator": BYTES,
        "min_share_bps": SMALL,
        "commercial": FLAG,
        "derivatives": FLAG,
        "approval_required": FLAG,
        "share_alike": FLAG,
        "attribution": FLAG,
        "fan_fiction": FLAG,
        "relative": FLAG,
        "ai_training": FLAG,
        "expires": SMALL,
        "terms_hash": BYTES,
        "block_time": SMALL,
        **WRITTEN,
    },
    """
    SELECT licence_id, creator, terms_min_share_bps AS min_share_bps, terms_commercial AS commercial,
           terms_derivatives AS derivatives, terms_approval_required AS approval_required,
           terms_share_alike AS share_alike, terms_attribution AS attribution, terms_fan_fiction AS fan_fiction,
           terms_relative AS relative, terms_ai_training AS ai_training, terms_expires AS expires,
           terms_terms_hash AS terms_hash, block_time, block_number, log_index
    FROM chain.work_registry_licence_created
    """,
    key=("licence_id",),
)

EDGE = View(
    "edge",
    {"work_id": NUMBER, "edge_index": SMALL, "parent_id": NUMBER, "bps": SMALL, "relative": FLAG, **WRITTEN},
    """
    SELECT work_id, index AS edge_index, parent_id, bps, relative, block_number, log_index
    FROM chain.revenue_ledger_edge_opened
    """,
    key=("work_id", "edge_index"),
)

SPLIT = View(
    "split",
    {
        "work_id": NUMBER,
        "version": SMALL,
        "root": BYTES,
        "total_weight": NUMBER,
        "tree_digest": BYTES,
        "block_time": SMALL,
        **WRITTEN,
    },
    """
    -- every version; the active one has the largest number
    SELECT work_id, version, root, total_weight, tree_digest, block_time, block_number, log_index
    FROM chain.revenue_ledger_split_activated
    """,
    key=("work_id", "version"),
)

CREDIT = View(
    "credit",
    {
        "work_id": NUMBER,
        "token": BYTES,
        "version": SMALL,
        **WRITTEN,
        "block_time": SMALL,
        "direct": NUMBER,
        "inherited": NUMBER,
        "kind": SMALL,
        "source": TEXT,
        "source_work_id": NUMBER,
        "payer": BYTES,
        "tx_hash": BYTES,
    },
    """
    -- what arrived at a work, and in which version of its split: of a payment the net amount ('payment'), its fee at
    -- work 0 ('fee'), and what a derivation passed on ('royalty'). `kind` is the payment's, none for a royalty;
    -- `source_work_id` is the work that was paid, or the derivation.
    SELECT c.work_id, c.token, coalesce(s.version, 0) AS version, c.block_number, c.log_index, c.block_time,
           c.direct, c.inherited, c.kind, c.source, c.source_work_id, c.payer, c.tx_hash
    FROM (
        SELECT work_id, token, block_number, log_index, block_time, (amount - fee)::numeric(78, 0) AS direct,
               0::numeric(78, 0) AS inherited, kind, 'payment'::text AS source, work_id AS source_work_id,
               payer, tx_hash
        FROM chain.revenue_ledger_payment_received
        UNION ALL
        SELECT 0::numeric(78, 0), token, block_number, log_index, block_time, fee,
               0::numeric(78, 0), kind, 'fee'::text, work_id, payer, tx_hash
        FROM chain.revenue_ledger_payment_received WHERE fee > 0
        UNION ALL
        SELECT parent_id, token, block_number, log_index, block_time, 0::numeric(78, 0),
               amount, NULL::bigint, 'royalty'::text, work_id, NULL::bytea, tx_hash
        FROM chain.revenue_ledger_edge_settled
    ) c
    LEFT JOIN LATERAL (
        SELECT a.version FROM chain.revenue_ledger_split_activated a
        WHERE a.work_id = c.work_id AND (a.block_number, a.log_index) < (c.block_number, c.log_index)
        ORDER BY a.block_number DESC, a.log_index DESC LIMIT 1
    ) s ON true
    """,
    key=("block_number", "log_index", "source"),
)

VERSION_ACCRUAL = View(
    "version_accrual",
    {
        "work_id": NUMBER,
        "token": BYTES,
        "version": SMALL,
        "direct_before": NUMBER,
        "inherited_before": NUMBER,
        "direct_after": NUMBER,
        "inherited_after": NUMBER,
        **WRITTEN,
    },
    f"""
    -- the work's counters when the version got its first credit, and when it got its last so far. A version without a
    -- credit has no row: it is due nothing. Versions only grow, so sums by version are the counters themselves.
    SELECT work_id, token, version,
           (sum(direct) OVER past - direct)::numeric(78, 0) AS direct_before,
           (sum(inherited) OVER past - inherited)::numeric(78, 0) AS inherited_before,
           (sum(direct) OVER past)::numeric(78, 0) AS direct_after,
           (sum(inherited) OVER past)::numeric(78, 0) AS inherited_after,
           {written("v.place")}
    FROM (
        SELECT work_id, token, version, sum(direct) AS direct, sum(inherited) AS inherited, max({place("c")}) AS place
        FROM chain.credit c GROUP BY work_id, token, version
    ) v
    WINDOW past AS (PARTITION BY work_id, token ORDER BY version)
    """,
    key=("work_id", "token", "version"),
)

SETTLED = View(
    "settled",
    {"work_id": NUMBER, "edge_index": SMALL, "parent_id": NUMBER, "token": BYTES, "amount": NUMBER, **WRITTEN},
    f"""
    SELECT work_id, index AS edge_index, parent_id, token, sum(amount)::numeric(78, 0) AS amount,
           {written(f"max({place('s')})")}
    FROM chain.revenue_ledger_edge_settled s GROUP BY work_id, index, parent_id, token
    """,
    key=("work_id", "edge_index", "token"),
)

WITHDRAWN = View(
    "withdrawn",
    {
        "work_id": NUMBER,
        "token": BYTES,
        "version": SMALL,
        "position": NUMBER,
        "account": BYTES,
        "amount": NUMBER,
        **WRITTEN,
    },
    f"""
    SELECT work_id, token, version, position, account, sum(amount)::numeric(78, 0) AS amount,
           {written(f"max({place('w')})")}
    FROM chain.revenue_ledger_withdrawn w GROUP BY work_id, token, version, position, account
    """,
    key=("work_id", "token", "version", "position", "account"),
)

LEDGER_BALANCE = View(
    "ledger_balance",
    {"token": BYTES, "received": NUMBER, "withdrawn": NUMBER, "balance": NUMBER, **WRITTEN},
    f"""
    -- what the ledger must hold of each token: all that was paid less all that was paid out
    SELECT token, sum(received)::numeric(78, 0) AS received, sum(withdrawn)::numeric(78, 0) AS withdrawn,
           (sum(received) - sum(withdrawn))::numeric(78, 0) AS balance, {written(f"max({place('m')})")}
    FROM (
        SELECT token, amount AS received, 0 AS withdrawn, block_number, log_index
        FROM chain.revenue_ledger_payment_received
        UNION ALL
        SELECT token, 0, amount, block_number, log_index FROM chain.revenue_ledger_withdrawn
    ) m GROUP BY token
    """,
    key=("token",),
)

ALLOWED_TOKEN = View(
    "allowed_token",
    {"token": BYTES, "allowed": FLAG, **WRITTEN},
    """
    -- what works may be paid in beside the native coin, and what they might once
    SELECT DISTINCT ON (token) token, allowed, block_number, log_index
    FROM chain.revenue_ledger_token_allowed ORDER BY token, block_number DESC, log_index DESC
    """,
    key=("token",),
)

VIEWS = (
    WORK,
    DERIVATION,
    ANCESTOR,
    DESCENDANT,
    LICENCE,
    EDGE,
    SPLIT,
    CREDIT,
    VERSION_ACCRUAL,
    SETTLED,
    WITHDRAWN,
    LEDGER_BALANCE,
    ALLOWED_TOKEN,
    *governance_views.VIEWS,
    *reward_views.VIEWS,
    *shop_views.VIEWS,
)
"""In an order in which they can be created."""


LOOKUPS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("WorkRegistry", "WorkRegistered", ("work_id",)),
    ("WorkRegistry", "WorkRegistered", ("owner",)),
    ("WorkRegistry", "WorkRegistered", ("content_hash",)),
    ("WorkRegistry", "Transfer", ("token_id",)),
    ("WorkRegistry", "MetadataChanged", ("work_id",)),
    ("WorkRegistry", "AiLabelChanged", ("work_id",)),
    ("WorkRegistry", "WorkStatusChanged", ("work_id",)),
    ("WorkRegistry", "DerivationRecorded", ("work_id",)),
    ("WorkRegistry", "DerivationRecorded", ("parent_id",)),
    ("WorkRegistry", "LicenceCreated", ("licence_id",)),
    ("RevenueLedger", "EdgeOpened", ("work_id",)),
    ("RevenueLedger", "EdgeOpened", ("parent_id",)),
    ("RevenueLedger", "SplitActivated", ("work_id",)),
    ("RevenueLedger", "SplitActivated", ("root",)),
    ("RevenueLedger", "ShareReassigned", ("work_id",)),
    ("RevenueLedger", "PaymentReceived", ("work_id", "token")),
    ("RevenueLedger", "EdgeSettled", ("work_id", "token")),
    ("RevenueLedger", "EdgeSettled", ("parent_id", "token")),
    ("RevenueLedger", "Withdrawn", ("work_id", "token")),
    ("RevenueLedger", "Withdrawn", ("account",)),
    ("RevenueLedger", "PaymentReceived", ("payer",)),
    ("WorkRegistry", "DerivativeApproved", ("parent_id",)),
    *governance_views.LOOKUPS,
    *reward_views.LOOKUPS,
    *shop_views.LOOKUPS,
)
"""(contract, event, columns): what is looked up by these columns, in the order of time."""


def indexes() -> dict[str, str]:
    """Name -> DDL of the indexes behind LOOKUPS, each ending with the row's position in the chain."""
    found = {}
    of_events = [(schema.events()[contract, event], columns) for contract, event, columns in LOOKUPS]
    for described, columns in (*of_events, *shop_views.DERIVED_LOOKUPS):
        table = described.name
        name = f"ix_{table}_{'_'.join(columns)}"
        by = ", ".join((*columns, "block_number", "log_index"))
        found[name] = f"CREATE INDEX {name} ON {schema.SCHEMA}.{table} ({by})"
    return found
