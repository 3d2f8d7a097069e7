"""The Governor's states, recounted: every branch of its `state`. Votes are summed by a view of the mirror."""

from __future__ import annotations

import pytest

from backend.governance.counting import Course, State, Tally, quorum, state
from backend.governance.words import duration, percent

COURSE = Course(snapshot=100, deadline=200)
ENOUGH = Tally(against=1, for_=10)


class TestState:
    @pytest.mark.parametrize(
        ("now", "expected"),
        [(99, "pending"), (100, "pending"), (101, "active"), (200, "active"), (201, "succeeded")],
    )
    def test_moves_with_the_clock_as_the_governor_does(self, now: int, expected: State) -> None:
        assert state(COURSE, ENOUGH, 10, now) == expected

    @pytest.mark.parametrize(
        ("votes", "expected"),
        [
            (Tally(for_=10), "succeeded"),
            (Tally(for_=9), "defeated"),  # below the quorum
            (Tally(for_=1, abstain=9), "succeeded"),  # abstentions count towards the quorum
            (Tally(for_=10, against=10), "defeated"),  # a tie
            (Tally(for_=10, against=11), "defeated"),
        ],
    )
    def test_needs_the_quorum_and_more_for_than_against(self, votes: Tally, expected: State) -> None:
        assert state(COURSE, votes, 10, 201) == expected

    def test_what_has_happened_outranks_the_clock(self) -> None:
        assert state(Course(100, 200, queued=True), ENOUGH, 10, 201) == "queued"
        assert state(Course(100, 200, queued=True, executed=True), ENOUGH, 10, 201) == "executed"
        assert state(Course(100, 200, canceled=True), ENOUGH, 10, 50) == "canceled"


def test_quorum_rounds_down_as_the_contract_does() -> None:
    assert quorum(199, 4) == 7


def test_words_for_people() -> None:
    assert (percent(500), percent(5), percent(10_000)) == ("5.00%", "0.05%", "100.00%")
    assert (duration(86_400), duration(2 * 86_400), duration(5_400), duration(61)) == (
        "1 day",
        "2 days",
        "90 minutes",
        "61 seconds",
    )
