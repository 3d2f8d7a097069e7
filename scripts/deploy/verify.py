"""Read a deployment back: `python3 scripts/brownie.py run deploy/verify --network troupe`.

Everything that decides who can do what is read from the chain and compared with the manifest: code, wiring, every
role ever granted (from the events, so that no member can hide), every function's role, every parameter. A difference is
named and the exit status is 1, but for what an executed vote has changed by the chain's own history (history.py): that
is listed apart, with its block.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from itertools import chain
from typing import Any

from brownie import Contract, project, web3

from backend.rewards.merkle import Tree, leaf_split
from scripts.deploy import manifest as manifests
from scripts.deploy.export_abi import abi_hash
from scripts.deploy.history import Change, Difference, Findings, History, as_word, latest, topic
from scripts.deploy.plan import ADMIN, GUARDIAN, NATIVE, RESTRICTED
from scripts.deploy.roles import (
    called,
    function_updates,
    manager_members,
    member_differences,
    misplaced,
    timelock_members,
    word_address,
)


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
                "topics": [topic(signature)],
                "fromBlock": self.manifest["startBlock"],
                "toBlock": "latest",
            }
        )
        return found


def function_differences(reader: Reader) -> Iterator[Difference]:
    """Each restricted function has the role of the table, and nothing else was ever changed in the AccessManager."""
    manager = reader.AccessManager
    updated = function_updates(reader)
    closings = {
        word_address(log["topics"][1]): log for log in reader.logs("AccessManager", "TargetClosed(address,bool)")
    }
    stated = set()
    for name, functions in RESTRICTED.items():
        contract = getattr(reader, name)
        for function, role in functions.items():
            at = (contract.address, getattr(contract, function).signature)
            stated.add(at)
            found = int(manager.getTargetFunctionRole(*at))
            if found != role:
                yield Difference(misplaced(name, function, found, role), updated.get(at))
        if manager.isTargetClosed(contract.address):
            yield Difference(f"{name} is closed in the AccessManager", closings.get(contract.address))
        if contract.authority() != manager.address:
            text = f"{name} obeys {contract.authority()} instead of the AccessManager"
            yield Difference(text, latest(reader.logs(name, "AuthorityUpdated(address)")))
    for (target, selector), log in updated.items():
        if (target, selector) not in stated and int(manager.getTargetFunctionRole(target, selector)) != ADMIN:
            text = f"function {selector} of {called(reader.manifest, target)} has a role that the table does not know"
            yield Difference(text, log)
    for event in (
        "RoleAdminChanged(uint64,uint64)",
        "RoleGuardianChanged(uint64,uint64)",
        "RoleGrantDelayChanged(uint64,uint32,uint48)",
        "TargetAdminDelayUpdated(address,uint32,uint48)",
    ):
        for log in reader.logs("AccessManager", event):
            text = f"the AccessManager has emitted {event.partition('(')[0]}, which the table does not know"
            yield Difference(text, log)


def platform_differences(reader: Reader) -> Iterator[Difference]:
    """A deployment has no platforms: each that was registered and not removed since is a difference."""
    keys = {bytes(log["topics"][1]): log for log in reader.logs("Characters", "PlatformSet(bytes32,address)")}
    for platform, log in keys.items():
        if any(bytes(log["data"])):
            text = f"platform 0x{platform.hex()} of Characters has the key {word_address(log['data'])} and should not"
            yield Difference(text, log)


def value_differences(reader: Reader, history: History) -> Iterator[Difference]:
    """Wiring and parameters, each read back."""
    for what, found, stated, change in values(reader):
        if str(found) != str(stated):
            log = history.made_by(change, found, stated)
            yield Difference(f"{what} is {found}, the manifest says {stated}", log)


Value = tuple[str, Any, Any, Change | None]
"""(what, value on the chain, value by the manifest, the event that tells of its changes where there is one)."""


def values(reader: Reader) -> Iterator[Value]:
    """Everything that has one value, read from the chain."""
    for what, found, stated in fixed_values(reader):
        yield what, found, stated, None
    yield from governed_values(reader)
    yield from reward_values(reader)


def fixed_values(reader: Reader) -> Iterator[tuple[str, Any, Any]]:
    """What no vote can change, or what no event tells of."""
    at, p = reader.address, reader.parameters
    token, governor = reader.TroupeToken, reader.TroupeGovernor
    ledger, registry, distributor = reader.RevenueLedger, reader.WorkRegistry, reader.RewardDistributor

    yield "WorkRegistry.ledger", registry.ledger(), at["RevenueLedger"]
    yield "WorkRegistry.trustedForwarder", registry.trustedForwarder(), at["SessionForwarder"]
    yield "WorkRegistry.standing", registry.standing(), at["WorkStanding"]
    standing = reader.WorkStanding
    yield "WorkStanding.registry", standing.registry(), at["WorkRegistry"]
    yield "WorkStanding.attestations", standing.attestations(), at["AttestationRegistry"]
    yield "WorkStanding.pool", standing.pool(), at["RewardDistributor"]
    yield "WorkStanding.bondToken", standing.bondToken(), at["TroupeToken"]
    for name in ("Characters", "Items", "Storefront"):
        contract = getattr(reader, name)
        yield f"{name}.registry", contract.registry(), at["WorkRegistry"]
        yield f"{name}.ledger", contract.ledger(), at["RevenueLedger"]
    store = reader.Storefront
    yield "Storefront.trustedForwarder", store.trustedForwarder(), at["SessionForwarder"]
    yield "Storefront.items", store.items(), at["Items"]
    yield "Storefront.characters", store.characters(), at["Characters"]
    yield "RevenueLedger.registry", ledger.registry(), at["WorkRegistry"]
    yield "TroupeGovernor.token", governor.token(), at["TroupeToken"]
    yield "TroupeGovernor.accessManager", governor.accessManager(), at["AccessManager"]
    yield "TroupeGovernor.GUARDIAN_ROLE", governor.GUARDIAN_ROLE(), GUARDIAN
    yield "TroupeToken.treasury", token.treasury(), at["TimelockController"]
    yield "RewardDistributor.bondToken", distributor.bondToken(), at["TroupeToken"]

    stated = p["token"]
    yield "TroupeToken.name", token.name(), stated["name"]
    yield "TroupeToken.symbol", token.symbol(), stated["symbol"]
    yield "TroupeToken.cap", token.cap(), stated["cap"]
    yield "the deployer's tokens", token.balanceOf(p["people"]["deployer"]), 0

    yield "the rewards' genesis", distributor.genesis(), p["rewards"]["genesis"]
    yield "the rewards' epoch", distributor.EPOCH_LENGTH(), p["rewards"]["epochSeconds"]
    wallets = p["wallets"]
    for wallet, owner in [
        (wallets["treasury"], at["TimelockController"]),
        *zip(wallets["founders"], p["people"]["founders"], strict=True),
    ]:
        vesting = Contract.from_abi("VestingWallet", wallet, WALLET_ABI, persist=False)
        yield f"owner of the wallet {wallet}", vesting.owner(), owner
        yield f"start of the wallet {wallet}", vesting.start(), wallets["start"]
        yield f"duration of the wallet {wallet}", vesting.duration(), wallets["duration"]


def governed_values(reader: Reader) -> Iterator[Value]:
    """The parameters that a vote may change, but for the rewards'. Of (old, new) the event's new value is word 1."""
    p = reader.parameters
    governor, ledger, registry = reader.TroupeGovernor, reader.RevenueLedger, reader.WorkRegistry
    by_governor = lambda event: Change("TroupeGovernor", event, 1)  # noqa: E731

    stated = p["governance"]
    for getter, key, event in (
        ("votingDelay", "votingDelay", "VotingDelaySet(uint256,uint256)"),
        ("votingPeriod", "votingPeriod", "VotingPeriodSet(uint256,uint256)"),
        ("proposalThreshold", "proposalThreshold", "ProposalThresholdSet(uint256,uint256)"),
        ("quorumNumerator", "quorumPercent", "QuorumNumeratorUpdated(uint256,uint256)"),
        ("lateQuorumVoteExtension", "lateQuorumExtension", "LateQuorumVoteExtensionSet(uint64,uint64)"),
    ):
        yield getter, _read(governor, getter), stated[key], by_governor(event)
    delay = Change("TimelockController", "MinDelayChange(uint256,uint256)", 1)
    yield "the Timelock's delay", reader.TimelockController.getMinDelay(), stated["timelockDelay"], delay
    timelock = by_governor("TimelockChange(address,address)")
    yield "TroupeGovernor.timelock", governor.timelock(), reader.address["TimelockController"], timelock
    guardian = by_governor("ProposalGuardianSet(address,address)")
    yield "TroupeGovernor.proposalGuardian", governor.proposalGuardian(), p["people"]["guardian"], guardian

    yield "feeBps", ledger.feeBps(), p["feeBps"], Change("RevenueLedger", "FeeChanged(uint16,uint16)", 1)
    royalty = Change("WorkRegistry", "RoyaltyChanged(uint16,uint16)", 1)
    yield "royaltyBps", registry.royaltyBps(), p["royaltyBps"], royalty
    bond = Change("WorkStanding", "DisputeBondChanged(uint256,uint256)", 1)
    yield "disputeBond", reader.WorkStanding.bondOf(0), p["disputeBond"], bond  # work 0 has no disputes
    for name, getter, key, event in (
        ("WorkRegistry", "contractURI", "contractUri", "ContractURIUpdated()"),
        ("Characters", "contractURI", "charactersUri", "ContractURIUpdated()"),
        ("Characters", "getTraitMetadataURI", "traitsUri", "TraitMetadataURIUpdated()"),
    ):
        yield f"{name}.{getter}", _read(getattr(reader, name), getter), p[key], Change(name, event, None)
    leaves = [leaf_split(leaf["account"], int(leaf["weight"])) for leaf in p["platformSplit"]["leaves"]]
    tree, split = Tree(leaves), ledger.splitOf(0, ledger.workOf(0)["version"])
    activated = "SplitActivated(uint64,uint32,bytes32,uint256,bytes32)"
    root, total = (Change("RevenueLedger", activated, word, (as_word(0),)) for word in (0, 1))
    yield "the root of the platform's split", "0x" + bytes(split["root"]).hex(), "0x" + tree.root.hex(), root
    yield "the weight of the platform's split", split["totalWeight"], tree.total, total
    for entry in reader.manifest["tokens"]:
        allowed = Change("RevenueLedger", "TokenAllowed(address,bool)", 0, (as_word(entry["address"]),))
        yield f"{entry['symbol']} allowed", ledger.isTokenAllowed(entry["address"]), True, allowed


def _read(contract: Any, getter: str) -> Any:
    return getattr(contract, getter)()


def reward_values(reader: Reader) -> Iterator[Value]:
    distributor, stated = reader.RewardDistributor, reader.parameters["rewards"]
    found = distributor.parameters()
    changed = "ParametersChanged(uint48,uint48,uint128,uint128,uint128)"
    for word, (name, key) in enumerate(
        (
            ("window", "windowSeconds"),
            ("resolvePeriod", "resolveSeconds"),
            ("publisherBond", "publisherBond"),
            ("minChallengerBond", "minChallengerBond"),
            ("maxChallengerBond", "maxChallengerBond"),
        )
    ):
        yield f"the rewards' {name}", found[name], stated[key], Change("RewardDistributor", changed, word)
    for token, caps in stated["caps"].items():
        epoch_cap, account_cap = distributor.capsOf(token)
        name = "the native coin" if token == NATIVE else token
        by_epoch, by_account = (
            Change("RewardDistributor", "CapsChanged(address,uint128,uint96,uint64)", word, (as_word(token),))
            for word in (0, 1)
        )
        yield f"the epoch's cap of {name}", epoch_cap, caps["epoch"], by_epoch
        yield f"the account's cap of {name}", account_cap, caps["account"], by_account


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


def compare(web3: Any, manifest: dict[str, Any], project: Any, contract_at: Any) -> Findings:
    """Every difference between a manifest and what stands on the chain; what votes have changed is set apart."""
    reader = Reader(web3, manifest, project, contract_at)
    if found := list(code_problems(reader)):
        return Findings(found, [])  # nothing else can be read from other code
    history = History(reader)
    return history.judge(
        chain(
            member_differences(reader),
            function_differences(reader),
            platform_differences(reader),
            value_differences(reader, history),
        )
    )


def _view(name: str, kind: str) -> dict[str, Any]:
    outputs = [{"name": "", "type": kind}]
    return {"type": "function", "name": name, "inputs": [], "outputs": outputs, "stateMutability": "view"}


WALLET_ABI = [_view("owner", "address"), _view("start", "uint256"), _view("duration", "uint256")]


def role_table(reader: Reader) -> str:
    """Who holds which role, for people."""
    lines = []
    for where, members in (("AccessManager", manager_members(reader)), ("Timelock", timelock_members(reader))):
        held = sorted(entry for entry, standing in members.items() if standing.holds)
        lines += [f"  {where}", *(f"    {role:<20}{called(reader.manifest, account)}" for role, account in held)]
    return "\n".join(lines)


def main() -> None:
    """Compare the chain at TROUPE_RPC_URL with the manifest at TROUPE_DEPLOYMENT; exit 1 with every drift."""
    chain_id = manifests.chain_of(web3)
    path = manifests.path(dict(os.environ), chain_id)
    manifest = manifests.read(path)
    for what, stated in (
        (path, manifest["chainId"]),
        ("TROUPE_CHAIN_ID", manifests.stated_chain(os.environ, chain_id)),
    ):
        if stated != chain_id:
            sys.exit(f"the node is on chain {chain_id}, {what} says {stated}: point TROUPE_RPC_URL elsewhere")
    loaded = project.get_loaded_projects()[0]

    def bind(name: str, address: str, abi: list[Any]) -> Any:
        return Contract.from_abi(name, address, abi, persist=False)

    found = compare(web3, manifest, loaded, bind)
    if found.voted:
        print("\n  ".join([f"decided by votes since {path} was written: {len(found.voted)}", *found.voted]))
    if found.drift:
        sys.exit("\n  ".join([f"differences from {path}: {len(found.drift)}", *found.drift]))
    print(role_table(Reader(web3, manifest, loaded, bind)))
    but = ", but for those votes" if found.voted else ""
    print(f"chain {chain_id} is as {path} says{but}: code, wiring, roles, functions, parameters")
