"""Storefront against its model through random histories, a planted bug, and a rebuild from events alone."""

import pytest
from brownie import KeepingStorefront
from histories import seeds
from kit import logs_of
from money import plain
from shop import deployed
from shop_machine import Rebuilt, ShopMachine

pytestmark = pytest.mark.feature("O3", via="chain")

STEPS = 150


def run(machine, steps=STEPS):
    for _ in range(steps):
        machine.step()


@pytest.mark.parametrize("seed", seeds(STEPS))
def test_stateful_storefront_equals_its_model(shop, accounts, seed, reached):
    """Money in is credited in the ledger or paid to sellers, to the unit; the storefront holds nothing after a call."""
    machine = ShopMachine(shop, accounts, seed)
    run(machine)
    machine.check()
    rebuilt_equals(machine)
    reached.add(machine.counted)


def test_stateful_histories_of_the_storefront_got_somewhere(reached):
    reached.demand({("list", "done"): 6, ("buy", "done"): 0.5, ("fillOrder", "done"): 0.5, ("subscribe", "done"): 0.2})
    reached.demand({("buy", "refused"): 6, ("fillOrder", "refused"): 6, ("rent", "refused"): 3})


def test_stateful_comparison_finds_the_planted_bug(authority, registry, books, forwarder, admin, accounts):
    """The storefront that keeps a unit of odd prices must not pass: else the comparison shows nothing."""
    machine = ShopMachine(deployed(authority, registry, books, forwarder, admin, KeepingStorefront), accounts, 0)
    with pytest.raises(AssertionError, match=r"the storefront keeps 1 of"):
        run(machine)


def rebuilt_equals(machine):
    """Case 60: the storefront's events alone rebuild its state, which the getters confirm."""
    store, found = machine.shop.store, Rebuilt()
    for name, args, _ in logs_of(store):
        found.fold(name, args)
    assert len(found.listings) == store.listingCount() == len(machine.model.offers)
    for number, facts in found.listings.items():
        assert plain(store.listingOf(number)) == tuple(facts)
    assert found.rentals == machine.model.rentals
    for character, number in found.rentals.items():
        assert store.rentalOf(character) == number
    assert len(found.plans) == store.planCount()
    for number, facts in found.plans.items():
        assert plain(store.planOf(number)) == tuple(facts)
    for (work, account), until in found.until.items():
        assert store.subscribedUntil(work, account) == until == machine.model.until[work, account]
    for signed in machine.orders:
        digest = plain(store.hashOf(signed.order))
        expected = 2**256 - 1 if signed.cancelled else signed.filled
        assert store.filledOf(digest) == found.filled[digest] == expected
    for person in machine.people:
        assert store.counterOf(person) == found.counters.get(person, 0) == machine.model.counters[person]
