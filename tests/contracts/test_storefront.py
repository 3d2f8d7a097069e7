"""Storefront: listings of editions, characters, tickets and works; what it refuses; who may do what through whom."""

import pytest
from brownie import (
    CarelessForwarder,
    FeeToken,
    Items,
    ReentrantReceiver,
    RevenueLedger,
    Storefront,
    TokenBoundAccount,
    WorkRegistry,
    web3,
)
from eth_utils import keccak
from kit import DAY, ZERO, mine_at, next_block_at, now, one_block, reverts
from money import ACTIVE, NATIVE, NONE, REVOKED, ROYALTY, SALE, SUSPENDED, counters, hexed, plain
from shop import CHARACTER, EDITION, NEVER, REF, RENTAL, WORK, class_created, item_created, listing, minted
from works import CID, disputed

from scripts.deploy.plan import SELLER

pytestmark = pytest.mark.feature("O2", via="chain")

TICKET = 7
FEE = 250  # the ledger's, in basis points


@pytest.fixture
def edition(shop, work, author):
    """100 copies of a new item for 1,000 wei each."""
    return shop.edition(work, author, 1_000)


def paid(shop, work, token=NATIVE):
    """What the ledger credited to a work."""
    return counters(shop.books, work, token)[0]


# --- listing


def test_list_writes_down_the_offer(shop, work, author):
    item = item_created(shop.items, work, author)
    terms = {"token": shop.usd, "maxSupply": 7, "startsAt": 5, "endsAt": NEVER}
    tx = shop.store.list(listing(EDITION, item, 1_000, **terms), {"from": author})
    expected = (
        *(author.address, work, EDITION, SALE, False, shop.usd.address, 5, NEVER, 1_000, 7, 0, item),
        *("0x" + "00" * 32, ZERO, 0, 0),
    )
    assert plain(shop.store.listingOf(1)) == expected
    assert shop.store.listingCount() == 1
    assert plain(tuple(tx.events["Listed"].values())) == (1, work, author, EDITION, shop.usd, 1_000, 7)
    terms = (1, item, SALE, 5, NEVER, 0, "0x" + "00" * 32, ZERO, 0)
    assert plain(tuple(tx.events["ListingTerms"].values())) == terms


def test_only_the_works_owner_lists_what_is_the_works(shop, work, author, buyer):
    item = item_created(shop.items, work, author)
    kind = class_created(shop.characters, work, author)
    for which, asset in ((EDITION, item), (CHARACTER, kind), (WORK, work)):
        with reverts("StoreUnauthorized", buyer):
            shop.store.list(listing(which, asset, 1), {"from": buyer})
    character = minted(shop.characters, kind, author, buyer)
    terms = {"period": DAY, "maxSupply": 10 * DAY}
    with reverts("StoreUnauthorized", author):  # the work's owner doesn't let what is another's
        shop.store.list(listing(RENTAL, character, 1, **terms), {"from": author})
    shop.listed(buyer, RENTAL, character, 1, **terms)


def test_list_refuses_what_could_never_be_sold(shop, work, author, coin):
    item = item_created(shop.items, work, author)
    with reverts("StoreTokenNotAllowed", coin):  # allowed in another ledger
        shop.store.list(listing(EDITION, item, 1, token=coin), {"from": author})
    with reverts("StoreQuantity", 0):
        shop.store.list(listing(EDITION, item, 1, maxSupply=0), {"from": author})
    with reverts("StoreQuantity", 2):
        shop.store.list(listing(WORK, work, 1, maxSupply=2), {"from": author})
    for starts, ends in ((NEVER, NEVER), (9, 8), (0, now())):
        with reverts("StoreWindow", starts, ends):
            shop.store.list(listing(EDITION, item, 1, startsAt=starts, endsAt=ends), {"from": author})
    character = minted(shop.characters, class_created(shop.characters, work, author), author, author)
    for period, longest in ((0, DAY), (DAY, DAY - 1)):
        with reverts("StoreDuration", period):
            shop.store.list(listing(RENTAL, character, 1, period=period, maxSupply=longest), {"from": author})


@pytest.mark.parametrize(
    ("kind", "asset", "error"),
    [
        (EDITION, 9, "ItemUnknown"),
        (CHARACTER, 9, "CharacterClassUnknown"),
        (WORK, 99, "ERC721NonexistentToken"),
        (RENTAL, 9, "ERC721NonexistentToken"),
        (CHARACTER, 2**32, "SafeCastOverflowedUintDowncast"),
        (WORK, 2**64 + 1, "SafeCastOverflowedUintDowncast"),
    ],
)
def test_what_does_not_exist_cannot_be_listed(shop, work, author, kind, asset, error):
    with reverts(error):
        shop.store.list(listing(kind, asset, 1), {"from": author})


def test_unknown_listings_are_refused(shop, author):
    for call in (
        lambda: shop.store.listingOf(1),
        lambda: shop.store.buy(1, 1, 1, author, REF, {"from": author}),
        lambda: shop.store.cancelListing(1, {"from": author}),
        lambda: shop.store.reprice(1, 5, {"from": author}),
        lambda: shop.store.planOf(1),
        lambda: shop.store.subscribe(1, 1, 1, author, {"from": author}),
        lambda: shop.store.closePlan(1, {"from": author}),
        lambda: shop.store.rent(1, 1, 1, {"from": author}),
    ):
        with reverts("StoreUnknown", 1):
            call()


# --- buying


@pytest.mark.feature("R1", via="chain")
@pytest.mark.parametrize("currency", ["native", "usd"])
def test_buy_pays_the_work_and_mints_in_one_transaction(shop, work, author, buyer, accounts, currency):
    token = NATIVE if currency == "native" else shop.usd
    number = shop.edition(work, author, 10_000, token=token)
    tx = shop.buy(buyer, number, 3, to=accounts[5])
    assert shop.items.balanceOf(accounts[5], 1) == 3
    assert paid(shop, work, token) == 30_000 - 30_000 * FEE // 10_000
    assert paid(shop, 0, token) == 30_000 * FEE // 10_000
    event = tx.events["PaymentReceived"]
    fields = (event["workId"], event["payer"], event["amount"], event["kind"], event["ref"])
    assert plain(fields) == (work, shop.store.address, 30_000, SALE, hexed(REF))
    purchased = (number, buyer.address, accounts[5].address, 3, 30_000, hexed(REF))
    assert plain(tuple(tx.events["Purchased"].values())) == purchased
    assert shop.is_empty()
    assert shop.usd.allowance(shop.store, shop.books) == 0


def test_buy_characters_and_tickets(shop, work, author, buyer):
    """Each gets the listing's metadata; a ticket's price is booked as such."""
    for ticket, payment_kind in ((False, SALE), (True, TICKET)):
        kind = class_created(shop.characters, work, author, ticket=ticket)
        number = shop.listed(author, CHARACTER, kind, 500, maxSupply=30)
        tx = shop.buy(buyer, number, 2)
        events = tx.events["CharacterMinted"]
        assert [plain((e["classId"], e["to"], e["cidDigest"])) for e in events] == [(kind, buyer, hexed(CID))] * 2
        assert tx.events["PaymentReceived"]["kind"] == payment_kind
        assert shop.store.listingOf(number)[3] == payment_kind
        with reverts("StoreQuantity", 21):
            shop.buy(buyer, number, 21)
        shop.buy(buyer, number, 20)
    assert shop.characters.balanceOf(buyer) == 44


@pytest.mark.feature("O3", via="chain")
@pytest.mark.parametrize("currency", ["native", "usd"])
def test_buy_a_work_pays_royalty_and_seller(shop, work, author, buyer, accounts, currency):
    """5% go into the work's revenue as a royalty, the rest to the seller: it is no income of the split."""
    token = NATIVE if currency == "native" else shop.usd
    number = shop.listed(author, WORK, work, 1_000_001, token=token)
    shop.registry.approve(shop.store, work, {"from": author})
    before = author.balance() if token == NATIVE else shop.usd.balanceOf(author)
    tx = shop.buy(buyer, number, to=accounts[5])
    after = author.balance() if token == NATIVE else shop.usd.balanceOf(author)
    assert after - before == 950_001
    event = tx.events["PaymentReceived"]
    assert plain((event["workId"], event["amount"], event["kind"], event["ref"])) == (work, 50_000, ROYALTY, hexed(REF))
    assert shop.registry.ownerOf(work) == accounts[5]
    assert shop.is_empty()
    with reverts("StoreClosed", number):  # its seller owns it no longer
        shop.buy(buyer, number)
    shop.registry.transferFrom(accounts[5], author, work, {"from": accounts[5]})
    with reverts("StoreSoldOut", number):
        shop.buy(buyer, number)


def test_work_that_the_storefront_may_not_move_is_not_sold(shop, work, author, buyer):
    number = shop.listed(author, WORK, work, 1_000)
    with reverts("ERC721InsufficientApproval", shop.store, work):
        shop.buy(buyer, number)


def test_what_is_free_costs_nothing(shop, work, author, buyer):
    number = shop.edition(work, author, 0)
    with reverts("StoreWrongPayment", 1, 0):
        shop.store.buy(number, 1, 0, buyer, REF, {"from": buyer, "value": 1})
    tx = shop.buy(buyer, number, 2)
    assert "PaymentReceived" not in tx.events
    dollars = shop.edition(work, author, 0, token=shop.usd)
    shop.buy(buyer, dollars)
    assert shop.items.balanceOf(buyer, 1) == 2


def test_case_31_price_raised_in_the_same_block(shop, author, buyer, edition):
    """The buyer's bound holds even if the raise is mined first."""
    at = now() + 10
    with one_block(at):
        raised = shop.store.reprice(edition, 1_001, {"from": author, "required_confs": 0, "gas_limit": 500_000})
        bought = shop.store.buy(
            edition,
            1,
            1_000,
            buyer,
            REF,
            {"from": buyer, "value": 1_000, "required_confs": 0, "gas_limit": 500_000, "allow_revert": True},
        )
    receipts = [web3.eth.wait_for_transaction_receipt(tx.txid) for tx in (raised, bought)]
    assert [receipt["status"] for receipt in receipts] == [1, 0]
    assert [receipt["transactionIndex"] for receipt in receipts] == [0, 1]
    with reverts("StorePriceAboveMax", 1_001, 1_000):
        shop.store.buy(edition, 1, 1_000, buyer, REF, {"from": buyer, "value": 1_000})
    assert shop.items.balanceOf(buyer, 1) == 0


def test_case_32_over_and_under_payment_revert(shop, work, author, buyer, edition):
    for sent in (0, 1_999, 2_001):
        with reverts("StoreWrongPayment", sent, 2_000):
            shop.store.buy(edition, 2, 2_000, buyer, REF, {"from": buyer, "value": sent})
    dollars = shop.edition(work, author, 1_000, token=shop.usd)
    shop.fund(buyer, 10_000)
    with reverts("StoreWrongPayment", 1, 0):  # native coins with a price in dollars
        shop.store.buy(dollars, 2, 2_000, buyer, REF, {"from": buyer, "value": 1})
    shop.usd.approve(shop.store, 1_999, {"from": buyer})
    with reverts("ERC20InsufficientAllowance", shop.store, 1_999, 2_000):
        shop.store.buy(dollars, 2, 2_000, buyer, REF, {"from": buyer})


def test_tokens_that_take_a_fee_are_refused(shop, work, author, buyer, admin):
    token = FeeToken.deploy({"from": admin})
    shop.books.setTokenAllowed(token, True, {"from": admin})
    number = shop.edition(work, author, 10_000, token=token)
    token.mint(buyer, 10**6, {"from": buyer})
    token.approve(shop.store, 10**6, {"from": buyer})
    with reverts("StoreWrongPayment", 9_900, 10_000):
        shop.store.buy(number, 1, 10_000, buyer, REF, {"from": buyer})


def test_token_taken_off_the_list_is_refused(shop, work, author, buyer, admin):
    number = shop.edition(work, author, 1_000, token=shop.usd)
    shop.books.setTokenAllowed(shop.usd, False, {"from": admin})
    with reverts("StoreTokenNotAllowed", shop.usd):
        shop.buy(buyer, number)


def test_quantity_and_supply(shop, work, author, buyer):
    number = shop.edition(work, author, 1, maxSupply=5)
    with reverts("StoreQuantity", 0):
        shop.buy(buyer, number, 0)
    with reverts("StoreSoldOut", number):
        shop.buy(buyer, number, 6)
    shop.buy(buyer, number, 4)
    with reverts("StoreSoldOut", number):
        shop.buy(buyer, number, 2)
    shop.buy(buyer, number, 1)
    assert shop.store.listingOf(number)[10] == 5


def test_caps_of_the_item_hold_in_sales(shop, work, author, buyer):
    item = item_created(shop.items, work, author, supply=5, cap=2)
    number = shop.listed(author, EDITION, item, 1)
    with reverts("ItemAccountCapExceeded", item, buyer):
        shop.buy(buyer, number, 3)
    shop.buy(buyer, number, 2)
    with reverts("ItemAccountCapExceeded", item, buyer):
        shop.buy(buyer, number, 1)


def test_sale_window(shop, work, author, buyer):
    begin, end = now() + 100, now() + 200
    number = shop.edition(work, author, 1, startsAt=begin, endsAt=end)
    next_block_at(begin - 1)
    with reverts("StoreClosed", number):
        shop.buy(buyer, number)
    next_block_at(begin)
    shop.buy(buyer, number)
    mine_at(end - 2)
    next_block_at(end)
    with reverts("StoreClosed", number):
        shop.buy(buyer, number)


def test_cancelled_listings_sell_nothing(shop, author, buyer, edition):
    with reverts("StoreUnauthorized", buyer):
        shop.store.cancelListing(edition, {"from": buyer})
    tx = shop.store.cancelListing(edition, {"from": author})
    assert tx.events["ListingCancelled"]["listingId"] == edition
    for call in (
        lambda: shop.buy(buyer, edition),
        lambda: shop.store.cancelListing(edition, {"from": author}),
        lambda: shop.store.reprice(edition, 1, {"from": author}),
    ):
        with reverts("StoreClosed", edition):
            call()


def test_only_the_seller_reprices(shop, author, buyer, edition, admin):
    for account in (buyer, admin):
        with reverts("StoreUnauthorized", account):
            shop.store.reprice(edition, 1, {"from": account})
    tx = shop.store.reprice(edition, 5, {"from": author})
    assert plain(tuple(tx.events["ListingRepriced"].values())) == (edition, 5)
    shop.buy(buyer, edition)


def test_listings_die_with_the_sellers_ownership(shop, registry, work, author, buyer, stranger, edition):
    """The old owner's offers don't go on under the new one, who may clear them away."""
    registry.transferFrom(author, stranger, work, {"from": author})
    with reverts("StoreClosed", edition):
        shop.buy(buyer, edition)
    shop.store.cancelListing(edition, {"from": stranger})


def test_listings_revive_with_the_sellers_ownership_and_pay_the_work(
    shop, registry, work, author, buyer, stranger, edition
):
    """Who gets a work back finds the offers alive that nobody cancelled; their price is the work's, not its owner's."""
    registry.transferFrom(author, stranger, work, {"from": author})
    registry.transferFrom(stranger, author, work, {"from": stranger})
    before = author.balance()
    shop.buy(buyer, edition)
    assert (paid(shop, work), author.balance()) == (975, before)


@pytest.mark.parametrize("status", [SUSPENDED, REVOKED])
def test_case_24_sales_stop_with_suspension_and_revocation(shop, registry, work, author, buyer, admin, edition, status):
    character = minted(shop.characters, class_created(shop.characters, work, author), author, author)
    let = shop.listed(author, RENTAL, character, 1, period=DAY, maxSupply=DAY)
    number = shop.listed(author, WORK, work, 1_000)
    shop.store.createPlan(work, NATIVE, 10, DAY, {"from": author})
    if status == REVOKED:
        registry.revoke(work, NONE, {"from": admin})
    else:
        registry.setStatus(work, status, NONE, {"from": admin})
    for call in (
        lambda: shop.buy(buyer, edition),
        lambda: shop.buy(buyer, number),
        lambda: shop.store.rent(let, DAY, 1, {"from": buyer, "value": 1}),
        lambda: shop.store.subscribe(1, 1, 10, buyer, {"from": buyer, "value": 10}),
    ):
        with reverts("StoreWorkStatus", work, status):
            call()
    if status == SUSPENDED:
        registry.setStatus(work, ACTIVE, NONE, {"from": admin})
        shop.buy(buyer, edition)
        disputed(registry, work)  # what is only disputed goes on selling
        shop.buy(buyer, edition)


def test_without_the_role_nothing_new_is_sold(shop, authority, author, buyer, admin, edition):
    """How governance stops first sales: it takes the role. Orders between people go on."""
    authority.revokeRole(SELLER, shop.store, {"from": admin})
    with reverts("AccessManagedUnauthorized", shop.store):
        shop.buy(buyer, edition)


# --- token-bound accounts


@pytest.fixture
def bound(registry, work, author):
    return TokenBoundAccount.deploy(registry, work, {"from": author})


def test_case_33_account_drained_before_the_sale(shop, registry, work, author, buyer, bound):
    number = shop.listed(author, WORK, work, 1_000, account=bound, expectedState=0)
    registry.approve(shop.store, work, {"from": author})
    bound.drain({"from": author})
    with reverts("StoreStateChanged", 0, 1):
        shop.buy(buyer, number)
    assert registry.ownerOf(work) == author


def test_account_in_the_named_state_is_sold_with_the_work(shop, registry, work, author, buyer, bound):
    bound.drain({"from": author})
    number = shop.listed(author, WORK, work, 1_000, account=bound, expectedState=1)
    registry.approve(shop.store, work, {"from": author})
    shop.buy(buyer, number)
    assert registry.ownerOf(work) == buyer


def test_account_that_is_not_deployed_is_in_state_zero(shop, registry, work, author, buyer, stranger):
    registry.approve(shop.store, work, {"from": author})
    number = shop.listed(author, WORK, work, 1_000, account=stranger, expectedState=1)
    with reverts("StoreStateChanged", 1, 0):
        shop.buy(buyer, number)
    shop.buy(buyer, shop.listed(author, WORK, work, 1_000, account=stranger, expectedState=0))


def test_seller_cannot_drain_the_account_while_it_is_paid(shop, registry, work, author, buyer, bound):
    """The pin is checked before the work is handed over, and the seller's contract runs when it no longer owns it."""
    seller = ReentrantReceiver.deploy({"from": author})
    registry.transferFrom(author, seller, work, {"from": author})
    seller.run(registry, registry.approve.encode_input(shop.store, work), {"from": author})
    offer = shop.store.list.encode_input(listing(WORK, work, 1_000, account=bound))
    seller.run(shop.store, offer, {"from": author})
    seller.arm(bound, bound.drain.encode_input())
    shop.buy(buyer, 1)
    assert (seller.attempts(), seller.succeeded(), bound.state()) == (1, False, 0)
    assert seller.balance() == 950


# --- reentrancy, receivers


def test_reentrant_buyer_gains_nothing(shop, work, author, buyer, edition):
    """A receiver that buys again from its callback is refused; the first purchase stands."""
    receiver = ReentrantReceiver.deploy({"from": buyer})
    receiver.arm(shop.store, shop.store.buy.encode_input(edition, 1, 0, receiver, REF))
    shop.buy(buyer, edition, to=receiver)
    assert (receiver.attempts(), receiver.succeeded()) == (1, False)
    assert receiver.answer() == hexed(keccak(text="ReentrancyGuardReentrantCall()")[:4])
    assert (shop.items.balanceOf(receiver, 1), shop.store.listingOf(edition)[10]) == (1, 1)


def test_coins_sent_without_a_purchase_are_refused(shop, buyer):
    with pytest.raises(ValueError, match="revert"):
        web3.eth.call({"from": buyer.address, "to": shop.store.address, "value": 1})


# --- the forwarder


def forwarded(shop, account, function, *args, value=0, sender=None):
    """A call through the trusted forwarder for an account."""
    data = function.encode_input(*args)
    return shop.forwarder.forward(shop.store, account, data, {"from": sender or shop.admin, "value": value})


def test_forwarded_purchase_is_the_accounts_own(shop, work, buyer, edition):
    tx = forwarded(shop, buyer, shop.store.buy, edition, 2, 2_000, buyer, REF, value=2_000)
    assert tx.events["Purchased"]["buyer"] == buyer
    assert shop.items.balanceOf(buyer, 1) == 2


def test_nothing_is_listed_or_repriced_through_the_forwarder(shop, work, author, edition):
    """A session key must not reach approvals."""
    item = item_created(shop.items, work, author)
    with reverts("StoreDirectOnly"):
        forwarded(shop, author, shop.store.list, listing(EDITION, item, 1))
    with reverts("StoreDirectOnly"):
        forwarded(shop, author, shop.store.reprice, edition, 1)
    forwarded(shop, author, shop.store.cancelListing, edition)  # what takes something away may come through it
    assert shop.store.listingOf(edition)[4]


def test_case_78_no_token_is_drawn_through_the_forwarder(shop, work, author, buyer):
    """A session key can't spend an ERC-20 allowance: not by buying, renting, subscribing, at any price."""
    shop.fund(buyer, 10**6)
    number = shop.edition(work, author, 1_000, token=shop.usd)
    free = shop.edition(work, author, 0, token=shop.usd)
    shop.store.createPlan(work, shop.usd, 10, DAY, {"from": author})
    character = minted(shop.characters, class_created(shop.characters, work, author), author, author)
    let = shop.listed(author, RENTAL, character, 1, period=DAY, maxSupply=DAY, token=shop.usd)
    for call in (
        (shop.store.buy, number, 1, 1_000, buyer, REF),
        (shop.store.buy, free, 1, 0, buyer, REF),
        (shop.store.rent, let, DAY, 1),
        (shop.store.subscribe, 1, 1, 10, buyer),
    ):
        with reverts("StoreDirectOnly"):
            forwarded(shop, buyer, *call)
    assert shop.usd.balanceOf(buyer) == 10**6


def test_case_51_suffix_of_a_direct_call_or_of_another_forwarder_names_nobody(shop, author, buyer, edition, admin):
    """ERC-2771: only the trusted forwarder's word counts for who calls."""
    data = shop.store.cancelListing.encode_input(edition)
    with reverts("StoreUnauthorized", buyer):
        web3_call(buyer, shop.store, data + str(author)[2:])
    other = CarelessForwarder.deploy({"from": admin})
    with reverts("StoreUnauthorized", other):
        other.forward(shop.store, author, data, {"from": buyer})


def web3_call(sender, contract, data):
    """A transaction with raw calldata."""
    sender.transfer(contract, 0, data=data)


def test_case_51_there_is_no_multicall(shop):
    names = {entry["name"].lower() for entry in shop.store.abi if entry["type"] == "function"}
    assert not [name for name in names if "multicall" in name or "batch" in name or "delegate" in name]


# --- nobody's powers


def test_nobody_administers_the_storefront(shop):
    """No restricted function, no owner, no authority, no pause: whoever calls has the powers of what it owns."""
    names = {entry["name"] for entry in shop.store.abi if entry["type"] == "function"}
    changing = {
        entry["name"]
        for entry in shop.store.abi
        if entry["type"] == "function" and entry["stateMutability"] in ("nonpayable", "payable")
    }
    assert changing == {
        *("list", "reprice", "cancelListing", "buy", "rent", "createPlan", "closePlan", "subscribe"),
        *("fillOrder", "fillOrderWithShare", "cancelOrder", "cancelAllOrders"),
    }
    assert not names & {"authority", "setAuthority", "owner", "pause"}


def test_collections_of_another_registry_are_refused(shop, authority, registry, admin, treasury):
    predicted = admin.get_deployment_address(admin.nonce + 1)
    ledger = RevenueLedger.deploy(authority, predicted, 0, [(treasury, 1)], NONE, {"from": admin})
    other = WorkRegistry.deploy(authority, ledger, registry.standing(), shop.forwarder, 0, "", {"from": admin})
    foreign = Items.deploy(authority, other, {"from": admin})
    with reverts("StoreMismatch", foreign):
        Storefront.deploy(shop.forwarder, shop.books, foreign, shop.characters, {"from": admin})
    with reverts("StoreMismatch", shop.characters):
        Storefront.deploy(shop.forwarder, ledger, foreign, shop.characters, {"from": admin})


def test_storefront_says_what_it_sells(shop, registry):
    found = (shop.store.ledger(), shop.store.registry(), shop.store.items(), shop.store.characters())
    assert found == (shop.books, registry, shop.items, shop.characters)
    assert shop.store.isTrustedForwarder(shop.forwarder)


def test_code_fits(shop):
    """EIP-170."""
    assert len(web3.eth.get_code(shop.store.address)) < 24_576
