// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IERC3009} from "@openzeppelin/contracts/interfaces/draft-IERC3009.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {NoncesKeyed} from "@openzeppelin/contracts/utils/NoncesKeyed.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {MerkleSum} from "./MerkleSum.sol";
import {IRevenueLedger} from "./interfaces/IRevenueLedger.sol";
import {IWorkRegistry} from "./interfaces/IWorkRegistry.sol";

/**
 * @title RevenueLedger
 * @custom:security-contact see SECURITY.md
 */
contract RevenueLedger is IRevenueLedger, AccessManaged, EIP712, NoncesKeyed, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    // ----------------------------------------------------------------------------------------------------- constants

    /// @notice Version of this contract's interface.
    string public constant VERSION = "1";

    /// @notice The platform's own work.
    uint64 public constant PLATFORM_WORK = 0;

    /// @notice Highest fee, in basis points.
    uint16 public constant MAX_FEE_BPS = 1_000;

    /// @notice Most royalty edges of a work, inherited ones included.
    uint256 public constant MAX_EDGES = 16;

    /// @notice Most that all edges of a work may take together: its holders keep at least 20%.
    uint256 public constant MAX_UPSTREAM_BPS = 8_000;

    /// @notice Least age of a split version before reassignments make another one.
    uint48 public constant SPLIT_INTERVAL = 7 days;

    /// @notice How long a work stays frozen.
    uint48 public constant FREEZE_PERIOD = 30 days;

    /// @notice How long a pause lasts.
    uint48 public constant PAUSE_PERIOD = 7 days;

    /// @notice Least time between the end of a freeze or pause and the next one.
    uint48 public constant COOL_OFF = 30 days;

    /// @notice EIP-712 type of a signed reassignment.
    bytes32 public constant REASSIGN_TYPEHASH =
        keccak256(
            "Reassign(uint64 workId,uint256 position,address account,uint256 weight,bytes32 newHash,bytes32 treeDigest,bytes32 settlesHash,uint48 activateBy,address executor,uint256 nonce,uint48 deadline)"
        );

    uint256 private constant BPS = 10_000;
    address private constant NATIVE = address(0);

    // ------------------------------------------------------------------------------------------------------- storage

    /// @inheritdoc IRevenueLedger
    address public immutable override registry;

    // One slot.
    uint16 private _feeBps;
    uint48 private _pausedUntil;

    mapping(uint64 workId => Work) private _works;
    mapping(uint64 workId => mapping(uint256 index => Edge)) private _edges;
    mapping(uint64 workId => mapping(uint32 version => bytes32 root)) private _roots;
    mapping(uint64 workId => PendingSplit) private _pending;
    mapping(uint64 workId => mapping(address token => Account)) private _accounts;
    mapping(uint64 workId => mapping(address token => mapping(uint32 version => Base))) private _bases;
    mapping(uint64 workId => mapping(uint256 edge => mapping(address token => uint256 amount))) private _settled;
    mapping(uint64 workId => mapping(uint32 version => mapping(address token => mapping(uint256 position => uint256))))
        private _withdrawn;
    mapping(address token => bool allowed) private _tokens;

    // --------------------------------------------------------------------------------------------------- construction

    /**
     * @param initialAuthority the AccessManager that says who may call what is restricted.
     * @param registry_ the WorkRegistry, whose address is predicted: its own constructor checks that this ledger serves it.
     * @param initialFeeBps the platform's fee on payments.
     * @param platformLeaves the platform's split, in the order of its published tree file.
     * @param platformTreeDigest sha256 of that file.
     */
    constructor(
        address initialAuthority,
        address registry_,
        uint16 initialFeeBps,
        MerkleSum.Leaf[] memory platformLeaves,
        bytes32 platformTreeDigest
    ) AccessManaged(initialAuthority) EIP712("Troupe RevenueLedger", VERSION) {
        registry = registry_;
        _setFeeBps(initialFeeBps);
        (bytes32 root, uint256 totalWeight) = MerkleSum.rootOf(platformLeaves);
        if (totalWeight == 0) revert RevenueInvalidProof();
        _setTotal(PLATFORM_WORK, totalWeight);
        _startVersion(PLATFORM_WORK, 1, root, platformTreeDigest);
    }

    // ----------------------------------------------------------------------------------------------- registry's calls

    modifier onlyRegistry() {
        if (msg.sender != registry) revert RevenueUnauthorized(msg.sender);
        _;
    }

    /// @inheritdoc IRevenueLedger
    function open(
        uint64 workId,
        Edge[] calldata edges,
        bytes32 root,
        uint256 totalWeight,
        bytes32 treeDigest,
        LeafProof calldata leaf
    ) external override onlyRegistry {
        Work storage work = _works[workId];
        if (work.version != 0) revert RevenueAlreadyOpen(workId);
        _checkClaimable(root, totalWeight, leaf);
        _setTotal(workId, totalWeight);
        _openEdges(workId, edges);
        _startVersion(workId, 1, root, treeDigest);
    }

    /// @inheritdoc IRevenueLedger
    function pushStatus(uint64 workId, uint8 status) external override onlyRegistry {
        _known(workId);
        _works[workId].status = status;
        emit StatusPushed(workId, status);
    }

    // ------------------------------------------------------------------------------------------------------- payments

    /// @inheritdoc IRevenueLedger
    function payNative(uint64 workId, uint8 kind, bytes32 ref) external payable override {
        _pay(workId, NATIVE, msg.sender, msg.value, kind, ref);
    }

    /// @inheritdoc IRevenueLedger
    function payToken(
        uint64 workId,
        address token,
        uint256 amount,
        uint8 kind,
        bytes32 ref
    ) external override nonReentrant {
        _payToken(workId, token, amount, kind, ref);
    }

    /// @inheritdoc IRevenueLedger
    function payTokenWithPermit(
        uint64 workId,
        address token,
        uint256 amount,
        uint8 kind,
        bytes32 ref,
        Permit calldata permit
    ) external override nonReentrant {
        _checkToken(token); // before any call to it
        // A failing permit is no obstacle: where it is missing, the transfer below fails for want of an allowance.
        try
            IERC20Permit(token).permit({
                owner: msg.sender,
                spender: address(this),
                value: amount,
                deadline: permit.deadline,
                v: permit.v,
                r: permit.r,
                s: permit.s
            })
        {} catch {} // solhint-disable-line no-empty-blocks
        _payToken(workId, token, amount, kind, ref);
    }

    /// @inheritdoc IRevenueLedger
    function payTokenWithAuthorization(
        uint64 workId,
        address token,
        uint8 kind,
        bytes32 ref,
        Authorization calldata authorization
    ) external override nonReentrant {
        _checkToken(token);
        uint256 before = IERC20(token).balanceOf(address(this));
        IERC3009(token).receiveWithAuthorization({
            from: authorization.from,
            to: address(this),
            value: authorization.amount,
            validAfter: authorization.validAfter,
            validBefore: authorization.validBefore,
            nonce: _authorizationNonce(workId, kind, ref, authorization.salt),
            v: authorization.v,
            r: authorization.r,
            s: authorization.s
        });
        uint256 received = IERC20(token).balanceOf(address(this)) - before;
        _pay(workId, token, authorization.from, received, kind, ref);
    }

    // ------------------------------------------------------------------------------------------ settling, withdrawing

    /// @inheritdoc IRevenueLedger
    function settle(uint64 workId, uint256 edge, address token) external override returns (uint256) {
        return _settle(workId, edge, token);
    }

    /// @inheritdoc IRevenueLedger
    function settleMany(SettleArg[] calldata edges) external override {
        _settleMany(edges);
    }

    /// @inheritdoc IRevenueLedger
    function withdraw(
        Claim calldata claim,
        MerkleSum.Node[] calldata proof
    ) external override nonReentrant returns (uint256 amount) {
        _checkNotPaused();
        _checkNotFrozen(claim.workId, _works[claim.workId].frozenUntil);
        uint256 due = _dueOf(claim, proof);
        uint256 position = MerkleSum.position(claim.path, proof.length);
        mapping(uint256 position => uint256) storage paid = _withdrawn[claim.workId][claim.version][claim.token];
        amount = due - paid[position];
        if (amount == 0) revert RevenueNothingDue();

        paid[position] = due;
        emit Withdrawn({
            workId: claim.workId,
            account: claim.account,
            token: claim.token,
            version: claim.version,
            position: position,
            amount: amount
        });
        if (claim.token == NATIVE) Address.sendValue(payable(claim.account), amount);
        else IERC20(claim.token).safeTransfer(claim.account, amount);
    }

    // --------------------------------------------------------------------------------------------------------- shares

    /// @inheritdoc IRevenueLedger
    function reassign(
        Reassignment calldata move,
        MerkleSum.Node[] calldata proof,
        SettleArg[] calldata settles
    ) external override {
        if (msg.sender != move.account) revert RevenueUnauthorized(msg.sender);
        _reassign(move, move.newHash, proof, settles);
    }

    /// @inheritdoc IRevenueLedger
    function reassignBySig(
        Reassignment calldata move,
        MerkleSum.Node[] calldata proof,
        SettleArg[] calldata settles,
        address executor,
        uint256 nonce,
        uint48 deadline,
        bytes calldata signature
    ) external override {
        if (executor != address(0) && executor != msg.sender) revert RevenueUnauthorized(msg.sender);
        bytes32 settlesHash = keccak256(abi.encode(settles));
        _useSignature(move, proof.length, settlesHash, executor, nonce, deadline, signature);
        _reassign(move, move.newHash, proof, settles);
    }

    /// @inheritdoc IRevenueLedger
    function reassignTo(
        address holder,
        Reassignment calldata move,
        MerkleSum.Node[] calldata proof,
        SettleArg[] calldata settles,
        uint256 nonce,
        uint48 deadline,
        bytes calldata signature
    ) external override {
        if (move.newHash != 0 || holder == address(0)) revert RevenueInvalidProof();
        bytes32 settlesHash = keccak256(abi.encode(settles));
        _useSignature(move, proof.length, settlesHash, msg.sender, nonce, deadline, signature);
        _reassign(move, MerkleSum.leafHash(holder, move.weight), proof, settles);
    }

    /// @inheritdoc IRevenueLedger
    function activate(uint64 workId) external override {
        Work memory work = _unfrozen(workId); // in a dispute too: who gave a share away draws on it no longer for one
        PendingSplit memory pending = _pending[workId];
        if (pending.root == 0) revert RevenueNothingPending(workId);
        uint48 time = work.activatedAt + SPLIT_INTERVAL;
        if (block.timestamp < time) revert RevenueNotYet(time);
        _activate(workId, work.version, pending.root, pending.treeDigest);
    }

    // ----------------------------------------------------------------------------------------------------- governance

    /// @inheritdoc IRevenueLedger
    function replaceSplit(
        uint64 workId,
        bytes32 root,
        uint256 totalWeight,
        bytes32 treeDigest,
        LeafProof calldata leaf
    ) external override restricted {
        if (workId != PLATFORM_WORK) revert RevenueUnauthorized(msg.sender);
        Work storage work = _works[workId];
        if (totalWeight != work.totalWeight) revert RevenueInvalidProof();
        _checkClaimable(root, totalWeight, leaf);
        _startVersion(workId, work.version + 1, root, treeDigest);
    }

    /// @inheritdoc IRevenueLedger
    function replaceDisputedSplit(
        uint64 workId,
        bytes32 root,
        bytes32 treeDigest,
        SettleArg[] calldata settles
    ) external override {
        if (msg.sender != address(IWorkRegistry(registry).standing())) revert RevenueUnauthorized(msg.sender);
        Work storage work = _known(workId);
        if (!_isDisputed(work.status)) revert RevenueWorkStatus(workId, work.status);
        _settleMany(settles);
        delete _pending[workId];
        _startVersion(workId, work.version + 1, root, treeDigest);
    }

    /// @inheritdoc IRevenueLedger
    function setFeeBps(uint16 newBps) external override restricted {
        _setFeeBps(newBps);
    }

    /// @inheritdoc IRevenueLedger
    function setTokenAllowed(address token, bool allowed) external override restricted {
        if (token == NATIVE) revert RevenueTokenNotAllowed(token); // the native coin is always payable
        _tokens[token] = allowed;
        emit TokenAllowed(token, allowed);
    }

    /// @inheritdoc IRevenueLedger
    function freeze(uint64 workId, bytes32 caseId, bool frozen) external override restricted {
        if (workId == PLATFORM_WORK) revert RevenuePlatformWork();
        uint40 until = _known(workId).frozenUntil;
        if (frozen) {
            until = uint40(_nextStop(until, FREEZE_PERIOD));
        } else {
            if (block.timestamp >= until) revert RevenueNotFrozen(workId);
            until = uint40(block.timestamp);
        }
        _works[workId].frozenUntil = until;
        emit WorkFrozen(workId, caseId, until);
    }

    /// @inheritdoc IRevenueLedger
    function pause() external override restricted {
        _pausedUntil = _nextStop(_pausedUntil, PAUSE_PERIOD);
        emit PauseChanged(msg.sender, _pausedUntil);
    }

    /// @inheritdoc IRevenueLedger
    function unpause() external override restricted {
        if (block.timestamp >= _pausedUntil) revert RevenueNotPaused();
        _pausedUntil = uint48(block.timestamp);
        emit PauseChanged(msg.sender, _pausedUntil);
    }

    // ---------------------------------------------------------------------------------------------------------- views

    /// @inheritdoc IRevenueLedger
    function feeBps() external view override returns (uint16) {
        return _feeBps;
    }

    /// @inheritdoc IRevenueLedger
    function pausedUntil() external view override returns (uint48) {
        return _pausedUntil;
    }

    /// @inheritdoc IRevenueLedger
    function isTokenAllowed(address token) external view override returns (bool) {
        return token == NATIVE || _tokens[token];
    }

    /// @inheritdoc IRevenueLedger
    function workOf(uint64 workId) public view override returns (Work memory) {
        return _works[workId];
    }

    /// @inheritdoc IRevenueLedger
    function edgesOf(uint64 workId) external view override returns (Edge[] memory edges) {
        edges = new Edge[](_works[workId].edgeCount);
        for (uint256 i = 0; i < edges.length; ++i) edges[i] = _edges[workId][i];
    }

    /// @inheritdoc IRevenueLedger
    function splitOf(uint64 workId, uint32 version) external view override returns (Split memory) {
        bytes32 root = _roots[workId][version];
        return Split(root, root == 0 ? 0 : _works[workId].totalWeight);
    }

    /// @inheritdoc IRevenueLedger
    function pendingOf(uint64 workId) external view override returns (PendingSplit memory) {
        return _pending[workId];
    }

    /// @inheritdoc IRevenueLedger
    function accountOf(uint64 workId, address token) public view override returns (Account memory) {
        return _accounts[workId][token];
    }

    /// @inheritdoc IRevenueLedger
    function baseOf(uint64 workId, address token, uint32 version) public view override returns (Base memory) {
        return _bases[workId][token][version];
    }

    /// @inheritdoc IRevenueLedger
    function earnedOf(uint64 workId, address token, uint32 version) public view virtual override returns (uint256) {
        Account memory account = _accounts[workId][token];
        Base memory start = _bases[workId][token][version];
        if (version == account.version) {
            return _net(workId, account.direct, account.inherited) - _net(workId, start.direct, start.inherited);
        }
        // A version that was never credited in this token earned nothing: it has no successor, whatever the counters say.
        if (start.next == 0) return 0;
        Base memory end = _bases[workId][token][start.next];
        return _net(workId, end.direct, end.inherited) - _net(workId, start.direct, start.inherited);
    }

    /// @inheritdoc IRevenueLedger
    function withdrawnOf(
        uint64 workId,
        uint32 version,
        address token,
        uint256 position
    ) external view override returns (uint256) {
        return _withdrawn[workId][version][token][position];
    }

    /// @inheritdoc IRevenueLedger
    function settledOf(uint64 workId, uint256 edge, address token) external view override returns (uint256) {
        return _settled[workId][edge][token];
    }

    /// @inheritdoc IRevenueLedger
    function owedOf(uint64 workId, uint256 edge, address token) external view override returns (uint256) {
        return _dueUpstream(workId, _edgeAt(workId, edge), token) - _settled[workId][edge][token];
    }

    // ------------------------------------------------------------------------------------------------------ internals

    /// @dev Net revenue of the holders at the given counters: gross less all edges, rounded up once on their sum, so that
    /// it never decreases while counters grow, and net plus the floors of the edges never exceeds gross.
    function _net(uint64 workId, uint256 direct, uint256 inherited) internal view returns (uint256) {
        Work storage work = _works[workId];
        uint256 gross = direct + inherited;
        return gross - Math.ceilDiv(gross * work.relativeBps + direct * work.absoluteBps, BPS);
    }

    function _pay(uint64 workId, address token, address payer, uint256 amount, uint8 kind, bytes32 ref) private {
        if (amount == 0) revert RevenueZeroAmount();
        if (amount > type(uint112).max) revert RevenueOverflow();
        Work storage work = _works[workId];
        (uint32 version, uint8 status) = (work.version, work.status);
        if (version == 0) revert RevenueUnknownWork(workId);
        if (status == uint8(IWorkRegistry.Status.REVOKED)) revert RevenueWorkStatus(workId, status);

        uint256 fee = workId == PLATFORM_WORK ? 0 : (amount * _feeBps) / BPS;
        _credit(workId, token, version, amount - fee, 0);
        if (fee != 0) _credit(PLATFORM_WORK, token, _works[PLATFORM_WORK].version, fee, 0);
        emit PaymentReceived({
            workId: workId,
            token: token,
            payer: payer,
            amount: amount,
            fee: fee,
            kind: kind,
            ref: ref
        });
    }

    function _payToken(uint64 workId, address token, uint256 amount, uint8 kind, bytes32 ref) private {
        _checkToken(token);
        uint256 before = IERC20(token).balanceOf(address(this));
        IERC20(token).safeTransferFrom(msg.sender, address(this), amount);
        uint256 received = IERC20(token).balanceOf(address(this)) - before;
        _pay(workId, token, msg.sender, received, kind, ref);
    }

    /// @dev Adds to a work's counters in its active split version. The first credit in a version writes down where the
    /// version begins, and at its predecessor which one follows: two slots, however many versions without a credit lie
    /// between.
    function _credit(uint64 workId, address token, uint32 version, uint256 direct, uint256 inherited) private {
        Account memory account = _accounts[workId][token];
        if (account.version != version && account.version != 0) {
            _bases[workId][token][version] = Base(account.direct, account.inherited, 0);
            _bases[workId][token][account.version].next = version;
        }
        direct += account.direct;
        inherited += account.inherited;
        if (direct > type(uint112).max || inherited > type(uint112).max) revert RevenueOverflow();
        _accounts[workId][token] = Account(uint112(direct), uint112(inherited), version);
    }

    function _settleMany(SettleArg[] calldata edges) private {
        for (uint256 i = 0; i < edges.length; ++i) _settle(edges[i].workId, edges[i].edge, edges[i].token);
    }

    function _settle(uint64 workId, uint256 index, address token) private returns (uint256 amount) {
        Edge memory edge = _edgeAt(workId, index);
        uint256 due = _dueUpstream(workId, edge, token);
        amount = due - _settled[workId][index][token];
        if (amount == 0) return 0;
        _settled[workId][index][token] = due;
        _credit(edge.parentId, token, _works[edge.parentId].version, 0, amount);
        // An index is below MAX_EDGES.
        emit EdgeSettled(workId, edge.parentId, token, uint8(index), amount);
    }

    /// @dev Lifetime due of an edge: one floor on the whole sum, so that the number of settlements doesn't matter.
    function _dueUpstream(uint64 workId, Edge memory edge, address token) private view returns (uint256) {
        Account storage account = _accounts[workId][token];
        uint256 basis = account.direct;
        if (edge.relative) basis += account.inherited;
        return (basis * edge.bps) / BPS;
    }

    function _edgeAt(uint64 workId, uint256 index) private view returns (Edge memory edge) {
        edge = _edges[workId][index];
        // No stored edge has 0 basis points.
        if (edge.bps == 0) {
            _known(workId);
            revert RevenueEdgeLimit(index);
        }
    }

    /// @dev Lifetime due of a leaf in one version, after its proof has been checked against that version's root and total.
    function _dueOf(Claim calldata claim, MerkleSum.Node[] calldata proof) private view returns (uint256) {
        uint256 totalWeight = _works[claim.workId].totalWeight;
        (bytes32 root, uint256 total) = MerkleSum.process({
            proof: proof,
            path: claim.path,
            leaf: MerkleSum.leafHash(claim.account, claim.weight),
            weight: claim.weight
        });
        // An unknown work or version has no root, and no hash is zero.
        if (root != _roots[claim.workId][claim.version] || total != totalWeight) revert RevenueInvalidProof();
        // At most 113 bits times 96 bits.
        return (earnedOf(claim.workId, claim.token, claim.version) * claim.weight) / totalWeight;
    }

    function _openEdges(uint64 workId, Edge[] calldata edges) private {
        uint256 count = edges.length;
        if (count > MAX_EDGES) revert RevenueEdgeLimit(count);
        uint256 relativeBps = 0;
        uint256 absoluteBps = 0;
        for (uint256 i = 0; i < count; ++i) {
            Edge calldata edge = edges[i];
            if (edge.bps == 0) revert RevenueEdgeLimit(0);
            // Parents are older, so the graph has no cycle; the platform is nobody's parent.
            if (edge.parentId == PLATFORM_WORK || edge.parentId >= workId) revert RevenueUnknownWork(edge.parentId);
            _known(edge.parentId);
            if (edge.relative) relativeBps += edge.bps;
            else absoluteBps += edge.bps;
            _edges[workId][i] = edge;
            emit EdgeOpened(workId, edge.parentId, uint8(i), edge.bps, edge.relative);
        }
        if (relativeBps + absoluteBps > MAX_UPSTREAM_BPS) revert RevenueEdgeLimit(relativeBps + absoluteBps);
        Work storage work = _works[workId];
        // Both sums are at most MAX_UPSTREAM_BPS, the count at most MAX_EDGES.
        (work.relativeBps, work.absoluteBps, work.edgeCount) = (uint16(relativeBps), uint16(absoluteBps), uint8(count));
    }

    /// @dev Checks a signed reassignment and uses up its nonce.
    function _useSignature(
        Reassignment calldata move,
        uint256 proofLength,
        bytes32 settlesHash,
        address executor,
        uint256 nonce,
        uint48 deadline,
        bytes calldata signature
    ) private {
        if (block.timestamp > deadline) revert RevenueSignatureExpired(deadline);
        bytes32 digest = _hashTypedDataV4(
            keccak256(
                bytes.concat(
                    _encodeMove(move, MerkleSum.position(move.path, proofLength)),
                    abi.encode(settlesHash, move.activateBy, executor, nonce, deadline)
                )
            )
        );
        if (!SignatureChecker.isValidSignatureNowCalldata(move.account, digest, signature)) {
            revert RevenueInvalidSignature(move.account);
        }
        _useCheckedNonce(move.account, nonce);
    }

    /// @param newHash what takes the leaf's place: that of the move, or what the executor named.
    function _reassign(
        Reassignment calldata move,
        bytes32 newHash,
        MerkleSum.Node[] calldata proof,
        SettleArg[] calldata settles
    ) private {
        _checkNotPaused();
        Work memory work = _unfrozen(move.workId);
        if (_isDisputed(work.status)) revert RevenueWorkStatus(move.workId, work.status);
        _settleMany(settles);
        bytes32 newRoot = _movedRoot(move, newHash, proof, work);
        bool atOnce = _activatesAtOnce(work.activatedAt, move.activateBy);
        if (!atOnce) _pending[move.workId] = PendingSplit(newRoot, move.treeDigest);
        emit ShareReassigned({
            workId: move.workId,
            account: move.account,
            weight: move.weight,
            position: MerkleSum.position(move.path, proof.length),
            newHash: newHash,
            pendingRoot: newRoot,
            treeDigest: move.treeDigest,
            proof: proof
        });
        if (atOnce) _activate(move.workId, work.version, newRoot, move.treeDigest);
    }

    /// @dev Whether a change of the split becomes active now or when the active version is old enough; reverts if that is
    /// later than the holder agreed to.
    function _activatesAtOnce(uint48 activatedAt, uint48 activateBy) private view returns (bool atOnce) {
        uint48 time = activatedAt + SPLIT_INTERVAL;
        atOnce = block.timestamp >= time;
        if (atOnce) time = uint48(block.timestamp);
        if (activateBy < time) revert RevenueNotYet(time);
    }

    /// @dev Root of the work's split after the move; its total is unchanged.
    function _movedRoot(
        Reassignment calldata move,
        bytes32 newHash,
        MerkleSum.Node[] calldata proof,
        Work memory work
    ) private view returns (bytes32) {
        if (newHash == 0) revert RevenueInvalidProof(); // nobody could ever claim from it
        (bytes32 oldRoot, bytes32 newRoot, uint256 total) = MerkleSum.replace({
            proof: proof,
            path: move.path,
            oldHash: MerkleSum.leafHash(move.account, move.weight),
            newHash: newHash,
            sum: move.weight
        });
        bytes32 current = _pending[move.workId].root;
        if (current == 0) current = _roots[move.workId][work.version];
        if (oldRoot != current || total != work.totalWeight) revert RevenueInvalidProof();
        return newRoot;
    }

    /// @dev Makes a root that reassignments led to the next version of a split. The total stays.
    function _activate(uint64 workId, uint32 version, bytes32 root, bytes32 treeDigest) private {
        if (root == _roots[workId][version]) revert RevenueNothingPending(workId);
        if (_pending[workId].root != 0) delete _pending[workId];
        _startVersion(workId, version + 1, root, treeDigest);
    }

    function _startVersion(uint64 workId, uint32 version, bytes32 root, bytes32 treeDigest) private {
        _roots[workId][version] = root;
        Work storage work = _works[workId];
        (work.version, work.activatedAt) = (version, uint40(block.timestamp));
        emit SplitActivated(workId, version, root, work.totalWeight, treeDigest);
    }

    function _setTotal(uint64 workId, uint256 totalWeight) private {
        if (totalWeight > type(uint96).max) revert RevenueTotalTooHigh(totalWeight);
        _works[workId].totalWeight = uint96(totalWeight);
    }

    function _setFeeBps(uint16 newBps) private {
        if (newBps > MAX_FEE_BPS) revert RevenueFeeTooHigh(newBps);
        uint16 oldBps = _feeBps;
        _feeBps = newBps;
        emit FeeChanged(oldBps, newBps);
    }

    /// @dev End of a stop that begins now; refused while one runs and in the COOL_OFF after it.
    function _nextStop(uint48 previousEnd, uint48 period) private view returns (uint48) {
        if (previousEnd != 0 && block.timestamp < previousEnd + COOL_OFF) revert RevenueNotYet(previousEnd + COOL_OFF);
        return uint48(block.timestamp) + period;
    }

    function _known(uint64 workId) private view returns (Work storage work) {
        work = _works[workId];
        if (work.version == 0) revert RevenueUnknownWork(workId);
    }

    /// @dev A work that has holders of its own and isn't frozen.
    function _unfrozen(uint64 workId) private view returns (Work memory work) {
        if (workId == PLATFORM_WORK) revert RevenuePlatformWork();
        work = _known(workId);
        _checkNotFrozen(workId, work.frozenUntil);
    }

    function _isDisputed(uint8 status) private pure returns (bool) {
        return
            status == uint8(IWorkRegistry.Status.DISPUTED) ||
            status == uint8(IWorkRegistry.Status.SUSPENDED_DISPUTED);
    }

    function _checkNotFrozen(uint64 workId, uint40 frozenUntil) private view {
        if (block.timestamp < frozenUntil) revert RevenueFrozen(workId);
    }

    function _checkNotPaused() private view {
        if (block.timestamp < _pausedUntil) revert RevenuePaused(_pausedUntil);
    }

    function _checkToken(address token) private view {
        if (!_tokens[token]) revert RevenueTokenNotAllowed(token);
    }

    /// @dev A root must have at least one leaf with a weight that is known to be claimable; so its total isn't 0 either.
    function _checkClaimable(bytes32 root, uint256 totalWeight, LeafProof calldata leaf) private pure {
        (bytes32 provenRoot, uint256 provenTotal) = MerkleSum.process({
            proof: leaf.proof,
            path: leaf.path,
            leaf: MerkleSum.leafHash(leaf.account, leaf.weight),
            weight: leaf.weight
        });
        if (leaf.weight == 0 || provenRoot != root || provenTotal != totalWeight) revert RevenueInvalidProof();
    }

    /// @dev The low 64 bits are zero: tokens with keyed nonces (ERC20TransferAuthorization) take the rest as the key and
    /// want a sequence number there; others take any nonce.
    function _authorizationNonce(
        uint64 workId,
        uint8 kind,
        bytes32 ref,
        bytes32 salt
    ) private view returns (bytes32) {
        bytes32 hash = keccak256(abi.encode(block.chainid, address(this), workId, kind, ref, salt));
        return hash & ~bytes32(uint256(type(uint64).max));
    }

    /// @dev The first half of a signed reassignment, kept apart for the sake of stack depth.
    function _encodeMove(Reassignment calldata move, uint256 position) private pure returns (bytes memory) {
        return
            abi.encode(
                REASSIGN_TYPEHASH,
                move.workId,
                position,
                move.account,
                move.weight,
                move.newHash,
                move.treeDigest
            );
    }
}
