"""A chain in memory and a node that shows it: thousands of histories in the time that anvil needs for one.

`FakeNode` answers what the indexer asks of a node, as anvil does, and misbehaves when it is told to. `fold` is the slow
reference: every block of the chain as it is now, decoded with eth_abi alone.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from eth_utils.crypto import keccak

from indexer.errors import NodeFatal, Retryable
from tests.indexer.support import CONTRACTS, Rows, abi_events, snake_case, topic_of, values_of

CHAIN_ID = 31337
FakeLog = tuple[str, list[bytes], bytes]
"""Address, topics, data."""


def parsed(records: Iterable[tuple[str, bytes]]) -> list[FakeLog]:
    """The logs that the emitter (tests/indexer/support.py) makes of its records."""
    logs = []
    for contract, body in records:
        count, size = body[0], int.from_bytes(body[1:3])
        topics = [body[3 + 32 * at : 35 + 32 * at] for at in range(count)]
        data = body[3 + 32 * count :]
        assert len(data) == size
        logs.append((CONTRACTS[contract], topics, data))
    return logs


def bloom_of(logs: Iterable[FakeLog]) -> int:
    bits = 0
    for address, topics, _ in logs:
        for value in (bytes.fromhex(address[2:]), *topics):
            digest = keccak(value)
            for at in (0, 2, 4):
                bits |= 1 << (int.from_bytes(digest[at : at + 2]) % 2048)
    return bits


@dataclass(frozen=True)
class FakeBlock:
    number: int
    parent: bytes
    time: int
    logs: tuple[FakeLog, ...]
    salt: int

    @cached_property
    def hash(self) -> bytes:
        return hashlib.sha256(self.parent + repr((self.number, self.time, self.salt)).encode()).digest()

    @cached_property
    def transaction(self) -> bytes:
        return hashlib.sha256(b"tx" + self.hash).digest()

    @cached_property
    def header(self) -> dict[str, Any]:
        return {
            "number": hex(self.number),
            "hash": "0x" + self.hash.hex(),
            "parentHash": "0x" + self.parent.hex(),
            "timestamp": hex(self.time),
            "logsBloom": f"0x{bloom_of(self.logs):0512x}",
        }

    def raw_logs(self) -> list[dict[str, Any]]:
        return [
            {
                "address": address,
                "topics": ["0x" + topic.hex() for topic in topics],
                "data": "0x" + data.hex(),
                "blockHash": "0x" + self.hash.hex(),
                "blockNumber": hex(self.number),
                "transactionHash": "0x" + self.transaction.hex(),
                "logIndex": hex(index),
                "removed": False,
            }
            for index, (address, topics, data) in enumerate(self.logs)
        ]


@dataclass
class FakeChain:
    blocks: list[FakeBlock] = field(default_factory=lambda: [FakeBlock(0, bytes(32), 1_000, (), 0)])
    chain_id: int = CHAIN_ID
    finality: int = 2
    """Blocks below the head that the node calls final."""
    _salts: int = 0

    @property
    def head(self) -> FakeBlock:
        return self.blocks[-1]

    def mine(self, records: Sequence[tuple[str, bytes]]) -> None:
        self._salts += 1
        parent = self.head
        self.blocks.append(
            FakeBlock(parent.number + 1, parent.hash, parent.time + 12, tuple(parsed(records)), self._salts)
        )

    def cut(self, depth: int) -> list[FakeBlock]:
        """Take the last blocks off, the first apart; returns them, so that the chain can come back to them."""
        depth = min(depth, len(self.blocks) - 1)
        taken = self.blocks[len(self.blocks) - depth :]
        del self.blocks[len(self.blocks) - depth :]
        return taken

    def manifest(self) -> dict[str, Any]:
        return {
            "chainId": self.chain_id,
            "network": "in memory",
            "startBlock": 1,
            "genesisHash": "0x" + self.blocks[0].hash.hex(),
            "finality": {"mode": "tag"},
            "contracts": {name: {"address": at, "block": 1} for name, at in CONTRACTS.items()},
            "tokens": [],
        }


Call = tuple[str, Sequence[Any]]
Hook = Callable[[Sequence[Call], list[Any]], list[Any]]
"""(the calls of one request, their true answers) -> the answers."""


class FakeNode:
    """Answers like a node. `hook` sees the answers on their way and may change it, raise, or change the chain."""

    def __init__(self, chain: FakeChain, hook: Hook = lambda calls, answers: answers, name: str = "fake") -> None:
        self.chain = chain
        self.hook = hook
        self.node = name
        self.bytes_read = 1_000
        self.urls = ""

    def again(self) -> FakeNode:
        return self

    def failed(self, error: Retryable | NodeFatal) -> bool:
        if isinstance(error, NodeFatal):
            raise error
        return False

    def others(self) -> Sequence[FakeNode]:
        return ()

    def witnesses(self) -> Sequence[FakeNode]:
        return ()

    def close(self) -> None:
        """Nothing is open."""

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        return self.hook(calls, [self._answer(method, params) for method, params in calls])

    def call(self, method: str, *params: Any) -> Any:
        return self.batch([(method, params)])[0]

    def _answer(self, method: str, params: Sequence[Any]) -> Any:
        blocks = self.chain.blocks
        match method:
            case "eth_chainId":
                return hex(self.chain.chain_id)
            case "eth_getCode":
                return "0x60"
            case "eth_getBlockByNumber":
                at = self._number(params[0])
                return blocks[at].header if at < len(blocks) else None
            case "eth_getBlockReceipts":
                found = self._by_hash(params[0])
                return None if found is None else [{"logs": found.raw_logs()}]
            case "eth_getLogs":
                return self._logs(params[0])
        raise AssertionError(f"the indexer asked for {method}")

    def _number(self, tag: str) -> int:
        if tag == "latest":
            return self.chain.head.number
        if tag == "finalized":
            return max(0, self.chain.head.number - self.chain.finality)
        return int(tag, 16)

    def _by_hash(self, block_hash: str) -> FakeBlock | None:
        return next((block for block in self.chain.blocks if "0x" + block.hash.hex() == block_hash), None)

    def _logs(self, wanted: dict[str, Any]) -> list[dict[str, Any]]:
        if "blockHash" in wanted:
            found = self._by_hash(wanted["blockHash"])
            if found is None:
                raise Retryable("fake refused eth_getLogs: unknown block")
            some = [found]
        else:
            last = int(wanted["toBlock"], 16)
            if last > self.chain.head.number:
                raise Retryable("fake refused eth_getLogs: BlockOutOfRange")
            some = self.chain.blocks[int(wanted["fromBlock"], 16) : last + 1]
        return [log for block in some for log in block.raw_logs() if log["address"] in wanted["address"]]


def fold(chain: FakeChain) -> Rows:
    """The chain tables as they must be, of those that have rows."""
    events = {
        (CONTRACTS[contract], topic_of(entry)): (contract, entry)
        for contract in CONTRACTS
        for entry in abi_events(contract).values()
    }
    rows: Rows = {"block": [], "log": []}
    digest = bytes(32)
    for block in chain.blocks[1:]:
        logs_hash = hashlib.sha256()
        for index, (address, topics, data) in enumerate(block.logs):
            raw = bytes.fromhex(address[2:])
            joined = b"".join(topics)
            rows["log"].append((block.number, index, block.transaction, raw, joined, data))
            logs_hash.update(block.number.to_bytes(8) + index.to_bytes(4) + block.transaction + raw)
            logs_hash.update(len(joined).to_bytes(4) + joined + len(data).to_bytes(4) + data)
            contract, entry = events[address, topics[0]]
            values = values_of(entry, topics, data)
            table = f"{snake_case(contract)}_{snake_case(entry['name'])}"
            rows.setdefault(table, []).append((block.number, index, block.transaction, block.time, *values))
        if block.logs:
            digest = hashlib.sha256(digest + block.hash + logs_hash.digest()).digest()
        rows["block"].append((block.number, block.hash, block.parent, block.time, len(block.logs), digest))
    return rows


LOG_LIES: tuple[Callable[[random.Random, list[Any]], Any], ...] = (
    lambda rng, logs: [],
    lambda rng, logs: [*logs, logs[-1]],
    lambda rng, logs: logs[::-1] if len(logs) > 1 else None,
    lambda rng, logs: [*logs[:-1], logs[-1] | {"blockHash": "0x" + rng.randbytes(32).hex()}],
    lambda rng, logs: [*logs[:-1], logs[-1] | {"removed": True}],
    lambda rng, logs: [*logs[:-1], logs[-1] | {"address": "0x" + "99" * 20}],
    lambda rng, logs: None,
)
HEADER_LIES: tuple[Callable[[random.Random, Any], Any], ...] = (
    lambda rng, header: None,
    lambda rng, header: header | {"parentHash": "0x" + rng.randbytes(32).hex()},
    lambda rng, header: header | {"hash": "0x12"},
)


def lie(rng: random.Random, method: str, answer: Any) -> Any:
    """The answer with one thing wrong, or no answer at all."""
    if rng.random() < 0.2 or not answer:
        raise Retryable(rng.choice(["it took too long", "busy (HTTP 503)", "no JSON"]))
    if method == "eth_getLogs":
        return rng.choice(LOG_LIES)(rng, answer)
    if method == "eth_getBlockByNumber":
        return rng.choice(HEADER_LIES)(rng, answer)
    return answer
