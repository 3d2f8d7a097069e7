"""Disputes and consents through the API on real contracts: shown as the contracts have them, refused before signing."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak

from backend.chain import encode_call
from stack.postgres import DatabaseUrls
from tests.backend.conftest import Client
from tests.backend.live import Live, Reverted
from tests.backend.works.uploads import STORY, upload
from tests.conftest import Deployed

DAY = 86_400
LIKENESS = bytes(keccak(text="LIKENESS_CONSENT"))
TRP = 10**18


class House(Live):
    """The chain, mirrored after each transaction."""

    def send(self, sender: str, to: str, data: str | bytes, value: int = 0) -> dict[str, Any]:
        self.ask("anvil_setBalance", sender, hex(10**20))
        receipt = super().send(sender, to, data, value)
        self.sync()
        return receipt

    def at(self, sender: str, contract: str, function: str, *args: Any) -> dict[str, Any]:
        return self.send(sender, self.info.address(contract), encode_call(contract, function, args))

    def give_tokens(self, person: LocalAccount, amount: int) -> None:
        voter = next(iter(self.info.manifest.parameters["genesisSupply"]["voters"]))
        self.at(voter, "TroupeToken", "transfer", person.address, amount)


@pytest.fixture
def house(deployed: Deployed, clean_db: DatabaseUrls) -> House:
    made = House(deployed, clean_db)
    made.sync()
    return made


def seconds(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp())


def drafted(client: Client, person: LocalAccount) -> dict[str, Any]:
    """A person's draft of the story, and its intents."""
    author = client.as_(person)
    draft = upload(author, STORY)
    assert draft.status_code == 201, draft.text
    intents: dict[str, Any] = author.get(f"/v1/works/drafts/{draft.json()['id']}/intent").json()
    return intents


def check_against_the_chain(house: House, client: Client, work: int = 1) -> dict[str, Any]:
    shown: dict[str, Any] = client.get(f"/v1/works/{work}/standing").json()
    claimant, ruling, enforceable, bond, committed, *_ = house.view("WorkStanding", "disputeOf", work)
    running = shown["dispute"]
    assert (running is None) is (int(claimant, 16) == 0)
    if running:
        assert running["claimant"].lower() == claimant
        assert seconds(running["ruling_until"]) == ruling
        assert (running["enforceable_at"] and seconds(running["enforceable_at"])) == (enforceable or None)
        assert (running["bond"], seconds(running["committed_at"])) == (str(bond), committed)
    assert shown["bond"] == str(house.view("WorkStanding", "bondOf", work))
    assert seconds(shown["older_than"]) == house.view("WorkStanding", "barOf", work)
    return shown


@pytest.mark.feature("P6", via="http")
def test_an_author_contests_who_registered_their_story(
    house: House, client: Client, alice: LocalAccount, bob: LocalAccount
) -> None:
    mine, theirs = drafted(client, bob), drafted(client, alice)
    house.sign(bob.address, mine["commit"])
    house.forward(60)
    house.sign(alice.address, theirs["register"])
    shown = check_against_the_chain(house, client)
    assert (shown["status"], shown["dispute"], shown["bond"]) == ("active", None, str(1000 * TRP))

    author = client.as_(bob)
    short = author.post("/v1/works/1/contest-intent", json={})
    assert (short.status_code, short.json()["code"]) == (422, "bond_short")
    stranger = client.as_(alice).post("/v1/works/1/contest-intent", json={})
    assert (stranger.status_code, stranger.json()["code"]) == (409, "commitment_missing")
    unknown = author.post("/v1/works/1/contest-intent", json={"salt": "0x" + "07" * 32})
    assert unknown.json()["code"] == "commitment_missing"

    house.give_tokens(bob, 4000 * TRP)
    answer = author.post("/v1/works/1/contest-intent", json={}).json()
    assert answer["bond"] == str(1000 * TRP)
    for intent in answer["intents"]:
        house.sign(bob.address, intent)
    shown = check_against_the_chain(house, client)
    assert (shown["status"], shown["dispute"]["claimant"]) == ("disputed", bob.address)
    again = author.post("/v1/works/1/contest-intent", json={}).json()
    assert (again["code"], again["older_than"]) == ("commitment_not_older", again["committed_at"])

    house.at(house.info.address("TimelockController"), "WorkStanding", "dismiss", 1, bob.address)
    shown = check_against_the_chain(house, client)
    assert [(each["claimant"], each["outcome"]) for each in shown["ended"]] == [(bob.address, "dismissed")]
    assert (shown["status"], shown["bond"]) == ("active", str(2000 * TRP))
    house.at(house.info.address("TimelockController"), "WorkStanding", "dismiss", 1, alice.address)
    assert check_against_the_chain(house, client)["ended"] == shown["ended"], "no claim of hers ran"
    for person in (bob, alice):
        refused = client.as_(person).post("/v1/works/1/contest-intent", json={})
        assert (refused.status_code, refused.json()["code"]) == (409, "claim_dismissed")


def test_a_later_commitment_contests_nothing(
    house: House, client: Client, alice: LocalAccount, bob: LocalAccount
) -> None:
    mine, theirs = drafted(client, bob), drafted(client, alice)
    house.sign(alice.address, theirs["register"])
    house.forward(60)
    house.sign(bob.address, mine["commit"])
    house.give_tokens(bob, 4000 * TRP)
    refused = client.as_(bob).post("/v1/works/1/contest-intent", json={})
    assert (refused.status_code, refused.json()["code"]) == (409, "commitment_not_older")
    assert client.as_(bob).post("/v1/works/2/contest-intent", json={}).json()["code"] == "work_not_found"
    assert client.post("/v1/works/1/contest-intent", json={}).json()["code"] == "sign_in_required"


def test_a_dispute_without_a_ruling_ends_before_the_next(
    house: House, client: Client, alice: LocalAccount, bob: LocalAccount
) -> None:
    mine, theirs = drafted(client, bob), drafted(client, alice)
    house.sign(bob.address, mine["commit"])
    house.forward(60)
    house.sign(alice.address, theirs["register"])
    house.give_tokens(bob, 4000 * TRP)
    for intent in client.as_(bob).post("/v1/works/1/contest-intent", json={}).json()["intents"]:
        house.sign(bob.address, intent)
    house.forward(30 * DAY)
    house.sync()
    assert client.as_(bob).post("/v1/works/1/contest-intent", json={}).json()["code"] == "dispute_over"
    house.at(alice.address, "WorkStanding", "close", 1)
    shown = check_against_the_chain(house, client)
    assert [each["outcome"] for each in shown["ended"]] == ["expired"]
    for intent in client.as_(bob).post("/v1/works/1/contest-intent", json={}).json()["intents"]:
        house.sign(bob.address, intent)
    assert check_against_the_chain(house, client)["dispute"]["bond"] == str(2000 * TRP)


@pytest.mark.feature("P4", via="http")
def test_consents_are_checked_before_the_registration(
    house: House, client: Client, alice: LocalAccount, bob: LocalAccount
) -> None:
    content = hashlib.sha256(STORY).digest()

    def attest(schema: bytes, subject: bytes, expires: int = 0) -> str:
        before = house.at(
            bob.address, "AttestationRegistry", "attest", schema, subject, bytes([9] * 32), bytes(32), expires
        )
        return str(before["logs"][0]["topics"][1])

    good = attest(LIKENESS, content)
    other_file, other_kind = attest(LIKENESS, bytes([1] * 32)), attest(bytes(keccak(text="IDENTITY")), content)
    author = client.as_(alice)
    for bad in (other_file, other_kind, "0x" + "00" * 32):
        answer = upload(author, STORY, consents=[good, bad])
        assert (answer.status_code, answer.json()["code"]) == (422, "consent_invalid")
        assert bad in answer.json()["detail"]
    assert upload(author, STORY, consents=[good, good]).json()["code"] == "invalid"
    draft = upload(author, STORY, consents=[good]).json()
    path = f"/v1/works/drafts/{draft['id']}/intent"
    house.at(bob.address, "AttestationRegistry", "revoke", bytes.fromhex(good[2:]))
    assert author.get(path).json()["code"] == "consent_invalid"

    fresh = attest(LIKENESS, content, expires=2**48 - 1)
    kept = upload(author, STORY, consents=[fresh]).json()
    intent = author.get(f"/v1/works/drafts/{kept['id']}/intent").json()["register"]
    house.sign(alice.address, intent)
    (consent,) = client.get("/v1/works/1/standing").json()["consents"]
    assert consent == {"uid": fresh, "kind": "likeness_consent", "attester": bob.address, "live": True}
    house.at(bob.address, "AttestationRegistry", "revoke", bytes.fromhex(fresh[2:]))
    assert client.get("/v1/works/1/standing").json()["consents"][0]["live"] is False
    house.at(alice.address, "WorkStanding", "suspendForConsent", 1, bytes.fromhex(fresh[2:]))
    with pytest.raises(Reverted):
        house.at(alice.address, "WorkStanding", "suspendForConsent", 1, bytes.fromhex(good[2:]))
    assert client.get("/v1/works/1").json()["status"] == "suspended"
