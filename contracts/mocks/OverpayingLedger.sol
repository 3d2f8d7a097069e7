// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {RevenueLedger} from "../RevenueLedger.sol";
import {MerkleSum} from "../MerkleSum.sol";

/**
 * @title The ledger with a bug planted, to show that its tests find it
 * @notice A version that was never credited counts from zero to the present counters here, so a fresh split version is
 * paid the work's whole history once more.
 */
contract OverpayingLedger is RevenueLedger {
    constructor(
        address initialAuthority,
        address registry_,
        uint16 initialFeeBps,
        MerkleSum.Leaf[] memory platformLeaves,
        bytes32 platformTreeDigest
    ) RevenueLedger(initialAuthority, registry_, initialFeeBps, platformLeaves, platformTreeDigest) {}

    /// @dev RevenueLedger's, less the line for versions without a successor.
    function earnedOf(uint64 workId, address token, uint32 version) public view override returns (uint256) {
        Account memory account = accountOf(workId, token);
        Base memory start = baseOf(workId, token, version);
        uint256 before = _net(workId, start.direct, start.inherited);
        if (start.next == 0) return _net(workId, account.direct, account.inherited) - before;
        Base memory end = baseOf(workId, token, start.next);
        return _net(workId, end.direct, end.inherited) - before;
    }
}
