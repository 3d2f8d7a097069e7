"""API keys: for programs of a person or platform, with scopes. The token is shown once; here is its SHA-256.

A token is `troupe_`, 43 characters of 256 random bits, and six of a checksum (CRC-32): scanners for leaked secrets find
it by its form and rule out look-alikes, and a mistyped one is refused without a look into the database.
"""

from __future__ import annotations

import re
import secrets
import string
import uuid
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session, contains_eager

from backend.accounts.scopes import Scope
from backend.accounts.service import SignedIn, token_hash
from backend.db import AsyncPool, Database
from backend.errors import Conflict, Forbidden, NotFound, Unauthorized
from backend.models.accounts import Account, ApiKey, AuthSession
from backend.models.base import uuid7
from backend.vault.vault import Vault, place

PREFIX: Final = "troupe_"
SECRET_CHARACTERS: Final = 43
CHECK_CHARACTERS: Final = 6
LIMIT: Final = 20
"""Keys of an account that work at a time."""
USE_NOTED_EVERY: Final = timedelta(minutes=1)
KEPT_AFTER_END: Final = timedelta(days=30)
"""How long a revoked or expired key stays in the list."""

_DIGITS: Final = string.digits + string.ascii_letters
_TOKEN: Final = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{SECRET_CHARACTERS + CHECK_CHARACTERS}}}")


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))


def _check(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), CHECK_CHARACTERS)


def new_token() -> str:
    """A fresh token; it is nowhere else."""
    body = PREFIX + _base62(secrets.randbits(256), SECRET_CHARACTERS)
    return body + _check(body)


def is_key(token: str) -> bool:
    """Whether a bearer token claims to be an API key."""
    return token.startswith(PREFIX)


def is_whole(token: str) -> bool:
    """Whether a token has the form of a key, its checksum included."""
    return bool(_TOKEN.fullmatch(token)) and _check(token[:-CHECK_CHARACTERS]) == token[-CHECK_CHARACTERS:]


def _unknown(detail: str = "This API key is nobody's.") -> Unauthorized:
    return Unauthorized(f"{detail} See GET /v1/keys.", code="key_unknown", title="API key refused")


def _judge(key: ApiKey, hashed: bytes, now: datetime) -> None:
    if key.revoked_at is not None:
        raise Unauthorized("This API key was revoked.", code="key_revoked", title="API key refused")
    if key.expires_at <= now:
        raise Unauthorized("This API key has expired: rotate it.", code="key_expired", title="API key refused")
    if hashed != key.token_hash and (key.previous_until is None or key.previous_until <= now):
        raise Unauthorized(
            "This API key was rotated, and the time for both is over: use the new one.",
            code="key_revoked",
            title="API key refused",
        )


def authenticate(session: Session, *, token: str, now: datetime) -> ApiKey:
    """The live key of a token, with its account. Raises Unauthorized."""
    if not is_whole(token):
        raise _unknown("This is no whole API key: its checksum is wrong.")
    hashed = token_hash(token)
    key = session.execute(
        select(ApiKey)
        .join(ApiKey.account)
        .options(contains_eager(ApiKey.account))
        .where(or_(ApiKey.token_hash == hashed, ApiKey.previous_hash == hashed))
    ).scalar_one_or_none()
    if key is None:
        raise _unknown()
    _judge(key, hashed, now)
    return key


@dataclass(frozen=True)
class KeyHolder(SignedIn):
    """Whose key makes a request, as the async routes know it."""

    key_id: uuid.UUID
    scopes: frozenset[str]
    used_at: datetime | None


async def authenticate_async(pool: AsyncPool, *, token: str, now: datetime) -> KeyHolder:
    """As `authenticate`, through the async pool."""
    if not is_whole(token):
        raise _unknown("This is no whole API key: its checksum is wrong.")
    hashed = token_hash(token)
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT k.id, k.account_id, k.token_hash, k.previous_until, k.revoked_at, k.expires_at, k.scopes,"
            " k.last_used_at, a.address FROM app.api_key k JOIN app.account a ON a.id = k.account_id"
            " WHERE k.token_hash = %s OR k.previous_hash = %s",
            (hashed, hashed),
        )
        row = await cursor.fetchone()
    if row is None:
        raise _unknown()
    address = bytes(row.pop("address"))
    key = ApiKey(**row | {"token_hash": bytes(row["token_hash"])})
    _judge(key, hashed, now)
    return KeyHolder(key.account_id, None, address, key.id, frozenset(key.scopes), key.last_used_at)


def require(granted: Collection[str], wanted: Sequence[str]) -> None:
    """Raise Forbidden unless a key has every scope that a route names; a route that names none takes no key."""
    if not wanted:
        raise Forbidden(
            "An API key cannot do this: it needs the person. Sign in with a wallet.",
            code="key_not_allowed",
            title="Not with an API key",
        )
    if missing := sorted(set(wanted) - set(granted)):
        raise Forbidden(
            f"This API key lacks the scope {', '.join(missing)}: make one that has it.",
            code="scope_missing",
            title="Scope missing",
            missing=missing,
        )


def note_use(database: Database, key_id: uuid.UUID, now: datetime) -> None:
    """Write down that a key was used, in a transaction of its own, after the answer has left."""
    with database.session() as session:
        session.execute(
            update(ApiKey)
            .where(ApiKey.id == key_id, or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < now))
            .values(last_used_at=now)
        )


def use_is_due(last_used_at: datetime | None, now: datetime) -> bool:
    """Whether a use has to be noted; one a minute is enough, and spares the key's row."""
    return last_used_at is None or now - last_used_at >= USE_NOTED_EVERY


# --- by the person ----------------------------------------------------------------------------------------------------


def create(
    session: Session,
    vault: Vault,
    *,
    by: AuthSession,
    name: str,
    scopes: Sequence[Scope],
    lifetime: timedelta,
    now: datetime,
) -> tuple[str, ApiKey]:
    """Make a key of who is signed in. Returns its token, which is nowhere else, and its row.

    Raises Conflict for one too many.
    """
    account = by.account
    session.execute(select(Account.id).where(Account.id == account.id).with_for_update())  # counted one at a time
    live = select(func.count()).where(
        ApiKey.account_id == account.id, ApiKey.revoked_at.is_(None), ApiKey.expires_at > now
    )
    if (session.scalar(live) or 0) >= LIMIT:
        raise Conflict(f"You have {LIMIT} API keys; revoke one first.", code="too_many_keys", title="Too many keys")
    token, key_id = new_token(), uuid7()
    key = ApiKey(
        id=key_id,
        account_id=account.id,
        name=vault.seal(account.id, name, place(ApiKey.name, key_id)),
        token_hash=token_hash(token),
        hint=token[-4:],
        scopes=sorted(set(scopes)),
        created_at=now,
        issued_at=now,
        expires_at=now + lifetime,
        wallet_hash=by.wallet_hash,
        wallet_signature=by.wallet_signature,
    )
    session.add(key)
    session.flush()
    return token, key


def of(session: Session, *, account: Account) -> list[ApiKey]:
    """The account's keys, newest first, those that ended within 30 days too."""
    query = select(ApiKey).where(ApiKey.account_id == account.id).order_by(ApiKey.created_at.desc(), ApiKey.id.desc())
    return list(session.scalars(query))


def name_of(vault: Vault, key: ApiKey) -> str:
    """What the person called a key."""
    return vault.unseal_text(key.account_id, key.name, place(ApiKey.name, key.id))


def _own(session: Session, account: Account, key_id: uuid.UUID) -> ApiKey:
    key = session.scalar(select(ApiKey).where(ApiKey.id == key_id, ApiKey.account_id == account.id).with_for_update())
    if key is None:
        raise NotFound("You have no such API key.")
    return key


def rotate(
    session: Session, *, by: AuthSession, key_id: uuid.UUID, overlap: timedelta, lifetime: timedelta, now: datetime
) -> tuple[str, ApiKey]:
    """Give a key a new token; the present one works on during the overlap, and one before it ends at once.

    Raises NotFound, and Conflict for a key that was revoked.
    """
    key = _own(session, by.account, key_id)
    if key.revoked_at is not None:
        raise Conflict("This API key was revoked: make a new one.", code="key_ended", title="Key ended")
    token = new_token()
    key.previous_hash, key.previous_until = key.token_hash, min(now + overlap, key.expires_at)
    key.token_hash, key.hint = token_hash(token), token[-4:]
    key.issued_at, key.expires_at = now, now + lifetime
    key.wallet_hash, key.wallet_signature, key.wallet_asked_at = by.wallet_hash, by.wallet_signature, None
    session.flush()
    return token, key


def revoke(session: Session, *, account: Account, key_id: uuid.UUID, now: datetime) -> None:
    """End a key at once; again it changes nothing. Raises NotFound."""
    key = _own(session, account, key_id)
    key.revoked_at = key.revoked_at or now
