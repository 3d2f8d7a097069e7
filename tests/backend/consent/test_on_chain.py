"""What a person takes away, held against the contracts: receipts that open commitments, proofs that lead to roots."""

from __future__ import annotations

from typing import Any

import pytest
from eth_account.signers.local import LocalAccount

from backend.chain import NATIVE, encode_call
from stack.postgres import DatabaseUrls
from tests.backend.conftest import Client, allow
from tests.backend.consent.owndata import lines, make, taken
from tests.backend.consent.test_receipts import receipt_of
from tests.backend.live import STRANGER, Live, Reverted
from tests.backend.rewards.test_on_chain import DAY, Stage, stage, wallet, watched  # noqa: F401  fixtures
from tests.conftest import Deployed

ATTESTATIONS = "AttestationRegistry"


@pytest.fixture
def live(deployed: Deployed, clean_db: DatabaseUrls, alice: LocalAccount, bob: LocalAccount) -> Live:
    made = Live(deployed, clean_db)
    made.fund(alice, bob)
    made.sync()
    return made


def raw(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


@pytest.mark.feature("C2", via="chain")
def test_the_registry_opens_a_commitment_with_its_receipt_and_salt_and_with_nothing_else(
    client: Client, live: Live, alice: LocalAccount
) -> None:
    mine = client.as_(alice)
    allow(mine, "research", "social")
    _, text, proof = receipt_of(mine, "research")
    _, other_text, other = receipt_of(mine, "social")
    for each in (proof, other):
        live.sign(alice.address, each["intent"])

    def uid(of: dict[str, Any]) -> bytes:
        named = (alice.address, raw(of["attestation_schema"]), raw(of["subject"]), raw(of["commitment"]), 0)
        found: bytes = live.view(ATTESTATIONS, "uidOf", *named)
        return found

    def opens(of: dict[str, Any], payload: bytes, salt: bytes) -> bool:
        said: bool = live.view(ATTESTATIONS, "verifyOpening", uid(of), payload, salt)
        return said

    assert live.view(ATTESTATIONS, "isLive", uid(proof))
    assert opens(proof, text, raw(proof["salt"]))
    assert opens(other, other_text, raw(other["salt"]))
    changed = text.replace(b"dpv:ConsentGiven", b"dpv:ConsentRefused")
    assert changed != text
    assert not opens(proof, changed, raw(proof["salt"])), "a changed receipt"
    assert not opens(proof, text + b" ", raw(proof["salt"])), "another spacing"
    assert not opens(proof, text, raw(other["salt"])), "another receipt's salt"
    assert not opens(other, text, raw(proof["salt"])), "another receipt's commitment"
    assert not opens(proof, text, bytes(32)), "no salt"


def nodes(proof: dict[str, Any]) -> list[tuple[bytes, int]]:
    return [(raw(node["hash"]), int(node["sum"])) for node in proof["nodes"]]


@pytest.mark.slow
@pytest.mark.feature("C3", via="chain")
def test_the_ledger_pays_by_every_share_of_an_export_and_refuses_a_changed_one(
    client: Client, live: Live, alice: LocalAccount, bob: LocalAccount
) -> None:
    holders = [{"account": person.address, "weight": weight} for person, weight in ((alice, 700), (bob, 300))]
    for number in range(2):
        live.register(client, bob, b"Act %d." % number, title=f"Act {number}", contributors=holders)
        live.pay(client, bob, work=number + 1, amount=10**9)
    live.sync()
    client.get(f"/v1/payouts/{alice.address}/claims")  # the trees are looked for
    mine = client.as_(alice)
    with taken(mine, make(client, mine)) as archive:
        shares = lines(archive, "shares")
    assert [(share["work_id"], share["weight"]) for share in shares] == [(1, "700"), (2, "700")]

    def withdraw(share: dict[str, Any], **changes: Any) -> None:
        said = share | changes
        claim = (
            *(int(said["work_id"]), int(said["version"]), NATIVE, said.get("account", alice.address)),
            *(int(said["weight"]), int(said["proof"]["path"])),
        )
        data = encode_call("RevenueLedger", "withdraw", [claim, nodes(said["proof"])])
        live.attempt(STRANGER, live.info.address("RevenueLedger"), data)

    for share in shares:
        root, total = live.view("RevenueLedger", "splitOf", int(share["work_id"]), int(share["version"]))
        assert (share["root"], share["total_weight"]) == ("0x" + root.hex(), str(total))
        withdraw(share)
        for change in (
            {"weight": str(int(share["weight"]) + 1)},
            {"account": bob.address},
            {"proof": share["proof"] | {"nodes": []}},
            {"proof": share["proof"] | {"path": str(int(share["proof"]["path"]) ^ 1)}},
        ):
            with pytest.raises(Reverted, match=r"RevenueInvalidProof|MerkleSum"):
                withdraw(share, **change)


@pytest.mark.slow
@pytest.mark.feature("C3", via="chain")
def test_the_distributor_pays_by_an_exports_award_and_refuses_a_changed_one(watched: Stage) -> None:  # noqa: F811
    maker = wallet("creator 1")
    watched.work()
    watched.pass_time(2 * DAY)
    watched.work()
    mine = watched.client.as_(maker)
    with taken(mine, make(watched.client, mine)) as archive:
        (award,) = [each for each in lines(archive, "awards") if each["token"] == watched.trp.lower()]

    def claim(account: str, cumulative: int, proof: dict[str, Any]) -> None:
        arguments = [watched.trp, account, cumulative, int(proof["path"]), nodes(proof)]
        data = encode_call("RewardDistributor", "claim", arguments)
        watched.attempt(STRANGER, watched.info.address("RewardDistributor"), data)

    cumulative, proof = int(award["cumulative"]), award["proof"]
    assert raw(award["root"]) == watched.view("RewardDistributor", "streamOf", watched.trp)[0]
    claim(maker.address, cumulative, proof)
    for planted in (
        (maker.address, cumulative + 1, proof),
        (wallet("farm 1").address, cumulative, proof),
        (maker.address, cumulative, proof | {"nodes": proof["nodes"][1:]}),
        (maker.address, cumulative, proof | {"path": str(int(proof["path"]) ^ 1)}),
    ):
        with pytest.raises(Reverted, match=r"RewardInvalidProof|MerkleSum"):
            claim(*planted)
