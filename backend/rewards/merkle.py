"""Merkle-sum trees: the Python twin of `contracts/MerkleSum.sol`.

Every node is a pair (hash, sum). A parent's hash covers both children's hashes *and* sums, and its sum is their sum;
so two leaves that both prove against one root diverge at a node whose sum contains both, and by induction the sum
of everything provable never exceeds the root's total, even if the author of the tree is a liar.

This file is pure (standard library and keccak) and is imported by the application and by Brownie's environment.
Accounts are given as 20 bytes or as hex text, amounts and weights as integers of base units below 2**256.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from eth_utils.crypto import keccak

MAX_PROOF_LENGTH = 40
"""Longest proof the contract accepts: 2**40 leaves."""

_WORD = 1 << 256


class Node(NamedTuple):
    """A node of a Merkle-sum tree: 32 bytes of keccak-256 and the sum of all leaves below it."""

    hash: bytes
    sum: int


class Proof(NamedTuple):
    """A leaf's place (`path`: bit i set = our node is the right child at step i) and its siblings, leaf to root."""

    path: int
    nodes: list[Node]

    @property
    def position(self) -> int:
        """The leaf's number that is unique in any binary tree: `(1 << depth) | path`."""
        return position(self.path, len(self.nodes))


def position(path: int, depth: int) -> int:
    """Number of the node that `path` reaches after `depth` steps; unique even where leaves have different depths.

    Raises ValueError for a path with bits above its depth, as the contract does (`MerkleSumPathTooLong`).
    """
    if path < 0 or path >> depth:
        raise ValueError(f"path {path} has bits above its {depth} steps")
    return (1 << depth) | path


def word(value: int) -> bytes:
    """ABI word of an unsigned integer: 32 bytes, big endian. Raises ValueError outside 0 .. 2**256 - 1."""
    if not 0 <= value < _WORD:
        raise ValueError(f"{value} does not fit in uint256")
    return value.to_bytes(32, "big")


def address_word(account: str | bytes) -> bytes:
    """ABI word of an address given as 20 bytes or as `0x` and 40 hex digits. Raises ValueError on anything else."""
    raw = bytes.fromhex(account.removeprefix("0x")) if isinstance(account, str) else bytes(account)
    if len(raw) != 20:
        raise ValueError(f"an address has 20 bytes, not {len(raw)}")
    return raw.rjust(32, b"\0")


def leaf_split(account: str | bytes, weight: int) -> Node:
    """Leaf of a split tree: `keccak(keccak(abi.encode(account, weight)))` with its weight as sum.

    Hashed twice, so that no inner node (128 bytes hashed once) can be presented as a leaf.
    """
    return Node(keccak(keccak(address_word(account) + word(weight))), weight)


def leaf_reward(
    chain_id: int, distributor: str | bytes, token: str | bytes, account: str | bytes, cumulative: int
) -> Node:
    """Leaf of a reward tree: `keccak(keccak(abi.encode(chainId, distributor, token, account, cumulative)))`.

    The sum is `cumulative`, all that the account was ever awarded in this token (base units). Chain and contract are
    part of the leaf, so a proof is worthless in any other place (promise V4).
    """
    encoded = (
        word(chain_id) + address_word(distributor) + address_word(token) + address_word(account) + word(cumulative)
    )
    return Node(keccak(keccak(encoded)), cumulative)


def join(left: Node, right: Node) -> Node:
    """Parent of two nodes: `keccak(abi.encodePacked(leftHash, leftSum, rightHash, rightSum))`, sums added.

    Raises ValueError when the sum leaves uint256 (the contract's checked addition reverts).
    """
    total = left.sum + right.sum
    word(total)
    return Node(keccak(left.hash + word(left.sum) + right.hash + word(right.sum)), total)


def process(proof: Sequence[Node], path: int, leaf: Node) -> Node:
    """Root (hash and total) that this proof gives for this leaf; the caller compares it with the committed one.

    Raises ValueError for a proof over `MAX_PROOF_LENGTH`, a path with bits above the proof's length, or an overflow.
    """
    if len(proof) > MAX_PROOF_LENGTH:
        raise ValueError(f"a proof has at most {MAX_PROOF_LENGTH} nodes, not {len(proof)}")
    position(path, len(proof))
    node = leaf
    for step, sibling in enumerate(proof):
        node = join(sibling, node) if path >> step & 1 else join(node, sibling)
    return node


def replace(proof: Sequence[Node], path: int, old: Node, new: Node) -> tuple[Node, Node]:
    """Roots before and after putting `new` (a leaf or the root of a sub-tree) in the place of `old`."""
    return process(proof, path, old), process(proof, path, new)


class Tree:
    """A Merkle-sum tree over leaves in the given order: joined in pairs, an odd last node is carried up unchanged.

    Building costs one hash per inner node; `proof` costs nothing but look-ups. Raises ValueError without leaves.
    """

    def __init__(self, leaves: Iterable[Node]) -> None:
        level = list(leaves)
        if not level:
            raise ValueError("a tree needs at least one leaf")
        self._levels = [level]
        while len(level) > 1:
            carried = level[-1:] if len(level) % 2 else []
            level = [join(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)] + carried
            self._levels.append(level)

    def __len__(self) -> int:
        return len(self._levels[0])

    @property
    def leaves(self) -> list[Node]:
        """The leaves in order (a copy)."""
        return list(self._levels[0])

    @property
    def levels(self) -> Sequence[Sequence[Node]]:
        """The nodes by level, leaves first, the root alone in the last; a node that is carried up is in both levels."""
        return self._levels

    @property
    def root_node(self) -> Node:
        """Root hash and total together."""
        return self._levels[-1][0]

    @property
    def root(self) -> bytes:
        """Root hash, 32 bytes."""
        return self.root_node.hash

    @property
    def total(self) -> int:
        """Sum of all leaves."""
        return self.root_node.sum

    def proof(self, index: int) -> Proof:
        """Path and siblings of leaf `index`; a level where the node is carried up adds neither. Raises IndexError."""
        if not 0 <= index < len(self):
            raise IndexError(f"leaf {index} of {len(self)}")
        path, nodes = 0, list[Node]()
        for level in self._levels[:-1]:
            sibling = index ^ 1
            if sibling < len(level):
                path |= (index & 1) << len(nodes)
                nodes.append(level[sibling])
            index //= 2
        return Proof(path, nodes)
