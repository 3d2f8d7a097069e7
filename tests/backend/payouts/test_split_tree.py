"""Split files and trees: canonical bytes, proofs at any depth, reassignments rebuilt from events."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.payouts.split_tree import (
    Activated,
    Reassigned,
    Share,
    SplitError,
    SplitTree,
    checksummed,
    decode,
    digest,
    encode,
    plan_move,
    rebuild,
    rebuild_last,
)
from backend.rewards.merkle import Node, Tree, leaf_split, process

ACCOUNTS = [checksummed("0x" + hashlib.sha256(bytes([i])).hexdigest()[:40]) for i in range(12)]
accounts = st.sampled_from(ACCOUNTS)
weights = st.integers(1, 10**12)
shares = st.lists(st.builds(Share, accounts, weights), min_size=1, max_size=33)


def assert_every_leaf_proves(tree: SplitTree) -> None:
    for leaf in tree.leaves:
        proof = tree.proof(leaf.position)
        assert proof.position == leaf.position
        assert process(proof.nodes, proof.path, leaf_split(leaf.account, leaf.weight)) == tree.root


# --- the file ----------------------------------------------------------------------------------------------------


def test_the_file_is_canonical_and_its_digest_is_sha256() -> None:
    file = encode([Share(ACCOUNTS[0].lower(), 7), Share(ACCOUNTS[1], 3)])
    assert file == (
        b'{"format":"troupe-split/1","leaves":[{"account":"%s","weight":"7"},{"account":"%s","weight":"3"}]}'
        % (ACCOUNTS[0].encode(), ACCOUNTS[1].encode())
    )
    assert digest(file) == hashlib.sha256(file).digest()


@given(shares)
def test_files_round_trip(some: list[Share]) -> None:
    assert list(decode(encode(some))) == some


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"format":"troupe-split/1","leaves":[]}',
        encode([Share(ACCOUNTS[0], 1)]) + b"\n",
        encode([Share(ACCOUNTS[0], 1)]).replace(b"split/1", b"split/2"),
        encode([Share(ACCOUNTS[0], 1)]).replace(b'"1"', b"1"),
        encode([Share(ACCOUNTS[0], 1)]).replace(b'"1"', b'"01"'),
        encode([Share(ACCOUNTS[0], 1)]).replace(b'"1"', b'"0"'),
        encode([Share(ACCOUNTS[0], 1)]).replace(b'"1"', b'"-1"'),
        encode([Share(ACCOUNTS[0], 1)]).replace(ACCOUNTS[0].encode(), ACCOUNTS[0].lower().encode()),
        encode([Share(ACCOUNTS[0], 1)]).replace(ACCOUNTS[0].encode(), b"0x12"),
        json.dumps({"leaves": [{"account": 5, "weight": "1"}], "format": "troupe-split/1"}).encode(),
        b"\xff\xfe",
    ],
)
def test_anything_but_a_canonical_file_is_refused(data: bytes) -> None:
    with pytest.raises(SplitError):
        decode(data)


def test_a_mistyped_address_is_refused_by_its_capitals() -> None:
    typo = ACCOUNTS[0].swapcase().replace("0X", "0x")
    with pytest.raises(SplitError, match="EIP-55"):
        encode([Share(typo, 1)])


# --- the tree ----------------------------------------------------------------------------------------------------


@given(shares)
def test_the_tree_is_the_contracts_tree_and_every_leaf_proves(some: list[Share]) -> None:
    tree = SplitTree.of(some)
    reference = Tree(leaf_split(*share) for share in some)
    assert tree.root == reference.root_node
    assert [(leaf.account, leaf.weight) for leaf in tree.leaves] == some
    assert [leaf.position for leaf in tree.leaves] == [reference.proof(i).position for i in range(len(some))]
    assert tree.complete
    assert_every_leaf_proves(tree)


@given(shares, st.lists(st.tuples(st.integers(0, 99), st.integers(1, 3), accounts, accounts), max_size=12))
def test_security_case_66_moves_keep_the_total_and_everyone_elses_place(
    some: list[Share], moves: list[tuple[int, int, str, str]]
) -> None:
    tree = SplitTree.of(some)
    for pick, parts, one, two in moves:
        leaves = tree.leaves
        leaf = leaves[pick % len(leaves)]
        part = leaf.weight // 3
        gifts = {1: [Share(one, leaf.weight)], 2: [Share(one, part)], 3: [Share(one, part), Share(two, part)]}[parts]
        if any(gift.weight < 1 for gift in gifts) or {gift.account for gift in gifts} <= {leaf.account}:
            continue
        move = plan_move(tree, leaf.position, gifts)
        assert move.tree.root.sum == tree.root.sum
        others = [other for other in leaves if other.position != leaf.position]
        assert [other for other in move.tree.leaves if other in others] == others
        old = process(move.proof.nodes, move.proof.path, leaf_split(leaf.account, leaf.weight))
        new = process(move.proof.nodes, move.proof.path, Node(move.new_hash, leaf.weight))
        assert (old, new) == (tree.root, move.tree.root)
        assert_every_leaf_proves(move.tree)
        tree = move.tree


def test_security_cases_71_and_72_several_leaves_of_one_account_have_places_of_their_own() -> None:
    tree = SplitTree.of([Share(ACCOUNTS[0], 5), Share(ACCOUNTS[1], 5), Share(ACCOUNTS[0], 5)])
    assert [leaf.position for leaf in tree.of_account(ACCOUNTS[0].lower())] == [4, 3]
    moved = plan_move(tree, 3, [Share(ACCOUNTS[1], 4)]).tree
    assert [(leaf.position, leaf.weight) for leaf in moved.of_account(ACCOUNTS[1])] == [(5, 5), (7, 4)]


def test_a_move_names_somebody_else_and_not_more_than_there_is() -> None:
    tree = SplitTree.of([Share(ACCOUNTS[0], 10)])
    for recipients, reason in (
        ([Share(ACCOUNTS[1], 11)], "11 would be given of a share that weighs 10"),
        ([Share(ACCOUNTS[0], 4)], "stay with its holder"),
        ([Share(ACCOUNTS[1], 0)], "at least 1"),
        ([], "1 to"),
    ):
        with pytest.raises(SplitError, match=reason):
            plan_move(tree, 1, recipients)
    with pytest.raises(SplitError, match="position 2"):
        plan_move(tree, 2, [Share(ACCOUNTS[1], 1)])


def test_security_case_8_a_tree_never_gets_deeper_than_a_proof_may_be() -> None:
    tree = SplitTree.of([Share(ACCOUNTS[0], 100)])
    position = 1
    for step in range(40):
        tree = plan_move(tree, position, [Share(ACCOUNTS[1 + step % 2], 100 - step - 1)]).tree
        position = position << 1 | 1
    with pytest.raises(SplitError, match="longer than 40"):
        plan_move(tree, position, [Share(ACCOUNTS[5], 1)])


# --- events ------------------------------------------------------------------------------------------------------


def history() -> tuple[list[Reassigned | Activated], SplitTree]:
    """A work of three holders; one sells a third, the buyer passes it on in the same week, then a version starts."""
    first = [Share(ACCOUNTS[0], 500_000), Share(ACCOUNTS[1], 300_000), Share(ACCOUNTS[2], 200_000)]
    tree = SplitTree.of(first)
    events: list[Reassigned | Activated] = [Activated(1, tree.root.hash, tree.root.sum, tuple(first))]
    for position, gift in ((3, Share(ACCOUNTS[3], 50_000)), (7, Share(ACCOUNTS[4], 50_000))):
        move = plan_move(tree, position, [gift])
        tree = move.tree
        events.append(Reassigned(*move.leaf[1:], move.leaf.position, move.new_hash, tree.root.hash, decode(move.file)))
    return [*events, Activated(2, tree.root.hash, tree.root.sum)], tree


def test_versions_are_rebuilt_from_the_first_file_and_the_events() -> None:
    events, last = history()
    versions = {event.version: tree for event, tree in rebuild(events)}
    assert [leaf.position for leaf in versions[1].leaves] == [4, 5, 3]
    assert versions[2].leaves == last.leaves
    assert_every_leaf_proves(versions[2])
    assert rebuild_last(events[:2]).root.hash == events[1].pending_root  # type: ignore[union-attr]


def test_others_prove_even_if_a_sub_trees_file_was_never_published() -> None:
    events, _ = history()
    hidden = [event._replace(shares=None) if isinstance(event, Reassigned) else event for event in events[:2]]
    tree = rebuild_last(hidden)
    assert not tree.complete
    assert [leaf.account for leaf in tree.leaves] == ACCOUNTS[:2]
    assert_every_leaf_proves(tree)


def test_a_published_file_that_is_not_what_was_committed_is_not_believed() -> None:
    events, _ = history()
    lie = events[1]._replace(shares=(Share(ACCOUNTS[9], 200_000),))
    assert ACCOUNTS[9] not in {leaf.account for leaf in rebuild_last([events[0], lie]).leaves}
    with pytest.raises(SplitError, match="doesn't lead to its root"):
        rebuild_last([events[0]._replace(shares=(Share(ACCOUNTS[9], 1_000_000),))])


def test_a_missing_event_is_noticed() -> None:
    events, _ = history()
    with pytest.raises(SplitError, match="no leaf at position 7"):
        rebuild_last([events[0], events[2]])
    with pytest.raises(SplitError, match="split file of version 2 is not known"):
        list(rebuild([events[0], events[1], events[3]]))
    with pytest.raises(SplitError, match="leads to root"):
        rebuild_last([events[0], events[1]._replace(pending_root=bytes(32))])
