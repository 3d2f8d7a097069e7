// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

import {IRevenueLedger} from "./interfaces/IRevenueLedger.sol";
import {IWorkRegistry} from "./interfaces/IWorkRegistry.sol";

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

    /// @notice The platform's own work, which gets the royalties of a revoked one, with its id as the reference.
    uint64 public constant PLATFORM_WORK = 0;

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
     * @notice Pays all it holds of a token to the work, or to the platform once the work was revoked. Anyone may call.
     * @dev A revoked work takes no payments: a registration that was wrong must not earn on. Within 2,300 gas nothing can be
     * booked, so what came before isn't told from what came after; but a revocation is a vote that waits in public for the
     * Timelock's delay at least, and until it takes effect anyone can sweep for the holders. Reverts as the ledger does:
     * RevenueZeroAmount, RevenueTokenNotAllowed.
     * @param token the token, or zero for the native coin.
     */
    function sweep(address token) external {
        bool revoked = ledger.workOf(workId).status == uint8(IWorkRegistry.Status.REVOKED);
        (uint64 payee, bytes32 ref) = revoked ? (PLATFORM_WORK, bytes32(uint256(workId))) : (workId, bytes32(0));
        if (token == address(0)) {
            ledger.payNative{value: address(this).balance}(payee, ROYALTY, ref);
        } else {
            uint256 amount = IERC20(token).balanceOf(address(this));
            IERC20(token).forceApprove(address(ledger), amount);
            ledger.payToken(payee, token, amount, ROYALTY, ref);
        }
    }
}
