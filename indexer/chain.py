"""What the node says about the chain, read strictly and checked against itself before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from indexer import abi
from indexer.abi import Log
from indexer.deployment import Deployment, Finality
from indexer.errors import NodeFatal, Retryable, WrongChain
from indexer.keccak import keccak
from indexer.nodes import Node
from indexer.rpc import MethodMissing

INT4, INT8 = 2**31, 2**63
"""What the columns of log indexes, and of block numbers and times, hold less than."""
HEADERS_PER_CALL = 100
LOGS_PER_CALL = 50


class Header(NamedTuple):
    """The part of a block's header that the mirror lives by. Hashes are raw bytes, `bloom` is the bloom's integer."""

    number: int
    hash: bytes
    parent: bytes
    time: int
    bloom: int


@dataclass(frozen=True)
class Segment:
    """A run of blocks, linked by their hashes, with all logs of our contracts in it, in the order of the chain."""

    headers: Sequence[Header]
    logs: Sequence[Log]
    answer_bytes: int = 0
    """Size of the node's answer for the logs."""

    @property
    def first(self) -> Header:
        return self.headers[0]

    @property
    def last(self) -> Header:
        return self.headers[-1]


class Filter:
    """Our contracts' addresses, and whether a block's bloom can hold a log of theirs.

    The bloom is that of Ethereum's yellow paper, section 4.3.1: three bits of 2,048 for each address and topic.
    """

    def __init__(self, deployment: Deployment) -> None:
        self.by_hex = {"0x" + contract.address.hex(): contract.address for contract in deployment.contracts}
        self.addresses = list(self.by_hex)
        self._masks = {
            contract.address: (
                bloom_bits(contract.address),
                [bloom_bits(event.topic) for event in abi.contracts()[contract.name]],
            )
            for contract in deployment.contracts
        }

    def may_hold(self, bloom: int) -> bool:
        """Whether a block with this bloom can have a log of ours; false is certain, true is not."""
        return any(bloom & address == address for address, _ in self._masks.values())

    def may_hold_known(self, bloom: int) -> bool:
        """Whether a block with this bloom can have a log of ours whose event is in the ABI; wrong less often."""
        return any(
            bloom & address == address and any(bloom & topic == topic for topic in topics)
            for address, topics in self._masks.values()
        )

    def holds(self, bloom: int, address: bytes) -> bool:
        """Whether a block with this bloom can have a log of the contract at `address`."""
        mask = self._masks[address][0]
        return bloom & mask == mask


def bloom_bits(value: bytes) -> int:
    """The three bits that an address or topic sets in a bloom."""
    digest = keccak(value)
    bits = 0
    for at in (0, 2, 4):
        bits |= 1 << (int.from_bytes(digest[at : at + 2]) & 2047)
    return bits


def _hex(number: int) -> str:
    return hex(number)


def parse_header(raw: Any, node: str) -> Header:
    """A header out of a block of eth_getBlockBy... Raises Retryable when it is of no such form."""
    try:
        header = Header(
            int(raw["number"], 16),
            bytes.fromhex(raw["hash"][2:]),
            bytes.fromhex(raw["parentHash"][2:]),
            int(raw["timestamp"], 16),
            int(raw["logsBloom"], 16),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Retryable(f"{node} sent a block of a wrong form") from error
    if len(header.hash) != 32 or len(header.parent) != 32:
        raise Retryable(f"{node} sent a block with a hash that is not of 32 bytes")
    if not (0 <= header.number < INT8 and 0 <= header.time < INT8):
        raise Retryable(f"{node} sent a block of a wrong form: no chain has its number or time")
    return header


def parse_logs(raw: Any, headers: Mapping[int, Header], which: Filter, node: str) -> list[Log]:
    """The logs of an answer, each checked to belong to a block of `headers` and to a contract of ours.

    Raises Retryable for anything that a truthful node, seeing one chain, would not have sent.
    """
    if not isinstance(raw, list):
        raise Retryable(f"{node} answered eth_getLogs with no list")
    numbers = {"0x" + header.hash.hex(): (number, hex(number)) for number, header in headers.items()}
    by_hex = which.by_hex
    from_hex = bytes.fromhex
    make: Callable[[type[Log], tuple[Any, ...]], Log] = tuple.__new__  # a third of the time of Log(...)
    logs = []
    before = (-1, -1)
    tx_text, tx_hash = "", b""  # logs of one transaction stand together
    try:
        for entry in raw:
            number, in_hex = numbers.get(entry["blockHash"], NOWHERE)
            if entry["blockNumber"] != in_hex or entry.get("removed"):
                raise Retryable(f"{node} sent a log of another block than asked for: the chain changed meanwhile")
            index = int(entry["logIndex"], 16)
            at = (number, index)
            if at <= before:
                raise Retryable(f"{node} sent logs out of order or twice")
            before = at
            address = by_hex.get(entry["address"]) or by_hex.get(entry["address"].lower())
            if address is None:
                raise Retryable(f"{node} sent a log of a contract that was not asked for")
            topics = entry["topics"]
            words = from_hex("".join(topics).replace("0x", ""))
            if entry["transactionHash"] != tx_text:
                tx_text = entry["transactionHash"]
                tx_hash = from_hex(tx_text[2:])
            if len(words) != 32 * len(topics) or len(topics) > 4 or len(tx_hash) != 32 or not 0 <= index < INT4:
                raise Retryable(f"{node} sent a log of a wrong form")
            logs.append(make(Log, (number, index, tx_hash, address, words, from_hex(entry["data"][2:]))))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Retryable(f"{node} sent a log of a wrong form") from error
    return logs


NOWHERE = (-1, "")
"""Number, and number in hex, of a block that was not asked for."""


class Chain:
    """The chain as one node shows it."""

    def __init__(self, rpc: Node, deployment: Deployment) -> None:
        self.rpc = rpc
        self.deployment = deployment
        self.filter = Filter(deployment)
        self._final_hash = b""
        """Of the block that the node called final last."""

    def check(self) -> None:
        """Make sure that the node serves the deployment's chain and that the contracts are there.

        Raises WrongChain or NodeFatal with one sentence, Retryable when the node does not answer.
        """
        try:
            self._check()
        except (TypeError, ValueError) as error:
            raise Retryable(f"{self.rpc.node} sent a chain id or code of a wrong form") from error

    def _check(self) -> None:
        expected = self.deployment
        chain_id = int(self.rpc.call("eth_chainId"), 16)
        if chain_id != expected.chain_id:
            raise WrongChain(
                f"{self.rpc.node} serves chain {chain_id}, and the deployment is on chain {expected.chain_id}:"
                " name the right node in TROUPE_RPC_URL or the right manifest in TROUPE_DEPLOYMENT"
            )
        genesis = self.header(0)
        if genesis is None:
            raise Retryable(f"{self.rpc.node} does not show the first block of its chain")
        if genesis.hash != expected.genesis_hash:
            raise WrongChain(
                f"{self.rpc.node} serves another chain with the id {chain_id} (its first block differs from the"
                " manifest's): deploy again, or name the right manifest in TROUPE_DEPLOYMENT"
            )
        codes = self.rpc.batch(
            [("eth_getCode", ["0x" + contract.address.hex(), "latest"]) for contract in expected.contracts]
        )
        for contract, code in zip(expected.contracts, codes, strict=True):
            if len(code) <= 2:
                raise NodeFatal(
                    f"{contract.name} is not deployed at 0x{contract.address.hex()}: deploy the contracts again, or"
                    " name the right manifest in TROUPE_DEPLOYMENT"
                )
            if contract.code_hash is not None and keccak(bytes.fromhex(code[2:])) != contract.code_hash:
                raise NodeFatal(
                    f"The code at 0x{contract.address.hex()} is not the {contract.name} of the manifest: deploy again,"
                    " or name the right manifest in TROUPE_DEPLOYMENT"
                )

    def head(self) -> tuple[Header, int]:
        """The newest block and the number of the newest final one."""
        finality = self.deployment.finality
        if finality.mode == "tag":
            latest, final = self.rpc.batch(
                [("eth_getBlockByNumber", ["latest", False]), ("eth_getBlockByNumber", ["finalized", False])]
            )
            head = parse_header(latest, self.rpc.node)
            return head, min(self._tagged(final), self._deepest_final(head))
        head = parse_header(self.rpc.call("eth_getBlockByNumber", "latest", False), self.rpc.node)
        return head, self._deepest_final(head)

    def _deepest_final(self, head: Header) -> int:
        """The newest block that can be final below a head: as deep as is promised, and never the head itself."""
        least = 0 if self.deployment.development else 1
        return max(0, head.number - max(self.deployment.finality.depth, least))

    def _tagged(self, raw: Any) -> int:
        """The number of the block that the node calls final, 0 for none.

        Raises Retryable when its own chain has another block there: looked at when it moves, off the development chain.
        """
        if raw is None:
            return 0
        final = parse_header(raw, self.rpc.node)
        if final.hash != self._final_hash and not self.deployment.development:
            there = self.header(final.number)
            if there is None or there.hash != final.hash:
                raise Retryable(f"{self.rpc.node} calls a block {final.number:,} final that is not on its own chain")
        self._final_hash = final.hash
        return final.number

    def header(self, number: int) -> Header | None:
        """The header of a block, None if the chain is not so long."""
        raw = self.rpc.call("eth_getBlockByNumber", _hex(number), False)
        return None if raw is None else parse_header(raw, self.rpc.node)

    def headers(self, first: int, last: int) -> list[Header]:
        """The headers of blocks `first` to `last`, linked. Raises Retryable if the chain changed meanwhile."""
        found: list[Header] = []
        for start in range(first, last + 1, HEADERS_PER_CALL):
            numbers = range(start, min(start + HEADERS_PER_CALL, last + 1))
            raws = self.rpc.batch([("eth_getBlockByNumber", [_hex(number), False]) for number in numbers])
            for number, raw in zip(numbers, raws, strict=True):
                if raw is None:
                    raise Retryable(f"{self.rpc.node} has no block {number} any more: the chain changed meanwhile")
                header = parse_header(raw, self.rpc.node)
                if header.number != number or (found and header.parent != found[-1].hash):
                    raise Retryable(f"block {number} does not follow block {number - 1}: the chain changed meanwhile")
                found.append(header)
        return found

    def segment_by_range(self, first: int, last: int) -> Segment:
        """Blocks `first` to `last` with their logs, asked for as one range: quick, for blocks that hardly change.

        Raises RangeTooLarge, or Retryable if the answers do not fit together.
        """
        wanted = {"fromBlock": _hex(first), "toBlock": _hex(last), "address": self.filter.addresses}
        raw = self.rpc.call("eth_getLogs", wanted)
        size = self.rpc.bytes_read
        headers = self.headers(first, last)
        by_number = {header.number: header for header in headers}
        logs = parse_logs(raw, by_number, self.filter, self.rpc.node)
        self._check_blooms(logs, by_number)
        with_logs = {log[0] for log in logs}
        suspects = [
            header for header in headers if header.number not in with_logs and self.filter.may_hold_known(header.bloom)
        ]
        if suspects:
            found = self._logs_by_hash(suspects)
            logs = sorted([*logs, *found])
        return Segment(headers, logs, size)

    def segment_by_hash(self, first: int, last: int) -> Segment:
        """Blocks `first` to `last` with their logs, asked for by block hash (EIP-234): for blocks that may change."""
        return self.segment_of(self.headers(first, last))

    def segment_of(self, headers: Sequence[Header]) -> Segment:
        """Linked blocks, whose headers are known, with their logs, asked for by block hash."""
        return Segment(
            headers, self._logs_by_hash([header for header in headers if self.filter.may_hold(header.bloom)])
        )

    def _logs_by_hash(self, headers: Sequence[Header]) -> list[Log]:
        """The logs of blocks whose bloom does not exclude us; an empty answer is held against the receipts."""
        logs: list[Log] = []
        for start in range(0, len(headers), LOGS_PER_CALL):
            some = headers[start : start + LOGS_PER_CALL]
            wanted = [{"blockHash": "0x" + header.hash.hex(), "address": self.filter.addresses} for header in some]
            raws = self.rpc.batch([("eth_getLogs", [each]) for each in wanted])
            for header, raw in zip(some, raws, strict=True):
                found = parse_logs(raw, {header.number: header}, self.filter, self.rpc.node)
                if not found:
                    self._confirm_empty(header)
                logs += found
        self._check_blooms(logs, {header.number: header for header in headers})
        return logs

    def _confirm_empty(self, header: Header) -> None:
        """A bloom may show what is not there: the receipts decide. Raises Retryable if the node left logs out."""
        try:
            receipts = self.rpc.call("eth_getBlockReceipts", "0x" + header.hash.hex())
        except MethodMissing:
            return  # an old node: its answer by hash must do
        if not isinstance(receipts, list):
            raise Retryable(f"{self.rpc.node} has no receipts of block {header.number}: the chain changed meanwhile")
        try:
            left_out = any(log["address"].lower() in self.filter.by_hex for each in receipts for log in each["logs"])
        except (KeyError, TypeError, AttributeError) as error:
            raise Retryable(f"{self.rpc.node} sent a receipt of a wrong form") from error
        if left_out:
            raise Retryable(f"{self.rpc.node} left out logs of block {header.number}")

    def _check_blooms(self, logs: Iterable[Log], headers: Mapping[int, Header]) -> None:
        """Every log's address must be in its block's bloom. Raises Retryable for one that cannot be of that block."""
        for number, address in {(log[0], log[3]) for log in logs}:
            if not self.filter.holds(headers[number].bloom, address):
                raise Retryable(f"{self.rpc.node} sent a log that block {number}'s bloom excludes")


def finality_text(finality: Finality) -> str:
    """How a network calls a block final, for people."""
    on_top = f"{finality.depth} blocks on top"
    if finality.mode == "depth":
        return on_top
    return "the finalized tag" + (f" with {on_top}" if finality.depth else "")
