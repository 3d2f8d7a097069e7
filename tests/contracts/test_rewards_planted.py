"""Bugs that were planted in RewardDistributor: the tests that are to find each of them do."""

import pytest
import test_rewards_fraud as fraud
import test_rewards_roots as roots
from brownie import BondsAsFunds, LoosePath, SkippedWindow, web3
from rewardkit import RewardTree, deploy_rewards, next_epoch, propose, publish
from test_rewards_stateful import RewardMachine

FOUND = (AssertionError, pytest.fail.Exception)
"""How a test ends that finds something: a comparison fails, or what must be refused goes through."""


def people():
    return [web3.to_checksum_address((1_000 * (i + 1)).to_bytes(20, "big")) for i in range(6)]


def small_tree(system):
    return RewardTree(system.distributor, system.usd, dict.fromkeys(people(), 10**6))


def honest_root(system):
    """A root that dropped and lowered nobody, pending."""
    publish(system, system.usd, dict.fromkeys(people(), 10**6))
    next_epoch(system)
    tree = RewardTree(system.distributor, system.usd, dict.fromkeys(people(), 2 * 10**6))
    propose(system, tree)
    return tree


def test_planted_bonds_counted_as_funds_are_found():
    """Case 62."""
    system = deploy_rewards(BondsAsFunds)
    with pytest.raises(FOUND):
        roots.test_bonds_are_not_funds(system, system.distributor, small_tree(system), people())


def test_planted_skipped_window_is_found():
    """Case 38: by the test of the way of a root, and by the random histories."""
    system = deploy_rewards(SkippedWindow)
    with pytest.raises(FOUND):
        RewardMachine(system, people(), 0).run()
    system = deploy_rewards(SkippedWindow)
    with pytest.raises(FOUND):
        roots.test_v4_a_root_counts_only_after_its_whole_window(
            system, system.distributor, small_tree(system), people()
        )


def test_planted_non_canonical_path_is_found():
    """Case 61: with it anybody kills an honest root by one leaf at two places, and is paid for it."""
    system = deploy_rewards(LoosePath)
    tree = honest_root(system)
    with pytest.raises(FOUND):
        fraud.test_one_leaf_has_one_position(system, system.distributor, people(), tree)
    account, amount, path, proof = tree.leaf(people()[4])
    shadow = (account, amount, path | 2 << len(proof), proof)
    sender = {"from": system.stranger}
    tx = system.distributor.proveDuplicate(system.usd, (account, amount, path, proof), shadow, sender)
    assert "RootRejected" in tx.events


def test_the_same_tests_pass_where_nothing_is_planted():
    """On the real contract, by the same calls: what they find above is the bug."""
    system = deploy_rewards()
    fraud.test_one_leaf_has_one_position(system, system.distributor, people(), honest_root(system))
