"""The ledger twin: conservation, order, rounding and versions, on random histories and on worked examples."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backend.payouts import invariants
from backend.payouts import ledger as twin
from backend.payouts.ledger import Accrual, Counters, Edge, Leaf, Ledger, Settle
from tests.backend.payouts.histories import (
    TOKENS,
    WEEK,
    WEIGHT,
    operations,
    play,
    settle_everything,
    states,
    withdraw_everything,
)


class CountsUnopenedVersions(Ledger):
    """A version without a credit is taken for the whole history, and pays it out once more."""

    def accrual(self, work: int, token: str, version: int) -> Accrual | None:
        found = super().accrual(work, token, version)
        return found or Accrual(Counters(), self.counters.get((work, token), Counters()))


class RoundsEachPayment(Ledger):
    """The rounding that 0xSplits was told of (M-02): the parents' part is floored for each payment by itself."""

    def owed(self, work: int, edge: int, token: str) -> int:
        return super().owed(work, edge, token) // 10 * 10


class DropsAUnit(Ledger):
    """A ledger whose withdrawals pay one unit too many."""

    def due(self, work: int, token: str, version: int, position: int, weight: int) -> int:
        return super().due(work, token, version, position, weight) + 1


class ForgetsTheFee(Ledger):
    """A journal that leaves the platform's line out."""

    def _post(self, token: str, *lines: tuple[str, int]) -> None:
        super()._post(token, *lines[:2])


def simple(ledger: Ledger | None = None) -> Ledger:
    """A film (1) and its sequel (2), which owes 10% of its direct income and 5% of all of it."""
    book = ledger or Ledger()
    book.open(1, leaves=[Leaf(1, "alice", WEIGHT)], total_weight=WEIGHT)
    book.open(2, [Edge(1, 1000, False), Edge(1, 500, True)], leaves=[Leaf(1, "bob", WEIGHT)], total_weight=WEIGHT)
    return book


def check_all(ledger: Ledger, token: str) -> None:
    invariants.check_solvent(ledger, token)
    invariants.check_paid_out(ledger, token)
    invariants.check_versions_apart(ledger, token)


# --- random histories --------------------------------------------------------------------------------------------


@given(operations)
def test_V1_every_entry_balances_and_no_account_is_overdrawn(history: list[tuple[str, int, int, int]]) -> None:
    invariants.check_entries(play(history))


@given(operations)
def test_V2_conservation_at_every_step_of_a_random_history(history: list[tuple[str, int, int, int]]) -> None:
    ledger = Ledger(fee_bps=500)
    before = ledger.copy()
    for state in states(history, ledger):
        for token in TOKENS:
            check_all(state, token)
        invariants.check_monotone(before, state)
        before = state.copy()


@given(operations, st.permutations(range(24)), st.permutations(range(24)))
def test_V2_the_order_of_settles_changes_nothing(
    history: list[tuple[str, int, int, int]], first: list[int], second: list[int]
) -> None:
    one = play(history)
    other = one.copy()
    for token in TOKENS:
        settle_everything(one, token, first)
        settle_everything(other, token, second)
    invariants.check_same_totals(one, other)
    for token in TOKENS:
        assert one.payable(token) == other.payable(token)


@given(operations)
def test_V2_residue_stays_within_I5_when_all_have_settled_and_withdrawn(
    history: list[tuple[str, int, int, int]],
) -> None:
    ledger = play(history)
    for token in TOKENS:
        settle_everything(ledger, token)
        withdraw_everything(ledger, token)
        invariants.check_residue(ledger, token)
        check_all(ledger, token)


@given(operations)
def test_V1_the_platform_holds_exactly_the_fees(history: list[tuple[str, int, int, int]]) -> None:
    ledger = PlatformPayments(fee_bps=500)
    play(history, ledger)
    for token in TOKENS:
        invariants.check_platform(ledger, token, ledger.paid_to_platform[token])


@given(operations)
def test_V1_folding_the_events_gives_the_ledger_that_made_them(history: list[tuple[str, int, int, int]]) -> None:
    recorder = Recorder(fee_bps=500)
    play(history, recorder)
    folded = Ledger()
    for name, args in recorder.events:
        folded.apply(name, args)
    assert folded.counters == recorder.counters
    assert folded.accruals == recorder.accruals
    assert folded.settled == recorder.settled
    assert folded.withdrawn == recorder.withdrawn
    assert folded.received == recorder.received
    for work in recorder.works:
        for version, leaf in recorder.leaves(work):
            for token in TOKENS:
                at = (work, token, version, leaf.position, leaf.weight)
                assert folded.due(*at) == recorder.due(*at)


class PlatformPayments(Ledger):
    """Counts by itself what is paid to work 0 directly."""

    def __init__(self, *, fee_bps: int) -> None:
        self.paid_to_platform = dict.fromkeys(TOKENS, 0)
        super().__init__(fee_bps=fee_bps)

    def pay(self, work: int, token: str, amount: int) -> int:
        if work == 0:
            self.paid_to_platform[token] += amount
        return super().pay(work, token, amount)


class Recorder(Ledger):
    """A ledger that says what it does in the contract's events."""

    def __init__(self, *, fee_bps: int) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []
        super().__init__(fee_bps=fee_bps)

    def set_fee(self, bps: int) -> None:
        self.events.append(("FeeChanged", {"oldBps": self.fee_bps, "newBps": bps}))
        super().set_fee(bps)

    def open(self, work, edges=(), *, leaves=(), total_weight, now=0):  # type: ignore[no-untyped-def]
        super().open(work, edges, leaves=leaves, total_weight=total_weight, now=now)
        for index, edge in enumerate(edges):
            self.events.append(
                (
                    "EdgeOpened",
                    {
                        "workId": work,
                        "parentId": edge.parent,
                        "index": index,
                        "bps": edge.bps,
                        "relative": edge.relative,
                    },
                )
            )
        self.events.append(("SplitActivated", {"workId": work, "version": 1, "totalWeight": total_weight}))

    def replace_split(self, work, *, leaves, total_weight, now):  # type: ignore[no-untyped-def]
        version = super().replace_split(work, leaves=leaves, total_weight=total_weight, now=now)
        self.events.append(("SplitActivated", {"workId": work, "version": version, "totalWeight": total_weight}))
        return version

    def _receive(self, work: int, token: str, amount: int, fee: int) -> None:
        super()._receive(work, token, amount, fee)
        self.events.append(("PaymentReceived", {"workId": work, "token": token, "amount": amount, "fee": fee}))

    def _settle(self, work: int, edge: int, token: str, owed: int) -> None:
        super()._settle(work, edge, token, owed)
        parent = self.works[work].edges[edge].parent
        self.events.append(
            ("EdgeSettled", {"workId": work, "parentId": parent, "token": token, "index": edge, "amount": owed})
        )

    def _withdraw(self, work: int, token: str, version: int, position: int, amount: int) -> None:
        super()._withdraw(work, token, version, position, amount)
        self.events.append(
            ("Withdrawn", {"workId": work, "token": token, "version": version, "position": position, "amount": amount})
        )


# --- the oracles can fail ----------------------------------------------------------------------------------------


def test_V2_planted_bug_of_counting_an_unopened_version_is_caught() -> None:
    def story(book: Ledger) -> Ledger:
        simple(book)
        book.pay(1, "native", 1000)
        book.reassign(1, 1, [Leaf(1, "carol", WEIGHT)], now=WEEK)
        return book

    check_all(story(Ledger()), "native")
    with pytest.raises(AssertionError, match="I1"):
        invariants.check_solvent(story(CountsUnopenedVersions()), "native")
    with pytest.raises(AssertionError, match="I6"):
        invariants.check_versions_apart(story(CountsUnopenedVersions()), "native")


def test_V2_planted_bug_is_found_by_the_random_histories_too() -> None:
    @settings(database=None, max_examples=300, report_multiple_bugs=False)
    @given(operations)
    def conservation(history: list[tuple[str, int, int, int]]) -> None:
        for state in states(history, CountsUnopenedVersions(fee_bps=500)):
            for token in TOKENS:
                check_all(state, token)

    with pytest.raises(AssertionError, match=r"I\d"):
        conservation()


def test_V2_a_unit_too_many_is_caught() -> None:
    book = simple(DropsAUnit())
    book.pay(1, "native", 1000)
    with pytest.raises(AssertionError, match="I1"):
        invariants.check_solvent(book, "native")


def test_V2_rounding_each_payment_breaks_the_residue_bound() -> None:
    book = simple(RoundsEachPayment())
    for _ in range(50):
        book.pay(2, "native", 199)
        book.settle(2, 0, "native")
    settle_everything(book, "native")
    withdraw_everything(book, "native")
    with pytest.raises(AssertionError, match="I5"):
        invariants.check_residue(book, "native")


def test_V1_a_journal_without_the_fee_line_is_caught() -> None:
    book = simple(ForgetsTheFee(fee_bps=500))
    book.pay(2, "native", 1000)
    with pytest.raises(AssertionError, match="V1"):
        invariants.check_entries(book)


def test_V1_an_event_with_one_unit_more_is_refused() -> None:
    folded = Ledger()
    folded.apply("FeeChanged", {"old_bps": 0, "new_bps": 500})
    folded.apply("SplitActivated", {"work_id": 1, "version": 1, "total_weight": WEIGHT})
    folded.apply("SplitActivated", {"work_id": 2, "version": 1, "total_weight": WEIGHT})
    folded.apply("EdgeOpened", {"work_id": 2, "parent_id": 1, "index": 0, "bps": 1000, "relative": False})
    with pytest.raises(twin.EventMismatch, match="fee"):
        folded.apply("PaymentReceived", {"work_id": 2, "token": "native", "amount": 1000, "fee": 51})
    folded.apply("PaymentReceived", {"work_id": 2, "token": "native", "amount": 1000, "fee": 50})
    settled = {"work_id": 2, "parent_id": 1, "token": "native", "index": 0}
    with pytest.raises(twin.EventMismatch, match="settled 96"):
        folded.apply("EdgeSettled", settled | {"amount": 96})
    folded.apply("EdgeSettled", settled | {"amount": 95})
    with pytest.raises(twin.EventMismatch, match="paid out 96 of the 95"):
        folded.apply("Withdrawn", {"work_id": 1, "token": "native", "version": 1, "position": 1, "amount": 96})


def test_I3_I4_and_I7_checkers_can_fail() -> None:
    before, after = simple(), simple()
    before.pay(1, "native", 5)
    with pytest.raises(AssertionError, match="I3"):
        invariants.check_monotone(before, after)
    with pytest.raises(AssertionError, match="I4"):
        invariants.check_same_totals(before, after)
    before.pay(0, "native", 5)
    with pytest.raises(AssertionError, match="I7"):
        invariants.check_platform(before, "native")


# --- worked examples ---------------------------------------------------------------------------------------------


@pytest.mark.feature("R3", via="chain")
def test_absolute_and_relative_edges_by_hand() -> None:
    book = simple()
    book.pay(2, "native", 1001)
    assert (book.owed(2, 0, "native"), book.owed(2, 1, "native")) == (100, 50)
    assert book.due(2, "native", 1, 1, WEIGHT) == 1001 - 151, "100.1 + 50.05 = 150.15 rounds up once, to 151"
    assert book.settle(2, 0, "native") == 100
    assert book.settle(2, 0, "native") == 0, "settling twice moves nothing"
    assert book.due(1, "native", 1, 1, WEIGHT) == 100
    book.settle(2, 1, "native")
    assert book.withdraw(1, "native", 1, 1, WEIGHT) == 150
    assert book.withdraw(2, "native", 1, 1, WEIGHT) == 850
    assert book.balance("native") == 1 <= book.residue_bound()


def test_security_case_3_ten_thousand_dust_payments_leave_each_holder_within_one_unit() -> None:
    book = Ledger()
    book.open(1, leaves=[Leaf(2, "minor", 1), Leaf(3, "major", 9_999)], total_weight=10_000)
    for _ in range(10_000):
        book.pay(1, "native", 1)
    assert book.due(1, "native", 1, 2, 1) == 1
    assert book.due(1, "native", 1, 3, 9_999) == 9_999


def test_security_case_17_a_layer_of_ones_own_does_not_dilute_an_absolute_ancestor() -> None:
    book = Ledger()
    for work, edges in ((1, []), (2, [Edge(1, 1000, False)]), (3, [Edge(1, 1000, False), Edge(2, 2000, False)])):
        book.open(work, edges, leaves=[Leaf(1, f"owner{work}", WEIGHT)], total_weight=WEIGHT)
    book.pay(3, "native", 10**18)
    settle_everything(book, "native")
    assert book.counters[1, "native"].inherited == 10**17


def test_security_case_2_withdraw_from_version_1_after_versions_2_and_3_without_a_credit() -> None:
    book = simple()
    book.pay(1, "native", 700)
    book.reassign(1, 1, [Leaf(2, "alice", 400_000), Leaf(3, "carol", 600_000)], now=WEEK)
    book.reassign(1, 2, [Leaf(2, "dave", 400_000)], now=2 * WEEK)
    assert book.works[1].version == 3
    assert book.due(1, "native", 2, 3, 600_000) == 0
    book.pay(1, "native", 300)
    assert book.withdraw(1, "native", 1, 1, WEIGHT) == 700
    assert book.due(1, "native", 2, 3, 600_000) == 0
    assert (book.due(1, "native", 3, 2, 400_000), book.due(1, "native", 3, 3, 600_000)) == (120, 180)


@pytest.mark.feature("O4", via="chain")
def test_security_case_87_what_is_unsettled_goes_with_the_share_what_is_settled_stays() -> None:
    def moved(settles: list[Settle]) -> tuple[int, int]:
        book = simple()
        book.pay(2, "native", 1000)
        book.reassign(1, 1, [Leaf(1, "carol", WEIGHT)], now=WEEK, settles=settles)
        settle_everything(book, "native")
        return book.due(1, "native", 1, 1, WEIGHT), book.due(1, "native", 2, 1, WEIGHT)

    assert moved([Settle(2, 0, "native"), Settle(2, 1, "native")]) == (150, 0)
    assert moved([]) == (0, 150)


def test_settle_below_runs_children_first_and_lists_only_what_moves() -> None:
    book = simple()
    book.open(3, [Edge(2, 2000, True)], leaves=[Leaf(1, "eve", WEIGHT)], total_weight=WEIGHT)
    book.open(4, [], leaves=[Leaf(1, "eve", WEIGHT)], total_weight=WEIGHT)
    book.pay(3, "native", 1000)
    book.pay(4, "native", 1000)
    assert book.below([1]) == {1, 2, 3}
    moved = book.settle_below([1], "native")
    assert moved == [(Settle(3, 0, "native"), 200), (Settle(2, 1, "native"), 10)], (
        "absolute edges see direct income only"
    )
    assert book.due(1, "native", 1, 1, WEIGHT) == 10
    assert book.settle_below([1], "native") == []


def test_refusals_carry_the_reason() -> None:
    book = simple(Ledger(fee_bps=500))
    with pytest.raises(twin.UnknownWork, match="9"):
        book.pay(9, "native", 1)
    with pytest.raises(twin.ZeroAmount):
        book.pay(1, "native", 0)
    with pytest.raises(twin.FeeTooHigh):
        book.set_fee(1001)
    with pytest.raises(twin.NothingDue):
        book.withdraw(1, "native", 1, 1, WEIGHT)
    with pytest.raises(twin.Overflow):
        book.pay(1, "native", 2**113)
    assert book.received == {}, "a refused payment leaves no trace"
    with pytest.raises(twin.NotYet):
        book.activate(1, now=WEEK)
    book.reassign(1, 1, [Leaf(1, "carol", WEIGHT)], now=WEEK - 1)
    with pytest.raises(twin.NotYet):
        book.activate(1, now=WEEK - 1)
    assert book.activate(1, now=WEEK) == 2
    with pytest.raises(twin.InvalidShare):
        book.reassign(1, 2, [Leaf(2, "x", 1)], now=2 * WEEK)
    with pytest.raises(twin.InvalidShare):
        book.reassign(1, 1, [Leaf(2, "x", WEIGHT + 1)], now=2 * WEEK)
    with pytest.raises(twin.InvalidShare):
        book.reassign(0, 1, [], now=2 * WEEK)
    book.set_status(2, twin.REVOKED)
    with pytest.raises(twin.WorkNotPayable):
        book.pay(2, "native", 1)
    book.pay(1, "native", 100)
    book.freeze(1, until=3 * WEEK)
    with pytest.raises(twin.Frozen):
        book.withdraw(1, "native", 2, 1, WEIGHT, now=2 * WEEK)
    assert book.withdraw(1, "native", 2, 1, WEIGHT, now=3 * WEEK) == 95
    for edges in (
        [Edge(1, 1, True)] * 17,
        [Edge(1, 8001, True)],
        [Edge(3, 1, True)],
        [Edge(0, 1, True)],
        [Edge(1, 0, True)],
    ):
        with pytest.raises(twin.EdgeLimit):
            book.open(3, edges, total_weight=1)


@example(Counters(0, 0), Counters(1, 0), 10_000, 0)
@given(
    st.builds(Counters, st.integers(0, 2**60), st.integers(0, 2**60)),
    st.builds(Counters, st.integers(0, 10**6), st.integers(0, 10**6)),
    st.integers(0, 10_000),
    st.integers(0, 10_000),
)
def test_V2_net_never_falls_and_leaves_room_for_every_edge(
    start: Counters, growth: Counters, relative: int, absolute: int
) -> None:
    absolute = min(absolute, 10_000 - relative)
    end = start.plus(*growth)
    assert twin.net(end, relative, absolute) >= twin.net(start, relative, absolute)
    edges = [Edge(1, relative // 2, True), Edge(2, relative - relative // 2, True), Edge(3, absolute, False)]
    assert twin.net(end, relative, absolute) + sum(twin.edge_due(edge, end) for edge in edges) <= end.gross
