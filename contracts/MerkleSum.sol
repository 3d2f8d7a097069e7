// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/**
 * @title Merkle-sum trees of accounts and weights
 * @notice Proves that an account holds a weight in a tree, and, with the same proof, that the weights of all provable
 * leaves together never exceed the root's total, whoever built the tree.
 *
 * @dev Shape. A leaf's hash is keccak256(keccak256(abi.encode(account, weight))); hashing twice keeps a leaf from being
 * presented as an inner node, whose hash is keccak256(leftHash, leftSum, rightHash, rightSum). A level's nodes are paired
 * from the left; an odd last node is carried up and adds no element to a proof. Bit i of `path` (the lowest bit is the
 * level next to the leaf) is 1 where our node is the right child, so `(1 << proof.length) | path` names a position in the
 * tree without ambiguity. A path with bits above the proof's length is refused: it would give one leaf many positions.
 *
 * Why the sum of all provable weights is at most the total. Fix a root (hash, total); keccak256 is taken as free of
 * collisions, so a hash that has been opened as an inner node opens to one (leftHash, leftSum, rightHash, rightSum) only,
 * and never opens as a leaf. Claim: for every node (hash, sum) that a valid proof passes through, the weights of the
 * leaves provable below it add up to at most `sum`. Induction over the height. A leaf is provable with the one weight
 * that its hash commits to, and `process` starts with that weight as its sum. An inner node that some valid proof passes
 * has sum = leftSum + rightSum by the checked addition in `process`, with both sums taken from the node's preimage, which
 * is the same for all proofs; by the hypothesis the leaves below each child add up to at most that child's sum, and the
 * positions below the two children are disjoint. A child that no valid proof passes has no provable leaf and counts 0.
 * Hence the root's leaves add up to at most total. A wrong sum anywhere can only make leaves unprovable, it can't create
 * weight. Replacing a node by one of equal sum (`replace`) keeps every sum on its path, and so keeps the claim.
 */
library MerkleSum {
    /// @notice The longest proof that is accepted: a tree of 2^40 leaves.
    uint256 internal constant MAX_PROOF_LENGTH = 40;

    /**
     * @param hash keccak256 of the node: of a leaf's account and weight (twice), or of its two children.
     * @param sum sum of the weights below the node.
     */
    struct Node {
        bytes32 hash;
        uint256 sum;
    }

    /**
     * @param account holder of the leaf.
     * @param weight its share, in units of the tree's total.
     */
    struct Leaf {
        address account;
        uint256 weight;
    }

    /// @notice The path has bits set at or above the proof's length.
    error MerkleSumPathTooLong(uint256 path, uint256 length);

    /// @notice The proof has more than 40 elements.
    error MerkleSumProofTooLong(uint256 length);

    /// @notice The tree has no leaf.
    error MerkleSumNoLeaves();

    /// @notice The hash of a leaf of a split tree.
    function leafHash(address account, uint256 weight) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(account, weight))));
    }

    /**
     * @notice The place of a leaf in its tree: unique among all leaves of all depths, which the path alone is not.
     * @dev Callers check the proof with `process` or `replace` first, which bound the length and the path.
     */
    function position(uint256 path, uint256 length) internal pure returns (uint256) {
        return (1 << length) | path;
    }

    /**
     * @notice Recomputes hash and total of the root from a leaf and its proof. Callers compare both.
     * @param proof the sibling of each node on the way up, leaf level first.
     * @param path bit i is 1 where the node of level i is a right child.
     * @param leaf hash of the leaf.
     * @param weight weight of the leaf.
     * @return root hash of the root that this proof leads to.
     * @return total sum of that root. Reverts with a panic if the sums overflow.
     */
    function process(
        Node[] calldata proof,
        uint256 path,
        bytes32 leaf,
        uint256 weight
    ) internal pure returns (bytes32 root, uint256 total) {
        _checkShape(path, proof.length);
        (root, total) = (leaf, weight);
        for (uint256 i = 0; i < proof.length; ++i) {
            Node calldata sibling = proof[i];
            root = (path >> i) & 1 == 0
                ? _inner(root, total, sibling.hash, sibling.sum)
                : _inner(sibling.hash, sibling.sum, root, total);
            total += sibling.sum;
        }
    }

    /**
     * @notice Recomputes the root before and after one node is replaced by another of equal sum, with the same siblings:
     * the total stays. Callers compare the old root and the total with what they have stored.
     * @param proof the siblings on the way up from the replaced node.
     * @param path bit i is 1 where the node of level i is a right child.
     * @param oldHash hash of the node that is replaced.
     * @param newHash hash of the node that takes its place.
     * @param sum sum of either.
     * @return oldRoot hash of the root that the proof leads to from the old node.
     * @return newRoot hash of the root that it leads to from the new one.
     * @return total sum of both roots. Reverts with a panic if the sums overflow.
     */
    function replace(
        Node[] calldata proof,
        uint256 path,
        bytes32 oldHash,
        bytes32 newHash,
        uint256 sum
    ) internal pure returns (bytes32 oldRoot, bytes32 newRoot, uint256 total) {
        _checkShape(path, proof.length);
        (oldRoot, newRoot, total) = (oldHash, newHash, sum);
        for (uint256 i = 0; i < proof.length; ++i) {
            (bytes32 hash, uint256 added) = (proof[i].hash, proof[i].sum);
            if ((path >> i) & 1 == 0) {
                oldRoot = _inner(oldRoot, total, hash, added);
                newRoot = _inner(newRoot, total, hash, added);
            } else {
                oldRoot = _inner(hash, added, oldRoot, total);
                newRoot = _inner(hash, added, newRoot, total);
            }
            total += added;
        }
    }

    /**
     * @notice Builds the tree over the leaves in their order and returns its root.
     * @dev Its cost grows with the number of leaves: meant for constructors and tests.
     */
    function rootOf(Leaf[] memory leaves) internal pure returns (bytes32 root, uint256 total) {
        uint256 count = leaves.length;
        if (count == 0) revert MerkleSumNoLeaves();
        Node[] memory level = new Node[](count);
        for (uint256 i = 0; i < count; ++i) {
            level[i] = Node(leafHash(leaves[i].account, leaves[i].weight), leaves[i].weight);
        }
        while (count > 1) {
            for (uint256 i = 0; i + 1 < count; i += 2) {
                (Node memory left, Node memory right) = (level[i], level[i + 1]);
                level[i / 2] = Node(_inner(left.hash, left.sum, right.hash, right.sum), left.sum + right.sum);
            }
            if (count % 2 == 1) level[count / 2] = level[count - 1];
            count = (count + 1) / 2;
        }
        return (level[0].hash, level[0].sum);
    }

    function _checkShape(uint256 path, uint256 length) private pure {
        if (length > MAX_PROOF_LENGTH) revert MerkleSumProofTooLong(length);
        if (path >> length != 0) revert MerkleSumPathTooLong(path, length);
    }

    function _inner(
        bytes32 leftHash,
        uint256 leftSum,
        bytes32 rightHash,
        uint256 rightSum
    ) private pure returns (bytes32 hash) {
        // keccak256(abi.encode(leftHash, leftSum, rightHash, rightSum)) without keeping the 128 bytes: they are written
        // behind the free memory pointer, which stays, so that a proof of 40 levels needs no more memory than one level.
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, leftHash)
            mstore(add(free, 0x20), leftSum)
            mstore(add(free, 0x40), rightHash)
            mstore(add(free, 0x60), rightSum)
            hash := keccak256(free, 0x80)
        }
    }
}
