"""SessionForwarder: requests of accounts and of their session keys, and what no session key ever reaches."""

import random
from collections import Counter
from pathlib import Path

import pytest
from brownie import (
    ForwardTarget,
    RefusingAccount,
    SessionForwarder,
    SignerWallet,
    TrustingToken,
    WrongNonceForwarder,
    project,
    web3,
)
from brownie.test import given
from eth_abi import encode
from eth_utils import keccak
from histories import seeds
from hypothesis import settings, strategies
from kit import ZERO, both, logs_of, next_block_at, now, outcome, reverts, within_budget
from money import DIGEST, NONE, SUSPENDED, hexed, keyed, plain
from sessions import (
    ETHER,
    FOR_EVER,
    GRANT,
    Model,
    Scope,
    by_account,
    by_session,
    request,
    selector,
    signature,
    signed_grant,
)
from works import AI_ASSISTED, params, registered

SOURCES = Path(__file__).resolve().parents[2] / "contracts"
ACT, OTHER, FAIL = selector("act(uint256)"), selector("other()"), selector("fail()")
DO = ACT + bytes(32)
LONG = 10**6
OWNER, STRANGER = keyed(1), keyed(6)
KEY, SECOND = keyed(20), keyed(21)
"""Session keys: accounts that hold no coin."""


@pytest.fixture(scope="module")
def owner(accounts):
    return accounts[1]


@pytest.fixture(scope="module")
def relayer(accounts):
    return accounts[7]


@pytest.fixture(scope="module")
def target(admin, forwarder):
    return ForwardTarget.deploy(forwarder, {"from": admin})


@pytest.fixture(scope="module")
def scope(target):
    return Scope((target, ACT), (target, OTHER), (target, FAIL))


def granted(forwarder, account, scope, key=KEY, limit=0, expires=None):
    """Grant a key; returns when the grant expires."""
    until = now() + LONG if expires is None else expires
    forwarder.grant((key.address, scope.root, limit, until), {"from": account})
    return until


def session(forwarder, account, target, scope, chosen=ACT, key=KEY, nonce=None, **given):
    """A request for a function of the target, signed by a session key."""
    data = chosen + bytes(32) if chosen == ACT else chosen
    made = request(account, target, data, **given)
    return by_session(forwarder, key, made, scope.proof(target, chosen), nonce)


# --- requests of accounts


@pytest.mark.feature("O1", via="chain")
def test_request_is_carried_out_for_the_account_that_signed_it(forwarder, registry, owner, relayer):
    """The relayer pays the gas; the registry sees the owner."""
    made = request(owner, registry, registry.register.encode_input(params(owner)))
    before = owner.balance()
    tx = forwarder.execute(by_account(forwarder, OWNER, made), {"from": relayer})
    assert registry.ownerOf(1) == owner
    assert owner.balance() == before
    assert [dict(event) for event in tx.events["ExecutedForwardRequest"]] == [
        {"signer": owner, "nonce": 0, "success": True}
    ]
    assert forwarder.nonces(owner) == 1


def test_each_function_of_the_registry_sees_the_signer(forwarder, registry, owner, relayer):
    """Committing, writing a licence, approving, changing what one owns: the caller is the account everywhere."""
    work = registered(registry, owner)
    calls = {
        "commit": (DIGEST,),
        "createLicence": ((1_000, *[False] * 8, 0, DIGEST),),
        "approveDerivative": (work, relayer, DIGEST),
        "setMetadata": (work, DIGEST),
        "setAiLabel": (work, AI_ASSISTED, NONE),
        "transferFrom": (owner, relayer, work),
    }
    events = {}
    for name, args in calls.items():
        made = request(owner, registry, getattr(registry, name).encode_input(*args))
        with reverts("ERC2771ForwarderInvalidSigner"):
            forwarder.execute(by_account(forwarder, STRANGER, made), {"from": relayer})
        tx = forwarder.execute(by_account(forwarder, OWNER, made), {"from": relayer})
        events |= {event.name: dict(event) for event in tx.events if event.address == registry}
    assert events["WorkCommitted"]["account"] == owner
    assert events["LicenceCreated"]["creator"] == owner
    assert {"DerivativeApproved", "MetadataChanged", "AiLabelChanged", "Transfer"} <= set(events)
    assert registry.ownerOf(work) == relayer


def test_request_signed_for_anything_else_is_refused(forwarder, target, owner, relayer):
    made = request(owner, target, DO)
    good = by_account(forwarder, OWNER, made)
    wrong = [
        by_account(forwarder, OWNER, made, chainId=1),
        by_account(forwarder, OWNER, made, verifyingContract=str(target)),
        by_account(forwarder, OWNER, made, name="ERC2771Forwarder"),
        by_account(forwarder, OWNER, made, nonce=1),
        by_account(forwarder, STRANGER, made),
        made._replace(gas=made.gas + 1).signed(good[-1]),
        made._replace(deadline=made.deadline - 1).signed(good[-1]),
        made._replace(data=OTHER).signed(good[-1]),
        made._replace(account=str(relayer)).signed(good[-1]),
        made.signed(b""),
        made.signed(good[-1] + b"\0"),
        made.signed(malleable(good[-1])),
    ]
    for args in wrong:
        assert not forwarder.verify(args)
        with reverts("ERC2771ForwarderInvalidSigner"):
            forwarder.execute(args, {"from": relayer})
    assert forwarder.verify(good)
    forwarder.execute(good, {"from": relayer})
    assert target.calls() == 1


def malleable(signed):
    """The other signature of the same message: s becomes n - s, v flips."""
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    other = order - int.from_bytes(signed[32:64], "big")
    return signed[:32] + other.to_bytes(32, "big") + bytes([55 - signed[64]])


def test_request_ends_with_its_deadline(forwarder, target, owner, relayer):
    deadline = now() + 100
    args = by_account(forwarder, OWNER, request(owner, target, DO, deadline=deadline))
    next_block_at(deadline + 1)
    with reverts("ERC2771ForwarderExpiredRequest", deadline):
        forwarder.execute(args, {"from": relayer})
    deadline = now() + 100
    args = by_account(forwarder, OWNER, request(owner, target, DO, deadline=deadline))
    next_block_at(deadline)
    forwarder.execute(args, {"from": relayer})


def test_value_comes_with_the_request(forwarder, target, owner, relayer):
    args = by_account(forwarder, OWNER, request(owner, target, DO, value=5))
    with reverts("ERC2771ForwarderMismatchedValue", 5, 4):
        forwarder.execute(args, {"from": relayer, "value": 4})
    forwarder.execute(args, {"from": relayer, "value": 5})
    assert (target.balance(), forwarder.balance()) == (5, 0)


def test_failing_call_reverts_and_keeps_the_nonce(forwarder, target, owner, relayer):
    with reverts("FailedCall"):
        forwarder.execute(by_account(forwarder, OWNER, request(owner, target, FAIL)), {"from": relayer})
    assert forwarder.nonces(owner) == 0


# --- requests of session keys


def test_session_key_acts_for_the_account(forwarder, registry, owner, relayer):
    work = registered(registry, owner)
    chosen = bytes.fromhex(registry.setMetadata.signature[2:])
    scope = Scope((registry, chosen))
    until = granted(forwarder, owner, scope)
    assert plain(forwarder.grantOf(owner, KEY.address)) == (until, 0, 0, hexed(scope.root))
    made = request(owner, registry, registry.setMetadata.encode_input(work, DIGEST))
    args = by_session(forwarder, KEY, made, scope.proof(registry, chosen))
    assert forwarder.verify(args)
    tx = forwarder.execute(args, {"from": relayer})
    assert tx.events["MetadataChanged"]["cidDigest"] == hexed(DIGEST)
    assert tx.events["ExecutedForwardRequest"]["signer"] == owner


def test_grant_says_what_was_granted(forwarder, owner, scope):
    until = now() + 100
    tx = forwarder.grant((KEY.address, scope.root, 7, until), {"from": owner})
    assert [dict(event) for event in tx.events["SessionGranted"]] == [
        {"account": owner, "key": KEY.address, "scopeRoot": hexed(scope.root), "valueLimit": 7, "expires": until}
    ]


def replays_are_refused(forwarder, target, account, relayer):
    """A session's request is carried out once: the account's nonce advances, and the key's own is not touched."""
    scope = Scope((target, ACT))
    granted(forwarder, account, scope)
    args = session(forwarder, account, target, scope)
    forwarder.execute(args, {"from": relayer})
    error = outcome(forwarder.execute, args, {"from": relayer})
    assert target.calls() == 1, "the request was carried out twice"
    assert error == "ERC2771ForwarderInvalidSigner"
    assert (forwarder.nonces(account), forwarder.nonces(KEY.address)) == (1, 0)


def test_case_51_session_request_is_not_replayed(forwarder, target, owner, relayer):
    replays_are_refused(forwarder, target, owner, relayer)


def test_case_51_the_planted_wrong_nonce_is_found(admin, owner, relayer):
    """A forwarder that uses up the key's nonce must not pass: else the test above shows nothing."""
    planted = WrongNonceForwarder.deploy({"from": admin})
    victim = ForwardTarget.deploy(planted, {"from": admin})
    with pytest.raises(AssertionError, match="carried out twice"):
        replays_are_refused(planted, victim, owner, relayer)


def test_case_51_key_out_of_scope_by_target_and_selector(forwarder, admin, target, owner, relayer):
    scope = Scope((target, ACT), (target, FAIL))
    granted(forwarder, owner, scope)
    twin = ForwardTarget.deploy(forwarder, {"from": admin})
    wider = Scope((target, ACT), (target, OTHER))
    for to, chosen, proof in (
        (target, OTHER, scope.proof(target, ACT)),
        (target, OTHER, []),
        (twin, ACT, scope.proof(target, ACT)),
        (target, OTHER, wider.proof(target, OTHER)),
    ):
        args = by_session(forwarder, KEY, request(owner, to, chosen + bytes(32)), proof)
        assert not forwarder.verify(args)
        with reverts("SessionScope", to, chosen):
            forwarder.execute(args, {"from": relayer})
    assert target.calls() == twin.calls() == 0


def test_case_51_key_above_its_value(forwarder, target, owner, relayer, scope):
    granted(forwarder, owner, scope, limit=10)
    over = session(forwarder, owner, target, scope, value=11)
    assert not forwarder.verify(over)
    with reverts("SessionValueExceeded", 11, 10):
        forwarder.execute(over, {"from": relayer, "value": 11})
    tx = forwarder.execute(session(forwarder, owner, target, scope, value=6), {"from": relayer, "value": 6})
    assert [dict(event) for event in tx.events["SessionValueSpent"]] == [
        {"account": owner, "key": KEY.address, "value": 6, "valueLeft": 4}
    ]
    with reverts("SessionValueExceeded", 5, 4):
        forwarder.execute(session(forwarder, owner, target, scope, value=5), {"from": relayer, "value": 5})
    forwarder.execute(session(forwarder, owner, target, scope, value=4), {"from": relayer, "value": 4})
    assert forwarder.grantOf(owner, KEY.address)["valueLeft"] == 0
    forwarder.execute(session(forwarder, owner, target, scope), {"from": relayer})  # without coins it may go on
    assert (target.balance(), forwarder.balance()) == (10, 0)


def test_case_51_key_after_its_time(forwarder, target, owner, relayer, scope):
    until = granted(forwarder, owner, scope, expires=now() + 100)
    args = session(forwarder, owner, target, scope)
    for time in (until, until + 1):
        next_block_at(time)
        with reverts("SessionExpired", until):
            forwarder.execute(args, {"from": relayer})
    assert not forwarder.verify(args)
    until = granted(forwarder, owner, scope, expires=now() + 100)
    next_block_at(until - 1)
    forwarder.execute(args, {"from": relayer})
    assert target.calls() == 1


def test_case_51_revoked_key(forwarder, target, owner, stranger, relayer, scope):
    granted(forwarder, owner, scope)
    args = session(forwarder, owner, target, scope)
    with reverts("SessionUnknown", stranger, KEY.address):
        forwarder.revoke(KEY.address, {"from": stranger})
    tx = forwarder.revoke(KEY.address, {"from": owner})
    assert [dict(event) for event in tx.events["SessionRevoked"]] == [{"account": owner, "key": KEY.address}]
    assert not forwarder.verify(args)
    with reverts("SessionUnknown", owner, KEY.address):
        forwarder.execute(args, {"from": relayer})
    with reverts("SessionUnknown", owner, KEY.address):
        forwarder.revoke(KEY.address, {"from": owner})


def test_case_51_revoke_all_ends_the_generation(forwarder, target, owner, relayer, scope, accounts):
    """Every grant of the account, no grant of another, and none that was signed before and is submitted later."""
    other = accounts[2]
    for account in (owner, other):
        for key in (KEY, SECOND):
            granted(forwarder, account, scope, key=key)
    late = signed_grant(forwarder, OWNER, owner, (KEY.address, scope.root, 0, now() + LONG), nonce=5 << 64)
    tx = forwarder.revokeAll({"from": owner})
    assert [dict(event) for event in tx.events["AllSessionsRevoked"]] == [{"account": owner, "generation": 1}]
    assert (forwarder.generationOf(owner), forwarder.generationOf(other)) == (1, 0)
    for key in (KEY, SECOND):
        with reverts("SessionUnknown", owner, key.address):
            forwarder.execute(session(forwarder, owner, target, scope, key=key), {"from": relayer})
        assert plain(forwarder.grantOf(owner, key.address)) == (0, 0, 0, hexed(NONE))
        forwarder.execute(session(forwarder, other, target, scope, key=key), {"from": relayer})
    with reverts("SessionUnknown", owner, KEY.address):
        forwarder.revoke(KEY.address, {"from": owner})
    with reverts("SessionInvalidSigner", owner):
        forwarder.grantBySig(*late, {"from": relayer})
    granted(forwarder, owner, scope)
    forwarder.execute(session(forwarder, owner, target, scope), {"from": relayer})


def test_case_51_suffix_of_a_direct_call_is_no_sender(forwarder, registry, owner, stranger, admin):
    """An address behind the data means something only when the forwarder put it there."""
    work = registered(registry, owner)
    spoofed = registry.setMetadata.encode_input(work, DIGEST) + str(owner)[2:]
    with reverts("WorkNotOwner", work, stranger):
        stranger.transfer(registry, data=spoofed)
    revocation = registry.revoke.encode_input(work, NONE) + str(admin)[2:]
    with reverts("AccessManagedUnauthorized", stranger):
        stranger.transfer(registry, data=revocation)


def contracts_with_context():
    """Our deployed contracts that trust a forwarder: name -> build data."""
    builds = {name: container._build for name, container in project.get_loaded_projects()[0]._containers.items()}
    return {
        name: build
        for name, build in builds.items()
        if (SOURCES / f"{name}.sol").exists() and any(e.get("name") == "trustedForwarder" for e in build["abi"])
    }


def test_case_51_contracts_with_context_have_no_multicall_and_delegate_no_call():
    """A batch that calls itself by delegatecall takes the end of the inner data for the sender (OpenZeppelin 4.9.4)."""
    found = contracts_with_context()
    assert "WorkRegistry" in found
    assert not {"RevenueLedger", "RewardDistributor", "AttestationRegistry", "TroupeToken"} & set(found)
    for name, build in found.items():
        assert not [entry for entry in build["abi"] if "multicall" in entry.get("name", "").lower()], name
        assert "DELEGATECALL" not in {step["op"] for step in build["pcMap"].values()}, name


# --- what no session key reaches


def test_case_52_session_key_cannot_call_the_ledger_or_a_token(forwarder, registry, books, owner, relayer, coin):
    """Every function of either, in the scope and paid for by the account's own allowance; the account can't either."""
    work = registered(registry, owner)
    coin.mint(owner, ETHER, {"from": owner})
    coin.approve(books, ETHER, {"from": owner})
    functions = [
        (contract, bytes.fromhex(chosen[2:]), name)
        for contract in (books, coin)
        for chosen, name in contract.selectors.items()
    ]
    assert {"payToken", "withdraw", "reassign", "approve", "transfer"} <= {name for _, _, name in functions}
    scope = Scope(*((contract, chosen) for contract, chosen, _ in functions))
    granted(forwarder, owner, scope, limit=ETHER)
    for contract, chosen, name in functions:
        made = request(owner, contract, chosen + encode(["uint256"] * 5, [work, 1, 1, 1, 1]))
        args = by_session(forwarder, KEY, made, scope.proof(contract, chosen))
        assert not forwarder.verify(args)
        moves = contract == coin and name in ("transfer", "approve", "transferFrom")
        refusal = ("SessionScope", contract, chosen) if moves else ("ERC2771UntrustfulTarget", contract, forwarder)
        with reverts(*refusal):
            forwarder.execute.call(args, {"from": relayer})
        with reverts("ERC2771UntrustfulTarget", contract, forwarder):
            forwarder.execute.call(by_account(forwarder, OWNER, made), {"from": relayer})
    assert coin.allowance(owner, books) == coin.balanceOf(owner) == ETHER


MOVING = (
    "transfer(address,uint256)",
    "approve(address,uint256)",
    "transferFrom(address,address,uint256)",
    "increaseAllowance(address,uint256)",
    "safeTransferFrom(address,address,uint256)",
    "safeTransferFrom(address,address,uint256,bytes)",
    "setApprovalForAll(address,bool)",
    "safeTransferFrom(address,address,uint256,uint256,bytes)",
    "safeBatchTransferFrom(address,address,uint256[],uint256[],bytes)",
)


def test_case_78_session_key_cannot_spend_an_allowance(forwarder, admin, owner, stranger, relayer):
    """Not even of a token that trusts the forwarder: neither the account's own balance nor what others allowed it."""
    token = TrustingToken.deploy(forwarder, {"from": admin})
    token.mint(owner, 100, {"from": owner})
    token.mint(stranger, 100, {"from": stranger})
    token.approve(owner, 100, {"from": stranger})
    scope = Scope(*((token, selector(text)) for text in MOVING))
    granted(forwarder, owner, scope)
    for data in (
        token.transfer.encode_input(KEY.address, 1),
        token.approve.encode_input(KEY.address, 1),
        token.transferFrom.encode_input(stranger, KEY.address, 1),
        *(hexed(selector(text) + bytes(160)) for text in MOVING),
    ):
        chosen = bytes.fromhex(data[2:10])
        args = by_session(forwarder, KEY, request(owner, token, data), scope.proof(token, chosen))
        assert not forwarder.verify(args)
        with reverts("SessionScope", token, chosen):
            forwarder.execute(args, {"from": relayer})
    assert (token.balanceOf(owner), token.balanceOf(stranger), token.allowance(owner, KEY.address)) == (100, 100, 0)
    made = request(owner, token, token.transfer.encode_input(relayer, 1))
    forwarder.execute(by_account(forwarder, OWNER, made), {"from": relayer})  # the account itself may
    assert token.balanceOf(relayer) == 1


def test_session_key_cannot_move_or_approve_works(forwarder, registry, owner, relayer):
    work = registered(registry, owner)
    calls = {
        "approve": (KEY.address, work),
        "setApprovalForAll": (KEY.address, True),
        "transferFrom": (owner, KEY.address, work),
        "safeTransferFrom": (owner, KEY.address, work),
    }
    inputs = [getattr(registry, name).encode_input(*args) for name, args in calls.items() if name != "safeTransferFrom"]
    tail = encode(["address", "address", "uint256"], [str(owner), KEY.address, work])
    inputs.append(hexed(selector("safeTransferFrom(address,address,uint256)") + tail))
    scope = Scope(*((registry, bytes.fromhex(data[2:10])) for data in inputs))
    granted(forwarder, owner, scope)
    for data in inputs:
        chosen = bytes.fromhex(data[2:10])
        with reverts("SessionScope", registry, chosen):
            made = request(owner, registry, data)
            forwarder.execute(by_session(forwarder, KEY, made, scope.proof(registry, chosen)), {"from": relayer})
    assert registry.ownerOf(work) == owner


def test_request_cannot_grant_or_revoke(forwarder, owner, relayer, scope):
    """The forwarder trusts no forwarder: grants are the account's own calls, or what it signed as a grant."""
    granted(forwarder, owner, scope)
    for data in (
        forwarder.grant.encode_input((SECOND.address, scope.root, ETHER, FOR_EVER)),
        forwarder.revoke.encode_input(KEY.address),
        forwarder.revokeAll.encode_input(),
    ):
        chosen = bytes.fromhex(data[2:10])
        own = Scope((forwarder, chosen))
        granted(forwarder, owner, own)
        made = request(owner, forwarder, data)
        for args in (
            by_account(forwarder, OWNER, made),
            by_session(forwarder, KEY, made, own.proof(forwarder, chosen)),
        ):
            with reverts("ERC2771UntrustfulTarget", forwarder, forwarder):
                forwarder.execute(args, {"from": relayer})
    assert plain(forwarder.grantOf(owner, SECOND.address))[0] == 0


def test_roles_are_not_exercised_through_the_forwarder(forwarder, registry, owner, admin, relayer):
    """Not by a key of the admin's, nor by its own signature: a role's holder calls itself."""
    work = registered(registry, owner)
    calls = {
        "setStatus": (work, SUSPENDED, NONE),
        "revoke": (work, NONE),
        "correctAiLabel": (work, 2, NONE),
        "setRoyaltyBps": (1,),
        "setContractURI": ("x",),
        "signal": (NONE,),
        "setAuthority": (forwarder,),
    }
    for name, args in calls.items():
        data = getattr(registry, name).encode_input(*args)
        chosen = bytes.fromhex(data[2:10])
        scope = Scope((registry, chosen))
        granted(forwarder, admin, scope)
        made = request(admin, registry, data)
        for signed in (by_account(forwarder, keyed(0), made), by_session(forwarder, KEY, made)):
            with reverts("FailedCall"):
                forwarder.execute(signed, {"from": relayer})
        if name != "setAuthority":
            assert refusal(forwarder, registry, data + str(admin)[2:]) == (
                selector("AccessManagedUnauthorized(address)") + bytes(12) + bytes.fromhex(str(forwarder)[2:])
            )
            getattr(registry, name).call(*args, {"from": admin})


def refusal(sender, target, data):
    """What a call ends with, as the bytes of its error."""
    call = {"from": str(sender), "to": str(target), "data": data}
    answer = web3.provider.make_request("eth_call", [call, "latest"])
    return bytes.fromhex(answer["error"]["data"][2:])


@pytest.mark.parametrize("length", range(4))
def test_data_shorter_than_a_selector_is_in_no_scope(forwarder, target, owner, relayer, length):
    """The account's address, put behind the data, would complete it to a selector that nobody named."""
    data = ACT[:length]
    completed = (data + bytes.fromhex(str(owner)[2:]))[:4]
    scope = Scope((target, completed), (target, data.ljust(4, b"\0")))
    granted(forwarder, owner, scope)
    for chosen in (completed, data.ljust(4, b"\0")):
        args = by_session(forwarder, KEY, request(owner, target, data), scope.proof(target, chosen))
        with reverts("SessionScope", target, data.ljust(4, b"\0")):
            forwarder.execute(args, {"from": relayer})


def test_key_signs_for_the_account_that_granted_it_alone(forwarder, target, owner, accounts, relayer, scope):
    granted(forwarder, owner, scope)
    with reverts("SessionUnknown", accounts[2], KEY.address):
        forwarder.execute(session(forwarder, accounts[2], target, scope), {"from": relayer})
    # Nor does another key become this one by naming it.
    made = request(owner, target, DO)
    proof = b"".join(scope.proof(target, ACT))
    named = bytes.fromhex(KEY.address[2:])
    forged = made.signed(signature(forwarder, SECOND, made) + named + proof)
    assert not forwarder.verify(forged)
    with reverts("ERC2771ForwarderInvalidSigner", SECOND.address, owner):
        forwarder.execute(forged, {"from": relayer})
    for wrong in (bytes(65), signature(forwarder, KEY, made, chainId=1), signature(forwarder, KEY, made, nonce=1)):
        with reverts("ERC2771ForwarderInvalidSigner"):
            forwarder.execute(made.signed(wrong + named + proof), {"from": relayer})


@pytest.mark.parametrize("tail", [b"", b"\0", bytes(19), bytes(31)])
def test_signature_of_any_other_length_is_invalid(forwarder, target, owner, relayer, scope, tail):
    granted(forwarder, owner, scope)
    made = request(owner, target, DO)
    signed = signature(forwarder, KEY, made) + bytes.fromhex(KEY.address[2:])[: len(tail)] + tail[20:]
    args = made.signed(signed)
    assert not forwarder.verify(args)
    with reverts("ERC2771ForwarderInvalidSigner"):
        forwarder.execute(args, {"from": relayer})


@given(
    count=strategies.integers(min_value=1, max_value=9),
    inside=strategies.integers(min_value=0, max_value=8),
    noise=strategies.lists(strategies.binary(min_size=32, max_size=32), max_size=4),
    outside=strategies.binary(min_size=4, max_size=4),
)
@settings(max_examples=12)
def test_scope_is_exactly_its_functions(forwarder, target, owner, count, inside, noise, outside):
    """Whatever its size: each function of it is provable, and no other is, by no proof that the scope's tree offers."""
    functions = [keccak(text=f"function {i}")[:4] for i in range(count)]
    scope = Scope(*((target, chosen) for chosen in functions))
    granted(forwarder, owner, scope)
    chosen = functions[inside % count]
    right = scope.proof(target, chosen)
    proofs = [
        right,
        noise,
        [],
        *(scope.proof(target, one) for one in functions[:3]),
        *([row[0]] for row in scope.levels),
    ]
    for function in {chosen, outside}:
        made = request(owner, target, function)
        head = signature(forwarder, KEY, made) + bytes.fromhex(KEY.address[2:])
        for proof in proofs:
            provable = function == chosen and proof == right
            assert forwarder.verify(made.signed(head + b"".join(proof))) == provable


def test_leaf_that_is_hashed_once_proves_nothing(forwarder, target, owner):
    """Else the 64 bytes of an inner node could be shown as a target and a selector."""
    once = keccak(bytes.fromhex(str(target)[2:]).rjust(32, b"\0") + ACT.ljust(32, b"\0"))
    args = by_session(forwarder, KEY, request(owner, target, DO))
    for root, provable in ((once, False), (keccak(once), True)):
        forwarder.grant((KEY.address, root, 0, now() + LONG), {"from": owner})
        assert forwarder.verify(args) == provable


# --- grants


def test_grant_replaces_what_was_granted_before(forwarder, target, owner, relayer, scope):
    granted(forwarder, owner, scope, limit=10)
    forwarder.execute(session(forwarder, owner, target, scope, value=10), {"from": relayer, "value": 10})
    narrow = Scope((target, OTHER))
    until = granted(forwarder, owner, narrow, limit=3)
    assert plain(forwarder.grantOf(owner, KEY.address)) == (until, 3, 0, hexed(narrow.root))
    with reverts("SessionScope", target, ACT):
        forwarder.execute(session(forwarder, owner, target, scope), {"from": relayer})


def test_grant_refuses_keys_that_are_none_and_times_that_are_over(forwarder, owner, scope):
    for key in (ZERO, str(owner)):
        with reverts("SessionInvalidKey", key):
            forwarder.grant((key, scope.root, 0, FOR_EVER), {"from": owner})
    for left in (-1, 0):
        at = now() + 10
        next_block_at(at)
        with reverts("SessionExpired", at + left):
            forwarder.grant((KEY.address, scope.root, 0, at + left), {"from": owner})


def test_grant_typehash_is_that_of_the_signed_struct(forwarder):
    text = "Grant(" + ",".join(f"{kind} {name}" for kind, name in GRANT) + ")"
    assert forwarder.GRANT_TYPEHASH() == hexed(keccak(text=text))


def test_grant_by_signature_grants_for_the_signer(forwarder, target, owner, relayer, scope):
    """Two signatures and no coin: the account grants, the key acts, the relayer pays for both."""
    until = now() + LONG
    args = signed_grant(forwarder, OWNER, owner, (KEY.address, scope.root, 5, until))
    forwarder.grantBySig(*args, {"from": relayer})
    assert plain(forwarder.grantOf(owner, KEY.address)) == (until, 5, 0, hexed(scope.root))
    forwarder.execute(session(forwarder, owner, target, scope, nonce=1), {"from": relayer})
    assert target.caller() == owner
    forwarder.revoke(KEY.address, {"from": owner})
    with reverts("InvalidAccountNonce", owner, 2):  # a revoked grant is not submitted again
        forwarder.grantBySig(*args, {"from": relayer})


def test_grant_signed_for_anything_else_is_refused(forwarder, target, owner, relayer, scope):
    given = (KEY.address, scope.root, 5, now() + LONG)
    good = signed_grant(forwarder, OWNER, owner, given)
    wrong = [
        signed_grant(forwarder, OWNER, owner, given, chainId=1),
        signed_grant(forwarder, OWNER, owner, given, verifyingContract=str(target)),
        signed_grant(forwarder, OWNER, owner, given, generation=1),
        signed_grant(forwarder, STRANGER, owner, given),
        [good[0], (SECOND.address, *given[1:]), *good[2:]],
        [good[0], (given[0], DIGEST, *given[2:]), *good[2:]],
        [good[0], (*given[:2], 6, given[3]), *good[2:]],
        [good[0], (*given[:3], given[3] + 1), *good[2:]],
        [*good[:2], 1, *good[3:]],
        [*good[:3], FOR_EVER - 1, good[4]],
        [*good[:4], malleable(good[4])],
        [*good[:4], b""],
    ]
    for args in wrong:
        with reverts("SessionInvalidSigner", owner):
            forwarder.grantBySig(*args, {"from": relayer})
    with reverts("SessionInvalidSigner", relayer):
        forwarder.grantBySig(relayer, *good[1:], {"from": relayer})
    forwarder.grantBySig(*good, {"from": relayer})


def test_signed_grant_ends_with_its_deadline(forwarder, owner, relayer, scope):
    deadline = now() + 50
    args = signed_grant(forwarder, OWNER, owner, (KEY.address, scope.root, 0, FOR_EVER), deadline=deadline)
    next_block_at(deadline + 1)
    with reverts("SessionSignatureExpired", deadline):
        forwarder.grantBySig(*args, {"from": relayer})


def test_contract_wallet_acts_through_a_session_key(forwarder, target, owner, relayer, scope):
    """ERC-1271 for the grant; the requests are signed by the plain key that the wallet's owner let act for it."""
    wallet = SignerWallet.deploy(owner, {"from": relayer})
    given = (KEY.address, scope.root, 0, now() + LONG)
    with reverts("SessionInvalidSigner", wallet):
        forwarder.grantBySig(*signed_grant(forwarder, STRANGER, wallet, given), {"from": relayer})
    forwarder.grantBySig(*signed_grant(forwarder, OWNER, wallet, given), {"from": relayer})
    forwarder.execute(session(forwarder, wallet, target, scope), {"from": relayer})
    assert target.caller() == wallet


# --- batches and calls from within


def test_batch_passes_over_what_is_invalid_and_returns_its_coins(forwarder, target, owner, relayer, stranger, scope):
    granted(forwarder, owner, scope, limit=10)
    requests = [
        session(forwarder, owner, target, scope, value=4, nonce=0),
        session(forwarder, owner, target, scope, value=7, nonce=1),  # 6 are left
        session(forwarder, owner, target, scope, value=3, nonce=7),  # not its turn
        session(forwarder, owner, target, scope, chosen=FAIL, value=1, nonce=1),  # fails, and has had its turn
        session(forwarder, owner, target, scope, value=5, nonce=2),
    ]
    refund = stranger.balance()
    tx = forwarder.executeBatch(requests, stranger, {"from": relayer, "value": 20})
    assert [event["success"] for event in tx.events["ExecutedForwardRequest"]] == [True, False, True]
    assert [event["valueLeft"] for event in tx.events["SessionValueSpent"]] == [6, 5, 0]
    assert (target.balance(), stranger.balance() - refund, forwarder.balance()) == (9, 11, 0)
    assert forwarder.nonces(owner) == 3


def test_batch_without_a_receiver_is_all_or_nothing(forwarder, target, owner, relayer, scope):
    granted(forwarder, owner, scope, limit=10)
    good = session(forwarder, owner, target, scope, value=4, nonce=0)
    for other, error in (
        (session(forwarder, owner, target, scope, value=7, nonce=1), "SessionValueExceeded"),
        (session(forwarder, owner, target, scope, value=3, nonce=7), "ERC2771ForwarderInvalidSigner"),
        (session(forwarder, owner, target, scope, chosen=FAIL, value=1, nonce=1), "ERC2771ForwarderNoRefundReceiver"),
        (session(forwarder, owner, target, scope, key=SECOND, nonce=1), "SessionUnknown"),
    ):
        with reverts(error):
            forwarder.executeBatch([good, other], ZERO, {"from": relayer, "value": 4 + other[2]})
    assert (forwarder.nonces(owner), forwarder.grantOf(owner, KEY.address)["valueLeft"]) == (0, 10)
    with reverts("ERC2771ForwarderMismatchedValue", 4, 3):
        forwarder.executeBatch([good], ZERO, {"from": relayer, "value": 3})


def test_requests_that_nobody_signed_use_up_no_grant(forwarder, admin, target, owner, relayer, stranger, scope):
    """Else anybody could end a session by batching forged requests that carry coins."""
    stubborn = RefusingAccount.deploy({"from": admin})
    wide = Scope((target, ACT), (stubborn, ACT))
    granted(forwarder, owner, wide, limit=10)
    made = request(owner, target, DO, value=10)
    tail = bytes.fromhex(KEY.address[2:]) + b"".join(wide.proof(target, ACT))
    late = request(owner, target, DO, value=10, deadline=now() - 1)
    untrusted = request(owner, stubborn, DO, value=10)
    requests = [
        made.signed(signature(forwarder, SECOND, made) + tail),
        made.signed(bytes(65) + tail),
        by_session(forwarder, KEY, late, wide.proof(target, ACT)),
        by_session(forwarder, KEY, untrusted, wide.proof(stubborn, ACT)),
        by_session(forwarder, KEY, made, wide.proof(target, ACT), nonce=1),
        by_session(forwarder, KEY, made, []),
        by_session(forwarder, SECOND, made, wide.proof(target, ACT)),  # signed by a key that was granted nothing
    ]
    forwarder.executeBatch(requests, stranger, {"from": relayer, "value": 70})
    assert (forwarder.nonces(owner), forwarder.grantOf(owner, KEY.address)["valueLeft"], target.calls()) == (0, 10, 0)


def test_call_from_within_cannot_spend_what_the_outer_one_spends(forwarder, target, owner, relayer, scope):
    granted(forwarder, owner, scope, limit=100)
    inner = session(forwarder, owner, target, scope, value=60, nonce=1)
    target.arm(forwarder.execute.encode_input(inner), {"from": relayer, "value": 60})
    outer = session(forwarder, owner, target, scope, value=60, nonce=0, gas=2_000_000)
    forwarder.execute(outer, {"from": relayer, "value": 60})
    assert bytes(target.nestedError()) == selector("SessionValueExceeded(uint256,uint128)")
    assert (forwarder.nonces(owner), forwarder.grantOf(owner, KEY.address)["valueLeft"]) == (1, 40)
    # The same request from within itself has no nonce any more.
    again = session(forwarder, owner, target, scope, value=1, gas=2_000_000)
    target.arm(forwarder.execute.encode_input(again), {"from": relayer, "value": 1})
    forwarder.execute(again, {"from": relayer, "value": 1})
    assert bytes(target.nestedError()) == selector("ERC2771ForwarderInvalidSigner(address,address)")
    assert target.calls() == 2


def test_every_state_changing_function_is_accounted_for():
    """A function that is added must be named here: nothing is restricted, nobody administers the forwarder."""
    found = {
        entry["name"]
        for entry in SessionForwarder.abi
        if entry["type"] == "function" and entry["stateMutability"] in ("nonpayable", "payable")
    }
    assert found == {"grant", "grantBySig", "revoke", "revokeAll", "execute", "executeBatch"}


# --- random histories

STEPS = 60


class Machine:
    """Each step does the same to the contract and to the model; both must end alike."""

    def __init__(self, forwarder, target, accounts, seed):
        self.forwarder, self.target = forwarder, target
        self.signers = {str(accounts[i]): keyed(i) for i in (1, 2)}
        self.keys = {key.address: key for key in (KEY, SECOND)}
        self.scopes = [Scope((target, ACT), (target, OTHER), (target, FAIL)), Scope((target, ACT), (target, OTHER))]
        self.relayer = accounts[7]
        self.chance = random.Random(seed)
        self.model = Model()
        self.outcomes = Counter()
        self.start = web3.eth.block_number + 1

    def run(self):
        for index in range(STEPS):
            self.step()
            if index % 10 == 9:
                self.check()
        return self

    def step(self):
        time = now() + self.chance.randrange(1, 60)
        names = [*["grant"] * 6, "revoke", "revokeAll", *["execute"] * 12]
        name = self.chance.choice(names)
        account = self.chance.choice(list(self.signers))
        args, options, effect = getattr(self, f"draw_{name}")(account, time)
        call = getattr(self.forwarder, name)
        ended = both(lambda _: effect(), lambda: call(*args, {"from": account} | options), time)
        if name == "execute" and ended is None:
            assert self.target.caller() == account
        self.outcomes[name, ended] += 1

    def draw_grant(self, account, time):
        key = self.chance.choice(list(self.keys))
        root, limit = self.chance.choice(self.scopes).root, self.chance.choice([0, 7, 100])
        expires = time + self.chance.choice([0, 100, 400, LONG])
        return [(key, root, limit, expires)], {}, lambda: self.model.grant(account, key, root, limit, expires, time)

    def draw_revoke(self, account, time):
        key = self.chance.choice(list(self.keys))
        return [key], {}, lambda: self.model.revoke(account, key)

    def draw_revokeAll(self, account, time):
        return [], {}, lambda: self.model.revoke_all(account)

    def draw_execute(self, account, time):
        scope = self.chance.choice(self.scopes)
        chosen = self.chance.choice([one for _, one in scope.functions] if self.chance.random() < 0.3 else [ACT, OTHER])
        value = self.chance.choice([0, 0, 1, 5, 8])
        late = self.chance.random() < 0.1
        made = request(account, self.target, chosen + bytes(32), value, deadline=time - 1 if late else time)
        nonce = self.model.nonces.get(account, 0) + (self.chance.random() < 0.1)
        key = self.chance.choice([*self.keys, *self.keys, None])
        if key is None:
            args = by_account(self.forwarder, self.signers[account], made, nonce)
        else:
            args = by_session(self.forwarder, self.keys[key], made, scope.proof(self.target, chosen), nonce)
        fails = chosen == FAIL
        effect = lambda: self.model.execute(made, key, scope.root, nonce, time, fails=fails)  # noqa: E731
        return [args], {"from": self.relayer, "value": value}, effect

    def check(self):
        """Grants and nonces as the model has them; case 60: events alone rebuild them."""
        rebuilt = Model()
        for name, args, _ in logs_of(self.forwarder, self.start):
            rebuilt.fold(name, args)
        assert self.forwarder.balance() == 0
        for account in self.signers:
            for model in (self.model, rebuilt):
                assert self.forwarder.nonces(account) == model.nonces.get(account, 0)
                assert self.forwarder.generationOf(account) == model.generation(account)
                for key in self.keys:
                    one = model.grant_of(account, key)
                    facts = (one.expires, one.value_left, one.generation, hexed(one.scope_root))
                    assert plain(self.forwarder.grantOf(account, key)) == facts
        assert all(self.forwarder.nonces(key) == 0 for key in self.keys)


@pytest.mark.parametrize("seed", seeds(STEPS))
def test_stateful_sessions_follow_their_model(forwarder, target, accounts, seed, reached):
    """A key does what its grant allows and nothing else; each request once; values never pass the limit."""
    reached.add(Machine(forwarder, target, accounts, seed).run().outcomes)


def test_stateful_histories_of_sessions_got_somewhere(reached):
    reached.demand({("execute", None): 5, ("execute", "SessionUnknown"): 3, ("execute", "SessionExpired"): 1})
    reached.demand({("execute", "SessionScope"): 0.5, ("execute", "ERC2771ForwarderInvalidSigner"): 0.3})


def test_stateful_comparison_finds_the_planted_bug(admin, accounts):
    """The forwarder that uses up the key's nonce must not pass: else the comparison shows nothing."""
    planted = WrongNonceForwarder.deploy({"from": admin})
    victim = ForwardTarget.deploy(planted, {"from": admin})
    with pytest.raises(AssertionError, match=r"ended with|\.nonces"):
        run_until_it_differs(planted, victim, accounts)


def run_until_it_differs(forwarder, target, accounts):
    for seed in range(4):
        Machine(forwarder, target, accounts, seed).run()


# --- gas


def test_gas_of_requests(forwarder, registry, owner, relayer):
    """Steady: the account has made requests before. Fresh slots: two a grant."""
    work = registered(registry, owner)
    chosen = bytes.fromhex(registry.setMetadata.signature[2:])
    scope = Scope(*((registry, keccak(text=f"function {i}")[:4]) for i in range(3)), (registry, chosen))
    tx = forwarder.grant((KEY.address, scope.root, ETHER, now() + LONG), {"from": owner})
    within_budget("SessionForwarder.grant", tx)
    contents = [keccak(text=f"metadata {i}") for i in range(4)]
    direct = registry.setMetadata(work, contents[0], {"from": owner})
    within_budget("WorkRegistry.setMetadata", direct)
    forwarder.execute(
        by_account(forwarder, OWNER, request(owner, registry, registry.setMetadata.encode_input(work, contents[1]))),
        {"from": relayer},
    )
    made = request(owner, registry, registry.setMetadata.encode_input(work, contents[2]))
    tx = forwarder.execute(by_account(forwarder, OWNER, made), {"from": relayer})
    within_budget("SessionForwarder.execute setMetadata, by the account", tx)
    made = request(owner, registry, registry.setMetadata.encode_input(work, contents[3]))
    args = by_session(forwarder, KEY, made, scope.proof(registry, chosen))
    tx = forwarder.execute(args, {"from": relayer})
    within_budget("SessionForwarder.execute setMetadata, by a key, scope of 4", tx)


def test_gas_of_a_request_with_coins(forwarder, target, owner, relayer, scope):
    granted(forwarder, owner, scope, limit=ETHER)
    for _ in range(2):
        tx = forwarder.execute(session(forwarder, owner, target, scope, value=1), {"from": relayer, "value": 1})
    within_budget("SessionForwarder.execute with coins, by a key, scope of 3", tx)
    tx = forwarder.revokeAll({"from": owner})
    within_budget("SessionForwarder.revokeAll first", tx)


def test_code_fits(forwarder, registry):
    """EIP-170."""
    for contract in (forwarder, registry):
        assert len(web3.eth.get_code(contract.address)) < 24_576


def test_constants_are_those_of_openzeppelin(forwarder, registry):
    assert registry.trustedForwarder() == forwarder
    assert plain(forwarder.eip712Domain())[1:3] == ("Troupe SessionForwarder", "1")
    assert forwarder.VERSION() == "1"
