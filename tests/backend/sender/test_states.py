"""The one table of transitions."""

from __future__ import annotations

import pytest

from backend.models.sender import OutboxIntent
from backend.sender.states import IN_FLIGHT, TERMINAL, TRANSITIONS, Event, ForbiddenTransition, State, after


def test_every_state_is_in_the_table_and_can_be_reached() -> None:
    assert set(TRANSITIONS) == set(State)
    reached, frontier = {State.QUEUED}, [State.QUEUED]
    while frontier:
        for state in TRANSITIONS[frontier.pop()].values():
            if state not in reached:
                reached.add(state)
                frontier.append(state)
    assert reached == set(State)


def test_every_event_is_used() -> None:
    assert {event for events in TRANSITIONS.values() for event in events} == set(Event)


def test_from_every_state_an_end_can_be_reached() -> None:
    can_end = set(TERMINAL)
    while more := {state for state in State if state not in can_end and can_end & set(TRANSITIONS[state].values())}:
        can_end |= more
    assert can_end == set(State)


def test_what_has_ended_is_left_by_a_reorganisation_only() -> None:
    for state in TERMINAL:
        assert set(TRANSITIONS[state]) <= {Event.REORGANISE}


def test_v6_a_nonce_is_never_given_back() -> None:
    """No way leads from a state that holds a nonce to one that holds none, so no effect is signed for two nonces."""
    without = {State.QUEUED, State.EXPIRED}
    for state in set(State) - without:
        assert not without & set(TRANSITIONS[state].values())
    assert IN_FLIGHT.isdisjoint(without | TERMINAL)


def test_what_the_table_does_not_have_is_a_bug() -> None:
    with pytest.raises(ForbiddenTransition, match="'sign' can't happen to an intent that is mined"):
        after(State.MINED, Event.SIGN)


def test_the_database_knows_the_same_states() -> None:
    check = next(c for c in OutboxIntent.__table__.constraints if str(c.name).endswith("_state"))
    assert all(f"'{state}'" in str(check.sqltext) for state in State)  # type: ignore[attr-defined]
