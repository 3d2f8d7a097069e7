// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Characters} from "../Characters.sol";
import {IWorkRegistry} from "../interfaces/IWorkRegistry.sol";

/**
 * @title Characters with a bug planted, to show that their tests find it
 * @notice An owner takes the token from its user whenever it likes, as ERC-4907 itself would let it.
 */
contract EvictingCharacters is Characters {
    constructor(
        address initialAuthority,
        IWorkRegistry registry_,
        string memory initialContractURI,
        string memory initialTraitMetadataURI
    ) Characters(initialAuthority, registry_, initialContractURI, initialTraitMetadataURI) {}

    /// @dev Characters' refuses.
    function _checkNotRented(uint256 tokenId) internal view override {} // solhint-disable-line no-empty-blocks
}
