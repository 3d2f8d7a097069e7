"""Consent receipts with the fields of ISO/IEC TS 27560:2023, and the salted commitment that a chain can carry.

A receipt is canonical JSON: sorted keys, no spaces, ASCII. Its `@context` stands in it, so that it is JSON-LD in the
terms of the W3C Data Privacy Vocabulary without anything being fetched. What is committed to are its bytes:

    commitment = keccak256(abi.encode(keccak256(receipt), salt))          as AttestationRegistry.verifyOpening has it

The salt is random for each receipt and known to the person alone, so that a commitment tells nothing to whoever guesses
what may be in it. Pure.
"""

from __future__ import annotations

import hmac
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from eth_utils.crypto import keccak

from backend.consent.purposes import NOTICES, Notice, Purpose

SCHEMA_VERSION: Final = "ISO/IEC TS 27560:2023"
PROFILE: Final = "troupe-receipt/1"
MEDIA_TYPE: Final = "application/ld+json"
SALT_BYTES: Final = 32
SCHEMA: Final = bytes(keccak(text="CONSENT_RECEIPT"))
"""The schema of an attestation that commits to a receipt."""
DPV: Final = "https://w3id.org/dpv#"

CONTEXT: Final = {
    "@version": 1.1,
    "dpv": DPV,
    "pd": "https://w3id.org/dpv/pd#",
    "dct": "http://purl.org/dc/terms/",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "schema_version": "dct:conformsTo",
    "record_id": "@id",
    "pii_principal_id": {"@id": "dpv:hasDataSubject", "@type": "@id"},
    "pii_processing": "dpv:hasProcess",
    "privacy_notice": "dpv:hasNotice",
    "language": "dct:language",
    "purposes": "dpv:hasPurpose",
    "purpose_type": "@type",
    "lawful_basis": {"@id": "dpv:hasLegalBasis", "@type": "@vocab"},
    "pii_information": "dpv:hasPersonalData",
    "pii_type": "@type",
    "storage_locations": "dpv:hasStorageCondition",
    "retention_period": "dpv:hasDuration",
    "recipient_third_parties": "dpv:hasRecipient",
    "privacy_rights": {"@id": "dpv:hasRight", "@type": "@vocab"},
    "party_identification": "dpv:hasEntity",
    "party_role": "@type",
    "party_name": "dpv:hasName",
    "party_contact": "dpv:hasContact",
    "events": "dpv:hasActivity",
    "event_time": {"@id": "dct:date", "@type": "xsd:dateTime"},
    "event_state": {"@id": "dpv:hasConsentStatus", "@type": "@vocab"},
    "title": "dct:title",
    "version": "dct:hasVersion",
    "@vocab": DPV,
}


@dataclass(frozen=True)
class Terms:
    """What a purpose means in the vocabulary: its type, the kinds of data, how they come and who gets them."""

    purpose: str
    data: tuple[tuple[str, str], ...]
    collected: str
    recipients: tuple[str, ...] = ()


_EVENTS = ("what you play, finish, skip, like and hide", "pd:Behavioral")
_TASTE = ("what you are likely to like, worked out from that", "pd:Interest")
_FROM_CLIENT = "sent by the program that you use, while you use it"
_WORKED_OUT = "worked out from what you do here"

TERMS: Final = {
    Purpose.BEHAVIOUR: Terms(
        "dpv:ServiceProvision",
        (_EVENTS,),
        _FROM_CLIENT,
        ("the public: the epoch's log, under a name that holds for that epoch alone and that only you can open",),
    ),
    Purpose.CONTENT_TASTE: Terms("dpv:ProvidePersonalisedRecommendations", (_EVENTS, _TASTE), _WORKED_OUT),
    Purpose.SOCIAL: Terms("dpv:ServicePersonalisation", (_TASTE,), _WORKED_OUT),
    Purpose.LOCATION_TIME: Terms(
        "dpv:ServicePersonalisation",
        (("a coarse place and the time of day", "pd:Location"),),
        _FROM_CLIENT,
    ),
    Purpose.RESEARCH: Terms(
        "dpv:ScientificResearch",
        (_EVENTS, _TASTE),
        _WORKED_OUT,
        ("the public: statistics protected by differential privacy",),
    ),
    Purpose.AGENT: Terms(
        "dpv:RequestedServiceProvision", (_EVENTS, _TASTE), _WORKED_OUT, ("the program that you named",)
    ),
    Purpose.ADVERTISING: Terms("dpv:PersonalisedAdvertising", (_TASTE,), _WORKED_OUT),
}

RIGHTS: Final = {
    "access": "GET /v1/me/data-use, GET /v1/consents/receipts",
    "withdraw": "PUT /v1/consents/{purpose} with granted false; it acts on the next request",
    "restrict": "have everything frozen; it is kept and read by nobody",
    "portability": "export everything in open formats",
    "erasure": "have your key destroyed and your rows dropped",
    "complaint": "to the data protection authority of where you live",
}


@dataclass(frozen=True)
class Controller:
    """Who is responsible for an installation."""

    name: str
    url: str
    contact: str


@dataclass(frozen=True)
class Event:
    """An answer: yes or no, when, and to which version of the notice."""

    at: datetime
    granted: bool
    notice_version: int


def states(events: Sequence[Event]) -> list[str]:
    """The vocabulary's word for each of a purpose's answers, oldest first: a no is a refusal until there was a yes."""
    words: list[str] = []
    given = False
    for event in events:
        if event.granted:
            words.append("dpv:RenewedConsentGiven" if given else "dpv:ConsentGiven")
            given = True
        else:
            words.append("dpv:ConsentWithdrawn" if given else "dpv:ConsentRefused")
            given = False
    return words


def document(
    *,
    record_id: uuid.UUID,
    subject: str,
    purpose: Purpose,
    events: Sequence[Event],
    controller: Controller,
    notice: Notice | None = None,
) -> bytes:
    """The receipt of the newest of a purpose's answers, in its one canonical form.

    `subject` is a pseudonym that stands in receipts alone; `events` are the purpose's answers, oldest first.
    """
    shown = notice or NOTICES[purpose]
    terms = TERMS[purpose]
    receipt: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "dpv:ConsentRecord",
        "schema_version": SCHEMA_VERSION,
        "profile": PROFILE,
        "record_id": record_id.urn,
        "pii_principal_id": subject,
        "pii_processing": {
            "privacy_notice": {
                "version": shown.version,
                "title": shown.title,
                "text": shown.text,
                "sha256": shown.digest.hex(),
            },
            "language": "en",
            "purposes": [
                {
                    "purpose": purpose.value,
                    "purpose_type": terms.purpose,
                    "lawful_basis": "dpv:Consent",
                    "pii_information": [
                        {"pii_type": kind, "description": words, "pii_optional": True} for words, kind in terms.data
                    ],
                    "pii_controllers": ["controller"],
                    "collection_method": terms.collected,
                    "processing_method": "stored under a pseudonym; read by programs, each time checked and counted",
                    "storage_locations": ["the controller's own servers"],
                    "retention_period": "until you erase it, or withdraw and erase",
                    "recipient_third_parties": list(terms.recipients),
                    "withdrawal_method": RIGHTS["withdraw"],
                    "privacy_rights": RIGHTS,
                }
            ],
        },
        "party_identification": [
            {
                "party_id": "controller",
                "party_role": "dpv:DataController",
                "party_name": controller.name,
                "party_url": controller.url,
                "party_contact": controller.contact,
            }
        ],
        "events": [
            {
                "event_time": event.at.isoformat(),
                "event_type": "explicit",
                "event_state": state,
                "entity_id": subject,
                "notice_version": event.notice_version,
                "validity_duration": "until withdrawn, or until the notice changes",
            }
            for event, state in zip(events, states(events), strict=True)
        ],
    }
    return json.dumps(receipt, sort_keys=True, separators=(",", ":")).encode()


def commitment(receipt: bytes, salt: bytes) -> bytes:
    """What a chain may carry of a receipt. Raises ValueError for a salt that is not 32 bytes, or is zero."""
    if len(salt) != SALT_BYTES or not any(salt):
        raise ValueError("the salt of a receipt has 32 bytes, and not all of them are zero")
    return bytes(keccak(keccak(receipt) + salt))


def verify(receipt: bytes, salt: bytes, committed: bytes) -> bool:
    """Whether a commitment is of this receipt: what anybody does who was given receipt and salt."""
    try:
        return hmac.compare_digest(commitment(receipt, salt), committed)
    except ValueError:
        return False


def attestation_subject(record_id: uuid.UUID, salt: bytes) -> bytes:
    """Whom an attestation is about: an id for this receipt alone, so that two of a person's are not seen to be."""
    return bytes(keccak(b"troupe-receipt-subject/1" + record_id.bytes + salt))


def attest_arguments(record_id: uuid.UUID, salt: bytes, committed: bytes) -> list[Any]:
    """The arguments of `AttestationRegistry.attest` that put a commitment on the chain: no reference, no end."""
    return [SCHEMA, attestation_subject(record_id, salt), committed, bytes(32), 0]
