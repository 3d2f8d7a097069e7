"""Visitors: people without an address, known by the token that they were given and by nothing else."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from backend.accounts.service import open_session
from backend.consent import service as consents
from backend.consent.gate import forget, frozen_since
from backend.consent.persons import make_person, person_of
from backend.consent.purposes import Purpose
from backend.consent.receipts import Controller
from backend.consent.writes import hand_over
from backend.db import Database
from backend.errors import Conflict
from backend.models.accounts import Account, AuthSession, EndedKey
from backend.vault.vault import Vault

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


class Brought(NamedTuple):
    """What a person brought along from being a visitor."""

    visitor_id: uuid.UUID
    events: int
    consents: list[Purpose]
    """Answers that the person had not given before, and that hold now."""


def bring_along(
    session: Session, vault: Vault, *, visitor: Account, to: Account, now: datetime, by: Controller
) -> Brought | None:
    """Make what a visitor did a person's, and end the visitor; None when there is no such visitor any more.

    The person's own answers, settings and events stand; a visitor's are taken where the person has none, each answer
    with a receipt of its own. Events come along if the person then allows `behaviour`, and go with the visitor
    otherwise. While the data of either is frozen nothing is brought. Once this is committed, the visitor's key is for
    the caller to destroy (`destroy_ended`); the worker does what a caller that died left.
    """
    for account in (visitor, to):  # in this order: a visitor is brought once, and nobody's intake is in between
        locked = select(Account.id).where(Account.id == account.id).with_for_update()
        if session.scalar(locked) is None:
            return None
    person, was = person_of(session, vault, to.id), person_of(session, vault, visitor.id)
    if any(each is not None and frozen_since(session, each) for each in (person, was)):
        return None
    known = consents.current(session, vault, account_id=to.id)
    answers = consents.current(session, vault, account_id=visitor.id)
    taken = [purpose for purpose in answers if purpose not in known]
    for purpose in taken:
        granted = consents.counts(answers[purpose])
        consents.record(session, vault, account_id=to.id, purpose=purpose, granted=granted, at=now, by=by)
    events = 0
    allowed = consents.counts(consents.current(session, vault, account_id=to.id).get(Purpose.BEHAVIOUR))
    if was is not None:
        if allowed:
            events = hand_over(session, visitor=was, person=make_person(session, vault, to.id))
        forget(session, [was])
    session.execute(delete(Account).where(Account.id == visitor.id).execution_options(synchronize_session=False))
    session.add(EndedKey(key_id=visitor.id))
    return Brought(visitor.id, events, taken)


def destroy_ended(database: Database, vault: Vault) -> int:
    """Destroy the keys of visitors who became somebody; how many. What another process does at the time is left to it.

    The row goes after the file: killed in between, the next one destroys it again, which changes nothing.
    """
    with database.session() as session:
        query = select(EndedKey).limit(BATCH).with_for_update(skip_locked=True)
        ended = session.scalars(query).all()
        for each in ended:
            vault.destroy(each.key_id)
            session.delete(each)
        return len(ended)


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
