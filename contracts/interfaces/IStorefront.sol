// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {MerkleSum} from "../MerkleSum.sol";
import {ICharacters} from "./ICharacters.sol";
import {IItems} from "./IItems.sol";
import {IRevenueLedger} from "./IRevenueLedger.sol";
import {IWorkRegistry} from "./IWorkRegistry.sol";

/**
 * @title The storefront: sales, rentals, subscriptions, and orders between people
 * @notice First sales and subscriptions go into the work's revenue whole. When a holder sells or lends what it has, the
 * work's royalty goes into its revenue and the rest to the holder. All in one call: the storefront holds nothing.
 *
 * Prices are base units of their token; the native coin is the zero address; times are seconds. Payment is exact: the native
 * coin is sent with the call, an allowed ERC-20 is drawn from the caller's allowance.
 *
 * Calls through the trusted forwarder (ERC-2771) act for the account that they name, and pay in the native coin only;
 * nothing is listed or repriced through it. So a session key reaches no allowance, of coins or of tokens.
 *
 * Nobody administers the storefront. Works that are suspended or revoked don't sell here.
 */
interface IStorefront {
    // --------------------------------------------------------------------------------------------------------- enums

    /**
     * @notice What a listing offers.
     * EDITION: new copies of an item. CHARACTER: new tokens of a class of characters or tickets. WORK: the work's own token.
     * RENTAL: the use of a character for a time (ERC-4907).
     */
    enum Kind {
        EDITION,
        CHARACTER,
        WORK,
        RENTAL
    }

    // ------------------------------------------------------------------------------------------------------- structs

    /**
     * @param kind what is offered.
     * @param assetId id of the item, class, work, or character.
     * @param token what it is paid in; zero for the native coin.
     * @param price of one; of a period for a rental.
     * @param maxSupply how many are offered, 1 for a work; for a rental the longest duration in seconds.
     * @param startsAt not sold before this time; 0 for at once.
     * @param endsAt not sold from this time on; 0 for never.
     * @param period for a rental, the seconds that the price is for, and the shortest duration; else ignored.
     * @param cidDigest for characters, sha256 of the metadata file that each one gets; else ignored.
     * @param account for a work, its token-bound account (ERC-6551) whose contents are sold with it; zero for none.
     * @param expectedState state of that account at which the work is sold.
     */
    struct ListingParams {
        Kind kind;
        uint256 assetId;
        address token;
        uint128 price;
        uint64 maxSupply;
        uint48 startsAt;
        uint48 endsAt;
        uint32 period;
        bytes32 cidDigest;
        address account;
        uint256 expectedState;
    }

    /**
     * @param seller who listed it. The listing is dead while somebody else owns the work, or the character that is let.
     * @param workId work that it belongs to.
     * @param sold how many were sold.
     * @param closed it was cancelled.
     * The rest is as it was listed; the price as it was changed last.
     */
    struct Listing {
        address seller;
        uint64 workId;
        Kind kind;
        uint8 paymentKind;
        bool closed;
        address token;
        uint48 startsAt;
        uint48 endsAt;
        uint128 price;
        uint64 maxSupply;
        uint64 sold;
        uint256 assetId;
        bytes32 cidDigest;
        address account;
        uint32 period;
        uint256 expectedState;
    }

    /**
     * @param workId the work that subscribers get access to.
     * @param period seconds that one price buys.
     * @param price of a period.
     * @param closed nobody can subscribe any more.
     * @param token what it is paid in.
     */
    struct Plan {
        uint64 workId;
        uint32 period;
        uint128 price;
        bool closed;
        address token;
    }

    /**
     * @notice What a holder signs to sell (EIP-712).
     * @param seller holder of the tokens.
     * @param collection the registry of works, the characters, or the items.
     * @param tokenId id in it.
     * @param amount how many are for sale; 1 unless they are items.
     * @param token what it is paid in; zero for the native coin.
     * @param price of one, royalty included.
     * @param taker the only account that may buy; zero for anyone.
     * @param shareWeight with a work, weight of the leaf of its split that goes with it; 0 for none.
     * @param shareNonce nonce of the seller's reassignment of that leaf; only the order that names it can use it.
     * @param counter the seller's counter; the order is void after the seller has raised it.
     * @param salt tells equal orders apart.
     * @param deadline the order is void after this time.
     */
    struct Order {
        address seller;
        address collection;
        uint256 tokenId;
        uint256 amount;
        address token;
        uint256 price;
        address taker;
        uint256 shareWeight;
        uint256 shareNonce;
        uint256 counter;
        uint256 salt;
        uint48 deadline;
    }

    /**
     * @notice The buyer's conditions on the token it buys, checked just before it is handed over.
     * @param account its token-bound account (ERC-6551); zero for no condition.
     * @param expectedState the state that account must be in; 0 while it isn't deployed.
     * @param unused for a ticket: it must not have been checked in.
     */
    struct Pin {
        address account;
        uint256 expectedState;
        bool unused;
    }

    /**
     * @notice The share that goes with a work: a reassignment that its seller signed for the ledger with the storefront as
     * executor, the order's shareNonce, and newHash 0, which stands for the buyer's leaf.
     */
    struct Share {
        IRevenueLedger.Reassignment move;
        MerkleSum.Node[] proof;
        IRevenueLedger.SettleArg[] settles;
        uint48 deadline;
        bytes signature;
    }

    // -------------------------------------------------------------------------------------------------------- events

    /// @notice Something is offered. The rest of the offer is in the ListingTerms of the same transaction.
    event Listed(
        uint256 indexed listingId,
        uint64 indexed workId,
        address indexed seller,
        uint8 kind,
        address token,
        uint256 price,
        uint256 maxSupply
    );

    /// @notice The rest of an offer; `paymentKind` is what the ledger gets as kind of a payment.
    event ListingTerms(
        uint256 indexed listingId,
        uint256 indexed assetId,
        uint8 paymentKind,
        uint48 startsAt,
        uint48 endsAt,
        uint32 period,
        bytes32 cidDigest,
        address account,
        uint256 expectedState
    );

    /// @notice An offer's price changed.
    event ListingRepriced(uint256 indexed listingId, uint256 price);

    /// @notice An offer was withdrawn, or replaced by another of the same character.
    event ListingCancelled(uint256 indexed listingId);

    /// @notice Something was bought of an offer.
    event Purchased(
        uint256 indexed listingId,
        address indexed buyer,
        address indexed to,
        uint256 qty,
        uint256 total,
        bytes32 ref
    );

    /// @notice A character was let.
    event Rented(uint256 indexed tokenId, address indexed user, uint64 expires, uint256 paid);

    /// @notice A work can be subscribed to.
    event PlanCreated(uint256 indexed planId, uint64 indexed workId, address token, uint256 price, uint32 period);

    /// @notice Nobody can subscribe by this plan any more; what was paid for goes on.
    event PlanClosed(uint256 indexed planId);

    /// @notice Somebody's access to the plan's work was extended.
    event Subscribed(
        uint256 indexed planId,
        address indexed subscriber,
        address indexed payer,
        uint48 expiresAt,
        uint256 paid
    );

    /// @notice A signed order was filled, in whole or in part. `royalty` of `total` went to the work.
    event OrderFilled(
        bytes32 indexed orderHash,
        address indexed seller,
        address indexed to,
        address buyer,
        address collection,
        uint256 tokenId,
        uint256 qty,
        address token,
        uint256 total,
        uint256 royalty
    );

    /// @notice With the work went a leaf of its split, now of `to` (see the ledger's ShareReassigned).
    event ShareSold(bytes32 indexed orderHash, uint64 indexed workId, address indexed to, uint256 weight);

    /// @notice An order can't be filled any more.
    event OrderCancelled(bytes32 indexed orderHash, address indexed seller);

    /// @notice All orders of a seller with a lower counter are void.
    event OrdersCancelled(address indexed seller, uint256 counter);

    // -------------------------------------------------------------------------------------------------------- errors

    /// @notice Items or characters are of another registry than the ledger's.
    error StoreMismatch(address collection);
    /// @notice There is no such listing or plan, or none of this character.
    error StoreUnknown(uint256 id);
    /// @notice The listing or plan was cancelled, isn't open at this time, or its seller no longer owns what it sells.
    error StoreClosed(uint256 id);
    /// @notice The listing has fewer left.
    error StoreSoldOut(uint256 listingId);
    /// @notice Only another account may do this: the work's owner, the character's, the seller; or it is nobody's (zero).
    error StoreUnauthorized(address account);
    /// @notice This can't be done through the forwarder.
    error StoreDirectOnly();
    /// @notice That many can't be sold at once, or offered.
    error StoreQuantity(uint256 qty);
    /// @notice The character isn't let for that long, or that short.
    error StoreDuration(uint256 duration);
    /// @notice The offer would end before it starts, or has ended.
    error StoreWindow(uint48 startsAt, uint48 endsAt);
    /// @notice The price or the period of a plan is zero.
    error StorePlanInvalid();
    /// @notice Works can't be paid in this token.
    error StoreTokenNotAllowed(address token);
    /// @notice What was sent, or arrived, isn't the price.
    error StoreWrongPayment(uint256 paid, uint256 required);
    /// @notice It costs more than the caller would pay.
    error StorePriceAboveMax(uint256 total, uint256 maxTotal);
    /// @notice The subscription would end later than time can tell.
    error StoreExpiryTooFar(uint256 expiresAt);
    /// @notice The standing of the work forbids selling.
    error StoreWorkStatus(uint64 workId, uint8 status);
    /// @notice The token-bound account isn't in the state that it is sold in.
    error StoreStateChanged(uint256 expected, uint256 actual);
    /// @notice The ticket was used.
    error StoreTicketUsed(uint256 tokenId);
    /// @notice Orders sell works, characters and items alone.
    error StoreUnknownCollection(address collection);
    /// @notice The order could be filled until that time.
    error StoreOrderExpired(uint48 deadline);
    /// @notice The order was cancelled.
    error StoreOrderCancelled(bytes32 orderHash);
    /// @notice The order has only `left` left.
    error StoreOrderExhausted(bytes32 orderHash, uint256 left);
    /// @notice The order is for another buyer.
    error StoreNotTaker(address taker);
    /// @notice The signature isn't the seller's, or was given for something else.
    error StoreInvalidSignature(address seller);
    /// @notice The share isn't the one that the order sells, or is missing.
    error StoreShareMismatch();

    // ------------------------------------------------------------------------------------------------------- listings

    /**
     * @notice Offers something. Only the work's owner, for a rental the character's; directly, never through the forwarder.
     * @dev To sell a work or let a character, its owner approves the storefront in its contract (ERC-721). A rental replaces
     * the one before of the same character. Reverts with StoreDirectOnly, StoreUnauthorized, StoreTokenNotAllowed,
     * StoreQuantity, StoreWindow, StoreDuration, or the collection's error for what doesn't exist.
     * @return Id of the listing; ids count from 1.
     */
    function list(ListingParams calldata params) external returns (uint256);

    /// @notice Changes the price. Only the seller, directly. Reverts with StoreUnknown, StoreClosed, StoreUnauthorized.
    function reprice(uint256 listingId, uint128 price) external;

    /// @notice Withdraws an offer. Only its seller, or the present owner of what it offers.
    function cancelListing(uint256 listingId) external;

    /**
     * @notice Buys of a listing.
     * @dev Reverts with StoreUnknown, StoreClosed, StoreQuantity (none, or more than MAX_CHARACTERS characters),
     * StoreSoldOut, StoreWorkStatus, StorePriceAboveMax, StoreWrongPayment, StoreDirectOnly, StoreStateChanged, with the
     * collection's errors (caps, expiry, a receiver that refuses), the ledger's, the token's.
     * @param qty how many.
     * @param maxTotal most that the caller pays; the price may have changed.
     * @param to who gets them.
     * @param ref the buyer's reference.
     */
    function buy(uint256 listingId, uint256 qty, uint256 maxTotal, address to, bytes32 ref) external payable;

    /**
     * @notice Rents a character for the caller, at ceil(price * duration / period). Who rents it already rents on.
     * @dev Reverts as buy does, and with StoreUnknown (a listing that lets nothing), StoreDuration (less than a period, or an end farther than the longest duration from
     * now), or the characters' error while somebody else's rental runs.
     * @param duration in seconds.
     */
    function rent(uint256 listingId, uint64 duration, uint256 maxTotal) external payable;

    // -------------------------------------------------------------------------------------------------- subscriptions

    /// @notice Offers access to a work for a time. Only its owner. Reverts with StorePlanInvalid, StoreTokenNotAllowed.
    function createPlan(uint64 workId, address token, uint128 price, uint32 period) external returns (uint256);

    /// @notice Closes a plan. Only the owner of its work.
    function closePlan(uint256 planId) external;

    /**
     * @notice Pays for somebody's access to the plan's work: it is extended from its present end, or from now.
     * @dev Reverts with StoreUnknown, StoreClosed, StoreQuantity (0), StoreExpiryTooFar, and as buy does.
     * @param periods how many.
     * @param to who gets access.
     */
    function subscribe(uint256 planId, uint32 periods, uint256 maxTotal, address to) external payable;

    // --------------------------------------------------------------------------------------------------------- orders

    /**
     * @notice Fills a signed order, in whole or in part.
     * @dev The seller has approved the storefront in the collection. Reverts with StoreOrderExpired, StoreNotTaker,
     * StoreUnknownCollection, StoreQuantity, StoreOrderCancelled, StoreOrderExhausted, StoreInvalidSignature,
     * StoreShareMismatch (a share goes with it: fillOrderWithShare), StoreWorkStatus, StoreWrongPayment, StoreDirectOnly,
     * StoreTokenNotAllowed, StoreStateChanged, StoreTicketUsed, or the collection's, the ledger's, the token's error.
     * @param signature of the seller (EIP-712; contract wallets by ERC-1271).
     * @param qty how many.
     * @param to who gets them.
     * @param pin the buyer's conditions.
     */
    function fillOrder(
        Order calldata order,
        bytes calldata signature,
        uint256 qty,
        address to,
        Pin calldata pin
    ) external payable;

    /**
     * @notice Fills an order for a work with which a leaf of its split goes, in the same transaction.
     * @dev The royalty is paid before the share moves, so the seller has its part of it. Reverts as fillOrder does, with
     * StoreShareMismatch, and as the ledger's reassignTo does.
     */
    function fillOrderWithShare(
        Order calldata order,
        bytes calldata signature,
        address to,
        Pin calldata pin,
        Share calldata share
    ) external payable;

    /// @notice Voids an order. Only its seller.
    function cancelOrder(Order calldata order) external;

    /// @notice Voids all of the caller's orders, by raising its counter.
    function cancelAllOrders() external;

    // ---------------------------------------------------------------------------------------------------------- views

    /// @notice The ledger that is paid.
    function ledger() external view returns (IRevenueLedger);

    /// @notice The registry of works.
    function registry() external view returns (IWorkRegistry);

    /// @notice The items that are sold.
    function items() external view returns (IItems);

    /// @notice The characters and tickets that are sold.
    function characters() external view returns (ICharacters);

    /// @notice A listing. Reverts with StoreUnknown.
    function listingOf(uint256 listingId) external view returns (Listing memory);

    /// @notice The latest rental of a character; 0 if it was never offered.
    function rentalOf(uint256 tokenId) external view returns (uint256);

    /// @notice A plan. Reverts with StoreUnknown.
    function planOf(uint256 planId) external view returns (Plan memory);

    /// @notice Number of listings, which is the largest id.
    function listingCount() external view returns (uint256);

    /// @notice Number of plans, which is the largest id.
    function planCount() external view returns (uint256);

    /// @notice When an account's subscription to a work ends, or ended; 0 if it never had one.
    function subscribedUntil(uint64 workId, address account) external view returns (uint48);

    /**
     * @notice Whether an account has access to a work: it owns it, is subscribed, or holds an item of it that has not
     * expired. Of characters the chain keeps no list by account; see hasAccessBy.
     */
    function hasAccess(address user, uint64 workId) external view returns (bool);

    /// @notice Whether a character or ticket of the work gives an account access: it owns it, or is its current user.
    function hasAccessBy(address user, uint64 workId, uint256 characterId) external view returns (bool);

    /// @notice What the seller signs, and the key of the order here.
    function hashOf(Order calldata order) external view returns (bytes32);

    /// @notice How many of an order were sold; 2^256 - 1 once it is cancelled.
    function filledOf(bytes32 orderHash) external view returns (uint256);

    /// @notice Counter that a seller's orders must carry.
    function counterOf(address seller) external view returns (uint256);
}
