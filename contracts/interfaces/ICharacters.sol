// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC4907} from "./IERC4907.sol";
import {IERC5192} from "./IERC5192.sol";
import {IERC7496} from "./IERC7496.sol";
import {IRevenueLedger} from "./IRevenueLedger.sol";
import {IWorkRegistry} from "./IWorkRegistry.sol";

/**
 * @title Characters: unique characters, tickets and achievements of works
 * @notice ERC-721 tokens. Each belongs to a class of one work, which the work's owner creates; supply, rarity and
 * nature of a class never change. What was burned doesn't come back.
 *
 * Lending (ERC-4907): until the agreed end nobody takes a token from its user. Its owner can't replace the user, hand
 * the token on, burn it or export it; the user can leave. At most 366 days ahead. An end that has passed is cleared
 * when the token moves.
 *
 * Tickets: the class's organiser checks each in once. That shows as the trait CHECKED_IN, which buyers can insist on.
 *
 * Portability: the owner exports a token to a platform that governance registered. Meanwhile it is locked here; a
 * signature of that platform for this very export brings it back. If governance removes a platform, the owners take
 * back themselves.
 *
 * Achievements: a class can be left to a registered platform, which alone mints it then; whoever sees such a token
 * knows who gave it.
 *
 * State from events: a class is its ClassCreated with the latest OrganiserSet and TraitSetterSet, and TraitKeyAdded; a
 * token its CharacterMinted with the latest MetadataChanged, Transfer, UpdateUser, TraitUpdated, Exported and Imported.
 */
interface ICharacters is IERC4907, IERC5192, IERC7496 {
    // -------------------------------------------------------------------------------------------------------- structs

    /**
     * @param workId the work that it belongs to.
     * @param maxSupply most tokens that can ever be minted of it.
     * @param rarity a number that its creator gives; the contract gives it no meaning.
     * @param soulbound its tokens can be minted and burned, and never be handed on or lent.
     * @param ticket its tokens are checked in, once each, by the organiser.
     * @param traitSetter who sets traits and metadata of its tokens; zero, then and for ever, for nobody.
     * @param organiser who checks tickets in; zero for classes without tickets, and for these only.
     * @param platformId the registered platform that alone mints it; zero to leave that to the work's owner and to the
     * role.
     */
    struct ClassParams {
        uint64 workId;
        uint32 maxSupply;
        uint8 rarity;
        bool soulbound;
        bool ticket;
        address traitSetter;
        address organiser;
        bytes32 platformId;
    }

    /**
     * @notice What ClassParams says, and:
     * @param minted tokens minted so far, burned or not.
     */
    struct Class {
        uint64 workId;
        uint32 maxSupply;
        uint32 minted;
        uint8 rarity;
        bool soulbound;
        bool ticket;
        address traitSetter;
        address organiser;
        bytes32 platformId;
    }

    // --------------------------------------------------------------------------------------------------------- events

    /// @notice A work got a class; nothing of this ever changes.
    event ClassCreated(
        uint32 indexed classId,
        uint64 indexed workId,
        uint32 maxSupply,
        uint8 rarity,
        bool soulbound,
        bool ticket,
        bytes32 platformId
    );

    /// @notice Who checks a class's tickets in.
    event OrganiserSet(uint32 indexed classId, address organiser);

    /// @notice Who sets traits and metadata of a class's tokens.
    event TraitSetterSet(uint32 indexed classId, address traitSetter);

    /// @notice A class's tokens have one more trait.
    event TraitKeyAdded(uint32 indexed classId, bytes32 indexed traitKey);

    /// @notice A token was minted.
    event CharacterMinted(uint256 indexed tokenId, uint32 indexed classId, address indexed to, bytes32 cidDigest);

    /// @notice A token's metadata file changed (ERC-4906's MetadataUpdate goes with it).
    event MetadataChanged(uint256 indexed tokenId, bytes32 cidDigest);

    /// @notice A ticket was used. `holder` was let in: the ticket's user, or its owner if it isn't lent.
    event CheckedIn(uint256 indexed tokenId, address indexed holder, address indexed organiser);

    /// @notice A token went to another platform, and is locked here.
    event Exported(uint256 indexed tokenId, bytes32 indexed platformId, address owner);

    /// @notice A token came back.
    event Imported(uint256 indexed tokenId, bytes32 indexed platformId);

    /// @notice A platform was registered with its key, or got another one; zero removes it.
    event PlatformSet(bytes32 indexed platformId, address key);

    /// @notice The contract's own metadata changed (ERC-7572).
    event ContractURIUpdated();

    // --------------------------------------------------------------------------------------------------------- errors

    /// @notice There is no such class.
    error CharacterClassUnknown(uint32 classId);
    /// @notice Only the owner of the work may do this.
    error CharacterNotOwner(uint64 workId, address account);
    /// @notice This account has not the part in the class that doing this takes.
    error CharacterUnauthorized(uint32 classId, address account);
    /// @notice Tickets have an organiser, other classes have none.
    error CharacterOrganiserMismatch(bool ticket, address organiser);
    /// @notice A digest, a key or an id is zero.
    error CharacterEmptyHash();
    /// @notice Nothing could ever be minted.
    error CharacterZeroSupply();
    /// @notice All tokens of the class were minted.
    error CharacterSupplyExceeded(uint32 classId, uint32 maxSupply);
    /// @notice The standing of its work forbids minting.
    error CharacterWorkStatus(uint64 workId, uint8 status);
    /// @notice It can't be handed on or lent.
    error CharacterSoulbound(uint256 tokenId);
    /// @notice It is exported.
    error CharacterLocked(uint256 tokenId);
    /// @notice It isn't exported to this platform.
    error CharacterNotExported(uint256 tokenId, bytes32 platformId);
    /// @notice It is lent until that time.
    error CharacterRented(uint256 tokenId, uint64 expires);
    /// @notice A use ends ahead, within 366 days; nobody's has no end.
    error CharacterExpiryInvalid(uint256 tokenId, uint64 expires);
    /// @notice It isn't lent to this account.
    error CharacterNotUser(uint256 tokenId, address account);
    /// @notice It is no ticket.
    error CharacterNotTicket(uint256 tokenId);
    /// @notice The ticket was used.
    error CharacterAlreadyCheckedIn(uint256 tokenId);
    /// @notice Nobody adds or sets this trait: the contract does.
    error CharacterTraitReserved(bytes32 traitKey);
    /// @notice No such platform is registered.
    error CharacterPlatformUnknown(bytes32 platformId);
    /// @notice The signature isn't the platform's, or was given for something else.
    error CharacterInvalidSigner(bytes32 platformId);
    /// @notice The signature could be used until that time.
    error CharacterSignatureExpired(uint48 deadline);

    // -------------------------------------------------------------------------------------------------------- classes

    /**
     * @notice Creates a class of a work. Only the work's owner.
     * @dev Reverts with CharacterNotOwner, CharacterZeroSupply, CharacterOrganiserMismatch, CharacterPlatformUnknown,
     * ERC721NonexistentToken (no such work).
     * @return Its id; ids count from 1.
     */
    function createClass(ClassParams calldata params) external returns (uint32);

    /// @notice Says who checks a class's tickets in. Only the work's owner. CharacterOrganiserMismatch.
    function setOrganiser(uint32 classId, address organiser) external;

    /**
     * @notice Says who sets traits and metadata of a class's tokens. Only the work's owner. Zero is for ever.
     * @dev Reverts with CharacterNotOwner, CharacterUnauthorized (it is for ever).
     */
    function setTraitSetter(uint32 classId, address traitSetter) external;

    /**
     * @notice Gives a class's tokens further traits, of value zero. Only the work's owner.
     * @dev Reverts with CharacterNotOwner, CharacterEmptyHash, CharacterTraitReserved.
     */
    function addTraitKeys(uint32 classId, bytes32[] calldata traitKeys) external;

    // --------------------------------------------------------------------------------------------------------- tokens

    /**
     * @notice Mints the next token of a class. Restricted, or by the owner of the class's work; only the platform's
     * key, if the class is a platform's. The receiver isn't asked: minting calls nobody.
     * @dev Reverts with CharacterClassUnknown, AccessManagedUnauthorized, CharacterUnauthorized, CharacterEmptyHash,
     * CharacterWorkStatus (suspended, revoked), CharacterSupplyExceeded, ERC721InvalidReceiver (nobody).
     * @return Its id: classId * 2^32 + its number in the class, which counts from 1.
     */
    function mint(address to, uint32 classId, bytes32 cidDigest) external returns (uint256);

    /// @notice Burns, soulbound or not. Only the owner, or who it approved. CharacterLocked, CharacterRented.
    function burn(uint256 tokenId) external;

    /// @notice Replaces a token's metadata file. Only the class's trait setter. CharacterEmptyHash.
    function setMetadata(uint256 tokenId, bytes32 cidDigest) external;

    /**
     * @notice Sets a token's trait (ERC-7496). Only the class's trait setter.
     * @dev Reverts with ERC721NonexistentToken, CharacterUnauthorized, CharacterTraitReserved, TraitKeyUnknown.
     */
    function setTrait(uint256 tokenId, bytes32 traitKey, bytes32 newValue) external override;

    // -------------------------------------------------------------------------------------------------------- lending

    /**
     * @notice Lends a token until a time (ERC-4907). Only the owner, or who it approved. While it is lent, only to the
     * same user for longer.
     * @dev Reverts with ERC721NonexistentToken, ERC721InsufficientApproval, CharacterSoulbound, CharacterLocked,
     * CharacterExpiryInvalid, CharacterRented.
     */
    function setUser(uint256 tokenId, address user, uint64 expires) external override;

    /// @notice Gives back what one was lent, before the end. Only the user. CharacterNotUser.
    function endUse(uint256 tokenId) external;

    // -------------------------------------------------------------------------------------------------------- tickets

    /**
     * @notice Uses a ticket up. Only the class's organiser, once.
     * @dev Reverts with ERC721NonexistentToken, CharacterNotTicket, CharacterUnauthorized, CharacterLocked,
     * CharacterAlreadyCheckedIn.
     */
    function checkIn(uint256 tokenId) external;

    // ---------------------------------------------------------------------------------------------------- portability

    /**
     * @notice Takes a token to another platform, and locks it here. Only the owner, or who it approved.
     * @dev Reverts with ERC721NonexistentToken, ERC721InsufficientApproval, CharacterPlatformUnknown, CharacterLocked,
     * CharacterRented.
     */
    function exportTo(uint256 tokenId, bytes32 platformId) external;

    /**
     * @notice Brings a token back with the platform's signature (EIP-712; contract wallets by ERC-1271). Anyone may
     * send it. Without one if the platform was removed: then only the owner, or who it approved.
     * @dev Signed is the number of the export, so that a signature serves once. Reverts with CharacterNotExported,
     * CharacterSignatureExpired, CharacterInvalidSigner, ERC721InsufficientApproval.
     * @param deadline the signature is void after this time.
     */
    function importFrom(uint256 tokenId, bytes32 platformId, uint48 deadline, bytes calldata signature) external;

    // ----------------------------------------------------------------------------------------------------- governance

    /// @notice Registers a platform, changes its key, or removes it (zero). Restricted. CharacterEmptyHash.
    function setPlatform(bytes32 platformId, address key) external;

    /// @notice Sets the contract's own metadata (ERC-7572). Restricted.
    function setContractURI(string calldata uri) external;

    /// @notice Sets where all traits are described (ERC-7496). Restricted.
    function setTraitMetadataURI(string calldata uri) external;

    // ---------------------------------------------------------------------------------------------------------- views

    /// @notice The registry of works.
    function registry() external view returns (IWorkRegistry);

    /// @notice The ledger, which knows the works' standing.
    function ledger() external view returns (IRevenueLedger);

    /// @notice A class. Reverts with CharacterClassUnknown.
    function classOf(uint32 classId) external view returns (Class memory);

    /// @notice Number of classes, which is the largest id.
    function classCount() external view returns (uint32);

    /// @notice Whether a class's tokens have a trait.
    function hasTrait(uint32 classId, bytes32 traitKey) external view returns (bool);

    /// @notice The work of a token. Reverts with ERC721NonexistentToken.
    function workOf(uint256 tokenId) external view returns (uint64);

    /// @notice Who may use a token at present: its user, or its owner if it isn't lent. ERC721NonexistentToken.
    function holderOf(uint256 tokenId) external view returns (address);

    /// @notice When a ticket was used; 0 for never. Reverts with ERC721NonexistentToken.
    function checkedInAt(uint256 tokenId) external view returns (uint48);

    /// @notice The platform a token is exported to; 0 for none. Reverts with ERC721NonexistentToken.
    function exportedTo(uint256 tokenId) external view returns (bytes32);

    /// @notice How often a token was exported, which is the number of its latest export.
    function exportsOf(uint256 tokenId) external view returns (uint24);

    /// @notice The key that signs for a platform; zero if it isn't registered.
    function platformKey(bytes32 platformId) external view returns (address);

    /// @notice The contract's own metadata (ERC-7572).
    function contractURI() external view returns (string memory);
}
