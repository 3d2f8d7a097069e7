// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/**
 * @title ERC-4907: the user of a token beside its owner
 * @dev ERC-165 id 0xad092b5c.
 */
interface IERC4907 {
    /// @notice The user or the end of its use changed; the zero address is nobody.
    event UpdateUser(uint256 indexed tokenId, address indexed user, uint64 expires);

    /// @notice Lends a token to a user, who may use it before `expires`.
    function setUser(uint256 tokenId, address user, uint64 expires) external;

    /// @notice Who may use a token at present; zero for nobody but its owner.
    function userOf(uint256 tokenId) external view returns (address);

    /// @notice When the latest use ends or ended; zero if there was none since the token moved.
    function userExpires(uint256 tokenId) external view returns (uint256);
}
