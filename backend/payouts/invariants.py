"""The invariants I1 to I7 of RevenueLedger (docs/contracts.md), and V1 (docs/promises.md), as checks on the twin. Pure.

Each check raises AssertionError with the figures that disagree. `balance`, where it can be given, is the contract's
real balance; without it the twin's own is taken.
"""

from __future__ import annotations

from backend.payouts.ledger import PLATFORM, Counters, Ledger, accrued, net


def check_solvent(ledger: Ledger, token: str, balance: int | None = None) -> None:
    """I1: the balance covers all that is provable and not withdrawn, and all that is unsettled."""
    held = ledger.balance(token) if balance is None else balance
    claims = ledger.payable(token) + ledger.unsettled(token)
    if claims > held:
        raise AssertionError(f"I1: {claims} is claimable in {token} but only {held} is held")


def check_paid_out(ledger: Ledger, token: str) -> None:
    """I2: no more was withdrawn than received, and no leaf holds a negative claim."""
    if ledger.released.get(token, 0) > ledger.received.get(token, 0):
        raise AssertionError(f"I2: {ledger.released[token]} withdrawn of {ledger.received.get(token, 0)} received")
    for work in ledger.works:
        for version, leaf in ledger.leaves(work):
            due = ledger.due(work, token, version, leaf.position, leaf.weight)
            if due < 0:
                raise AssertionError(f"I2: work {work} version {version} position {leaf.position} owes {-due}")


def check_monotone(before: Ledger, after: Ledger) -> None:
    """I3: counters, settled and withdrawn never decrease from `before` to `after`."""
    for name in ("settled", "withdrawn", "received", "released"):
        old, new = getattr(before, name), getattr(after, name)
        for key, amount in old.items():
            if new.get(key, 0) < amount:
                raise AssertionError(f"I3: {name}{key} fell from {amount} to {new.get(key, 0)}")
    for key, counters in before.counters.items():
        now = after.counters.get(key, Counters())
        if now.direct < counters.direct or now.inherited < counters.inherited:
            raise AssertionError(f"I3: counters {key} fell from {counters} to {now}")


def check_same_totals(one: Ledger, other: Ledger) -> None:
    """I4: two ledgers that settled the same edges, in whatever order, agree on every counter and due."""
    if one.counters != other.counters or one.settled != other.settled:
        raise AssertionError("I4: the order of settlements changed the totals")


def check_residue(ledger: Ledger, token: str, balance: int | None = None) -> None:
    """I5: run when everybody has settled and withdrawn; what is left is rounding, at most one unit an edge or leaf."""
    held = ledger.balance(token) if balance is None else balance
    if not 0 <= held <= ledger.residue_bound():
        raise AssertionError(f"I5: {held} left in {token}, the bound is {ledger.residue_bound()}")


def check_versions_apart(ledger: Ledger, token: str) -> None:
    """I6: no version pays out more than it accrued, and the versions of a work add up to the work's net."""
    for number, work in ledger.works.items():
        earned = {
            version: accrued(ledger.accrual(number, token, version), work.relative_bps, work.absolute_bps)
            for version in work.splits
        }
        for version in work.splits:
            taken = ledger.paid_out.get((number, token, version), 0)
            if taken > earned[version]:
                raise AssertionError(f"I6: version {version} of work {number} paid {taken} of {earned[version]}")
        total = net(ledger.counters.get((number, token), Counters()), work.relative_bps, work.absolute_bps)
        if sum(earned.values()) != total:
            raise AssertionError(f"I6: versions of work {number} earned {earned}, the work {total}")


def check_platform(ledger: Ledger, token: str, paid_directly: int = 0) -> None:
    """I7: work 0's direct income is exactly the sum of the fees and of what was paid to it directly."""
    held = ledger.counters.get((PLATFORM, token), Counters()).direct
    if held != ledger.fees.get(token, 0) + paid_directly:
        raise AssertionError(f"I7: work 0 has {held}, the fees are {ledger.fees.get(token, 0)}")


def check_entries(ledger: Ledger) -> None:
    """V1: the lines of each entry add up to zero, and no work's account is ever below zero."""
    balances: dict[tuple[str, str], int] = {}
    for lines in ledger.entries:
        if sum(line.amount for line in lines):
            raise AssertionError(f"V1: {lines} don't balance")
        for line in lines:
            key = (line.account, line.token)
            balances[key] = balances.get(key, 0) + line.amount
        for line in lines:
            if line.account != "world" and balances[line.account, line.token] < 0:
                raise AssertionError(f"V1: {line.account} is overdrawn in {line.token}")
