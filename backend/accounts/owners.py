"""Sessions and API keys of contract wallets end when the wallet changes its owner.

A key that signs in cannot be handed on; a contract wallet can. So each wallet is asked every few minutes whether it
still calls the signature of the sign-in its own, and what rests on a signature that it disowns ends. What only the
person may do asks at once, before it is done (`sign_in.confirm`); on chain the wallet signs everything anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import structlog
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from backend.accounts import wallets
from backend.errors import Unavailable
from backend.models.accounts import Account, ApiKey, AuthSession
from backend.node import Node

log = structlog.get_logger()

Unit = Callable[[], AbstractContextManager[Session]]
ASKED_EVERY: Final = timedelta(minutes=5)
"""So long may who owned a wallet before go on with a session or a key, while the node answers."""
BATCH: Final = 500
"""Wallets asked in one go; those that waited longest come first."""


class Asked(NamedTuple):
    """What came of asking."""

    asked: int
    ended: int


class _Held(NamedTuple):
    """A session or a key that rests on a wallet's signature."""

    model: type[AuthSession] | type[ApiKey]
    id: Any
    wallet: bytes
    hash: bytes
    signature: bytes
    asked_at: datetime


def ask_wallets(unit: Unit, node: Node, *, now: datetime, every: timedelta = ASKED_EVERY) -> Asked:
    """Ask the wallets that were not asked for so long, and end what they disown.

    Where the node does not answer, nothing is ended and the rest waits: a chain that cannot be read says nothing about
    who owns a wallet.
    """
    with unit() as session:
        held = sorted(_due(session, now - every, now), key=lambda each: each.asked_at)[:BATCH]
    ended = 0
    for number, each in enumerate(held):
        try:
            owned = wallets.approves(node, wallet=each.wallet, message_hash=each.hash, signature=each.signature)
        except Unavailable as error:
            log.warning("wallets_not_asked", left=len(held) - number, reason=str(error))
            return Asked(number, ended)
        with unit() as session:
            if owned:
                session.execute(update(each.model).where(*_same(each)).values(wallet_asked_at=now))
            else:
                ended += _end(session, each, now)
    if ended:
        log.info("wallets_changed_owner", ended=ended)
    return Asked(len(held), ended)


def _due(session: Session, before: datetime, now: datetime) -> list[_Held]:
    found = []
    for model, since, live in (
        (AuthSession, AuthSession.created_at, AuthSession.expires_at > now),
        (ApiKey, ApiKey.issued_at, (ApiKey.expires_at > now) & ApiKey.revoked_at.is_(None)),
    ):
        asked_at = func.coalesce(model.wallet_asked_at, since)
        query = (
            select(model.id, Account.wallet, model.wallet_hash, model.wallet_signature, asked_at)
            .join(Account, Account.id == model.account_id)
            .where(model.wallet_signature.is_not(None), asked_at <= before, live)
            .order_by(asked_at)
            .limit(BATCH)
        )
        found += [_Held(model, *row) for row in session.execute(query)]  # type: ignore[arg-type]  # none is null
    return found


def _same(each: _Held) -> tuple[Any, Any]:
    """Not one that was made anew by the present owner meanwhile."""
    return each.model.id == each.id, each.model.wallet_hash == each.hash


def _end(session: Session, each: _Held, now: datetime) -> int:
    if each.model is AuthSession:
        ending: Any = delete(AuthSession).where(*_same(each)).returning(AuthSession.id)
    else:
        ending = update(ApiKey).where(*_same(each)).values(revoked_at=now).returning(ApiKey.id)
    return len(session.execute(ending.execution_options(synchronize_session=False)).all())
