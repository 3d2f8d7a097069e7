"""RevenueLedger: withdrawals by proof, split versions, and shares that only their holders can move."""

from hashlib import sha256

import pytest
from brownie import HookToken, ReentrantAccount, RefusingAccount, SignerWallet
from eth_utils import keccak
from kit import logs_of, mine_after, next_block_at, now, reverts
from money import (
    DAY,
    DIGEST,
    NATIVE,
    NONE,
    REASSIGN,
    WEEK,
    Branch,
    Leaf,
    claim,
    counters,
    grown,
    hexed,
    keyed,
    move,
    node,
    opened,
    pay,
    placed,
    plain,
    reassign,
    replaced,
    signed_move,
    withdraw,
    witness,
)

from backend.rewards.merkle import Node, join
from backend.works.splits import Activated, Reassigned, Share, fold, tree_file

pytestmark = pytest.mark.feature("O4", via="chain")


@pytest.fixture
def free(ledger, admin):
    """No fee, so that figures are round."""
    ledger.setFeeBps(0, {"from": admin})


@pytest.fixture
def trio(ledger, free, accounts):
    """Work 1: 50 of 100 to accounts[1], 30 to accounts[2], 20 to accounts[3]."""
    return opened(ledger, 1, grown([(accounts[1], 50), (accounts[2], 30), (accounts[3], 20)]))


def leaves(tree):
    return list(placed(tree))


# --- withdrawing


def test_withdraw_pays_each_holder_its_part(ledger, trio, accounts, stranger):
    pay(ledger, 1, 1_001, stranger)
    before = [account.balance() for account in accounts[1:4]]
    tx = ledger.withdraw(claim(1, 1, leaves(trio)[0]), leaves(trio)[0].proof, {"from": stranger})
    assert dict(tx.events["Withdrawn"]) == {
        "workId": 1,
        "account": accounts[1],
        "token": NATIVE,
        "version": 1,
        "position": leaves(trio)[0].position,
        "amount": 500,
    }
    assert tx.return_value == 500
    assert [withdraw(ledger, 1, 1, leaf, stranger) for leaf in leaves(trio)[1:]] == [300, 200]
    assert [account.balance() for account in accounts[1:4]] == [
        b + d for b, d in zip(before, [500, 300, 200], strict=True)
    ]
    assert ledger.balance() == 1, "the residue is below one unit a leaf (I5)"


def test_withdraw_twice_pays_once(ledger, trio, stranger):
    pay(ledger, 1, 1_000, stranger)
    leaf = leaves(trio)[2]
    assert withdraw(ledger, 1, 1, leaf, stranger) == 200
    with reverts("RevenueNothingDue"):
        withdraw(ledger, 1, 1, leaf, stranger)
    pay(ledger, 1, 500, stranger)
    assert withdraw(ledger, 1, 1, leaf, stranger) == 100
    assert ledger.withdrawnOf(1, 1, NATIVE, leaf.position) == 300


def test_withdraw_with_a_wrong_leaf_is_refused(ledger, trio, accounts, stranger):
    pay(ledger, 1, 1_000, stranger)
    leaf = leaves(trio)[0]
    for wrong in (
        leaf._replace(weight=51),
        leaf._replace(account=str(stranger)),
        leaf._replace(path=leaf.path ^ 1),
        leaf._replace(proof=leaf.proof[:1], path=0),
        leaf._replace(proof=leaves(trio)[2].proof),
    ):
        with reverts("RevenueInvalidProof"):
            withdraw(ledger, 1, 1, wrong, stranger)
    for work, version in ((1, 0), (1, 2), (2, 1)):
        with reverts("RevenueInvalidProof"):
            withdraw(ledger, work, version, leaf, stranger)


def test_withdraw_with_a_longer_path_is_refused(ledger, trio, stranger):
    """Case 61: the same leaf under another position would be paid again."""
    pay(ledger, 1, 1_000, stranger)
    leaf = leaves(trio)[0]
    withdraw(ledger, 1, 1, leaf, stranger)
    for bit in (2, 7, 255):
        with reverts("MerkleSumPathTooLong", leaf.path | 1 << bit, 2):
            withdraw(ledger, 1, 1, leaf._replace(path=leaf.path | 1 << bit), stranger)


def test_proof_of_one_work_is_worthless_in_another(ledger, trio, accounts, stranger):
    opened(ledger, 2, grown([(accounts[1], 40), (accounts[2], 60)]))
    pay(ledger, 2, 1_000, stranger)
    with reverts("RevenueInvalidProof"):
        withdraw(ledger, 2, 1, leaves(trio)[0], stranger)


def test_account_with_two_equal_leaves_is_paid_both(ledger, free, accounts, stranger):
    """Case 71: booked by position; the account, the weight and the leaf's hash are the same twice."""
    tree = opened(ledger, 1, grown([(accounts[1], 10), (accounts[1], 10), (accounts[2], 60), (accounts[1], 20)]))
    pay(ledger, 1, 1_000, stranger)
    assert [withdraw(ledger, 1, 1, leaf, stranger) for leaf in leaves(tree)] == [100, 100, 600, 200]
    assert ledger.balance() == 0


def test_leaves_of_equal_path_and_other_depth_do_not_share_a_booking(ledger, free, accounts, stranger):
    """Case 72."""
    tree = Branch(
        Branch(Branch(Leaf(str(accounts[1]), 1), Leaf(str(accounts[2]), 2)), Leaf(str(accounts[3]), 3)),
        Leaf(str(accounts[4]), 4),
    )
    opened(ledger, 1, tree)
    assert [leaf.path for leaf in leaves(tree)] == [0, 1, 1, 1]
    pay(ledger, 1, 1_000, stranger)
    assert [withdraw(ledger, 1, 1, leaf, stranger) for leaf in leaves(tree)] == [100, 200, 300, 400]


def test_weights_up_to_96_bits_divide_exactly(ledger, free, accounts, stranger):
    weights = (2**95 - 1, 2**95)
    tree = opened(ledger, 1, grown([(accounts[1], weights[0]), (accounts[2], weights[1])]))
    pay(ledger, 1, 3 * 10**18, stranger)
    paid = [withdraw(ledger, 1, 1, leaf, stranger) for leaf in leaves(tree)]
    assert paid == [3 * 10**18 * weight // (2**96 - 1) for weight in weights]
    with reverts("RevenueTotalTooHigh", 2**96):
        opened(ledger, 2, grown([(accounts[1], 2**96)]))


def test_liars_tree_pays_no_more_than_its_total(ledger, free, accounts, stranger):
    """Case 5: an author counts a leaf of 10 as 90 in the inner node; nobody can prove it then, nobody is overpaid."""
    honest, liar = Leaf(str(accounts[1]), 10), Leaf(str(accounts[2]), 10)
    inflated = node(liar)._replace(sum=90)
    root = join(node(honest), inflated)
    ledger.open(1, [], root.hash, root.sum, DIGEST, (honest.account, 10, 0, [inflated]), {"from": accounts[9]})
    pay(ledger, 1, 1_000, stranger)
    leaf = leaves(Branch(honest, liar))[1]
    for weight in (10, 90):
        with reverts("RevenueInvalidProof"):
            withdraw(ledger, 1, 1, leaf._replace(weight=weight), stranger)
    assert withdraw(ledger, 1, 1, leaf._replace(account=honest.account, path=0, proof=[inflated]), stranger) == 100


def test_refusing_payee_blocks_only_itself(ledger, free, accounts, stranger):
    """Case 11."""
    refuser = RefusingAccount.deploy({"from": stranger})
    tree = opened(ledger, 1, grown([(refuser, 50), (accounts[1], 50)]))
    pay(ledger, 1, 1_000, stranger)
    with reverts("Refused"):
        withdraw(ledger, 1, 1, leaves(tree)[0], stranger)
    assert withdraw(ledger, 1, 1, leaves(tree)[1], stranger) == 500
    assert ledger.withdrawnOf(1, 1, NATIVE, leaves(tree)[0].position) == 0


def test_reentrant_payee_gains_nothing(ledger, free, accounts, stranger):
    """Case 10, native coin: withdrawing the same or another leaf from within is refused, the outer payment stands."""
    rogue = ReentrantAccount.deploy({"from": stranger})
    tree = opened(ledger, 1, grown([(rogue, 50), (rogue, 20), (accounts[1], 30)]))
    pay(ledger, 1, 1_000, stranger)
    for first, inner in ((0, 0), (1, 0)):
        leaf = leaves(tree)[inner]
        rogue.arm(ledger, ledger.withdraw.encode_input(claim(1, 1, leaf), leaf.proof), {"from": stranger})
        withdraw(ledger, 1, 1, leaves(tree)[first], stranger)
        assert not rogue.succeeded()
        assert rogue.answer() == hexed(keccak(text="ReentrancyGuardReentrantCall()")[:4])
    assert rogue.attempts() == 2
    assert rogue.balance() == 700
    assert ledger.balance() == 300


def test_payee_may_pay_another_work_while_it_is_paid(ledger, free, accounts, stranger):
    """A payee that forwards its income on receipt is welcome: the books are in order before it is called."""
    forwarder = ReentrantAccount.deploy({"from": stranger})
    tree = opened(ledger, 1, grown([(forwarder, 1)]))
    opened(ledger, 2, grown([(accounts[1], 1)]), edges=[(1, 1_000, False)])
    pay(ledger, 2, 1_000, stranger)
    ledger.settle(2, 0, NATIVE, {"from": stranger})
    pay(ledger, 1, 1_000, stranger)
    forwarder.arm(ledger, ledger.settle.encode_input(2, 0, NATIVE), {"from": stranger})
    assert withdraw(ledger, 1, 1, leaves(tree)[0], stranger) == 1_100
    assert forwarder.succeeded()


def test_reentrant_payee_of_a_hooked_token_gains_nothing(ledger, free, accounts, stranger, admin):
    """Case 10, ERC-777 side."""
    token = HookToken.deploy({"from": admin})
    ledger.setTokenAllowed(token, True, {"from": admin})
    rogue = ReentrantAccount.deploy({"from": stranger})
    tree = opened(ledger, 1, grown([(rogue, 50), (accounts[1], 50)]))
    pay(ledger, 1, 1_000, stranger, token=token)
    leaf = leaves(tree)[0]
    rogue.arm(ledger, ledger.withdraw.encode_input(claim(1, 1, leaf, token), leaf.proof), {"from": stranger})
    assert withdraw(ledger, 1, 1, leaf, stranger, token=token) == 500
    assert rogue.attempts() == 1
    assert not rogue.succeeded()
    assert token.balanceOf(rogue) == token.balanceOf(ledger) == 500


# --- versions


def handed_over(ledger, work, tree, index, to):
    """Give a whole leaf to another account, in a version of its own; returns the new tree."""
    mine_after(WEEK)
    leaf = leaves(tree)[index]
    reassign(ledger, work, leaf, Leaf(str(to), leaf.weight))
    return replaced(tree, leaf.position, Leaf(str(to), leaf.weight))


def test_fresh_version_without_a_payment_pays_nothing(ledger, trio, accounts, stranger):
    """Case 1, found in the first draft of this design: it paid the whole history to a fresh version."""
    pay(ledger, 1, 1_000, stranger)
    second = handed_over(ledger, 1, trio, 0, accounts[4])
    assert ledger.workOf(1)[2] == 2
    for leaf in leaves(second):
        with reverts("RevenueNothingDue"):
            withdraw(ledger, 1, 2, leaf, stranger)
    assert ledger.earnedOf(1, NATIVE, 2) == 0
    assert [withdraw(ledger, 1, 1, leaf, stranger) for leaf in leaves(trio)] == [500, 300, 200]


def test_versions_two_ahead_without_touches_between(ledger, trio, accounts, stranger):
    """Case 2."""
    pay(ledger, 1, 1_000, stranger)
    second = handed_over(ledger, 1, trio, 0, accounts[4])
    third = handed_over(ledger, 1, second, 0, accounts[5])
    assert withdraw(ledger, 1, 1, leaves(trio)[0], stranger) == 500
    pay(ledger, 1, 2_000, stranger)
    assert withdraw(ledger, 1, 3, leaves(third)[0], stranger) == 1_000
    with reverts("RevenueNothingDue"):
        withdraw(ledger, 1, 2, leaves(second)[0], stranger)
    assert [withdraw(ledger, 1, 1, leaf, stranger) for leaf in leaves(trio)[1:]] == [300, 200]
    assert plain(ledger.baseOf(1, NATIVE, 1)) == (0, 0, 3), "version 1 is followed by 3: 2 had no credit"
    assert plain(ledger.baseOf(1, NATIVE, 3)) == (1_000, 0, 0)


def test_no_leaf_of_one_version_takes_from_another(ledger, trio, accounts, stranger):
    """I6."""
    pay(ledger, 1, 1_000, stranger)
    second = handed_over(ledger, 1, trio, 0, accounts[4])
    pay(ledger, 1, 500, stranger)
    with reverts("RevenueInvalidProof"):
        withdraw(ledger, 1, 1, leaves(second)[0], stranger)
    with reverts("RevenueInvalidProof"):
        withdraw(ledger, 1, 2, leaves(trio)[0], stranger)
    assert [withdraw(ledger, 1, 1, leaf, stranger) for leaf in leaves(trio)] == [500, 300, 200]
    assert [withdraw(ledger, 1, 2, leaf, stranger) for leaf in leaves(second)] == [250, 150, 100]
    assert ledger.balance() == 0


def test_versions_are_apart_by_token(ledger, trio, usd, accounts, stranger):
    pay(ledger, 1, 1_000, stranger)
    second = handed_over(ledger, 1, trio, 0, accounts[4])
    pay(ledger, 1, 100, stranger, token=usd)
    assert counters(ledger, 1, NATIVE) == (1_000, 0, 1)
    assert counters(ledger, 1, usd) == (100, 0, 2)
    assert withdraw(ledger, 1, 2, leaves(second)[0], stranger, token=usd) == 50
    assert withdraw(ledger, 1, 1, leaves(trio)[0], stranger) == 500


def test_payment_after_260_idle_versions_costs_no_more_than_after_one(ledger, free, treasury, authority, accounts):
    """Case 83: the chain of versions skips those without a credit. The platform's split has no interval, which makes
    hundreds of versions possible here."""
    holders = [Leaf(str(account), 1_000_000) for account in accounts[1:3]]

    def versions(count):
        calls = []
        for index in range(count):
            leaf = next(placed(holders[index % 2]))
            data = ledger.replaceSplit.encode_input(0, node(holders[index % 2]).hash, 1_000_000, DIGEST, witness(leaf))
            calls.append(authority.execute.encode_input(ledger, data))
        authority.multicall(calls, {"from": accounts[0]})

    pay(ledger, 0, 1_000, accounts[6])
    versions(1)
    after_one = pay(ledger, 0, 1_000, accounts[6]).gas_used
    versions(260)
    assert ledger.workOf(0)[2] == 262
    assert pay(ledger, 0, 1_000, accounts[6]).gas_used <= after_one
    first = next(placed(Leaf(str(treasury), 1_000_000)))
    assert withdraw(ledger, 0, 1, first, accounts[6]) == 1_000
    assert withdraw(ledger, 0, 2, next(placed(holders[0])), accounts[6]) == 1_000
    assert withdraw(ledger, 0, 262, next(placed(holders[1])), accounts[6]) == 1_000
    assert ledger.earnedOf(0, NATIVE, 100) == 0


# --- reassigning


def test_reassign_divides_a_share(ledger, trio, accounts, stranger):
    """A holder of 50 keeps 20 and gives 30 to two others; nobody else's part changes by a unit."""
    pay(ledger, 1, 1_000, stranger)
    mine_after(WEEK)
    parts = grown([(accounts[1], 20), (accounts[4], 25), (accounts[5], 5)])
    leaf = leaves(trio)[0]
    tx = reassign(ledger, 1, leaf, parts)
    second = replaced(trio, leaf.position, parts)
    root = node(second)
    event = dict(tx.events["ShareReassigned"])
    assert [(bytes(one["hash"]), one["sum"]) for one in event.pop("proof")] == leaf.proof
    assert event == {
        "workId": 1,
        "account": accounts[1],
        "weight": 50,
        "position": leaf.position,
        "newHash": hexed(node(parts).hash),
        "pendingRoot": hexed(root.hash),
        "treeDigest": hexed(DIGEST),
    }
    assert dict(tx.events["SplitActivated"]) == {
        "workId": 1,
        "version": 2,
        "root": hexed(root.hash),
        "totalWeight": 100,
        "treeDigest": hexed(DIGEST),
    }
    assert plain(ledger.splitOf(1, 2)) == (hexed(root.hash), 100)
    pay(ledger, 1, 1_000, stranger)
    assert [withdraw(ledger, 1, 2, one, stranger) for one in leaves(second)] == [200, 250, 50, 300, 200]
    assert [withdraw(ledger, 1, 1, one, stranger) for one in leaves(trio)] == [500, 300, 200]


def test_reassign_is_for_the_holder_alone(ledger, trio, accounts, stranger):
    mine_after(WEEK)
    leaf = leaves(trio)[0]
    for other in (stranger, accounts[2], accounts[9], accounts[0]):
        with reverts("RevenueUnauthorized", other):
            ledger.reassign(move(1, leaf, Leaf(str(other), 50)), leaf.proof, [], {"from": other})


def test_reassign_of_what_one_does_not_hold_is_refused(ledger, trio, accounts):
    """Case 66: more weight than held, another's place, another work's proof, nothing in its place."""
    mine_after(WEEK)
    opened(ledger, 2, grown([(accounts[1], 60), (accounts[2], 40)]))
    mine_after(WEEK)
    own, other = leaves(trio)[:2]
    me = {"from": own.account}
    for leaf in (
        own._replace(weight=51),
        own._replace(path=other.path, proof=other.proof),
        other._replace(account=own.account),
    ):
        with reverts("RevenueInvalidProof"):
            ledger.reassign(move(1, leaf, Leaf(own.account, leaf.weight)), leaf.proof, [], me)
    with reverts("RevenueInvalidProof"):
        ledger.reassign(move(2, own, Leaf(own.account, 50)), own.proof, [], me)
    nothing = (1, own.account, 50, own.path, NONE, DIGEST, 2**48 - 1)
    with reverts("RevenueInvalidProof"):
        ledger.reassign(nothing, own.proof, [], me)
    with reverts("RevenueNothingPending", 1):
        reassign(ledger, 1, own, Leaf(own.account, 50))


def test_inflated_sub_tree_cannot_pay_more_than_the_share_it_replaced(ledger, trio, accounts, stranger):
    """The new node counts with the old leaf's weight, whatever the sums below it say."""
    mine_after(WEEK)
    leaf = leaves(trio)[2]
    greedy = grown([(accounts[4], 20), (accounts[5], 80)])
    reassign(ledger, 1, leaf, greedy)  # its root would have a sum of 100; it is taken for 20
    pay(ledger, 1, 1_000, stranger)
    pretended = replaced(trio, leaf.position, greedy)
    for one in leaves(pretended)[2:]:
        with reverts("RevenueInvalidProof"):
            withdraw(ledger, 1, 2, one, stranger)
    # The others' proofs have the sum 20 in the liar's place, and hold.
    honest = leaves(pretended)[0]
    right = node(greedy)._replace(sum=20)
    proof = [honest.proof[0], right]
    assert withdraw(ledger, 1, 2, honest._replace(proof=proof), stranger) == 500


def test_reassignments_gather_until_the_interval_has_passed(ledger, trio, accounts, stranger):
    """Case 66: 30 moves of dust make one version, which anyone may activate."""
    tree = trio
    for index in range(30):
        leaf = leaves(tree)[0]
        dust = grown([(leaf.account, leaf.weight - 1), (accounts[1 + index % 3], 1)])
        tx = reassign(ledger, 1, leaf, dust)
        tree = replaced(tree, leaf.position, dust)
        assert "SplitActivated" not in tx.events
        assert plain(ledger.pendingOf(1)) == (hexed(node(tree).hash), hexed(DIGEST))
    assert ledger.workOf(1)[2] == 1
    ready = ledger.workOf(1)[6] + WEEK
    with reverts("RevenueNotYet", ready):
        ledger.activate(1, {"from": stranger})
    next_block_at(ready)
    tx = ledger.activate(1, {"from": stranger})
    assert tx.events["SplitActivated"]["version"] == 2
    assert tx.events["SplitActivated"]["root"] == hexed(node(tree).hash)
    assert plain(ledger.pendingOf(1)) == (hexed(NONE), hexed(NONE))
    with reverts("RevenueNothingPending", 1):
        ledger.activate(1, {"from": stranger})


def test_reassign_proves_against_the_pending_split(ledger, trio, accounts, stranger):
    """A proof made before another's move is stale; rebuilt from the event it holds."""
    first, second = leaves(trio)[:2]
    parts = grown([(first.account, 10), (accounts[4], 40)])
    reassign(ledger, 1, first, parts)
    with reverts("RevenueInvalidProof"):
        reassign(ledger, 1, second, Leaf(str(accounts[5]), 30))
    tree = replaced(trio, first.position, parts)
    moved = next(leaf for leaf in placed(tree) if leaf.account == second.account)
    reassign(ledger, 1, moved, Leaf(str(accounts[5]), 30))
    next_block_at(now() + WEEK)
    ledger.activate(1, {"from": stranger})
    tree = replaced(tree, moved.position, Leaf(str(accounts[5]), 30))
    pay(ledger, 1, 1_000, stranger)
    assert [withdraw(ledger, 1, 2, leaf, stranger) for leaf in leaves(tree)] == [100, 400, 300, 200]


def test_reassign_after_the_interval_takes_the_pending_moves_with_it(ledger, trio, accounts, stranger):
    first, second = leaves(trio)[:2]
    reassign(ledger, 1, first, Leaf(str(accounts[4]), 50))
    tree = replaced(trio, first.position, Leaf(str(accounts[4]), 50))
    next_block_at(now() + WEEK)
    moved = next(leaf for leaf in placed(tree) if leaf.account == second.account)
    tx = reassign(ledger, 1, moved, Leaf(str(accounts[5]), 30))
    assert tx.events["SplitActivated"]["version"] == 2
    assert plain(ledger.pendingOf(1)) == (hexed(NONE), hexed(NONE))


def test_V2_proofs_below_a_hidden_sub_tree_are_rebuilt_from_events(ledger, free, accounts, stranger):
    """A holder hides three new holders in its leaf; one of them moves on, and so does who gets that share. All are
    paid by proofs from the first file and the events alone."""
    files = {}

    def published(shares):
        file = tree_file([Share(str(account), weight) for account, weight in shares])
        files[sha256(file).digest()] = file
        return sha256(file).digest()

    def moved(tree, account, parts, digest):
        leaf = next(one for one in placed(tree) if one.account == str(account))
        reassign(ledger, 1, leaf, grown(parts), digest=digest)
        return replaced(tree, leaf.position, grown(parts))

    first = [(accounts[1], 50), (accounts[2], 30), (accounts[3], 20)]
    tree = opened(ledger, 1, grown(first), digest=published(first))
    tree = moved(tree, accounts[2], [(accounts[4], 12), (accounts[5], 10), (accounts[6], 8)], NONE)
    tree = moved(tree, accounts[5], [(accounts[7], 10)], published([(accounts[7], 10)]))
    next_block_at(now() + WEEK)
    tree = moved(tree, accounts[7], [(accounts[7], 4), (accounts[8], 6)], NONE)

    split = fold(split_events(ledger, 1), files.get).versions[2]
    assert {leaf.account for leaf in split.leaves()} == {str(accounts[1]), None, str(accounts[3])}
    pay(ledger, 1, 1_000, stranger)
    own = {leaf.position: leaf for leaf in placed(tree)}
    both = [one.position for one in own.values() if one.account in (accounts[7], accounts[8])]
    assert {leaf.position for leaf in split.leaves()} == (own.keys() - set(both)) | {both[0] >> 1}
    lied = own[both[0]]._replace(proof=[*own[both[0]].proof[:-1], Node(NONE, 50)])
    with reverts("RevenueInvalidProof"):
        withdraw(ledger, 1, 2, lied, stranger)
    for one in own.values():
        # who was given a part of a hidden leaf has the rest of the way in the proof of that leaf
        above = one.position if one.position in split else one.position >> 1
        proof = [*one.proof[: len(one.proof) - above.bit_length() + 1], *split.proof(above)]
        assert withdraw(ledger, 1, 2, one._replace(proof=proof), stranger) == 10 * one.weight


def split_events(ledger, work):
    """What the ledger's logs say of a work's split."""
    for name, args, _ in logs_of(ledger):
        if args.get("workId") != work:
            continue
        if name == "ShareReassigned":
            yield Reassigned(
                position=args["position"],
                account=args["account"],
                weight=args["weight"],
                new_hash=args["newHash"],
                tree_digest=args["treeDigest"],
                proof=tuple(Node(bytes(one["hash"]), one["sum"]) for one in args["proof"]),
            )
        elif name == "SplitActivated":
            yield Activated(args["version"], args["root"], args["totalWeight"], args["treeDigest"])


def test_moves_that_undo_each_other_make_no_version(ledger, trio, accounts, stranger):
    leaf = leaves(trio)[0]
    reassign(ledger, 1, leaf, Leaf(str(accounts[4]), 50))
    reassign(ledger, 1, leaf._replace(account=str(accounts[4])), Leaf(leaf.account, 50))
    next_block_at(now() + WEEK)
    with reverts("RevenueNothingPending", 1):
        ledger.activate(1, {"from": stranger})


def test_reassign_is_refused_if_it_would_become_active_too_late(ledger, trio, accounts):
    leaf = leaves(trio)[0]
    ready = ledger.workOf(1)[6] + WEEK
    to = Leaf(str(accounts[4]), 50)
    with reverts("RevenueNotYet", ready):
        ledger.reassign(move(1, leaf, to, activate_by=ready - 1), leaf.proof, [], {"from": leaf.account})
    ledger.reassign(move(1, leaf, to, activate_by=ready), leaf.proof, [], {"from": leaf.account})
    next_block_at(ready + DAY)
    back = leaf._replace(account=to.account)
    with reverts("RevenueNotYet", ready + DAY):
        ledger.reassign(
            move(1, back, Leaf(leaf.account, 50), activate_by=ready + DAY - 1), leaf.proof, [], {"from": accounts[4]}
        )


def test_reassign_runs_its_settlements_first(ledger, trio, accounts, stranger):
    """Case 87, the seller's side: what derivations owed before the sale is settled into the seller's version."""
    opened(ledger, 2, grown([(accounts[5], 1)]), edges=[(1, 5_000, True)])
    pay(ledger, 2, 1_000, stranger)
    mine_after(WEEK)
    leaf = leaves(trio)[0]
    tx = reassign(ledger, 1, leaf, Leaf(str(accounts[4]), 50), settles=[(2, 0, NATIVE)])
    assert tx.events["EdgeSettled"]["amount"] == 500
    assert withdraw(ledger, 1, 1, leaf, stranger) == 250
    second = replaced(trio, leaf.position, Leaf(str(accounts[4]), 50))
    with reverts("RevenueNothingDue"):
        withdraw(ledger, 1, 2, leaves(second)[0], stranger)


@pytest.mark.parametrize("settled_first", [True, False])
def test_seller_buyer_and_bystander_of_a_moved_share(ledger, trio, accounts, stranger, settled_first):
    """Case 87: what a derivation owed and nobody settled goes with the share; the bystander gets the same anyway."""
    opened(ledger, 2, grown([(accounts[5], 1)]), edges=[(1, 5_000, False)])
    pay(ledger, 1, 1_000, stranger)
    pay(ledger, 2, 2_000, stranger)
    mine_after(WEEK)
    seller, bystander = leaves(trio)[:2]
    buyer = Leaf(str(accounts[4]), 50)
    reassign(ledger, 1, seller, buyer, settles=[(2, 0, NATIVE)] if settled_first else [])
    second = replaced(trio, seller.position, buyer)
    ledger.settle(2, 0, NATIVE, {"from": stranger})
    pay(ledger, 1, 100, stranger)
    bought, stayed = leaves(second)[:2]

    assert withdraw(ledger, 1, 1, seller, stranger) == (1_000 if settled_first else 500)
    assert withdraw(ledger, 1, 2, bought, stranger) == (50 if settled_first else 550)
    got = withdraw(ledger, 1, 1, bystander, stranger) + withdraw(ledger, 1, 2, stayed, stranger)
    assert got == 300 + 300 + 30


def test_reassign_and_activate_are_refused_for_the_platform(ledger, treasury, stranger):
    leaf = next(placed(grown([(treasury, 1_000_000)])))
    mine_after(WEEK)
    with reverts("RevenuePlatformWork"):
        reassign(ledger, 0, leaf, Leaf(str(stranger), 1_000_000))
    with reverts("RevenuePlatformWork"):
        ledger.activate(0, {"from": stranger})


def test_no_share_moves_in_a_dispute_but_what_moved_before_is_activated(ledger, trio, accounts, stranger):
    """Else who sold a share could keep drawing on it by having the work contested."""
    leaf = leaves(trio)[0]
    reassign(ledger, 1, leaf, Leaf(str(accounts[4]), 50))
    ledger.pushStatus(1, 1, {"from": accounts[9]})
    mine_after(WEEK)
    with reverts("RevenueWorkStatus", 1, 1):
        reassign(ledger, 1, leaf._replace(account=str(accounts[4])), Leaf(leaf.account, 50))
    ledger.activate(1, {"from": stranger})
    pay(ledger, 1, 1_000, stranger)
    assert withdraw(ledger, 1, 2, leaf._replace(account=str(accounts[4])), stranger) == 500
    with reverts("RevenueWorkStatus", 1, 1):
        reassign(ledger, 1, leaf._replace(account=str(accounts[4])), Leaf(leaf.account, 50))


def test_unknown_works_have_nothing_to_activate(ledger, stranger):
    with reverts("RevenueUnknownWork", 4):
        ledger.activate(4, {"from": stranger})


# --- by signature


def test_typehash_is_that_of_the_signed_struct(ledger):
    text = "Reassign(" + ",".join(f"{kind} {name}" for kind, name in REASSIGN) + ")"
    assert ledger.REASSIGN_TYPEHASH() == hexed(keccak(text=text))


def test_signed_reassignment_is_submitted_by_anyone_once(ledger, trio, accounts, stranger):
    mine_after(WEEK)
    leaf = leaves(trio)[0]
    args = signed_move(ledger, keyed(1).key, accounts[1], 1, leaf, Leaf(str(accounts[4]), 50))
    tx = ledger.reassignBySig(*args, {"from": stranger})
    assert tx.events["ShareReassigned"]["account"] == accounts[1]
    assert ledger.nonces(accounts[1]) == 1
    with reverts("InvalidAccountNonce", accounts[1], 1):
        ledger.reassignBySig(*args, {"from": stranger})


def test_signed_reassignment_is_good_for_what_it_names_only(ledger, trio, accounts, stranger):
    """Case 66: another work, leaf, receiver, settlement, nonce, deadline or contract."""
    mine_after(WEEK)
    leaf = leaves(trio)[0]
    good = signed_move(ledger, keyed(1).key, accounts[1], 1, leaf, Leaf(str(accounts[4]), 50))
    other_leaf, to_stranger = leaves(trio)[1], Leaf(str(stranger), 50)
    changes = {
        0: [
            (2, *good[0][1:]),
            (*good[0][:2], 49, *good[0][3:]),
            (*good[0][:4], node(to_stranger).hash, *good[0][5:]),
            (*good[0][:5], NONE, good[0][6]),
            (*good[0][:6], good[0][6] - 1),
            (*good[0][:3], leaf.path ^ 1, *good[0][4:]),
        ],
        1: [other_leaf.proof[:1]],
        2: [[(1, 0, NATIVE)]],
        4: [1],
        5: [2**48 - 2],
    }
    for index, values in changes.items():
        for value in values:
            changed = [*good]
            changed[index] = value
            with reverts("RevenueInvalidSignature", accounts[1]):
                ledger.reassignBySig(*changed, {"from": stranger})
    elsewhere = signed_move(
        ledger, keyed(1).key, accounts[1], 1, leaf, Leaf(str(accounts[4]), 50), contract=accounts[3]
    )
    not_his = signed_move(ledger, keyed(2).key, accounts[1], 1, leaf, Leaf(str(accounts[4]), 50))
    for wrong in (elsewhere, not_his):
        with reverts("RevenueInvalidSignature", accounts[1]):
            ledger.reassignBySig(*wrong, {"from": stranger})
    ledger.reassignBySig(*good, {"from": stranger})


def test_signed_reassignment_expires(ledger, trio, accounts, stranger):
    mine_after(WEEK)
    deadline = now() + 100
    args = signed_move(
        ledger, keyed(1).key, accounts[1], 1, leaves(trio)[0], Leaf(str(accounts[4]), 50), deadline=deadline
    )
    next_block_at(deadline + 1)
    with reverts("RevenueSignatureExpired", deadline):
        ledger.reassignBySig(*args, {"from": stranger})


def test_signed_reassignment_with_an_executor_is_for_it_alone(ledger, trio, accounts, stranger):
    """Case 75, as far as sales don't exist yet: the order carries who may use it."""
    mine_after(WEEK)
    args = signed_move(
        ledger, keyed(1).key, accounts[1], 1, leaves(trio)[0], Leaf(str(accounts[4]), 50), executor=accounts[5]
    )
    with reverts("RevenueUnauthorized", stranger):
        ledger.reassignBySig(*args, {"from": stranger})
    without = [*args]
    without[3] = NATIVE
    with reverts("RevenueInvalidSignature", accounts[1]):
        ledger.reassignBySig(*without, {"from": stranger})
    ledger.reassignBySig(*args, {"from": accounts[5]})


def sold(ledger, signer_key, account, work, leaf, executor, **given):
    """Arguments of reassignTo, less the new holder: the signature names the executor and no new node."""
    message_of = signed_move(ledger, signer_key, account, work, leaf, None, executor=executor, **given)
    return [*message_of[:3], *message_of[4:]]


def test_executor_names_the_new_holder_of_a_leaf(ledger, trio, accounts):
    """newHash 0 stands for the leaf (holder, weight) that the executor names."""
    mine_after(WEEK)
    leaf = leaves(trio)[0]
    args = sold(ledger, keyed(1).key, accounts[1], 1, leaf, accounts[5])
    tx = ledger.reassignTo(accounts[4], *args, {"from": accounts[5]})
    after = replaced(trio, leaf.position, Leaf(str(accounts[4]), 50))
    assert tx.events["ShareReassigned"]["newHash"] == hexed(node(Leaf(str(accounts[4]), 50)).hash)
    assert plain(ledger.splitOf(1, 2)) == (hexed(node(after).hash), 100)
    with reverts("InvalidAccountNonce", accounts[1], 1):
        ledger.reassignTo(accounts[4], *args, {"from": accounts[5]})


def test_case_75_open_reassignment_is_for_its_executor_and_for_one_leaf(ledger, trio, accounts, stranger):
    mine_after(WEEK)
    leaf, deadline = leaves(trio)[0], now() + 100
    args = sold(ledger, keyed(1).key, accounts[1], 1, leaf, accounts[5], deadline=deadline)
    with reverts("RevenueInvalidSignature", accounts[1]):  # another caller, the holder included
        ledger.reassignTo(stranger, *args, {"from": stranger})
    with reverts("RevenueInvalidSignature", accounts[1]):
        ledger.reassignTo(stranger, *args, {"from": accounts[1]})
    with reverts("RevenueInvalidProof"):  # the executor can't put a tree there, or nobody
        ledger.reassignBySig(*args[:3], accounts[5], *args[3:], {"from": accounts[5]})
    with reverts("RevenueInvalidProof"):
        ledger.reassignTo(NATIVE, *args, {"from": accounts[5]})
    named = (*args[0][:4], node(Leaf(str(accounts[4]), 50)).hash, *args[0][5:])
    with reverts("RevenueInvalidProof"):
        ledger.reassignTo(accounts[4], named, *args[1:], {"from": accounts[5]})
    for number in (0, 2):  # another work
        with reverts("RevenueInvalidSignature", accounts[1]):
            ledger.reassignTo(accounts[4], (number, *args[0][1:]), *args[1:], {"from": accounts[5]})
    next_block_at(deadline + 1)
    with reverts("RevenueSignatureExpired", deadline):
        ledger.reassignTo(accounts[4], *args, {"from": accounts[5]})


def test_named_reassignment_cannot_be_sent_elsewhere_by_its_executor(ledger, trio, accounts):
    """Who signed a new holder, with an executor, gets that one and no other."""
    mine_after(WEEK)
    leaf = leaves(trio)[0]
    by = Leaf(str(accounts[4]), 50)
    args = signed_move(ledger, keyed(1).key, accounts[1], 1, leaf, by, executor=accounts[5])
    with reverts("RevenueInvalidSignature", accounts[1]):
        ledger.reassignTo(accounts[5], (*args[0][:4], NONE, *args[0][5:]), *args[1:3], *args[4:], {"from": accounts[5]})


def test_keyed_nonces_may_be_used_in_any_order(ledger, trio, accounts, stranger):
    mine_after(WEEK)
    leaf = leaves(trio)[0]
    second_key = 5 << 64
    args = signed_move(ledger, keyed(1).key, accounts[1], 1, leaf, Leaf(str(accounts[4]), 50), nonce=second_key)
    ledger.reassignBySig(*args, {"from": stranger})
    assert ledger.nonces(accounts[1]) == 0
    with reverts("InvalidAccountNonce", accounts[1], second_key + 1):
        ledger.reassignBySig(*args, {"from": stranger})


def test_contract_wallet_reassigns_by_its_owners_signature(ledger, free, accounts, stranger):
    """ERC-1271."""
    wallet = SignerWallet.deploy(accounts[1], {"from": stranger})
    tree = opened(ledger, 1, grown([(wallet, 70), (accounts[2], 30)]))
    mine_after(WEEK)
    leaf = leaves(tree)[0]
    with reverts("RevenueInvalidSignature", wallet):
        ledger.reassignBySig(
            *signed_move(ledger, keyed(2).key, wallet, 1, leaf, Leaf(str(accounts[4]), 70)), {"from": stranger}
        )
    ledger.reassignBySig(
        *signed_move(ledger, keyed(1).key, wallet, 1, leaf, Leaf(str(accounts[4]), 70)), {"from": stranger}
    )
    assert ledger.workOf(1)[2] == 2
