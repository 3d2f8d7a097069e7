"""The contract set on a chain: the snapshot for tests, and the roles read back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from eth_abi.abi import encode
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from backend.chain import encode_call
from scripts.deploy.history import Findings
from scripts.deploy.plan import GUARDIAN, PUBLISHER
from stack import checks, deployment, roles, rpc
from stack.target import target
from tests.conftest import Deployed

STRANGER = to_checksum_address("0x" + "5a" * 20)


def test_the_snapshot_brings_code_and_history_to_a_fresh_chain(deployed: Deployed) -> None:
    manifest = json.loads(deployed.manifest.read_text())
    genesis = rpc.call(deployed.rpc_url, "eth_getBlockByNumber", "0x0", False)
    assert genesis["hash"] == manifest["genesisHash"]
    for contract in manifest["contracts"].values():
        code = bytes.fromhex(rpc.call(deployed.rpc_url, "eth_getCode", contract["address"], "latest")[2:])
        assert "0x" + keccak(code).hex() == contract["codeHash"]
    wanted = {"fromBlock": "0x0", "address": manifest["contracts"]["AccessManager"]["address"]}
    assert rpc.call(deployed.rpc_url, "eth_getLogs", wanted)


def test_the_snapshot_is_made_once_for_each_content() -> None:
    first = deployment.snapshot()
    made = first.state.stat().st_mtime_ns
    assert deployment.snapshot() == first
    assert first.state.stat().st_mtime_ns == made


def test_two_chains_of_one_snapshot_go_their_own_ways(deployed: Deployed, module_deployed: Deployed) -> None:
    head = rpc.call(module_deployed.rpc_url, "eth_blockNumber")
    rpc.call(deployed.rpc_url, "anvil_mine", "0x5")
    assert rpc.call(module_deployed.rpc_url, "eth_blockNumber") == head


def manifest_of(deployed: Deployed) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads(deployed.manifest.read_text())
    return manifest


def address(deployed: Deployed, contract: str) -> str:
    return str(manifest_of(deployed)["contracts"][contract]["address"])


def send(deployed: Deployed, sender: str, contract: str, function: str, *args: object) -> None:
    """Let anybody at all call a contract, the Timelock, which holds every power, included."""
    url = deployed.rpc_url
    rpc.call(url, "anvil_impersonateAccount", sender)
    rpc.call(url, "anvil_setBalance", sender, hex(10**18))
    data = "0x" + encode_call(contract, function, args).hex()
    sent = rpc.call(url, "eth_sendTransaction", {"from": sender, "to": address(deployed, contract), "data": data})
    while not (receipt := rpc.call(url, "eth_getTransactionReceipt", sent)):
        pass
    assert receipt["status"] == "0x1"


def by_hand(deployed: Deployed, function: str, *args: object) -> None:
    """Change the AccessManager without a vote."""
    send(deployed, address(deployed, "TimelockController"), "AccessManager", function, *args)


def by_vote(deployed: Deployed, function: str, *args: object) -> int:
    """Change the AccessManager by a vote of the development voters; the block in which it was executed."""
    url, voters = deployed.rpc_url, manifest_of(deployed)["parameters"]["people"]["voters"]
    manager, call = address(deployed, "AccessManager"), encode_call("AccessManager", function, args)
    order = ([manager], [0], [call])
    for voter in voters:
        send(deployed, voter, "TroupeToken", "delegate", voter)
    rpc.call(url, "evm_increaseTime", 1)
    send(deployed, voters[0], "TroupeGovernor", "propose", *order, "A vote")
    order = (*order, keccak(text="A vote"))
    proposal = int.from_bytes(keccak(encode(["address[]", "uint256[]", "bytes[]", "bytes32"], order)))
    governance = manifest_of(deployed)["parameters"]["governance"]
    rpc.call(url, "evm_increaseTime", governance["votingDelay"] + 1)
    for voter in voters:
        send(deployed, voter, "TroupeGovernor", "castVote", proposal, 1)
    rpc.call(url, "evm_increaseTime", governance["votingPeriod"] + governance["lateQuorumExtension"])
    send(deployed, STRANGER, "TroupeGovernor", "queue", *order)
    rpc.call(url, "evm_increaseTime", governance["timelockDelay"])
    send(deployed, STRANGER, "TroupeGovernor", "execute", *order)
    return int(rpc.call(url, "eth_blockNumber"), 16)


def found(deployed: Deployed) -> Findings:
    return roles.compare(deployed.rpc_url, manifest_of(deployed))


def test_the_roles_are_those_of_the_table(deployed: Deployed) -> None:
    assert found(deployed) == Findings([], [])


def test_a_role_that_somebody_else_was_given_is_found(deployed: Deployed) -> None:
    by_hand(deployed, "grantRole", PUBLISHER, STRANGER, 0)
    assert found(deployed) == Findings([f"AccessManager: {STRANGER} has role PUBLISHER and should not"], [])


def test_a_role_that_was_taken_away_is_found(deployed: Deployed) -> None:
    guardian = manifest_of(deployed)["parameters"]["people"]["guardian"]
    by_hand(deployed, "revokeRole", GUARDIAN, guardian)
    assert found(deployed) == Findings([f"AccessManager: guardian {guardian} lacks role GUARDIAN"], [])


def test_a_function_that_was_opened_is_found(deployed: Deployed) -> None:
    selector = keccak(text="setFeeBps(uint16)")[:4]
    assert selector == roles._selectors("RevenueLedger")["setFeeBps"]
    public = 2**64 - 1
    by_hand(deployed, "setTargetFunctionRole", address(deployed, "RevenueLedger"), [selector], public)
    assert found(deployed) == Findings([f"RevenueLedger.setFeeBps is for role {public}, not ADMIN"], [])


def test_v7_what_a_vote_has_changed_is_set_apart_from_what_nobody_voted_on(deployed: Deployed) -> None:
    block = by_vote(deployed, "grantRole", PUBLISHER, STRANGER, 0)
    voted = f"AccessManager: {STRANGER} has role PUBLISHER and should not: changed by vote, block {block}"
    assert found(deployed) == Findings([], [voted])
    by_hand(deployed, "grantRole", GUARDIAN, STRANGER, 0)
    assert found(deployed) == Findings([f"AccessManager: {STRANGER} has role GUARDIAN and should not"], [voted])
    by_hand(deployed, "revokeRole", PUBLISHER, STRANGER)
    by_hand(deployed, "grantRole", PUBLISHER, STRANGER, 0)
    assert found(deployed).voted == []  # a vote on the same thing before excuses nothing


def test_doctor_calls_no_vote_a_breach(deployed: Deployed, tmp_path: Path) -> None:
    installation = replace(target(tmp_path), rpc_url=deployed.rpc_url, manifest=deployed.manifest)
    by_vote(deployed, "grantRole", PUBLISHER, STRANGER, 0)
    finding = checks.check_roles(installation)
    assert finding.level is checks.Level.OK
    assert "has role PUBLISHER and should not: changed by vote, block" in finding.detail
    by_hand(deployed, "grantRole", GUARDIAN, STRANGER, 0)
    finding = checks.check_roles(installation)
    assert finding.level is checks.Level.FAIL
    assert "has role GUARDIAN and should not" in finding.detail


def test_another_content_has_another_hash(tmp_path: Path) -> None:
    assert len(deployment.content_hash()) == 64
    assert deployment.content_hash() != deployment.contracts_hash()
