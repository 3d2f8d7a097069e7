"""Visitors: people without an address, known by the token that they were given and by nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from backend.accounts.service import open_session
from backend.consent.gate import forget
from backend.consent.persons import person_of
from backend.errors import Conflict
from backend.models.accounts import Account, AuthSession
from backend.vault import Vault

BATCH = 500
"""Visitors forgotten in one transaction."""


def welcome(
    session: Session, *, current: AuthSession | None, token: str | None, now: datetime, ttl_s: int
) -> tuple[str, AuthSession]:
    """A new visitor with a session, or the present visitor's session, prolonged. Raises Conflict for a person.

    Nothing is noted of the visitor but the time.
    """
    if current is None or token is None:
        account = Account(wallet=None)
        session.add(account)
        session.flush()
        return open_session(session, account=account, now=now, ttl_s=ttl_s)
    if current.account.wallet is not None:
        raise Conflict(
            "You are signed in with a wallet; sign out first (DELETE /v1/auth/session) to be here as a visitor.",
            code="already_signed_in",
            title="Signed in",
        )
    current.expires_at = now + timedelta(seconds=ttl_s)
    return token, current


def abandoned(session: Session) -> Sequence[Account]:
    """Visitors to whom no session leads any more: nobody can come back as one of them. Locked, at most a batch."""
    query = (
        select(Account)
        .where(Account.wallet.is_(None), ~exists().where(AuthSession.account_id == Account.id))
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )
    return session.scalars(query).all()


def forget_abandoned(session: Session, vault: Vault) -> int:
    """Delete a batch of the abandoned visitors with all that they did and their keys; how many.

    Expired sessions go first. The keys go before the commit: what a crash leaves then leads to nobody, and goes next.
    """
    gone = [account.id for account in abandoned(session)]
    with_keys = [account_id for account_id in gone if vault.state(account_id) == "present"]
    forget(session, [person for each in with_keys if (person := person_of(session, vault, each)) is not None])
    for account_id in with_keys:
        vault.destroy(account_id)
    session.execute(delete(Account).where(Account.id.in_(gone)).execution_options(synchronize_session=False))
    return len(gone)
