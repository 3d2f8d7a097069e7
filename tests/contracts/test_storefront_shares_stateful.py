"""Works that are sold with a share of their revenue: random histories against the ledger's twin, and planted bugs."""

import pytest
from brownie import PayersStorefront
from histories import seeds
from share_machine import ShareMachine
from shop import deployed

pytestmark = pytest.mark.feature("O3", via="chain")

STEPS = 120


def run(machine):
    for _ in range(STEPS):
        machine.step()
    machine.check()


@pytest.mark.parametrize("seed", seeds(STEPS))
def test_stateful_sales_with_a_share_equal_their_model(shop, accounts, seed, reached):
    """Price, work and share change hands together or not at all; each version pays its holders, to the unit."""
    machine = ShareMachine(shop, accounts, seed)
    run(machine)
    reached.add(machine.counted)


def test_stateful_histories_of_sales_with_a_share_got_somewhere(reached):
    reached.demand({("fillOrderWithShare", "done"): 3, ("reassign", "done"): 3, ("withdraw", "done"): 3})
    reached.demand({("fillOrderWithShare", "refused"): 10, ("activate", "done"): 0.3})


def test_stateful_comparison_finds_the_planted_bug(authority, registry, books, forwarder, admin, accounts):
    """The storefront that gives the share to who pays must not pass: else the comparison shows nothing."""
    planted = deployed(authority, registry, books, forwarder, admin, PayersStorefront)
    with pytest.raises(AssertionError, match=r"refused|something else is pending|another split"):
        run(ShareMachine(planted, accounts, 0))


class BuyersRoyalty(ShareMachine):
    """A rule wrong on purpose: the royalty of a sale is the buyer's already."""

    def share_sold(self, work, token, royalty, position, after):
        self.moved(work, position, after)
        if royalty:
            self.twin.pay(work, token, royalty)


def test_stateful_comparison_finds_a_broken_model(shop, accounts):
    """The same for a model: a share that moves at once takes the sale's royalty along."""
    with pytest.raises(AssertionError, match=r"was refused|has another sum"):
        run(BuyersRoyalty(shop, accounts, 2))  # every second seed has such a sale
