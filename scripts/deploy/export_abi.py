"""Export the contracts' ABIs into indexer/abi, which the indexer and the backend are generated from.

    python -m scripts.deploy.export_abi            write them
    python -m scripts.deploy.export_abi --check    fail if the committed ones differ from what compiles

Reads Brownie's artifacts in build/contracts, which `make setup` brings up to date, and needs no chain. Each file holds
one ABI and nothing else: entries sorted by type, name and arguments, one a line, so that a change shows as itself.
Standard library only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
ARTIFACTS = ROOT / "build" / "contracts"
TARGET = ROOT / "indexer" / "abi"

CONTRACTS = (
    "AccessManager",
    "AttestationRegistry",
    "Characters",
    "Items",
    "RevenueLedger",
    "RewardDistributor",
    "SessionForwarder",
    "Storefront",
    "TimelockController",
    "TroupeGovernor",
    "TroupeToken",
    "WorkRegistry",
    "WorkStanding",
)
"""The contracts that a deployment manifest names."""


class ExportError(Exception):
    """An artifact is missing or older than its source; the text says what to do."""


def artifact(contract: str) -> dict[str, Any]:
    """Brownie's artifact of a contract. Raises ExportError if there is none or its source has changed since."""
    path = ARTIFACTS / f"{contract}.json"
    if not path.exists():
        raise ExportError(f"{contract} is not compiled: run `make setup`")
    loaded: dict[str, Any] = json.loads(path.read_text())
    source = ROOT / loaded["sourcePath"]
    if not source.exists() or source.read_text() != loaded["source"]:
        raise ExportError(f"{loaded['sourcePath']} has changed since it was compiled: run `make setup`")
    return loaded


def order(entry: dict[str, Any]) -> tuple[str, str, list[str]]:
    return entry["type"], entry.get("name", ""), [given["type"] for given in entry.get("inputs", [])]


def text(abi: list[dict[str, Any]]) -> str:
    """The committed form of an ABI."""
    lines = [json.dumps(entry, sort_keys=True, separators=(",", ":")) for entry in sorted(abi, key=order)]
    return "[\n" + ",\n".join(lines) + "\n]\n"


def abi_hash(contract: str) -> str:
    """What a manifest says about the ABI it was written for: sha256 of the committed file, as 0x-hex."""
    return "0x" + hashlib.sha256((TARGET / f"{contract}.json").read_bytes()).hexdigest()


def export(check: bool) -> list[str]:
    """Write the ABIs, or only compare them. Returns the names of those that differed from the committed ones."""
    contents = {contract: text(artifact(contract)["abi"]) for contract in CONTRACTS}
    changed = []
    for contract, content in contents.items():
        target = TARGET / f"{contract}.json"
        if not target.exists() or target.read_text() != content:
            changed.append(contract)
            if not check:
                TARGET.mkdir(parents=True, exist_ok=True)
                target.write_text(content)
    extra = sorted(path.stem for path in TARGET.glob("*.json") if path.stem not in CONTRACTS)
    if not check:
        for name in extra:
            (TARGET / f"{name}.json").unlink()
    return changed + extra


def main(argv: list[str] | None = None) -> int:
    arguments = argparse.ArgumentParser(prog="export_abi", description="Export the contracts' ABIs into indexer/abi.")
    arguments.add_argument("--check", action="store_true", help="change nothing; fail if they differ")
    check = arguments.parse_args([] if argv is None else argv).check
    try:
        changed = export(check)
    except ExportError as error:
        print(f"ABIs: {error}", file=sys.stderr)
        return 1
    if check and changed:
        print(f"ABIs: {', '.join(changed)} differ from what is committed: run `make abi`", file=sys.stderr)
        return 1
    print("ABIs: " + (f"wrote {', '.join(changed)}" if changed else "the committed ones are those of the contracts"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
