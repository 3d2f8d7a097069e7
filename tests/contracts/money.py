"""What the tests of splits, ledger and registry share: split trees that can change, and the calls around them.

The trees here are written for the tests and share nothing with the product but the hash of a node, so that they can
disagree with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from eth_abi import encode
from eth_account import Account
from eth_utils import keccak
from kit import MNEMONIC, domain, sign

from backend.rewards.merkle import Node, join, leaf_split, position

NATIVE = "0x" + "00" * 20
NONE = b"\0" * 32
DIGEST = b"\x07" * 32
DAY = 86_400
WEEK = 7 * DAY
TIP, SALE, SUBSCRIPTION, ROYALTY = 1, 2, 3, 4
ACTIVE, DISPUTED, SUSPENDED, SUSPENDED_DISPUTED, REVOKED = range(5)
REASSIGN = [
    ("uint64", "workId"),
    ("uint256", "position"),
    ("address", "account"),
    ("uint256", "weight"),
    ("bytes32", "newHash"),
    ("bytes32", "treeDigest"),
    ("bytes32", "settlesHash"),
    ("uint48", "activateBy"),
    ("address", "executor"),
    ("uint256", "nonce"),
    ("uint48", "deadline"),
]


class Leaf(NamedTuple):
    """A holder and its weight."""

    account: str
    weight: int


class Branch(NamedTuple):
    """Two sub-trees."""

    left: Any
    right: Any


Tree = Leaf | Branch


class Placed(NamedTuple):
    """A leaf with its place in a tree."""

    account: str
    weight: int
    path: int
    proof: list[Node]

    @property
    def position(self) -> int:
        return position(self.path, len(self.proof))


def grown(leaves: Sequence[tuple[Any, int]]) -> Tree:
    """The tree over leaves in their order: pairs from the left, an odd last one is carried up."""
    level: list[Tree] = [Leaf(str(account), weight) for account, weight in leaves]
    while len(level) > 1:
        paired = [Branch(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = paired + level[2 * len(paired) :]
    return level[0]


def node(tree: Tree) -> Node:
    """Hash and sum of a tree's root."""
    return leaf_split(*tree) if isinstance(tree, Leaf) else join(node(tree.left), node(tree.right))


def placed(tree: Tree, path: int = 0, above: tuple[Node, ...] = ()) -> Iterator[Placed]:
    """All leaves of a tree from left to right, each with path and proof."""
    if isinstance(tree, Leaf):
        yield Placed(tree.account, tree.weight, path, list(above))
        return
    # One step down puts a new lowest bit and a new first element of the proof.
    yield from placed(tree.left, path << 1, (node(tree.right), *above))
    yield from placed(tree.right, path << 1 | 1, (node(tree.left), *above))


def replaced(tree: Tree, at: int, by: Tree) -> Tree:
    """The tree with `by` in the place of the leaf at a position."""
    if at == 1:
        assert isinstance(tree, Leaf)
        return by
    depth = at.bit_length() - 1
    below = 1 << (depth - 1) | at & ((1 << (depth - 1)) - 1)
    assert isinstance(tree, Branch)
    if at >> (depth - 1) & 1:
        return Branch(tree.left, replaced(tree.right, below, by))
    return Branch(replaced(tree.left, below, by), tree.right)


def witness(leaf: Placed) -> tuple[Any, ...]:
    """A LeafProof."""
    return (leaf.account, leaf.weight, leaf.path, leaf.proof)


def claim(work: int, version: int, leaf: Placed, token: Any = NATIVE) -> tuple[Any, ...]:
    """A Claim."""
    return (work, version, str(token), leaf.account, leaf.weight, leaf.path)


def opened(
    ledger: Any, work: int, tree: Tree, edges: Sequence[tuple[int, int, bool]] = (), digest: bytes = DIGEST
) -> Tree:
    """Open a work as the registry; returns its tree."""
    root = node(tree)
    ledger.open(work, edges, root.hash, root.sum, digest, witness(next(placed(tree))), {"from": ledger.registry()})
    return tree


def pay(ledger: Any, work: int, amount: int, sender: Any, token: Any = NATIVE, kind: int = TIP) -> Any:
    """Pay a work in the native coin, or in a token that anyone can mint."""
    if str(token) == NATIVE:
        return ledger.payNative(work, kind, NONE, {"from": sender, "value": amount})
    token.mint(sender, amount, {"from": sender})
    token.approve(ledger, amount, {"from": sender})
    return ledger.payToken(work, token, amount, kind, NONE, {"from": sender})


def withdraw(ledger: Any, work: int, version: int, leaf: Placed, sender: Any, token: Any = NATIVE) -> int:
    """Withdraw a leaf's due; returns the amount by the event (a return value costs a trace of the transaction)."""
    tx = ledger.withdraw(claim(work, version, leaf, token), leaf.proof, {"from": sender})
    return int(tx.events["Withdrawn"]["amount"])


def move(
    work: int, leaf: Placed, by: Tree | None, activate_by: int = 2**48 - 1, digest: bytes = DIGEST
) -> tuple[Any, ...]:
    """A Reassignment; without `by` it names no new node."""
    return (work, leaf.account, leaf.weight, leaf.path, node(by).hash if by else NONE, digest, activate_by)


def reassign(
    ledger: Any,
    work: int,
    leaf: Placed,
    by: Tree,
    settles: Sequence[tuple[Any, ...]] = (),
    digest: bytes = DIGEST,
) -> Any:
    """Put a sub-tree in the place of a leaf, as its holder."""
    return ledger.reassign(move(work, leaf, by, digest=digest), leaf.proof, settles, {"from": leaf.account})


def plain(value: Any) -> Any:
    """A contract's answer as ints, text and tuples; Brownie's own types refuse to be compared with them."""
    if isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, bytes):
        return "0x" + bytes(value).hex()
    return tuple(plain(part) for part in value)


def counters(ledger: Any, work: int, token: Any = NATIVE) -> tuple[int, int, int]:
    """Direct and inherited revenue of a work, and the version of its latest credit."""
    return plain(ledger.accountOf(work, token))  # type: ignore[no-any-return]


def hexed(raw: bytes) -> str:
    """Bytes as an event or a getter shows them."""
    return "0x" + raw.hex()


def keyed(index: int) -> Any:
    """The key of accounts[index], to sign with."""
    Account.enable_unaudited_hdwallet_features()
    return Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}")


def signed_move(
    ledger: Any,
    signer_key: str,
    account: Any,
    work: int,
    leaf: Placed,
    by: Tree | None,
    *,
    settles: Sequence[tuple[Any, ...]] = (),
    executor: Any = NATIVE,
    nonce: int = 0,
    deadline: int = 2**48 - 1,
    activate_by: int = 2**48 - 1,
    contract: Any = None,
) -> list[Any]:
    """Arguments of reassignBySig with a signature by a key; without `by` the executor is to name the new holder."""
    args = move(work, leaf, by, activate_by)
    settles_hash = keccak(encode(["(uint64,uint256,address)[]"], [list(settles)]))
    message = {
        "workId": work,
        "position": leaf.position,
        "account": str(account),
        "weight": leaf.weight,
        "newHash": args[4],
        "treeDigest": DIGEST,
        "settlesHash": settles_hash,
        "activateBy": args[6],
        "executor": str(executor),
        "nonce": nonce,
        "deadline": deadline,
    }
    signature = sign(signer_key, domain("Troupe RevenueLedger", contract or ledger), "Reassign", REASSIGN, message)
    return [args, leaf.proof, list(settles), str(executor), nonce, deadline, signature]
