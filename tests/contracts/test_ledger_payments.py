"""RevenueLedger: what comes in, in native coin and ERC-20, the platform's fee, and who may open accounts."""

import itertools

import pytest
from brownie import FalseToken, Feeder, FeeToken, HookToken, LyingToken, MockUSD, ReentrantAccount, SilentToken
from brownie.exceptions import VirtualMachineError
from conftest import FEE_BPS
from eth_abi import encode
from eth_utils import keccak
from kit import domain, now, reverts, sign
from money import (
    DAY,
    DIGEST,
    DISPUTED,
    NATIVE,
    NONE,
    REVOKED,
    ROYALTY,
    SALE,
    SUSPENDED,
    SUSPENDED_DISPUTED,
    TIP,
    WEEK,
    counters,
    grown,
    hexed,
    keyed,
    node,
    opened,
    pay,
    placed,
    plain,
    withdraw,
    witness,
)

pytestmark = pytest.mark.feature("R1", via="chain")

AUTHORIZATION = [
    ("address", "from"),
    ("address", "to"),
    ("uint256", "value"),
    ("uint256", "validAfter"),
    ("uint256", "validBefore"),
    ("bytes32", "nonce"),
]
PERMIT = [
    ("address", "owner"),
    ("address", "spender"),
    ("uint256", "value"),
    ("uint256", "nonce"),
    ("uint256", "deadline"),
]


@pytest.fixture(scope="module")
def work(ledger, accounts):
    """Work 1, held by accounts[1] alone."""
    opened(ledger, 1, grown([(accounts[1], 100)]))
    return 1


@pytest.fixture(scope="module")
def signer():
    """An account whose key is known to the tests: the payer."""
    return keyed(7)


def allowed(ledger, admin, contract):
    token = contract.deploy({"from": admin})
    ledger.setTokenAllowed(token, True, {"from": admin})
    return token


# --- construction and opening


def test_constructor_opens_the_platform_and_sets_the_fee(ledger, treasury, accounts, authority):
    assert ledger.registry() == accounts[9]
    assert ledger.authority() == authority
    assert ledger.feeBps() == FEE_BPS
    root = node(grown([(treasury, 1_000_000)]))
    assert plain(ledger.splitOf(0, 1)) == (hexed(root.hash), 1_000_000)
    assert ledger.workOf(0)[2] == 1


def test_constructor_emits_what_it_sets(ledger, treasury):
    events = ledger.tx.events
    assert dict(events["FeeChanged"]) == {"oldBps": 0, "newBps": FEE_BPS}
    assert events["SplitActivated"]["workId"] == 0
    assert events["SplitActivated"]["totalWeight"] == 1_000_000
    assert events["SplitActivated"]["treeDigest"] == hexed(DIGEST)


def test_constructor_refuses_a_high_fee_and_an_empty_platform(RevenueLedger, authority, admin, accounts):
    with reverts("RevenueFeeTooHigh", 1001):
        RevenueLedger.deploy(authority, accounts[9], 1001, [(admin, 1)], DIGEST, {"from": admin})
    with reverts("MerkleSumNoLeaves"):
        RevenueLedger.deploy(authority, accounts[9], 0, [], DIGEST, {"from": admin})
    with reverts("RevenueInvalidProof"):
        RevenueLedger.deploy(authority, accounts[9], 0, [(admin, 0)], DIGEST, {"from": admin})


def test_constructor_takes_a_platform_split_of_several(RevenueLedger, authority, admin, accounts):
    split = [(accounts[1], 5), (accounts[2], 3), (accounts[3], 2)]
    books = RevenueLedger.deploy(authority, accounts[9], 0, split, DIGEST, {"from": admin})
    pay(books, 0, 1000, accounts[4])
    assert [withdraw(books, 0, 1, leaf, accounts[4]) for leaf in placed(grown(split))] == [500, 300, 200]


def test_open_is_for_the_registry_only(ledger, stranger):
    leaf = next(placed(grown([(stranger, 1)])))
    with reverts("RevenueUnauthorized", stranger):
        ledger.open(5, [], NONE, 1, DIGEST, witness(leaf), {"from": stranger})
    with reverts("RevenueUnauthorized", stranger):
        ledger.pushStatus(0, 3, {"from": stranger})


def test_open_happens_once(ledger, work, accounts):
    with reverts("RevenueAlreadyOpen", work):
        opened(ledger, work, grown([(accounts[1], 1)]))
    with reverts("RevenueAlreadyOpen", 0):
        opened(ledger, 0, grown([(accounts[1], 1)]))


def test_open_refuses_a_root_without_a_proven_leaf(ledger, accounts):
    """Case 9 among them: a tree without weight."""
    tree = grown([(accounts[1], 60), (accounts[2], 40)])
    root, leaf = node(tree), next(placed(tree))
    from_registry = {"from": accounts[9]}
    for wrong_root, wrong_total, wrong_leaf in [
        (NONE, 100, leaf),
        (root.hash, 101, leaf),
        (root.hash, 100, leaf._replace(weight=61)),
        (root.hash, 100, leaf._replace(account=str(accounts[2]))),
        (root.hash, 100, leaf._replace(path=1)),
    ]:
        with reverts("RevenueInvalidProof"):
            ledger.open(2, [], wrong_root, wrong_total, DIGEST, witness(wrong_leaf), from_registry)
    weightless = grown([(accounts[1], 0)])
    with reverts("RevenueInvalidProof"):
        opened(ledger, 2, weightless)
    ledger.open(2, [], root.hash, 100, DIGEST, witness(leaf), from_registry)


def test_push_status_of_an_unknown_work_is_refused(ledger, accounts):
    with reverts("RevenueUnknownWork", 77):
        ledger.pushStatus(77, 1, {"from": accounts[9]})


# --- native coin


def test_pay_native_credits_net_and_fee(ledger, work, payer):
    amount = 10**18 + 39
    tx = pay(ledger, work, amount, payer, kind=SALE)
    fee = amount * FEE_BPS // 10_000
    assert counters(ledger, work) == (amount - fee, 0, 1)
    assert counters(ledger, 0) == (fee, 0, 1)
    assert ledger.balance() == amount
    assert dict(tx.events["PaymentReceived"]) == {
        "workId": work,
        "token": NATIVE,
        "payer": payer,
        "amount": amount,
        "fee": fee,
        "kind": SALE,
        "ref": "0x" + "00" * 32,
    }


def test_pay_to_the_platform_bears_no_fee(ledger, payer):
    tx = pay(ledger, 0, 999, payer)
    assert tx.events["PaymentReceived"]["fee"] == 0
    assert counters(ledger, 0) == (999, 0, 1)


def test_pay_refuses_nothing_and_unknown_works(ledger, work, payer):
    """Case 15."""
    with reverts("RevenueZeroAmount"):
        ledger.payNative(work, TIP, NONE, {"from": payer})
    with reverts("RevenueUnknownWork", 12):
        pay(ledger, 12, 5, payer)


def test_pay_to_a_revoked_work_is_refused_and_to_others_not(ledger, work, payer, accounts):
    """Case 15."""
    for status in (DISPUTED, SUSPENDED, SUSPENDED_DISPUTED):
        tx = ledger.pushStatus(work, status, {"from": accounts[9]})
        assert dict(tx.events["StatusPushed"]) == {"workId": work, "status": status}
        pay(ledger, work, 5, payer)
    ledger.pushStatus(work, REVOKED, {"from": accounts[9]})
    with reverts("RevenueWorkStatus", work, REVOKED):
        pay(ledger, work, 5, payer)


def test_native_coin_sent_without_a_call_is_refused(ledger, payer):
    with pytest.raises(VirtualMachineError):
        payer.transfer(ledger, 1)


def test_forced_coins_do_not_enter_the_books(ledger, work, payer, accounts):
    """Case 57: the ledger counts what it was paid, not what it has."""
    pay(ledger, work, 10_000, payer)
    Feeder.deploy(ledger, {"from": payer, "value": 12_345})
    assert ledger.balance() == 22_345
    assert ledger.earnedOf(work, NATIVE, 1) == 9_750
    leaf = next(placed(grown([(accounts[1], 100)])))
    assert withdraw(ledger, work, 1, leaf, payer) == 9_750


def test_counters_never_wrap(ledger, work, usd, payer):
    """Case 14: 2^112 - 1 base units and not one more."""
    most = 2**112 - 1
    pay(ledger, 0, most, payer, token=usd)
    assert counters(ledger, 0, usd) == (most, 0, 1)
    with reverts("RevenueOverflow"):
        pay(ledger, 0, 1, payer, token=usd)
    with reverts("RevenueOverflow"):
        pay(ledger, work, 10_000, payer, token=usd)  # its fee has no room
    pay(ledger, work, 39, payer, token=usd)  # 2.5% of it is nothing
    with reverts("RevenueOverflow"):
        pay(ledger, work, 2**112, payer, token=usd)


# --- the fee


def test_fee_change_applies_to_later_payments_only(ledger, work, payer, admin):
    """Case 16."""
    pay(ledger, work, 10_000, payer)
    tx = ledger.setFeeBps(1000, {"from": admin})
    assert dict(tx.events["FeeChanged"]) == {"oldBps": FEE_BPS, "newBps": 1000}
    assert counters(ledger, work)[0] == 9_750
    pay(ledger, work, 10_000, payer)
    assert counters(ledger, work)[0] == 9_750 + 9_000
    assert counters(ledger, 0)[0] == 250 + 1_000


def test_fee_above_ten_percent_is_refused_even_from_its_master(ledger, admin):
    """Case 16."""
    with reverts("RevenueFeeTooHigh", 1001):
        ledger.setFeeBps(1001, {"from": admin})
    ledger.setFeeBps(0, {"from": admin})


def test_fees_of_dust_are_rounded_down_and_add_up(ledger, work, payer):
    """I7: work 0 has exactly the sum of the fees."""
    expected = 0
    for amount in (1, 39, 40, 41, 79, 80, 10**9 + 7):
        pay(ledger, work, amount, payer)
        expected += amount * FEE_BPS // 10_000
    assert counters(ledger, 0)[0] == expected


# --- ERC-20


def test_pay_token_credits_and_pays_out(ledger, work, usd, payer, accounts):
    pay(ledger, work, 1_000_000, payer, token=usd)
    assert counters(ledger, work, usd) == (975_000, 0, 1)
    assert counters(ledger, work) == (0, 0, 0), "tokens are apart"
    leaf = next(placed(grown([(accounts[1], 100)])))
    assert withdraw(ledger, work, 1, leaf, payer, token=usd) == 975_000
    assert usd.balanceOf(accounts[1]) == 975_000


def test_tokens_off_the_list_are_refused_and_old_money_stays_payable(ledger, work, usd, payer, admin, accounts):
    other = MockUSD.deploy({"from": admin})
    with reverts("RevenueTokenNotAllowed", other):
        pay(ledger, work, 5, payer, token=other)
    pay(ledger, work, 10_000, payer, token=usd)
    tx = ledger.setTokenAllowed(usd, False, {"from": admin})
    assert dict(tx.events["TokenAllowed"]) == {"token": usd, "allowed": False}
    assert not ledger.isTokenAllowed(usd)
    with reverts("RevenueTokenNotAllowed", usd):
        pay(ledger, work, 5, payer, token=usd)
    assert withdraw(ledger, work, 1, next(placed(grown([(accounts[1], 100)]))), payer, token=usd) == 9_750


def test_native_coin_is_always_allowed(ledger, admin):
    assert ledger.isTokenAllowed(NATIVE)
    with reverts("RevenueTokenNotAllowed", NATIVE):
        ledger.setTokenAllowed(NATIVE, False, {"from": admin})
    with reverts("RevenueTokenNotAllowed", NATIVE):
        ledger.payToken(0, NATIVE, 1, TIP, NONE, {"from": admin})


def test_fee_on_transfer_token_credits_what_came(ledger, work, payer, admin):
    """Case 12."""
    token = allowed(ledger, admin, FeeToken)
    tx = pay(ledger, work, 1_000_000, payer, token=token)
    assert tx.events["PaymentReceived"]["amount"] == 990_000
    assert counters(ledger, work, token)[0] + counters(ledger, 0, token)[0] == 990_000 == token.balanceOf(ledger)


def test_token_that_returns_false_is_refused(ledger, work, payer, admin):
    """Case 13."""
    token = allowed(ledger, admin, FalseToken)
    with reverts("SafeERC20FailedOperation", token):
        pay(ledger, work, 5, payer, token=token)


def test_token_that_lies_about_moving_credits_nothing(ledger, work, payer, admin):
    token = allowed(ledger, admin, LyingToken)
    with reverts("RevenueZeroAmount"):
        pay(ledger, work, 5, payer, token=token)


def test_token_that_returns_nothing_works(ledger, work, payer, admin, accounts):
    """Case 13."""
    token = allowed(ledger, admin, SilentToken)
    pay(ledger, work, 10_000, payer, token=token)
    assert withdraw(ledger, work, 1, next(placed(grown([(accounts[1], 100)]))), payer, token=token) == 9_750


def test_payment_inside_a_payments_hook_is_not_counted_twice(ledger, work, payer, admin):
    """Case 10, ERC-777 side: the balance difference of the outer payment would hold the inner one too."""
    token = allowed(ledger, admin, HookToken)
    rogue = ReentrantAccount.deploy({"from": payer})
    token.mint(rogue, 2_000, {"from": payer})
    rogue.run(token, token.approve.encode_input(ledger, 2_000), {"from": payer})
    inner = ledger.payToken.encode_input(work, token, 1_000, TIP, NONE)
    rogue.arm(ledger, inner, {"from": payer})
    rogue.run(ledger, inner, {"from": payer})
    assert rogue.attempts() == 1
    assert not rogue.succeeded()
    assert rogue.answer() == "0x" + keccak(text="ReentrancyGuardReentrantCall()")[:4].hex()
    assert token.balanceOf(ledger) == 1_000 == counters(ledger, work, token)[0] + counters(ledger, 0, token)[0]


# --- permits and authorizations


def permit(usd, ledger, signer, amount, deadline, nonce=0):
    message = {
        "owner": signer.address,
        "spender": ledger.address,
        "value": amount,
        "nonce": nonce,
        "deadline": deadline,
    }
    signed = sign(signer.key, domain("Mock USD", usd), "Permit", PERMIT, message)
    return deadline, signed[64], signed[:32], signed[32:64]


def test_pay_with_permit_needs_no_approval(ledger, work, usd, payer, signer):
    usd.mint(payer, 500, {"from": payer})
    signed = permit(usd, ledger, signer, 500, now() + 60)
    ledger.payTokenWithPermit(work, usd, 500, TIP, NONE, signed, {"from": payer})
    assert usd.balanceOf(ledger) == 500
    assert usd.allowance(payer, ledger) == 0


def test_pay_with_a_permit_that_was_front_run_goes_through(ledger, work, usd, payer, signer, stranger):
    """Case 73: a stranger submits the permit first; the payment finds the allowance."""
    usd.mint(payer, 500, {"from": payer})
    deadline, v, r, s = permit(usd, ledger, signer, 500, now() + 60)
    usd.permit(payer, ledger, 500, deadline, v, r, s, {"from": stranger})
    ledger.payTokenWithPermit(work, usd, 500, TIP, NONE, (deadline, v, r, s), {"from": payer})
    assert usd.balanceOf(ledger) == 500


def test_pay_with_a_failing_permit_and_no_allowance_is_refused(ledger, work, usd, payer, signer):
    usd.mint(payer, 500, {"from": payer})
    expired = permit(usd, ledger, signer, 500, now() - 1)
    with reverts("ERC20InsufficientAllowance", ledger, 0, 500):
        ledger.payTokenWithPermit(work, usd, 500, TIP, NONE, expired, {"from": payer})


def test_permit_of_another_charges_nobody_but_the_caller(ledger, work, usd, payer, signer, stranger):
    usd.mint(payer, 500, {"from": payer})
    signed = permit(usd, ledger, signer, 500, now() + 60)
    with reverts("ERC20InsufficientAllowance", ledger, 0, 500):
        ledger.payTokenWithPermit(work, usd, 500, TIP, NONE, signed, {"from": stranger})


def test_permit_payment_calls_no_token_off_the_list(ledger, work, payer, admin, signer):
    other = MockUSD.deploy({"from": admin})
    with reverts("RevenueTokenNotAllowed", other):
        ledger.payTokenWithPermit(
            work, other, 5, TIP, NONE, permit(other, ledger, signer, 5, now() + 60), {"from": payer}
        )


def authorization(token, ledger, signer, amount, work, kind, ref, *, name="Mock USD", salt=b"\5" * 32):
    bound = keccak(
        encode(
            ["uint256", "address", "uint64", "uint8", "bytes32", "bytes32"],
            [31337, ledger.address, work, kind, ref, salt],
        )
    )
    before = now() + 600
    message = {
        "from": signer.address,
        "to": ledger.address,
        "value": amount,
        "validAfter": 0,
        "validBefore": before,
        "nonce": bound[:24] + b"\0" * 8,
    }
    signed = sign(signer.key, domain(name, token), "ReceiveWithAuthorization", AUTHORIZATION, message)
    return signer.address, amount, 0, before, salt, signed[64], signed[:32], signed[32:64]


def test_pay_with_authorization_is_submitted_by_anyone(ledger, work, usd, payer, signer, stranger):
    usd.mint(payer, 800, {"from": payer})
    signed = authorization(usd, ledger, signer, 800, work, ROYALTY, DIGEST)
    tx = ledger.payTokenWithAuthorization(work, usd, ROYALTY, DIGEST, signed, {"from": stranger})
    assert tx.events["PaymentReceived"]["payer"] == payer
    assert tx.events["PaymentReceived"]["amount"] == 800
    with reverts("ERC3009UsedAuthorization"):
        ledger.payTokenWithAuthorization(work, usd, ROYALTY, DIGEST, signed, {"from": stranger})


def test_signed_payment_is_good_for_its_work_kind_and_reference_only(ledger, work, usd, payer, signer, stranger):
    """Case 73."""
    opened(ledger, 2, grown([(stranger, 1)]))
    usd.mint(payer, 800, {"from": payer})
    signed = authorization(usd, ledger, signer, 800, work, TIP, DIGEST)
    right = [(work, 2), (TIP, SALE), (DIGEST, NONE)]
    for wrong in itertools.islice(itertools.product(*right), 1, None):
        with reverts("ERC3009InvalidSignature"):
            ledger.payTokenWithAuthorization(wrong[0], usd, wrong[1], wrong[2], signed, {"from": stranger})
    ledger.payTokenWithAuthorization(work, usd, TIP, DIGEST, signed, {"from": stranger})


def test_authorized_payment_in_a_token_off_the_list_is_refused(ledger, work, payer, admin, signer):
    other = MockUSD.deploy({"from": admin})
    signed = authorization(other, ledger, signer, 5, work, TIP, NONE)
    with reverts("RevenueTokenNotAllowed", other):
        ledger.payTokenWithAuthorization(work, other, TIP, NONE, signed, {"from": payer})


# --- dust


def test_dust_payments_cost_each_holder_at_most_one_unit(ledger, payer, accounts):
    """Case 3 (0xSplits M-02): one floor on the lifetime sum, so that the number of payments and of withdrawals between
    them is nothing to the holders. 100 payments of 1 unit, withdrawn at every 25th."""
    split = grown([(accounts[1], 67), (accounts[2], 33)])
    opened(ledger, 3, split)
    for index in range(100):
        ledger.payNative(3, TIP, NONE, {"from": payer, "value": 1})
        if index % 25 == 24:
            for leaf in placed(split):
                withdraw(ledger, 3, 1, leaf, payer)
    paid = [ledger.withdrawnOf(3, 1, NATIVE, leaf.position) for leaf in placed(split)]
    assert paid == [67, 33]


def test_bounds_are_public(ledger):
    assert (ledger.MAX_FEE_BPS(), ledger.MAX_EDGES(), ledger.MAX_UPSTREAM_BPS()) == (1_000, 16, 8_000)
    assert (ledger.SPLIT_INTERVAL(), ledger.PAUSE_PERIOD(), ledger.FREEZE_PERIOD()) == (WEEK, WEEK, 30 * DAY)
