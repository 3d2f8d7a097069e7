// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {MerkleSum} from "../MerkleSum.sol";

/**
 * @title Rewards by cumulative Merkle-sum roots that anyone can check before they count
 * @notice For each token there is one stream. A root commits to all that every account was ever awarded in it; a claim pays
 * the difference to what the account has been paid, so one claim covers all epochs and none can be paid twice.
 *
 * A root counts only after a window in which it can be challenged (a bond against the publisher's bond, the Timelock
 * rules) or killed at once by a proof of fraud, without an arbiter. No role can skip the window. Whatever a root says, the
 * contract itself holds three bounds: what is promised is funded, an epoch adds no more than its cap, and an account is
 * paid no more than its allowance at a time; by the sums in the tree all claims of a root stay within its total.
 *
 * Units: amounts are base units of the stream's token, the native coin is the zero address; times are seconds. An epoch is
 * EPOCH_LENGTH long; the first one, which starts at `genesis`, is number 1. A root belongs to the epoch it was proposed in.
 *
 * Leaves are keccak256(keccak256(abi.encode(chainId, distributor, token, account, cumulative))) with the sum `cumulative`,
 * strictly ascending by account, none for the zero account.
 */
interface IRewardDistributor {
    // ------------------------------------------------------------------------------------------------- enums, structs

    /// @notice Why a pending root died.
    enum Reason {
        NONE,
        CHALLENGE_UPHELD,
        CHALLENGE_EXPIRED,
        GUARDIAN,
        DECREASE,
        DUPLICATE,
        UNSORTED,
        OMISSION
    }

    /**
     * @notice What counts in a stream now.
     * @param root the active root; zero before the first.
     * @param total its sum: all that was ever awarded.
     * @param totalClaimed all that was ever paid.
     * @param counted all that ever came in; counted - totalClaimed is funded.
     * @param epoch the epoch of the active root.
     */
    struct Stream {
        bytes32 root;
        uint128 total;
        uint128 totalClaimed;
        uint128 counted;
        uint64 epoch;
    }

    /**
     * @notice A root that does not count yet.
     * @param root the root; zero if none is pending.
     * @param total its sum.
     * @param epoch the epoch it was proposed in.
     * @param finalizableAt it can become active from then on, unless challenged.
     * @param publisher who posted publisherBond.
     * @param rulingUntil a challenge can be ruled on before that time; 0 while it is not challenged.
     * @param contested whether it was ever challenged.
     * @param challenger who posted challengerBond; zero while it is not challenged.
     * @param publisherBond what the publisher posted.
     * @param challengerBond what a challenge costs or, once it is challenged, what the challenger posted.
     */
    struct Pending {
        bytes32 root;
        uint128 total;
        uint64 epoch;
        uint48 finalizableAt;
        address publisher;
        uint48 rulingUntil;
        bool contested;
        address challenger;
        uint128 publisherBond;
        uint128 challengerBond;
    }

    /**
     * @notice What an account has been paid, in one storage slot.
     * @param claimed all that it was ever paid.
     * @param left what was left of its allowance after its last claim.
     * @param epoch the epoch of its last claim; 0 before the first.
     */
    struct Account {
        uint128 claimed;
        uint96 left;
        uint32 epoch;
    }

    /**
     * @notice What holds for roots proposed from now on.
     * @param window seconds from a proposal to its finalization; at least MIN_WINDOW.
     * @param resolvePeriod seconds that a challenge waits for a ruling; at least MIN_WINDOW.
     * @param publisherBond what a proposal costs until it is final.
     * @param minChallengerBond the lowest price of a challenge.
     * @param maxChallengerBond the highest.
     */
    struct Parameters {
        uint48 window;
        uint48 resolvePeriod;
        uint128 publisherBond;
        uint128 minChallengerBond;
        uint128 maxChallengerBond;
    }

    /**
     * @param token the stream.
     * @param account who is paid.
     * @param cumulative what the account's leaf says.
     * @param path path of the leaf, see MerkleSum.
     * @param proof siblings of the leaf, leaf level first.
     */
    struct Claim {
        address token;
        address account;
        uint256 cumulative;
        uint256 path;
        MerkleSum.Node[] proof;
    }

    /**
     * @notice A leaf of a stream's root with its proof, for proofs of fraud.
     */
    struct Leaf {
        address account;
        uint256 cumulative;
        uint256 path;
        MerkleSum.Node[] proof;
    }

    // -------------------------------------------------------------------------------------------------------- events

    /// @notice A root waits for its window to pass. `treeDigest` is sha256 of the published tree file, `logRoot` the root of
    /// the epoch's engagement log.
    event RootProposed(
        address indexed token,
        uint64 indexed epoch,
        bytes32 root,
        uint256 total,
        bytes32 treeDigest,
        bytes32 logRoot,
        uint48 finalizableAt
    );

    /// @notice A root became the active one.
    event RootFinalized(address indexed token, uint64 indexed epoch, bytes32 root, uint256 total);

    /// @notice A pending root is frozen until it is ruled on.
    event RootChallenged(
        address indexed token,
        uint64 indexed epoch,
        address indexed challenger,
        bytes32 reasonHash
    );

    /// @notice A pending root died; `reason` is a Reason, `prover` who brought it about.
    event RootRejected(address indexed token, uint64 indexed epoch, uint8 reason, address prover);

    /// @notice A challenge was ruled on. If it was not upheld the root can become active from `finalizableAt` on.
    event ChallengeResolved(address indexed token, uint64 indexed epoch, bool upheld, uint48 finalizableAt);

    /// @notice An account was paid, to its recipient. `epoch` is that of the payment.
    event RewardClaimed(
        address indexed account,
        address indexed token,
        address recipient,
        uint256 amount,
        uint256 cumulative,
        uint64 epoch
    );

    /// @notice A stream got funds. From this contract itself: a bond that was lost.
    event Funded(address indexed token, address indexed from, uint256 amount);

    /// @notice A stream's caps change at the start of `fromEpoch`.
    event CapsChanged(address indexed token, uint128 epochCap, uint96 accountCap, uint64 fromEpoch);

    /// @notice What holds for roots proposed from now on changed.
    event ParametersChanged(
        uint48 window,
        uint48 resolvePeriod,
        uint128 publisherBond,
        uint128 minChallengerBond,
        uint128 maxChallengerBond
    );

    /// @notice The price of a challenge to the stream's next root changed.
    event ChallengePriceChanged(address indexed token, uint256 price);

    /// @notice A bond was posted for, or against, the stream's pending root.
    event BondPosted(address indexed token, uint64 indexed epoch, address indexed account, uint256 amount);

    /// @notice Part of a bond left escrow, to an account or, where `to` is this contract, to the bond token's stream.
    event BondSettled(address indexed token, uint64 indexed epoch, address indexed to, uint256 amount);

    /// @notice An account has its rewards paid to another; zero: to itself again.
    event RecipientSet(address indexed account, address recipient);

    /// @notice What was neither funds nor a bond was sent away.
    event Swept(address indexed token, address indexed to, uint256 amount);

    // -------------------------------------------------------------------------------------------------------- errors

    /// @notice The leaf isn't in the root.
    error RewardInvalidProof();
    /// @notice The account has been paid all that its leaf says.
    error RewardNothingDue();
    /// @notice A total never falls: `total` was proposed after `active`.
    error RewardTotalDecreased(uint256 total, uint256 active);
    /// @notice The root adds more than the epochs since the last one allow.
    error RewardEpochCapExceeded(uint256 increase, uint256 allowed);
    /// @notice Promised but unpaid would be `need`, funded is `have`.
    error RewardUnderfunded(uint256 need, uint256 have);
    /// @notice The root's accounts have been paid its total already.
    error RewardTotalExceeded();
    /// @notice The account is due `due`, but its allowance of this epoch has only `left`.
    error RewardAccountCapExceeded(uint256 due, uint256 left);
    /// @notice The root can't become active before that time.
    error RewardWindowOpen(uint48 finalizableAt);
    /// @notice The window for challenges has passed.
    error RewardWindowClosed();
    /// @notice No root is pending.
    error RewardNoPending();
    /// @notice A root is pending already.
    error RewardPending();
    /// @notice A root of this epoch, or of a later one, is active.
    error RewardEpochTaken(uint64 epoch);
    /// @notice The root is empty.
    error RewardEmptyRoot();
    /// @notice The root is challenged and waits for a ruling.
    error RewardChallenged();
    /// @notice The root isn't challenged.
    error RewardNotChallenged();
    /// @notice The ruling can still come until that time.
    error RewardRulingOpen(uint48 until);
    /// @notice The time for a ruling has passed.
    error RewardRulingClosed();
    /// @notice What was shown is no fraud.
    error RewardNotFraud();
    /// @notice Governance has set no caps for the token.
    error RewardCapsUnset(address token);
    /// @notice The account cap must be at least `min` and at most `max`.
    error RewardCapInvalid(uint256 accountCap, uint256 min, uint256 max);
    /// @notice A window, period or bond is out of bounds.
    error RewardParameterInvalid();
    /// @notice Nothing came in, or nothing is left to send.
    error RewardZeroAmount();

    // ---------------------------------------------------------------------------------------------------------- roots

    /**
     * @notice Proposes a stream's next root. Restricted (role PUBLISHER); takes the publisher's bond.
     * @dev Reverts with RewardPending, RewardEpochTaken, RewardEmptyRoot, RewardCapsUnset, RewardTotalDecreased,
     * RewardUnderfunded, RewardEpochCapExceeded, or the bond token's own error.
     * @param token the stream.
     * @param root root of the tree over all accounts.
     * @param total its sum.
     * @param treeDigest sha256 of the published tree file.
     * @param logRoot root of the epoch's engagement log.
     */
    function propose(address token, bytes32 root, uint128 total, bytes32 treeDigest, bytes32 logRoot) external;

    /// @notice Makes the pending root the active one. Anyone. RewardNoPending, RewardChallenged, RewardWindowOpen.
    function finalize(address token) external;

    /**
     * @notice Freezes the pending root until the Timelock rules. Anyone; takes the challenger's bond.
     * @dev Reverts with RewardNoPending, RewardChallenged, RewardWindowClosed, or the bond token's own error.
     * @param reasonHash of the published reason.
     */
    function challenge(address token, bytes32 reasonHash) external;

    /**
     * @notice Rules on a challenge. Restricted (the Timelock).
     * @dev Upheld: the root dies, the challenger gets its bond and half of the publisher's, the pool the other half. Not
     * upheld: the publisher gets half of the challenger's bond, the pool the other half, the next challenge costs twice as
     * much, and a whole new window begins, so that a challenge in bad faith shields nothing from others.
     * Reverts with RewardNoPending, RewardNotChallenged, RewardRulingClosed.
     */
    function resolve(address token, bool uphold) external;

    /**
     * @notice Drops a challenged root that nobody ruled on in time. Anyone.
     * @dev Publisher and challenger lose the same, the smaller bond, to the pool; the next challenge costs twice as much.
     * Reverts with RewardNoPending, RewardNotChallenged, RewardRulingOpen.
     */
    function expireChallenge(address token) external;

    /// @notice Drops the pending root and returns all bonds. Restricted (role GUARDIAN). Reverts with RewardNoPending.
    function kill(address token) external;

    // ---------------------------------------------------------------------------------------------- proofs of fraud

    /**
     * @notice Kills the pending root: an account's amount is below that in the active root.
     * @dev All four proofs can be given by anyone while the root is pending, challenged or not. Half of the publisher's bond
     * goes to the prover, half to the pool; an open challenger's bond is returned.
     * Revert with RewardNoPending, RewardInvalidProof, RewardNotFraud.
     */
    function proveDecrease(address token, Leaf calldata active, Leaf calldata pending) external;

    /// @notice Kills the pending root: it has two leaves of one account.
    function proveDuplicate(address token, Leaf calldata one, Leaf calldata other) external;

    /**
     * @notice Kills the pending root: of two neighbouring leaves the right one's account isn't above the left one's, or
     * `left` is the zero account's (then any leaf does for `right`).
     */
    function proveUnsorted(address token, Leaf calldata left, Leaf calldata right) external;

    /**
     * @notice Kills the pending root: it lacks an account of the active root.
     * @param active the account's leaf in the active root.
     * @param left the pending leaf next below the account; one without account if there is none.
     * @param right the pending leaf next above the account; one without account if there is none.
     */
    function proveOmission(
        address token,
        Leaf calldata active,
        Leaf calldata left,
        Leaf calldata right
    ) external;

    // --------------------------------------------------------------------------------------------------------- claims

    /**
     * @notice Pays an account what its leaf says and it has not got, as far as its allowance goes. Anyone may call; the
     * account's recipient is paid. What is above the allowance stays claimable.
     * @dev Reverts with RewardInvalidProof, RewardNothingDue, RewardAccountCapExceeded (nothing left in this epoch),
     * RewardTotalExceeded, or the payee's own error.
     * @return The amount paid.
     */
    function claim(
        address token,
        address account,
        uint256 cumulative,
        uint256 path,
        MerkleSum.Node[] calldata proof
    ) external returns (uint256);

    /// @notice Several claims, in order; those with nothing to pay now are passed over. A wrong proof reverts them all.
    function claimMany(Claim[] calldata claims) external;

    /// @notice Has the caller's rewards paid to another account; zero: to itself again.
    function setRecipient(address recipient) external;

    // --------------------------------------------------------------------------------------------------------- funds

    /**
     * @notice Funds a stream with an ERC-20 of the caller, and counts whatever else of it has arrived.
     * @return What was counted.
     */
    function fund(address token, uint256 amount) external returns (uint256);

    /// @notice Funds the native coin's stream. A plain transfer does the same.
    function fundNative() external payable;

    /// @notice Counts an ERC-20 that arrived by transfer. Anyone may call; nothing new is no error.
    function sync(address token) external returns (uint256);

    // ----------------------------------------------------------------------------------------------------- governance

    /**
     * @notice Sets a stream's caps from the next epoch on; the first ones at once. Restricted (the Timelock).
     * @dev Whatever is set, an epoch never adds more than MAX_EPOCH_BPS of what is funded. Reverts with RewardCapInvalid: an
     * account's cap is at most MAX_ACCOUNT_BPS of the epoch's, at least half of the present one, and never 0.
     * @param epochCap what a root may add for each epoch since the last one, of which at most 4 count.
     * @param accountCap what an account may claim in an epoch; what it does not use gathers up to 8 of them.
     */
    function setCaps(address token, uint128 epochCap, uint96 accountCap) external;

    /// @notice Sets what holds for roots proposed from now on. Restricted (the Timelock). RewardParameterInvalid.
    function setParameters(Parameters calldata parameters_) external;

    /// @notice Sends away what is neither funds nor a bond. Restricted (the Timelock). RewardZeroAmount.
    function sweep(address token, address to) external;

    // ---------------------------------------------------------------------------------------------------------- views

    /// @notice The token that bonds are posted in.
    function bondToken() external view returns (address);

    /// @notice When the first epoch began.
    function genesis() external view returns (uint48);

    /// @notice The present epoch; 1 is the first.
    function currentEpoch() external view returns (uint64);

    /// @notice What holds for roots proposed now.
    function parameters() external view returns (Parameters memory);

    /// @notice What counts in a stream.
    function streamOf(address token) external view returns (Stream memory);

    /// @notice The root of a stream that does not count yet; all zero if there is none.
    function pendingOf(address token) external view returns (Pending memory);

    /// @notice A stream's caps in the present epoch; zero while unset.
    function capsOf(address token) external view returns (uint128 epochCap, uint96 accountCap);

    /// @notice What a root proposed now could add to the stream's total. Zero if none could be proposed for its epoch.
    function budgetOf(address token) external view returns (uint256);

    /// @notice What a stream has to pay with: all that came in and was not paid out.
    function fundedOf(address token) external view returns (uint256);

    /// @notice What an account has been paid in a stream.
    function accountOf(address token, address account) external view returns (Account memory);

    /// @notice What an account could be paid at most in the present epoch, whatever it is due.
    function allowanceOf(address token, address account) external view returns (uint256);

    /// @notice Who gets an account's rewards: itself, unless it named another.
    function recipientOf(address account) external view returns (address);

    /// @notice What a challenge to the stream's next root will cost.
    function challengePriceOf(address token) external view returns (uint256);

    /// @notice All bonds that are posted now.
    function bondsHeld() external view returns (uint256);
}
