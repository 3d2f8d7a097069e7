"""The demands on random histories can fail."""

import pytest
from histories import Reached


def two_histories():
    """One got somewhere, the other nowhere."""
    reached = Reached()
    reached.add({"paid": 6})
    reached.add({})
    return reached


def test_a_history_may_reach_less_than_the_average():
    two_histories().demand({"paid": 3})


def test_too_little_on_the_average_is_named():
    with pytest.raises(
        AssertionError, match=r"too little \(found, wanted\): \{'paid': \(6, 8\), 'settled': \(0, 1\)\}"
    ):
        two_histories().demand({"paid": 4, "settled": 0.5})


def test_what_few_histories_do_is_not_demanded_of_fewer():
    two_histories().demand({"settled": 0.4})


def test_demands_without_a_history_fail():
    with pytest.raises(AssertionError, match="no history was run"):
        Reached().demand({})
