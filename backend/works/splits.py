"""Who holds a work's revenue: the split tree file, and each split version rebuilt from it and from the chain's events.

Pure. A work starts with a published tree file; a holder then replaces its own leaf by a node of equal sum, which is one
new holder's leaf or the root of a smaller published tree. Proofs of everyone else follow from the first file and the
events alone, even when the file of a replaced leaf was never published: its node is then known by hash and sum only.

A node's number is its position `(1 << depth) | path`, where bit i of the path is the step i levels above the leaf.
So the root is 1, the parent of p is p >> 1 and its sibling p ^ 1 (research: contracts.md, W2).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, NamedTuple, Self

from eth_utils.address import is_checksum_address

from backend.rewards.merkle import Node, Tree, join, leaf_split

FORMAT: Final = "troupe-split/1"
DEFAULT_TOTAL_WEIGHT: Final = 1_000_000
"""Weight of a new work's only leaf: fine enough to give parts away in millionths."""
MAX_WEIGHT: Final = 2**256 - 1
MAX_TREE_FILE_BYTES: Final = 16 * 1024 * 1024


class InvalidSplit(ValueError):
    """A tree file, or an event, that doesn't fit; the message says what."""


class Share(NamedTuple):
    """One holder's part of a split: an EIP-55 address and its weight."""

    account: str
    weight: int


class Leaf(NamedTuple):
    """A leaf of a split version. `account` is None where a replaced leaf's own tree file isn't known."""

    position: int
    account: str | None
    weight: int


class Reassigned(NamedTuple):
    """The event ShareReassigned: the leaf at `position` became the node (`new_hash`, `weight`)."""

    position: int
    account: str
    weight: int
    new_hash: bytes
    tree_digest: bytes


class Activated(NamedTuple):
    """The event SplitActivated: from here on a version with this root is live."""

    version: int
    root: bytes
    total_weight: int
    tree_digest: bytes


# --- the tree file ----------------------------------------------------------------------------------------------------


def tree_file(shares: Sequence[Share]) -> bytes:
    """The canonical JSON bytes of a split; their sha256 is the `treeDigest` on chain and the digest of their CID."""
    leaves = [{"account": share.account, "weight": str(share.weight)} for share in shares]
    return json.dumps({"format": FORMAT, "leaves": leaves}, sort_keys=True, separators=(",", ":")).encode()


def read_tree_file(data: bytes) -> list[Share]:
    """Read a tree file of any origin. Raises InvalidSplit unless it is exactly what `tree_file` writes."""
    if len(data) > MAX_TREE_FILE_BYTES:
        raise InvalidSplit(f"a tree file of {len(data)} bytes is above {MAX_TREE_FILE_BYTES}")
    if data.count(b"[") != 1 or data.count(b"{") != 1 + data.count(b'{"account":"'):
        raise InvalidSplit("not a tree file: one list of leaves is all that nests in it")
    try:
        document = json.loads(data)
        if document["format"] != FORMAT:
            raise InvalidSplit(f"the format is {document['format']!r}, not {FORMAT!r}")
        shares = [_share(leaf) for leaf in document["leaves"]]
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidSplit(f"not a tree file: {error}") from error
    if not shares or tree_file(shares) != data:
        raise InvalidSplit("not the canonical form of a tree file")
    return shares


def _share(leaf: Any) -> Share:
    account, weight = leaf["account"], leaf["weight"]
    if not isinstance(account, str) or not is_checksum_address(account):
        raise InvalidSplit(f"{account!r} is not a checksummed address")
    if not isinstance(weight, str) or not weight.isascii() or not weight.isdecimal() or len(weight) > 78:
        raise InvalidSplit(f"{weight!r} is not a weight")
    if not 0 < int(weight) <= MAX_WEIGHT:
        raise InvalidSplit(f"a weight is 1 to {MAX_WEIGHT}, not {weight}")
    return Share(account, int(weight))


def tree_of(shares: Sequence[Share]) -> Tree:
    """The Merkle-sum tree of a split, leaves in the file's order."""
    return Tree(leaf_split(share.account, share.weight) for share in shares)


# --- a split version --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class SplitTree:
    """A split as a binary tree of nodes by position, with the holders of its leaves."""

    _nodes: dict[int, Node] = field(default_factory=dict)
    _holders: dict[int, str | None] = field(default_factory=dict)

    @classmethod
    def of(cls, shares: Sequence[Share]) -> Self:
        """The first version of a split."""
        tree, split = tree_of(shares), cls()
        for index, share in enumerate(shares):
            position = tree.proof(index).position
            split._holders[position] = share.account
            split._nodes[position] = leaf_split(share.account, share.weight)
        split._fill()
        return split

    def copy(self) -> SplitTree:
        """An independent tree of the same state."""
        return SplitTree(dict(self._nodes), dict(self._holders))

    @property
    def root(self) -> Node:
        """Root hash and total weight."""
        return self._nodes[1]

    def leaves(self) -> Iterator[Leaf]:
        """All leaves, from left to right."""
        for position in sorted(self._holders, key=_reading_order):
            yield Leaf(position, self._holders[position], self._nodes[position].sum)

    def proof(self, position: int) -> list[Node]:
        """Siblings of a leaf from its level to the root. Raises KeyError for a position that holds no leaf."""
        if position not in self._holders:
            raise KeyError(position)
        nodes = []
        while position > 1:
            nodes.append(self._nodes[position ^ 1])
            position >>= 1
        return nodes

    def replace(self, event: Reassigned, shares: Sequence[Share] | None) -> None:
        """Put a node of equal sum in the place of a leaf. `shares` None: what lies below the node isn't known.

        Raises InvalidSplit when the event names another leaf than the one that stands there, or `shares` another node.
        """
        place = event.position
        if self._nodes.get(place) != leaf_split(event.account, event.weight) or place not in self._holders:
            raise InvalidSplit(f"position {place} doesn't hold the leaf ({event.account}, {event.weight})")
        new = Node(event.new_hash, event.weight)
        del self._holders[place]
        if shares is None:
            self._nodes[place], self._holders[place] = new, None
        else:
            below = SplitTree.of(shares)
            if below.root != new:
                raise InvalidSplit(f"the shares given for position {place} have another root")
            for position, node in below._nodes.items():
                self._nodes[_graft(place, position)] = node
            for position, holder in below._holders.items():
                self._holders[_graft(place, position)] = holder
        while place > 1:
            place >>= 1
            self._nodes[place] = join(self._nodes[2 * place], self._nodes[2 * place + 1])

    def _fill(self) -> None:
        """Compute the inner nodes from the leaves, deepest level first."""
        level = sorted(self._holders, reverse=True)
        inner = {position >> depth for position in level for depth in range(1, position.bit_length())}
        for position in sorted(inner, reverse=True):
            self._nodes[position] = join(self._nodes[2 * position], self._nodes[2 * position + 1])


def _graft(place: int, below: int) -> int:
    """Position in the whole tree of what has the position `below` in the tree that hangs at `place`."""
    depth = below.bit_length() - 1
    return place << depth | below ^ 1 << depth


def _reading_order(position: int) -> str:
    """Sorts positions from left to right: the steps from the root down."""
    return bin(position)[3:]


# --- all versions of a work -------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Splits:
    """A work's split versions and what is gathered for the next one. A tree is None when its file isn't known.

    `lost` says that something is gathered and can't be rebuilt: a share below an unpublished tree was moved on.
    """

    versions: dict[int, SplitTree | None] = field(default_factory=dict)
    pending: SplitTree | None = None
    latest: int = 0
    lost: bool = False

    @property
    def movable(self) -> SplitTree | None:
        """The tree that the next reassignment proves against: the pending one, or else the live one."""
        return None if self.lost else self.pending or self.versions.get(self.latest)


def fold(
    events: Iterable[Reassigned | Activated],
    find_file: Callable[[bytes], bytes | None],
    sole_holder: str | None = None,
) -> Splits:
    """Rebuild a work's splits from its events in chain order.

    `find_file` gives the tree file of a digest, or None. `sole_holder` (the account that registered the work) stands in
    for the first file when that isn't known and the root says that the account holds everything. Nothing found is taken
    on trust: each tree's root is compared with the event's. Raises nothing: a tree that can't be rebuilt, whatever its
    holders did on chain or published, is None, and the other works' holders never notice.
    """
    splits = Splits()
    for event in events:
        if isinstance(event, Reassigned):
            tree = splits.movable if splits.pending else _copy(splits.movable)
            if tree is not None:
                expected = Node(event.new_hash, event.weight)
                try:
                    tree.replace(event, _shares(event.tree_digest, expected, find_file))
                except InvalidSplit:  # a leaf below a node whose tree was never published: its siblings aren't known
                    tree, splits.lost = None, True
            splits.pending = tree
        else:
            expected = Node(event.root, event.total_weight)
            if splits.pending is not None and splits.pending.root == expected:
                tree = splits.pending
            else:
                shares = _shares(event.tree_digest, expected, find_file, sole_holder)
                tree = None if shares is None else SplitTree.of(shares)
            splits.versions[event.version], splits.latest, splits.pending = tree, event.version, None
            splits.lost = False
    return splits


def _copy(tree: SplitTree | None) -> SplitTree | None:
    return None if tree is None else tree.copy()


def _shares(
    digest: bytes, expected: Node, find_file: Callable[[bytes], bytes | None], sole_holder: str | None = None
) -> list[Share] | None:
    """The shares below a node, from the file of that digest if it is there and says the truth."""
    data = find_file(digest)
    if data is not None and sha256(data).digest() == digest:
        try:
            shares = read_tree_file(data)
        except InvalidSplit:
            return None  # anyone may publish a digest of anything; what is not a tree file tells nothing
        if sum(share.weight for share in shares) != expected.sum:
            return None  # and sums that no word holds would not even make a tree
        return shares if tree_of(shares).root_node == expected else None
    if sole_holder is not None and leaf_split(sole_holder, expected.sum) == expected:
        return [Share(sole_holder, expected.sum)]
    return None
