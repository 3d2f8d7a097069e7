"""The product tables. Written by `python -m backend.migrations.autogenerate`; do not edit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql  # noqa: F401

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("address", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("octet_length(address) = 20", name=op.f("ck_account_address_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
        sa.UniqueConstraint("address", name=op.f("uq_account_address")),
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
        "auth_session",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("user_agent", sa.Text(), nullable=True),
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


def downgrade() -> None:
    op.drop_table("auth_session", schema="app")
    op.drop_table("sign_in_nonce", schema="app")
    op.drop_table("account", schema="app")
