"""Storefront behind the real SessionForwarder: what a session key can do in it, and what it can't."""

import pytest
from brownie import CarelessForwarder
from eth_account import Account
from kit import DAY, now, reverts
from money import keyed
from sessions import Scope, by_session, request
from shop import EDITION, NO_PIN, REF, deployed, item_created, listing
from works import registered

pytestmark = pytest.mark.feature("O3", via="chain")

KEY = Account.from_key(b"\x11" * 32)
NAMES = ("buy", "list", "reprice", "fillOrder", "subscribe", "cancelAllOrders")


@pytest.fixture(scope="module")
def owner(accounts):
    """Granted a session to KEY: every function below, 5,000 wei in all."""
    return accounts[4]


@pytest.fixture(scope="module")
def session(authority, registry, books, forwarder, admin):
    """A shop that trusts the real forwarder."""
    return deployed(authority, registry, books, forwarder, admin)


@pytest.fixture(scope="module")
def scope(session):
    return Scope(*((session.store, bytes.fromhex(session.store.signatures[name][2:])) for name in NAMES))


@pytest.fixture
def edition(session, registry, forwarder, scope, owner, accounts):
    """Copies for 1,000 wei of a work of accounts[1]; the session is granted."""
    forwarder.grant((KEY.address, scope.root, 5_000, now() + DAY), {"from": owner})
    return session.edition(registered(registry, accounts[1]), accounts[1], 1_000)


def signed(forwarder, session, scope, owner, name, *args, value=0):
    """A request of the session key for a function of the storefront."""
    function = getattr(session.store, name)
    made = request(owner, session.store, function.encode_input(*args), value)
    return by_session(forwarder, KEY, made, scope.proof(session.store, made.data[:4]))


def test_case_51_session_buys_once_with_each_signature(forwarder, session, scope, owner, edition, stranger):
    """The second submission of the same request fails: the account's nonce has moved on."""
    order = signed(forwarder, session, scope, owner, "buy", edition, 2, 2_000, owner, REF, value=2_000)
    tx = forwarder.execute(order, {"from": stranger, "value": 2_000})
    assert tx.events["Purchased"]["buyer"] == owner
    assert forwarder.nonces(owner) == 1
    with reverts("ERC2771ForwarderInvalidSigner"):
        forwarder.execute(order, {"from": stranger, "value": 2_000})
    assert session.items.balanceOf(owner, 1) == 2


def test_session_spends_no_more_than_it_was_granted(forwarder, session, scope, owner, edition, stranger):
    order = signed(forwarder, session, scope, owner, "buy", edition, 6, 6_000, owner, REF, value=6_000)
    with reverts("SessionValueExceeded", 6_000, 5_000):
        forwarder.execute(order, {"from": stranger, "value": 6_000})


def test_case_78_session_key_reaches_no_allowance(forwarder, session, scope, owner, edition, registry, stranger):
    """Though its owner granted it every function and has dollars, items and approvals there."""
    work = registered(registry, owner)
    mine = item_created(session.items, work, owner)
    registry.setApprovalForAll(session.store, True, {"from": owner})
    session.fund(owner, 10**6)
    dollars = session.edition(work, owner, 1_000, token=session.usd)
    session.store.createPlan(work, session.usd, 10, DAY, {"from": owner})
    for name, args in (
        ("buy", (dollars, 1, 1_000, owner, REF)),
        ("subscribe", (1, 1, 10, owner)),
        ("list", (listing(EDITION, mine, 1),)),
        ("reprice", (dollars, 1)),
    ):
        with reverts("FailedCall"):
            forwarder.execute(signed(forwarder, session, scope, owner, name, *args), {"from": stranger})
    assert session.usd.balanceOf(owner) == session.usd.allowance(owner, session.store) == 10**6
    assert session.store.listingCount() == dollars
    forwarder.execute(signed(forwarder, session, scope, owner, "cancelAllOrders"), {"from": stranger})
    assert session.store.counterOf(owner) == 1


def test_case_78_session_key_fills_no_order_in_tokens(forwarder, session, scope, owner, edition, accounts, stranger):
    author = accounts[1]
    session.items.mint(author, 1, 1, {"from": author})
    session.items.setApprovalForAll(session.store, True, {"from": author})
    session.fund(owner, 10**6)
    for token, refused in ((session.usd.address, True), (None, False)):
        terms = {"token": token} if token else {}
        order, signature = session.signed(keyed(1).key, author, session.items, 1, **terms)
        value = 0 if token else 1_000
        args = (order, signature, 1, owner, NO_PIN)
        made = signed(forwarder, session, scope, owner, "fillOrder", *args, value=value)
        if refused:
            with reverts("FailedCall"):
                forwarder.execute(made, {"from": stranger, "value": value})
        else:
            forwarder.execute(made, {"from": stranger, "value": value})
    assert (session.items.balanceOf(owner, 1), session.usd.balanceOf(owner)) == (1, 10**6)


def test_careless_forwarder_is_not_the_trusted_one(session, owner, edition, admin):
    other = CarelessForwarder.deploy({"from": admin})
    data = session.store.cancelAllOrders.encode_input()
    other.forward(session.store, owner, data, {"from": admin})
    assert (session.store.counterOf(owner), session.store.counterOf(other)) == (0, 1)
