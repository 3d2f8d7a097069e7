"""A chain whose logs are what a test says, and the slow reference that the mirror is held against.

`Emitter` puts a small contract behind the names of ours: it emits the logs that its call data lists. `reference` reads
the chain receipt by receipt and decodes with eth_abi alone; it shares no code with the indexer but the ABI files.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import eth_abi
import psycopg
from eth_utils.crypto import keccak

from indexer.models import metadata
from indexer.settings import IndexerSettings
from stack import rpc
from stack.postgres import DatabaseUrls

ABIS = Path(__file__).resolve().parents[2] / "indexer" / "abi"

EMITTER = (
    # Yul: walks its call data, records of (topics: 1 byte, size: 2 bytes, topics, data), one log each
    "0x5f5b368110600957005b806003913561ffff815f1a9160e81c1691838101908260051b810192848685015f378015608b5780600114608157"
    "806002146073578514605f57606381013591602360438301359201359035855fa45b01016001565b90602360438301359201359035845fa360"
    "59565b50602301359035835fa26059565b505035825fa16059565b505050815fa0605956"
)
CONTRACTS = {
    "WorkRegistry": "0x1000000000000000000000000000000000000001",
    "WorkStanding": "0x1000000000000000000000000000000000000004",
    "RevenueLedger": "0x1000000000000000000000000000000000000002",
    "TroupeGovernor": "0x1000000000000000000000000000000000000003",
}
GAS = hex(25_000_000)


@cache
def abi_events(contract: str) -> dict[str, dict[str, Any]]:
    entries = json.loads((ABIS / f"{contract}.json").read_bytes())
    return {entry["name"]: entry for entry in entries if entry["type"] == "event"}


def type_of(parameter: dict[str, Any]) -> str:
    kind = parameter["type"]
    if kind.startswith("tuple"):
        return "(" + ",".join(type_of(part) for part in parameter["components"]) + ")" + kind[5:]
    return kind


def topic_of(entry: dict[str, Any]) -> bytes:
    return keccak(text=f"{entry['name']}({','.join(type_of(each) for each in entry['inputs'])})")


def record(contract: str, name: str, *values: Any) -> tuple[str, bytes]:
    """(contract, the emitter's record) of an event with these arguments in the ABI's order."""
    entry = abi_events(contract)[name]
    topics = [topic_of(entry)]
    types, data = [], []
    for parameter, value in zip(entry["inputs"], values, strict=True):
        if parameter["indexed"]:
            topics.append(eth_abi.encode([type_of(parameter)], [value]))
        else:
            types.append(type_of(parameter))
            data.append(value)
    body = eth_abi.encode(types, data)
    return contract, bytes([len(topics)]) + len(body).to_bytes(2) + b"".join(topics) + body


def account(number: int) -> str:
    return "0x" + (0xA0000000 + number).to_bytes(20).hex()


def word(number: int) -> bytes:
    return keccak(number.to_bytes(32))


@dataclass
class Emitter:
    """A chain with the emitter behind the contracts' names. Blocks are mined only by `mine`."""

    url: str
    sender: str = ""
    start: int = 1
    manifest: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for address in CONTRACTS.values():
            self.call("anvil_setCode", address, EMITTER)
        self.call("evm_setAutomine", False)
        self.sender = self.call("eth_accounts")[0]
        self.start = self.height() + 1
        self.manifest = {
            "chainId": 31337,
            "network": "development",
            "startBlock": self.start,
            "genesisHash": self.call("eth_getBlockByNumber", "0x0", False)["hash"],
            "finality": {"mode": "tag"},
            "contracts": {name: {"address": at, "block": self.start} for name, at in CONTRACTS.items()},
            "tokens": [],
        }

    def call(self, method: str, *params: Any) -> Any:
        return rpc.call(self.url, method, *params, timeout_s=60)

    def height(self) -> int:
        return int(self.call("eth_blockNumber"), 16)

    def send(self, records: Iterable[tuple[str, bytes]]) -> list[str]:
        """One transaction for each contract of `records`, in the pool; returns their hashes."""
        by_contract: dict[str, list[bytes]] = {}
        for contract, body in records:
            by_contract.setdefault(contract, []).append(body)
        return [
            self.call(
                "eth_sendTransaction",
                {
                    "from": self.sender,
                    "to": CONTRACTS[contract],
                    "data": "0x" + b"".join(bodies).hex(),
                    "gas": GAS,
                    "gasPrice": "0x0",
                },
            )
            for contract, bodies in by_contract.items()
        ]

    def mine(self, *blocks: Sequence[tuple[str, bytes]]) -> None:
        """Mine one block for each list of records, an empty one for an empty list."""
        for records in blocks:
            self.send(records)
            self.call("evm_mine")

    def reorganise(self, depth: int) -> None:
        """Replace the last `depth` blocks by empty ones; their transactions are gone."""
        self.call("anvil_reorg", depth, [])

    def write_manifest(self, path: Path, **changes: Any) -> Path:
        path.write_text(json.dumps(self.manifest | changes))
        return path


def random_record(rng: random.Random) -> tuple[str, bytes]:
    """An event of ours with random arguments: static and dynamic, with a struct, with arrays."""
    work, other = rng.randrange(1, 9), rng.randrange(1, 9)
    token = rng.choice(["0x" + "00" * 20, account(900)])
    amount = rng.choice([1, 10**18, rng.randrange(2**112)])
    flags = [rng.random() < 0.5 for _ in range(8)]
    text = rng.choice(["", "Lower the fee", "naïve \u2603 text", "with\0nul"])
    calls = [rng.randbytes(rng.randrange(40)) for _ in range(rng.randrange(3))]
    targets = [account(number) for number in range(len(calls))]
    values = [rng.randrange(2**200) for _ in calls]
    choices: list[tuple[Any, ...]] = [
        ("WorkRegistry", "Transfer", account(rng.randrange(5)), account(rng.randrange(5)), work),
        ("WorkRegistry", "LicenceCreated", work, account(work), (5, *flags, rng.randrange(2**48), word(other))),
        (
            *("RevenueLedger", "PaymentReceived", work, token, account(rng.randrange(5))),
            *(amount, amount // 20, rng.randrange(1, 10), word(amount)),
        ),
        ("RevenueLedger", "EdgeSettled", work, other, token, rng.randrange(16), amount),
        ("RevenueLedger", "SplitActivated", work, rng.randrange(1, 4), word(work), rng.randrange(2**256), word(amount)),
        (
            *("TroupeGovernor", "ProposalCreated", rng.randrange(2**256), account(work), targets, values),
            *(["f()"] * len(calls), calls, 5, 9, text),
        ),
        ("TroupeGovernor", "VoteCast", account(work), 7, rng.randrange(3), amount, text),
    ]
    return record(*rng.choice(choices))


def random_block(rng: random.Random) -> list[tuple[str, bytes]]:
    return [random_record(rng) for _ in range(rng.choice([0, 0, 1, 2, 5]))]


def settings(urls: DatabaseUrls, url: str, manifest: Path, **changes: Any) -> IndexerSettings:
    given = {"indexer_lock_wait_s": 0.2, "rpc_url": url} | changes
    return IndexerSettings(indexer_database_url=urls.indexer, deployment=manifest, **given)


# --------------------------------------------------------------------------------------------------------- the oracle


def plain(parameter: dict[str, Any], value: Any) -> Any:
    """A decoded value as the database gives it back."""
    kind = parameter["type"]
    if kind.endswith("]"):
        return [in_json({**parameter, "type": kind[: kind.rindex("[")]}, part) for part in value]
    if kind == "address":
        return bytes.fromhex(value[2:])
    return storable(value)


def storable(value: Any) -> Any:
    """PostgreSQL's text holds any character but NUL."""
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value


def in_json(parameter: dict[str, Any], value: Any) -> Any:
    if parameter["type"].endswith("]"):
        return [
            in_json({**parameter, "type": parameter["type"][: parameter["type"].rindex("[")]}, part) for part in value
        ]
    if parameter["type"] == "tuple":
        parts = zip(parameter["components"], value, strict=True)
        return {snake_case(part["name"]): in_json(part, each) for part, each in parts}
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else storable(value)


def values_of(entry: dict[str, Any], topics: list[bytes], data: bytes) -> list[Any]:
    """The arguments of a log, decoded by eth_abi, structs opened."""
    in_topics = iter(topics[1:])
    rest = [each for each in entry["inputs"] if not each["indexed"]]
    in_data = iter(eth_abi.decode([type_of(each) for each in rest], data))
    values: list[Any] = []
    for parameter in entry["inputs"]:
        if parameter["indexed"]:
            (value,) = eth_abi.decode([type_of(parameter)], next(in_topics))
        else:
            value = next(in_data)
        if parameter["type"] == "tuple":
            values += [plain(part, each) for part, each in zip(parameter["components"], value, strict=True)]
        else:
            values.append(plain(parameter, value))
    return values


def snake_case(name: str) -> str:
    """Written anew, a character at a time."""
    found = ""
    for at, letter in enumerate(name):
        starts = letter.isupper() and at > 0
        after_word = starts and not name[at - 1].isupper()
        ends_acronym = starts and name[at - 1].isupper() and at + 1 < len(name) and name[at + 1].islower()
        found += ("_" if after_word or ends_acronym else "") + letter.lower()
    return found


Rows = dict[str, list[tuple[Any, ...]]]


def reference(emitter: Emitter) -> Rows:
    """All chain tables as they must be: a fold over every receipt of the chain, from the first block to the head."""
    events = {
        (CONTRACTS[contract], topic_of(entry)): (contract, entry)
        for contract in CONTRACTS
        for entry in abi_events(contract).values()
    }
    rows: Rows = {table.name: [] for table in metadata.sorted_tables if "undo" in table.info}
    digest = bytes(32)
    for number in range(emitter.start, emitter.height() + 1):
        block = emitter.call("eth_getBlockByNumber", hex(number), False)
        block_hash, time = bytes.fromhex(block["hash"][2:]), int(block["timestamp"], 16)
        logs_hash = hashlib.sha256()
        count = 0
        for receipt in emitter.call("eth_getBlockReceipts", hex(number)):
            for each in receipt["logs"]:
                if each["address"] not in CONTRACTS.values():
                    continue
                count += 1
                topics = [bytes.fromhex(topic[2:]) for topic in each["topics"]]
                data = bytes.fromhex(each["data"][2:])
                tx = bytes.fromhex(each["transactionHash"][2:])
                address = bytes.fromhex(each["address"][2:])
                index = int(each["logIndex"], 16)
                joined = b"".join(topics)
                rows["log"].append((number, index, tx, address, joined, data))
                logs_hash.update(number.to_bytes(8) + index.to_bytes(4) + tx + address)
                logs_hash.update(len(joined).to_bytes(4) + joined + len(data).to_bytes(4) + data)
                if topics and (each["address"], topics[0]) in events:
                    contract, entry = events[each["address"], topics[0]]
                    name = f"{snake_case(contract)}_{snake_case(entry['name'])}"
                    rows[name].append((number, index, tx, time, *values_of(entry, topics, data)))
        if count:
            digest = hashlib.sha256(digest + block_hash + logs_hash.digest()).digest()
        rows["block"].append((number, block_hash, bytes.fromhex(block["parentHash"][2:]), time, count, digest))
    return rows


def mirror(urls: DatabaseUrls) -> Rows:
    """All chain tables as they are."""
    rows: Rows = {}
    with psycopg.connect(urls.conninfo("troupe_backend")) as connection:
        for table in metadata.sorted_tables:
            if "undo" not in table.info:
                continue
            order = ", ".join(column.name for column in table.primary_key)
            found = connection.execute(f"SELECT * FROM chain.{table.name} ORDER BY {order}".encode())
            rows[table.name] = [
                tuple(int(value) if hasattr(value, "as_tuple") else value for value in row) for row in found
            ]
    return rows


def difference(left: Rows, right: Rows) -> str | None:
    """The first table and row that differ, or None."""
    for name in left.keys() | right.keys():
        ours, theirs = left.get(name, []), right.get(name, [])
        for one, other in zip(ours, theirs, strict=False):
            if one != other:
                return f"{name}: {one} != {other}"
        if len(ours) != len(theirs):
            return f"{name}: {len(ours)} rows != {len(theirs)}"
    return None
