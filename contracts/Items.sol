// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IERC165} from "@openzeppelin/contracts/interfaces/IERC165.sol";
import {IERC2981} from "@openzeppelin/contracts/interfaces/IERC2981.sol";
import {ERC1155} from "@openzeppelin/contracts/token/ERC1155/ERC1155.sol";
import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {RawCid} from "./RawCid.sol";
import {IItems} from "./interfaces/IItems.sol";
import {IRevenueLedger} from "./interfaces/IRevenueLedger.sol";
import {IWorkRegistry} from "./interfaces/IWorkRegistry.sol";

/**
 * @title Items
 * @dev Supply is derived from two counters that the caps need anyway. OpenZeppelin's ERC1155Supply has the same functions,
 * but would write two more slots with every mint.
 * @custom:security-contact see SECURITY.md
 */
contract Items is IItems, ERC1155, IERC2981, AccessManaged, ReentrancyGuardTransient {
    // ----------------------------------------------------------------------------------------------------- constants

    /// @notice Version of this contract's interface.
    string public constant VERSION = "1";

    // ------------------------------------------------------------------------------------------------------- storage

    /// @dev One slot, all that minting reads and writes of an item. Of an expiry it holds only that there is one.
    struct StoredItem {
        uint64 workId;
        uint64 maxSupply;
        uint64 minted;
        uint32 perAccountCap;
        uint8 rarity;
        bool soulbound;
        bool expires;
    }

    /// @inheritdoc IItems
    IWorkRegistry public immutable override registry;

    /// @inheritdoc IItems
    IRevenueLedger public immutable override ledger;

    uint64 private _itemCount;

    mapping(uint256 id => StoredItem) private _items;
    mapping(uint256 id => bytes32 digest) private _cidDigests;
    mapping(uint256 id => uint48 time) private _expiresAt;
    mapping(uint256 id => uint256 amount) private _burned;
    mapping(uint256 id => mapping(address account => uint256 amount)) private _mintedTo;
    mapping(uint64 workId => uint64[] ids) private _itemsOf;

    // --------------------------------------------------------------------------------------------------- construction

    /**
     * @param initialAuthority the AccessManager that says who may mint beside the works' owners.
     * @param registry_ the WorkRegistry.
     */
    constructor(address initialAuthority, IWorkRegistry registry_) ERC1155("") AccessManaged(initialAuthority) {
        registry = registry_;
        ledger = registry_.ledger();
    }

    // ------------------------------------------------------------------------------------------------------- creation

    /// @inheritdoc IItems
    function createItem(
        uint64 workId,
        uint64 maxSupply,
        uint32 perAccountCap,
        uint8 rarity,
        bool soulbound,
        bytes32 cidDigest
    ) external override returns (uint256) {
        return _create(StoredItem(workId, maxSupply, 0, perAccountCap, rarity, soulbound, false), cidDigest);
    }

    /// @inheritdoc IItems
    function createPass(
        uint64 workId,
        uint64 maxSupply,
        uint32 perAccountCap,
        uint8 rarity,
        bool soulbound,
        bytes32 cidDigest,
        uint48 expiresAt
    ) external override returns (uint256 id) {
        id = _create(StoredItem(workId, maxSupply, 0, perAccountCap, rarity, soulbound, true), cidDigest);
        if (expiresAt <= block.timestamp) revert ItemExpired(id, expiresAt);
        _expiresAt[id] = expiresAt;
        emit ItemExpirySet(id, expiresAt);
    }

    // -------------------------------------------------------------------------------------------------------- minting

    /// @dev AccessManaged's `restricted`, which the owner of the works of all these items passes too.
    modifier restrictedUnlessOwner(uint256[] memory ids) {
        if (!_isOwnerOfAll(ids, msg.sender)) _checkCanCall(msg.sender, msg.data);
        _;
    }

    /// @inheritdoc IItems
    function mint(
        address to,
        uint256 id,
        uint256 amount
    ) external override restrictedUnlessOwner(_single(id)) nonReentrant {
        _checkMintable(id);
        _mint(to, id, amount, "");
    }

    /// @inheritdoc IItems
    function mintBatch(
        address to,
        uint256[] calldata ids,
        uint256[] calldata amounts
    ) external override restrictedUnlessOwner(ids) nonReentrant {
        for (uint256 i = 0; i < ids.length; ++i) _checkMintable(ids[i]);
        _mintBatch(to, ids, amounts, "");
    }

    // -------------------------------------------------------------------------------------------------------- holders

    /// @inheritdoc IItems
    function burn(address account, uint256 id, uint256 amount) external override {
        _checkAuthorized(msg.sender, account);
        _burn(account, id, amount);
    }

    /// @inheritdoc IItems
    function redeem(address account, uint256 id, uint256 amount, bytes32 ref) external override {
        _checkAuthorized(msg.sender, account);
        if (amount == 0) revert ItemZeroAmount();
        _checkNotExpired(id, _known(id).expires);
        _burn(account, id, amount);
        emit Redeemed(id, account, amount, ref);
    }

    // ---------------------------------------------------------------------------------------------------------- views

    /// @inheritdoc IItems
    function itemOf(uint256 id) external view override returns (Item memory) {
        StoredItem memory item = _known(id);
        return
            Item({
                workId: item.workId,
                maxSupply: item.maxSupply,
                minted: item.minted,
                perAccountCap: item.perAccountCap,
                rarity: item.rarity,
                soulbound: item.soulbound,
                expiresAt: _expiresAt[id],
                cidDigest: _cidDigests[id]
            });
    }

    /// @inheritdoc IItems
    function workOf(uint256 id) external view override returns (uint64) {
        return _known(id).workId;
    }

    /// @inheritdoc IItems
    function itemsOf(uint64 workId) external view override returns (uint64[] memory) {
        return _itemsOf[workId];
    }

    /// @inheritdoc IItems
    function itemCount() external view override returns (uint64) {
        return _itemCount;
    }

    /// @inheritdoc IItems
    function mintedTo(uint256 id, address account) external view override returns (uint256) {
        return _mintedTo[id][account];
    }

    /// @inheritdoc IItems
    function totalSupply(uint256 id) public view override returns (uint256) {
        return _items[id].minted - _burned[id];
    }

    /// @inheritdoc IItems
    function exists(uint256 id) external view override returns (bool) {
        return totalSupply(id) != 0;
    }

    /// @inheritdoc IItems
    function holdsAnyOf(address account, uint64 workId) external view override returns (bool) {
        uint64[] storage ids = _itemsOf[workId];
        for (uint256 i = 0; i < ids.length; ++i) {
            uint256 id = ids[i];
            if (balanceOf(account, id) == 0) continue;
            if (!_items[id].expires || block.timestamp < _expiresAt[id]) return true;
        }
        return false;
    }

    /// @notice The address of the item's metadata file, ipfs://bafkrei... (ERC-1155). Reverts with ItemUnknown.
    function uri(uint256 id) public view override returns (string memory) {
        _known(id);
        return RawCid.uri(_cidDigests[id]);
    }

    /// @inheritdoc IERC2981
    function royaltyInfo(uint256 id, uint256 salePrice) external view override returns (address, uint256) {
        return IERC2981(address(registry)).royaltyInfo(_known(id).workId, salePrice);
    }

    /// @inheritdoc IERC165
    function supportsInterface(bytes4 interfaceId) public view override(ERC1155, IERC165) returns (bool) {
        return interfaceId == type(IERC2981).interfaceId || super.supportsInterface(interfaceId);
    }

    // ------------------------------------------------------------------------------------------------------ internals

    /// @dev Every mint, transfer and burn, batches included, comes by here before the receiver is called.
    function _update(
        address from,
        address to,
        uint256[] memory ids,
        uint256[] memory amounts
    ) internal virtual override {
        super._update(from, to, ids, amounts); // checks the lengths and the balances
        for (uint256 i = 0; i < ids.length; ++i) {
            if (from == address(0)) _countMinted(to, ids[i], amounts[i]);
            else if (to == address(0)) _burned[ids[i]] += amounts[i];
            else if (_items[ids[i]].soulbound) revert ItemSoulbound(ids[i]);
        }
    }

    function _countMinted(address to, uint256 id, uint256 amount) private {
        StoredItem storage item = _items[id];
        (uint256 minted, uint256 cap) = (item.minted, item.perAccountCap);
        uint256 left = item.maxSupply - minted;
        if (amount > left) revert ItemSupplyExceeded(id, left);
        item.minted = uint64(minted + amount); // at most maxSupply
        if (cap == 0) return;
        uint256 before = _mintedTo[id][to];
        if (amount > cap - before) revert ItemAccountCapExceeded(id, to);
        _mintedTo[id][to] = before + amount;
    }

    function _create(StoredItem memory item, bytes32 cidDigest) private returns (uint256 id) {
        if (_ownerOfWork(item.workId) != msg.sender) revert ItemNotOwner(item.workId, msg.sender);
        if (item.maxSupply == 0) revert ItemZeroAmount();
        if (cidDigest == 0) revert ItemEmptyHash();
        id = ++_itemCount;
        _items[id] = item;
        _cidDigests[id] = cidDigest;
        _itemsOf[item.workId].push(uint64(id));
        emit ItemCreated({
            id: id,
            workId: item.workId,
            maxSupply: item.maxSupply,
            perAccountCap: item.perAccountCap,
            rarity: item.rarity,
            soulbound: item.soulbound,
            cidDigest: cidDigest
        });
    }

    function _checkMintable(uint256 id) private view {
        StoredItem storage item = _items[id];
        uint64 workId = item.workId;
        uint8 status = ledger.workOf(workId).status;
        if (status >= uint8(IWorkRegistry.Status.SUSPENDED)) revert ItemWorkStatus(workId, status);
        _checkNotExpired(id, item.expires);
    }

    function _checkNotExpired(uint256 id, bool expires) private view {
        if (expires && block.timestamp >= _expiresAt[id]) revert ItemExpired(id, _expiresAt[id]);
    }

    function _known(uint256 id) private view returns (StoredItem storage item) {
        item = _items[id];
        if (item.workId == 0) revert ItemUnknown(id); // no item belongs to the platform's work, which nobody owns
    }

    /// @dev Nobody owns nothing: an empty list is for the role alone.
    function _isOwnerOfAll(uint256[] memory ids, address account) private view returns (bool) {
        for (uint256 i = 0; i < ids.length; ++i) {
            if (_ownerOfWork(_known(ids[i]).workId) != account) return false;
        }
        return ids.length != 0;
    }

    function _ownerOfWork(uint64 workId) private view returns (address) {
        return IERC721(address(registry)).ownerOf(workId);
    }

    function _single(uint256 id) private pure returns (uint256[] memory ids) {
        ids = new uint256[](1);
        ids[0] = id;
    }
}
