"""A random history of the ledger beside its integer twin: what either refuses, pays or counts, the other must too.

The operations come from a seeded generator, so a failure is repeated by its seed. Transactions go out by JSON-RPC:
Brownie's own objects are slower; times are set block by block, and both sides see the same clock.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from typing import Any

from brownie import web3
from eth_utils import keccak
from kit import next_block_at, now
from money import (
    DAY,
    DIGEST,
    NATIVE,
    NONE,
    WEEK,
    Leaf,
    Placed,
    Tree,
    claim,
    grown,
    hexed,
    move,
    node,
    placed,
    plain,
    replaced,
    witness,
)

from backend.payouts import invariants
from backend.payouts import ledger as twin

AMOUNTS = [1, 3, 7, 999, 10**9 + 7, 10**18, 2**96]
ANSWERS_ITS_ADDRESS = "0x305f5260205ff3"  # ADDRESS PUSH0 MSTORE PUSH1 32 PUSH0 RETURN
FREEZE, PAUSE, COOL_OFF = 30 * DAY, WEEK, 30 * DAY
REFUSALS = {
    twin.UnknownWork: {"RevenueUnknownWork", "RevenueInvalidProof", "RevenueZeroAmount"},
    twin.WorkNotPayable: {"RevenueWorkStatus", "RevenueZeroAmount"},
    twin.ZeroAmount: {"RevenueZeroAmount"},
    twin.NothingDue: {"RevenueNothingDue"},
    twin.FeeTooHigh: {"RevenueFeeTooHigh"},
    twin.NotYet: {"RevenueNotYet", "RevenueNothingPending"},
    twin.Frozen: {"RevenueFrozen", "RevenueWorkStatus"},
    twin.NotDisputed: {"RevenueWorkStatus"},
    twin.EdgeLimit: {"RevenueEdgeLimit", "RevenueUnknownWork"},
    twin.InvalidShare: {"RevenueInvalidProof"},
    twin.Overflow: {"RevenueOverflow"},
}


class Machine:
    """One history: a deployed ledger, its twin, and all trees that were ever committed."""

    def __init__(self, ledger: Any, tokens: Sequence[Any], accounts: Any, seed: int, fee_bps: int) -> None:
        self.ledger, self.dice = ledger, random.Random(seed)
        self.accounts, self.admin, self.payer, self.registry = accounts, accounts[0], accounts[7], accounts[9]
        self.holders = [str(account) for account in accounts[1:6]]
        self.tokens = [NATIVE, *tokens]
        treasury = str(accounts[8])
        self.twin = twin.Ledger(fee_bps=fee_bps, treasury=treasury)
        self.twin.works[0].activated_at = int(plain(ledger.workOf(0))[6])
        self.trees: dict[tuple[int, int], Tree] = {(0, 1): Leaf(treasury, 1_000_000)}
        self.pending: dict[int, Tree] = {}
        self.paused_until = 0
        self.rulings = 0
        self.frozen: dict[int, int] = {}
        self.now = now()
        self.direct_to_platform = dict.fromkeys(map(str, self.tokens), 0)
        self.names = {
            hexed(keccak(text=f"{entry['name']}({','.join(i['type'] for i in entry['inputs'])})")[:4]): entry["name"]
            for entry in ledger.abi
            if entry["type"] == "error"
        }
        self.done: list[str] = []
        self.first_block = web3.eth.block_number
        web3.provider.make_request("anvil_setBalance", [str(self.payer), hex(2**110)])
        # Whatever the registry's account is asked, it answers with its own address: so it is its own standing.
        web3.provider.make_request("anvil_setCode", [str(self.registry), ANSWERS_ITS_ADDRESS])
        for token in tokens:
            self.send(token.mint, self.payer, 2**110, sender=self.payer)
            self.send(token.approve, ledger, 2**255, sender=self.payer)
        for _ in range(3):
            self.done.append("open_child")
            self.open_child()

    # --- the chain

    def send(self, function: Any, *args: Any, sender: Any, value: int = 0) -> Any:
        """Mine a transaction at the machine's time; it must succeed. Returns the receipt."""
        self.now += 1
        next_block_at(self.now)
        receipt = web3.eth.wait_for_transaction_receipt(
            web3.eth.send_transaction(self.request(function, args, sender, value)), poll_latency=0.001
        )
        assert receipt["status"] == 1, f"{function._name} {args} was refused, the twin would not\n{self.story()}"
        return receipt

    def refused(self, names: set[str], function: Any, *args: Any, sender: Any, value: int = 0) -> None:
        """The call must revert with one of these errors."""
        self.now += 1
        next_block_at(self.now)
        web3.provider.make_request("evm_mine", [])
        try:
            web3.eth.call(self.request(function, args, sender, value))
        except ValueError as error:
            data = str(error.args[0]["data"])
            assert self.names.get(data[:10]) in names, f"{data[:10]} is none of {names}\n{self.story()}"
        else:
            raise AssertionError(f"{function._name} {args} went through, not refused by {names}\n{self.story()}")

    def request(self, function: Any, args: Sequence[Any], sender: Any, value: int) -> dict[str, Any]:
        return {
            "from": str(sender),
            "to": function._address,
            "data": function.encode_input(*args),
            "value": value,
            "gas": 5_000_000,
            "gasPrice": 0,
        }

    def story(self) -> str:
        return "\n".join(self.done[-12:])

    def both(self, on_twin: Callable[[], Any], function: Any, *args: Any, sender: Any, value: int = 0) -> Any:
        """Do it on both sides: the twin decides whether it may be. Returns the twin's answer, or None if refused."""
        try:
            answer = on_twin()
        except twin.LedgerError as error:
            self.refused(REFUSALS[type(error)], function, *args, sender=sender, value=value)
            return None
        self.send(function, *args, sender=sender, value=value)
        return answer

    # --- operations

    def step(self) -> None:
        """One random operation."""
        operations: list[tuple[int, Callable[[], None]]] = [
            (22, self.pay),
            (14, self.settle),
            (5, self.settle_many),
            (24, self.withdraw),
            (14, self.reassign),
            (5, self.activate),
            (5, self.open_child),
            (2, self.change_fee),
            (2, self.replace_policy),
            (2, self.freeze),
            (1, self.pause),
            (3, self.push_status),
            (3, self.replace_disputed),
            (6, self.wait),
        ]
        weights, choices = zip(*operations, strict=True)
        chosen = self.dice.choices(choices, weights)[0]
        self.done.append(chosen.__name__)
        chosen()

    def work(self) -> int:
        return self.dice.choice(list(self.twin.works))

    def token(self) -> Any:
        return self.dice.choice(self.tokens)

    def pay(self) -> None:
        work, token, amount = self.work(), self.token(), self.dice.choice([*AMOUNTS, 0])
        if self.dice.random() < 0.05:
            work = 99
        kind = self.dice.randrange(1, 10)
        self.done[-1] += f" work {work} {amount} of {token}"
        if token == NATIVE:
            call, args, value = self.ledger.payNative, (work, kind, NONE), amount
        else:
            call, args, value = self.ledger.payToken, (work, token, amount, kind, NONE), 0
        fee = self.both(lambda: self.twin.pay(work, str(token), amount), call, *args, sender=self.payer, value=value)
        if fee is not None:
            self.direct_to_platform[str(token)] += amount if work == 0 else 0
            self.same_counters(work, token)
            self.same_counters(0, token)

    def settle(self) -> None:
        work, token = self.work(), self.token()
        edge = self.dice.randrange(len(self.twin.works[work].edges) + (self.dice.random() < 0.1) or 1)
        self.done[-1] += f" work {work} edge {edge} of {token}"
        self.both(
            lambda: self.twin.settle(work, edge, str(token)), self.ledger.settle, work, edge, token, sender=self.payer
        )
        for parent in {e.parent for e in self.twin.works[work].edges}:
            self.same_counters(parent, token)

    def some_settles(self, most: int) -> list[twin.Settle]:
        every = [
            twin.Settle(work, edge, str(token))
            for work, target in self.twin.works.items()
            for edge in range(len(target.edges))
            for token in self.tokens
        ]
        return self.dice.sample(every, min(self.dice.randrange(most + 1), len(every)))

    def settle_many(self) -> None:
        settles = self.some_settles(6)
        self.done[-1] += f" {settles}"
        self.both(
            lambda: self.twin.settle_many(settles), self.ledger.settleMany, list(map(tuple, settles)), sender=self.payer
        )

    def withdraw(self) -> None:
        work, version, leaf, token = self.somebody()
        version += self.dice.random() < 0.05  # sometimes a version that isn't there, or that the leaf isn't in
        self.done[-1] += f" work {work} version {version} position {leaf.position} of {token}"
        call = (self.ledger.withdraw, claim(work, version, leaf, token), leaf.proof)
        if self.now + 1 < self.paused_until:
            return self.refused({"RevenuePaused"}, *call, sender=self.payer)
        there = self.trees.get((work, version))
        if there is None or leaf not in placed(there):
            return self.refused({"RevenueInvalidProof", "RevenueFrozen"}, *call, sender=self.payer)
        before = self.holding(leaf.account, token)
        paid = self.both(
            lambda: self.twin.withdraw(work, str(token), version, leaf.position, leaf.weight, now=self.now + 1),
            *call,
            sender=self.payer,
        )
        if paid is not None:
            got = self.holding(leaf.account, token) - before
            assert got == paid, f"{got} was paid, the twin says {paid}\n{self.story()}"
        return None

    def somebody(self) -> tuple[int, int, Placed, Any]:
        """A leaf of any version and a token; out of five choices the last, or the first that has something due."""
        for _ in range(5):
            (work, version), tree = self.dice.choice(list(self.trees.items()))
            leaf, token = self.dice.choice(list(placed(tree))), self.token()
            if self.twin.due(work, str(token), version, leaf.position, leaf.weight):
                break
        return work, version, leaf, token

    def holding(self, account: str, token: Any) -> int:
        return int(web3.eth.get_balance(account) if token == NATIVE else token.balanceOf(account))

    def parts(self, weight: int) -> Tree:
        """A random division of a weight: handed over whole, or among up to four; some of no weight."""
        cuts = sorted(self.dice.randrange(weight + 1) for _ in range(self.dice.choice([0, 0, 1, 1, 3])))
        bounds = [0, *cuts, weight]
        return grown([(self.dice.choice(self.holders), high - low) for low, high in itertools.pairwise(bounds)])

    def reassign(self) -> None:
        work = self.work()
        target = self.twin.works[work]
        active = self.trees[work, target.version]
        current = self.pending.get(work, active)
        leaf = self.dice.choice(list(placed(current)))
        if len(leaf.proof) > 30:
            return
        by = self.parts(leaf.weight)
        settles = self.some_settles(3)
        self.done[-1] += f" work {work} position {leaf.position} to {by} after {settles}"
        call = (self.ledger.reassign, move(work, leaf, by), leaf.proof, list(map(tuple, settles)))
        after, at = replaced(current, leaf.position, by), self.now + 1
        at_once = at >= target.activated_at + WEEK
        if at < self.paused_until:
            return self.refused({"RevenuePaused"}, *call, sender=leaf.account)
        if work == 0:
            return self.refused({"RevenuePlatformWork"}, *call, sender=leaf.account)
        if at_once and node(after) == node(active) and not target.disputed and at >= target.frozen_until:
            return self.refused({"RevenueNothingPending"}, *call, sender=leaf.account)
        new = [twin.Leaf(p.position, p.account, p.weight) for p in placed(after)]
        new = [one for one in new if twin._is_below(one.position, leaf.position)]
        steps = [twin.Settle(*one) for one in settles]

        def on_twin() -> bool:
            self.twin.reassign(work, leaf.position, new, now=at, settles=steps)
            return True

        if self.both(on_twin, *call, sender=leaf.account):
            if at_once:
                self.pending.pop(work, None)
                self.trees[work, target.version] = after
            else:
                self.pending[work] = after
        return None

    def activate(self) -> None:
        work = self.work()
        target, at = self.twin.works[work], self.now + 1
        self.done[-1] += f" work {work}"
        names = None
        if work == 0:
            names = {"RevenuePlatformWork"}
        elif at < target.frozen_until:
            names = {"RevenueFrozen"}
        elif work in self.pending and node(self.pending[work]) == node(self.trees[work, target.version]):
            names = {"RevenueNothingPending", "RevenueNotYet"}
        if names:
            return self.refused(names, self.ledger.activate, work, sender=self.payer)
        if self.both(lambda: self.twin.activate(work, now=at), self.ledger.activate, work, sender=self.payer):
            self.trees[work, target.version] = self.pending.pop(work)
        return None

    def open_child(self) -> None:
        number = max(self.twin.works) + 1
        count = self.dice.randrange(min(4, len(self.twin.works)))
        parents = self.dice.sample([*self.twin.works, 77][1:], min(count, len(self.twin.works) - 1))
        edges = [
            twin.Edge(parent, self.dice.choice([1, 333, 1_000, 2_500, 8_000]), self.dice.random() < 0.5)
            for parent in parents
        ]
        tree = self.parts(self.dice.choice([1, 7, 100, 10_000, 1_000_000]))
        root, leaves = node(tree), list(placed(tree))
        proven = max(leaves, key=lambda leaf: leaf.weight)
        self.done[-1] += f" {number} with {edges}"

        def on_twin() -> bool:
            known = [twin.Leaf(p.position, p.account, p.weight) for p in leaves]
            self.twin.open(number, edges, leaves=known, total_weight=root.sum, now=self.now + 1)
            return True

        args = (number, list(map(tuple, edges)), root.hash, root.sum, DIGEST, witness(proven))
        if self.both(on_twin, self.ledger.open, *args, sender=self.registry):
            self.trees[number, 1] = tree

    def change_fee(self) -> None:
        bps = self.dice.choice([0, 1, 250, 1_000, 1_001])
        self.done[-1] += f" to {bps}"
        self.both(lambda: self.twin.set_fee(bps) or True, self.ledger.setFeeBps, bps, sender=self.admin)

    def replace_policy(self) -> None:
        tree = self.parts(1_000_000)  # the total never changes
        root, leaves = node(tree), list(placed(tree))
        proven = max(leaves, key=lambda leaf: leaf.weight)
        self.send(self.ledger.replaceSplit, 0, root.hash, root.sum, DIGEST, witness(proven), sender=self.admin)
        known = [twin.Leaf(p.position, p.account, p.weight) for p in leaves]
        version = self.twin.replace_split(0, leaves=known, total_weight=root.sum, now=self.now)
        self.trees[0, version] = tree

    def replace_disputed(self) -> None:
        """A ruling's new split, by the contract of standing (here the registry's own account), or by a stranger."""
        disputed = [work for work, target in self.twin.works.items() if target.disputed]
        work = self.dice.choice(disputed or [self.work()])
        if work and not disputed and self.dice.random() < 0.5:
            self.send(self.ledger.pushStatus, work, twin.DISPUTED, sender=self.registry)
            self.twin.set_status(work, twin.DISPUTED)
        target = self.twin.works[work]
        tree, settles = self.parts(target.split.total_weight), self.some_settles(3)
        self.done[-1] += f" of work {work} to {tree} after {settles}"
        call = (self.ledger.replaceDisputedSplit, work, node(tree).hash, DIGEST, list(map(tuple, settles)))
        if self.dice.random() < 0.1:
            return self.refused({"RevenueUnauthorized"}, *call, sender=self.payer)
        known = [twin.Leaf(p.position, p.account, p.weight) for p in placed(tree)]
        steps, at = [twin.Settle(*one) for one in settles], self.now + 1
        version = self.both(
            lambda: self.twin.replace_disputed_split(work, known, now=at, settles=steps), *call, sender=self.registry
        )
        if version is not None:
            self.trees[work, version] = tree
            self.pending.pop(work, None)
            self.rulings += 1
        return None

    def freeze(self) -> None:
        work = self.work()
        end, at = self.frozen.get(work, 0), self.now + 1
        self.done[-1] += f" or thaw work {work}"
        if work == 0:
            return self.refused({"RevenuePlatformWork"}, self.ledger.freeze, 0, NONE, True, sender=self.admin)
        thaw = at < end
        if not thaw and end and at < end + COOL_OFF:
            return self.refused({"RevenueNotYet"}, self.ledger.freeze, work, NONE, True, sender=self.admin)
        self.send(self.ledger.freeze, work, NONE, not thaw, sender=self.admin)
        self.frozen[work] = self.now if thaw else self.now + FREEZE
        self.twin.freeze(work, self.frozen[work])
        return None

    def pause(self) -> None:
        if self.now + 1 < self.paused_until:
            self.send(self.ledger.unpause, sender=self.admin)
            self.paused_until = self.now
        elif self.paused_until and self.now + 1 < self.paused_until + COOL_OFF:
            self.refused({"RevenueNotYet"}, self.ledger.pause, sender=self.admin)
        else:
            self.send(self.ledger.pause, sender=self.admin)
            self.paused_until = self.now + PAUSE

    def push_status(self) -> None:
        work = self.work()
        if work:
            status = self.dice.choice([0, 0, 0, 0, 1, 1, 2, 3, 4])
            self.send(self.ledger.pushStatus, work, status, sender=self.registry)
            self.twin.set_status(work, status)

    def wait(self) -> None:
        self.now += self.dice.choice([DAY, WEEK, 3 * WEEK])

    # --- what must hold

    def same_counters(self, work: int, token: Any) -> None:
        here = self.twin.counters.get((work, str(token)), twin.Counters())
        there = plain(self.ledger.accountOf(work, token))
        assert there[:2] == tuple(here), f"counters of work {work}: {there}, the twin has {here}\n{self.story()}"

    def check(self) -> None:
        """Compare every amount with the contract's, and the invariants I1, I2, I6, I7 and V1."""
        for token in self.tokens:
            name = str(token)
            for work, target in self.twin.works.items():
                self.same_counters(work, token)
                for version in target.splits:
                    earned = twin.accrued(
                        self.twin.accrual(work, name, version), target.relative_bps, target.absolute_bps
                    )
                    there = int(self.ledger.earnedOf(work, token, version))
                    assert there == earned, f"version {version} of {work}: {there}, not {earned}\n{self.story()}"
                for edge in range(len(target.edges)):
                    there = int(self.ledger.settledOf(work, edge, token))
                    assert there == self.twin.settled.get((work, edge, name), 0)
            balance = self.holding(self.ledger.address, token)
            invariants.check_solvent(self.twin, name, balance)
            invariants.check_paid_out(self.twin, name)
            invariants.check_versions_apart(self.twin, name)
            invariants.check_platform(self.twin, name, self.direct_to_platform[name])
        for (work, name, version, position), amount in self.twin.withdrawn.items():
            assert int(self.ledger.withdrawnOf(work, version, name, position)) == amount
        invariants.check_entries(self.twin)

    def close(self) -> None:
        """Everybody settles and withdraws; what stays is within the bound (I5)."""
        self.now += 60 * DAY  # past every freeze and pause
        settles = [
            twin.Settle(work, edge, str(token))
            for work in sorted(self.twin.works, reverse=True)
            for edge in range(len(self.twin.works[work].edges))
            for token in self.tokens
        ]
        self.send(self.ledger.settleMany, list(map(tuple, settles)), sender=self.payer)
        self.twin.settle_many(settles)
        for (work, version), tree in self.trees.items():
            for token in self.tokens:
                for leaf in placed(tree):
                    due = self.twin.due(work, str(token), version, leaf.position, leaf.weight)
                    if due:
                        self.twin.withdraw(work, str(token), version, leaf.position, leaf.weight, now=self.now)
                        call = (self.ledger.withdraw, claim(work, version, leaf, token), leaf.proof)
                        self.send(*call, sender=self.payer)
        self.check()
        for token in self.tokens:
            balance = self.holding(self.ledger.address, token)
            assert balance == self.twin.balance(str(token))
            invariants.check_residue(self.twin, str(token), balance)
