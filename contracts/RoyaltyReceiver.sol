// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

import {IRevenueLedger} from "./interfaces/IRevenueLedger.sol";

/**
 * @title The address that marketplaces pay a work's royalties to (ERC-2981)
 * @notice Marketplaces pay an address and call nothing. This one holds what arrives until anyone sweeps it into the ledger.
 * @dev A whole contract and no ERC-1167 clone: a clone's delegatecall doesn't fit into the 2,300 gas that `transfer` gives.
 * @custom:security-contact see SECURITY.md
 */
contract RoyaltyReceiver {
    using SafeERC20 for IERC20;

    /// @notice Kind of the payments that it makes to the ledger.
    uint8 public constant ROYALTY = 4;

    /// @notice Where it pays.
    IRevenueLedger public immutable ledger;

    /// @notice The work it pays.
    uint64 public immutable workId;

    constructor(IRevenueLedger ledger_, uint64 workId_) {
        ledger = ledger_;
        workId = workId_;
    }

    // Nothing but the acceptance of coins fits into 2,300 gas with certainty.
    receive() external payable {} // solhint-disable-line no-empty-blocks

    /**
     * @notice Pays all it holds of a token to the work. Anyone may call.
     * @dev Reverts as the ledger does: RevenueZeroAmount, RevenueTokenNotAllowed, RevenueWorkStatus.
     * @param token the token, or zero for the native coin.
     */
    function sweep(address token) external {
        if (token == address(0)) {
            ledger.payNative{value: address(this).balance}(workId, ROYALTY, 0);
        } else {
            uint256 amount = IERC20(token).balanceOf(address(this));
            IERC20(token).forceApprove(address(ledger), amount);
            ledger.payToken(workId, token, amount, ROYALTY, 0);
        }
    }
}
