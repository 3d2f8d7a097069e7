"""The product tables. Written by `python -m backend.migrations.autogenerate`; do not edit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from pgvector.sqlalchemy import VECTOR
from sqlalchemy.dialects import postgresql

from indexer.db import Uint256

revision = "0001_d2a429b9"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("address", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("pseudonym", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("octet_length(address) = 20", name=op.f("ck_account_address_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
        sa.UniqueConstraint("address", name=op.f("uq_account_address")),
        schema="app",
    )
    op.execute(
        "CREATE OR REPLACE FUNCTION app.sessions_changed() RETURNS trigger LANGUAGE plpgsql AS\n$$ BEGIN PERFORM pg_notify('troupe_sessions', ''); RETURN NULL; END $$"
    )
    op.execute(
        "CREATE TRIGGER account_changed AFTER DELETE OR UPDATE OF address ON app.account FOR EACH STATEMENT EXECUTE FUNCTION app.sessions_changed()"
    )
    op.create_table(
        "beat_slot",
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column(
            "slot",
            sa.BigInteger(),
            nullable=False,
            comment="number of the interval since 1970, by the database's clock",
        ),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("job", name=op.f("pk_beat_slot")),
        schema="app",
    )
    op.create_table(
        "consent_receipt",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("granted", sa.Boolean(), nullable=False),
        sa.Column("notice_version", sa.BigInteger(), nullable=False),
        sa.Column("notice_digest", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("commitment", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("octet_length(commitment) = 32", name=op.f("ck_consent_receipt_commitment_length")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_consent_receipt")),
        sa.UniqueConstraint("record_id", name=op.f("uq_consent_receipt_record_id")),
        schema="app",
    )
    op.create_index(
        op.f("ix_consent_receipt_person_id_purpose"),
        "consent_receipt",
        ["person_id", "purpose", sa.literal_column("number DESC")],
        unique=False,
        schema="app",
    )
    op.create_table(
        "content",
        sa.Column("cid", sa.Text(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("card_only", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.CheckConstraint("octet_length(sha256) = 32", name=op.f("ck_content_sha256_length")),
        sa.CheckConstraint("size_bytes >= 0", name=op.f("ck_content_size_is_positive")),
        sa.PrimaryKeyConstraint("cid", name=op.f("pk_content")),
        schema="app",
    )
    op.create_index(op.f("ix_content_sha256"), "content", ["sha256"], unique=False, schema="app")
    op.create_table(
        "data_use",
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("reader", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("times", sa.BigInteger(), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("times > 0", name=op.f("ck_data_use_times_are_positive")),
        sa.PrimaryKeyConstraint("person_id", "day", "reader", "purpose", name=op.f("pk_data_use")),
        schema="app",
    )
    op.execute("ALTER TABLE app.data_use SET (fillfactor = 70)")
    op.create_table(
        "ended_key",
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_ended_key")),
        schema="app",
    )
    op.create_table(
        "engagement_event",
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("work_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("duration_ms", sa.BigInteger(), nullable=False),
        sa.Column("completion_bps", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("slate_id", sa.Uuid(), nullable=True),
        sa.Column("device", sa.Text(), nullable=True),
        sa.Column("place", sa.Text(), nullable=True),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint(
            "device IN ('phone', 'tablet', 'computer', 'tv', 'console', 'other')",
            name=op.f("ck_engagement_event_device_is_coarse"),
        ),
        sa.CheckConstraint("completion_bps BETWEEN 0 AND 10000", name=op.f("ck_engagement_event_completion_is_bps")),
        sa.CheckConstraint("duration_ms >= 0", name=op.f("ck_engagement_event_duration_is_positive")),
        sa.PrimaryKeyConstraint("person_id", "event_id", name=op.f("pk_engagement_event")),
        schema="app",
    )
    op.create_index("ix_engagement_event_epoch", "engagement_event", ["epoch", "work_id"], unique=False, schema="app")
    op.create_index(
        "ix_engagement_event_person",
        "engagement_event",
        ["person_id", sa.literal_column("received_at DESC")],
        unique=False,
        schema="app",
    )
    op.create_index("ix_engagement_event_received", "engagement_event", ["received_at"], unique=False, schema="app")
    op.create_index(
        "ix_engagement_event_slate",
        "engagement_event",
        ["person_id", "slate_id"],
        unique=False,
        schema="app",
        postgresql_where=sa.text("slate_id IS NOT NULL"),
    )
    op.create_table(
        "erasure",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("steps", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("destroyed", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("remains", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint("(state = 'done') = (done_at IS NOT NULL)", name=op.f("ck_erasure_done_whole")),
        sa.CheckConstraint(
            "state IN ('asked', 'forgotten', 'key_destroyed', 'dropped', 'done')", name=op.f("ck_erasure_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasure")),
        sa.UniqueConstraint("account_id", name=op.f("uq_erasure_account_id")),
        schema="app",
    )
    op.create_table(
        "feed_forgotten",
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("work_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("topic", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("person_id", "work_id", name=op.f("pk_feed_forgotten")),
        schema="app",
    )
    op.create_table(
        "feed_hidden",
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("creator", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("person_id", "creator", name=op.f("pk_feed_hidden")),
        schema="app",
    )
    op.create_table(
        "feed_prior",
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("work_id", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("imported_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("value BETWEEN -2 AND 2", name=op.f("ck_feed_prior_value")),
        sa.PrimaryKeyConstraint("person_id", "work_id", name=op.f("pk_feed_prior")),
        schema="app",
    )
    op.create_table(
        "feed_settings",
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("paused_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("novelty", sa.Double(), nullable=True),
        sa.Column("energy", sa.Double(), nullable=True),
        sa.Column("birth_year", sa.SmallInteger(), nullable=True),
        sa.Column("territory", sa.Text(), nullable=True),
        sa.Column("session_minutes", sa.SmallInteger(), nullable=True),
        sa.Column("autoplay_at_most", sa.SmallInteger(), nullable=True),
        sa.Column("night_from", sa.SmallInteger(), nullable=True),
        sa.Column("night_until", sa.SmallInteger(), nullable=True),
        sa.Column("time_zone", sa.Text(), nullable=True),
        sa.Column("forgotten_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("today_forgotten_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(night_from IS NULL) = (night_until IS NULL)", name=op.f("ck_feed_settings_night_whole")),
        sa.CheckConstraint("energy BETWEEN -1 AND 1", name=op.f("ck_feed_settings_energy")),
        sa.CheckConstraint("novelty BETWEEN 0 AND 1", name=op.f("ck_feed_settings_novelty")),
        sa.PrimaryKeyConstraint("person_id", name=op.f("pk_feed_settings")),
        schema="app",
    )
    op.create_table(
        "impression",
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("slate_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("works", sa.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("whys", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("propensities", sa.ARRAY(sa.Double()), nullable=False),
        sa.Column("choices", sa.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("usual", sa.ARRAY(sa.Double()), nullable=False),
        sa.Column("configuration", sa.Text(), nullable=False),
        sa.Column("model_version", sa.BigInteger(), nullable=True),
        sa.Column("arms", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("packaging", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint(
            "cardinality(works) BETWEEN 1 AND 100 AND cardinality(whys) = cardinality(works) AND cardinality(propensities) = cardinality(works) AND cardinality(choices) = cardinality(works) AND cardinality(usual) = cardinality(works)",
            name=op.f("ck_impression_one_entry_a_place"),
        ),
        sa.PrimaryKeyConstraint("person_id", "slate_id", name=op.f("pk_impression")),
        schema="app",
    )
    op.create_index("ix_impression_at", "impression", ["at"], unique=False, schema="app")
    op.create_index(
        "ix_impression_packaged",
        "impression",
        ["at"],
        unique=False,
        schema="app",
        postgresql_where=sa.text("packaging <> '[]'"),
    )
    op.create_index("ix_impression_person_id_at", "impression", ["person_id", "at"], unique=False, schema="app")
    op.create_table(
        "lease",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Uuid(), nullable=False),
        sa.Column(
            "fence",
            sa.BigInteger(),
            nullable=False,
            comment="one more with each new holder; what an earlier one claims is refused",
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lease")),
        schema="app",
    )
    op.create_table(
        "licence_territory",
        sa.Column("terms_hash", sa.LargeBinary(), nullable=False),
        sa.Column("territory", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("terms_hash", name=op.f("pk_licence_territory")),
        schema="app",
    )
    op.create_table(
        "model_snapshot",
        sa.Column("version", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("folder", sa.Text(), nullable=True),
        sa.Column("pairs", sa.BigInteger(), nullable=False),
        sa.Column("works", sa.BigInteger(), nullable=False),
        sa.Column("metrics", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("refused", sa.Text(), nullable=True),
        sa.Column("pinned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_model_snapshot")),
        schema="app",
    )
    op.create_index(
        "one_pinned",
        "model_snapshot",
        [sa.literal_column("(pinned_at IS NOT NULL)")],
        unique=True,
        schema="app",
        postgresql_where=sa.text("pinned_at IS NOT NULL"),
    )
    op.create_table(
        "moderation_decision",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("work_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("age", sa.SmallInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("moderator", sa.LargeBinary(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('live', 'limited', 'removed')", name=op.f("ck_moderation_decision_state_is_known")
        ),
        sa.CheckConstraint("age IN (0, 6, 12, 16, 18)", name=op.f("ck_moderation_decision_age_is_a_rating")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_moderation_decision")),
        schema="app",
    )
    op.create_index(
        op.f("ix_moderation_decision_work_id_number"),
        "moderation_decision",
        ["work_id", "number"],
        unique=False,
        schema="app",
    )
    op.create_table(
        "outbox_intent",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("key", sa.Text(), nullable=False, comment="names the effect: the same key is the same intent"),
        sa.Column(
            "kind", sa.Text(), nullable=False, comment="what it is for: picks the check before and the step after"
        ),
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("sender", sa.LargeBinary(), nullable=False),
        sa.Column("target", sa.LargeBinary(), nullable=False),
        sa.Column("value", Uint256(), nullable=False, comment="wei"),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("gas", sa.BigInteger(), nullable=True, comment="limit; estimated when null"),
        sa.Column(
            "expires_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="not signed after this; what is signed may still be mined",
        ),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("nonce", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False, comment="unexpected failures; parked at the limit"),
        sa.Column("code", sa.Text(), nullable=True, comment="why it ended, or why it waits"),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("mined_hash", sa.LargeBinary(), nullable=True),
        sa.Column("mined_block", sa.BigInteger(), nullable=True),
        sa.Column("mined_block_hash", sa.LargeBinary(), nullable=True),
        sa.Column("succeeded", sa.Boolean(), nullable=True, comment="the receipt's status"),
        sa.Column("cost", Uint256(), nullable=True, comment="wei paid for gas"),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "done_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="its end has been acted upon (the kind's step after)",
        ),
        sa.CheckConstraint(
            "state IN ('queued', 'signed', 'broadcast', 'mined', 'final', 'replaced', 'failed', 'expired')",
            name=op.f("ck_outbox_intent_state"),
        ),
        sa.CheckConstraint(
            "state NOT IN ('queued', 'expired') OR nonce IS NULL", name=op.f("ck_outbox_intent_nonce_free")
        ),
        sa.CheckConstraint(
            "state NOT IN ('signed', 'broadcast', 'mined', 'replaced') OR nonce IS NOT NULL",
            name=op.f("ck_outbox_intent_nonce_held"),
        ),
        sa.CheckConstraint(
            "octet_length(sender) = 20 AND octet_length(target) = 20", name=op.f("ck_outbox_intent_addresses")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox_intent")),
        sa.UniqueConstraint("chain_id", "sender", "nonce", name=op.f("uq_outbox_intent_chain_id_sender_nonce")),
        sa.UniqueConstraint("key", name=op.f("uq_outbox_intent_key")),
        schema="app",
    )
    op.create_index(
        "ix_outbox_intent_in_flight",
        "outbox_intent",
        ["chain_id", "sender", "nonce"],
        unique=False,
        schema="app",
        postgresql_where="state IN ('broadcast', 'mined', 'signed')",
    )
    op.create_index(
        "ix_outbox_intent_queued",
        "outbox_intent",
        ["chain_id", "sender", "id"],
        unique=False,
        schema="app",
        postgresql_where="state = 'queued'",
    )
    op.create_table(
        "packaging_arm",
        sa.Column("work_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("variant", sa.Uuid(), nullable=False),
        sa.Column("inverse", sa.ARRAY(sa.Double()), nullable=False),
        sa.Column("b", sa.ARRAY(sa.Double()), nullable=False),
        sa.Column("shown", sa.BigInteger(), nullable=False),
        sa.Column("clicks", sa.BigInteger(), nullable=False),
        sa.Column("satisfied", sa.BigInteger(), nullable=False),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("retired_because", sa.Text(), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("work_id", "variant", name=op.f("pk_packaging_arm")),
        schema="app",
    )
    op.create_index("ix_packaging_arm_changed_at", "packaging_arm", ["changed_at"], unique=False, schema="app")
    op.create_table(
        "packaging_cursor",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("upto", sa.DateTime(timezone=True), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_packaging_cursor_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_packaging_cursor")),
        schema="app",
    )
    op.create_table(
        "packaging_new",
        sa.Column("work_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("variant", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("work_id", "variant", name=op.f("pk_packaging_new")),
        schema="app",
    )
    op.create_table(
        "person_voice",
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("person_id", name=op.f("pk_person_voice")),
        schema="app",
    )
    op.create_table(
        "personalization_configuration",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("octet_length(digest) = 32", name=op.f("ck_personalization_configuration_digest_length")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_personalization_configuration")),
        schema="app",
    )
    op.create_table(
        "restriction",
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("person_id", name=op.f("pk_restriction")),
        schema="app",
    )
    op.create_table(
        "reward_epoch",
        sa.Column("epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("fixed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("scored_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("block_number", sa.BigInteger(), nullable=True),
        sa.Column("block_hash", sa.LargeBinary(), nullable=True),
        sa.Column("event_count", sa.BigInteger(), nullable=True),
        sa.Column("log_root", sa.LargeBinary(), nullable=True),
        sa.Column("log_sha256", sa.LargeBinary(), nullable=True),
        sa.Column("scores_sha256", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("(scored_at IS NULL) = (log_sha256 IS NULL)", name=op.f("ck_reward_epoch_scored_whole")),
        sa.CheckConstraint("(scored_at IS NULL) = (scores_sha256 IS NULL)", name=op.f("ck_reward_epoch_scores_whole")),
        sa.PrimaryKeyConstraint("epoch", name=op.f("pk_reward_epoch")),
        schema="app",
    )
    op.create_table(
        "search_entry",
        sa.Column("work_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("document", postgresql.TSVECTOR(), nullable=False),
        sa.Column("kind", sa.BigInteger(), nullable=False),
        sa.Column("licence_id", sa.BigInteger(), nullable=False),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("duration_ms", sa.BigInteger(), nullable=True),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("placed", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("work_id", name=op.f("pk_search_entry")),
        schema="app",
    )
    op.create_index(
        op.f("ix_search_entry_document"),
        "search_entry",
        ["document"],
        unique=False,
        schema="app",
        postgresql_using="gin",
    )
    op.create_table(
        "search_space",
        sa.Column("version", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("works", sa.BigInteger(), nullable=False),
        sa.Column("ready", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_search_space")),
        schema="app",
    )
    op.create_table(
        "sender_account",
        sa.Column("chain_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("address", sa.LargeBinary(), nullable=False),
        sa.Column("halted_code", sa.Text(), nullable=True),
        sa.Column("halted_detail", sa.Text(), nullable=True),
        sa.Column("halted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("chain_id", "address", name=op.f("pk_sender_account")),
        schema="app",
    )
    op.create_table(
        "sign_in_nonce",
        sa.Column("nonce", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("nonce", name=op.f("pk_sign_in_nonce")),
        schema="app",
    )
    op.create_index(op.f("ix_sign_in_nonce_expires_at"), "sign_in_nonce", ["expires_at"], unique=False, schema="app")
    op.create_table(
        "signed_order",
        sa.Column("order_hash", sa.LargeBinary(), nullable=False),
        sa.Column("number", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("seller", sa.LargeBinary(), nullable=False),
        sa.Column("collection", sa.Text(), nullable=False),
        sa.Column("token_id", Uint256(), nullable=False),
        sa.Column("amount", Uint256(), nullable=False),
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.Column("price", Uint256(), nullable=False),
        sa.Column("taker", sa.LargeBinary(), nullable=False),
        sa.Column("counter", Uint256(), nullable=False),
        sa.Column("salt", Uint256(), nullable=False),
        sa.Column("deadline", sa.BigInteger(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("octet_length(order_hash) = 32", name=op.f("ck_signed_order_hash_length")),
        sa.PrimaryKeyConstraint("order_hash", name=op.f("pk_signed_order")),
        sa.UniqueConstraint("number", name=op.f("uq_signed_order_number")),
        schema="app",
    )
    op.create_index(
        op.f("ix_signed_order_collection_token_id_number"),
        "signed_order",
        ["collection", "token_id", "number"],
        unique=False,
        schema="app",
    )
    op.create_index(
        op.f("ix_signed_order_seller_number"), "signed_order", ["seller", "number"], unique=False, schema="app"
    )
    op.create_table(
        "split_progress",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("block_hash", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_split_progress_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_split_progress")),
        schema="app",
    )
    op.create_table(
        "split_root",
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("octet_length(root) = 32", name=op.f("ck_split_root_root_length")),
        sa.PrimaryKeyConstraint("root", name=op.f("pk_split_root")),
        schema="app",
    )
    op.create_table(
        "task_attempt",
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "arguments",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="[args, kwargs]: ids, as in the message",
        ),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("parked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_task_attempt")),
        schema="app",
    )
    op.create_index(
        "ix_task_attempt_parked",
        "task_attempt",
        ["parked_at"],
        unique=False,
        schema="app",
        postgresql_where="parked_at IS NOT NULL",
    )
    op.create_table(
        "webhook_cursor",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "last_id", sa.BigInteger(), nullable=False, comment="the last message of chain.outbox that has been told"
        ),
        sa.Column(
            "final_number",
            sa.BigInteger(),
            nullable=False,
            comment="up to here all is told and final: not told again by a rebuild",
        ),
        sa.Column(
            "head_time",
            sa.BigInteger(),
            nullable=False,
            comment="the latest time of the chain's clock that votes were closed by",
        ),
        sa.CheckConstraint("id = 1", name=op.f("ck_webhook_cursor_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_cursor")),
        schema="app",
    )
    op.create_table(
        "webhook_event",
        sa.Column(
            "position", sa.BigInteger(), sa.Identity(always=False), nullable=False, comment="the order of telling"
        ),
        sa.Column("id", sa.Uuid(), nullable=False, comment="webhook-id is msg_ and its hexadecimal digits"),
        sa.Column("key", sa.Text(), nullable=False, comment="what happened: told once, unless the chain took it back"),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("work_id", Uint256(), nullable=True),
        sa.Column("block_number", sa.BigInteger(), nullable=True),
        sa.Column("undone", sa.Boolean(), nullable=False, comment="a reorganisation took its block back"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_webhook_event")),
        sa.UniqueConstraint("id", name=op.f("uq_webhook_event_id")),
        schema="app",
    )
    op.create_index(
        "ix_webhook_event_block_number",
        "webhook_event",
        ["block_number"],
        unique=False,
        schema="app",
        postgresql_where=sa.text("NOT undone"),
    )
    op.create_index(op.f("ix_webhook_event_created_at"), "webhook_event", ["created_at"], unique=False, schema="app")
    op.create_index(
        "uq_webhook_event_key",
        "webhook_event",
        ["key"],
        unique=True,
        schema="app",
        postgresql_where=sa.text("NOT undone"),
    )
    op.create_table(
        "work_showing",
        sa.Column("work_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("age", sa.SmallInteger(), nullable=False),
        sa.Column("territory", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("shown_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("shown_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("declared_by", sa.LargeBinary(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("age IN (0, 6, 12, 16, 18)", name=op.f("ck_work_showing_age_is_a_rating")),
        sa.CheckConstraint("shown_from < shown_until", name=op.f("ck_work_showing_window_is_forward")),
        sa.PrimaryKeyConstraint("work_id", name=op.f("pk_work_showing")),
        schema="app",
    )
    op.create_table(
        "work_text",
        sa.Column("work_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("content_hash", sa.LargeBinary(), nullable=False),
        sa.Column("cid_digest", sa.LargeBinary(), nullable=False),
        sa.Column("kept", sa.Boolean(), nullable=False),
        sa.Column("seen_block", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.BigInteger(), nullable=False),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("tags", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("ai_tools", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("media_cid", sa.Text(), nullable=True),
        sa.Column("media_type", sa.Text(), nullable=True),
        sa.Column("duration_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "octet_length(content_hash) = 32 AND octet_length(cid_digest) = 32", name=op.f("ck_work_text_hash_lengths")
        ),
        sa.PrimaryKeyConstraint("work_id", name=op.f("pk_work_text")),
        schema="app",
    )
    op.create_table(
        "api_key",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.LargeBinary(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("previous_hash", sa.LargeBinary(), nullable=True),
        sa.Column("previous_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("wallet_hash", sa.LargeBinary(), nullable=True),
        sa.Column("wallet_signature", sa.LargeBinary(), nullable=True),
        sa.Column("wallet_asked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(previous_hash IS NULL) = (previous_until IS NULL)", name=op.f("ck_api_key_previous_whole")
        ),
        sa.CheckConstraint("octet_length(token_hash) = 32", name=op.f("ck_api_key_token_hash_length")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["app.account.id"], name=op.f("fk_api_key_account_id_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("previous_hash", name=op.f("uq_api_key_previous_hash")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_api_key_token_hash")),
        schema="app",
    )
    op.create_index(op.f("ix_api_key_account_id"), "api_key", ["account_id"], unique=False, schema="app")
    op.create_table(
        "auth_session",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("user_agent", sa.LargeBinary(), nullable=True),
        sa.Column("wallet_hash", sa.LargeBinary(), nullable=True),
        sa.Column("wallet_signature", sa.LargeBinary(), nullable=True),
        sa.Column("wallet_asked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("octet_length(token_hash) = 32", name=op.f("ck_auth_session_token_hash_length")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["app.account.id"], name=op.f("fk_auth_session_account_id_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_auth_session")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_auth_session_token_hash")),
        schema="app",
    )
    op.create_index(op.f("ix_auth_session_account_id"), "auth_session", ["account_id"], unique=False, schema="app")
    op.create_index(op.f("ix_auth_session_expires_at"), "auth_session", ["expires_at"], unique=False, schema="app")
    op.execute(
        "CREATE TRIGGER auth_session_changed AFTER DELETE OR UPDATE OF account_id, token_hash, expires_at ON app.auth_session FOR EACH STATEMENT EXECUTE FUNCTION app.sessions_changed()"
    )
    op.create_table(
        "data_export",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("done", sa.BigInteger(), nullable=False),
        sa.Column("parts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("ready_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("downloaded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(state = 'ready') = (size_bytes IS NOT NULL)", name=op.f("ck_data_export_ready_whole")),
        sa.CheckConstraint("state IN ('asked', 'working', 'ready', 'failed')", name=op.f("ck_data_export_state")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["app.account.id"], name=op.f("fk_data_export_account_id_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_data_export")),
        schema="app",
    )
    op.create_index(
        op.f("ix_data_export_account_id_asked_at"),
        "data_export",
        ["account_id", "asked_at"],
        unique=False,
        schema="app",
    )
    op.create_table(
        "draft",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.Column("content_index", sa.LargeBinary(), nullable=False),
        sa.Column("files", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(), nullable=True),
        sa.Column("cid_digest", sa.LargeBinary(), nullable=True),
        sa.Column("seen_block", sa.BigInteger(), nullable=True),
        sa.Column("cids", sa.ARRAY(sa.Text()), nullable=True),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(files = 'sealed') = (content_hash IS NULL)", name=op.f("ck_draft_sealed_says_nothing")),
        sa.CheckConstraint(
            "files IN ('sealed', 'publishing', 'published', 'public', 'lost')", name=op.f("ck_draft_files_known")
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["app.account.id"], name=op.f("fk_draft_account_id_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_draft")),
        schema="app",
    )
    op.create_index(op.f("ix_draft_account_id_id"), "draft", ["account_id", "id"], unique=False, schema="app")
    op.create_index(op.f("ix_draft_content_index"), "draft", ["content_index"], unique=False, schema="app")
    op.create_table(
        "idempotent_answer",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.BigInteger(), nullable=False),
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("sealed_body", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "account_id IS NULL OR body IS NULL", name=op.f("ck_idempotent_answer_personal_bodies_are_sealed")
        ),
        sa.CheckConstraint(
            "octet_length(key_hash) = 32 AND octet_length(fingerprint) = 32",
            name=op.f("ck_idempotent_answer_hash_lengths"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["app.account.id"], name=op.f("fk_idempotent_answer_account_id_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_idempotent_answer")),
        sa.UniqueConstraint(
            "account_id",
            "key_hash",
            name=op.f("uq_idempotent_answer_account_id_key_hash"),
            postgresql_nulls_not_distinct=True,
        ),
        schema="app",
    )
    op.create_index(
        op.f("ix_idempotent_answer_expires_at"), "idempotent_answer", ["expires_at"], unique=False, schema="app"
    )
    op.create_table(
        "outbox_transaction",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("intent_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "number", sa.Integer(), nullable=False, comment="1 for the first, more for replacements with higher fees"
        ),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("gas", sa.BigInteger(), nullable=False),
        sa.Column("max_fee", Uint256(), nullable=False, comment="wei for a unit of gas"),
        sa.Column("priority", Uint256(), nullable=False, comment="wei for a unit of gas"),
        sa.Column("signed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True, comment="first acknowledged by a node"),
        sa.Column("sent_block", sa.BigInteger(), nullable=True, comment="the chain's head then"),
        sa.ForeignKeyConstraint(
            ["intent_id"], ["app.outbox_intent.id"], name=op.f("fk_outbox_transaction_intent_id_outbox_intent")
        ),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_outbox_transaction")),
        sa.UniqueConstraint("intent_id", "number", name=op.f("uq_outbox_transaction_intent_id_number")),
        schema="app",
    )
    op.create_table(
        "packaging_picture",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("cid", sa.Text(), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["app.account.id"], name=op.f("fk_packaging_picture_account_id_account"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["cid"], ["app.content.cid"], name=op.f("fk_packaging_picture_cid_content"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("account_id", "cid", name=op.f("pk_packaging_picture")),
        schema="app",
    )
    op.create_table(
        "packaging_variant",
        sa.Column("work_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("variant", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.LargeBinary(), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("thumbnail_cid", sa.Text(), nullable=True),
        sa.Column("preview", sa.Text(), nullable=True),
        sa.Column("spoiler", sa.Boolean(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "title IS NOT NULL OR thumbnail_cid IS NOT NULL OR preview IS NOT NULL",
            name=op.f("ck_packaging_variant_says_something"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["app.account.id"], name=op.f("fk_packaging_variant_account_id_account"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["thumbnail_cid"],
            ["app.content.cid"],
            name=op.f("fk_packaging_variant_thumbnail_cid_content"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("work_id", "variant", name=op.f("pk_packaging_variant")),
        schema="app",
    )
    op.create_index("ix_packaging_variant_changed_at", "packaging_variant", ["changed_at"], unique=False, schema="app")
    op.create_table(
        "reward_root",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("previous_id", sa.BigInteger(), nullable=True),
        sa.Column("granted", Uint256(), nullable=False),
        sa.Column("carried", Uint256(), nullable=False),
        sa.Column("pool", Uint256(), nullable=False),
        sa.Column("rollover", Uint256(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=True),
        sa.Column("total", Uint256(), nullable=False),
        sa.Column("tree_sha256", sa.LargeBinary(), nullable=True),
        sa.Column("outbox_key", sa.Text(), nullable=True),
        sa.Column("void", sa.Text(), nullable=True),
        sa.Column("planned_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(root IS NULL) = (tree_sha256 IS NULL)", name=op.f("ck_reward_root_tree_whole")),
        sa.ForeignKeyConstraint(["epoch"], ["app.reward_epoch.epoch"], name=op.f("fk_reward_root_epoch_reward_epoch")),
        sa.ForeignKeyConstraint(
            ["previous_id"], ["app.reward_root.id"], name=op.f("fk_reward_root_previous_id_reward_root")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reward_root")),
        sa.UniqueConstraint("epoch", "token", "attempt", name=op.f("uq_reward_root_epoch_token_attempt")),
        sa.UniqueConstraint("outbox_key", name=op.f("uq_reward_root_outbox_key")),
        schema="app",
    )
    op.create_index("ix_reward_root_root", "reward_root", ["root"], unique=False, schema="app")
    op.create_table(
        "reward_score",
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("creator", sa.LargeBinary(), nullable=False),
        sa.Column("voice", Uint256(), nullable=False),
        sa.Column("value", Uint256(), nullable=False),
        sa.Column("viewers", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["epoch"], ["app.reward_epoch.epoch"], name=op.f("fk_reward_score_epoch_reward_epoch")),
        sa.PrimaryKeyConstraint("epoch", "creator", name=op.f("pk_reward_score")),
        schema="app",
    )
    op.create_table(
        "reward_viewer",
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("tag", sa.LargeBinary(), nullable=False),
        sa.Column("verified", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["epoch"], ["app.reward_epoch.epoch"], name=op.f("fk_reward_viewer_epoch_reward_epoch")
        ),
        sa.PrimaryKeyConstraint("person_id", "epoch", name=op.f("pk_reward_viewer")),
        sa.UniqueConstraint("epoch", "tag", name=op.f("uq_reward_viewer_epoch_tag")),
        schema="app",
    )
    op.create_table(
        "search_place",
        sa.Column("space", sa.BigInteger(), nullable=False),
        sa.Column("work_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("place", VECTOR(64), nullable=False),
        sa.ForeignKeyConstraint(
            ["space"], ["app.search_space.version"], name=op.f("fk_search_place_space_search_space"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["work_id"],
            ["app.search_entry.work_id"],
            name=op.f("fk_search_place_work_id_search_entry"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("space", "work_id", name=op.f("pk_search_place")),
        schema="app",
    )
    op.create_index(
        op.f("ix_search_place_place"),
        "search_place",
        ["place"],
        unique=False,
        schema="app",
        postgresql_using="hnsw",
        postgresql_with={"m": 16, "ef_construction": 64},
        postgresql_ops={"place": "vector_cosine_ops"},
    )
    op.create_index(op.f("ix_search_place_work_id"), "search_place", ["work_id"], unique=False, schema="app")
    op.create_table(
        "split_leaf",
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("account", sa.LargeBinary(), nullable=False),
        sa.Column("weight", Uint256(), nullable=False),
        sa.CheckConstraint("octet_length(account) = 20", name=op.f("ck_split_leaf_account_length")),
        sa.ForeignKeyConstraint(
            ["root"], ["app.split_root.root"], name=op.f("fk_split_leaf_root_split_root"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("root", "position", name=op.f("pk_split_leaf")),
        schema="app",
    )
    op.create_index(op.f("ix_split_leaf_account"), "split_leaf", ["account"], unique=False, schema="app")
    op.create_table(
        "webhook_endpoint",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.LargeBinary(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("old_secret", sa.LargeBinary(), nullable=True),
        sa.Column(
            "old_secret_until", sa.DateTime(timezone=True), nullable=True, comment="until then both secrets sign"
        ),
        sa.Column("types", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("work_ids", postgresql.ARRAY(Uint256()), nullable=True, comment="null: events of all works"),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False, comment="failed attempts since the last success"),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False, comment="nothing is sent before"),
        sa.Column("lease", sa.Uuid(), nullable=True, comment="of the process that is sending now"),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(disabled_reason IS NULL) = (disabled_at IS NULL)", name=op.f("ck_webhook_endpoint_disabled")
        ),
        sa.CheckConstraint(
            "(old_secret IS NULL) = (old_secret_until IS NULL)", name=op.f("ck_webhook_endpoint_old_secret")
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["app.account.id"], name=op.f("fk_webhook_endpoint_account_id_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoint")),
        schema="app",
    )
    op.create_index(
        op.f("ix_webhook_endpoint_account_id"), "webhook_endpoint", ["account_id"], unique=False, schema="app"
    )
    op.create_index(
        "ix_webhook_endpoint_due",
        "webhook_endpoint",
        ["next_at"],
        unique=False,
        schema="app",
        postgresql_where=sa.text("disabled_at IS NULL"),
    )
    op.create_table(
        "reward_leaf",
        sa.Column("root_id", sa.BigInteger(), nullable=False),
        sa.Column("index", sa.BigInteger(), nullable=False),
        sa.Column("account", sa.LargeBinary(), nullable=False),
        sa.Column("cumulative", Uint256(), nullable=False),
        sa.Column("amount", Uint256(), nullable=False),
        sa.ForeignKeyConstraint(["root_id"], ["app.reward_root.id"], name=op.f("fk_reward_leaf_root_id_reward_root")),
        sa.PrimaryKeyConstraint("root_id", "index", name=op.f("pk_reward_leaf")),
        sa.UniqueConstraint("root_id", "account", name=op.f("uq_reward_leaf_root_id_account")),
        schema="app",
    )
    op.create_index("ix_reward_leaf_account", "reward_leaf", ["account"], unique=False, schema="app")
    op.create_table(
        "webhook_delivery",
        sa.Column("endpoint_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'delivered', 'dropped')", name=op.f("ck_webhook_delivery_state")),
        sa.ForeignKeyConstraint(
            ["endpoint_id"],
            ["app.webhook_endpoint.id"],
            name=op.f("fk_webhook_delivery_endpoint_id_webhook_endpoint"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["position"],
            ["app.webhook_event.position"],
            name=op.f("fk_webhook_delivery_position_webhook_event"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("endpoint_id", "position", name=op.f("pk_webhook_delivery")),
        schema="app",
    )
    op.create_index("ix_webhook_delivery_position", "webhook_delivery", ["position"], unique=False, schema="app")
    op.create_index(
        "ix_webhook_delivery_waiting",
        "webhook_delivery",
        ["endpoint_id", "position"],
        unique=False,
        schema="app",
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_table(
        "webhook_attempt",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("endpoint_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True, comment="the receiver's HTTP status; null without an answer"),
        sa.Column(
            "error", sa.Text(), nullable=True, comment="a code of backend.webhooks.transport, when there was no answer"
        ),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["endpoint_id", "position"],
            ["app.webhook_delivery.endpoint_id", "app.webhook_delivery.position"],
            name=op.f("fk_webhook_attempt_endpoint_id_position_webhook_delivery"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_attempt")),
        schema="app",
    )
    op.create_index(
        "ix_webhook_attempt_delivery", "webhook_attempt", ["endpoint_id", "position"], unique=False, schema="app"
    )


def downgrade() -> None:
    op.drop_table("webhook_attempt", schema="app")
    op.drop_table("webhook_delivery", schema="app")
    op.drop_table("reward_leaf", schema="app")
    op.drop_table("webhook_endpoint", schema="app")
    op.drop_table("split_leaf", schema="app")
    op.drop_table("search_place", schema="app")
    op.drop_table("reward_viewer", schema="app")
    op.drop_table("reward_score", schema="app")
    op.drop_table("reward_root", schema="app")
    op.drop_table("packaging_variant", schema="app")
    op.drop_table("packaging_picture", schema="app")
    op.drop_table("outbox_transaction", schema="app")
    op.drop_table("idempotent_answer", schema="app")
    op.drop_table("draft", schema="app")
    op.drop_table("data_export", schema="app")
    op.drop_table("auth_session", schema="app")
    op.drop_table("api_key", schema="app")
    op.drop_table("work_text", schema="app")
    op.drop_table("work_showing", schema="app")
    op.drop_table("webhook_event", schema="app")
    op.drop_table("webhook_cursor", schema="app")
    op.drop_table("task_attempt", schema="app")
    op.drop_table("split_root", schema="app")
    op.drop_table("split_progress", schema="app")
    op.drop_table("signed_order", schema="app")
    op.drop_table("sign_in_nonce", schema="app")
    op.drop_table("sender_account", schema="app")
    op.drop_table("search_space", schema="app")
    op.drop_table("search_entry", schema="app")
    op.drop_table("reward_epoch", schema="app")
    op.drop_table("restriction", schema="app")
    op.drop_table("personalization_configuration", schema="app")
    op.drop_table("person_voice", schema="app")
    op.drop_table("packaging_new", schema="app")
    op.drop_table("packaging_cursor", schema="app")
    op.drop_table("packaging_arm", schema="app")
    op.drop_table("outbox_intent", schema="app")
    op.drop_table("moderation_decision", schema="app")
    op.drop_table("model_snapshot", schema="app")
    op.drop_table("licence_territory", schema="app")
    op.drop_table("lease", schema="app")
    op.drop_table("impression", schema="app")
    op.drop_table("feed_settings", schema="app")
    op.drop_table("feed_prior", schema="app")
    op.drop_table("feed_hidden", schema="app")
    op.drop_table("feed_forgotten", schema="app")
    op.drop_table("erasure", schema="app")
    op.drop_table("engagement_event", schema="app")
    op.drop_table("ended_key", schema="app")
    op.drop_table("data_use", schema="app")
    op.drop_table("content", schema="app")
    op.drop_table("consent_receipt", schema="app")
    op.drop_table("beat_slot", schema="app")
    op.drop_table("account", schema="app")
