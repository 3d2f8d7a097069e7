"""RevenueLedger: royalties along the derivation graph."""

import itertools
import random

import pytest
from kit import reverts
from money import NATIVE, counters, grown, opened, pay, placed, plain, withdraw

pytestmark = pytest.mark.feature("R3", via="chain")

ABSOLUTE, RELATIVE = False, True


@pytest.fixture
def free(ledger, admin):
    """No fee, so that figures are round."""
    ledger.setFeeBps(0, {"from": admin})


@pytest.fixture
def works(ledger, free, accounts):
    """Opens work after work, each held whole by an account of its own."""

    def open_work(number, edges=()):
        return opened(ledger, number, grown([(accounts[number % 6], 1)]), edges)

    return open_work


def settle(ledger, work, edge, sender, token=NATIVE):
    ledger.settle(work, edge, token, {"from": sender})


def take(ledger, work, accounts, token=NATIVE):
    """Withdraw a work's whole revenue."""
    leaf = next(placed(grown([(accounts[work % 6], 1)])))
    return withdraw(ledger, work, 1, leaf, accounts[0], token=token)


def test_open_records_edges(ledger, works, history):
    works(1)
    works(2)
    works(3, [(1, 1_000, ABSOLUTE), (2, 500, RELATIVE)])
    events = history[-1].events
    assert [dict(event) for event in events["EdgeOpened"]] == [
        {"workId": 3, "parentId": 1, "index": 0, "bps": 1_000, "relative": False},
        {"workId": 3, "parentId": 2, "index": 1, "bps": 500, "relative": True},
    ]
    assert events["SplitActivated"]["version"] == 1
    assert plain(ledger.edgesOf(3)) == ((1, 1_000, False), (2, 500, True))
    assert plain(ledger.workOf(3))[:2] == (500, 1_000)
    assert plain(ledger.workOf(3))[4] == 2
    assert plain(ledger.edgesOf(1)) == ()


def test_settle_moves_the_royalty_to_the_parent(ledger, works, accounts, stranger):
    works(1)
    works(2, [(1, 1_500, ABSOLUTE)])
    pay(ledger, 2, 1_000, stranger)
    assert ledger.owedOf(2, 0, NATIVE) == 150
    tx = ledger.settle(2, 0, NATIVE, {"from": stranger})
    assert tx.return_value == 150
    assert dict(tx.events["EdgeSettled"]) == {"workId": 2, "parentId": 1, "token": NATIVE, "index": 0, "amount": 150}
    assert counters(ledger, 1) == (0, 150, 1)
    assert ledger.settledOf(2, 0, NATIVE) == 150
    assert ledger.owedOf(2, 0, NATIVE) == 0
    assert take(ledger, 2, accounts) == 850
    assert take(ledger, 1, accounts) == 150


def test_settle_of_nothing_is_no_error(ledger, works, stranger):
    works(1)
    works(2, [(1, 1_500, ABSOLUTE)])
    tx = ledger.settle(2, 0, NATIVE, {"from": stranger})
    assert tx.return_value == 0
    assert len(tx.events) == 0


def test_settle_of_no_edge_is_refused(ledger, works, stranger):
    works(1)
    for call in (ledger.settle, ledger.owedOf):
        with reverts("RevenueEdgeLimit", 0):
            call(1, 0, NATIVE, {"from": stranger})
        with reverts("RevenueUnknownWork", 9):
            call(9, 0, NATIVE, {"from": stranger})
    with reverts("RevenueEdgeLimit", 0):
        ledger.settle(0, 0, NATIVE, {"from": stranger})


def test_settle_twice_reordered_or_in_parts_ends_alike(ledger, works, stranger):
    """Case 4 and I4: the same graph of four works, with a diamond, is opened five times, paid alike and settled in five
    ways."""
    edges = [(2, 1, 3_333, RELATIVE), (3, 1, 777, ABSOLUTE), (3, 2, 2_500, RELATIVE)]
    edges += [(4, 2, 101, RELATIVE), (4, 3, 5_000, RELATIVE)]
    every = [(2, 0), (3, 0), (3, 1), (4, 0), (4, 1)]
    dice = random.Random(4)
    ends = []
    for base, order in enumerate([every, every[::-1], *[dice.sample(every, 5) for _ in range(3)]]):
        first = 10 * base
        for work in (1, 2, 3, 4):
            works(first + work, [(first + parent, bps, kind) for child, parent, bps, kind in edges if child == work])
        for work, amount in ((4, 9_999), (3, 1_001), (2, 77), (1, 13)):
            pay(ledger, first + work, amount, stranger)
        for work, index in order:
            settle(ledger, first + work, index, stranger)
            if dice.random() < 0.5:
                settle(ledger, first + work, index, stranger)
        pay(ledger, first + 4, 501, stranger)
        for work, index in every[::-1]:  # children first passes everything up
            settle(ledger, first + work, index, stranger)
        totals = [counters(ledger, first + work) for work in (1, 2, 3, 4)]
        ends.append((totals, [int(ledger.settledOf(first + work, index, NATIVE)) for work, index in every]))
    assert all(end == ends[0] for end in ends)
    assert ends[0][0][0][1] > 0


def test_settle_many_passes_revenue_all_the_way_up(ledger, works, stranger, accounts):
    works(1)
    works(2, [(1, 5_000, RELATIVE)])
    works(3, [(2, 5_000, RELATIVE)])
    pay(ledger, 3, 1_000, stranger)
    tx = ledger.settleMany([(3, 0, NATIVE), (2, 0, NATIVE), (2, 0, NATIVE)], {"from": stranger})
    assert [event["amount"] for event in tx.events["EdgeSettled"]] == [500, 250]
    assert [take(ledger, work, accounts) for work in (3, 2, 1)] == [500, 250, 250]


def test_own_layer_does_not_dilute_an_absolute_ancestor(ledger, works, stranger):
    """Case 17: Story's LRP trick. The owner of 3 puts an empty work 2 between itself and the ancestor 1; the registry
    has copied 2's absolute edge to 3, so 1 still gets its 10% of what 3 earns directly, at once and once."""
    works(1)
    works(2, [(1, 1_000, ABSOLUTE)])
    works(3, [(2, 200, ABSOLUTE), (1, 1_000, ABSOLUTE)])
    pay(ledger, 3, 10_000, stranger)
    for work, index in ((3, 0), (3, 1), (2, 0)):
        settle(ledger, work, index, stranger)
    assert counters(ledger, 1) == (0, 1_000, 1)
    assert counters(ledger, 2) == (0, 200, 1), "an absolute edge takes nothing of what is inherited"


def test_relative_edge_takes_of_inherited_revenue_too(ledger, works, stranger):
    works(1)
    works(2, [(1, 1_000, RELATIVE)])
    works(3, [(2, 2_000, RELATIVE)])
    pay(ledger, 3, 10_000, stranger)
    for work in (3, 2):
        settle(ledger, work, 0, stranger)
    assert counters(ledger, 2) == (0, 2_000, 1)
    assert counters(ledger, 1) == (0, 200, 1)


def test_diamond_pays_the_ancestor_by_both_paths_once_each(ledger, works, stranger):
    """Case 18."""
    works(1)
    works(2, [(1, 1_000, RELATIVE)])
    works(3, [(1, 2_000, RELATIVE)])
    works(4, [(2, 5_000, RELATIVE), (3, 3_000, RELATIVE)])
    pay(ledger, 4, 100_000, stranger)
    for _ in range(2):
        for work, index in ((4, 0), (4, 1), (2, 0), (3, 0)):
            settle(ledger, work, index, stranger)
    assert counters(ledger, 1) == (0, 5_000 + 6_000, 1)


def test_upstream_above_80_percent_is_refused(ledger, works):
    """Case 19; exactly 80% is fine."""
    works(1)
    works(2)
    with reverts("RevenueEdgeLimit", 8_001):
        works(3, [(1, 8_001, ABSOLUTE)])
    with reverts("RevenueEdgeLimit", 8_001):
        works(3, [(1, 4_000, ABSOLUTE), (2, 4_001, RELATIVE)])
    works(3, [(1, 4_000, ABSOLUTE), (2, 4_000, RELATIVE)])


def test_edges_go_to_older_open_works_only(ledger, works):
    """Case 20; and the platform is nobody's parent."""
    works(1)
    for parent in (2, 3, 99, 0):
        with reverts("RevenueUnknownWork", parent):
            works(2, [(parent, 100, ABSOLUTE)])
    works(5)
    with reverts("RevenueUnknownWork", 3):
        works(6, [(3, 100, ABSOLUTE)])  # older, but was never opened


def test_edges_of_nothing_and_more_than_16_are_refused(ledger, works):
    works(1)
    with reverts("RevenueEdgeLimit", 0):
        works(2, [(1, 0, ABSOLUTE)])
    with reverts("RevenueEdgeLimit", 17):
        works(2, [(1, 10, ABSOLUTE)] * 17)
    works(2, [(1, 10, ABSOLUTE)] * 16)
    assert plain(ledger.workOf(2))[:2] == (0, 160)


def test_inherited_revenue_overflow_is_refused(ledger, works, usd, stranger):
    """Case 14, on the way up."""
    works(1)
    for number in (2, 3):
        works(number, [(1, 8_000, RELATIVE)])
        pay(ledger, number, 2**112 - 1, stranger, token=usd)
    settle(ledger, 2, 0, stranger, token=usd)
    with reverts("RevenueOverflow"):
        settle(ledger, 3, 0, stranger, token=usd)


@pytest.mark.parametrize("seed", range(3))
def test_net_never_decreases_and_all_is_paid_within_the_bound(ledger, works, accounts, stranger, seed):
    """One ceil on the combined upstream part: earnings only grow, and net + dues never exceed what came."""
    dice = random.Random(seed)
    works(1)
    works(2)
    own = [(1, dice.randrange(1, 4_000), ABSOLUTE), (2, dice.randrange(1, 4_000), RELATIVE)]
    works(3, own)
    works(4, [(3, dice.randrange(1, 8_001), RELATIVE)])
    earned, came = 0, 0
    for amount in [dice.choice([1, 2, 3, 7, 999]) for _ in range(12)]:
        target = dice.choice([3, 4])
        pay(ledger, target, amount, stranger)
        came += amount
        settle(ledger, 4, 0, stranger)
        now = int(ledger.earnedOf(3, NATIVE, 1))
        assert now >= earned
        earned = now
    for index in range(2):
        settle(ledger, 3, index, stranger)
    paid = 0
    for work in (1, 2, 3, 4):
        if ledger.earnedOf(work, NATIVE, 1):
            paid += take(ledger, work, accounts)
    assert 0 <= came - paid <= 3 + 4, "at most a unit an edge and a leaf stays (I5)"


def test_payment_costs_the_same_at_any_depth(ledger, works, stranger):
    """A work at the end of a chain of 30 derivations is paid for the same gas as one without parents."""
    for number in range(1, 32):
        works(number, [(number - 1, 100, RELATIVE)] if number > 1 else [])
    for number in (1, 31):
        pay(ledger, number, 1_000, stranger)
    shallow, deep = (pay(ledger, number, 1_000, stranger).gas_used for number in (1, 31))
    assert deep == shallow
    assert len(list(itertools.chain(ledger.edgesOf(31)))) == 1
