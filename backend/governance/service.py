"""Proposals from the mirror: read, counted, and turned into transactions for the next step."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import encode
from eth_abi.exceptions import EncodingError
from eth_utils.address import to_canonical_address, to_checksum_address
from eth_utils.crypto import keccak
from sqlalchemy import RowMapping, Select, case, func, literal, select
from sqlalchemy.orm import Session

from backend.chain import ChainInfo, encode_call
from backend.errors import Conflict, Invalid, NotFound
from backend.governance import words
from backend.governance.counting import Course, State, Tally, Vote, quorum, state, tally
from backend.intents import Intent, call_intent
from backend.mirror import Head
from indexer import abi
from indexer.models import event, log

CREATED = event("TroupeGovernor", "ProposalCreated")
CREATED_LOG = next(found for found in abi.contracts()["TroupeGovernor"] if found.name == "ProposalCreated")
CAST = event("TroupeGovernor", "VoteCast")
DIVIDED = event("TroupeGovernor", "VoteCastWithParams")
QUEUED = event("TroupeGovernor", "ProposalQueued")
EXECUTED = event("TroupeGovernor", "ProposalExecuted")
CANCELED = event("TroupeGovernor", "ProposalCanceled")
EXTENDED = event("TroupeGovernor", "ProposalExtended")
QUORUM = event("TroupeGovernor", "QuorumNumeratorUpdated")
TRANSFER = event("TroupeToken", "Transfer")
POWER = event("TroupeToken", "DelegateVotesChanged")
FEE = event("RevenueLedger", "FeeChanged")
NOBODY = bytes(20)
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
    query = select(CREATED).order_by(CREATED.c.block_number.desc(), CREATED.c.log_index.desc()).limit(limit)
    if before is not None:
        block, log_index = before
        query = query.where(
            (CREATED.c.block_number < block) | ((CREATED.c.block_number == block) & (CREATED.c.log_index < log_index))
        )
    return _counted(session, query, head)


def proposal(session: Session, *, head: Head, proposal_id: int) -> Proposal:
    """One proposal. Raises NotFound."""
    found = _counted(session, select(CREATED).where(CREATED.c.proposal_id == proposal_id), head)
    if not found:
        raise NotFound(f"There is no proposal {proposal_id} in the mirror.", code="proposal_unknown")
    return found[0]


def _counted(session: Session, query: Select[Any], head: Head) -> list[Proposal]:
    rows = session.execute(query).mappings().all()
    ids = [row["proposal_id"] for row in rows]
    if not ids:
        return []
    votes = _votes(session, ids)
    extended = _latest(session, EXTENDED, EXTENDED.c.extended_deadline, ids)
    eta = _latest(session, QUEUED, QUEUED.c.eta_seconds, ids)
    executed = set(_latest(session, EXECUTED, EXECUTED.c.proposal_id, ids))
    canceled = set(_latest(session, CANCELED, CANCELED.c.proposal_id, ids))
    quorums = _quorums(session, {int(row["vote_start"]) for row in rows})
    found = []
    for row in rows:
        number = row["proposal_id"]
        course = Course(
            snapshot=int(row["vote_start"]),
            deadline=max(int(row["vote_end"]), extended.get(number, 0)),
            queued=number in eta,
            executed=number in executed,
            canceled=number in canceled,
        )
        needed = quorums[course.snapshot]
        counted = tally(votes.get(number, ()))
        found.append(
            Proposal(
                id=number,
                proposer=bytes(row["proposer"]),
                description=row["description"],
                calls=tuple(
                    Call(to_checksum_address(target), int(value), bytes.fromhex(data.removeprefix("0x")))
                    for target, value, data in zip(row["targets"], row["values_"], row["calldatas"], strict=True)
                ),
                course=course,
                eta=eta.get(number),
                tally=counted,
                quorum=needed,
                state=state(course, counted, needed, head.time),
                block=row["block_number"],
                log_index=row["log_index"],
            )
        )
    return found


def _votes(session: Session, ids: Sequence[int]) -> dict[int, list[Vote]]:
    votes: dict[int, list[Vote]] = {}
    whole = select(CAST.c.proposal_id, CAST.c.support, func.sum(CAST.c.weight).label("weight")).where(
        CAST.c.proposal_id.in_(ids)
    )
    for number, side, weight in session.execute(whole.group_by(CAST.c.proposal_id, CAST.c.support)):
        votes.setdefault(int(number), []).append(Vote(int(side), int(weight)))
    divided = select(DIVIDED.c.proposal_id, DIVIDED.c.support, DIVIDED.c.weight, DIVIDED.c.params)
    for row in session.execute(divided.where(DIVIDED.c.proposal_id.in_(ids))):
        votes.setdefault(int(row.proposal_id), []).append(Vote(int(row.support), int(row.weight), bytes(row.params)))
    return votes


def _latest(session: Session, table: Any, column: Any, ids: Sequence[int]) -> dict[int, int]:
    query = select(table.c.proposal_id, func.max(column)).where(table.c.proposal_id.in_(ids))
    return {int(number): int(value) for number, value in session.execute(query.group_by(table.c.proposal_id))}


def _quorums(session: Session, moments: set[int]) -> dict[int, int]:
    """The votes that a decision needs, by moment of the chain's clock: the supply then, times the numerator then.

    All mints and burns are read once, however many moments are asked for: a scan of the transfers a proposal would let
    anybody keep the database busy with one cheap request.
    """
    minted, burnt = TRANSFER.c.from_ == NOBODY, TRANSFER.c.to_ == NOBODY
    flows = session.execute(
        select(TRANSFER.c.block_time, case((minted, TRANSFER.c.value), else_=-TRANSFER.c.value)).where(minted | burnt)
    ).all()
    numerators = session.execute(
        select(QUORUM.c.block_time, QUORUM.c.new_quorum_numerator).order_by(QUORUM.c.block_number, QUORUM.c.log_index)
    ).all()
    needed = {}
    for moment in moments:
        supply = sum(int(amount) for time, amount in flows if time <= moment)
        known = [int(numerator) for time, numerator in numerators if time <= moment]
        needed[moment] = quorum(supply, known[-1] if known else 0)
    return needed


def votes_of(session: Session, *, proposal_id: int, before: tuple[int, int] | None, limit: int) -> list[RowMapping]:
    """A proposal's votes, newest first: voter, support, weight, reason, params (null for a whole vote), block, time."""
    parts = []
    for table, params in ((CAST, literal(None, DIVIDED.c.params.type)), (DIVIDED, DIVIDED.c.params)):
        names = ("voter", "support", "weight", "reason", "block_number", "log_index", "block_time")
        columns = [table.c[name] for name in names]
        parts.append(select(*columns, params.label("params")).where(table.c.proposal_id == proposal_id))
    both = parts[0].union_all(parts[1]).subquery()
    query = select(both).order_by(both.c.block_number.desc(), both.c.log_index.desc()).limit(limit)
    if before is not None:
        block, log_index = before
        query = query.where(
            (both.c.block_number < block) | ((both.c.block_number == block) & (both.c.log_index < log_index))
        )
    return list(session.execute(query).mappings())


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
    total = 0
    for table in (CAST, DIVIDED):
        query = select(func.sum(table.c.weight)).where(table.c.proposal_id == proposal_id, table.c.voter == address)
        total += int(session.scalar(query) or 0)
    return total


def platform_fee(session: Session) -> tuple[int, int]:
    """(basis points, block of the last change) of the fee on payments. Raises NotFound before the first one."""
    row = session.execute(
        select(FEE.c.new_bps, FEE.c.block_number).order_by(FEE.c.block_number.desc(), FEE.c.log_index.desc()).limit(1)
    ).one_or_none()
    if row is None:
        raise NotFound("The mirror has seen no platform fee yet.", code="policy_unknown")
    return int(row.new_bps), int(row.block_number)


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
