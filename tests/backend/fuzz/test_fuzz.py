"""Schema fuzzing of the running API: no answer of 500 or more, and every answer as its schema says (V15).

Each operation gets TROUPE_FUZZ_CASES cases (50; `make nightly` 2,000), data that fit and data that don't, as somebody
who is signed in, on a chain with works, things for sale and a vote. Prints how many cases ran per operation.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount

from stack.postgres import DatabaseUrls
from stack.processes import HOST, free_port
from tests.backend.conftest import Client
from tests.backend.fuzz import seed
from tests.backend.serving import serving
from tests.backend.shop.market import Market
from tests.conftest import Deployed

ROOT = Path(__file__).resolve().parents[3]
CASES = int(os.environ.get("TROUPE_FUZZ_CASES", "50"))
SEED = os.environ.get("TROUPE_FUZZ_SEED", "1")
Counts = dict[str, dict[str, int]]
"""Operation -> status -> cases."""
BRIEF = {"TROUPE_LIVE_LIFETIME_S": "0.05", "TROUPE_LIVE_HEARTBEAT_S": "0.02"}
"""Live streams that begin, tell that they live, and end: else the first would never be answered."""
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)


@dataclass(frozen=True)
class Run:
    """What a run of schemathesis ended with."""

    status: int
    said: str
    counts: Counts

    def table(self) -> str:
        """Cases per operation, by class of status."""
        lines = [f"{'operation':<58}{'cases':>7}{'2xx':>7}{'4xx':>7}{'5xx':>7}"]
        for operation, by_status in sorted(self.counts.items()):
            of = {kind: sum(n for status, n in by_status.items() if status[0] == kind) for kind in "2345"}
            lines.append(f"{operation:<58}{sum(by_status.values()):>7}{of['2'] + of['3']:>7}{of['4']:>7}{of['5']:>7}")
        total = sum(sum(by.values()) for by in self.counts.values())
        return "\n".join([*lines, f"{len(self.counts)} operations, {total} cases"])


def fuzz(url: str, folder: Path, *, key: bytes | None, known: dict[str, list[Any]], cases: int) -> Run:
    """Let schemathesis ask `cases` things of every operation, and follow the links between them."""
    counted = folder / "counted.json"
    given = folder / "given.json"
    given.write_text(json.dumps({"url": url, "key": key and "0x" + key.hex(), "known": known, "counted": str(counted)}))
    command = [
        *(str(Path(sys.executable).parent / "st"), "run", f"{url}/openapi.json", "--no-color"),
        *("--phases", "examples,coverage,fuzzing,stateful", "--max-examples", str(cases), "--seed", SEED),
        *("--checks", ",".join(CHECKS), "--continue-on-failure", "--warnings", "off"),
        *("--request-timeout", "60", "--suppress-health-check", "all", "--generation-database", "none"),
    ]
    more = {"PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.backend.fuzz.hooks", "TROUPE_FUZZ": str(given)}
    env = os.environ | more
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    counts = json.loads(counted.read_text()) if counted.exists() else {}
    return Run(done.returncode, done.stdout + done.stderr, counts)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def public_url(port: int) -> str:
    return f"http://{HOST}:{port}"


@pytest.mark.fuzz
@pytest.mark.feature("Q6", via="http")
def test_V15_no_input_yields_5xx_and_every_answer_fits_its_schema(
    *,
    deployed: Deployed,
    clean_db: DatabaseUrls,
    client: Client,
    environment: dict[str, str],
    tmp_path: Path,
    port: int,
    alice: LocalAccount,
    bob: LocalAccount,
) -> None:
    known = seed.everything(Market(deployed, clean_db, client=client), alice, bob)
    with serving(port, tmp_path, environment | BRIEF) as url:
        run = fuzz(url, tmp_path, key=bytes(alice.key), known=known, cases=CASES)
    sys.stdout.write(f"\n{run.table()}\n")
    sys.stdout.flush()
    assert run.status == 0, run.said[-20_000:]
    described = client.get("/openapi.json").json()["paths"]
    assert set(run.counts) == {f"{method.upper()} {path}" for path, methods in described.items() for method in methods}
    assert run.counts["GET /v1/live"].keys() >= {"200", "422"}, "streams were opened, and bad ids and topics refused"
    for operation, by_status in run.counts.items():
        assert max(by_status) < "500", operation
        assert set(by_status) != {"401"}, f"{operation} was never reached: nobody was signed in"


@pytest.mark.fuzz
def test_V15_the_fuzzing_finds_planted_mistakes(tmp_path: Path, port: int) -> None:
    with serving(port, tmp_path, {}, factory="tests.backend.fuzz.planted:create_app", ready="/openapi.json") as url:
        run = fuzz(url, tmp_path, key=None, known={}, cases=50)
    assert run.status == 1
    assert "500" in run.counts["GET /breaks/{number}"]
    failed = {line.strip("_ ") for line in run.said.splitlines() if line.startswith("___")}
    assert failed == {"GET /breaks/{number}", "GET /lies"}
