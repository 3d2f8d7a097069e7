"""Who holds which role and which role a function needs, read back from the chain without Brownie.

A shorter sibling of scripts/deploy/verify.py, which reads everything back: this one asks a node with a few calls, so
that `./troupe doctor` and an operator's monitoring can do it often.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from eth_utils.crypto import keccak

from scripts.deploy.history import Difference, Findings, History, topic
from scripts.deploy.plan import RESTRICTED
from scripts.deploy.roles import function_updates, member_differences, misplaced
from stack import rpc
from stack.anvil import ROOT


class Node:
    """The logs of a manifest's contracts, asked of the node at a URL."""

    def __init__(self, url: str, manifest: Mapping[str, Any]) -> None:
        self.url = url
        self.manifest = manifest

    def logs(self, contract: str, signature: str) -> list[dict[str, Any]]:
        """All logs of one event since the deployment, oldest first; hashes and data as bytes."""
        wanted = {
            "address": self.manifest["contracts"][contract]["address"],
            "fromBlock": hex(self.manifest["startBlock"]),
            "toBlock": "latest",
            "topics": [topic(signature)],
        }
        return [_decoded(log) for log in rpc.call(self.url, "eth_getLogs", wanted)]


def _decoded(log: Mapping[str, Any]) -> dict[str, Any]:
    raw = bytes.fromhex
    return {
        "blockNumber": int(log["blockNumber"], 16),
        "logIndex": int(log["logIndex"], 16),
        "transactionHash": raw(log["transactionHash"][2:]),
        "topics": [raw(each[2:]) for each in log["topics"]],
        "data": raw(log["data"][2:]),
    }


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


def function_differences(node: Node) -> Iterator[Difference]:
    """Restricted functions whose role on the chain is not that of the table."""
    contracts = node.manifest["contracts"]
    question = keccak(text="getTargetFunctionRole(address,bytes4)")[:4]
    updated = function_updates(node)
    for name, functions in RESTRICTED.items():
        target = contracts[name]["address"]
        selectors = _selectors(name)
        for function, role in functions.items():
            selector = selectors[function]
            data = question + bytes(12) + bytes.fromhex(target[2:]) + selector.ljust(32, b"\0")
            asked = {"to": contracts["AccessManager"]["address"], "data": "0x" + data.hex()}
            found = int(rpc.call(node.url, "eth_call", asked, "latest"), 16)
            if found != role:
                yield Difference(misplaced(name, function, found, role), updated.get((target, "0x" + selector.hex())))


def compare(url: str, manifest: Mapping[str, Any]) -> Findings:
    """Every difference between the table of roles and the chain; what executed votes have changed is set apart."""
    node = Node(url, manifest)
    return History(node).judge(chain(member_differences(node), function_differences(node)))
