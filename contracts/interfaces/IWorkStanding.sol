// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IAttestationRegistry} from "./IAttestationRegistry.sol";
import {IRevenueLedger} from "./IRevenueLedger.sol";
import {IRewardDistributor} from "./IRewardDistributor.sol";
import {IWorkRegistry} from "./IWorkRegistry.sol";

/**
 * @title What others can do to a work's standing
 * @notice Consents. A work may be registered with attested consents to its content; once one of them is taken back or has
 * ended, anyone can suspend the work.
 *
 * Disputes. Who committed to a work's content before its owner did can contest its registration, against a bond. The work
 * is disputed until governance has ruled, and suspended or not as before: its shares don't move, its income and withdrawals go on. A ruling for the claimant
 * announces a new split, which anyone can put in force NOTICE later, for what the work earns from then on; what it earned
 * before stays its holders', and until it is in force the ruling can be withdrawn.
 *
 * Nobody but a claimant opens a dispute, governance included, so nobody else leads to a new split of another's work. Bonds
 * leave by the rules below alone; no role can send one anywhere else:
 *
 * put in force, or the work was revoked: all of it to the claimant. Dismissed: half to the work's owner, the rest to
 * the reward pool; all of it to the pool if the owner is the claimant. No ruling in time, or superseded: half to the
 * claimant, the rest to the pool. A dispute that was dismissed or got no ruling doubles the work's next bond, three times
 * at most.
 *
 * Who committed earliest is heard: until there is a ruling, an older commitment supersedes the claim that runs, with all
 * the time for a ruling. So nobody keeps an author waiting by claims of accounts of its own. After a ruling that came in
 * force, the winner's commitment is what a claim must be older than. A claim can be made again unless the account was
 * dismissed.
 */
interface IWorkStanding {
    // ------------------------------------------------------------------------------------------------ types, events

    /// @notice How a dispute ended.
    enum Outcome {
        NONE,
        ENFORCED,
        DISMISSED,
        EXPIRED,
        REVOKED,
        SUPERSEDED
    }

    /**
     * @param claimant who contests; zero without a dispute.
     * @param rulingUntil governance rules before this time.
     * @param enforceableAt from this time on the announced split can be put in force; 0 without a ruling.
     * @param bond what the claimant posted.
     * @param committedAt when the claimant had committed to the content.
     * @param root root of the announced split.
     * @param treeDigest sha256 of its published tree file.
     */
    struct Dispute {
        address claimant;
        uint48 rulingUntil;
        uint48 enforceableAt;
        uint128 bond;
        uint48 committedAt;
        bytes32 root;
        bytes32 treeDigest;
    }

    /// @notice A work was registered with an attested consent.
    event ConsentLinked(uint64 indexed workId, bytes32 indexed attestationUid);

    /// @notice An older commitment to a work's content was shown, and a bond posted.
    event WorkContested(
        uint64 indexed workId,
        address indexed claimant,
        uint48 committedAt,
        uint256 bond,
        uint48 rulingUntil
    );

    /// @notice Governance ruled for the claimant and announced a new split.
    event SplitAnnounced(
        uint64 indexed workId,
        address indexed claimant,
        bytes32 root,
        bytes32 treeDigest,
        uint48 enforceableAt
    );

    /// @notice Governance ruled against an account: it contests the work no more, and its claim is over if it runs.
    event ClaimDismissed(uint64 indexed workId, address indexed claimant);

    /// @notice A dispute is over; `outcome` is an Outcome.
    event DisputeClosed(uint64 indexed workId, address indexed claimant, uint8 outcome);

    /// @notice A part of a claimant's bond was paid out.
    event DisputeBondSettled(uint64 indexed workId, address indexed to, uint256 amount);

    /// @notice The least bond changed, for later disputes.
    event DisputeBondChanged(uint256 oldBond, uint256 newBond);

    // -------------------------------------------------------------------------------------------------------- errors

    /// @notice The registry serves another contract.
    error StandingRegistryMismatch(address standing);
    /// @notice Only the registry may do this.
    error StandingNotRegistry(address account);
    /// @notice More than 16 consents.
    error StandingTooManyConsents(uint256 count);
    /// @notice The consent stands, so there is no reason to suspend the work.
    error StandingConsentLive(bytes32 uid);
    /// @notice The claimant has no commitment with this salt that is older than `bar`, see barOf.
    error DisputeNotOlder(uint48 committedAt, uint48 bar);
    /// @notice The bond is higher than the claimant wants to post.
    error DisputeBondAboveMax(uint128 bond, uint128 maxBond);
    /// @notice Another claim runs: this claimant's, with this time for a ruling.
    error DisputeOtherClaim(uint64 workId, address claimant, uint48 rulingUntil);
    /// @notice A claim of the claimant's to this work was dismissed before.
    error DisputeRepeated(uint64 workId, address claimant);
    /// @notice No dispute about the work is open.
    error DisputeUnknown(uint64 workId);
    /// @notice The announced tree can't be claimed from, or its total isn't the work's.
    error DisputeInvalidSplit();
    /// @notice The time for a ruling ended then.
    error DisputeRulingClosed(uint48 rulingUntil);
    /// @notice This isn't possible before that time; 0 if it waits for a ruling.
    error DisputeNotYet(uint48 time);
    /// @notice The bond is out of bounds.
    error DisputeBondInvalid(uint128 bond);

    // ------------------------------------------------------------------------------------------------------ consents

    /**
     * @notice Links a work that is being registered with consents. Only the registry (StandingNotRegistry).
     * @dev Each must be a live attestation of LIKENESS_CONSENT, VOICE_CONSENT or DATA_CONSENT whose subject is the content
     * hash (WorkConsentInvalid, also if it is given twice); at most 16 (StandingTooManyConsents). Who attested, and whether
     * that is the person shown, is for the reader to judge.
     */
    function linkConsents(uint64 workId, bytes32 contentHash, bytes32[] calldata uids) external;

    /**
     * @notice Suspends a work one of whose consents was taken back or has ended. Anyone may call.
     * @dev Reverts with WorkConsentInvalid (none of this work's), StandingConsentLive, WorkStatusInvalid (it is suspended),
     * WorkNotActive (it is revoked).
     */
    function suspendForConsent(uint64 workId, bytes32 uid) external;

    // ------------------------------------------------------------------------------------------------------ contests

    /**
     * @notice Contests a work's registration as an account that committed to its content before the work's owner did, and
     * before whoever contests it now: that one's claim is superseded.
     * @dev Takes `bondOf(workId)` of the bond token. Reverts with WorkUnknown, WorkNotActive (revoked), DisputeRepeated,
     * DisputeNotOlder, DisputeBondAboveMax; over a dispute that runs with DisputeNotYet (a ruling is to be enforced or
     * dismissed first) and DisputeRulingClosed (its time has passed: `close` it). For direct callers: a session key must not
     * reach allowances.
     * @param workId the work, suspended or not.
     * @param salt of the caller's commitment; not zero.
     * @param maxBond most that the caller wants to post: disputes that come to nothing meanwhile double the bond.
     */
    function contest(uint64 workId, bytes32 salt, uint128 maxBond) external;

    /**
     * @notice Puts the announced split in force, for later income. Anyone may call, from `enforceableAt` on.
     * @dev Reverts with DisputeUnknown, DisputeNotYet, RevenueWorkStatus (revoked meanwhile).
     * @param settles edges that are settled first: what those derivations owe the work by then goes to its former holders.
     * What neither this list nor anybody before settled goes to the new ones, as with every new version of a split: a work
     * knows its parents and not its derivations, so no list can be made here. Who holds a share can settle all of them
     * (`RevenueLedger.settleMany`) at any time of the NOTICE.
     */
    function enforce(uint64 workId, IRevenueLedger.SettleArg[] calldata settles) external;

    /**
     * @notice Ends a dispute that got no ruling in time, or whose work was revoked. Anyone may call.
     * @dev Reverts with DisputeUnknown, DisputeNotYet.
     */
    function close(uint64 workId) external;

    // ---------------------------------------------------------------------------------------------------- governance

    /**
     * @notice Rules for the claimant and announces the work's new split; again, to announce another, at any time until the
     * one before is in force. Restricted.
     * @dev Reverts with DisputeUnknown, DisputeOtherClaim, DisputeRulingClosed (no ruling, and too late for one),
     * DisputeInvalidSplit.
     * @param claimant whose claim was voted on: none that took its place meanwhile.
     * @param rulingUntil of the claim that was voted on: no later one of the same account's.
     * @param leaf any leaf of the tree, as a proof that the root can be claimed from.
     */
    function uphold(
        uint64 workId,
        address claimant,
        uint48 rulingUntil,
        bytes32 root,
        bytes32 treeDigest,
        IRevenueLedger.LeafProof calldata leaf
    ) external;

    /**
     * @notice Rules against the claimant, or withdraws a ruling for it that isn't in force yet. Restricted.
     * @dev If its claim doesn't run any more, it only makes no other: nobody escapes a vote by having an account with an
     * older commitment supersede. Reverts with DisputeUnknown (nobody's claim), WorkUnknown, DisputeRulingClosed (its claim
     * runs, has no ruling, and it is too late for one), WorkNotActive (revoked: then the bond goes back by `close`).
     * @param claimant whose claim was voted on; none that took its place is ruled on.
     */
    function dismiss(uint64 workId, address claimant) external;

    /// @notice Sets the least bond of later disputes. Restricted. Reverts with DisputeBondInvalid.
    function setBond(uint128 newBond) external;

    // --------------------------------------------------------------------------------------------------------- views

    /// @notice The registry of the works.
    function registry() external view returns (IWorkRegistry);

    /// @notice Where consents are attested.
    function attestations() external view returns (IAttestationRegistry);

    /// @notice Where lost bonds go: the reward stream of the bond token.
    function pool() external view returns (IRewardDistributor);

    /// @notice What bonds are posted in.
    function bondToken() external view returns (address);

    /// @notice Whether a work was registered with a consent, whatever has become of that.
    function hasConsent(uint64 workId, bytes32 uid) external view returns (bool);

    /// @notice The open dispute about a work; all zero without one.
    function disputeOf(uint64 workId) external view returns (Dispute memory);

    /// @notice What contesting a work takes now.
    function bondOf(uint64 workId) external view returns (uint128);

    /// @notice What a commitment must be older than to contest a work now: that of the claimant whose dispute runs, else of
    /// who won the latest one, else the work's own. Reverts with WorkUnknown.
    function barOf(uint64 workId) external view returns (uint48);

    /// @notice Whether a vote dismissed an account's claim to a work, running or not; it has no other.
    function wasDismissed(uint64 workId, address claimant) external view returns (bool);
}
