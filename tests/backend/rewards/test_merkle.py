"""Merkle-sum trees: what is provable never exceeds the total (promises V3 and V4, plan TR2)."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable

import pytest
from eth_abi.abi import encode
from eth_abi.packed import encode_packed
from eth_utils.crypto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.rewards.merkle import (
    MAX_PROOF_LENGTH,
    Node,
    Tree,
    join,
    leaf_reward,
    leaf_split,
    position,
    process,
    replace,
)

A, B = "0x" + "11" * 20, "0x" + "22" * 20
SIZES = sorted({1, 2, 3, 5, *(2**k + d for k in range(2, 9) for d in (-1, 0, 1))})


def leaves(count: int, seed: int = 0) -> list[Node]:
    rng = random.Random(seed)
    return [leaf_split(rng.randbytes(20), rng.choice((0, 1, 7, 10**18, 2**96))) for _ in range(count)]


def provable(tree: Tree, index: int) -> bool:
    path, nodes = tree.proof(index)
    return process(nodes, path, tree.leaves[index]) == tree.root_node


def test_leaf_and_inner_hashes_are_what_solidity_computes() -> None:
    assert leaf_split(A, 5) == Node(keccak(keccak(encode(["address", "uint256"], [A, 5]))), 5)
    types = ["uint256", "address", "address", "address", "uint256"]
    assert leaf_reward(31337, A, B, A, 9) == Node(keccak(keccak(encode(types, [31337, A, B, A, 9]))), 9)
    left, right = leaf_split(A, 5), leaf_split(B, 6)
    packed = encode_packed(["bytes32", "uint256", "bytes32", "uint256"], [left.hash, left.sum, right.hash, right.sum])
    assert join(left, right) == Node(keccak(packed), 11)


def test_addresses_are_accepted_as_bytes_and_text_and_nothing_else() -> None:
    assert leaf_split(A, 1) == leaf_split(bytes.fromhex("11" * 20), 1)
    for bad in ("0x11", b"\x11" * 21, "0x" + "zz" * 20):
        with pytest.raises(ValueError):
            leaf_split(bad, 1)
    for amount in (-1, 2**256):
        with pytest.raises(ValueError, match="uint256"):
            leaf_split(A, amount)


@pytest.mark.parametrize("size", SIZES)
def test_v4_every_leaf_proves_and_positions_are_unique(size: int) -> None:
    tree = Tree(leaves(size, seed=size))
    assert len(tree) == size
    assert tree.total == sum(leaf.sum for leaf in tree.leaves)
    assert all(provable(tree, index) for index in range(size))
    assert len({tree.proof(index).position for index in range(size)}) == size


def test_an_odd_last_node_is_carried_up_without_a_sibling() -> None:
    a, b, c = leaves(3)
    tree = Tree([a, b, c])
    assert tree.root_node == join(join(a, b), c)
    assert tree.proof(2) == (1, [join(a, b)])
    assert tree.proof(2).position == 0b11
    assert [tree.proof(i).position for i in (0, 1)] == [0b100, 0b101]


def test_a_tree_without_leaves_and_an_unknown_index_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one leaf"):
        Tree([])
    with pytest.raises(IndexError):
        Tree(leaves(2)).proof(2)
    with pytest.raises(IndexError):
        Tree(leaves(2)).proof(-1)


def test_a_sum_outside_uint256_is_refused() -> None:
    with pytest.raises(ValueError, match="uint256"):
        Tree([leaf_split(A, 2**256 - 1), leaf_split(B, 1)])


def test_v4_a_path_above_the_proof_and_a_proof_of_41_nodes_are_refused() -> None:
    tree = Tree(leaves(4))
    path, nodes = tree.proof(1)
    with pytest.raises(ValueError, match="bits above"):
        process(nodes, path | 1 << len(nodes), tree.leaves[1])
    with pytest.raises(ValueError, match="at most"):
        process([Node(b"\0" * 32, 0)] * (MAX_PROOF_LENGTH + 1), 0, tree.leaves[0])
    assert process([Node(b"\0" * 32, 0)] * MAX_PROOF_LENGTH, 0, tree.leaves[0]).sum == tree.leaves[0].sum
    with pytest.raises(ValueError):
        position(-1, 3)


def test_v4_an_inner_node_cannot_be_presented_as_a_leaf() -> None:
    a, b = leaves(2)
    inner = join(a, b)
    # A leaf's pre-image is 32 bytes (double hash); an inner node's is 128: no account and weight hash to it.
    for account in (a.hash[:20], inner.hash[:20]):
        assert leaf_split(account, inner.sum).hash != inner.hash


def test_v4_a_reward_proof_is_worth_nothing_for_another_chain_contract_token_account_or_amount() -> None:
    base = (31337, A, B, A, 10)
    others = [(1, A, B, A, 10), (31337, B, B, A, 10), (31337, A, A, A, 10), (31337, A, B, B, 10), (31337, A, B, A, 11)]
    assert all(leaf_reward(*other).hash != leaf_reward(*base).hash for other in others)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 40), st.integers(0, 2**32), st.data())
def test_v4_any_flipped_bit_breaks_the_proof(size: int, seed: int, data: st.DataObject) -> None:
    tree = Tree(leaves(size, seed))
    index = data.draw(st.integers(0, size - 1))
    path, nodes = tree.proof(index)
    leaf = tree.leaves[index]
    target = data.draw(st.integers(-1, len(nodes) - 1))
    bit = data.draw(st.integers(0, 255))
    in_sum = data.draw(st.booleans())

    def flip(node: Node) -> Node:
        if in_sum:
            return Node(node.hash, node.sum ^ 1 << bit)
        return Node((int.from_bytes(node.hash, "big") ^ 1 << bit).to_bytes(32, "big"), node.sum)

    if target < 0:
        leaf = flip(leaf)
    else:
        nodes[target] = flip(nodes[target])
    with contextlib.suppress(ValueError):  # a flipped high bit may overflow: refused as well
        assert process(nodes, path, leaf) != tree.root_node


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 40), st.integers(0, 2**32), st.data())
def test_v4_a_swapped_sibling_or_a_foreign_path_breaks_the_proof(size: int, seed: int, data: st.DataObject) -> None:
    tree = Tree(leaves(size, seed))
    index = data.draw(st.integers(0, size - 1))
    path, nodes = tree.proof(index)
    if not nodes:
        return
    step = data.draw(st.integers(0, len(nodes) - 1))
    assert process(nodes, path ^ 1 << step, tree.leaves[index]) != tree.root_node
    if len(nodes) > 1:
        other = data.draw(st.integers(0, len(nodes) - 1).filter(lambda i: i != step))
        swapped = list(nodes)
        swapped[step], swapped[other] = swapped[other], swapped[step]
        assert process(swapped, path, tree.leaves[index]) != tree.root_node


Attempt = tuple[int, list[Node], Node]


def plain_join(left: Node, right: Node) -> Node:
    """The planted break: a plain Merkle node, whose hash does not cover the sums."""
    return Node(keccak(left.hash + right.hash), left.sum + right.sum)


def liar_tree(rng: random.Random, size: int, joined: Callable[[Node, Node], Node]) -> tuple[Node, list[Attempt]]:
    """A tree whose author writes any sums into inner nodes; gives the root and each leaf's best attempt at a proof."""
    attempts: dict[int, Attempt] = {i: (0, [], leaf) for i, leaf in enumerate(leaves(size, rng.randrange(2**32)))}
    level = [(attempts[i][2], [i]) for i in range(size)]

    def lie(node: Node) -> Node:
        return Node(node.hash, max(0, node.sum + rng.choice((0, 0, 1, -1, -node.sum, 10**18))))

    while len(level) > 1:
        above = []
        for (left, below_left), (right, below_right) in zip(level[::2], level[1::2], strict=False):
            shown_left, shown_right = lie(left), lie(right)
            for below, sibling, bit in ((below_left, shown_right, 0), (below_right, shown_left, 1)):
                for i in below:
                    path, nodes, leaf = attempts[i]
                    attempts[i] = (path | bit << len(nodes), [*nodes, sibling], leaf)
            above.append((joined(shown_left, shown_right), below_left + below_right))
        level = above + (level[-1:] if len(level) % 2 else [])
    return level[0][0], list(attempts.values())


def plain_process(nodes: list[Node], path: int, leaf: Node) -> bytes:
    node = leaf
    for step, sibling in enumerate(nodes):
        node = plain_join(sibling, node) if path >> step & 1 else plain_join(node, sibling)
    return node.hash


def test_v4_corrupt_sums_never_prove_more_than_the_total() -> None:
    rng = random.Random(20261121)
    lost = 0
    for _ in range(500):
        root, attempts = liar_tree(rng, rng.randrange(1, 24), join)
        proven = [leaf.sum for path, nodes, leaf in attempts if process(nodes, path, leaf) == root]
        assert sum(proven) <= root.sum
        lost += len(attempts) - len(proven)
    assert lost, "the corruption must bite, or this test shows nothing"


def test_v4_the_corruption_oracle_catches_a_tree_that_does_not_hash_its_sums() -> None:
    rng = random.Random(20261121)
    overdrawn = 0
    for _ in range(500):
        root, attempts = liar_tree(rng, rng.randrange(1, 24), plain_join)
        proven = [leaf.sum for path, nodes, leaf in attempts if plain_process(nodes, path, leaf) == root.hash]
        overdrawn += sum(proven) > root.sum
    assert overdrawn > 0


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(0, 2**32), st.data())
def test_replacing_a_leaf_by_a_sub_tree_of_equal_sum_keeps_the_total(size: int, seed: int, data: st.DataObject) -> None:
    weights = [leaf_split(random.Random(seed + i).randbytes(20), 10 + i) for i in range(size)]
    tree = Tree(weights)
    index = data.draw(st.integers(0, size - 1))
    part = data.draw(st.integers(0, weights[index].sum))
    heirs = Tree([leaf_split(A, part), leaf_split(B, weights[index].sum - part)])
    path, nodes = tree.proof(index)
    before, after = replace(nodes, path, weights[index], heirs.root_node)
    assert before == tree.root_node
    assert after.sum == before.sum
    assert after.hash != before.hash
    sub_path, sub_nodes = heirs.proof(1)
    deep = process([*sub_nodes, *nodes], sub_path | path << 1, heirs.leaves[1])
    assert deep == after
