"""What a holder can withdraw, worked out before it is withdrawn: the claims, and the settlements that come first. Pure.

The demo and the end-to-end tests compare these figures with what the contract pays, to the unit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from backend.payouts.ledger import Ledger, Settle


class Holding(NamedTuple):
    """One leaf of one split version of a work."""

    work: int
    version: int
    position: int
    weight: int


class Claim(NamedTuple):
    """What one holding has coming in one token, in base units.

    `earned` is its part of all that its version has accrued, `withdrawn` what it has taken of that, `now` what
    `withdraw` would pay at once, `amount` what it would pay after `settles` were run in their order.
    """

    holding: Holding
    token: str
    earned: int
    withdrawn: int
    now: int
    amount: int
    settles: tuple[Settle, ...]


def claims(ledger: Ledger, holdings: Iterable[Holding], tokens: Iterable[str]) -> list[Claim]:
    """A claim for each holding and token that has earned anything or will; the ledger is left as it was."""
    held = sorted(set(holdings))
    works = {holding.work for holding in held}
    settled = ledger.copy()
    found = []
    for token in sorted(set(tokens)):
        moved = [settle for settle, _ in settled.settle_below(works, token)]
        before_each = {work: _towards(settled, work, moved) for work in works}
        for holding in held:
            work = settled.works[holding.work]
            if holding.version not in work.splits:
                continue
            now = ledger.due(holding.work, token, holding.version, holding.position, holding.weight)
            amount = settled.due(holding.work, token, holding.version, holding.position, holding.weight)
            withdrawn = ledger.withdrawn.get((holding.work, token, holding.version, holding.position), 0)
            if not (now or amount or withdrawn):
                continue
            live = holding.version == work.version
            found.append(
                Claim(
                    holding, token, now + withdrawn, withdrawn, now, amount, before_each[holding.work] if live else ()
                )
            )
    return sorted(found, key=lambda claim: (claim.holding, claim.token))


def _towards(ledger: Ledger, work: int, settles: Iterable[Settle]) -> tuple[Settle, ...]:
    """Those of the settlements that move money towards `work`, in the same order."""
    below = ledger.below([work])
    return tuple(
        settle
        for settle in settles
        if settle.work in below and ledger.works[settle.work].edges[settle.edge].parent in below
    )
