"""The TypeScript client, built from the API's description of today and run by Node against a server of its own."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from datetime import UTC, datetime
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from standardwebhooks import Webhook

from scripts.openapi import text_of
from stack.postgres import DatabaseUrls
from stack.processes import HOST, free_port
from tests.backend.conftest import Client
from tests.backend.live import Live
from tests.backend.serving import serving
from tests.conftest import Deployed

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
SOURCE = ROOT / "clients" / "typescript"
BIN = ROOT / "node_modules" / ".bin"


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def built(tmp_path: Path, client: Client) -> Path:
    """The client with types made from what the API says now, checked by `tsc --strict`; its examples as bundles."""
    package = tmp_path / "typescript"
    shutil.copytree(SOURCE, package, ignore=shutil.ignore_patterns("dist", "schema.d.ts"))
    (tmp_path / "node_modules").symlink_to((ROOT / "node_modules").resolve())
    description = tmp_path / "openapi.json"
    description.write_text(text_of(client.get("/openapi.json").json()))
    scripts = json.loads((package / "package.json").read_text())["scripts"]
    generate = scripts["generate"].split()
    run(BIN / generate[0], *generate[1:], cwd=package)
    run(BIN / "tsc", "-p", "tsconfig.examples.json", cwd=package)
    for example in ("quickstart", "checks"):
        run(
            *(BIN / "esbuild", f"examples/{example}.ts", "--bundle", "--platform=node", "--format=esm"),
            *("--alias:@troupe/client=./src/index.ts", f"--outfile={example}.mjs", "--log-level=error"),
            cwd=package,
        )
    return package


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def public_url(port: int) -> str:
    return f"http://{HOST}:{port}"


class Script:
    """A Node process, its lines as they come."""

    def __init__(self, *command: str, cwd: Path) -> None:
        self.process = subprocess.Popen(
            ["node", *command], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.lines: Queue[str] = Queue()
        self.said: list[str] = []
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put("(ended)")

    def until(self, pattern: str) -> str:
        """Wait for a line; raises AssertionError when the process ends before."""
        while True:
            line = self.lines.get(timeout=120)
            self.said.append(line)
            if re.search(pattern, line):
                return line
            assert line != "(ended)", "\n".join(self.said)

    def end(self) -> int:
        try:
            return self.process.wait(60)
        finally:
            self.process.kill()
            self.reader.join()
            assert self.process.stdout is not None
            self.process.stdout.close()


@pytest.mark.feature("Q6", via="http")
def test_it_signs_in_with_a_viem_wallet_pages_through_works_and_receives_a_live_event(
    *,
    built: Path,
    deployed: Deployed,
    clean_db: DatabaseUrls,
    client: Client,
    environment: dict[str, str],
    tmp_path: Path,
    port: int,
    alice: LocalAccount,
    bob: LocalAccount,
) -> None:
    live = Live(deployed, clean_db)
    live.fund(alice, bob)
    live.sync()
    for number in range(1, 6):
        live.register(client, alice, b"Act %d." % number, title=f"Act {number}")
    with serving(port, tmp_path, environment) as url:
        script = Script("quickstart.mjs", url, deployed.rpc_url, "0x" + bytes(alice.key).hex(), cwd=built)
        try:
            assert script.until("^signed in").endswith(alice.address)
            script.until("^event hello")
            live.pay(client, bob, work=1, amount=12_345)
            live.sync()
            payment = json.loads(script.until("^event payment").removeprefix("event payment "))
        finally:
            status = script.end()
    assert status == 0
    assert [line for line in script.said if line.startswith("work")] == [f"work {n} Act {n}" for n in (5, 4, 3, 2, 1)]
    assert (payment["amount"], payment["work_id"], payment["payer"]) == ("12345", "1", bob.address)


def test_its_helpers_say_what_went_wrong(
    *,
    built: Path,
    clean_db: DatabaseUrls,
    environment: dict[str, str],
    tmp_path: Path,
    port: int,
    alice: LocalAccount,
    deployed: Deployed,
) -> None:
    Live(deployed, clean_db).sync()
    secret, now = "whsec_" + "QUJD" * 11, datetime.now(UTC).replace(microsecond=0)
    body = json.dumps({"type": "payment.received", "data": {"amount": "1000"}}, separators=(",", ":"))
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": "v1,AAAA " + Webhook(secret).sign("msg_1", now, body),
    }
    with serving(port, tmp_path, environment) as url:
        key = "0x" + bytes(alice.key).hex()
        said: dict[str, Any] = json.loads(
            run("node", "checks.mjs", url, key, secret, json.dumps(headers), body, now.isoformat(), cwd=built)
        )
    assert said == {
        "nobody": "401 sign_in_required",
        "missing": "404 work_not_found",
        "cursor": "422 cursor_invalid",
        "me": alice.address,
        "webhook": True,
        "replayed": [None, "true"],
        "reused": "422 idempotency_key_reused",
        "paid": "1000",
        "changed": "no signature fits",
        "late": "the delivery is too old",
        "other": "no signature fits",
    }


def test_the_readme_shows_the_example_that_runs() -> None:
    shown = re.search(r"```ts\n(.*?)```", (SOURCE / "README.md").read_text(), re.DOTALL)
    assert shown is not None
    assert shown[1] == (SOURCE / "examples" / "quickstart.ts").read_text()
