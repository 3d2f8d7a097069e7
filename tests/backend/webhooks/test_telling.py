"""From the mirror's outbox to endpoints: nothing missed, nothing told twice, and what the chain took back is said."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from fastapi import FastAPI

from backend.webhooks import feed
from backend.webhooks.feed import cuts
from tests.backend.conftest import CHAIN_ID
from tests.backend.webhooks.conftest import Hooks, Receiver

ALL = [
    *("work.registered", "payment.received", "payout.withdrawn", "proposal.created", "proposal.closed"),
    *("reward.finalised", "chain.reorganised"),
]
OWNER = b"\x0a" * 20


@pytest.mark.feature("Q6", via="http")
def test_each_type_is_told_with_its_data(hooks: Hooks, receiver: Receiver) -> None:
    hooks.create(receiver.url, *ALL)
    mirror = hooks.mirror
    work = mirror.work(OWNER)
    mirror.pay(work, 4_000)
    taken = {"work_id": work, "account": OWNER, "token": bytes(20), "version": 1, "position": 2**70, "amount": 5}
    mirror.block(("RevenueLedger", "Withdrawn", taken))
    root = {"token": bytes(20), "epoch": 3, "root": b"\x02" * 32, "total": 10**24}
    mirror.block(("RewardDistributor", "RootFinalized", root))
    propose(mirror, 7, start=mirror.time, end=mirror.time + 50)
    hooks.run()
    got = {each.body["type"]: each.body for each in receiver.got}
    assert set(got) == set(ALL) - {"proposal.closed", "chain.reorganised"}
    assert [each.body["data"]["block"]["number"] for each in receiver.got] == [1, 2, 3, 4, 5]
    paid = got["payment.received"]
    assert paid["timestamp"] == "2023-11-14T22:13:40Z" == paid["data"]["block"]["time"]
    assert {
        name: paid["data"][name] for name in ("chain_id", "work_id", "amount", "fee", "kind", "payer", "log_index")
    } == {
        "chain_id": CHAIN_ID,
        "work_id": work,
        "amount": "4000",
        "fee": "100",
        "kind": "tip",
        "payer": "0x" + "07" * 20,
        "log_index": 0,
    }
    assert paid["data"]["block"]["hash"] == "0x" + mirror.hash_of(2).hex()
    assert got["payout.withdrawn"]["data"]["position"] == str(2**70)
    assert got["work.registered"]["data"]["kind"] == "story"
    assert got["reward.finalised"]["data"]["total"] == str(10**24)
    assert got["proposal.created"]["data"]["title"] == "Lower the fee"
    mirror.height += 10
    mirror.block()
    hooks.run()
    closed = receiver.got[-1].body
    assert (closed["type"], closed["data"]["outcome"], closed["data"]["proposal_id"]) == (
        "proposal.closed",
        "defeated",
        "7",
    )
    mirror.block()
    assert hooks.run() == 0


def propose(mirror: Any, number: int, *, start: int, end: int) -> None:
    mirror.block(
        (
            "TroupeGovernor",
            "ProposalCreated",
            {
                "proposal_id": number,
                "proposer": OWNER,
                "targets": [],
                "values_": [],
                "signatures": [],
                "calldatas": [],
                "vote_start": start,
                "vote_end": end,
                "description": "# Lower the fee\nTo 2%.",
            },
        )
    )


def test_a_vote_that_is_called_off_is_told_once_and_at_once(hooks: Hooks, receiver: Receiver) -> None:
    hooks.create(receiver.url, "proposal.closed")
    propose(hooks.mirror, 8, start=hooks.mirror.time + 100, end=hooks.mirror.time + 200)
    hooks.run()
    assert receiver.got == []
    hooks.mirror.block(("TroupeGovernor", "ProposalCanceled", {"proposal_id": 8}))
    hooks.run()
    hooks.mirror.height += 40
    hooks.mirror.block()
    hooks.run()
    assert [each.body["data"]["outcome"] for each in receiver.got] == ["canceled"]


@pytest.mark.feature("Q6", via="http")
def test_v5_a_reorganisation_names_the_first_block_and_what_comes_instead_is_told(
    hooks: Hooks, receiver: Receiver
) -> None:
    hooks.create(receiver.url)
    for amount in (1, 2, 3):
        hooks.mirror.pay(7, amount)
    hooks.run()
    hooks.mirror.reorganise(2, "b")
    hooks.mirror.pay(7, 20)
    hooks.run()
    told = [(each.body["type"], each.body["data"].get("amount")) for each in receiver.got]
    assert told == [
        *(("payment.received", str(n)) for n in (1, 2, 3)),
        ("chain.reorganised", None),
        ("payment.received", "20"),
    ]
    said = receiver.got[3].body["data"]
    assert said == {"chain_id": CHAIN_ID, "first_block": 2, "reason": "reorganised"}
    assert len(set(receiver.ids)) == 5


def test_v5_the_same_block_that_comes_back_is_told_again_under_a_new_id(hooks: Hooks, receiver: Receiver) -> None:
    """Otherwise the receiver, which was told that it is void, would never have it."""
    hooks.create(receiver.url)
    hooks.mirror.pay(7, 1)
    hooks.run()
    for fork in ("b", ""):
        hooks.mirror.reorganise(1, fork)
        hooks.mirror.pay(7, 1)
        hooks.run()
    assert receiver.types == ["payment.received", *["chain.reorganised", "payment.received"] * 2]
    first, last = receiver.got[0], receiver.got[-1]
    assert first.text == last.text
    assert first.id != last.id


def test_v5_what_was_undone_before_it_was_read_is_not_told(hooks: Hooks, receiver: Receiver) -> None:
    hooks.create(receiver.url)
    for amount in (1, 2, 3):
        hooks.mirror.pay(7, amount)
    hooks.mirror.reorganise(2, "b")
    hooks.mirror.pay(7, 20)
    hooks.run()
    assert [each.body["data"].get("amount") for each in receiver.got] == ["1", None, "20"]


def test_v5_a_mirror_made_anew_tells_nothing_final_again(hooks: Hooks, receiver: Receiver) -> None:
    hooks.create(receiver.url)
    for amount in (1, 2):
        hooks.mirror.pay(7, amount)
    hooks.mirror.finalise()
    hooks.mirror.pay(7, 3)
    hooks.run()
    mirror, blocks = hooks.mirror, hooks.mirror.height
    mirror.reorganise(blocks, "")
    mirror.rebuild()
    mirror.final = 0
    for amount in (1, 2, 3, 4):
        mirror.pay(7, amount)
    hooks.run()
    told = [each.body["data"].get("amount") or each.body["data"]["reason"] for each in receiver.got]
    assert told == ["1", "2", "3", "rebuilt", "3", "4"]
    assert receiver.got[3].body["data"]["first_block"] == 3


def test_v5_who_was_away_for_longer_than_the_outbox_keeps_misses_nothing(hooks: Hooks, receiver: Receiver) -> None:
    hooks.create(receiver.url)
    hooks.mirror.pay(7, 1)
    hooks.mirror.finalise()
    hooks.run()
    for amount in (2, 3, 4):
        hooks.mirror.pay(7, amount)
    hooks.mirror.lose(4)
    hooks.run()
    told = [each.body["data"].get("amount") or each.body["data"]["reason"] for each in receiver.got]
    assert told == ["1", "missed", "2", "3", "4"]


def test_contracts_that_are_mirrored_later_are_told_from_their_past(hooks: Hooks, receiver: Receiver) -> None:
    hooks.create(receiver.url)
    hooks.mirror.pay(7, 1)
    hooks.run()
    hooks.mirror.say(kind="contracts", names=["RevenueLedger"])
    hooks.run()
    assert receiver.types == ["payment.received"], "what was told is not told again"
    hooks.create(receiver.url, "work.registered")
    hooks.mirror.work(OWNER)
    with_no_message = hooks.mirror.height
    hooks.mirror.lose(10)
    hooks.mirror.say(kind="contracts", names=["WorkRegistry"])
    hooks.run()
    assert receiver.got[-1].body["data"]["block"]["number"] == with_no_message


def test_each_endpoint_gets_what_it_asked_for_from_when_it_asked(hooks: Hooks, receiver: Receiver) -> None:
    hooks.mirror.pay(1, 1)
    paths = {name: receiver.url + "/" + name for name in ("all", "seven", "works", "none")}
    hooks.create(paths["all"])
    hooks.create(paths["seven"], "payment.received", work_ids=[7, 9])
    hooks.create(paths["works"], "work.registered")
    hooks.create(paths["none"], "payment.received", work_ids=[8])
    hooks.mirror.pay(7, 2)
    hooks.mirror.pay(6, 3)
    hooks.run()
    got = sorted((each.path.rpartition("/")[2], each.body["data"]["amount"]) for each in receiver.got)
    assert got == [("all", "2"), ("all", "3"), ("seven", "2")]


def test_nothing_is_told_twice_when_telling_is_broken_off_at_its_end(
    hooks: Hooks, receiver: Receiver, app: FastAPI
) -> None:
    hooks.create(receiver.url)
    hooks.mirror.pay(7, 1)

    class PowerCut(BaseException): ...

    def broken_off() -> None:
        with app.state.core.database.session() as session:
            assert feed.tell(session, chain_id=CHAIN_ID, now=hooks.clock()) == 1
            session.flush()
            raise PowerCut

    with pytest.raises(PowerCut):
        broken_off()
    hooks.run()
    assert receiver.types == ["payment.received"]
    assert hooks.run() == 0


def test_a_second_teller_finds_nothing_to_do(hooks: Hooks, receiver: Receiver, app: FastAPI) -> None:
    hooks.create(receiver.url)
    hooks.mirror.pay(7, 1)
    with app.state.core.database.session() as session:
        assert feed.tell(session, chain_id=CHAIN_ID, now=hooks.clock()) == 1
        assert hooks.tell() == 0


def blocks(first: int, head: int) -> dict[str, Any]:
    return {"kind": "blocks", "first": first, "head": head}


def undo(first: int) -> dict[str, Any]:
    return {"kind": "undo", "first": first}


INF = float("inf")


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], []),
        ([blocks(1, 5)], [INF]),
        ([blocks(1, 5), undo(4)], [4, INF]),
        ([blocks(1, 5), undo(4), blocks(4, 6), undo(6), blocks(6, 6)], [4, 6, 6, INF, INF]),
        ([blocks(1, 5), undo(5), undo(3)], [3, 3, INF]),
        ([blocks(1, 5), {"kind": "rebuilt"}, blocks(0, 5), undo(2)], [0, 2, 2, INF]),
    ],
)
def test_a_message_is_cut_where_a_later_one_undid_it(messages: list[dict[str, Any]], expected: list[float]) -> None:
    assert cuts(messages) == expected


@pytest.mark.parametrize("seed", range(4))
def test_v5_at_the_end_of_any_history_what_was_told_and_stands_is_what_the_chain_says(
    hooks: Hooks, receiver: Receiver, seed: int
) -> None:
    """A receiver that drops what is void at `chain.reorganised` has each payment of the chain once."""
    dice, forks, amounts = random.Random(seed), itertools.count(), itertools.count(1)
    hooks.create(receiver.url)
    chain: list[str | None] = []
    for _ in range(25):
        step = dice.random()
        if step < 0.2 and chain:
            depth = dice.randint(1, min(3, len(chain)))
            hooks.mirror.reorganise(depth, f"fork {next(forks)}" if dice.random() < 0.7 else "")
            del chain[len(chain) - depth :]
        elif step < 0.7:
            amount = str(next(amounts))
            hooks.mirror.pay(7, int(amount))
            chain.append(amount)
        elif step < 0.8:
            hooks.mirror.block()
            chain.append(None)
        else:
            hooks.tell()
    hooks.run()
    kept: list[tuple[int, str]] = []
    for each in receiver.got:
        data = each.body["data"]
        if each.body["type"] == "chain.reorganised":
            kept = [(block, amount) for block, amount in kept if block < data["first_block"]]
        else:
            kept.append((data["block"]["number"], data["amount"]))
    assert kept == [(number, amount) for number, amount in enumerate(chain, 1) if amount is not None]
