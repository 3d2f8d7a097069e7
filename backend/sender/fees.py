"""Fees of EIP-1559 transactions: the first quote and the replacement of a stuck one. Pure, integers of wei."""

from __future__ import annotations

from typing import NamedTuple

BUMP_NUMERATOR, BUMP_DENOMINATOR = 1_125, 1_000
"""A replacement raises both fees by at least 12.5 %. Nodes ask for 10 %, anvil takes less: the rule is ours."""


class Fees(NamedTuple):
    """`max_fee` and `priority` in wei for one unit of gas."""

    max_fee: int
    priority: int


def quote(base_fee: int, priority: int, *, cap: int) -> Fees:
    """Fees that stay valid while the base fee doubles (six full blocks), never above `cap`."""
    max_fee = min(2 * base_fee + priority, cap)
    return Fees(max_fee, min(priority, max_fee))


def _raised(fee: int) -> int:
    return -(-fee * BUMP_NUMERATOR // BUMP_DENOMINATOR)


def bump(old: Fees, fresh: Fees, *, cap: int) -> Fees | None:
    """Fees that replace `old`: both at least 12.5 % higher and at least what is quoted now; None when the cap forbids.

    A fee of zero is raised to one wei, so that a replacement is never equal to what it replaces.
    """
    max_fee = max(_raised(old.max_fee), old.max_fee + 1, fresh.max_fee)
    priority = max(_raised(old.priority), old.priority + 1, fresh.priority)
    max_fee = max(max_fee, priority)
    return None if max_fee > cap else Fees(max_fee, priority)
