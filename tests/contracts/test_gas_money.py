"""Gas of the money contracts: whole transactions, against the committed budgets and ceilings of gas_money.json."""

from pathlib import Path

import pytest
from brownie import MerkleSumHarness, RevenueLedger, WorkRegistry, web3
from conftest import FEE_BPS, ROYALTY_BPS
from kit import mine_after, within_budget
from money import DIGEST, NATIVE, NONE, TIP, WEEK, Leaf, Placed, claim, grown, opened, pay, placed, witness
from works import licensed, params, registered

from backend.rewards.merkle import Tree, leaf_split

pytestmark = pytest.mark.feature("R2", via="chain")

GAS_FILE = Path(__file__).with_name("gas_money.json")
CODE_LIMIT = 24_576


def within(operation, tx):
    """kit.within_budget with the budgets of the money contracts."""
    within_budget(operation, tx, GAS_FILE)


@pytest.fixture(scope="module")
def crowd(accounts):
    """10,000 holders; the leaf with the longest proof, which has 14 nodes."""
    holders = [(str(accounts[1]), 500)] + [("0x" + i.to_bytes(20, "big").hex(), 1 + i % 97) for i in range(1, 10_000)]
    tree = Tree([leaf_split(*holder) for holder in holders])
    proof = tree.proof(0)
    assert len(proof.nodes) == 14
    return tree.root_node, Placed(*holders[0], proof.path, proof.nodes)


@pytest.fixture
def crowded(ledger, crowd):
    root, leaf = crowd
    ledger.open(1, [], root.hash, root.sum, DIGEST, witness(leaf), {"from": ledger.registry()})
    return leaf


def test_gas_pay_native(ledger, payer, accounts):
    """Steady: the work and the platform have been paid before."""
    opened(ledger, 1, grown([(accounts[1], 1)]))
    within("pay native, first ever", pay(ledger, 1, 10**18, payer))
    within("pay native, steady", pay(ledger, 1, 10**18, payer))


def test_gas_pay_does_not_grow_with_the_split(ledger, crowded, payer, accounts):
    """R2: 10,000 holders or one."""
    opened(ledger, 2, grown([(accounts[1], 1)]))
    for work in (1, 2):
        pay(ledger, work, 10**18, payer)
    many, one = (pay(ledger, work, 10**18, payer).gas_used for work in (1, 2))
    assert many == one


def test_gas_pay_token(ledger, coin, payer, accounts):
    opened(ledger, 1, grown([(accounts[1], 1)]))
    coin.mint(payer, 10**20, {"from": payer})
    coin.approve(ledger, 2**256 - 1, {"from": payer})
    for name in ("pay token, first ever", "pay token, steady"):
        within(name, ledger.payToken(1, coin, 10**18, TIP, NONE, {"from": payer}))


def test_gas_settle(ledger, payer, accounts):
    opened(ledger, 1, grown([(accounts[1], 1)]))
    opened(ledger, 2, grown([(accounts[1], 1)]), edges=[(1, 1_000, False)])
    for name in ("settle, first", "settle, steady"):
        pay(ledger, 2, 10**18, payer)
        within(name, ledger.settle(2, 0, NATIVE, {"from": payer}))


def test_gas_settle_many(ledger, payer, accounts):
    """Ten edges of a chain at once."""
    for work in range(1, 12):
        opened(ledger, work, grown([(accounts[1], 1)]), edges=[(work - 1, 5_000, True)] if work > 1 else [])
    edges = [(work, 0, NATIVE) for work in range(11, 1, -1)]
    for name in ("settleMany of 10, first", "settleMany of 10, steady"):
        pay(ledger, 11, 10**18, payer)
        within(name, ledger.settleMany(edges, {"from": payer}))


def test_gas_withdraw(ledger, crowded, coin, payer):
    """A holder that has had coins and tokens before, 14 nodes of proof."""
    leaf = crowded
    coin.mint(leaf.account, 1, {"from": payer})
    for token, names in ((NATIVE, ("first", "steady")), (coin, ("first, token", "steady, token"))):
        for name in names:
            pay(ledger, 1, 10**18, payer, token=token)
            tx = ledger.withdraw(claim(1, 1, leaf, token), leaf.proof, {"from": payer})
            within(f"withdraw of 10,000, {name}", tx)


def test_gas_reassign(ledger, crowded, payer, stranger):
    leaf = crowded
    args = (1, leaf.account, leaf.weight, leaf.path, leaf_split(str(stranger), leaf.weight).hash, DIGEST, 2**48 - 1)
    within("reassign of 10,000, gathered", ledger.reassign(args, leaf.proof, [], {"from": leaf.account}))
    mine_after(WEEK)
    within("activate", ledger.activate(1, {"from": payer}))
    mine_after(WEEK)
    back = (1, str(stranger), leaf.weight, leaf.path, leaf_split(leaf.account, leaf.weight).hash, DIGEST, 2**48 - 1)
    within("reassign of 10,000, at once", ledger.reassign(back, leaf.proof, [], {"from": stranger}))


def test_gas_first_payment_in_a_new_version(ledger, payer, accounts):
    opened(ledger, 1, grown([(accounts[1], 1)]))
    pay(ledger, 1, 10**18, payer)
    mine_after(WEEK)
    leaf = next(placed(Leaf(str(accounts[1]), 1)))
    args = (1, leaf.account, 1, 0, leaf_split(str(accounts[2]), 1).hash, DIGEST, 2**48 - 1)
    ledger.reassign(args, [], [], {"from": leaf.account})
    within("pay native, first in a new version", pay(ledger, 1, 10**18, payer))


def test_gas_register(registry, crowd, accounts):
    """Each by an account that has no work yet; the first of all warms the counter."""
    registered(registry, accounts[5])
    terms = licensed(registry, accounts[5])
    work = registered(registry, accounts[5], licenceId=terms)
    within("register without parents", registry.register(params(accounts[1]), {"from": accounts[1]}))
    root, leaf = crowd
    many = params(accounts[2], splitRoot=root.hash, splitTotal=root.sum, leaf=witness(leaf))
    within("register, 10,000 holders", registry.register(many, {"from": accounts[2]}))
    child = params(accounts[3], parents=[work], shares=[1_000])
    within("register with 1 parent", registry.register(child, {"from": accounts[3]}))
    second = registered(registry, accounts[5], licenceId=terms)
    pair = params(accounts[4], parents=[work, second], shares=[1_000, 1_000])
    within("register with 2 parents", registry.register(pair, {"from": accounts[4]}))


def test_gas_deployment(authority, admin, treasury, forwarder):
    predicted = admin.get_deployment_address(admin.nonce + 1)
    arguments = (authority, predicted, FEE_BPS, [(treasury, 1_000_000)], DIGEST)
    ledger = RevenueLedger.deploy(*arguments, {"from": admin})
    works = WorkRegistry.deploy(authority, ledger, admin, forwarder, ROYALTY_BPS, "ipfs://registry", {"from": admin})
    within("deploy RevenueLedger", ledger.tx)
    within("deploy WorkRegistry", works.tx)


def test_code_fits(registry, books):
    """EIP-170."""
    for contract in (registry, books):
        assert len(web3.eth.get_code(contract.address)) < CODE_LIMIT


def test_gas_of_a_proof_grows_with_its_length_only(admin, crowd):
    """A level costs about as much as its calldata and one hash."""
    library = MerkleSumHarness.deploy({"from": admin})
    _, leaf = crowd
    hashed = leaf_split(leaf.account, leaf.weight).hash
    costs = [library.process.estimate_gas(leaf.proof[:n], 0, hashed, leaf.weight) for n in (0, 7, 14)]
    assert costs[2] - costs[1] < 2 * (costs[1] - costs[0])
    assert costs[2] - costs[0] < 14 * 1_600
