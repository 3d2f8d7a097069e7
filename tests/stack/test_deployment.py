"""The contract set on a chain: the snapshot for tests, and the roles read back."""

from __future__ import annotations

import json
from pathlib import Path

from eth_utils.crypto import keccak

from stack import deployment, roles, rpc
from tests.conftest import Deployed


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


def test_the_roles_are_those_of_the_table(deployed: Deployed) -> None:
    assert roles.problems(deployed.rpc_url, json.loads(deployed.manifest.read_text())) == []


def word(value: int | str) -> str:
    return f"{value:064x}" if isinstance(value, int) else value[2:].lower().rjust(64, "0")


def as_timelock(deployed: Deployed, signature: str, *values: int | str) -> str:
    """Let the Timelock, which holds every power, call its AccessManager; returns the Timelock's address."""
    contracts = json.loads(deployed.manifest.read_text())["contracts"]
    timelock: str = contracts["TimelockController"]["address"]
    url = deployed.rpc_url
    rpc.call(url, "anvil_impersonateAccount", timelock)
    rpc.call(url, "anvil_setBalance", timelock, hex(10**18))
    data = "0x" + keccak(text=signature)[:4].hex() + "".join(map(word, values))
    transaction = {"from": timelock, "to": contracts["AccessManager"]["address"], "data": data}
    sent = rpc.call(url, "eth_sendTransaction", transaction)
    while not (receipt := rpc.call(url, "eth_getTransactionReceipt", sent)):
        pass
    assert receipt["status"] == "0x1"
    return timelock


def test_a_role_that_somebody_else_was_given_is_found(deployed: Deployed) -> None:
    stranger = "0x" + "5a" * 20
    as_timelock(deployed, "grantRole(uint64,address,uint32)", 1, stranger, 0)
    found = roles.problems(deployed.rpc_url, json.loads(deployed.manifest.read_text()))
    assert [line.lower() for line in found] == [
        f"{stranger} has role publisher of the accessmanager and should not",
    ]


def test_a_role_that_was_taken_away_is_found(deployed: Deployed) -> None:
    manifest = json.loads(deployed.manifest.read_text())
    guardian = manifest["parameters"]["people"]["guardian"]
    as_timelock(deployed, "revokeRole(uint64,address)", 4, guardian)
    assert roles.problems(deployed.rpc_url, manifest) == [f"{guardian} lacks role GUARDIAN of the AccessManager"]


def test_a_function_that_was_opened_is_found(deployed: Deployed) -> None:
    manifest = json.loads(deployed.manifest.read_text())
    selector = keccak(text="setFeeBps(uint16)")[:4]
    assert selector == roles._selectors("RevenueLedger")["setFeeBps"]
    ledger = manifest["contracts"]["RevenueLedger"]["address"]
    public = 2**64 - 1
    array = [0x60, public, 1, int.from_bytes(selector.ljust(32, b"\0"))]
    as_timelock(deployed, "setTargetFunctionRole(address,bytes4[],uint64)", ledger, *array)
    found = roles.problems(deployed.rpc_url, manifest)
    assert found == [f"RevenueLedger.setFeeBps is for role {public}, not ADMIN"]


def test_another_content_has_another_hash(tmp_path: Path) -> None:
    assert len(deployment.content_hash()) == 64
    assert deployment.content_hash() != deployment.contracts_hash()
