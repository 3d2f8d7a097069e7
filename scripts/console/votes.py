"""Votes: delegate, propose, vote, enact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eth_utils import keccak

from scripts.console.amounts import Refused, basis_points, percent, readable, table
from scripts.console.chain import NOBODY_S_STEP, Troupe
from scripts.console.commands import command

SUPPORT = {"against": 0, "for": 1, "abstain": 2}
STATES = ("pending", "active", "cancelled", "defeated", "accepted", "queued", "expired", "executed")
PENDING, ACTIVE, _, _, ACCEPTED, QUEUED, *_ = range(8)


def _trp(troupe: Troupe, units: int) -> str:
    return readable(int(units), troupe.token_of(troupe.TroupeToken.address))


def _all(troupe: Troupe) -> list[Mapping[str, Any]]:
    return list(troupe.events("TroupeGovernor", "ProposalCreated"))


def _proposal(troupe: Troupe, number: Any) -> Mapping[str, Any]:
    made = _all(troupe)
    if not isinstance(number, int) or not 1 <= number <= len(made):
        raise Refused(f"there is no proposal {number}: proposals() lists {len(made)}")
    return made[number - 1]


@command
def delegate(troupe: Troupe, to: Any, *, by: Any = None) -> str:
    """make one's tokens count as votes: one's own, or somebody else's"""
    account = troupe.account(to)
    troupe.send(by, troupe.TroupeToken, "delegate", account)
    troupe.forward(1)  # a proposal counts the votes of the second before it
    held = _trp(troupe, troupe.TroupeToken.getVotes(account))
    return f"{troupe.called(account)} votes with {held} from now on"


@command
def propose(
    troupe: Troupe, text: str, *, fee: Any = None, royalty: Any = None, call: Any = None, by: Any = None
) -> str:
    """propose a change: fee='2%', royalty='6%', or any call=(contract, function, arguments...)"""
    calls = [(troupe.RevenueLedger, "setFeeBps", basis_points(fee))] if fee is not None else []
    calls += [(troupe.WorkRegistry, "setRoyaltyBps", basis_points(royalty))] if royalty is not None else []
    calls += [call] if call is not None else []
    if not calls:
        raise Refused("say what it changes: fee='2%', royalty='6%', or call=(RevenueLedger, 'setFeeBps', 200)")
    targets = [contract.address for contract, *_ in calls]
    data = [getattr(contract, function).encode_input(*args) for contract, function, *args in calls]
    troupe.send(by, troupe.TroupeGovernor, "propose", targets, [0] * len(calls), data, text)
    number = len(_all(troupe))
    starts = _proposal(troupe, number)["voteStart"]
    made = f"proposal {number} «{text}» is made; the vote starts {troupe.until(starts)}"
    return f"{made}\nnext: wait(1.1), vote({number}, 'for', by=ana)"


@command
def proposals(troupe: Troupe) -> str:
    """all proposals: state, tally, what comes next"""
    rows = []
    for number, made in enumerate(_all(troupe), 1):
        state = troupe.TroupeGovernor.state(made["proposalId"])
        against, for_, abstain = troupe.TroupeGovernor.proposalVotes(made["proposalId"])
        tally = " / ".join(_trp(troupe, votes).partition(" ")[0] for votes in (for_, against, abstain))
        rows.append((number, f"«{made['description']}»", STATES[state], tally, _next(troupe, number, made, state)))
    if not rows:
        return "there are no proposals yet; propose(...) makes one"
    return table(rows, ("no.", "text", "state", "for / against / abstain", "next"), right="no.")


def _next(troupe: Troupe, number: int, made: Mapping[str, Any], state: int) -> str:
    if state == PENDING:
        return f"the vote starts {troupe.until(made['voteStart'])}"
    if state == ACTIVE:
        ends = troupe.TroupeGovernor.proposalDeadline(made["proposalId"])
        return f"vote({number}, 'for', by=...); ends {troupe.until(ends)}"
    return f"enact({number})" if state in (ACCEPTED, QUEUED) else "-"


@command
def vote(troupe: Troupe, number: int, choice: str, *, by: Any = None) -> str:
    """vote on a proposal: 'for', 'against' or 'abstain'"""
    made = _proposal(troupe, number)
    if choice not in SUPPORT:
        raise Refused(f"{choice!r} is no vote: 'for', 'against' or 'abstain'")
    state = troupe.TroupeGovernor.state(made["proposalId"])
    if state != ACTIVE:
        comes = _next(troupe, number, made, state)
        raise Refused(f"proposal {number} is {STATES[state]}{f': {comes}' if comes != '-' else ''}")
    receipt = troupe.send(by, troupe.TroupeGovernor, "castVote", made["proposalId"], SUPPORT[choice])
    weight = receipt.event("TroupeGovernor", "VoteCast")["weight"]
    votes = troupe.TroupeGovernor.proposalVotes(made["proposalId"])
    quorum = troupe.TroupeGovernor.quorum(made["voteStart"])
    reached = percent(min(votes[1] + votes[2], quorum), quorum)
    voter, voice = troupe.called(troupe.sender(by)), _trp(troupe, weight)
    return f"{voter} voted {choice} proposal {number} with {voice}; {reached} of the quorum"


@command
def enact(troupe: Troupe, number: int) -> str:
    """take an accepted proposal a step further: into the Timelock, then into force"""
    made = _proposal(troupe, number)
    governor, proposal = troupe.TroupeGovernor, made["proposalId"]
    order = (made["targets"], made["values"], made["calldatas"], keccak(text=made["description"]))
    state = governor.state(proposal)
    if state == ACCEPTED:
        troupe.send(NOBODY_S_STEP, governor, "queue", *order)
        due = troupe.until(governor.proposalEta(proposal))
        return f"proposal {number} is in the Timelock, due {due}\nnext: wait(2), enact({number})"
    if state == QUEUED:
        troupe.send(NOBODY_S_STEP, governor, "execute", *order)
        return f"proposal {number} «{made['description']}» is in force"
    raise Refused(f"proposal {number} is {STATES[state]}; proposals() says what comes next")
