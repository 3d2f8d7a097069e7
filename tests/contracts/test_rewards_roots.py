"""RewardDistributor: how a root comes to count, what bounds it, and who pays for a dispute."""

import pytest
from brownie import MockUSD, RewardDistributor, accounts
from kit import DAY, TRP, ZERO, mine_at, next_block_at, now, reverts
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

UPHELD, EXPIRED, GUARDIAN_KILL = 1, 2, 3
REASON = b"\x33" * 32


@pytest.fixture(scope="module")
def system():
    return deploy_rewards()


@pytest.fixture(scope="module")
def distributor(system):
    return system.distributor


@pytest.fixture
def people():
    return [accounts[i] for i in range(4, 10)]


@pytest.fixture
def tree(system, people):
    return RewardTree(system.distributor, system.usd, {person: 10 * 10**6 for person in people})


def held(system):
    """The books of the bonds: what is booked, and what is there beyond the token's own stream."""
    distributor, token = system.distributor, system.token
    assert token.balanceOf(distributor) == distributor.fundedOf(token) + distributor.bondsHeld()
    return distributor.bondsHeld()


def pool(system):
    return system.distributor.streamOf(system.token)["counted"]


# ----------------------------------------------------------------------------------------------------- a root's way


@pytest.mark.feature("E4", via="chain")
def test_v4_a_root_counts_only_after_its_whole_window(system, distributor, tree, people):
    """Case 38."""
    tx = propose(system, tree)
    event = tx.events["RootProposed"]
    assert event["epoch"] == 1
    assert event["total"] == tree.total
    assert event["finalizableAt"] == tx.timestamp + WINDOW
    assert (bytes(event["root"]), bytes(event["treeDigest"])) == (tree.root, DIGEST)
    with reverts("RewardInvalidProof"):
        distributor.claim(*tree.claim(people[0]), {"from": people[0]})
    next_block_at(tx.timestamp + WINDOW - 1)
    with reverts("RewardWindowOpen", tx.timestamp + WINDOW):
        distributor.finalize(system.usd, {"from": system.stranger})
    next_block_at(tx.timestamp + WINDOW)
    done = distributor.finalize(system.usd, {"from": system.stranger})
    assert done.events["RootFinalized"]["total"] == tree.total
    stream = distributor.streamOf(system.usd)
    assert (bytes(stream["root"]), stream["total"], stream["epoch"]) == (tree.root, tree.total, 1)
    assert bytes(distributor.pendingOf(system.usd)["root"]) == b"\0" * 32


def test_nobody_can_skip_the_window(system, distributor, tree):
    propose(system, tree)
    for account in (system.timelock, system.guardian, system.publisher, system.stranger):
        with reverts("RewardWindowOpen"):
            distributor.finalize(system.usd, {"from": account})


def test_window_is_never_below_a_day(system, distributor):
    day = int(distributor.MIN_WINDOW())
    assert day == DAY
    for parameters in (
        (day - 1, RESOLVE, BOND, MIN_PRICE, MAX_PRICE),
        (60 * day + 1, RESOLVE, BOND, MIN_PRICE, MAX_PRICE),
        (WINDOW, day - 1, BOND, MIN_PRICE, MAX_PRICE),
        (WINDOW, 60 * day + 1, BOND, MIN_PRICE, MAX_PRICE),
        (WINDOW, RESOLVE, 0, MIN_PRICE, MAX_PRICE),
        (WINDOW, RESOLVE, BOND, 0, MAX_PRICE),
        (WINDOW, RESOLVE, BOND, MAX_PRICE + 1, MAX_PRICE),
    ):
        with reverts("RewardParameterInvalid"):
            distributor.setParameters(parameters, {"from": system.timelock})


def test_parameters_hold_for_later_roots_only(system, distributor, tree):
    tx = propose(system, tree)
    distributor.setParameters((5 * DAY, RESOLVE, 7 * BOND, 2 * MIN_PRICE, MAX_PRICE), {"from": system.timelock})
    pending = distributor.pendingOf(system.usd)
    assert pending["finalizableAt"] == tx.timestamp + WINDOW
    assert (pending["publisherBond"], pending["challengerBond"]) == (BOND, MIN_PRICE)
    mine_at(tx.timestamp + WINDOW)
    distributor.finalize(system.usd, {"from": system.stranger})
    next_epoch(system)
    later = propose(system, tree)
    assert later.events["RootProposed"]["finalizableAt"] == later.timestamp + 5 * DAY
    assert held(system) == 7 * BOND


def test_genesis_in_the_future_is_refused(system):
    with reverts("RewardParameterInvalid"):
        system.timelock.deploy(
            RewardDistributor,
            system.manager,
            system.token,
            now() + 1_000,
            (WINDOW, RESOLVE, BOND, MIN_PRICE, MAX_PRICE),
        )


@pytest.mark.parametrize("function", ["propose", "kill", "resolve", "setCaps", "setParameters", "sweep"])
def test_restricted_functions_refuse_everybody_else(system, distributor, tree, function):
    arguments = {
        "propose": (system.usd, tree.root, 1, DIGEST, LOG_ROOT),
        "kill": (system.usd,),
        "resolve": (system.usd, True),
        "setCaps": (system.usd, EPOCH_CAP, ACCOUNT_CAP),
        "setParameters": ((WINDOW, RESOLVE, BOND, MIN_PRICE, MAX_PRICE),),
        "sweep": (system.usd, system.stranger),
    }[function]
    allowed = {"propose": system.publisher, "kill": system.guardian}.get(function, system.timelock)
    for account in {system.timelock, system.publisher, system.guardian, system.stranger} - {allowed}:
        with reverts("AccessManagedUnauthorized", account):
            getattr(distributor, function)(*arguments, {"from": account})


def test_propose_while_one_is_pending(system, tree):
    propose(system, tree)
    with reverts("RewardPending"):
        propose(system, tree)


def test_one_finalized_root_an_epoch(system, distributor, tree):
    """Case 80."""
    propose(system, tree)
    mine_at(now() + WINDOW)
    distributor.finalize(system.usd, {"from": system.stranger})
    with reverts("RewardEpochTaken", 1):
        propose(system, tree)
    next_epoch(system)
    assert propose(system, tree).events["RootProposed"]["epoch"] == 2


def test_a_root_belongs_to_the_epoch_of_its_proposal(system, distributor, tree):
    mine_at(system.genesis + 7 * DAY - 10)
    propose(system, tree)
    mine_at(system.genesis + 7 * DAY + WINDOW)
    distributor.finalize(system.usd, {"from": system.stranger})
    assert distributor.streamOf(system.usd)["epoch"] == 1
    assert propose(system, tree).events["RootProposed"]["epoch"] == 2


def test_propose_an_empty_root(system, distributor):
    with reverts("RewardEmptyRoot"):
        distributor.propose(system.usd, b"\0" * 32, 0, DIGEST, LOG_ROOT, {"from": system.publisher})


def test_propose_for_a_token_without_caps(system):
    usd = system.timelock.deploy(MockUSD)
    with reverts("RewardCapsUnset", usd):
        propose(system, RewardTree(system.distributor, usd, {accounts[5]: 1}))


def test_propose_without_the_bond(system, tree):
    system.token.transfer(system.stranger, system.token.balanceOf(system.publisher), {"from": system.publisher})
    with reverts("ERC20InsufficientBalance", system.publisher, 0, BOND):
        propose(system, tree)


# ----------------------------------------------------------------------------------------------------------- bounds


def test_total_never_falls(system, distributor, people):
    """Case 36."""
    publish(system, system.usd, {people[0]: 10, people[1]: 5})
    next_epoch(system)
    with reverts("RewardTotalDecreased", 14, 15):
        propose(system, RewardTree(distributor, system.usd, {people[0]: 10, people[1]: 4}))


def test_epoch_adds_no_more_than_its_cap(system, distributor, people):
    """Case 36."""
    assert distributor.budgetOf(system.usd) == EPOCH_CAP
    with reverts("RewardEpochCapExceeded", EPOCH_CAP + 1, EPOCH_CAP):
        propose(system, RewardTree(distributor, system.usd, {people[0]: EPOCH_CAP + 1}))
    publish(system, system.usd, {people[0]: EPOCH_CAP})
    assert distributor.budgetOf(system.usd) == 0
    next_epoch(system)
    assert distributor.budgetOf(system.usd) == EPOCH_CAP
    with reverts("RewardEpochCapExceeded", EPOCH_CAP + 1, EPOCH_CAP):
        propose(system, RewardTree(distributor, system.usd, {people[0]: 2 * EPOCH_CAP + 1}))


def test_dead_roots_cost_no_budget_and_at_most_four_epochs_catch_up(system, distributor, people, tree):
    """Case 80."""
    for _ in range(6):
        propose(system, tree)
        distributor.kill(system.usd, {"from": system.guardian})
        next_epoch(system)
    assert distributor.currentEpoch() == 7
    assert distributor.budgetOf(system.usd) == 4 * EPOCH_CAP
    with reverts("RewardEpochCapExceeded", 4 * EPOCH_CAP + 1, 4 * EPOCH_CAP):
        propose(system, RewardTree(distributor, system.usd, {people[0]: 4 * EPOCH_CAP + 1}))
    publish(system, system.usd, {people[0]: 4 * EPOCH_CAP})
    next_epoch(system)
    assert distributor.budgetOf(system.usd) == EPOCH_CAP


def test_no_cap_hands_out_more_than_five_percent_of_the_funds(system, distributor, people):
    """Governance may set any cap; the constant ceiling holds all the same."""
    distributor.setCaps(system.usd, 10 * FUNDS, ACCOUNT_CAP, {"from": system.timelock})
    next_epoch(system)
    ceiling = 2 * (FUNDS * 5 // 100)  # two epochs without a root
    assert distributor.budgetOf(system.usd) == ceiling
    with reverts("RewardEpochCapExceeded", ceiling + 1, ceiling):
        propose(system, RewardTree(distributor, system.usd, {people[0]: ceiling + 1}))


def test_what_is_promised_is_funded(system, distributor, people):
    """Case 36: a quarter of the funds of 1,000 is promised again and again, unclaimed: the fifth one isn't covered."""
    usd = system.timelock.deploy(MockUSD)
    usd.mint(system.timelock, 1_000)
    usd.approve(distributor, 1_000, {"from": system.timelock})
    distributor.fund(usd, 1_000, {"from": system.timelock})
    distributor.setCaps(usd, 1_000, 50, {"from": system.timelock})
    total = 0
    for _ in range(5):
        next_epoch(system, 4)
        total += 200
        publish(system, usd, {people[0]: total})
    assert distributor.budgetOf(usd) == 0
    next_epoch(system, 4)
    with reverts("RewardUnderfunded", total + 1, 1_000):
        propose(system, RewardTree(distributor, usd, {people[0]: total + 1}))


def test_bonds_are_not_funds(system, distributor, tree, people):
    """Case 62: the distributor holds a bond of 10,000; the token's own stream was given 100."""
    propose(system, tree)
    distributor.fund(system.token, 100, {"from": system.timelock})
    distributor.setCaps(system.token, BOND, BOND // 100, {"from": system.timelock})
    assert system.token.balanceOf(distributor) == BOND + 100
    assert distributor.fundedOf(system.token) == 100
    with reverts("RewardUnderfunded", BOND, 100):
        propose(system, RewardTree(distributor, system.token, {people[0]: BOND}))


# ------------------------------------------------------------------------------------------------------------- caps


def test_caps_change_with_the_next_epoch(system, distributor):
    tx = distributor.setCaps(system.usd, 2 * EPOCH_CAP, 2 * ACCOUNT_CAP, {"from": system.timelock})
    assert tx.events["CapsChanged"]["fromEpoch"] == 2
    assert tuple(map(int, distributor.capsOf(system.usd))) == (EPOCH_CAP, ACCOUNT_CAP)
    next_epoch(system)
    assert tuple(map(int, distributor.capsOf(system.usd))) == (2 * EPOCH_CAP, 2 * ACCOUNT_CAP)


def test_account_cap_at_most_halves_in_an_epoch_however_often_it_is_set(system, distributor):
    half = ACCOUNT_CAP // 2
    ceiling = EPOCH_CAP * 5 // 100
    for _ in range(2):
        with reverts("RewardCapInvalid", half - 1, half, ceiling):
            distributor.setCaps(system.usd, EPOCH_CAP, half - 1, {"from": system.timelock})
        distributor.setCaps(system.usd, EPOCH_CAP, half, {"from": system.timelock})
    next_epoch(system)
    with reverts("RewardCapInvalid", half // 2 - 1, half // 2, ceiling):
        distributor.setCaps(system.usd, EPOCH_CAP, half // 2 - 1, {"from": system.timelock})


def test_account_cap_is_neither_zero_nor_above_five_percent(system, distributor):
    usd = system.timelock.deploy(MockUSD)
    with reverts("RewardCapInvalid", 0, 1, 5):
        distributor.setCaps(usd, 100, 0, {"from": system.timelock})
    with reverts("RewardCapInvalid", 6, 1, 5):
        distributor.setCaps(usd, 100, 6, {"from": system.timelock})
    tx = distributor.setCaps(usd, 100, 5, {"from": system.timelock})
    assert tx.events["CapsChanged"]["fromEpoch"] == distributor.currentEpoch()  # the first ones count at once
    assert tuple(map(int, distributor.capsOf(usd))) == (100, 5)


# ------------------------------------------------------------------------------------------------------------ disputes


def challenged(system, tree, challenger=None):
    propose(system, tree)
    return system.distributor.challenge(system.usd, REASON, {"from": challenger or system.challenger})


def test_challenge_freezes_the_root(system, distributor, tree):
    """Case 38."""
    tx = challenged(system, tree)
    assert tx.events["RootChallenged"]["challenger"] == system.challenger
    assert held(system) == BOND + MIN_PRICE
    mine_at(now() + WINDOW)
    with reverts("RewardChallenged"):
        distributor.finalize(system.usd, {"from": system.publisher})
    with reverts("RewardChallenged"):
        distributor.challenge(system.usd, REASON, {"from": system.stranger})


def test_challenge_after_the_window(system, distributor, tree):
    tx = propose(system, tree)
    next_block_at(tx.timestamp + WINDOW)
    with reverts("RewardWindowClosed"):
        distributor.challenge(system.usd, REASON, {"from": system.challenger})


def test_nothing_can_be_done_to_what_is_not_pending(system, distributor):
    for call, who in (
        (lambda who: distributor.finalize(system.usd, {"from": who}), system.stranger),
        (lambda who: distributor.challenge(system.usd, REASON, {"from": who}), system.stranger),
        (lambda who: distributor.resolve(system.usd, True, {"from": who}), system.timelock),
        (lambda who: distributor.expireChallenge(system.usd, {"from": who}), system.stranger),
        (lambda who: distributor.kill(system.usd, {"from": who}), system.guardian),
    ):
        with reverts("RewardNoPending"):
            call(who)


def test_ruling_on_what_is_not_challenged(system, distributor, tree):
    propose(system, tree)
    with reverts("RewardNotChallenged"):
        distributor.resolve(system.usd, True, {"from": system.timelock})
    with reverts("RewardNotChallenged"):
        distributor.expireChallenge(system.usd, {"from": system.stranger})


def test_upheld_challenge_kills_the_root_and_pays_the_challenger(system, distributor, tree):
    publisher, challenger = system.token.balanceOf(system.publisher), system.token.balanceOf(system.challenger)
    challenged(system, tree)
    tx = distributor.resolve(system.usd, True, {"from": system.timelock})
    assert tx.events["RootRejected"]["reason"] == UPHELD
    assert system.token.balanceOf(system.publisher) == publisher - BOND
    assert system.token.balanceOf(system.challenger) == challenger + BOND // 2
    assert pool(system) == BOND // 2
    assert held(system) == 0
    assert distributor.challengePriceOf(system.usd) == MIN_PRICE


def test_challenge_by_the_publisher_itself_earns_nothing(system, distributor, tree):
    """Case 39."""
    before = system.token.balanceOf(system.publisher)
    challenged(system, tree, challenger=system.publisher)
    distributor.resolve(system.usd, True, {"from": system.timelock})
    assert system.token.balanceOf(system.publisher) == before - BOND
    assert pool(system) == BOND


def test_refused_challenge_by_the_publisher_itself_costs_all_of_it(system, distributor, tree):
    before = system.token.balanceOf(system.publisher)
    challenged(system, tree, challenger=system.publisher)
    distributor.resolve(system.usd, False, {"from": system.timelock})
    assert system.token.balanceOf(system.publisher) == before - BOND - MIN_PRICE
    assert pool(system) == MIN_PRICE


def test_refused_challenge_doubles_the_price_and_opens_a_new_window(system, distributor, tree):
    publisher, challenger = system.token.balanceOf(system.publisher), system.token.balanceOf(system.challenger)
    challenged(system, tree)
    mine_at(now() + 9 * DAY)
    tx = distributor.resolve(system.usd, False, {"from": system.timelock})
    assert tx.events["ChallengeResolved"]["finalizableAt"] == tx.timestamp + WINDOW
    assert tx.events["ChallengePriceChanged"]["price"] == 2 * MIN_PRICE
    assert system.token.balanceOf(system.publisher) == publisher - BOND + MIN_PRICE // 2
    assert system.token.balanceOf(system.challenger) == challenger - MIN_PRICE
    assert pool(system) == MIN_PRICE // 2
    assert held(system) == BOND
    with reverts("RewardWindowOpen"):
        distributor.finalize(system.usd, {"from": system.publisher})
    distributor.challenge(system.usd, REASON, {"from": system.stranger})  # another one may object still
    assert held(system) == BOND + 2 * MIN_PRICE


def test_unresolved_challenge_costs_both_sides_the_same_and_leaves_the_active_root(system, distributor, people, tree):
    """Cases 38 and 65."""
    active = publish(system, system.usd, {people[0]: 5 * 10**6})
    next_epoch(system)
    publisher, challenger = system.token.balanceOf(system.publisher), system.token.balanceOf(system.challenger)
    tx = challenged(system, tree)
    until = tx.timestamp + RESOLVE
    next_block_at(until - 1)
    with reverts("RewardRulingOpen", until):
        distributor.expireChallenge(system.usd, {"from": system.stranger})
    next_block_at(until)
    with reverts("RewardRulingClosed"):
        distributor.resolve(system.usd, False, {"from": system.timelock})
    next_block_at(until + 1)
    dead = distributor.expireChallenge(system.usd, {"from": system.stranger})
    assert dead.events["RootRejected"]["reason"] == EXPIRED
    assert system.token.balanceOf(system.publisher) == publisher - MIN_PRICE
    assert system.token.balanceOf(system.challenger) == challenger - MIN_PRICE
    assert pool(system) == 2 * MIN_PRICE
    assert held(system) == 0
    assert bytes(distributor.streamOf(system.usd)["root"]) == active.root
    distributor.claim(*active.claim(people[0]), {"from": people[0]})


def test_ten_unresolved_challenges_cost_more_each_time(system, distributor, tree):
    """Case 80: the price doubles up to its ceiling; from 10,000 on both lose the publisher's whole bond."""
    publisher, challenger = system.token.balanceOf(system.publisher), system.token.balanceOf(system.challenger)
    loss = 0
    for i in range(10):
        price = min(MIN_PRICE * 2**i, MAX_PRICE)
        assert distributor.challengePriceOf(system.usd) == price
        challenged(system, tree)
        assert held(system) == BOND + price
        mine_at(now() + RESOLVE)
        distributor.expireChallenge(system.usd, {"from": system.stranger})
        loss += min(price, BOND)
    assert system.token.balanceOf(system.publisher) == publisher - loss
    assert system.token.balanceOf(system.challenger) == challenger - loss
    assert held(system) == 0


def test_unchallenged_roots_halve_the_price_down_to_its_floor(system, distributor, tree):
    for _ in range(3):
        challenged(system, tree)
        mine_at(now() + RESOLVE)
        distributor.expireChallenge(system.usd, {"from": system.stranger})
    assert distributor.challengePriceOf(system.usd) == 8 * MIN_PRICE
    for price in (4, 2, 1, 1):
        publish(system, system.usd, tree.pairs)
        assert distributor.challengePriceOf(system.usd) == price * MIN_PRICE
        next_epoch(system)


def test_contested_root_halves_nothing(system, distributor, tree):
    challenged(system, tree)
    distributor.resolve(system.usd, False, {"from": system.timelock})
    mine_at(now() + WINDOW)
    distributor.finalize(system.usd, {"from": system.stranger})
    assert distributor.challengePriceOf(system.usd) == 2 * MIN_PRICE
    assert held(system) == 0


def test_guardian_kill_returns_all_bonds_and_profits_nobody(system, distributor, tree):
    """Case 77."""
    everybody = (system.publisher, system.challenger, system.guardian)
    before = [system.token.balanceOf(person) for person in everybody]
    challenged(system, tree)
    tx = distributor.kill(system.usd, {"from": system.guardian})
    assert tx.events["RootRejected"]["reason"] == GUARDIAN_KILL
    assert [system.token.balanceOf(person) for person in everybody] == before
    assert held(system) == 0
    assert pool(system) == 0


def test_streams_are_apart(system, distributor, tree, people):
    """A dispute in one token's stream delays no other."""
    challenged(system, tree)
    distributor.fund(system.token, 1_000 * TRP, {"from": system.timelock})
    distributor.setCaps(system.token, 50 * TRP, TRP, {"from": system.timelock})
    mine_at(now() + 1)
    other = RewardTree(distributor, system.token, {people[0]: TRP})
    propose(system, other)
    assert held(system) == 2 * BOND + MIN_PRICE
    mine_at(now() + WINDOW)
    distributor.finalize(system.token, {"from": system.stranger})
    assert distributor.streamOf(system.token)["total"] == TRP


# ------------------------------------------------------------------------------------------------------------- funds


def test_fund_counts_what_arrived(system, distributor):
    tx = distributor.fund(system.usd, 5, {"from": system.stranger})
    assert tx.events["Funded"]["amount"] == 5
    assert distributor.fundedOf(system.usd) == FUNDS + 5


def test_fund_and_sync_count_plain_transfers_once(system, distributor):
    system.usd.transfer(distributor, 7, {"from": system.stranger})
    assert distributor.fundedOf(system.usd) == FUNDS
    distributor.sync(system.usd, {"from": accounts[9]})
    assert distributor.fundedOf(system.usd) == FUNDS + 7
    assert "Funded" not in distributor.sync(system.usd, {"from": accounts[9]}).events
    system.usd.transfer(distributor, 3, {"from": system.stranger})
    distributor.fund(system.usd, 2, {"from": system.stranger})
    assert distributor.fundedOf(system.usd) == FUNDS + 12


def test_sync_of_the_bond_token_leaves_bonds_out(system, distributor, tree):
    propose(system, tree)
    distributor.sync(system.token, {"from": system.stranger})
    assert distributor.fundedOf(system.token) == 0
    held(system)


def test_fund_nothing(system, distributor):
    with reverts("RewardZeroAmount"):
        distributor.fund(system.usd, 0, {"from": system.stranger})
    with reverts("RewardZeroAmount"):
        distributor.fundNative({"from": system.stranger})


def test_native_coin_by_call_or_by_transfer(system, distributor):
    distributor.fundNative({"from": system.stranger, "value": 3})
    system.stranger.transfer(distributor, 4)
    assert distributor.fundedOf(ZERO) == 7


def test_sweep_takes_what_was_forced_in_and_never_funds_or_bonds(system, distributor, tree):
    propose(system, tree)
    for token in (system.token, system.usd, ZERO):
        with reverts("RewardZeroAmount"):
            distributor.sweep(token, system.timelock, {"from": system.timelock})
    system.usd.transfer(distributor, 9, {"from": system.stranger})
    before = system.usd.balanceOf(accounts[9])
    tx = distributor.sweep(system.usd, accounts[9], {"from": system.timelock})
    assert tx.events["Swept"]["amount"] == 9
    assert system.usd.balanceOf(accounts[9]) == before + 9
    assert distributor.fundedOf(system.usd) == FUNDS


def test_sweep_takes_native_coin_that_was_forced_in(system, distributor, web3):
    """Case 57."""
    web3.provider.make_request("anvil_setBalance", [distributor.address, hex(11)])
    before = accounts[9].balance()
    distributor.sweep(ZERO, accounts[9], {"from": system.timelock})
    assert accounts[9].balance() == before + 11
    assert distributor.fundedOf(ZERO) == 0
