"""Consents, receipts and the log of uses as they enter and leave."""

from __future__ import annotations

import uuid
from datetime import date, datetime
from typing import Any

from pydantic import Field

from backend.consent.purposes import Purpose
from backend.intents import Intent
from backend.schemas import Hash32, HexBytes, Schema


class ConsentIn(Schema):
    """Your answer to one purpose."""

    granted: bool


class Consent(Schema):
    """One purpose: what it means, and what you answered."""

    purpose: Purpose
    title: str
    text: str
    notice_version: int
    granted: bool = Field(description="Whether it is allowed now: your newest answer is yes, to a notice that counts.")
    ask_again: bool = Field(
        description="You answered a notice whose text has changed since, so your answer counts no more."
    )
    answered_at: datetime | None
    answered_version: int | None = Field(description="The version of the notice that you answered.")
    receipt: int | None = Field(description="The number of your newest receipt for this purpose.")
    record_id: uuid.UUID | None = Field(description="That receipt's id, to download it by.")


class Consents(Schema):
    """All purposes."""

    items: list[Consent]


class ReceiptInfo(Schema):
    """A receipt in the list of yours."""

    record_id: uuid.UUID
    purpose: Purpose
    granted: bool
    notice_version: int
    at: datetime
    commitment: HexBytes = Field(description="keccak256(abi.encode(keccak256(receipt), salt))")


class Receipts(Schema):
    """Your receipts, the newest first."""

    items: list[ReceiptInfo]
    next: str | None = None


class ReceiptProof(Schema):
    """What opens a receipt's commitment, and how to put it on the chain. The salt is a secret between you and us."""

    record_id: uuid.UUID
    sha256: HexBytes = Field(description="Of the receipt's bytes as they are downloaded.")
    salt: HexBytes
    commitment: HexBytes
    attestation_schema: HexBytes = Field(description="keccak256 of CONSENT_RECEIPT: the attestation's schema.")
    subject: HexBytes = Field(description="The attestation's subject: an id for this receipt alone.")
    intent: Intent | None = Field(
        description="AttestationRegistry.attest with your wallet as attester; it links that address to the commitment,"
        " and to nothing else. None where the registry is not deployed."
    )


class ReceiptCheck(Schema):
    """A receipt as downloaded, with its salt and the commitment that is said to be of it."""

    receipt: str = Field(
        description="The downloaded text, unchanged: another spacing is another text.", max_length=65_536
    )
    salt: Hash32
    commitment: Hash32


class ReceiptVerdict(Schema):
    """Whether a commitment opens to a receipt."""

    valid: bool
    receipt: dict[str, Any] | None = Field(description="The receipt as it was read, when it is valid.")


class DataUseItem(Schema):
    """One reader on one day."""

    day: date = Field(description="In UTC.")
    reader: str
    purpose: str = Field(description="A purpose that you allowed, or `service`: what the service itself needs.")
    what: str = Field(description="What was read and what for.")
    times: int = Field(description="How often on that day.")
    first_at: datetime
    last_at: datetime
    about: str = Field(description="`you`, or `everybody`: a sum in which no row is one person's.")


class DataUseLog(Schema):
    """What was read about you, the newest days first."""

    items: list[DataUseItem]
    next: str | None = None
