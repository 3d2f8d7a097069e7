"""Storefront: subscriptions and rentals, and who has access to a work by what."""

import pytest
from kit import DAY, ZERO, mine_at, next_block_at, now, reverts
from money import (
    NATIVE,
    ROYALTY,
    SUBSCRIPTION,
    WEEK,
    Leaf,
    counters,
    keyed,
    placed,
    plain,
    reassign,
    withdraw,
)
from shop import NO_PIN, RENTAL, class_created, item_created, listing, minted
from works import CID, registered

pytestmark = pytest.mark.feature("R4", via="chain")

MONTH = 30 * DAY


@pytest.fixture(scope="module")
def lender(accounts):
    return accounts[3]


@pytest.fixture(scope="module")
def fan(accounts):
    return accounts[4]


@pytest.fixture
def plan(shop, work, author):
    """1,000 wei a month."""
    return plan_of(shop, work, author)


def plan_of(shop, work, author, price=1_000, period=MONTH, token=NATIVE):
    tx = shop.store.createPlan(work, token, price, period, {"from": author})
    return tx.events["PlanCreated"]["planId"]


def subscribe(shop, plan, payer, to=None, periods=1, **changes):
    total = shop.store.planOf(plan)[2] * periods
    bound = changes.get("max_total", total)
    return shop.store.subscribe(
        plan, periods, bound, to or payer, {"from": payer, "value": changes.get("value", total)}
    )


# --- plans


def test_create_plan_writes_down_what_never_changes(shop, work, author):
    tx = shop.store.createPlan(work, shop.usd, 5, MONTH, {"from": author})
    assert plain(tuple(tx.events["PlanCreated"].values())) == (1, work, shop.usd, 5, MONTH)
    assert plain(shop.store.planOf(1)) == (work, MONTH, 5, False, shop.usd)
    assert shop.store.planCount() == 1


def test_only_the_works_owner_opens_and_closes_plans(shop, work, author, fan, admin, plan):
    for account in (fan, admin):
        with reverts("StoreUnauthorized", account):
            shop.store.createPlan(work, NATIVE, 1, 1, {"from": account})
        with reverts("StoreUnauthorized", account):
            shop.store.closePlan(plan, {"from": account})


def test_plans_have_a_price_a_period_and_a_token(shop, work, author, coin):
    for price, period in ((0, 1), (1, 0)):
        with reverts("StorePlanInvalid"):
            shop.store.createPlan(work, NATIVE, price, period, {"from": author})
    with reverts("StoreTokenNotAllowed", coin):
        shop.store.createPlan(work, coin, 1, 1, {"from": author})
    with reverts("ERC721NonexistentToken", 99):
        shop.store.createPlan(99, NATIVE, 1, 1, {"from": author})


def test_closed_plan_takes_nobody_new_and_cuts_nobody_off(shop, work, author, fan, plan):
    subscribe(shop, plan, fan)
    tx = shop.store.closePlan(plan, {"from": author})
    assert tx.events["PlanClosed"]["planId"] == plan
    with reverts("StoreClosed", plan):
        subscribe(shop, plan, fan)
    with reverts("StoreClosed", plan):
        shop.store.closePlan(plan, {"from": author})
    assert shop.store.hasAccess(fan, work)


def test_plan_goes_with_the_work(shop, registry, work, author, fan, plan):
    registry.transferFrom(author, fan, work, {"from": author})
    with reverts("StoreUnauthorized", author):
        shop.store.closePlan(plan, {"from": author})
    shop.store.closePlan(plan, {"from": fan})


def test_plan_pays_the_works_shares_whoever_made_it(shop, registry, work, author, fan, stranger, plan):
    """Attack: sell a work with its revenue and go on living on the plans that were made before."""
    mine_at(now() + WEEK)
    reassign(shop.books, work, next(placed(Leaf(str(author), 1_000_000))), Leaf(str(fan), 1_000_000))
    registry.transferFrom(author, fan, work, {"from": author})
    subscribe(shop, plan, stranger)
    credited = counters(shop.books, work)[0]
    assert credited == 975  # the price less the platform's fee
    assert withdraw(shop.books, work, 2, next(placed(Leaf(str(fan), 1_000_000))), stranger) == credited
    with reverts("RevenueNothingDue"):
        withdraw(shop.books, work, 1, next(placed(Leaf(str(author), 1_000_000))), stranger)
    assert shop.is_empty()


# --- who paid


def test_each_sale_tells_its_buyer_beside_its_payment(shop, work, author, lender, fan, stranger, plan):
    """What engagement rewards read off the order of logs (backend/rewards/payers.py), through all four doors."""
    character = minted(shop.characters, class_created(shop.characters, work, author), author, lender)
    shop.characters.approve(shop.store, character, {"from": lender})
    rental = shop.listed(lender, RENTAL, character, 1_000, period=DAY, maxSupply=10 * DAY)
    copies = shop.edition(work, author, 1_000)
    buy = shop.buy(fan, copies, to=stranger)
    rent = shop.store.rent(rental, DAY, 1_000, {"from": fan, "value": 1_000})
    join = subscribe(shop, plan, fan, to=stranger)
    item = shop.store.listingOf(copies)[11]
    shop.items.setApprovalForAll(shop.store, True, {"from": stranger})
    order, signature = shop.signed(keyed(6).key, stranger, shop.items, item, price=1_000)
    fill = shop.store.fillOrder(order, signature, 1, lender, NO_PIN, {"from": fan, "value": 1_000})
    for tx, sale, who, told in (
        (buy, "Purchased", "buyer", ["Purchased", "PaymentReceived"]),
        (rent, "Rented", "user", ["Rented", "PaymentReceived"]),
        (join, "Subscribed", "payer", ["Subscribed", "PaymentReceived"]),
        (fill, "OrderFilled", "buyer", ["PaymentReceived", "OrderFilled"]),
    ):
        assert [event.name for event in tx.events if event.name in {sale, "PaymentReceived"}] == told
        assert (tx.events[sale][who], tx.events["PaymentReceived"]["payer"]) == (fan, shop.store)


# --- subscriptions


@pytest.mark.parametrize("currency", ["native", "usd"])
def test_subscribe_pays_the_work_and_gives_access(shop, work, author, fan, stranger, currency):
    token = NATIVE if currency == "native" else shop.usd
    plan = plan_of(shop, work, author, 10_000, token=token)
    if token != NATIVE:
        shop.fund(stranger, 20_000)
    tx = subscribe(shop, plan, stranger, fan, 2, **({} if token == NATIVE else {"value": 0}))
    until = tx.timestamp + 2 * MONTH
    assert plain(tuple(tx.events["Subscribed"].values())) == (plan, fan, stranger, until, 20_000)
    event = tx.events["PaymentReceived"]
    assert plain((event["workId"], event["kind"], int(event["ref"].hex(), 16))) == (work, SUBSCRIPTION, plan)
    assert counters(shop.books, work, token)[0] == 20_000 - 500
    assert shop.store.subscribedUntil(work, fan) == until
    assert (shop.store.hasAccess(fan, work), shop.store.hasAccess(stranger, work)) == (True, False)
    assert shop.is_empty()


def test_access_ends_to_the_second(shop, work, fan, plan):
    until = subscribe(shop, plan, fan).timestamp + MONTH
    mine_at(until - 1)
    assert shop.store.hasAccess(fan, work)
    mine_at(until)
    assert not shop.store.hasAccess(fan, work)


def test_case_34_subscribing_for_another_extends_and_never_shortens(shop, work, author, fan, stranger, plan):
    """By the same plan, by a shorter one, before and after the end."""
    daily = plan_of(shop, work, author, 50, DAY)
    first = subscribe(shop, plan, fan).timestamp + MONTH
    assert subscribe(shop, daily, stranger, fan).events["Subscribed"]["expiresAt"] == first + DAY
    assert subscribe(shop, plan, stranger, fan, 3).events["Subscribed"]["expiresAt"] == first + DAY + 3 * MONTH
    assert shop.store.subscribedUntil(work, stranger) == 0
    late = first + DAY + 3 * MONTH + 1_000
    next_block_at(late)
    assert subscribe(shop, daily, fan).events["Subscribed"]["expiresAt"] == late + DAY


def test_case_34_period_overflow(shop, work, author, fan):
    plan = plan_of(shop, work, author, 1, 2**32 - 1)
    periods = 2**16 - 1
    next_block_at(now() + 10)
    subscribe(shop, plan, fan, periods=periods)
    until = shop.store.subscribedUntil(work, fan)
    with reverts("StoreExpiryTooFar", until + 2 * (2**32 - 1)):
        subscribe(shop, plan, fan, periods=2)
    assert until < 2**48 <= until + 2**33
    most = 2**32 - 1
    at = now() + 50
    next_block_at(at)
    with reverts("StoreExpiryTooFar", at + most * most):
        subscribe(shop, plan, author, periods=most)


def test_case_32_subscriptions_are_paid_exactly(shop, fan, plan):
    for sent in (0, 1_999, 2_001):
        with reverts("StoreWrongPayment", sent, 2_000):
            subscribe(shop, plan, fan, periods=2, value=sent)
    with reverts("StorePriceAboveMax", 2_000, 1_999):
        subscribe(shop, plan, fan, periods=2, max_total=1_999)
    with reverts("StoreQuantity", 0):
        subscribe(shop, plan, fan, periods=0)
    with reverts("StoreUnauthorized", ZERO):
        subscribe(shop, plan, fan, to=ZERO)


# --- access


def test_owner_and_holders_of_items_have_access_and_nobody_else(shop, registry, work, author, fan, stranger):
    other = registered(registry, author)
    item = item_created(shop.items, work, author)
    shop.items.mint(fan, item, 1, {"from": author})
    found = [[shop.store.hasAccess(who, number) for number in (work, other)] for who in (author, fan, stranger)]
    assert found == [[True, True], [True, False], [False, False]]
    shop.items.safeTransferFrom(fan, stranger, item, 1, b"", {"from": fan})
    assert [shop.store.hasAccess(who, work) for who in (fan, stranger)] == [False, True]
    registry.transferFrom(author, fan, work, {"from": author})
    assert [shop.store.hasAccess(who, work) for who in (author, fan)] == [False, True]


def test_expired_pass_gives_no_access(shop, work, author, fan):
    until = now() + DAY
    shop.items.createPass(work, 10, 0, 0, False, CID, until, {"from": author})
    shop.items.mint(fan, 1, 1, {"from": author})
    assert shop.store.hasAccess(fan, work)
    mine_at(until)
    assert not shop.store.hasAccess(fan, work)


def test_nobody_has_no_access(shop, work, author):
    assert not shop.store.hasAccess(ZERO, work)
    with reverts("ERC721NonexistentToken", 99):
        shop.store.hasAccess(author, 99)


# --- rentals


@pytest.fixture
def character(shop, work, author, lender):
    """A character of the lender, who has approved the storefront."""
    token = minted(shop.characters, class_created(shop.characters, work, author), author, lender)
    shop.characters.approve(shop.store, token, {"from": lender})
    return token


@pytest.fixture
def offer(shop, character, lender):
    """1,001 wei a day, 10 days at most."""
    return let(shop, character, lender)


def let(shop, character, lender, price=1_001, **terms):
    return shop.listed(lender, RENTAL, character, price, **{"period": DAY, "maxSupply": 10 * DAY} | terms)


def rent(shop, character, user, duration, total, **changes):
    given = {"from": user, "value": changes.get("value", total)}
    return shop.store.rent(shop.store.rentalOf(character), duration, changes.get("max_total", total), given)


@pytest.mark.feature("O5", via="chain")
@pytest.mark.parametrize("currency", ["native", "usd"])
def test_rent_changes_the_user_and_not_the_owner(shop, work, character, lender, fan, currency):
    token = NATIVE if currency == "native" else shop.usd
    let(shop, character, lender, token=token)
    if token != NATIVE:
        shop.fund(fan, 1_502)
    before = lender.balance() if token == NATIVE else shop.usd.balanceOf(lender)
    tx = rent(shop, character, fan, 3 * DAY // 2, 1_502, **({} if token == NATIVE else {"value": 0}))  # 1,501.5
    after = lender.balance() if token == NATIVE else shop.usd.balanceOf(lender)
    assert after - before == 1_502 - 75
    event = tx.events["PaymentReceived"]
    assert plain((event["workId"], event["amount"], event["kind"])) == (work, 75, ROYALTY)
    until = tx.timestamp + 3 * DAY // 2
    assert plain(tuple(tx.events["Rented"].values())) == (character, fan, until, 1_502)
    assert shop.characters.ownerOf(character) == lender
    assert (shop.characters.userOf(character), shop.characters.userExpires(character)) == (fan, until)
    assert shop.is_empty()


@pytest.mark.feature("O5", via="chain")
def test_case_27_rented_character_gives_access_to_its_user_until_the_end(shop, work, character, lender, fan, offer):
    assert shop.store.hasAccessBy(lender, work, character)
    until = rent(shop, character, fan, DAY, 1_001).timestamp + DAY
    assert [shop.store.hasAccessBy(who, work, character) for who in (lender, fan)] == [False, True]
    with reverts("CharacterRented", character, until):
        shop.characters.setUser(character, lender, until + DAY, {"from": lender})
    mine_at(until)
    assert [shop.store.hasAccessBy(who, work, character) for who in (lender, fan)] == [True, False]
    assert not shop.store.hasAccessBy(ZERO, work, character)
    assert not shop.store.hasAccessBy(lender, work + 1, character)


@pytest.mark.feature("O5", via="chain")
def test_running_rental_is_prolonged_by_its_user_alone(shop, character, lender, fan, stranger, offer):
    until = rent(shop, character, fan, 2 * DAY, 2_002).timestamp + 2 * DAY
    with reverts("CharacterRented", character, until):
        rent(shop, character, stranger, DAY, 1_001)
    tx = rent(shop, character, fan, DAY, 1_001)
    assert tx.events["Rented"]["expires"] == until + DAY
    at = now() + 10
    next_block_at(at)
    with reverts("StoreDuration", until + DAY - at + 9 * DAY):  # beyond the longest, counted from now
        rent(shop, character, fan, 9 * DAY, 9_009)
    next_block_at(until + DAY)
    rent(shop, character, stranger, DAY, 1_001)


@pytest.mark.feature("O5", via="chain")
def test_duration_lies_within_the_offer(shop, character, fan, offer):
    for duration in (0, DAY - 1, 10 * DAY + 1):
        with reverts("StoreDuration", duration):
            rent(shop, character, fan, duration, 10**6)
    rent(shop, character, fan, 10 * DAY, 10_010)


@pytest.mark.feature("O5", via="chain")
def test_case_31_and_32_rentals_are_paid_exactly(shop, character, lender, fan, offer):
    with reverts("StoreWrongPayment", 1_000, 1_001):
        rent(shop, character, fan, DAY, 1_001, value=1_000)
    shop.store.reprice(offer, 1_002, {"from": lender})
    with reverts("StorePriceAboveMax", 1_002, 1_001):
        rent(shop, character, fan, DAY, 1_001)


@pytest.mark.feature("O5", via="chain")
def test_a_new_offer_replaces_the_old_one(shop, character, lender, fan, offer):
    tx = shop.store.list(listing(RENTAL, character, 5, period=DAY, maxSupply=DAY), {"from": lender})
    assert tx.events["ListingCancelled"]["listingId"] == offer
    assert shop.store.rentalOf(character) == offer + 1
    assert shop.store.listingOf(offer)[4]
    with reverts("StoreClosed", offer):  # who agreed to the old offer's currency pays in no other
        shop.store.rent(offer, DAY, 1_001, {"from": fan, "value": 1_001})
    rent(shop, character, fan, DAY, 5)
    with reverts("StoreQuantity", 1):  # it is rented, not bought
        shop.buy(fan, offer + 1)


@pytest.mark.feature("O5", via="chain")
def test_rent_of_what_is_sold_is_refused(shop, work, author, fan):
    number = shop.edition(work, author, 1_000)
    with reverts("StoreUnknown", number):
        shop.store.rent(number, DAY, 1_000, {"from": fan, "value": 1_000})


@pytest.mark.feature("O5", via="chain")
def test_offer_dies_with_the_lenders_ownership(shop, character, lender, fan, stranger, offer):
    shop.characters.transferFrom(lender, stranger, character, {"from": lender})
    with reverts("StoreClosed", offer):
        rent(shop, character, fan, DAY, 1_001)
    let(shop, character, stranger)
    with reverts("ERC721InsufficientApproval", shop.store, character):
        rent(shop, character, fan, DAY, 1_001)
    assert shop.store.listingOf(offer)[4]


@pytest.mark.feature("O5", via="chain")
def test_soulbound_characters_are_not_let(shop, work, author, lender, fan):
    token = minted(shop.characters, class_created(shop.characters, work, author, soulbound=True), author, lender)
    shop.characters.setApprovalForAll(shop.store, True, {"from": lender})
    let(shop, token, lender)
    with reverts("CharacterSoulbound", token):
        rent(shop, token, fan, DAY, 1_001)
