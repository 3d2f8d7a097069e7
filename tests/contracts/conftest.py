"""Fixtures of the contracts' tests: the authority, a ledger whose registry is an account, the real pair, tokens.

Who is who: accounts[0] deploys and administers, accounts[9] stands for the registry where there is none, accounts[8] is
the platform's treasury, accounts[7] pays.
"""

import pytest
from brownie import AccessManager, MockUSD, OpenToken, RevenueLedger, SessionForwarder, WorkRegistry
from money import DIGEST

FEE_BPS = 250
ROYALTY_BPS = 500


@pytest.fixture(scope="session")
def admin(accounts):
    return accounts[0]


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
def registry(authority, admin, treasury, forwarder):
    """The real registry with its own ledger, deployed as in production: the ledger first, for a predicted address."""
    predicted = admin.get_deployment_address(admin.nonce + 1)
    split = [(treasury, 1_000_000)]
    books = RevenueLedger.deploy(authority, predicted, FEE_BPS, split, DIGEST, {"from": admin})
    works = WorkRegistry.deploy(authority, books, forwarder, ROYALTY_BPS, "ipfs://registry", {"from": admin})
    assert works.address == predicted
    return works


@pytest.fixture(scope="module")
def books(registry):
    """The registry's ledger."""
    return RevenueLedger.at(registry.ledger())
