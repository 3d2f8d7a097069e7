"""The deployment manifest: which contracts are where, on which chain, and when a block there is final."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from indexer import abi
from indexer.errors import Fatal
from indexer.keccak import is_checksummed
from indexer.settings import DEVELOPMENT_CHAIN_ID

NATIVE = bytes(20)
"""The native coin's place among token addresses."""


@dataclass(frozen=True)
class Contract:
    name: str
    address: bytes
    block: int
    """The block that it was deployed in."""
    code_hash: bytes | None
    """keccak of its code, where the manifest gives it."""


@dataclass(frozen=True)
class Finality:
    """A block is final when `depth` blocks lie above it and, by mode tag, the node's `finalized` has reached it."""

    mode: Literal["tag", "depth"]
    depth: int


@dataclass(frozen=True)
class Deployment:
    chain_id: int
    network: str
    start_block: int
    """The first block that can hold a log of the contracts; at least 1."""
    genesis_hash: bytes
    finality: Finality
    contracts: tuple[Contract, ...]
    tokens: tuple[tuple[bytes, str], ...]
    """(address, symbol) of what works can be paid in."""

    @property
    def development(self) -> bool:
        """Whether it is the local chain of development, where every block may be reorganised."""
        return self.chain_id == DEVELOPMENT_CHAIN_ID

    def addresses(self) -> dict[str, str]:
        """name -> address in lower-case hex, as the cursor keeps it."""
        return {contract.name: "0x" + contract.address.hex() for contract in self.contracts}

    def extends(self, chain_id: int, genesis_hash: bytes, addresses: Mapping[str, str]) -> bool:
        """Whether it is on that chain and has all those contracts, and perhaps more."""
        return (chain_id, genesis_hash) == (self.chain_id, self.genesis_hash) and (
            addresses.items() <= self.addresses().items()
        )

    def contract(self, name: str) -> Contract | None:
        return next((contract for contract in self.contracts if contract.name == name), None)


class _Manifest:
    """A manifest's JSON with an error for each thing that is not as it should be."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            raise Fatal(
                f"There is no deployment manifest at {path}: deploy the contracts, or name another in TROUPE_DEPLOYMENT"
            ) from None
        except OSError as error:
            raise Fatal(f"The deployment manifest {path} cannot be read: {error.strerror}") from None
        try:
            self.root = json.loads(text)
        except ValueError as error:
            raise self.wrong(f"is no JSON ({error})") from None
        if not isinstance(self.root, dict):
            raise self.wrong("is no JSON object")

    def wrong(self, what: str) -> Fatal:
        return Fatal(f"The deployment manifest {self.path} {what}: deploy again, or name another in TROUPE_DEPLOYMENT")

    def get(self, source: Any, key: str, kind: type, where: str = "") -> Any:
        value = source.get(key) if isinstance(source, dict) else None
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self.wrong(f"has no {kind.__name__} {where}{key}")
        return value

    def number(self, source: Any, key: str, where: str = "") -> int:
        value: int = self.get(source, key, int, where)
        if value < 0:
            raise self.wrong(f"has a negative {where}{key}")
        return value

    def address(self, source: Any, where: str) -> bytes:
        value = self.get(source, "address", str, where)
        mixed = value[2:] not in (value[2:].lower(), value[2:].upper())
        if not re.fullmatch("0x[0-9a-fA-F]{40}", value) or (mixed and not is_checksummed(value)):
            raise self.wrong(f"has no address at {where}address")
        return bytes.fromhex(value[2:])

    def hash(self, source: Any, key: str, where: str = "") -> bytes:
        value = self.get(source, key, str, where)
        try:
            found = bytes.fromhex(value.removeprefix("0x"))
        except ValueError:
            found = b""
        if len(found) != 32:
            raise self.wrong(f"has no 32-byte hash at {where}{key}")
        return found


def load(path: Path) -> Deployment:
    """Read a manifest. Raises Fatal with one sentence for anything missing or of a wrong form."""
    manifest = _Manifest(path)
    root = manifest.root
    finality = manifest.get(root, "finality", dict)
    mode = manifest.get(finality, "mode", str, "finality.")
    if mode not in ("tag", "depth"):
        raise manifest.wrong(f'has the finality mode "{mode}", which is neither "tag" nor "depth"')
    depth = manifest.number(finality, "depth", "finality.") if mode == "depth" or "depth" in finality else 0
    contracts = []
    for name, entry in manifest.get(root, "contracts", dict).items():
        where = f"contracts.{name}."
        code_hash = manifest.hash(entry, "codeHash", where) if isinstance(entry, dict) and "codeHash" in entry else None
        contracts.append(
            Contract(name, manifest.address(entry, where), manifest.number(entry, "block", where), code_hash)
        )
    if not contracts:
        raise manifest.wrong("names no contract")
    unknown = [contract.name for contract in contracts if contract.name not in abi.contracts()]
    if unknown:
        raise Fatal(f"No ABI is committed for {', '.join(unknown)}, which {path} names: run `make abi`")
    if len({contract.address for contract in contracts}) != len(contracts):
        raise manifest.wrong("gives one address to two contracts")
    tokens = []
    for number, token in enumerate(manifest.get(root, "tokens", list) if "tokens" in root else []):
        where = f"tokens[{number}]."
        tokens.append((manifest.address(token, where), manifest.get(token, "symbol", str, where)))
    return Deployment(
        chain_id=manifest.number(root, "chainId"),
        network=manifest.get(root, "network", str),
        start_block=max(1, min(manifest.number(root, "startBlock"), *(contract.block for contract in contracts))),
        genesis_hash=manifest.hash(root, "genesisHash"),
        finality=Finality("tag" if mode == "tag" else "depth", depth),
        contracts=tuple(contracts),
        tokens=tuple(tokens),
    )
