"""Fees: replacements are at least an eighth higher, and nothing exceeds the cap (promise V8)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backend.sender.fees import Fees, bump, quote

wei = st.integers(0, 10**13)


@given(wei, wei, wei)
def test_v8_a_quote_is_a_valid_pair_below_the_cap(base_fee: int, priority: int, cap: int) -> None:
    fees = quote(base_fee, priority, cap=cap)
    assert 0 <= fees.priority <= fees.max_fee <= cap


def test_a_quote_outlasts_a_doubled_base_fee() -> None:
    assert quote(100, 7, cap=10_000) == Fees(207, 7)


@given(wei, wei, wei, wei, wei)
def test_v8_a_replacement_raises_both_fees_by_an_eighth_or_is_refused(
    old_max: int, old_priority: int, base_fee: int, priority: int, cap: int
) -> None:
    old = Fees(max(old_max, old_priority), old_priority)
    fresh = quote(base_fee, priority, cap=cap)
    new = bump(old, fresh, cap=cap)
    if new is None:
        assert cap < max(-(-old.max_fee * 9 // 8), old.max_fee + 1, fresh.max_fee, -(-old.priority * 9 // 8)) + 1
        return
    assert 8 * new.max_fee >= 9 * old.max_fee
    assert 8 * new.priority >= 9 * old.priority
    assert new.max_fee > old.max_fee
    assert new.priority > old.priority
    assert new.priority <= new.max_fee <= cap
    assert new.max_fee >= fresh.max_fee
