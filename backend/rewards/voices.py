"""What a voice costs and what it can bring: the arithmetic under which a farm of bought voices loses. Pure.

A verified person can be bought at the market price of an identity; so what one identity pays out is capped below that
price. docs/rewards.md has the sums and their limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

PAYOUT: Final = Fraction(1, 2)
"""The part of its price that a voice pays out at most, all streams together: the rest is room for prices to move."""


@dataclass(frozen=True)
class Voice:
    """What a person pays in an epoch to have a voice in it, and what that voice can pay out. Base units by token."""

    fee: Mapping[bytes, int]
    """The least platform fees of the epoch, in one of these tokens; fees in others verify nobody."""
    payout: Mapping[bytes, int]
    """The most that one whole voice pays out of each stream; a stream that is not named pays nothing."""


def voice(prices: Mapping[bytes, int], *, own: bytes) -> Voice:
    """The terms from the price of a voice in each token, in base units; all are taken to be worth the same.

    A voice pays out of each stream an equal part of PAYOUT of that token's price. Fees in `own`, the TroupeToken,
    verify nobody: until a market says what it is worth they might be the cheapest way in. Raises ValueError for a
    price below one base unit.
    """
    if any(amount < 1 for amount in prices.values()):
        raise ValueError("a voice must cost at least one base unit: raise `voicePrice` in parameters.rewards")
    return Voice(
        fee={token: amount for token, amount in prices.items() if token != own},
        payout={token: int(PAYOUT * amount / len(prices)) for token, amount in prices.items()},
    )
