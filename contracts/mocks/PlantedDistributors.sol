// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {MerkleSum} from "../MerkleSum.sol";
import {RewardDistributor} from "../RewardDistributor.sol";

/// @title A bug on purpose: bonds back promises, as if they were funds.
contract BondsAsFunds is RewardDistributor {
    constructor(
        address authority_,
        address bondToken_,
        uint48 genesis_,
        Parameters memory parameters_
    ) RewardDistributor(authority_, bondToken_, genesis_, parameters_) {}

    function _available(address token) internal view override returns (uint256) {
        return super._available(token) + (token == bondToken ? this.bondsHeld() : 0);
    }
}

/// @title A bug on purpose: a root can be made final at once.
contract SkippedWindow is RewardDistributor {
    constructor(
        address authority_,
        address bondToken_,
        uint48 genesis_,
        Parameters memory parameters_
    ) RewardDistributor(authority_, bondToken_, genesis_, parameters_) {}

    function _endOfWindow() internal view override returns (uint48) {
        return uint48(block.timestamp);
    }
}

/// @title A bug on purpose: bits of a path above its proof are passed over, so that one leaf has many positions.
contract LoosePath is RewardDistributor {
    constructor(
        address authority_,
        address bondToken_,
        uint48 genesis_,
        Parameters memory parameters_
    ) RewardDistributor(authority_, bondToken_, genesis_, parameters_) {}

    function _requireLeaf(
        address token,
        bytes32 root,
        uint256 total,
        Leaf calldata leaf
    ) internal view override {
        (bytes32 hash, uint256 sum) = MerkleSum.process(
            leaf.proof,
            leaf.path & ((1 << leaf.proof.length) - 1),
            _leafHash(token, leaf.account, leaf.cumulative),
            leaf.cumulative
        );
        if (hash != root || sum != total) revert RewardInvalidProof();
    }
}
