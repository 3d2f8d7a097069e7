"""RevenueLedger: what governance, moderators and the guardian can do, and what they can't."""

import pytest
from brownie import RevenueLedger
from kit import mine_after, next_block_at, now, reverts
from money import (
    DAY,
    DIGEST,
    NATIVE,
    NONE,
    WEEK,
    Leaf,
    counters,
    grown,
    hexed,
    node,
    opened,
    pay,
    placed,
    plain,
    reassign,
    withdraw,
    witness,
)

pytestmark = pytest.mark.feature("G2", via="chain")

MONTH = 30 * DAY


@pytest.fixture
def leaf(ledger, accounts):
    """The one leaf of work 1, which has 975 to withdraw."""
    tree = opened(ledger, 1, grown([(accounts[1], 10)]))
    pay(ledger, 1, 1_000, accounts[6])
    return next(placed(tree))


def test_restricted_functions_refuse_strangers(ledger, leaf, stranger, accounts):
    """Case 49, the ledger's part: every function that changes something for all is closed to all but the authority."""
    calls = {
        "setFeeBps": (1,),
        "setTokenAllowed": (stranger, True),
        "freeze": (1, NONE, True),
        "pause": (),
        "unpause": (),
        "replaceSplit": (0, NONE, 1, DIGEST, witness(leaf)),
    }
    for name, args in calls.items():
        for sender in (stranger, accounts[9], accounts[1]):
            with reverts("AccessManagedUnauthorized", sender):
                getattr(ledger, name)(*args, {"from": sender})
    with reverts("AccessManagedUnauthorized", stranger):
        ledger.setAuthority(stranger, {"from": stranger})


def test_every_state_changing_function_is_accounted_for():
    """A function that is added must be named here, as open to all, or under the authority, or the registry's."""
    to_all = {"payNative", "payToken", "payTokenWithPermit", "payTokenWithAuthorization", "settle", "settleMany"}
    to_all |= {"withdraw", "reassign", "reassignBySig", "reassignTo", "activate"}
    restricted = {"setFeeBps", "setTokenAllowed", "freeze", "pause", "unpause", "replaceSplit", "setAuthority"}
    registrys = {"open", "pushStatus", "replaceDisputedSplit"}  # the last one by its contract of standing
    found = {
        entry["name"]
        for entry in RevenueLedger.abi
        if entry["type"] == "function" and entry["stateMutability"] in ("nonpayable", "payable")
    }
    assert found == to_all | restricted | registrys
    assert not any(entry["type"] in ("receive", "fallback") for entry in RevenueLedger.abi)
    assert not any("initialize" in name for name in found), "case 50: nothing can be initialised again"


# --- freeze


def test_frozen_work_is_paid_but_pays_nobody(ledger, leaf, admin, stranger):
    """Case 15."""
    tx = ledger.freeze(1, DIGEST, True, {"from": admin})
    until = tx.timestamp + MONTH
    assert dict(tx.events["WorkFrozen"]) == {"workId": 1, "caseId": hexed(DIGEST), "until": until}
    assert plain(ledger.workOf(1))[5] == until
    pay(ledger, 1, 1_000, stranger)
    with reverts("RevenueFrozen", 1):
        withdraw(ledger, 1, 1, leaf, stranger)
    with reverts("RevenueFrozen", 1):
        reassign(ledger, 1, leaf, Leaf(str(stranger), 10))
    with reverts("RevenueFrozen", 1):
        ledger.activate(1, {"from": stranger})
    ledger.freeze(1, DIGEST, False, {"from": admin})
    assert withdraw(ledger, 1, 1, leaf, stranger) == 1_950


def test_freeze_expires_and_cannot_be_renewed_at_once(ledger, leaf, admin, stranger):
    """Case 67."""
    tx = ledger.freeze(1, DIGEST, True, {"from": admin})
    end = tx.timestamp + MONTH
    with reverts("RevenueNotYet", end + MONTH):
        ledger.freeze(1, NONE, True, {"from": admin})
    next_block_at(end)
    assert withdraw(ledger, 1, 1, leaf, stranger) == 975
    with reverts("RevenueNotYet", end + MONTH):
        ledger.freeze(1, NONE, True, {"from": admin})
    next_block_at(end + MONTH)
    ledger.freeze(1, NONE, True, {"from": admin})


def test_thawing_early_starts_the_cool_off(ledger, leaf, admin):
    ledger.freeze(1, DIGEST, True, {"from": admin})
    tx = ledger.freeze(1, DIGEST, False, {"from": admin})
    assert tx.events["WorkFrozen"]["until"] == tx.timestamp
    with reverts("RevenueNotFrozen", 1):
        ledger.freeze(1, DIGEST, False, {"from": admin})
    with reverts("RevenueNotYet", tx.timestamp + MONTH):
        ledger.freeze(1, DIGEST, True, {"from": admin})


def test_freeze_of_the_platform_or_an_unknown_work_is_refused(ledger, admin):
    with reverts("RevenuePlatformWork"):
        ledger.freeze(0, DIGEST, True, {"from": admin})
    with reverts("RevenueUnknownWork", 8):
        ledger.freeze(8, DIGEST, True, {"from": admin})


def test_freeze_of_a_derivation_does_not_stop_its_royalties(ledger, leaf, admin, accounts, stranger):
    opened(ledger, 2, grown([(accounts[2], 1)]), edges=[(1, 1_000, False)])
    pay(ledger, 2, 1_000, stranger)
    ledger.freeze(2, DIGEST, True, {"from": admin})
    ledger.settle(2, 0, NATIVE, {"from": stranger})
    assert counters(ledger, 1)[1] == 97


# --- pause


def test_pause_stops_withdrawals_and_reassignments_only(ledger, leaf, admin, stranger, accounts):
    """Case 59."""
    opened(ledger, 2, grown([(accounts[2], 1)]), edges=[(1, 1_000, False)])
    reassign(ledger, 1, leaf, Leaf(str(accounts[3]), 10))
    mine_after(WEEK)
    tx = ledger.pause({"from": admin})
    until = tx.timestamp + WEEK
    assert dict(tx.events["PauseChanged"]) == {"account": admin, "until": until}
    assert ledger.pausedUntil() == until
    with reverts("RevenuePaused", until):
        withdraw(ledger, 1, 1, leaf, stranger)
    with reverts("RevenuePaused", until):
        reassign(ledger, 1, leaf, Leaf(str(stranger), 10))
    pay(ledger, 2, 1_000, stranger)
    ledger.settle(2, 0, NATIVE, {"from": stranger})
    ledger.activate(1, {"from": stranger})
    next_block_at(until)
    assert withdraw(ledger, 1, 1, leaf, stranger) == 975 + 97


def test_pause_cannot_be_renewed_at_once(ledger, leaf, admin):
    """Cases 59, 67, 77: no withdrawal is blocked beyond 7 days, and the next pause is a month away."""
    end = ledger.pause({"from": admin}).timestamp + WEEK
    with reverts("RevenueNotYet", end + MONTH):
        ledger.pause({"from": admin})
    next_block_at(end + MONTH - 1)
    with reverts("RevenueNotYet", end + MONTH):
        ledger.pause({"from": admin})
    next_block_at(end + MONTH)
    ledger.pause({"from": admin})


def test_unpause_ends_a_pause(ledger, leaf, admin, stranger):
    with reverts("RevenueNotPaused"):
        ledger.unpause({"from": admin})
    ledger.pause({"from": admin})
    tx = ledger.unpause({"from": admin})
    assert tx.events["PauseChanged"]["until"] == tx.timestamp == ledger.pausedUntil()
    assert withdraw(ledger, 1, 1, leaf, stranger) == 975
    with reverts("RevenueNotYet", tx.timestamp + MONTH):
        ledger.pause({"from": admin})


# --- the platform's split


def test_governance_replaces_the_platforms_split_for_later_revenue(ledger, treasury, admin, accounts, stranger):
    """W4: the split of work 0 is the policy of the platform's revenue."""
    pay(ledger, 0, 1_000, stranger)
    policy = grown([(treasury, 600_000), (accounts[2], 400_000)])
    root, first = node(policy), next(placed(policy))
    tx = ledger.replaceSplit(0, root.hash, 1_000_000, DIGEST, witness(first), {"from": admin})
    assert tx.events["SplitActivated"]["version"] == 2
    assert plain(ledger.splitOf(0, 2)) == (hexed(root.hash), 1_000_000)
    pay(ledger, 0, 500, stranger)
    old = next(placed(grown([(treasury, 1_000_000)])))
    assert withdraw(ledger, 0, 1, old, stranger) == 1_000
    assert [withdraw(ledger, 0, 2, leaf, stranger) for leaf in placed(policy)] == [300, 200]


def test_fees_after_a_new_policy_follow_it(ledger, leaf, treasury, admin, accounts, stranger):
    policy = grown([(accounts[2], 1_000_000)])
    ledger.replaceSplit(0, node(policy).hash, 1_000_000, DIGEST, witness(next(placed(policy))), {"from": admin})
    pay(ledger, 1, 1_000, stranger)
    assert ledger.earnedOf(0, NATIVE, 1) == ledger.earnedOf(0, NATIVE, 2) == 25


def test_replace_split_of_any_other_work_is_refused(ledger, leaf, admin):
    """Case 68."""
    with reverts("RevenueUnauthorized", admin):
        ledger.replaceSplit(1, node(Leaf(leaf.account, 10)).hash, 10, DIGEST, witness(leaf), {"from": admin})


def test_replace_split_refuses_a_root_that_nobody_can_claim_from(ledger, stranger, admin):
    """Case 74: a total that differs can brick nobody; it is refused, even with a proof."""
    whole, half = Leaf(str(stranger), 1_000_000), Leaf(str(stranger), 500_000)
    for root, total, proven in (
        (NONE, 1_000_000, whole),
        (node(whole).hash, 1_000_001, whole),
        (node(half).hash, 500_000, half),
        (node(half).hash, 1_000_000, half),
    ):
        with reverts("RevenueInvalidProof"):
            ledger.replaceSplit(0, root, total, DIGEST, witness(next(placed(proven))), {"from": admin})


def test_clock_is_the_blocks(ledger, leaf, admin):
    assert ledger.pause({"from": admin}).timestamp == now()
