"""Epochs over HTTP and in the database, on a mirror that says what the test says (E1, E2, E4; promises V3, V11)."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from fastapi import FastAPI
from sqlalchemy import create_engine, event, select, text
from sqlalchemy.orm import Session

from backend import node
from backend.chain import NATIVE, ChainInfo, decode_call
from backend.consent import service as consent
from backend.consent.gate import entered
from backend.consent.persons import everybody, make_person
from backend.consent.purposes import Purpose
from backend.content.service import open_store, read_by_sha256
from backend.content.store import ContentStore
from backend.models.accounts import Account
from backend.models.engagement import EngagementEvent
from backend.models.rewards import RewardEpoch, RewardRoot, RewardViewer
from backend.models.sender import OutboxIntent
from backend.rewards import epochs, recompute, service, tasks
from backend.rewards.engine import Signal
from backend.rewards.merkle import Node, leaf_reward, process
from backend.rewards.publishing import kinds
from backend.rewards.terms import Terms
from backend.sender.policy import Answer
from backend.sender.states import State
from backend.settings import Settings
from backend.vault.vault import Vault
from tests.backend.conftest import Client, Clock
from tests.factories import GENESIS_TIME, Mirror, canonical, hash32

WEEK = 604_800
OPERATOR = b"\x0b" * 20
TRP = b"\x11" * 20
"""The one ERC-20 of the test manifest."""
ETH = bytes(20)
FUNDS = 10**12
CAP = 10**5
"""2 % of it is below what a voice pays out of the stream (62,500 units of the manifest's price)."""

People = Callable[[str], LocalAccount]


@dataclass
class World:
    """A mirror with works, funds and payments, an API, and the epochs' worker."""

    mirror: Mirror
    client: Client
    settings: Settings
    clock: Clock
    people: People
    height: int = 1

    def __post_init__(self) -> None:
        self.chain = ChainInfo.load(self.settings.deployment)
        self.engine = create_engine(self.settings.database_url.get_secret_value())
        self.vault = Vault.open(self.settings)

    @property
    def store(self) -> ContentStore:
        return open_store(self.settings)

    @contextmanager
    def unit(self) -> Iterator[Session]:
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    def block(self, time: int | None = None, final: bool = True) -> int:
        self.height += 1
        self.mirror.block(self.height, time=time, final=self.height if final else 0)
        return self.height

    def to_epoch(self, epoch: int) -> None:
        """The chain's clock at the beginning of an epoch."""
        self.block(time=GENESIS_TIME + (epoch - 1) * WEEK)

    def log(self, contract: str, name: str, *, time: int | None = None, **values: Any) -> None:
        self.mirror.log(contract, name, block=self.block(time=time), time=time, **values)

    def work(self, work_id: int, owner: str) -> None:
        self.mirror.work(work_id, owner=self.people(owner), block=self.block())

    def pays(self, payer: str, work_id: int, fee: int = 10**15, *, time: int | None = None) -> None:
        self.log(
            "RevenueLedger", "PaymentReceived", time=time, work_id=work_id, token=ETH,
            payer=canonical(self.people(payer)), amount=100 * fee, fee=fee, kind=1, ref=bytes(32),
        )  # fmt: skip

    def funds(self, token: bytes = TRP, amount: int = FUNDS, cap: int = CAP) -> None:
        self.log(
            "RewardDistributor",
            "CapsChanged",
            token=token,
            epoch_cap=cap,
            account_cap=cap * 2 // 100,
            from_epoch=1,
        )
        self.log("RewardDistributor", "Funded", token=token, from_=OPERATOR, amount=amount)

    def watches(self, person: str, *works: int, allow: bool = True, epoch: int = 1) -> None:
        """A person watches works to the end; rows as the intake writes them."""
        with self.unit() as session:
            address = canonical(self.people(person))
            account = session.scalars(select(Account).where(Account.wallet == address)).one_or_none()
            account = account or Account(wallet=address)
            session.add(account)
            session.flush()
            person = make_person(session, self.vault, account.id)
            if allow:
                consent.record(
                    session,
                    self.vault,
                    account_id=account.id,
                    purpose=Purpose.BEHAVIOUR,
                    granted=True,
                    at=self.clock(),
                    by=consent.controller(self.settings),
                )
            with entered(session):
                session.add_all(
                    EngagementEvent(
                        person_id=person,
                        event_id=uuid.uuid4(),
                        work_id=work,
                        kind="watch",
                        at=self.clock(),
                        received_at=self.clock(),
                        duration_ms=60_000,
                        completion_bps=10_000,
                        epoch=epoch,
                        digest=bytes(32),
                    )
                    for work in works
                )

    def sends(self, person: str, *works: int) -> dict[str, Any]:
        """The same through the API, without a word about consent."""
        events = [
            {"id": str(uuid.uuid4()), "kind": "watch", "work_id": work, "at": self.clock().isoformat()}
            | {"duration_ms": 60_000, "completion_bps": 10_000}
            for work in works
        ]
        answer = self.client.as_(self.people(person)).post("/v1/engagement", json={"events": events})
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def tick(self) -> bool:
        return tasks.advance(self.unit, self.store, self.chain, self.vault, operator=OPERATOR, now=self.clock())

    def get(self, path: str, *, status: int = 200) -> Any:
        answer = self.client.get(path)
        assert answer.status_code == status, answer.text
        return answer.json()

    def rows(self, model: type[Any]) -> list[Any]:
        with self.unit() as session, entered(session):
            return list(session.scalars(select(model)))

    def root(self, epoch: int, token: bytes = TRP) -> RewardRoot:
        with self.unit() as session:
            return session.scalars(
                select(RewardRoot)
                .where(RewardRoot.epoch == epoch, RewardRoot.token == token)
                .order_by(RewardRoot.attempt.desc())
                .limit(1)
            ).one()

    def file(self, digest: bytes) -> bytes:
        with self.unit() as session:
            found = read_by_sha256(session, self.store, digest, 1 << 30)
        assert found is not None
        return found

    def proposed(
        self, epoch: int, contract_epoch: int, *, window: int = 2 * 86_400, row: RewardRoot | None = None
    ) -> RewardRoot:
        """The chain takes the epoch's root: that of its last attempt, unless it is another's `row`."""
        row = row or self.root(epoch)
        self.log(
            "RewardDistributor", "RootProposed", time=GENESIS_TIME + (contract_epoch - 1) * WEEK + 60,
            token=TRP, epoch=contract_epoch, root=row.root, total=row.total, tree_digest=row.tree_sha256,
            log_root=bytes(32), finalizable_at=GENESIS_TIME + (contract_epoch - 1) * WEEK + 60 + window,
        )  # fmt: skip
        return row

    def finalized(self, row: RewardRoot, contract_epoch: int) -> None:
        self.log(
            "RewardDistributor", "RootFinalized", time=GENESIS_TIME + (contract_epoch - 1) * WEEK + 3 * 86_400,
            token=TRP, epoch=contract_epoch, root=row.root, total=row.total,
        )  # fmt: skip

    def queued(self, kind: str) -> list[OutboxIntent]:
        return [intent for intent in self.rows(OutboxIntent) if intent.kind == kind]


@pytest.fixture
def world(mirror: Mirror, client: Client, settings: Settings, clock: Clock, people: People) -> Iterator[World]:
    """Six works of six creators; five viewers who paid for a work of another, and one who did not."""
    mirror.block(1, final=1)
    made = World(mirror, client, settings, clock, people)
    for work_id in range(1, 7):
        made.work(work_id, f"creator-{work_id}")
    for number in range(5):
        made.pays(f"viewer-{number}", 6)
    yield made
    made.engine.dispose()


@pytest.fixture
def watched(world: World) -> World:
    """Epoch 1 is over: five verified people have watched, and a person without verification."""
    world.funds()
    for number in range(5):
        world.watches(f"viewer-{number}", 1, 2, 3, 4, 5)
    world.watches("nobody", 1, 2, 3, 4, 5)
    world.to_epoch(2)
    return world


# Fixing


def test_an_epoch_is_fixed_when_its_time_is_over_and_its_blocks_are_final(world: World) -> None:
    world.tick()
    assert world.rows(RewardEpoch) == []
    world.block(final=False)
    world.block(time=GENESIS_TIME + WEEK, final=False)
    world.tick()
    assert world.rows(RewardEpoch) == []
    world.block(time=GENESIS_TIME + WEEK + 1)
    world.tick()
    assert [row.epoch for row in world.rows(RewardEpoch)] == [1]


@pytest.mark.feature("E1", via="http")
def test_v3_a_fixed_epoch_takes_no_more_events_even_if_the_chains_clock_goes_back(watched: World) -> None:
    watched.tick()
    watched.block(time=GENESIS_TIME + WEEK - 5)  # a reorganisation took the end of the epoch back
    assert watched.sends("viewer-0", 1)["epoch"] == 2
    with watched.unit() as session, entered(session):
        late = session.scalars(select(EngagementEvent).where(EngagementEvent.epoch == 2)).all()
    assert len(late) == 1


def test_v3_intake_under_way_is_in_the_epoch_or_after_it_never_lost(watched: World) -> None:
    """Fixing waits for a transaction that is storing events of the epoch."""
    with watched.unit() as storing:
        storing.execute(text("SELECT pg_advisory_xact_lock_shared(:key)"), {"key": service.INTAKE_LOCK})
        with watched.unit() as fixing:
            fixing.execute(text("SET LOCAL lock_timeout = '100ms'"))
            with pytest.raises(Exception, match="lock timeout"):
                service.fix(fixing, 1, now=watched.clock())
            fixing.rollback()


# Scoring


@pytest.mark.feature("E2", via="http")
def test_v3_anyone_recomputes_scores_and_root_from_the_pinned_files(watched: World) -> None:
    watched.tick()
    row = watched.root(1)
    assert row.tree_sha256 is not None
    done = recompute.recompute(watched.file(row.tree_sha256), watched.file)
    assert (done.root, done.total) == (row.root, row.total)
    detail = watched.get("/v1/rewards/epochs/1")
    assert detail["epoch"]["log_root"] == "0x" + done.log_root.hex()
    for name in ("log", "scores"):
        answer = watched.client.get(detail["epoch"][name]["url"])
        assert answer.status_code == 200
    assert watched.client.get(detail["epoch"]["roots"][0]["tree"]["url"]).content == watched.file(row.tree_sha256)


@pytest.mark.feature("E3", via="http")
def test_a_farm_without_verification_gets_nothing_and_takes_nothing(world: World) -> None:
    world.funds()
    for number in range(5):
        world.watches(f"viewer-{number}", 1, 2, 3, 4)
    for number in range(12):
        world.watches(f"farm-{number}", 5)
    world.to_epoch(2)
    world.tick()
    detail = world.get("/v1/rewards/epochs/1")
    creators = {score["creator"]: score for score in detail["scores"]}
    assert world.people("creator-5").address not in creators
    assert len(creators) == 4
    assert detail["voices"] == str(5 * 10**18 * 4 // 5)
    assert all(score["viewers"] == 5 and score["share_bps"] == 2_500 for score in creators.values())


def test_payments_to_own_works_outside_the_epoch_or_too_small_verify_nobody(world: World) -> None:
    world.work(7, "viewer-own")
    world.pays("viewer-own", 7)
    world.pays("viewer-early", 1, time=GENESIS_TIME - 1)
    world.pays("viewer-small", 1, fee=10**14 - 1)
    world.pays("viewer-enough", 1, fee=4 * 10**13)
    world.pays("viewer-enough", 2, fee=6 * 10**13)
    world.pays("viewer-late", 1, time=GENESIS_TIME + WEEK)
    names = ("own", "early", "small", "enough", "late")
    accounts = {canonical(world.people(f"viewer-{name}")) for name in names}
    with world.unit() as session:
        first, second = (service.verified(session, world.chain, accounts, epoch=n, clusters={}) for n in (1, 2))
    assert first == {canonical(world.people("viewer-enough"))}
    assert second == {canonical(world.people("viewer-late"))}


@dataclass
class Transaction:
    """One transaction's logs, in order."""

    world: World
    hash: bytes = hash32("a transaction of sales")

    def __call__(self, contract: str, name: str, **values: Any) -> None:
        self.world.log(contract, name, tx_hash=self.hash, **values)

    def paid(self, payer: bytes, work_id: int = 1) -> None:
        amounts = {"amount": 10**16, "fee": 10**14, "kind": 2, "ref": bytes(32)}
        self("RevenueLedger", "PaymentReceived", work_id=work_id, token=ETH, payer=payer, **amounts)

    def bought(self, buyer: bytes) -> None:
        what = {"listing_id": 1, "to_": OPERATOR, "qty": 1, "total": 1, "ref": bytes(32)}
        self("Storefront", "Purchased", buyer=buyer, **what)

    def subscribed(self, payer: bytes, subscriber: bytes) -> None:
        self("Storefront", "Subscribed", plan_id=1, subscriber=subscriber, payer=payer, expires_at=1, paid=1)

    def filled(self, buyer: bytes, royalty: int) -> None:
        what = {"order_hash": bytes(32), "seller": OPERATOR, "to_": OPERATOR, "collection": OPERATOR, "token_id": 1}
        self("Storefront", "OrderFilled", buyer=buyer, qty=1, token=ETH, total=1, royalty=royalty, **what)


def test_what_is_paid_through_the_storefront_is_its_buyers(world: World) -> None:
    """All kinds of sale in one transaction, beside free ones whose buyers paid nothing, and a payment past the shop."""
    names = ("buys", "buys-free", "fills", "fills-free", "subscribes", "is-subscribed", "rents", "pays", "creator-2")
    who = {name: canonical(world.people(name)) for name in names}
    store = bytes.fromhex(world.chain.address("Storefront")[2:])
    tx = Transaction(world)
    tx.bought(who["buys"])
    tx.paid(store)
    tx.bought(who["buys-free"])
    tx.paid(store)
    tx.filled(who["fills"], 10**16)
    tx.filled(who["fills-free"], 0)
    for payer in ("subscribes", "creator-2"):  # the latter to a work of its own
        tx.subscribed(who[payer], who["is-subscribed"])
        tx.paid(store, work_id=2)
    tx("Storefront", "Rented", token_id=1, user_=who["rents"], expires=1, paid=1)
    tx.paid(store)
    tx.bought(who["buys-free"])
    tx.paid(who["pays"])
    with world.unit() as session:
        found = service.verified(session, world.chain, set(who.values()), epoch=1, clusters={})
    verified = {name for name, address in who.items() if address in found}
    assert verified == {"buys", "fills", "subscribes", "rents", "pays"}


def test_a_voice_is_paid_for_in_each_epoch_anew(watched: World) -> None:
    """Attack: pay once, farm for ever."""
    for number in (0, 1):
        watched.watches(f"viewer-{number}", 1, 2, 3, 4, 5, epoch=2)
    watched.pays("viewer-1", 6, time=GENESIS_TIME + WEEK + 60)
    watched.to_epoch(3)
    watched.tick()
    assert watched.get("/v1/rewards/epochs/1")["voices"] == str(5 * 10**18)
    assert watched.get("/v1/rewards/epochs/2")["voices"] == str(10**18)


def test_own_works_count_nothing_for_maker_and_owner(world: World) -> None:
    world.funds()
    world.pays("creator-1", 6)
    world.mirror.log(
        "WorkRegistry", "Transfer", block=world.block(), from_=canonical(world.people("creator-2")),
        to_=canonical(world.people("viewer-0")), token_id=2,
    )  # fmt: skip
    world.watches("creator-1", 1, 3)
    world.watches("viewer-0", 2, 4)
    world.to_epoch(2)
    world.tick()
    creators = {score["creator"] for score in world.get("/v1/rewards/epochs/1")["scores"]}
    assert creators == {world.people("creator-3").address, world.people("creator-4").address}


def test_what_is_published_names_no_pseudonym_by_its_own_works(world: World) -> None:
    """Attack: whoever reads that a pseudonym made work 1 knows from the chain who it is, and what else they watched."""
    world.funds()
    world.pays("creator-1", 6)
    world.watches("creator-1", 1, 3)
    world.watches("viewer-0", 1, 4)
    world.to_epoch(2)
    world.tick()
    (row,) = (each for each in world.rows(RewardEpoch) if each.epoch == 1)
    named = json.loads(world.file(row.scores_sha256))
    _, _, log = epochs.read_log(world.file(row.log_sha256))
    people = {event.viewer.hex() for event in log}
    assert {name for name, value in named.items() if any(each in str(value) for each in people)} == {"verified"}
    assert sorted(event.work_id for event in log) == [1, 3, 4]
    with world.unit() as session:
        addresses = {each.person_id: each.address for each in everybody(session, world.vault)}
        with entered(session):
            viewers = session.scalars(select(RewardViewer)).all()
        own = {each.tag for each in viewers if addresses[each.person_id] == canonical(world.people("creator-1"))}
    assert {event.work_id for event in log if event.viewer in own} == {3}


def test_a_suspended_work_earns_nothing(watched: World) -> None:
    suspended = {"work_id": 1, "status": 2, "reason_hash": bytes(32), "actor": OPERATOR}
    watched.log("WorkRegistry", "WorkStatusChanged", time=GENESIS_TIME + WEEK + 1, **suspended)
    watched.tick()
    creators = {score["creator"] for score in watched.get("/v1/rewards/epochs/1")["scores"]}
    assert watched.people("creator-1").address not in creators
    assert len(creators) == 4


@pytest.mark.feature("P6", via="http")
def test_rewards_follow_a_ruling_about_who_made_the_work(watched: World) -> None:
    """Attack: register what another committed to first, lose the dispute, and go on being paid for its views."""
    author = canonical(watched.people("author"))
    for work_id, outcome in ((1, 1), (2, 2)):  # enforced, dismissed
        ruling = {"work_id": work_id, "claimant": author, "outcome": outcome}
        watched.log("WorkStanding", "DisputeClosed", time=GENESIS_TIME + WEEK + 1, **ruling)
    watched.tick()
    creators = {score["creator"] for score in watched.get("/v1/rewards/epochs/1")["scores"]}
    others = {watched.people(f"creator-{number}").address for number in range(2, 6)}
    assert creators == {watched.people("author").address} | others


def test_linked_accounts_are_one_cluster_for_views_and_for_the_cap(watched: World) -> None:
    viewer, maker, other = (canonical(watched.people(name)) for name in ("viewer-0", "creator-1", "creator-2"))
    with watched.unit() as session:
        service.fix(session, 1, now=watched.clock())
        row = service.score(
            session,
            watched.store,
            watched.chain,
            watched.vault,
            1,
            now=watched.clock(),
            links=[(viewer, maker), (maker, other)],
        )
    assert row.scores_sha256 is not None
    read = epochs.read_scores(watched.file(row.scores_sha256))
    assert read.inputs.clusters[maker] == read.inputs.clusters[other]
    assert row.event_count == 28, "the two views within the cluster are not in the log"
    assert read.scores[maker].viewers == read.scores[other].viewers == 4
    assert read.scores[canonical(watched.people("creator-3"))].viewers == 5


@pytest.mark.feature("C2", via="http")
def test_v11_who_withdraws_consent_before_scoring_is_not_in_the_log(watched: World) -> None:
    person = watched.client.as_(watched.people("viewer-0"))
    assert person.put("/v1/consents/behaviour", json={"granted": False}).status_code == 200
    watched.tick()
    assert len(watched.rows(RewardViewer)) == 5
    assert watched.get("/v1/rewards/epochs/1")["epoch"]["events"] == 25
    assert all(score["viewers"] == 4 for score in watched.get("/v1/rewards/epochs/1")["scores"])


def test_v11_without_consent_nothing_is_in_the_log_under_any_name(world: World) -> None:
    world.funds()
    assert world.sends("viewer-0", 1, 2)["counted_as"] == "nobody"
    world.watches("viewer-1", 1, 2, allow=False)  # as if stored before a withdrawal
    world.to_epoch(2)
    world.tick()
    detail = world.get("/v1/rewards/epochs/1")
    assert (detail["epoch"]["events"], detail["scores"]) == (0, [])
    assert detail["epoch"]["log_root"] == "0x" + "00" * 32


def test_the_published_files_name_nobody(watched: World) -> None:
    watched.tick()
    (row,) = watched.rows(RewardEpoch)
    published = watched.file(row.log_sha256) + watched.file(row.scores_sha256)
    for name in [f"viewer-{number}" for number in range(5)] + ["nobody"]:
        assert watched.people(name).address[2:].lower().encode() not in published.lower()


@pytest.mark.feature("E1", via="http")
def test_a_person_proves_that_the_own_events_were_counted(watched: World) -> None:
    watched.tick()
    person = watched.people("viewer-3")
    client = watched.client.as_(person)
    answer = client.get("/v1/rewards/epochs/1/mine?limit=3").json()
    rest = client.get(f"/v1/rewards/epochs/1/mine?limit=3&cursor={answer['next']}").json()
    assert len(answer["items"]) == 3
    assert len(rest["items"]) == 2
    assert rest["next"] is None
    tag = epochs.tag(1, canonical(person), bytes.fromhex(answer["salt"][2:]))
    assert answer["pseudonym"] == "0x" + tag.hex()
    for item in answer["items"] + rest["items"]:
        name = epochs.logged_id(uuid.UUID(item["id"]).bytes, bytes.fromhex(answer["salt"][2:]))
        assert item["logged_as"] == "0x" + name.hex()
        event = Signal(name, tag, item["work_id"], item["kind"], item["duration_ms"], item["completion_bps"])
        leaf = epochs.event_leaf(31337, 1, event)
        assert item["leaf"] == "0x" + leaf.hash.hex()
        nodes = [Node(bytes.fromhex(node["hash"][2:]), int(node["sum"])) for node in item["proof"]]
        root = process(nodes, int(item["path"]), leaf)
        assert "0x" + root.hash.hex() == answer["log_root"]
        assert root.sum == 30
    stranger = watched.client.as_(watched.people("stranger"))
    assert stranger.get("/v1/rewards/epochs/1/mine").json()["code"] == "epoch_log_empty"
    assert watched.client.get("/v1/rewards/epochs/1/mine").status_code == 401


# Planning and publishing


@pytest.mark.feature("E4", via="http")
def test_v3_the_pool_is_shared_to_the_unit_and_the_proposal_is_queued_with_it(watched: World) -> None:
    assert watched.tick()
    row = watched.root(1)
    assert (row.granted, row.carried, row.pool) == (CAP, 0, CAP)
    assert row.total == CAP * 2 // 100 * 5  # five creators, each at the cap of 2 %
    assert row.granted + row.carried == row.total + row.rollover
    (intent,) = watched.queued(service.PROPOSE)
    assert intent.key == row.outbox_key
    function, arguments = decode_call("RewardDistributor", intent.data)
    assert function.name == "propose"
    assert (arguments["root"], arguments["total"]) == (row.root, row.total)
    assert (arguments["token"], arguments["treeDigest"]) == ("0x" + TRP.hex(), row.tree_sha256)
    assert len(watched.queued(service.APPROVE)) == 1
    shown = watched.get("/v1/rewards/epochs/1")["epoch"]["roots"][0]
    assert (shown["status"], shown["rewarded"]) == ("publishing", str(row.total))


def test_a_second_tick_changes_nothing(watched: World) -> None:
    watched.tick()
    before = [len(watched.rows(model)) for model in (RewardEpoch, RewardRoot, OutboxIntent)]
    assert not watched.tick()
    assert [len(watched.rows(model)) for model in (RewardEpoch, RewardRoot, OutboxIntent)] == before


def test_v6_business_row_and_outbox_row_come_together_or_not_at_all(
    watched: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def power_cut(*_: object, **__: object) -> None:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patched:
        patched.setattr(service, "enqueue", power_cut)
        with pytest.raises(RuntimeError):
            watched.tick()
    assert watched.rows(RewardRoot) == []
    assert watched.rows(OutboxIntent) == []
    assert watched.tick()
    assert len(watched.rows(RewardRoot)) == 1


def test_a_stream_without_funds_rewards_nobody_and_publishes_nothing(world: World) -> None:
    world.funds(amount=0)
    world.watches("viewer-0", 1, 2, 3)
    world.to_epoch(2)
    world.tick()
    assert world.get("/v1/rewards/epochs/1")["epoch"]["roots"][0]["status"] == "nothing_due"
    assert world.rows(OutboxIntent) == []


def test_without_an_operator_epochs_are_scored_and_nothing_is_published(watched: World) -> None:
    assert not tasks.advance(
        watched.unit, watched.store, watched.chain, watched.vault, operator=None, now=watched.clock()
    )
    assert watched.rows(RewardEpoch)[0].scored_at is not None
    assert watched.rows(RewardRoot) == []


@pytest.mark.feature("E4", via="http")
def test_v4_two_epochs_add_up_and_the_claim_covers_both(watched: World) -> None:
    watched.tick()
    first = watched.proposed(1, 2)
    maker = watched.people("creator-1").address
    (waiting, *_) = [each for each in watched.get(f"/v1/rewards/{maker}")["streams"] if each["symbol"] == "USD"]
    assert (waiting["cumulative"], waiting["pending"]) == ("0", str(CAP * 2 // 100))
    assert waiting["intent"] is None

    assert not watched.queued(service.FINALIZE)
    watched.block(time=GENESIS_TIME + WEEK + 60 + 2 * 86_400)
    watched.tick()
    watched.tick()
    (intent,) = watched.queued(service.FINALIZE)
    assert decode_call("RewardDistributor", intent.data)[0].name == "finalize"
    watched.finalized(first, 2)

    watched.watches("viewer-0", 1, 2, epoch=2)
    watched.pays("viewer-0", 6, time=GENESIS_TIME + WEEK + 120)
    watched.to_epoch(3)
    watched.tick()
    second = watched.root(2)
    assert second.previous_id == first.id
    assert second.carried == first.rollover
    assert second.granted + second.carried == (second.total - first.total) + second.rollover
    assert second.tree_sha256 is not None
    assert recompute.recompute(watched.file(second.tree_sha256), watched.file).total == second.total
    watched.proposed(2, 3)
    watched.finalized(second, 3)

    answer = watched.get(f"/v1/rewards/{maker}")
    (usd,) = [each for each in answer["streams"] if each["symbol"] == "USD"]
    proof = [Node(bytes.fromhex(node["hash"][2:]), int(node["sum"])) for node in usd["proof"]]
    distributor = watched.chain.address("RewardDistributor")
    leaf = leaf_reward(31337, distributor, TRP, maker, int(usd["cumulative"]))
    assert process(proof, int(usd["path"]), leaf) == Node(second.root or b"", second.total)
    assert int(usd["cumulative"]) == 2 * CAP * 2 // 100
    assert int(usd["claimable"]) == CAP * 2 // 100  # a first claim has one account cap
    function, arguments = decode_call("RewardDistributor", bytes.fromhex(usd["intent"]["data"][2:]))
    assert function.name == "claim"
    assert arguments["account"].lower() == maker.lower()
    assert answer["claim_all"] is not None
    untouched = watched.get(f"/v1/rewards/{watched.people('creator-5').address}")["streams"]
    assert [each["cumulative"] for each in untouched if each["symbol"] == "USD"] == [str(CAP * 2 // 100)]


def test_a_proposal_that_never_reached_the_chain_is_planned_anew(watched: World) -> None:
    watched.tick()
    with watched.unit() as session:
        intent = session.scalars(select(OutboxIntent).where(OutboxIntent.kind == service.PROPOSE)).one()
        intent.state, intent.code, intent.detail = State.FAILED, "would_revert", "0x"
    watched.tick()
    roots = sorted(watched.rows(RewardRoot), key=lambda row: row.attempt)
    assert [(row.attempt, row.void is None) for row in roots] == [(1, False), (2, True)]
    assert roots[0].root == roots[1].root
    assert len(watched.queued(service.PROPOSE)) == 2
    shown = [root["status"] for root in watched.get("/v1/rewards/epochs/1")["epoch"]["roots"]]
    assert shown == ["not_published", "publishing"]


def test_v6_a_proposal_that_was_given_up_and_is_mined_after_all_counts_in_place_of_the_next(watched: World) -> None:
    """A killed development chain comes back before the block in which the first reverted; sent again, it succeeds."""
    watched.tick()
    with watched.unit() as session:
        intent = session.scalars(select(OutboxIntent).where(OutboxIntent.kind == service.PROPOSE)).one()
        intent.state, intent.code, intent.detail = State.FAILED, "reverted", "0x"
    watched.tick()
    first, second = sorted(watched.rows(RewardRoot), key=lambda row: row.attempt)
    assert first.tree_sha256 != second.tree_sha256
    watched.proposed(1, 2, row=first)
    watched.tick()
    shown = [root["status"] for root in watched.get("/v1/rewards/epochs/1")["epoch"]["roots"]]
    assert shown == ["pending", "not_published"]
    (intent,) = (each for each in watched.queued(service.PROPOSE) if each.key == second.outbox_key)
    with watched.unit() as session, node.Node("http://127.0.0.1:1") as nowhere:
        verdict = kinds(watched.chain)[service.PROPOSE].check(session, intent, nowhere)
    assert verdict == (Answer.REFUSE, "given_up", "attempt 1 was mined after all")
    watched.block(time=GENESIS_TIME + WEEK + 60 + 2 * 86_400)
    watched.tick()
    assert len(watched.queued(service.FINALIZE)) == 1
    watched.finalized(first, 2)
    watched.watches("viewer-0", 1, 2, epoch=2)
    watched.pays("viewer-0", 6, time=GENESIS_TIME + WEEK + 120)
    watched.to_epoch(3)
    watched.tick()
    assert watched.root(2).previous_id == first.id


def test_it_gives_up_after_five_attempts(watched: World) -> None:
    for _ in range(8):
        watched.tick()
        with watched.unit() as session:
            for intent in session.scalars(select(OutboxIntent).where(OutboxIntent.kind == service.PROPOSE)):
                intent.state, intent.code = State.FAILED, "would_revert"
    assert len(watched.rows(RewardRoot)) == service.MAX_ATTEMPTS


def rejected(world: World) -> RewardRoot:
    world.tick()
    row = world.proposed(1, 2)
    world.log("RewardDistributor", "RootRejected", token=TRP, epoch=2, reason=1, prover=OPERATOR)
    return row


def test_v4_after_a_rejection_nothing_is_proposed_until_the_operator_decides(watched: World) -> None:
    rejected(watched)
    watched.watches("viewer-0", 1, epoch=2)
    watched.to_epoch(3)
    watched.tick()
    shown = watched.get("/v1/rewards/epochs/1")["epoch"]["roots"][0]
    assert (shown["status"], shown["reason"]) == ("rejected", "a challenge was upheld")
    assert len(watched.rows(RewardRoot)) == 1

    with watched.unit() as session:
        service.withdraw(session, epoch=1, token=TRP)
    watched.tick()
    second = watched.root(2)
    assert (second.previous_id, second.carried) == (None, 0)
    assert watched.get("/v1/rewards/epochs/1")["epoch"]["roots"][0]["status"] == "withdrawn"


def test_a_rejected_root_can_be_proposed_again(watched: World) -> None:
    row = rejected(watched)
    with watched.unit() as session:
        service.repropose(session, epoch=1, token=TRP)
    watched.tick()
    assert watched.root(1).attempt == 2
    assert watched.root(1).root == row.root
    with watched.unit() as session, pytest.raises(LookupError):
        service.withdraw(session, epoch=1, token=TRP)


def test_a_foreign_root_is_not_finalized(watched: World) -> None:
    watched.tick()
    watched.log(
        "RewardDistributor", "RootProposed", token=TRP, epoch=2, root=hash32("foreign"), total=1,
        tree_digest=hash32("other"), log_root=bytes(32), finalizable_at=GENESIS_TIME + WEEK + 1,
    )  # fmt: skip
    watched.block(time=GENESIS_TIME + WEEK + 100)
    watched.tick()
    assert not watched.queued(service.FINALIZE)


# Over HTTP


@pytest.mark.feature("E2", via="http")
def test_the_list_of_epochs_pages_newest_first(world: World) -> None:
    world.to_epoch(5)
    world.tick()
    first = world.get("/v1/rewards/epochs?limit=3")
    assert [item["epoch"] for item in first["items"]] == [4, 3, 2]
    assert first["current"]["epoch"] == 5
    assert first["as_of"]["stage"] == "final"
    rest = world.get(f"/v1/rewards/epochs?limit=3&cursor={first['next']}")
    assert [item["epoch"] for item in rest["items"]] == [1]
    assert rest["next"] is None


def test_an_epoch_that_is_open_or_to_come(world: World) -> None:
    assert world.get("/v1/rewards/epochs/1")["epoch"]["state"] == "open"
    assert world.get("/v1/rewards/epochs/2", status=404)["code"] == "epoch_not_found"
    assert world.get("/v1/rewards/epochs/0", status=422)["code"]


def test_an_epoch_that_is_scored_while_it_is_read_is_shown_whole(watched: World, app: FastAPI) -> None:
    """The worker commits after the request's first look at the scores, and before whatever it reads then."""
    engine = app.state.core.database.engine
    looked = threading.Event()

    def score_now(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "reward_score" in statement and not looked.is_set():
            looked.set()
            watched.tick()

    event.listen(engine, "after_cursor_execute", score_now)
    between = watched.get("/v1/rewards/epochs/1")
    assert looked.is_set()
    assert (between["voices"], between["creators"], between["scores"]) == ("0", 0, [])
    after = watched.get("/v1/rewards/epochs/1")
    assert after["creators"] == len(after["scores"]) > 1
    assert int(after["voices"]) == sum(int(score["voice"]) for score in after["scores"])
    first = watched.get("/v1/rewards/epochs/1?limit=1")
    assert (first["voices"], first["creators"]) == (after["voices"], after["creators"])
    assert first["scores"] == after["scores"][:1]


def test_an_account_that_earned_nothing_has_empty_streams(watched: World) -> None:
    answer = watched.get(f"/v1/rewards/{watched.people('stranger').address}")
    assert [each["cumulative"] for each in answer["streams"]] == ["0"]
    assert answer["claim_all"] is None
    assert watched.get("/v1/rewards/0x12", status=422)["code"]


def test_the_open_epoch_says_what_a_voice_costs_and_brings(world: World) -> None:
    voice = world.get("/v1/rewards/epochs")["current"]["voice"]
    assert [(each["symbol"], each["fee"], each["payout"]) for each in voice] == [
        ("ETH", str(10**14), str(10**14 // 4)),
        ("USD", "250000", "62500"),
    ]


def stating(world: World, prices: Any) -> ChainInfo:
    """The deployment with other prices of a voice."""
    manifest = json.loads(world.settings.deployment.read_text())
    manifest["parameters"]["rewards"] |= {"voicePrice": prices}
    if prices is None:
        del manifest["parameters"]["rewards"]["voicePrice"]
    world.settings.deployment.write_text(json.dumps(manifest))
    return ChainInfo.load(world.settings.deployment)


@pytest.mark.parametrize(
    ("prices", "error", "words"),
    [
        (None, LookupError, "states no price"),
        ({"0x" + "22" * 20: "1"}, ValueError, "names 0x2222"),
        ({"0x" + "11" * 20: "0"}, ValueError, "at least one base unit"),
    ],
)
def test_prices_that_cannot_be_meant_are_refused(world: World, prices: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Terms.of(stating(world, prices))


def test_a_token_without_a_price_verifies_nobody_and_its_stream_pays_nothing(watched: World) -> None:
    watched.chain = stating(watched, {NATIVE: str(10**14)})
    watched.tick()
    row = watched.root(1)
    assert (row.pool, row.rollover, row.root) == (CAP, CAP, None)


@pytest.mark.feature("E3", via="http")
def test_a_voice_pays_out_no_more_than_its_part_of_the_price(world: World) -> None:
    """Attack: one bought voice in a week without others, spread over many creators, takes a pool of a million."""
    world.funds(cap=10**12 // 20)
    world.watches("viewer-0", 1, 2, 3, 4, 5)
    world.to_epoch(2)
    world.tick()
    row = world.root(1)
    assert row.pool == 10**12 // 20
    assert row.total == 5 * (62_500 // 5)
    assert row.tree_sha256 is not None
    assert recompute.recompute(world.file(row.tree_sha256), world.file).total == row.total


@pytest.mark.parametrize("version", [1, 7], ids=["v1", "v7"])
def test_ids_that_tell_time_and_machine_are_taken_and_not_published(world: World, version: int) -> None:
    machine, ticks = 0x02_42_AC_11_00_02, 0x1F0_C6A1_D3E0_4B2A
    own = {
        1: uuid.UUID(fields=(ticks & 0xFFFFFFFF, ticks >> 32 & 0xFFFF, 0x1000 | ticks >> 48, 0x80, 1, machine)),
        7: uuid.UUID(int=(1_760_000_123_456 << 80) | (7 << 76) | (2 << 62) | machine),
    }[version]
    assert own.version == version
    person = world.client.as_(world.people("viewer-0"))
    person.put("/v1/consents/behaviour", json={"granted": True})
    event = {"id": str(own), "kind": "watch", "work_id": 1, "at": world.clock().isoformat()}
    event |= {"duration_ms": 60_000, "completion_bps": 10_000}
    for accepted in (1, 0):
        assert person.post("/v1/engagement", json={"events": [event]}).json()["accepted"] == accepted
    world.to_epoch(2)
    world.tick()
    (row,) = world.rows(RewardEpoch)
    published = world.file(row.log_sha256)
    for trace in (own.hex, own.hex[:8], f"{machine:012x}"):
        assert trace.encode() not in published
    (mine,) = person.get("/v1/rewards/epochs/1/mine").json()["items"]
    assert mine["id"] == str(own)
    assert mine["logged_as"][2:].encode() in published
