"""RewardDistributor: who is paid, how much, and what nobody can get."""

import pytest
from brownie import HookToken, MockUSD, ReentrantAccount, RefusingAccount, RewardDistributor, accounts, web3
from kit import ZERO, mine_at, now, reverts, within_budget
from rewardkit import (
    ACCOUNT_CAP,
    BOND,
    DIGEST,
    EPOCH_CAP,
    FUNDS,
    LOG_ROOT,
    MAX_PRICE,
    MIN_PRICE,
    RESOLVE,
    WINDOW,
    RewardTree,
    deploy_rewards,
    next_epoch,
    propose,
    publish,
)

from backend.rewards.merkle import Node, join, leaf_reward

USD = 10**6


@pytest.fixture(scope="module")
def system():
    return deploy_rewards()


@pytest.fixture(scope="module")
def distributor(system):
    return system.distributor


@pytest.fixture
def people():
    return [accounts[i] for i in range(5, 10)]


def make_active(system, token, root, total):
    """Bring any root into force, whatever it holds."""
    tx = system.distributor.propose(token, root, total, DIGEST, LOG_ROOT, {"from": system.publisher})
    mine_at(tx.timestamp + WINDOW)
    system.distributor.finalize(token, {"from": system.stranger})


@pytest.mark.feature("E4", via="chain")
def test_v4_claim_pays_the_difference_to_what_was_paid(system, distributor, people):
    person = people[0]
    first = publish(system, system.usd, {person: 10 * USD, people[1]: USD})
    tx = distributor.claim(*first.claim(person), {"from": system.stranger})
    event = tx.events["RewardClaimed"]
    assert (event["account"], event["recipient"], event["token"]) == (person, person, system.usd)
    assert (event["amount"], event["cumulative"], event["epoch"]) == (10 * USD, 10 * USD, distributor.currentEpoch())
    assert tx.return_value == 10 * USD
    next_epoch(system)
    second = publish(system, system.usd, {person: 17 * USD, people[1]: USD})
    distributor.claim(*second.claim(person), {"from": person})
    assert system.usd.balanceOf(person) == 17 * USD
    assert distributor.accountOf(system.usd, person)["claimed"] == 17 * USD
    assert distributor.streamOf(system.usd)["totalClaimed"] == 17 * USD
    assert distributor.fundedOf(system.usd) == FUNDS - 17 * USD


def test_v4_one_claim_covers_all_epochs(system, distributor, people):
    for epoch in range(1, 4):
        tree = publish(system, system.usd, {person: epoch * USD for person in people})
        next_epoch(system)
    distributor.claim(*tree.claim(people[0]), {"from": people[0]})
    assert system.usd.balanceOf(people[0]) == 3 * USD


def test_v4_same_claim_twice_pays_once(system, distributor, people):
    """Case 35."""
    tree = publish(system, system.usd, {person: USD for person in people})
    distributor.claim(*tree.claim(people[0]), {"from": people[0]})
    with reverts("RewardNothingDue"):
        distributor.claim(*tree.claim(people[0]), {"from": people[0]})
    assert system.usd.balanceOf(people[0]) == USD


def test_v4_claim_below_what_was_paid(system, distributor, people):
    """Case 35: a later root lowers an account (nobody proved it): the account keeps what it has and gets nothing."""
    tree = publish(system, system.usd, {people[0]: 5 * USD, people[1]: USD})
    distributor.claim(*tree.claim(people[0]), {"from": people[0]})
    next_epoch(system)
    lower = publish(system, system.usd, {people[0]: 2 * USD, people[1]: 4 * USD})
    with reverts("RewardNothingDue"):
        distributor.claim(*lower.claim(people[0]), {"from": people[0]})


def test_v4_replaced_root_is_void(system, distributor, people):
    old = publish(system, system.usd, {people[0]: 5 * USD, people[1]: USD})
    next_epoch(system)
    publish(system, system.usd, {people[0]: 5 * USD, people[1]: 2 * USD})
    with reverts("RewardInvalidProof"):
        distributor.claim(*old.claim(people[0]), {"from": people[0]})


def test_v4_pending_and_rejected_roots_pay_nothing(system, distributor, people):
    tree = RewardTree(distributor, system.usd, {people[0]: USD})
    propose(system, tree)
    with reverts("RewardInvalidProof"):
        distributor.claim(*tree.claim(people[0]), {"from": people[0]})
    distributor.kill(system.usd, {"from": system.guardian})
    mine_at(now() + 2 * WINDOW)
    with reverts("RewardInvalidProof"):
        distributor.claim(*tree.claim(people[0]), {"from": people[0]})
    with reverts("RewardNoPending"):
        distributor.finalize(system.usd, {"from": system.publisher})


def test_v4_proof_is_worthless_elsewhere(system, distributor, people):
    """Case 35: another account, another amount, another token, another contract, another chain."""
    person = people[0]
    tree = publish(system, system.usd, {p: USD for p in people})
    token, account, cumulative, path, proof = tree.claim(person)
    for wrong in (
        (token, people[1], cumulative, path, proof),
        (token, account, cumulative + 1, path, proof),
        (token, account, cumulative, path ^ 1, proof),
        (token, account, cumulative, path, [*proof[:-1], (proof[-1][0], proof[-1][1] + 1)]),
        (ZERO, account, cumulative, path, proof),
        (system.token, account, cumulative, path, proof),
    ):
        with reverts("RewardInvalidProof"):
            distributor.claim(*wrong, {"from": person})

    parameters = (WINDOW, RESOLVE, BOND, MIN_PRICE, MAX_PRICE)
    twin = system.timelock.deploy(RewardDistributor, system.manager, system.token, system.genesis, parameters)
    with reverts("RewardInvalidProof"):
        twin.claim(*tree.claim(person), {"from": person})

    next_epoch(system)
    foreign = leaf_reward(web3.eth.chain_id + 1, distributor.address, system.usd.address, person.address, 9 * USD)
    make_active(system, system.usd, foreign.hash, foreign.sum)
    with reverts("RewardInvalidProof"):
        distributor.claim(system.usd, person, 9 * USD, 0, [], {"from": person})


def test_claim_by_a_path_with_bits_above_its_proof(system, distributor, people):
    """Case 61."""
    tree = publish(system, system.usd, {p: USD for p in people})
    token, account, cumulative, path, proof = tree.claim(people[0])
    with reverts("MerkleSumPathTooLong"):
        distributor.claim(token, account, cumulative, path | 1 << len(proof), proof, {"from": people[0]})
    with reverts("MerkleSumProofTooLong", 41):
        distributor.claim(token, account, cumulative, path, [proof[0]] * 41, {"from": people[0]})


# ------------------------------------------------------------------------------------------------------- lying roots


def test_v4_root_that_states_less_than_its_leaves_pays_nobody(system, distributor, people):
    tree = RewardTree(distributor, system.usd, {p: USD for p in people})
    make_active(system, system.usd, tree.root, tree.total - 1)
    for person in people:
        with reverts("RewardInvalidProof"):
            distributor.claim(*tree.claim(person), {"from": person})


def test_v4_tree_with_a_lying_sum_pays_no_more_than_its_total(system, distributor, people):
    """Case 40 (UMA H12): two leaves of 20 under a root of 30. Whatever is presented, one of them at most is paid."""
    left, right = (
        leaf_reward(web3.eth.chain_id, distributor.address, system.usd.address, p.address, 20 * USD) for p in people[:2]
    )
    lying = join(left, Node(right.hash, 10 * USD))
    make_active(system, system.usd, lying.hash, 30 * USD)
    with reverts("RewardInvalidProof"):  # the right leaf's true sum isn't in the tree
        distributor.claim(system.usd, people[1], 20 * USD, 1, [tuple(left)], {"from": people[1]})
    with reverts("RewardInvalidProof"):
        distributor.claim(system.usd, people[1], 10 * USD, 1, [tuple(left)], {"from": people[1]})
    distributor.claim(system.usd, people[0], 20 * USD, 0, [(right.hash, 10 * USD)], {"from": people[0]})
    assert distributor.streamOf(system.usd)["totalClaimed"] == 20 * USD


def test_v4_total_holds_when_a_root_moves_amounts_from_who_was_paid(system, distributor, people):
    """Case 40."""
    first = publish(system, system.usd, {people[0]: 10 * USD, people[1]: USD})
    distributor.claim(*first.claim(people[0]), {"from": people[0]})
    next_epoch(system)
    moved = publish(system, system.usd, {people[0]: 1, people[1]: 11 * USD})
    with reverts("RewardTotalExceeded"):
        distributor.claim(*moved.claim(people[1]), {"from": people[1]})


# ------------------------------------------------------------------------------------------------------- allowances


def test_claims_above_the_allowance_wait_and_lose_nothing(system, distributor, people):
    person = people[0]
    tree = publish(system, system.usd, {person: 3 * ACCOUNT_CAP + 7})
    assert distributor.allowanceOf(system.usd, person) == ACCOUNT_CAP
    distributor.claim(*tree.claim(person), {"from": person})
    assert system.usd.balanceOf(person) == ACCOUNT_CAP
    with reverts("RewardAccountCapExceeded", 2 * ACCOUNT_CAP + 7, 0):
        distributor.claim(*tree.claim(person), {"from": person})
    for paid in (2 * ACCOUNT_CAP, 3 * ACCOUNT_CAP, 3 * ACCOUNT_CAP + 7):
        next_epoch(system)
        distributor.claim(*tree.claim(person), {"from": person})
        assert system.usd.balanceOf(person) == paid
    assert distributor.allowanceOf(system.usd, person) == ACCOUNT_CAP - 7


def test_unseen_account_at_epoch_100_gets_one_cap_first_and_the_rest_later(system, distributor, people):
    """Case 64."""
    person = people[0]
    mine_at(system.genesis + 99 * 7 * 86_400)
    assert distributor.currentEpoch() == 100
    total = 12 * ACCOUNT_CAP
    tree = publish(system, system.usd, {person: total})
    distributor.claim(*tree.claim(person), {"from": person})
    assert system.usd.balanceOf(person) == ACCOUNT_CAP
    next_epoch(system, 20)  # no more than eight gather
    assert distributor.allowanceOf(system.usd, person) == 8 * ACCOUNT_CAP
    distributor.claim(*tree.claim(person), {"from": person})
    assert system.usd.balanceOf(person) == 9 * ACCOUNT_CAP
    next_epoch(system, 3)
    distributor.claim(*tree.claim(person), {"from": person})
    assert system.usd.balanceOf(person) == total


def test_forced_claims_of_dust_delay_nobody(system, distributor, people):
    """Case 82: a stranger claims one unit for somebody in the first epoch; the next claim has its whole allowance."""
    person = people[0]
    tree = publish(system, system.usd, {person: 1})
    distributor.claim(*tree.claim(person), {"from": system.stranger})
    next_epoch(system)
    tree = publish(system, system.usd, {person: 2 * ACCOUNT_CAP})
    distributor.claim(*tree.claim(person), {"from": system.stranger})
    assert system.usd.balanceOf(person) == 2 * ACCOUNT_CAP


# ------------------------------------------------------------------------------------------------- many, recipients


def test_claim_many_passes_over_what_has_nothing_to_pay(system, distributor, people):
    amounts = {people[0]: USD, people[1]: 2 * USD, people[2]: ACCOUNT_CAP + 1}
    tree = publish(system, system.usd, amounts)
    distributor.claim(*tree.claim(people[0]), {"from": people[0]})
    distributor.claim(*tree.claim(people[2]), {"from": people[2]})  # its allowance is used up
    tx = distributor.claimMany([tree.claim(p) for p in people[:3]], {"from": system.stranger})
    assert [event["account"] for event in tx.events["RewardClaimed"]] == [people[1]]
    assert [system.usd.balanceOf(p) for p in people[:3]] == [USD, 2 * USD, ACCOUNT_CAP]


def test_claim_many_over_streams_and_twice_in_one(system, distributor, people):
    system.stranger.transfer(distributor, 100)
    distributor.setCaps(ZERO, 100, 5, {"from": system.timelock})
    usd = publish(system, system.usd, {people[0]: USD})
    native = publish(system, ZERO, {people[0]: 5})
    before = people[0].balance()
    distributor.claimMany(
        [usd.claim(people[0]), native.claim(people[0]), usd.claim(people[0])], {"from": system.stranger}
    )
    assert system.usd.balanceOf(people[0]) == USD
    assert people[0].balance() == before + 5


def test_claim_many_with_one_wrong_proof_does_nothing(system, distributor, people):
    tree = publish(system, system.usd, {p: USD for p in people})
    wrong = (*tree.claim(people[1])[:2], 2 * USD, *tree.claim(people[1])[3:])
    with reverts("RewardInvalidProof"):
        distributor.claimMany([tree.claim(people[0]), wrong], {"from": system.stranger})
    assert system.usd.balanceOf(people[0]) == 0


def test_recipient_is_named_by_the_account_alone(system, distributor, people):
    """Case 41."""
    person, other = people[0], people[4]
    distributor.setRecipient(system.stranger, {"from": system.stranger})  # names its own, not the person's
    assert distributor.recipientOf(person) == person
    tree = publish(system, system.usd, {person: 2 * USD, people[1]: USD})
    tx = distributor.setRecipient(other, {"from": person})
    assert tx.events["RecipientSet"]["recipient"] == other
    distributor.claim(*tree.claim(person), {"from": system.stranger})
    assert system.usd.balanceOf(other) == 2 * USD
    assert system.usd.balanceOf(person) == 0
    distributor.setRecipient(ZERO, {"from": person})
    assert distributor.recipientOf(person) == person


# ---------------------------------------------------------------------------------------------------- hostile payees


def native_stream(system, amounts):
    system.stranger.transfer(system.distributor, 10**18)
    system.distributor.setCaps(ZERO, 10**18, 10**16, {"from": system.timelock})
    return publish(system, ZERO, amounts)


def test_reentrant_payee_gains_nothing(system, distributor, people):
    thief = system.stranger.deploy(ReentrantAccount)
    tree = native_stream(system, {thief: 1_000, people[0]: 1_000})
    for attack in (
        distributor.claim.encode_input(*tree.claim(people[0])),
        distributor.claimMany.encode_input([tree.claim(thief)]),
        distributor.fundNative.encode_input(),
        distributor.sync.encode_input(system.usd),
    ):
        thief.arm(distributor, attack, {"from": system.stranger})
        with_snapshot = distributor.claim.call(*tree.claim(thief), {"from": system.stranger})
        assert with_snapshot == 1_000
    distributor.claim(*tree.claim(thief), {"from": system.stranger})
    assert thief.attempts() == 1
    assert not thief.succeeded()
    assert bytes(thief.answer())[:4] == web3.keccak(text="ReentrancyGuardReentrantCall()")[:4]
    assert thief.balance() == 1_000


def test_token_with_hooks_lets_nobody_in(system, distributor, people):
    token = system.stranger.deploy(HookToken)
    token.mint(system.stranger, 10_000)
    token.approve(distributor, 10_000, {"from": system.stranger})
    distributor.fund(token, 10_000, {"from": system.stranger})
    distributor.setCaps(token, 1_000, 50, {"from": system.timelock})
    thief = system.stranger.deploy(ReentrantAccount)
    tree = publish(system, token, {thief: 50, people[0]: 50})
    thief.arm(distributor, distributor.claim.encode_input(*tree.claim(thief)), {"from": system.stranger})
    distributor.claim(*tree.claim(thief), {"from": system.stranger})
    assert (thief.attempts(), thief.succeeded(), token.balanceOf(thief)) == (1, False, 50)


def test_payee_that_refuses_blocks_itself_alone(system, distributor, people):
    refusing = system.stranger.deploy(RefusingAccount)
    tree = native_stream(system, {refusing: 1_000, people[0]: 1_000})
    with reverts("Refused"):
        distributor.claim(*tree.claim(refusing), {"from": system.stranger})
    before = people[0].balance()
    distributor.claim(*tree.claim(people[0]), {"from": system.stranger})
    assert people[0].balance() == before + 1_000
    assert distributor.accountOf(ZERO, refusing)["claimed"] == 0


# ------------------------------------------------------------------------------------------------------ gas and size


def test_gas_of_claims_among_ten_thousand(system, distributor):
    """A tree of 10,000 accounts: 14 siblings. The payee is new to the token at its first claim."""
    payee = accounts[9]
    spread = 2**160 // 10_001
    others = {web3.to_checksum_address(((i + 1) * spread).to_bytes(20, "big")): 10 for i in range(9_999)}
    usd = system.timelock.deploy(MockUSD)
    usd.mint(system.timelock, FUNDS)
    usd.approve(distributor, FUNDS, {"from": system.timelock})
    distributor.fund(usd, FUNDS, {"from": system.timelock})
    distributor.setCaps(usd, EPOCH_CAP, ACCOUNT_CAP, {"from": system.timelock})
    proposed = []
    for epoch, operation in ((1, "first"), (2, "again")):
        tree = RewardTree(distributor, usd, {**others, payee.address: epoch * USD})
        assert len(tree.leaf(payee)[3]) == 14
        tx = propose(system, tree)
        proposed.append(tx)
        mine_at(tx.timestamp + WINDOW)
        done = distributor.finalize(usd, {"from": system.stranger})
        paid = distributor.claim(*tree.claim(payee), {"from": system.stranger})
        within_budget(f"RewardDistributor.claim in 10,000 {operation}", paid)
        next_epoch(system)
    within_budget("RewardDistributor.propose first", proposed[0])
    within_budget("RewardDistributor.propose again", proposed[1])
    within_budget("RewardDistributor.finalize again", done)


def test_the_contract_fits(distributor):
    assert len(web3.eth.get_code(distributor.address)) < 24_576
