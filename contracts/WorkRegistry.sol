// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IERC165} from "@openzeppelin/contracts/interfaces/IERC165.sol";
import {IERC2981} from "@openzeppelin/contracts/interfaces/IERC2981.sol";
import {IERC4906} from "@openzeppelin/contracts/interfaces/IERC4906.sol";
import {ERC2771Context} from "@openzeppelin/contracts/metatx/ERC2771Context.sol";
import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {Context} from "@openzeppelin/contracts/utils/Context.sol";
import {Create2} from "@openzeppelin/contracts/utils/Create2.sol";
import {NoncesKeyed} from "@openzeppelin/contracts/utils/NoncesKeyed.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

import {RawCid} from "./RawCid.sol";
import {RoyaltyReceiver} from "./RoyaltyReceiver.sol";
import {IRevenueLedger} from "./interfaces/IRevenueLedger.sol";
import {IWorkRegistry} from "./interfaces/IWorkRegistry.sol";
import {IWorkStanding} from "./interfaces/IWorkStanding.sol";

/**
 * @title WorkRegistry
 * @custom:security-contact see SECURITY.md
 */
contract WorkRegistry is
    IWorkRegistry,
    ERC721,
    IERC2981,
    IERC4906,
    AccessManaged,
    ERC2771Context,
    EIP712,
    NoncesKeyed
{
    // ----------------------------------------------------------------------------------------------------- constants

    /// @notice Version of this contract's interface.
    string public constant VERSION = "1";

    /// @notice Most works that a work may be registered as a derivation of.
    uint256 public constant MAX_PARENTS = 8;

    /// @notice Most royalty edges of a work, inherited ones included.
    uint256 public constant MAX_EDGES = 16;

    /// @notice Most that all edges of a work may take together, in basis points.
    uint256 public constant MAX_UPSTREAM_BPS = 8_000;

    /// @notice Highest royalty that marketplaces are asked for, in basis points.
    uint16 public constant MAX_ROYALTY_BPS = 1_000;

    /// @notice EIP-712 type of a signed registration.
    bytes32 public constant REGISTER_TYPEHASH =
        keccak256(
            "Register(address owner,bytes32 contentHash,bytes32 cidDigest,uint8 kind,uint8 aiLabel,uint32 licenceId,uint64[] parents,uint16[] shares,bytes32 splitRoot,uint256 splitTotal,bytes32 treeDigest,bytes32[] consents,bytes32 salt,uint256 nonce,uint48 deadline)"
        );

    uint256 private constant BPS = 10_000;

    // ------------------------------------------------------------------------------------------------------- storage

    /// @dev The first parent lies in the work's third slot; further ones, which are rarer, in a list of their own.
    struct StoredWork {
        bytes32 contentHash;
        bytes32 cidDigest;
        uint48 registeredAt;
        uint48 committedAt;
        uint32 licenceId;
        uint8 kind;
        AiLabel aiLabel;
        Status status;
        uint64 firstParent;
    }

    /// @inheritdoc IWorkRegistry
    IRevenueLedger public immutable override ledger;
    /// @inheritdoc IWorkRegistry
    IWorkStanding public immutable override standing;

    // One slot.
    uint64 private _workCount;
    uint32 private _licenceCount;
    uint16 private _royaltyBps;

    string private _contractURI;

    mapping(uint64 workId => StoredWork) private _works;
    mapping(uint64 workId => uint64[] parents) private _furtherParents;
    mapping(bytes32 contentHash => uint64 workId) private _idOf;
    mapping(bytes32 commitment => uint48 time) private _committedAt;
    mapping(uint32 licenceId => Licence) private _licences;
    mapping(uint64 parentId => mapping(address deriver => mapping(bytes32 contentHash => bool))) private _approved;

    // --------------------------------------------------------------------------------------------------- construction

    /**
     * @param initialAuthority the AccessManager that says who may call what is restricted.
     * @param ledger_ the RevenueLedger, deployed for this contract's address.
     * @param standing_ the WorkStanding, whose address is predicted: its own constructor checks that this registry serves it.
     * @param forwarder the SessionForwarder, whose signed requests count as calls of the accounts that signed them.
     * @param initialRoyaltyBps the royalty that marketplaces are asked for.
     * @param initialContractURI the registry's own metadata (ERC-7572).
     */
    constructor(
        address initialAuthority,
        IRevenueLedger ledger_,
        IWorkStanding standing_,
        address forwarder,
        uint16 initialRoyaltyBps,
        string memory initialContractURI
    )
        ERC721("Troupe Works", "WORK")
        AccessManaged(initialAuthority)
        ERC2771Context(forwarder)
        EIP712("Troupe WorkRegistry", VERSION)
    {
        if (ledger_.registry() != address(this)) revert WorkLedgerMismatch(ledger_.registry());
        (ledger, standing) = (ledger_, standing_);
        _setRoyaltyBps(initialRoyaltyBps);
        _setContractURI(initialContractURI);
    }

    // --------------------------------------------------------------------------------------------------- registration

    /// @inheritdoc IWorkRegistry
    function commit(bytes32 commitment) external override {
        if (_committedAt[commitment] != 0) return;
        _committedAt[commitment] = uint48(block.timestamp);
        emit WorkCommitted(commitment, _msgSender());
    }

    /// @inheritdoc IWorkRegistry
    function createLicence(Licence calldata terms) external override returns (uint32 licenceId) {
        if (terms.minShareBps > MAX_UPSTREAM_BPS) revert WorkLicenceInvalid(terms.minShareBps);
        licenceId = ++_licenceCount;
        _licences[licenceId] = terms;
        emit LicenceCreated(licenceId, _msgSender(), terms);
    }

    /// @inheritdoc IWorkRegistry
    function register(RegisterParams calldata params) external override returns (uint64) {
        if (params.owner != _msgSender()) revert WorkInvalidSigner(params.owner);
        return _register(params);
    }

    /// @inheritdoc IWorkRegistry
    function registerBySig(
        RegisterParams calldata params,
        uint256 nonce,
        uint48 deadline,
        bytes calldata signature
    ) external override returns (uint64) {
        if (block.timestamp > deadline) revert WorkSignatureExpired(deadline);
        bytes32 digest = _hashTypedDataV4(_hashRegistration(params, nonce, deadline));
        if (!SignatureChecker.isValidSignatureNowCalldata(params.owner, digest, signature)) {
            revert WorkInvalidSigner(params.owner);
        }
        _useCheckedNonce(params.owner, nonce);
        return _register(params);
    }

    /// @inheritdoc IWorkRegistry
    function approveDerivative(uint64 parentId, address deriver, bytes32 contentHash) external override {
        _checkOwner(parentId);
        _approved[parentId][deriver][contentHash] = true;
        emit DerivativeApproved(parentId, deriver, contentHash);
    }

    // --------------------------------------------------------------------------------------------------------- owners

    /// @inheritdoc IWorkRegistry
    function setMetadata(uint64 workId, bytes32 cidDigest) external override {
        _checkOwner(workId);
        _checkActive(workId);
        if (cidDigest == 0) revert WorkEmptyHash();
        _works[workId].cidDigest = cidDigest;
        emit MetadataChanged(workId, cidDigest);
        emit MetadataUpdate(workId);
    }

    /// @inheritdoc IWorkRegistry
    function setAiLabel(uint64 workId, uint8 label, bytes32 attestationUid) external override {
        _checkOwner(workId);
        if (label <= uint8(_works[workId].aiLabel)) revert WorkLabelInvalid(label);
        _setAiLabel(workId, label, attestationUid);
    }

    /// @inheritdoc IWorkRegistry
    function deployRoyaltyReceiver(uint64 workId) external override returns (address receiver) {
        _known(workId);
        receiver = royaltyReceiver(workId);
        if (receiver.code.length != 0) return receiver;
        new RoyaltyReceiver{salt: bytes32(uint256(workId))}(ledger, workId);
        emit RoyaltyReceiverDeployed(workId, receiver);
    }

    // ---------------------------------------------------------------------------------------------- standing's calls

    /// @inheritdoc IWorkRegistry
    function setStanding(uint64 workId, Status fact, bool holds, bytes32 reasonHash) external override {
        if (msg.sender != address(standing)) revert WorkNotStanding(msg.sender);
        if (fact != Status.DISPUTED && fact != Status.SUSPENDED) revert WorkStatusInvalid(uint8(fact));
        _setFact(workId, fact, holds, reasonHash);
    }

    // ----------------------------------------------------------------------------------------------------- governance

    /// @inheritdoc IWorkRegistry
    function setStatus(uint64 workId, Status status, bytes32 reasonHash) external override restricted {
        // REVOKED is `revoke`, by another role; a dispute is a claimant's, and ends by the rules of disputes alone.
        if (status != Status.ACTIVE && status != Status.SUSPENDED) revert WorkStatusInvalid(uint8(status));
        _setFact(workId, Status.SUSPENDED, status == Status.SUSPENDED, reasonHash);
    }

    /// @inheritdoc IWorkRegistry
    function revoke(uint64 workId, bytes32 reasonHash) external override restricted {
        _setStatus(workId, Status.REVOKED, reasonHash);
    }

    /// @inheritdoc IWorkRegistry
    function correctAiLabel(uint64 workId, uint8 label, bytes32 attestationUid) external override restricted {
        _setAiLabel(workId, label, attestationUid);
    }

    /// @inheritdoc IWorkRegistry
    function setRoyaltyBps(uint16 newBps) external override restricted {
        _setRoyaltyBps(newBps);
    }

    /// @inheritdoc IWorkRegistry
    function setContractURI(string calldata uri) external override restricted {
        _setContractURI(uri);
    }

    /// @inheritdoc IWorkRegistry
    function signal(bytes32 topic) external override restricted {
        emit Signal(topic);
    }

    // ---------------------------------------------------------------------------------------------------------- views

    /// @inheritdoc IWorkRegistry
    function workOf(uint64 workId) external view override returns (Work memory) {
        StoredWork storage work = _known(workId);
        return
            Work({
                contentHash: work.contentHash,
                cidDigest: work.cidDigest,
                registeredAt: work.registeredAt,
                committedAt: work.committedAt,
                licenceId: work.licenceId,
                kind: work.kind,
                aiLabel: work.aiLabel,
                status: work.status
            });
    }

    /// @inheritdoc IWorkRegistry
    function idOf(bytes32 contentHash) external view override returns (uint64) {
        uint64 workId = _idOf[contentHash];
        return _isLive(workId) ? workId : 0;
    }

    /// @inheritdoc IWorkRegistry
    function parentsOf(uint64 workId) external view override returns (uint64[] memory parents) {
        uint64 first = _known(workId).firstParent;
        if (first == 0) return parents;
        uint64[] storage further = _furtherParents[workId];
        parents = new uint64[](1 + further.length);
        parents[0] = first;
        for (uint256 i = 1; i < parents.length; ++i) parents[i] = further[i - 1];
    }

    /// @inheritdoc IWorkRegistry
    function licenceOf(uint32 licenceId) external view override returns (Licence memory) {
        if (licenceId == 0) revert WorkLicenceUnknown(licenceId);
        _checkLicence(licenceId);
        return _licences[licenceId];
    }

    /// @inheritdoc IWorkRegistry
    function isDerivativeApproved(
        uint64 parentId,
        address deriver,
        bytes32 contentHash
    ) external view override returns (bool) {
        return _approved[parentId][deriver][contentHash];
    }

    /// @inheritdoc IWorkRegistry
    function committedAt(bytes32 commitment) external view override returns (uint48) {
        return _committedAt[commitment];
    }

    /// @inheritdoc IWorkRegistry
    function workCount() external view override returns (uint64) {
        return _workCount;
    }

    /// @inheritdoc IWorkRegistry
    function licenceCount() external view override returns (uint32) {
        return _licenceCount;
    }

    /// @inheritdoc IWorkRegistry
    function royaltyBps() external view override returns (uint16) {
        return _royaltyBps;
    }

    /// @inheritdoc IWorkRegistry
    function royaltyReceiver(uint64 workId) public view override returns (address) {
        return
            Create2.computeAddress(
                bytes32(uint256(workId)),
                keccak256(bytes.concat(type(RoyaltyReceiver).creationCode, abi.encode(ledger, workId)))
            );
    }

    /// @inheritdoc IERC2981
    function royaltyInfo(uint256 tokenId, uint256 salePrice) external view override returns (address, uint256) {
        _requireOwned(tokenId);
        // A token that has an owner has an id of 64 bits.
        return (royaltyReceiver(uint64(tokenId)), (salePrice * _royaltyBps) / BPS);
    }

    /// @inheritdoc IWorkRegistry
    function contractURI() external view override returns (string memory) {
        return _contractURI;
    }

    /// @notice The address of the work's metadata file, ipfs://bafkrei... (ERC-721).
    function tokenURI(uint256 tokenId) public view override returns (string memory) {
        _requireOwned(tokenId);
        return RawCid.uri(_works[uint64(tokenId)].cidDigest);
    }

    /// @inheritdoc IERC165
    function supportsInterface(bytes4 interfaceId) public view override(ERC721, IERC165) returns (bool) {
        return
            interfaceId == type(IERC2981).interfaceId ||
            interfaceId == bytes4(0x49064906) || // ERC-4906 has no function, and so an id of its own
            super.supportsInterface(interfaceId);
    }

    // ------------------------------------------------------------------------------------------------------ internals

    function _register(RegisterParams calldata params) private returns (uint64 workId) {
        uint48 committed = _checkNew(params);
        workId = ++_workCount;
        _idOf[params.contentHash] = workId;
        _works[workId] = StoredWork({
            contentHash: params.contentHash,
            cidDigest: params.cidDigest,
            registeredAt: uint48(block.timestamp),
            committedAt: committed,
            licenceId: params.licenceId,
            kind: params.kind,
            aiLabel: AiLabel(params.aiLabel),
            status: Status.ACTIVE,
            firstParent: params.parents.length == 0 ? 0 : params.parents[0]
        });
        emit WorkRegistered({
            workId: workId,
            owner: params.owner,
            contentHash: params.contentHash,
            kind: params.kind,
            aiLabel: params.aiLabel,
            licenceId: params.licenceId,
            cidDigest: params.cidDigest,
            committedAt: committed
        });
        _mint(params.owner, workId);
        if (params.consents.length != 0) standing.linkConsents(workId, params.contentHash, params.consents);
        ledger.open({
            workId: workId,
            edges: _derive(workId, params),
            root: params.splitRoot,
            totalWeight: params.splitTotal,
            treeDigest: params.treeDigest,
            leaf: params.leaf
        });
    }

    /// @dev What must hold of a new work whatever its parents are; returns since when its owner can claim the content.
    function _checkNew(RegisterParams calldata params) private view returns (uint48 committed) {
        if (params.contentHash == 0 || params.cidDigest == 0) revert WorkEmptyHash();
        uint64 existing = _idOf[params.contentHash];
        if (_isLive(existing)) revert WorkAlreadyRegistered(params.contentHash, existing);
        if (params.aiLabel > uint8(type(AiLabel).max)) revert WorkLabelInvalid(params.aiLabel);
        _checkLicence(params.licenceId);

        if (params.salt == 0) return uint48(block.timestamp); // anyone could have made a commitment without a salt
        committed = _committedAt[
            keccak256(abi.encode(block.chainid, address(this), params.owner, params.contentHash, params.salt))
        ];
        if (committed == 0) return uint48(block.timestamp);
        // In the same block it could have been made by someone who saw the registration on its way.
        if (committed == block.timestamp) revert WorkCommitTooYoung(committed);
    }

    /// @dev Checks each parent's terms, records the derivations, and returns the work's royalty edges.
    function _derive(
        uint64 workId,
        RegisterParams calldata params
    ) private returns (IRevenueLedger.Edge[] memory edges) {
        uint256 count = params.parents.length;
        if (count != params.shares.length) revert WorkParentsMismatch(count, params.shares.length);
        if (count > MAX_PARENTS) revert WorkTooManyEdges(count);
        if (count == 0) return edges;

        IRevenueLedger.Edge[] memory list = new IRevenueLedger.Edge[](MAX_EDGES);
        uint256 length = 0;
        for (uint256 i = 0; i < count; ++i) {
            uint64 parentId = params.parents[i];
            if (i != 0) {
                if (parentId <= params.parents[i - 1]) revert WorkParentOrder(parentId);
                _furtherParents[workId].push(parentId);
            }
            if (parentId >= workId) revert WorkParentOrder(parentId);
            uint32 licenceId = _known(parentId).licenceId;
            bool relative = _checkTerms(parentId, licenceId, params, params.shares[i]);
            length = _keepLargest(list, length, IRevenueLedger.Edge(parentId, params.shares[i], relative));
            emit DerivationRecorded(workId, parentId, params.shares[i], !relative, licenceId);
        }
        // Own edges come first, so that a list of edges begins with the parents.
        for (uint256 i = 0; i < count; ++i) length = _inherit(list, length, params.parents[i]);
        return _bounded(list, length);
    }

    /// @dev Reverts unless the parent's standing and licence allow this derivation; returns the type of its royalty.
    function _checkTerms(
        uint64 parentId,
        uint32 licenceId,
        RegisterParams calldata params,
        uint16 share
    ) private view returns (bool relative) {
        _checkActive(parentId);
        Licence storage terms = _licences[licenceId]; // licence 0 is empty: no derivatives
        Licence storage own = _licences[params.licenceId]; // likewise: it grants nothing
        bool asFanFiction = terms.fanFiction && own.fanFiction && !own.commercial;
        if (!terms.derivatives && !asFanFiction) _forbid(parentId, LicenceTerm.DERIVATIVES);
        if (terms.expires != 0 && block.timestamp >= terms.expires) _forbid(parentId, LicenceTerm.EXPIRED);
        if (terms.shareAlike && params.licenceId != licenceId) _forbid(parentId, LicenceTerm.SHARE_ALIKE);
        if (own.commercial && !terms.commercial) _forbid(parentId, LicenceTerm.COMMERCIAL);
        if (own.aiTraining && !terms.aiTraining) _forbid(parentId, LicenceTerm.TRAINING);
        if (terms.approvalRequired && !_approved[parentId][params.owner][params.contentHash]) {
            revert WorkApprovalMissing(parentId);
        }
        if (share < terms.minShareBps) revert WorkShareTooLow(parentId, share, terms.minShareBps);
        return terms.relative;
    }

    function _forbid(uint64 parentId, LicenceTerm what) private pure {
        revert WorkLicenceForbids(parentId, uint8(what));
    }

    /// @dev Adds the parent's absolute edges: an absolute ancestor gets its share of direct revenue however many layers are
    /// put in between. Returns the new length of the list.
    function _inherit(
        IRevenueLedger.Edge[] memory list,
        uint256 length,
        uint64 parentId
    ) private view returns (uint256) {
        IRevenueLedger.Edge[] memory edges = ledger.edgesOf(parentId);
        for (uint256 i = 0; i < edges.length; ++i) {
            if (edges[i].relative || _works[edges[i].parentId].status == Status.REVOKED) continue;
            length = _keepLargest(list, length, edges[i]);
        }
        return length;
    }

    /// @dev One edge for each (ancestor, type), the largest, so that diamonds don't multiply royalties.
    function _keepLargest(
        IRevenueLedger.Edge[] memory list,
        uint256 length,
        IRevenueLedger.Edge memory edge
    ) private pure returns (uint256) {
        if (edge.bps == 0) return length;
        for (uint256 i = 0; i < length; ++i) {
            IRevenueLedger.Edge memory known = list[i];
            if (known.parentId == edge.parentId && known.relative == edge.relative) {
                if (edge.bps > known.bps) known.bps = edge.bps;
                return length;
            }
        }
        if (length == MAX_EDGES) revert WorkTooManyEdges(length + 1);
        list[length] = edge;
        return length + 1;
    }

    /// @dev The list without its empty rest, whose sum is within bounds.
    function _bounded(
        IRevenueLedger.Edge[] memory list,
        uint256 length
    ) private pure returns (IRevenueLedger.Edge[] memory edges) {
        edges = new IRevenueLedger.Edge[](length);
        uint256 sum = 0;
        for (uint256 i = 0; i < length; ++i) {
            edges[i] = list[i];
            sum += edges[i].bps;
        }
        if (sum > MAX_UPSTREAM_BPS) revert WorkUpstreamTooHigh(sum);
    }

    /// @dev A status other than REVOKED is the sum of its facts.
    function _setFact(uint64 workId, Status fact, bool holds, bytes32 reasonHash) private {
        uint8 status = uint8(_known(workId).status);
        if (status == uint8(Status.REVOKED)) revert WorkNotActive(workId, status);
        if ((status & uint8(fact) != 0) == holds) revert WorkStatusInvalid(status);
        _setStatus(workId, Status(status ^ uint8(fact)), reasonHash);
    }

    function _setStatus(uint64 workId, Status status, bytes32 reasonHash) private {
        StoredWork storage work = _known(workId);
        if (work.status == Status.REVOKED) revert WorkNotActive(workId, uint8(work.status));
        work.status = status;
        emit WorkStatusChanged(workId, uint8(status), reasonHash, msg.sender);
        ledger.pushStatus(workId, uint8(status));
    }

    function _setAiLabel(uint64 workId, uint8 label, bytes32 attestationUid) private {
        StoredWork storage work = _known(workId);
        if (label > uint8(type(AiLabel).max) || label == uint8(work.aiLabel)) revert WorkLabelInvalid(label);
        work.aiLabel = AiLabel(label);
        emit AiLabelChanged(workId, label, attestationUid);
    }

    function _setRoyaltyBps(uint16 newBps) private {
        if (newBps > MAX_ROYALTY_BPS) revert WorkRoyaltyTooHigh(newBps);
        uint16 oldBps = _royaltyBps;
        _royaltyBps = newBps;
        emit RoyaltyChanged(oldBps, newBps);
    }

    function _setContractURI(string memory uri) private {
        _contractURI = uri;
        emit ContractURIUpdated();
    }

    function _known(uint64 workId) private view returns (StoredWork storage work) {
        work = _works[workId];
        if (work.registeredAt == 0) revert WorkUnknown(workId);
    }

    function _isLive(uint64 workId) private view returns (bool) {
        return workId != 0 && _works[workId].status != Status.REVOKED;
    }

    function _checkOwner(uint64 workId) private view {
        _known(workId);
        address sender = _msgSender();
        if (_ownerOf(workId) != sender) revert WorkNotOwner(workId, sender);
    }

    /// @dev Roles are exercised by their holders' own calls; no forwarder stands between.
    function _checkCanCall(address, bytes calldata) internal override {
        super._checkCanCall(msg.sender, msg.data);
    }

    function _msgSender() internal view override(Context, ERC2771Context) returns (address) {
        return ERC2771Context._msgSender();
    }

    function _msgData() internal view override(Context, ERC2771Context) returns (bytes calldata) {
        return ERC2771Context._msgData();
    }

    function _contextSuffixLength() internal view override(Context, ERC2771Context) returns (uint256) {
        return ERC2771Context._contextSuffixLength();
    }

    function _checkActive(uint64 workId) private view {
        Status status = _works[workId].status;
        if (status != Status.ACTIVE) revert WorkNotActive(workId, uint8(status));
    }

    function _checkLicence(uint32 licenceId) private view {
        if (licenceId > _licenceCount) revert WorkLicenceUnknown(licenceId);
    }

    /// @dev EIP-712: a list is the hash of its members, each a whole word.
    function _hashRegistration(
        RegisterParams calldata params,
        uint256 nonce,
        uint48 deadline
    ) private pure returns (bytes32) {
        bytes memory head = abi.encode(
            REGISTER_TYPEHASH,
            params.owner,
            params.contentHash,
            params.cidDigest,
            params.kind,
            params.aiLabel,
            params.licenceId
        );
        bytes memory tail = abi.encode(
            keccak256(abi.encodePacked(params.parents)),
            keccak256(abi.encodePacked(params.shares)),
            params.splitRoot,
            params.splitTotal,
            params.treeDigest,
            keccak256(abi.encodePacked(params.consents)),
            params.salt
        );
        return keccak256(bytes.concat(head, tail, abi.encode(nonce, deadline)));
    }
}
