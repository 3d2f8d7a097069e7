"""Accounts and their sessions: who holds a token, and which tokens an account has."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, contains_eager

from backend.db import AsyncPool
from backend.errors import NotFound, Unauthorized
from backend.models.accounts import Account, AuthSession
from backend.models.base import uuid7
from backend.vault.vault import Vault, place

TOKEN_BYTES = 32
USER_AGENT_LIMIT = 200


@dataclass(frozen=True)
class Somebody:
    """Who makes a request, as the async routes know it: a visitor, or by the subclass a person with an address."""

    account_id: uuid.UUID
    session_id: uuid.UUID | None
    """None where an API key makes it."""


@dataclass(frozen=True)
class SignedIn(Somebody):
    """Who signed in with a wallet."""

    address: bytes


def token_hash(token: str) -> bytes:
    """What is stored of a token: SHA-256 is enough for 256 random bits."""
    return hashlib.sha256(token.encode()).digest()


def account_of(session: Session, address: bytes) -> Account:
    """The account of an address, made when there is none; safe when two requests make it at once."""
    wanted = select(Account).where(Account.wallet == address)
    if (found := session.scalar(wanted)) is not None:
        return found
    session.execute(
        insert(Account).values({Account.wallet: address}).on_conflict_do_nothing(index_elements=[Account.wallet])
    )
    return session.execute(wanted).scalar_one()


def open_session(
    session: Session,
    *,
    account: Account,
    now: datetime,
    ttl_s: int,
    device: tuple[Vault, str | None] | None = None,
    wallet_proof: tuple[bytes, bytes] | None = None,
) -> tuple[str, AuthSession]:
    """Open a session. Returns the token, which is nowhere else, and its row.

    `device` is where to seal what the browser calls itself, and that; `wallet_proof` what a contract wallet signed.
    """
    token, values = new_session(account.id, now=now, ttl_s=ttl_s, device=device, wallet_proof=wallet_proof)
    row = AuthSession(**values)
    session.add(row)
    session.flush()
    return token, row


def new_session(
    account_id: uuid.UUID,
    *,
    now: datetime,
    ttl_s: int,
    device: tuple[Vault, str | None] | None = None,
    wallet_proof: tuple[bytes, bytes] | None = None,
) -> tuple[str, dict[str, Any]]:
    """A token and the row of its session, by the columns' names, as `open_session` stores it."""
    token, session_id = secrets.token_urlsafe(TOKEN_BYTES), uuid7()
    vault, user_agent = device or (None, None)
    wallet_hash, wallet_signature = wallet_proof or (None, None)
    return token, {
        "id": session_id,
        "account_id": account_id,
        "token_hash": token_hash(token),
        "created_at": now,
        "expires_at": now + timedelta(seconds=ttl_s),
        "user_agent": vault.seal(account_id, user_agent[:USER_AGENT_LIMIT], place(AuthSession.user_agent, session_id))
        if vault and user_agent
        else None,
        "wallet_hash": wallet_hash,
        "wallet_signature": wallet_signature,
    }


def device_of(vault: Vault, row: AuthSession) -> str | None:
    """What the browser of a session called itself at sign-in."""
    if row.user_agent is None:
        return None
    return vault.unseal_text(row.account_id, row.user_agent, place(AuthSession.user_agent, row.id))


def authenticate(session: Session, *, token: str, now: datetime) -> AuthSession:
    """The live session of a token, with its account. Raises Unauthorized for a revoked, unknown or expired one."""
    row = session.execute(
        select(AuthSession)
        .join(AuthSession.account)
        .options(contains_eager(AuthSession.account))
        .where(AuthSession.token_hash == token_hash(token))
    ).scalar_one_or_none()
    if row is None:
        raise unknown_session()
    if row.expires_at <= now:
        raise expired_session()
    return row


async def authenticate_async(pool: AsyncPool, *, token: str, now: datetime) -> tuple[Somebody, datetime]:
    """As `authenticate`, through the async pool; also until when."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT s.id, s.account_id, s.expires_at, a.address FROM app.auth_session s"
            " JOIN app.account a ON a.id = s.account_id WHERE s.token_hash = %s",
            (token_hash(token),),
        )
        row = await cursor.fetchone()
    if row is None:
        raise unknown_session()
    if row["expires_at"] <= now:
        raise expired_session()
    if row["address"] is None:
        return Somebody(row["account_id"], row["id"]), row["expires_at"]
    return SignedIn(row["account_id"], row["id"], bytes(row["address"])), row["expires_at"]


def unknown_session() -> Unauthorized:
    return Unauthorized("This session does not exist or was ended: sign in again.", code="session_unknown")


def expired_session() -> Unauthorized:
    return Unauthorized("This session has expired: sign in again.", code="session_expired")


def live_sessions(session: Session, *, account: Account, now: datetime) -> list[AuthSession]:
    """The account's sessions that have not expired, newest first."""
    query = (
        select(AuthSession)
        .where(AuthSession.account_id == account.id, AuthSession.expires_at > now)
        .order_by(AuthSession.created_at.desc(), AuthSession.id.desc())
    )
    return list(session.scalars(query))


def revoke(session: Session, *, account: Account, session_id: uuid.UUID) -> None:
    """End one of the account's sessions at once. Raises NotFound for one that is not the account's."""
    ended = session.execute(
        delete(AuthSession)
        .where(AuthSession.id == session_id, AuthSession.account_id == account.id)
        .returning(AuthSession.id)
    ).scalar_one_or_none()
    if ended is None:
        raise NotFound("You have no such session; it may have ended already.")
