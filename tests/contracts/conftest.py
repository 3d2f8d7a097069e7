"""Fixtures of the contracts' tests: the authority, a ledger whose registry is an account, the real pair, tokens.

Who is who: accounts[0] deploys and administers, accounts[9] stands for the registry where there is none, accounts[8] is
the platform's treasury, accounts[7] pays.
"""

import pytest
from brownie import (
    AccessManager,
    AttestationRegistry,
    CarelessForwarder,
    MockUSD,
    OpenToken,
    RevenueLedger,
    RewardDistributor,
    SessionForwarder,
    TroupeToken,
    WorkRegistry,
    WorkStanding,
)
from histories import Reached
from kit import DAY, TRP, now
from money import DIGEST
from shop import deployed
from works import registered

FEE_BPS = 250
ROYALTY_BPS = 500
DISPUTE_BOND = 1_000 * TRP


@pytest.fixture(autouse=True)
def isolation(fn_isolation):
    """Each test finds the chain as its module's fixtures left it."""


@pytest.fixture(scope="module")
def reached():
    """What the module's random histories reached; its last test makes the demands."""
    return Reached()


@pytest.fixture(scope="session")
def admin(accounts):
    return accounts[0]


@pytest.fixture(scope="session")
def author(accounts):
    return accounts[1]


@pytest.fixture(scope="session")
def minter(accounts):
    return accounts[2]


@pytest.fixture(scope="session")
def buyer(accounts):
    return accounts[4]


@pytest.fixture(scope="session")
def payer(accounts):
    return accounts[7]


@pytest.fixture(scope="session")
def treasury(accounts):
    return accounts[8]


@pytest.fixture(scope="session")
def stranger(accounts):
    return accounts[6]


@pytest.fixture(scope="module")
def authority(admin, module_isolation):
    return AccessManager.deploy(admin, {"from": admin})


@pytest.fixture(scope="module")
def ledger(authority, admin, treasury, accounts):
    """A ledger that accounts[9] may open works in, with a fee of 2.5%."""
    split = [(treasury, 1_000_000)]
    return RevenueLedger.deploy(authority, accounts[9], FEE_BPS, split, DIGEST, {"from": admin})


@pytest.fixture(scope="module")
def usd(ledger, admin):
    """MockUSD, allowed in `ledger`."""
    token = MockUSD.deploy({"from": admin})
    ledger.setTokenAllowed(token, True, {"from": admin})
    return token


@pytest.fixture(scope="module")
def coin(ledger, admin):
    """A plain ERC-20 with 18 decimals, allowed in `ledger`."""
    token = OpenToken.deploy({"from": admin})
    ledger.setTokenAllowed(token, True, {"from": admin})
    return token


@pytest.fixture(scope="module")
def forwarder(admin, module_isolation):
    return SessionForwarder.deploy({"from": admin})


@pytest.fixture(scope="module")
def attestations(admin, module_isolation):
    return AttestationRegistry.deploy({"from": admin})


@pytest.fixture(scope="module")
def token(authority, admin, accounts):
    """The token that bonds are posted in; accounts[1] to accounts[7] have some."""
    genesis = [(person, 100_000 * TRP) for person in accounts[1:8]]
    return TroupeToken.deploy("Troupe", "TRP", 10**27, authority, admin, genesis, {"from": admin})


@pytest.fixture(scope="module")
def pool(authority, token, admin):
    """The distributor whose stream of the token gets lost bonds."""
    parameters = (2 * DAY, 14 * DAY, 10_000 * TRP, 1_000 * TRP, 64_000 * TRP)
    return RewardDistributor.deploy(authority, token, now(), parameters, {"from": admin})


@pytest.fixture(scope="module")
def registry(authority, admin, treasury, forwarder, attestations, pool):
    """The real registry with its ledger and its standing, deployed as in production: each for a predicted address."""
    predicted = [admin.get_deployment_address(admin.nonce + ahead) for ahead in (1, 2)]
    split = [(treasury, 1_000_000)]
    books = RevenueLedger.deploy(authority, predicted[0], FEE_BPS, split, DIGEST, {"from": admin})
    works = WorkRegistry.deploy(
        authority, books, predicted[1], forwarder, ROYALTY_BPS, "ipfs://registry", {"from": admin}
    )
    standing = WorkStanding.deploy(authority, works, attestations, pool, DISPUTE_BOND, {"from": admin})
    assert [works.address, standing.address] == predicted
    return works


@pytest.fixture(scope="module")
def work(registry, author):
    """A work of the author in `registry`."""
    return registered(registry, author)


@pytest.fixture(scope="module")
def standing(registry):
    """The registry's contract of consents and disputes."""
    return WorkStanding.at(registry.standing())


@pytest.fixture(scope="module")
def books(registry):
    """The registry's ledger."""
    return RevenueLedger.at(registry.ledger())


@pytest.fixture(scope="module")
def shop(authority, registry, books, admin):
    """The storefront with items, characters, a token, and a forwarder that takes anyone's word, as shop.Shop."""
    careless = CarelessForwarder.deploy({"from": admin})
    return deployed(authority, registry, books, careless, admin)
