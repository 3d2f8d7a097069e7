"""Proposals, votes, and the policy that they have made."""

from __future__ import annotations

from typing import Annotated

from eth_utils.address import to_canonical_address
from fastapi import APIRouter, Path

from backend.deps import Chain, DbSession
from backend.governance import service, words
from backend.governance.schemas import (
    CallOut,
    DelegationIn,
    IntentOut,
    Policy,
    PowerOut,
    ProposalAnswer,
    ProposalIn,
    ProposalIntent,
    ProposalOut,
    ProposalPage,
    StateName,
    TallyOut,
    VoteIn,
    VoteOut,
    VotePage,
)
from backend.mirror import ChainHead, Head, block_hash, require_block
from backend.pagination import DEFAULT_LIMIT, Cursor, Limit, decode_cursor, encode_cursor, page
from backend.schemas import AddressStr

router = APIRouter(prefix="/v1", tags=["governance"])

READ_FOR_A_STATE = 200
"""How many proposals one request counts in search of those of a state."""

ProposalId = Annotated[str, Path(pattern="^(0|[1-9][0-9]{0,77})$", description="The Governor's number, decimal")]


def _shown(found: service.Proposal, chain: Chain, head: Head) -> dict[str, object]:
    calls = []
    for call in found.calls:
        contract, function, _, sentence = words.call(chain, call.target, call.data)
        calls.append(
            CallOut(
                target=call.target,
                value=call.value,
                data=call.data,
                contract=contract,
                function=function.signature if function else None,
                words=sentence,
            )
        )
    votes = found.tally
    return {
        "id": str(found.id),
        "title": found.title,
        "body": found.body,
        "proposer": found.proposer,
        "state": found.state,
        "calls": calls,
        "votes_from": found.course.snapshot,
        "votes_until": found.course.deadline,
        "executable_from": found.eta,
        "tally": TallyOut(
            **{"for": votes.for_},
            against=votes.against,
            abstain=votes.abstain,
            quorum=found.quorum,
            quorum_reached=votes.towards_quorum >= found.quorum,
        ),
        "block": found.block,
        "stage": head.stage_of(found.block),
    }


@router.get("/proposals")
def list_proposals(  # noqa: PLR0917 - FastAPI calls it by name
    session: DbSession,
    chain: Chain,
    head: ChainHead,
    state: StateName | None = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> ProposalPage:
    """Proposals, newest first, decoded into plain words and counted as of the mirror's head.

    With `state`, a page may hold fewer than `limit` though `next` says that there is more to look through.
    """
    before = None
    if cursor:
        block, log_index, prefix = decode_cursor("proposals", cursor, int, int, bytes.fromhex)
        require_block(session, block, prefix)
        before = (block, log_index)
    if state is None:
        found = service.proposals(session, head=head, before=before, limit=limit + 1)
        shown, following = page(found, limit, lambda item: _cursor(session, "proposals", item.block, item.log_index))
    else:
        # states are counted, not stored: so many are read a request, whoever made however many
        read = service.proposals(session, head=head, before=before, limit=READ_FOR_A_STATE)
        found = [item for item in read if item.state == state]
        shown, following = page(found, limit, lambda item: _cursor(session, "proposals", item.block, item.log_index))
        if following is None and len(read) == READ_FOR_A_STATE:
            following = _cursor(session, "proposals", read[-1].block, read[-1].log_index)
    items = [ProposalOut.model_validate(_shown(item, chain, head)) for item in shown]
    return ProposalPage(items=items, next=following, as_of=head.as_of)


def _cursor(session: DbSession, scope: str, block: int, log_index: int) -> str:
    return encode_cursor(scope, block, log_index, (block_hash(session, block) or b"")[:8].hex())


@router.get("/proposals/{proposal_id}")
def get_proposal(session: DbSession, chain: Chain, head: ChainHead, proposal_id: ProposalId) -> ProposalAnswer:
    """One proposal: what it does, how the vote stands, and when the next step is open."""
    found = service.proposal(session, head=head, proposal_id=int(proposal_id))
    return ProposalAnswer.model_validate(_shown(found, chain, head) | {"as_of": head.as_of})


@router.get("/proposals/{proposal_id}/votes")
def list_votes(
    session: DbSession, head: ChainHead, proposal_id: ProposalId, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
) -> VotePage:
    """Who voted how, newest first."""
    service.proposal(session, head=head, proposal_id=int(proposal_id))
    before = None
    if cursor:
        block, log_index, prefix = decode_cursor("votes", cursor, int, int, bytes.fromhex)
        require_block(session, block, prefix)
        before = (block, log_index)
    rows = service.votes_of(session, proposal_id=int(proposal_id), before=before, limit=limit + 1)
    shown, following = page(rows, limit, lambda row: _cursor(session, "votes", row["block_number"], row["log_index"]))
    items = [
        VoteOut(
            voter=row["voter"],
            support="divided" if row["divided"] else service.SUPPORTS[row["support"]],  # type: ignore[arg-type]
            weight=row["weight"],
            reason=row["reason"],
            at=row["block_time"],
            block=row["block_number"],
        )
        for row in shown
    ]
    return VotePage(items=items, next=following, as_of=head.as_of)


@router.get("/proposals/{proposal_id}/power/{address}")
def get_power(session: DbSession, head: ChainHead, proposal_id: ProposalId, address: AddressStr) -> PowerOut:
    """What an address can vote with on this proposal, and what it has cast."""
    found = service.proposal(session, head=head, proposal_id=int(proposal_id))
    raw = bytes(to_canonical_address(address))
    return PowerOut(
        address=address,
        votes=service.power(session, address=raw, at=found.course.snapshot),
        voted=service.cast_by(session, address=raw, proposal_id=found.id),
        as_of=head.as_of,
    )


@router.post("/proposals/intent")
def make_proposal_intent(chain: Chain, body: ProposalIn) -> ProposalIntent:
    """The transaction that makes a proposal, with its calls in plain words to check before signing."""
    number, intent, sentences = service.propose(
        chain,
        title=body.title,
        body=body.body,
        actions=[(action.contract, action.function, action.arguments) for action in body.actions],
        proposer=body.proposer,
    )
    return ProposalIntent(proposal_id=str(number), intent=intent, words=sentences)


@router.post("/proposals/{proposal_id}/vote-intent")
def make_vote_intent(
    session: DbSession, chain: Chain, head: ChainHead, proposal_id: ProposalId, body: VoteIn
) -> IntentOut:
    """The transaction that votes; 409 when votes are not open."""
    found = service.proposal(session, head=head, proposal_id=int(proposal_id))
    return IntentOut(intent=service.vote(chain, found, support=body.support, reason=body.reason))


@router.post("/proposals/{proposal_id}/queue-intent")
def make_queue_intent(session: DbSession, chain: Chain, head: ChainHead, proposal_id: ProposalId) -> IntentOut:
    """The transaction that puts an accepted proposal into the timelock. Anybody may send it."""
    found = service.proposal(session, head=head, proposal_id=int(proposal_id))
    return IntentOut(intent=service.step(session, chain, found, action="queue", now=head.time))


@router.post("/proposals/{proposal_id}/execute-intent")
def make_execute_intent(session: DbSession, chain: Chain, head: ChainHead, proposal_id: ProposalId) -> IntentOut:
    """The transaction that executes a queued proposal once the timelock lets it through. Anybody may send it."""
    found = service.proposal(session, head=head, proposal_id=int(proposal_id))
    return IntentOut(intent=service.step(session, chain, found, action="execute", now=head.time))


@router.post("/delegations/intent")
def make_delegation_intent(chain: Chain, body: DelegationIn) -> IntentOut:
    """The transaction that gives your votes to a delegate. Tokens that nobody is delegated to do not vote."""
    return IntentOut(intent=service.delegate(chain, to=body.delegate))


@router.get("/policy")
def get_policy(session: DbSession, head: ChainHead) -> Policy:
    """The policy in force, as governance has set it on chain."""
    fee, block = service.platform_fee(session)
    return Policy(platform_fee_bps=fee, changed_in_block=block, as_of=head.as_of)
