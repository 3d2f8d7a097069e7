"""People who signed in, their sessions, and the nonces that wait for a signature."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import ARRAY, CheckConstraint, ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from backend.errors import WalletRequired
from backend.models.base import Base, CreatedAt, Id
from backend.models.marks import NotPersonal, OfAccount, marked
from backend.vault.vault import Sealed

CHANNEL = "troupe_sessions"
_TELL = f"""CREATE OR REPLACE FUNCTION app.sessions_changed() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_notify('{CHANNEL}', ''); RETURN NULL; END $$"""
"""Tells processes that remember sessions (backend.accounts.memory) to forget them. It says nobody's name."""


def _told(table: str, columns: str) -> str:
    return (
        f"CREATE TRIGGER {table}_changed AFTER DELETE OR UPDATE OF {columns} ON app.{table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION app.sessions_changed()"
    )


class Account(Base):
    """A person, known by the address that they sign with, or a visitor, who has none."""

    __tablename__ = "account"
    __table_args__ = (
        CheckConstraint("octet_length(address) = 20", name="address_length"),
        marked(
            OfAccount(
                "your address, since when you are here, and the sealed link to your rows behind the gate",
                "until you erase it",
                ("accounts", "backup", "deps", "edge.scoped", "webhooks", "works"),
            ),
            after=[_TELL, _told("account", "address")],
        ),
    )

    id: Mapped[Id]
    wallet: Mapped[bytes | None] = mapped_column("address", unique=True)
    created_at: Mapped[CreatedAt]
    pseudonym: Mapped[bytes | None] = mapped_column(Sealed)
    """The id under which the person's rows are kept behind the gate; made at the first that needs it."""

    @property
    def address(self) -> bytes:
        """The address. Raises WalletRequired for a visitor."""
        if self.wallet is None:
            raise WalletRequired
        return self.wallet


class AuthSession(Base):
    """A signed-in browser or program. The token itself is with the person; here is its SHA-256."""

    __tablename__ = "auth_session"
    __table_args__ = (
        CheckConstraint("octet_length(token_hash) = 32", name="token_hash_length"),
        marked(
            OfAccount(
                "your open sessions and what your browser calls itself",
                "until they end",
                ("accounts", "backup", "deps"),
            ),
            after=[_told("auth_session", "account_id, token_hash, expires_at")],
        ),
    )

    id: Mapped[Id]
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"), index=True)
    token_hash: Mapped[bytes] = mapped_column(unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    user_agent: Mapped[bytes | None] = mapped_column(Sealed)
    """What the browser called itself at sign-in, cut to 200 characters, so that a person recognises the session. Never
    kept of a visitor."""

    wallet_hash: Mapped[bytes | None]
    wallet_signature: Mapped[bytes | None]
    """What a contract wallet called its own at sign-in: the hash of the message and the signature, to ask again before
    what only the wallet's present owner may do, and every few minutes. None where a key signed."""
    wallet_asked_at: Mapped[datetime | None]
    """When the wallet was last asked, where that was after the sign-in."""

    account: Mapped[Account] = relationship(lazy="raise")


class EndedKey(Base):
    """The data key of an account that was ended by becoming another's: its file is to be destroyed.

    Written with what ends the account, and dropped when the file is destroyed, so that a process that dies in between
    leaves no key behind.
    """

    __tablename__ = "ended_key"
    __table_args__ = (marked(NotPersonal("ids of accounts that are gone, for the moments until their keys are too")),)

    key_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    """The id that the account had."""
    ended_at: Mapped[CreatedAt]


class SignInNonce(Base):
    """A nonce that was handed out and not used yet; using it is deleting it."""

    __tablename__ = "sign_in_nonce"
    __table_args__ = (marked(NotPersonal("random numbers that were handed out; nothing says to whom")),)

    nonce: Mapped[str] = mapped_column(primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class ApiKey(Base):
    """A program's key to an account, within its scopes. Rotating it keeps the row and changes the token."""

    __tablename__ = "api_key"
    __table_args__ = (
        CheckConstraint("octet_length(token_hash) = 32", name="token_hash_length"),
        CheckConstraint("(previous_hash IS NULL) = (previous_until IS NULL)", name="previous_whole"),
        marked(
            OfAccount(
                "your API keys: what you call them, what they may do, when they were used",
                "until 30 days after they end",
                ("accounts", "deps"),
            )
        ),
    )

    id: Mapped[Id]
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"), index=True)
    name: Mapped[bytes] = mapped_column(Sealed)
    """What the person calls it."""
    token_hash: Mapped[bytes] = mapped_column(unique=True)
    """SHA-256 of the token, which is with the person."""
    previous_hash: Mapped[bytes | None] = mapped_column(unique=True)
    """Of the token before the last rotation."""
    previous_until: Mapped[datetime | None]
    hint: Mapped[str]
    """The token's last four characters, so that the person recognises it."""
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime]
    issued_at: Mapped[datetime]
    """When the present token was made."""
    expires_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    """To the minute."""
    revoked_at: Mapped[datetime | None]
    wallet_hash: Mapped[bytes | None]
    wallet_signature: Mapped[bytes | None]
    """Of the sign-in that made the present token, as in AuthSession: the key ends when the wallet disowns it."""
    wallet_asked_at: Mapped[datetime | None]

    account: Mapped[Account] = relationship(lazy="raise")
