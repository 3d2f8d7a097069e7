// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRevenueLedger} from "./IRevenueLedger.sol";
import {IWorkRegistry} from "./IWorkRegistry.sol";

/**
 * @title Items: copies, merchandise, passes and progress of works
 * @notice ERC-1155 tokens, each kind an item of one work, whose owner alone creates it. What is scarce stays scarce: an
 * item's supply counts what was ever minted, so what is burned doesn't come back, and an account's cap counts what was ever
 * minted to it, so handing on doesn't make room.
 *
 * Items are minted by the owner of their work, or by an account with the role that mints (the Storefront, which sells
 * them). Works that are suspended or revoked mint nothing. Royalties that marketplaces are asked for (ERC-2981) are the
 * work's own.
 *
 * State from events: an item is its ItemCreated and ItemExpirySet; minted are the transfers from the zero address, burned
 * those to it, each with its account.
 */
interface IItems {
    // ------------------------------------------------------------------------------------------------------- structs

    /**
     * @param workId the work that it belongs to.
     * @param maxSupply most that can ever be minted of it.
     * @param minted what was minted so far, burned or not.
     * @param perAccountCap most that can ever be minted to one account; 0 for no bound.
     * @param rarity a number that its creator gives; the contract gives it no meaning.
     * @param soulbound it can be minted and burned, and never handed on.
     * @param expiresAt from this time on it can't be minted or redeemed and opens nothing; 0 for never.
     * @param cidDigest sha256 of its metadata file, which is one raw IPFS block.
     */
    struct Item {
        uint64 workId;
        uint64 maxSupply;
        uint64 minted;
        uint32 perAccountCap;
        uint8 rarity;
        bool soulbound;
        uint48 expiresAt;
        bytes32 cidDigest;
    }

    // -------------------------------------------------------------------------------------------------------- events

    /// @notice A work got an item; nothing of it ever changes.
    event ItemCreated(
        uint256 indexed id,
        uint64 indexed workId,
        uint64 maxSupply,
        uint32 perAccountCap,
        uint8 rarity,
        bool soulbound,
        bytes32 cidDigest
    );

    /// @notice The item of the same transaction expires at this time.
    event ItemExpirySet(uint256 indexed id, uint48 expiresAt);

    /// @notice A holder gave up `amount` for what they stand for; `ref` is the holder's reference, such as an order's.
    event Redeemed(uint256 indexed id, address indexed account, uint256 amount, bytes32 ref);

    // -------------------------------------------------------------------------------------------------------- errors

    /// @notice There is no such item.
    error ItemUnknown(uint256 id);
    /// @notice Only the owner of the work may do this.
    error ItemNotOwner(uint64 workId, address account);
    /// @notice The metadata digest is zero.
    error ItemEmptyHash();
    /// @notice Nothing could ever be minted, or nothing is redeemed.
    error ItemZeroAmount();
    /// @notice Only `left` more can be minted.
    error ItemSupplyExceeded(uint256 id, uint256 left);
    /// @notice More can't be minted to this account.
    error ItemAccountCapExceeded(uint256 id, address account);
    /// @notice It can't be handed on.
    error ItemSoulbound(uint256 id);
    /// @notice It expired, or would expire, at that time.
    error ItemExpired(uint256 id, uint48 expiresAt);
    /// @notice The standing of its work forbids minting.
    error ItemWorkStatus(uint64 workId, uint8 status);

    // ------------------------------------------------------------------------------------------------------- creation

    /**
     * @notice Creates an item of a work. Only the work's owner.
     * @dev Reverts with ItemNotOwner, ItemZeroAmount (no supply), ItemEmptyHash, ERC721NonexistentToken (no such work).
     * @return Its id; ids count from 1.
     */
    function createItem(
        uint64 workId,
        uint64 maxSupply,
        uint32 perAccountCap,
        uint8 rarity,
        bool soulbound,
        bytes32 cidDigest
    ) external returns (uint256);

    /// @notice createItem of something that expires. Reverts as it does, and with ItemExpired unless that lies ahead.
    function createPass(
        uint64 workId,
        uint64 maxSupply,
        uint32 perAccountCap,
        uint8 rarity,
        bool soulbound,
        bytes32 cidDigest,
        uint48 expiresAt
    ) external returns (uint256);

    // -------------------------------------------------------------------------------------------------------- minting

    /**
     * @notice Mints. Restricted, or by the owner of the item's work.
     * @dev Reverts with ItemUnknown, AccessManagedUnauthorized, ItemWorkStatus (suspended, revoked), ItemExpired,
     * ItemSupplyExceeded, ItemAccountCapExceeded, or the receiver's refusal (ERC-1155).
     */
    function mint(address to, uint256 id, uint256 amount) external;

    /// @notice Mints several items. Restricted, or by the owner of all their works. Reverts whole, as mint does.
    function mintBatch(address to, uint256[] calldata ids, uint256[] calldata amounts) external;

    // -------------------------------------------------------------------------------------------------------- holders

    /// @notice Burns, soulbound or not. Only the holder, or an operator that it approved.
    function burn(address account, uint256 id, uint256 amount) external;

    /// @notice Burns for what the item stands for. Reverts as burn does, and with ItemZeroAmount, ItemExpired.
    function redeem(address account, uint256 id, uint256 amount, bytes32 ref) external;

    // ---------------------------------------------------------------------------------------------------------- views

    /// @notice The registry of works.
    function registry() external view returns (IWorkRegistry);

    /// @notice The ledger, which knows the works' standing.
    function ledger() external view returns (IRevenueLedger);

    /// @notice An item. Reverts with ItemUnknown.
    function itemOf(uint256 id) external view returns (Item memory);

    /// @notice The work of an item. Reverts with ItemUnknown.
    function workOf(uint256 id) external view returns (uint64);

    /// @notice All items of a work, in the order of their creation.
    function itemsOf(uint64 workId) external view returns (uint64[] memory);

    /// @notice Number of items, which is the largest id.
    function itemCount() external view returns (uint64);

    /// @notice What was ever minted of an item with a cap to an account; items without one aren't counted by account.
    function mintedTo(uint256 id, address account) external view returns (uint256);

    /// @notice What there is of an item: minted less burned.
    function totalSupply(uint256 id) external view returns (uint256);

    /// @notice Whether there is any of an item.
    function exists(uint256 id) external view returns (bool);

    /// @notice Whether an account holds something of a work that has not expired. Takes longer, the more items the work has.
    function holdsAnyOf(address account, uint64 workId) external view returns (bool);
}
