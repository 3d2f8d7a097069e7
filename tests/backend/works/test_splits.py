"""Splits rebuilt from the first tree file and the events prove against the roots that the chain has."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest
from eth_utils.address import to_checksum_address
from hypothesis import given
from hypothesis import strategies as st

from backend.rewards.merkle import Node, leaf_split, process
from backend.works.splits import (
    Activated,
    InvalidSplit,
    Reassigned,
    Share,
    SplitTree,
    fold,
    read_tree_file,
    tree_file,
    tree_of,
)

ACCOUNTS = [to_checksum_address(sha256(bytes([n])).digest()[:20]) for n in range(12)]
SHARES = st.lists(st.builds(Share, st.sampled_from(ACCOUNTS), st.integers(1, 10**9)), min_size=1, max_size=20)


class Files(dict[bytes, bytes]):
    """Published files by digest."""

    def publish(self, shares: list[Share]) -> bytes:
        data = tree_file(shares)
        digest = sha256(data).digest()
        self[digest] = data
        return digest


def assert_every_leaf_proves(tree: SplitTree) -> None:
    leaves = list(tree.leaves())
    assert sum(leaf.weight for leaf in leaves) == tree.root.sum
    assert len({leaf.position for leaf in leaves}) == len(leaves)
    for leaf in leaves:
        if leaf.account is not None:
            proof = tree.proof(leaf.position)
            path = leaf.position ^ 1 << len(proof)
            assert process(proof, path, leaf_split(leaf.account, leaf.weight)) == tree.root


def divide(weight: int, parts: int) -> list[Share]:
    cuts = [weight // parts] * (parts - 1)
    return [Share(ACCOUNTS[n % 12], part) for n, part in enumerate([*cuts, weight - sum(cuts)]) if part]


@given(SHARES)
def test_a_first_version_is_the_merkle_tree_of_its_file(shares: list[Share]) -> None:
    split = SplitTree.of(shares)
    assert split.root == tree_of(shares).root_node
    assert [Share(str(leaf.account), leaf.weight) for leaf in split.leaves()] == shares
    assert_every_leaf_proves(split)
    assert read_tree_file(tree_file(shares)) == shares


@given(SHARES, st.lists(st.tuples(st.integers(0, 99), st.integers(1, 5), st.booleans(), st.booleans()), max_size=8))
def test_proofs_hold_through_any_reassignments(shares: list[Share], moves: list[tuple[int, int, bool, bool]]) -> None:
    """The chain computes each new root from one proof; our tree, rebuilt from events and files, has the same roots."""
    files = Files()
    root = tree_of(shares).root_node
    events: list[Reassigned | Activated] = [Activated(1, root.hash, root.sum, files.publish(shares))]
    version = 1
    for pick, parts, published, activate in moves:
        tree = fold(events, files.get).movable
        assert tree is not None
        known = [leaf for leaf in tree.leaves() if leaf.account is not None]
        if not known:
            break
        leaf = known[pick % len(known)]
        new = divide(leaf.weight, parts)
        digest = files.publish(new) if published else bytes(32)
        new_node = tree_of(new).root_node
        proof = tree.proof(leaf.position)
        path = leaf.position ^ 1 << len(proof)
        assert process(proof, path, leaf_split(leaf.account, leaf.weight)) == tree.root  # what the contract checks
        after = process(proof, path, new_node)  # and what it stores
        events.append(Reassigned(leaf.position, leaf.account, leaf.weight, new_node.hash, digest, tuple(proof)))
        if activate:
            version += 1
            events.append(Activated(version, after.hash, after.sum, digest))
        splits = fold(events, files.get)
        assert splits.movable is not None
        assert splits.movable.root == after
        assert_every_leaf_proves(splits.movable)
    assert fold(events, files.get).latest == version


def test_earlier_versions_stay_as_they_were() -> None:
    files = Files()
    first = [Share(ACCOUNTS[0], 1_000_000)]
    root = tree_of(first).root_node
    given_away = [Share(ACCOUNTS[0], 600_000), Share(ACCOUNTS[1], 400_000)]
    node = tree_of(given_away).root_node
    digest = files.publish(given_away)
    events = [
        Activated(1, root.hash, root.sum, files.publish(first)),
        Reassigned(1, ACCOUNTS[0], 1_000_000, node.hash, digest, ()),
        Activated(2, node.hash, node.sum, digest),
    ]
    splits = fold(events, files.get)
    old, new = splits.versions[1], splits.versions[2]
    assert old is not None
    assert new is not None
    assert [tuple(leaf) for leaf in old.leaves()] == [(1, ACCOUNTS[0], 1_000_000)]
    assert [tuple(leaf) for leaf in new.leaves()] == [(2, ACCOUNTS[0], 600_000), (3, ACCOUNTS[1], 400_000)]
    assert splits.pending is None


def test_what_is_pending_is_not_live() -> None:
    files = Files()
    shares = [Share(ACCOUNTS[0], 3), Share(ACCOUNTS[1], 4)]
    root = tree_of(shares).root_node
    new = leaf_split(ACCOUNTS[2], 3)
    splits = fold(
        [
            Activated(1, root.hash, root.sum, files.publish(shares)),
            Reassigned(
                2, ACCOUNTS[0], 3, new.hash, files.publish([Share(ACCOUNTS[2], 3)]), (leaf_split(ACCOUNTS[1], 4),)
            ),
        ],
        files.get,
    )
    live = splits.versions[1]
    assert live is not None
    assert {leaf.account for leaf in live.leaves()} == {ACCOUNTS[0], ACCOUNTS[1]}
    assert splits.movable is not None
    assert {leaf.account for leaf in splits.movable.leaves()} == {ACCOUNTS[2], ACCOUNTS[1]}


@pytest.mark.parametrize("lie", ["absent", "not a tree file", "another split", "wrong sum"])
def test_a_hidden_or_lying_file_hides_only_its_own_leaf(lie: str) -> None:
    files = Files()
    shares = [Share(ACCOUNTS[0], 30), Share(ACCOUNTS[1], 40), Share(ACCOUNTS[2], 50)]
    root = tree_of(shares).root_node
    truth = [Share(ACCOUNTS[3], 10), Share(ACCOUNTS[4], 20)]
    digest = sha256(b"?").digest()
    if lie == "not a tree file":
        files[digest] = b"?"
    elif lie == "another split":
        digest = files.publish([Share(ACCOUNTS[5], 30)])
    elif lie == "wrong sum":
        digest = files.publish([Share(ACCOUNTS[3], 10), Share(ACCOUNTS[4], 21)])
    proof = tuple(SplitTree.of(shares).proof(4))
    moved = Reassigned(4, ACCOUNTS[0], 30, tree_of(truth).root, digest, proof)
    splits = fold([Activated(1, root.hash, root.sum, files.publish(shares)), moved], files.get)
    assert splits.movable is not None
    assert [leaf.account for leaf in splits.movable.leaves()] == [None, ACCOUNTS[1], ACCOUNTS[2]]
    assert_every_leaf_proves(splits.movable)


def test_without_the_first_file_the_only_holder_is_still_known() -> None:
    node = leaf_split(ACCOUNTS[0], 500)
    splits = fold([Activated(1, node.hash, 500, bytes(32))], lambda _: None, sole_holder=ACCOUNTS[0])
    assert splits.movable is not None
    assert [tuple(leaf) for leaf in splits.movable.leaves()] == [(1, ACCOUNTS[0], 500)]
    unknown = fold([Activated(1, node.hash, 501, bytes(32))], lambda _: None, sole_holder=ACCOUNTS[0])
    assert unknown.movable is None
    moved = Reassigned(1, ACCOUNTS[0], 501, bytes(32), bytes(32), ())
    later = fold([Activated(1, node.hash, 501, bytes(32)), moved], lambda _: None)
    assert (later.movable, later.gathered) == (None, 1), "that something is gathered is known all the same"


def test_an_event_that_names_another_leaf_is_found_out() -> None:
    shares = [Share(ACCOUNTS[0], 3), Share(ACCOUNTS[1], 4)]
    tree, proof = SplitTree.of(shares), (leaf_split(ACCOUNTS[1], 4),)
    for event in (
        Reassigned(2, ACCOUNTS[1], 3, bytes(32), bytes(32), proof),
        Reassigned(2, ACCOUNTS[0], 4, bytes(32), bytes(32), proof),
        Reassigned(3, ACCOUNTS[0], 3, bytes(32), bytes(32), proof),
        Reassigned(1, ACCOUNTS[0], 7, bytes(32), bytes(32), ()),
        Reassigned(9, ACCOUNTS[0], 3, bytes(32), bytes(32), proof),
    ):
        with pytest.raises(InvalidSplit, match="doesn't hold"):
            tree.replace(event, None)
    right = Reassigned(2, ACCOUNTS[0], 3, bytes(32), bytes(32), proof)
    with pytest.raises(InvalidSplit, match="another root"):
        tree.replace(right, SplitTree.of([Share(ACCOUNTS[2], 3)]))
    assert (list(tree.leaves()), tree.root) == (list(SplitTree.of(shares).leaves()), tree_of(shares).root_node)
    with pytest.raises(KeyError):
        tree.proof(1)


def leaf(account: object = ACCOUNTS[0], weight: object = "5") -> dict[str, object]:
    return {"account": account, "weight": weight}


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"format": "troupe-split/2", "leaves": [leaf()]},
        {"format": "troupe-split/1", "leaves": []},
        {"format": "troupe-split/1", "leaves": [leaf(ACCOUNTS[0].lower())]},
        {"format": "troupe-split/1", "leaves": [leaf(None)]},
        {"format": "troupe-split/1", "leaves": [leaf(weight=5)]},
        {"format": "troupe-split/1", "leaves": [leaf(weight="0")]},
        {"format": "troupe-split/1", "leaves": [leaf(weight="-5")]},
        {"format": "troupe-split/1", "leaves": [leaf(weight="05")]},
        {"format": "troupe-split/1", "leaves": [leaf(weight="٥")]},
        {"format": "troupe-split/1", "leaves": [leaf(weight=str(2**256))]},
        {"format": "troupe-split/1", "leaves": [leaf(weight="9" * 5000)]},
        {"format": "troupe-split/1", "leaves": [leaf() | {"note": "hi"}]},
        {"format": "troupe-split/1", "leaves": [leaf()], "extra": 1},
    ],
)
def test_a_foreign_tree_file_is_refused(document: object) -> None:
    with pytest.raises(InvalidSplit):
        read_tree_file(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())


def test_only_the_canonical_bytes_are_a_tree_file() -> None:
    good = tree_file([Share(ACCOUNTS[0], 5)])
    assert read_tree_file(good) == [Share(ACCOUNTS[0], 5)]
    for bad in (good + b"\n", good.replace(b":", b": "), b"\xff" + good, b"[" * 100_000):
        with pytest.raises(InvalidSplit):
            read_tree_file(bad)


def test_a_tree_file_is_stable() -> None:
    """Golden: the digest goes on chain, so the bytes may never change."""
    data = tree_file([Share("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", 10_000)])
    assert data == (
        b'{"format":"troupe-split/1","leaves":'
        b'[{"account":"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed","weight":"10000"}]}'
    )
    assert Node(tree_of(read_tree_file(data)).root, 10_000) == leaf_split(
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", 10_000
    )


class Chain:
    """A split and its events; its holders move shares by proofs of their own, whatever they publish."""

    def __init__(self, shares: list[Share]) -> None:
        self.files = Files()
        self.known = SplitTree.of(shares)
        root = self.known.root
        self.events: list[Reassigned | Activated] = [Activated(1, root.hash, root.sum, self.files.publish(shares))]

    def move(self, position: int, new: list[Share], *, publish: bool = False) -> None:
        """The holder of a leaf puts new ones in its place."""
        leaf = next(leaf for leaf in self.known.leaves() if leaf.position == position)
        digest = self.files.publish(new) if publish else bytes(32)
        below, proof = SplitTree.of(new), tuple(self.known.proof(position))
        event = Reassigned(position, str(leaf.account), leaf.weight, below.root.hash, digest, proof)
        self.known.replace(event, below)
        self.events.append(event)

    def rebuilt(self) -> SplitTree:
        """What anyone makes of the events and the files that were published."""
        tree = fold(self.events, self.files.get).movable
        assert tree is not None
        return tree


HIDDEN = [Share(ACCOUNTS[4], 1), Share(ACCOUNTS[5], 2), Share(ACCOUNTS[6], 3), Share(ACCOUNTS[7], 4)]


@pytest.fixture
def hidden() -> Chain:
    """The second holder of three puts a tree of four in its leaf's place (0b101) and shows it to nobody."""
    chain = Chain([Share(ACCOUNTS[0], 999_000), Share(ACCOUNTS[1], 10), Share(ACCOUNTS[2], 990)])
    chain.move(0b101, HIDDEN)
    return chain


def test_V2_a_share_moved_on_below_an_unpublished_tree_is_placed_by_its_proof(hidden: Chain) -> None:
    """Attack: a dust holder hides a tree in its leaf and moves its leaves on; the others' proofs can still be had."""
    assert [leaf.account for leaf in hidden.rebuilt().leaves()] == [ACCOUNTS[0], None, ACCOUNTS[2]]
    hidden.move(0b10110, [Share(ACCOUNTS[8], 3)], publish=True)
    shown = [(leaf.position, leaf.account, leaf.weight) for leaf in hidden.rebuilt().leaves()]
    assert shown == [
        (0b100, ACCOUNTS[0], 999_000),
        (0b1010, None, 3),
        (0b10110, ACCOUNTS[8], 3),
        (0b10111, None, 4),
        (0b11, ACCOUNTS[2], 990),
    ]
    hidden.move(0b10110, [Share(ACCOUNTS[9], 1), Share(ACCOUNTS[8], 2)], publish=True)
    hidden.move(0b10100, [Share(ACCOUNTS[10], 1)])
    hidden.move(0b100, [Share(ACCOUNTS[3], 998_000), Share(ACCOUNTS[0], 1_000)], publish=True)
    tree = hidden.rebuilt()
    assert tree.root == hidden.known.root
    assert_every_leaf_proves(tree)
    for leaf in tree.leaves():
        assert tree.proof(leaf.position) == hidden.known.proof(leaf.position)
    named = {leaf.account for leaf in tree.leaves()}
    assert named == {ACCOUNTS[3], ACCOUNTS[0], ACCOUNTS[2], ACCOUNTS[9], ACCOUNTS[8], None}


def test_a_tree_that_is_published_late_shows_all_its_holders(hidden: Chain) -> None:
    hidden.move(0b10110, [Share(ACCOUNTS[8], 3)], publish=True)
    late = tree_file(HIDDEN)
    hidden.files[bytes(32)] = late
    assert len(list(hidden.rebuilt().leaves())) == 5, "a digest that isn't the file's tells nothing"
    first = hidden.events[1]
    assert isinstance(first, Reassigned)
    hidden.events[1] = first._replace(tree_digest=hidden.files.publish(HIDDEN))
    assert list(hidden.rebuilt().leaves()) == list(hidden.known.leaves())


@pytest.mark.parametrize("level", range(4))
@pytest.mark.parametrize("change", ["hash", "sum", "order", "length"])
def test_a_wrong_sibling_is_refused(hidden: Chain, level: int, change: str) -> None:
    """No node is taken over, hidden or known, unless the proof leads to the root that stands."""
    hidden.move(0b10110, [Share(ACCOUNTS[8], 3)])
    *before, moved = hidden.events
    assert isinstance(moved, Reassigned)
    proof = list(moved.proof)
    node = proof[level]
    if change == "hash":
        proof[level] = Node(sha256(node.hash).digest(), node.sum)
    elif change == "sum":
        proof[level] = Node(node.hash, node.sum + 1)
    elif change == "order":
        proof[level], proof[level - 1] = proof[level - 1], node
    else:
        del proof[level]
    with pytest.raises(InvalidSplit, match="by that proof"):
        fold([*before, moved._replace(proof=tuple(proof))], hidden.files.get)
    huge = [*moved.proof[:level], Node(node.hash, 2**256 - 1), *moved.proof[level + 1 :]]
    with pytest.raises(InvalidSplit, match="by that proof"):
        fold([*before, moved._replace(proof=tuple(huge))], hidden.files.get)


@given(SHARES, st.lists(st.tuples(st.integers(0, 99), st.integers(1, 5), st.booleans()), max_size=12))
def test_V2_proofs_hold_whatever_is_hidden(shares: list[Share], moves: list[tuple[int, int, bool]]) -> None:
    """Leaves anywhere move on, also below trees that nobody published: what is rebuilt is part of what is there."""
    chain = Chain(shares)
    for pick, parts, published in moves:
        leaves = list(chain.known.leaves())
        leaf = leaves[pick % len(leaves)]
        chain.move(leaf.position, divide(leaf.weight, parts), publish=published)
        tree = chain.rebuilt()
        assert tree.root == chain.known.root
        assert_every_leaf_proves(tree)
        there = {leaf.position: leaf for leaf in chain.known.leaves()}
        assert {leaf for leaf in tree.leaves() if leaf.account} <= set(there.values())
        for leaf in tree.leaves():
            if leaf.position in there:
                assert tree.proof(leaf.position) == chain.known.proof(leaf.position)


def test_a_file_is_read_once_however_many_moves_name_it() -> None:
    """Attack: a holder of dust moves it a thousand times and names the same large file each time."""
    large = tree_file([Share(account, weight) for weight in range(1, 500) for account in ACCOUNTS])
    digest = sha256(large).digest()
    chain = Chain([Share(ACCOUNTS[0], 5), Share(ACCOUNTS[1], 7)])
    for number in range(1_000):
        chain.move(0b10, [Share(ACCOUNTS[2 + number % 10], 5)])
        last = chain.events[-1]
        assert isinstance(last, Reassigned)
        chain.events[-1] = last._replace(tree_digest=digest)
    read: list[bytes] = []

    def find(wanted: bytes) -> bytes | None:
        read.append(wanted)
        return large if wanted == digest else chain.files.get(wanted)

    splits = fold(chain.events, find)
    assert splits.gathered == 1_000
    assert splits.movable is not None
    assert splits.movable.root == chain.known.root
    assert read.count(digest) == 1


def test_a_file_that_two_leaves_share_is_in_both_places() -> None:
    """The tree of a file is kept for the next move that names it, and not changed by the moves below either place."""
    chain = Chain([Share(ACCOUNTS[0], 6), Share(ACCOUNTS[1], 6), Share(ACCOUNTS[2], 6)])
    three = [Share(ACCOUNTS[3], 1), Share(ACCOUNTS[4], 2), Share(ACCOUNTS[5], 3)]
    chain.move(0b100, three, publish=True)
    chain.move(0b10000, [Share(ACCOUNTS[6], 1)], publish=True)
    chain.move(0b101, three, publish=True)
    chain.move(0b11, three, publish=True)
    assert list(chain.rebuilt().leaves()) == list(chain.known.leaves())


def test_a_published_tree_whose_weights_no_word_holds_tells_nothing() -> None:
    """Attack: the file is canonical and kept here, and its sums leave uint256."""
    files = Files()
    digest = files.publish([Share(account, 2**256 - 1) for account in ACCOUNTS[:5]])
    splits = fold([Activated(1, b"r" * 32, 1_000_000, digest)], files.get)
    assert splits.versions == {1: None}
