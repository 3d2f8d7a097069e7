"""Splits rebuilt from the first tree file and the events prove against the roots that the chain has (W2)."""

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
        events.append(Reassigned(leaf.position, leaf.account, leaf.weight, new_node.hash, digest))
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
        Reassigned(1, ACCOUNTS[0], 1_000_000, node.hash, digest),
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
            Reassigned(2, ACCOUNTS[0], 3, new.hash, files.publish([Share(ACCOUNTS[2], 3)])),
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
    moved = Reassigned(4, ACCOUNTS[0], 30, tree_of(truth).root, digest)
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
    moved = Reassigned(1, ACCOUNTS[0], 501, bytes(32), bytes(32))
    assert fold([Activated(1, node.hash, 501, bytes(32)), moved], lambda _: None).movable is None


def test_an_event_that_names_another_leaf_is_found_out() -> None:
    tree = SplitTree.of([Share(ACCOUNTS[0], 3), Share(ACCOUNTS[1], 4)])
    for event in (
        Reassigned(2, ACCOUNTS[1], 3, bytes(32), bytes(32)),
        Reassigned(2, ACCOUNTS[0], 4, bytes(32), bytes(32)),
        Reassigned(1, ACCOUNTS[0], 7, bytes(32), bytes(32)),
        Reassigned(9, ACCOUNTS[0], 3, bytes(32), bytes(32)),
    ):
        with pytest.raises(InvalidSplit, match="doesn't hold"):
            tree.replace(event, None)
    with pytest.raises(InvalidSplit, match="another root"):
        tree.replace(Reassigned(2, ACCOUNTS[0], 3, bytes(32), bytes(32)), [Share(ACCOUNTS[2], 3)])
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


def test_a_share_moved_on_below_an_unpublished_tree_hides_the_split_and_stops_nothing() -> None:
    """Attack: a dust holder hides a two-leaf tree in its leaf and moves one of the two, which nobody else can place."""
    files = Files()
    first = [Share(ACCOUNTS[0], 999_990), Share(ACCOUNTS[1], 10)]
    hidden = [Share(ACCOUNTS[1], 4), Share(ACCOUNTS[2], 6)]
    root = tree_of(first).root_node
    below = tree_of(hidden).root_node
    after = leaf_split(ACCOUNTS[3], 4)
    moved_below = tree_of([Share(ACCOUNTS[3], 4), Share(ACCOUNTS[2], 6)]).root_node
    last = process([leaf_split(ACCOUNTS[0], 999_990)], 1, moved_below)
    events: list[Reassigned | Activated] = [
        Activated(1, root.hash, root.sum, files.publish(first)),
        Reassigned(0b11, ACCOUNTS[1], 10, below.hash, bytes(32)),
        Reassigned(0b110, ACCOUNTS[1], 4, after.hash, bytes(32)),
    ]
    splits = fold(events, files.get)
    assert splits.lost
    assert splits.pending is None
    assert splits.movable is None  # the live tree would prove against a root that is not the ledger's next
    assert_every_leaf_proves(splits.versions[1] or pytest.fail("the live version is gone"))
    splits = fold([*events, Reassigned(0b10, ACCOUNTS[0], 999_990, after.hash, bytes(32))], files.get)
    assert splits.movable is None
    splits = fold([*events, Activated(2, last.hash, last.sum, bytes(32))], files.get)
    assert (splits.versions[2], splits.lost, splits.movable) == (None, False, None)
    splits = fold([*events, Activated(2, root.hash, root.sum, sha256(tree_file(first)).digest())], files.get)
    assert splits.movable is not None


def test_a_published_tree_whose_weights_no_word_holds_tells_nothing() -> None:
    """Attack: the file is canonical and kept here, and its sums leave uint256."""
    files = Files()
    digest = files.publish([Share(account, 2**256 - 1) for account in ACCOUNTS[:5]])
    splits = fold([Activated(1, b"r" * 32, 1_000_000, digest)], files.get)
    assert splits.versions == {1: None}
