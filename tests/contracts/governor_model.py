"""TroupeGovernor, its votes and its treasury without a chain, in exact integers: what random histories compare with."""

from __future__ import annotations

from dataclasses import dataclass, field

from governorkit import (
    ACTIVE,
    CANCELED,
    DEFEATED,
    DELAY,
    EXECUTED,
    EXTENSION,
    PENDING,
    PERIOD,
    QUEUED,
    SUCCEEDED,
    THRESHOLD,
    TIMELOCK,
)
from kit import Refused


@dataclass
class Ballots:
    """A proposal as the governor keeps it: who used how many votes, and what was made of them."""

    snapshot: int
    payee: str
    amount: int
    tally: list[int] = field(default_factory=lambda: [0, 0, 0])
    used: dict[str, int] = field(default_factory=dict)
    extended: int = 0
    eta: int = 0
    canceled: bool = False
    executed: bool = False

    @property
    def deadline(self) -> int:
        return max(self.snapshot + PERIOD, self.extended)


class GovernorModel:
    """Holders, delegates, their votes at every second, proposals, and what the treasury has."""

    def __init__(self, balances: dict[str, int], supply: int, treasury: int) -> None:
        self.balances, self.supply, self.treasury = dict(balances), supply, treasury
        self.delegates: dict[str, str] = {}
        self.history: dict[str, list[tuple[int, int]]] = {}
        self.proposals: dict[int, Ballots] = {}

    # votes

    def votes(self, account: str, time: int) -> int:
        """Votes at the end of a second."""
        return next((votes for at, votes in reversed(self.history.get(account, [])) if at <= time), 0)

    def _shift(self, delegate: str | None, amount: int, now: int) -> None:
        if delegate is not None and amount:
            self.history.setdefault(delegate, []).append((now, self.votes(delegate, now) + amount))

    def delegate(self, account: str, to: str, now: int) -> None:
        self._shift(self.delegates.get(account), -self.balances.get(account, 0), now)
        self.delegates[account] = to
        self._shift(to, self.balances.get(account, 0), now)

    def transfer(self, sender: str, to: str, amount: int, now: int) -> None:
        if amount > self.balances.get(sender, 0):
            raise Refused("ERC20InsufficientBalance")
        self._move(sender, to, amount, now)

    def _move(self, sender: str, to: str, amount: int, now: int) -> None:
        self.balances[sender] = self.balances.get(sender, 0) - amount
        self.balances[to] = self.balances.get(to, 0) + amount
        self._shift(self.delegates.get(sender), -amount, now)
        self._shift(self.delegates.get(to), amount, now)

    # proposals

    def propose(self, number: int, proposer: str, payee: str, amount: int, now: int) -> None:
        if self.votes(proposer, now - 1) < THRESHOLD:
            raise Refused("GovernorInsufficientProposerVotes")
        self.proposals[number] = Ballots(now + DELAY, payee, amount)

    def state(self, number: int, now: int) -> int:
        """Index into IGovernor.ProposalState."""
        proposal = self.proposals[number]
        against, for_, _ = proposal.tally
        if proposal.executed or proposal.canceled:
            return EXECUTED if proposal.executed else CANCELED
        if now <= proposal.deadline:
            return PENDING if now <= proposal.snapshot else ACTIVE
        if not self.quorate(proposal) or for_ <= against:
            return DEFEATED
        return QUEUED if proposal.eta else SUCCEEDED

    def quorate(self, proposal: Ballots) -> bool:
        _, for_, abstain = proposal.tally
        return for_ + abstain >= self.supply * 4 // 100

    def expect(self, number: int, now: int, *states: int) -> Ballots:
        if self.state(number, now) not in states:
            raise Refused("GovernorUnexpectedProposalState")
        return self.proposals[number]

    def weight(self, proposal: Ballots, voter: str, now: int) -> int:
        """What a voter has for a proposal: its votes at the snapshot, whatever it has today."""
        return self.votes(voter, proposal.snapshot)

    def vote(self, number: int, voter: str, parts: list[int] | int, now: int) -> None:
        """All that is left of the weight for one choice (0 against, 1 for, 2 abstain), or three parts of it."""
        proposal = self.expect(number, now, ACTIVE)
        left = self.weight(proposal, voter, now) - proposal.used.get(voter, 0)
        if left <= 0:
            raise Refused("GovernorAlreadyCastVote")
        if isinstance(parts, int):
            parts = [left if choice == parts else 0 for choice in range(3)]
        if sum(parts) > left:
            raise Refused("GovernorExceedRemainingWeight")
        proposal.used[voter] = proposal.used.get(voter, 0) + sum(parts)
        proposal.tally = [old + new for old, new in zip(proposal.tally, parts, strict=True)]
        if not proposal.extended and self.quorate(proposal):
            proposal.extended = now + EXTENSION

    def queue(self, number: int, now: int) -> None:
        self.expect(number, now, SUCCEEDED).eta = now + TIMELOCK

    def execute(self, number: int, now: int) -> None:
        proposal = self.expect(number, now, QUEUED)
        if now < proposal.eta:
            raise Refused("TimelockUnexpectedOperationState")
        if proposal.amount > self.treasury:
            raise Refused("ERC20InsufficientBalance")
        self.treasury -= proposal.amount
        self.balances[proposal.payee] = self.balances.get(proposal.payee, 0) + proposal.amount
        self._shift(self.delegates.get(proposal.payee), proposal.amount, now)
        proposal.executed = True

    def cancel(self, number: int, now: int) -> None:
        """By the guardian: whatever isn't over yet."""
        self.expect(number, now, PENDING, ACTIVE, DEFEATED, SUCCEEDED, QUEUED).canceled = True


class TodaysVotes(GovernorModel):
    """A rule wrong on purpose: votes are counted at the moment of the vote, so that borrowed ones count."""

    def weight(self, proposal: Ballots, voter: str, now: int) -> int:
        return self.votes(voter, now)


class NoExtension(GovernorModel):
    """A rule wrong on purpose: a quorum that is reached late leaves nobody time to answer."""

    def vote(self, number: int, voter: str, parts: list[int] | int, now: int) -> None:
        super().vote(number, voter, parts, now)
        self.proposals[number].extended = 0
