// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ERC1155Holder} from "@openzeppelin/contracts/token/ERC1155/utils/ERC1155Holder.sol";
import {ERC721Holder} from "@openzeppelin/contracts/token/ERC721/utils/ERC721Holder.sol";

import {ReentrantAccount} from "./HostileAccounts.sol";

/// @title Calls back once whenever it gets a token whose standard asks the receiver.
contract ReentrantReceiver is ReentrantAccount, ERC721Holder, ERC1155Holder {
    /// @notice Which of the receiver's functions was called last: how many ids came at once, 0 for an ERC-721 token.
    uint256 public batchLength;

    function onERC721Received(
        address operator,
        address from,
        uint256 tokenId,
        bytes memory data
    ) public override returns (bytes4) {
        batchLength = 0;
        _callBack();
        return super.onERC721Received(operator, from, tokenId, data);
    }

    function onERC1155Received(
        address operator,
        address from,
        uint256 id,
        uint256 value,
        bytes memory data
    ) public override returns (bytes4) {
        batchLength = 1;
        _callBack();
        return super.onERC1155Received(operator, from, id, value, data);
    }

    function onERC1155BatchReceived(
        address operator,
        address from,
        uint256[] memory ids,
        uint256[] memory values,
        bytes memory data
    ) public override returns (bytes4) {
        batchLength = ids.length;
        _callBack();
        return super.onERC1155BatchReceived(operator, from, ids, values, data);
    }
}
