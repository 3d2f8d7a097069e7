"""Who holds which role and which role a function needs, read back from the chain without Brownie.

A shorter sibling of scripts/deploy/verify.py, which reads everything back: this one asks a node with a few calls, so
that `troupe doctor` and an operator's monitoring can do it often.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from scripts.deploy.plan import (
    RESTRICTED,
    ROLE_NAMES,
    expected_members,
)
from stack import rpc
from stack.anvil import ROOT

Member = tuple[str, str]
"""A role's name and a member's address, EIP-55."""

TIMELOCK_ROLES = {
    bytes(32): "DEFAULT_ADMIN_ROLE",
    **{keccak(text=name): name for name in ("PROPOSER_ROLE", "CANCELLER_ROLE", "EXECUTOR_ROLE")},
}


def _topic(signature: str) -> str:
    return "0x" + keccak(text=signature).hex()


def _replay(url: str, address: str, start: int, granted: str, revoked: str) -> Iterator[tuple[bytes, str]]:
    """(role, account) of every grant that was not taken back, from the events of one contract."""
    topics = [_topic(granted), _topic(revoked)]
    wanted = {"address": address, "fromBlock": hex(start), "toBlock": "latest", "topics": [topics]}
    held: dict[tuple[bytes, str], bool] = {}
    for log in rpc.call(url, "eth_getLogs", wanted):
        role = bytes.fromhex(log["topics"][1][2:])
        held[role, to_checksum_address("0x" + log["topics"][2][-40:])] = log["topics"][0] == topics[0]
    return (entry for entry, holds in held.items() if holds)


def manager_members(url: str, manifest: Mapping[str, Any]) -> set[Member]:
    """Members of the AccessManager's roles."""
    address, start = manifest["contracts"]["AccessManager"]["address"], manifest["startBlock"]
    granted, revoked = "RoleGranted(uint64,address,uint32,uint48,bool)", "RoleRevoked(uint64,address)"
    replayed = [(int.from_bytes(role), who) for role, who in _replay(url, address, start, granted, revoked)]
    return {(ROLE_NAMES.get(role, str(role)), who) for role, who in replayed}


def timelock_members(url: str, manifest: Mapping[str, Any]) -> set[Member]:
    """Members of the Timelock's roles; the zero address stands for anyone."""
    address, start = manifest["contracts"]["TimelockController"]["address"], manifest["startBlock"]
    granted, revoked = "RoleGranted(bytes32,address,address)", "RoleRevoked(bytes32,address,address)"
    replayed = _replay(url, address, start, granted, revoked)
    return {(TIMELOCK_ROLES.get(role, "0x" + role.hex()), who) for role, who in replayed}


def _selectors(contract: str, folder: Path = ROOT / "indexer" / "abi") -> dict[str, bytes]:
    """Function name -> selector, by the committed ABI; restricted functions are not overloaded."""

    def kind(parameter: Mapping[str, Any]) -> str:
        if not parameter["type"].startswith("tuple"):
            return str(parameter["type"])
        parts = ",".join(map(kind, parameter["components"]))
        return f"({parts}){str(parameter['type']).removeprefix('tuple')}"

    entries = json.loads((folder / f"{contract}.json").read_bytes())
    functions = [entry for entry in entries if entry["type"] == "function"]
    return {f["name"]: keccak(text=f"{f['name']}({','.join(map(kind, f['inputs']))})")[:4] for f in functions}


def function_problems(url: str, manifest: Mapping[str, Any]) -> Iterator[str]:
    """Restricted functions whose role on the chain is not that of the table."""
    manager = manifest["contracts"]["AccessManager"]["address"]
    question = keccak(text="getTargetFunctionRole(address,bytes4)")[:4]
    for name, functions in RESTRICTED.items():
        target = manifest["contracts"][name]["address"]
        selectors = _selectors(name)
        for function, role in functions.items():
            data = question + bytes(12) + bytes.fromhex(target[2:]) + selectors[function].ljust(32, b"\0")
            found = int(rpc.call(url, "eth_call", {"to": manager, "data": "0x" + data.hex()}, "latest"), 16)
            if found != role:
                yield f"{name}.{function} is for role {ROLE_NAMES.get(found, found)}, not {ROLE_NAMES[role]}"


def problems(url: str, manifest: Mapping[str, Any]) -> list[str]:
    """Every difference between the table of roles and the chain, in words; none is the good answer."""
    manager, timelock = expected_members(manifest)
    found: list[str] = []
    for where, has, should in (
        ("AccessManager", manager_members(url, manifest), manager),
        ("Timelock", timelock_members(url, manifest), timelock),
    ):
        found += [f"{who} has role {role} of the {where} and should not" for role, who in sorted(has - should)]
        found += [f"{who} lacks role {role} of the {where}" for role, who in sorted(should - has)]
    return [*found, *function_problems(url, manifest)]
