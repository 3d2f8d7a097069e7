"""TroupeGovernor against its model: random histories of delegations, transfers, proposals, votes and executions."""

import random
from collections import Counter

import pytest
from brownie import accounts
from governor_model import GovernorModel, NoExtension, TodaysVotes
from governorkit import (
    ACTIVE,
    CANCELED,
    DEFEATED,
    EXECUTED,
    FOR,
    FRACTIONAL,
    PENDING,
    PERIOD,
    QUEUED,
    SUCCEEDED,
    SUPPLY,
    ballot,
    deploy_governance,
    fractional_ballot,
    fractions,
    nonce_of,
    submit,
)
from histories import seeds
from kit import DAY, TRP, both, logs_of, mine_at, now

pytestmark = pytest.mark.feature("G1", via="chain")

STEPS = 45
TREASURY = 50_000 * TRP
WEIGHTS = {
    "rule_vote": 6,
    "rule_vote_in_parts": 4,
    "rule_vote_by_signature": 4,
    "rule_whole_way": 3,
    "rule_late_quorum": 3,
}
"""How often a rule is drawn, if not once."""

NEXT = {
    PENDING: {PENDING, ACTIVE, CANCELED, DEFEATED},
    ACTIVE: {ACTIVE, CANCELED, DEFEATED, SUCCEEDED},
    DEFEATED: {DEFEATED, CANCELED},
    SUCCEEDED: {SUCCEEDED, QUEUED, CANCELED},
    QUEUED: {QUEUED, EXECUTED, CANCELED},
    CANCELED: {CANCELED},
    EXECUTED: {EXECUTED},
}
"""What a state may become until it is looked at again (after each rule)."""


class GovernorMachine:
    """Each rule does the same to the contracts and to the model; both must end alike."""

    def __init__(self, system, seed, model=GovernorModel):
        self.system, self.governor, self.token = system, system.governor, system.token
        self.chance = random.Random(seed)
        self.voters = [accounts[2], accounts[3], accounts[4], accounts[9], system.signer]
        self.token.transfer(system.timelock, TREASURY, {"from": accounts[9]})
        balances = {str(voter): int(self.token.balanceOf(voter)) for voter in self.voters}
        self.model = model(balances, SUPPLY, TREASURY)
        self.proposals, self.seen, self.outcomes, self.paid = [], {}, Counter(), 0
        for voter in self.voters:
            self.both(
                lambda time, who=str(voter): self.model.delegate(who, who, time),
                lambda who=voter: self.token.delegate(who, {"from": who}),
            )
        names = sorted(name for name in dir(self) if name.startswith("rule_"))
        self.rules = [name for name in names for _ in range(WEIGHTS.get(name, 1))]

    def run(self):
        for _ in range(STEPS):
            name = self.chance.choice(self.rules)
            before = self.model.treasury
            getattr(self, name)()
            self.states_advance()
            self.treasury_changes_by_execution_alone(before)
        self.states_advance(DEFEATED, CANCELED, EXECUTED)
        self.events_tell_the_same()
        self.check()

    def both(self, on_model, on_chain):
        """Run both at one time and count how they ended. Whether it went through."""
        ended = both(on_model, on_chain)
        self.outcomes[ended] += 1
        return ended is None

    def voter(self):
        return self.chance.choice(self.voters)

    def proposal(self, *states):
        """Mostly one that is in such a state, if there is one."""
        fitting = [one for one in self.proposals if self.model.state(one.number, now() + 1) in states]
        return self.chance.choice(fitting if fitting and self.chance.random() < 0.85 else self.proposals)

    def ballot_box(self):
        """A proposal to vote on; where none is open, mostly a new one is made and waited for."""
        open_ones = [one for one in self.proposals if self.model.state(one.number, now() + 1) == ACTIVE]
        if not self.proposals or (not open_ones and self.chance.random() < 0.8):
            self.rule_propose()
            if self.proposals:
                mine_at(max(now(), self.model.proposals[self.proposals[-1].number].snapshot) + 1)
        return self.proposal(ACTIVE) if self.proposals else None

    # ---------------------------------------------------------------------------------------------------------- rules

    def rule_delegate(self):
        who, to = self.voter(), self.voter()
        self.both(
            lambda time: self.model.delegate(str(who), str(to), time), lambda: self.token.delegate(to, {"from": who})
        )

    def rule_transfer(self):
        who, to, amount = self.voter(), self.voter(), self.chance.choice([1, 999, 9_000, 90_000, 900_000]) * TRP
        self.both(
            lambda time: self.model.transfer(str(who), str(to), amount, time),
            lambda: self.token.transfer(to, amount, {"from": who}),
        )

    def rule_propose(self):
        who, payee, amount = self.voter(), self.voter(), self.chance.choice([0, 1, 9_000, 30_000]) * TRP
        number = len(self.model.proposals)

        def on_chain():
            call = (self.token, self.token.transfer.encode_input(payee, amount))
            proposal = submit(self.system, who, call, description=f"number {number}")
            proposal.number = number
            self.proposals.append(proposal)

        self.both(lambda time: self.model.propose(number, str(who), str(payee), amount, time), on_chain)

    def rule_vote(self):
        if proposal := self.ballot_box():
            who, choice = self.voter(), self.chance.choice([0, 1, 1, 1, 2])
            self.both(
                lambda time: self.model.vote(proposal.number, str(who), choice, time),
                lambda: self.governor.castVote(proposal.id, choice, {"from": who}),
            )

    def parts(self):
        return [self.chance.choice([0, 1, 500, 4_000, 40_000]) * TRP for _ in range(3)]

    def rule_vote_in_parts(self):
        if proposal := self.ballot_box():
            who, parts = self.voter(), self.parts()
            order = (proposal.id, FRACTIONAL, "", fractions(*parts))
            self.both(
                lambda time: self.model.vote(proposal.number, str(who), parts, time),
                lambda: self.governor.castVoteWithReasonAndParams(*order, {"from": who}),
            )

    def rule_vote_by_signature(self):
        """Whole or in parts, relayed by a stranger."""
        proposal = self.ballot_box()
        if proposal is None:
            return
        signer, parts = self.system.signer, self.parts()
        nonce = nonce_of(self.governor, signer, proposal)
        if self.chance.random() < 0.5:
            signature = ballot(self.governor, signer, proposal, FOR, nonce)
            self.both(
                lambda time: self.model.vote(proposal.number, str(signer), FOR, time),
                lambda: self.governor.castVoteBySig(proposal.id, FOR, signer, signature, {"from": accounts[8]}),
            )
        else:
            order = fractional_ballot(self.governor, signer, proposal, fractions(*parts), nonce)
            self.both(
                lambda time: self.model.vote(proposal.number, str(signer), parts, time),
                lambda: self.governor.castVoteWithReasonAndParamsBySig(*order, {"from": accounts[8]}),
            )

    def rule_queue(self):
        if self.proposals:
            proposal = self.proposal(SUCCEEDED)
            self.both(
                lambda time: self.model.queue(proposal.number, time),
                lambda: self.governor.queue(*proposal.arguments, {"from": accounts[8]}),
            )

    def rule_execute(self):
        if self.proposals:
            proposal = self.proposal(QUEUED)
            done = self.both(
                lambda time: self.model.execute(proposal.number, time),
                lambda: self.governor.execute(*proposal.arguments, {"from": accounts[8]}),
            )
            self.paid += self.model.proposals[proposal.number].amount if done else 0

    def rule_cancel(self):
        """By the guardian, now and then."""
        if self.proposals and self.chance.random() < 0.3:
            proposal = self.proposal(PENDING, ACTIVE, QUEUED)
            self.both(
                lambda time: self.model.cancel(proposal.number, time),
                lambda: self.governor.cancel(*proposal.arguments, {"from": accounts[1]}),
            )

    def rule_warp(self):
        mine_at(now() + self.chance.choice([1, DAY // 2, DAY, 2 * DAY]))

    def rule_late_quorum(self):
        """Votes shortly before the end and after it, which count if the quorum came late."""
        count = len(self.proposals)
        self.rule_propose()
        if len(self.proposals) > count:
            deadline = self.model.proposals[self.proposals[-1].number].deadline
            mine_at(deadline - self.chance.choice([2, DAY // 2]))
            self.rule_vote()
            mine_at(max(now(), deadline) + 1)
            self.rule_vote()

    def rule_whole_way(self):
        """A proposal from its beginning towards its execution, so that histories have many of them."""
        count = len(self.proposals)
        self.rule_propose()
        if len(self.proposals) == count:
            return
        mine_at(self.model.proposals[self.proposals[-1].number].snapshot + 1)
        for _ in range(3):
            self.chance.choice([self.rule_vote, self.rule_vote_in_parts, self.rule_vote_by_signature])()
        mine_at(now() + PERIOD + DAY)
        self.rule_queue()
        self.rule_warp()
        self.rule_execute()

    # ----------------------------------------------------------------------------------------------------- invariants

    def states_advance(self, *over):
        """Each proposal is in the model's state, which is the former one or one that may follow it.

        Those that are over are looked at in the end only, by naming their states.
        """
        time = now()
        for proposal in self.proposals:
            if self.seen.get(proposal.number) in {DEFEATED, CANCELED, EXECUTED} - {*over}:
                continue
            found = int(self.governor.state(proposal.id))
            assert found == self.model.state(proposal.number, time), f"proposal {proposal.number} is in state {found}"
            before = self.seen.get(proposal.number, PENDING)
            assert self.reachable(before, found), f"proposal {proposal.number} went from {before} to {found}"
            self.seen[proposal.number] = found

    def reachable(self, before, after):
        """Time passes and one rule may do several steps, so states in between can be passed over."""
        known, frontier = {before}, {before}
        while frontier:
            frontier = {state for one in frontier for state in NEXT[one]} - known
            known |= frontier
        return after in known

    def treasury_changes_by_execution_alone(self, before):
        held = int(self.token.balanceOf(self.system.timelock))
        assert held == self.model.treasury == TREASURY - self.paid
        assert before - held == 0 or self.paid

    def check(self):
        """No voter uses more than its votes at the snapshot; tallies and votes are the model's; no vote is made up."""
        for proposal in self.proposals:
            ours = self.model.proposals[proposal.number]
            assert [int(votes) for votes in self.governor.proposalVotes(proposal.id)] == ours.tally
            deadline = int(self.governor.proposalDeadline(proposal.id))
            assert deadline == ours.deadline, f"the deadline is {deadline}, the model's {ours.deadline}"
            assert int(self.governor.proposalEta(proposal.id)) == ours.eta or ours.executed or ours.canceled
            if now() <= ours.snapshot:
                continue
            for voter in self.voters:
                used = int(self.governor.usedVotes(proposal.id, voter))
                assert used == ours.used.get(str(voter), 0)
                assert used <= int(self.governor.getVotes(voter, ours.snapshot))
            assert sum(ours.tally) <= int(self.token.getPastTotalSupply(ours.snapshot)) == SUPPLY
        for voter in self.voters:
            assert int(self.token.balanceOf(voter)) == self.model.balances.get(str(voter), 0)
            assert int(self.token.getVotes(voter)) == self.model.votes(str(voter), now())
        # All votes are those of holders who delegated, here everybody but the treasury and one account's dust.
        votes = sum(int(self.token.getVotes(voter)) for voter in self.voters)
        assert votes == sum(self.model.balances.values())

    def events_tell_the_same(self):
        """Case 60: balances and votes of the token, tallies and queues of the governor, from their events alone."""
        balances, votes = Counter(), {}
        for name, args, _ in logs_of(self.token):
            if name == "Transfer":
                balances[args["from"]] -= args["value"]
                balances[args["to"]] += args["value"]
            elif name == "DelegateVotesChanged":
                votes[args["delegate"]] = args["newVotes"]
        for voter in self.voters:
            assert int(self.token.balanceOf(voter)) == balances[str(voter)]
            assert int(self.token.getVotes(voter)) == votes.get(str(voter), 0)
        tallies, over = {}, {}
        for name, args, _ in logs_of(self.governor):
            if name == "ProposalCreated":
                tallies[args["proposalId"]] = [0, 0, 0]
            elif name == "VoteCast":
                tallies[args["proposalId"]][args["support"]] += args["weight"]
            elif name == "VoteCastWithParams":
                parts = [int.from_bytes(args["params"][i : i + 16], "big") for i in (0, 16, 32)]
                tallies[args["proposalId"]] = [
                    old + new for old, new in zip(tallies[args["proposalId"]], parts, strict=True)
                ]
            elif name in ("ProposalCanceled", "ProposalExecuted"):
                over[args["proposalId"]] = CANCELED if name == "ProposalCanceled" else EXECUTED
        for proposal in self.proposals:
            assert tallies[proposal.id] == self.model.proposals[proposal.number].tally
            assert over.get(proposal.id, self.seen[proposal.number]) == self.seen[proposal.number]


@pytest.fixture(scope="module")
def system():
    return deploy_governance()


@pytest.mark.parametrize("seed", seeds(STEPS))
def test_stateful_governor_follows_its_model(system, seed, reached):
    """Case 60: votes used stay within the snapshot, states advance, executions alone change the treasury."""
    machine = GovernorMachine(system, seed)
    machine.run()
    reached.add(machine.outcomes + Counter(machine.seen.values()))


def test_stateful_histories_of_the_governor_got_somewhere(reached):
    reached.demand({None: 25, DEFEATED: 2, CANCELED: 0.3, EXECUTED: 0.5})
    reached.demand({"GovernorUnexpectedProposalState": 3, "TimelockUnexpectedOperationState": 0.3})


def run_until_it_differs(model):
    for seed in range(4):
        GovernorMachine(deploy_governance(), seed, model=model).run()


@pytest.mark.parametrize("broken", [TodaysVotes, NoExtension])
def test_stateful_comparison_finds_a_planted_bug(broken):
    """A model with one rule wrong must not pass: else the comparison shows nothing."""
    with pytest.raises(AssertionError, match=r"the contract ended with|is in state|the deadline is"):
        run_until_it_differs(broken)
