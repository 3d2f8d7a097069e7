// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/**
 * @title Token-bound accounts, as far as a sale needs them (ERC-6551)
 */
interface IERC6551Account {
    /// @notice A number that changes with everything that the account does.
    function state() external view returns (uint256);
}
