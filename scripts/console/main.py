"""The console: `make console`, or `python3 scripts/brownie.py run console/main --interactive --network troupe`.

Opens Brownie's console on the chain at TROUPE_RPC_URL with the names of scripts/console: the commands that help()
lists, the people whose keys the chain has, the contracts of the manifest at TROUPE_DEPLOYMENT. Development chain only.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from brownie import Contract, project, web3

from scripts.console.chain import Troupe
from scripts.console.commands import names
from scripts.deploy.plan import DEVELOPMENT_CHAIN

for noun in ("people", "works", "shop", "votes", "rewards"):  # in the order of help()
    import_module(f"scripts.console.{noun}")


def opened(environment: dict[str, str]) -> Troupe:
    """The deployment that the environment names. Raises SystemExit with one sentence where there is none."""
    path = Path(environment.get("TROUPE_DEPLOYMENT", ".troupe/deployment.json"))
    if not path.exists():
        sys.exit(f"there is no deployment at {path}: start one with `make dev`")
    manifest = json.loads(path.read_text())
    if web3.eth.chain_id != DEVELOPMENT_CHAIN:
        sys.exit(f"this is chain {web3.eth.chain_id}; the console plays with keys of the development chain alone")
    if "0x" + bytes(web3.eth.get_block(0)["hash"]).hex() != manifest["genesisHash"]:
        sys.exit(f"the chain is not the one of {path}: it was started anew; run `make dev` again")
    loaded = project.get_loaded_projects()[0]

    def bind(name: str, address: str) -> Any:
        return Contract.from_abi(name, address, loaded[name].abi, persist=False)

    builds = (build for _, build in loaded._build.items())
    api = environment.get("TROUPE_PUBLIC_URL", "")
    return Troupe(web3, manifest, bind, path.parent / "console", api=api, builds=builds)


def greeting(troupe: Troupe) -> str:
    count = troupe.WorkRegistry.workCount()
    works = f"{count} work{'' if count == 1 else 's'}"
    return f"Troupe on chain {troupe.manifest['chainId']}, {works}. help() lists what you can do, quit() ends."


def main() -> None:
    """Put the console's names where `--interactive` looks: this module and, before it, the locals of this function."""
    troupe = opened(dict(os.environ))
    globals().update(names(troupe))
    print(greeting(troupe))
