"""Items: editions, merchandise and passes of works: caps, soulbound items, redemption, royalties, who may mint."""

import random

import pytest
from brownie import Items, ReentrantReceiver, RefusingAccount, web3
from brownie.exceptions import VirtualMachineError
from eth_utils import keccak
from kit import DAY, ZERO, folded, logs_of, mine_at, now, reverts
from money import ACTIVE, NONE, REVOKED, SUSPENDED, hexed, plain
from shop import FoldedItems, item_created, within_budget
from works import CID, disputed, registered

from scripts.deploy.plan import ROLE_NAMES, SELLER

pytestmark = pytest.mark.feature("O2", via="chain")

REF = b"\x05" * 32
BIG = 2**64 - 1


@pytest.fixture(scope="module")
def items(authority, registry, admin, minter):
    """Items in which accounts[2] has the role that mints."""
    contract = Items.deploy(authority, registry, {"from": admin})
    selectors = [contract.signatures[name] for name in ("mint", "mintBatch")]
    authority.setTargetFunctionRole(contract, selectors, SELLER, {"from": admin})
    authority.grantRole(SELLER, minter, 0, {"from": admin})
    return contract


# --- creation


def test_create_item_writes_down_what_never_changes(items, author, work):
    tx = items.createItem(work, 100, 3, 7, True, CID, {"from": author})
    assert plain(items.itemOf(1)) == (work, 100, 0, 3, 7, True, 0, hexed(CID))
    assert items.workOf(1) == work
    assert items.itemCount() == 1
    assert list(items.itemsOf(work)) == [1]
    event = tx.events["ItemCreated"]
    assert plain(tuple(event.values())) == (1, work, 100, 3, 7, True, hexed(CID))
    assert items.uri(1).startswith("ipfs://bafkrei")


def test_ids_count_from_one_over_all_works(items, registry, author, work):
    other = registered(registry, author)
    assert [item_created(items, w, author) for w in (work, other, work)] == [1, 2, 3]
    assert list(items.itemsOf(work)) == [1, 3]
    assert list(items.itemsOf(other)) == [2]


def test_only_the_works_owner_creates(items, registry, author, minter, admin, work):
    for account in (minter, admin):
        with reverts("ItemNotOwner", work, account):
            items.createItem(work, 1, 0, 0, False, CID, {"from": account})
        with reverts("ItemNotOwner", work, account):
            items.createPass(work, 1, 0, 0, False, CID, 2**48 - 1, {"from": account})
    registry.transferFrom(author, minter, work, {"from": author})
    with reverts("ItemNotOwner", work, author):
        items.createItem(work, 1, 0, 0, False, CID, {"from": author})
    assert item_created(items, work, minter) == 1


@pytest.mark.parametrize("number", [0, 99])
def test_items_of_unknown_works_cannot_be_created(items, author, number):
    with reverts("ERC721NonexistentToken", number):
        items.createItem(number, 1, 0, 0, False, CID, {"from": author})


def test_an_item_has_a_supply_and_metadata(items, author, work):
    with reverts("ItemZeroAmount"):
        items.createItem(work, 0, 0, 0, False, CID, {"from": author})
    with reverts("ItemEmptyHash"):
        items.createItem(work, 1, 0, 0, False, NONE, {"from": author})


def test_unknown_items_are_refused(items, author, minter):
    for call in (
        lambda: items.itemOf(1),
        lambda: items.workOf(1),
        lambda: items.uri(1),
        lambda: items.royaltyInfo(1, 100),
        lambda: items.mint(author, 1, 1, {"from": minter}),
        lambda: items.redeem(author, 1, 1, REF, {"from": author}),
    ):
        with reverts("ItemUnknown", 1):
            call()


# --- caps


def test_mint_up_to_the_supply_and_no_further(items, author, work):
    item_created(items, work, author, supply=10)
    items.mint(author, 1, 9, {"from": author})
    with reverts("ItemSupplyExceeded", 1, 1):
        items.mint(author, 1, 2, {"from": author})
    items.mint(author, 1, 1, {"from": author})
    with reverts("ItemSupplyExceeded", 1, 0):
        items.mint(author, 1, 1, {"from": author})
    assert items.totalSupply(1) == items.balanceOf(author, 1) == 10


def test_supply_counts_what_was_minted_not_what_is_alive(items, author, work):
    """What is burned doesn't come back."""
    item_created(items, work, author, supply=2)
    items.mint(author, 1, 2, {"from": author})
    items.burn(author, 1, 2, {"from": author})
    assert (items.totalSupply(1), items.exists(1), items.itemOf(1)[2]) == (0, False, 2)
    with reverts("ItemSupplyExceeded", 1, 0):
        items.mint(author, 1, 1, {"from": author})


def test_account_cap_counts_what_was_minted_to_the_account(items, author, work, payer, stranger):
    """Neither burning nor handing on makes room for more; what others hand on to it doesn't count."""
    item_created(items, work, author, cap=3)
    items.mint(payer, 1, 2, {"from": author})
    items.safeTransferFrom(payer, stranger, 1, 1, b"", {"from": payer})
    items.burn(payer, 1, 1, {"from": payer})
    with reverts("ItemAccountCapExceeded", 1, payer):
        items.mint(payer, 1, 2, {"from": author})
    items.mint(payer, 1, 1, {"from": author})
    items.mint(stranger, 1, 3, {"from": author})
    assert [items.mintedTo(1, who) for who in (payer, stranger)] == [3, 3]
    assert [items.balanceOf(who, 1) for who in (payer, stranger)] == [1, 4]


def test_amounts_beyond_the_counters_are_refused(items, author, work):
    item_created(items, work, author, supply=BIG)
    items.mint(author, 1, 5, {"from": author})
    with reverts("ItemSupplyExceeded", 1, BIG - 5):
        items.mint(author, 1, 2**64 - 4, {"from": author})
    with pytest.raises(VirtualMachineError, match="Integer overflow"):  # of the balance itself
        items.mint(author, 1, 2**256 - 1, {"from": author})
    items.mint(author, 1, BIG - 5, {"from": author})
    assert items.totalSupply(1) == BIG


def test_case_28_supply_cap_under_a_batch_that_names_an_item_twice(items, author, work):
    item_created(items, work, author, supply=10, cap=6)
    with reverts("ItemSupplyExceeded", 1, 4):
        items.mintBatch(author, [1, 1], [6, 5], {"from": author})
    with reverts("ItemAccountCapExceeded", 1, author):
        items.mintBatch(author, [1, 1], [4, 3], {"from": author})
    assert items.totalSupply(1) == 0
    items.mintBatch(author, [1, 1], [4, 2], {"from": author})
    assert items.balanceOf(author, 1) == items.mintedTo(1, author) == 6


@pytest.mark.parametrize("batch", [[1], [1, 2]])
def test_case_28_reentrant_mint_in_the_receivers_callback(items, registry, author, work, batch):
    """The receiver owns the work and may mint; from inside its callback it may not, and it sees the full count."""
    receiver = ReentrantReceiver.deploy({"from": author})
    for _ in range(2):
        item_created(items, work, author, supply=5)
    registry.transferFrom(author, receiver, work, {"from": author})
    receiver.arm(items, items.mintBatch.encode_input(receiver, batch, [1] * len(batch)))
    receiver.run(items, items.mintBatch.encode_input(receiver, batch, [5] * len(batch)), {"from": author})
    assert (receiver.attempts(), receiver.succeeded()) == (1, False)
    assert receiver.answer() == hexed(keccak(text="ReentrancyGuardReentrantCall()")[:4])
    assert receiver.batchLength() == len(batch)  # a batch of one is a batch to its receiver
    assert [items.totalSupply(id_) for id_ in batch] == [5] * len(batch)

    again = items.mintBatch.encode_input(receiver, batch, [1] * len(batch))
    with pytest.raises(VirtualMachineError):
        receiver.run(items, again, {"from": author})


def test_batches_need_as_many_amounts_as_items(items, author, work):
    item_created(items, work, author)
    with reverts("ERC1155InvalidArrayLength", 1, 2):
        items.mintBatch(author, [1], [1, 1], {"from": author})


def test_receivers_that_take_no_items_are_refused(items, author, work):
    item_created(items, work, author)
    nobody = RefusingAccount.deploy({"from": author})
    with reverts("ERC1155InvalidReceiver", nobody):
        items.mint(nobody, 1, 1, {"from": author})
    with reverts("ERC1155InvalidReceiver", ZERO):
        items.mint(ZERO, 1, 1, {"from": author})


# --- who may mint


def test_each_minting_function_is_for_the_role_or_the_works_owner(items, authority, admin, author, work, accounts):
    """Case 49: both functions tried with each role of the deployment, and with none."""
    item_created(items, work, author)
    account = accounts[5]
    calls = (
        lambda: items.mint(account, 1, 1, {"from": account}),
        lambda: items.mintBatch(account, [1], [1], {"from": account}),
    )
    for role in [None, *ROLE_NAMES]:
        if role:
            authority.grantRole(role, account, 0, {"from": admin})
        for call in calls:
            if role == SELLER:
                call()
            else:
                with reverts("AccessManagedUnauthorized", account):
                    call()
        if role:
            authority.revokeRole(role, account, {"from": admin})
    with reverts("AccessManagedUnauthorized", admin):  # the administrator has no other role
        items.mint(admin, 1, 1, {"from": admin})
    items.mint(author, 1, 1, {"from": author})
    assert items.totalSupply(1) == 3


def test_owner_of_one_work_cannot_mint_a_batch_with_anothers_item(items, registry, author, work, stranger):
    item_created(items, work, author)
    theirs = registered(registry, stranger)
    item_created(items, theirs, stranger)
    for batch in ([1, 2], [2, 1]):
        with reverts("AccessManagedUnauthorized", author):
            items.mintBatch(author, batch, [1, 1], {"from": author})


def test_nobody_mints_an_empty_batch_but_the_role(items, author, work, minter):
    item_created(items, work, author)
    with reverts("AccessManagedUnauthorized", author):
        items.mintBatch(author, [], [], {"from": author})
    items.mintBatch(author, [], [], {"from": minter})


def test_a_new_owner_mints_and_the_old_one_no_longer(items, registry, author, work, stranger):
    item_created(items, work, author)
    registry.transferFrom(author, stranger, work, {"from": author})
    with reverts("AccessManagedUnauthorized", author):
        items.mint(author, 1, 1, {"from": author})
    items.mint(stranger, 1, 1, {"from": stranger})


def test_authority_is_changed_by_itself_alone(items, author, admin):
    for account in (author, admin):
        with reverts("AccessManagedUnauthorized", account):
            items.setAuthority(account, {"from": account})


@pytest.mark.parametrize("status", [SUSPENDED, REVOKED])
def test_suspended_and_revoked_works_mint_nothing(items, registry, author, work, minter, admin, status):
    item_created(items, work, author)
    items.mint(author, 1, 1, {"from": minter})
    set_status(registry, work, status, admin)
    for account in (author, minter):
        with reverts("ItemWorkStatus", work, status):
            items.mint(author, 1, 1, {"from": account})
        with reverts("ItemWorkStatus", work, status):
            items.mintBatch(author, [1], [1], {"from": account})
    items.safeTransferFrom(author, minter, 1, 1, b"", {"from": author})  # what people have stays theirs


def test_disputed_works_mint_and_so_do_those_reinstated(items, registry, author, work, admin):
    item_created(items, work, author)
    for status in (SUSPENDED, ACTIVE):
        registry.setStatus(work, status, NONE, {"from": admin})
    items.mint(author, 1, 1, {"from": author})
    disputed(registry, work)
    items.mint(author, 1, 1, {"from": author})


def set_status(registry, work, status, admin):
    if status == REVOKED:
        registry.revoke(work, NONE, {"from": admin})
    else:
        registry.setStatus(work, status, NONE, {"from": admin})


# --- soulbound


def test_case_26_soulbound_items_move_in_no_way_but_by_burning(items, author, work, payer, stranger):
    item_created(items, work, author, soulbound=True)
    items.mint(payer, 1, 5, {"from": author})
    with reverts("ItemSoulbound", 1):
        items.safeTransferFrom(payer, stranger, 1, 1, b"", {"from": payer})
    with reverts("ItemSoulbound", 1):
        items.safeTransferFrom(payer, payer, 1, 1, b"", {"from": payer})
    with reverts("ItemSoulbound", 1):
        items.safeBatchTransferFrom(payer, stranger, [1], [1], b"", {"from": payer})
    items.setApprovalForAll(stranger, True, {"from": payer})
    with reverts("ItemSoulbound", 1):
        items.safeTransferFrom(payer, stranger, 1, 1, b"", {"from": stranger})
    items.burn(payer, 1, 1, {"from": payer})
    items.burn(payer, 1, 1, {"from": stranger})  # an approved operator
    items.redeem(payer, 1, 1, REF, {"from": payer})
    assert (items.balanceOf(payer, 1), items.balanceOf(stranger, 1)) == (2, 0)


def test_case_26_a_batch_with_one_soulbound_item_reverts_whole(items, author, work, payer, stranger):
    item_created(items, work, author)
    item_created(items, work, author, soulbound=True)
    items.mintBatch(payer, [1, 2], [5, 5], {"from": author})
    for batch in ([1, 2], [2, 1]):
        with reverts("ItemSoulbound", 2):
            items.safeBatchTransferFrom(payer, stranger, batch, [1, 1], b"", {"from": payer})
    assert [items.balanceOf(stranger, id_) for id_ in (1, 2)] == [0, 0]
    items.safeBatchTransferFrom(payer, stranger, [1], [5], b"", {"from": payer})
    assert items.balanceOf(stranger, 1) == 5


# --- redemption and expiry


def test_redeem_burns_and_names_the_order(items, author, work, payer):
    item_created(items, work, author)
    items.mint(payer, 1, 5, {"from": author})
    tx = items.redeem(payer, 1, 2, REF, {"from": payer})
    assert plain(tuple(tx.events["Redeemed"].values())) == (1, payer.address, 2, hexed(REF))
    assert (items.balanceOf(payer, 1), items.totalSupply(1)) == (3, 3)
    with reverts("ERC1155InsufficientBalance", payer, 3, 4, 1):
        items.redeem(payer, 1, 4, REF, {"from": payer})
    with reverts("ItemZeroAmount"):
        items.redeem(payer, 1, 0, REF, {"from": payer})


def test_nobody_burns_or_redeems_what_is_anothers(items, author, work, payer, minter):
    """The work's owner and the minter included."""
    item_created(items, work, author)
    items.mint(payer, 1, 5, {"from": author})
    for account in (author, minter):
        with reverts("ERC1155MissingApprovalForAll", account, payer):
            items.burn(payer, 1, 1, {"from": account})
        with reverts("ERC1155MissingApprovalForAll", account, payer):
            items.redeem(payer, 1, 1, REF, {"from": account})


def test_a_pass_expires(items, author, work, payer, stranger):
    """From then on it can't be minted or redeemed and opens nothing; it can be handed on and burned."""
    until = now() + DAY
    tx = items.createPass(work, 10, 0, 0, False, CID, until, {"from": author})
    assert plain(tuple(tx.events["ItemExpirySet"].values())) == (1, until)
    assert items.itemOf(1)[6] == until
    items.mint(payer, 1, 5, {"from": author})
    mine_at(until - 1)
    assert items.holdsAnyOf(payer, work)
    mine_at(until)
    assert not items.holdsAnyOf(payer, work)
    with reverts("ItemExpired", 1, until):
        items.mint(payer, 1, 1, {"from": author})
    with reverts("ItemExpired", 1, until):
        items.redeem(payer, 1, 1, REF, {"from": payer})
    items.safeTransferFrom(payer, stranger, 1, 1, b"", {"from": payer})
    items.burn(payer, 1, 1, {"from": payer})


def test_a_pass_cannot_be_born_expired(items, author, work):
    for time in (0, now()):
        with reverts("ItemExpired", 1, time):
            items.createPass(work, 10, 0, 0, False, CID, time, {"from": author})


def test_holds_any_of_looks_at_all_items_of_the_work_alone(items, registry, author, work, payer):
    other = registered(registry, author)
    for number in (work, other, work):
        item_created(items, number, author)
    assert not items.holdsAnyOf(payer, work)
    items.mint(payer, 2, 1, {"from": author})
    assert (items.holdsAnyOf(payer, work), items.holdsAnyOf(payer, other)) == (False, True)
    items.mint(payer, 3, 1, {"from": author})
    assert items.holdsAnyOf(payer, work)
    items.burn(payer, 3, 1, {"from": payer})
    assert not items.holdsAnyOf(payer, work)


# --- marketplaces


def test_royalties_are_the_works(items, registry, author, work, admin):
    """ERC-2981: the work's receiver, at the registry's rate."""
    item_created(items, work, author)
    assert plain(items.royaltyInfo(1, 10_000)) == (registry.royaltyReceiver(work), 500)
    registry.setRoyaltyBps(1_000, {"from": admin})
    assert items.royaltyInfo(1, 10_000)[1] == 1_000


def test_interfaces(items):
    known = {"0x01ffc9a7": True, "0xd9b67a26": True, "0x0e89341c": True, "0x2a55205a": True, "0xffffffff": False}
    assert {interface: items.supportsInterface(interface) for interface in known} == known


def test_items_serve_the_registrys_ledger(items, registry):
    assert (items.registry(), items.ledger()) == (registry, registry.ledger())


# --- histories


def attempt(items, action, account, to, id_, amount, author):
    """Do it; returns the error's name if it was refused."""
    try:
        if action == "mint":
            items.mint(account, id_, amount, {"from": author})
        elif action == "move":
            items.safeTransferFrom(account, to, id_, amount, b"", {"from": account})
        else:
            items.redeem(account, id_, amount, REF, {"from": account})
    except VirtualMachineError as error:
        return (error.revert_msg or str(error)).partition(":")[0].strip()
    return None


def test_random_histories_equal_their_model_and_events_rebuild_them(items, registry, author, work, accounts):
    """Caps, balances and counts after 120 random calls, each refused or done as the model says; case 60."""
    people, chance = [str(account) for account in accounts[3:6]], random.Random(5)
    for soulbound in (False, True):
        item_created(items, work, author, supply=40, cap=9, soulbound=soulbound)
        item_created(items, work, author, supply=25, soulbound=soulbound)
    kinds = {1: (40, 9, False), 2: (25, 0, False), 3: (40, 9, True), 4: (25, 0, True)}
    held, minted, minted_to = {}, dict.fromkeys(kinds, 0), {}
    done = 0
    for _ in range(120):
        action, id_, amount = (
            chance.choice(["mint", "mint", "move", "redeem"]),
            chance.choice([*kinds]),
            chance.randrange(1, 6),
        )
        a, b = chance.choice(people), chance.choice(people)
        supply, cap, soulbound = kinds[id_]
        have, counted = held.get((id_, a), 0), minted_to.get((id_, a), 0)
        refusals = {
            "mint": {
                "ItemSupplyExceeded": minted[id_] + amount > supply,
                "ItemAccountCapExceeded": 0 < cap < counted + amount,
            },
            "move": {"ItemSoulbound": soulbound, "ERC1155InsufficientBalance": have < amount},
            "redeem": {"ERC1155InsufficientBalance": have < amount},
        }[action]
        expected = {error for error, applies in refusals.items() if applies}
        assert attempt(items, action, a, b, id_, amount, author) in (expected or {None})
        if expected:
            continue
        done += 1
        if action == "mint":
            minted[id_] += amount
            held[id_, a], minted_to[id_, a] = have + amount, counted + amount
        else:
            held[id_, a] = have - amount
        if action == "move":
            held[id_, b] = held.get((id_, b), 0) + amount
    assert done > 40
    rebuilt = folded(FoldedItems(), logs_of(items))
    assert {key: value for key, value in rebuilt.balances.items() if value} == {k: v for k, v in held.items() if v}
    for id_, (supply, cap, soulbound) in kinds.items():
        assert plain(items.itemOf(id_)) == (work, supply, minted[id_], cap, 0, soulbound, 0, hexed(CID))
        assert rebuilt.items[id_] == plain(items.itemOf(id_))
        assert items.totalSupply(id_) == rebuilt.alive[id_] == sum(held.get((id_, who), 0) for who in people)
        for who in people:
            assert items.balanceOf(who, id_) == held.get((id_, who), 0)
            assert items.mintedTo(id_, who) == (rebuilt.minted_to.get((id_, who), 0) if cap else 0)


# --- gas


def test_gas_mint(items, author, work, minter, payer):
    """The design's ceiling for a repeated mint is 60,000. By the role, the way of sales, the AccessManager is asked."""
    item_created(items, work, author)
    item_created(items, work, author, cap=100)
    for id_, name in ((1, "Items.mint"), (2, "Items.mint with an account cap")):
        within_budget(f"{name}, first", items.mint(payer, id_, 1, {"from": author}))
        within_budget(f"{name}, again", items.mint(payer, id_, 1, {"from": author}))
        within_budget(f"{name}, again by the role", items.mint(payer, id_, 1, {"from": minter}))


def test_gas_batch_of_ten(items, author, work, payer):
    for _ in range(10):
        item_created(items, work, author)
    ids = list(range(1, 11))
    for name in ("first", "again"):
        tx = items.mintBatch(payer, ids, [1] * 10, {"from": author})
        within_budget(f"Items.mintBatch of 10, {name}", tx)


def test_gas_the_rest(items, author, work, payer, stranger):
    tx = items.createItem(work, 100, 3, 7, False, CID, {"from": author})
    within_budget("Items.createItem", tx)
    items.mint(payer, 1, 3, {"from": author})
    within_budget("Items.safeTransferFrom, first", items.safeTransferFrom(payer, stranger, 1, 1, b"", {"from": payer}))
    within_budget("Items.safeTransferFrom, again", items.safeTransferFrom(payer, stranger, 1, 1, b"", {"from": payer}))
    within_budget("Items.redeem", items.redeem(stranger, 1, 1, REF, {"from": stranger}))


def test_code_fits(items):
    """EIP-170."""
    assert len(web3.eth.get_code(items.address)) < 24_576
