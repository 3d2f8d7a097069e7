"""Sign-in: hand out a nonce, take it back once with a signature, open a session."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlalchemy.orm import Session

from backend.accounts import siwe, wallets
from backend.accounts.service import account_of, open_session
from backend.accounts.siwe import Expected, Message
from backend.errors import Unauthorized
from backend.models.accounts import Account, AuthSession, SignInNonce
from backend.node import Node
from backend.vault.vault import Vault

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
        siwe.refused(
            "nonce",
            "The nonce was not given out by this server, was used before, or is more than five minutes old:"
            " ask for a new one and sign again.",
            code="sign_in_nonce",
        )


@dataclass(frozen=True)
class Opened:
    """A session that has just been opened; the token is nowhere else."""

    token: str
    session: AuthSession
    account: Account


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


def sign_in(
    session: Session,
    *,
    node: Node,
    vault: Vault,
    text: str,
    signature: bytes,
    expected: Expected,
    now: datetime,
    ttl_s: int,
    user_agent: str | None,
) -> Opened:
    """Judge a signed message and open a session, which ends with the message's expiration time at the latest.

    The nonce is used up last, so that only a message that is right in everything else takes it, and no connection to
    the database is held while a wallet is asked. Raises Invalid for text that is no EIP-4361 message, Unauthorized for
    one that does not sign in here and now, Unavailable where a contract wallet can't be asked.
    """
    message = siwe.parse(text)
    siwe.check(message, expected=expected, now=now)
    proof = prove(text, signature, address=message.address, node=node)
    consume_nonce(session, nonce=message.nonce, now=now)
    if message.expiration_time is not None:
        ttl_s = min(ttl_s, int((message.expiration_time - now).total_seconds()))
    account = account_of(session, bytes.fromhex(message.address[2:]))
    token, row = open_session(
        session, account=account, now=now, ttl_s=ttl_s, device=(vault, user_agent), wallet_proof=proof
    )
    return Opened(token, row, account)
