"""Sign-in: hand out a nonce, take it back once with a signature, open a session."""

from __future__ import annotations

import secrets
import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NoReturn

from psycopg import AsyncConnection
from psycopg.errors import ForeignKeyViolation
from psycopg.rows import DictRow
from sqlalchemy import delete
from sqlalchemy.orm import Session

from backend.accounts import siwe, wallets
from backend.accounts.service import account_of, new_session, open_session
from backend.accounts.siwe import Expected, Message
from backend.consent.persons import require_not_erasing
from backend.db import AsyncPool, at_once
from backend.errors import Unauthorized
from backend.models.accounts import Account, AuthSession, SignInNonce
from backend.node import Node
from backend.vault.vault import Erased, Vault

NONCE_TTL = timedelta(minutes=5)
STATEMENT = "Sign in to Troupe."


def issue_nonce(session: Session, *, now: datetime) -> SignInNonce:
    """A nonce of 128 random bits that can be used once, within five minutes."""
    row = SignInNonce(nonce=secrets.token_hex(16), expires_at=now + NONCE_TTL)
    session.add(row)
    session.flush()
    return row


def message_for(address: str, *, nonce: str, expected: Expected, now: datetime) -> str:
    """The message for a person to sign, whole."""
    return Message(
        domain=expected.domain,
        address=address,
        statement=STATEMENT,
        uri=expected.uri,
        chain_id=expected.chain_id,
        nonce=nonce,
        issued_at=now,
    ).text()


def consume_nonce(session: Session, *, nonce: str, now: datetime) -> None:
    """Use up a nonce. Of any number of attempts at once one succeeds; the others raise Unauthorized.

    The row's lock makes the others wait for the winner's commit; should it roll back, the nonce is there again.
    """
    statement = (
        delete(SignInNonce)
        .where(SignInNonce.nonce == nonce, SignInNonce.expires_at > now)
        .returning(SignInNonce.nonce)
        .execution_options(synchronize_session=False)
    )
    if session.execute(statement).scalar_one_or_none() is None:
        nonce_refused()


def nonce_refused() -> NoReturn:
    """Raise Unauthorized for a nonce that cannot be used, or not any more."""
    siwe.refused(
        "nonce",
        "The nonce was not given out by this server, was used before, or is more than five minutes old:"
        " ask for a new one and sign again.",
        code="sign_in_nonce",
    )


@dataclass(frozen=True)
class Opened:
    """A session that was just opened, and its token, which is nowhere else."""

    token: str
    session_id: uuid.UUID
    expires_at: datetime


def prove(text: str, signature: bytes, *, address: str, node: Node) -> tuple[bytes, bytes] | None:
    """Check that an address signed a text: its key, or the contract wallet at it (ERC-1271, ERC-6492).

    Answers None for a key, without asking the node; for a wallet the hash and the signature, to ask it again. Raises
    Unauthorized, and Unavailable where the node has to be asked and does not answer.
    """
    try:
        if siwe.recover(text, signature) == address:
            return None
        refusal = f"The message was not signed by {address}."
    except Unauthorized as why:
        refusal = why.detail
    proof = siwe.message_hash(text), signature
    if wallets.approves(node, wallet=bytes.fromhex(address[2:]), message_hash=proof[0], signature=signature):
        return proof
    siwe.bad_signature(f"{refusal} No contract wallet at this address calls the signature its own, either.")


def confirm(node: Node, current: AuthSession) -> None:
    """Ask the contract wallet of a session again whether the sign-in's signature is its own; a key needs no asking.

    A wallet can change its owner, and who owned it then must not act in its name any more. Raises Unauthorized,
    Unavailable.
    """
    if current.wallet_hash is None or current.wallet_signature is None:
        return
    wallet = current.account.address
    if not wallets.approves(node, wallet=wallet, message_hash=current.wallet_hash, signature=current.wallet_signature):
        raise Unauthorized(
            "Your contract wallet no longer calls the signature of this sign-in its own (its owner may have changed):"
            " sign in again.",
            code="session_unconfirmed",
        )


def signed_by_key(text: str, signature: bytes, *, address: str) -> bool:
    """Whether an address's own key signed a text."""
    with suppress(Unauthorized):
        return siwe.recover(text, signature) == address
    return False


def judged(text: str, *, expected: Expected, now: datetime) -> Message:
    """The message of a text, right in every field that can be judged by itself. Raises Invalid, Unauthorized."""
    message = siwe.parse(text)
    siwe.check(message, expected=expected, now=now)
    return message


@dataclass(frozen=True)
class SignIn:
    """A message that signs in here and now, but for its nonce, which is used up last: only a message that is right in
    everything else takes it, and no connection to the database is held while a wallet is asked."""

    message: Message
    now: datetime
    ttl_s: int
    user_agent: str | None
    wallet_proof: tuple[bytes, bytes] | None = None
    """What a contract wallet signed; None of a key."""

    @property
    def address(self) -> bytes:
        return bytes.fromhex(self.message.address[2:])

    @property
    def lasts_s(self) -> int:
        """How long the session lasts: until the message's expiration time at the latest."""
        ends = self.message.expiration_time
        return self.ttl_s if ends is None else min(self.ttl_s, int((ends - self.now).total_seconds()))


def open_first(session: Session, vault: Vault, by: SignIn) -> tuple[Opened, Account]:
    """Use up the nonce and open a session, with an account and a key where there are none.

    Raises Unauthorized, and Conflict while an erasure of the account is under way; the nonce is there again then.
    """
    consume_nonce(session, nonce=by.message.nonce, now=by.now)
    account = account_of(session, by.address)
    require_not_erasing(session, account.id)
    token, row = open_session(
        session,
        account=account,
        now=by.now,
        ttl_s=by.lasts_s,
        device=(vault, by.user_agent),
        wallet_proof=by.wallet_proof,
    )
    return Opened(token, row.id, row.expires_at), account


ERASING: Final = "EXISTS (SELECT FROM app.erasure e WHERE e.account_id = a.id)"
"""An erasure's row outlives the account, so that a present account with one is being erased."""
KNOWN: Final = "SELECT id FROM app.account WHERE address = %s"
OPEN: Final = f"""
WITH used AS (
    DELETE FROM app.sign_in_nonce n USING app.account a
    WHERE n.nonce = %(nonce)s AND n.expires_at > %(created_at)s
        AND a.id = %(account_id)s AND a.address = %(address)s AND NOT {ERASING}
    RETURNING a.id
)
INSERT INTO app.auth_session (id, account_id, token_hash, created_at, expires_at, user_agent)
SELECT %(id)s, used.id, %(token_hash)s, %(created_at)s, %(expires_at)s, %(user_agent)s::bytea FROM used
"""
"""Using up the nonce, for an account that is there and stays, is the condition of the session: one statement, one
commit."""


class Seen:
    """Which account an address has, of those that signed in through this process lately; used from its event loop.

    Only a guess: the statement that opens the session looks whether it still holds.
    """

    LIMIT: Final = 10_000

    def __init__(self) -> None:
        self._accounts: dict[bytes, uuid.UUID] = {}

    def get(self, address: bytes) -> uuid.UUID | None:
        """The account that the address had last."""
        return self._accounts.get(address)

    def note(self, address: bytes, account_id: uuid.UUID) -> None:
        """Remember; the oldest goes when there are too many."""
        if len(self._accounts) >= self.LIMIT:
            self._accounts.pop(next(iter(self._accounts)))
        self._accounts[address] = account_id

    def forget(self, address: bytes) -> None:
        """What was remembered does not hold any more."""
        self._accounts.pop(address, None)


async def open_known(
    pool: AsyncPool, vault: Vault, seen: Seen, by: SignIn, *, text: str, signature: bytes
) -> Opened | None:
    """Use up the nonce and open a session of an account that is there, if its key signed the text; else None, and
    nothing was done: `open_first` does it otherwise, or says why not.

    Of any number of attempts with one nonce at once one succeeds. Raises Erased.
    """
    if not signed_by_key(text, signature, address=by.message.address):
        return None
    async with pool.connection() as connection, at_once(connection):
        if (guess := seen.get(by.address)) is not None:
            with suppress(Erased):
                if (opened := await _open(connection, vault, guess, by)) is not None:
                    return opened
            seen.forget(by.address)
        known = await (await connection.execute(KNOWN, (by.address,))).fetchone()
        if known is None:
            return None
        if (opened := await _open(connection, vault, known["id"], by)) is not None:
            seen.note(by.address, known["id"])
        return opened


async def _open(connection: AsyncConnection[DictRow], vault: Vault, account_id: uuid.UUID, by: SignIn) -> Opened | None:
    """Open a session of an account; None, and nothing was done, where the account or the nonce is not (any more)."""
    token, row = new_session(account_id, now=by.now, ttl_s=by.lasts_s, device=(vault, by.user_agent))
    try:
        done = await connection.execute(OPEN, {**row, "nonce": by.message.nonce, "address": by.address})
    except ForeignKeyViolation:  # the account was erased in between
        return None
    return Opened(token, row["id"], row["expires_at"]) if done.rowcount else None
