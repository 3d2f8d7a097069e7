// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";

import {Storefront} from "../Storefront.sol";
import {ICharacters} from "../interfaces/ICharacters.sol";
import {IERC6551Account} from "../interfaces/IERC6551Account.sol";
import {IItems} from "../interfaces/IItems.sol";
import {IRevenueLedger} from "../interfaces/IRevenueLedger.sol";

/// @title Calls for anyone who asks, as an ERC-2771 forwarder that checks nothing.
contract CarelessForwarder {
    /// @notice Calls the target for `from`; its error is passed on.
    function forward(address target, address from, bytes calldata data) external payable {
        // solhint-disable-next-line avoid-low-level-calls
        (bool done, bytes memory answer) = target.call{value: msg.value}(bytes.concat(data, bytes20(from)));
        if (done) return;
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            revert(add(answer, 0x20), mload(answer))
        }
    }
}

/// @title An account that belongs to a token and counts what it does (ERC-6551).
contract TokenBoundAccount is IERC6551Account {
    /// @notice Only the token's owner acts.
    error NotOwner();

    /// @inheritdoc IERC6551Account
    uint256 public override state;

    IERC721 private immutable _collection;
    uint256 private immutable _tokenId;

    constructor(IERC721 collection, uint256 tokenId) {
        (_collection, _tokenId) = (collection, tokenId);
    }

    /// @notice Gives something away.
    function drain() external {
        if (_collection.ownerOf(_tokenId) != msg.sender) revert NotOwner();
        ++state;
    }
}

/**
 * @title The storefront with a bug planted, to show that its tests find it
 * @notice It takes a royalty of an odd price as rounded up when it pays the seller, and so keeps a unit.
 */
contract KeepingStorefront is Storefront {
    constructor(
        address forwarder,
        IRevenueLedger ledger_,
        IItems items_,
        ICharacters characters_
    ) Storefront(forwarder, ledger_, items_, characters_) {}

    /// @dev Storefront's, with another answer than what it paid.
    function _payRoyalty(
        uint64 workId,
        address token,
        uint256 total,
        bytes32 ref
    ) internal override returns (uint256 royalty) {
        royalty = super._payRoyalty(workId, token, total, ref);
        if (total % 2 == 1 && royalty != 0) ++royalty;
    }
}

/**
 * @title The storefront with another bug planted
 * @notice The share goes to who pays, and not to who gets the work.
 */
contract PayersStorefront is Storefront {
    constructor(
        address forwarder,
        IRevenueLedger ledger_,
        IItems items_,
        ICharacters characters_
    ) Storefront(forwarder, ledger_, items_, characters_) {}

    function _moveShare(
        Order calldata order,
        bytes32 orderHash,
        address,
        Share calldata share
    ) internal override {
        super._moveShare(order, orderHash, _msgSender(), share);
    }
}
