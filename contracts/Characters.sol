// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IERC165} from "@openzeppelin/contracts/interfaces/IERC165.sol";
import {IERC2981} from "@openzeppelin/contracts/interfaces/IERC2981.sol";
import {IERC4906} from "@openzeppelin/contracts/interfaces/IERC4906.sol";
import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

import {RawCid} from "./RawCid.sol";
import {ICharacters} from "./interfaces/ICharacters.sol";
import {IERC4907} from "./interfaces/IERC4907.sol";
import {IERC5192} from "./interfaces/IERC5192.sol";
import {IERC7496} from "./interfaces/IERC7496.sol";
import {IRevenueLedger} from "./interfaces/IRevenueLedger.sol";
import {IWorkRegistry} from "./interfaces/IWorkRegistry.sol";

/**
 * @title Characters
 * @dev A token's id says its class and its number there, so that minting counts in the class alone and writes no slot
 * to find the class again: the owner, the digest, the balance and the class's count are all it changes. No function
 * calls a foreign account but to ask for a signature (ERC-1271, a static call); safeTransferFrom asks the receiver when
 * all is done.
 * @custom:security-contact see SECURITY.md
 */
contract Characters is ICharacters, ERC721, IERC2981, IERC4906, AccessManaged, EIP712 {
    // ------------------------------------------------------------------------------------------------------ constants

    /// @notice Version of this contract's interface.
    string public constant VERSION = "1";

    /// @notice Key of the trait of all tickets that says when they were used, in seconds since 1970; zero for never.
    bytes32 public constant CHECKED_IN = keccak256("checkedIn");

    /// @notice EIP-712 type of a signed import.
    bytes32 public constant IMPORT_TYPEHASH =
        keccak256("Import(uint256 tokenId,bytes32 platformId,uint24 exportNumber,uint48 deadline)");

    /// @notice Longest time ahead that a token can be lent, so that nothing is lost to a user for ever.
    uint256 public constant MAX_USE = 366 days;

    /// @dev Bits of a token's id that hold its number in the class.
    uint256 private constant NUMBER_BITS = 32;

    // -------------------------------------------------------------------------------------------------------- storage

    /// @dev One slot, all that minting reads and writes of a class. Of a platform it holds only that there is one.
    struct StoredClass {
        uint64 workId;
        uint32 maxSupply;
        uint32 minted;
        uint8 rarity;
        bool soulbound;
        bool ticket;
        bool issued;
    }

    /// @dev One full slot, all that a transfer reads of a token beside its owner: who uses it until when, how often it
    /// was exported, and whether it is now.
    struct State {
        address user;
        uint64 expires;
        uint24 exports;
        bool exported;
    }

    /// @inheritdoc ICharacters
    IWorkRegistry public immutable override registry;

    /// @inheritdoc ICharacters
    IRevenueLedger public immutable override ledger;

    uint32 private _classCount;

    string private _contractURI;
    string private _traitMetadataURI;

    mapping(uint32 classId => StoredClass) private _classes;
    mapping(uint32 classId => address) private _organisers;
    mapping(uint32 classId => address) private _traitSetters;
    mapping(uint32 classId => bytes32 platformId) private _issuers;
    mapping(uint32 classId => mapping(bytes32 traitKey => bool)) private _hasTrait;
    mapping(uint256 tokenId => State) private _states;
    mapping(uint256 tokenId => bytes32 digest) private _cidDigests;
    mapping(uint256 tokenId => bytes32 platformId) private _exportedTo;
    mapping(uint256 tokenId => mapping(bytes32 traitKey => bytes32 value)) private _traits;
    mapping(bytes32 platformId => address key) private _platformKeys;

    // --------------------------------------------------------------------------------------------------- construction

    /**
     * @param initialAuthority the AccessManager that says who may mint beside the works' owners, and who governs.
     * @param registry_ the WorkRegistry.
     * @param initialContractURI the contract's own metadata (ERC-7572).
     * @param initialTraitMetadataURI where all traits are described (ERC-7496).
     */
    constructor(
        address initialAuthority,
        IWorkRegistry registry_,
        string memory initialContractURI,
        string memory initialTraitMetadataURI
    ) ERC721("Troupe Characters", "CHARACTER") AccessManaged(initialAuthority) EIP712("Troupe Characters", VERSION) {
        registry = registry_;
        ledger = registry_.ledger();
        _setContractURI(initialContractURI);
        _setTraitMetadataURI(initialTraitMetadataURI);
    }

    // -------------------------------------------------------------------------------------------------------- classes

    /// @inheritdoc ICharacters
    function createClass(ClassParams calldata params) external override returns (uint32 classId) {
        _checkOwnerOfWork(params.workId);
        if (params.maxSupply == 0) revert CharacterZeroSupply();
        if (params.platformId != 0 && _platformKeys[params.platformId] == address(0)) {
            revert CharacterPlatformUnknown(params.platformId);
        }
        classId = ++_classCount;
        _classes[classId] = StoredClass({
            workId: params.workId,
            maxSupply: params.maxSupply,
            minted: 0,
            rarity: params.rarity,
            soulbound: params.soulbound,
            ticket: params.ticket,
            issued: params.platformId != 0
        });
        if (params.platformId != 0) _issuers[classId] = params.platformId;
        emit ClassCreated({
            classId: classId,
            workId: params.workId,
            maxSupply: params.maxSupply,
            rarity: params.rarity,
            soulbound: params.soulbound,
            ticket: params.ticket,
            platformId: params.platformId
        });
        _setOrganiser(classId, params.ticket, params.organiser);
        if (params.ticket) _addTraitKey(classId, CHECKED_IN);
        if (params.traitSetter != address(0)) _setTraitSetter(classId, params.traitSetter);
    }

    /// @inheritdoc ICharacters
    function setOrganiser(uint32 classId, address organiser) external override {
        StoredClass storage class = _ownedClass(classId);
        _setOrganiser(classId, class.ticket, organiser);
    }

    /// @inheritdoc ICharacters
    function setTraitSetter(uint32 classId, address traitSetter) external override {
        _ownedClass(classId);
        if (_traitSetters[classId] == address(0)) revert CharacterUnauthorized(classId, msg.sender);
        _setTraitSetter(classId, traitSetter);
    }

    /// @inheritdoc ICharacters
    function addTraitKeys(uint32 classId, bytes32[] calldata traitKeys) external override {
        _ownedClass(classId);
        for (uint256 i = 0; i < traitKeys.length; ++i) {
            if (traitKeys[i] == 0) revert CharacterEmptyHash();
            if (traitKeys[i] == CHECKED_IN) revert CharacterTraitReserved(CHECKED_IN);
            _addTraitKey(classId, traitKeys[i]);
        }
    }

    // --------------------------------------------------------------------------------------------------------- tokens

    /// @inheritdoc ICharacters
    function mint(address to, uint32 classId, bytes32 cidDigest) external override returns (uint256 tokenId) {
        StoredClass memory class = _knownClass(classId);
        _checkMinter(classId, class);
        if (cidDigest == 0) revert CharacterEmptyHash();
        uint8 status = ledger.workOf(class.workId).status;
        if (status >= uint8(IWorkRegistry.Status.SUSPENDED)) revert CharacterWorkStatus(class.workId, status);
        if (class.minted == class.maxSupply) revert CharacterSupplyExceeded(classId, class.maxSupply);
        uint32 number = class.minted + 1;
        _classes[classId].minted = number;
        tokenId = (uint256(classId) << NUMBER_BITS) | number;
        _cidDigests[tokenId] = cidDigest;
        emit CharacterMinted(tokenId, classId, to, cidDigest);
        _mint(to, tokenId);
        if (class.soulbound) emit Locked(tokenId);
    }

    /// @inheritdoc ICharacters
    function burn(uint256 tokenId) external override {
        _update(address(0), tokenId, msg.sender);
    }

    /// @inheritdoc ICharacters
    function setMetadata(uint256 tokenId, bytes32 cidDigest) external override {
        _checkTraitSetter(tokenId);
        if (cidDigest == 0) revert CharacterEmptyHash();
        _cidDigests[tokenId] = cidDigest;
        emit MetadataChanged(tokenId, cidDigest);
        emit MetadataUpdate(tokenId);
    }

    /// @inheritdoc ICharacters
    function setTrait(uint256 tokenId, bytes32 traitKey, bytes32 newValue) external override {
        uint32 classId = _checkTraitSetter(tokenId);
        if (traitKey == CHECKED_IN) revert CharacterTraitReserved(traitKey);
        _checkTraitKey(classId, traitKey);
        _setTrait(tokenId, traitKey, newValue);
    }

    // -------------------------------------------------------------------------------------------------------- lending

    /// @inheritdoc ICharacters
    function setUser(uint256 tokenId, address user, uint64 expires) external override {
        _checkAuthorized(_ownerOf(tokenId), msg.sender, tokenId);
        if (_classes[_classIdOf(tokenId)].soulbound) revert CharacterSoulbound(tokenId);
        _checkNotExported(tokenId);
        _checkExpiry(tokenId, user, expires);
        State storage state = _states[tokenId];
        if (user != state.user || expires < state.expires) _checkNotRented(tokenId);
        _setUser(tokenId, user, expires);
    }

    /// @inheritdoc ICharacters
    function endUse(uint256 tokenId) external override {
        if (msg.sender != userOf(tokenId)) revert CharacterNotUser(tokenId, msg.sender);
        _setUser(tokenId, address(0), 0);
    }

    // -------------------------------------------------------------------------------------------------------- tickets

    /// @inheritdoc ICharacters
    function checkIn(uint256 tokenId) external override {
        address holder = holderOf(tokenId);
        uint32 classId = _classIdOf(tokenId);
        if (!_classes[classId].ticket) revert CharacterNotTicket(tokenId);
        if (msg.sender != _organisers[classId]) revert CharacterUnauthorized(classId, msg.sender);
        _checkNotExported(tokenId);
        if (_traits[tokenId][CHECKED_IN] != 0) revert CharacterAlreadyCheckedIn(tokenId);
        _setTrait(tokenId, CHECKED_IN, bytes32(block.timestamp));
        emit CheckedIn(tokenId, holder, msg.sender);
    }

    // ---------------------------------------------------------------------------------------------------- portability

    /// @inheritdoc ICharacters
    function exportTo(uint256 tokenId, bytes32 platformId) external override {
        address owner = _ownerOf(tokenId);
        _checkAuthorized(owner, msg.sender, tokenId);
        if (_platformKeys[platformId] == address(0)) revert CharacterPlatformUnknown(platformId);
        _checkNotExported(tokenId);
        _checkNotRented(tokenId);
        State storage state = _states[tokenId];
        state.exported = true;
        ++state.exports;
        _exportedTo[tokenId] = platformId;
        emit Exported(tokenId, platformId, owner);
        if (!_classes[_classIdOf(tokenId)].soulbound) emit Locked(tokenId);
    }

    /// @inheritdoc ICharacters
    function importFrom(
        uint256 tokenId,
        bytes32 platformId,
        uint48 deadline,
        bytes calldata signature
    ) external override {
        // Only what exists was exported, and nothing exported is burned.
        if (platformId == 0 || _exportedTo[tokenId] != platformId) revert CharacterNotExported(tokenId, platformId);
        address key = _platformKeys[platformId];
        if (key == address(0)) {
            _checkAuthorized(_ownerOf(tokenId), msg.sender, tokenId);
        } else {
            if (block.timestamp > deadline) revert CharacterSignatureExpired(deadline);
            bytes32 digest = _hashImport(tokenId, platformId, deadline);
            if (!SignatureChecker.isValidSignatureNowCalldata(key, digest, signature)) {
                revert CharacterInvalidSigner(platformId);
            }
        }
        _states[tokenId].exported = false;
        delete _exportedTo[tokenId];
        emit Imported(tokenId, platformId);
        if (!_classes[_classIdOf(tokenId)].soulbound) emit Unlocked(tokenId);
    }

    // ----------------------------------------------------------------------------------------------------- governance

    /// @inheritdoc ICharacters
    function setPlatform(bytes32 platformId, address key) external override restricted {
        if (platformId == 0) revert CharacterEmptyHash();
        _platformKeys[platformId] = key;
        emit PlatformSet(platformId, key);
    }

    /// @inheritdoc ICharacters
    function setContractURI(string calldata uri) external override restricted {
        _setContractURI(uri);
    }

    /// @inheritdoc ICharacters
    function setTraitMetadataURI(string calldata uri) external override restricted {
        _setTraitMetadataURI(uri);
    }

    // ---------------------------------------------------------------------------------------------------------- views

    /// @inheritdoc ICharacters
    function classOf(uint32 classId) external view override returns (Class memory) {
        StoredClass memory class = _knownClass(classId);
        return
            Class({
                workId: class.workId,
                maxSupply: class.maxSupply,
                minted: class.minted,
                rarity: class.rarity,
                soulbound: class.soulbound,
                ticket: class.ticket,
                traitSetter: _traitSetters[classId],
                organiser: _organisers[classId],
                platformId: _issuers[classId]
            });
    }

    /// @inheritdoc ICharacters
    function classCount() external view override returns (uint32) {
        return _classCount;
    }

    /// @inheritdoc ICharacters
    function hasTrait(uint32 classId, bytes32 traitKey) external view override returns (bool) {
        return _hasTrait[classId][traitKey];
    }

    /// @inheritdoc ICharacters
    function workOf(uint256 tokenId) external view override returns (uint64) {
        _requireOwned(tokenId);
        return _classes[_classIdOf(tokenId)].workId;
    }

    /// @inheritdoc IERC4907
    function userOf(uint256 tokenId) public view override returns (address) {
        State storage state = _states[tokenId];
        return block.timestamp < state.expires ? state.user : address(0);
    }

    /// @inheritdoc IERC4907
    function userExpires(uint256 tokenId) external view override returns (uint256) {
        return _states[tokenId].expires;
    }

    /// @inheritdoc ICharacters
    function holderOf(uint256 tokenId) public view override returns (address) {
        address owner = _requireOwned(tokenId);
        address user = userOf(tokenId);
        return user == address(0) ? owner : user;
    }

    /// @inheritdoc IERC5192
    function locked(uint256 tokenId) external view override returns (bool) {
        _requireOwned(tokenId);
        return _classes[_classIdOf(tokenId)].soulbound || _states[tokenId].exported;
    }

    /// @inheritdoc IERC7496
    function getTraitValue(uint256 tokenId, bytes32 traitKey) public view override returns (bytes32) {
        _requireOwned(tokenId);
        _checkTraitKey(_classIdOf(tokenId), traitKey);
        return _traits[tokenId][traitKey];
    }

    /// @inheritdoc IERC7496
    function getTraitValues(
        uint256 tokenId,
        bytes32[] calldata traitKeys
    ) external view override returns (bytes32[] memory values) {
        _requireOwned(tokenId);
        values = new bytes32[](traitKeys.length);
        for (uint256 i = 0; i < traitKeys.length; ++i) values[i] = getTraitValue(tokenId, traitKeys[i]);
    }

    /// @inheritdoc IERC7496
    function getTraitMetadataURI() external view override returns (string memory) {
        return _traitMetadataURI;
    }

    /// @inheritdoc ICharacters
    function checkedInAt(uint256 tokenId) external view override returns (uint48) {
        _requireOwned(tokenId);
        return uint48(uint256(_traits[tokenId][CHECKED_IN])); // a time
    }

    /// @inheritdoc ICharacters
    function exportedTo(uint256 tokenId) external view override returns (bytes32) {
        _requireOwned(tokenId);
        return _exportedTo[tokenId];
    }

    /// @inheritdoc ICharacters
    function exportsOf(uint256 tokenId) external view override returns (uint24) {
        return _states[tokenId].exports;
    }

    /// @inheritdoc ICharacters
    function platformKey(bytes32 platformId) external view override returns (address) {
        return _platformKeys[platformId];
    }

    /// @inheritdoc ICharacters
    function contractURI() external view override returns (string memory) {
        return _contractURI;
    }

    /// @notice The address of the token's metadata file, ipfs://bafkrei... (ERC-721).
    function tokenURI(uint256 tokenId) public view override returns (string memory) {
        _requireOwned(tokenId);
        return RawCid.uri(_cidDigests[tokenId]);
    }

    /// @inheritdoc IERC2981
    function royaltyInfo(uint256 tokenId, uint256 salePrice) external view override returns (address, uint256) {
        _requireOwned(tokenId);
        return IERC2981(address(registry)).royaltyInfo(_classes[_classIdOf(tokenId)].workId, salePrice);
    }

    /// @inheritdoc IERC165
    function supportsInterface(bytes4 interfaceId) public view override(ERC721, IERC165) returns (bool) {
        return
            interfaceId == type(IERC2981).interfaceId ||
            interfaceId == type(IERC4907).interfaceId ||
            interfaceId == type(IERC5192).interfaceId ||
            interfaceId == type(IERC7496).interfaceId ||
            interfaceId == bytes4(0x49064906) || // ERC-4906 has no function, and so an id of its own
            super.supportsInterface(interfaceId);
    }

    // ------------------------------------------------------------------------------------------------------ internals

    /// @dev Every mint, transfer and burn comes by here.
    function _update(address to, uint256 tokenId, address auth) internal override returns (address from) {
        from = super._update(to, tokenId, auth); // checks the approval
        if (from == address(0)) return from; // a fresh token is neither exported nor lent
        if (to != address(0) && _classes[_classIdOf(tokenId)].soulbound) revert CharacterSoulbound(tokenId);
        _checkNotExported(tokenId);
        _checkNotRented(tokenId);
        if (_states[tokenId].user != address(0)) _setUser(tokenId, address(0), 0);
    }

    function _setUser(uint256 tokenId, address user, uint64 expires) private {
        State storage state = _states[tokenId];
        (state.user, state.expires) = (user, expires);
        emit UpdateUser(tokenId, user, expires);
    }

    function _setTrait(uint256 tokenId, bytes32 traitKey, bytes32 value) private {
        _traits[tokenId][traitKey] = value;
        emit TraitUpdated(traitKey, tokenId, value);
    }

    function _setOrganiser(uint32 classId, bool ticket, address organiser) private {
        if (ticket == (organiser == address(0))) revert CharacterOrganiserMismatch(ticket, organiser);
        if (!ticket) return;
        _organisers[classId] = organiser;
        emit OrganiserSet(classId, organiser);
    }

    function _setTraitSetter(uint32 classId, address traitSetter) private {
        _traitSetters[classId] = traitSetter;
        emit TraitSetterSet(classId, traitSetter);
    }

    function _addTraitKey(uint32 classId, bytes32 traitKey) private {
        _hasTrait[classId][traitKey] = true;
        emit TraitKeyAdded(classId, traitKey);
    }

    function _setContractURI(string memory uri) private {
        _contractURI = uri;
        emit ContractURIUpdated();
    }

    function _setTraitMetadataURI(string memory uri) private {
        _traitMetadataURI = uri;
        emit TraitMetadataURIUpdated();
    }

    /// @dev AccessManaged's check, which the owner of the class's work passes too. Classes of a platform are for its
    /// key alone.
    function _checkMinter(uint32 classId, StoredClass memory class) private {
        if (class.issued) {
            if (msg.sender != _platformKeys[_issuers[classId]]) revert CharacterUnauthorized(classId, msg.sender);
        } else if (msg.sender != _ownerOfWork(class.workId)) {
            _checkCanCall(msg.sender, msg.data);
        }
    }

    function _checkOwnerOfWork(uint64 workId) private view {
        if (msg.sender != _ownerOfWork(workId)) revert CharacterNotOwner(workId, msg.sender);
    }

    function _checkNotExported(uint256 tokenId) private view {
        if (_states[tokenId].exported) revert CharacterLocked(tokenId);
    }

    function _checkNotRented(uint256 tokenId) internal view virtual {
        uint64 expires = _states[tokenId].expires;
        if (block.timestamp < expires) revert CharacterRented(tokenId, expires);
    }

    function _checkExpiry(uint256 tokenId, address user, uint64 expires) private view {
        bool valid = user == address(0)
            ? expires == 0
            : block.timestamp < expires && expires <= block.timestamp + MAX_USE;
        if (!valid) revert CharacterExpiryInvalid(tokenId, expires);
    }

    function _checkTraitSetter(uint256 tokenId) private view returns (uint32 classId) {
        _requireOwned(tokenId);
        classId = _classIdOf(tokenId);
        if (msg.sender != _traitSetters[classId]) revert CharacterUnauthorized(classId, msg.sender);
    }

    function _checkTraitKey(uint32 classId, bytes32 traitKey) private view {
        if (!_hasTrait[classId][traitKey]) revert TraitKeyUnknown(traitKey);
    }

    function _knownClass(uint32 classId) private view returns (StoredClass storage class) {
        class = _classes[classId];
        if (class.workId == 0) revert CharacterClassUnknown(classId); // the platform's work has no owner to create one
    }

    function _ownedClass(uint32 classId) private view returns (StoredClass storage class) {
        class = _knownClass(classId);
        _checkOwnerOfWork(class.workId);
    }

    function _ownerOfWork(uint64 workId) private view returns (address) {
        return IERC721(address(registry)).ownerOf(workId);
    }

    function _hashImport(uint256 tokenId, bytes32 platformId, uint48 deadline) private view returns (bytes32) {
        uint24 exportNumber = _states[tokenId].exports;
        return
            _hashTypedDataV4(
                keccak256(abi.encode(IMPORT_TYPEHASH, tokenId, platformId, exportNumber, deadline))
            );
    }

    function _classIdOf(uint256 tokenId) private pure returns (uint32) {
        return uint32(tokenId >> NUMBER_BITS); // a token that was minted has an id of 64 bits
    }
}
