// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {MerkleSum} from "../MerkleSum.sol";

/// @title The library's functions as calls of their own, for its tests.
contract MerkleSumHarness {
    /// @notice See MerkleSum.leafHash.
    function leafHash(address account, uint256 weight) external pure returns (bytes32) {
        return MerkleSum.leafHash(account, weight);
    }

    /// @notice See MerkleSum.process.
    function process(
        MerkleSum.Node[] calldata proof,
        uint256 path,
        bytes32 leaf,
        uint256 weight
    ) external pure returns (bytes32, uint256) {
        return MerkleSum.process(proof, path, leaf, weight);
    }

    /// @notice See MerkleSum.replace.
    function replace(
        MerkleSum.Node[] calldata proof,
        uint256 path,
        bytes32 oldHash,
        bytes32 newHash,
        uint256 sum
    ) external pure returns (bytes32, bytes32, uint256) {
        return MerkleSum.replace(proof, path, oldHash, newHash, sum);
    }

    /// @notice See MerkleSum.rootOf.
    function rootOf(MerkleSum.Leaf[] calldata leaves) external pure returns (bytes32, uint256) {
        return MerkleSum.rootOf(leaves);
    }
}
