// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/**
 * @title What TroupeToken adds to OpenZeppelin's ERC-20 with permit, votes, cap and ERC-3009
 */
interface ITroupeToken {
    /**
     * @param account who gets a part of the supply that exists from the start.
     * @param amount how much, in base units.
     */
    struct Allocation {
        address account;
        uint256 amount;
    }

    /// @notice `amount` is more than the sliding window has left; `available` could be minted now.
    error TroupeMintLimitExceeded(uint256 amount, uint256 available);
    /// @notice The treasury holds the token for everybody and can't vote with it.
    error TroupeTreasuryCannotDelegate();

    /**
     * @notice Mints new tokens. Restricted (role MINTER, held by the Timelock).
     * @dev Reverts with TroupeMintLimitExceeded, ERC20ExceededCap, ERC20InvalidReceiver.
     */
    function mint(address to, uint256 amount) external;

    /// @notice What could be minted now without breaking the sliding window, whatever the cap says.
    function mintable() external view returns (uint256);

    /// @notice The account that can't delegate: the Timelock.
    function treasury() external view returns (address);
}
