"""WorkRegistry: licences, derivations, and the royalty edges that come of them."""

import pytest
from kit import next_block_at, now, reverts
from money import (
    DIGEST,
    NATIVE,
    NONE,
    REVOKED,
    SUSPENDED,
    Leaf,
    counters,
    hexed,
    pay,
    placed,
    plain,
    withdraw,
)
from works import (
    COMMERCIAL,
    DERIVATIVES,
    EXPIRED,
    NO_LICENCE,
    SHARE_ALIKE,
    TRAINING,
    content,
    licence,
    licensed,
    params,
    registered,
)

pytestmark = pytest.mark.feature("P3", via="chain")


@pytest.fixture(scope="module")
def fan(accounts):
    return accounts[2]


@pytest.fixture
def parent(registry, author):
    """Registers a work of the author under a licence with the given terms; returns (work, licence)."""

    def register_parent(**terms):
        licence_id = licensed(registry, author, **terms)
        return registered(registry, author, licenceId=licence_id), licence_id

    return register_parent


def derive(registry, owner, *parents, shares=None, **given):
    shares = [1_000] * len(parents) if shares is None else shares
    return registered(registry, owner, parents=list(parents), shares=shares, **given)


# --- licences


def test_licence_is_written_down_and_read_back(registry, author):
    terms = licence(minShareBps=1_234, shareAlike=True, expires=2**40, relative=True)
    tx = registry.createLicence(terms, {"from": author})
    assert tx.return_value == 1 == registry.licenceCount()
    assert tx.events["LicenceCreated"]["creator"] == author
    assert plain(tx.events["LicenceCreated"]["terms"]) == (*terms[:-1], hexed(DIGEST))
    assert plain(registry.licenceOf(1)) == (*terms[:-1], hexed(DIGEST))


def test_licence_that_nobody_could_meet_is_refused(registry, author):
    with reverts("WorkLicenceInvalid", 8_001):
        registry.createLicence(licence(minShareBps=8_001), {"from": author})
    licensed(registry, author, minShareBps=8_000)


# --- what a derivation records


@pytest.mark.parametrize("relative", [False, True])
def test_derivation_pays_its_parent_as_the_licence_says(registry, books, author, fan, parent, payer, relative):
    work, licence_id = parent(relative=relative)
    given = params(fan, parents=[work], shares=[1_500])
    tx = registry.register(given, {"from": fan})
    assert dict(tx.events["DerivationRecorded"]) == {
        "workId": 2,
        "parentId": work,
        "shareBps": 1_500,
        "absolute": not relative,
        "licenceId": licence_id,
    }
    assert plain(books.edgesOf(2)) == ((work, 1_500, relative),)
    assert plain(registry.parentsOf(2)) == (work,)
    pay(books, 2, 10_000, payer)
    books.settle(2, 0, NATIVE, {"from": payer})
    assert counters(books, work) == (0, 1_462, 1)
    assert withdraw(books, work, 1, next(placed(Leaf(str(author), 1_000_000))), payer) == 1_462


@pytest.mark.feature("P1", via="chain")
def test_parents_are_listed_in_order(registry, books, author, fan, parent):
    works = [parent()[0] for _ in range(8)]
    child = derive(registry, fan, *works)
    assert plain(registry.parentsOf(child)) == tuple(works)
    assert [edge[0] for edge in plain(books.edgesOf(child))] == works


def test_share_of_nothing_is_a_derivation_without_an_edge(registry, books, fan, parent):
    work, _ = parent(minShareBps=0)
    child = derive(registry, fan, work, shares=[0])
    assert plain(registry.parentsOf(child)) == (work,)
    assert plain(books.edgesOf(child)) == ()


# --- each refusal


def test_derivation_without_a_licence_is_refused(registry, author, fan):
    """Case 22; also by the author: royalties belong to the holders of the parent's split, not to its owner."""
    work = registered(registry, author, licenceId=NO_LICENCE)
    for deriver in (fan, author):
        with reverts("WorkLicenceForbids", work, DERIVATIVES):
            derive(registry, deriver, work)


def test_derivation_against_the_licence_is_refused(registry, fan, parent):
    work, _ = parent(derivatives=False)
    with reverts("WorkLicenceForbids", work, DERIVATIVES):
        derive(registry, fan, work)


def test_derivation_after_the_licence_expired_is_refused_and_older_ones_stay(registry, books, fan, parent):
    """Case 22."""
    expires = now() + 1_000
    work, _ = parent(expires=expires)
    child = derive(registry, fan, work)
    next_block_at(expires)
    with reverts("WorkLicenceForbids", work, EXPIRED):
        derive(registry, fan, work)
    assert plain(books.edgesOf(child)) == ((work, 1_000, False),)


def test_derivation_that_breaks_share_alike_is_refused(registry, fan, parent):
    """Case 22."""
    work, licence_id = parent(shareAlike=True)
    other = licensed(registry, fan)
    for wrong in (NO_LICENCE, other):
        with reverts("WorkLicenceForbids", work, SHARE_ALIKE):
            derive(registry, fan, work, licenceId=wrong)
    derive(registry, fan, work, licenceId=licence_id)


def test_derivation_grants_no_commercial_use_that_its_parent_does_not(registry, fan, parent):
    work, licence_id = parent(commercial=False)
    with reverts("WorkLicenceForbids", work, COMMERCIAL):
        derive(registry, fan, work, licenceId=licensed(registry, fan))
    derive(registry, fan, work, licenceId=licence_id)
    derive(registry, fan, work, licenceId=NO_LICENCE)


def test_derivation_grants_no_training_that_its_parent_does_not(registry, fan, parent):
    work, _ = parent(aiTraining=False)
    with reverts("WorkLicenceForbids", work, TRAINING):
        derive(registry, fan, work, licenceId=licensed(registry, fan, aiTraining=True))
    open_work, _ = parent(aiTraining=True)
    derive(registry, fan, open_work, licenceId=licensed(registry, fan, aiTraining=True))


def test_fan_fiction_is_a_sandbox(registry, fan, parent):
    """Only derivations that are non-commercial fan fiction themselves get in."""
    work, _ = parent(derivatives=False, fanFiction=True)
    sandbox = licensed(registry, fan, fanFiction=True, commercial=False)
    commercial = licensed(registry, fan, fanFiction=True, commercial=True)
    for wrong in (NO_LICENCE, commercial, licensed(registry, fan)):
        with reverts("WorkLicenceForbids", work, DERIVATIVES):
            derive(registry, fan, work, licenceId=wrong)
    derive(registry, fan, work, licenceId=sandbox)


def test_derivation_without_the_required_approval_is_refused(registry, author, fan, parent, stranger):
    """Case 22."""
    work, _ = parent(approvalRequired=True)
    with reverts("WorkApprovalMissing", work):
        derive(registry, fan, work, contentHash=content(7))
    with reverts("WorkNotOwner", work, stranger):
        registry.approveDerivative(work, fan, content(7), {"from": stranger})
    tx = registry.approveDerivative(work, fan, content(7), {"from": author})
    assert dict(tx.events["DerivativeApproved"]) == {
        "parentId": work,
        "deriver": fan,
        "contentHash": hexed(content(7)),
    }
    assert registry.isDerivativeApproved(work, fan, content(7))
    for owner, wrong in ((fan, content(8)), (stranger, content(7))):
        with reverts("WorkApprovalMissing", work):
            derive(registry, owner, work, contentHash=wrong)
    derive(registry, fan, work, contentHash=content(7))


def test_share_below_the_licences_minimum_is_refused(registry, fan, parent):
    """Case 22."""
    work, _ = parent(minShareBps=1_000)
    with reverts("WorkShareTooLow", work, 999, 1_000):
        derive(registry, fan, work, shares=[999])
    derive(registry, fan, work, shares=[1_000])


def test_derivation_of_a_parent_that_is_not_active_is_refused(registry, fan, parent, admin):
    """Case 22: revoked, and while a suspension lasts; a dispute is in test_standing."""
    work, _ = parent()
    registry.setStatus(work, SUSPENDED, NONE, {"from": admin})
    with reverts("WorkNotActive", work, SUSPENDED):
        derive(registry, fan, work)
    work, _ = parent()
    registry.revoke(work, NONE, {"from": admin})
    with reverts("WorkNotActive", work, REVOKED):
        derive(registry, fan, work)


def test_parents_must_be_older_known_and_ascending(registry, fan, parent):
    """Case 20, in the registry; the same parent twice is no order either."""
    first, second = parent()[0], parent()[0]
    with reverts("WorkUnknown", 0):
        derive(registry, fan, 0)
    for wrong in ((second, first), (first, first)):
        with reverts("WorkParentOrder", first):
            derive(registry, fan, *wrong)
    for wrong in (3, 4, 2**64 - 1):
        with reverts("WorkParentOrder", wrong):
            derive(registry, fan, wrong)
    with reverts("WorkParentsMismatch", 1, 2):
        derive(registry, fan, first, shares=[1_000, 1_000])


def test_more_than_eight_parents_are_refused(registry, fan, parent):
    works = [parent()[0] for _ in range(9)]
    with reverts("WorkTooManyEdges", 9):
        derive(registry, fan, *works, shares=[100] * 9)


def test_royalties_above_80_percent_are_refused(registry, fan, parent):
    """Case 19, in the registry."""
    first, second = parent()[0], parent()[0]
    with reverts("WorkUpstreamTooHigh", 8_001):
        derive(registry, fan, first, second, shares=[4_000, 4_001])
    derive(registry, fan, first, second, shares=[4_000, 4_000])


# --- what is inherited


@pytest.mark.feature("R3", via="chain")
def test_absolute_royalty_is_inherited_by_every_later_generation(registry, books, author, fan, parent, payer):
    """Case 17: a layer of one's own in between doesn't dilute the ancestor."""
    root, licence_id = parent(minShareBps=1_000)
    layer = derive(registry, fan, root, licenceId=licence_id)
    hit = derive(registry, fan, layer)
    assert plain(books.edgesOf(hit)) == ((layer, 1_000, False), (root, 1_000, False))
    assert plain(registry.parentsOf(hit)) == (layer,)
    pay(books, hit, 100_000, payer)
    books.settleMany([(hit, 0, NATIVE), (hit, 1, NATIVE), (layer, 0, NATIVE)], {"from": payer})
    assert counters(books, root) == (0, 9_750, 1)


def test_relative_royalty_passes_through_the_parent(registry, books, fan, parent, payer):
    root, licence_id = parent(relative=True)
    layer = derive(registry, fan, root, licenceId=licence_id)
    hit = derive(registry, fan, layer)
    assert plain(books.edgesOf(hit)) == ((layer, 1_000, True),)
    pay(books, hit, 100_000, payer)
    books.settleMany([(hit, 0, NATIVE), (layer, 0, NATIVE)], {"from": payer})
    assert counters(books, root) == (0, 975, 1)


@pytest.mark.feature("R3", via="chain")
def test_diamond_of_eight_siblings_pays_the_ancestor_once_by_type(registry, books, fan, parent, payer):
    """Case 84: the largest of the copies counts, not their sum."""
    root, licence_id = parent(minShareBps=500)
    siblings = [derive(registry, fan, root, shares=[500 + i], licenceId=licence_id) for i in range(8)]
    child = derive(registry, fan, *siblings, shares=[500] * 8)
    edges = plain(books.edgesOf(child))
    assert edges == (*((sibling, 500, False) for sibling in siblings), (root, 507, False))
    pay(books, child, 100_000, payer)
    books.settleMany([(child, index, NATIVE) for index in range(9)], {"from": payer})
    assert counters(books, root)[1] == 97_500 * 507 // 10_000


def test_own_share_and_inherited_share_of_one_ancestor_are_one_edge(registry, books, fan, parent):
    root, licence_id = parent(minShareBps=500)
    layer = derive(registry, fan, root, shares=[700], licenceId=licence_id)
    child = derive(registry, fan, root, layer, shares=[500, 500], licenceId=licence_id)
    assert plain(books.edgesOf(child)) == ((root, 700, False), (layer, 500, False))


def test_absolute_and_relative_edge_to_one_ancestor_stand_side_by_side(registry, books, author, fan, parent):
    absolute, absolute_id = parent(minShareBps=500)
    layer = derive(registry, fan, absolute, shares=[500], licenceId=licensed(registry, fan, relative=True))
    child = derive(registry, fan, layer, shares=[1_000])
    assert absolute_id == 1
    assert plain(books.edgesOf(child)) == ((layer, 1_000, True), (absolute, 500, False))


def test_revoked_ancestor_is_not_inherited(registry, books, fan, parent, admin):
    root, licence_id = parent()
    layer = derive(registry, fan, root, licenceId=licence_id)
    registry.revoke(root, NONE, {"from": admin})
    child = derive(registry, fan, layer)
    assert plain(books.edgesOf(child)) == ((layer, 1_000, False),)


def test_chain_of_absolute_ancestors_ends_at_80_percent(registry, fan, parent):
    """F.3: the bound is known and refused with its figure; licences for long chains are relative."""
    work, licence_id = parent(minShareBps=1_000)
    for _ in range(8):
        work = derive(registry, fan, work, licenceId=licence_id)
    with reverts("WorkUpstreamTooHigh", 9_000):
        derive(registry, fan, work, licenceId=licence_id)


def test_chain_of_absolute_ancestors_ends_at_16_edges(registry, books, fan, parent):
    work, licence_id = parent(minShareBps=100)
    for _ in range(16):
        work = derive(registry, fan, work, shares=[100], licenceId=licence_id)
    assert len(books.edgesOf(work)) == 16
    with reverts("WorkTooManyEdges", 17):
        derive(registry, fan, work, shares=[100], licenceId=licence_id)


def test_owner_of_the_parent_may_change_and_the_terms_stay(registry, author, fan, parent, stranger):
    work, _ = parent(approvalRequired=True)
    registry.transferFrom(author, stranger, work, {"from": author})
    with reverts("WorkNotOwner", work, author):
        registry.approveDerivative(work, fan, content(7), {"from": author})
    registry.approveDerivative(work, fan, content(7), {"from": stranger})
    derive(registry, fan, work, contentHash=content(7))
