"""MerkleSum against its Python twin, and against authors of trees who lie."""

import random

import pytest
from brownie import MerkleSumHarness
from kit import reverts
from money import NONE, Branch, Leaf, grown, node, placed, replaced

from backend.rewards import merkle
from backend.rewards.merkle import Node, leaf_split

pytestmark = pytest.mark.feature("R2", via="chain")


@pytest.fixture(scope="module")
def library(admin):
    return MerkleSumHarness.deploy({"from": admin})


def address(number):
    return "0x" + number.to_bytes(20, "big").hex()


def shares(count, seed=0):
    dice = random.Random(seed)
    return [(address(dice.getrandbits(160)), dice.choice([0, 1, 7, 10**6, 10**24])) for _ in range(count)]


def proven(library, leaf):
    """Root that the contract reckons from a placed leaf."""
    got = library.process(leaf.proof, leaf.path, leaf_split(leaf.account, leaf.weight).hash, leaf.weight)
    return Node(bytes(got[0]), got[1])


def test_leaf_hash_equals_the_twin(library):
    for account, weight in [*shares(5), (address(0), 0), (address(2**160 - 1), 2**256 - 1)]:
        assert bytes(library.leafHash(account, weight)) == leaf_split(account, weight).hash


@pytest.mark.parametrize("count", [1, 2, 3, 5, 6, 8, 13, 33])
def test_process_proves_each_leaf_as_the_twin_does(library, count):
    leaves = shares(count, seed=count)
    twin = merkle.Tree([leaf_split(*leaf) for leaf in leaves])
    tree = grown(leaves)
    assert node(tree) == twin.root_node
    for index, leaf in enumerate(placed(tree)):
        assert (leaf.path, leaf.proof) == twin.proof(index)
        assert proven(library, leaf) == twin.root_node


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 12, 21])
def test_root_of_equals_the_twin(library, count):
    leaves = shares(count, seed=100 + count)
    root, total = library.rootOf(leaves)
    assert Node(bytes(root), total) == merkle.Tree([leaf_split(*leaf) for leaf in leaves]).root_node


def test_root_of_refuses_no_leaves(library):
    with reverts("MerkleSumNoLeaves"):
        library.rootOf([])


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_replace_gives_the_roots_before_and_after(library, count):
    tree = grown(shares(count, seed=200 + count))
    for leaf in placed(tree):
        new = grown([(address(1), leaf.weight // 2), (address(2), leaf.weight - leaf.weight // 2)])
        old = leaf_split(leaf.account, leaf.weight).hash
        before, after, total = library.replace(leaf.proof, leaf.path, old, node(new).hash, leaf.weight)
        assert Node(bytes(before), total) == node(tree)
        assert Node(bytes(after), total) == node(replaced(tree, leaf.position, new))


def test_path_with_bits_above_the_proof_is_refused(library):
    """Case 61: else one leaf would have many positions."""
    for count in (1, 2, 5):
        for leaf in placed(grown(shares(count, seed=5))):
            length = len(leaf.proof)
            for bit in {length, length + 1, 39, 40, 255} - set(range(length)):
                path = leaf.path | 1 << bit
                with reverts("MerkleSumPathTooLong", path, length):
                    library.process(leaf.proof, path, NONE, 1)
                with reverts("MerkleSumPathTooLong", path, length):
                    library.replace(leaf.proof, path, NONE, NONE, 1)


def test_proof_of_41_nodes_is_refused(library):
    """Case 8; 40 are accepted."""
    nodes = [Node(bytes([i]) * 32, i) for i in range(41)]
    got = library.process(nodes[:40], 2**40 - 1, NONE, 5)
    assert (bytes(got[0]), got[1]) == merkle.process(nodes[:40], 2**40 - 1, Node(NONE, 5))
    with reverts("MerkleSumProofTooLong", 41):
        library.process(nodes, 0, NONE, 5)
    with reverts("MerkleSumProofTooLong", 41):
        library.replace(nodes, 0, NONE, NONE, 5)


def test_inner_node_cannot_be_presented_as_a_leaf(library):
    """Case 7: an account and weight chosen so that abi.encode(account, weight) looks like part of an inner node's
    preimage still hash to something else, because leaves are hashed twice."""
    tree = grown(shares(4, seed=6))
    inner, sibling = node(tree.left), node(tree.right)
    as_leaf = leaf_split("0x" + inner.hash[12:].hex(), inner.sum)
    assert as_leaf.hash != inner.hash
    got = library.process([sibling], 0, as_leaf.hash, inner.sum)
    assert bytes(got[0]) != node(tree).hash


def test_raised_sum_in_a_proof_changes_hash_or_total(library):
    """Case 5."""
    tree = grown(shares(6, seed=7))
    root = node(tree)
    for leaf in placed(tree):
        for level, sibling in enumerate(leaf.proof):
            raised = list(leaf.proof)
            raised[level] = Node(sibling.hash, sibling.sum + 1)
            assert proven(library, leaf._replace(proof=raised)) != root


def test_sum_above_256_bits_reverts(library):
    with reverts("Integer overflow"):
        library.process([Node(NONE, 2**256 - 1)], 0, NONE, 1)
    with reverts("Integer overflow"):
        library.replace([Node(NONE, 2**256 - 1)], 0, NONE, NONE, 1)


def lying_tree(dice, depth):
    """A tree whose author claims any sums: (true hash, claimed sum, [(account, weight, path bits, proof)])."""
    if depth == 0 or dice.random() < 0.2:
        account, weight = address(dice.getrandbits(160)), dice.randrange(10)
        claimed = weight if dice.random() < 0.8 else dice.randrange(12)
        return Node(leaf_split(account, weight).hash, claimed), [(account, weight, 0, [])]
    (left, left_leaves), (right, right_leaves) = lying_tree(dice, depth - 1), lying_tree(dice, depth - 1)
    honest = merkle.join(left, right)
    claimed = honest.sum if dice.random() < 0.7 else dice.randrange(40)
    leaves = [(a, w, p | 0 << len(proof), [*proof, right]) for a, w, p, proof in left_leaves]
    leaves += [(a, w, p | 1 << len(proof), [*proof, left]) for a, w, p, proof in right_leaves]
    return Node(honest.hash, claimed), leaves


def test_provable_weights_never_exceed_the_total_of_a_lying_tree(library):
    """Case 6: whatever sums the author of a tree claims, what can be proven adds up to at most the root's total."""
    dice = random.Random(20261121)
    some_left_out = 0
    for _ in range(120):
        root, leaves = lying_tree(dice, 3)
        provable = 0
        for account, weight, path, proof in leaves:
            got = library.process(proof, path, leaf_split(account, weight).hash, weight)
            assert (bytes(got[0]), got[1]) == merkle.process(
                proof, path, Node(leaf_split(account, weight).hash, weight)
            )
            if (bytes(got[0]), got[1]) == root:
                provable += weight
            else:
                some_left_out += 1
        assert provable <= root.sum
    assert some_left_out > 100, "the trees lied too little to show anything"


def test_equal_paths_at_different_depths_are_different_positions():
    """Case 72, in the tree's own terms: a leaf of path 0 at each depth."""
    tree = Branch(Branch(Leaf(address(1), 1), Leaf(address(2), 1)), Leaf(address(3), 1))
    deep = replaced(tree, next(placed(tree)).position, grown([(address(4), 1), (address(5), 0)]))
    positions = [leaf.position for leaf in placed(deep)]
    assert len(set(positions)) == len(positions) == 4
    assert [leaf.path for leaf in placed(deep)] == [0, 1, 1, 1]
