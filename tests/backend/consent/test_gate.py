"""The gate at work: who did not allow it, withdrew or froze their data is not read, and every read is in the log."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from backend.app import create_app
from backend.consent import gate, reads, service
from backend.consent.gate import Read, entered
from backend.consent.persons import everybody, make_person, person_of
from backend.consent.purposes import NOTICES, Notice, Purpose
from backend.consent.writes import give_voice, set_feed
from backend.db import at_once
from backend.deps import Core
from backend.models.accounts import Account
from backend.models.consent import DataUse
from backend.models.engagement import NOBODY, EngagementEvent
from backend.models.impressions import Impression
from backend.models.rewards import RewardEpoch
from backend.settings import Settings
from backend.vault.vault import Erased, NoKey, Tampered, Vault
from tests.backend.conftest import Client, Clock, allow
from tests.factories import Mirror

ROOT = Path(__file__).parents[3]
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PARAMETERS: dict[str, Any] = {
    "since": NOW - timedelta(days=1),
    "after": NOW - timedelta(days=1),
    "before": NOW - timedelta(days=2),
    "until": NOW,
    "upto": NOW,
    "epoch": 1,
    "experiment": "try",
    "least": 1,
}
"""What readers are called with, by name."""
READERS = [read for read in reads.READS if read.needs]


@dataclass
class Ground:
    """A vault and a database with persons in it."""

    core: Core

    @property
    def vault(self) -> Vault:
        return self.core.vault

    def session(self) -> Any:
        return self.core.database.session()

    def somebody(self, *purposes: Purpose, address: bytes | None = None) -> Account:
        """An account that allows these purposes and liked two works in epoch 1."""
        with self.session() as session:
            account = Account(wallet=address)
            session.add(account)
            session.flush()
            person = make_person(session, self.vault, account.id)
            give_voice(session, person)
            with entered(session):
                session.add_all(self.event(person, work) for work in (1, 2))
                session.add(self.slate(person))
            for purpose in purposes:
                self.answers(session, account, purpose)
            set_feed(session, person=person, values={"session_minutes": 30}, now=NOW)
        return account

    def event(self, person: uuid.UUID, work: int, kind: str = "like") -> EngagementEvent:
        return EngagementEvent(
            person_id=person,
            event_id=uuid.uuid4(),
            work_id=work,
            kind=kind,
            at=NOW,
            received_at=NOW,
            duration_ms=0,
            completion_bps=0,
            epoch=1,
            digest=bytes(32),
        )

    def slate(self, person: uuid.UUID) -> Impression:
        one = {"place": 0, "variant": str(uuid.UUID(int=0)), "propensity": 0.5, "context": [1.0], "arms": 2}
        return Impression(
            person_id=person,
            slate_id=uuid.uuid4(),
            at=NOW - timedelta(hours=1),
            works=[1],
            whys=["explored"],
            propensities=[0.5],
            choices=[2],
            usual=[0.0],
            configuration="c",
            model_version=None,
            arms={"try": "one"},
            packaging=[one],
        )

    def answers(self, session: Session, account: Account, purpose: Purpose, granted: bool = True) -> None:
        service.record(
            session,
            self.vault,
            account_id=account.id,
            purpose=purpose,
            granted=granted,
            at=NOW,
            by=service.controller(self.core.settings),
        )

    def person(self, account: Account) -> uuid.UUID:
        with self.session() as session:
            found = person_of(session, self.vault, account.id)
        assert found is not None
        return found

    def reads(self, read: Read, account: Account, now: datetime = NOW) -> list[Any]:
        """What a reader gets of one account: the rows about it, or for sums all of them."""
        person = self.person(account)
        with self.session() as session:
            rows = gate.read(
                session,
                read,
                now=now,
                person=person if read.who == "one" else None,
                **{name: value for name, value in PARAMETERS.items() if f"%({name})s" in read.statement},
            )
        named = read.who == "everybody" and read.reader != reads.PACKAGED.reader  # gives no pseudonyms
        return [row for row in rows if row.person_id == person] if named else list(rows)

    def gets(self, read: Read, account: Account) -> bool:
        """Whether a reader gets anything of what the account did."""
        rows = self.reads(read, account)
        return any(rows[0]) if read.reader in (reads.TRAINING_SIZE.reader, reads.OWN_LOG_SIZE.reader) else bool(rows)

    def log(self, account: Account) -> dict[tuple[str, str], int]:
        """(reader, purpose) -> times, of the account and of the sums."""
        with self.session() as session:
            rows = service.data_use(session, self.vault, account_id=account.id, after=None, limit=1000)
        return {(row.reader, row.purpose): row.times for row in rows}


@pytest.fixture
def ground(settings: Settings, clock: Clock) -> Iterator[Ground]:
    made = Ground(Core(settings, clock))
    yield made
    made.core.database.dispose()


# --- V11: what is not allowed is not read -----------------------------------------------------------------------------


@pytest.mark.feature("C2")
@pytest.mark.parametrize("read", READERS, ids=lambda read: read.reader)
class TestV11:
    def test_v11_it_reads_with_every_consent_it_needs_and_with_none_missing(self, ground: Ground, read: Read) -> None:
        assert ground.gets(read, ground.somebody(*read.needs))

    def test_v11_it_reads_nothing_of_who_never_answered(self, ground: Ground, read: Read) -> None:
        assert not ground.gets(read, ground.somebody())

    def test_v11_a_withdrawal_acts_on_the_next_read_and_a_new_yes_too(self, ground: Ground, read: Read) -> None:
        person = ground.somebody(*read.needs)
        for purpose in read.needs:
            for granted in (False, True):
                with ground.session() as session:
                    ground.answers(session, person, purpose, granted)
                assert ground.gets(read, person) is granted

    def test_v11_what_is_frozen_is_not_read(self, ground: Ground, read: Read) -> None:
        person = ground.somebody(*read.needs)
        with ground.session() as session:
            gate.freeze(session, ground.person(person), now=NOW)
        assert not ground.gets(read, person)
        assert ("feed.history", "content_taste") not in ground.log(person)
        with ground.session() as session:
            gate.thaw(session, ground.person(person))
        assert ground.gets(read, person)

    def test_v11_a_yes_to_an_older_notice_counts_only_where_the_new_one_says_so(
        self, ground: Ground, read: Read, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        person = ground.somebody(*read.needs)
        purpose = read.needs[-1]
        version = NOTICES[purpose].version
        for accepts, counts in ((1, True), (2, False)):
            changed = Notice(version + 1, "Changed", "A changed text.", accepts=version + accepts - 1)
            monkeypatch.setitem(NOTICES, purpose, changed)
            anew = dataclasses.replace(read)  # as a process has it that was started with this notice
            assert ground.gets(anew, person) is counts


def test_v11_the_feeds_off_switch_stops_what_reads_taste(ground: Ground) -> None:
    person = ground.somebody(Purpose.BEHAVIOUR, Purpose.CONTENT_TASTE)
    with ground.session() as session:
        set_feed(session, person=ground.person(person), values={"enabled": False}, now=NOW)
    for read in (reads.FEED_HISTORY, reads.TRAINING_PAIRS, reads.TRAINING_SIZE):
        assert not ground.gets(read, person)
    assert ground.gets(reads.REWARD_EVENTS, person)  # which is not about what they are shown


def test_v11_a_person_reads_themselves_also_what_is_frozen(ground: Ground) -> None:
    person = ground.somebody(Purpose.BEHAVIOUR)
    with ground.session() as session:
        gate.freeze(session, ground.person(person), now=NOW)
    assert len(ground.reads(reads.OWN_ROWS["engagement_event"], person)) == 2
    assert len(ground.reads(reads.OWN_ROWS["consent_receipt"], person)) == 1
    with ground.session() as session:
        assert gate.frozen_since(session, ground.person(person)) == NOW


def test_v11_an_answer_without_the_check_would_have_been_seen(ground: Ground) -> None:
    """The oracle of this file fails where a statement forgets its consents."""
    careless = dataclasses.replace(reads.FEED_HISTORY, needs=(), purpose=gate.SERVICE)
    assert ground.gets(careless, ground.somebody())


_OTHER_PROCESS = """
import sys, uuid, datetime
from backend.settings import load_settings
from backend.db import at_once
from backend.deps import Core
from backend.consent import gate, reads
from backend.consent.persons import person_of
core = Core(load_settings())
print("ready", flush=True)
for line in sys.stdin:
    with core.database.session() as session:
        person = person_of(session, core.vault, uuid.UUID(line.strip()))
        now = datetime.datetime.now(datetime.UTC)
        print(len(gate.read(session, reads.FEED_HISTORY, person=person, now=now)) if person else -1, flush=True)
"""


@pytest.mark.slow
@pytest.mark.feature("C2")
def test_v11_several_processes_follow_a_withdrawal_a_freeze_and_an_erasure_at_once(
    ground: Ground, environment: dict[str, str]
) -> None:
    person = ground.somebody(Purpose.BEHAVIOUR, Purpose.CONTENT_TASTE)
    others = [
        subprocess.Popen(
            [sys.executable, "-c", _OTHER_PROCESS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        for _ in range(2)
    ]

    def ask() -> list[int]:
        for other in others:
            assert other.stdin
            other.stdin.write(f"{person.id}\n")
            other.stdin.flush()
        return [int(other.stdout.readline()) for other in others if other.stdout]

    try:
        assert [other.stdout.readline() for other in others if other.stdout] == ["ready\n"] * 2
        assert ask() == [2, 2]  # now each has the key and the pseudonym in memory
        for granted, rows in ((False, 0), (True, 2)):
            with ground.session() as session:
                ground.answers(session, person, Purpose.CONTENT_TASTE, granted)
            assert ask() == [rows, rows]
        with ground.session() as session:
            gate.freeze(session, ground.person(person), now=NOW)
        assert ask() == [0, 0]
        with ground.session() as session:
            gate.thaw(session, ground.person(person))
        assert ask() == [2, 2]
        ground.vault.destroy(person.id)
        assert ask() == [-1, -1]
    finally:
        for other in others:
            other.communicate()
    assert [other.returncode for other in others] == [0, 0]


@pytest.mark.feature("C2", via="http")
def test_v11_over_http_two_servers_follow_a_withdrawal_on_the_next_request(
    *, client: Client, settings: Settings, clock: Clock, alice: LocalAccount, mirror: Mirror, bob: LocalAccount
) -> None:
    mirror.block(1)
    mirror.work(1, owner=bob, block=1)
    here = client.as_(alice)
    other_app = create_app(settings, clock=clock)
    with Client(other_app, base_url=str(client.base_url)) as other:
        other.headers["Authorization"] = here.headers["Authorization"]
        for granted in (True, False, True):
            allow(here, "behaviour", "content_taste", granted=granted)
            assert [each.get("/v1/feed").json()["personal"] for each in (other, here)] == [granted, granted]
            event = {"id": str(uuid.uuid4()), "kind": "like", "work_id": 1, "at": clock().isoformat()}
            counted = other.post("/v1/engagement", json={"events": [event]}).json()["counted_as"]
            assert counted == ("person" if granted else "nobody")


# --- the log of uses --------------------------------------------------------------------------------------------------


@pytest.mark.feature("C6")
def test_every_read_is_counted_for_each_person_that_was_read_and_for_nobody_else(ground: Ground) -> None:
    read, unread = ground.somebody(Purpose.BEHAVIOUR, Purpose.CONTENT_TASTE), ground.somebody(Purpose.CONTENT_TASTE)
    for _ in range(3):
        ground.reads(reads.FEED_HISTORY, read)
        ground.reads(reads.FEED_HISTORY, unread)
    ground.reads(reads.REWARD_EVENTS, read)
    ground.reads(reads.FEED_TREND, read)
    assert ground.log(read) == {
        ("feed.history", "content_taste"): 3,
        ("rewards.scoring", "service"): 1,
        ("feed.trend", "service"): 1,
    }
    assert ground.log(unread) == {("feed.trend", "service"): 1}, "only the sums, which are counted once for all"


@pytest.mark.feature("C6")
def test_a_read_that_is_taken_back_is_not_in_the_log_and_reads_in_one_transaction_count_each(ground: Ground) -> None:
    account = ground.somebody(Purpose.BEHAVIOUR, Purpose.CONTENT_TASTE)
    person = ground.person(account)
    with ground.session() as session:
        for _ in range(2):
            gate.read(session, reads.FEED_HISTORY, person=person, now=NOW)

    def read_and_fail() -> None:
        with ground.session() as session:
            gate.read(session, reads.FEED_HISTORY, person=person, now=NOW)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        read_and_fail()
    assert ground.log(account) == {("feed.history", "content_taste"): 2}


@pytest.mark.feature("C6")
def test_reads_at_once_are_all_counted_and_never_wait_for_each_other_for_ever(ground: Ground) -> None:
    people = [ground.somebody(Purpose.BEHAVIOUR, Purpose.CONTENT_TASTE) for _ in range(5)]
    together = threading.Barrier(4)

    def read(number: int) -> None:
        together.wait()
        for person in people if number % 2 else reversed(people):
            ground.reads(reads.FEED_HISTORY, person)
            ground.reads(reads.TRAINING_PAIRS, person)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read, range(4)))
    for person in people:
        assert ground.log(person) == {("feed.history", "content_taste"): 4, ("feed.training", "content_taste"): 20}


@pytest.mark.feature("C6")
def test_a_day_has_a_row_of_its_own_in_utc(ground: Ground) -> None:
    person = ground.somebody(Purpose.BEHAVIOUR, Purpose.CONTENT_TASTE)
    for hours in (-13, -12, 11, 12):
        ground.reads(reads.FEED_HISTORY, person, NOW + timedelta(hours=hours))
    with ground.session() as session, entered(session):
        rows = session.scalars(select(DataUse).order_by(DataUse.day)).all()
    assert [(row.day, row.times) for row in rows] == [
        (date(2026, 11, 20), 1),
        (date(2026, 11, 21), 2),
        (date(2026, 11, 22), 1),
    ]
    assert (rows[1].first_at, rows[1].last_at) == (NOW - timedelta(hours=12), NOW + timedelta(hours=11))


@pytest.mark.feature("C6", via="http")
def test_a_person_reads_their_own_log_page_by_page_and_nobody_elses(
    *, client: Client, ground: Ground, clock: Clock, alice: LocalAccount, bob: LocalAccount, mirror: Mirror
) -> None:
    mirror.block(1)
    mine, others = client.as_(alice), client.as_(bob)
    allow(mine, "behaviour", "content_taste")
    for _ in range(3):
        for _ in range(2):
            mine.get("/v1/feed")
        clock.forward(days=1)
    seen, cursor = [], None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        body = mine.get("/v1/me/data-use", params=params).json()
        seen += body["items"]
        cursor = body["next"]
        if cursor is None:
            break
    about_me = [item for item in seen if item["about"] == "you" and item["reader"] == "feed.history"]
    assert [(item["reader"], item["purpose"], item["times"]) for item in about_me] == [
        ("feed.history", "content_taste", 2)
    ] * 3
    assert [item["day"] for item in seen] == sorted((item["day"] for item in seen), reverse=True)
    assert len({(item["day"], item["reader"]) for item in seen}) == len(seen)
    assert about_me[0]["what"].startswith("Your newest 500 events were read")
    assert all(item["about"] == "everybody" for item in others.get("/v1/me/data-use").json()["items"])
    assert client.get("/v1/me/data-use").status_code == 401
    assert mine.get("/v1/me/data-use", params={"cursor": "WyJkYXRhLXVzZSIsIngiLDEsMl0"}).status_code == 422


# --- pseudonyms -------------------------------------------------------------------------------------------------------


@pytest.mark.feature("C4")
def test_rows_behind_the_gate_lead_to_nobody_by_the_database_alone(ground: Ground) -> None:
    account = ground.somebody(*Purpose, address=b"\x0a" * 20)
    ground.reads(reads.FEED_HISTORY, account)
    person = ground.person(account)
    with ground.session() as session:
        row = session.execute(text("SELECT * FROM app.account WHERE id = :id"), {"id": account.id}).mappings().one()
        assert person.bytes not in b"".join(bytes(v) for v in row.values() if isinstance(v, bytes | memoryview))
        with entered(session):
            for table in gate.gated_tables():
                for found in session.execute(table.select()).mappings():
                    shown = json.dumps({k: v.hex() if isinstance(v, bytes) else str(v) for k, v in found.items()})
                    assert str(account.id) not in shown
                    assert account.id.hex not in shown
                    assert (b"\x0a" * 20).hex() not in shown


@pytest.mark.feature("C4")
def test_v10_with_the_key_gone_nothing_leads_from_the_account_to_its_rows(ground: Ground) -> None:
    account = ground.somebody(Purpose.BEHAVIOUR)
    other = ground.somebody(Purpose.BEHAVIOUR)
    assert ground.person(account)
    ground.vault.destroy(account.id)
    with ground.session() as session:
        for vault in (ground.vault, Vault.open(ground.core.settings)):
            assert person_of(session, vault, account.id) is None
            assert [each.account_id for each in everybody(session, vault)] == [other.id]
        with pytest.raises(Erased):
            make_person(session, ground.vault, account.id)


def test_a_lost_key_file_is_an_error_and_makes_no_second_pseudonym(ground: Ground) -> None:
    account = ground.somebody(Purpose.BEHAVIOUR)
    ground.vault.path(account.id).unlink()
    with ground.session() as session:
        with pytest.raises(NoKey):
            make_person(session, ground.vault, account.id)
        assert list(everybody(session, ground.vault)) == []


def test_two_accounts_pseudonyms_cannot_be_exchanged(ground: Ground) -> None:
    one, other = ground.somebody(), ground.somebody()
    with ground.session() as session:
        session.execute(
            text("UPDATE app.account SET pseudonym = (SELECT pseudonym FROM app.account WHERE id = :a) WHERE id = :b"),
            {"a": one.id, "b": other.id},
        )
    with ground.session() as session, pytest.raises(Tampered):
        person_of(session, Vault.open(ground.core.settings), other.id)


def test_of_requests_that_make_a_pseudonym_at_once_all_get_the_same(ground: Ground) -> None:
    with ground.session() as session:
        account = Account(wallet=None)
        session.add(account)
    together = threading.Barrier(6)

    def make(_: int) -> uuid.UUID:
        vault = Vault.open(ground.core.settings)
        together.wait()
        with ground.session() as session:
            return make_person(session, vault, account.id)

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(make, range(6)))) == 1


def test_forgetting_persons_drops_their_rows_and_nobody_elses(ground: Ground) -> None:
    gone, stays = ground.somebody(*Purpose), ground.somebody(*Purpose)
    with ground.session() as session:
        session.add(RewardEpoch(epoch=1, fixed_at=NOW))
        person = ground.person(gone)
        gate.freeze(session, person, now=NOW)
        assert (
            gate.forget(session, [person]) == 2 + len(Purpose) + 1 + 3
        )  # events, answers, freeze, slate, settings, voice
    for table in gate.gated_tables():
        read = reads.OWN_ROWS[table.name]
        assert len(ground.reads(read, gone)) == (1 if table.name == "data_use" else 0)  # this very look
    assert len(ground.reads(reads.OWN_ROWS["engagement_event"], stays)) == 2


@pytest.mark.feature("C2", via="http")
def test_while_frozen_what_a_person_does_is_nobodys(
    *, client: Client, ground: Ground, clock: Clock, alice: LocalAccount, bob: LocalAccount, mirror: Mirror
) -> None:
    mirror.block(1)
    mirror.work(1, owner=bob, block=1)
    mine = client.as_(alice)
    allow(mine, "behaviour", "content_taste")
    with ground.session() as session:
        (known,) = everybody(session, ground.vault)
        gate.freeze(session, known.person_id, now=clock())
    event = {"id": str(uuid.uuid4()), "kind": "like", "work_id": 1, "at": clock().isoformat()}
    assert mine.post("/v1/engagement", json={"events": [event]}).json()["counted_as"] == "nobody"
    feed = mine.get("/v1/feed").json()
    assert (feed["personal"], feed["why_not_personal"]) == (False, "You had your data frozen.")
    with ground.session() as session, entered(session):
        assert {row.person_id for row in session.scalars(select(EngagementEvent))} == {NOBODY}


@pytest.mark.parametrize("each_by_itself", [False, True])
def test_the_async_gate_reads_in_one_transaction_and_leaves_the_role(ground: Ground, *, each_by_itself: bool) -> None:
    account = ground.somebody(Purpose.BEHAVIOUR, Purpose.CONTENT_TASTE)
    person = ground.person(account)

    async def ask() -> tuple[list[list[dict[str, Any]]], str]:
        await ground.core.database.open()
        async with ground.core.database.async_pool.connection() as connection, AsyncExitStack() as stack:
            if each_by_itself:
                await stack.enter_async_context(at_once(connection))
            whose = "SELECT current_user AS role"
            before, *rows = await gate.read_async(
                connection,
                (reads.FEED_STATUS, {}),
                (reads.FEED_HISTORY, {}),
                person=person,
                now=NOW,
                before=[(whose, {})],
            )
            assert before == [{"role": "troupe_backend"}]
            if each_by_itself:
                assert await (await connection.execute(whose)).fetchall() == before
            role = await (await connection.execute("SELECT current_user AS role")).fetchone()
        await ground.core.database.async_pool.close()
        assert role
        return rows, role["role"]

    ((status,), history), role = asyncio.run(ask())
    asked = {"enabled": True, "behaviour": True, "content_taste": True, "agent": False, "frozen": False}
    assert {name: status[name] for name in asked} == asked
    assert [row["work_id"] for row in history] in ([1, 2], [2, 1])
    assert role == "troupe_backend"
    assert ground.log(account) == {("feed.history", "content_taste"): 1}


def test_a_read_about_one_needs_a_person_and_others_take_none(ground: Ground) -> None:
    calls: list[Callable[[Session], object]] = [
        lambda session: gate.read(session, reads.FEED_HISTORY, now=NOW),
        lambda session: gate.read(session, reads.TRAINING_PAIRS, now=NOW, person=uuid.uuid4()),
    ]
    for call in calls:
        with ground.session() as session, pytest.raises(ValueError, match="name a person"):
            call(session)
