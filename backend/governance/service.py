"""Proposals from the mirror: read, counted, and turned into transactions for the next step."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import encode
from eth_abi.exceptions import EncodingError
from eth_utils.address import to_canonical_address, to_checksum_address
from eth_utils.crypto import keccak
from sqlalchemy import RowMapping, Select, func, select, tuple_
from sqlalchemy.orm import Session

from backend.chain import ChainInfo, encode_call
from backend.errors import Conflict, Invalid, NotFound
from backend.governance import words
from backend.governance.counting import Course, State, Tally, quorum, state
from backend.intents import Intent, call_intent
from backend.mirror import Head
from indexer import abi
from indexer.models import event, log, view

CREATED_LOG = next(found for found in abi.contracts()["TroupeGovernor"] if found.name == "ProposalCreated")
PROPOSAL = view("proposal")
VOTE = view("vote")
QUORUM = event("TroupeGovernor", "QuorumNumeratorUpdated")
POWER = event("TroupeToken", "DelegateVotesChanged")
SUPPORTS = ("against", "for", "abstain")
PROPOSER_SUFFIX = re.compile(r"#proposer=0x[0-9a-fA-F]{40}$")


@dataclass(frozen=True)
class Call:
    """One call of a proposal."""

    target: str
    value: int
    data: bytes


@dataclass(frozen=True)
class Proposal:
    """A proposal with everything that decides how it stands."""

    id: int
    proposer: bytes
    description: str
    calls: tuple[Call, ...]
    course: Course
    eta: int | None
    tally: Tally
    quorum: int
    state: State
    block: int
    log_index: int

    @property
    def title(self) -> str:
        return self.description.partition("\n")[0].removeprefix("# ").strip() or f"Proposal {self.id}"

    @property
    def body(self) -> str:
        """What follows the title, without the suffix that binds the proposer."""
        return PROPOSER_SUFFIX.sub("", self.description.partition("\n")[2]).strip()


def proposals(session: Session, *, head: Head, before: tuple[int, int] | None = None, limit: int) -> list[Proposal]:
    """The newest proposals, those before (block, log index) if given; fully counted."""
    place = PROPOSAL.c.created_block, PROPOSAL.c.created_log_index
    query = select(PROPOSAL).order_by(*(column.desc() for column in place)).limit(limit)
    if before is not None:
        query = query.where(tuple_(*place) < before)
    return _counted(session, query, head)


def proposal(session: Session, *, head: Head, proposal_id: int) -> Proposal:
    """One proposal. Raises NotFound."""
    found = _counted(session, select(PROPOSAL).where(PROPOSAL.c.proposal_id == proposal_id), head)
    if not found:
        raise NotFound(f"There is no proposal {proposal_id} in the mirror.", code="proposal_unknown")
    return found[0]


def _counted(session: Session, query: Select[Any], head: Head) -> list[Proposal]:
    rows = session.execute(query).mappings().all()
    quorums = _quorums(session, {int(row["vote_start"]) for row in rows})
    found = []
    for row in rows:
        course = Course(
            snapshot=int(row["vote_start"]),
            deadline=int(row["vote_end"]),
            queued=row["queued"],
            executed=row["executed"],
            canceled=row["canceled"],
        )
        counted = Tally(against=row["against"], for_=row["for_"], abstain=row["abstain"])
        needed = quorums[course.snapshot]
        found.append(
            Proposal(
                id=row["proposal_id"],
                proposer=bytes(row["proposer"]),
                description=row["description"],
                calls=tuple(
                    Call(to_checksum_address(target), int(value), bytes.fromhex(data.removeprefix("0x")))
                    for target, value, data in zip(row["targets"], row["values_"], row["calldatas"], strict=True)
                ),
                course=course,
                eta=row["eta"],
                tally=counted,
                quorum=needed,
                state=state(course, counted, needed, head.time),
                block=row["created_block"],
                log_index=row["created_log_index"],
            )
        )
    return found


def _quorums(session: Session, moments: set[int]) -> dict[int, int]:
    """The votes that a decision needs, by moment of the chain's clock: the supply then, times the numerator then.

    All mints and burns are read once, however many moments are asked for: a scan of the transfers a proposal would let
    anybody keep the database busy with one cheap request.
    """
    if not moments:
        return {}
    supply = view("token_supply").c
    supplies = session.execute(
        select(supply.block_time, supply.supply).order_by(supply.block_number, supply.log_index)
    ).all()
    numerators = session.execute(
        select(QUORUM.c.block_time, QUORUM.c.new_quorum_numerator).order_by(QUORUM.c.block_number, QUORUM.c.log_index)
    ).all()
    return {moment: quorum(_at(supplies, moment), _at(numerators, moment)) for moment in moments}


def _at(changes: Sequence[Any], moment: int) -> int:
    """The last of the (time, value) at or before a moment; 0 before the first."""
    reached = bisect_right(changes, moment, key=lambda change: int(change[0]))
    return int(changes[reached - 1][1]) if reached else 0


def votes_of(session: Session, *, proposal_id: int, before: tuple[int, int] | None, limit: int) -> list[RowMapping]:
    """A proposal's votes, newest first: rows of the view `vote`."""
    place = VOTE.c.block_number, VOTE.c.log_index
    query = select(VOTE).where(VOTE.c.proposal_id == proposal_id)
    if before is not None:
        query = query.where(tuple_(*place) < before)
    return list(session.execute(query.order_by(*(column.desc() for column in place)).limit(limit)).mappings())


def power(session: Session, *, address: bytes, at: int) -> int:
    """What an address could vote with at a moment of the chain's clock: the token's `getPastVotes`."""
    newest = (
        select(POWER.c.new_votes)
        .where(POWER.c.delegate == address, POWER.c.block_time <= at)
        .order_by(POWER.c.block_number.desc(), POWER.c.log_index.desc())
        .limit(1)
    )
    return int(session.scalar(newest) or 0)


def cast_by(session: Session, *, address: bytes, proposal_id: int) -> int:
    """What an address has cast on a proposal, in whole and divided votes."""
    query = select(func.sum(VOTE.c.weight)).where(VOTE.c.proposal_id == proposal_id, VOTE.c.voter == address)
    return int(session.scalar(query) or 0)


def platform_fee(session: Session) -> tuple[int, int]:
    """(basis points, block of the last change) of the fee on payments. Raises NotFound before the first one."""
    policy = view("policy").c
    fee_bps, block = session.execute(select(policy.fee_bps, policy.fee_since_block)).one()
    if fee_bps is None:
        raise NotFound("The mirror has seen no platform fee yet.", code="policy_unknown")
    return int(fee_bps), int(block)


# -- intents


def propose(
    chain: ChainInfo, *, title: str, body: str, actions: Sequence[tuple[str, str, Sequence[Any]]], proposer: str | None
) -> tuple[int, Intent, list[str]]:
    """(number, transaction, words) of a proposal. Raises Invalid, naming the action whose call cannot be made."""
    calls = []
    for number, (contract, function, arguments) in enumerate(actions):
        try:
            data = encode_call(contract, function, [_argument(a) for a in arguments])
            calls.append(Call(chain.address(contract), 0, data))
        except (LookupError, ValueError) as error:
            raise Invalid(f"actions.{number}: {error}", code="action_invalid") from error
    description = f"{title.strip()}\n\n{body.strip()}".strip() + (f"\n\n#proposer={proposer}" if proposer else "")
    intent = call_intent(
        chain,
        "TroupeGovernor",
        "propose",
        [[c.target for c in calls], [c.value for c in calls], [c.data for c in calls], description],
        description=f"Propose: {title.strip()}",
    )
    number = proposal_number(calls, description)
    return number, intent, [words.call(chain, c.target, c.data)[3] for c in calls]


def _argument(value: Any) -> Any:
    """A JSON argument as the encoder takes it: decimal strings are integers, 0x strings other than addresses bytes."""
    if isinstance(value, list):
        return [_argument(item) for item in value]
    if isinstance(value, str):
        if value.isascii() and value.isdigit():
            return int(value)
        if value.startswith("0x") and len(value) != 42:
            return bytes.fromhex(value[2:])
    return value


def proposal_number(calls: Sequence[Call], description: str) -> int:
    """The Governor's id: the hash of the calls and of the description's hash."""
    try:
        encoded = encode(
            ("address[]", "uint256[]", "bytes[]", "bytes32"),
            (
                [to_canonical_address(c.target) for c in calls],
                [c.value for c in calls],
                [c.data for c in calls],
                keccak(text=description),
            ),
        )
    except EncodingError as error:
        raise ValueError(f"no proposal is made of these calls: {error}") from error
    return int.from_bytes(keccak(encoded), "big")


def vote(chain: ChainInfo, found: Proposal, *, support: str, reason: str) -> Intent:
    """The transaction that votes. Raises Conflict when votes are not open."""
    _require(found, "active", "Votes are not open")
    side = SUPPORTS.index(support)
    sentence = f"Vote {support} on «{found.title}»"
    if reason:
        return call_intent(
            chain, "TroupeGovernor", "castVoteWithReason", [found.id, side, reason], description=sentence
        )
    return call_intent(chain, "TroupeGovernor", "castVote", [found.id, side], description=sentence)


_STEPS: Mapping[str, tuple[State, str, str]] = {
    "queue": ("succeeded", "Queue in the timelock", "It can't be queued"),
    "execute": ("queued", "Execute", "It can't be executed"),
}


def description_hash(session: Session, found: Proposal) -> bytes:
    """What the Governor knows a description by. From the log's own bytes: the text may stand in for what is no text."""
    query = select(log.c.data).where(log.c.block_number == found.block, log.c.log_index == found.log_index)
    return bytes(keccak(abi.string_bytes(CREATED_LOG, bytes(session.execute(query).scalar_one()), "description")))


def step(session: Session, chain: ChainInfo, found: Proposal, *, action: str, now: int) -> Intent:
    """The transaction that queues or executes. Raises Conflict in another state, or before the timelock's time."""
    wanted, verb, refusal = _STEPS[action]
    _require(found, wanted, refusal)
    if action == "execute" and found.eta is not None and now < found.eta:
        raise Conflict(
            f"The timelock lets it through in {words.duration(found.eta - now)}.",
            code="proposal_not_yet",
            state=found.state,
        )
    arguments = [
        [c.target for c in found.calls],
        [c.value for c in found.calls],
        [c.data for c in found.calls],
        description_hash(session, found),
    ]
    signature = f"{action}(address[],uint256[],bytes[],bytes32)"
    return call_intent(chain, "TroupeGovernor", signature, arguments, description=f"{verb}: {found.title}")


def _require(found: Proposal, wanted: State, refusal: str) -> None:
    if found.state != wanted:
        raise Conflict(
            f"{refusal}: the proposal is {found.state}, and that needs {wanted}.",
            code="proposal_state",
            state=found.state,
        )


def delegate(chain: ChainInfo, *, to: str) -> Intent:
    """The transaction that lets an address vote with the sender's tokens."""
    return call_intent(chain, "TroupeToken", "delegate", [to], description=f"Let {to} vote with your tokens")
