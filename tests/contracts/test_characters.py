"""Characters: classes, minting, soulbound ones, lending, tickets, traits, portability, achievements, royalties."""

import pytest
from brownie import Characters, ReentrantReceiver, SignerWallet, web3
from characters import (
    ARENA,
    CHECKED_IN,
    FOR_EVER,
    GAME,
    LEVEL,
    class_created,
    class_params,
    minted,
    signed_import,
    token_id,
    within_budget,
)
from eth_utils import keccak
from kit import DAY, ZERO, mine_at, next_block_at, now, reverts
from money import ACTIVE, DISPUTED, NONE, REVOKED, SUSPENDED, hexed, keyed, plain
from works import CID, registered

from scripts.deploy.plan import ADMIN, MINTER, ROLE_NAMES

OTHER_CID = b"\x06" * 32
VALUE = b"\x05" * 32


@pytest.fixture(autouse=True)
def isolation(fn_isolation):
    pass


@pytest.fixture(scope="module")
def author(accounts):
    return accounts[1]


@pytest.fixture(scope="module")
def minter(accounts):
    return accounts[2]


@pytest.fixture(scope="module")
def holder(accounts):
    return accounts[3]


@pytest.fixture(scope="module")
def guest(accounts):
    return accounts[4]


@pytest.fixture(scope="module")
def organiser(accounts):
    return accounts[5]


@pytest.fixture(scope="module")
def work(registry, author):
    return registered(registry, author)


@pytest.fixture(scope="module")
def characters(authority, registry, admin, minter):
    """Characters in which accounts[2] has the role that mints, and accounts[9] signs for the platform GAME."""
    contract = Characters.deploy(authority, registry, "ipfs://characters", "ipfs://traits", {"from": admin})
    authority.setTargetFunctionRole(contract, [contract.signatures["mint"]], MINTER, {"from": admin})
    authority.grantRole(MINTER, minter, 0, {"from": admin})
    contract.setPlatform(GAME, keyed(9).address, {"from": admin})
    return contract


@pytest.fixture
def token(characters, work, author, holder):
    """The first token of class 1, the holder's."""
    return minted(characters, class_created(characters, work, author), holder, author)


@pytest.fixture
def bound(characters, work, author, holder):
    """A soulbound token of the holder's."""
    return minted(characters, class_created(characters, work, author, soulbound=True), holder, author)


@pytest.fixture
def ticket(characters, work, author, holder, organiser):
    return minted(
        characters, class_created(characters, work, author, ticket=True, organiser=organiser), holder, author
    )


# --- classes


@pytest.mark.feature("O2", via="chain")
def test_createClass_writes_down_what_it_is(characters, work, author, organiser, guest):
    params = class_params(
        work, maxSupply=7, rarity=3, soulbound=True, ticket=True, traitSetter=guest, organiser=organiser, platformId=GAME
    )
    tx = characters.createClass(params, {"from": author})
    assert plain(characters.classOf(1)) == (
        work, 7, 0, 3, True, True, guest.address, organiser.address, hexed(GAME)
    )  # fmt: skip
    assert characters.classCount() == 1
    assert plain(tuple(tx.events["ClassCreated"].values())) == (1, work, 7, 3, True, True, hexed(GAME))
    assert plain(tuple(tx.events["OrganiserSet"].values())) == (1, organiser.address)
    assert plain(tuple(tx.events["TraitSetterSet"].values())) == (1, guest.address)
    assert plain(tuple(tx.events["TraitKeyAdded"].values())) == (1, hexed(CHECKED_IN))
    assert characters.hasTrait(1, CHECKED_IN) and not characters.hasTrait(1, LEVEL)


def test_createClass_of_plain_characters_writes_nothing_else(characters, work, author):
    tx = characters.createClass(class_params(work), {"from": author})
    assert [event.name for event in tx.events] == ["ClassCreated"]
    assert plain(characters.classOf(1)) == (work, 100, 0, 0, False, False, ZERO, ZERO, hexed(NONE))
    assert not characters.hasTrait(1, CHECKED_IN)


def test_createClass_by_another_than_the_works_owner(characters, registry, work, author, minter, admin):
    for account in (minter, admin):
        with reverts("CharacterNotOwner", work, account):
            characters.createClass(class_params(work), {"from": account})
    registry.transferFrom(author, minter, work, {"from": author})
    with reverts("CharacterNotOwner", work, author):
        characters.createClass(class_params(work), {"from": author})
    assert class_created(characters, work, minter) == 1


@pytest.mark.parametrize("number", [0, 99])
def test_createClass_of_an_unknown_work(characters, author, number):
    with reverts("ERC721NonexistentToken", number):
        characters.createClass(class_params(number), {"from": author})


def test_createClass_without_supply(characters, work, author):
    with reverts("CharacterZeroSupply"):
        characters.createClass(class_params(work, maxSupply=0), {"from": author})


def test_createClass_with_an_organiser_that_does_not_fit(characters, work, author, organiser):
    with reverts("CharacterOrganiserMismatch", True, ZERO):
        characters.createClass(class_params(work, ticket=True), {"from": author})
    with reverts("CharacterOrganiserMismatch", False, organiser):
        characters.createClass(class_params(work, organiser=organiser), {"from": author})


def test_createClass_for_an_unknown_platform(characters, work, author):
    with reverts("CharacterPlatformUnknown", ARENA):
        characters.createClass(class_params(work, platformId=ARENA), {"from": author})


def test_unknown_classes_are_refused(characters, author, token):
    for call in (
        lambda: characters.classOf(9),
        lambda: characters.mint(author, 9, CID, {"from": author}),
        lambda: characters.setOrganiser(9, author, {"from": author}),
        lambda: characters.setTraitSetter(9, author, {"from": author}),
        lambda: characters.addTraitKeys(9, [LEVEL], {"from": author}),
    ):
        with reverts("CharacterClassUnknown", 9):
            call()


# --- minting


@pytest.mark.feature("O2", via="chain")
def test_mint_numbers_the_tokens_of_each_class(characters, work, author, holder):
    for class_id in (1, 2):
        assert class_created(characters, work, author) == class_id
    assert [minted(characters, class_id, holder, author) for class_id in (1, 2, 1)] == [
        token_id(1, 1),
        token_id(2, 1),
        token_id(1, 2),
    ]
    assert characters.classOf(1)[2] == 2 and characters.balanceOf(holder) == 3


def test_mint_tells_owner_work_and_metadata(characters, registry, work, author, holder):
    class_created(characters, work, author)
    tx = characters.mint(holder, 1, CID, {"from": author})
    token = token_id(1, 1)
    assert plain(tuple(tx.events["CharacterMinted"].values())) == (token, 1, holder.address, hexed(CID))
    assert "Locked" not in tx.events
    assert (characters.ownerOf(token), characters.workOf(token)) == (holder, work)
    assert (characters.holderOf(token), characters.userOf(token), characters.userExpires(token)) == (holder, ZERO, 0)
    assert characters.tokenURI(token) == registry.tokenURI(work)  # the same digest, the same file


def test_mint_up_to_the_supply_and_no_further(characters, work, author, holder):
    """B.4: minted <= maxSupply, and what is burned doesn't come back."""
    class_created(characters, work, author, maxSupply=2)
    for number in (1, 2):
        assert minted(characters, 1, holder, author) == token_id(1, number)
    with reverts("CharacterSupplyExceeded", 1, 2):
        characters.mint(holder, 1, CID, {"from": author})
    characters.burn(token_id(1, 2), {"from": holder})
    with reverts("CharacterSupplyExceeded", 1, 2):
        characters.mint(holder, 1, CID, {"from": author})


def test_mint_without_metadata(characters, work, author, token):
    with reverts("CharacterEmptyHash"):
        characters.mint(author, 1, NONE, {"from": author})


def test_mint_to_nobody(characters, author, token):
    with reverts("ERC721InvalidReceiver", ZERO):
        characters.mint(ZERO, 1, CID, {"from": author})


def test_case_28_mint_calls_nobody(characters, author, admin, token):
    """A receiver that would mint again when it gets a token isn't called."""
    greedy = ReentrantReceiver.deploy({"from": admin})
    greedy.arm(characters, characters.mint.encode_input(greedy, 1, CID))
    characters.mint(greedy, 1, CID, {"from": author})
    assert (greedy.attempts(), characters.balanceOf(greedy)) == (0, 1)


def test_mint_by_each_role(characters, authority, admin, accounts, token):
    """Case 49: tried with each role of the deployment, and with none."""
    account = accounts[6]
    for role in [None, *ROLE_NAMES]:
        if role:
            authority.grantRole(role, account, 0, {"from": admin})
        if role == MINTER:
            characters.mint(account, 1, CID, {"from": account})
        else:
            with reverts("AccessManagedUnauthorized", account):
                characters.mint(account, 1, CID, {"from": account})
        if role:
            authority.revokeRole(role, account, {"from": admin})
    with reverts("AccessManagedUnauthorized", admin):  # the administrator has no other role
        characters.mint(account, 1, CID, {"from": admin})
    assert characters.balanceOf(account) == 1


def test_mint_by_a_new_owner_and_the_old_one_no_longer(characters, registry, author, work, guest, token):
    registry.transferFrom(author, guest, work, {"from": author})
    with reverts("AccessManagedUnauthorized", author):
        characters.mint(author, 1, CID, {"from": author})
    characters.mint(guest, 1, CID, {"from": guest})


@pytest.mark.parametrize("status", [SUSPENDED, REVOKED])
def test_case_24_mint_of_a_suspended_or_revoked_work(characters, registry, author, holder, minter, admin, token, status):
    work = characters.workOf(token)
    if status == REVOKED:
        registry.revoke(work, NONE, {"from": admin})
    else:
        registry.setStatus(work, status, NONE, {"from": admin})
    for account in (author, minter):
        with reverts("CharacterWorkStatus", work, status):
            characters.mint(holder, 1, CID, {"from": account})
    characters.transferFrom(holder, author, token, {"from": holder})  # what people have stays theirs


def test_mint_of_a_disputed_work_and_of_one_reinstated(characters, registry, author, admin, token):
    work = characters.workOf(token)
    for status in (DISPUTED, SUSPENDED, ACTIVE):
        registry.setStatus(work, status, NONE, {"from": admin})
        if status != SUSPENDED:
            characters.mint(author, 1, CID, {"from": author})
    assert characters.classOf(1)[2] == 3


def test_unknown_tokens_are_refused(characters, token, author, holder):
    characters.burn(token, {"from": holder})
    huge = (1 << 64) + token  # the class's bits, and one above
    for number in (token, token_id(1, 2), 0, huge):
        for call in (
            lambda number=number: characters.workOf(number),
            lambda number=number: characters.holderOf(number),
            lambda number=number: characters.locked(number),
            lambda number=number: characters.tokenURI(number),
            lambda number=number: characters.royaltyInfo(number, 1),
            lambda number=number: characters.getTraitValue(number, LEVEL),
            lambda number=number: characters.getTraitValues(number, []),
            lambda number=number: characters.checkedInAt(number),
            lambda number=number: characters.exportedTo(number),
            lambda number=number: characters.burn(number, {"from": holder}),
            lambda number=number: characters.setUser(number, author, FOR_EVER, {"from": holder}),
            lambda number=number: characters.exportTo(number, GAME, {"from": holder}),
            lambda number=number: characters.checkIn(number, {"from": holder}),
            lambda number=number: characters.setTrait(number, LEVEL, VALUE, {"from": holder}),
            lambda number=number: characters.setMetadata(number, CID, {"from": holder}),
        ):
            with reverts("ERC721NonexistentToken", number):
                call()


# --- soulbound


@pytest.mark.feature("O6", via="chain")
def test_case_26_soulbound_tokens_move_in_no_way(characters, bound, holder, guest):
    assert characters.locked(bound)
    with reverts("CharacterSoulbound", bound):
        characters.transferFrom(holder, guest, bound, {"from": holder})
    with reverts("CharacterSoulbound", bound):
        characters.transferFrom(holder, holder, bound, {"from": holder})
    with reverts("CharacterSoulbound", bound):
        characters.safeTransferFrom(holder, guest, bound, {"from": holder})
    with reverts("CharacterSoulbound", bound):
        characters.safeTransferFrom(holder, guest, bound, b"x", {"from": holder})
    characters.approve(guest, bound, {"from": holder})
    with reverts("CharacterSoulbound", bound):
        characters.transferFrom(holder, guest, bound, {"from": guest})
    with reverts("CharacterSoulbound", bound):
        characters.setUser(bound, guest, FOR_EVER, {"from": holder})
    assert characters.ownerOf(bound) == holder


def test_case_26_soulbound_tokens_are_locked_from_the_start_and_burned(characters, bound, author, holder, guest):
    tx = characters.mint(guest, bound >> 32, CID, {"from": author})
    assert plain(tuple(tx.events["Locked"].values())) == (bound + 1,)
    characters.burn(bound, {"from": holder})
    characters.approve(holder, bound + 1, {"from": guest})
    characters.burn(bound + 1, {"from": holder})  # approved
    assert characters.balanceOf(holder) == characters.balanceOf(guest) == 0


def test_burn_by_others(characters, token, author, minter, admin, guest):
    """The work's owner and the minter included."""
    for account in (author, minter, admin, guest):
        with reverts("ERC721InsufficientApproval", account, token):
            characters.burn(token, {"from": account})


# --- gas


def test_gas_mint(characters, work, author, minter, holder):
    """Steady: the holder has one already. The design's ceiling is 112,000. By the role the AccessManager is asked too."""
    class_created(characters, work, author)
    within_budget("Characters.mint, first", characters.mint(holder, 1, CID, {"from": author}).gas_used)
    within_budget("Characters.mint, steady", characters.mint(holder, 1, CID, {"from": author}).gas_used)
    within_budget("Characters.mint, steady, by the role", characters.mint(holder, 1, CID, {"from": minter}).gas_used)


def test_code_fits(characters):
    """EIP-170."""
    assert len(web3.eth.get_code(characters.address)) < 24_576
