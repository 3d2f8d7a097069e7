"""What a person allows: the newest answer to each purpose, and nothing where there is none; and the receipts."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping, Sequence
from datetime import date, datetime

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from backend.consent import receipts
from backend.consent.gate import entered
from backend.consent.persons import make_person, person_of
from backend.consent.purposes import NOTICES, Purpose
from backend.consent.receipts import Controller, Event
from backend.errors import NotFound
from backend.models.consent import ConsentReceipt, DataUse
from backend.models.engagement import NOBODY
from backend.settings import Settings
from backend.vault.vault import Vault, place

LOCK = 0x434F4E53
"""First key of the advisory locks under which one answer a person is written at a time ("CONS")."""


def controller(settings: Settings) -> Controller:
    """Who stands in receipts as responsible."""
    return Controller(
        settings.controller_name or settings.domain,
        settings.public_url,
        settings.controller_contact or settings.public_url,
    )


def record(
    session: Session,
    vault: Vault,
    *,
    account_id: uuid.UUID,
    purpose: Purpose,
    granted: bool,
    at: datetime,
    by: Controller,
) -> ConsentReceipt:
    """Write down a yes or no under the notice that is shown today; the same answer again is a receipt of its own."""
    person = make_person(session, vault, account_id)
    notice, record_id, salt = NOTICES[purpose], uuid.uuid4(), secrets.token_bytes(receipts.SALT_BYTES)
    with entered(session):
        session.connection().exec_driver_sql(
            "SELECT pg_advisory_xact_lock(%(lock)s, hashtext(%(person)s))", {"lock": LOCK, "person": str(person)}
        )
        before = session.scalars(
            select(ConsentReceipt)
            .where(ConsentReceipt.person_id == person, ConsentReceipt.purpose == purpose.value)
            .order_by(ConsentReceipt.number)
        )
        events = [Event(each.at, each.granted, each.notice_version) for each in before]
        text = receipts.document(
            record_id=record_id,
            subject=uuid.UUID(bytes=vault.derive(account_id, "receipt-subject")[:16]).urn,
            purpose=purpose,
            events=[*events, Event(at, granted, notice.version)],
            controller=by,
        )
        row = ConsentReceipt(
            record_id=record_id,
            person_id=person,
            purpose=purpose.value,
            granted=granted,
            notice_version=notice.version,
            notice_digest=notice.digest,
            at=at,
            salt=vault.seal(account_id, salt, place(ConsentReceipt.salt, record_id)),
            document=vault.seal(account_id, text, place(ConsentReceipt.document, record_id)),
            commitment=receipts.commitment(text, salt),
        )
        session.add(row)
        session.flush()
    return row


def current(session: Session, vault: Vault, *, account_id: uuid.UUID) -> Mapping[Purpose, ConsentReceipt]:
    """The newest receipt of every purpose that the person has answered, whether it counts today or not."""
    if (person := person_of(session, vault, account_id)) is None:
        return {}
    newest = (
        select(ConsentReceipt)
        .where(ConsentReceipt.person_id == person)
        .order_by(ConsentReceipt.purpose, ConsentReceipt.number.desc())
        .distinct(ConsentReceipt.purpose)
    )
    with entered(session):
        found = session.scalars(newest).all()
    return {Purpose(receipt.purpose): receipt for receipt in found}


def counts(receipt: ConsentReceipt | None) -> bool:
    """Whether an answer allows its purpose today: yes, and to a notice that still counts (`gate.allows_sql` in SQL)."""
    if receipt is None or not receipt.granted:
        return False
    notice = NOTICES[Purpose(receipt.purpose)]
    return notice.accepts <= receipt.notice_version <= notice.version


def list_receipts(
    session: Session, vault: Vault, *, account_id: uuid.UUID, before: int | None, limit: int
) -> Sequence[ConsentReceipt]:
    """A person's receipts, the newest first, one more than `limit` where there are more."""
    if (person := person_of(session, vault, account_id)) is None:
        return []
    query = select(ConsentReceipt).where(ConsentReceipt.person_id == person)
    if before is not None:
        query = query.where(ConsentReceipt.number < before)
    with entered(session):
        return session.scalars(query.order_by(ConsentReceipt.number.desc()).limit(limit + 1)).all()


def opened_receipt(
    session: Session, vault: Vault, *, account_id: uuid.UUID, record_id: uuid.UUID
) -> tuple[ConsentReceipt, bytes, bytes]:
    """A receipt of the person's with its document and its salt. Raises NotFound."""
    person = person_of(session, vault, account_id)
    with entered(session):
        row = session.scalars(
            select(ConsentReceipt).where(ConsentReceipt.record_id == record_id, ConsentReceipt.person_id == person)
        ).one_or_none()
    if row is None:
        raise NotFound("You have no such receipt.")
    return (
        row,
        vault.unseal(account_id, row.document, place(ConsentReceipt.document, record_id)),
        vault.unseal(account_id, row.salt, place(ConsentReceipt.salt, record_id)),
    )


Position = tuple[date, str, str]
"""Where a page of the log ends: day, reader, purpose."""


def data_use(
    session: Session, vault: Vault, *, account_id: uuid.UUID, after: Position | None, limit: int
) -> Sequence[DataUse]:
    """What was read about a person, the newest days first, with the sums over everybody; one more than `limit`."""
    person = person_of(session, vault, account_id)
    query = select(DataUse).where(DataUse.person_id.in_([person, NOBODY] if person else [NOBODY]))
    if after is not None:
        day, reader, purpose = after
        query = query.where(
            (DataUse.day < day) | ((DataUse.day == day) & (tuple_(DataUse.reader, DataUse.purpose) > (reader, purpose)))
        )
    order = (DataUse.day.desc(), DataUse.reader, DataUse.purpose)
    with entered(session):
        return session.scalars(query.order_by(*order).limit(limit + 1)).all()
