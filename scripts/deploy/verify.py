"""Read a deployment back: `python3 scripts/brownie.py run deploy/verify --network troupe`.

Everything that decides who can do what is read from the chain and compared with the manifest: code, wiring, every
role ever granted (from the events, so that no member can hide), every function's role, every parameter. A difference is
named and the exit status is 1. One that a vote has made is a difference too: bring the manifest up to date with it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from brownie import Contract, project, web3
from eth_utils import keccak, to_checksum_address

from backend.rewards.merkle import Tree, leaf_split
from scripts.deploy import manifest as manifests
from scripts.deploy.export_abi import abi_hash
from scripts.deploy.plan import (
    ADMIN,
    GUARDIAN,
    MINTER,
    MODERATOR,
    NATIVE,
    PUBLISHER,
    RESTRICTED,
    ROLE_NAMES,
    ZERO_ADDRESS,
)

Role = tuple[str, str]
"""A role's name and a member's address."""


def _topic(signature: str) -> str:
    return "0x" + keccak(text=signature).hex()


def _address(word: bytes) -> str:
    return str(to_checksum_address(bytes(word)[-20:]))


class Reader:
    """The contracts of a manifest, bound, and their logs since the deployment."""

    def __init__(self, web3: Any, manifest: dict[str, Any], project: Any, contract_at: Any) -> None:
        self.web3 = web3
        self.manifest = manifest
        self.parameters = manifest["parameters"]
        self.address = {name: entry["address"] for name, entry in manifest["contracts"].items()}
        self._bind = lambda name: contract_at(name, self.address[name], project[name].abi)
        self._bound: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        if name not in self.address:
            raise AttributeError(name)
        if name not in self._bound:
            self._bound[name] = self._bind(name)
        return self._bound[name]

    def logs(self, contract: str, signature: str) -> list[Any]:
        """All logs of one event, oldest first."""
        found: list[Any] = self.web3.eth.get_logs(
            {
                "address": self.address[contract],
                "topics": [_topic(signature)],
                "fromBlock": self.manifest["startBlock"],
                "toBlock": "latest",
            }
        )
        return found

    def called(self, address: str) -> str:
        """An address with the name it has in the manifest, if any."""
        names = {value: name for name, value in self.address.items()} | {ZERO_ADDRESS: "anyone"}
        for role, who in self.parameters["people"].items():
            for person in [who] if isinstance(who, str) else who:
                names.setdefault(person, role)
        return f"{names[address]} {address}" if address in names else address


def manager_members(reader: Reader) -> set[Role]:
    """Members of every role of the AccessManager, replayed from its events."""
    granted = reader.logs("AccessManager", "RoleGranted(uint64,address,uint32,uint48,bool)")
    revoked = reader.logs("AccessManager", "RoleRevoked(uint64,address)")
    members: set[Role] = set()
    for log in sorted([*granted, *revoked], key=lambda log: (log["blockNumber"], log["logIndex"])):
        role = int.from_bytes(log["topics"][1], "big")
        entry = (ROLE_NAMES.get(role, str(role)), _address(log["topics"][2]))
        members.add(entry) if log in granted else members.discard(entry)
    return members


def timelock_members(reader: Reader) -> set[Role]:
    """Members of every role of the Timelock, replayed from its events."""
    timelock = reader.TimelockController
    names = {
        bytes(getattr(timelock, name)()): name
        for name in ("DEFAULT_ADMIN_ROLE", "PROPOSER_ROLE", "CANCELLER_ROLE", "EXECUTOR_ROLE")
    }
    granted = reader.logs("TimelockController", "RoleGranted(bytes32,address,address)")
    revoked = reader.logs("TimelockController", "RoleRevoked(bytes32,address,address)")
    members: set[Role] = set()
    for log in sorted([*granted, *revoked], key=lambda log: (log["blockNumber"], log["logIndex"])):
        role = bytes(log["topics"][1])
        entry = (names.get(role, "0x" + role.hex()), _address(log["topics"][2]))
        members.add(entry) if log in granted else members.discard(entry)
    return members


def expected_manager_members(reader: Reader) -> set[Role]:
    people, timelock = reader.parameters["people"], reader.address["TimelockController"]
    return {
        (ROLE_NAMES[ADMIN], timelock),
        (ROLE_NAMES[PUBLISHER], people["publisher"]),
        (ROLE_NAMES[MINTER], timelock),
        (ROLE_NAMES[MODERATOR], people["moderator"]),
        (ROLE_NAMES[MODERATOR], timelock),
        (ROLE_NAMES[GUARDIAN], people["guardian"]),
    }


def expected_timelock_members(reader: Reader) -> set[Role]:
    timelock, governor = reader.address["TimelockController"], reader.address["TroupeGovernor"]
    return {
        ("DEFAULT_ADMIN_ROLE", timelock),
        ("PROPOSER_ROLE", governor),
        ("CANCELLER_ROLE", governor),
        ("EXECUTOR_ROLE", ZERO_ADDRESS),
    }


def member_problems(reader: Reader) -> Iterator[str]:
    for where, found, expected in (
        ("AccessManager", manager_members(reader), expected_manager_members(reader)),
        ("Timelock", timelock_members(reader), expected_timelock_members(reader)),
    ):
        for role, account in sorted(found - expected):
            yield f"{where}: {reader.called(account)} has role {role} and should not"
        for role, account in sorted(expected - found):
            yield f"{where}: {reader.called(account)} lacks role {role}"


def function_problems(reader: Reader) -> Iterator[str]:
    """Each restricted function has the role of the table, and nothing else was ever changed in the AccessManager."""
    manager = reader.AccessManager
    stated = set()
    for name, functions in RESTRICTED.items():
        contract = getattr(reader, name)
        for function, role in functions.items():
            selector = getattr(contract, function).signature
            stated.add((contract.address, selector))
            found = int(manager.getTargetFunctionRole(contract.address, selector))
            if found != role:
                yield f"{name}.{function} is for role {ROLE_NAMES.get(found, found)}, not {ROLE_NAMES[role]}"
        if manager.isTargetClosed(contract.address):
            yield f"{name} is closed in the AccessManager"
        if contract.authority() != manager.address:
            yield f"{name} obeys {contract.authority()} instead of the AccessManager"
    for log in reader.logs("AccessManager", "TargetFunctionRoleUpdated(address,bytes4,uint64)"):
        target, selector = _address(log["topics"][1]), "0x" + bytes(log["data"])[:4].hex()
        if (target, selector) not in stated and int(manager.getTargetFunctionRole(target, selector)) != ADMIN:
            yield f"function {selector} of {reader.called(target)} has a role that the table does not know"
    for event in (
        "RoleAdminChanged(uint64,uint64)",
        "RoleGuardianChanged(uint64,uint64)",
        "RoleGrantDelayChanged(uint64,uint32,uint48)",
        "TargetAdminDelayUpdated(address,uint32,uint48)",
    ):
        if reader.logs("AccessManager", event):
            yield f"the AccessManager has emitted {event.partition('(')[0]}, which the table does not know"


def value_problems(reader: Reader) -> Iterator[str]:
    """Wiring and parameters, each read back."""
    for what, found, stated in values(reader):
        if str(found) != str(stated):
            yield f"{what} is {found}, the manifest says {stated}"


def values(reader: Reader) -> Iterator[tuple[str, Any, Any]]:
    """(what, value on the chain, value by the manifest)."""
    at, p = reader.address, reader.parameters
    token, governor, timelock = reader.TroupeToken, reader.TroupeGovernor, reader.TimelockController
    ledger, registry, distributor = reader.RevenueLedger, reader.WorkRegistry, reader.RewardDistributor

    yield "WorkRegistry.ledger", registry.ledger(), at["RevenueLedger"]
    yield "RevenueLedger.registry", ledger.registry(), at["WorkRegistry"]
    yield "TroupeGovernor.token", governor.token(), at["TroupeToken"]
    yield "TroupeGovernor.timelock", governor.timelock(), at["TimelockController"]
    yield "TroupeGovernor.accessManager", governor.accessManager(), at["AccessManager"]
    yield "TroupeGovernor.proposalGuardian", governor.proposalGuardian(), p["people"]["guardian"]
    yield "TroupeGovernor.GUARDIAN_ROLE", governor.GUARDIAN_ROLE(), GUARDIAN
    yield "TroupeToken.treasury", token.treasury(), at["TimelockController"]
    yield "RewardDistributor.bondToken", distributor.bondToken(), at["TroupeToken"]

    stated = p["token"]
    yield "TroupeToken.name", token.name(), stated["name"]
    yield "TroupeToken.symbol", token.symbol(), stated["symbol"]
    yield "TroupeToken.cap", token.cap(), stated["cap"]
    yield "the deployer's tokens", token.balanceOf(p["people"]["deployer"]), 0

    stated = p["governance"]
    yield "votingDelay", governor.votingDelay(), stated["votingDelay"]
    yield "votingPeriod", governor.votingPeriod(), stated["votingPeriod"]
    yield "proposalThreshold", governor.proposalThreshold(), stated["proposalThreshold"]
    yield "quorumNumerator", governor.quorumNumerator(), stated["quorumPercent"]
    yield "lateQuorumVoteExtension", governor.lateQuorumVoteExtension(), stated["lateQuorumExtension"]
    yield "the Timelock's delay", timelock.getMinDelay(), stated["timelockDelay"]

    yield "feeBps", ledger.feeBps(), p["feeBps"]
    yield "royaltyBps", registry.royaltyBps(), p["royaltyBps"]
    yield "contractURI", registry.contractURI(), p["contractUri"]
    leaves = [leaf_split(leaf["account"], int(leaf["weight"])) for leaf in p["platformSplit"]["leaves"]]
    tree, split = Tree(leaves), ledger.splitOf(0, ledger.workOf(0)["version"])
    yield "the root of the platform's split", "0x" + bytes(split["root"]).hex(), "0x" + tree.root.hex()
    yield "the weight of the platform's split", split["totalWeight"], tree.total
    for entry in reader.manifest["tokens"]:
        yield f"{entry['symbol']} allowed", ledger.isTokenAllowed(entry["address"]), True

    yield from reward_values(reader)
    wallets = p["wallets"]
    for wallet, owner in [
        (wallets["treasury"], at["TimelockController"]),
        *zip(wallets["founders"], p["people"]["founders"], strict=True),
    ]:
        vesting = Contract.from_abi("VestingWallet", wallet, WALLET_ABI, persist=False)
        yield f"owner of the wallet {wallet}", vesting.owner(), owner
        yield f"start of the wallet {wallet}", vesting.start(), wallets["start"]
        yield f"duration of the wallet {wallet}", vesting.duration(), wallets["duration"]


def reward_values(reader: Reader) -> Iterator[tuple[str, Any, Any]]:
    distributor, stated = reader.RewardDistributor, reader.parameters["rewards"]
    found = distributor.parameters()
    yield "the rewards' genesis", distributor.genesis(), stated["genesis"]
    yield "the rewards' epoch", distributor.EPOCH_LENGTH(), stated["epochSeconds"]
    for name, key in (
        ("window", "windowSeconds"),
        ("resolvePeriod", "resolveSeconds"),
        ("publisherBond", "publisherBond"),
        ("minChallengerBond", "minChallengerBond"),
        ("maxChallengerBond", "maxChallengerBond"),
    ):
        yield f"the rewards' {name}", found[name], stated[key]
    for token, caps in stated["caps"].items():
        epoch_cap, account_cap = distributor.capsOf(token)
        name = "the native coin" if token == NATIVE else token
        yield f"the epoch's cap of {name}", epoch_cap, caps["epoch"]
        yield f"the account's cap of {name}", account_cap, caps["account"]


def code_problems(reader: Reader) -> Iterator[str]:
    chain_id = reader.web3.eth.chain_id
    if chain_id != reader.manifest["chainId"]:
        yield f"the node is on chain {chain_id}, the manifest is for chain {reader.manifest['chainId']}"
        return
    genesis = "0x" + bytes(reader.web3.eth.get_block(0)["hash"]).hex()
    if genesis != reader.manifest["genesisHash"]:
        yield "the chain's first block is another one: it was started anew since the deployment; deploy again"
        return
    for name, entry in reader.manifest["contracts"].items():
        if not reader.web3.eth.get_code(entry["address"]):
            yield f"{name}: there is no contract at {entry['address']}"
        elif manifests.code_hash(reader.web3, entry["address"]) != entry["codeHash"]:
            yield f"{name}: the code at {entry['address']} is not what was deployed"
        if entry["abiHash"] != abi_hash(name):
            yield f"{name}: the committed ABI is not the one that was deployed"


def problems(web3: Any, manifest: dict[str, Any], project: Any, contract_at: Any) -> list[str]:
    """Every difference between a manifest and what stands on the chain; empty if there is none."""
    reader = Reader(web3, manifest, project, contract_at)
    found = list(code_problems(reader))
    if found:
        return found  # nothing else can be read from other code
    return [*member_problems(reader), *function_problems(reader), *value_problems(reader)]


def _view(name: str, kind: str) -> dict[str, Any]:
    outputs = [{"name": "", "type": kind}]
    return {"type": "function", "name": name, "inputs": [], "outputs": outputs, "stateMutability": "view"}


WALLET_ABI = [_view("owner", "address"), _view("start", "uint256"), _view("duration", "uint256")]


def role_table(reader: Reader) -> str:
    """Who holds which role, for people."""
    lines = ["  AccessManager"]
    lines += [f"    {role:<20}{reader.called(account)}" for role, account in sorted(manager_members(reader))]
    lines += ["  Timelock"]
    lines += [f"    {role:<20}{reader.called(account)}" for role, account in sorted(timelock_members(reader))]
    return "\n".join(lines)


def main() -> None:
    """Compare the chain at TROUPE_RPC_URL with the manifest at TROUPE_DEPLOYMENT; exit 1 with every difference."""
    chain_id = web3.eth.chain_id
    path = manifests.path(dict(os.environ), chain_id)
    if not path.exists():
        sys.exit(f"there is no manifest at {path}: set TROUPE_DEPLOYMENT, or deploy first")
    manifest = json.loads(path.read_text())
    loaded = project.get_loaded_projects()[0]

    def bind(name: str, address: str, abi: list[Any]) -> Any:
        return Contract.from_abi(name, address, abi, persist=False)

    if found := problems(web3, manifest, loaded, bind):
        sys.exit(f"{len(found)} differences from {path}:\n  " + "\n  ".join(found))
    print(role_table(Reader(web3, manifest, loaded, bind)))
    print(f"chain {chain_id} is as {path} says: code, wiring, roles, functions, parameters")
