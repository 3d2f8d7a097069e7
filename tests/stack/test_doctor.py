"""What the doctor says of parts that the API calls unwell, of roles that a vote has changed, of parked tasks."""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from backend.cli import app
from backend.models.accounts import Account
from backend.personalization.person import portable
from backend.settings import taste_key_beside
from backend.vault import master_key
from backend.vault.vault import Vault, place
from scripts.deploy.history import Findings
from stack import checks, roles
from stack.checks import Finding, Level
from stack.postgres import DatabaseUrls
from stack.target import Target, target

NOT_READY = {
    "status": "not_ready",
    "checks": [
        {"name": "database", "ok": True, "detail": "Answers.", "fix": None},
        {"name": "redis", "ok": False, "detail": "Redis does not answer.", "fix": "Start it."},
    ],
}


@pytest.fixture
def api() -> Iterator[HTTPServer]:
    """An API that is not ready."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(NOT_READY).encode()
            self.send_response(503)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def servers(tmp_path: Path) -> Target:
    return target(None, {"TROUPE_DATABASE_URL": "postgresql+psycopg://x@/x", "TROUPE_STATE": str(tmp_path)})


def test_doctor_says_of_an_unready_api_what_the_api_says(api: HTTPServer, servers: Target) -> None:
    found = checks.check_api(replace(servers, public_url=f"http://127.0.0.1:{api.server_port}"))
    assert (found.level, found.detail) == (Level.FAIL, "not ready: redis: Redis does not answer.")
    assert found.fix == "Start it."
    away = checks.check_api(replace(servers, public_url="http://127.0.0.1:1"))
    assert (away.level, away.fix) == (Level.FAIL, "start it, or mend TROUPE_PUBLIC_URL")


def test_status_says_the_same_and_ends_with_1(api: HTTPServer, tmp_path: Path) -> None:
    import psutil  # noqa: PLC0415

    me = psutil.Process()
    record = {"pid": me.pid, "started": me.create_time(), "command": me.cmdline()}
    (tmp_path / "processes.json").write_text(json.dumps({"api": record}))
    (tmp_path / "ports.json").write_text(json.dumps({"api": api.server_port, "indexer": 1, "anvil": 2}))
    said = CliRunner().invoke(app, ["status", "--state", str(tmp_path)])
    assert said.exit_code == 1
    assert "redis: Redis does not answer. Start it." in said.output


@pytest.mark.parametrize(
    ("found", "level", "words"),
    [
        (Findings(drift=[], voted=["feeBps is 300 since block 7"]), Level.OK, "as votes have made it: feeBps is 300"),
        (Findings(drift=["x holds a role"], voted=["feeBps is 300"]), Level.FAIL, "x holds a role"),
    ],
)
def test_V7_doctor_calls_a_vote_no_problem_and_drift_one(
    *, servers: Target, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, found: Findings, level: Level, words: str
) -> None:
    monkeypatch.setattr(roles, "compare", lambda _url, _manifest: found)
    (tmp_path / "manifest.json").write_text("{}")
    finding = checks.check_roles(replace(servers, rpc_url="http://x", manifest=tmp_path / "manifest.json"))
    assert finding.level is level
    assert words in finding.detail


def test_H5_doctor_tells_of_parked_tasks(servers: Target, db_urls: DatabaseUrls) -> None:
    asked = replace(servers, database_url=db_urls.admin)
    assert checks.check_tasks(asked).level is Level.OK
    with psycopg.connect(db_urls.conninfo()) as connection:
        connection.execute(
            "INSERT INTO app.task_attempt (task_id, name, arguments, attempts, first_at, last_at, parked_at)"
            " VALUES ('x', 'y', '[[], {}]', 6, now(), now(), now())"
        )
    found = checks.check_tasks(asked)
    assert (found.level, found.detail) == (Level.WARN, "1 parked: they ended their worker too often")


@pytest.fixture
def sealed(servers: Target, db_urls: DatabaseUrls, tmp_path: Path) -> tuple[Target, Vault, uuid.UUID]:
    """An installation with one person, whose pseudonym is sealed."""
    master_key.create(tmp_path / "master.key")
    vault, person = Vault(tmp_path / "vault", tmp_path / "master.key"), uuid.uuid4()
    sealed = vault.seal(person, b"a pseudonym", place(Account.pseudonym, person))
    with psycopg.connect(db_urls.conninfo()) as connection:
        connection.execute("INSERT INTO app.account (id, pseudonym) VALUES (%s, %s)", (person, sealed))
    found = replace(servers, database_url=db_urls.admin, vault=vault.folder, master_key=vault.master_file)
    return found, vault, person


def old(path: Path) -> None:
    os.utime(path, (time.time() - 3_700,) * 2)


def test_doctor_counts_the_keys_and_finds_one_of_nobody(sealed: tuple[Target, Vault, uuid.UUID]) -> None:
    found, vault, _ = sealed
    assert checks.check_keys(found) == Finding(Level.OK, "1 data keys, 0 erased")
    orphan = uuid.uuid4()
    vault.ensure(orphan)
    assert checks.check_keys(found).level is Level.OK, "its account may be about to be committed"
    old(vault.path(orphan))
    finding = checks.check_keys(found)
    assert (finding.level, str(orphan) in finding.detail) == (Level.WARN, True)
    assert "restore of an older database" in str(finding.fix)
    vault.destroy(orphan)
    assert checks.check_keys(found) == Finding(Level.OK, "1 data keys, 1 erased")


def test_doctor_finds_a_key_of_taste_documents_that_is_damaged_or_open_to_others(
    sealed: tuple[Target, Vault, uuid.UUID],
) -> None:
    found, vault, _ = sealed
    file = taste_key_beside(vault.master_file)
    portable.key_of(file)
    assert checks.check_keys(found).level is Level.OK
    file.chmod(0o640)
    opened = checks.check_keys(found)
    assert (opened.level, "can be read by others" in opened.detail) == (Level.FAIL, True)
    file.chmod(0o600)
    file.write_text("{}")
    damaged = checks.check_keys(found)
    assert (damaged.level, "is damaged" in damaged.detail) == (Level.FAIL, True)
    assert "troupe restore" in str(damaged.fix)


def test_doctor_finds_keys_that_are_damaged_missing_or_without_a_master_key(
    sealed: tuple[Target, Vault, uuid.UUID],
) -> None:
    found, vault, person = sealed
    path, master = vault.path(person), vault.master_file
    whole, named = path.read_bytes(), master.read_bytes()
    path.write_bytes(whole[:-50] + bytes(50))
    damaged = checks.check_keys(found)
    assert (damaged.level, "1 data keys do not open" in damaged.detail) == (Level.FAIL, True)
    assert "troupe keys status" in str(damaged.fix)
    path.unlink()
    missing = checks.check_keys(found)
    assert (missing.level, "1 accounts have something sealed and no key" in missing.detail) == (Level.FAIL, True)
    assert "mirror" in str(missing.fix)
    path.write_bytes(whole)
    master.unlink()
    assert checks.check_keys(found).level is Level.FAIL
    master.write_bytes(named)
    master.chmod(0o644)
    assert checks.check_keys(found).level is Level.FAIL, "readable by others"
    master.chmod(0o600)
    assert checks.check_keys(found).level is Level.OK
