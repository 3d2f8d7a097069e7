"""The outbox on a real chain: one effect an intent, whatever the node does (promises V6 and V8, plan F3 and F4)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from backend.models.sender import OutboxIntent, SenderAccount
from backend.node import Node
from backend.sender.keys import OperatorKey
from backend.sender.policy import GWEI, Answer, Finality, Kind, Policy, Sweep, Verdict
from backend.sender.service import Effect, OutboxConflict, enqueue, find, resume
from backend.sender.states import Event, State
from backend.sender.sweeper import Sender
from tests.backend.sender.chain import (
    ETHER,
    Chain,
    check_v6,
    intents,
    make,
    operator,
    run_to_end,
    states,
    transfers,
)

REVERTS = bytes.fromhex("60006000fd")  # push 0, push 0, revert


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 21, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def forward(self, seconds: int) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def halted(engine: Engine) -> str | None:
    with Session(engine) as session:
        account = session.query(SenderAccount).one_or_none()
        return account.halted_code if account else None


def put_code(chain: Chain, code: bytes, address: bytes = b"\x0c" * 20) -> bytes:
    chain.node.ask("anvil_setCode", "0x" + address.hex(), "0x" + code.hex())
    return address


# One intent from end to end


def test_v6_an_intent_walks_through_its_states_to_final(engine: Engine, chain: Chain, key: OperatorKey) -> None:
    effects = transfers(engine, key)
    sender = make(engine, chain, key)
    assert states(engine) == [State.QUEUED]
    assert [event for _, event in sender.sweep().events] == [Event.SIGN, Event.SEND]
    assert [event for _, event in sender.sweep().events] == [Event.MINE]
    assert sender.sweep().events == []  # mined, and its block is not final yet
    chain.mine(2)
    assert [event for _, event in sender.sweep().events] == [Event.FINALISE]
    check_v6(engine, chain, effects)
    (intent,) = intents(engine)
    assert intent.cost == 21_000 * intent.transactions[0].max_fee
    assert sender.sweep() == Sweep()


def test_finality_by_depth(engine: Engine, chain: Chain, key: OperatorKey) -> None:
    transfers(engine, key)
    sender = make(engine, chain, key, finality=Finality("depth", depth=5))
    sender.sweep()
    chain.mine(4)
    sender.sweep()
    assert states(engine) == [State.MINED]
    chain.mine()
    sender.sweep()
    assert states(engine) == [State.FINAL]


def test_v6_the_intent_exists_exactly_if_what_caused_it_is_committed(engine: Engine, key: OperatorKey) -> None:
    effect = Effect(key.chain_id, key.address_bytes, b"\x01" * 20, value=1)
    with Session(engine) as session:
        enqueue(session, effect, kind="transfer", key="once")
        session.rollback()
        assert find(session, "once") is None


def test_v6_the_same_key_is_the_same_intent_and_never_another_effect(engine: Engine, key: OperatorKey) -> None:
    effect = Effect(key.chain_id, key.address_bytes, b"\x01" * 20, value=1)
    with Session(engine) as session, session.begin():
        first = enqueue(session, effect, kind="transfer", key="once")
        assert enqueue(session, effect, kind="transfer", key="once").id == first.id
        other = Effect(key.chain_id, key.address_bytes, b"\x01" * 20, value=2)
        with pytest.raises(OutboxConflict, match="value"):
            enqueue(session, other, kind="transfer", key="once")


def test_v6_many_intents_take_consecutive_nonces(engine: Engine, chain: Chain, key: OperatorKey) -> None:
    effects = transfers(engine, key, 20)
    sender = make(engine, chain, key, policy=Policy(max_in_flight=8))
    chain.automine(False)
    sender.sweep()
    assert states(engine).count(State.BROADCAST) == 8
    chain.automine(True)
    run_to_end(sender, chain)
    check_v6(engine, chain, effects)
    assert [intent.nonce for intent in intents(engine)] == list(range(20))


# What can't work


def test_a_call_that_would_revert_is_refused_without_a_nonce(engine: Engine, chain: Chain, key: OperatorKey) -> None:
    target = put_code(chain, REVERTS)
    with Session(engine) as session, session.begin():
        enqueue(session, Effect(key.chain_id, key.address_bytes, target), kind="call", key="reverts")
    effects = transfers(engine, key)
    run_to_end(make(engine, chain, key), chain)
    refused, paid = intents(engine)
    assert (refused.state, refused.code, refused.nonce) == (State.FAILED, "would_revert", None)
    assert paid.state == State.FINAL
    check_v6(engine, chain, effects)


def test_a_receipt_with_status_0_ends_as_failed_with_its_reason(engine: Engine, chain: Chain, key: OperatorKey) -> None:
    target = b"\x0c" * 20  # an empty account when the gas is estimated, a contract that reverts when it is mined
    with Session(engine) as session, session.begin():
        enqueue(session, Effect(key.chain_id, key.address_bytes, target, gas=60_000), kind="call", key="reverts")
    chain.automine(False)
    sender = make(engine, chain, key)
    sender.sweep()
    put_code(chain, bytes.fromhex("600160005260206000fd"))  # reverts with one word
    chain.automine(True)
    chain.mine()
    run_to_end(sender, chain)
    (intent,) = intents(engine)
    assert (intent.state, intent.code, intent.succeeded) == (State.FAILED, "reverted", False)
    assert intent.detail is not None
    assert int(intent.detail, 16) == 1
    assert halted(engine) is None


def test_a_call_that_depends_on_an_earlier_one_waits_for_it(engine: Engine, chain: Chain, key: OperatorKey) -> None:
    # The contract reverts until it has been paid: SELFBALANCE, CALLVALUE, EQ -> revert when nothing was there before.
    target = put_code(chain, bytes.fromhex("473414600757005b60006000fd"))
    with Session(engine) as session, session.begin():
        call = Effect(key.chain_id, key.address_bytes, target)
        enqueue(session, Effect(key.chain_id, key.address_bytes, b"\x02" * 20, value=1), kind="t", key="first")
        enqueue(session, call, kind="call", key="second")
    chain.automine(False)
    sender = make(engine, chain, key)
    sender.sweep()
    assert states(engine) == [State.BROADCAST, State.QUEUED]
    assert intents(engine)[1].code == "waits"
    chain.fund("0x" + target.hex(), 5)
    chain.automine(True)
    chain.mine()
    run_to_end(sender, chain)
    assert states(engine) == [State.FINAL, State.FINAL]


def test_an_intent_expires_before_it_is_signed_and_never_after(
    engine: Engine, chain: Chain, key: OperatorKey, clock: Clock
) -> None:
    soon = clock() + timedelta(seconds=60)
    signed = transfers(engine, key, expires_at=soon)
    chain.automine(False)
    sender = make(engine, chain, key, now=clock)
    sender.sweep()
    late = transfers(engine, key, expires_at=soon)
    clock.forward(61)
    chain.automine(True)
    chain.mine()
    run_to_end(sender, chain)
    assert states(engine) == [State.FINAL, State.EXPIRED]
    assert chain.balance(late[0].target) == 0
    check_v6(engine, chain, signed)


def test_v8_the_daily_cap_on_gas_holds_until_the_next_day(
    engine: Engine, chain: Chain, key: OperatorKey, clock: Clock
) -> None:
    fee = chain.node.priority_fee()
    worst = 25_200 * fee  # 21,000 and the margin
    effects = transfers(engine, key, 4)
    cap = 21_000 * fee * 2 + worst
    sender = make(engine, chain, key, now=clock, policy=Policy(daily_cap=cap))
    for _ in range(6):
        sender.sweep()
        chain.mine()
    assert states(engine) == [State.FINAL] * 3 + [State.QUEUED]
    assert intents(engine)[3].code == "daily_cap"
    assert sum(intent.cost or 0 for intent in intents(engine)) <= cap
    clock.forward(12 * 3600)
    run_to_end(sender, chain)
    check_v6(engine, chain, effects)


# Nodes and strangers (F3)


def test_f3_a_dropped_transaction_is_sent_again_with_the_same_bytes(
    engine: Engine, chain: Chain, key: OperatorKey
) -> None:
    effects = transfers(engine, key, 2)
    chain.automine(False)
    sender = make(engine, chain, key)
    sender.sweep()
    chain.drop_all()
    before = [intent.transactions[0].raw for intent in intents(engine)]
    sender.sweep()
    assert all(chain.node.knows(intent.transactions[0].hash) for intent in intents(engine))
    chain.automine(True)
    chain.mine()
    run_to_end(sender, chain)
    check_v6(engine, chain, effects)
    assert [intent.transactions[0].raw for intent in intents(engine)] == before
    assert all(len(intent.transactions) == 1 for intent in intents(engine))


@pytest.mark.parametrize("by", ["time", "blocks"])
def test_f3_v8_a_stuck_transaction_is_replaced_at_the_same_nonce_with_both_fees_an_eighth_higher(
    by: str, engine: Engine, chain: Chain, key: OperatorKey, clock: Clock
) -> None:
    effects = transfers(engine, key, 2)
    chain.automine(False)
    sender = make(engine, chain, key, now=clock, policy=Policy(stuck_blocks=3, stuck_s=60))
    sender.sweep()
    if by == "time":
        clock.forward(59)
        sender.sweep()
        assert [len(intent.transactions) for intent in intents(engine)] == [1, 1]
        clock.forward(1)
    else:  # blocks go by that leave ours out
        raws = [intent.transactions[0].raw for intent in intents(engine)]
        chain.drop_all()
        chain.mine(3)
        assert [chain.node.send(raw) for raw in raws] == [None, None]
    sender.sweep()
    first, second = intents(engine)
    assert [len(first.transactions), len(second.transactions)] == [2, 1]
    old, new = first.transactions
    assert 1_000 * new.max_fee >= 1_125 * old.max_fee
    assert 1_000 * new.priority >= 1_125 * old.priority
    assert chain.node.knows(new.hash)
    assert not chain.node.knows(old.hash)
    sender.sweep()  # its age counts anew
    assert len(intents(engine)[0].transactions) == 2
    chain.automine(True)
    chain.mine()
    run_to_end(sender, chain)
    check_v6(engine, chain, effects)


def test_f3_v8_a_replacement_never_exceeds_the_fee_cap(
    engine: Engine, chain: Chain, key: OperatorKey, clock: Clock
) -> None:
    effects = transfers(engine, key)
    chain.automine(False)
    cap = chain.node.priority_fee() * 13 // 10
    sender = make(engine, chain, key, now=clock, policy=Policy(fee_cap=cap, stuck_s=60))
    for _ in range(5):
        sender.sweep()
        clock.forward(60)
    (intent,) = intents(engine)
    assert len(intent.transactions) == 3
    assert all(transaction.max_fee <= cap for transaction in intent.transactions)
    assert intent.code == "fee_cap"
    chain.automine(True)
    chain.mine()
    run_to_end(sender, chain)
    check_v6(engine, chain, effects)


def test_f3_the_original_is_mined_after_it_was_replaced(
    engine: Engine, chain: Chain, key: OperatorKey, clock: Clock
) -> None:
    """Only by keeping every hash of a nonce can this be told from a stranger's transaction."""
    effects = transfers(engine, key)
    chain.automine(False)
    sender = make(engine, chain, key, now=clock, policy=Policy(stuck_s=60))
    sender.sweep()
    clock.forward(60)
    sender.sweep()
    old, new = intents(engine)[0].transactions
    chain.drop_all()
    assert chain.node.send(old.raw) is None
    chain.automine(True)
    chain.mine()
    run_to_end(sender, chain)
    check_v6(engine, chain, effects)
    assert intents(engine)[0].mined_hash == old.hash != new.hash


def test_f3_underpriced_bytes_are_signed_again_with_higher_fees(engine: Engine, chain: Chain, key: OperatorKey) -> None:
    effects = transfers(engine, key)
    sender = make(engine, chain, key)
    head = chain.node.block()
    assert head is not None

    class BaseFeeSpike(Exception):
        pass

    def spike(point: str) -> None:
        if point == "after_commit":
            raise BaseFeeSpike

    sender.probe = spike
    with pytest.raises(BaseFeeSpike):
        sender.sweep()
    chain.node.ask("anvil_setNextBlockBaseFeePerGas", hex(50 * GWEI))
    chain.mine()
    run_to_end(make(engine, chain, key), chain)
    check_v6(engine, chain, effects)
    (intent,) = intents(engine)
    assert len(intent.transactions) > 1
    assert intent.transactions[-1].max_fee >= 50 * GWEI


def test_f3_a_strangers_transaction_with_our_nonce_ends_the_intent_and_halts_the_account(
    engine: Engine, chain: Chain, key: OperatorKey
) -> None:
    taken = transfers(engine, key)
    chain.automine(False)
    sender = make(engine, chain, key)
    sender.sweep()
    chain.drop_all()
    chain.stranger_sends(operator(), nonce=0)
    chain.automine(True)
    chain.mine()
    later = transfers(engine, key)
    sender.sweep()
    assert states(engine)[0] == State.BROADCAST  # the stranger's block may still be reorganised
    chain.mine(2)
    assert sender.sweep().halted == "nonce_taken"
    assert states(engine)[0] == State.REPLACED
    sender.sweep()
    queued_meanwhile = transfers(engine, key)
    sender.sweep()
    assert states(engine, queued_meanwhile) == [State.QUEUED]
    with Session(engine) as session, session.begin():
        assert resume(session, chain_id=key.chain_id, address=key.address_bytes)
        assert not resume(session, chain_id=key.chain_id, address=key.address_bytes)
    run_to_end(sender, chain)
    check_v6(engine, chain, later + queued_meanwhile)
    assert chain.balance(taken[0].target) == 0
    assert intents(engine, taken)[0].code == "nonce_taken"


def test_f3_a_stranger_ahead_of_us_leaves_no_gap(engine: Engine, chain: Chain, key: OperatorKey) -> None:
    chain.stranger_sends(operator(), nonce=0)
    effects = transfers(engine, key, 2)
    run_to_end(make(engine, chain, key), chain)
    check_v6(engine, chain, effects)
    assert [intent.nonce for intent in intents(engine)] == [1, 2]


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_f3_v6_a_reorganisation_takes_mined_back_to_broadcast_and_the_same_bytes_are_sent(
    depth: int, engine: Engine, chain: Chain, key: OperatorKey
) -> None:
    effects = transfers(engine, key, 3)
    sender = make(engine, chain, key, finality=Finality("depth", depth=5, reopen=True))
    sender.sweep()
    sender.sweep()
    assert states(engine) == [State.MINED] * 3
    raws = [intent.transactions[0].raw for intent in intents(engine)]
    chain.reorganise(depth)
    chain.automine(False)
    assert [event for _, event in sender.sweep().events] == [Event.REORGANISE] * depth
    assert states(engine) == [State.MINED] * (3 - depth) + [State.BROADCAST] * depth
    chain.automine(True)
    chain.mine()
    run_to_end(sender, chain)
    check_v6(engine, chain, effects)
    assert [intent.transactions[0].raw for intent in intents(engine)] == raws


def test_v6_a_development_chain_that_comes_back_behind_its_final_block_gets_the_same_bytes_again(
    engine: Engine, chain: Chain, key: OperatorKey
) -> None:
    snapshot = chain.node.ask("evm_snapshot")
    effects = transfers(engine, key, 3)
    sender = make(engine, chain, key)
    run_to_end(sender, chain)
    assert chain.node.ask("evm_revert", snapshot)  # what kill -9 of anvil does: the chain of its last dump
    assert chain.balance(effects[0].target) == 0
    assert chain.node.nonce(key.address) == 0
    sender.sweep()
    run_to_end(sender, chain)
    check_v6(engine, chain, effects)
    assert chain.node.nonce(key.address) == 3


def test_final_stays_final_where_the_network_promises_it(engine: Engine, chain: Chain, key: OperatorKey) -> None:
    snapshot = chain.node.ask("evm_snapshot")
    transfers(engine, key)
    sender = make(engine, chain, key, finality=Finality("tag"))
    run_to_end(sender, chain)
    assert chain.node.ask("evm_revert", snapshot)
    assert sender.sweep().events == []
    assert states(engine) == [State.FINAL]


def test_an_empty_account_halts_and_goes_on_by_itself_once_it_is_funded(
    engine: Engine, chain: Chain, key: OperatorKey
) -> None:
    chain.fund(key.address, 0)
    effects = transfers(engine, key, 2)
    sender = make(engine, chain, key)
    assert sender.sweep().halted == "insufficient_funds"
    chain.fund(key.address, ETHER)
    run_to_end(sender, chain)
    assert halted(engine) is None
    check_v6(engine, chain, effects)


def test_a_node_of_another_chain_halts_the_account(engine: Engine, chain: Chain) -> None:
    elsewhere = OperatorKey(operator(), 1)
    transfers(engine, elsewhere)
    assert make(engine, chain, elsewhere).sweep().halted == "wrong_chain"
    assert states(engine) == [State.QUEUED]


def test_an_unreachable_node_changes_nothing(engine: Engine, chain: Chain, key: OperatorKey) -> None:
    transfers(engine, key)
    with Node("http://127.0.0.1:9") as nowhere:
        sweep = make(engine, Chain(nowhere, ""), key).sweep()
    assert sweep.unreachable
    assert sweep.events == []
    assert states(engine) == [State.QUEUED]


# Kinds


def kind(answer: Answer, code: str = "") -> dict[str, Kind]:
    return {"transfer": Kind(check=lambda *_: Verdict(answer, code, "because"))}


@pytest.mark.parametrize(
    ("answer", "code", "state"),
    [(Answer.DONE, "already_there", State.FINAL), (Answer.REFUSE, "too_late", State.FAILED)],
)
def test_a_check_ends_an_intent_before_it_takes_a_nonce(
    *, answer: Answer, code: str, state: State, engine: Engine, chain: Chain, key: OperatorKey
) -> None:
    effects = transfers(engine, key)
    run_to_end(make(engine, chain, key, kinds=kind(answer, code)), chain)
    (intent,) = intents(engine)
    assert (intent.state, intent.code, intent.nonce) == (state, code, None)
    assert chain.balance(effects[0].target) == 0


def test_a_check_makes_an_intent_wait_and_others_pass(engine: Engine, chain: Chain, key: OperatorKey) -> None:
    waiting = transfers(engine, key)
    with Session(engine) as session, session.begin():
        other = Effect(key.chain_id, key.address_bytes, b"\x07" * 20, value=5)
        enqueue(session, other, kind="other", key="other")
    sender = make(engine, chain, key, kinds=kind(Answer.WAIT, "window_open"))
    run_to_end(sender, chain, [other])
    assert states(engine) == [State.QUEUED, State.FINAL]
    run_to_end(make(engine, chain, key), chain)
    check_v6(engine, chain, waiting)


def test_a_check_that_finds_a_contradiction_halts_the_account(engine: Engine, chain: Chain, key: OperatorKey) -> None:
    transfers(engine, key, 2)
    assert make(engine, chain, key, kinds=kind(Answer.HALT, "other_root")).sweep().halted == "other_root"
    assert states(engine) == [State.QUEUED, State.QUEUED]


def test_a_check_that_always_fails_is_parked_and_keeps_nobody_else(
    engine: Engine, chain: Chain, key: OperatorKey
) -> None:
    def poison(session: Session, intent: OutboxIntent, node: Node) -> Verdict:
        raise ZeroDivisionError

    with Session(engine) as session, session.begin():
        enqueue(session, Effect(key.chain_id, key.address_bytes, b"\x07" * 20), kind="poison", key="poison")
    effects = transfers(engine, key)
    sender = make(engine, chain, key, kinds={"poison": Kind(check=poison)}, policy=Policy(max_attempts=3))
    run_to_end(sender, chain)
    assert [(i.state, i.code) for i in intents(engine)] == [(State.FAILED, "parked"), (State.FINAL, None)]
    check_v6(engine, chain, effects)


def test_the_step_after_the_end_runs_again_until_it_is_committed(
    engine: Engine, chain: Chain, key: OperatorKey
) -> None:
    runs: list[int] = []

    def finish(session: Session, intent: OutboxIntent) -> None:
        runs.append(intent.id)
        if len(runs) < 3:
            raise ConnectionError

    effects = transfers(engine, key)
    run_to_end(make(engine, chain, key, kinds={"transfer": Kind(finish=finish)}), chain)
    assert len(runs) == 3
    check_v6(engine, chain, effects)


# Several at once (F4)


class Unlocked(Sender):
    """A sender that believes to be alone."""

    @contextmanager
    def _exclusive(self) -> Iterator[bool]:
        yield True


def race(workers: list[Callable[[], object]]) -> None:
    """Run the workers in threads that start together."""
    gate = threading.Barrier(len(workers))
    failures: list[BaseException] = []

    def run(worker: Callable[[], object]) -> None:
        gate.wait()
        try:
            worker()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


def test_f4_v6_two_senders_at_once_send_each_effect_once(engine: Engine, chain: Chain, key: OperatorKey) -> None:
    for _ in range(5):
        effects = transfers(engine, key, 4)
        with Node(chain.url) as one, Node(chain.url) as two:
            race([make(engine, Chain(node, chain.url), key).sweep for node in (one, two)])
        run_to_end(make(engine, chain, key), chain)
        check_v6(engine, chain, effects)


def test_f4_v6_two_senders_without_the_advisory_lock_still_send_each_effect_once(
    engine: Engine, chain: Chain, key: OperatorKey
) -> None:
    """The lock is lost when its connection is; rows' locks and the unique nonce must hold alone."""
    for _ in range(5):
        effects = transfers(engine, key, 4)
        with Node(chain.url) as one, Node(chain.url) as two:
            race([make(engine, Chain(node, chain.url), key, Unlocked).sweep for node in (one, two)])
        run_to_end(make(engine, chain, key), chain)
        check_v6(engine, chain, effects)


def test_f4_the_same_key_queued_by_twenty_at_once_is_one_intent(engine: Engine, key: OperatorKey) -> None:
    effect = Effect(key.chain_id, key.address_bytes, b"\x01" * 20, value=1)

    def queue() -> None:
        with Session(engine) as session, session.begin():
            enqueue(session, effect, kind="transfer", key="once")

    race([queue] * 20)
    assert len(intents(engine)) == 1
