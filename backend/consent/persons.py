"""Pseudonyms: rows about what people do carry a random id, and which account it belongs to is sealed in the account.

Whoever has the database alone cannot tell whose the rows are; with the account's data key gone, nobody can.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Final, NamedTuple

import structlog
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from backend.consent.writes import give_voice
from backend.errors import Conflict
from backend.models.accounts import Account
from backend.models.own_data import Erasure
from backend.vault.vault import Erased, NoKey, Tampered, Vault, place

log = structlog.get_logger()

MEMO: Final = "pseudonym"


def _open(vault: Vault, account_id: uuid.UUID, sealed: bytes) -> uuid.UUID:
    person = uuid.UUID(bytes=vault.unseal(account_id, sealed, place(Account.pseudonym, account_id)))
    vault.memo(account_id)[MEMO] = person
    return person


def _remembered(vault: Vault, account_id: uuid.UUID) -> uuid.UUID | None:
    """What this process remembers, as long as it may remember the account's key."""
    try:
        found: uuid.UUID | None = vault.memo(account_id).get(MEMO)
    except NoKey:
        return None
    return found


def person_of(session: Session, vault: Vault, account_id: uuid.UUID) -> uuid.UUID | None:
    """The account's pseudonym; None for one that never needed any, and after its erasure. Raises Tampered, NoKey."""
    if (known := _remembered(vault, account_id)) is not None:
        return known
    sealed = session.scalar(select(Account.pseudonym).where(Account.id == account_id))
    return _opened(vault, account_id, sealed)


async def person_of_async(
    connection: AsyncConnection[DictRow], vault: Vault, account_id: uuid.UUID
) -> uuid.UUID | None:
    """As `person_of`, for async routes."""
    if (known := _remembered(vault, account_id)) is not None:
        return known
    cursor = await connection.execute("SELECT pseudonym FROM app.account WHERE id = %s", (account_id,))
    row = await cursor.fetchone()
    return _opened(vault, account_id, None if row is None else row["pseudonym"])


def _opened(vault: Vault, account_id: uuid.UUID, sealed: bytes | None) -> uuid.UUID | None:
    if sealed is None:
        return None
    try:
        return _open(vault, account_id, sealed)
    except Erased:
        return None


def under_erasure() -> Conflict:
    """What is said while an account is being erased."""
    return Conflict(
        "An erasure of this account is under way, and cannot be taken back. Nothing more is taken until it is done;"
        " then sign in to begin anew. The id that you were shown when you asked tells how far it is"
        " (GET /v1/erasures/{id}).",
        code="erasure_under_way",
        title="Being erased",
    )


def require_not_erasing(session: Session, account_id: uuid.UUID) -> None:
    """Raises Conflict when the account is being erased; otherwise none drops its rows before this transaction ends.

    The lock comes first: what is looked at after it is what an erasure that held it has left.
    """
    session.execute(select(Account.id).where(Account.id == account_id).with_for_update(read=True, key_share=True))
    if session.scalar(select(Erasure.id).where(Erasure.account_id == account_id)) is not None:
        raise under_erasure()


def make_person(session: Session, vault: Vault, account_id: uuid.UUID) -> uuid.UUID:
    """The account's pseudonym, made when there is none; of two requests at once both get the one that was first.

    For who is about to write rows behind the gate: until the transaction ends no erasure drops them. Raises Conflict
    when one is under way, Erased, and LookupError when there is no such account.
    """
    require_not_erasing(session, account_id)
    if (known := person_of(session, vault, account_id)) is not None:
        return known
    made = uuid.uuid4()
    sealed = vault.seal(account_id, made.bytes, place(Account.pseudonym, account_id))
    session.execute(
        update(Account)
        .where(Account.id == account_id, Account.pseudonym.is_(None))
        .values(pseudonym=sealed)
        .execution_options(synchronize_session=False)
    )
    stored = session.execute(select(Account.pseudonym, Account.wallet).where(Account.id == account_id)).one_or_none()
    if stored is None or stored.pseudonym is None:
        raise LookupError(f"there is no account {account_id}")
    # not remembered: this transaction may yet be taken back
    person = uuid.UUID(bytes=vault.unseal(account_id, stored.pseudonym, place(Account.pseudonym, account_id)))
    if stored.wallet is not None:
        give_voice(session, person)
    return person


class Person(NamedTuple):
    """An account and its pseudonym."""

    person_id: uuid.UUID
    account_id: uuid.UUID
    address: bytes | None


def everybody(session: Session, vault: Vault, *, chunk: int = 1_000) -> Iterator[Person]:
    """Every account that has a pseudonym, opened one by one: for what concerns all at once, as an epoch's rewards do.

    Accounts that were erased are left out. So is, with an error in the log, one whose key is missing or link changed.
    """
    query = select(Account.id, Account.wallet, Account.pseudonym).where(Account.pseudonym.is_not(None))
    for row in session.execute(query.execution_options(yield_per=chunk)):
        try:
            person = uuid.UUID(bytes=vault.unseal(row.id, row.pseudonym, place(Account.pseudonym, row.id)))
        except Erased:
            continue
        except (NoKey, Tampered) as error:
            log.error("pseudonym_lost", account=str(row.id), reason=str(error))
            continue
        yield Person(person, row.id, row.wallet)
