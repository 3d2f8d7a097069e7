// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {MerkleSum} from "./MerkleSum.sol";
import {IRewardDistributor} from "./interfaces/IRewardDistributor.sol";

/**
 * @title Rewards by cumulative Merkle-sum roots that anyone can check before they count
 * @dev The books. `counted` of a stream grows with what comes in and never falls, `totalClaimed` grows with what is paid;
 * their difference is what the stream has. Bonds are booked apart, in `_bondsHeld`, and count as funds only when they are
 * lost. So for each token: balance >= counted - totalClaimed + bonds, and what is above can be swept.
 *
 * Why a stream can always pay what its active root promises. At `propose`: total' - totalClaimed <= counted - totalClaimed.
 * Afterwards counted only grows, and a claim adds the same to totalClaimed on both sides. Claims of one root can't pass its
 * total by MerkleSum's argument if everybody was paid under it; amounts that were paid under earlier roots to accounts
 * that a later one gives less are the reason for the explicit check totalClaimed + paid <= total.
 * @custom:security-contact see SECURITY.md
 */
contract RewardDistributor is IRewardDistributor, AccessManaged, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using SafeCast for uint256;

    // ------------------------------------------------------------------------------------------------------ constants

    /// @notice Length of an epoch, in seconds.
    uint48 public constant EPOCH_LENGTH = 7 days;
    /// @notice The shortest window and the shortest time for a ruling that can be set, in seconds.
    uint48 public constant MIN_WINDOW = 1 days;
    /// @notice The longest window and the longest time for a ruling that can be set, in seconds.
    uint48 public constant MAX_WINDOW = 60 days;
    /// @notice Most epochs since the last root whose caps a root may use.
    uint256 public constant MAX_EPOCHS = 4;
    /// @notice Most that an epoch may add, in basis points of what the stream has; no vote can raise it.
    uint256 public constant MAX_EPOCH_BPS = 500;
    /// @notice Most that an account's cap may be, in basis points of the epoch's; no vote can raise it.
    uint256 public constant MAX_ACCOUNT_BPS = 500;
    /// @notice Most account caps that gather while an account does not claim.
    uint256 public constant MAX_ALLOWANCES = 8;

    address private constant NATIVE = address(0);
    uint256 private constant BPS = 10_000;

    // -------------------------------------------------------------------------------------------------------- storage

    /// @dev One slot, so that a claim reads one: the caps of an account now and from `nextEpoch` on.
    struct AccountCaps {
        uint96 cap;
        uint96 nextCap;
        uint64 nextEpoch;
    }

    /// @dev One slot, read by `propose` only; it changes at AccountCaps.nextEpoch too.
    struct EpochCaps {
        uint128 cap;
        uint128 nextCap;
    }

    /// @inheritdoc IRewardDistributor
    address public immutable bondToken;
    /// @inheritdoc IRewardDistributor
    uint48 public immutable genesis;

    Parameters private _parameters;
    uint256 private _bondsHeld;
    mapping(address token => Stream) private _streams;
    mapping(address token => Pending) private _pending;
    mapping(address token => AccountCaps) private _accountCaps;
    mapping(address token => EpochCaps) private _epochCaps;
    mapping(address token => uint256) private _challengePrices;
    mapping(address token => mapping(address account => Account)) private _accounts;
    mapping(address account => address) private _recipients;

    // ---------------------------------------------------------------------------------------------------- constructor

    /**
     * @param authority_ the AccessManager.
     * @param bondToken_ what bonds are posted in: the TroupeToken.
     * @param genesis_ when the first epoch begins; not in the future.
     * @param parameters_ the first parameters.
     */
    constructor(
        address authority_,
        address bondToken_,
        uint48 genesis_,
        Parameters memory parameters_
    ) AccessManaged(authority_) {
        if (genesis_ > block.timestamp) revert RewardParameterInvalid();
        bondToken = bondToken_;
        genesis = genesis_;
        _setParameters(parameters_);
    }

    // ---------------------------------------------------------------------------------------------------------- roots

    /// @inheritdoc IRewardDistributor
    function propose(
        address token,
        bytes32 root,
        uint128 total,
        bytes32 treeDigest,
        bytes32 logRoot
    ) external restricted nonReentrant {
        Stream storage stream = _streams[token];
        Pending storage pending = _pending[token];
        uint64 epoch = currentEpoch();
        if (pending.root != 0) revert RewardPending();
        if (epoch <= stream.epoch) revert RewardEpochTaken(epoch);
        if (root == 0) revert RewardEmptyRoot();
        _checkTotal(token, stream, total, epoch);

        uint48 finalizableAt = _endOfWindow();
        uint128 bond = _parameters.publisherBond;
        pending.root = root;
        pending.total = total;
        pending.epoch = epoch;
        pending.finalizableAt = finalizableAt;
        pending.publisher = msg.sender;
        pending.publisherBond = bond;
        pending.challengerBond = challengePriceOf(token).toUint128();
        emit RootProposed(token, epoch, root, total, treeDigest, logRoot, finalizableAt);
        _takeBond(token, epoch, bond);
    }

    /// @inheritdoc IRewardDistributor
    function finalize(address token) external nonReentrant {
        Pending memory pending = _requirePending(token);
        if (pending.challenger != address(0)) revert RewardChallenged();
        if (block.timestamp < pending.finalizableAt) revert RewardWindowOpen(pending.finalizableAt);

        Stream storage stream = _streams[token];
        stream.root = pending.root;
        stream.total = pending.total;
        stream.epoch = pending.epoch;
        delete _pending[token];
        emit RootFinalized(token, pending.epoch, pending.root, pending.total);
        if (!pending.contested) _setChallengePrice(token, challengePriceOf(token) / 2);
        _releaseBonds(pending.publisherBond);
        _payBond(token, pending.epoch, pending.publisher, pending.publisherBond);
    }

    /// @inheritdoc IRewardDistributor
    function challenge(address token, bytes32 reasonHash) external nonReentrant {
        Pending storage pending = _pending[token];
        if (pending.root == 0) revert RewardNoPending();
        if (pending.challenger != address(0)) revert RewardChallenged();
        if (block.timestamp >= pending.finalizableAt) revert RewardWindowClosed();

        pending.challenger = msg.sender;
        pending.rulingUntil = uint48(block.timestamp) + _parameters.resolvePeriod;
        pending.contested = true;
        emit RootChallenged(token, pending.epoch, msg.sender, reasonHash);
        _takeBond(token, pending.epoch, pending.challengerBond);
    }

    /// @inheritdoc IRewardDistributor
    function resolve(address token, bool uphold) external restricted nonReentrant {
        Pending memory pending = _requireChallenged(token);
        if (block.timestamp >= pending.rulingUntil) revert RewardRulingClosed();
        if (uphold) {
            emit ChallengeResolved(token, pending.epoch, true, pending.finalizableAt);
            // A publisher that challenged itself gets nothing for it.
            address winner = pending.challenger == pending.publisher ? address(0) : pending.challenger;
            _reject(token, pending, Reason.CHALLENGE_UPHELD, msg.sender, winner);
            return;
        }
        uint256 price = _raiseChallengePrice(token);
        uint48 finalizableAt = _endOfWindow();
        Pending storage stored = _pending[token];
        stored.challenger = address(0);
        stored.rulingUntil = 0;
        stored.challengerBond = price.toUint128();
        stored.finalizableAt = finalizableAt;
        emit ChallengeResolved(token, pending.epoch, false, finalizableAt);
        _releaseBonds(pending.challengerBond);
        uint256 half = pending.challengerBond / 2;
        if (pending.challenger == pending.publisher) half = 0;
        _payBond(token, pending.epoch, pending.publisher, half);
        _forfeit(token, pending.epoch, pending.challengerBond - half);
    }

    /// @inheritdoc IRewardDistributor
    function expireChallenge(address token) external nonReentrant {
        Pending memory pending = _requireChallenged(token);
        if (block.timestamp < pending.rulingUntil) revert RewardRulingOpen(pending.rulingUntil);

        delete _pending[token];
        emit RootRejected(token, pending.epoch, uint8(Reason.CHALLENGE_EXPIRED), msg.sender);
        _raiseChallengePrice(token);
        uint256 loss = Math.min(pending.publisherBond, pending.challengerBond);
        _releaseBonds(uint256(pending.publisherBond) + pending.challengerBond);
        _payBond(token, pending.epoch, pending.publisher, pending.publisherBond - loss);
        _payBond(token, pending.epoch, pending.challenger, pending.challengerBond - loss);
        _forfeit(token, pending.epoch, 2 * loss);
    }

    /// @inheritdoc IRewardDistributor
    function kill(address token) external restricted nonReentrant {
        Pending memory pending = _requirePending(token);
        delete _pending[token];
        emit RootRejected(token, pending.epoch, uint8(Reason.GUARDIAN), msg.sender);
        uint256 challengerBond = pending.challenger == address(0) ? 0 : pending.challengerBond;
        _releaseBonds(pending.publisherBond + challengerBond);
        _payBond(token, pending.epoch, pending.publisher, pending.publisherBond);
        _payBond(token, pending.epoch, pending.challenger, challengerBond);
    }

    // ------------------------------------------------------------------------------------------------ proofs of fraud

    /// @inheritdoc IRewardDistributor
    function proveDecrease(address token, Leaf calldata active, Leaf calldata pending) external nonReentrant {
        Pending memory root = _requirePending(token);
        _requireActive(token, active);
        _requireIn(token, root, pending);
        if (active.account != pending.account || pending.cumulative >= active.cumulative) revert RewardNotFraud();
        _reject(token, root, Reason.DECREASE, msg.sender, msg.sender);
    }

    /// @inheritdoc IRewardDistributor
    function proveDuplicate(address token, Leaf calldata one, Leaf calldata other) external nonReentrant {
        Pending memory root = _requirePending(token);
        _requireIn(token, root, one);
        _requireIn(token, root, other);
        bool same = MerkleSum.position(one.path, one.proof.length) ==
            MerkleSum.position(other.path, other.proof.length);
        if (one.account != other.account || same) revert RewardNotFraud();
        _reject(token, root, Reason.DUPLICATE, msg.sender, msg.sender);
    }

    /// @inheritdoc IRewardDistributor
    function proveUnsorted(address token, Leaf calldata left, Leaf calldata right) external nonReentrant {
        Pending memory root = _requirePending(token);
        _requireIn(token, root, left);
        _requireIn(token, root, right);
        // The zero account would stand for "no leaf" in a proof of omission, so it has no place in a tree.
        bool unsorted = left.account >= right.account && _neighbours(left, right);
        if (!unsorted && left.account != address(0)) revert RewardNotFraud();
        _reject(token, root, Reason.UNSORTED, msg.sender, msg.sender);
    }

    /// @inheritdoc IRewardDistributor
    function proveOmission(
        address token,
        Leaf calldata active,
        Leaf calldata left,
        Leaf calldata right
    ) external nonReentrant {
        Pending memory root = _requirePending(token);
        _requireActive(token, active);
        bool hasLeft = left.account != address(0);
        bool hasRight = right.account != address(0);
        if (hasLeft) _requireIn(token, root, left);
        if (hasRight) _requireIn(token, root, right);
        bool gap = hasLeft && hasRight
            ? _neighbours(left, right)
            : (hasLeft && _allOnes(left)) || (hasRight && right.path == 0);
        if (
            !gap ||
            (hasLeft && left.account >= active.account) ||
            (hasRight && active.account >= right.account)
        ) revert RewardNotFraud();
        _reject(token, root, Reason.OMISSION, msg.sender, msg.sender);
    }

    // --------------------------------------------------------------------------------------------------------- claims

    /// @inheritdoc IRewardDistributor
    function claim(
        address token,
        address account,
        uint256 cumulative,
        uint256 path,
        MerkleSum.Node[] calldata proof
    ) external nonReentrant returns (uint256) {
        (uint256 due, uint256 paid) = _claim(token, account, cumulative, path, proof);
        if (due == 0) revert RewardNothingDue();
        if (paid == 0) revert RewardAccountCapExceeded(due, 0);
        return paid;
    }

    /// @inheritdoc IRewardDistributor
    function claimMany(Claim[] calldata claims) external nonReentrant {
        for (uint256 i = 0; i < claims.length; ++i) {
            Claim calldata c = claims[i];
            _claim(c.token, c.account, c.cumulative, c.path, c.proof);
        }
    }

    /// @inheritdoc IRewardDistributor
    function setRecipient(address recipient) external {
        _recipients[msg.sender] = recipient;
        emit RecipientSet(msg.sender, recipient);
    }

    // --------------------------------------------------------------------------------------------------------- funds

    /// @inheritdoc IRewardDistributor
    function fund(address token, uint256 amount) external nonReentrant returns (uint256 counted) {
        IERC20(token).safeTransferFrom(msg.sender, address(this), amount);
        counted = _sync(token);
        if (counted == 0) revert RewardZeroAmount();
    }

    /// @inheritdoc IRewardDistributor
    function fundNative() external payable nonReentrant {
        _fundNative();
    }

    /// @notice The ledger's withdrawals for work 0 arrive here, and anyone's plain transfer.
    receive() external payable nonReentrant {
        _fundNative();
    }

    /// @inheritdoc IRewardDistributor
    function sync(address token) external nonReentrant returns (uint256) {
        return _sync(token);
    }

    // ----------------------------------------------------------------------------------------------------- governance

    /// @inheritdoc IRewardDistributor
    function setCaps(address token, uint128 epochCap, uint96 accountCap) external restricted {
        (uint128 presentEpochCap, uint96 present) = capsOf(token);
        uint256 min = Math.max(Math.ceilDiv(present, 2), 1);
        uint256 max = Math.min((uint256(epochCap) * MAX_ACCOUNT_BPS) / BPS, type(uint96).max / MAX_ALLOWANCES);
        if (accountCap < min || accountCap > max) revert RewardCapInvalid(accountCap, min, max);

        bool first = present == 0;
        uint64 fromEpoch = first ? currentEpoch() : currentEpoch() + 1;
        _accountCaps[token] = AccountCaps(first ? accountCap : present, accountCap, fromEpoch);
        _epochCaps[token] = EpochCaps(first ? epochCap : presentEpochCap, epochCap);
        emit CapsChanged(token, epochCap, accountCap, fromEpoch);
    }

    /// @inheritdoc IRewardDistributor
    function setParameters(Parameters calldata parameters_) external restricted {
        _setParameters(parameters_);
    }

    /// @inheritdoc IRewardDistributor
    function sweep(address token, address to) external restricted nonReentrant {
        uint256 amount = _uncounted(token);
        if (amount == 0) revert RewardZeroAmount();
        emit Swept(token, to, amount);
        _send(token, to, amount);
    }

    // ---------------------------------------------------------------------------------------------------------- views

    /// @inheritdoc IRewardDistributor
    function currentEpoch() public view returns (uint64) {
        return uint64((block.timestamp - genesis) / EPOCH_LENGTH + 1);
    }

    /// @inheritdoc IRewardDistributor
    function parameters() external view returns (Parameters memory) {
        return _parameters;
    }

    /// @inheritdoc IRewardDistributor
    function streamOf(address token) external view returns (Stream memory) {
        return _streams[token];
    }

    /// @inheritdoc IRewardDistributor
    function pendingOf(address token) external view returns (Pending memory) {
        return _pending[token];
    }

    /// @inheritdoc IRewardDistributor
    function capsOf(address token) public view returns (uint128 epochCap, uint96 accountCap) {
        AccountCaps memory caps = _accountCaps[token];
        EpochCaps memory epochCaps = _epochCaps[token];
        return currentEpoch() >= caps.nextEpoch ? (epochCaps.nextCap, caps.nextCap) : (epochCaps.cap, caps.cap);
    }

    /// @inheritdoc IRewardDistributor
    function budgetOf(address token) external view returns (uint256) {
        Stream storage stream = _streams[token];
        uint64 epoch = currentEpoch();
        if (epoch <= stream.epoch) return 0;
        uint256 promised = stream.total - stream.totalClaimed;
        return Math.min(_allowedIncrease(token, stream, epoch), fundedOf(token) - promised);
    }

    /// @inheritdoc IRewardDistributor
    function fundedOf(address token) public view returns (uint256) {
        Stream storage stream = _streams[token];
        return stream.counted - stream.totalClaimed;
    }

    /// @inheritdoc IRewardDistributor
    function accountOf(address token, address account) external view returns (Account memory) {
        return _accounts[token][account];
    }

    /// @inheritdoc IRewardDistributor
    function allowanceOf(address token, address account) external view returns (uint256) {
        return _allowance(token, _accounts[token][account], currentEpoch());
    }

    /// @inheritdoc IRewardDistributor
    function recipientOf(address account) public view returns (address) {
        address recipient = _recipients[account];
        return recipient == address(0) ? account : recipient;
    }

    /// @inheritdoc IRewardDistributor
    function challengePriceOf(address token) public view returns (uint256) {
        return _clampPrice(_challengePrices[token]);
    }

    /// @inheritdoc IRewardDistributor
    function bondsHeld() external view returns (uint256) {
        return _bondsHeld;
    }

    // ------------------------------------------------------------------------------------------------ internals: roots

    function _requirePending(address token) private view returns (Pending memory pending) {
        pending = _pending[token];
        if (pending.root == 0) revert RewardNoPending();
    }

    function _requireChallenged(address token) private view returns (Pending memory pending) {
        pending = _requirePending(token);
        if (pending.challenger == address(0)) revert RewardNotChallenged();
    }

    function _checkTotal(address token, Stream storage stream, uint256 total, uint64 epoch) private view {
        (uint256 active, uint256 claimed) = (stream.total, stream.totalClaimed);
        (uint128 epochCap, ) = capsOf(token);
        if (epochCap == 0) revert RewardCapsUnset(token);
        if (total < active) revert RewardTotalDecreased(total, active);
        uint256 funded = _available(token);
        if (total - claimed > funded) revert RewardUnderfunded(total - claimed, funded);
        uint256 allowed = _allowedIncrease(token, stream, epoch);
        if (total - active > allowed) revert RewardEpochCapExceeded(total - active, allowed);
    }

    /// @dev What a root may promise. Virtual, as two more below, for the mocks that show what the tests would find.
    function _available(address token) internal view virtual returns (uint256) {
        return fundedOf(token);
    }

    function _endOfWindow() internal view virtual returns (uint48) {
        return uint48(block.timestamp) + _parameters.window;
    }

    function _allowedIncrease(
        address token,
        Stream storage stream,
        uint64 epoch
    ) private view returns (uint256) {
        (uint128 epochCap, ) = capsOf(token);
        uint256 ceiling = (uint256(stream.counted - stream.totalClaimed) * MAX_EPOCH_BPS) / BPS;
        return Math.min(epochCap, ceiling) * Math.min(epoch - stream.epoch, MAX_EPOCHS);
    }

    /// @dev Drops a pending root whose publisher is at fault. `winner` gets half of its bond, the pool the rest.
    function _reject(
        address token,
        Pending memory pending,
        Reason reason,
        address prover,
        address winner
    ) private {
        delete _pending[token];
        emit RootRejected(token, pending.epoch, uint8(reason), prover);
        uint256 challengerBond = pending.challenger == address(0) ? 0 : pending.challengerBond;
        uint256 half = winner == address(0) ? 0 : pending.publisherBond / 2;
        _releaseBonds(pending.publisherBond + challengerBond);
        _payBond(token, pending.epoch, pending.challenger, challengerBond);
        _payBond(token, pending.epoch, winner, half);
        _forfeit(token, pending.epoch, pending.publisherBond - half);
    }

    function _requireIn(address token, Pending memory pending, Leaf calldata leaf) private view {
        _requireLeaf(token, pending.root, pending.total, leaf);
    }

    function _requireActive(address token, Leaf calldata leaf) private view {
        Stream storage stream = _streams[token];
        _requireLeaf(token, stream.root, stream.total, leaf);
    }

    function _requireLeaf(
        address token,
        bytes32 root,
        uint256 total,
        Leaf calldata leaf
    ) internal view virtual {
        bytes32 leafHash = _leafHash(token, leaf.account, leaf.cumulative);
        (bytes32 hash, uint256 sum) = MerkleSum.process(leaf.proof, leaf.path, leafHash, leaf.cumulative);
        if (hash != root || sum != total) revert RewardInvalidProof();
    }

    /**
     * @dev True if no leaf lies between the two. Going up from each leaf, both paths must meet at one node: above it they
     * are the same bits in the same number; at it the left one is a left and the right one a right child; below it the
     * left one is the outermost right leaf of its side (all ones), the right one the outermost left leaf of its own (all
     * zeros). Both leaves were proven against one root, so equal bits from the top are one and the same node.
     */
    function _neighbours(Leaf calldata left, Leaf calldata right) private pure returns (bool) {
        // Levels below the meeting node: trailing ones of the left path, trailing zeros of the right one.
        uint256 below = 0;
        while (below < left.proof.length && (left.path >> below) & 1 == 1) ++below;
        if (below == left.proof.length) return false; // the outermost leaf of the tree has no right neighbour
        uint256 above = left.proof.length - below - 1;
        if (right.proof.length <= above) return false;
        uint256 rightBelow = right.proof.length - above - 1;
        return right.path == (((left.path >> (below + 1)) << (rightBelow + 1)) | (1 << rightBelow));
    }

    function _allOnes(Leaf calldata leaf) private pure returns (bool) {
        return leaf.path == (1 << leaf.proof.length) - 1;
    }

    function _setParameters(Parameters memory p) private {
        bool windows = p.window >= MIN_WINDOW &&
            p.window <= MAX_WINDOW &&
            p.resolvePeriod >= MIN_WINDOW &&
            p.resolvePeriod <= MAX_WINDOW;
        bool bonds = p.minChallengerBond > 0 && p.minChallengerBond <= p.maxChallengerBond && p.publisherBond > 0;
        if (!windows || !bonds) revert RewardParameterInvalid();
        _parameters = p;
        emit ParametersChanged(
            p.window,
            p.resolvePeriod,
            p.publisherBond,
            p.minChallengerBond,
            p.maxChallengerBond
        );
    }

    // ------------------------------------------------------------------------------------------------ internals: bonds

    function _setChallengePrice(address token, uint256 price) private {
        uint256 present = _clampPrice(price);
        if (present == _challengePrices[token]) return;
        _challengePrices[token] = present;
        emit ChallengePriceChanged(token, present);
    }

    function _clampPrice(uint256 price) private view returns (uint256) {
        return Math.min(Math.max(price, _parameters.minChallengerBond), _parameters.maxChallengerBond);
    }

    function _raiseChallengePrice(address token) private returns (uint256) {
        _setChallengePrice(token, challengePriceOf(token) * 2);
        return challengePriceOf(token);
    }

    function _takeBond(address token, uint64 epoch, uint256 amount) private {
        _bondsHeld += amount;
        emit BondPosted(token, epoch, msg.sender, amount);
        IERC20(bondToken).safeTransferFrom(msg.sender, address(this), amount);
    }

    function _releaseBonds(uint256 amount) private {
        _bondsHeld -= amount;
    }

    function _payBond(address token, uint64 epoch, address to, uint256 amount) private {
        if (amount == 0) return;
        emit BondSettled(token, epoch, to, amount);
        IERC20(bondToken).safeTransfer(to, amount);
    }

    /// @dev The lost bond becomes funds of the bond token's own stream.
    function _forfeit(address token, uint64 epoch, uint256 amount) private {
        emit BondSettled(token, epoch, address(this), amount);
        _count(bondToken, address(this), amount);
    }

    // ----------------------------------------------------------------------------------------------- internals: claims

    function _leafHash(address token, address account, uint256 cumulative) internal view returns (bytes32) {
        bytes32 inner = keccak256(abi.encode(block.chainid, address(this), token, account, cumulative));
        return keccak256(bytes.concat(inner));
    }

    function _allowance(address token, Account memory account, uint64 epoch) private view returns (uint256) {
        AccountCaps memory caps = _accountCaps[token];
        uint256 cap = epoch >= caps.nextEpoch ? caps.nextCap : caps.cap;
        if (account.epoch == 0) return cap;
        return Math.min(MAX_ALLOWANCES * cap, account.left + cap * (epoch - account.epoch));
    }

    function _claim(
        address token,
        address account,
        uint256 cumulative,
        uint256 path,
        MerkleSum.Node[] calldata proof
    ) private returns (uint256 due, uint256 paid) {
        Stream storage stream = _streams[token];
        uint256 total = stream.total;
        {
            bytes32 leaf = _leafHash(token, account, cumulative);
            (bytes32 root, uint256 sum) = MerkleSum.process(proof, path, leaf, cumulative);
            if (root != stream.root || sum != total) revert RewardInvalidProof();
        }
        Account storage entry = _accounts[token][account];
        Account memory before = entry;
        if (cumulative <= before.claimed) return (0, 0);
        due = cumulative - before.claimed;
        uint64 epoch = currentEpoch();
        uint256 left = _allowance(token, before, epoch);
        paid = Math.min(due, left);
        if (paid == 0) return (due, 0);
        if (stream.totalClaimed + paid > total) revert RewardTotalExceeded();

        // Safe casts: paid <= total < 2^128, left <= 8 caps < 2^96 (setCaps), weeks fit in 32 bits for 80 million years.
        stream.totalClaimed += uint128(paid);
        (entry.claimed, entry.left, entry.epoch) = (
            before.claimed + uint128(paid),
            uint96(left - paid),
            uint32(epoch)
        );
        _payReward(token, account, paid, cumulative, epoch);
    }

    function _payReward(
        address token,
        address account,
        uint256 amount,
        uint256 cumulative,
        uint64 epoch
    ) private {
        address recipient = recipientOf(account);
        emit RewardClaimed(account, token, recipient, amount, cumulative, epoch);
        _send(token, recipient, amount);
    }

    // ------------------------------------------------------------------------------------------------ internals: funds

    function _fundNative() private {
        if (msg.value == 0) revert RewardZeroAmount();
        _count(NATIVE, msg.sender, msg.value);
    }

    function _sync(address token) private returns (uint256 amount) {
        if (token == NATIVE) return 0; // native coin that was forced in is nobody's payment; sweep takes it
        amount = _uncounted(token);
        if (amount > 0) _count(token, msg.sender, amount);
    }

    function _count(address token, address from, uint256 amount) private {
        _streams[token].counted += amount.toUint128();
        emit Funded(token, from, amount);
    }

    /// @dev What is here beyond the stream's funds and the bonds; 0 for a token that took from our balance.
    function _uncounted(address token) private view returns (uint256) {
        uint256 booked = fundedOf(token) + (token == bondToken ? _bondsHeld : 0);
        uint256 balance = token == NATIVE ? address(this).balance : IERC20(token).balanceOf(address(this));
        return Math.saturatingSub(balance, booked);
    }

    function _send(address token, address to, uint256 amount) private {
        if (token == NATIVE) Address.sendValue(payable(to), amount);
        else IERC20(token).safeTransfer(to, amount);
    }
}
