"""Gas of the storefront: whole transactions against committed budgets in gas_shop.json. Items have theirs there.

Steady: work, platform, buyer and seller have been paid, or have held such a token, before.
"""

import pytest
from kit import DAY, mine_after
from money import WEEK, Placed, keyed
from shop import CHARACTER, EDITION, NO_PIN, RENTAL, WORK, class_created, item_created, listing, minted, within_budget
from works import params

from backend.rewards.merkle import Tree, leaf_split

pytestmark = pytest.mark.feature("O3", via="chain")


def measure(operation, tx):
    within_budget(f"Storefront.{operation}", tx)


def test_gas_of_offers(shop, work, author):
    item = item_created(shop.items, work, author)
    measure("list", shop.store.list(listing(EDITION, item, 1_000), {"from": author}))
    measure("reprice", shop.store.reprice(1, 2, {"from": author}))
    measure("cancelListing", shop.store.cancelListing(1, {"from": author}))
    measure("createPlan", shop.store.createPlan(work, shop.usd, 1, DAY, {"from": author}))


def test_gas_of_first_sales(shop, work, author, buyer):
    for currency, token in (("native", {}), ("token", {"token": shop.usd})):
        number = shop.edition(work, author, 10**6, **token)
        measure(f"buy an edition, {currency}, first", shop.buy(buyer, number))
        measure(f"buy an edition, {currency}, steady", shop.buy(buyer, number))
    tickets = shop.listed(author, CHARACTER, class_created(shop.characters, work, author, ticket=True), 10**6)
    shop.buy(buyer, tickets)
    measure("buy a ticket, steady", shop.buy(buyer, tickets))
    measure("buy 10 tickets, steady", shop.buy(buyer, tickets, 10))


def test_gas_of_a_work(shop, registry, work, author, buyer):
    registry.setApprovalForAll(shop.store, True, {"from": author})
    number = shop.listed(author, WORK, work, 10**6)
    measure("buy a work, first", shop.buy(buyer, number))


def test_gas_of_access(shop, work, author, buyer):
    for token, value in (("native", 10**6), ("token", 0)):
        paid_in = "0x" + "00" * 20 if value else shop.usd
        plan = shop.store.createPlan(work, paid_in, 10**6, DAY, {"from": author}).events["PlanCreated"]["planId"]
        shop.fund(buyer, 3 * 10**6)
        for name in ("first", "steady"):
            tx = shop.store.subscribe(plan, 1, 10**6, buyer, {"from": buyer, "value": value})
            if (token, name) != ("token", "first"):  # the subscription is not new, the token is
                measure(f"subscribe, {token}, {name}", tx)
    character = minted(shop.characters, class_created(shop.characters, work, author), author, author)
    shop.characters.approve(shop.store, character, {"from": author})
    let = shop.listed(author, RENTAL, character, 10**6, period=DAY, maxSupply=10 * DAY)
    for name in ("first", "prolonged"):
        measure(f"rent, {name}", shop.store.rent(let, DAY, 10**6, {"from": buyer, "value": 10**6}))


def test_gas_of_orders(shop, work, author, buyer, accounts):
    seller = accounts[3]
    item = item_created(shop.items, work, author)
    shop.items.mint(seller, item, 10, {"from": author})
    shop.items.setApprovalForAll(shop.store, True, {"from": seller})
    for currency, terms in (("native", {}), ("token", {"token": shop.usd.address})):
        order, signature = shop.signed(keyed(3).key, seller, shop.items, item, amount=10, price=10**6, **terms)
        value = 0 if terms else 10**6
        for name in ("first", "steady"):
            shop.fund(buyer, 10**6)
            tx = shop.store.fillOrder(order, signature, 1, buyer, NO_PIN, {"from": buyer, "value": value})
            measure(f"fillOrder of items, {currency}, {name}", tx)
    measure("cancelOrder", shop.store.cancelOrder(order, {"from": seller}))
    measure("cancelAllOrders", shop.store.cancelAllOrders({"from": seller}))


def test_gas_of_a_work_with_a_share_of_10_000(shop, registry, author, buyer):
    """The seller's leaf has 14 nodes of proof; the split changes at once."""
    holders = [(str(author), 500)] + [("0x" + i.to_bytes(20, "big").hex(), 1 + i % 97) for i in range(1, 10_000)]
    tree = Tree([leaf_split(*holder) for holder in holders])
    proof, root = tree.proof(0), tree.root_node
    leaf = Placed(*holders[0], proof.path, proof.nodes)
    of_it = (leaf.account, leaf.weight, leaf.path, leaf.proof)
    split = {"splitRoot": root.hash, "splitTotal": root.sum, "leaf": of_it}
    work = registry.register(params(author, **split), {"from": author}).events["WorkRegistered"]["workId"]
    registry.setApprovalForAll(shop.store, True, {"from": author})
    mine_after(WEEK)
    terms = {"price": 10**6, "shareWeight": leaf.weight}
    order, signature = shop.signed(keyed(1).key, author, registry, work, **terms)
    share = shop.share(keyed(1).key, author, work, leaf)
    given = {"from": buyer, "value": 10**6}
    measure(
        "fillOrderWithShare of 10,000, first",
        shop.store.fillOrderWithShare(order, signature, buyer, NO_PIN, share, given),
    )


def test_gas_of_deployment(shop):
    measure("deployment", shop.store.tx)
    within_budget("Items.deployment", shop.items.tx)
