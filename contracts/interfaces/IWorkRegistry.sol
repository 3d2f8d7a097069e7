// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRevenueLedger} from "./IRevenueLedger.sol";
import {IWorkStanding} from "./IWorkStanding.sol";

/**
 * @title The registry of works
 * @notice Says who registered which content when, under which licence, from which parents, with which AI label; opens each
 * work's accounts in the revenue ledger in the same transaction. A work is an ERC-721 token; its id counts from 1. Selling
 * the token moves the right to change the work's metadata, never the revenue: that belongs to the holders of its split.
 */
interface IWorkRegistry {
    // --------------------------------------------------------------------------------------------------------- enums

    /// @notice How much of a work a model made, as its owner declares it.
    enum AiLabel {
        UNSPECIFIED,
        HUMAN,
        AI_ASSISTED,
        AI_GENERATED
    }

    /**
     * @notice A work's standing: two facts that neither bring about nor hide each other, or the last word. A claimant
     * alone has a work disputed, until the dispute ends; a moderator suspends it, or anyone once a consent it was registered
     * with is gone, until a moderator lets it go on. A vote makes it REVOKED, which is final.
     * @dev As numbers: 1 for disputed, plus 2 for suspended; 4 is revoked.
     */
    enum Status {
        ACTIVE,
        DISPUTED,
        SUSPENDED,
        SUSPENDED_DISPUTED,
        REVOKED
    }

    /**
     * @notice Which of a parent's terms a derivation breaks.
     * DERIVATIVES: none are allowed, or only fan fiction and the derivation isn't licensed as such, or there is no licence.
     * EXPIRED: the licence ended. SHARE_ALIKE: the derivation needs the parent's own licence. COMMERCIAL, TRAINING: the
     * derivation's licence grants a use that the parent's doesn't.
     */
    enum LicenceTerm {
        NONE,
        DERIVATIVES,
        EXPIRED,
        SHARE_ALIKE,
        COMMERCIAL,
        TRAINING
    }

    // ------------------------------------------------------------------------------------------------------- structs

    /**
     * @notice Terms under which derivations of a work may be registered. Immutable. They bind the work's owner too, since
     * the royalty belongs to the holders of its split.
     * @param minShareBps least royalty of a derivation, in basis points.
     * @param commercial commercial use is allowed, and derivations may allow it.
     * @param derivatives derivations may be registered.
     * @param approvalRequired each derivation needs approveDerivative.
     * @param shareAlike derivations carry this same licence.
     * @param attribution the author must be named.
     * @param fanFiction derivations may be registered if their own licence is a non-commercial fan-fiction one, even where
     * `derivatives` is false.
     * @param relative the royalty is of all that a derivation earns, what it inherits included; else of its direct revenue.
     * @param aiTraining use as training data is allowed, and derivations may allow it.
     * @param expires no derivation can be registered from this time on; 0 for never. Registered ones stay valid.
     * @param termsHash sha256 of the full text.
     */
    struct Licence {
        uint16 minShareBps;
        bool commercial;
        bool derivatives;
        bool approvalRequired;
        bool shareAlike;
        bool attribution;
        bool fanFiction;
        bool relative;
        bool aiTraining;
        uint48 expires;
        bytes32 termsHash;
    }

    /**
     * @param contentHash sha256 of the media file's bytes.
     * @param cidDigest sha256 of the metadata file, which is one raw IPFS block.
     * @param registeredAt when it was registered.
     * @param committedAt when its owner committed to the content; registeredAt without a commitment.
     * @param licenceId licence that its derivations are registered under; 0 allows none.
     * @param kind what it is (story, song, video...); the registry gives it no meaning.
     * @param aiLabel an AiLabel.
     * @param status a Status.
     */
    struct Work {
        bytes32 contentHash;
        bytes32 cidDigest;
        uint48 registeredAt;
        uint48 committedAt;
        uint32 licenceId;
        uint8 kind;
        AiLabel aiLabel;
        Status status;
    }

    /**
     * @param owner first owner; the caller, or the signer.
     * @param contentHash sha256 of the media file's bytes.
     * @param cidDigest sha256 of the metadata file.
     * @param kind what it is.
     * @param aiLabel an AiLabel.
     * @param licenceId licence for its derivations; 0 allows none.
     * @param parents works that it derives from, at most 8, strictly ascending.
     * @param shares royalty to each of them in basis points, at least their licence's minimum.
     * @param splitRoot root of its split.
     * @param splitTotal sum of the root.
     * @param treeDigest sha256 of the published tree file.
     * @param leaf any one leaf of the split with its proof; for a single holder the leaf (owner, splitTotal), path 0 and an
     * empty proof.
     * @param consents uids of attested consents to the content, see IWorkStanding.linkConsents.
     * @param salt of the commitment made before; zero without one.
     */
    struct RegisterParams {
        address owner;
        bytes32 contentHash;
        bytes32 cidDigest;
        uint8 kind;
        uint8 aiLabel;
        uint32 licenceId;
        uint64[] parents;
        uint16[] shares;
        bytes32 splitRoot;
        uint256 splitTotal;
        bytes32 treeDigest;
        IRevenueLedger.LeafProof leaf;
        bytes32[] consents;
        bytes32 salt;
    }

    // -------------------------------------------------------------------------------------------------------- events

    /// @notice An account committed to a content hash without showing it.
    event WorkCommitted(bytes32 indexed commitment, address indexed account);

    /// @notice A work was registered. Its split is in the ledger's SplitActivated of the same transaction.
    event WorkRegistered(
        uint64 indexed workId,
        address indexed owner,
        bytes32 indexed contentHash,
        uint8 kind,
        uint8 aiLabel,
        uint32 licenceId,
        bytes32 cidDigest,
        uint48 committedAt
    );

    /// @notice A work derives from a parent under the parent's licence. Royalties are in the ledger's EdgeOpened.
    event DerivationRecorded(
        uint64 indexed workId,
        uint64 indexed parentId,
        uint16 shareBps,
        bool absolute,
        uint32 licenceId
    );

    /// @notice A licence was written down; nothing of it ever changes.
    event LicenceCreated(uint32 indexed licenceId, address indexed creator, Licence terms);

    /// @notice The owner of a parent lets an account register a derivation of this content.
    event DerivativeApproved(uint64 indexed parentId, address indexed deriver, bytes32 indexed contentHash);

    /// @notice A work's standing changed.
    event WorkStatusChanged(uint64 indexed workId, uint8 indexed status, bytes32 reasonHash, address actor);

    /// @notice A work's AI label changed.
    event AiLabelChanged(uint64 indexed workId, uint8 label, bytes32 attestationUid);

    /// @notice A work's metadata file changed (ERC-4906's MetadataUpdate goes with it).
    event MetadataChanged(uint64 indexed workId, bytes32 cidDigest);

    /// @notice The royalty that marketplaces are asked for (ERC-2981) changed.
    event RoyaltyChanged(uint16 oldBps, uint16 newBps);

    /// @notice A work's royalty receiver was deployed.
    event RoyaltyReceiverDeployed(uint64 indexed workId, address receiver);

    /// @notice The registry's own metadata changed (ERC-7572).
    event ContractURIUpdated();

    /// @notice Governance put something on record.
    event Signal(bytes32 indexed topic);

    // -------------------------------------------------------------------------------------------------------- errors

    /// @notice The ledger serves another registry.
    error WorkLedgerMismatch(address registry);
    /// @notice A live work has this content.
    error WorkAlreadyRegistered(bytes32 contentHash, uint64 existing);
    /// @notice There is no such work.
    error WorkUnknown(uint64 workId);
    /// @notice There is no such licence.
    error WorkLicenceUnknown(uint32 licenceId);
    /// @notice The licence asks for more than a derivation may pay upstream.
    error WorkLicenceInvalid(uint16 minShareBps);
    /// @notice The work's standing forbids this.
    error WorkNotActive(uint64 workId, uint8 status);
    /// @notice The standing, or its change, is none that this function sets.
    error WorkStatusInvalid(uint8 status);
    /// @notice The label is unknown, or says less than the present one.
    error WorkLabelInvalid(uint8 label);
    /// @notice The caller isn't the work's owner.
    error WorkNotOwner(uint64 workId, address account);
    /// @notice The content hash or the metadata digest is zero.
    error WorkEmptyHash();
    /// @notice Parents must be strictly ascending; this one isn't.
    error WorkParentOrder(uint64 parentId);
    /// @notice Parents and shares differ in number.
    error WorkParentsMismatch(uint256 parents, uint256 shares);
    /// @notice More than 8 parents, or more than 16 edges with those that are inherited.
    error WorkTooManyEdges(uint256 count);
    /// @notice The share is below the licence's minimum.
    error WorkShareTooLow(uint64 parent, uint16 given, uint16 min);
    /// @notice All edges together are above 8,000 basis points.
    error WorkUpstreamTooHigh(uint256 bps);
    /// @notice The parent's licence forbids the derivation; `what` is a LicenceTerm.
    error WorkLicenceForbids(uint64 parent, uint8 what);
    /// @notice The parent's owner has not approved this derivation.
    error WorkApprovalMissing(uint64 parent);
    /// @notice The consent isn't valid for this work's content, is given twice, or isn't the work's.
    error WorkConsentInvalid(bytes32 uid);
    /// @notice Only the contract of the works' standing may do this.
    error WorkNotStanding(address account);
    /// @notice The commitment was made in this very second.
    error WorkCommitTooYoung(uint48 committedAt);
    /// @notice The signed registration could be used until that time.
    error WorkSignatureExpired(uint48 deadline);
    /// @notice The signature isn't the owner's, or was given for something else.
    error WorkInvalidSigner(address owner);
    /// @notice The royalty is above 1,000 basis points.
    error WorkRoyaltyTooHigh(uint16 bps);

    // --------------------------------------------------------------------------------------------------- registration

    /**
     * @notice Commits to content before it is shown: keccak256(abi.encode(chainid, registry, account, contentHash, salt)).
     * @dev The first write counts; a repetition changes nothing.
     */
    function commit(bytes32 commitment) external;

    /// @notice Writes down licence terms. Reverts with WorkLicenceInvalid. Ids count from 1.
    function createLicence(Licence calldata terms) external returns (uint32);

    /**
     * @notice Registers a work of the caller: token, derivation edges and split in one transaction.
     * @dev Own edges have the type of the parent's licence. Absolute edges of the parents are inherited, so that a layer in
     * between can't dilute an ancestor; one edge is kept for each (ancestor, type), the largest. Edges of 0 and to REVOKED
     * ancestors aren't kept. Reverts with every Work error above but WorkNotOwner, WorkStatusInvalid, and with the
     * ledger's for a split that can't be claimed from.
     * @return The new work's id.
     */
    function register(RegisterParams calldata params) external returns (uint64);

    /**
     * @notice Registers a work for the owner that signed it (EIP-712; contract wallets by ERC-1271).
     * @param params what is registered; all of it is signed but the leaf's proof, which proves itself.
     * @param nonce the owner's next nonce under the key of its choice (see nonces(address,uint192)).
     * @param deadline the signature is void after this time.
     */
    function registerBySig(
        RegisterParams calldata params,
        uint256 nonce,
        uint48 deadline,
        bytes calldata signature
    ) external returns (uint64);

    /// @notice Lets an account register a derivation with this content. Only the parent's owner (WorkNotOwner).
    function approveDerivative(uint64 parentId, address deriver, bytes32 contentHash) external;

    // --------------------------------------------------------------------------------------------------------- owners

    /// @notice Replaces a work's metadata file. Only the owner, while the work is ACTIVE.
    function setMetadata(uint64 workId, bytes32 cidDigest) external;

    /// @notice Raises a work's AI label. Only the owner; WorkLabelInvalid unless the label is above the present one.
    function setAiLabel(uint64 workId, uint8 label, bytes32 attestationUid) external;

    /// @notice Deploys a work's royalty receiver, if it isn't there yet. Anyone may call.
    function deployRoyaltyReceiver(uint64 workId) external returns (address);

    // ----------------------------------------------------------------------------------------------------- governance

    /**
     * @notice Sets whether a work is disputed or suspended. Only the contract of the works' standing.
     * @dev Reverts with WorkNotStanding, WorkNotActive (revoked), WorkStatusInvalid (another fact, or nothing would change).
     * @param fact DISPUTED or SUSPENDED.
     */
    function setStanding(uint64 workId, Status fact, bool holds, bytes32 reasonHash) external;

    /**
     * @notice Suspends a work (SUSPENDED) or lets it go on (ACTIVE), whether it is disputed or not. Restricted.
     * @dev Reverts with WorkNotActive (revoked), WorkStatusInvalid (another status, or nothing would change).
     */
    function setStatus(uint64 workId, Status status, bytes32 reasonHash) external;

    /// @notice Revokes a work for ever; its content can be registered anew. Restricted.
    function revoke(uint64 workId, bytes32 reasonHash) external;

    /// @notice Sets a work's AI label to any other. Restricted.
    function correctAiLabel(uint64 workId, uint8 label, bytes32 attestationUid) external;

    /// @notice Sets the royalty that marketplaces are asked for. Restricted. WorkRoyaltyTooHigh above 1,000.
    function setRoyaltyBps(uint16 newBps) external;

    /// @notice Sets the registry's own metadata (ERC-7572). Restricted.
    function setContractURI(string calldata uri) external;

    /// @notice Puts a topic on record: the whole effect of an advisory proposal. Restricted.
    function signal(bytes32 topic) external;

    // ---------------------------------------------------------------------------------------------------------- views

    /// @notice The ledger that holds the works' revenue.
    function ledger() external view returns (IRevenueLedger);

    /// @notice The contract of consents and disputes.
    function standing() external view returns (IWorkStanding);

    /// @notice A work. Reverts with WorkUnknown.
    function workOf(uint64 workId) external view returns (Work memory);

    /// @notice The live work of a content hash; 0 if there is none.
    function idOf(bytes32 contentHash) external view returns (uint64);

    /// @notice Works that a work was registered as a derivation of, ascending. Reverts with WorkUnknown.
    function parentsOf(uint64 workId) external view returns (uint64[] memory);

    /// @notice A licence. Reverts with WorkLicenceUnknown.
    function licenceOf(uint32 licenceId) external view returns (Licence memory);

    /// @notice Whether a derivation was approved.
    function isDerivativeApproved(uint64 parentId, address deriver, bytes32 contentHash) external view returns (bool);

    /// @notice When a commitment was made; 0 if never.
    function committedAt(bytes32 commitment) external view returns (uint48);

    /// @notice Number of works ever registered, which is the largest id.
    function workCount() external view returns (uint64);

    /// @notice Number of licences, which is the largest id.
    function licenceCount() external view returns (uint32);

    /// @notice The royalty that marketplaces are asked for, in basis points.
    function royaltyBps() external view returns (uint16);

    /// @notice Address of a work's royalty receiver, deployed or not.
    function royaltyReceiver(uint64 workId) external view returns (address);

    /// @notice The registry's own metadata (ERC-7572).
    function contractURI() external view returns (string memory);
}
