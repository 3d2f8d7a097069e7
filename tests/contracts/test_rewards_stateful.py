"""RewardDistributor against its model in exact integers: random histories, every outcome and every balance compared."""

import inspect
import random
from collections import Counter

import pytest
from brownie import web3
from histories import EXAMPLES, seeds
from kit import ZERO, both, logs_of, mine_at, now, outcome
from reward_model import Account, Pending, RewardModel
from rewardkit import (
    ACCOUNT_CAP,
    BOND,
    DIGEST,
    EPOCH_CAP,
    FUNDS,
    MAX_PRICE,
    MIN_PRICE,
    NO_LEAF,
    RESOLVE,
    WINDOW,
    RewardTree,
    deploy_rewards,
    next_epoch,
    propose,
    publish,
)

STEPS = 50
CHECK_EVERY = 10

WEIGHTS = {"rule_whole_way": 4, "rule_claim": 6, "rule_wait": 2}
"""How often a rule is drawn, if not once: most of a history is to be the ordinary way."""

DRAWS = {
    "st_token": lambda chance: chance.randrange(2),
    "st_person": lambda chance: chance.randrange(6),
    "st_amount": lambda chance: chance.randrange(1, 3 * EPOCH_CAP),
    "st_share": lambda chance: chance.randrange(111),
    "st_seed": lambda chance: chance.getrandbits(32),
    "st_days": lambda chance: chance.randrange(1, 10),
    "st_flag": lambda chance: chance.random() < 0.5,
}
"""How each argument of a rule is drawn."""


class RewardMachine:
    """Each rule does the same to the contract and to the model; both must end alike."""

    def __init__(self, system, people, seed, model=RewardModel):
        self.system = system
        self.people = people
        self.chance = random.Random(seed)
        self.outcomes = Counter()
        names = sorted(name for name in dir(self) if name.startswith("rule_"))
        self.rules = [name for name in names for _ in range(WEIGHTS.get(name, 1))]
        self.invariants = sorted(name for name in dir(self) if name.startswith("invariant_"))
        self.tokens = (str(system.usd), str(system.token))
        self.model = model(
            bond_token=str(system.token),
            genesis=system.genesis,
            window=WINDOW,
            resolve_period=RESOLVE,
            publisher_bond=BOND,
            min_price=MIN_PRICE,
            max_price=MAX_PRICE,
        )
        self.model.fund(str(system.usd), str(system.timelock), FUNDS)
        self.model.set_caps(str(system.usd), EPOCH_CAP, ACCOUNT_CAP, system.genesis)
        self.watched = [
            (token, str(account))
            for token in self.tokens
            for account in (*self.people, system.publisher, system.challenger, system.stranger)
        ]
        self.before = {key: self.balance(*key) - self.model.paid.get(key, 0) for key in self.watched}
        self.trees = {}  # root -> tree
        self.claimed_before = {}
        self.changes_of_root = {token: 0 for token in self.tokens}

    def step(self):
        rule = getattr(self, self.chance.choice(self.rules))
        rule(**{name: DRAWS[name](self.chance) for name in inspect.signature(rule).parameters})

    def check(self):
        for name in self.invariants:
            getattr(self, name)()

    def run(self):
        for index in range(STEPS):
            self.step()
            if index % CHECK_EVERY == CHECK_EVERY - 1:
                self.check()

    def balance(self, token, account):
        contract = self.system.usd if token == self.tokens[0] else self.system.token
        return int(contract.balanceOf(account))

    def both(self, on_model, on_chain):
        """Run both at one time and count how they ended. Whether it went through."""
        ended = both(on_model, on_chain)
        self.outcomes[ended] += 1
        return ended is None

    # ---------------------------------------------------------------------------------------------------------- rules

    def rule_fund(self, st_token, st_amount):
        token, who = self.tokens[st_token], self.system.stranger
        self.both(
            lambda _: self.model.fund(token, str(who), st_amount),
            lambda: self.system.distributor.fund(token, st_amount, {"from": who}),
        )

    def rule_caps(self, st_token, st_share):
        token = self.tokens[st_token]
        epoch_cap, account_cap = EPOCH_CAP * (st_share + 1) // 50, ACCOUNT_CAP * (st_share + 1) // 50
        self.both(
            lambda time: self.model.set_caps(token, epoch_cap, account_cap, time),
            lambda: self.system.distributor.setCaps(token, epoch_cap, account_cap, {"from": self.system.timelock}),
        )

    def rule_propose(self, st_token, st_share, st_seed):
        """Amounts grow by about the given percentage of what is allowed; now and then someone's falls."""
        token, chance = self.tokens[st_token], random.Random(st_seed)
        stream = self.model.stream(token)
        amounts = dict(stream.leaves)
        allowed = self.model.allowed_increase(token, now() + 1)
        for person in chance.sample(self.people, chance.randrange(1, len(self.people) + 1)):
            amounts[str(person)] = amounts.get(str(person), 0) + allowed * st_share // 100 // 3
        if chance.random() < 0.2 and amounts:
            loser = chance.choice(sorted(amounts))
            amounts[loser] = amounts[loser] * 2 // 3
        tree = RewardTree(self.system.distributor, token, amounts)
        self.trees[tree.root] = tree
        self.both(
            lambda time: self.model.propose(token, str(self.system.publisher), tree.root, tree.total, amounts, time),
            lambda: propose(self.system, tree),
        )

    def rule_challenge(self, st_token, st_flag):
        token = self.tokens[st_token]
        who = self.system.publisher if st_flag else self.system.challenger
        self.both(
            lambda time: self.model.challenge(token, str(who), time),
            lambda: self.system.distributor.challenge(token, DIGEST, {"from": who}),
        )

    def rule_resolve(self, st_token, st_flag):
        token = self.tokens[st_token]
        self.both(
            lambda time: self.model.resolve(token, st_flag, time),
            lambda: self.system.distributor.resolve(token, st_flag, {"from": self.system.timelock}),
        )

    def rule_expire(self, st_token):
        token = self.tokens[st_token]
        self.both(
            lambda time: self.model.expire(token, time),
            lambda: self.system.distributor.expireChallenge(token, {"from": self.system.stranger}),
        )

    def rule_kill(self, st_token, st_share):
        if st_share > 20:
            return  # rarely: most roots are to live
        token = self.tokens[st_token]
        self.both(
            lambda _: self.model.kill(token),
            lambda: self.system.distributor.kill(token, {"from": self.system.guardian}),
        )

    def rule_prove_decrease(self, st_token):
        """Whoever finds a lowered account kills the root."""
        token = self.tokens[st_token]
        stream = self.model.stream(token)
        if stream.pending is None or not stream.leaves:
            return
        lowered = [a for a, c in stream.leaves.items() if stream.pending.leaves.get(a, 0) < c]
        if not lowered:
            return
        prover, account = self.system.stranger, lowered[0]
        order = (token, self.trees[stream.root].leaf(account), self.trees[stream.pending.root].leaf(account))
        self.both(
            lambda _: self.model.prove_fraud(token, str(prover)),
            lambda: self.system.distributor.proveDecrease(*order, {"from": prover}),
        )

    def rule_finalize(self, st_token):
        token = self.tokens[st_token]
        done = self.both(
            lambda time: self.model.finalize(token, time),
            lambda: self.system.distributor.finalize(token, {"from": self.system.stranger}),
        )
        self.changes_of_root[token] += done

    def rule_claim(self, st_token, st_person):
        token = self.tokens[st_token]
        stream = self.model.stream(token)
        if not stream.leaves:
            return
        person = sorted(stream.leaves)[st_person % len(stream.leaves)]
        claim = self.trees[stream.root].claim(person)
        self.both(
            lambda time: self.model.claim(token, person, stream.leaves[person], time),
            lambda: self.system.distributor.claim(*claim, {"from": self.system.stranger}),
        )

    def rule_wait(self, st_days):
        mine_at(now() + st_days * 86_400)

    def rule_whole_way(self, st_token, st_share, st_seed):
        """A root proposed, waited for and made final in one go, so that histories have many of them."""
        self.rule_propose(st_token, st_share, st_seed)
        mine_at(now() + WINDOW)
        self.rule_finalize(st_token)

    def rule_dispute(self, st_token, st_seed, st_flag, st_days):
        """A challenge that is ruled on, or that nobody rules on in time."""
        self.rule_propose(st_token, 60, st_seed)
        self.rule_challenge(st_token, st_flag)
        if st_days < 4:
            self.rule_resolve(st_token, st_days == 1)
        else:
            mine_at(now() + RESOLVE)
            self.rule_expire(st_token)

    # ----------------------------------------------------------------------------------------------------- invariants

    def invariant_streams_are_the_models(self):
        distributor, model = self.system.distributor, self.model
        for token in self.tokens:
            found, stream = distributor.streamOf(token), model.stream(token)
            assert bytes(found["root"]) == stream.root
            assert [int(found[k]) for k in ("total", "totalClaimed", "counted", "epoch")] == [
                stream.total,
                stream.claimed,
                stream.counted,
                stream.epoch,
            ]
            self.compare_pending(distributor.pendingOf(token), stream.pending)
            assert int(distributor.challengePriceOf(token)) == model.price(token)
        assert int(distributor.bondsHeld()) == model.bonds

    def compare_pending(self, found, pending: Pending | None):
        if pending is None:
            assert bytes(found["root"]) == b"\0" * 32
            assert int(found["publisherBond"]) == int(found["challengerBond"]) == 0
            return
        assert (bytes(found["root"]), int(found["total"])) == (pending.root, pending.total)
        assert (int(found["epoch"]), int(found["finalizableAt"])) == (pending.epoch, pending.finalizable_at)
        assert int(found["publisherBond"]) == pending.publisher_bond
        assert int(found["challengerBond"]) == pending.challenger_bond
        assert found["challenger"] == (pending.challenger or ZERO)
        assert (int(found["rulingUntil"]), bool(found["contested"])) == (pending.ruling_until, pending.contested)

    def invariant_balances_are_the_models(self):
        """Conservation: what the distributor holds is funds and open bonds, and each person has what the model says."""
        for token in self.tokens:
            assert self.balance(token, self.system.distributor) == self.model.balance(token)
        for key in self.watched:
            assert self.balance(*key) == self.before[key] + self.model.paid.get(key, 0), key

    def invariant_v4_claimed_active_funded(self):
        """totalClaimed <= active total <= all that came in, and no account's claimed ever falls."""
        for token in self.tokens:
            stream = self.system.distributor.streamOf(token)
            assert stream["totalClaimed"] <= stream["total"] <= stream["counted"]
            for person in self.people:
                found = self.system.distributor.accountOf(token, person)
                entry = self.model.stream(token).accounts.get(str(person), Account())
                assert (int(found["claimed"]), int(found["left"]), int(found["epoch"])) == (
                    entry.claimed,
                    entry.left,
                    entry.epoch,
                )
                assert entry.claimed >= self.claimed_before.get((token, str(person)), 0)
                self.claimed_before[token, str(person)] = entry.claimed

    def invariant_bonds_are_those_of_pending_roots(self):
        open_bonds = 0
        for token in self.tokens:
            pending = self.system.distributor.pendingOf(token)
            open_bonds += pending["publisherBond"]
            open_bonds += pending["challengerBond"] if pending["challenger"] != ZERO else 0
        assert self.system.distributor.bondsHeld() == open_bonds


@pytest.fixture(scope="module")
def system():
    return deploy_rewards()


@pytest.fixture(scope="module")
def people():
    return [web3.to_checksum_address((7_777 * (i + 1)).to_bytes(20, "big")) for i in range(6)]


@pytest.mark.parametrize("seed", seeds(STEPS))
def test_v4_stateful_rewards_follow_their_model(system, people, seed, reached):
    """Case 60: every outcome, balance and getter through a random history, and its state from the events alone."""
    machine = RewardMachine(system, people, seed)
    machine.run()
    machine.check()
    assert summary(EventBooks(machine).books, machine.tokens) == summary(machine.model, machine.tokens)
    claimed = [entry.claimed > 0 for stream in machine.model.streams.values() for entry in stream.accounts.values()]
    roots = sum(machine.changes_of_root.values())
    reached.add(machine.outcomes | {"roots made final": roots, "accounts that claimed": sum(claimed)})


def test_v4_stateful_histories_of_rewards_got_somewhere(reached):
    reached.demand({None: 8, "roots made final": 1, "accounts that claimed": 1, "RewardNoPending": 3})


def summary(model, tokens):
    """What events alone must tell, of each token's stream."""
    return {token: stream_summary(model.stream(token), model.price(token)) for token in tokens} | {"bonds": model.bonds}


def stream_summary(stream, price):
    pending = stream.pending and (
        stream.pending.root,
        stream.pending.total,
        stream.pending.epoch,
        stream.pending.finalizable_at,
        stream.pending.publisher,
        stream.pending.challenger,
        stream.pending.publisher_bond,
        stream.pending.challenger_bond,
    )
    accounts = {a: (entry.claimed, entry.left, entry.epoch) for a, entry in stream.accounts.items() if entry.claimed}
    return (stream.root, stream.total, stream.claimed, stream.counted, stream.epoch), price, pending, accounts


class EventBooks:
    """The state of the distributor from its events alone, in a model that makes no call of its own."""

    def __init__(self, machine):
        self.books = RewardModel(machine.model.bond_token, machine.model.genesis, 0, 0, 0, 0, 0)
        for name, given, time in logs_of(machine.system.distributor):
            stream = self.books.stream(given["token"]) if "token" in given else None
            getattr(self, f"on_{name}", self.ignore)(stream, given, time)

    def ignore(self, stream, given, time):
        """Authority and recipients, which the model does not know."""

    def on_ParametersChanged(self, _, given, time):
        self.books.window, self.books.resolve_period = given["window"], given["resolvePeriod"]
        self.books.min_price, self.books.max_price = given["minChallengerBond"], given["maxChallengerBond"]

    def on_CapsChanged(self, stream, given, time):
        stream.caps = self.books.caps(given["token"], time)
        stream.next_caps, stream.caps_from = (given["epochCap"], given["accountCap"]), given["fromEpoch"]

    def on_Funded(self, stream, given, time):
        stream.counted += given["amount"]

    def on_RootProposed(self, stream, given, time):
        price = self.books.price(given["token"])
        root = (given["root"], given["total"], given["epoch"], given["finalizableAt"])
        stream.pending = Pending(*root, None, 0, price, {})

    def on_BondPosted(self, stream, given, time):
        self.books.bonds += given["amount"]
        if stream.pending.publisher is None:
            stream.pending.publisher, stream.pending.publisher_bond = given["account"], given["amount"]

    def on_BondSettled(self, stream, given, time):
        self.books.bonds -= given["amount"]

    def on_RootChallenged(self, stream, given, time):
        stream.pending.challenger = given["challenger"]

    def on_ChallengePriceChanged(self, stream, given, time):
        stream.price = given["price"]

    def on_ChallengeResolved(self, stream, given, time):
        if not given["upheld"]:
            stream.pending.challenger = None
            stream.pending.challenger_bond = self.books.price(given["token"])
            stream.pending.finalizable_at = given["finalizableAt"]

    def on_RootRejected(self, stream, given, time):
        stream.pending = None

    def on_RootFinalized(self, stream, given, time):
        stream.root, stream.total, stream.epoch = given["root"], given["total"], given["epoch"]
        stream.pending = None

    def on_RewardClaimed(self, stream, given, time):
        account, amount = given["account"], given["amount"]
        left = self.books.allowance(given["token"], account, time) - amount
        entry = stream.accounts.setdefault(account, Account())
        entry.claimed, entry.left, entry.epoch = entry.claimed + amount, left, given["epoch"]
        stream.claimed += amount


def run_until_it_differs(system, people, model):
    for seed in range(4):
        RewardMachine(system, people, seed, model=model).run()


class GenerousModel(RewardModel):
    """Forgets the allowance."""

    def allowance(self, token, account, now):
        return 2**96


class ForgetfulModel(RewardModel):
    """Keeps the price of a challenge whatever happens."""

    def price(self, token):
        return self.min_price


@pytest.mark.parametrize("broken", [GenerousModel, ForgetfulModel])
def test_stateful_comparison_finds_a_planted_bug(system, people, broken):
    """A model with one rule wrong must not pass: else the comparison shows nothing."""
    with pytest.raises(AssertionError):
        run_until_it_differs(system, people, broken)


def test_v4_stateful_random_proofs_never_kill_an_honest_root(system, people):
    """Cases 37 and 76: any leaf of either root, or none, in any place."""
    distributor = system.distributor
    active = publish(system, system.usd, dict.fromkeys(people, 10**6))
    next_epoch(system)
    grown = {person: 10**6 + i for i, person in enumerate(people)}
    newcomers = {web3.to_checksum_address(n.to_bytes(20, "big")): 5 for n in (3, 7_778, 99_999)}
    honest = RewardTree(distributor, system.usd, grown | newcomers)
    propose(system, honest)
    chance = random.Random(20_261_121)
    sender = {"from": system.stranger}

    def some_leaf():
        tree = honest if chance.random() < 0.85 else active
        leaf = list(tree.leaf_at(chance.randrange(len(tree.pairs))))
        if chance.random() < 0.1:
            leaf[2] ^= 1 << chance.randrange(5)
        return NO_LEAF if chance.random() < 0.1 else tuple(leaf)

    for _ in range(2 * EXAMPLES):
        first, second, known = some_leaf(), some_leaf(), active.leaf_at(chance.randrange(len(people)))
        for function, arguments in (
            (distributor.proveDecrease, (known, first)),
            (distributor.proveDuplicate, (first, second)),
            (distributor.proveUnsorted, (first, second)),
            (distributor.proveOmission, (known, first, second)),
        ):
            error = outcome(function.call, system.usd, *arguments, sender)
            assert error in ("RewardNotFraud", "RewardInvalidProof", "MerkleSumPathTooLong"), (function, arguments)
