"""TroupeToken: cap, sliding window of mint, delegation, permits and ERC-3009 transfers."""

import pytest
from brownie import AccessManager, TroupeToken, VestingWallet, VotingVestingWallet, accounts, web3
from brownie.test import given
from hypothesis import settings, strategies
from kit import DAY, MNEMONIC, TRP, ZERO, domain, mine_after, mine_at, next_block_at, now, reverts, sign

MINTER = 2
YEAR = 365 * DAY
GENESIS = 1_000 * TRP

TRANSFER = [
    ("address", "from"),
    ("address", "to"),
    ("uint256", "value"),
    ("uint256", "validAfter"),
    ("uint256", "validBefore"),
    ("bytes32", "nonce"),
]


@pytest.fixture(scope="module")
def deployer():
    return accounts[0]


@pytest.fixture(scope="module")
def treasury():
    return accounts[1]


@pytest.fixture(scope="module")
def holder():
    return accounts[2]


@pytest.fixture(scope="module")
def signer():
    return accounts.from_mnemonic(MNEMONIC, count=1, offset=20)


@pytest.fixture(scope="module")
def manager(deployer):
    return deployer.deploy(AccessManager, deployer)


@pytest.fixture(scope="module")
def token(deployer, treasury, holder, manager):
    token = deployer.deploy(
        TroupeToken, "Troupe", "TRP", 1_200 * TRP, manager, treasury, [(holder, 900 * TRP), (treasury, 100 * TRP)]
    )
    manager.setTargetFunctionRole(token, [token.mint.signature], MINTER, {"from": deployer})
    manager.grantRole(MINTER, treasury, 0, {"from": deployer})
    return token


def test_constructor_mints_the_genesis_supply(token, holder, treasury):
    assert (token.name(), token.symbol(), token.decimals()) == ("Troupe", "TRP", 18)
    assert token.totalSupply() == GENESIS
    assert token.balanceOf(holder) == 900 * TRP
    assert token.balanceOf(treasury) == 100 * TRP
    assert token.cap() == 1_200 * TRP
    assert token.CLOCK_MODE() == "mode=timestamp"
    assert token.clock() == now()
    assert token.treasury() == treasury


def test_constructor_refuses_a_genesis_above_the_cap(deployer, manager, treasury):
    with reverts("ERC20ExceededCap", 11, 10):
        deployer.deploy(TroupeToken, "Troupe", "TRP", 10, manager, treasury, [(deployer, 11)])


def test_constructor_refuses_a_name_that_eip712_cannot_carry_cheaply(deployer, manager, treasury):
    with reverts("StringTooLong"):
        deployer.deploy(TroupeToken, "T" * 32, "TRP", 10, manager, treasury, [(deployer, 1)])


def test_mint_is_the_minters_alone(token, holder, deployer):
    for stranger in (holder, deployer):
        with reverts("AccessManagedUnauthorized", stranger):
            token.mint(stranger, 1, {"from": stranger})


def test_mint_up_to_five_percent_of_genesis_in_the_first_year(token, treasury, holder):
    limit = GENESIS * 5 // 100
    assert token.mintable() == limit
    with reverts("TroupeMintLimitExceeded", limit + 1, limit):
        token.mint(holder, limit + 1, {"from": treasury})
    token.mint(holder, limit, {"from": treasury})
    with reverts("TroupeMintLimitExceeded", 1, 0):
        token.mint(holder, 1, {"from": treasury})


def test_mint_window_slides_and_does_not_refill_early(token, treasury, holder):
    """A bucket that refills steadily would let almost 10% through in one window; here not one unit more."""
    limit = GENESIS * 5 // 100
    token.mint(holder, limit // 2, {"from": treasury})
    first = now()
    mine_after(200 * DAY)
    token.mint(holder, limit // 2, {"from": treasury})
    mine_at(first + YEAR - 1)
    assert token.mintable() == 0
    mine_at(first + YEAR)  # the first half has just left the window; the supply at its start is 2.5% larger
    supply_then = GENESIS + limit // 2
    assert token.mintable() == supply_then * 5 // 100 - limit // 2


@given(
    steps=strategies.lists(
        strategies.tuples(strategies.integers(1, 300 * DAY), strategies.integers(1, 80 * TRP)), min_size=1, max_size=8
    )
)
@settings(max_examples=15)
def test_mint_never_passes_five_percent_in_any_window(token, treasury, holder, steps):
    """Against every window that ends at a mint, computed from the list of mints by a plain sum."""
    minted = []
    for seconds, amount in steps:
        timestamp = now() + seconds
        next_block_at(timestamp)
        supply = token.totalSupply()
        then = GENESIS + sum(a for t, a in minted if t <= timestamp - YEAR)
        allowed = supply - then + amount <= then * 5 // 100
        if not allowed:
            with reverts("TroupeMintLimitExceeded"):
                token.mint(holder, amount, {"from": treasury})
        elif supply + amount > token.cap():
            with reverts("ERC20ExceededCap", supply + amount, token.cap()):
                token.mint(holder, amount, {"from": treasury})
        else:
            token.mint(holder, amount, {"from": treasury})
            minted.append((timestamp, amount))


def test_mint_stops_at_the_cap(deployer, manager, treasury):
    token = deployer.deploy(TroupeToken, "Troupe", "TRP", 1_010, manager, treasury, [(deployer, 1_000)])
    manager.setTargetFunctionRole(token, [token.mint.signature], MINTER, {"from": deployer})
    manager.grantRole(MINTER, treasury, 0, {"from": deployer})
    assert token.mintable() == 50
    with reverts("ERC20ExceededCap", 1_011, 1_010):
        token.mint(deployer, 11, {"from": treasury})
    token.mint(deployer, 10, {"from": treasury})
    assert token.totalSupply() == token.cap()


@pytest.mark.feature("G1", via="chain")
def test_votes_count_only_once_delegated(token, holder):
    assert token.getVotes(holder) == 0
    token.delegate(holder, {"from": holder})
    assert token.getVotes(holder) == 900 * TRP
    token.transfer(accounts[3], 100 * TRP, {"from": holder})
    assert token.getVotes(holder) == 800 * TRP
    assert token.getVotes(accounts[3]) == 0


def test_treasury_cannot_delegate(token, treasury, holder):
    with reverts("TroupeTreasuryCannotDelegate"):
        token.delegate(holder, {"from": treasury})
    with reverts("TroupeTreasuryCannotDelegate"):
        token.delegate(treasury, {"from": treasury})


def test_transfer_beyond_the_balance(token, holder):
    with reverts("ERC20InsufficientBalance", accounts[3], 0, 1):
        token.transfer(holder, 1, {"from": accounts[3]})


def test_transfer_to_nobody(token, holder):
    """There is no burn: the mint window relies on a supply that never falls."""
    with reverts("ERC20InvalidReceiver", ZERO):
        token.transfer(ZERO, 1, {"from": holder})


# ------------------------------------------------------------------------------------------------ permits and ERC-3009


def permit(token, signer, spender, value, nonce, deadline):
    fields = [
        ("address", "owner"),
        ("address", "spender"),
        ("uint256", "value"),
        ("uint256", "nonce"),
        ("uint256", "deadline"),
    ]
    message = {
        "owner": signer.address,
        "spender": spender.address,
        "value": value,
        "nonce": nonce,
        "deadline": deadline,
    }
    signature = sign(signer.private_key, domain("Troupe", token), "Permit", fields, message)
    return signature[64], signature[:32], signature[32:64]


def test_permit_gives_an_allowance_once(token, signer):
    deadline = now() + DAY
    v, r, s = permit(token, signer, accounts[4], 7, 0, deadline)
    token.permit(signer, accounts[4], 7, deadline, v, r, s, {"from": accounts[5]})
    assert token.allowance(signer, accounts[4]) == 7
    assert token.nonces(signer) == 1
    with reverts("ERC2612InvalidSigner"):
        token.permit(signer, accounts[4], 7, deadline, v, r, s, {"from": accounts[5]})


def test_permit_expires(token, signer):
    deadline = now() - 1
    v, r, s = permit(token, signer, accounts[4], 7, 0, deadline)
    with reverts("ERC2612ExpiredSignature", deadline):
        token.permit(signer, accounts[4], 7, deadline, v, r, s, {"from": accounts[5]})


def authorization(token, signer, to, value, nonce, *, primary="TransferWithAuthorization", before=None):
    before = now() + DAY if before is None else before
    message = {
        "from": signer.address,
        "to": to.address,
        "value": value,
        "validAfter": 0,
        "validBefore": before,
        "nonce": nonce,
    }
    signature = sign(signer.private_key, domain("Troupe", token), primary, TRANSFER, message)
    return (signer, to, value, 0, before, nonce, signature)


BYTES_SIGNATURE = "address,address,uint256,uint256,uint256,bytes32,bytes"


@pytest.fixture
def funded_signer(token, signer, holder):
    token.transfer(signer, 10 * TRP, {"from": holder})
    return signer


def test_transfer_with_authorization_takes_any_nonce_once(token, funded_signer):
    """Nonces are drawn at random or are hashes, as ERC-3009 says; OpenZeppelin's keyed sequence would refuse these."""
    nonce = web3.keccak(text="a tip")
    order = authorization(token, funded_signer, accounts[4], TRP, nonce)
    token.transferWithAuthorization[BYTES_SIGNATURE](*order, {"from": accounts[5]})
    assert token.balanceOf(accounts[4]) == TRP
    assert token.authorizationState(funded_signer, nonce)
    with reverts("ERC3009UsedAuthorization"):
        token.transferWithAuthorization[BYTES_SIGNATURE](*order, {"from": accounts[5]})


def test_transfer_with_authorization_of_another_amount(token, funded_signer):
    order = list(authorization(token, funded_signer, accounts[4], TRP, web3.keccak(text="a tip")))
    order[2] = 2 * TRP
    with reverts("ERC3009InvalidSignature"):
        token.transferWithAuthorization[BYTES_SIGNATURE](*order, {"from": accounts[5]})


def test_transfer_with_authorization_expires(token, funded_signer):
    order = authorization(token, funded_signer, accounts[4], TRP, web3.keccak(text="a tip"), before=now() - 1)
    with reverts("ERC3009InvalidAuthorizationTime"):
        token.transferWithAuthorization[BYTES_SIGNATURE](*order, {"from": accounts[5]})


def test_receive_with_authorization_is_the_receivers(token, funded_signer):
    order = authorization(
        token, funded_signer, accounts[4], TRP, web3.keccak(text="a tip"), primary="ReceiveWithAuthorization"
    )
    with reverts("ERC20InvalidReceiver", accounts[4]):
        token.receiveWithAuthorization[BYTES_SIGNATURE](*order, {"from": accounts[5]})
    token.receiveWithAuthorization[BYTES_SIGNATURE](*order, {"from": accounts[4]})
    assert token.balanceOf(accounts[4]) == TRP


def test_cancelled_authorization_is_void(token, funded_signer):
    nonce = web3.keccak(text="a tip")
    order = authorization(token, funded_signer, accounts[4], TRP, nonce)
    fields = [("address", "authorizer"), ("bytes32", "nonce")]
    message = {"authorizer": funded_signer.address, "nonce": nonce}
    signature = sign(funded_signer.private_key, domain("Troupe", token), "CancelAuthorization", fields, message)
    token.cancelAuthorization["address,bytes32,bytes"](funded_signer, nonce, signature, {"from": accounts[5]})
    with reverts("ERC3009UsedAuthorization"):
        token.transferWithAuthorization[BYTES_SIGNATURE](*order, {"from": accounts[5]})


# -------------------------------------------------------------------------------------------------------------- vesting


def test_founders_vote_with_what_is_not_yet_vested(token, deployer, holder):
    founder, stranger = accounts[6], accounts[7]
    wallet = deployer.deploy(VotingVestingWallet, founder, now(), 4 * YEAR)
    token.transfer(wallet, 40 * TRP, {"from": holder})
    with reverts("OwnableUnauthorizedAccount", stranger):
        wallet.delegate(token, stranger, {"from": stranger})
    wallet.delegate(token, founder, {"from": founder})
    assert token.getVotes(founder) == 40 * TRP
    mine_at(wallet.start() + YEAR - 1)
    next_block_at(wallet.start() + YEAR)
    wallet.release["address"](token, {"from": stranger})
    assert token.balanceOf(founder) == 10 * TRP
    assert token.getVotes(founder) == 30 * TRP  # what was released votes only once its holder delegates it


def test_the_treasury_wallet_has_no_way_to_delegate(deployer, treasury):
    wallet = deployer.deploy(VestingWallet, treasury, now(), 4 * YEAR)
    assert not hasattr(wallet, "delegate")
