"""Consents over HTTP, their receipts by ISO/IEC TS 27560, and the commitment that anybody can check."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from eth_abi import encode
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak

from backend.chain import decode_call, encode_call
from backend.consent import receipts
from backend.consent.gate import entered
from backend.consent.purposes import NOTICES, Notice, Purpose
from backend.consent.receipts import Controller, Event
from tests.backend.conftest import Client, Clock, allow

FROZEN = Path(__file__).with_name("notices.json")
"""purpose -> version -> sha256 of the notice: what people were shown and answered."""
AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
BY = Controller("Troupe", "https://troupe.example", "privacy@troupe.example")


# --- notices ----------------------------------------------------------------------------------------------------------


def changed_words(frozen: dict[str, dict[str, str]], notices: dict[Purpose, Notice]) -> list[str]:
    """Notices whose words are not those that their version was frozen with."""
    return [
        f"{purpose} version {notice.version}"
        for purpose, notice in notices.items()
        if frozen.get(purpose.value, {}).get(str(notice.version)) != notice.digest.hex()
    ]


@pytest.mark.feature("C2")
def test_a_notice_never_changes_its_words_without_a_new_version() -> None:
    frozen = json.loads(FROZEN.read_text())
    assert changed_words(frozen, NOTICES) == [], "raise the version and add its digest to notices.json"
    assert frozen.keys() == {purpose.value for purpose in Purpose}


def test_a_planted_change_of_words_is_found() -> None:
    now = NOTICES[Purpose.RESEARCH]
    planted = NOTICES | {Purpose.RESEARCH: Notice(now.version, now.title, now.text + " And sell it.")}
    assert changed_words(json.loads(FROZEN.read_text()), planted) == ["research version 1"]


@pytest.mark.parametrize(("version", "accepts"), [(1, 2), (0, 0), (2, -1)])
def test_a_notice_accepts_no_answer_to_what_it_is_not(version: int, accepts: int) -> None:
    with pytest.raises(ValueError, match="cannot accept"):
        Notice(version, "t", "x", accepts=accepts)


@pytest.mark.feature("C2", via="http")
def test_every_purpose_is_off_until_it_is_turned_on(client: Client, alice: LocalAccount) -> None:
    items = client.as_(alice).get("/v1/consents").json()["items"]
    assert [item["purpose"] for item in items] == [purpose.value for purpose in Purpose]
    assert not any(item["granted"] or item["ask_again"] for item in items)


@pytest.mark.feature("C2", via="http")
@pytest.mark.parametrize(("accepts", "granted"), [(1, True), (2, False)])
def test_v11_a_changed_text_is_asked_anew_unless_it_asks_for_nothing_more(
    client: Client, alice: LocalAccount, monkeypatch: pytest.MonkeyPatch, accepts: int, granted: bool
) -> None:
    mine = client.as_(alice)
    allow(mine, "research")
    monkeypatch.setitem(NOTICES, Purpose.RESEARCH, Notice(2, "Study", "A new text.", accepts=accepts))

    def shown() -> dict[str, Any]:
        return next(i for i in mine.get("/v1/consents").json()["items"] if i["purpose"] == "research")

    assert (shown()["granted"], shown()["ask_again"], shown()["answered_version"]) == (granted, not granted, 1)
    allow(mine, "research")
    assert (shown()["granted"], shown()["ask_again"], shown()["answered_version"]) == (True, False, 2)


# --- receipts ---------------------------------------------------------------------------------------------------------


def receipt_of(client: Client, purpose: str) -> tuple[str, bytes, dict[str, Any]]:
    """(record id, bytes, proof) of the newest receipt for a purpose."""
    items = client.get("/v1/consents").json()["items"]
    record_id = next(item["record_id"] for item in items if item["purpose"] == purpose)
    answer = client.get(f"/v1/consents/receipts/{record_id}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/ld+json"
    assert answer.headers["content-disposition"] == f'attachment; filename="consent-{record_id}.json"'
    return record_id, answer.content, client.get(f"/v1/consents/receipts/{record_id}/proof").json()


@pytest.mark.feature("C2", via="http")
def test_a_receipt_has_the_fields_of_iso_27560_in_terms_of_the_vocabulary(
    client: Client, alice: LocalAccount, clock: Clock
) -> None:
    mine = client.as_(alice)
    for granted in (True, True, False, False):
        allow(mine, "content_taste", granted=granted)
        clock.forward(hours=1)
    record_id, text, _ = receipt_of(mine, "content_taste")
    receipt = json.loads(text)
    notice = NOTICES[Purpose.CONTENT_TASTE]
    assert receipt["schema_version"] == "ISO/IEC TS 27560:2023"
    assert receipt["record_id"] == f"urn:uuid:{record_id}"
    assert receipt["pii_processing"]["privacy_notice"] == {
        "version": notice.version,
        "title": notice.title,
        "text": notice.text,
        "sha256": notice.digest.hex(),
    }
    (purpose,) = receipt["pii_processing"]["purposes"]
    assert purpose["purpose_type"] == "dpv:ProvidePersonalisedRecommendations"
    assert purpose["lawful_basis"] == "dpv:Consent"
    assert {each["pii_type"] for each in purpose["pii_information"]} == {"pd:Behavioral", "pd:Interest"}
    assert set(purpose) >= {
        *("collection_method", "processing_method", "storage_locations", "retention_period"),
        *("recipient_third_parties", "withdrawal_method", "privacy_rights", "pii_controllers"),
    }
    (party,) = receipt["party_identification"]
    assert (party["party_role"], party["party_name"]) == ("dpv:DataController", "127.0.0.1:8000")
    assert [event["event_state"] for event in receipt["events"]] == [
        "dpv:ConsentGiven",
        "dpv:RenewedConsentGiven",
        "dpv:ConsentWithdrawn",
        "dpv:ConsentRefused",
    ]
    assert [event["event_time"] for event in receipt["events"]] == sorted(e["event_time"] for e in receipt["events"])


@pytest.mark.feature("C2", via="http")
def test_a_receipts_subject_is_a_pseudonym_that_stands_nowhere_else(client: Client, alice: LocalAccount) -> None:
    mine = client.as_(alice)
    allow(mine, "research", "social")
    texts = [receipt_of(mine, purpose)[1] for purpose in ("research", "social")]
    subjects = {json.loads(text)["pii_principal_id"] for text in texts}
    assert len(subjects) == 1
    assert alice.address.lower()[2:].encode() not in texts[0].lower()
    with mine.app.state.core.database.engine.connect() as connection:  # type: ignore[attr-defined]
        (account_id,) = connection.exec_driver_sql("SELECT id FROM app.account").scalars()
    assert str(account_id).encode() not in texts[0]


def terms_of(value: object, context: dict[str, Any]) -> set[str]:
    """Every key of a document, with those of the objects in it."""
    if isinstance(value, dict):
        return set(value).union(*(terms_of(each, context) for each in value.values()))
    if isinstance(value, list):
        return set().union(*(terms_of(each, context) for each in value))
    return set()


@pytest.mark.parametrize("purpose", Purpose)
def test_the_json_ld_context_stands_in_the_receipt_and_nothing_is_fetched(purpose: Purpose) -> None:
    text = receipts.document(
        record_id=uuid.uuid4(), subject="s", purpose=purpose, events=[Event(AT, True, 1)], controller=BY
    )
    receipt = json.loads(text)
    context = receipt.pop("@context")
    assert isinstance(context, dict), "a context by address would have to be fetched"
    prefixes = {key for key, value in context.items() if isinstance(value, str) and value.endswith(("#", "/"))}
    used = {word.split(":")[0] for word in text.decode().split('"') if word.startswith(("dpv:", "pd:", "dct:"))}
    assert used <= prefixes
    assert context["@vocab"] == "https://w3id.org/dpv#"


def test_the_same_answer_gives_the_same_bytes() -> None:
    record_id = uuid.uuid4()
    texts = {
        receipts.document(
            record_id=record_id,
            subject="s",
            purpose=Purpose.AGENT,
            events=[Event(AT, True, 1), Event(AT, False, 1)],
            controller=BY,
        )
        for _ in range(3)
    }
    assert len(texts) == 1
    (text,) = texts
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":")).encode()


# --- commitments ------------------------------------------------------------------------------------------------------


@pytest.mark.feature("C2", via="http")
def test_anybody_with_receipt_and_salt_checks_the_commitment(client: Client, alice: LocalAccount) -> None:
    mine = client.as_(alice)
    allow(mine, "research")
    _, text, proof = receipt_of(mine, "research")
    salt, committed = (bytes.fromhex(proof[name][2:]) for name in ("salt", "commitment"))
    assert committed == keccak(encode(["bytes32", "bytes32"], [keccak(text), salt])), "as the contract computes it"
    assert proof["sha256"] == "0x" + sha256(text).hexdigest()

    def check(**changed: str) -> Any:
        body = {"receipt": text.decode(), "salt": proof["salt"], "commitment": proof["commitment"]} | changed
        return client.post("/v1/consents/receipts/verify", json=body).json()["valid"]

    assert check() is True
    assert check(receipt=text.decode().replace("Given", "Refused")) is False
    assert check(receipt=text.decode() + " ") is False
    assert check(salt="0x" + "00" * 32) is False
    assert check(salt="0x" + "01" * 32) is False
    assert check(commitment="0x" + "01" * 32) is False
    short = {"receipt": text.decode(), "salt": "0x01", "commitment": proof["commitment"]}
    assert client.post("/v1/consents/receipts/verify", json=short).status_code == 422


@pytest.mark.feature("C2", via="http")
def test_a_commitment_tells_nothing_without_its_salt(client: Client, alice: LocalAccount) -> None:
    mine = client.as_(alice)
    allow(mine, "research")
    first = receipt_of(mine, "research")
    allow(mine, "research")
    again = receipt_of(mine, "research")
    assert first[2]["salt"] != again[2]["salt"]
    assert first[2]["subject"] != again[2]["subject"], "two receipts of one person are not seen to be"
    database = mine.app.state.core.database  # type: ignore[attr-defined]
    with database.session() as session, entered(session):
        stored = session.connection().exec_driver_sql("SELECT * FROM app.consent_receipt").all()
    flat = b"".join(bytes(value) for row in stored for value in row if isinstance(value, bytes | memoryview))
    for secret in (bytes.fromhex(first[2]["salt"][2:]), b"ISO/IEC TS 27560"):
        assert secret not in flat, "salt and document are sealed"


@pytest.mark.feature("C2", via="http")
def test_nobody_reads_anothers_receipt(client: Client, alice: LocalAccount, bob: LocalAccount) -> None:
    mine, others = client.as_(alice), client.as_(bob)
    allow(mine, "research")
    record_id, _, _ = receipt_of(mine, "research")
    for caller, status in ((others, 404), (client, 401)):
        for path in (record_id, f"{record_id}/proof"):
            assert caller.get(f"/v1/consents/receipts/{path}").status_code == status
    assert others.get("/v1/consents/receipts").json() == {"items": [], "next": None}
    assert mine.get(f"/v1/consents/receipts/{uuid.uuid4()}").status_code == 404


@pytest.mark.feature("C2", via="http")
def test_receipts_are_listed_page_by_page_the_newest_first(client: Client, alice: LocalAccount) -> None:
    mine = client.as_(alice)
    allow(mine, *[purpose.value for purpose in Purpose])
    seen, cursor = [], None
    while True:
        body = mine.get("/v1/consents/receipts", params={"limit": 3} | ({"cursor": cursor} if cursor else {})).json()
        seen += [item["purpose"] for item in body["items"]]
        cursor = body["next"]
        if cursor is None:
            break
    assert seen == [purpose.value for purpose in reversed(Purpose)]


def test_the_arguments_of_an_attestation_are_what_the_registry_takes() -> None:
    record_id, salt = uuid.uuid4(), bytes(range(1, 33))
    text = receipts.document(
        record_id=record_id, subject="s", purpose=Purpose.AGENT, events=[Event(AT, True, 1)], controller=BY
    )
    committed = receipts.commitment(text, salt)
    call = encode_call("AttestationRegistry", "attest", receipts.attest_arguments(record_id, salt, committed))
    function, arguments = decode_call("AttestationRegistry", call)
    assert function.name == "attest"
    assert arguments["commitment"] == committed
    assert arguments["schema"] == keccak(text="CONSENT_RECEIPT")
    assert (arguments["refUid"], arguments["expires"]) == (bytes(32), 0)
    with pytest.raises(ValueError, match="salt"):
        receipts.commitment(text, bytes(32))
