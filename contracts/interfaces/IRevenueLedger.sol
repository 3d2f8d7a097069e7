// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {MerkleSum} from "../MerkleSum.sol";

/**
 * @title The ledger of all works' revenue
 * @notice Holds every coin that works earn, credits it to the work in constant cost, passes derivation royalties on to the
 * work's parents, and pays each holder of a share its part, to the unit, whenever anyone asks.
 *
 * Units: amounts are base units of their token; the native coin is the zero address; shares of edges and fees are basis
 * points (1/10,000); times are seconds of the block clock. A work's split is a Merkle-sum tree (see MerkleSum); a share is
 * a leaf's weight over the split's total weight. Work 0 is the platform: its split is the platform's revenue policy.
 *
 * Kinds of payment, recorded with it and stored nowhere: 1 tip, 2 sale, 3 subscription, 4 royalty, 5 advertising,
 * 6 crowdfunding, 7 ticket, 8 micropayments, 9 reward. The ledger gives them no meaning.
 *
 * For one (work, token), `direct` is what was paid to the work less the platform's fee, `inherited` what its derivations
 * passed on to it. Edge i of a work is due floor(basis * bps / 10,000) over the work's lifetime, where the basis is
 * direct + inherited for a relative edge and direct for an absolute one. What is left belongs to the holders:
 * net = (direct + inherited) - ceil(((direct + inherited) * relativeBps + direct * absoluteBps) / 10,000).
 * Both grow only, so neither the order nor the number of settlements and withdrawals changes what anyone gets.
 */
interface IRevenueLedger {
    // ------------------------------------------------------------------------------------------------------- structs

    /**
     * @param parentId the work that receives the royalty; always smaller than the id of the work that pays it.
     * @param bps its part of the basis.
     * @param relative true: of all revenue, what derivations pass on included; false: of direct payments only.
     */
    struct Edge {
        uint64 parentId;
        uint16 bps;
        bool relative;
    }

    /**
     * @notice One leaf of a tree with its proof; shows that a root can be claimed from at all.
     * @param account holder of the leaf.
     * @param weight its weight.
     * @param path bit i is 1 where the node of level i is a right child.
     * @param proof the siblings, leaf level first. Empty for a tree of one leaf.
     */
    struct LeafProof {
        address account;
        uint256 weight;
        uint256 path;
        MerkleSum.Node[] proof;
    }

    /**
     * @param workId the work.
     * @param version version of its split in which the share is held.
     * @param token the token, or zero for the native coin.
     * @param account holder of the leaf; it alone is paid.
     * @param weight weight of the leaf.
     * @param path path of the leaf, see MerkleSum.
     */
    struct Claim {
        uint64 workId;
        uint32 version;
        address token;
        address account;
        uint256 weight;
        uint256 path;
    }

    /**
     * @param workId the derivation whose edge is settled.
     * @param edge index of the edge.
     * @param token the token, or zero for the native coin.
     */
    struct SettleArg {
        uint64 workId;
        uint256 edge;
        address token;
    }

    /**
     * @notice An ERC-2612 permit of the payer for the ledger, over the amount paid.
     * @param deadline the permit is void after this time.
     */
    struct Permit {
        uint256 deadline;
        uint8 v;
        bytes32 r;
        bytes32 s;
    }

    /**
     * @notice An ERC-3009 ReceiveWithAuthorization for the ledger.
     * @param from the payer, who signed it.
     * @param amount what is paid.
     * @param validAfter it is valid after this time.
     * @param validBefore it is valid before this time.
     * @param salt random; makes the nonce of the authorization, see payTokenWithAuthorization.
     */
    struct Authorization {
        address from;
        uint256 amount;
        uint256 validAfter;
        uint256 validBefore;
        bytes32 salt;
        uint8 v;
        bytes32 r;
        bytes32 s;
    }

    /**
     * @notice The move of one leaf to a new node of the same sum.
     * @param workId the work.
     * @param account present holder of the leaf.
     * @param weight weight of the leaf, and sum of the node that replaces it.
     * @param path path of the leaf in the pending split, or in the active one when none is pending.
     * @param newHash hash of the node that takes its place: a new holder's leaf, or the root of a tree of new holders.
     * @param treeDigest sha256 of the published tree file of what takes its place.
     * @param activateBy the move is refused if it could not become active by this time.
     */
    struct Reassignment {
        uint64 workId;
        address account;
        uint256 weight;
        uint256 path;
        bytes32 newHash;
        bytes32 treeDigest;
        uint48 activateBy;
    }

    /**
     * @notice Lifetime revenue of one (work, token), in one storage slot.
     * @param direct paid to the work, less the platform's fee.
     * @param inherited passed on by its derivations.
     * @param version the split version of the latest credit; 0 before the first.
     */
    struct Account {
        uint112 direct;
        uint112 inherited;
        uint32 version;
    }

    /**
     * @notice Where a split version began for one (work, token), in one storage slot.
     * @param direct value of the counter when the version got its first credit.
     * @param inherited likewise.
     * @param next the version that got the next first credit; 0 while there is none.
     */
    struct Base {
        uint112 direct;
        uint112 inherited;
        uint32 next;
    }

    /**
     * @notice What the ledger knows of a work, in one storage slot.
     * @param relativeBps sum of its relative edges.
     * @param absoluteBps sum of its absolute edges.
     * @param version its active split version; 0 while the work is unknown, 1 for the split it was opened with.
     * @param status as pushed by the registry: 0 active, 1 disputed, 2 suspended, 3 revoked.
     * @param edgeCount number of edges.
     * @param frozenUntil withdrawals are refused before this time.
     * @param activatedAt when the active version became so.
     * @param totalWeight sum of the root of each version of its split; it never changes.
     */
    struct Work {
        uint16 relativeBps;
        uint16 absoluteBps;
        uint32 version;
        uint8 status;
        uint8 edgeCount;
        uint40 frozenUntil;
        uint40 activatedAt;
        uint96 totalWeight;
    }

    /**
     * @notice A version of a split. Stored is the root alone, one slot: the total is the work's.
     * @param root hash of the split's root.
     * @param totalWeight its sum.
     */
    struct Split {
        bytes32 root;
        uint256 totalWeight;
    }

    /**
     * @param root root of the gathered reassignments; zero when there are none. Its sum is that of the active split.
     * @param treeDigest as given with the latest of them.
     */
    struct PendingSplit {
        bytes32 root;
        bytes32 treeDigest;
    }

    // -------------------------------------------------------------------------------------------------------- events

    /// @notice A work was paid. `amount - fee` was credited to it as direct revenue, `fee` to work 0.
    event PaymentReceived(
        uint64 indexed workId,
        address indexed token,
        address indexed payer,
        uint256 amount,
        uint256 fee,
        uint8 kind,
        bytes32 ref
    );

    /// @notice A work was opened with this royalty edge.
    event EdgeOpened(uint64 indexed workId, uint64 indexed parentId, uint8 index, uint16 bps, bool relative);

    /// @notice `amount` passed from a derivation to its parent as inherited revenue.
    event EdgeSettled(
        uint64 indexed workId,
        uint64 indexed parentId,
        address indexed token,
        uint8 index,
        uint256 amount
    );

    /// @notice A holder put a node of equal sum in the place of its leaf at `position`. `proof` has the siblings on the way
    /// up: below a sub-tree whose file was never published they are the only place where other leaves' proofs are to be had.
    event ShareReassigned(
        uint64 indexed workId,
        address indexed account,
        uint256 weight,
        uint256 position,
        bytes32 newHash,
        bytes32 pendingRoot,
        bytes32 treeDigest,
        MerkleSum.Node[] proof
    );

    /// @notice A split version became the active one; any pending root is gone with it.
    event SplitActivated(
        uint64 indexed workId,
        uint32 indexed version,
        bytes32 root,
        uint256 totalWeight,
        bytes32 treeDigest
    );

    /// @notice A leaf of a split version was paid.
    event Withdrawn(
        uint64 indexed workId,
        address indexed account,
        address indexed token,
        uint32 version,
        uint256 position,
        uint256 amount
    );

    /// @notice The platform's fee on later payments changed.
    event FeeChanged(uint16 oldBps, uint16 newBps);

    /// @notice Withdrawals and reassignments of a work are refused until `until`, the present time if it was thawed.
    event WorkFrozen(uint64 indexed workId, bytes32 indexed caseId, uint48 until);

    /// @notice All withdrawals and reassignments are refused until `until`, the present time if the pause was lifted.
    event PauseChanged(address indexed account, uint48 until);

    /// @notice The registry reported a work's status.
    event StatusPushed(uint64 indexed workId, uint8 status);

    /// @notice An ERC-20 was admitted to, or taken off, the list of tokens that works can be paid in.
    event TokenAllowed(address indexed token, bool allowed);

    // -------------------------------------------------------------------------------------------------------- errors

    /// @notice The work, or the parent of one of its edges, was never opened.
    error RevenueUnknownWork(uint64 workId);
    /// @notice The work was opened before.
    error RevenueAlreadyOpen(uint64 workId);
    /// @notice The work is the platform's, to which this does not apply.
    error RevenuePlatformWork();
    /// @notice The work's status forbids this.
    error RevenueWorkStatus(uint64 workId, uint8 status);
    /// @notice Nothing was paid, or nothing arrived.
    error RevenueZeroAmount();
    /// @notice The token isn't on the list of tokens that works can be paid in.
    error RevenueTokenNotAllowed(address token);
    /// @notice The leaf isn't in the split version, the tree has no weight, or another total than the work's.
    error RevenueInvalidProof();
    /// @notice The total weight is above 2^96 - 1.
    error RevenueTotalTooHigh(uint256 totalWeight);
    /// @notice The leaf has been paid all that it is due so far.
    error RevenueNothingDue();
    /// @notice Only another account may do this: the registry, the leaf's holder, the named executor.
    error RevenueUnauthorized(address account);
    /// @notice This isn't possible before that time.
    error RevenueNotYet(uint48 time);
    /// @notice The signed order could be used until that time.
    error RevenueSignatureExpired(uint48 deadline);
    /// @notice The signature isn't the holder's, or was given for something else.
    error RevenueInvalidSignature(address account);
    /// @notice No root is pending, or it is the active one.
    error RevenueNothingPending(uint64 workId);
    /// @notice The fee is above 1,000 basis points.
    error RevenueFeeTooHigh(uint16 bps);
    /// @notice The work is frozen.
    error RevenueFrozen(uint64 workId);
    /// @notice The work isn't frozen.
    error RevenueNotFrozen(uint64 workId);
    /// @notice Withdrawals and reassignments are paused until that time.
    error RevenuePaused(uint48 until);
    /// @notice The ledger isn't paused.
    error RevenueNotPaused();
    /// @notice An edge is out of bounds: the count, the sum of basis points or the index that was given is in `value`.
    error RevenueEdgeLimit(uint256 value);
    /// @notice A counter of revenue would pass 2^112 - 1 base units.
    error RevenueOverflow();

    // ----------------------------------------------------------------------------------------------- registry's calls

    /**
     * @notice Opens a work's accounts with its royalty edges and its first split.
     * @dev Only the registry. Reverts with RevenueUnauthorized, RevenueAlreadyOpen, RevenueEdgeLimit (more than 16 edges,
     * more than 8,000 basis points, an edge of 0), RevenueUnknownWork (a parent that isn't open, isn't older, or is work 0),
     * RevenueInvalidProof (no weight, or `leaf` isn't a leaf of the root), RevenueTotalTooHigh.
     * @param workId the work.
     * @param edges its royalty edges, inherited ones included.
     * @param root root of its first split.
     * @param totalWeight the root's sum; all later versions have the same.
     * @param treeDigest sha256 of the published tree file.
     * @param leaf any leaf of the tree, as a proof that the root can be claimed from.
     */
    function open(
        uint64 workId,
        Edge[] calldata edges,
        bytes32 root,
        uint256 totalWeight,
        bytes32 treeDigest,
        LeafProof calldata leaf
    ) external;

    /// @notice Takes over a work's status from the registry. Only the registry.
    function pushStatus(uint64 workId, uint8 status) external;

    // ------------------------------------------------------------------------------------------------------- payments

    /**
     * @notice Pays a work in the native coin.
     * @dev Reverts with RevenueZeroAmount, RevenueUnknownWork, RevenueWorkStatus (revoked), RevenueOverflow.
     * @param workId the work; 0 pays the platform, without a fee.
     * @param kind what the payment is for, see above.
     * @param ref the payer's reference.
     */
    function payNative(uint64 workId, uint8 kind, bytes32 ref) external payable;

    /**
     * @notice Pays a work in an allowed ERC-20; what arrives is credited, whatever the token takes on the way.
     * @dev Reverts as payNative does, and with RevenueTokenNotAllowed or the token's own error.
     */
    function payToken(uint64 workId, address token, uint256 amount, uint8 kind, bytes32 ref) external;

    /**
     * @notice payToken with an ERC-2612 permit of the caller for this ledger.
     * @dev A failing permit is ignored when the allowance is there already: somebody may have submitted it first.
     */
    function payTokenWithPermit(
        uint64 workId,
        address token,
        uint256 amount,
        uint8 kind,
        bytes32 ref,
        Permit calldata permit
    ) external;

    /**
     * @notice Pays a work from an account that has signed an ERC-3009 ReceiveWithAuthorization for this ledger. Anyone may
     * submit it; the signed nonce, keccak256(abi.encode(chainid, ledger, workId, kind, ref, salt)) with its low 64 bits
     * cleared, binds it to this work, kind and reference.
     * @dev Reverts as payToken does; the token refuses an authorization that was signed for something else.
     */
    function payTokenWithAuthorization(
        uint64 workId,
        address token,
        uint8 kind,
        bytes32 ref,
        Authorization calldata authorization
    ) external;

    // ------------------------------------------------------------------------------------------ settling, withdrawing

    /**
     * @notice Passes on what an edge is due and has not got. Anyone may call; nothing due is no error.
     * @dev Reverts with RevenueUnknownWork, RevenueEdgeLimit (no such edge), RevenueOverflow.
     * @return The amount that was passed on.
     */
    function settle(uint64 workId, uint256 edge, address token) external returns (uint256);

    /// @notice Settles several edges in the order given: derivations before their parents passes revenue all the way up.
    function settleMany(SettleArg[] calldata edges) external;

    /**
     * @notice Pays the holder of a leaf what the leaf is due and has not got. Anyone may call; the holder is paid.
     * @dev Reverts with RevenuePaused, RevenueFrozen, RevenueInvalidProof, RevenueNothingDue, or the payee's own error.
     * What is paid is booked by (work, version, token, position), so one account may hold several leaves.
     * @return The amount paid.
     */
    function withdraw(Claim calldata claim, MerkleSum.Node[] calldata proof) external returns (uint256);

    // --------------------------------------------------------------------------------------------------------- shares

    /**
     * @notice The holder of a leaf puts another node of the same sum in its place.
     * @dev The change becomes the next split version at once, if the active one is SPLIT_INTERVAL old, or is gathered in
     * the work's pending root, which anyone can activate then. What the leaf earned in earlier versions stays its
     * holder's; revenue of derivations that is unsettled goes with the share, hence the list of settlements that run first.
     * Reverts with RevenueUnauthorized (not the holder), RevenuePlatformWork, RevenueUnknownWork, RevenueWorkStatus
     * (disputed), RevenueFrozen, RevenuePaused, RevenueInvalidProof, RevenueNotYet (not by activateBy),
     * RevenueNothingPending (nothing would change).
     * @param move what is replaced by what.
     * @param proof siblings of the leaf in the pending split, or in the active one when none is pending.
     * @param settles edges that are settled first.
     */
    function reassign(
        Reassignment calldata move,
        MerkleSum.Node[] calldata proof,
        SettleArg[] calldata settles
    ) external;

    /**
     * @notice `reassign` by the signature of the leaf's holder (EIP-712; contract wallets by ERC-1271).
     * @dev Signed is REASSIGN_TYPEHASH's struct, where `position` is (1 << proof.length) | path and `settlesHash` is
     * keccak256(abi.encode(settles)). Reverts as reassign does, and with RevenueSignatureExpired, RevenueInvalidSignature,
     * RevenueUnauthorized (the caller isn't the executor), InvalidAccountNonce.
     * @param executor the only account that may submit the order; zero for anyone.
     * @param nonce the holder's next nonce under the key of its choice (see nonces(address,uint192)).
     * @param deadline the order is void after this time.
     * @param signature of the holder.
     */
    function reassignBySig(
        Reassignment calldata move,
        MerkleSum.Node[] calldata proof,
        SettleArg[] calldata settles,
        address executor,
        uint256 nonce,
        uint48 deadline,
        bytes calldata signature
    ) external;

    /**
     * @notice reassignBySig by an executor that says who gets the leaf: the way of a share that is sold with its work.
     * @dev The signature names the caller as its executor and no new node (`newHash` 0, which stands for the leaf of
     * `holder` and the same weight), so nobody else can use it, and the caller for a whole leaf only. Reverts as
     * reassignBySig does; RevenueInvalidProof if `move` names a node or `holder` is zero.
     * @param holder new holder of the leaf.
     */
    function reassignTo(
        address holder,
        Reassignment calldata move,
        MerkleSum.Node[] calldata proof,
        SettleArg[] calldata settles,
        uint256 nonce,
        uint48 deadline,
        bytes calldata signature
    ) external;

    /**
     * @notice Makes a work's pending root its next split version. Anyone may call, in a dispute too: a ruling for the
     * claimant replaces whatever split is active by then.
     * @dev Reverts with RevenueUnknownWork, RevenuePlatformWork, RevenueNothingPending, RevenueNotYet, RevenueFrozen.
     */
    function activate(uint64 workId) external;

    // ----------------------------------------------------------------------------------------------------- governance

    /**
     * @notice Gives the platform a new split, for revenue that is credited from now on.
     * @dev Restricted. Work 0 only: no role can replace the split of another work. Reverts with RevenueUnauthorized (another
     * work), RevenueInvalidProof (also for another total than the platform's).
     */
    function replaceSplit(
        uint64 workId,
        bytes32 root,
        uint256 totalWeight,
        bytes32 treeDigest,
        LeafProof calldata leaf
    ) external;

    /**
     * @notice Gives a work whose registration was contested with success a new split, for revenue that is credited from now
     * on. What was credited before stays its former holders'; gathered reassignments are dropped.
     * @dev Only the contract of the works' standing, which has checked the root, the ruling and the notice. Reverts with
     * RevenueUnauthorized, RevenueUnknownWork, RevenueWorkStatus (not disputed).
     * @param settles edges that are settled first, for the former holders.
     */
    function replaceDisputedSplit(
        uint64 workId,
        bytes32 root,
        bytes32 treeDigest,
        SettleArg[] calldata settles
    ) external;

    /// @notice Sets the platform's fee on later payments. Restricted. Reverts with RevenueFeeTooHigh above 1,000.
    function setFeeBps(uint16 newBps) external;

    /// @notice Admits an ERC-20, or takes it off the list (what has arrived stays payable). Restricted.
    function setTokenAllowed(address token, bool allowed) external;

    /**
     * @notice Refuses a work's withdrawals and reassignments for FREEZE_PERIOD, or thaws it. Payments go on.
     * @dev Restricted. After its end a work can't be frozen again for COOL_OFF, whatever the case. Reverts with
     * RevenueNotYet, RevenueNotFrozen, RevenueUnknownWork, RevenuePlatformWork.
     */
    function freeze(uint64 workId, bytes32 caseId, bool frozen) external;

    /// @notice Refuses all withdrawals and reassignments for PAUSE_PERIOD. Restricted. RevenueNotYet within COOL_OFF.
    function pause() external;

    /// @notice Lifts the pause. Restricted. Reverts with RevenueNotPaused.
    function unpause() external;

    // ---------------------------------------------------------------------------------------------------------- views

    /// @notice The registry of works, which alone opens accounts here.
    function registry() external view returns (address);

    /// @notice The platform's fee on payments, in basis points.
    function feeBps() external view returns (uint16);

    /// @notice Withdrawals and reassignments are refused before this time.
    function pausedUntil() external view returns (uint48);

    /// @notice Whether works can be paid in the token. Always true for the native coin.
    function isTokenAllowed(address token) external view returns (bool);

    /// @notice What the ledger knows of a work; version 0 if nothing.
    function workOf(uint64 workId) external view returns (Work memory);

    /// @notice All royalty edges of a work.
    function edgesOf(uint64 workId) external view returns (Edge[] memory);

    /// @notice A version of a work's split; all zero if there is none.
    function splitOf(uint64 workId, uint32 version) external view returns (Split memory);

    /// @notice The gathered reassignments of a work.
    function pendingOf(uint64 workId) external view returns (PendingSplit memory);

    /// @notice Lifetime revenue of a work in a token.
    function accountOf(uint64 workId, address token) external view returns (Account memory);

    /// @notice Where a split version began; all zero if it is the first or has no credit.
    function baseOf(uint64 workId, address token, uint32 version) external view returns (Base memory);

    /// @notice What the holders of a split version have earned together so far, paid or not.
    function earnedOf(uint64 workId, address token, uint32 version) external view returns (uint256);

    /// @notice What a leaf's position in a split version has been paid.
    function withdrawnOf(
        uint64 workId,
        uint32 version,
        address token,
        uint256 position
    ) external view returns (uint256);

    /// @notice What an edge has passed on so far.
    function settledOf(uint64 workId, uint256 edge, address token) external view returns (uint256);

    /// @notice What settling the edge now would pass on.
    function owedOf(uint64 workId, uint256 edge, address token) external view returns (uint256);
}
