"""What you allow us to do with what we know about you."""

from __future__ import annotations

from fastapi import APIRouter

from backend.consent import service
from backend.consent.purposes import NOTICES, Purpose
from backend.consent.schemas import Consent, ConsentIn, Consents
from backend.deps import AccountOrVisitor, DbSession, Now
from backend.models.consent import ConsentReceipt

router = APIRouter(prefix="/v1/consents", tags=["consent"])


def _shown(purpose: Purpose, receipt: ConsentReceipt | None) -> Consent:
    notice = NOTICES[purpose]
    return Consent(
        purpose=purpose,
        title=notice.title,
        text=notice.text,
        notice_version=notice.version,
        granted=receipt is not None and receipt.granted,
        answered_at=receipt.at if receipt else None,
        answered_version=receipt.notice_version if receipt else None,
        receipt=receipt.number if receipt else None,
    )


@router.get("")
def list_consents(session: DbSession, me: AccountOrVisitor) -> Consents:
    """Every purpose with its notice and your answer; what you have not answered is off."""
    answers = service.current(session, account_id=me.id)
    return Consents(items=[_shown(purpose, answers.get(purpose)) for purpose in Purpose])


@router.put("/{purpose}")
def set_consent(session: DbSession, me: AccountOrVisitor, now: Now, purpose: Purpose, body: ConsentIn) -> Consent:
    """Allow or withdraw one purpose. It acts on the next request, and the receipt is kept."""
    receipt = service.record(session, account_id=me.id, purpose=purpose, granted=body.granted, at=now)
    return _shown(purpose, receipt)
