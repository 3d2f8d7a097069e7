"""What you allow us to do with what we know about you, the receipts of it, and what was done."""

from __future__ import annotations

import uuid
from datetime import date
from hashlib import sha256

import orjson
from fastapi import APIRouter, Response

from backend.consent import receipts, service
from backend.consent.purposes import NOTICES, Purpose
from backend.consent.reads import WORDS
from backend.consent.schemas import (
    Consent,
    ConsentIn,
    Consents,
    DataUseItem,
    DataUseLog,
    ReceiptCheck,
    ReceiptInfo,
    ReceiptProof,
    Receipts,
    ReceiptVerdict,
)
from backend.deps import AccountOrVisitor, Chain, DbSession, Now, SettingsDep, VaultDep
from backend.intents import call_intent
from backend.models.consent import ConsentReceipt
from backend.models.engagement import NOBODY
from backend.pagination import DEFAULT_LIMIT, Cursor, Limit, decode_cursor, encode_cursor, page

router = APIRouter(prefix="/v1", tags=["consent"])

REGISTRY = "AttestationRegistry"


def _shown(purpose: Purpose, receipt: ConsentReceipt | None) -> Consent:
    notice = NOTICES[purpose]
    granted = service.counts(receipt)
    return Consent(
        purpose=purpose,
        title=notice.title,
        text=notice.text,
        notice_version=notice.version,
        granted=granted,
        ask_again=receipt is not None and receipt.granted and not granted,
        answered_at=receipt.at if receipt else None,
        answered_version=receipt.notice_version if receipt else None,
        receipt=receipt.number if receipt else None,
        record_id=receipt.record_id if receipt else None,
    )


@router.get("/consents")
def list_consents(session: DbSession, vault: VaultDep, me: AccountOrVisitor) -> Consents:
    """Every purpose with its notice and your answer; what you have not answered is off."""
    answers = service.current(session, vault, account_id=me.id)
    return Consents(items=[_shown(purpose, answers.get(purpose)) for purpose in Purpose])


@router.put("/consents/{purpose}")
def set_consent(
    *,
    session: DbSession,
    vault: VaultDep,
    settings: SettingsDep,
    me: AccountOrVisitor,
    now: Now,
    purpose: Purpose,
    body: ConsentIn,
) -> Consent:
    """Allow or withdraw one purpose. It acts on the next request, and the receipt is kept."""
    receipt = service.record(
        session,
        vault,
        account_id=me.id,
        purpose=purpose,
        granted=body.granted,
        at=now,
        by=service.controller(settings),
    )
    return _shown(purpose, receipt)


@router.get("/consents/receipts")
def list_receipts(
    session: DbSession,
    vault: VaultDep,
    me: AccountOrVisitor,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Receipts:
    """Your receipts, one for each answer that you gave, the newest first."""
    before = None if cursor is None else decode_cursor("receipts", cursor, int)[0]
    rows = service.list_receipts(session, vault, account_id=me.id, before=before, limit=limit)
    shown, following = page(rows, limit, lambda row: encode_cursor("receipts", row.number))
    return Receipts(
        items=[
            ReceiptInfo(
                record_id=row.record_id,
                purpose=Purpose(row.purpose),
                granted=row.granted,
                notice_version=row.notice_version,
                at=row.at,
                commitment=row.commitment,
            )
            for row in shown
        ],
        next=following,
    )


@router.get(
    "/consents/receipts/{record_id}",
    response_class=Response,
    responses={200: {"content": {receipts.MEDIA_TYPE: {"schema": {"type": "object"}}}}},
)
def download_receipt(session: DbSession, vault: VaultDep, me: AccountOrVisitor, record_id: uuid.UUID) -> Response:
    """One of your receipts as JSON-LD, with the fields of ISO/IEC TS 27560. Its bytes are what the commitment is of."""
    _, text, _ = service.opened_receipt(session, vault, account_id=me.id, record_id=record_id)
    name = f'attachment; filename="consent-{record_id}.json"'
    headers = {"Content-Disposition": name, "Cache-Control": "no-store"}
    return Response(text, media_type=receipts.MEDIA_TYPE, headers=headers)


@router.get("/consents/receipts/{record_id}/proof")
def get_receipt_proof(
    session: DbSession, vault: VaultDep, chain: Chain, me: AccountOrVisitor, record_id: uuid.UUID
) -> ReceiptProof:
    """The salt that opens a receipt's commitment, and the intent that puts the commitment on the chain.

    Whoever has receipt and salt can check the commitment: by `POST /v1/consents/receipts/verify`, by
    `AttestationRegistry.verifyOpening`, or by hand, `keccak256(keccak256(receipt) ++ salt)`.
    """
    row, text, salt = service.opened_receipt(session, vault, account_id=me.id, record_id=record_id)
    intent = None
    if REGISTRY in chain.manifest.contracts:
        arguments = receipts.attest_arguments(record_id, salt, row.commitment)
        intent = call_intent(
            chain, REGISTRY, "attest", arguments, description="Put the commitment to a consent receipt on the chain"
        )
    return ReceiptProof(
        record_id=record_id,
        sha256=sha256(text).digest(),
        salt=salt,
        commitment=row.commitment,
        attestation_schema=receipts.SCHEMA,
        subject=receipts.attestation_subject(record_id, salt),
        intent=intent,
    )


@router.post("/consents/receipts/verify")
def verify_receipt(body: ReceiptCheck) -> ReceiptVerdict:
    """Whether a commitment is of a receipt. For anybody; nothing is looked up and nothing is kept."""
    text = body.receipt.encode()
    valid = receipts.verify(text, body.salt, body.commitment)
    return ReceiptVerdict(valid=valid, receipt=_object(text) if valid else None)


def _object(text: bytes) -> dict[str, object] | None:
    try:
        read = orjson.loads(text)
    except ValueError:
        return None
    return read if isinstance(read, dict) else None


@router.get("/me/data-use")
def get_data_use(
    session: DbSession,
    vault: VaultDep,
    me: AccountOrVisitor,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> DataUseLog:
    """What was read about you: which part of the service, for which purpose, on which days and how often.

    Looking at this log is not counted in it.
    """
    after = None if cursor is None else decode_cursor("data-use", cursor, date.fromisoformat, str, str)
    rows = service.data_use(session, vault, account_id=me.id, after=after, limit=limit)
    shown, following = page(
        rows, limit, lambda row: encode_cursor("data-use", row.day.isoformat(), row.reader, row.purpose)
    )
    return DataUseLog(
        items=[
            DataUseItem(
                day=row.day,
                reader=row.reader,
                purpose=row.purpose,
                what=WORDS.get(row.reader, row.reader),
                times=row.times,
                first_at=row.first_at,
                last_at=row.last_at,
                about="everybody" if row.person_id == NOBODY else "you",
            )
            for row in shown
        ],
        next=following,
    )
