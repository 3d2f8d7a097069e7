"""Moving shares: sums stay, everybody else's place and proof stay, and what can't be moved is refused with a reason."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.payouts.reassignment import CannotMove, checksummed, plan
from backend.rewards.merkle import Node, leaf_split, process
from backend.works.splits import Activated, Reassigned, Share, SplitTree, fold, read_tree_file, tree_file

ACCOUNTS = [checksummed("0x" + hashlib.sha256(bytes([i])).hexdigest()[:40]) for i in range(12)]
accounts = st.sampled_from(ACCOUNTS)
shares = st.lists(st.builds(Share, accounts, st.integers(1, 10**12)), min_size=1, max_size=33)


def assert_every_leaf_proves(tree: SplitTree) -> None:
    for leaf in tree.leaves():
        nodes = tree.proof(leaf.position)
        path = leaf.position ^ (1 << len(nodes))
        assert leaf.account is not None
        assert process(nodes, path, leaf_split(leaf.account, leaf.weight)) == tree.root


@given(shares, st.lists(st.tuples(st.integers(0, 99), st.integers(1, 3), accounts, accounts), max_size=12))
def test_security_case_66_moves_keep_the_total_and_everyone_elses_place(
    some: list[Share], moves: list[tuple[int, int, str, str]]
) -> None:
    tree = SplitTree.of(some)
    for pick, parts, one, two in moves:
        leaves = list(tree.leaves())
        leaf = leaves[pick % len(leaves)]
        part = leaf.weight // 3
        gifts = {1: [Share(one, leaf.weight)], 2: [Share(one, part)], 3: [Share(one, part), Share(two, part)]}[parts]
        if any(gift.weight < 1 for gift in gifts) or {gift.account for gift in gifts} <= {leaf.account}:
            continue
        move = plan(tree, leaf.position, gifts)
        assert leaf.account is not None
        assert read_tree_file(move.file) == list(move.shares)
        assert hashlib.sha256(move.file).digest() == move.digest
        assert move.tree.root.sum == tree.root.sum
        others = [other for other in leaves if other.position != leaf.position]
        assert [other for other in move.tree.leaves() if other in others] == others
        old = process(move.proof, move.path, leaf_split(leaf.account, leaf.weight))
        new = process(move.proof, move.path, Node(move.new_hash, leaf.weight))
        assert (old, new) == (tree.root, move.tree.root)
        assert_every_leaf_proves(move.tree)
        tree = move.tree


def test_security_cases_71_and_72_several_leaves_of_one_account_have_places_of_their_own() -> None:
    tree = SplitTree.of([Share(ACCOUNTS[0], 5), Share(ACCOUNTS[1], 5), Share(ACCOUNTS[0], 5)])
    moved = plan(tree, 3, [Share(ACCOUNTS[1], 4)]).tree
    assert [(leaf.position, leaf.weight) for leaf in moved.leaves() if leaf.account == ACCOUNTS[1]] == [(5, 5), (7, 4)]
    assert [(leaf.position, leaf.weight) for leaf in moved.leaves() if leaf.account == ACCOUNTS[0]] == [(4, 5), (6, 1)]


def test_a_second_move_in_the_same_week_is_rebuilt_from_files_and_events() -> None:
    first = [Share(ACCOUNTS[0], 500_000), Share(ACCOUNTS[1], 300_000), Share(ACCOUNTS[2], 200_000)]
    tree = SplitTree.of(first)
    files = {hashlib.sha256(tree_file(first)).digest(): tree_file(first)}
    events: list[Reassigned | Activated] = [Activated(1, tree.root.hash, tree.root.sum, next(iter(files)))]
    for position, gift in ((3, Share(ACCOUNTS[3], 50_000)), (7, Share(ACCOUNTS[4], 50_000))):
        move = plan(tree, position, [gift])
        files[move.digest] = move.file
        leaf = move.leaf
        events.append(
            Reassigned(position, str(leaf.account), leaf.weight, move.new_hash, move.digest, tuple(move.proof))
        )
        tree = move.tree
    events.append(Activated(2, tree.root.hash, tree.root.sum, move.digest))
    splits = fold(events, files.get)
    assert splits.versions[2] is not None
    assert list(splits.versions[2].leaves()) == list(tree.leaves())
    assert {leaf.account: leaf.weight for leaf in tree.leaves()} == {
        ACCOUNTS[0]: 500_000,
        ACCOUNTS[1]: 300_000,
        ACCOUNTS[2]: 150_000,
        ACCOUNTS[4]: 50_000,
    }


@pytest.mark.parametrize(
    ("recipients", "reason"),
    [
        ([Share(ACCOUNTS[1], 11)], "11 would be given of a share that weighs 10"),
        ([Share(ACCOUNTS[0], 4)], "stay with its holder"),
        ([Share(ACCOUNTS[1], 0)], "at least 1"),
        ([Share(ACCOUNTS[1], -1)], "at least 1"),
        ([Share("0x12", 1)], "not an address"),
        ([Share("", 1)], "not an address"),
        ([Share(ACCOUNTS[1].swapcase().replace("0X", "0x"), 1)], "EIP-55"),
        ([], "1 to"),
        ([Share(ACCOUNTS[1], 1)] * 3_001, "1 to"),
    ],
)
def test_a_move_names_somebody_else_and_not_more_than_there_is(recipients: list[Share], reason: str) -> None:
    with pytest.raises(CannotMove, match=reason):
        plan(SplitTree.of([Share(ACCOUNTS[0], 10)]), 1, recipients)


def test_only_a_known_leaf_moves() -> None:
    with pytest.raises(CannotMove, match="position 2"):
        plan(SplitTree.of([Share(ACCOUNTS[0], 10)]), 2, [Share(ACCOUNTS[1], 1)])


def test_security_case_8_a_tree_never_gets_deeper_than_a_proof_may_be() -> None:
    tree = SplitTree.of([Share(ACCOUNTS[0], 100)])
    position = 1
    for step in range(40):
        tree = plan(tree, position, [Share(ACCOUNTS[1 + step % 2], 100 - step - 1)]).tree
        position = position << 1 | 1
    with pytest.raises(CannotMove, match="longer than 40"):
        plan(tree, position, [Share(ACCOUNTS[5], 1)])


def test_the_largest_tree_file_is_one_raw_block() -> None:
    tree = SplitTree.of([Share(ACCOUNTS[0], 10**30)])
    assert len(plan(tree, 1, [Share(ACCOUNTS[1], 10**17)] * 3_000).file) < 256 * 1024
