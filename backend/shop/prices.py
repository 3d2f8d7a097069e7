"""What a sale costs, and who gets it: Storefront's arithmetic in integers, rounded as the contract rounds. Pure.

A first sale, a ticket and a subscription go into the work's revenue whole. Of what a holder sells or lends the work
gets its royalty and the seller the rest. The platform's fee is taken of what the work gets.
"""

from __future__ import annotations

from typing import NamedTuple

from backend.payouts.ledger import fee_of
from backend.works.rules import BPS


class Rates(NamedTuple):
    """The policy in force, in basis points."""

    fee_bps: int
    royalty_bps: int


class Division(NamedTuple):
    """How a price is divided, in base units: `total = to_work + fee + to_seller`."""

    total: int
    royalty: int
    """What goes to the work of a resale, fee included; 0 of a first sale."""
    fee: int
    to_work: int
    to_seller: int


def first_sale(total: int, rates: Rates) -> Division:
    """The whole price is the work's revenue."""
    fee = fee_of(total, rates.fee_bps)
    return Division(total, 0, fee, total - fee, 0)


def resale(total: int, rates: Rates) -> Division:
    """The work gets its royalty, the seller the rest."""
    royalty = total * rates.royalty_bps // BPS
    fee = fee_of(royalty, rates.fee_bps)
    return Division(total, royalty, fee, royalty - fee, total - royalty)


def rent(price: int, duration: int, period: int) -> int:
    """ceil(price * duration / period); times in seconds."""
    return -(-price * duration // period)
