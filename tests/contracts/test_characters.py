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
from works import CID, disputed

from scripts.deploy.plan import ADMIN, ROLE_NAMES, SELLER

OTHER_CID = b"\x06" * 32
VALUE = b"\x05" * 32


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
def characters(authority, registry, admin, minter):
    """Characters in which accounts[2] has the role that mints, and accounts[9] signs for the platform GAME."""
    contract = Characters.deploy(authority, registry, "ipfs://characters", "ipfs://traits", {"from": admin})
    authority.setTargetFunctionRole(contract, [contract.signatures["mint"]], SELLER, {"from": admin})
    authority.grantRole(SELLER, minter, 0, {"from": admin})
    contract.setPlatform(GAME, keyed(9).address, {"from": admin})
    return contract


@pytest.fixture
def character(characters, work, author, holder):
    """The first token of class 1, the holder's."""
    return minted(characters, class_created(characters, work, author), holder, author)


@pytest.fixture
def bound(characters, work, author, holder):
    """A soulbound token of the holder's."""
    return minted(characters, class_created(characters, work, author, soulbound=True), holder, author)


@pytest.fixture
def ticket(characters, work, author, holder, organiser):
    return minted(characters, class_created(characters, work, author, ticket=True, organiser=organiser), holder, author)


# --- classes


@pytest.mark.feature("O2", via="chain")
def test_createClass_writes_down_what_it_is(characters, work, author, organiser, guest):
    params = class_params(
        work,
        maxSupply=7,
        rarity=3,
        soulbound=True,
        ticket=True,
        traitSetter=guest,
        organiser=organiser,
        platformId=GAME,
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
    assert characters.hasTrait(1, CHECKED_IN)
    assert not characters.hasTrait(1, LEVEL)


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


def test_unknown_classes_are_refused(characters, author, character):
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
    assert characters.classOf(1)[2] == 2
    assert characters.balanceOf(holder) == 3


def test_mint_tells_owner_work_and_metadata(characters, registry, work, author, holder):
    class_created(characters, work, author)
    tx = characters.mint(holder, 1, CID, {"from": author})
    character = token_id(1, 1)
    assert plain(tuple(tx.events["CharacterMinted"].values())) == (character, 1, holder.address, hexed(CID))
    assert "Locked" not in tx.events
    assert (characters.ownerOf(character), characters.workOf(character)) == (holder, work)
    assert (characters.holderOf(character), characters.userOf(character), characters.userExpires(character)) == (
        holder,
        ZERO,
        0,
    )
    assert characters.tokenURI(character) == registry.tokenURI(work)  # the same digest, the same file


def test_mint_up_to_the_supply_and_no_further(characters, work, author, holder):
    """Minted <= maxSupply, and what is burned doesn't come back."""
    class_created(characters, work, author, maxSupply=2)
    for number in (1, 2):
        assert minted(characters, 1, holder, author) == token_id(1, number)
    with reverts("CharacterSupplyExceeded", 1, 2):
        characters.mint(holder, 1, CID, {"from": author})
    characters.burn(token_id(1, 2), {"from": holder})
    with reverts("CharacterSupplyExceeded", 1, 2):
        characters.mint(holder, 1, CID, {"from": author})


def test_mint_without_metadata(characters, work, author, character):
    with reverts("CharacterEmptyHash"):
        characters.mint(author, 1, NONE, {"from": author})


def test_mint_to_nobody(characters, author, character):
    with reverts("ERC721InvalidReceiver", ZERO):
        characters.mint(ZERO, 1, CID, {"from": author})


def test_case_28_mint_calls_nobody(characters, author, admin, character):
    """A receiver that would mint again when it gets a token isn't called."""
    greedy = ReentrantReceiver.deploy({"from": admin})
    greedy.arm(characters, characters.mint.encode_input(greedy, 1, CID))
    characters.mint(greedy, 1, CID, {"from": author})
    assert (greedy.attempts(), characters.balanceOf(greedy)) == (0, 1)


def test_mint_by_each_role(characters, authority, admin, accounts, character):
    """Case 49: tried with each role of the deployment, and with none."""
    account = accounts[6]
    for role in [None, *ROLE_NAMES]:
        if role:
            authority.grantRole(role, account, 0, {"from": admin})
        if role == SELLER:
            characters.mint(account, 1, CID, {"from": account})
        else:
            with reverts("AccessManagedUnauthorized", account):
                characters.mint(account, 1, CID, {"from": account})
        if role:
            authority.revokeRole(role, account, {"from": admin})
    with reverts("AccessManagedUnauthorized", admin):  # the administrator has no other role
        characters.mint(account, 1, CID, {"from": admin})
    assert characters.balanceOf(account) == 1


def test_mint_by_a_new_owner_and_the_old_one_no_longer(characters, registry, author, work, guest, character):
    registry.transferFrom(author, guest, work, {"from": author})
    with reverts("AccessManagedUnauthorized", author):
        characters.mint(author, 1, CID, {"from": author})
    characters.mint(guest, 1, CID, {"from": guest})


@pytest.mark.parametrize("status", [SUSPENDED, REVOKED])
def test_case_24_mint_of_a_suspended_or_revoked_work(
    characters, registry, author, holder, minter, admin, character, status
):
    work = characters.workOf(character)
    if status == REVOKED:
        registry.revoke(work, NONE, {"from": admin})
    else:
        registry.setStatus(work, status, NONE, {"from": admin})
    for account in (author, minter):
        with reverts("CharacterWorkStatus", work, status):
            characters.mint(holder, 1, CID, {"from": account})
    characters.transferFrom(holder, author, character, {"from": holder})  # what people have stays theirs


def test_mint_of_a_disputed_work_and_of_one_reinstated(characters, registry, author, admin, character):
    work = characters.workOf(character)
    for status in (SUSPENDED, ACTIVE):
        registry.setStatus(work, status, NONE, {"from": admin})
    characters.mint(author, 1, CID, {"from": author})
    disputed(registry, work)
    characters.mint(author, 1, CID, {"from": author})
    assert (characters.classOf(1)[2], registry.workOf(work)[7]) == (3, DISPUTED)


def test_unknown_tokens_are_refused(characters, character, author, holder):
    characters.burn(character, {"from": holder})
    huge = (1 << 64) + character  # the class's bits, and one above
    for number in (character, token_id(1, 2), 0, huge):
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


def test_burn_by_others(characters, character, author, minter, admin, guest):
    """The work's owner and the minter included."""
    for account in (author, minter, admin, guest):
        with reverts("ERC721InsufficientApproval", account, character):
            characters.burn(character, {"from": account})


# --- lending


@pytest.mark.feature("O5", via="chain")
def test_setUser_changes_the_user_and_not_the_owner(characters, character, holder, guest):
    until = now() + DAY
    tx = characters.setUser(character, guest, until, {"from": holder})
    assert plain(tuple(tx.events["UpdateUser"].values())) == (character, guest.address, until)
    assert (characters.userOf(character), characters.userExpires(character)) == (guest, until)
    assert (characters.holderOf(character), characters.ownerOf(character)) == (guest, holder)


def test_setUser_by_who_is_approved_and_nobody_else(characters, character, holder, guest, author, minter):
    for account in (guest, author, minter):
        with reverts("ERC721InsufficientApproval", account, character):
            characters.setUser(character, account, FOR_EVER, {"from": account})
    characters.approve(minter, character, {"from": holder})
    characters.setUser(character, guest, now() + DAY, {"from": minter})
    assert characters.userOf(character) == guest


def test_case_27_the_user_has_no_access_once_the_use_has_ended(characters, character, holder, guest):
    until = now() + DAY
    characters.setUser(character, guest, until, {"from": holder})
    mine_at(until - 1)
    assert (characters.userOf(character), characters.holderOf(character)) == (guest, guest)
    mine_at(until)
    assert (characters.userOf(character), characters.holderOf(character)) == (ZERO, holder)


@pytest.mark.feature("O5", via="chain")
def test_case_27_the_owner_cannot_evict_a_user(characters, character, holder, guest, author):
    """Not by another user or none, a sooner end, a transfer, a burn or an export; nor may who it approved."""
    until = now() + DAY
    characters.setUser(character, guest, until, {"from": holder})
    characters.setApprovalForAll(author, True, {"from": holder})
    for account in (holder, author):
        for call in (
            lambda account=account: characters.setUser(character, ZERO, 0, {"from": account}),
            lambda account=account: characters.setUser(character, author, until + 1, {"from": account}),
            lambda account=account: characters.setUser(character, guest, until - 1, {"from": account}),
            lambda account=account: characters.transferFrom(holder, author, character, {"from": account}),
            lambda account=account: characters.transferFrom(holder, holder, character, {"from": account}),
            lambda account=account: characters.safeTransferFrom(holder, author, character, {"from": account}),
            lambda account=account: characters.burn(character, {"from": account}),
            lambda account=account: characters.exportTo(character, GAME, {"from": account}),
        ):
            with reverts("CharacterRented", character, until):
                call()
    assert (characters.userOf(character), characters.userExpires(character)) == (guest, until)


def test_setUser_to_the_same_user_for_longer(characters, character, holder, guest):
    until = now() + DAY
    for longer in (0, DAY):
        characters.setUser(character, guest, until + longer, {"from": holder})
        assert characters.userExpires(character) == until + longer


def test_setUser_again_when_the_use_has_ended(characters, character, holder, guest, author):
    until = now() + DAY
    characters.setUser(character, guest, until, {"from": holder})
    next_block_at(until)
    characters.setUser(character, author, until + 1, {"from": holder})
    assert characters.userOf(character) == author
    mine_at(until + 1)
    characters.setUser(character, ZERO, 0, {"from": holder})
    assert characters.userExpires(character) == 0


def test_setUser_for_a_year_at_most(characters, character, holder, guest):
    """So that nothing is lost to a user for ever."""
    at = now() + 10
    next_block_at(at)
    with reverts("CharacterExpiryInvalid", character, at + 366 * DAY + 1):
        characters.setUser(character, guest, at + 366 * DAY + 1, {"from": holder})
    next_block_at(at + 1)
    characters.setUser(character, guest, at + 1 + 366 * DAY, {"from": holder})


def test_setUser_with_an_end_that_does_not_lie_ahead(characters, character, holder, guest):
    at = now() + 10
    for time in (0, at):
        next_block_at(max(at, now() + 1))
        with reverts("CharacterExpiryInvalid", character, time):
            characters.setUser(character, guest, time, {"from": holder})
    with reverts("CharacterExpiryInvalid", character, FOR_EVER):
        characters.setUser(character, ZERO, FOR_EVER, {"from": holder})


def test_case_27_the_user_is_cleared_when_the_token_moves(characters, character, holder, guest, author):
    until = now() + DAY
    characters.setUser(character, guest, until, {"from": holder})
    next_block_at(until)
    tx = characters.transferFrom(holder, author, character, {"from": holder})
    assert plain(tuple(tx.events["UpdateUser"].values())) == (character, ZERO, 0)
    assert (characters.userOf(character), characters.userExpires(character)) == (ZERO, 0)
    assert "UpdateUser" not in characters.transferFrom(author, holder, character, {"from": author}).events


def test_endUse_gives_back_before_the_end(characters, character, holder, guest, author):
    characters.setUser(character, guest, now() + DAY, {"from": holder})
    for account in (holder, author):
        with reverts("CharacterNotUser", character, account):
            characters.endUse(character, {"from": account})
    tx = characters.endUse(character, {"from": guest})
    assert plain(tuple(tx.events["UpdateUser"].values())) == (character, ZERO, 0)
    characters.transferFrom(holder, author, character, {"from": holder})


def test_endUse_of_a_use_that_has_ended(characters, character, holder, guest):
    until = now() + DAY
    characters.setUser(character, guest, until, {"from": holder})
    next_block_at(until)
    with reverts("CharacterNotUser", character, guest):
        characters.endUse(character, {"from": guest})


# --- tickets


@pytest.mark.feature("O2", via="chain")
def test_checkIn_uses_a_ticket_up(characters, ticket, holder, organiser):
    assert (characters.checkedInAt(ticket), plain(characters.getTraitValue(ticket, CHECKED_IN))) == (0, hexed(NONE))
    at = now() + 5
    next_block_at(at)
    tx = characters.checkIn(ticket, {"from": organiser})
    assert plain(tuple(tx.events["CheckedIn"].values())) == (ticket, holder.address, organiser.address)
    value = at.to_bytes(32, "big")
    assert plain(tuple(tx.events["TraitUpdated"].values())) == (hexed(CHECKED_IN), ticket, hexed(value))
    assert (characters.checkedInAt(ticket), plain(characters.getTraitValue(ticket, CHECKED_IN))) == (at, hexed(value))


def test_case_29_checkIn_twice(characters, ticket, organiser, holder, guest):
    characters.checkIn(ticket, {"from": organiser})
    at = characters.checkedInAt(ticket)
    characters.transferFrom(holder, guest, ticket, {"from": holder})  # a used ticket moves, and stays used
    with reverts("CharacterAlreadyCheckedIn", ticket):
        characters.checkIn(ticket, {"from": organiser})
    assert characters.checkedInAt(ticket) == at


def test_case_29_checkIn_by_a_stranger(characters, ticket, author, holder, minter, admin, stranger):
    """The work's owner, the ticket's, the minter and the administrator included."""
    for account in (author, holder, minter, admin, stranger):
        with reverts("CharacterUnauthorized", ticket >> 32, account):
            characters.checkIn(ticket, {"from": account})
    assert characters.checkedInAt(ticket) == 0


def test_checkIn_lets_the_user_in(characters, ticket, holder, guest, organiser):
    characters.setUser(ticket, guest, now() + DAY, {"from": holder})
    assert characters.checkIn(ticket, {"from": organiser}).events["CheckedIn"]["holder"] == guest


def test_checkIn_of_what_is_no_ticket(characters, character, organiser):
    with reverts("CharacterNotTicket", character):
        characters.checkIn(character, {"from": organiser})


def test_checkIn_of_an_exported_ticket(characters, ticket, holder, organiser):
    characters.exportTo(ticket, GAME, {"from": holder})
    with reverts("CharacterLocked", ticket):
        characters.checkIn(ticket, {"from": organiser})


def test_setOrganiser_by_the_works_owner(characters, ticket, author, organiser, guest):
    class_id = ticket >> 32
    tx = characters.setOrganiser(class_id, guest, {"from": author})
    assert plain(tuple(tx.events["OrganiserSet"].values())) == (class_id, guest.address)
    with reverts("CharacterUnauthorized", class_id, organiser):
        characters.checkIn(ticket, {"from": organiser})
    characters.checkIn(ticket, {"from": guest})


def test_setOrganiser_of_nobody_or_for_no_ticket(characters, ticket, character, author, organiser):
    with reverts("CharacterOrganiserMismatch", True, ZERO):
        characters.setOrganiser(ticket >> 32, ZERO, {"from": author})
    with reverts("CharacterOrganiserMismatch", False, organiser):
        characters.setOrganiser(character >> 32, organiser, {"from": author})


def test_class_is_changed_by_the_works_owner_alone(characters, ticket, work, organiser, holder, minter, admin):
    class_id = ticket >> 32
    for account in (organiser, holder, minter, admin):
        for call in (
            lambda account=account: characters.setOrganiser(class_id, account, {"from": account}),
            lambda account=account: characters.setTraitSetter(class_id, account, {"from": account}),
            lambda account=account: characters.addTraitKeys(class_id, [LEVEL], {"from": account}),
        ):
            with reverts("CharacterNotOwner", work, account):
                call()


# --- traits and metadata


@pytest.fixture
def dynamic(characters, work, author, holder, guest):
    """A token whose traits and metadata the guest sets; it has the trait LEVEL."""
    class_id = class_created(characters, work, author, traitSetter=guest)
    characters.addTraitKeys(class_id, [LEVEL], {"from": author})
    return minted(characters, class_id, holder, author)


@pytest.mark.feature("O2", via="chain")
def test_setTrait_is_read_one_by_one_and_together(characters, dynamic, author, guest):
    other = keccak(text="other")
    characters.addTraitKeys(dynamic >> 32, [other], {"from": author})
    assert plain(characters.getTraitValues(dynamic, [LEVEL, other])) == (hexed(NONE), hexed(NONE))
    tx = characters.setTrait(dynamic, LEVEL, VALUE, {"from": guest})
    assert plain(tuple(tx.events["TraitUpdated"].values())) == (hexed(LEVEL), dynamic, hexed(VALUE))
    assert plain(characters.getTraitValue(dynamic, LEVEL)) == hexed(VALUE)
    assert plain(characters.getTraitValues(dynamic, [other, LEVEL])) == (hexed(NONE), hexed(VALUE))
    assert plain(characters.getTraitValues(dynamic, [])) == ()


def test_setTrait_by_another_than_the_setter(characters, dynamic, author, holder, minter, admin):
    for account in (author, holder, minter, admin):
        with reverts("CharacterUnauthorized", dynamic >> 32, account):
            characters.setTrait(dynamic, LEVEL, VALUE, {"from": account})
        with reverts("CharacterUnauthorized", dynamic >> 32, account):
            characters.setMetadata(dynamic, OTHER_CID, {"from": account})


def test_unknown_traits_are_refused(characters, dynamic, guest):
    other = keccak(text="other")
    for call in (
        lambda: characters.setTrait(dynamic, other, VALUE, {"from": guest}),
        lambda: characters.getTraitValue(dynamic, other),
        lambda: characters.getTraitValues(dynamic, [LEVEL, other]),
    ):
        with reverts("TraitKeyUnknown", other):
            call()
    with reverts("TraitKeyUnknown", CHECKED_IN):  # it is no ticket
        characters.getTraitValue(dynamic, CHECKED_IN)


def test_traits_of_one_class_are_not_anothers(characters, dynamic, character):
    with reverts("TraitKeyUnknown", LEVEL):
        characters.getTraitValue(character, LEVEL)


def test_nobody_sets_when_a_ticket_was_used(characters, work, author, guest, organiser, dynamic, holder):
    class_id = class_created(characters, work, author, ticket=True, organiser=organiser, traitSetter=guest)
    ticket = minted(characters, class_id, holder, author)
    characters.checkIn(ticket, {"from": organiser})
    for used in (ticket, dynamic):
        with reverts("CharacterTraitReserved", CHECKED_IN):
            characters.setTrait(used, CHECKED_IN, NONE, {"from": guest})
        with reverts("CharacterTraitReserved", CHECKED_IN):
            characters.addTraitKeys(used >> 32, [CHECKED_IN], {"from": author})
    assert characters.checkedInAt(ticket) != 0


def test_addTraitKeys_announces_each(characters, dynamic, author):
    keys = [keccak(text="a"), keccak(text="b"), LEVEL]  # one of them again
    tx = characters.addTraitKeys(dynamic >> 32, keys, {"from": author})
    assert [plain(event["traitKey"]) for event in tx.events["TraitKeyAdded"]] == [hexed(key) for key in keys]
    assert all(characters.hasTrait(dynamic >> 32, key) for key in keys)


def test_addTraitKeys_with_none(characters, dynamic, author):
    with reverts("CharacterEmptyHash"):
        characters.addTraitKeys(dynamic >> 32, [LEVEL, NONE], {"from": author})


def test_setTraitSetter_hands_on_and_gives_up_for_ever(characters, dynamic, author, guest, organiser):
    class_id = dynamic >> 32
    tx = characters.setTraitSetter(class_id, organiser, {"from": author})
    assert plain(tuple(tx.events["TraitSetterSet"].values())) == (class_id, organiser.address)
    with reverts("CharacterUnauthorized", class_id, guest):
        characters.setTrait(dynamic, LEVEL, VALUE, {"from": guest})
    characters.setTrait(dynamic, LEVEL, VALUE, {"from": organiser})
    characters.setTraitSetter(class_id, ZERO, {"from": author})
    with reverts("CharacterUnauthorized", class_id, author):
        characters.setTraitSetter(class_id, organiser, {"from": author})
    assert plain(characters.getTraitValue(dynamic, LEVEL)) == hexed(VALUE)


def test_setTraitSetter_of_a_class_that_was_born_without(characters, character, author):
    with reverts("CharacterUnauthorized", character >> 32, author):
        characters.setTraitSetter(character >> 32, author, {"from": author})


def test_setMetadata_replaces_the_file(characters, dynamic, guest):
    before = characters.tokenURI(dynamic)
    tx = characters.setMetadata(dynamic, OTHER_CID, {"from": guest})
    assert plain(tuple(tx.events["MetadataChanged"].values())) == (dynamic, hexed(OTHER_CID))
    assert plain(tuple(tx.events["MetadataUpdate"].values())) == (dynamic,)
    assert characters.tokenURI(dynamic) != before
    with reverts("CharacterEmptyHash"):
        characters.setMetadata(dynamic, NONE, {"from": guest})


# --- portability


def test_exportTo_locks(characters, character, holder, guest):
    tx = characters.exportTo(character, GAME, {"from": holder})
    assert plain(tuple(tx.events["Exported"].values())) == (character, hexed(GAME), holder.address)
    assert plain(tuple(tx.events["Locked"].values())) == (character,)
    assert characters.locked(character)
    assert (plain(characters.exportedTo(character)), characters.exportsOf(character)) == (hexed(GAME), 1)


def test_case_30_export_locks_all_that_an_owner_does(characters, character, holder, guest):
    characters.approve(guest, character, {"from": holder})
    characters.exportTo(character, GAME, {"from": guest})  # approved
    characters.approve(guest, character, {"from": holder})
    for account in (holder, guest):
        for call in (
            lambda account=account: characters.transferFrom(holder, guest, character, {"from": account}),
            lambda account=account: characters.safeTransferFrom(holder, guest, character, {"from": account}),
            lambda account=account: characters.burn(character, {"from": account}),
            lambda account=account: characters.setUser(character, guest, FOR_EVER, {"from": account}),
            lambda account=account: characters.exportTo(character, GAME, {"from": account}),
        ):
            with reverts("CharacterLocked", character):
                call()


def test_exportTo_by_others(characters, character, author, guest, minter):
    for account in (author, guest, minter):
        with reverts("ERC721InsufficientApproval", account, character):
            characters.exportTo(character, GAME, {"from": account})


@pytest.mark.parametrize("platform", [ARENA, NONE])
def test_exportTo_an_unknown_platform(characters, character, holder, platform):
    with reverts("CharacterPlatformUnknown", platform):
        characters.exportTo(character, platform, {"from": holder})


def test_importFrom_brings_back(characters, character, holder, stranger, guest):
    characters.exportTo(character, GAME, {"from": holder})
    tx = characters.importFrom(*signed_import(characters, keyed(9).key, character, 1), {"from": stranger})
    assert plain(tuple(tx.events["Imported"].values())) == (character, hexed(GAME))
    assert plain(tuple(tx.events["Unlocked"].values())) == (character,)
    assert not characters.locked(character)
    assert (plain(characters.exportedTo(character)), characters.exportsOf(character)) == (hexed(NONE), 1)
    characters.transferFrom(holder, guest, character, {"from": holder})


def malleable(signature):
    """The other signature of the same message: s becomes n - s, v flips."""
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    other = order - int.from_bytes(signature[32:64], "big")
    return signature[:32] + other.to_bytes(32, "big") + bytes([55 - signature[64]])


def test_case_30_importFrom_with_a_wrong_signature(characters, character, holder, admin, stranger):
    """Another chain, contract, name, signer, token, platform, export or deadline; malleable; none."""
    key = keyed(9).key
    characters.setPlatform(ARENA, keyed(8).address, {"from": admin})
    characters.exportTo(character, GAME, {"from": holder})
    good = signed_import(characters, key, character, 1)
    signatures = [
        signed_import(characters, key, character, 1, chainId=1)[3],
        signed_import(characters, key, character, 1, verifyingContract=str(stranger))[3],
        signed_import(characters, key, character, 1, name="Troupe WorkRegistry")[3],
        signed_import(characters, key, character, 1, version="2")[3],
        signed_import(characters, keyed(8).key, character, 1)[3],  # another platform's
        signed_import(characters, keyed(3).key, character, 1)[3],  # the holder's
        signed_import(characters, key, character + 1, 1)[3],
        signed_import(characters, key, character, 1, platform=ARENA)[3],
        signed_import(characters, key, character, 0)[3],
        signed_import(characters, key, character, 2)[3],
        signed_import(characters, key, character, 1, deadline=FOR_EVER - 1)[3],
        malleable(good[3]),
        b"",
    ]
    for signature in signatures:
        with reverts("CharacterInvalidSigner", GAME):
            characters.importFrom(*good[:3], signature, {"from": holder})
    characters.importFrom(*good, {"from": holder})


def test_case_30_importFrom_replayed(characters, character, holder):
    """A signature serves one export: not again, and not for the next."""
    good = signed_import(characters, keyed(9).key, character, 1)
    characters.exportTo(character, GAME, {"from": holder})
    characters.importFrom(*good, {"from": holder})
    with reverts("CharacterNotExported", character, GAME):
        characters.importFrom(*good, {"from": holder})
    characters.exportTo(character, GAME, {"from": holder})
    with reverts("CharacterInvalidSigner", GAME):
        characters.importFrom(*good, {"from": holder})
    characters.importFrom(*signed_import(characters, keyed(9).key, character, 2), {"from": holder})


def test_importFrom_another_platform_than_exported_to(characters, character, holder, admin):
    characters.setPlatform(ARENA, keyed(8).address, {"from": admin})
    characters.exportTo(character, GAME, {"from": holder})
    for platform in (ARENA, NONE):
        with reverts("CharacterNotExported", character, platform):
            characters.importFrom(
                *signed_import(characters, keyed(8).key, character, 1, platform=platform), {"from": holder}
            )


def test_importFrom_of_what_is_not_exported(characters, character, holder):
    for number in (character, character + 1, 0):
        for platform in (GAME, NONE):
            with reverts("CharacterNotExported", number, platform):
                characters.importFrom(
                    *signed_import(characters, keyed(9).key, number, 0, platform=platform), {"from": holder}
                )


def test_importFrom_after_the_deadline(characters, character, holder):
    characters.exportTo(character, GAME, {"from": holder})
    deadline = now() + 10
    args = signed_import(characters, keyed(9).key, character, 1, deadline=deadline)
    next_block_at(deadline + 1)
    with reverts("CharacterSignatureExpired", deadline):
        characters.importFrom(*args, {"from": holder})
    deadline = now() + 10
    args = signed_import(characters, keyed(9).key, character, 1, deadline=deadline)
    next_block_at(deadline)
    characters.importFrom(*args, {"from": holder})


def test_importFrom_with_a_key_that_was_changed(characters, character, holder, admin):
    characters.exportTo(character, GAME, {"from": holder})
    characters.setPlatform(GAME, keyed(8).address, {"from": admin})
    with reverts("CharacterInvalidSigner", GAME):
        characters.importFrom(*signed_import(characters, keyed(9).key, character, 1), {"from": holder})
    characters.importFrom(*signed_import(characters, keyed(8).key, character, 1), {"from": holder})


def test_importFrom_by_a_contract_wallet(characters, character, holder, admin):
    """ERC-1271."""
    wallet = SignerWallet.deploy(keyed(8).address, {"from": admin})
    characters.setPlatform(GAME, wallet, {"from": admin})
    characters.exportTo(character, GAME, {"from": holder})
    with reverts("CharacterInvalidSigner", GAME):
        characters.importFrom(*signed_import(characters, keyed(9).key, character, 1), {"from": holder})
    characters.importFrom(*signed_import(characters, keyed(8).key, character, 1), {"from": holder})


def test_importFrom_a_platform_that_was_removed(characters, character, holder, guest, admin):
    """Nothing is stranded: the owner takes back itself; nobody else does, not even with the old key."""
    characters.exportTo(character, GAME, {"from": holder})
    good = signed_import(characters, keyed(9).key, character, 1)
    characters.setPlatform(GAME, ZERO, {"from": admin})
    with reverts("ERC721InsufficientApproval", guest, character):
        characters.importFrom(*good, {"from": guest})
    with reverts("CharacterPlatformUnknown", GAME):
        characters.exportTo(character, GAME, {"from": holder})
    characters.importFrom(character, GAME, 0, b"", {"from": holder})
    assert not characters.locked(character)


def test_soulbound_tokens_are_exported_and_stay_locked(characters, bound, holder):
    assert "Locked" not in characters.exportTo(bound, GAME, {"from": holder}).events
    with reverts("CharacterLocked", bound):
        characters.burn(bound, {"from": holder})
    tx = characters.importFrom(*signed_import(characters, keyed(9).key, bound, 1), {"from": holder})
    assert "Unlocked" not in tx.events
    assert characters.locked(bound)
    characters.burn(bound, {"from": holder})


# --- achievements


@pytest.mark.feature("O6", via="chain")
def test_mint_of_a_platforms_class_is_for_its_key_alone(characters, work, author, holder, minter, admin, accounts):
    """So a token of it tells anyone who gave it. Soulbound, it stays with whom it was given."""
    class_id = class_created(characters, work, author, soulbound=True, platformId=GAME)
    for account in (author, minter, admin, holder):
        with reverts("CharacterUnauthorized", class_id, account):
            characters.mint(holder, class_id, CID, {"from": account})
    character = minted(characters, class_id, holder, accounts[9])
    assert plain(characters.classOf(character >> 32))[8] == hexed(GAME)
    assert (characters.ownerOf(character), characters.locked(character)) == (holder, True)


def test_mint_of_a_platforms_class_when_it_was_removed(characters, work, author, holder, admin, accounts):
    class_id = class_created(characters, work, author, platformId=GAME)
    characters.setPlatform(GAME, ZERO, {"from": admin})
    for account in (author, accounts[9]):
        with reverts("CharacterUnauthorized", class_id, account):
            characters.mint(holder, class_id, CID, {"from": account})


# --- governance


def test_governance_is_for_its_role_alone(characters, authority, admin, accounts):
    """Case 49: each restricted function tried with each role of the deployment, and with none."""
    account = accounts[6]
    calls = (
        lambda sender: characters.setPlatform(ARENA, account, {"from": sender}),
        lambda sender: characters.setContractURI("ipfs://other", {"from": sender}),
        lambda sender: characters.setTraitMetadataURI("ipfs://other", {"from": sender}),
    )
    for role in [None, *ROLE_NAMES]:
        if role == ADMIN:
            continue  # accounts[0]'s, below
        if role:
            authority.grantRole(role, account, 0, {"from": admin})
        for call in calls:
            with reverts("AccessManagedUnauthorized", account):
                call(account)
        if role:
            authority.revokeRole(role, account, {"from": admin})
    for call in calls:
        call(admin)


def test_authority_is_changed_by_itself_alone(characters, author, admin):
    for account in (author, admin):
        with reverts("AccessManagedUnauthorized", account):
            characters.setAuthority(account, {"from": account})


def test_setPlatform_registers_changes_and_removes(characters, admin, guest):
    for key in (guest.address, keyed(9).address, ZERO):
        tx = characters.setPlatform(ARENA, key, {"from": admin})
        assert plain(tuple(tx.events["PlatformSet"].values())) == (hexed(ARENA), key)
        assert characters.platformKey(ARENA) == key
    with reverts("CharacterEmptyHash"):
        characters.setPlatform(NONE, guest, {"from": admin})


def test_setContractURI_and_setTraitMetadataURI_announce_the_change(characters, admin):
    assert (characters.contractURI(), characters.getTraitMetadataURI()) == ("ipfs://characters", "ipfs://traits")
    assert "ContractURIUpdated" in characters.setContractURI("ipfs://a", {"from": admin}).events
    assert "TraitMetadataURIUpdated" in characters.setTraitMetadataURI("ipfs://b", {"from": admin}).events
    assert (characters.contractURI(), characters.getTraitMetadataURI()) == ("ipfs://a", "ipfs://b")


# --- marketplaces


def test_royalties_are_the_works(characters, registry, work, character, admin):
    """ERC-2981: the work's receiver, at the registry's rate."""
    assert plain(characters.royaltyInfo(character, 10_000)) == (registry.royaltyReceiver(work), 500)
    registry.setRoyaltyBps(1_000, {"from": admin})
    assert characters.royaltyInfo(character, 10_000)[1] == 1_000


def test_interfaces(characters):
    """ERC-165, 721 with metadata, 2981, 4907, 5192, 7496, 4906."""
    known = (
        "0x01ffc9a7",
        "0x80ac58cd",
        "0x5b5e139f",
        "0x2a55205a",
        "0xad092b5c",
        "0xb45a3c0e",
        "0xaf332f3e",
        "0x49064906",
    )
    assert all(characters.supportsInterface(interface) for interface in known)
    assert not characters.supportsInterface("0xffffffff")


def test_characters_serve_the_registrys_ledger(characters, registry):
    assert (characters.registry(), characters.ledger()) == (registry, registry.ledger())


# --- gas


def test_gas_mint(characters, work, author, minter, holder):
    """Steady: the holder has one already. The design's ceiling is 112,000. By the role, the AccessManager is asked."""
    class_created(characters, work, author)
    within_budget("Characters.mint, first", characters.mint(holder, 1, CID, {"from": author}))
    within_budget("Characters.mint, steady", characters.mint(holder, 1, CID, {"from": author}))
    within_budget("Characters.mint, steady, by the role", characters.mint(holder, 1, CID, {"from": minter}))


def test_gas_of_holders(characters, dynamic, holder, guest, author):
    """Fresh slots: one a first use; two an export, none for the next."""
    until = now() + DAY
    within_budget("Characters.setUser, first", characters.setUser(dynamic, guest, until, {"from": holder}))
    within_budget("Characters.setUser, longer", characters.setUser(dynamic, guest, until + 1, {"from": holder}))
    within_budget("Characters.endUse", characters.endUse(dynamic, {"from": guest}))
    minted(characters, dynamic >> 32, author, author)
    tx = characters.transferFrom(holder, author, dynamic, {"from": holder})
    within_budget("Characters.transferFrom", tx)
    within_budget("Characters.exportTo", characters.exportTo(dynamic, GAME, {"from": author}))
    args = signed_import(characters, keyed(9).key, dynamic, 1)
    within_budget("Characters.importFrom", characters.importFrom(*args, {"from": author}))
    within_budget("Characters.burn", characters.burn(dynamic, {"from": author}))


def test_gas_of_a_works_people(characters, work, author, holder, guest, organiser, dynamic):
    tx = characters.createClass(class_params(work), {"from": author})
    within_budget("Characters.createClass", tx)
    params = class_params(work, ticket=True, organiser=organiser, traitSetter=guest)
    within_budget("Characters.createClass of tickets", characters.createClass(params, {"from": author}))
    ticket = minted(characters, characters.classCount(), holder, author)
    within_budget("Characters.checkIn", characters.checkIn(ticket, {"from": organiser}))
    within_budget("Characters.setTrait, first", characters.setTrait(dynamic, LEVEL, VALUE, {"from": guest}))
    within_budget("Characters.setTrait, again", characters.setTrait(dynamic, LEVEL, CID, {"from": guest}))
    within_budget("Characters.setMetadata", characters.setMetadata(dynamic, OTHER_CID, {"from": guest}))


def test_code_fits(characters):
    """EIP-170."""
    assert len(web3.eth.get_code(characters.address)) < 24_576
