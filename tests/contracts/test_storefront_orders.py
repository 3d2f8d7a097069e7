"""Storefront: orders that holders sign, filled by others; royalties; works sold with a share of their revenue."""

import pytest
from brownie import ReentrantReceiver, SignerWallet, TokenBoundAccount
from eth_utils import keccak
from kit import DAY, ZERO, mine_after, next_block_at, now, reverts, send_as
from money import (
    DISPUTED,
    NATIVE,
    NONE,
    REVOKED,
    ROYALTY,
    SUSPENDED,
    WEEK,
    Branch,
    Leaf,
    counters,
    grown,
    hexed,
    keyed,
    node,
    pay,
    placed,
    plain,
    reassign,
    replaced,
    withdraw,
)
from shop import NEVER, NO_PIN, ORDER, class_created, item_created, minted
from works import disputed, licensed, registered

pytestmark = pytest.mark.feature("O3", via="chain")

EVERYTHING = 2**256 - 1


@pytest.fixture(scope="module")
def seller(accounts):
    """Holds 10 copies of item 1; its key is keyed(3)."""
    return accounts[3]


@pytest.fixture(scope="module")
def work(registry, author):
    """A work whose split has three leaves: the author has 60 and 15 of 100, the seller 25."""
    return registered(registry, author, tree=split_of(author))


def split_of(author):
    other = "0x" + "77" * 20
    return grown([(author, 60), (other, 25), (author, 15)])


@pytest.fixture(scope="module")
def shop(shop, work, author, seller):
    item = item_created(shop.items, work, author)
    shop.items.mint(seller, item, 10, {"from": author})
    shop.items.setApprovalForAll(shop.store, True, {"from": seller})
    shop.registry.setApprovalForAll(shop.store, True, {"from": author})
    return shop


@pytest.fixture
def wallet(shop, registry, seller, author, accounts):
    """A contract that keyed(3) signs for, which takes no coins; with the id of a work that it owns and may be sold."""
    contract = SignerWallet.deploy(seller, {"from": author})
    number = registered(registry, author)
    registry.transferFrom(author, contract, number, {"from": author})
    send_as(registry, registry.approve, shop.store, number, sender=contract.address)
    return contract, number


def order_of(shop, seller, **changes):
    """Ten copies of item 1 for 1,000 wei each, by accounts[3]."""
    return shop.signed(keyed(3).key, seller, shop.items, 1, **{"amount": 10} | changes)


def fill(shop, buyer, order, signature, qty=1, to=None, pin=NO_PIN, value=None):
    value = order[5] * qty if value is None and order[4] == NATIVE else value or 0
    return shop.store.fillOrder(order, signature, qty, to or buyer, pin, {"from": buyer, "value": value})


# --- money


def test_what_an_owner_mints_to_itself_and_sells_is_a_resale_within_the_cap(shop, work, author, buyer, accounts):
    """The work is sure of the royalty of ERC-2981 and of the item's cap, not of the price: that is a listing's."""
    item = item_created(shop.items, work, author, supply=2)
    shop.items.mint(author, item, 2, {"from": author})
    shop.items.setApprovalForAll(shop.store, True, {"from": author})
    order, signature = shop.signed(keyed(1).key, author, shop.items, item, amount=2, price=1_000)
    fill(shop, buyer, order, signature, 2)
    royalty = shop.items.royaltyInfo(item, 2_000)[1]
    assert (royalty, counters(shop.books, work)[0]) == (100, 100 - 100 * 250 // 10_000)
    with reverts("ItemSupplyExceeded"):
        shop.items.mint(author, item, 1, {"from": author})


@pytest.mark.parametrize("currency", ["native", "usd"])
def test_fill_pays_royalty_into_the_work_and_the_rest_to_the_seller(shop, work, seller, buyer, accounts, currency):
    token = NATIVE if currency == "native" else shop.usd
    order, signature = order_of(shop, seller, price=999, token=str(token))
    if token != NATIVE:
        shop.fund(buyer, 2_997)
    before = seller.balance() if token == NATIVE else shop.usd.balanceOf(seller)
    tx = fill(shop, buyer, order, signature, 3, accounts[5])
    after = seller.balance() if token == NATIVE else shop.usd.balanceOf(seller)
    assert after - before == 2_997 - 149  # 5% of 2,997 is 149.85
    event = tx.events["PaymentReceived"]
    digest = shop.store.hashOf(order)
    fields = (event["workId"], event["amount"], event["kind"], event["ref"])
    assert plain(fields) == (work, 149, ROYALTY, plain(digest))
    filled = tx.events["OrderFilled"]
    expected = (plain(digest), seller, accounts[5], buyer, shop.items, 1, 3, token, 2_997, 149)
    assert plain(tuple(filled.values())) == expected
    assert [shop.items.balanceOf(who, 1) for who in (seller, accounts[5])] == [7, 3]
    assert shop.store.filledOf(digest) == 3
    assert shop.is_empty()


def test_royalty_is_the_one_that_erc_2981_answers(shop, registry, work, seller, buyer, admin):
    for bps in (0, 1, 333, 1_000):
        registry.setRoyaltyBps(bps, {"from": admin})
        order, signature = order_of(shop, seller, price=12_345, salt=bps)
        royalty = fill(shop, buyer, order, signature).events["OrderFilled"]["royalty"]
        assert royalty == shop.items.royaltyInfo(1, 12_345)[1] == 12_345 * bps // 10_000
    assert shop.is_empty()


def test_royalty_below_one_unit_is_none(shop, work, seller, buyer):
    order, signature = order_of(shop, seller, price=19)
    tx = fill(shop, buyer, order, signature)
    assert tx.events["OrderFilled"]["royalty"] == 0
    assert "PaymentReceived" not in tx.events


def test_a_gift_order_costs_nothing(shop, seller, buyer):
    order, signature = order_of(shop, seller, price=0, taker=str(buyer))
    fill(shop, buyer, order, signature)
    assert shop.items.balanceOf(buyer, 1) == 1


def test_case_32_orders_are_paid_exactly(shop, seller, buyer):
    order, signature = order_of(shop, seller)
    for sent in (0, 1_999, 2_001):
        with reverts("StoreWrongPayment", sent, 2_000):
            fill(shop, buyer, order, signature, 2, value=sent or 0)
    dollars, signed = order_of(shop, seller, token=shop.usd.address)
    with reverts("StoreWrongPayment", 1_000, 0):
        fill(shop, buyer, dollars, signed, value=1_000)
    with reverts("ERC20InsufficientAllowance", shop.store, 0, 1_000):
        fill(shop, buyer, dollars, signed)


def test_order_in_a_token_that_is_not_allowed(shop, seller, buyer, coin):
    order, signature = order_of(shop, seller, token=coin.address)
    with reverts("StoreTokenNotAllowed", coin):
        fill(shop, buyer, order, signature)


def test_price_times_quantity_cannot_wrap(shop, seller, buyer):
    order, signature = order_of(shop, seller, price=2**255)
    with pytest.raises(Exception, match="overflow"):
        fill(shop, buyer, order, signature, 2, value=1)


# --- what an order is good for


def test_typehash_is_that_of_the_signed_struct(shop):
    text = "Order(" + ",".join(f"{kind} {name}" for kind, name in ORDER) + ")"
    assert shop.store.ORDER_TYPEHASH() == hexed(keccak(text=text))


def test_orders_are_filled_in_parts_and_no_further(shop, seller, buyer):
    order, signature = order_of(shop, seller, amount=5)
    digest = shop.store.hashOf(order)
    for qty in (2, 2):
        fill(shop, buyer, order, signature, qty)
    with reverts("StoreOrderExhausted", digest, 1):
        fill(shop, buyer, order, signature, 2)
    fill(shop, buyer, order, signature)
    with reverts("StoreOrderExhausted", digest, 0):
        fill(shop, buyer, order, signature)
    with reverts("StoreQuantity", 0):
        fill(shop, buyer, order, signature, 0)


def test_order_is_good_for_what_it_says_only(shop, author, seller, buyer, stranger):
    """Every field is signed; so is the contract, and the chain by its domain."""
    order, signature = order_of(shop, seller)
    shop.items.setApprovalForAll(shop.store, True, {"from": author})
    changes = {
        **{0: str(author), 2: 2, 3: 11, 4: shop.usd.address, 5: 999, 6: str(buyer)},
        **{8: 1, 10: 2, 11: NEVER - 1},
    }
    for index, value in changes.items():
        changed = (*order[:index], value, *order[index + 1 :])
        with reverts("StoreInvalidSignature", changed[0]):
            fill(shop, buyer, changed, signature)
    with reverts("StoreInvalidSignature", seller):
        fill(shop, buyer, (order[0], shop.registry.address, *order[2:]), signature)
    for foreign in (
        order_of(shop, seller, contract=shop.items)[1],
        shop.signed(keyed(4).key, seller, shop.items, 1, amount=10)[1],
        signature[:32] + bytes.fromhex("ff" * 32) + signature[64:],
        b"",
    ):
        with reverts("StoreInvalidSignature", seller):
            fill(shop, buyer, order, foreign)
    fill(shop, buyer, order, signature)


def test_malleated_signature_is_refused(shop, seller, buyer):
    order, signature = order_of(shop, seller)
    n = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    high = (n - int.from_bytes(signature[32:64], "big")).to_bytes(32, "big")
    with reverts("StoreInvalidSignature", seller):
        fill(shop, buyer, order, signature[:32] + high + bytes([55 - signature[64]]))


def test_order_expires(shop, seller, buyer):
    deadline = now() + 100
    order, signature = order_of(shop, seller, deadline=deadline)
    next_block_at(deadline)
    fill(shop, buyer, order, signature)
    next_block_at(deadline + 1)
    with reverts("StoreOrderExpired", deadline):
        fill(shop, buyer, order, signature)


def test_order_for_one_taker(shop, seller, buyer, stranger):
    order, signature = order_of(shop, seller, taker=str(buyer))
    with reverts("StoreNotTaker", buyer):
        fill(shop, stranger, order, signature)
    fill(shop, buyer, order, signature, to=stranger)


def test_cancelled_order_is_dead_even_half_filled(shop, seller, buyer, author):
    order, signature = order_of(shop, seller)
    digest = shop.store.hashOf(order)
    fill(shop, buyer, order, signature, 2)
    for account in (buyer, author):
        with reverts("StoreUnauthorized", account):
            shop.store.cancelOrder(order, {"from": account})
    tx = shop.store.cancelOrder(order, {"from": seller})
    assert plain(tuple(tx.events["OrderCancelled"].values())) == (plain(digest), seller)
    assert shop.store.filledOf(digest) == EVERYTHING
    with reverts("StoreOrderCancelled", digest):
        fill(shop, buyer, order, signature)
    other, signed = order_of(shop, seller, salt=2)
    fill(shop, buyer, other, signed)


def test_all_orders_are_cancelled_by_the_counter(shop, seller, buyer):
    orders = [order_of(shop, seller, salt=salt) for salt in (1, 2)]
    early, early_signature = order_of(shop, seller, counter=1, salt=3)
    with reverts("StoreOrderCancelled", shop.store.hashOf(early)):  # of a counter that isn't reached
        fill(shop, buyer, early, early_signature)
    tx = shop.store.cancelAllOrders({"from": seller})
    assert plain(tuple(tx.events["OrdersCancelled"].values())) == (seller, 1)
    for order, signature in orders:
        with reverts("StoreOrderCancelled", shop.store.hashOf(order)):
            fill(shop, buyer, order, signature)
    fill(shop, buyer, early, early_signature)


def test_contract_wallet_sells_by_its_owners_signature(shop, registry, buyer, wallet):
    """ERC-1271."""
    contract, number = wallet
    terms = {"token": shop.usd.address}
    order, by_another = shop.signed(keyed(4).key, contract, registry, number, **terms)
    shop.fund(buyer, 1_000)
    with reverts("StoreInvalidSignature", contract):
        fill(shop, buyer, order, by_another)
    fill(shop, buyer, *shop.signed(keyed(3).key, contract, registry, number, **terms))
    assert (registry.ownerOf(number), shop.usd.balanceOf(contract)) == (buyer, 950)


def test_seller_that_takes_no_coins_blocks_only_itself(shop, registry, seller, buyer, wallet):
    contract, number = wallet
    with reverts("FailedCall"):
        fill(shop, buyer, *shop.signed(keyed(3).key, contract, registry, number))
    assert registry.ownerOf(number) == contract
    fill(shop, buyer, *order_of(shop, seller))


def test_orders_sell_from_these_three_contracts_only(shop, seller, buyer):
    """No order makes the storefront call anything else: an ERC-20 that it was allowed, or itself."""
    for collection in (shop.usd, shop.store, shop.books, seller):
        order, signature = shop.signed(keyed(3).key, seller, collection, 1)
        with reverts("StoreUnknownCollection", collection):
            fill(shop, buyer, order, signature)


def test_what_is_one_is_sold_as_one(shop, registry, work, author, buyer):
    for collection in (registry, shop.characters):
        order, signature = shop.signed(keyed(1).key, author, collection, work, amount=2)
        with reverts("StoreQuantity", 2):
            fill(shop, buyer, order, signature)


def test_seller_must_hold_and_have_approved(shop, registry, work, author, seller, buyer):
    order, signature = order_of(shop, seller, amount=11)
    with reverts("ERC1155InsufficientBalance", seller, 10, 11, 1):
        fill(shop, buyer, order, signature, 11)
    shop.items.setApprovalForAll(shop.store, False, {"from": seller})
    with reverts("ERC1155MissingApprovalForAll", shop.store, seller):
        fill(shop, buyer, order, signature)
    theirs, signed = shop.signed(keyed(3).key, seller, registry, work)
    with reverts("ERC721IncorrectOwner", seller, work, author):
        fill(shop, buyer, theirs, signed)


def test_characters_are_sold_by_order(shop, work, author, seller, buyer):
    character = minted(shop.characters, class_created(shop.characters, work, author), author, seller)
    order, signature = shop.signed(keyed(3).key, seller, shop.characters, character)
    with reverts("ERC721InsufficientApproval", shop.store, character):
        fill(shop, buyer, order, signature)
    shop.characters.approve(shop.store, character, {"from": seller})
    tx = fill(shop, buyer, order, signature)
    assert shop.characters.ownerOf(character) == buyer
    assert tx.events["PaymentReceived"]["workId"] == work


def test_used_ticket_is_not_sold_to_who_wants_an_unused_one(shop, work, author, seller, buyer):
    """Checked in just before the sale; somebody may still want it as a souvenir."""
    ticket = minted(shop.characters, class_created(shop.characters, work, author, ticket=True), author, seller)
    shop.characters.approve(shop.store, ticket, {"from": seller})
    order, signature = shop.signed(keyed(3).key, seller, shop.characters, ticket, amount=1)
    shop.characters.checkIn(ticket, {"from": author})
    with reverts("StoreTicketUsed", ticket):
        fill(shop, buyer, order, signature, pin=(ZERO, 0, True))
    fill(shop, buyer, order, signature)
    second = minted(shop.characters, ticket >> 32, author, seller)
    shop.characters.approve(shop.store, second, {"from": seller})
    fill(shop, buyer, *shop.signed(keyed(3).key, seller, shop.characters, second), pin=(ZERO, 0, True))
    assert shop.characters.balanceOf(buyer) == 2


def test_case_26_soulbound_tokens_are_not_sold(shop, work, author, seller, buyer):
    item = item_created(shop.items, work, author, soulbound=True)
    shop.items.mint(seller, item, 1, {"from": author})
    order, signature = shop.signed(keyed(3).key, seller, shop.items, item)
    with reverts("ItemSoulbound", item):
        fill(shop, buyer, order, signature)


@pytest.mark.parametrize("status", [SUSPENDED, REVOKED])
def test_case_24_orders_stop_with_suspension_and_revocation(shop, registry, work, seller, buyer, admin, status):
    order, signature = order_of(shop, seller)
    if status == REVOKED:
        registry.revoke(work, NONE, {"from": admin})
    else:
        registry.setStatus(work, status, NONE, {"from": admin})
    with reverts("StoreWorkStatus", work, status):
        fill(shop, buyer, order, signature)


def test_case_33_token_bound_account_drained_before_the_order_is_filled(shop, registry, work, author, buyer):
    bound = TokenBoundAccount.deploy(registry, work, {"from": author})
    order, signature = shop.signed(keyed(1).key, author, registry, work)
    pin = (bound, 0, False)
    bound.drain({"from": author})
    with reverts("StoreStateChanged", 0, 1):
        fill(shop, buyer, order, signature, pin=pin)
    fill(shop, buyer, order, signature, pin=(bound, 1, False))
    assert registry.ownerOf(work) == buyer


def test_reentrant_receiver_cannot_fill_again(shop, seller, buyer):
    order, signature = order_of(shop, seller, price=0)
    receiver = ReentrantReceiver.deploy({"from": buyer})
    receiver.arm(shop.store, shop.store.fillOrder.encode_input(order, signature, 1, receiver, NO_PIN))
    fill(shop, buyer, order, signature, to=receiver)
    assert (receiver.attempts(), receiver.succeeded(), shop.items.balanceOf(receiver, 1)) == (1, False, 1)


def test_case_78_orders_through_the_forwarder_are_paid_in_the_native_coin(shop, seller, buyer, admin):
    shop.fund(buyer, 10**6)
    dollars, signature = order_of(shop, seller, token=shop.usd.address)
    data = shop.store.fillOrder.encode_input(dollars, signature, 1, buyer, NO_PIN)
    with reverts("StoreDirectOnly"):
        shop.forwarder.forward(shop.store, buyer, data, {"from": admin})
    coins, signature = order_of(shop, seller, taker=str(buyer))
    data = shop.store.fillOrder.encode_input(coins, signature, 1, buyer, NO_PIN)
    tx = shop.forwarder.forward(shop.store, buyer, data, {"from": admin, "value": 1_000})
    assert tx.events["OrderFilled"]["buyer"] == buyer
    shop.forwarder.forward(shop.store, seller, shop.store.cancelAllOrders.encode_input(), {"from": admin})
    assert shop.store.counterOf(seller) == 1


# --- works that are sold with a share


def leaf_at(tree, index):
    return list(placed(tree))[index]


def with_share(shop, author, work, tree, index=0, *, order=None, **given):
    """An order of the work with the author's leaf, and the share that goes with it."""
    leaf = leaf_at(tree, index)
    changes = {"price": 100_000, "shareWeight": leaf.weight, "shareNonce": given.get("nonce", 0)} | (order or {})
    signed = shop.signed(keyed(1).key, author, shop.registry, work, **changes)
    return [*signed, shop.share(keyed(1).key, author, work, leaf, **given)]


def fill_with_share(shop, buyer, order, signature, share, to=None, pin=NO_PIN):
    return shop.store.fillOrderWithShare(order, signature, to or buyer, pin, share, {"from": buyer, "value": order[5]})


@pytest.mark.feature("O4", via="chain")
def test_share_moves_with_the_work_in_one_transaction(shop, registry, work, author, buyer, accounts):
    mine_after(WEEK)
    tree, heir = split_of(author), accounts[5]
    tx = fill_with_share(shop, buyer, *with_share(shop, author, work, tree), to=heir)
    assert registry.ownerOf(work) == heir
    after = replaced(tree, leaf_at(tree, 0).position, Leaf(str(heir), 60))
    assert plain(shop.books.splitOf(work, 2)) == (hexed(node(after).hash), 100)
    event = tx.events["ShareSold"]
    assert plain((event["workId"], event["to"], event["weight"])) == (work, heir, 60)
    assert shop.is_empty()


@pytest.mark.feature("O4", via="chain")
def test_case_87_seller_buyer_and_bystander_of_a_moved_leaf(shop, work, author, buyer, stranger, payer):
    """Up to the sale to the seller, its royalty too; from the next version on to the buyer; bystanders as ever."""
    shop.books.setFeeBps(0, {"from": shop.admin})
    mine_after(WEEK)
    tree = split_of(author)
    before = [leaf_at(tree, index) for index in range(3)]
    pay(shop.books, work, 1_000, payer)
    fill_with_share(shop, buyer, *with_share(shop, author, work, tree))  # a royalty of 5,000
    after = replaced(tree, before[0].position, Leaf(str(buyer), 60))
    pay(shop.books, work, 2_000, payer)
    assert [withdraw(shop.books, work, 1, leaf, stranger) for leaf in before] == [3_600, 1_500, 900]
    found = [withdraw(shop.books, work, 2, leaf_at(after, index), stranger) for index in range(3)]
    assert found == [1_200, 500, 300]


@pytest.mark.feature("O4", via="chain")
def test_case_87_share_sold_within_the_week_is_gathered_and_becomes_active_later(shop, work, author, buyer, payer):
    """Until then the old leaf earns, as the seller signed by activateBy."""
    shop.books.setFeeBps(0, {"from": shop.admin})
    tree = split_of(author)
    fill_with_share(shop, buyer, *with_share(shop, author, work, tree))
    assert shop.books.workOf(work)[2] == 1
    pay(shop.books, work, 1_000, payer)
    mine_after(WEEK)
    shop.books.activate(work, {"from": payer})
    pay(shop.books, work, 1_000, payer)
    assert withdraw(shop.books, work, 1, leaf_at(tree, 0), payer) == 3_600
    after = replaced(tree, leaf_at(tree, 0).position, Leaf(str(buyer), 60))
    assert withdraw(shop.books, work, 2, leaf_at(after, 0), payer) == 600


@pytest.mark.feature("O4", via="chain")
def test_sale_with_settlements_credits_first_what_derivations_owe(shop, registry, author, buyer, payer, stranger):
    """Unsettled royalties would go with the share; the seller's list settles them to the old holders."""
    shop.books.setFeeBps(0, {"from": shop.admin})
    terms = licensed(registry, author)
    tree = split_of(author)
    parent = registered(registry, author, tree=tree, licenceId=terms)
    child = registered(registry, stranger, parents=[parent], shares=[1_000])
    mine_after(WEEK)
    pay(shop.books, child, 10_000, payer)
    settles = [(child, 0, NATIVE)]
    fill_with_share(shop, buyer, *with_share(shop, author, parent, tree, settles=settles, order={"price": 0}))
    assert shop.books.owedOf(child, 0, NATIVE) == 0
    assert withdraw(shop.books, parent, 1, leaf_at(tree, 0), stranger) == 600


def test_case_75_a_sales_reassignment_is_good_for_that_sale_alone(shop, registry, work, author, buyer, stranger):
    mine_after(WEEK)
    tree, deadline = split_of(author), now() + 1_000
    order, signature, share = with_share(shop, author, work, tree, deadline=deadline)
    move, proof, settles, _, signed = share

    # without the sale, by another caller, by the holder, or as a whole sub-tree
    for caller in (stranger, buyer, author):
        with reverts("RevenueInvalidSignature", author):
            shop.books.reassignTo(stranger, move, proof, settles, 0, deadline, signed, {"from": caller})
        with reverts("RevenueUnauthorized", caller):
            shop.books.reassignBySig(move, proof, settles, shop.store, 0, deadline, signed, {"from": caller})

    # with another order: of the thief for a work of its own, or of the author for something else
    theirs = registered(registry, stranger)
    registry.setApprovalForAll(shop.store, True, {"from": stranger})
    stolen, by_thief = shop.signed(keyed(6).key, stranger, registry, theirs, shareWeight=60, price=100_000)
    with reverts("StoreShareMismatch"):
        fill_with_share(shop, buyer, stolen, by_thief, share)
    other = registered(registry, author)
    for changes in ({"tokenId": other}, {"shareWeight": 59}, {"shareWeight": 0}, {"collection": str(shop.items)}):
        fields = {"shareWeight": 60, "price": 100_000} | changes
        token_id, collection = fields.pop("tokenId", work), fields.pop("collection", registry)
        wrong, its = shop.signed(keyed(1).key, author, collection, token_id, **fields)
        with reverts("StoreShareMismatch"):
            fill_with_share(shop, buyer, wrong, its, share)
    another_nonce, its = shop.signed(
        keyed(1).key, author, registry, work, shareWeight=60, shareNonce=1 << 64, price=100_000
    )
    with reverts("RevenueInvalidSignature", author):
        fill_with_share(shop, buyer, another_nonce, its, share)

    # after its deadline, though the order still stands
    next_block_at(deadline + 1)
    with reverts("RevenueSignatureExpired", deadline):
        fill_with_share(shop, buyer, order, signature, share)
    assert registry.ownerOf(work) == author
    assert shop.books.workOf(work)[2] == 1


def test_case_75_next_owner_cannot_sell_the_former_ones_share(shop, registry, work, author, seller, buyer):
    """The author signed a share for a sale that never was. Who owns the work now sells it, with that signature."""
    mine_after(WEEK)
    _, _, share = with_share(shop, author, work, split_of(author))
    registry.transferFrom(author, seller, work, {"from": author})
    registry.approve(shop.store, work, {"from": seller})
    order, signature = shop.signed(keyed(3).key, seller, registry, work, shareWeight=60, price=100_000)
    with reverts("StoreShareMismatch"):
        fill_with_share(shop, buyer, order, signature, share)


def test_case_75_order_with_a_share_cannot_be_filled_without_it(shop, work, author, buyer):
    """Else the seller could keep what the buyer pays for."""
    order, signature, _ = with_share(shop, author, work, split_of(author))
    with reverts("StoreShareMismatch"):
        fill(shop, buyer, order, signature)


def test_share_without_order_of_a_share(shop, work, author, buyer):
    order, signature = shop.signed(keyed(1).key, author, shop.registry, work)
    share = shop.share(keyed(1).key, author, work, leaf_at(split_of(author), 0))
    with reverts("StoreShareMismatch"):
        fill_with_share(shop, buyer, order, signature, share)


def test_sale_fails_whole_if_the_share_moved_before(shop, registry, work, author, buyer, stranger):
    """The seller reassigns its leaf first: no money moves, no work."""
    tree = split_of(author)
    args = with_share(shop, author, work, tree)
    reassign(shop.books, work, leaf_at(tree, 0), Leaf(str(stranger), 60))
    balance = author.balance()
    with reverts("RevenueInvalidProof"):
        fill_with_share(shop, buyer, *args)
    assert (registry.ownerOf(work), author.balance()) == (author, balance)


def test_proof_may_be_rebuilt_when_another_leaf_moved(shop, work, author, buyer, stranger):
    """Signed is the position, not the proof: a neighbour's move doesn't spoil the sale."""
    tree = split_of(author)
    order, signature, share = with_share(shop, author, work, tree)
    reassign(shop.books, work, leaf_at(tree, 2), Branch(Leaf(str(stranger), 5), Leaf(str(author), 10)))
    with reverts("RevenueInvalidProof"):
        fill_with_share(shop, buyer, order, signature, share)
    moved = replaced(tree, leaf_at(tree, 2).position, Branch(Leaf(str(stranger), 5), Leaf(str(author), 10)))
    rebuilt = (share[0], leaf_at(moved, 0).proof, *share[2:])
    fill_with_share(shop, buyer, order, signature, rebuilt)


def test_share_of_a_disputed_or_frozen_work_is_not_sold(shop, registry, work, author, buyer, admin):
    args = with_share(shop, author, work, split_of(author))
    disputed(registry, work)
    with reverts("RevenueWorkStatus", work, DISPUTED):
        fill_with_share(shop, buyer, *args)
    send_as(registry, registry.setStanding, work, DISPUTED, False, NONE, sender=registry.standing())
    shop.books.freeze(work, NONE, True, {"from": admin})
    with reverts("RevenueFrozen", work):
        fill_with_share(shop, buyer, *args)


def test_share_goes_to_somebody(shop, work, author, buyer):
    order, signature, share = with_share(shop, author, work, split_of(author))
    with reverts("RevenueInvalidProof"):
        shop.store.fillOrderWithShare(order, signature, ZERO, NO_PIN, share, {"from": buyer, "value": 100_000})


def test_case_33_pin_holds_for_a_sale_with_a_share(shop, registry, work, author, buyer):
    bound = TokenBoundAccount.deploy(registry, work, {"from": author})
    bound.drain({"from": author})
    args = with_share(shop, author, work, split_of(author))
    with reverts("StoreStateChanged", 0, 1):
        fill_with_share(shop, buyer, *args, pin=(bound, 0, False))


def test_order_with_a_share_is_filled_once(shop, registry, work, author, buyer):
    mine_after(DAY)
    args = with_share(shop, author, work, split_of(author))
    fill_with_share(shop, buyer, *args)
    registry.transferFrom(buyer, author, work, {"from": buyer})
    with reverts("StoreOrderExhausted", shop.store.hashOf(args[0]), 0):
        fill_with_share(shop, buyer, *args)
    assert counters(shop.books, work)[0] == 5_000 - 125
