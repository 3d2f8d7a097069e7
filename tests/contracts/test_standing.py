"""WorkStanding: consents that a work was registered with, disputes about who made it, their bonds and rulings."""

import pytest
from attestations import attested, word
from brownie import TimelockController, WorkStanding, web3
from conftest import DISPUTE_BOND
from kit import DAY, TRP, logs_of, mine_at, next_block_at, now, one_block, reverts, within_budget
from money import (
    ACTIVE,
    DIGEST,
    DISPUTED,
    NATIVE,
    NONE,
    REVOKED,
    SUSPENDED,
    SUSPENDED_DISPUTED,
    WEEK,
    Leaf,
    counters,
    grown,
    hexed,
    keyed,
    move,
    node,
    pay,
    placed,
    plain,
    reassign,
    withdraw,
    witness,
)
from works import commitment, content, licensed, params, registered, signed_registration

pytestmark = pytest.mark.feature("P2", via="chain")

RULING_PERIOD, NOTICE = 30 * DAY, 14 * DAY
ENFORCED, DISMISSED, EXPIRED, WITH_REVOCATION, SUPERSEDED = range(1, 6)
SALT = b"\5" * 32
TOTAL = 1_000_000
ANY_BOND = 2**128 - 1


@pytest.fixture(scope="module")
def thief(accounts):
    """Who registered first."""
    return accounts[1]


@pytest.fixture(scope="module")
def author(accounts):
    """Who committed first."""
    return accounts[2]


@pytest.fixture(scope="module")
def allowed(standing, token, accounts):
    """Everybody lets the contract take bonds."""
    for person in accounts[1:7]:
        token.approve(standing, 2**256 - 1, {"from": person})


@pytest.fixture
def stolen(registry, allowed, author, thief):
    """A work whose content the author had committed to, a day before the thief registered it."""
    committed = registry.commit(commitment(registry, author, content(1), SALT), {"from": author})
    mine_at(now() + DAY)
    work = registered(registry, thief, contentHash=content(1))
    assert committed.timestamp < plain(registry.workOf(work))[3]
    return work


@pytest.fixture
def contested(standing, stolen, author):
    standing.contest(stolen, SALT, ANY_BOND, {"from": author})
    return stolen


def only(account):
    """The split of a single holder."""
    return Leaf(str(account), TOTAL)


def ruling(standing, work, split):
    """What `uphold` takes, for whoever contests the work now."""
    claimant, until = plain(standing.disputeOf(work))[:2]
    return work, claimant, until, node(split).hash, DIGEST, witness(next(placed(split)))


def announced(standing, work, split, admin):
    return standing.uphold(*ruling(standing, work, split), {"from": admin})


def dismissed(standing, work, admin):
    return standing.dismiss(work, plain(standing.disputeOf(work))[0], {"from": admin})


def committed_at(registry, person):
    """Since when an account has a commitment to the contested content."""
    return registry.committedAt(commitment(registry, person, content(1), SALT))


def status(registry, work):
    return plain(registry.workOf(work))[7]


def settled_bonds(tx):
    return {str(event["to"]): int(event["amount"]) for event in tx.events["DisputeBondSettled"]}


# --- construction


def test_constructor_checks_that_the_registry_serves_it(authority, admin, registry, standing, attestations, pool):
    with reverts("StandingRegistryMismatch", standing):
        WorkStanding.deploy(authority, registry, attestations, pool, DISPUTE_BOND, {"from": admin})
    assert (standing.registry(), standing.attestations(), standing.pool()) == (registry, attestations, pool)
    assert standing.bondToken() == pool.bondToken()


def test_the_registry_obeys_its_standing_alone(registry, standing, thief, admin):
    """Case 79: the account with every role is refused like anybody."""
    work = registered(registry, thief)
    for sender in (thief, admin):
        for fact in (DISPUTED, SUSPENDED):
            with reverts("WorkNotStanding", sender):
                registry.setStanding(work, fact, True, NONE, {"from": sender})
        with reverts("StandingNotRegistry", sender):
            standing.linkConsents(work, content(1), [], {"from": sender})
    for other in (ACTIVE, SUSPENDED_DISPUTED, REVOKED):
        with reverts("WorkStatusInvalid", other):
            registry.setStanding.call(work, other, True, NONE, {"from": standing})


# --- consents


@pytest.mark.feature("P6", via="chain")
def test_works_are_registered_with_live_consents_to_their_content(registry, standing, attestations, thief, author):
    uids = [
        attested(attestations, person, subject=content(1), schema=word(schema))[1]
        for person, schema in ((author, "LIKENESS_CONSENT"), (author, "VOICE_CONSENT"), (thief, "DATA_CONSENT"))
    ]
    tx = registry.register(params(thief, contentHash=content(1), consents=uids), {"from": thief})
    linked = [dict(event) for event in tx.events["ConsentLinked"]]
    assert linked == [{"workId": 1, "attestationUid": hexed(uid)} for uid in uids]
    assert all(standing.hasConsent(1, uid) for uid in uids)
    assert not standing.hasConsent(2, uids[0])


@pytest.mark.feature("P6", via="chain")
def test_consents_that_are_none_are_refused(registry, attestations, thief, author):
    """Unknown, to other content, of another schema, taken back, ended, given twice."""
    _, other = attested(attestations, author, subject=content(2))
    _, identity = attested(attestations, author, subject=content(1), schema=word("IDENTITY"))
    _, revoked = attested(attestations, author, subject=content(1))
    attestations.revoke(revoked, {"from": author})
    _, ended = attested(attestations, author, subject=content(1), expires=now() + 100)
    _, good = attested(attestations, author, subject=content(1))
    mine_at(now() + 100)
    for uids in ([DIGEST], [other], [identity], [revoked], [ended], [good, good], [good, other]):
        with reverts("WorkConsentInvalid", uids[-1]):
            registry.register(params(thief, contentHash=content(1), consents=uids), {"from": thief})
    with reverts("StandingTooManyConsents", 17):
        registry.register(params(thief, contentHash=content(1), consents=[DIGEST] * 17), {"from": thief})
    assert registry.workCount() == 0


@pytest.mark.feature("P6", via="chain")
def test_case_24_a_work_without_its_consent_is_suspended_by_anybody(
    registry, standing, books, attestations, thief, author, admin, stranger
):
    """The other half of case 24: who was shown takes the consent back, and whoever likes stops the work at once."""
    _, uid = attested(attestations, author, subject=content(1))
    _, passing = attested(attestations, author, subject=content(1), expires=now() + WEEK)
    work = registered(registry, thief, contentHash=content(1), consents=[uid, passing])
    with reverts("StandingConsentLive", uid):
        standing.suspendForConsent(work, uid, {"from": stranger})
    with reverts("WorkConsentInvalid", DIGEST):
        standing.suspendForConsent(work, DIGEST, {"from": stranger})
    attestations.revoke(uid, {"from": author})
    tx = standing.suspendForConsent(work, uid, {"from": stranger})
    assert dict(tx.events["WorkStatusChanged"]) == {
        "workId": work,
        "status": SUSPENDED,
        "reasonHash": hexed(uid),
        "actor": standing,
    }
    assert status(registry, work) == SUSPENDED == plain(books.workOf(work))[3]
    with reverts("WorkStatusInvalid", SUSPENDED):
        standing.suspendForConsent(work, uid, {"from": stranger})
    # A moderator that lets it go on doesn't outvote the person.
    registry.setStatus(work, ACTIVE, NONE, {"from": admin})
    standing.suspendForConsent(work, uid, {"from": stranger})
    registry.setStatus(work, ACTIVE, NONE, {"from": admin})
    # A consent for a time ends like one that was taken back.
    mine_at(now() + WEEK)
    standing.suspendForConsent(work, passing, {"from": stranger})


# --- contesting


def test_case_21_who_committed_before_a_front_runner_contests_and_wins(
    registry, standing, books, token, stolen, author, thief, admin, payer, stranger
):
    """Status at once, later income after ruling and notice; what came before stays where it was credited."""
    tx = standing.contest(stolen, SALT, ANY_BOND, {"from": author})
    until = tx.timestamp + RULING_PERIOD
    since = committed_at(registry, author)
    assert dict(tx.events["WorkContested"]) == {
        "workId": stolen,
        "claimant": author,
        "committedAt": since,
        "bond": DISPUTE_BOND,
        "rulingUntil": until,
    }
    assert status(registry, stolen) == DISPUTED == plain(books.workOf(stolen))[3]
    zero = hexed(NONE)
    assert plain(standing.disputeOf(stolen)) == (author, until, 0, DISPUTE_BOND, since, zero, zero)
    assert token.balanceOf(standing) == DISPUTE_BOND
    pay(books, stolen, 10_000, payer)

    tx = announced(standing, stolen, only(author), admin)
    assert dict(tx.events["SplitAnnounced"]) == {
        "workId": stolen,
        "claimant": author,
        "root": hexed(node(only(author)).hash),
        "treeDigest": hexed(DIGEST),
        "enforceableAt": tx.timestamp + NOTICE,
    }
    mine_at(tx.timestamp + NOTICE)
    before = token.balanceOf(author)
    tx = standing.enforce(stolen, [], {"from": stranger})
    assert dict(tx.events["DisputeClosed"]) == {"workId": stolen, "claimant": author, "outcome": ENFORCED}
    assert dict(tx.events["SplitActivated"])["version"] == 2
    assert settled_bonds(tx) == {str(author): DISPUTE_BOND}
    assert (token.balanceOf(author) - before, token.balanceOf(standing)) == (DISPUTE_BOND, 0)
    assert status(registry, stolen) == ACTIVE == plain(books.workOf(stolen))[3]

    pay(books, stolen, 20_000, payer)
    assert withdraw(books, stolen, 1, next(placed(only(thief))), payer) == 9_750
    assert withdraw(books, stolen, 2, next(placed(only(author))), payer) == 19_500
    with reverts("DisputeUnknown", stolen):
        standing.enforce(stolen, [], {"from": stranger})


def test_case_81_contest_needs_an_older_commitment(registry, standing, allowed, author, thief, stranger):
    """Someone who saw the file after its author committed has a younger one, however it was registered later."""
    registry.commit(commitment(registry, author, content(1), SALT), {"from": author})
    registry.commit(commitment(registry, stranger, content(1), NONE), {"from": stranger})
    mine_at(now() + DAY)
    registry.commit(commitment(registry, thief, content(1), SALT), {"from": thief})
    mine_at(now() + DAY)
    work = registered(registry, author, contentHash=content(1), salt=SALT)
    since = plain(registry.workOf(work))[3]
    with reverts("DisputeNotOlder", committed_at(registry, thief), since):
        standing.contest(work, SALT, ANY_BOND, {"from": thief})
    # No commitment under this salt, another's commitment, one without a salt, the author's own.
    for claimant, salt in ((thief, DIGEST), (stranger, SALT), (stranger, NONE)):
        with reverts("DisputeNotOlder", 0, since):
            standing.contest(work, salt, ANY_BOND, {"from": claimant})
    with reverts("DisputeNotOlder", since, since):
        standing.contest(work, SALT, ANY_BOND, {"from": author})


def test_case_81_contest_of_the_same_second_is_not_older(registry, standing, allowed, author, thief):
    at = now() + 10
    with one_block(at):
        options = {"required_confs": 0, "gas_limit": 2_000_000, "allow_revert": True}
        registry.commit(commitment(registry, author, content(1), SALT), options | {"from": author})
        registry.register(params(thief, contentHash=content(1)), options | {"from": thief})
    with reverts("DisputeNotOlder", at, at):
        standing.contest(1, SALT, ANY_BOND, {"from": author})


def test_case_81_contest_twice_or_without_a_bond(registry, standing, token, stolen, author, admin):
    token.approve(standing, DISPUTE_BOND - 1, {"from": author})
    with reverts("ERC20InsufficientAllowance", standing, DISPUTE_BOND - 1, DISPUTE_BOND):
        standing.contest(stolen, SALT, ANY_BOND, {"from": author})
    assert status(registry, stolen) == ACTIVE
    token.approve(standing, 2**256 - 1, {"from": author})
    tx = standing.contest(stolen, SALT, ANY_BOND, {"from": author})
    since = tx.events["WorkContested"]["committedAt"]
    with reverts("DisputeNotOlder", since, since):
        standing.contest(stolen, SALT, ANY_BOND, {"from": author})
    dismissed(standing, stolen, admin)
    assert standing.wasDismissed(stolen, author)
    with reverts("DisputeRepeated", stolen, author):
        standing.contest(stolen, SALT, ANY_BOND, {"from": author})
    with reverts("WorkUnknown", 9):
        standing.contest(9, SALT, ANY_BOND, {"from": author})


@pytest.fixture
def claimed(registry, allowed, accounts, thief):
    """A work that three accounts committed to, a day apart, before the thief did and registered it."""
    claimants = accounts[2:5]
    for person in (*claimants, thief):
        registry.commit(commitment(registry, person, content(1), SALT), {"from": person})
        mine_at(now() + DAY)
    return registered(registry, thief, contentHash=content(1), salt=SALT), claimants


def test_no_bond_above_what_the_claimant_said(standing, claimed, admin):
    """Another's dispute that is dismissed while a claim is on its way doubles what that costs."""
    work, (first, second, _) = claimed
    standing.contest(work, SALT, DISPUTE_BOND, {"from": second})
    dismissed(standing, work, admin)
    with reverts("DisputeBondAboveMax", 2 * DISPUTE_BOND, DISPUTE_BOND):
        standing.contest(work, SALT, DISPUTE_BOND, {"from": first})
    standing.contest(work, SALT, 2 * DISPUTE_BOND, {"from": first})


def test_claims_of_the_registrants_own_accounts_keep_no_author_waiting(
    registry, standing, token, pool, claimed, admin, stranger
):
    """An older commitment takes a running dispute over at once, for one bond, with all the time for a ruling."""
    work, (author, sock, _) = claimed
    standing.contest(work, SALT, ANY_BOND, {"from": sock})
    mine_at(now() + RULING_PERIOD - DAY)
    before = token.balanceOf(sock), pool.fundedOf(token)
    tx = standing.contest(work, SALT, ANY_BOND, {"from": author})
    assert dict(tx.events["DisputeClosed"]) == {"workId": work, "claimant": sock, "outcome": SUPERSEDED}
    assert settled_bonds(tx) == {str(sock): DISPUTE_BOND // 2, str(pool): DISPUTE_BOND // 2}
    after = token.balanceOf(sock), pool.fundedOf(token)
    assert [new - old for new, old in zip(after, before, strict=True)] == [DISPUTE_BOND // 2] * 2
    assert plain(standing.disputeOf(work))[:4] == (author, tx.timestamp + RULING_PERIOD, 0, DISPUTE_BOND)
    assert (status(registry, work), token.balanceOf(standing)) == (DISPUTED, DISPUTE_BOND)
    announced(standing, work, only(author), admin)
    mine_at(now() + NOTICE)
    tx = standing.enforce(work, [], {"from": stranger})
    assert settled_bonds(tx) == {str(author): DISPUTE_BOND}


def test_no_younger_claim_supersedes(registry, standing, claimed):
    work, (_, second, third) = claimed
    since = standing.contest(work, SALT, ANY_BOND, {"from": second}).events["WorkContested"]["committedAt"]
    assert standing.barOf(work) == since
    with reverts("DisputeNotOlder", committed_at(registry, third), since):
        standing.contest(work, SALT, ANY_BOND, {"from": third})
    assert plain(standing.disputeOf(work))[0] == second


def test_a_superseded_claim_can_be_made_again(standing, claimed, admin):
    work, (first, second, _) = claimed
    standing.contest(work, SALT, ANY_BOND, {"from": second})
    standing.contest(work, SALT, ANY_BOND, {"from": first})
    dismissed(standing, work, admin)
    standing.contest(work, SALT, ANY_BOND, {"from": second})
    assert plain(standing.disputeOf(work))[0] == second


def test_no_ruling_is_superseded_nor_its_time_stretched(standing, claimed, admin, stranger):
    """What was announced comes in force or is dismissed; after the time for a ruling the dispute is closed first."""
    work, (first, second, third) = claimed
    until = standing.contest(work, SALT, ANY_BOND, {"from": third}).timestamp + RULING_PERIOD
    mine_at(until)
    with reverts("DisputeRulingClosed", until):
        standing.contest(work, SALT, ANY_BOND, {"from": second})
    standing.close(work, {"from": stranger})
    standing.contest(work, SALT, ANY_BOND, {"from": second})
    due = announced(standing, work, only(second), admin).timestamp + NOTICE
    with reverts("DisputeNotYet", due):
        standing.contest(work, SALT, ANY_BOND, {"from": first})
    mine_at(due)
    standing.enforce(work, [], {"from": stranger})
    standing.contest(work, SALT, ANY_BOND, {"from": first})


def test_a_vote_on_one_claim_rules_on_no_other(standing, claimed, admin):
    """A vote takes days, in which an older claim may have taken the place of the one that was voted on."""
    work, (first, second, _) = claimed
    standing.contest(work, SALT, ANY_BOND, {"from": second})
    voted = ruling(standing, work, only(second))
    standing.contest(work, SALT, ANY_BOND, {"from": first})
    with reverts("DisputeOtherClaim", work, first, now() + RULING_PERIOD):
        standing.uphold(*voted, {"from": admin})
    dismissed(standing, work, admin)
    mine_at(now() + DAY)
    until = standing.contest(work, SALT, ANY_BOND, {"from": second}).timestamp + RULING_PERIOD
    with reverts("DisputeOtherClaim", work, second, until):
        standing.uphold(*voted, {"from": admin})
    assert plain(standing.disputeOf(work))[:3] == (second, until, 0)
    announced(standing, work, only(second), admin)


def test_no_claim_escapes_its_dismissal_by_being_superseded(registry, standing, token, claimed, admin):
    """An older account takes the place of the one that a vote is about to dismiss: that one returns no more."""
    work, (first, second, third) = claimed
    standing.contest(work, SALT, ANY_BOND, {"from": second})
    standing.contest(work, SALT, ANY_BOND, {"from": first})
    running = plain(standing.disputeOf(work))
    tx = standing.dismiss(work, second, {"from": admin})
    assert dict(tx.events["ClaimDismissed"]) == {"workId": work, "claimant": second}
    assert (set(tx.events.keys()), plain(standing.disputeOf(work))) == ({"ClaimDismissed"}, running)
    assert (status(registry, work), token.balanceOf(standing)) == (DISPUTED, DISPUTE_BOND)
    assert set(dismissed(standing, work, admin).events.keys()) > {"ClaimDismissed", "DisputeClosed"}
    standing.dismiss(work, third, {"from": admin})  # while nothing runs
    for gone in (first, second, third):
        with reverts("DisputeRepeated", work, gone):
            standing.contest(work, SALT, ANY_BOND, {"from": gone})
    assert (status(registry, work), standing.bondOf(work)) == (ACTIVE, 2 * DISPUTE_BOND)


def test_a_claim_that_nobody_ruled_on_can_be_made_again(standing, claimed, admin, stranger):
    """A community that slept takes nobody's right; the next bond is double."""
    work, (author, *_) = claimed
    until = standing.contest(work, SALT, ANY_BOND, {"from": author}).timestamp + RULING_PERIOD
    mine_at(until)
    standing.close(work, {"from": stranger})
    standing.contest(work, SALT, 2 * DISPUTE_BOND, {"from": author})
    announced(standing, work, only(author), admin)


def test_after_a_ruling_a_claim_must_be_older_than_the_winners(registry, standing, claimed, thief, admin, stranger):
    """Who committed after the winner, but before the thief, is too late; who committed before the winner isn't."""
    work, (first, author, sock) = claimed
    since = standing.contest(work, SALT, ANY_BOND, {"from": author}).events["WorkContested"]["committedAt"]
    announced(standing, work, only(author), admin)
    mine_at(now() + NOTICE)
    standing.enforce(work, [], {"from": stranger})
    assert standing.barOf(work) == since
    for late in (sock, author):
        with reverts("DisputeNotOlder", committed_at(registry, late), since):
            standing.contest(work, SALT, ANY_BOND, {"from": late})
    standing.contest(work, SALT, ANY_BOND, {"from": first})


def test_contested_work_keeps_earning_and_paying_and_its_shares_stay(
    registry, books, contested, thief, payer, stranger, admin
):
    """No metadata, no derivation, no move of a share; the moderator can't end it either."""
    leaf = next(placed(only(thief)))
    pay(books, contested, 10_000, payer)
    assert withdraw(books, contested, 1, leaf, payer) == 9_750
    with reverts("RevenueWorkStatus", contested, DISPUTED):
        reassign(books, contested, leaf, only(stranger))
    with reverts("WorkNotActive", contested, DISPUTED):
        registry.setMetadata(contested, DIGEST, {"from": thief})
    with reverts("WorkStatusInvalid", DISPUTED):
        registry.setStatus(contested, ACTIVE, NONE, {"from": admin})
    with reverts("WorkNotActive", contested, DISPUTED):
        registry.register(params(stranger, parents=[contested], shares=[0]), {"from": stranger})


def test_suspension_shields_nobody_from_a_claimant(
    registry, standing, books, attestations, allowed, author, thief, admin, stranger
):
    """The thief takes back a consent of its own and has the work suspended; the author wins it all the same."""
    registry.commit(commitment(registry, author, content(1), SALT), {"from": author})
    mine_at(now() + DAY)
    _, uid = attested(attestations, thief, subject=content(1))
    work = registered(registry, thief, contentHash=content(1), consents=[uid])
    attestations.revoke(uid, {"from": thief})
    standing.suspendForConsent(work, uid, {"from": thief})
    standing.contest(work, SALT, ANY_BOND, {"from": author})
    assert status(registry, work) == SUSPENDED_DISPUTED == plain(books.workOf(work))[3]
    with reverts("RevenueWorkStatus", work, SUSPENDED_DISPUTED):
        reassign(books, work, next(placed(only(thief))), only(stranger))
    announced(standing, work, only(author), admin)
    mine_at(now() + NOTICE)
    tx = standing.enforce(work, [], {"from": stranger})
    assert tx.events["SplitActivated"]["root"] == hexed(node(only(author)).hash)
    assert status(registry, work) == SUSPENDED == plain(books.workOf(work))[3]


def test_dispute_and_suspension_neither_end_nor_hide_each_other(
    registry, standing, attestations, allowed, author, thief, admin, stranger
):
    """Contested first, then suspended: by the moderator, and for a consent that was taken back."""
    registry.commit(commitment(registry, author, content(1), SALT), {"from": author})
    mine_at(now() + DAY)
    _, uid = attested(attestations, stranger, subject=content(1))
    work = registered(registry, thief, contentHash=content(1), consents=[uid])
    standing.contest(work, SALT, ANY_BOND, {"from": author})
    attestations.revoke(uid, {"from": stranger})
    tx = standing.suspendForConsent(work, uid, {"from": stranger})
    assert tx.events["WorkStatusChanged"]["status"] == SUSPENDED_DISPUTED
    with reverts("WorkStatusInvalid", SUSPENDED_DISPUTED):
        registry.setStatus(work, SUSPENDED, NONE, {"from": admin})
    registry.setStatus(work, ACTIVE, NONE, {"from": admin})
    assert status(registry, work) == DISPUTED
    registry.setStatus(work, SUSPENDED, NONE, {"from": admin})
    dismissed(standing, work, admin)
    assert status(registry, work) == SUSPENDED


# --- ruling


def test_only_governance_rules(standing, contested, author, thief, stranger):
    """Case 49 for this contract: neither side, nor a stranger."""
    split = only(author)
    calls = {
        "uphold": ruling(standing, contested, split),
        "dismiss": (contested, author),
        "setBond": (TRP,),
    }
    for name, args in calls.items():
        for sender in (author, thief, stranger):
            with reverts("AccessManagedUnauthorized", sender):
                getattr(standing, name)(*args, {"from": sender})


def test_every_state_changing_function_is_accounted_for():
    to_all = {"contest", "enforce", "close", "suspendForConsent"}
    found = {
        entry["name"]
        for entry in WorkStanding.abi
        if entry["type"] == "function" and entry["stateMutability"] in ("nonpayable", "payable")
    }
    assert found == to_all | {"linkConsents"} | {"uphold", "dismiss", "setBond", "setAuthority"}


def test_case_79_governance_alone_opens_no_dispute(registry, standing, books, thief, admin):
    """With every role there is, nothing to rule on, and so no new split of another's work."""
    work = registered(registry, thief)
    split = only(admin)
    for call, args in (
        (standing.uphold, ruling(standing, work, split)),
        (standing.dismiss, (work, NATIVE)),
        (standing.enforce, (work, [])),
        (standing.close, (work,)),
    ):
        with reverts("DisputeUnknown", work):
            call(*args, {"from": admin})
    with reverts("WorkUnknown", 9):
        standing.dismiss(9, thief, {"from": admin})
    standing.dismiss(work, thief, {"from": admin})
    assert status(registry, work) == ACTIVE
    with reverts("DisputeNotOlder", 0, plain(registry.workOf(work))[3]):
        standing.contest(work, SALT, ANY_BOND, {"from": admin})


def test_case_68_no_role_replaces_the_split_of_an_undisputed_work(books, registry, standing, thief, admin):
    work = registered(registry, thief)
    leaf = next(placed(only(admin)))
    with reverts("RevenueUnauthorized", admin):
        books.replaceSplit(work, node(only(admin)).hash, TOTAL, DIGEST, witness(leaf), {"from": admin})
    with reverts("RevenueUnauthorized", admin):
        books.replaceDisputedSplit(work, DIGEST, DIGEST, [], {"from": admin})
    # Nor does the one contract that may, unless the work is disputed.
    with reverts("RevenueWorkStatus", work, ACTIVE):
        books.replaceDisputedSplit.call(work, DIGEST, DIGEST, [], {"from": standing})
    with reverts("RevenueUnknownWork", 99):
        books.replaceDisputedSplit.call(99, DIGEST, DIGEST, [], {"from": standing})
    with reverts("RevenueWorkStatus", 0, ACTIVE):
        books.replaceDisputedSplit.call(0, DIGEST, DIGEST, [], {"from": standing})


def test_a_new_split_waits_for_ruling_and_notice(standing, contested, author, admin, stranger):
    with reverts("DisputeNotYet", 0):
        standing.enforce(contested, [], {"from": author})
    tx = announced(standing, contested, only(author), admin)
    due = tx.timestamp + NOTICE
    next_block_at(due - 1)
    with reverts("DisputeNotYet", due):
        standing.enforce(contested, [], {"from": author})
    next_block_at(due)
    standing.enforce(contested, [], {"from": author})


def test_another_announcement_begins_another_notice(standing, contested, author, admin, stranger):
    announced(standing, contested, only(author), admin)
    mine_at(now() + NOTICE - DAY)
    shared = grown([(author, 600_000), (stranger, 400_000)])
    due = announced(standing, contested, shared, admin).timestamp + NOTICE
    next_block_at(due - 1)
    with reverts("DisputeNotYet", due):
        standing.enforce(contested, [], {"from": author})
    next_block_at(due)
    tx = standing.enforce(contested, [], {"from": author})
    assert tx.events["SplitActivated"]["root"] == hexed(node(shared).hash)


def test_a_wrong_ruling_is_corrected_however_late(standing, contested, author, admin, stranger):
    """Until it is in force another can be announced, also when the time for a first one is over."""
    until = plain(standing.disputeOf(contested))[1]
    next_block_at(until - 1)
    announced(standing, contested, only(stranger), admin)
    mine_at(until - 1 + NOTICE)
    due = announced(standing, contested, only(author), admin).timestamp + NOTICE
    with reverts("DisputeNotYet", due):
        standing.enforce(contested, [], {"from": stranger})
    mine_at(due)
    tx = standing.enforce(contested, [], {"from": stranger})
    assert tx.events["SplitActivated"]["root"] == hexed(node(only(author)).hash)


def test_case_74_announced_split_has_the_works_total_and_can_be_claimed_from(standing, contested, author, admin):
    """Totals that differ brick nobody: they are refused when they are announced."""
    for split, root in (
        (Leaf(str(author), TOTAL + 1), None),
        (Leaf(str(author), TOTAL), DIGEST),
        (Leaf(str(author), 0), None),
    ):
        terms = list(ruling(standing, contested, split))
        terms[3] = root or terms[3]
        with reverts("DisputeInvalidSplit"):
            standing.uphold(*terms, {"from": admin})


def test_case_74_a_new_split_drops_the_gathered_moves(
    registry, standing, books, stolen, author, thief, admin, stranger, payer
):
    """The pending root goes with the old split; nobody can activate it afterwards."""
    leaf = next(placed(only(thief)))
    reassign(books, stolen, leaf, only(stranger))
    assert plain(books.pendingOf(stolen))[0] == hexed(node(only(stranger)).hash)
    standing.contest(stolen, SALT, ANY_BOND, {"from": author})
    announced(standing, stolen, only(author), admin)
    mine_at(now() + NOTICE)
    standing.enforce(stolen, [], {"from": author})
    assert plain(books.pendingOf(stolen)) == (hexed(NONE), hexed(NONE))
    with reverts("RevenueNothingPending", stolen):
        books.activate(stolen, {"from": stranger})
    pay(books, stolen, 10_000, payer)
    assert withdraw(books, stolen, 2, next(placed(only(author))), payer) == 9_750
    # From now on the new holder moves its share like any other, a week after the version began.
    tx = books.reassign(move(stolen, next(placed(only(author))), only(payer)), [], [], {"from": author})
    assert "SplitActivated" not in tx.events
    mine_at(now() + WEEK)
    books.activate(stolen, {"from": stranger})


def test_royalties_until_then_are_settled_for_the_former_holders(
    registry, standing, books, allowed, author, thief, admin, stranger, payer
):
    """The list runs before the version changes, so what derivations owed goes to whom it was earned for."""
    terms = licensed(registry, thief)
    registry.commit(commitment(registry, author, content(1), SALT), {"from": author})
    mine_at(now() + DAY)
    work = registered(registry, thief, contentHash=content(1), licenceId=terms)
    child = registered(registry, stranger, parents=[work], shares=[1_000])
    standing.contest(work, SALT, ANY_BOND, {"from": author})
    pay(books, child, 100_000, payer)
    announced(standing, work, only(author), admin)
    mine_at(now() + NOTICE)
    tx = standing.enforce(work, [(child, 0, NATIVE)], {"from": author})
    assert tx.events["EdgeSettled"]["amount"] == 9_750
    assert counters(books, work) == (0, 9_750, 1)
    assert withdraw(books, work, 1, next(placed(only(thief))), payer) == 9_750
    pay(books, child, 100_000, payer)
    books.settle(child, 0, NATIVE, {"from": stranger})
    assert withdraw(books, work, 2, next(placed(only(author))), payer) == 9_750
    with reverts("RevenueNothingDue"):
        withdraw(books, work, 1, next(placed(only(thief))), payer)


# --- bonds


def test_a_dismissed_claim_costs_the_bond(standing, registry, token, pool, contested, author, thief, admin):
    """Half to the work's owner, whose shares were held, the rest to the reward stream of the token."""
    before = token.balanceOf(thief), pool.fundedOf(token)
    tx = dismissed(standing, contested, admin)
    assert dict(tx.events["DisputeClosed"]) == {"workId": contested, "claimant": author, "outcome": DISMISSED}
    assert settled_bonds(tx) == {str(thief): DISPUTE_BOND // 2, str(pool): DISPUTE_BOND // 2}
    after = token.balanceOf(thief), pool.fundedOf(token)
    assert [new - old for new, old in zip(after, before, strict=True)] == [DISPUTE_BOND // 2] * 2
    assert (token.balanceOf(standing), status(registry, contested)) == (0, ACTIVE)
    assert plain(standing.disputeOf(contested))[0] == "0x" + "00" * 20
    with reverts("DisputeUnknown", contested):
        dismissed(standing, contested, admin)


def test_who_contests_its_own_work_gets_nothing_back(standing, registry, token, pool, contested, author, thief, admin):
    """The claimant that bought the token meanwhile isn't its own victim."""
    registry.transferFrom(thief, author, contested, {"from": thief})
    tx = dismissed(standing, contested, admin)
    assert settled_bonds(tx) == {str(pool): DISPUTE_BOND}
    assert pool.fundedOf(token) == DISPUTE_BOND


def test_a_ruling_can_be_withdrawn_until_it_is_in_force(standing, contested, author, admin):
    """Two weeks of notice are longer than a vote: what was announced can be voted down."""
    announced(standing, contested, only(author), admin)
    mine_at(now() + RULING_PERIOD)
    dismissed(standing, contested, admin)
    with reverts("DisputeUnknown", contested):
        standing.enforce(contested, [], {"from": author})


def test_a_dispute_without_a_ruling_ends_and_costs_half(
    standing, registry, token, pool, contested, author, admin, stranger
):
    until = plain(standing.disputeOf(contested))[1]
    next_block_at(until - 1)
    with reverts("DisputeNotYet", until):
        standing.close(contested, {"from": stranger})
    mine_at(until)
    split = only(author)
    for call, args in (
        (standing.uphold, ruling(standing, contested, split)),
        (standing.dismiss, (contested, author)),
    ):
        with reverts("DisputeRulingClosed", until):
            call(*args, {"from": admin})
    tx = standing.close(contested, {"from": stranger})
    assert dict(tx.events["DisputeClosed"])["outcome"] == EXPIRED
    assert settled_bonds(tx) == {str(author): DISPUTE_BOND // 2, str(pool): DISPUTE_BOND // 2}
    assert (status(registry, contested), pool.fundedOf(token)) == (ACTIVE, DISPUTE_BOND // 2)


def test_a_ruling_is_not_closed_over(standing, contested, author, admin, stranger):
    due = announced(standing, contested, only(author), admin).timestamp + NOTICE
    mine_at(now() + 2 * RULING_PERIOD)
    with reverts("DisputeNotYet", due):
        standing.close(contested, {"from": stranger})
    standing.enforce(contested, [], {"from": stranger})


def test_revocation_ends_a_dispute_and_returns_the_bond(
    standing, registry, books, token, contested, author, thief, admin, stranger
):
    """The claimant was right to object; the author may then register the content anew, with the commitment."""
    announced(standing, contested, only(author), admin)
    registry.revoke(contested, NONE, {"from": admin})
    mine_at(now() + NOTICE)
    with reverts("RevenueWorkStatus", contested, REVOKED):
        standing.enforce(contested, [], {"from": author})
    with reverts("WorkNotActive", contested, REVOKED):
        dismissed(standing, contested, admin)
    tx = standing.close(contested, {"from": stranger})
    assert dict(tx.events["DisputeClosed"])["outcome"] == WITH_REVOCATION
    assert settled_bonds(tx) == {str(author): DISPUTE_BOND}
    assert status(registry, contested) == REVOKED
    with reverts("WorkNotActive", contested, REVOKED):
        standing.contest(contested, SALT, ANY_BOND, {"from": author})
    anew = registered(registry, author, contentHash=content(1), salt=SALT)
    assert registry.idOf(content(1)) == anew


def test_one_vote_revokes_and_registers_for_the_author(authority, registry, contested, author, thief, admin, stranger):
    """In two steps, who executes the first could register again with the thief's old commitment before the second."""
    timelock = TimelockController.deploy(0, [admin], [NATIVE], admin, {"from": admin})
    authority.grantRole(0, timelock, 0, {"from": admin})
    given = params(author, contentHash=content(1), salt=SALT)
    signed = signed_registration(registry, keyed(2).key, given)
    calls = [registry.revoke.encode_input(contested, NONE), registry.registerBySig.encode_input(*signed)]
    batch = ([registry, registry], [0, 0], calls, NONE, NONE)
    timelock.scheduleBatch(*batch, 0, {"from": admin})
    timelock.executeBatch(*batch, {"from": stranger})
    assert (status(registry, contested), registry.ownerOf(registry.idOf(content(1)))) == (REVOKED, author)
    with reverts("WorkAlreadyRegistered", content(1), registry.idOf(content(1))):
        registry.register(params(thief, contentHash=content(1)), {"from": thief})


def test_disputes_that_come_to_nothing_double_the_bond(registry, standing, token, pool, allowed, accounts, admin):
    """Sybils with commitments of their own pay more each time, up to eight times; others' works are not affected."""
    claimants = accounts[1:7]
    for claimant in claimants[:5]:
        registry.commit(commitment(registry, claimant, content(1), SALT), {"from": claimant})
    mine_at(now() + DAY)
    work = registered(registry, claimants[5], contentHash=content(1))
    other = registered(registry, claimants[5])
    posted = []
    for claimant in claimants[:5]:
        posted.append(standing.contest(work, SALT, ANY_BOND, {"from": claimant}).events["WorkContested"]["bond"])
        dismissed(standing, work, admin)
    assert posted == [DISPUTE_BOND * factor for factor in (1, 2, 4, 8, 8)]
    assert standing.bondOf(work) == 8 * standing.bondOf(other)
    assert pool.fundedOf(token) == sum(posted) // 2


def test_bond_is_governed_within_bounds(standing, contested, author, admin, registry, thief):
    tx = standing.setBond(2 * TRP, {"from": admin})
    assert dict(tx.events["DisputeBondChanged"]) == {"oldBond": DISPUTE_BOND, "newBond": 2 * TRP}
    assert plain(standing.disputeOf(contested))[3] == DISPUTE_BOND  # of an open dispute it stays
    for wrong in (0, TRP - 1, 10_000 * TRP + 1):
        with reverts("DisputeBondInvalid", wrong):
            standing.setBond(wrong, {"from": admin})


def test_bonds_leave_to_nobody_else(standing, token, contested, admin, stranger):
    """No function sends a bond where a role likes: the abi has none that takes an address."""
    takes_address = {
        entry["name"]
        for entry in WorkStanding.abi
        if entry["type"] == "function"
        and entry["stateMutability"] != "view"
        and any(argument["type"] == "address" for argument in entry["inputs"])
    }
    assert takes_address == {"setAuthority", "uphold", "dismiss"}  # the latter two compare it with the claimant
    assert token.allowance(standing, admin) == token.allowance(standing, stranger) == 0


def test_events_alone_rebuild_the_disputes(registry, standing, stolen, allowed, author, thief, admin, stranger):
    """Case 60 for this contract: what is open, its bond, its ruling, each work's doublings and who won it."""
    registry.commit(commitment(registry, stranger, content(5), SALT), {"from": stranger})
    mine_at(now() + DAY)
    registry.commit(commitment(registry, author, content(5), SALT), {"from": author})
    mine_at(now() + DAY)
    second = registered(registry, thief, contentHash=content(5))
    standing.contest(stolen, SALT, ANY_BOND, {"from": author})
    standing.contest(second, SALT, ANY_BOND, {"from": author})
    standing.contest(second, SALT, ANY_BOND, {"from": stranger})
    dismissed(standing, second, admin)
    standing.dismiss(stolen, thief, {"from": admin})
    standing.contest(second, SALT, ANY_BOND, {"from": author})
    for work in (second, stolen):
        announced(standing, work, only(author), admin)
    mine_at(now() + NOTICE)
    standing.enforce(second, [], {"from": stranger})
    nothing = [NATIVE, 0, 0, 0, 0, NONE, NONE]
    base, disputes, doublings, won, barred = 0, {}, {}, {}, set()
    for event, args, _ in logs_of(standing):
        work = args.get("workId")
        if event == "DisputeBondChanged":
            base = args["newBond"]
        elif event == "WorkContested":
            disputes[work] = [args["claimant"], args["rulingUntil"], 0, args["bond"], args["committedAt"], NONE, NONE]
        elif event == "SplitAnnounced":
            disputes[work][2] = args["enforceableAt"]
            disputes[work][5:] = [args["root"], args["treeDigest"]]
        elif event == "ClaimDismissed":
            barred.add((work, args["claimant"]))
        elif event == "DisputeClosed":
            closed = disputes.pop(work)
            doublings[work] = doublings.get(work, 0) + (args["outcome"] in (DISMISSED, EXPIRED))
            if args["outcome"] == ENFORCED:
                won[work] = closed[4]
    assert (set(disputes), set(won), doublings) == ({stolen}, {second}, {second: 1})
    for work in (stolen, second):
        for person in (author, thief, stranger):
            assert standing.wasDismissed(work, person) == ((work, person) in barred)
        assert plain(standing.disputeOf(work)) == plain(tuple(disputes.get(work, nothing)))
        assert standing.bondOf(work) == base << doublings.get(work, 0)
        assert standing.barOf(work) == (disputes[work][4] if work in disputes else won[work])


def test_gas_of_disputes(registry, standing, contested, token, author, thief, admin, stranger):
    """The second dispute of its kind: receivers of bonds have had some before."""
    registry.commit(commitment(registry, author, content(2), SALT), {"from": author})
    mine_at(now() + DAY)
    work = registered(registry, thief, contentHash=content(2))
    within_budget("WorkStanding.contest", standing.contest(work, SALT, ANY_BOND, {"from": author}))
    within_budget("WorkStanding.uphold", announced(standing, work, only(author), admin))
    mine_at(now() + NOTICE)
    within_budget("WorkStanding.enforce", standing.enforce(work, [], {"from": stranger}))
    within_budget("WorkStanding.dismiss", dismissed(standing, contested, admin))


def test_code_fits(standing, registry):
    """EIP-170, for the registry with the hooks of this contract too."""
    for contract in (standing, registry):
        assert len(web3.eth.get_code(contract.address)) < 24_576
