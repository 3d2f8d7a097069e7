"""The views of money and works against histories worked out by hand."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import create_engine, select

from indexer.models import view
from tests.indexer.conftest import Mirrored
from tests.indexer.support import account, record, word

ETH = "0x" + "00" * 20
USD = account(0x05D)
ANNA, BORIS, CLARA = account(1), account(2), account(3)


def payment(work: int, token: str, amount: int, fee: int, kind: int = 1) -> tuple[str, bytes]:
    return record("RevenueLedger", "PaymentReceived", work, token, BORIS, amount, fee, kind, word(amount))


def split(work: int, version: int) -> tuple[str, bytes]:
    return record("RevenueLedger", "SplitActivated", work, version, word(work), 1_000_000, word(version))


def settled(work: int, parent: int, token: str, index: int, amount: int) -> tuple[str, bytes]:
    return record("RevenueLedger", "EdgeSettled", work, parent, token, index, amount)


def withdrawn(work: int, who: str, token: str, *place_and_amount: int) -> tuple[str, bytes]:
    """`place_and_amount`: version, position, amount."""
    return record("RevenueLedger", "Withdrawn", work, who, token, *place_and_amount)


EDGE = record("RevenueLedger", "EdgeOpened", 2, 1, 0, 1000, False)


def rows(mirrored: Mirrored, name: str, *columns: str, **where: Any) -> list[tuple[Any, ...]]:
    """Rows of a view in the order of `columns`, selected through SQLAlchemy as the backend does."""
    table = view(name)
    query = select(*(table.c[column] for column in columns)).order_by(*(table.c[column] for column in columns))
    for column, value in where.items():
        query = query.where(table.c[column] == value)
    engine = create_engine(mirrored.urls.backend)
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(query)]
    engine.dispose()
    assert not any(isinstance(value, Decimal) for row in found for value in row)
    return found


def raw(address: str) -> bytes:
    return bytes.fromhex(address[2:])


@pytest.mark.feature("R2", via="chain")
@pytest.mark.feature("R3", via="chain")
def test_v1_money_by_version_as_worked_out_by_hand(mirrored: Mirrored) -> None:
    """Work 2 derives from work 1 by an absolute edge of 10%; the fee is 5%, then 0. Work 2's split changes thrice.

    block | what                                   | work 2 direct     | work 1           | work 0
    1     | splits and edge opened, fee 5%         |                   |                  |
    2     | 1000 to work 2, fee 50; 200 to 1, 10   | v1  950           | v1 190           | v1 60
    3     | edge settled: floor(950 * 10%) = 95    |                   | v1 + 95          |
    4     | 7 USD to work 2 before its version 2   | v1  7 USD         |                  |
          | and 333, fee 16 after it               | v2  317           |                  | v1 76
    5     | edge settled: floor(1267*10%)-95 = 31, |                   | v1 + 31          |
          | then version 2 of work 1; 40 to work 1 |                   | v2 40            |
    6     | versions 3 and 4 of work 2, 9 to it    | v4  9             |                  |
          | (version 3 never gets a credit)        |                   |                  |
    7     | withdrawals                            |                   |                  |
    """
    mirrored.emitter.mine(
        [split(0, 1), split(1, 1), split(2, 1), EDGE, record("RevenueLedger", "FeeChanged", 0, 500)],
        [payment(2, ETH, 1000, 50), payment(1, ETH, 200, 10, kind=2)],
        [settled(2, 1, ETH, 0, 95)],
        [payment(2, USD, 7, 0), split(2, 2), payment(2, ETH, 333, 16)],
        [settled(2, 1, ETH, 0, 31), split(1, 2), record("RevenueLedger", "FeeChanged", 500, 0), payment(1, ETH, 40, 0)],
        [split(2, 3), split(2, 4), payment(2, ETH, 9, 0)],
        [
            *(withdrawn(2, ANNA, ETH, 1, 1, 400), withdrawn(2, ANNA, ETH, 1, 1, 55), withdrawn(2, ANNA, ETH, 1, 2, 1)),
            *(withdrawn(1, BORIS, ETH, 2, 1, 40), withdrawn(2, CLARA, USD, 1, 1, 7)),
        ],
    )
    mirrored.catch_up()
    eth, usd = raw(ETH), raw(USD)
    credits_of = ("work_id", "token", "version", "block_number", "direct", "inherited", "kind", "source")
    assert rows(mirrored, "credit", *credits_of, work_id=2) == [
        (2, eth, 1, 2, 950, 0, 1, "payment"),
        (2, eth, 2, 4, 317, 0, 1, "payment"),
        (2, eth, 4, 6, 9, 0, 1, "payment"),
        (2, usd, 1, 4, 7, 0, 1, "payment"),
    ]
    assert rows(mirrored, "credit", *credits_of, work_id=1) == [
        (1, eth, 1, 2, 190, 0, 2, "payment"),
        (1, eth, 1, 3, 0, 95, None, "royalty"),
        (1, eth, 1, 5, 0, 31, None, "royalty"),
        (1, eth, 2, 5, 40, 0, 1, "payment"),
    ]
    assert rows(mirrored, "credit", *credits_of, work_id=0) == [
        (0, eth, 1, 2, 10, 0, 2, "fee"),
        (0, eth, 1, 2, 50, 0, 1, "fee"),
        (0, eth, 1, 4, 16, 0, 1, "fee"),
    ]
    assert rows(mirrored, "credit", "source_work_id", "payer", source="royalty") == [(2, None), (2, None)]
    accrual = ("work_id", "token", "version", "direct_before", "inherited_before", "direct_after", "inherited_after")
    assert rows(mirrored, "version_accrual", *accrual) == [
        (0, eth, 1, 0, 0, 76, 0),
        (1, eth, 1, 0, 0, 190, 126),
        (1, eth, 2, 190, 126, 230, 126),
        (2, eth, 1, 0, 0, 950, 0),
        (2, eth, 2, 950, 0, 1267, 0),
        (2, eth, 4, 1267, 0, 1276, 0),
        (2, usd, 1, 0, 0, 7, 0),
    ]
    assert rows(mirrored, "settled", "work_id", "edge_index", "parent_id", "token", "amount") == [(2, 0, 1, eth, 126)]
    assert rows(mirrored, "edge", "work_id", "edge_index", "parent_id", "bps", "relative") == [(2, 0, 1, 1000, False)]
    assert rows(mirrored, "withdrawn", "work_id", "token", "version", "position", "account", "amount") == [
        (1, eth, 2, 1, raw(BORIS), 40),
        (2, eth, 1, 1, raw(ANNA), 455),
        (2, eth, 1, 2, raw(ANNA), 1),
        (2, usd, 1, 1, raw(CLARA), 7),
    ]
    assert rows(mirrored, "ledger_balance", "token", "received", "withdrawn", "balance") == [
        (eth, 1582, 496, 1086),
        (usd, 7, 7, 0),
    ]
    assert rows(mirrored, "policy", "fee_bps", "fee_since_block", "royalty_bps") == [(0, 5, None)]
    assert [row[1] for row in rows(mirrored, "split", "work_id", "version", work_id=2)] == [1, 2, 3, 4]


def test_credits_within_a_block_follow_the_order_of_logs(mirrored: Mirrored) -> None:
    """A payment before and one after an activation in the same transaction belong to different versions."""
    mirrored.emitter.mine([split(1, 1)], [payment(1, ETH, 5, 0), split(1, 2), payment(1, ETH, 6, 0)])
    mirrored.catch_up()
    assert rows(mirrored, "credit", "version", "direct") == [(1, 5), (2, 6)]


def test_amounts_up_to_uint256_are_exact(mirrored: Mirrored) -> None:
    most = 2**256 - 1
    mirrored.emitter.mine([split(1, 1)], [payment(1, ETH, most, 0), payment(1, USD, 2**112 - 1, 1)])
    mirrored.catch_up()
    assert rows(mirrored, "credit", "direct", work_id=1) == [(2**112 - 2,), (most,)]


@pytest.mark.feature("O1", via="chain")
@pytest.mark.feature("P1", via="chain")
def test_a_work_is_as_its_latest_events_say(mirrored: Mirrored) -> None:
    def registered(work: int, owner: str) -> tuple[str, bytes]:
        return record("WorkRegistry", "WorkRegistered", work, owner, word(work), 3, 1, 7, word(100 + work), 1234)

    def moved(work: int, old: str, new: str) -> tuple[str, bytes]:
        return record("WorkRegistry", "Transfer", old, new, work)

    terms = (500, True, True, False, False, True, False, False, True, 99, word(9))
    mirrored.emitter.mine(
        [record("WorkRegistry", "LicenceCreated", 7, ANNA, terms)],
        [moved(1, ETH, ANNA), registered(1, ANNA), moved(2, ETH, BORIS), registered(2, BORIS)],
        [record("WorkRegistry", "DerivationRecorded", 2, 1, 500, True, 7)],
        [moved(1, ANNA, BORIS), moved(1, BORIS, CLARA)],
        [
            record("WorkRegistry", "MetadataChanged", 1, word(55)),
            record("WorkRegistry", "AiLabelChanged", 1, 3, word(0)),
        ],
        [record("WorkRegistry", "WorkStatusChanged", 2, 1, word(0), ANNA)],
        [record("WorkRegistry", "WorkStatusChanged", 2, 4, word(0), ANNA)],
    )
    mirrored.catch_up()
    current = ("work_id", "owner", "creator", "content_hash", "cid_digest", "ai_label", "status", "created_block")
    assert rows(mirrored, "work", *current) == [
        (1, raw(CLARA), raw(ANNA), word(1), word(55), 3, 0, 2),
        (2, raw(BORIS), raw(BORIS), word(2), word(102), 1, 4, 2),
    ]
    assert rows(mirrored, "work", "work_id", "block_number", "log_index") == [(1, 5, 1), (2, 7, 0)]
    assert rows(mirrored, "work", "kind", "licence_id", work_id=1) == [(3, 7)]
    assert rows(mirrored, "derivation", "work_id", "parent_id", "share_bps", "absolute") == [(2, 1, 500, True)]
    licence = ("licence_id", "creator", "min_share_bps", "commercial", "share_alike", "ai_training", "expires")
    assert rows(mirrored, "licence", *licence) == [(7, raw(ANNA), 500, True, False, True, 99)]
    mirrored.emitter.reorganise(4)
    mirrored.catch_up()
    assert rows(mirrored, "work", "work_id", "owner", "status") == [(1, raw(ANNA), 0), (2, raw(BORIS), 0)]


@pytest.mark.feature("P6", via="chain")
def test_the_creator_is_who_won_the_latest_dispute(mirrored: Mirrored) -> None:
    """A ruling that is in force, and no other end of a dispute; a reorganisation undoes it."""

    def closed(work: int, claimant: str, outcome: int) -> tuple[str, bytes]:
        return record("WorkStanding", "DisputeClosed", work, claimant, outcome)

    mirrored.emitter.mine(
        [record("WorkRegistry", "WorkRegistered", n, ANNA, word(n), 3, 1, 7, word(n), 1234) for n in (1, 2)],
        [closed(1, BORIS, 1), *(closed(2, CLARA, other) for other in (2, 3, 4, 5))],
        [closed(1, CLARA, 1), closed(1, BORIS, 2)],
    )
    mirrored.catch_up()
    makers = ("work_id", "creator", "registrant")
    assert rows(mirrored, "work", *makers) == [(1, raw(CLARA), raw(ANNA)), (2, raw(ANNA), raw(ANNA))]
    mirrored.emitter.reorganise(1)
    mirrored.catch_up()
    assert rows(mirrored, "work", *makers, work_id=1) == [(1, raw(BORIS), raw(ANNA))]


def test_two_threads_that_ask_for_a_view_first_get_the_same_table() -> None:
    """In a process of its own, with a switch of threads after each step: a server's first requests come at once."""
    code = (
        "import sys, threading\n"
        "sys.setswitchinterval(1e-7)\n"
        "from indexer.models import view\n"
        "ready, found = threading.Barrier(8), []\n"
        "def ask():\n"
        "    ready.wait()\n"
        "    found.append(view('work'))\n"
        "threads = [threading.Thread(target=ask) for _ in range(8)]\n"
        "[each.start() for each in threads]\n"
        "[each.join() for each in threads]\n"
        "assert len(found) == 8 and len(set(map(id, found))) == 1, found\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
