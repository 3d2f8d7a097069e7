"""The whole of Troupe in one process tree: started by `./troupe dev` on free ports, in a folder of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from eth_utils.crypto import keccak
from redis import Redis as RedisClient

from stack import rpc
from stack.processes import Identity
from stack.supervisor import Ports, Settings, answers_http

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("postgres", "redis", "anvil", "indexer", "api", "worker", "beat")
START_LIMIT_S = 180


def environment(state: Path, ports: Ports) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TROUPE_")}
    return kept | {
        "NO_COLOR": "1",
        "COLUMNS": "200",
        "TROUPE_STATE": str(state),
        "TROUPE_PORT_API": str(ports.api),
        "TROUPE_PORT_ANVIL": str(ports.anvil),
        "TROUPE_PORT_INDEXER": str(ports.indexer),
    }


@dataclass
class Dev:
    """`./troupe dev` in a process of its own."""

    state: Path
    ports: Ports
    process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> Settings:
        return Settings(self.state, self.ports)

    @property
    def output(self) -> Path:
        return self.state.parent / "output"

    def said(self) -> str:
        return self.output.read_text()

    def begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [str(ROOT / "troupe"), "dev", *arguments],
                env=environment(self.state, self.ports),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        return self.process

    def start(self, *arguments: str) -> None:
        """Start it and wait until it says that it is ready."""
        process = self.begin(*arguments)
        deadline = time.monotonic() + START_LIMIT_S
        while "\nready in " not in self.said():
            assert process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.05)

    def end(self, how: int = signal.SIGINT) -> int:
        assert self.process
        self.process.send_signal(how)
        return self.process.wait(60)

    def run(self, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(ROOT / "troupe"), *arguments],
            env=environment(self.state, self.ports),
            input=typed,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def children(self) -> dict[str, Identity]:
        records = json.loads((self.state / "processes.json").read_text())
        return {name: Identity(r["pid"], r["started"], tuple(r["command"])) for name, r in records.items()}

    def findings(self) -> dict[str, dict[str, str]]:
        done = self.run("doctor", "--json")
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        assert done.returncode == int(any(row["level"] == "fail" for row in rows)), done.stderr
        return {row["part"]: row for row in rows}


def kill_tree(dev: Dev) -> None:
    if dev.process and dev.process.poll() is None:
        dev.process.send_signal(signal.SIGINT)
        try:
            dev.process.wait(30)
        except subprocess.TimeoutExpired:
            dev.process.kill()
            dev.process.wait()


@pytest.fixture
def dev() -> Iterator[Dev]:
    folder = Path(tempfile.mkdtemp(prefix="ts-"))
    made = Dev(folder / "state", Ports.free())
    yield made
    kill_tree(made)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def running_dev() -> Iterator[Dev]:
    folder = Path(tempfile.mkdtemp(prefix="ts-"))
    made = Dev(folder / "state", Ports.free())
    made.start()
    yield made
    kill_tree(made)
    shutil.rmtree(folder)


def until(condition: Callable[[], object], limit_s: float = 20) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_every_part_is_a_real_process_with_a_log_of_its_own(running_dev: Dev) -> None:
    children = running_dev.children()
    assert tuple(children) == PARTS
    assert all(child.process() for child in children.values())
    logs = {path.stem for path in (running_dev.state / "logs").glob("*.log")}
    assert {*PARTS, "contracts", "migrate"} <= logs
    assert answers_http(f"{running_dev.settings.api_url}/health")
    assert running_dev.settings.api_url in running_dev.said()


def test_nothing_listens_outside_the_loopback(running_dev: Dev) -> None:

    for child in running_dev.children().values():
        process = child.process()
        assert process
        for connection in process.net_connections("inet"):
            assert connection.laddr.ip in ("127.0.0.1", "::1"), connection


def test_status_names_the_parts_and_their_memory(running_dev: Dev) -> None:
    done = running_dev.run("status")
    assert done.returncode == 0
    for part in PARTS:
        assert re.search(rf"^{part} +● runs +\d+ +\d:\d\d:\d\d +\d+ *$", done.stdout, re.MULTILINE), done.stdout


def test_a_second_dev_and_a_reset_of_a_running_stack_are_refused_in_a_sentence(running_dev: Dev) -> None:
    for arguments in (["dev"], ["dev", "--reset"]):
        done = running_dev.run(*arguments)
        assert done.returncode == 1
        assert "a stack runs already in" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert all(child.process() for child in running_dev.children().values())


def test_another_folder_on_the_same_ports_is_told_which_port_is_taken(running_dev: Dev, tmp_path: Path) -> None:
    done = running_dev.run("dev", "--state", str(tmp_path / "other"))
    assert done.returncode == 1
    assert f"port {running_dev.ports.api} of 127.0.0.1, which api needs, is taken" in done.stderr
    assert "TROUPE_PORT_API" in done.stderr


def test_doctor_finds_a_healthy_stack_healthy(running_dev: Dev) -> None:
    findings = running_dev.findings()
    assert {name: row["detail"] for name, row in findings.items() if row["level"] != "ok"} == {}


@pytest.mark.parametrize(
    ("part", "check", "words"),
    [
        ("redis", "redis", "not reachable"),
        ("worker", "worker", "does not answer a ping"),
        ("anvil", "chain", "not reachable"),
        ("postgres", "database", "not reachable"),
        ("api", "api", "does not answer"),
    ],
)
def test_doctor_names_a_part_that_does_not_answer(running_dev: Dev, part: str, check: str, words: str) -> None:
    process = running_dev.children()[part].process()
    assert process
    group = [process, *process.children(recursive=True)]
    for each in group:
        each.suspend()  # stopped, not ended: the supervisor sees no crash
    try:
        finding = running_dev.findings()[check]
    finally:
        for each in group:
            each.resume()
    assert finding["level"] == "fail", finding
    assert words in finding["detail"]
    assert f"troupe logs {part}" in finding["fix"]


def test_doctor_finds_contracts_that_are_not_those_of_the_manifest(running_dev: Dev) -> None:
    manifest = json.loads(running_dev.settings.manifest.read_text())
    name, contract = next(iter(manifest["contracts"].items()))
    url = running_dev.settings.rpc_url
    code = rpc.call(url, "eth_getCode", contract["address"], "latest")
    try:
        rpc.call(url, "anvil_setCode", contract["address"], "0x6000")
        finding = running_dev.findings()["contracts"]
        assert finding["level"] == "fail"
        assert f"{name} at {contract['address']} has other code" in finding["detail"]
        rpc.call(url, "anvil_setCode", contract["address"], "0x")
        assert f"{name} has no code" in running_dev.findings()["contracts"]["detail"]
    finally:
        rpc.call(url, "anvil_setCode", contract["address"], code)


def test_doctor_finds_a_grant_that_lets_the_backend_write_the_mirror(running_dev: Dev) -> None:
    with psycopg.connect(running_dev.settings.database.conninfo(), autocommit=True) as admin:
        admin.execute("GRANT INSERT ON chain.block TO troupe_backend")
        try:
            finding = running_dev.findings()["database roles"]
        finally:
            admin.execute("REVOKE INSERT ON chain.block FROM troupe_backend")
    assert finding["level"] == "fail"
    assert "chain tables are open to the backend" in finding["detail"]


def test_doctor_finds_a_role_that_somebody_else_was_given(running_dev: Dev) -> None:
    manifest = json.loads(running_dev.settings.manifest.read_text())
    url, contracts = running_dev.settings.rpc_url, manifest["contracts"]
    snapshot = rpc.call(url, "evm_snapshot")
    try:
        timelock = contracts["TimelockController"]["address"]
        rpc.call(url, "anvil_impersonateAccount", timelock)
        rpc.call(url, "anvil_setBalance", timelock, hex(10**18))
        grant = keccak(text="grantRole(uint64,address,uint32)")[:4].hex()
        data = "0x" + grant + f"{1:064x}" + ("5a" * 20).rjust(64, "0") + "0" * 64
        transaction = {"from": timelock, "to": contracts["AccessManager"]["address"], "data": data}
        sent = rpc.call(url, "eth_sendTransaction", transaction)
        until(lambda: rpc.call(url, "eth_getTransactionReceipt", sent))
        finding = running_dev.findings()["contract roles"]
    finally:
        rpc.call(url, "evm_revert", snapshot)
    assert finding["level"] == "fail"
    assert "has role PUBLISHER and should not" in finding["detail"]


def test_the_console_is_attached_to_the_chain_of_the_stack(running_dev: Dev) -> None:
    ended = running_dev.run("console", typed="works()\n")
    assert ended.returncode == 0
    assert "there are no works yet; register(...) makes one" in ended.stdout


def test_doctor_finds_an_old_database(running_dev: Dev) -> None:
    with psycopg.connect(running_dev.settings.database.conninfo(), autocommit=True) as admin:
        row = admin.execute("SELECT version_num FROM app.alembic_version").fetchone()
        assert row
        admin.execute("UPDATE app.alembic_version SET version_num = '0000'")
        try:
            finding = running_dev.findings()["product tables"]
        finally:
            admin.execute("UPDATE app.alembic_version SET version_num = %s", row)
    assert finding["level"] == "fail"
    assert finding["fix"] == "run `./troupe migrate`"


def test_a_restart_continues_where_it_was_and_a_reset_begins_anew(dev: Dev) -> None:
    dev.start()
    genesis = rpc.call(dev.settings.rpc_url, "eth_getBlockByNumber", "0x0", False)["hash"]
    rpc.call(dev.settings.rpc_url, "anvil_mine", "0x7")
    head = int(rpc.call(dev.settings.rpc_url, "eth_blockNumber"), 16)
    with RedisClient.from_url(dev.settings.redis.url) as client:
        client.set("kept", "yes")
    manifest = dev.settings.manifest.read_bytes()
    children = dev.children()

    started = time.monotonic()
    assert dev.end() == 0, dev.said()
    assert time.monotonic() - started < 15
    assert not any(child.process() for child in children.values())
    stopped = re.findall(r"^(\w+) +stopped$", dev.said(), re.MULTILINE)
    assert stopped == list(reversed(PARTS))

    dev.start()
    assert re.search(r"^contracts +not needed$", dev.said(), re.MULTILINE)
    assert int(rpc.call(dev.settings.rpc_url, "eth_blockNumber"), 16) == head
    assert dev.settings.manifest.read_bytes() == manifest
    with RedisClient.from_url(dev.settings.redis.url) as client:
        assert client.get("kept") == b"yes"
    assert dev.end(signal.SIGTERM) == 0

    dev.start("--reset")
    assert re.search(r"removed from .*chain \(.*pg \(\d.* MB\)", dev.said().replace("\n", " "))
    assert rpc.call(dev.settings.rpc_url, "eth_getBlockByNumber", "0x0", False)["hash"] != genesis
    assert dev.end() == 0


def test_a_killed_supervisor_leaves_nothing_and_the_next_start_continues(dev: Dev) -> None:
    dev.start()
    children = dev.children()
    process = dev.process
    assert process
    process.kill()
    process.wait()
    until(lambda: not any(child.process() for child in children.values()))
    dev.start()
    assert re.search(r"^contracts +not needed$", dev.said(), re.MULTILINE)
    assert dev.findings()["indexer"]["level"] == "ok"


def test_a_killed_part_is_named_and_the_next_start_continues(dev: Dev) -> None:
    dev.start()
    head = 0
    for part in PARTS:
        rpc.call(dev.settings.rpc_url, "anvil_mine", "0x3")
        children = dev.children()
        victim = children[part].process()
        assert victim
        victim.kill()
        assert dev.process
        assert dev.process.wait(60) == 1
        assert f"troupe: {part} was ended by SIGKILL" in dev.said()
        assert "Traceback" not in dev.said().partition("troupe:")[0]
        assert not any(child.process() for child in children.values())
        dev.start()
        assert re.search(r"^contracts +not needed$", dev.said(), re.MULTILINE), part
        if part in ("anvil", PARTS[-1]):
            until(lambda: {row["level"] for row in dev.findings().values()} == {"ok"}, 60)
        before, head = head, int(rpc.call(dev.settings.rpc_url, "eth_blockNumber"), 16)
        assert head > before or part == "anvil"  # a killed chain comes back at its last dump
