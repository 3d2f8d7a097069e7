"""Splits as files and as trees: who holds which share of a work, where its leaf lies, and the proof of it. Pure.

A split is published as a canonical JSON file (`troupe-split/1`) whose sha256 is the `treeDigest` on chain, so that the
digest is also the CID of the file as one raw block. Its tree is the Merkle-sum tree of backend/rewards/merkle.py over
the file's leaves in their order. A holder may later put a tree of new holders in the place of its own leaf
(`ShareReassigned`), so leaves come to lie at different depths and one account may hold several.

Places are numbered as in a heap: the root is 1, the children of p are 2p and 2p + 1. That is the contract's
`position = (1 << proof length) | path`, and a proof is the row of siblings from a position up to the root.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Self

from eth_utils.address import is_checksum_address, to_checksum_address

from backend.payouts.ledger import Leaf
from backend.rewards.merkle import MAX_PROOF_LENGTH, Node, Proof, join, leaf_split

FORMAT = "troupe-split/1"
DEFAULT_TOTAL_WEIGHT = 1_000_000
"""A new work's whole: fine enough to give away a ten-thousandth of a percent."""
MAX_LEAVES = 100_000
ROOT = 1


class SplitError(ValueError):
    """A split that can't be: the message says what is wrong with it."""


class Share(NamedTuple):
    """One holder's part of a split: an EIP-55 address and an integer weight above 0."""

    account: str
    weight: int


# --- the file ----------------------------------------------------------------------------------------------------


def encode(shares: Sequence[Share]) -> bytes:
    """The canonical file: keys sorted, no spaces, addresses in EIP-55, weights as decimal text."""
    leaves = [{"account": share.account, "weight": str(share.weight)} for share in checked(shares)]
    return json.dumps({"format": FORMAT, "leaves": leaves}, sort_keys=True, separators=(",", ":")).encode()


def decode(data: bytes) -> tuple[Share, ...]:
    """Read a split file. Raises SplitError unless it is byte for byte what `encode` would write."""
    try:
        document: Any = json.loads(data)
        shares = tuple(Share(leaf["account"], int(leaf["weight"])) for leaf in document["leaves"])
        canonical = encode(shares)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SplitError(f"this is no {FORMAT} file: {error}") from error
    if canonical != data:
        raise SplitError(f"this {FORMAT} file is not in its canonical form")
    return shares


def digest(data: bytes) -> bytes:
    """The `treeDigest` of a split file: its sha256, which is also the digest of its raw CID."""
    return hashlib.sha256(data).digest()


def checked(shares: Sequence[Share]) -> tuple[Share, ...]:
    """The shares with addresses in EIP-55. Raises SplitError for none, too many, a bad address or a weight below 1."""
    if not 0 < len(shares) <= MAX_LEAVES:
        raise SplitError(f"a split has 1 to {MAX_LEAVES} holders, not {len(shares)}")
    for share in shares:
        if share.weight < 1:
            raise SplitError(f"{share.account} would hold {share.weight}; a share weighs at least 1")
    if sum(share.weight for share in shares) >= 1 << 256:
        raise SplitError("the weights add up to more than a contract's integer can hold")
    return tuple(Share(checksummed(share.account), share.weight) for share in shares)


def checksummed(account: str) -> str:
    """An address in EIP-55. Raises SplitError when it is none, or when its capitals say that it was mistyped."""
    digits = account.removeprefix("0x")
    try:
        address = to_checksum_address(account)
    except (ValueError, TypeError) as error:
        raise SplitError(f"{account!r} is not an address") from error
    if digits not in (digits.lower(), digits.upper()) and not is_checksum_address(account):
        raise SplitError(f"{account} is mistyped: its capitals don't fit its digits (EIP-55)")
    return str(address)


# --- the tree ----------------------------------------------------------------------------------------------------


class SplitTree:
    """A split's tree with the shares that are known of it; `replace` changes it in place, `copy` is cheap."""

    def __init__(self, nodes: dict[int, Node], shares: dict[int, Share]) -> None:
        self._nodes = nodes
        self._shares = shares

    @classmethod
    def of(cls, shares: Sequence[Share]) -> Self:
        """The tree of a file's leaves: joined in pairs, an odd last one carried up. Raises SplitError."""
        good = checked(shares)
        # each entry of a level is the sub-tree of one node: its own node, and the heap places below it
        level: list[list[tuple[int, Node]]] = [[(ROOT, leaf_split(*share))] for share in good]
        while len(level) > 1:
            pairs = [_joined(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
            level = pairs + (level[-1:] if len(level) % 2 else [])
        nodes = dict(level[0])
        leaves = sorted((p for p in nodes if 2 * p not in nodes), key=_left_to_right)
        return cls(nodes, dict(zip(leaves, good, strict=True)))

    @property
    def root(self) -> Node:
        """Root hash and total weight."""
        return self._nodes[ROOT]

    @property
    def leaves(self) -> list[Leaf]:
        """The known leaves from left to right."""
        return [Leaf(place, *self._shares[place]) for place in sorted(self._shares, key=_left_to_right)]

    @property
    def complete(self) -> bool:
        """Whether every leaf is known (no sub-tree is hidden behind an unpublished file)."""
        return sum(share.weight for share in self._shares.values()) == self.root.sum

    def of_account(self, account: str) -> list[Leaf]:
        """The leaves that an account holds, from left to right."""
        return [leaf for leaf in self.leaves if leaf.account.lower() == account.lower()]

    def leaf(self, position: int) -> Leaf:
        """The leaf at a position. Raises SplitError when there is none, or none that is known."""
        if position not in self._shares:
            raise SplitError(f"there is no known leaf at position {position}")
        return Leaf(position, *self._shares[position])

    def proof(self, position: int) -> Proof:
        """Path and siblings of a position, as the contract wants them. Raises SplitError."""
        if position not in self._nodes:
            raise SplitError(f"there is no node at position {position}")
        depth = position.bit_length() - 1
        siblings = [self._nodes[(position >> step) ^ 1] for step in range(depth)]
        return Proof(position ^ (1 << depth), siblings)

    def copy(self) -> SplitTree:
        """An independent tree with the same nodes."""
        return SplitTree(dict(self._nodes), dict(self._shares))

    def replace(self, position: int, new: SplitTree | Node) -> None:
        """Put a tree (or a node of which nothing more is known) in the place of a leaf; weights must agree.

        Raises SplitError when there is no leaf, the weights differ, or a proof would become too long.
        """
        old = self._nodes.get(position)
        if old is None or 2 * position in self._nodes:
            raise SplitError(f"there is no leaf at position {position}")
        top = new if isinstance(new, Node) else new.root
        if top.sum != old.sum:
            raise SplitError(f"the share weighs {old.sum}, what takes its place {top.sum}")
        self._shares.pop(position, None)
        if isinstance(new, Node):
            self._nodes[position] = new
        else:
            depth = position.bit_length() - 1
            if depth + max(new._nodes).bit_length() - 1 > MAX_PROOF_LENGTH:
                raise SplitError(f"the proof of a share there would be longer than {MAX_PROOF_LENGTH}")
            for place, node in new._nodes.items():
                self._nodes[_below(position, place)] = node
            for place, share in new._shares.items():
                self._shares[_below(position, place)] = share
        while position > ROOT:
            position >>= 1
            self._nodes[position] = join(self._nodes[2 * position], self._nodes[2 * position + 1])


# --- reassignment ------------------------------------------------------------------------------------------------


class Reassigned(NamedTuple):
    """A `ShareReassigned` event, with the shares of its published file when that is at hand."""

    account: str
    weight: int
    position: int
    new_hash: bytes
    pending_root: bytes
    shares: tuple[Share, ...] | None = None


class Activated(NamedTuple):
    """A `SplitActivated` event; `shares` (of its file) are needed where no chain of reassignments leads to the root."""

    version: int
    root: bytes
    total_weight: int
    shares: tuple[Share, ...] | None = None


class Move(NamedTuple):
    """A planned reassignment: what the holder signs, what is published, and the tree as it will be."""

    leaf: Leaf
    proof: Proof
    new_hash: bytes
    file: bytes
    digest: bytes
    tree: SplitTree


def plan_move(tree: SplitTree, position: int, recipients: Sequence[Share]) -> Move:
    """Give a leaf, or part of it, to others; what is not given stays with its holder as the first new leaf.

    Raises SplitError when more is given than there is, when nothing would change, or when the tree gets too deep.
    """
    leaf = tree.leaf(position)
    given = checked(recipients)
    rest = leaf.weight - sum(share.weight for share in given)
    if rest < 0:
        raise SplitError(f"{leaf.weight - rest} would be given of a share that weighs {leaf.weight}")
    shares = (Share(leaf.account, rest), *given) if rest else given
    if {share.account for share in shares} == {leaf.account}:
        raise SplitError("the share would stay with its holder; name somebody else")
    file = encode(shares)
    new = SplitTree.of(shares)
    after = tree.copy()
    after.replace(position, new)
    return Move(leaf, tree.proof(position), new.root.hash, file, digest(file), after)


def rebuild(history: Iterable[Reassigned | Activated]) -> Iterator[tuple[Activated, SplitTree]]:
    """Each activated version of a work with its tree, from the work's events in chain order.

    After each reassignment the rebuilt root must be the event's `pendingRoot`, and each activated root the rebuilt
    one, or that of the file given with it. Raises SplitError that names the event where a tree is not known.
    """
    for step in steps(history):
        if step.activated:
            yield step.activated, step.tree.copy()


class Step(NamedTuple):
    """The tree after one event; `activated` is None while it is pending."""

    activated: Activated | None
    tree: SplitTree


def steps(history: Iterable[Reassigned | Activated]) -> Iterator[Step]:
    """The (one, changing) tree after each event: the last step's tree is the one that the next proof must fit."""
    tree: SplitTree | None = None
    for event in history:
        if isinstance(event, Activated):
            if tree is None or tree.root.hash != event.root:
                tree = _from_file(event)
            yield Step(event, tree)
        else:
            if tree is None:
                raise SplitError("a share was reassigned before the first version's tree is known")
            tree.replace(event.position, _replacement(event))
            if tree.root.hash != event.pending_root:
                raise SplitError(
                    f"the reassignment at position {event.position} leads to root 0x{event.pending_root.hex()}, "
                    f"the rebuilt tree to 0x{tree.root.hash.hex()}"
                )
            yield Step(None, tree)


def rebuild_last(history: Iterable[Reassigned | Activated]) -> SplitTree:
    """The current tree, reassignments that are still pending included. Raises SplitError."""
    last: SplitTree | None = None
    for step in steps(history):
        last = step.tree
    if last is None:
        raise SplitError("the work has no split yet")
    return last


# --- helpers -----------------------------------------------------------------------------------------------------


def _from_file(event: Activated) -> SplitTree:
    if event.shares is None:
        raise SplitError(f"the split file of version {event.version} is not known")
    tree = SplitTree.of(event.shares)
    if tree.root != Node(event.root, event.total_weight):
        raise SplitError(f"the split file of version {event.version} doesn't lead to its root")
    return tree


def _replacement(event: Reassigned) -> SplitTree | Node:
    """The tree of the event's file if that is what was committed, else the bare node: nothing is known below it."""
    promised = Node(event.new_hash, event.weight)
    if event.shares is not None:
        tree = SplitTree.of(event.shares)
        if tree.root == promised:
            return tree
    return promised


def _below(position: int, place: int) -> int:
    """Where a node of a sub-tree lies once that tree stands at `position`."""
    depth = place.bit_length() - 1
    return position << depth | place ^ (1 << depth)


def _joined(left: list[tuple[int, Node]], right: list[tuple[int, Node]]) -> list[tuple[int, Node]]:
    return [
        (ROOT, join(left[0][1], right[0][1])),
        *((_below(2, place), node) for place, node in left),
        *((_below(3, place), node) for place, node in right),
    ]


def _left_to_right(position: int) -> int:
    """Sort key of leaves: the path read from the root as a binary fraction."""
    return position << (MAX_PROOF_LENGTH + 1 - position.bit_length())
