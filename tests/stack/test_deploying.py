"""Deployment by its public commands: `brownie run deploy/main`, `dry_run` and `deploy/verify` on real chains."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import decode
from eth_account import Account

from backend.chain import abi, decode_error, encode_call
from scripts.deploy import keys
from scripts.deploy.plan import PUBLISHER, RESTRICTED, ROLE_NAMES
from stack import deployment, rpc
from stack.anvil import Anvil, binary
from stack.processes import HOST, Service, free_port, running

pytestmark = [pytest.mark.slow, pytest.mark.feature("Q3", via="cli")]
PUBLIC_CHAIN = 777_777
STRANGER = "0x" + "5a" * 20
LIMIT_S = 300
POWERS = {
    ("AccessManager", "AccessManagerUnauthorizedAccount"): (
        *("grantRole", "revokeRole", "setRoleAdmin", "setTargetFunctionRole", "setTargetClosed", "updateAuthority"),
    ),
    ("TimelockController", "AccessControlUnauthorizedAccount"): (
        *("schedule", "scheduleBatch", "cancel", "grantRole", "revokeRole"),
    ),
    ("TroupeGovernor", "GovernorOnlyExecutor"): (
        *("setProposalGuardian", "updateTimelock", "relay", "setVotingPeriod"),
    ),
}
"""Who may change who may do what, and the error that refuses it to everybody else."""


def brownie(script: str, *function: str, typed: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """`python3 scripts/brownie.py run deploy/SCRIPT [FUNCTION] --network troupe`"""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TROUPE_")}
    return subprocess.run(
        [*deployment.BROWNIE, "run", f"deploy/{script}", *function, "--network", "troupe"],
        env=kept | environment,
        input=typed,
        text=True,
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )


def count(url: str, account: str) -> int:
    """How many transactions an account has sent."""
    return int(rpc.call(url, "eth_getTransactionCount", account, "latest"), 16)


def refusal(url: str, sender: str, to: str, data: bytes) -> str | None:
    """The custom error that a call ends with; None if it goes through."""
    body = json.dumps(
        {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "eth_call",
            "params": [{"from": sender, "to": to, "data": "0x" + data.hex()}, "latest"],
        }
    )
    request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"})
    with rpc.OPENER.open(request, timeout=10) as response:
        answer = json.load(response)
    return decode_error(bytes.fromhex(answer["error"]["data"][2:])) if "error" in answer else None


def zeros(contract: str, function: str) -> bytes:
    """A call with nothing in its arguments; offsets of 0 point at zero lengths."""
    found = abi(contract).function(function)
    return found.selector + bytes(32 * 40)


def killed_while_deploying(settings: dict[str, str], journal: Path, steps: int) -> None:
    """Begin a deployment and kill it, the hard way, when it has noted so many steps."""
    process = subprocess.Popen(
        [*deployment.BROWNIE, "run", "deploy/main", "--network", "troupe"],
        env=os.environ | settings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until(lambda: noted(journal) >= steps)
    os.killpg(process.pid, 9)
    process.wait()


def noted(journal: Path) -> int:
    return len(json.loads(journal.read_text())["steps"]) if journal.exists() else 0


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_v7_deployed_verified_drift_named_and_the_deployer_can_do_nothing(anvil: Anvil, tmp_path: Path) -> None:
    """On the development chain: deploy (killed on the way and begun again), verify, change one role by hand, verify."""
    path, url = tmp_path / "deployment.json", anvil.url
    settings = deployment.environment(url, path)
    deployer = keys.dev_account(0).address
    killed_while_deploying(settings, tmp_path / "deployment.journal", 10)
    before = count(url, deployer)
    assert before >= 9
    assert not path.exists()
    deployed = brownie("main", **settings)
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    assert f"{count(url, deployer)} transactions" in deployed.stdout
    assert not (tmp_path / "deployment.journal").exists()

    verified = brownie("verify", **settings)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert f"chain 31337 is as {path} says: code, wiring, roles, functions, parameters" in verified.stdout

    manifest = json.loads(path.read_text())
    the_deployer_can_do_nothing(url, manifest, deployer)

    contracts = manifest["contracts"]
    timelock = contracts["TimelockController"]["address"]
    rpc.call(url, "anvil_impersonateAccount", timelock)
    rpc.call(url, "anvil_setBalance", timelock, hex(10**18))
    data = "0x" + encode_call("AccessManager", "grantRole", [PUBLISHER, STRANGER, 0]).hex()
    to = contracts["AccessManager"]["address"]
    sent = rpc.call(url, "eth_sendTransaction", {"from": timelock, "to": to, "data": data})
    until(lambda: rpc.call(url, "eth_getTransactionReceipt", sent) is not None)
    drifted = brownie("verify", **settings)
    assert drifted.returncode == 1
    assert "has role PUBLISHER and should not" in drifted.stdout + drifted.stderr


def the_deployer_can_do_nothing(url: str, manifest: dict[str, Any], deployer: str) -> None:
    """Every restricted selector and every power over the authority, tried with the deployer's account."""
    at = {name: entry["address"] for name, entry in manifest["contracts"].items()}

    def asked(contract: str, function: str, *args: object) -> bytes:
        data = "0x" + encode_call(contract, function, args).hex()
        return bytes.fromhex(rpc.call(url, "eth_call", {"to": at[contract], "data": data}, "latest")[2:])

    tried = 0
    for name, functions in RESTRICTED.items():
        for function in functions:
            data = zeros(name, function)
            may = decode(["bool", "uint32"], asked("AccessManager", "canCall", deployer, at[name], data[:4]))
            assert may == (False, 0), f"{name}.{function}"
            assert refusal(url, deployer, at[name], data) is not None, f"{name}.{function}"
            tried += 1
    assert tried == sum(map(len, RESTRICTED.values())) > 20
    for role in ROLE_NAMES:
        assert decode(["bool", "uint32"], asked("AccessManager", "hasRole", role, deployer)) == (False, 0)
    for (contract, error), powers in POWERS.items():
        for function in powers:
            said = refusal(url, deployer, at[contract], zeros(contract, function))
            assert said is not None, f"{contract}.{function}"
            assert said.startswith(error), f"{contract}.{function}: {said}"
    assert int.from_bytes(asked("TroupeToken", "balanceOf", deployer)) == 0


@pytest.fixture
def public(tmp_path: Path) -> Iterator[str]:
    """A chain that is not the development one."""
    port = free_port()
    url = f"http://{HOST}:{port}"
    command: list[str | Path] = [binary(), "--port", str(port), "--chain-id", str(PUBLIC_CHAIN), "--hardfork", "cancun"]
    answers = lambda: bool(rpc.call(url, "eth_chainId", timeout_s=2) == hex(PUBLIC_CHAIN))  # noqa: E731
    service = Service("public", command, answers, env={"RUST_LOG": "error"})
    with running(service, tmp_path / "public.log"):
        yield url


def test_a_public_network_is_rehearsed_confirmed_and_verified(public: str, tmp_path: Path) -> None:
    """An RPC address, a key file, and a file that names the people: nothing else, and nothing is spent unasked."""
    key, people = Account.create(), [Account.create().address for _ in range(4)]
    files = {name: tmp_path / name for name in ("key", "password", "config", "deployment.json")}
    files["key"].write_text(json.dumps(Account.encrypt(key.key, "secret", iterations=2)))
    files["password"].write_text("secret\n")
    roles = dict(zip(("publisher", "moderator", "guardian"), people, strict=False))
    files["config"].write_text(json.dumps({"network": "rialto", "people": roles | {"founders": people[3:]}}))
    settings = {
        "TROUPE_RPC_URL": public,
        "TROUPE_KEYSTORE": str(files["key"]),
        "TROUPE_KEYSTORE_PASSWORD_FILE": str(files["password"]),
        "TROUPE_DEPLOY_CONFIG": str(files["config"]),
        "TROUPE_DEPLOYMENT": str(files["deployment.json"]),
    }
    dry = brownie("main", "dry_run", **settings)
    assert dry.returncode == 0, dry.stdout + dry.stderr
    assert "The rehearsal ended well" in dry.stdout
    assert "Nothing was sent." in dry.stdout
    poor = brownie("main", typed="rialto\n", **settings)
    assert poor.returncode == 1
    assert "send it the rest first" in poor.stdout + poor.stderr
    rpc.call(public, "anvil_setBalance", key.address, hex(10 * 10**18))
    unsure = brownie("main", typed="yes\n", **settings)
    assert unsure.returncode == 1
    assert "not confirmed; nothing was sent" in unsure.stdout + unsure.stderr
    assert (count(public, key.address), files["deployment.json"].exists()) == (0, False)

    deployed = brownie("main", typed="rialto\n", **settings)
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    assert f"{count(public, key.address)} transactions" in deployed.stdout
    verified = brownie("verify", **settings)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    again = brownie("main", typed="rialto\n", **settings)
    assert again.returncode == 1
    assert f"chain {PUBLIC_CHAIN} has its contracts" in again.stdout + again.stderr
