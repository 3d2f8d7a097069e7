"""TroupeGovernor: from proposal to execution, votes by signature and in fractions, late quorum, and the guardian."""

import pytest
from brownie import TroupeGovernor, accounts, web3
from governorkit import (
    ABSTAIN,
    ACTIVE,
    AGAINST,
    CANCELED,
    DEFEATED,
    DELAY,
    EXECUTED,
    EXTENSION,
    FOR,
    FRACTIONAL,
    GUARDIAN,
    MODERATOR,
    PENDING,
    PERIOD,
    QUEUED,
    SUCCEEDED,
    THRESHOLD,
    TIMELOCK,
    ballot,
    deploy_governance,
    fractional_ballot,
    fractions,
    nonce_of,
    submit,
)
from kit import (
    DAY,
    TRP,
    ZERO,
    mine_at,
    next_block_at,
    now,
    one_block,
    reverts,
    within_budget,
)


@pytest.fixture(scope="module")
def deployer():
    return accounts[0]


@pytest.fixture(scope="module")
def guardian():
    return accounts[1]


@pytest.fixture(scope="module")
def whale():
    """Holds a tenth of the supply: alone enough for the quorum."""
    return accounts[2]


@pytest.fixture(scope="module")
def member():
    """Holds 1%: enough to propose, not for the quorum."""
    return accounts[3]


@pytest.fixture(scope="module")
def signer(system):
    """Holds 1% and votes by signature."""
    return system.signer


@pytest.fixture(scope="module")
def system():
    return deploy_governance()


@pytest.fixture(scope="module")
def governor(system):
    return system.governor


def mint_call(system, to, amount=TRP):
    return system.token, system.token.mint.encode_input(to, amount)


def open_vote(system, proposal):
    mine_at(system.governor.proposalSnapshot(proposal.id) + 1)


def close_vote(system, proposal):
    mine_at(system.governor.proposalDeadline(proposal.id) + 1)


def pass_and_queue(system, proposal, whale):
    open_vote(system, proposal)
    system.governor.castVote(proposal.id, FOR, {"from": whale})
    close_vote(system, proposal)
    system.governor.queue(*proposal.arguments, {"from": accounts[8]})


def tally(governor, proposal):
    """Votes against, for and abstaining."""
    return tuple(int(votes) for votes in governor.proposalVotes(proposal.id))


def enact(system, proposal, whale):
    pass_and_queue(system, proposal, whale)
    mine_at(system.governor.proposalEta(proposal.id))
    return system.governor.execute(*proposal.arguments, {"from": accounts[8]})


@pytest.mark.feature("G1", via="chain")
def test_a_proposal_passes_through_every_state_to_execution(system, governor, member, whale):
    to = accounts[7]
    proposal = submit(system, member, mint_call(system, to))
    assert governor.state(proposal.id) == PENDING
    with reverts("GovernorUnexpectedProposalState"):
        governor.castVote(proposal.id, FOR, {"from": whale})
    open_vote(system, proposal)
    assert governor.state(proposal.id) == ACTIVE
    governor.castVote(proposal.id, FOR, {"from": whale})
    with reverts("GovernorUnexpectedProposalState"):
        governor.queue(*proposal.arguments, {"from": whale})
    close_vote(system, proposal)
    assert governor.state(proposal.id) == SUCCEEDED
    governor.queue(*proposal.arguments, {"from": accounts[8]})
    assert governor.state(proposal.id) == QUEUED
    next_block_at(governor.proposalEta(proposal.id) - 1)
    with reverts("TimelockUnexpectedOperationState"):
        governor.execute(*proposal.arguments, {"from": accounts[8]})
    next_block_at(governor.proposalEta(proposal.id))
    governor.execute(*proposal.arguments, {"from": accounts[8]})
    assert governor.state(proposal.id) == EXECUTED
    assert system.token.balanceOf(to) == TRP
    with reverts("GovernorUnexpectedProposalState"):
        governor.execute(*proposal.arguments, {"from": accounts[8]})


def test_settings_are_those_given(system, governor):
    assert governor.votingDelay() == DELAY
    assert governor.votingPeriod() == PERIOD
    assert governor.proposalThreshold() == THRESHOLD
    assert governor.quorumNumerator() == 4
    assert governor.quorumDenominator() == 100
    assert governor.lateQuorumVoteExtension() == EXTENSION
    assert governor.timelock() == system.timelock
    assert governor.accessManager() == system.manager
    assert governor.token() == system.token
    assert governor.CLOCK_MODE() == "mode=timestamp"
    assert governor.COUNTING_MODE() == "support=bravo,fractional&quorum=for,abstain&params=fractional"
    assert governor.proposalNeedsQueuing(1)


def test_propose_below_the_threshold(system, governor):
    poor = accounts[6]
    with reverts("GovernorInsufficientProposerVotes", poor, 0, THRESHOLD):
        submit(system, poor, mint_call(system, poor))


def test_propose_the_same_calls_twice_collides(system, member, whale):
    """Case 47."""
    proposal = submit(system, member, mint_call(system, member))
    with reverts("GovernorUnexpectedProposalState"):
        submit(system, whale, mint_call(system, member))
    assert submit(system, whale, mint_call(system, member), description="another").id != proposal.id


def test_propose_front_run_is_refused_by_the_proposer_suffix(system, governor, member, whale):
    """Case 43."""
    description = f"mine\n#proposer={member.address.lower()}"
    with reverts("GovernorRestrictedProposer", whale):
        submit(system, whale, mint_call(system, member), description=description)
    proposal = submit(system, member, mint_call(system, member), description=description)
    assert governor.proposalProposer(proposal.id) == member


# ---------------------------------------------------------------------------------------------------------------- votes


def test_v9_a_vote_counts_once_with_the_weight_at_the_snapshot(system, governor, member, whale):
    proposal = submit(system, member, mint_call(system, member))
    open_vote(system, proposal)
    system.token.transfer(accounts[5], 10_000 * TRP, {"from": member})
    system.token.delegate(accounts[5], {"from": accounts[5]})
    governor.castVote(proposal.id, FOR, {"from": member})
    assert tally(governor, proposal) == (0, 10_000 * TRP, 0)
    for voter in (member, accounts[5]):
        with reverts("GovernorAlreadyCastVote", voter):
            governor.castVote(proposal.id, FOR, {"from": voter})


def test_v9_votes_borrowed_for_one_block_count_nothing(system, governor, member, whale):
    """Case 42: borrowed, delegated and given back in the very second of the snapshot."""
    proposal = submit(system, member, mint_call(system, member))
    borrower = accounts[5]
    token = system.token
    with one_block(governor.proposalSnapshot(proposal.id)):
        wait = {"required_confs": 0, "gas_limit": 500_000}
        token.transfer(borrower, 100_000 * TRP, {"from": whale, **wait})
        token.delegate(borrower, {"from": borrower, **wait})
        token.transfer(whale, 100_000 * TRP, {"from": borrower, **wait})
    assert token.delegates(borrower) == borrower
    open_vote(system, proposal)
    with reverts("GovernorAlreadyCastVote", borrower):  # the error of an empty weight
        governor.castVote(proposal.id, FOR, {"from": borrower})
    governor.castVote(proposal.id, AGAINST, {"from": whale})
    assert tally(governor, proposal) == (100_000 * TRP, 0, 0)


def test_quorum_is_stake_and_not_heads(system, governor, member, deployer):
    """Case 48: eight accounts with next to nothing vote for; the quorum is far (Audius, H05)."""
    token = system.token
    crowd = [accounts.add() for _ in range(8)]
    for person in crowd:
        token.transfer(person, 1, {"from": member})
        deployer.transfer(person, 10**18)
        token.delegate(person, {"from": person})
    proposal = submit(system, member, mint_call(system, member))
    open_vote(system, proposal)
    for person in crowd:
        governor.castVote(proposal.id, FOR, {"from": person})
    close_vote(system, proposal)
    assert tally(governor, proposal) == (0, 8, 0)
    assert governor.state(proposal.id) == DEFEATED


def test_abstentions_help_the_quorum_and_not_the_proposal(system, governor, member, whale):
    proposal = submit(system, member, mint_call(system, member))
    open_vote(system, proposal)
    governor.castVote(proposal.id, ABSTAIN, {"from": whale})
    close_vote(system, proposal)
    assert governor.state(proposal.id) == DEFEATED


def test_fractional_votes_cannot_exceed_the_weight(system, governor, member):
    proposal = submit(system, member, mint_call(system, member))
    open_vote(system, proposal)
    governor.castVoteWithReasonAndParams(
        proposal.id, FRACTIONAL, "", fractions(1 * TRP, 2 * TRP, 3 * TRP), {"from": member}
    )
    assert tally(governor, proposal) == (1 * TRP, 2 * TRP, 3 * TRP)
    assert governor.usedVotes(proposal.id, member) == 6 * TRP
    with reverts("GovernorExceedRemainingWeight", member, 9_995 * TRP, 9_994 * TRP):
        governor.castVoteWithReasonAndParams(
            proposal.id, FRACTIONAL, "", fractions(0, 9_995 * TRP, 0), {"from": member}
        )
    governor.castVote(proposal.id, FOR, {"from": member})  # the rest
    assert tally(governor, proposal) == (1 * TRP, 9_996 * TRP, 3 * TRP)


@pytest.mark.parametrize(
    ("support", "params", "error"),
    [
        (FOR, b"\0", "GovernorInvalidVoteParams"),
        (FRACTIONAL, b"", "GovernorInvalidVoteParams"),
        (3, b"", "GovernorInvalidVoteType"),
    ],
)
def test_malformed_votes_are_refused(system, governor, member, support, params, error):
    proposal = submit(system, member, mint_call(system, member))
    open_vote(system, proposal)
    with reverts(error):
        governor.castVoteWithReasonAndParams(proposal.id, support, "", params, {"from": member})


@pytest.mark.feature("G1", via="chain")
def test_vote_by_signature_counts_once(system, governor, member, signer):
    """Case 44."""
    proposal = submit(system, member, mint_call(system, member))
    open_vote(system, proposal)
    signature = ballot(governor, signer, proposal, FOR, nonce_of(governor, signer, proposal))
    governor.castVoteBySig(proposal.id, FOR, signer, signature, {"from": accounts[8]})
    assert tally(governor, proposal) == (0, 10_000 * TRP, 0)
    with reverts("GovernorAlreadyCastVote", signer):
        governor.castVoteBySig(proposal.id, FOR, signer, signature, {"from": accounts[8]})


def test_vote_by_signature_for_another_proposal_choice_or_voter(system, governor, member, signer, whale):
    """Case 44."""
    first = submit(system, member, mint_call(system, member), description="first")
    second = submit(system, member, mint_call(system, member), description="second")
    open_vote(system, second)
    signature = ballot(governor, signer, first, FOR, nonce_of(governor, signer, first))
    for proposal, support, voter in ((second, FOR, signer), (first, AGAINST, signer), (first, FOR, whale)):
        with reverts("GovernorInvalidSignature", voter):
            governor.castVoteBySig(proposal.id, support, voter, signature, {"from": accounts[8]})


def test_votes_by_signature_arrive_in_any_order(system, governor, member, signer):
    """Case 44: each proposal has its own nonces: the ballot signed last may be relayed first."""
    proposals = [submit(system, member, mint_call(system, member), description=str(i)) for i in range(3)]
    open_vote(system, proposals[-1])
    ballots = [ballot(governor, signer, p, FOR, nonce_of(governor, signer, p)) for p in proposals]
    for proposal, signature in reversed(list(zip(proposals, ballots, strict=True))):
        governor.castVoteBySig(proposal.id, FOR, signer, signature, {"from": accounts[8]})
        assert governor.hasVoted(proposal.id, signer)


def test_fractional_vote_by_signature_cannot_be_replayed(system, governor, member, signer):
    """Case 44: the vote leaves weight unused, so that only the nonce stands between a relayer and a second count."""
    proposal = submit(system, member, mint_call(system, member))
    open_vote(system, proposal)
    order = fractional_ballot(
        governor, signer, proposal, fractions(0, 5 * TRP, 0), nonce_of(governor, signer, proposal)
    )
    governor.castVoteWithReasonAndParamsBySig(*order, {"from": accounts[8]})
    with reverts("GovernorInvalidSignature", signer):
        governor.castVoteWithReasonAndParamsBySig(*order, {"from": accounts[8]})
    assert governor.usedVotes(proposal.id, signer) == 5 * TRP


def test_v9_whole_and_fractional_ballots_of_one_nonce_exclude_each_other(system, governor, member, signer):
    """A whole ballot consumes no nonce; whichever of the two comes first, together they never pass the weight."""
    for first in ("whole", "fractional"):
        proposal = submit(system, member, mint_call(system, member), description=first)
        open_vote(system, proposal)
        nonce = nonce_of(governor, signer, proposal)
        whole = (proposal.id, AGAINST, signer, ballot(governor, signer, proposal, AGAINST, nonce))
        fractional = fractional_ballot(governor, signer, proposal, fractions(0, 5 * TRP, 0), nonce)
        if first == "whole":
            governor.castVoteBySig(*whole, {"from": accounts[8]})
            with reverts("GovernorAlreadyCastVote", signer):
                governor.castVoteWithReasonAndParamsBySig(*fractional, {"from": accounts[8]})
        else:
            governor.castVoteWithReasonAndParamsBySig(*fractional, {"from": accounts[8]})
            with reverts("GovernorInvalidSignature", signer):
                governor.castVoteBySig(*whole, {"from": accounts[8]})


def test_late_quorum_extends_the_vote_once(system, governor, member, whale, signer):
    """Case 45."""
    proposal = submit(system, member, mint_call(system, member))
    deadline = governor.proposalDeadline(proposal.id)
    open_vote(system, proposal)
    next_block_at(deadline)
    governor.castVote(proposal.id, FOR, {"from": whale})
    assert governor.proposalDeadline(proposal.id) == deadline + EXTENSION
    next_block_at(deadline + EXTENSION)
    governor.castVote(proposal.id, AGAINST, {"from": member})
    assert governor.proposalDeadline(proposal.id) == deadline + EXTENSION


def test_early_quorum_extends_nothing(system, governor, member, whale):
    proposal = submit(system, member, mint_call(system, member))
    deadline = governor.proposalDeadline(proposal.id)
    open_vote(system, proposal)
    governor.castVote(proposal.id, FOR, {"from": whale})
    assert governor.proposalDeadline(proposal.id) == deadline


def test_late_quorum_extension_is_bounded_by_the_voting_period(deployer, system, guardian, member, whale):
    """Case 45."""
    with reverts("GovernorPreventLateQuorumVoteExtensionTooLarge", PERIOD + 1, PERIOD):
        deployer.deploy(
            TroupeGovernor,
            system.token,
            system.timelock,
            system.manager,
            guardian,
            (DELAY, PERIOD, THRESHOLD, 4, PERIOD + 1),
        )
    governor = system.governor
    call = (governor, governor.setLateQuorumVoteExtension.encode_input(PERIOD + 1))
    proposal = submit(system, member, call)
    pass_and_queue(system, proposal, whale)
    mine_at(governor.proposalEta(proposal.id))
    with reverts("GovernorPreventLateQuorumVoteExtensionTooLarge", PERIOD + 1, PERIOD):
        governor.execute(*proposal.arguments, {"from": accounts[8]})


# ------------------------------------------------------------------------------------------------------------ execution


def test_execution_is_all_or_nothing(system, governor, member, whale, deployer):
    """Case 47: the second call sends value to a contract that takes none; the first payment is undone with it."""
    deployer.transfer(system.timelock, 10**18)
    proposal = submit(system, member, (accounts[7], b""), (system.manager, b""), values=[3, 4])
    before = accounts[7].balance()
    pass_and_queue(system, proposal, whale)
    mine_at(governor.proposalEta(proposal.id))
    with reverts("FailedCall"):
        governor.execute(*proposal.arguments, {"from": accounts[8]})
    assert accounts[7].balance() == before
    assert governor.state(proposal.id) == QUEUED


@pytest.mark.feature("G2", via="chain")
def test_a_vote_changes_the_governors_own_settings(system, governor, member, whale):
    enact(system, submit(system, member, (governor, governor.setVotingPeriod.encode_input(3 * DAY))), whale)
    assert governor.votingPeriod() == 3 * DAY


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("setVotingDelay", (0,)),
        ("setVotingPeriod", (1,)),
        ("setProposalThreshold", (0,)),
        ("updateQuorumNumerator", (0,)),
        ("setLateQuorumVoteExtension", (0,)),
        ("setProposalGuardian", (ZERO,)),
        ("updateTimelock", (ZERO,)),
    ],
)
def test_settings_are_for_votes_only(system, governor, deployer, guardian, whale, name, arguments):
    for account in (deployer, guardian, whale):
        with reverts("GovernorOnlyExecutor", account):
            getattr(governor, name)(*arguments, {"from": account})


def test_only_the_governor_schedules_in_the_timelock(system, deployer, guardian, whale):
    timelock = system.timelock
    operation = (accounts[7], 0, b"", b"\0" * 32, b"\0" * 32, TIMELOCK)
    for account in (deployer, guardian, whale):
        with reverts("AccessControlUnauthorizedAccount", account, timelock.PROPOSER_ROLE()):
            timelock.schedule(*operation, {"from": account})
        with reverts("AccessControlUnauthorizedAccount", account, timelock.DEFAULT_ADMIN_ROLE()):
            timelock.grantRole(timelock.PROPOSER_ROLE(), account, {"from": account})


def test_native_coin_is_not_taken_by_the_governor(governor, deployer):
    with reverts("GovernorDisabledDeposit"):
        deployer.transfer(governor, 1)


# ------------------------------------------------------------------------------------------------------------- guardian


@pytest.mark.parametrize("stage", [PENDING, ACTIVE, SUCCEEDED, QUEUED])
def test_guardian_cancels_at_any_stage(system, governor, member, whale, guardian, stage):
    proposal = submit(system, member, mint_call(system, member))
    if stage >= ACTIVE:
        open_vote(system, proposal)
    if stage == SUCCEEDED:
        governor.castVote(proposal.id, FOR, {"from": whale})
        close_vote(system, proposal)
    if stage == QUEUED:
        governor.castVote(proposal.id, FOR, {"from": whale})
        close_vote(system, proposal)
        governor.queue(*proposal.arguments, {"from": whale})
    assert governor.state(proposal.id) == stage
    governor.cancel(*proposal.arguments, {"from": guardian})
    assert governor.state(proposal.id) == CANCELED
    with reverts("GovernorUnexpectedProposalState"):
        governor.execute(*proposal.arguments, {"from": guardian})


def test_guardian_can_do_nothing_else(system, governor, guardian, member, whale):
    """Case 46."""
    with reverts("GovernorInsufficientProposerVotes"):
        submit(system, guardian, mint_call(system, guardian))
    proposal = submit(system, member, mint_call(system, member))
    open_vote(system, proposal)
    with reverts("GovernorAlreadyCastVote", guardian):  # no weight
        governor.castVote(proposal.id, FOR, {"from": guardian})


def test_proposer_withdraws_before_the_vote_and_never_later(system, governor, member, whale):
    first = submit(system, member, mint_call(system, member), description="first")
    with reverts("GovernorUnableToCancel", first.id, whale):
        governor.cancel(*first.arguments, {"from": whale})
    governor.cancel(*first.arguments, {"from": member})
    second = submit(system, member, mint_call(system, member), description="second")
    open_vote(system, second)
    with reverts("GovernorUnableToCancel", second.id, member):
        governor.cancel(*second.arguments, {"from": member})


def removal_calls(system, guardian):
    governor, manager = system.governor, system.manager
    return (
        (governor, governor.setProposalGuardian.encode_input(accounts[7])),
        (manager, manager.revokeRole.encode_input(GUARDIAN, guardian)),
    )


def test_guardian_cannot_cancel_its_own_removal(system, governor, member, whale, guardian):
    """Case 77."""
    proposal = submit(system, member, *removal_calls(system, guardian))
    with reverts("TroupeGovernorGuardianBarred", proposal.id):
        governor.cancel(*proposal.arguments, {"from": guardian})
    pass_and_queue(system, proposal, whale)
    with reverts("TroupeGovernorGuardianBarred", proposal.id):
        governor.cancel(*proposal.arguments, {"from": guardian})
    mine_at(governor.proposalEta(proposal.id))
    governor.execute(*proposal.arguments, {"from": accounts[8]})
    assert governor.proposalGuardian() == accounts[7]
    assert not system.manager.hasRole(GUARDIAN, guardian)[0]


def test_guardian_cancels_what_hides_behind_its_removal(system, governor, member, guardian):
    """One call beside the removal, another role, or the same call on another contract: the mandate holds."""
    removal = removal_calls(system, guardian)
    manager = system.manager
    for i, calls in enumerate(
        [
            (*removal, mint_call(system, member)),
            ((manager, manager.revokeRole.encode_input(MODERATOR, guardian)),),
            ((system.token, manager.revokeRole.encode_input(GUARDIAN, guardian)),),
            ((manager, governor.setProposalGuardian.encode_input(guardian)),),
            ((manager, manager.grantRole.encode_input(GUARDIAN, guardian, 0)),),
            ((manager, manager.revokeRole.signature),),
        ]
    ):
        proposal = submit(system, member, *calls, description=f"case {i}")
        governor.cancel(*proposal.arguments, {"from": guardian})
        assert governor.state(proposal.id) == CANCELED


def test_cancel_of_lists_that_differ_in_length(system, governor, guardian):
    with reverts("GovernorNonexistentProposal"):
        governor.cancel([ZERO], [0], [], b"\0" * 32, {"from": guardian})


def test_guardians_mandate_ends_unless_voted_again(system, governor, member, whale, guardian):
    until = governor.guardianUntil()
    assert until - now() <= 365 * DAY
    proposal = submit(system, member, mint_call(system, member), description="early")
    enacted = submit(system, member, (governor, governor.setProposalGuardian.encode_input(guardian)))
    mine_at(until - 1)
    assert governor.proposalGuardian() == guardian
    mine_at(until)
    assert governor.proposalGuardian() == ZERO
    late = submit(system, member, mint_call(system, member), description="late")
    with reverts("GovernorUnableToCancel", late.id, guardian):
        governor.cancel(*late.arguments, {"from": guardian})
    open_vote(system, late)
    with reverts("GovernorUnableToCancel", late.id, member):  # OpenZeppelin would let the proposer now
        governor.cancel(*late.arguments, {"from": member})
    assert proposal.id != enacted.id
    renewal = submit(
        system, member, (governor, governor.setProposalGuardian.encode_input(guardian)), description="renewal"
    )
    tx = enact(system, renewal, whale)
    assert governor.proposalGuardian() == guardian
    assert governor.guardianUntil() == tx.timestamp + 365 * DAY
    assert tx.events["GuardianMandateSet"]["until"] == governor.guardianUntil()


# ------------------------------------------------------------------------------------------------------------------ gas


def test_gas_stays_within_the_budget(system, governor, member, whale, signer):
    proposal = submit(system, member, mint_call(system, member))
    within_budget("TroupeGovernor.propose", proposal.tx)
    open_vote(system, proposal)
    governor.castVote(proposal.id, FOR, {"from": accounts[4]})  # the first vote also pays for the tally's slot
    within_budget("TroupeGovernor.castVote", governor.castVote(proposal.id, FOR, {"from": member}))
    signature = ballot(governor, signer, proposal, FOR, nonce_of(governor, signer, proposal))
    tx = governor.castVoteBySig(proposal.id, FOR, signer, signature, {"from": accounts[8]})
    within_budget("TroupeGovernor.castVoteBySig", tx)
    within_budget(
        "TroupeGovernor.castVote reaching the quorum",
        governor.castVote(proposal.id, FOR, {"from": whale}),
    )
    close_vote(system, proposal)
    within_budget("TroupeGovernor.queue", governor.queue(*proposal.arguments, {"from": accounts[8]}))
    mine_at(governor.proposalEta(proposal.id))
    within_budget("TroupeGovernor.execute", governor.execute(*proposal.arguments, {"from": accounts[8]}))


def test_the_contract_fits(governor):
    assert len(web3.eth.get_code(governor.address)) < 24_576
