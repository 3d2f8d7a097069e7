// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/**
 * @title ERC-7496: traits of tokens that change on chain
 * @dev ERC-165 id 0xaf332f3e. Of its five events for changed values, the one for a single token.
 */
interface IERC7496 {
    /// @notice A token's trait changed.
    event TraitUpdated(bytes32 indexed traitKey, uint256 tokenId, bytes32 traitValue);

    /// @notice The description of all traits changed.
    event TraitMetadataURIUpdated();

    /// @notice The token has no such trait.
    error TraitKeyUnknown(bytes32 traitKey);

    /// @notice Sets a token's trait.
    function setTrait(uint256 tokenId, bytes32 traitKey, bytes32 newValue) external;

    /// @notice A token's trait; zero until it is set. Reverts with TraitKeyUnknown.
    function getTraitValue(uint256 tokenId, bytes32 traitKey) external view returns (bytes32);

    /// @notice Several traits of a token. Reverts with TraitKeyUnknown.
    function getTraitValues(uint256 tokenId, bytes32[] calldata traitKeys) external view returns (bytes32[] memory);

    /// @notice Where all traits are described.
    function getTraitMetadataURI() external view returns (string memory);
}
