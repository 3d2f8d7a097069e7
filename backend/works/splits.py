"""Who holds a work's revenue: the split tree file, and each split version rebuilt from it and from the chain's events.

Pure. A work starts with a published tree file; a holder then replaces its own leaf by a node of equal sum, which is one
new holder's leaf or the root of a smaller published tree. Proofs of everyone else follow from the first file and the
events alone, even when the file of a replaced leaf was never published: its node is then known by hash and sum only,
and each leaf that moves below it brings the nodes on its way up, in the event's proof.

A node's number is its position `(1 << depth) | path`, where bit i of the path is the step i levels above the leaf.
So the root is 1, the parent of p is p >> 1 and its sibling p ^ 1.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, NamedTuple, Self

from eth_utils.address import is_checksum_address

from backend.rewards.merkle import Node, Tree, join, leaf_split, process

FORMAT: Final = "troupe-split/1"
DEFAULT_TOTAL_WEIGHT: Final = 1_000_000
"""Weight of a new work's only leaf: fine enough to give parts away in millionths."""
MAX_WEIGHT: Final = 2**256 - 1
MAX_TREE_FILE_BYTES: Final = 16 * 1024 * 1024
MAX_LEAVES: Final = 2**18
"""Leaves up to which a file of any size is taken into a tree; more than the largest file has."""
SMALL_FILE_LEAVES: Final = 4_096
"""A file of so many leaves always is: more than one request of ours gives a share to."""


class InvalidSplit(ValueError):
    """A tree file, or an event, that doesn't fit; the message says what."""


class Share(NamedTuple):
    """One holder's part of a split: an EIP-55 address and its weight."""

    account: str
    weight: int


class Leaf(NamedTuple):
    """A leaf of a split version. `account` is None where only a node is known: a holder, or the root of hidden ones."""

    position: int
    account: str | None
    weight: int


class Reassigned(NamedTuple):
    """The event ShareReassigned: the leaf at `position` became the node (`new_hash`, `weight`); siblings: `proof`."""

    position: int
    account: str
    weight: int
    new_hash: bytes
    tree_digest: bytes
    proof: tuple[Node, ...]


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
        above, split = [1], cls()
        for level in reversed(tree_of(shares).levels):
            if len(level) > len(above):  # a node that was carried up stays in its place
                paired = len(level) // 2
                above = [2 * place + side for place in above[:paired] for side in (0, 1)] + above[paired:]
            split._nodes.update(zip(above, level, strict=True))
        split._holders.update(zip(above, (share.account for share in shares), strict=True))
        return split

    @property
    def size(self) -> int:
        """How many nodes it keeps in memory; none for what is no tree."""
        return len(self._nodes)

    def takes(self, below: SplitTree) -> bool:
        """Whether the tree of another file may be put into this one.

        Each move names a file, and many may name the same large one: without a bound, leaves that cost their holder one
        transaction each would take the memory of whoever rebuilds the split.
        """
        leaves = len(below._holders)
        return leaves <= SMALL_FILE_LEAVES or len(self._holders) + leaves <= MAX_LEAVES

    def copy(self) -> SplitTree:
        """An independent tree of the same state."""
        return SplitTree(dict(self._nodes), dict(self._holders))

    @property
    def root(self) -> Node:
        """Root hash and total weight."""
        return self._nodes[1]

    def __contains__(self, position: object) -> bool:
        """Whether a leaf, or a node of which only hash and sum are known, stands at that position."""
        return position in self._holders

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

    def replace(self, event: Reassigned, below: SplitTree | None) -> None:
        """Put a node of equal sum in the place of a leaf. `below` None: what lies below that node isn't known.

        Raises InvalidSplit when the event's proof doesn't lead from its leaf to this root, or `below` has another root.
        """
        place, new = event.position, Node(event.new_hash, event.weight)
        if below is not None and below.root != new:
            raise InvalidSplit(f"the tree given for position {place} has another root")
        self._reveal(place, leaf_split(event.account, event.weight), event.proof)
        del self._holders[place]
        if below is None:
            self._nodes[place], self._holders[place] = new, None
        else:
            for position, node in below._nodes.items():
                self._nodes[_graft(place, position)] = node
            for position, holder in below._holders.items():
                self._holders[_graft(place, position)] = holder
        while place > 1:
            place >>= 1
            self._nodes[place] = join(self._nodes[2 * place], self._nodes[2 * place + 1])

    def _reveal(self, place: int, leaf: Node, proof: Sequence[Node]) -> None:
        """Learn the nodes between a leaf and the hidden node above it from the leaf's proof, where there is one.

        The proof must lead to this tree's root. Hashes don't collide, so every node in it is then the tree's own, and
        those that are known already need no comparison.
        """
        depth = place.bit_length() - 1
        try:
            proven = depth == len(proof) and process(proof, place ^ 1 << depth, leaf) == self.root
        except ValueError:  # longer than any proof, or sums that no word holds
            proven = False
        if not proven:
            raise InvalidSplit(f"position {place} doesn't hold a leaf of weight {leaf.sum} by that proof")
        if place in self._nodes:
            return
        self._holders[place] = None
        node = leaf
        for sibling in proof:
            self._nodes[place], self._nodes[place ^ 1] = node, sibling
            self._holders[place ^ 1] = None
            node = join(sibling, node) if place & 1 else join(node, sibling)
            place >>= 1
            if place in self._nodes:
                break
        del self._holders[place]  # it was the hidden node


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
    """A work's split versions and what is gathered for the next one. A version is None when its file isn't known."""

    versions: dict[int, SplitTree | None] = field(default_factory=dict)
    pending: SplitTree | None = None
    latest: int = 0
    gathered: int = 0
    """Reassignments since the latest version began, whether or not the tree they led to is known."""

    @property
    def movable(self) -> SplitTree | None:
        """The tree that the next reassignment proves against: the pending one, or else the live one."""
        return self.pending or self.versions.get(self.latest)


FindFile = Callable[[bytes], bytes | None]
"""The tree file of a digest, or None when it isn't kept here."""

Known = Callable[[bytes, Callable[[], SplitTree | None]], SplitTree | None]
"""The tree of a digest's file: remembered, or else read by the function that is given."""


def fold(
    events: Iterable[Reassigned | Activated],
    find_file: FindFile,
    sole_holder: str | None = None,
    known: Known = lambda _, read: read(),
) -> Splits:
    """Rebuild a work's splits from its events in chain order.

    `sole_holder` (the account that registered the work) stands in for the first file when that isn't known and the root
    says that the account holds everything. Nothing found is taken on trust: each tree's root is compared with the
    event's. Whatever holders publish or hide, a tree that can't be rebuilt is None, and a file for which a tree has no
    room (`SplitTree.takes`) counts as one that wasn't published. Raises InvalidSplit for a move that the contract would
    have refused: the events are not those of a chain.
    """
    splits, files = Splits(), _TreeFiles(find_file, known)
    for event in events:
        if isinstance(event, Reassigned):
            tree = splits.pending or _copy(splits.movable)
            if tree is not None:
                below = files.find(event.tree_digest, Node(event.new_hash, event.weight))
                tree.replace(event, below if below is not None and tree.takes(below) else None)
            splits.pending, splits.gathered = tree, splits.gathered + 1
        else:
            expected = Node(event.root, event.total_weight)
            if splits.pending is not None and splits.pending.root == expected:
                tree = splits.pending
            else:
                tree = files.find(event.tree_digest, expected) or _held_by(sole_holder, expected)
            splits.versions[event.version], splits.latest = tree, event.version
            splits.pending, splits.gathered = None, 0
    return splits


def _copy(tree: SplitTree | None) -> SplitTree | None:
    return None if tree is None else tree.copy()


def _held_by(account: str | None, root: Node) -> SplitTree | None:
    """The tree in which one account holds everything, if that is the one of this root."""
    if account is None or leaf_split(account, root.sum) != root:
        return None
    return SplitTree.of([Share(account, root.sum)])


class _TreeFiles:
    """The tree files that one fold meets. Each is read once, however many events name it; of all but the last, only the
    root is kept, so that a file which fits no event costs one reading and one node."""

    def __init__(self, find_file: FindFile, known: Known) -> None:
        self._find_file, self._known = find_file, known
        self._roots: dict[bytes, Node | None] = {}
        self._last: tuple[bytes, SplitTree | None] = (b"", None)

    def find(self, digest: bytes, expected: Node) -> SplitTree | None:
        """The tree of the file of that digest, if it is there and its root is the expected one. Not to be changed."""
        if digest not in self._roots or (self._roots[digest] == expected and self._last[0] != digest):
            tree = self._known(digest, lambda: self._read(digest))
            self._roots[digest] = tree.root if tree is not None and tree.size else None
            self._last = digest, tree
        return self._last[1] if self._roots[digest] == expected else None

    def _read(self, digest: bytes) -> SplitTree | None:
        """The file's tree, one without a node when it is no tree file, None when it isn't kept here."""
        data = self._find_file(digest)
        if data is None or sha256(data).digest() != digest:
            return None
        try:
            shares = read_tree_file(data)
        except InvalidSplit:
            return SplitTree()  # anyone may publish a digest of anything; what is not a tree file tells nothing
        # and sums that no word holds would not even make a tree
        return SplitTree.of(shares) if sum(share.weight for share in shares) <= MAX_WEIGHT else SplitTree()
