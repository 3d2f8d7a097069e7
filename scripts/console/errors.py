"""What to do about the errors that a person meets at the console; the contracts' own notes say what they mean."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

ADVICE: Mapping[str, str] = {
    "CharacterAlreadyCheckedIn": "A ticket is good once.",
    "CharacterRented": "Wait until its user's time is over: wait(days).",
    "CharacterUnauthorized": "Only the class's organiser checks its tickets in; ticket(...) named it.",
    "ERC721NonexistentToken": "works() lists the works, balances() whose they are.",
    "ERC20InsufficientBalance": "balances() shows what everybody has.",
    "GovernorAlreadyCastVote": "A vote counts once; proposals() shows the tally.",
    "GovernorInsufficientProposerVotes": "delegate(to=..., by=...) makes tokens count as votes.",
    "GovernorNonexistentProposal": "proposals() lists them.",
    "GovernorUnexpectedProposalState": "proposals() says in which state it is.",
    "RevenueFrozen": "It ends by itself; wait(days).",
    "RevenueNothingDue": "tip or sell first, then settle and withdraw.",
    "RevenueUnknownWork": "works() lists the works.",
    "RevenueWorkStatus": "works() says in which status it is.",
    "RewardEpochCapExceeded": "rewards() says what this epoch may add.",
    "RewardEpochTaken": "One root an epoch: wait(7), or leave it to the worker.",
    "RewardNothingDue": "rewards() says what was awarded and claimed.",
    "RewardPending": "claim(...) makes it count when its window has passed.",
    "RewardWindowOpen": "Anybody may challenge it until then: wait(days).",
    "StoreClosed": "shelf() lists what is on sale.",
    "StoreDuration": "shelf() says for how long it is let.",
    "StoreSoldOut": "shelf() lists what is left.",
    "StoreUnauthorized": "Only the owner of what is offered can offer it.",
    "StoreUnknown": "shelf() lists what is on sale.",
    "TimelockUnexpectedOperationState": "The Timelock holds it for 2 days: wait(2).",
    "WorkAlreadyRegistered": "Another title makes another file here.",
    "WorkLicenceForbids": "Register the parent with licence='10%', or ask its owner.",
    "WorkShareTooLow": "works() says what each licence asks for.",
    "WorkUnknown": "works() lists the works.",
    "WorkUpstreamTooHigh": "At most 80% may go upstream: lower shares, or name fewer parents.",
}


def advice(error: str) -> str:
    """What to do about a custom error; empty where its name and note say it all."""
    return ADVICE.get(error, "")


def notes(builds: Iterable[Mapping[str, Any]]) -> dict[bytes, str]:
    """By selector: what the sources' NatSpec says of each custom error, from the compiler's syntax trees."""
    found = {}
    for build in builds:
        for node in _definitions(build.get("ast") or {}):
            said = (node.get("documentation") or {}).get("text", "")
            text = re.split(r"@(?:param|dev)\b", said.replace("@notice", ""))[0]
            found[bytes.fromhex(node["errorSelector"])] = " ".join(text.split()).partition(" Example:")[0]
    return found


def _definitions(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for child in node.get("nodes", []):
        if child.get("nodeType") == "ErrorDefinition":
            yield child
        yield from _definitions(child)
