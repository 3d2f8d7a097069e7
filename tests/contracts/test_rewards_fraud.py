"""RewardDistributor: proofs of fraud kill a root that drops, lowers, doubles or misplaces an account, and no other."""

import pytest
from brownie import web3
from brownie.exceptions import VirtualMachineError
from kit import ZERO, mine_at, reverts
from rewardkit import (
    BOND,
    DIGEST,
    LOG_ROOT,
    MIN_PRICE,
    NO_LEAF,
    WINDOW,
    RewardTree,
    deploy_rewards,
    next_epoch,
    propose,
    publish,
)

USD = 10**6
DECREASE, DUPLICATE, UNSORTED, OMISSION = 4, 5, 6, 7


@pytest.fixture(scope="module")
def system():
    return deploy_rewards()


@pytest.fixture(scope="module")
def distributor(system):
    return system.distributor


def address(number):
    """An address by its order: a greater number sorts later."""
    return web3.to_checksum_address(number.to_bytes(20, "big"))


@pytest.fixture(scope="module")
def crowd():
    """Eleven accounts with gaps between them, so that each has room for neighbours."""
    return [address(1_000 * (i + 1)) for i in range(11)]


def even(crowd, amount=USD):
    return dict.fromkeys(crowd, amount)


@pytest.fixture
def active(system, crowd):
    """The active root: everybody has 1 dollar. The next epoch has begun."""
    tree = publish(system, system.usd, even(crowd))
    next_epoch(system)
    return tree


def proposed(system, pairs, *, ordered=False):
    tree = RewardTree(system.distributor, system.usd, pairs, ordered=ordered)
    propose(system, tree)
    return tree


def killed(system, tx, reason, prover):
    """The root is dead, half of the bond is the prover's, half the pool's, no bond is left."""
    event = tx.events["RootRejected"]
    assert (event["reason"], event["prover"]) == (reason, prover)
    assert bytes(system.distributor.pendingOf(system.usd)["root"]) == b"\0" * 32
    assert system.distributor.bondsHeld() == 0
    assert system.distributor.fundedOf(system.token) == BOND // 2
    paid = {settled["to"]: settled["amount"] for settled in tx.events["BondSettled"]}
    assert paid[prover] == BOND // 2


@pytest.mark.feature("E4", via="chain")
def test_prove_decrease_kills_the_root_and_pays_the_prover(system, distributor, crowd, active):
    """Cases 37 and 76."""
    pairs = [(account, USD + 1) for account in crowd]
    pairs[4] = (crowd[4], USD - 1)
    tree = proposed(system, pairs)
    order = (system.usd, active.leaf(crowd[4]), tree.leaf(crowd[4]))
    tx = distributor.proveDecrease(*order, {"from": system.stranger})
    killed(system, tx, DECREASE, system.stranger)
    with reverts("RewardNoPending"):
        distributor.proveDecrease(*order, {"from": system.stranger})


def test_prove_duplicate_kills_the_root(system, distributor, crowd, active):
    """Cases 37 and 76."""
    tree = proposed(system, [*even(crowd).items(), (crowd[-1], 1)])
    tx = distributor.proveDuplicate(system.usd, tree.leaf_at(10), tree.leaf_at(11), {"from": system.stranger})
    killed(system, tx, DUPLICATE, system.stranger)


def test_prove_duplicate_of_equal_leaves_at_two_places(system, distributor, crowd, active):
    """Same account, same amount: the leaves' hashes are equal, their positions are not."""
    tree = proposed(system, [*even(crowd).items(), (crowd[3], USD)])
    tx = distributor.proveDuplicate(system.usd, tree.leaf_at(11), tree.leaf_at(3), {"from": system.stranger})
    killed(system, tx, DUPLICATE, system.stranger)


def test_prove_unsorted_kills_the_root(system, distributor, crowd, active):
    """Case 76."""
    pairs = list(even(crowd).items())
    pairs[6], pairs[7] = pairs[7], pairs[6]
    tree = proposed(system, pairs)
    tx = distributor.proveUnsorted(system.usd, tree.leaf_at(6), tree.leaf_at(7), {"from": system.stranger})
    killed(system, tx, UNSORTED, system.stranger)


@pytest.mark.parametrize("missing", [0, 1, 5, 9, 10])
def test_prove_omission_kills_the_root(system, distributor, crowd, active, missing):
    """Case 76: in the middle, and at both ends, where there is one neighbour only."""
    rest = [account for account in crowd if account != crowd[missing]]
    pairs = [(account, USD + USD) for account in rest]
    tree = proposed(system, pairs)
    left = tree.leaf(crowd[missing - 1]) if missing > 0 else NO_LEAF
    right = tree.leaf(crowd[missing + 1]) if missing < 10 else NO_LEAF
    order = (system.usd, active.leaf(crowd[missing]), left, right)
    killed(system, distributor.proveOmission(*order, {"from": system.stranger}), OMISSION, system.stranger)


@pytest.mark.parametrize("kept", [0, 5, 10])
def test_prove_omission_from_a_tree_of_one_leaf(system, distributor, crowd, active, kept):
    tree = proposed(system, [(crowd[kept], 11 * USD)])
    for missing, account in enumerate(crowd):
        if missing == kept:
            continue
        sides = (tree.leaf_at(0), NO_LEAF) if missing > kept else (NO_LEAF, tree.leaf_at(0))
        distributor.proveOmission.call(system.usd, active.leaf(account), *sides, {"from": system.stranger})


def test_fraud_proof_returns_an_open_challengers_bond(system, distributor, crowd, active):
    tree = proposed(system, [*even(crowd).items(), (crowd[-1], 1)])
    before = system.token.balanceOf(system.challenger)
    distributor.challenge(system.usd, b"\1" * 32, {"from": system.challenger})
    assert system.token.balanceOf(system.challenger) == before - MIN_PRICE
    tx = distributor.proveDuplicate(system.usd, tree.leaf_at(10), tree.leaf_at(11), {"from": system.stranger})
    killed(system, tx, DUPLICATE, system.stranger)
    assert system.token.balanceOf(system.challenger) == before


def test_publisher_gains_nothing_by_proving_its_own_fraud(system, distributor, crowd, active):
    tree = proposed(system, [*even(crowd).items(), (crowd[-1], 1)])
    held = system.token.balanceOf(system.publisher)
    distributor.proveDuplicate(system.usd, tree.leaf_at(10), tree.leaf_at(11), {"from": system.publisher})
    assert system.token.balanceOf(system.publisher) == held + BOND // 2


# ------------------------------------------------------------------------------------------------ no honest root dies


@pytest.fixture
def honest(system, crowd, active):
    """An honest next root: everybody has more, newcomers stand between."""
    amounts = {account: USD + i for i, account in enumerate(crowd)}
    return proposed(system, {**amounts, address(1_500): 5, address(99_000): 9, address(3): 1}, ordered=True)


def test_honest_root_survives_what_is_no_fraud(system, distributor, crowd, active, honest):
    stranger = {"from": system.stranger}
    person, other = crowd[4], crowd[5]
    with reverts("RewardNotFraud"):  # not lower
        distributor.proveDecrease.call(system.usd, active.leaf(person), honest.leaf(person), stranger)
    with reverts("RewardNotFraud"):  # another account
        distributor.proveDecrease.call(system.usd, active.leaf(person), honest.leaf(address(1_500)), stranger)
    with reverts("RewardNotFraud"):  # one leaf twice
        distributor.proveDuplicate.call(system.usd, honest.leaf(person), honest.leaf(person), stranger)
    with reverts("RewardNotFraud"):  # two accounts
        distributor.proveDuplicate.call(system.usd, honest.leaf(person), honest.leaf(other), stranger)
    with reverts("RewardNotFraud"):  # neighbours in order
        distributor.proveUnsorted.call(system.usd, honest.leaf(person), honest.leaf(other), stranger)
    with reverts("RewardNotFraud"):  # out of order, but no neighbours
        distributor.proveUnsorted.call(system.usd, honest.leaf(other), honest.leaf(person), stranger)
    with reverts("RewardNotFraud"):  # is there
        distributor.proveOmission.call(
            system.usd, active.leaf(person), honest.leaf(crowd[3]), honest.leaf(person), stranger
        )
    with reverts("RewardNotFraud"):  # between leaves that are no neighbours
        distributor.proveOmission.call(
            system.usd, active.leaf(person), honest.leaf(crowd[3]), honest.leaf(other), stranger
        )
    with reverts("RewardNotFraud"):  # no side at all
        distributor.proveOmission.call(system.usd, active.leaf(person), NO_LEAF, NO_LEAF, stranger)
    with reverts("RewardNotFraud"):  # not the outermost ones
        distributor.proveOmission.call(system.usd, active.leaf(person), honest.leaf(crowd[3]), NO_LEAF, stranger)
    with reverts("RewardNotFraud"):
        distributor.proveOmission.call(system.usd, active.leaf(person), NO_LEAF, honest.leaf(other), stranger)


def test_one_leaf_has_one_position(system, distributor, crowd, honest):
    """Case 61: a path with bits above its proof would make every honest leaf its own duplicate."""
    account, amount, path, proof = honest.leaf(crowd[4])
    for bit in (1, 2, 2**200):
        shadow = (account, amount, path | bit << len(proof), proof)
        with reverts("MerkleSumPathTooLong"):
            distributor.proveDuplicate.call(system.usd, honest.leaf(crowd[4]), shadow, {"from": system.stranger})


def test_fraud_proofs_with_leaves_of_neither_root(system, distributor, crowd, active, honest):
    stranger = {"from": system.stranger}
    real, forged = honest.leaf(crowd[4]), (crowd[4], 0, *honest.leaf(crowd[4])[2:])
    for call in (
        lambda: distributor.proveDecrease.call(system.usd, active.leaf(crowd[4]), forged, stranger),
        lambda: distributor.proveDecrease.call(system.usd, honest.leaf(crowd[4]), real, stranger),
        lambda: distributor.proveDuplicate.call(system.usd, real, forged, stranger),
        lambda: distributor.proveDuplicate.call(system.usd, forged, real, stranger),
        lambda: distributor.proveUnsorted.call(system.usd, real, forged, stranger),
        lambda: distributor.proveUnsorted.call(system.usd, forged, real, stranger),
        lambda: distributor.proveOmission.call(system.usd, real, NO_LEAF, real, stranger),
        lambda: distributor.proveOmission.call(system.usd, active.leaf(crowd[4]), forged, real, stranger),
        lambda: distributor.proveOmission.call(system.usd, active.leaf(crowd[4]), real, forged, stranger),
    ):
        with reverts("RewardInvalidProof"):
            call()


def test_fraud_proofs_of_what_is_not_pending(system, distributor, crowd, active):
    leaf, stranger = active.leaf(crowd[4]), {"from": system.stranger}
    for call in (
        lambda: distributor.proveDecrease.call(system.usd, leaf, leaf, stranger),
        lambda: distributor.proveDuplicate.call(system.usd, leaf, leaf, stranger),
        lambda: distributor.proveUnsorted.call(system.usd, leaf, leaf, stranger),
        lambda: distributor.proveOmission.call(system.usd, leaf, leaf, leaf, stranger),
    ):
        with reverts("RewardNoPending"):
            call()


def attempt(function, *arguments):
    """Name of the error that a call ends with; None if it goes through."""
    try:
        function.call(*arguments)
    except VirtualMachineError as error:
        return (error.revert_msg or str(error)).partition(":")[0].strip()
    return None


@pytest.mark.parametrize("size", range(1, 10))
def test_neighbours_are_exactly_those_side_by_side(system, distributor, size):
    """A tree sorted the wrong way round: each pair is out of order, so only the neighbourhood decides."""
    pairs = [(address(1_000 * (size - i)), USD) for i in range(size)]
    tree = proposed(system, pairs)
    for i in range(size):
        for j in range(size):
            error = attempt(
                distributor.proveUnsorted, system.usd, tree.leaf_at(i), tree.leaf_at(j), {"from": system.stranger}
            )
            assert error == (None if j == i + 1 else "RewardNotFraud"), (i, j)


@pytest.mark.parametrize("size", range(1, 8))
def test_any_one_omission_can_be_proven(system, distributor, size):
    """Whatever the shape and the place: the one account that is left out is found between its neighbours."""
    crowd = [address(1_000 * (i + 1)) for i in range(size + 1)]
    full = publish(system, system.usd, even(crowd))
    next_epoch(system)
    for missing in range(size + 1):
        rest = [account for account in crowd if account != crowd[missing]]
        tree = RewardTree(distributor, system.usd, [(account, 8 * USD) for account in rest])
        distributor.propose(system.usd, tree.root, tree.total, DIGEST, LOG_ROOT, {"from": system.publisher})
        left = tree.leaf(crowd[missing - 1]) if missing > 0 else NO_LEAF
        right = tree.leaf(crowd[missing + 1]) if missing < size else NO_LEAF
        distributor.proveOmission.call(system.usd, full.leaf(crowd[missing]), left, right, {"from": system.stranger})
        distributor.kill(system.usd, {"from": system.guardian})


def test_a_root_past_its_window_can_still_be_killed_until_it_is_final(system, distributor, crowd, active):
    tree = proposed(system, [*even(crowd).items(), (crowd[-1], 1)])
    mine_at(distributor.pendingOf(system.usd)["finalizableAt"] + WINDOW)
    tx = distributor.proveDuplicate(system.usd, tree.leaf_at(10), tree.leaf_at(11), {"from": system.stranger})
    killed(system, tx, DUPLICATE, system.stranger)


def test_the_zero_account_has_no_place_in_a_tree(system, distributor, crowd, active):
    """It is taken for `no leaf` in a proof of omission, so a publisher could hide the first account's absence by it."""
    tree = proposed(system, [(ZERO, 1), *((account, 2 * USD) for account in crowd[1:])])
    hidden = (system.usd, active.leaf(crowd[0]), tree.leaf_at(0), tree.leaf_at(1))
    with reverts("RewardNotFraud"):
        distributor.proveOmission.call(*hidden, {"from": system.stranger})
    tx = distributor.proveUnsorted(system.usd, tree.leaf_at(0), tree.leaf_at(5), {"from": system.stranger})
    killed(system, tx, UNSORTED, system.stranger)
