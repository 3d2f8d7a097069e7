"""Drafts, intents and rules against the real contracts: deployed on anvil, mirrored by the real indexer.

The main promise: what the API lets through the chain accepts, and what it refuses the chain refuses for the same
reason. So an intent that was handed out never reverts for a reason that could have been said before.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount

from backend import mirror
from backend.chain import encode_call
from backend.content.cid import CID
from backend.db import Database
from backend.errors import AppError
from backend.settings import Settings
from backend.works import service
from backend.works.drafts import DraftFile, Prepared
from backend.works.rules import Edge, Parent, Status, edges_of
from backend.works.splits import Share
from stack.postgres import DatabaseUrls
from tests.backend.conftest import Client, follow
from tests.backend.live import Live, Reverted
from tests.backend.works.uploads import STORY, upload
from tests.conftest import Deployed
from tests.factories import TERMS

REFUSALS = {
    "WorkNotActive": "work_parent_not_active",
    "WorkApprovalMissing": "approval_missing",
    "WorkShareTooLow": "share_too_low",
    "WorkTooManyEdges": "work_too_many_edges",
    "WorkUpstreamTooHigh": "work_upstream_too_high",
    "WorkAlreadyRegistered": "content_registered",
    "WorkUnknown": "parent_unknown",
    "WorkParentOrder": "parent_unknown",
    "WorkLicenceUnknown": "licence_unknown",
    "what=1": "licence_forbids_derivatives",
    "what=2": "licence_expired",
    "what=3": "licence_share_alike",
    "what=4": "licence_not_commercial",
    "what=5": "licence_no_training",
}


class Chain(Live):
    """The deployed contracts, and the mirror that follows every transaction."""

    def send(self, sender: str, to: str, data: str | bytes, value: int = 0) -> dict[str, Any]:
        """As Live.send, from an account that needs no funds, and mirrored."""
        self.ask("anvil_setBalance", sender, hex(10**20))
        receipt = super().send(sender, to, data, value)
        self.sync()
        return receipt

    def try_call(self, sender: str, data: bytes) -> str | None:
        """Run a call of the registry without sending it; the error that it reverts with, or None."""
        try:
            self.attempt(sender, self.info.address("WorkRegistry"), data)
        except Reverted as reverted:
            return str(reverted)
        return None

    def registry(self, sender: str, function: str, *args: Any) -> dict[str, Any]:
        return self.send(sender, self.info.address("WorkRegistry"), encode_call("WorkRegistry", function, args))

    @property
    def timelock(self) -> str:
        return self.info.address("TimelockController")

    def stand(self, work_id: int, status: Status, bad: Status) -> None:
        """Give an active work the bad status, and any other the active one."""
        active = status == Status.ACTIVE
        fact = bad if active else status
        self.registry(self.info.address("WorkStanding"), "setStanding", work_id, fact, active, bytes(32))


@pytest.fixture
def chain(deployed: Deployed, clean_db: DatabaseUrls) -> Chain:
    made = Chain(deployed, clean_db)
    made.sync()
    return made


def terms(**changes: Any) -> tuple[Any, ...]:
    """A licence as createLicence takes it: derivatives allowed, absolute royalty, never ends."""
    return tuple((TERMS | changes).values())


@pytest.mark.feature("O1", via="chain")
@pytest.mark.feature("P1", via="chain")
@pytest.mark.feature("P3", via="chain")
def test_a_story_from_upload_to_registered_derivation(
    client: Client, chain: Chain, alice: LocalAccount, bob: LocalAccount
) -> None:
    author, fan = client.as_(alice), client.as_(bob)
    made = author.post("/v1/licences/intent", json={"title": "Remix", "derivatives": True, "min_share_bps": 700}).json()
    chain.sign(alice.address, made["intent"])
    licence = client.get("/v1/licences").json()["items"][0]
    assert (licence["licence_id"], licence["creator"], licence["min_share_bps"]) == (1, alice.address, 700)
    assert licence["terms_url"] == made["terms_url"]

    holders = [
        {"account": alice.address, "weight": 700},
        {"account": bob.address, "weight": 299},
        {"account": chain.timelock, "weight": 1},
    ]
    draft = upload(author, licence_id=1, contributors=holders).json()
    intents = author.get(f"/v1/works/drafts/{draft['id']}/intent").json()
    chain.sign(alice.address, intents["commit"])
    chain.forward(100)
    registered = chain.sign(alice.address, intents["register"])
    draft = author.get(f"/v1/works/drafts/{draft['id']}").json()
    assert (draft["stage"], draft["work_id"]) == ("seen", 1)

    content_hash, cid_digest, registered_at, committed_at, licence_id, kind, label, status = chain.view(
        "WorkRegistry", "workOf", 1
    )
    assert content_hash == hashlib.sha256(STORY).digest()
    assert cid_digest == CID.parse(draft["metadata"]["cid"]).digest
    assert chain.view("WorkRegistry", "tokenURI", 1) == f"ipfs://{draft['metadata']['cid']}"  # case 69
    assert registered_at - committed_at >= 100
    assert (licence_id, kind, label, status) == (1, 1, 1, 0)
    follow(client)
    work = client.get("/v1/works/1").json()
    assert (work["title"], work["owner"], work["tx_hash"]) == ("Act one", alice.address, registered["transactionHash"])

    split = client.get("/v1/works/1/split").json()["live"]
    root, total = chain.view("RevenueLedger", "splitOf", 1, 1)
    assert (split["root"], int(split["total_weight"])) == ("0x" + root.hex(), total)
    assert [(leaf["account"], int(leaf["weight"])) for leaf in split["leaves"]] == [
        (h["account"], h["weight"]) for h in holders
    ]

    refused = upload(fan, b"Act two, by a fan.", parents=[{"work_id": 1, "share_bps": 699}])
    assert refused.json()["code"] == "share_too_low"
    sequel = upload(fan, b"Act two, by a fan.", parents=[{"work_id": 1, "share_bps": 700}]).json()
    chain.sign(bob.address, fan.get(f"/v1/works/drafts/{sequel['id']}/intent").json()["register"])
    assert chain.view("WorkRegistry", "parentsOf", 2) == (1,)
    assert chain.view("RevenueLedger", "edgesOf", 2) == ((1, 700, False),)
    provenance = client.get("/v1/works/1/provenance").json()
    assert [(node["work_id"], node["relation"], node["creator"]) for node in provenance["nodes"]] == [
        (1, "self", alice.address),
        (2, "descendant", bob.address),
    ]
    assert provenance["edges"] == [{"work_id": 2, "parent_id": 1, "share_bps": 700, "absolute": True, "licence_id": 1}]
    copied = upload(fan)
    assert (copied.status_code, copied.json()["work_id"]) == (409, 1)

    chain.ask("anvil_mine", "0x5")
    chain.sync()
    assert author.get(f"/v1/works/drafts/{draft['id']}").json()["stage"] == "final"


@pytest.mark.feature("O1", via="chain")
def test_a_reorganisation_takes_a_draft_back_to_received(client: Client, chain: Chain, alice: LocalAccount) -> None:
    me = client.as_(alice)
    draft = upload(me).json()
    address = f"/v1/works/drafts/{draft['id']}"
    chain.sign(alice.address, me.get(f"{address}/intent").json()["register"])
    assert me.get(address).json()["stage"] == "seen"
    chain.ask("anvil_reorg", 1, [])
    chain.sync()
    assert me.get(address).json()["stage"] == "received"
    chain.sign(alice.address, me.get(f"{address}/intent").json()["register"])
    assert me.get(address).json()["work_id"] == 1


# --- the rules are the contract's -------------------------------------------------------------------------------------


@dataclass
class Family:
    """Random registrations, each judged by the API's rules and by the chain."""

    chain: Chain
    settings: Settings
    random: random.Random
    database: Database = field(init=False)
    verdicts: Counter[str] = field(default_factory=Counter)
    number: int = 0

    def __post_init__(self) -> None:
        self.database = Database(self.settings.database_url.get_secret_value())

    @property
    def works(self) -> int:
        return int(self.chain.view("WorkRegistry", "workCount"))

    def judge(
        self, owner: str, parents: list[tuple[int, int]], licence: int, content_hash: bytes | None = None
    ) -> bool:
        """Compare both verdicts on one registration; carry it out if they accept it."""
        self.number += 1
        content_hash = content_hash or hashlib.sha256(b"%d" % self.number).digest()
        codes = self._ours(owner, parents, licence, content_hash)
        data = self._calldata(owner, parents, licence, content_hash)
        reverted = self.chain.try_call(owner, data)
        if reverted is not None:
            code = next(code for name, code in REFUSALS.items() if name in reverted)
            assert code in codes, f"the chain says {reverted}, we say {codes}"
            self.verdicts[code] += 1
            return False
        assert codes == [], f"the chain accepts what we refuse: {codes}"
        expected = self._edges(parents)
        self.chain.send(owner, self.chain.info.address("WorkRegistry"), data)
        assert list(self.chain.view("RevenueLedger", "edgesOf", self.works)) == [tuple(edge) for edge in expected]
        self.verdicts["accepted"] += 1
        return True

    def _ours(self, owner: str, parents: list[tuple[int, int]], licence: int, content_hash: bytes) -> list[str]:
        wanted = service.Wanted(bytes.fromhex(owner[2:]), content_hash, licence, parents)
        with self.database.session() as session:
            try:
                service.check_registration(session, wanted, mirror.head(session))
            except AppError as error:
                return [error.code] + [reason["code"] for reason in error.data.get("errors", [])]
        return []

    def _edges(self, parents: list[tuple[int, int]]) -> list[Edge]:
        """What our rules say the registry will open, from the chain's own state."""
        known = []
        for work_id, share in parents:
            licence = self.chain.view(
                "WorkRegistry", "licenceOf", self.chain.view("WorkRegistry", "workOf", work_id)[4]
            )
            fields = service.Licence.__dataclass_fields__
            terms = service.Licence(**dict(zip(fields, (0, *licence), strict=True)))
            edges = tuple(Edge(*edge) for edge in self.chain.view("RevenueLedger", "edgesOf", work_id))
            known.append(Parent(work_id, share, Status.ACTIVE, terms, edges, True))
        revoked = {
            n for n in range(1, self.works + 1) if self.chain.view("WorkRegistry", "workOf", n)[7] == Status.REVOKED
        }
        return edges_of(known, revoked)

    def _calldata(self, owner: str, parents: list[tuple[int, int]], licence: int, content_hash: bytes) -> bytes:
        file = DraftFile(str(CID.raw(content_hash)), "text/plain")
        draft = Prepared(
            title="",
            kind=1,
            ai_label=1,
            licence_id=licence,
            parents=tuple(parents),
            consents=(),
            content_hash=content_hash,
            salt=bytes(32),
            media=file,
            metadata=file,
            split=file,
        )
        params = service.register_params(owner, draft, [Share(owner, 100)], bytes(32))
        return encode_call("WorkRegistry", "register", [params])


@pytest.fixture
def family(chain: Chain, settings: Settings) -> Iterator[Callable[[int], Family]]:
    made: list[Family] = []

    def make(seed: int) -> Family:
        made.append(Family(chain, settings, random.Random(seed)))
        return made[-1]

    yield make
    for one in made:
        one.database.dispose()


@pytest.mark.feature("P3", via="chain")
@pytest.mark.parametrize("seed", [1, 2])
def test_the_rules_refuse_what_the_chain_refuses_and_nothing_else(
    seed: int, family: Callable[[int], Family], chain: Chain, alice: LocalAccount, bob: LocalAccount
) -> None:
    them = family(seed)
    pick = them.random
    people = [alice.address, bob.address]
    now = int(chain.ask("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    for _ in range(10):
        chain.registry(
            alice.address,
            "createLicence",
            terms(
                min_share_bps=pick.choice([0, 0, 100, 2500]),
                commercial=pick.random() < 0.6,
                derivatives=pick.random() < 0.8,
                approval_required=pick.random() < 0.15,
                share_alike=pick.random() < 0.15,
                fan_fiction=pick.random() < 0.4,
                relative=pick.random() < 0.4,
                ai_training=pick.random() < 0.5,
                expires=pick.choice([0, 0, 0, now + 5_000]),
            ),
        )
    for _ in range(4):
        them.judge(pick.choice(people), [], pick.randint(1, 10))
    for step in range(60):
        owner = pick.choice(people)
        known = range(1, them.works + 1)
        count = min(pick.choice([1, 1, 1, 2, 3]), len(known))
        parents = [(work_id, pick.choice([0, 10, 100, 2500, 4000])) for work_id in sorted(pick.sample(known, count))]
        if pick.random() < 0.05:
            parents.append((them.works + 1, 100))
        content_hash = hashlib.sha256(b"content %d" % pick.randint(0, 10**9 if pick.random() < 0.9 else 0)).digest()
        if pick.random() < 0.3:
            chain.registry(
                chain.view("WorkRegistry", "ownerOf", parents[0][0]),
                "approveDerivative",
                parents[0][0],
                owner,
                content_hash,
            )
        them.judge(owner, parents, pick.choice([0, *range(1, 12)]), content_hash)
        event = pick.random()
        subject = pick.choice(known)
        status = chain.view("WorkRegistry", "workOf", subject)[7]
        if event < 0.06 and status != Status.REVOKED:
            chain.stand(subject, status, pick.choice([Status.DISPUTED, Status.SUSPENDED]))
        elif event < 0.08 and status != Status.REVOKED:
            chain.registry(chain.timelock, "revoke", subject, bytes(32))
        if step == 40:
            chain.ask("evm_increaseTime", 10_000)
            chain.ask("anvil_mine", "0x1")
            chain.sync()
    assert them.verdicts["accepted"] >= 10, them.verdicts
    assert len(them.verdicts) >= 6, them.verdicts


@pytest.mark.feature("P3", via="chain")
def test_both_bounds_of_inherited_royalties_are_the_chains(
    family: Callable[[int], Family], chain: Chain, alice: LocalAccount
) -> None:
    them = family(0)
    chain.registry(alice.address, "createLicence", terms())
    chain.registry(alice.address, "createLicence", terms(relative=True))
    assert them.judge(alice.address, [], 1)
    for generation in range(1, 17):
        assert them.judge(alice.address, [(generation, 10)], 1)
    assert not them.judge(alice.address, [(17, 10)], 1)  # the seventeenth ancestor
    assert them.judge(alice.address, [(17, 0)], 1)  # unpaid, it is no edge
    assert not them.judge(alice.address, [(17, 0), (18, 10)], 1)
    assert them.judge(alice.address, [(1, 5000)], 2)
    assert not them.judge(alice.address, [(18 + 1, 3001)], 1)
    assert them.judge(alice.address, [(18 + 1, 3000)], 1)
    assert them.verdicts == {"accepted": 20, "work_too_many_edges": 2, "work_upstream_too_high": 1}


def test_the_comparison_can_fail(
    family: Callable[[int], Family], chain: Chain, alice: LocalAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted break: rules that forget the least share, and rules that refuse everything, are both found out."""
    them = family(0)
    chain.registry(alice.address, "createLicence", terms(min_share_bps=100))
    them.judge(alice.address, [], 1)
    monkeypatch.setattr(them, "_ours", lambda *_: [])
    with pytest.raises(AssertionError, match="the chain says"):
        them.judge(alice.address, [(1, 99)], 1)
    monkeypatch.setattr(them, "_ours", lambda *_: ["share_too_low"])
    with pytest.raises(AssertionError, match="the chain accepts"):
        them.judge(alice.address, [(1, 100)], 1)
