// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {MerkleSum} from "./MerkleSum.sol";
import {IAttestationRegistry} from "./interfaces/IAttestationRegistry.sol";
import {IRevenueLedger} from "./interfaces/IRevenueLedger.sol";
import {IRewardDistributor} from "./interfaces/IRewardDistributor.sol";
import {IWorkStanding} from "./interfaces/IWorkStanding.sol";
import {IWorkRegistry} from "./interfaces/IWorkRegistry.sol";

/**
 * @title WorkStanding
 * @dev Apart from the registry because that one holds no money and trusts a forwarder, and for want of room in it.
 * @custom:security-contact see SECURITY.md
 */
contract WorkStanding is IWorkStanding, AccessManaged, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    // ----------------------------------------------------------------------------------------------------- constants

    /// @notice Version of this contract's interface.
    string public constant VERSION = "1";

    /// @notice How long governance has for a ruling; a vote takes 8 to 9 days.
    uint48 public constant RULING_PERIOD = 30 days;

    /// @notice Least time between the announcement of a split and its coming in force: enough for a vote against it.
    uint48 public constant NOTICE = 14 days;

    /// @notice Most consents that a work may be registered with.
    uint256 public constant MAX_CONSENTS = 16;

    /// @notice Lowest bond that governance can set.
    uint128 public constant MIN_BOND = 10 ** 18;

    /// @notice Highest bond that governance can set.
    uint128 public constant MAX_BOND = 10_000 * 10 ** 18;

    /// @notice How often a work's disputes that come to nothing double the next bond.
    uint8 public constant MAX_DOUBLINGS = 3;

    // Schemas of AttestationRegistry that let something be used in a work.
    bytes32 private constant LIKENESS_CONSENT = keccak256("LIKENESS_CONSENT");
    bytes32 private constant VOICE_CONSENT = keccak256("VOICE_CONSENT");
    bytes32 private constant DATA_CONSENT = keccak256("DATA_CONSENT");

    // ------------------------------------------------------------------------------------------------------- storage

    /// @inheritdoc IWorkStanding
    IWorkRegistry public immutable override registry;
    /// @inheritdoc IWorkStanding
    IAttestationRegistry public immutable override attestations;
    /// @inheritdoc IWorkStanding
    IRewardDistributor public immutable override pool;
    /// @inheritdoc IWorkStanding
    address public immutable override bondToken;

    /// @dev What earlier disputes about a work left: since when who won the latest had committed, and how often none won.
    struct History {
        uint48 wonSince;
        uint8 doublings;
    }

    uint128 private _bond;
    mapping(uint64 workId => Dispute) private _disputes;
    mapping(uint64 workId => History) private _histories;
    mapping(uint64 workId => mapping(address claimant => bool)) private _dismissed;
    mapping(uint64 workId => mapping(bytes32 uid => bool linked)) private _consents;

    // --------------------------------------------------------------------------------------------------- construction

    /**
     * @param initialAuthority the AccessManager that says who may call what is restricted.
     * @param registry_ the WorkRegistry, deployed for this contract's address.
     * @param attestations_ the AttestationRegistry.
     * @param pool_ the RewardDistributor, whose bond token is this contract's too.
     * @param initialBond the least bond.
     */
    constructor(
        address initialAuthority,
        IWorkRegistry registry_,
        IAttestationRegistry attestations_,
        IRewardDistributor pool_,
        uint128 initialBond
    ) AccessManaged(initialAuthority) {
        address served = address(registry_.standing());
        if (served != address(this)) revert StandingRegistryMismatch(served);
        (registry, attestations, pool) = (registry_, attestations_, pool_);
        bondToken = pool_.bondToken();
        _setBond(initialBond);
    }

    // ------------------------------------------------------------------------------------------------------- consents

    /// @inheritdoc IWorkStanding
    function linkConsents(uint64 workId, bytes32 contentHash, bytes32[] calldata uids) external override {
        if (msg.sender != address(registry)) revert StandingNotRegistry(msg.sender);
        if (uids.length > MAX_CONSENTS) revert StandingTooManyConsents(uids.length);
        for (uint256 i = 0; i < uids.length; ++i) {
            if (_consents[workId][uids[i]] || !_consentsTo(uids[i], contentHash)) {
                revert IWorkRegistry.WorkConsentInvalid(uids[i]);
            }
            _consents[workId][uids[i]] = true;
            emit ConsentLinked(workId, uids[i]);
        }
    }

    /// @inheritdoc IWorkStanding
    function suspendForConsent(uint64 workId, bytes32 uid) external override {
        if (!_consents[workId][uid]) revert IWorkRegistry.WorkConsentInvalid(uid);
        if (attestations.isLive(uid)) revert StandingConsentLive(uid);
        registry.setStanding(workId, IWorkRegistry.Status.SUSPENDED, true, uid);
    }

    // ------------------------------------------------------------------------------------------------------- contests

    /// @inheritdoc IWorkStanding
    function contest(uint64 workId, bytes32 salt, uint128 maxBond) external override nonReentrant {
        if (_dismissed[workId][msg.sender]) revert DisputeRepeated(workId, msg.sender);
        uint48 committedAt = _olderCommitment(workId, salt);
        uint128 bond = bondOf(workId);
        if (bond > maxBond) revert DisputeBondAboveMax(bond, maxBond);
        Dispute memory superseded = _disputes[workId];
        if (superseded.claimant != address(0)) _supersede(workId, superseded);

        uint48 rulingUntil = uint48(block.timestamp) + RULING_PERIOD;
        Dispute storage dispute = _disputes[workId];
        (dispute.claimant, dispute.rulingUntil) = (msg.sender, rulingUntil);
        (dispute.bond, dispute.committedAt) = (bond, committedAt);
        emit WorkContested(workId, msg.sender, committedAt, bond, rulingUntil);
        if (superseded.claimant == address(0)) registry.setStanding(workId, IWorkRegistry.Status.DISPUTED, true, 0);
        else _forfeit(workId, superseded.bond, superseded.claimant);
        IERC20(bondToken).safeTransferFrom(msg.sender, address(this), bond);
    }

    /// @inheritdoc IWorkStanding
    function enforce(uint64 workId, IRevenueLedger.SettleArg[] calldata settles) external override nonReentrant {
        Dispute memory dispute = _known(workId);
        if (dispute.enforceableAt == 0 || block.timestamp < dispute.enforceableAt) {
            revert DisputeNotYet(dispute.enforceableAt);
        }
        _histories[workId].wonSince = dispute.committedAt;
        _end(workId, dispute.claimant, Outcome.ENFORCED);
        registry.ledger().replaceDisputedSplit(workId, dispute.root, dispute.treeDigest, settles);
        registry.setStanding(workId, IWorkRegistry.Status.DISPUTED, false, 0);
        _pay(workId, dispute.claimant, dispute.bond);
    }

    /// @inheritdoc IWorkStanding
    function close(uint64 workId) external override nonReentrant {
        Dispute memory dispute = _known(workId);
        if (_isRevoked(workId)) {
            _end(workId, dispute.claimant, Outcome.REVOKED);
            _pay(workId, dispute.claimant, dispute.bond);
            return;
        }
        // After a ruling only `enforce` and `dismiss` end it.
        if (dispute.enforceableAt != 0) revert DisputeNotYet(dispute.enforceableAt);
        if (block.timestamp < dispute.rulingUntil) revert DisputeNotYet(dispute.rulingUntil);
        _endInVain(workId, dispute, Outcome.EXPIRED, dispute.claimant);
    }

    // ----------------------------------------------------------------------------------------------------- governance

    /// @inheritdoc IWorkStanding
    function uphold(
        uint64 workId,
        address claimant,
        uint48 rulingUntil,
        bytes32 root,
        bytes32 treeDigest,
        IRevenueLedger.LeafProof calldata leaf
    ) external override restricted {
        Dispute memory running = _known(workId);
        if (running.claimant != claimant || running.rulingUntil != rulingUntil) {
            revert DisputeOtherClaim(workId, running.claimant, running.rulingUntil);
        }
        _checkRulingOpen(running);
        _checkSplit(workId, root, leaf);

        uint48 enforceableAt = uint48(block.timestamp) + NOTICE;
        Dispute storage dispute = _disputes[workId];
        (dispute.root, dispute.treeDigest, dispute.enforceableAt) = (root, treeDigest, enforceableAt);
        emit SplitAnnounced(workId, claimant, root, treeDigest, enforceableAt);
    }

    /// @inheritdoc IWorkStanding
    function dismiss(uint64 workId, address claimant) external override restricted nonReentrant {
        if (claimant == address(0)) revert DisputeUnknown(workId);
        // Then the claimant wasn't wrong, and `close` is the way.
        if (_isRevoked(workId)) revert IWorkRegistry.WorkNotActive(workId, uint8(IWorkRegistry.Status.REVOKED));
        _dismissed[workId][claimant] = true;
        emit ClaimDismissed(workId, claimant);
        Dispute memory dispute = _disputes[workId];
        // Else its claim was superseded or closed while the vote went on, and another's isn't ruled on.
        if (dispute.claimant == claimant) {
            _checkRulingOpen(dispute);
            address owner = IERC721(address(registry)).ownerOf(workId);
            // Who contested what it owns now gets nothing for it.
            _endInVain(workId, dispute, Outcome.DISMISSED, owner == claimant ? address(0) : owner);
        }
    }

    /// @inheritdoc IWorkStanding
    function setBond(uint128 newBond) external override restricted {
        _setBond(newBond);
    }

    // ---------------------------------------------------------------------------------------------------------- views

    /// @inheritdoc IWorkStanding
    function hasConsent(uint64 workId, bytes32 uid) external view override returns (bool) {
        return _consents[workId][uid];
    }

    /// @inheritdoc IWorkStanding
    function disputeOf(uint64 workId) external view override returns (Dispute memory) {
        return _disputes[workId];
    }

    /// @inheritdoc IWorkStanding
    function bondOf(uint64 workId) public view override returns (uint128) {
        return _bond << _histories[workId].doublings;
    }

    /// @inheritdoc IWorkStanding
    function barOf(uint64 workId) public view override returns (uint48) {
        return _barOf(workId, registry.workOf(workId).committedAt);
    }

    /// @inheritdoc IWorkStanding
    function wasDismissed(uint64 workId, address claimant) external view override returns (bool) {
        return _dismissed[workId][claimant];
    }

    // ------------------------------------------------------------------------------------------------------ internals

    /// @dev Whether an attestation is live and a consent to this content, by whomever.
    function _consentsTo(bytes32 uid, bytes32 contentHash) private view returns (bool) {
        if (!attestations.isLive(uid)) return false;
        address attester = attestations.attestationOf(uid).attester;
        return
            attestations.isValid(uid, LIKENESS_CONSENT, attester, contentHash) ||
            attestations.isValid(uid, VOICE_CONSENT, attester, contentHash) ||
            attestations.isValid(uid, DATA_CONSENT, attester, contentHash);
    }

    /// @dev When the caller committed to the work's content, if that is below the bar.
    function _olderCommitment(uint64 workId, bytes32 salt) private view returns (uint48 committedAt) {
        IWorkRegistry.Work memory work = registry.workOf(workId);
        if (work.status == IWorkRegistry.Status.REVOKED) revert IWorkRegistry.WorkNotActive(workId, uint8(work.status));
        if (salt != 0) {
            // As at registration: anyone could have made a commitment without a salt.
            committedAt = registry.committedAt(
                keccak256(abi.encode(block.chainid, registry, msg.sender, work.contentHash, salt))
            );
        }
        uint48 bar = _barOf(workId, work.committedAt);
        if (committedAt == 0 || committedAt >= bar) revert DisputeNotOlder(committedAt, bar);
    }

    /// @dev The oldest of what counts now: the running claim, else the winner's, else the registration's commitment.
    function _barOf(uint64 workId, uint48 registration) private view returns (uint48) {
        uint48 running = _disputes[workId].committedAt;
        if (running != 0) return running;
        uint48 won = _histories[workId].wonSince;
        return won == 0 ? registration : won;
    }

    /// @dev A ruling can be changed for as long as it isn't in force: no claimant and no time makes a wrong one stand.
    function _checkRulingOpen(Dispute memory dispute) private view {
        if (dispute.enforceableAt == 0 && block.timestamp >= dispute.rulingUntil) {
            revert DisputeRulingClosed(dispute.rulingUntil);
        }
    }

    /// @dev Whether a tree has the work's total and can be claimed from.
    function _checkSplit(uint64 workId, bytes32 root, IRevenueLedger.LeafProof calldata leaf) private view {
        (bytes32 provenRoot, uint256 provenTotal) = MerkleSum.process({
            proof: leaf.proof,
            path: leaf.path,
            leaf: MerkleSum.leafHash(leaf.account, leaf.weight),
            weight: leaf.weight
        });
        uint256 total = registry.ledger().workOf(workId).totalWeight;
        if (leaf.weight == 0 || provenRoot != root || provenTotal != total) revert DisputeInvalidSplit();
    }

    function _known(uint64 workId) private view returns (Dispute memory dispute) {
        dispute = _disputes[workId];
        if (dispute.claimant == address(0)) revert DisputeUnknown(workId);
    }

    function _isRevoked(uint64 workId) private view returns (bool) {
        return registry.workOf(workId).status == IWorkRegistry.Status.REVOKED;
    }

    function _end(uint64 workId, address claimant, Outcome outcome) private {
        delete _disputes[workId];
        emit DisputeClosed(workId, claimant, uint8(outcome));
    }

    /// @dev Makes room for an older claim, while nothing has been ruled. The bond doesn't double: else the registrant could
    /// make the author's dear by claims of its own.
    function _supersede(uint64 workId, Dispute memory dispute) private {
        if (dispute.enforceableAt != 0) revert DisputeNotYet(dispute.enforceableAt);
        if (block.timestamp >= dispute.rulingUntil) revert DisputeRulingClosed(dispute.rulingUntil);
        _end(workId, dispute.claimant, Outcome.SUPERSEDED);
    }

    /// @dev The work is as it was; of the bond as in `_forfeit`.
    function _endInVain(uint64 workId, Dispute memory dispute, Outcome outcome, address half) private {
        History storage history = _histories[workId];
        if (history.doublings < MAX_DOUBLINGS) ++history.doublings;
        _end(workId, dispute.claimant, outcome);
        registry.setStanding(workId, IWorkRegistry.Status.DISPUTED, false, 0);
        _forfeit(workId, dispute.bond, half);
    }

    /// @dev `half` gets half of a bond, or nothing if zero; the pool gets the rest.
    function _forfeit(uint64 workId, uint256 bond, address half) private {
        uint256 amount = half == address(0) ? 0 : bond / 2;
        _pay(workId, half, amount);
        _pay(workId, address(pool), bond - amount);
        pool.sync(bondToken);
    }

    function _pay(uint64 workId, address to, uint256 amount) private {
        if (amount == 0) return;
        emit DisputeBondSettled(workId, to, amount);
        IERC20(bondToken).safeTransfer(to, amount);
    }

    function _setBond(uint128 newBond) private {
        if (newBond < MIN_BOND || newBond > MAX_BOND) revert DisputeBondInvalid(newBond);
        uint128 oldBond = _bond;
        _bond = newBond;
        emit DisputeBondChanged(oldBond, newBond);
    }
}
