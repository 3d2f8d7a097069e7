// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ERC2771Context} from "@openzeppelin/contracts/metatx/ERC2771Context.sol";
import {IERC1155} from "@openzeppelin/contracts/token/ERC1155/IERC1155.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {ICharacters} from "./interfaces/ICharacters.sol";
import {IERC6551Account} from "./interfaces/IERC6551Account.sol";
import {IItems} from "./interfaces/IItems.sol";
import {IRevenueLedger} from "./interfaces/IRevenueLedger.sol";
import {IStorefront} from "./interfaces/IStorefront.sol";
import {IWorkRegistry} from "./interfaces/IWorkRegistry.sol";

/**
 * @title Storefront
 * @dev Every sale takes the same steps in this order: what it changes here is written; the whole price is collected; the
 * ledger gets the work's part; what was bought is handed over; the seller, if any, gets the rest. The seller comes last, so
 * that by the time a seller's contract runs it no longer owns what it sold.
 *
 * There is no multicall, and must be none: in an ERC-2771 contract it would let callers forge who they are.
 * @custom:security-contact see SECURITY.md
 */
contract Storefront is IStorefront, ERC2771Context, EIP712, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    // ----------------------------------------------------------------------------------------------------- constants

    /// @notice Version of this contract's interface.
    string public constant VERSION = "1";

    /// @notice Most characters or tickets that are minted at once.
    uint256 public constant MAX_CHARACTERS = 20;

    /// @notice EIP-712 type of a signed order.
    bytes32 public constant ORDER_TYPEHASH =
        keccak256(
            "Order(address seller,address collection,uint256 tokenId,uint256 amount,address token,uint256 price,address taker,uint256 shareWeight,uint256 shareNonce,uint256 counter,uint256 salt,uint48 deadline)"
        );

    /// @notice Kinds of payment, as the ledger records them.
    uint8 public constant SALE = 2;
    uint8 public constant SUBSCRIPTION = 3;
    uint8 public constant ROYALTY = 4;
    uint8 public constant TICKET = 7;

    uint256 private constant BPS = 10_000;
    uint256 private constant CANCELLED = type(uint256).max;
    address private constant NATIVE = address(0);

    // ------------------------------------------------------------------------------------------------------- storage

    /// @inheritdoc IStorefront
    IRevenueLedger public immutable override ledger;

    /// @inheritdoc IStorefront
    IWorkRegistry public immutable override registry;

    /// @inheritdoc IStorefront
    IItems public immutable override items;

    /// @inheritdoc IStorefront
    ICharacters public immutable override characters;

    uint256 private _listingCount;
    uint256 private _planCount;

    mapping(uint256 listingId => Listing) private _listings;
    mapping(uint256 tokenId => uint256 listingId) private _rentalOf;
    mapping(uint256 planId => Plan) private _plans;
    mapping(uint64 workId => mapping(address account => uint48 time)) private _subscribedUntil;
    mapping(bytes32 orderHash => uint256 amount) private _filled;
    mapping(address seller => uint256 counter) private _counters;

    // --------------------------------------------------------------------------------------------------- construction

    /**
     * @param forwarder the SessionForwarder, whose word on who calls is taken.
     * @param ledger_ the RevenueLedger.
     * @param items_ the Items, of the ledger's registry. This contract needs the role that mints there.
     * @param characters_ the Characters, likewise.
     */
    constructor(
        address forwarder,
        IRevenueLedger ledger_,
        IItems items_,
        ICharacters characters_
    ) ERC2771Context(forwarder) EIP712("Troupe Storefront", VERSION) {
        address works = ledger_.registry();
        if (address(items_.registry()) != works) revert StoreMismatch(address(items_));
        if (address(characters_.registry()) != works) revert StoreMismatch(address(characters_));
        (ledger, registry, items, characters) = (ledger_, IWorkRegistry(works), items_, characters_);
    }

    // ------------------------------------------------------------------------------------------------------- listings

    /// @dev For what could reach an account's allowances: a session key acts through the forwarder.
    modifier direct() {
        if (isTrustedForwarder(msg.sender)) revert StoreDirectOnly();
        _;
    }

    /// @inheritdoc IStorefront
    function list(ListingParams calldata params) external override direct returns (uint256 listingId) {
        (uint64 workId, uint8 paymentKind) = _assetOf(params);
        if (_ownerOf(params.kind, workId, params.assetId) != msg.sender) revert StoreUnauthorized(msg.sender);
        _checkTerms(params);
        listingId = ++_listingCount;
        _listings[listingId] = Listing({
            seller: msg.sender,
            workId: workId,
            kind: params.kind,
            paymentKind: paymentKind,
            closed: false,
            token: params.token,
            startsAt: params.startsAt,
            endsAt: params.endsAt,
            price: params.price,
            maxSupply: params.maxSupply,
            sold: 0,
            assetId: params.assetId,
            cidDigest: params.cidDigest,
            account: params.account,
            period: params.period,
            expectedState: params.expectedState
        });
        _emitListed(listingId);
        if (params.kind == Kind.RENTAL) _replaceRental(params.assetId, listingId);
    }

    /// @inheritdoc IStorefront
    function reprice(uint256 listingId, uint128 price) external override direct {
        Listing storage listing = _listing(listingId);
        if (listing.seller != msg.sender) revert StoreUnauthorized(msg.sender);
        if (listing.closed) revert StoreClosed(listingId);
        listing.price = price;
        emit ListingRepriced(listingId, price);
    }

    /// @inheritdoc IStorefront
    function cancelListing(uint256 listingId) external override {
        Listing storage listing = _listing(listingId);
        address account = _msgSender();
        if (account != listing.seller && account != _ownerOf(listing.kind, listing.workId, listing.assetId)) {
            revert StoreUnauthorized(account);
        }
        if (listing.closed) revert StoreClosed(listingId);
        _close(listingId);
    }

    /// @inheritdoc IStorefront
    function buy(
        uint256 listingId,
        uint256 qty,
        uint256 maxTotal,
        address to,
        bytes32 ref
    ) external payable override nonReentrant {
        Listing storage listing = _openListing(listingId);
        Kind kind = listing.kind;
        if (kind == Kind.RENTAL || qty == 0) revert StoreQuantity(qty); // a rental has no pieces: it is rented
        if (kind == Kind.CHARACTER && qty > MAX_CHARACTERS) revert StoreQuantity(qty);
        uint64 sold = listing.sold;
        if (qty > listing.maxSupply - sold) revert StoreSoldOut(listingId);
        uint256 total = _checkedTotal(listing.price * qty, maxTotal);

        listing.sold = sold + uint64(qty); // at most maxSupply
        address buyer = _msgSender();
        emit Purchased(listingId, buyer, to, qty, total, ref);
        address token = listing.token;
        _collect(token, total, buyer);
        if (kind == Kind.WORK) {
            uint256 royalty = _payRoyalty(listing.workId, token, total, ref);
            _checkState(listing.account, listing.expectedState);
            IERC721(address(registry)).safeTransferFrom(listing.seller, to, listing.assetId);
            _paySeller(token, listing.seller, total - royalty);
        } else {
            _payWork(listing.workId, token, total, listing.paymentKind, ref);
            _mint(listing, qty, to);
        }
    }

    /// @inheritdoc IStorefront
    function rent(uint256 listingId, uint64 duration, uint256 maxTotal) external payable override nonReentrant {
        // By its listing, not its token: a new offer of the token may ask the same number of another currency.
        Listing storage listing = _openListing(listingId);
        if (listing.kind != Kind.RENTAL) revert StoreUnknown(listingId);
        if (duration < listing.period || duration > listing.maxSupply) revert StoreDuration(duration);
        // 128 bits times 64 bits; the period of a rental isn't 0.
        uint256 total = _checkedTotal(Math.ceilDiv(uint256(listing.price) * duration, listing.period), maxTotal);

        address user = _msgSender();
        uint256 tokenId = listing.assetId;
        uint256 from = block.timestamp;
        // Who rents it already rents on; characters refuse everybody else while a rental runs.
        if (characters.userOf(tokenId) == user) from = characters.userExpires(tokenId);
        uint64 expires = SafeCast.toUint64(from + duration);
        if (expires - block.timestamp > listing.maxSupply) revert StoreDuration(expires - block.timestamp);
        emit Rented(tokenId, user, expires, total);
        (address token, bytes32 ref) = (listing.token, bytes32(tokenId));
        _collect(token, total, user);
        uint256 royalty = _payRoyalty(listing.workId, token, total, ref);
        characters.setUser(tokenId, user, expires);
        _paySeller(token, listing.seller, total - royalty);
    }

    // -------------------------------------------------------------------------------------------------- subscriptions

    /// @inheritdoc IStorefront
    function createPlan(
        uint64 workId,
        address token,
        uint128 price,
        uint32 period
    ) external override returns (uint256 planId) {
        _checkWorkOwner(workId);
        if (price == 0 || period == 0) revert StorePlanInvalid();
        _checkToken(token);
        planId = ++_planCount;
        _plans[planId] = Plan(workId, period, price, false, token);
        emit PlanCreated(planId, workId, token, price, period);
    }

    /// @inheritdoc IStorefront
    function closePlan(uint256 planId) external override {
        Plan storage plan = _plan(planId);
        _checkWorkOwner(plan.workId);
        if (plan.closed) revert StoreClosed(planId);
        plan.closed = true;
        emit PlanClosed(planId);
    }

    /// @inheritdoc IStorefront
    function subscribe(
        uint256 planId,
        uint32 periods,
        uint256 maxTotal,
        address to
    ) external payable override nonReentrant {
        Plan memory plan = _plan(planId);
        if (plan.closed) revert StoreClosed(planId);
        if (periods == 0) revert StoreQuantity(periods);
        if (to == address(0)) revert StoreUnauthorized(to);
        _checkStatus(plan.workId);
        uint256 total = _checkedTotal(uint256(plan.price) * periods, maxTotal);

        uint256 expiresAt = Math.max(block.timestamp, _subscribedUntil[plan.workId][to]);
        expiresAt += uint256(plan.period) * periods;
        if (expiresAt > type(uint48).max) revert StoreExpiryTooFar(expiresAt);
        _subscribedUntil[plan.workId][to] = uint48(expiresAt);
        address payer = _msgSender();
        emit Subscribed(planId, to, payer, uint48(expiresAt), total);
        _collect(plan.token, total, payer);
        _payWork(plan.workId, plan.token, total, SUBSCRIPTION, bytes32(planId));
    }

    // --------------------------------------------------------------------------------------------------------- orders

    /// @inheritdoc IStorefront
    function fillOrder(
        Order calldata order,
        bytes calldata signature,
        uint256 qty,
        address to,
        Pin calldata pin
    ) external payable override nonReentrant {
        if (order.shareWeight != 0) revert StoreShareMismatch();
        bytes32 orderHash = _useOrder(order, signature, qty);
        (uint256 total, uint256 royalty) = _settleOrder(order, orderHash, qty, to);
        _handOver(order, qty, to, pin);
        _paySeller(order.token, order.seller, total - royalty);
    }

    /// @inheritdoc IStorefront
    function fillOrderWithShare(
        Order calldata order,
        bytes calldata signature,
        address to,
        Pin calldata pin,
        Share calldata share
    ) external payable override nonReentrant {
        _checkShare(order, share.move);
        bytes32 orderHash = _useOrder(order, signature, 1);
        (uint256 total, uint256 royalty) = _settleOrder(order, orderHash, 1, to);
        _moveShare(order, orderHash, to, share);
        _handOver(order, 1, to, pin);
        _paySeller(order.token, order.seller, total - royalty);
    }

    /// @inheritdoc IStorefront
    function cancelOrder(Order calldata order) external override {
        address account = _msgSender();
        if (account != order.seller) revert StoreUnauthorized(account);
        bytes32 orderHash = hashOf(order);
        _filled[orderHash] = CANCELLED;
        emit OrderCancelled(orderHash, account);
    }

    /// @inheritdoc IStorefront
    function cancelAllOrders() external override {
        address account = _msgSender();
        uint256 counter = ++_counters[account];
        emit OrdersCancelled(account, counter);
    }

    // ---------------------------------------------------------------------------------------------------------- views

    /// @inheritdoc IStorefront
    function listingOf(uint256 listingId) external view override returns (Listing memory) {
        return _listing(listingId);
    }

    /// @inheritdoc IStorefront
    function rentalOf(uint256 tokenId) external view override returns (uint256) {
        return _rentalOf[tokenId];
    }

    /// @inheritdoc IStorefront
    function planOf(uint256 planId) external view override returns (Plan memory) {
        return _plan(planId);
    }

    /// @inheritdoc IStorefront
    function listingCount() external view override returns (uint256) {
        return _listingCount;
    }

    /// @inheritdoc IStorefront
    function planCount() external view override returns (uint256) {
        return _planCount;
    }

    /// @inheritdoc IStorefront
    function subscribedUntil(uint64 workId, address account) external view override returns (uint48) {
        return _subscribedUntil[workId][account];
    }

    /// @inheritdoc IStorefront
    function hasAccess(address user, uint64 workId) external view override returns (bool) {
        return
            IERC721(address(registry)).ownerOf(workId) == user ||
            block.timestamp < _subscribedUntil[workId][user] ||
            items.holdsAnyOf(user, workId);
    }

    /// @inheritdoc IStorefront
    function hasAccessBy(address user, uint64 workId, uint256 characterId) external view override returns (bool) {
        return characters.workOf(characterId) == workId && characters.holderOf(characterId) == user;
    }

    /// @inheritdoc IStorefront
    function hashOf(Order calldata order) public view override returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(ORDER_TYPEHASH, order)));
    }

    /// @inheritdoc IStorefront
    function filledOf(bytes32 orderHash) external view override returns (uint256) {
        return _filled[orderHash];
    }

    /// @inheritdoc IStorefront
    function counterOf(address seller) external view override returns (uint256) {
        return _counters[seller];
    }

    // ------------------------------------------------------------------------------------------------ money, internal

    /// @dev Draws exactly the price from the caller. The forwarder's callers have no allowances here.
    function _collect(address token, uint256 total, address from) internal virtual {
        if (token == NATIVE) {
            if (msg.value != total) revert StoreWrongPayment(msg.value, total);
            return;
        }
        if (isTrustedForwarder(msg.sender)) revert StoreDirectOnly();
        if (msg.value != 0) revert StoreWrongPayment(msg.value, 0);
        if (total == 0) return;
        _checkToken(token);
        uint256 before = IERC20(token).balanceOf(address(this));
        IERC20(token).safeTransferFrom(from, address(this), total);
        uint256 received = IERC20(token).balanceOf(address(this)) - before;
        if (received != total) revert StoreWrongPayment(received, total);
    }

    function _payWork(uint64 workId, address token, uint256 amount, uint8 kind, bytes32 ref) private {
        if (amount == 0) return; // what is free, and a royalty below one unit
        if (token == NATIVE) {
            ledger.payNative{value: amount}(workId, kind, ref);
        } else {
            IERC20(token).forceApprove(address(ledger), amount);
            ledger.payToken(workId, token, amount, kind, ref);
        }
    }

    /// @dev The work's part of what a holder sells for; the same that ERC-2981 answers.
    function _payRoyalty(
        uint64 workId,
        address token,
        uint256 total,
        bytes32 ref
    ) internal virtual returns (uint256 royalty) {
        royalty = (total * registry.royaltyBps()) / BPS;
        _payWork(workId, token, royalty, ROYALTY, ref);
    }

    function _paySeller(address token, address seller, uint256 amount) private {
        if (amount == 0) return;
        if (token == NATIVE) Address.sendValue(payable(seller), amount);
        else IERC20(token).safeTransfer(seller, amount);
    }

    // --------------------------------------------------------------------------------------------- listings, internal

    /// @dev The work of what is offered, and the kind under which the ledger gets its price.
    function _assetOf(ListingParams calldata params) private view returns (uint64 workId, uint8 paymentKind) {
        if (params.kind == Kind.EDITION) return (items.workOf(params.assetId), SALE);
        if (params.kind == Kind.CHARACTER) {
            ICharacters.Class memory class = characters.classOf(SafeCast.toUint32(params.assetId));
            return (class.workId, class.ticket ? TICKET : SALE);
        }
        if (params.kind == Kind.WORK) return (SafeCast.toUint64(params.assetId), ROYALTY);
        return (characters.workOf(params.assetId), ROYALTY);
    }

    /// @dev Who may offer it: the owner of the character that is let, else the owner of the work.
    function _ownerOf(Kind kind, uint64 workId, uint256 assetId) private view returns (address) {
        if (kind == Kind.RENTAL) return IERC721(address(characters)).ownerOf(assetId);
        return IERC721(address(registry)).ownerOf(workId);
    }

    function _checkTerms(ListingParams calldata params) private view {
        _checkToken(params.token);
        uint64 supply = params.maxSupply;
        if (supply == 0 || (params.kind == Kind.WORK && supply != 1)) revert StoreQuantity(supply);
        if (params.kind == Kind.RENTAL && (params.period == 0 || params.period > supply)) {
            revert StoreDuration(params.period);
        }
        if (params.endsAt != 0 && (params.endsAt <= params.startsAt || params.endsAt <= block.timestamp)) {
            revert StoreWindow(params.startsAt, params.endsAt);
        }
    }

    function _emitListed(uint256 listingId) private {
        Listing memory listing = _listings[listingId];
        emit Listed({
            listingId: listingId,
            workId: listing.workId,
            seller: listing.seller,
            kind: uint8(listing.kind),
            token: listing.token,
            price: listing.price,
            maxSupply: listing.maxSupply
        });
        emit ListingTerms({
            listingId: listingId,
            assetId: listing.assetId,
            paymentKind: listing.paymentKind,
            startsAt: listing.startsAt,
            endsAt: listing.endsAt,
            period: listing.period,
            cidDigest: listing.cidDigest,
            account: listing.account,
            expectedState: listing.expectedState
        });
    }

    function _replaceRental(uint256 tokenId, uint256 listingId) private {
        uint256 previous = _rentalOf[tokenId];
        _rentalOf[tokenId] = listingId;
        if (previous != 0 && !_listings[previous].closed) _close(previous);
    }

    function _close(uint256 listingId) private {
        _listings[listingId].closed = true;
        emit ListingCancelled(listingId);
    }

    function _mint(Listing storage listing, uint256 qty, address to) private {
        uint256 assetId = listing.assetId;
        if (listing.kind == Kind.EDITION) {
            items.mint(to, assetId, qty);
        } else {
            bytes32 cidDigest = listing.cidDigest;
            // At most MAX_CHARACTERS; ids of classes have 32 bits.
            for (uint256 i = 0; i < qty; ++i) characters.mint(to, uint32(assetId), cidDigest);
        }
    }

    function _listing(uint256 listingId) private view returns (Listing storage listing) {
        listing = _listings[listingId];
        if (listing.seller == address(0)) revert StoreUnknown(listingId);
    }

    function _openListing(uint256 listingId) private view returns (Listing storage listing) {
        listing = _listing(listingId);
        (uint48 startsAt, uint48 endsAt) = (listing.startsAt, listing.endsAt);
        bool ended = endsAt != 0 && block.timestamp >= endsAt;
        if (listing.closed || ended || block.timestamp < startsAt) revert StoreClosed(listingId);
        uint64 workId = listing.workId;
        _checkStatus(workId);
        if (_ownerOf(listing.kind, workId, listing.assetId) != listing.seller) revert StoreClosed(listingId);
    }

    // ----------------------------------------------------------------------------------------------- orders, internal

    /// @dev Checks an order against its signature and the seller's will since, and counts what is taken of it.
    function _useOrder(
        Order calldata order,
        bytes calldata signature,
        uint256 qty
    ) private returns (bytes32 orderHash) {
        if (block.timestamp > order.deadline) revert StoreOrderExpired(order.deadline);
        if (order.taker != address(0) && order.taker != _msgSender()) revert StoreNotTaker(order.taker);
        if (qty == 0) revert StoreQuantity(qty);
        orderHash = hashOf(order);
        uint256 filled = _filled[orderHash];
        if (filled == CANCELLED || order.counter != _counters[order.seller]) revert StoreOrderCancelled(orderHash);
        if (qty > order.amount - filled) revert StoreOrderExhausted(orderHash, order.amount - filled);
        if (!SignatureChecker.isValidSignatureNowCalldata(order.seller, orderHash, signature)) {
            revert StoreInvalidSignature(order.seller);
        }
        _filled[orderHash] = filled + qty;
    }

    /// @dev Collects the price of an order and pays the work's royalty of it.
    function _settleOrder(
        Order calldata order,
        bytes32 orderHash,
        uint256 qty,
        address to
    ) private returns (uint256 total, uint256 royalty) {
        uint64 workId = _workOf(order);
        _checkStatus(workId);
        total = order.price * qty;
        address buyer = _msgSender();
        _collect(order.token, total, buyer);
        royalty = _payRoyalty(workId, order.token, total, orderHash);
        emit OrderFilled({
            orderHash: orderHash,
            seller: order.seller,
            to: to,
            buyer: buyer,
            collection: order.collection,
            tokenId: order.tokenId,
            qty: qty,
            token: order.token,
            total: total,
            royalty: royalty
        });
    }

    function _moveShare(
        Order calldata order,
        bytes32 orderHash,
        address to,
        Share calldata share
    ) internal virtual {
        ledger.reassignTo({
            holder: to,
            move: share.move,
            proof: share.proof,
            settles: share.settles,
            nonce: order.shareNonce,
            deadline: share.deadline,
            signature: share.signature
        });
        emit ShareSold(orderHash, share.move.workId, to, order.shareWeight);
    }

    function _handOver(Order calldata order, uint256 qty, address to, Pin calldata pin) private {
        _checkState(pin.account, pin.expectedState);
        if (pin.unused && order.collection == address(characters) && characters.checkedInAt(order.tokenId) != 0) {
            revert StoreTicketUsed(order.tokenId);
        }
        if (order.collection == address(items)) {
            IERC1155(order.collection).safeTransferFrom(order.seller, to, order.tokenId, qty, "");
        } else {
            IERC721(order.collection).safeTransferFrom(order.seller, to, order.tokenId);
        }
    }

    /// @dev The work that an order's tokens belong to. Nothing but these three contracts is ever called for an order.
    function _workOf(Order calldata order) private view returns (uint64) {
        if (order.collection == address(items)) return items.workOf(order.tokenId);
        if (order.amount != 1) revert StoreQuantity(order.amount);
        if (order.collection == address(registry)) return SafeCast.toUint64(order.tokenId);
        if (order.collection == address(characters)) return characters.workOf(order.tokenId);
        revert StoreUnknownCollection(order.collection);
    }

    /// @dev The share must be the one that the seller put into the order: else whoever sells anything could use somebody
    /// else's reassignment with it, since the ledger knows only that this contract is its executor.
    function _checkShare(Order calldata order, IRevenueLedger.Reassignment calldata move) private view {
        if (
            order.shareWeight == 0 ||
            order.collection != address(registry) ||
            move.workId != order.tokenId ||
            move.account != order.seller ||
            move.weight != order.shareWeight
        ) revert StoreShareMismatch();
    }

    // ----------------------------------------------------------------------------------------------- checks, internal

    function _checkedTotal(uint256 total, uint256 maxTotal) private pure returns (uint256) {
        if (total > maxTotal) revert StorePriceAboveMax(total, maxTotal);
        return total;
    }

    /// @dev An account that isn't deployed has done nothing: its state is 0.
    function _checkState(address account, uint256 expected) private view {
        if (account == address(0)) return;
        uint256 actual = account.code.length == 0 ? 0 : IERC6551Account(account).state();
        if (actual != expected) revert StoreStateChanged(expected, actual);
    }

    function _checkStatus(uint64 workId) private view {
        uint8 status = ledger.workOf(workId).status;
        if (status >= uint8(IWorkRegistry.Status.SUSPENDED)) revert StoreWorkStatus(workId, status);
    }

    function _checkToken(address token) private view {
        if (!ledger.isTokenAllowed(token)) revert StoreTokenNotAllowed(token);
    }

    function _checkWorkOwner(uint64 workId) private view {
        address account = _msgSender();
        if (IERC721(address(registry)).ownerOf(workId) != account) revert StoreUnauthorized(account);
    }

    function _plan(uint256 planId) private view returns (Plan storage plan) {
        plan = _plans[planId];
        if (plan.period == 0) revert StoreUnknown(planId);
    }
}
