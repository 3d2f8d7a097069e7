"""What the tests of RewardDistributor share: the set-up, trees over real addresses, and the way of a root."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from brownie import AccessManager, MockUSD, RewardDistributor, TroupeToken, accounts, web3
from kit import DAY, TRP, mine_at, now

from backend.rewards.merkle import Tree, leaf_reward

PUBLISHER, GUARDIAN = 1, 4
WINDOW, RESOLVE = 2 * DAY, 14 * DAY
BOND, MIN_PRICE, MAX_PRICE = 10_000 * TRP, 1_000 * TRP, 64_000 * TRP
EPOCH = 7 * DAY
EPOCH_CAP, ACCOUNT_CAP = 1_000 * 10**6, 50 * 10**6
FUNDS = 1_000_000 * 10**6
DIGEST, LOG_ROOT = b"\x11" * 32, b"\x22" * 32


def deploy_rewards(contract: Any = RewardDistributor) -> SimpleNamespace:
    """A distributor whose Timelock is accounts[0], with a funded dollar stream and people who can post bonds."""
    timelock, publisher, guardian, challenger = accounts[0], accounts[1], accounts[2], accounts[3]
    manager = timelock.deploy(AccessManager, timelock)
    token = timelock.deploy(
        TroupeToken,
        "Troupe",
        "TRP",
        10**27,
        manager,
        timelock,
        [(person, 1_000_000 * TRP) for person in (timelock, publisher, challenger, accounts[4])],
    )
    usd = timelock.deploy(MockUSD)
    genesis = now()
    distributor = timelock.deploy(contract, manager, token, genesis, (WINDOW, RESOLVE, BOND, MIN_PRICE, MAX_PRICE))
    for name, role, member in (("propose", PUBLISHER, publisher), ("kill", GUARDIAN, guardian)):
        manager.setTargetFunctionRole(distributor, [getattr(distributor, name).signature], role, {"from": timelock})
        manager.grantRole(role, member, 0, {"from": timelock})
    for person in (timelock, publisher, challenger, accounts[4]):
        token.approve(distributor, 2**256 - 1, {"from": person})
        usd.mint(person, 10 * FUNDS, {"from": person})
        usd.approve(distributor, 2**256 - 1, {"from": person})
    distributor.fund(usd, FUNDS, {"from": timelock})
    distributor.setCaps(usd, EPOCH_CAP, ACCOUNT_CAP, {"from": timelock})
    return SimpleNamespace(
        manager=manager,
        token=token,
        usd=usd,
        distributor=distributor,
        genesis=genesis,
        timelock=timelock,
        publisher=publisher,
        guardian=guardian,
        challenger=challenger,
        stranger=accounts[4],
    )


class RewardTree:
    """A reward tree over {account: cumulative}; ascending by account unless the order is given."""

    def __init__(self, distributor: Any, token: Any, amounts: Any, *, ordered: bool = True) -> None:
        pairs = list(amounts.items() if isinstance(amounts, dict) else amounts)
        self.pairs = [(str(account), int(amount)) for account, amount in pairs]
        if ordered:
            self.pairs.sort(key=lambda pair: int(pair[0], 16))
        self.token = str(token)
        chain_id = web3.eth.chain_id
        self.tree = Tree(leaf_reward(chain_id, str(distributor), self.token, a, c) for a, c in self.pairs)

    @property
    def root(self) -> bytes:
        return self.tree.root

    @property
    def total(self) -> int:
        return self.tree.total

    def index(self, account: Any) -> int:
        return [a for a, _ in self.pairs].index(str(account))

    def leaf_at(self, index: int) -> tuple[str, int, int, list[tuple[bytes, int]]]:
        """(account, cumulative, path, proof) of the leaf at a place: the contract's Leaf."""
        account, cumulative = self.pairs[index]
        proof = self.tree.proof(index)
        return account, cumulative, proof.path, [tuple(node) for node in proof.nodes]

    def leaf(self, account: Any) -> tuple[str, int, int, list[tuple[bytes, int]]]:
        return self.leaf_at(self.index(account))

    def claim(self, account: Any) -> tuple[str, str, int, int, list[tuple[bytes, int]]]:
        """The arguments of `claim`."""
        return (self.token, *self.leaf(account))


NO_LEAF = ("0x" + "00" * 20, 0, 0, [])


def propose(system: SimpleNamespace, tree: RewardTree, total: int | None = None) -> Any:
    """The publisher proposes a tree's root."""
    total = tree.total if total is None else total
    return system.distributor.propose(tree.token, tree.root, total, DIGEST, LOG_ROOT, {"from": system.publisher})


def publish(system: SimpleNamespace, token: Any, amounts: Any) -> RewardTree:
    """Propose, wait out the window on the chain's clock, finalize."""
    tree = RewardTree(system.distributor, token, amounts)
    tx = propose(system, tree)
    mine_at(tx.timestamp + WINDOW)
    system.distributor.finalize(token, {"from": system.stranger})
    return tree


def start_of_epoch(system: SimpleNamespace, epoch: int) -> int:
    return int(system.genesis + (epoch - 1) * EPOCH)


def next_epoch(system: SimpleNamespace, count: int = 1) -> None:
    """Go to the first second of the epoch that is `count` after the present one."""
    present = (now() - system.genesis) // EPOCH + 1
    mine_at(start_of_epoch(system, present + count))
