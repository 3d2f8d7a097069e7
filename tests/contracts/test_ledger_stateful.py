"""RevenueLedger against its integer twin through random histories, a planted bug, and a rebuild from events alone."""

import pytest
from brownie import MockUSD, OpenToken, OverpayingLedger, RevenueLedger
from histories import seeds
from kit import logs_of
from machine import Machine
from money import DIGEST, NATIVE, hexed, node, plain

from backend.payouts import invariants
from backend.payouts import ledger as twin

pytestmark = pytest.mark.feature("R8", via="chain")

FEE_BPS = 250
STEPS = 160


def machine(contract, seed, authority, accounts):
    """A machine on a fresh deployment, with two tokens."""
    admin = {"from": accounts[0]}
    ledger = contract.deploy(authority, accounts[9], FEE_BPS, [(accounts[8], 1_000_000)], DIGEST, admin)
    tokens = [MockUSD.deploy(admin), OpenToken.deploy(admin)]
    for token in tokens:
        ledger.setTokenAllowed(token, True, admin)
    return Machine(ledger, tokens, accounts, seed, FEE_BPS)


def run(one, steps=STEPS):
    for index in range(steps):
        before = one.twin.copy()
        one.step()
        invariants.check_monotone(before, one.twin)
        if index % 40 == 39:
            one.check()


@pytest.mark.parametrize("seed", seeds(STEPS))
def test_stateful_ledger_equals_its_twin(authority, accounts, seed, reached):
    """Case 60, and I1 to I7: every amount and refusal of a random history, the residue, and the state from events."""
    one = machine(RevenueLedger, seed, authority, accounts)
    run(one)
    while not one.rulings:
        one.done.append("replace_disputed")
        one.replace_disputed()
    versions = max(work.version for work in one.twin.works.values())
    reached.add({"leaves that withdrew": len(one.twin.withdrawn), "a work with three versions": versions > 2})
    one.close()
    rebuilt_equals(one)


def test_stateful_histories_of_the_ledger_got_somewhere(reached):
    reached.demand({"leaves that withdrew": 6, "a work with three versions": 0.5})


def test_stateful_comparison_finds_the_planted_bug(authority, accounts):
    """Case 1: the ledger that pays a fresh version the whole history must not pass, or the comparison shows nothing."""
    one = machine(OverpayingLedger, 0, authority, accounts)
    with pytest.raises(AssertionError, match=r"version \d+ of|was paid|went through|none of \{'RevenueNothingDue"):
        run(one)


# --- events alone


class Rebuilt:
    """What is not an amount, folded from events."""

    def __init__(self):
        self.fee, self.paused, self.tokens = 0, 0, {}
        self.works, self.edges, self.splits, self.pending = {}, {}, {}, {}

    def fold(self, name, args, time):
        handler = getattr(self, name, None)
        if handler:
            handler(time, **args)

    def work(self, number):
        return self.works.setdefault(number, {"status": 0, "frozen": 0})

    def FeeChanged(self, time, oldBps, newBps):
        assert oldBps == self.fee
        self.fee = newBps

    def PauseChanged(self, time, account, until):
        self.paused = until

    def TokenAllowed(self, time, token, allowed):
        self.tokens[token] = allowed

    def StatusPushed(self, time, workId, status):
        self.work(workId)["status"] = status

    def WorkFrozen(self, time, workId, caseId, until):
        self.work(workId)["frozen"] = until

    def EdgeOpened(self, time, workId, parentId, index, bps, relative):
        assert index == len(self.edges.setdefault(workId, []))
        self.edges[workId].append((parentId, bps, relative))

    def ShareReassigned(self, time, workId, pendingRoot, treeDigest, **rest):
        self.pending[workId] = (hexed(pendingRoot), hexed(treeDigest))

    def SplitActivated(self, time, workId, version, root, totalWeight, treeDigest):
        assert self.work(workId).setdefault("total", totalWeight) == totalWeight
        self.work(workId).update(version=version, activated=time)
        self.splits[workId, version] = (hexed(root), totalWeight)
        self.pending.pop(workId, None)


def rebuilt_equals(one):
    """Case 60: the ledger's events alone rebuild its state, which the getters confirm."""
    ledger, amounts, rest = one.ledger, twin.Ledger(), Rebuilt()
    for name, args, time in logs_of(ledger):
        amounts.apply(name, args)
        rest.fold(name, args, time)
    here = one.twin
    assert amounts.counters == here.counters
    assert {k: v for k, v in amounts.settled.items() if v} == {k: v for k, v in here.settled.items() if v}
    assert amounts.withdrawn == here.withdrawn
    assert (rest.fee, rest.paused) == (ledger.feeBps(), ledger.pausedUntil())
    assert all(ledger.isTokenAllowed(token) == allowed for token, allowed in rest.tokens.items())
    assert set(rest.works) == set(here.works)
    for number, work in rest.works.items():
        edges = rest.edges.get(number, [])
        sums = [sum(bps for _, bps, relative in edges if relative == kind) for kind in (True, False)]
        facts = (*sums, work["version"], work["status"], len(edges), work["frozen"], work["activated"], work["total"])
        assert plain(ledger.workOf(number)) == facts
        assert plain(ledger.edgesOf(number)) == tuple(edges)
        assert plain(ledger.pendingOf(number)) == rest.pending.get(number, ("0x" + "00" * 32,) * 2)
    for (number, version), split in rest.splits.items():
        assert plain(ledger.splitOf(number, version)) == split
        root = node(one.trees[number, version])
        assert split == (hexed(root.hash), root.sum)
    for (number, token, version), accrual in here.accruals.items():
        account = plain(ledger.accountOf(number, token))
        base = plain(ledger.baseOf(number, token, version))
        assert base[:2] == tuple(accrual.before)
        later = [v for n, t, v in here.accruals if (n, t) == (number, token) and v > version]
        assert base[2] == min(later, default=0)
        assert account[2] == max([version, *later])
    assert NATIVE not in rest.tokens
