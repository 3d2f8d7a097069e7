// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/**
 * @title ERC-5192: tokens that can't be handed on
 * @dev ERC-165 id 0xb45a3c0e.
 */
interface IERC5192 {
    /// @notice A token can no longer be handed on.
    event Locked(uint256 tokenId);

    /// @notice A token can be handed on again.
    event Unlocked(uint256 tokenId);

    /// @notice Whether a token can't be handed on. Reverts if there is no such token.
    function locked(uint256 tokenId) external view returns (bool);
}
