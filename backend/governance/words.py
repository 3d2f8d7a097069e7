"""What a proposal's calls mean, in plain words. A call that is not known here is shown by its signature. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from backend.chain import ChainInfo, Function, decode_call
from backend.web.format import exact, moment

CALENDAR_END = 253_402_300_800
"""First second that no calendar of ours shows: the year 10000."""


def percent(bps: int) -> str:
    """Basis points for people: 500 is `5.00%`."""
    return f"{bps // 100}.{bps % 100:02d}%"


def duration(seconds: int) -> str:
    """`2 days`, `36 hours`, `90 seconds`: the largest unit that says it exactly."""
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        if seconds % length == 0:
            count = seconds // length
            return f"{count} {unit}{'' if count == 1 else 's'}"
    raise AssertionError("every number of seconds is a number of seconds")


def _time(seconds: int) -> str:
    """A block time as a proposer wrote it, which may be any number."""
    return moment(seconds) if seconds < CALENDAR_END else f"second {seconds}"


def _fee(arguments: Mapping[str, Any]) -> str:
    return f"Set the platform fee on payments to {percent(arguments['newBps'])}"


def _token_allowed(arguments: Mapping[str, Any]) -> str:
    return f"{'Accept' if arguments['allowed'] else 'No longer accept'} payments in the token {arguments['token']}"


def _platform(arguments: Mapping[str, Any]) -> str:
    name = "0x" + arguments["platformId"].hex()
    if int(arguments["key"], 16) == 0:
        return f"Remove the platform {name}: characters on it come back, and it gives no achievements any more"
    return f"Let {arguments['key']} sign for the platform {name}: characters travel there, and it gives achievements"


def _quoted(uri: str) -> str:
    """A text of the proposer's, never so long that it hides what stands around it."""
    return f"“{uri[:200]}”" + (" (shortened)" if len(uri) > 200 else "")


_KNOWN: Mapping[tuple[str, str], Callable[[Mapping[str, Any]], str]] = {
    ("RevenueLedger", "setFeeBps"): _fee,
    ("RevenueLedger", "setTokenAllowed"): _token_allowed,
    ("TroupeGovernor", "setVotingDelay"): lambda a: (
        f"Let votes begin {duration(a['newVotingDelay'])} after a proposal is made"
    ),
    ("TroupeGovernor", "setVotingPeriod"): lambda a: f"Let votes last {duration(a['newVotingPeriod'])}",
    ("TroupeGovernor", "updateQuorumNumerator"): lambda a: (
        f"Ask for {a['newQuorumNumerator']}% of all tokens for a decision to count"
    ),
    ("WorkStanding", "uphold"): lambda a: (
        f"Rule that {a['claimant']} was right to contest work {a['workId']}, in the claim to be ruled on by"
        f" {_time(a['rulingUntil'])}: its later income is divided anew, by a tree with the digest"
        f" 0x{a['treeDigest'].hex()}, 14 days after"
    ),
    ("WorkStanding", "dismiss"): lambda a: (
        f"Rule that {a['claimant']} was wrong to contest work {a['workId']}: its dispute ends if it still runs,"
        " and it can't contest the work again"
    ),
    ("WorkStanding", "setBond"): lambda a: (
        f"Ask {exact(a['newBond'], 18)} of the platform's tokens as a bond of whoever contests a work from now on"
    ),
    ("WorkRegistry", "setRoyaltyBps"): lambda a: (
        f"Set what works get of resales and rentals to {percent(a['newBps'])} of the price"
    ),
    ("WorkRegistry", "revoke"): lambda a: (
        f"Revoke work {a['workId']} for ever: nothing of it is sold or derived any more, and its file is free again"
    ),
    ("WorkRegistry", "setContractURI"): lambda a: f"Describe the collection of works by {_quoted(a['uri'])}",
    ("Characters", "setContractURI"): lambda a: f"Describe the collection of characters by {_quoted(a['uri'])}",
    ("Characters", "setTraitMetadataURI"): lambda a: f"Describe the traits of characters by {_quoted(a['uri'])}",
    ("Characters", "setPlatform"): _platform,
    ("WorkRegistry", "signal"): lambda a: (
        f"Signal 0x{a['topic'].hex()}: advice; a configuration of the feed with this digest is served from then on"
    ),
}


def call(chain: ChainInfo, target: str, data: bytes) -> tuple[str | None, Function | None, dict[str, Any], str]:
    """(contract, function, arguments, sentence) of one call; contract and function are None where they are not ours."""
    contract = chain.contract_at(target)
    if contract is None:
        return None, None, {}, f"Call {target}, which is not one of Troupe's contracts, with {len(data)} bytes"
    try:
        function, arguments = decode_call(contract, data)
    except ValueError:
        return contract, None, {}, f"Call {contract} with data that fits none of its functions"
    if known := _KNOWN.get((contract, function.name)):
        return contract, function, arguments, known(arguments)
    shown = ", ".join(f"{name}={'0x' + v.hex() if isinstance(v, bytes) else v}" for name, v in arguments.items())
    return contract, function, arguments, f"Call {contract}.{function.name}({shown})"
