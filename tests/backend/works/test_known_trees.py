"""A tree file is read once a process, and large files can't take its memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from threading import Event

import pytest
from eth_utils.address import to_checksum_address

from backend.rewards.merkle import leaf_split
from backend.works import splits
from backend.works.known_trees import KnownTrees, RecentTrees
from backend.works.splits import Activated, Reassigned, Share, SplitTree, fold, tree_file

ACCOUNTS = [to_checksum_address((number + 1).to_bytes(20)) for number in range(40)]


def tree(leaves: int) -> SplitTree:
    return SplitTree.of([Share(account, 1) for account in ACCOUNTS[:leaves]])


def test_trees_are_forgotten_by_how_many_nodes_they_have_the_least_used_first() -> None:
    recent = RecentTrees(nodes=24)
    recent.put(b"a", tree(4))  # 7 nodes, and one for itself
    recent.put(b"b", tree(4))
    recent.put(b"b", tree(4))  # counts once
    recent.put(b"c", tree(4))
    assert recent.get(b"a") is not None
    recent.put(b"d", tree(1))
    assert [name for name in (b"a", b"b", b"c", b"d") if recent.get(name)] == [b"a", b"c", b"d"]
    recent.put(b"e", tree(40))
    assert recent.get(b"e") is None
    recent.put(b"f", tree(12))
    assert recent.get(b"f") is not None, "what a large one took is free again"


def test_of_many_who_ask_at_once_one_reads() -> None:
    known, read, begun, go_on = KnownTrees(), [], Event(), Event()

    def slow() -> SplitTree:
        read.append(1)
        begun.set()
        assert go_on.wait(20)
        return tree(3)

    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(known.get, b"x", slow)
        assert begun.wait(20)
        others = [threads.submit(known.get, b"x", slow) for _ in range(3)]
        go_on.set()
        assert {id(each.result(20)) for each in (first, *others)} == {id(first.result())}
    assert read == [1]


def test_what_is_not_kept_is_asked_for_again_and_what_is_no_tree_file_is_not() -> None:
    known, asked = KnownTrees(), []
    files: dict[bytes, bytes] = {}
    junk = b"no tree file"
    digest = sha256(junk).digest()

    def find(wanted: bytes) -> bytes | None:
        asked.append(wanted)
        return files.get(wanted)

    event = Activated(1, b"r" * 32, 3, digest)
    for _ in range(2):
        assert fold([event], find, known=known.get).versions == {1: None}
    assert len(asked) == 2
    files[digest] = junk
    for _ in range(3):
        assert fold([event], find, known=known.get).versions == {1: None}
    assert len(asked) == 3


def test_a_file_is_read_once_for_any_number_of_rebuilds_and_none_changes_it() -> None:
    shares = [Share(account, 2) for account in ACCOUNTS[:5]]
    file, first = tree_file(shares), SplitTree.of(shares)
    position = next(leaf.position for leaf in first.leaves())
    new = leaf_split(ACCOUNTS[9], 2)
    moved = Reassigned(position, ACCOUNTS[0], 2, new.hash, bytes(32), tuple(first.proof(position)))
    events = [Activated(1, first.root.hash, first.root.sum, sha256(file).digest()), moved]
    known, asked = KnownTrees(), []
    for _ in range(3):
        rebuilt = fold(events, lambda digest: asked.append(digest) or file, known=known.get)
        assert rebuilt.versions[1] == first
        assert rebuilt.movable != first
    assert asked.count(events[0].tree_digest) == 1


def test_a_large_file_is_not_put_into_a_tree_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack: a holder of many equal leaves moves each and names the same large file. The others lose nothing."""
    monkeypatch.setattr(splits, "MAX_LEAVES", 30)
    monkeypatch.setattr(splits, "SMALL_FILE_LEAVES", 3)
    equal = [Share(ACCOUNTS[20], 60)] * 8
    below = {size: [Share(account, 60 // size) for account in ACCOUNTS[:size]] for size in (3, 10)}
    files = {sha256(file).digest(): file for file in map(tree_file, (equal, *below.values()))}
    whole = SplitTree.of(equal)
    events: list[Activated | Reassigned] = [Activated(1, *whole.root, sha256(tree_file(equal)).digest())]
    for leaf, size in zip(list(whole.leaves()), (10, 10, 10, 10, 3, 3), strict=False):
        inner, name = SplitTree.of(below[size]), sha256(tree_file(below[size])).digest()
        move = Reassigned(leaf.position, ACCOUNTS[20], 60, inner.root.hash, name, tuple(whole.proof(leaf.position)))
        whole.replace(move, inner)
        events.append(move)
    rebuilt = fold(events, files.get).movable
    assert rebuilt is not None
    assert rebuilt.root == whole.root
    leaves = list(rebuilt.leaves())
    known = [leaf for leaf in leaves if leaf.account]
    assert len(known) == 2 * 10 + 2 * 3 + 2, "two of the four large ones had room"
    assert len(leaves) == len(known) + 2
    assert [rebuilt.proof(leaf.position) for leaf in known] == [whole.proof(leaf.position) for leaf in known]
