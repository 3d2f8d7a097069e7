"""What the chain's own events say of a difference from the manifest: whether a vote has made it.

A vote is what the Governor has queued in the Timelock: a change counts as voted when the event that made it stands in a
transaction that executed such an operation. Whoever else changes something, the Timelock's own key-holders included if
there were any, leaves drift behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple, Protocol

from eth_utils import keccak

WORD = 32


class Change(NamedTuple):
    """The event that tells of a value's changes, and where it has the new one."""

    contract: str
    event: str
    word: int | None
    """Of the data, counted from 0; None where the event does not say the value."""
    topics: tuple[bytes, ...] = ()
    """Of the indexed arguments, the first ones, as words."""


class Difference(NamedTuple):
    """Something that is not as the manifest says."""

    text: str
    log: Any = None
    """The event that made it so, where the chain has one."""


class Findings(NamedTuple):
    """The differences, apart: what nothing explains, and what a vote has decided, with its block."""

    drift: list[str]
    voted: list[str]


class Logs(Protocol):
    def logs(self, contract: str, signature: str) -> list[Any]:
        """All logs of one event, oldest first."""
        ...


def as_word(value: Any) -> bytes:
    """A number, truth value, address or hash (numbers and hex may be strings) as events hold it."""
    text = str(value)
    if text.startswith("0x"):
        return bytes.fromhex(text[2:]).rjust(WORD, b"\0")
    return (int(value) if isinstance(value, bool) else int(text)).to_bytes(WORD, "big")


def topic(signature: str) -> str:
    return "0x" + keccak(text=signature).hex()


def latest(logs: list[Any]) -> Any:
    """The last log, None if there is none."""
    return max(logs, key=lambda log: (log["blockNumber"], log["logIndex"]), default=None)


class History:
    """The votes of a chain, and which of its events they made."""

    def __init__(self, reader: Logs) -> None:
        self._reader = reader

    @cached_property
    def _executions(self) -> set[bytes]:
        """Transactions in which the Timelock executed what the Governor had queued."""
        timelock, governor = "TimelockController", "TroupeGovernor"
        queued = {
            bytes(log["transactionHash"]) for log in self._reader.logs(governor, "ProposalQueued(uint256,uint256)")
        }
        scheduled = {
            bytes(log["topics"][1])
            for log in self._reader.logs(
                timelock, "CallScheduled(bytes32,uint256,address,uint256,bytes,bytes32,uint256)"
            )
            if bytes(log["transactionHash"]) in queued
        }
        executed = self._reader.logs(timelock, "CallExecuted(bytes32,uint256,address,uint256,bytes)")
        return {bytes(log["transactionHash"]) for log in executed if bytes(log["topics"][1]) in scheduled}

    def made_by(self, change: Change | None, found: Any, stated: Any) -> Any:
        """The last event that says `found`; None if there is none, or if no event ever knew the value `stated`."""
        if change is None:
            return None
        topics = list(change.topics)
        logs = [
            log
            for log in self._reader.logs(change.contract, change.event)
            if [bytes(each) for each in log["topics"][1 : 1 + len(topics)]] == topics
        ]
        if change.word is None:
            return latest(logs)
        known = {word for log in logs for word in _words(log)}
        if as_word(stated) not in known:
            return None
        return latest([log for log in logs if list(_words(log))[change.word] == as_word(found)])

    def judge(self, differences: Iterator[Difference]) -> Findings:
        """Set what votes have changed apart from drift."""
        findings = Findings([], [])
        for text, log in differences:
            if log is not None and bytes(log["transactionHash"]) in self._executions:
                findings.voted.append(f"{text}: changed by vote, block {log['blockNumber']}")
            else:
                findings.drift.append(text)
        return findings


def _words(log: Any) -> Iterator[bytes]:
    data = bytes(log["data"])
    return (data[at : at + WORD] for at in range(0, len(data), WORD))
