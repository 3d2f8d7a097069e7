"""What there is in the shop: offers, items with their holders, characters with their users, plans, subscriptions.

What depends on the clock (an offer's window, the end of a rental) is left to who asks: views know no time. An offer is
dead, beside that, while its seller does not own what it offers; so `owner` stands beside `seller`.
"""

from __future__ import annotations

from indexer.schema import ITEM_BATCH_MOVE, Table
from indexer.view import BYTES, CREATED, FLAG, NUMBER, SMALL, WRITTEN, View, created, latest, place, written

NOBODY = r"'\x0000000000000000000000000000000000000000'::bytea"

LISTING = View(
    "listing",
    {
        "listing_id": NUMBER,
        "work_id": NUMBER,
        "seller": BYTES,
        "owner": BYTES,
        "kind": SMALL,
        "payment_kind": SMALL,
        "asset_id": NUMBER,
        "token": BYTES,
        "price": NUMBER,
        "max_supply": NUMBER,
        "sold": NUMBER,
        "starts_at": SMALL,
        "ends_at": SMALL,
        "period": SMALL,
        "cid_digest": BYTES,
        "account": BYTES,
        "expected_state": NUMBER,
        "closed": FLAG,
        **CREATED,
        **WRITTEN,
    },
    f"""
    -- an offer as it is now; `owner` is who owns the work, or the character that is let (kind 3)
    SELECT l.listing_id, l.work_id, l.seller,
           CASE WHEN l.kind = 3 THEN characters_transfer.to_ ELSE work_registry_transfer.to_ END AS owner,
           l.kind, t.payment_kind, t.asset_id, l.token,
           coalesce(storefront_listing_repriced.price, l.price)::numeric(78, 0) AS price,
           l.max_supply, coalesce(b.sold, 0)::numeric(78, 0) AS sold,
           t.starts_at, t.ends_at, t.period, t.cid_digest, t.account, t.expected_state,
           storefront_listing_cancelled.place IS NOT NULL AS closed,
           {created("l")},
           {
        written(
            place("l"),
            place("t"),
            "storefront_listing_repriced.place",
            "storefront_listing_cancelled.place",
            "CASE WHEN l.kind = 3 THEN characters_transfer.place ELSE work_registry_transfer.place END",
            "b.place",
        )
    }
    FROM chain.storefront_listed l
    JOIN chain.storefront_listing_terms t ON t.listing_id = l.listing_id
    {latest("storefront_listing_repriced", "listing_id", "l.listing_id", "price")}
    {latest("work_registry_transfer", "token_id", "l.work_id", "to_")}
    {latest("characters_transfer", "token_id", "t.asset_id", "to_")}
    {latest("storefront_listing_cancelled", "listing_id", "l.listing_id")}
    LEFT JOIN LATERAL (SELECT sum(p.qty) AS sold, max({place("p")}) AS place FROM chain.storefront_purchased p
                       WHERE p.listing_id = l.listing_id) b ON true
    """,
    key=("listing_id",),
)

ITEM_MOVE = View(
    "item_move",
    {"item_id": NUMBER, "from_": BYTES, "to_": BYTES, "amount": NUMBER, "member": SMALL, **WRITTEN},
    """
    -- every transfer of items, the members of batches one by one
    SELECT id AS item_id, from_, to_, value AS amount, 1::bigint AS member, block_number, log_index
    FROM chain.items_transfer_single
    UNION ALL
    SELECT item_id, from_, to_, amount, member, block_number, log_index FROM chain.item_batch_move
    """,
    key=("block_number", "log_index", "member"),
)

ITEM = View(
    "item",
    {
        "item_id": NUMBER,
        "work_id": NUMBER,
        "max_supply": NUMBER,
        "per_account_cap": SMALL,
        "rarity": SMALL,
        "soulbound": FLAG,
        "cid_digest": BYTES,
        "expires_at": SMALL,
        "minted": NUMBER,
        "burned": NUMBER,
        **CREATED,
        **WRITTEN,
    },
    f"""
    SELECT c.id AS item_id, c.work_id, c.max_supply, c.per_account_cap, c.rarity, c.soulbound, c.cid_digest,
           coalesce(e.expires_at, 0) AS expires_at,
           coalesce(m.minted, 0)::numeric(78, 0) AS minted, coalesce(m.burned, 0)::numeric(78, 0) AS burned,
           {created("c")},
           {written(place("c"), "e.place", "m.place")}
    FROM chain.items_item_created c
    {latest("items_item_expiry_set", "id", "c.id", "expires_at", name="e")}
    LEFT JOIN LATERAL (
        SELECT sum(i.amount) FILTER (WHERE i.from_ = {NOBODY}) AS minted,
               sum(i.amount) FILTER (WHERE i.to_ = {NOBODY}) AS burned,
               max({place("i")}) FILTER (WHERE {NOBODY} IN (i.from_, i.to_)) AS place
        FROM chain.item_move i WHERE i.item_id = c.id
    ) m ON true
    """,
    key=("item_id",),
)

ITEM_BALANCE = View(
    "item_balance",
    {"account": BYTES, "item_id": NUMBER, "balance": NUMBER, **WRITTEN},
    f"""
    -- who holds how many; those that hold none any more are left out
    SELECT account, item_id, sum(amount)::numeric(78, 0) AS balance, {written(f"max({place('m')})")}
    FROM (
        SELECT to_ AS account, item_id, amount, block_number, log_index FROM chain.item_move
        UNION ALL
        SELECT from_, item_id, -amount, block_number, log_index FROM chain.item_move
    ) m
    WHERE account <> {NOBODY}
    GROUP BY account, item_id HAVING sum(amount) > 0
    """,
    key=("account", "item_id"),
)

CHARACTER_CLASS = View(
    "character_class",
    {
        "class_id": SMALL,
        "work_id": NUMBER,
        "max_supply": SMALL,
        "minted": SMALL,
        "rarity": SMALL,
        "soulbound": FLAG,
        "ticket": FLAG,
        "platform_id": BYTES,
        "organiser": BYTES,
        "trait_setter": BYTES,
        **CREATED,
        **WRITTEN,
    },
    f"""
    SELECT c.class_id, c.work_id, c.max_supply, coalesce(m.minted, 0) AS minted, c.rarity, c.soulbound, c.ticket,
           c.platform_id,
           coalesce(characters_organiser_set.organiser, {NOBODY}) AS organiser,
           coalesce(characters_trait_setter_set.trait_setter, {NOBODY}) AS trait_setter,
           {created("c")},
           {written(place("c"), "characters_organiser_set.place", "characters_trait_setter_set.place", "m.place")}
    FROM chain.characters_class_created c
    {latest("characters_organiser_set", "class_id", "c.class_id", "organiser")}
    {latest("characters_trait_setter_set", "class_id", "c.class_id", "trait_setter")}
    LEFT JOIN LATERAL (SELECT count(*) AS minted, max({place("x")}) AS place FROM chain.characters_character_minted x
                       WHERE x.class_id = c.class_id) m ON true
    """,
    key=("class_id",),
)

CHARACTER = View(
    "character",
    {
        "token_id": NUMBER,
        "class_id": SMALL,
        "work_id": NUMBER,
        "owner": BYTES,
        "user_": BYTES,
        "user_expires": NUMBER,
        "cid_digest": BYTES,
        "soulbound": FLAG,
        "ticket": FLAG,
        "checked_in_at": SMALL,
        "exported": FLAG,
        **CREATED,
        **WRITTEN,
    },
    f"""
    -- a character or ticket as it is now; `user_` has the use of it while the clock is before `user_expires`. A burned
    -- one has no owner.
    SELECT m.token_id, m.class_id, c.work_id, nullif(characters_transfer.to_, {NOBODY}) AS owner,
           coalesce(u.user_, {NOBODY}) AS user_, coalesce(u.expires, 0)::numeric(78, 0) AS user_expires,
           coalesce(characters_metadata_changed.cid_digest, m.cid_digest) AS cid_digest, c.soulbound, c.ticket,
           coalesce(characters_checked_in.block_time, 0) AS checked_in_at,
           coalesce(x.place > i.place, x.place IS NOT NULL) AS exported,
           {created("m")},
           {
        written(
            place("m"),
            "characters_transfer.place",
            "characters_metadata_changed.place",
            "characters_checked_in.place",
            *("u.place", "x.place", "i.place"),
        )
    }
    FROM chain.characters_character_minted m
    JOIN chain.characters_class_created c ON c.class_id = m.class_id
    {latest("characters_transfer", "token_id", "m.token_id", "to_")}
    {latest("characters_metadata_changed", "token_id", "m.token_id", "cid_digest")}
    {latest("characters_checked_in", "token_id", "m.token_id", "block_time")}
    {latest("characters_update_user", "token_id", "m.token_id", "user_", "expires", name="u")}
    {latest("characters_exported", "token_id", "m.token_id", name="x")}
    {latest("characters_imported", "token_id", "m.token_id", name="i")}
    """,
    key=("token_id",),
)

PLAN = View(
    "plan",
    {
        "plan_id": NUMBER,
        "work_id": NUMBER,
        "token": BYTES,
        "price": NUMBER,
        "period": SMALL,
        "closed": FLAG,
        **CREATED,
        **WRITTEN,
    },
    f"""
    SELECT p.plan_id, p.work_id, p.token, p.price, p.period, storefront_plan_closed.place IS NOT NULL AS closed,
           {created("p")},
           {written(place("p"), "storefront_plan_closed.place")}
    FROM chain.storefront_plan_created p
    {latest("storefront_plan_closed", "plan_id", "p.plan_id")}
    """,
    key=("plan_id",),
)

SUBSCRIPTION = View(
    "subscription",
    {"work_id": NUMBER, "subscriber": BYTES, "expires_at": SMALL, **WRITTEN},
    f"""
    -- until when somebody has subscribed to a work, by whichever of its plans; ends only grow
    SELECT p.work_id, s.subscriber, max(s.expires_at) AS expires_at, {written(f"max({place('s')})")}
    FROM chain.storefront_subscribed s JOIN chain.storefront_plan_created p ON p.plan_id = s.plan_id
    GROUP BY p.work_id, s.subscriber
    """,
    key=("work_id", "subscriber"),
)

VIEWS = (LISTING, ITEM_MOVE, ITEM, ITEM_BALANCE, CHARACTER_CLASS, CHARACTER, PLAN, SUBSCRIPTION)
"""In an order in which they can be created."""

LOOKUPS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("Storefront", "Listed", ("listing_id",)),
    ("Storefront", "Listed", ("work_id",)),
    ("Storefront", "Listed", ("seller",)),
    ("Storefront", "ListingTerms", ("listing_id",)),
    ("Storefront", "ListingTerms", ("asset_id",)),
    ("Storefront", "ListingRepriced", ("listing_id",)),
    ("Storefront", "ListingCancelled", ("listing_id",)),
    ("Storefront", "Purchased", ("listing_id",)),
    ("Storefront", "PlanCreated", ("plan_id",)),
    ("Storefront", "PlanCreated", ("work_id",)),
    ("Storefront", "PlanClosed", ("plan_id",)),
    ("Storefront", "Subscribed", ("subscriber",)),
    ("Storefront", "Subscribed", ("plan_id",)),
    ("Storefront", "OrderFilled", ("order_hash",)),
    ("Storefront", "OrderCancelled", ("order_hash",)),
    ("Storefront", "OrdersCancelled", ("seller",)),
    ("Items", "ItemCreated", ("id",)),
    ("Items", "ItemCreated", ("work_id",)),
    ("Items", "ItemExpirySet", ("id",)),
    ("Items", "TransferSingle", ("id",)),
    ("Items", "TransferSingle", ("to_",)),
    ("Items", "TransferSingle", ("from_",)),
    ("Items", "ApprovalForAll", ("account",)),
    ("Characters", "ClassCreated", ("class_id",)),
    ("Characters", "ClassCreated", ("work_id",)),
    ("Characters", "OrganiserSet", ("class_id",)),
    ("Characters", "TraitSetterSet", ("class_id",)),
    ("Characters", "CharacterMinted", ("class_id",)),
    ("Characters", "CharacterMinted", ("token_id",)),
    ("Characters", "Transfer", ("token_id",)),
    ("Characters", "Transfer", ("to_",)),
    ("Characters", "MetadataChanged", ("token_id",)),
    ("Characters", "UpdateUser", ("token_id",)),
    ("Characters", "UpdateUser", ("user_",)),
    ("Characters", "CheckedIn", ("token_id",)),
    ("Characters", "Exported", ("token_id",)),
    ("Characters", "Imported", ("token_id",)),
    ("Characters", "Approval", ("token_id",)),
    ("Characters", "ApprovalForAll", ("owner",)),
    ("WorkRegistry", "Approval", ("token_id",)),
    ("WorkRegistry", "ApprovalForAll", ("owner",)),
    ("WorkRegistry", "WorkCommitted", ("commitment",)),
    ("WorkStanding", "WorkContested", ("work_id",)),
    ("WorkStanding", "SplitAnnounced", ("work_id",)),
    ("WorkStanding", "ClaimDismissed", ("work_id",)),
    ("WorkStanding", "DisputeClosed", ("work_id",)),
    ("WorkStanding", "ConsentLinked", ("work_id",)),
    ("AttestationRegistry", "Attested", ("uid",)),
    ("AttestationRegistry", "Revoked", ("uid",)),
)
"""As indexer.views.LOOKUPS."""

DERIVED_LOOKUPS: tuple[tuple[Table, tuple[str, ...]], ...] = (
    (ITEM_BATCH_MOVE, ("item_id",)),
    (ITEM_BATCH_MOVE, ("to_",)),
    (ITEM_BATCH_MOVE, ("from_",)),
)
"""The same for tables that are derived from events."""
