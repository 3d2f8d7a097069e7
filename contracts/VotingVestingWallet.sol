// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {VestingWallet} from "@openzeppelin/contracts/finance/VestingWallet.sol";
import {IVotes} from "@openzeppelin/contracts/governance/utils/IVotes.sol";

/**
 * @title A vesting wallet whose beneficiary votes with what is not yet vested
 * @notice Releases its balance linearly to its owner; until then the owner chooses who votes with it.
 * @dev The founders' wallets. The treasury's is OpenZeppelin's VestingWallet as it is, which can't delegate.
 * @custom:security-contact see SECURITY.md
 */
contract VotingVestingWallet is VestingWallet {
    constructor(
        address beneficiary,
        uint64 startTimestamp,
        uint64 durationSeconds
    ) VestingWallet(beneficiary, startTimestamp, durationSeconds) {}

    /// @notice Names who votes with this wallet's balance. Only the owner; reverts with OwnableUnauthorizedAccount.
    function delegate(IVotes token, address delegatee) external onlyOwner {
        token.delegate(delegatee);
    }
}
