"""From engagement to money on the real contracts: events, epoch, root, window, claim (E2, E4; promises V3, V4, V6).

anvil with the deployed set, the real indexer, the real sender with the publisher's key. Only the chain's clock moves.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from eth_account import Account as Wallet
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.orm import Session

from backend.chain import encode_call
from backend.consent import service as consent
from backend.consent.gate import entered
from backend.consent.persons import make_person
from backend.consent.purposes import Purpose
from backend.content.service import open_store, read_by_sha256
from backend.models.accounts import Account
from backend.models.engagement import EngagementEvent
from backend.models.rewards import RewardRoot
from backend.models.sender import OutboxIntent
from backend.node import Node
from backend.rewards import recompute, service, tasks
from backend.rewards.merkle import leaf_split
from backend.rewards.publishing import kinds
from backend.rewards.terms import Terms
from backend.sender.keys import load
from backend.sender.operator import finality
from backend.sender.policy import Sweep
from backend.sender.service import Effect, enqueue
from backend.sender.states import State
from backend.sender.sweeper import Sender
from backend.settings import Settings
from backend.vault.vault import Vault
from stack.postgres import DatabaseUrls
from stack.supervisor import operator_key
from tests.backend.conftest import Client
from tests.backend.live import Live, Reverted
from tests.conftest import Deployed

NATIVE = "0x" + "00" * 20
DAY = 86_400
ETHER = 10**18


@dataclass
class Stage(Live):
    """Chain, mirror, API, epochs' worker and sender, as one installation has them."""

    settings: Settings
    node: Node
    engine: Engine
    client: Client

    def __post_init__(self) -> None:
        super().__post_init__()
        self.vault = Vault.open(self.settings)
        self.key = load(chain_id=31337, key=operator_key())
        self.sender = Sender(
            engine=self.engine,
            node=self.node,
            key=self.key,
            finality=finality(self.info),
            kinds=kinds(self.info),
        )
        self.trp = self.info.address("TroupeToken")

    # people and the chain

    def send(self, sender: str, to: str, data: str | bytes, value: int = 0) -> dict[str, Any]:
        """As Live.send, from an account that needs no funds."""
        self.ask("anvil_setBalance", sender, hex(100 * ETHER))
        return super().send(sender, to, data, value)

    def pass_time(self, seconds: int) -> None:
        """Move the chain's clock and make the new time final."""
        self.ask("evm_increaseTime", seconds)
        self.ask("anvil_mine", hex(4))
        self.sync()

    def to_epoch(self, epoch: int) -> None:
        head = self.node.block()
        assert head is not None
        start = Terms.of(self.info).calendar.start(epoch)  # type: ignore[arg-type]
        self.pass_time(max(start - head.time, 0) + 60)

    def register(self, owner: LocalAccount, name: str) -> None:
        leaf = leaf_split(owner.address, 1_000_000)
        params = (
            *(owner.address, keccak(text=f"content {name}"), keccak(text=f"metadata {name}"), 1, 1, 0, [], []),
            *(leaf.hash, leaf.sum, keccak(text=f"tree {name}"), (owner.address, leaf.sum, 0, []), [], bytes(32)),
        )
        self.send(owner.address, self.info.address("WorkRegistry"), encode_call("WorkRegistry", "register", [params]))

    def tips(self, payer: LocalAccount, work_id: int) -> None:
        data = encode_call("RevenueLedger", "payNative", [work_id, 1, bytes(32)])
        self.send(payer.address, self.info.address("RevenueLedger"), data, value=ETHER // 100)

    def watches(self, viewer: LocalAccount, *works: int, epoch: int) -> None:
        now = datetime.now(UTC)
        address = bytes.fromhex(viewer.address[2:])
        with self.unit() as session:
            account = session.scalars(select(Account).where(Account.wallet == address)).one_or_none()
            if account is None:
                account = Account(wallet=address)
                session.add(account)
                session.flush()
                consent.record(
                    session,
                    self.vault,
                    account_id=account.id,
                    purpose=Purpose.BEHAVIOUR,
                    granted=True,
                    at=now,
                    by=consent.controller(self.settings),
                )
            person = make_person(session, self.vault, account.id)
            with entered(session):
                session.add_all(
                    EngagementEvent(
                        person_id=person,
                        event_id=uuid.uuid4(),
                        work_id=work,
                        kind="watch",
                        at=now,
                        received_at=now,
                        duration_ms=60_000,
                        completion_bps=10_000,
                        epoch=epoch,
                        digest=bytes(32),
                    )
                    for work in works
                )

    # the installation

    @contextmanager
    def unit(self) -> Iterator[Session]:
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    def tick(self) -> None:
        tasks.advance(
            self.unit,
            open_store(self.settings),
            self.info,
            self.vault,
            operator=self.key.address_bytes,
            now=datetime.now(UTC),
        )

    def work(self, rounds: int = 12) -> Sweep:
        """Tick, sweep, mine and mirror until the outbox is done."""
        for _ in range(rounds):
            self.tick()
            sweep = self.sender.sweep()
            self.ask("anvil_mine", hex(1))
            self.sync()
            with self.unit() as session:
                open_intents = session.scalars(select(OutboxIntent).where(OutboxIntent.done_at.is_(None))).all()
            if not open_intents or sweep.halted:
                return sweep
        raise AssertionError([(each.kind, each.state, each.code, each.detail) for each in open_intents])

    def rewards(self, account: LocalAccount) -> dict[str, Any]:
        answer = self.client.get(f"/v1/rewards/{account.address}")
        assert answer.status_code == 200, answer.text
        (stream,) = [each for each in answer.json()["streams"] if each["token"] == self.trp]
        found: dict[str, Any] = stream
        return found

    def roots(self) -> list[RewardRoot]:
        with self.unit() as session:
            token = bytes.fromhex(self.trp[2:])
            return list(session.scalars(select(RewardRoot).where(RewardRoot.token == token).order_by(RewardRoot.id)))

    def read(self, digest: bytes) -> bytes:
        with self.unit() as session:
            found = read_by_sha256(session, open_store(self.settings), digest, 1 << 30)
        assert found is not None
        return found


@pytest.fixture
def stage(deployed: Deployed, clean_db: DatabaseUrls, settings: Settings, client: Client) -> Iterator[Stage]:
    engine = create_engine(clean_db.backend)
    with Node(deployed.rpc_url) as node:
        yield Stage(deployed, clean_db, settings, node, engine, client)
    engine.dispose()


def wallet(name: str) -> LocalAccount:
    made: LocalAccount = Wallet.from_key(keccak(text=name))
    return made


@pytest.fixture
def watched(stage: Stage) -> Stage:
    """Three creators, four verified viewers and a farm; epoch 1 is over."""
    for number in (1, 2, 3):
        stage.register(wallet(f"creator {number}"), str(number))
    for number in range(4):
        stage.tips(wallet(f"viewer {number}"), 1 + number % 3)
        stage.watches(wallet(f"viewer {number}"), 1, 2, epoch=1)
    for number in range(10):
        stage.watches(wallet(f"farm {number}"), 3, epoch=1)
    stage.to_epoch(2)
    return stage


@pytest.mark.feature("E4", via="chain")
@pytest.mark.feature("E2", via="chain")
def test_v4_two_epochs_from_engagement_to_claim(watched: Stage) -> None:
    """What the API says can be claimed is what the contract pays, to the unit; nothing is paid twice or to the farm."""
    stage, maker, farmer = watched, wallet("creator 1"), wallet("creator 3")
    stage.work()
    (first,) = stage.roots()
    stream = stage.view("RewardDistributor", "pendingOf", stage.trp)
    assert (stream[0], stream[1]) == (first.root, first.total)
    assert stage.rewards(maker)["pending"] == str(first.total // 2)
    assert stage.rewards(maker)["intent"] is None

    stage.pass_time(2 * DAY)
    stage.work()
    assert stage.view("RewardDistributor", "streamOf", stage.trp)[0] == first.root
    assert first.tree_sha256 is not None
    assert recompute.recompute(stage.read(first.tree_sha256), stage.read).root == first.root

    mine = stage.rewards(maker)
    assert int(mine["claimable"]) == min(first.total // 2, int(mine["allowance"])) > 0
    anybody = wallet("anybody")
    intent = mine["intent"]
    stage.send(anybody.address, intent["to"], intent["data"])
    assert stage.balance(maker.address, stage.trp) == int(mine["claimable"])
    with pytest.raises(Reverted, match=r"RewardNothingDue|RewardAccountCapExceeded"):
        stage.send(anybody.address, intent["to"], intent["data"])
    stage.sync()
    after = stage.rewards(maker)
    assert (after["claimed"], after["claimable"]) == (mine["claimable"], "0")
    assert stage.rewards(farmer)["cumulative"] == "0"

    for number in range(4):
        stage.tips(wallet(f"viewer {number}"), 1 + number % 3)
        stage.watches(wallet(f"viewer {number}"), 1, 3, epoch=2)
    stage.to_epoch(3)
    stage.work()
    stage.pass_time(2 * DAY)
    stage.work()
    second = stage.roots()[-1]
    assert (second.epoch, second.previous_id) == (2, first.id)
    assert second.carried == first.rollover
    assert second.granted + second.carried == second.total - first.total + second.rollover
    assert stage.view("RewardDistributor", "streamOf", stage.trp)[1] == second.total

    before = stage.balance(maker.address, stage.trp)
    answer = stage.client.get(f"/v1/rewards/{maker.address}").json()
    promised = int(stage.rewards(maker)["claimable"])
    assert promised > 0
    stage.send(maker.address, answer["claim_all"]["to"], answer["claim_all"]["data"])
    assert stage.balance(maker.address, stage.trp) - before == promised
    stage.sync()
    for person in (maker, farmer, wallet("creator 2"), anybody):
        said = int(stage.rewards(person)["allowance"])
        assert said == stage.view("RewardDistributor", "allowanceOf", stage.trp, person.address)
        account = stage.view("RewardDistributor", "accountOf", stage.trp, person.address)
        assert int(stage.rewards(person)["claimed"]) == account[0]


def test_v6_a_root_that_is_on_chain_already_is_a_success(watched: Stage) -> None:
    """The outbox's memory is lost (a backup from before): the same root is not proposed twice."""
    stage = watched
    stage.work()
    (row,) = stage.roots()
    with stage.unit() as session:
        intent = session.scalars(select(OutboxIntent).where(OutboxIntent.kind == service.PROPOSE)).one()
        again = Effect(intent.chain_id, intent.sender, intent.target, intent.data)
        intent.key += ":lost"
        session.flush()
        assert row.outbox_key is not None
        enqueue(session, again, kind=service.PROPOSE, key=row.outbox_key)
    nonce = stage.node.nonce(stage.key.address)
    assert stage.work().halted is None
    with stage.unit() as session:
        repeated = session.scalars(select(OutboxIntent).where(OutboxIntent.key == row.outbox_key)).one()
    assert (repeated.state, repeated.code, repeated.nonce) == (State.FINAL, "proposed_before", None)
    assert stage.node.nonce(stage.key.address) == nonce


def propose_elsewhere(stage: Stage, root: bytes) -> None:
    """Somebody else with the publisher's key proposes another root."""
    distributor = stage.info.address("RewardDistributor")
    approve = encode_call("ERC20", "approve", [distributor, 2**255])
    stage.send(stage.key.address, stage.trp, approve)
    args = [stage.trp, root, 1, keccak(b"tree"), bytes(32)]
    stage.send(stage.key.address, distributor, encode_call("RewardDistributor", "propose", args))


def test_v6_another_root_where_ours_should_be_halts_and_sends_nothing(watched: Stage) -> None:
    stage = watched
    stage.tick()
    propose_elsewhere(stage, keccak(b"foreign"))
    sweep = stage.work()
    assert sweep.halted == "other_root_pending"
    pending = stage.view("RewardDistributor", "pendingOf", stage.trp)
    assert pending[0] == keccak(b"foreign")
    with stage.unit() as session:
        intent = session.scalars(select(OutboxIntent).where(OutboxIntent.kind == service.PROPOSE)).one()
    assert (intent.state, intent.nonce) == (State.QUEUED, None)


@pytest.mark.parametrize("depth", [1, 3])
def test_v6_a_reorganisation_after_the_proposal_ends_with_one_root(watched: Stage, depth: int) -> None:
    stage = watched
    stage.tick()
    done: Callable[[], bool] = lambda: stage.view("RewardDistributor", "pendingOf", stage.trp)[0] != bytes(32)  # noqa: E731
    while not done():
        stage.sender.sweep()
    stage.node.ask("anvil_reorg", depth, [])
    stage.sync()
    assert stage.work(20).halted is None
    (row,) = stage.roots()
    assert stage.view("RewardDistributor", "pendingOf", stage.trp)[0] == row.root
    bond = stage.view("RewardDistributor", "bondsHeld")
    assert bond == int(stage.info.manifest.parameters["rewards"]["publisherBond"])
