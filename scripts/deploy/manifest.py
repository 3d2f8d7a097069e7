"""The deployment manifest: where a deployment stands and with which parameters, as the other parts read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eth_utils import keccak

from scripts.deploy.export_abi import CONTRACTS, ROOT, abi_hash
from scripts.deploy.plan import DAY, DEVELOPMENT_CHAIN, NATIVE, Plan, parameters, tree_digest
from scripts.deploy.system import System, stream_caps

DEVELOPMENT_MANIFEST = ROOT / ".troupe" / "deployment.json"
EPOCH_LENGTH = 7 * DAY


def path(environment: dict[str, str], chain_id: int) -> Path:
    """Where the manifest is kept: TROUPE_DEPLOYMENT, or the usual place of the chain."""
    if given := environment.get("TROUPE_DEPLOYMENT"):
        return Path(given)
    if chain_id == DEVELOPMENT_CHAIN:
        return DEVELOPMENT_MANIFEST
    return ROOT / "indexer" / "deployments" / f"{chain_id}.json"


def read(file: Path) -> dict[str, Any]:
    """A manifest that was written. Ends the program with a sentence where there is none or it cannot be used."""
    try:
        found = json.loads(file.read_text())
    except FileNotFoundError:
        raise SystemExit(f"there is no manifest at {file}: set TROUPE_DEPLOYMENT, or deploy first") from None
    except OSError as error:
        raise SystemExit(f"the manifest {file} cannot be read ({error.strerror}): set TROUPE_DEPLOYMENT") from None
    except (ValueError, RecursionError):
        raise SystemExit(f"{file} is not JSON: bring back the manifest that the deployment wrote") from None
    wanted = ("chainId", "startBlock", "contracts", "parameters")
    if not isinstance(found, dict) or (missing := [name for name in wanted if name not in found]):
        what = "no object" if not isinstance(found, dict) else f"without {', '.join(missing)}"
        raise SystemExit(f"{file} is {what}: bring back the manifest that the deployment wrote")
    return found


def stated_chain(environment: Mapping[str, str], chain_id: int) -> int:
    """TROUPE_CHAIN_ID, or the node's. Ends the program with a sentence where it is no number."""
    given = environment.get("TROUPE_CHAIN_ID") or str(chain_id)
    if not (given.isascii() and given.isdigit() and len(given) <= 78):
        raise SystemExit(f"TROUPE_CHAIN_ID is {given!r}: give the number of the chain, such as 31337")
    return int(given)


def chain_of(web3: Any) -> int:
    """The chain id of the node. Ends the program with a sentence where no node answers."""
    try:
        return int(web3.eth.chain_id)
    except Exception as error:  # whatever the client's transport raises: there is no node to speak to
        raise SystemExit(
            f"the node does not answer ({type(error).__name__}): start it, or set TROUPE_RPC_URL to one that runs"
        ) from None


def code_hash(web3: Any, address: str) -> str:
    """keccak256 of the run-time code at an address, as 0x-hex."""
    return "0x" + keccak(bytes(web3.eth.get_code(address))).hex()


def build(web3: Any, plan: Plan, system: System, deployer: str) -> dict[str, Any]:
    """The manifest of a deployment that has just been made."""
    tokens = [{"address": NATIVE, "symbol": "ETH", "decimals": 18}]
    caps = stream_caps(plan, system)
    bound = {contract.address: contract for contract in system.contracts.values()}
    for address in caps:
        if address != NATIVE:
            token = bound.get(address) or _erc20(web3, address)
            tokens.append({"address": address, "symbol": token.symbol(), "decimals": int(token.decimals())})
    return {
        "chainId": web3.eth.chain_id,
        "network": plan.network,
        "startBlock": min(system.blocks.values()),
        "genesisHash": "0x" + bytes(web3.eth.get_block(0)["hash"]).hex(),
        "finality": dict(plan.finality),
        "contracts": {
            name: {
                "address": system.contracts[name].address,
                "block": system.blocks[name],
                "abiHash": abi_hash(name),
                "codeHash": code_hash(web3, system.contracts[name].address),
            }
            for name in CONTRACTS
        },
        "tokens": tokens,
        "parameters": {
            **parameters(plan),
            "people": {
                "deployer": deployer,
                "publisher": plan.people.publisher,
                "moderator": plan.people.moderator,
                "guardian": plan.people.guardian,
                "founders": list(plan.people.founders),
                "voters": list(plan.people.voters),
            },
            "wallets": {
                "treasury": system.treasury_wallet,
                "founders": system.founder_wallets,
                "start": system.vesting_start,
                "duration": plan.token.vesting,
            },
            "genesisSupply": {name: str(amount) for name, amount in plan.allocations().items()}
            | {"voters": {voter: str(amount) for voter, amount in plan.people.voters.items()}},
            "rewards": {
                "genesis": system.genesis,
                "epochSeconds": EPOCH_LENGTH,
                "windowSeconds": plan.rewards.window,
                "resolveSeconds": plan.rewards.resolve_period,
                "publisherBond": str(plan.rewards.publisher_bond),
                "minChallengerBond": str(plan.rewards.min_challenger_bond),
                "maxChallengerBond": str(plan.rewards.max_challenger_bond),
                "caps": {
                    address: {"epoch": str(cap.epoch), "account": str(cap.account)} for address, cap in caps.items()
                },
                "voicePrice": {address: str(cap.voice) for address, cap in caps.items() if cap.voice},
            },
            "platformSplit": {
                "leaves": [{"account": account, "weight": str(weight)} for account, weight in system.platform_leaves],
                "treeDigest": "0x" + tree_digest(system.platform_leaves).hex(),
            },
        },
    }


def _erc20(web3: Any, address: str) -> Any:
    abi = [
        {"type": "function", "name": name, "inputs": [], "stateMutability": "view",
         "outputs": [{"name": "", "type": kind}]}
        for name, kind in (("symbol", "string"), ("decimals", "uint8"))
    ]  # fmt: skip
    functions = web3.eth.contract(address=address, abi=abi).functions

    class Reader:
        symbol = staticmethod(lambda: functions.symbol().call())
        decimals = staticmethod(lambda: functions.decimals().call())

    return Reader
