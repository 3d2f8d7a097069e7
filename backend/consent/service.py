"""What a person allows: the newest receipt of each purpose, and nothing where there is none."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.consent.purposes import NOTICES, Purpose
from backend.models.consent import ConsentReceipt

ALLOWS_SQL = """
COALESCE((
    SELECT r.granted FROM app.consent_receipt r
    WHERE r.account_id = {person} AND r.purpose = '{purpose}' ORDER BY r.number DESC LIMIT 1
), false)
"""
"""For hot routes: whether a person allows a purpose, inside the statement that would use the data."""


def allows_sql(purpose: Purpose, person: str) -> str:
    """The check as an SQL expression; `person` is an SQL expression for the account's id, never user input."""
    return ALLOWS_SQL.format(person=person, purpose=purpose.value)


def record(session: Session, *, account_id: uuid.UUID, purpose: Purpose, granted: bool, at: datetime) -> ConsentReceipt:
    """Write down a yes or no under the notice that is shown today; the same answer again is a receipt of its own."""
    notice = NOTICES[purpose]
    receipt = ConsentReceipt(
        account_id=account_id,
        purpose=purpose.value,
        granted=granted,
        notice_version=notice.version,
        notice_digest=notice.digest,
        at=at,
    )
    session.add(receipt)
    session.flush()
    return receipt


def current(session: Session, *, account_id: uuid.UUID) -> Mapping[Purpose, ConsentReceipt]:
    """The newest receipt of every purpose that the person has answered."""
    newest = (
        select(ConsentReceipt)
        .where(ConsentReceipt.account_id == account_id)
        .order_by(ConsentReceipt.purpose, ConsentReceipt.number.desc())
        .distinct(ConsentReceipt.purpose)
    )
    return {Purpose(receipt.purpose): receipt for receipt in session.scalars(newest)}
