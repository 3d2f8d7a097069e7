// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {RawCid} from "../RawCid.sol";

/// @title The library's function as a call of its own, for its tests.
contract RawCidHarness {
    /// @notice See RawCid.uri.
    function uri(bytes32 digest) external pure returns (string memory) {
        return RawCid.uri(digest);
    }
}
