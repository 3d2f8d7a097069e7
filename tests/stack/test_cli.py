"""`troupe` as a person types it: exit statuses, sentences on stderr, never a traceback."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from rich.console import Console

from backend import cli
from stack import anvil
from stack.errors import Missing, StackError
from stack.postgres import DatabaseUrls
from stack.supervisor import Ports, require_space

ROOT = Path(__file__).resolve().parents[2]


def launched(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """The launcher's process. It says nothing of its own: what else is said, `troupe` shows without a process."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TROUPE_")}
    return subprocess.run(
        [str(ROOT / "troupe"), *arguments],
        cwd=cwd,
        env=kept | {"NO_COLOR": "1", "COLUMNS": "200"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Done(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


Troupe = Callable[..., Done]


@pytest.fixture
def troupe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Troupe:
    """The command line in this process: `troupe("status", TROUPE_STATE=...)`."""
    for name in os.environ:
        if name.startswith("TROUPE_"):
            monkeypatch.delenv(name)

    def run(*arguments: str, **environment: str) -> Done:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["troupe", *arguments])
            patch.setattr(cli, "out", Console(highlight=False, width=200))
            patch.setattr(cli, "err", Console(stderr=True, highlight=False, width=200))
            for name, value in (environment | {"NO_COLOR": "1", "COLUMNS": "200"}).items():
                patch.setenv(name, value)
            try:
                status = cli.main()
            except SystemExit as ending:
                status = int(ending.code or 0)
        said = capsys.readouterr()
        return Done(status, said.out, said.err)

    return run


def test_help_lists_the_commands() -> None:
    done = launched("--help")
    assert done.returncode == 0
    for command in ("dev", "doctor", "migrate", "status", "logs", "version"):
        assert f" {command} " in done.stdout


def test_version_names_the_product_and_what_it_is_made_of(troupe: Troupe) -> None:
    done = troupe("version")
    assert done.returncode == 0
    assert done.stdout.startswith("troupe 0.")
    assert "fastapi" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "environment", "status", "words"),
    [
        (["dev", "--rest"], {}, 2, ["--rest", "--reset"]),
        (["dev"], {"TROUPE_PORT_API": "0"}, 2, ["TROUPE_PORT_API is '0'", "from 1 to 65535"]),
    ],
)
def test_the_launcher_passes_on_status_and_sentence(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], status: int, words: list[str]
) -> None:
    """All the other mistakes are in test_bad_input.py, without a process for each."""
    done = launched(*arguments, TROUPE_STATE=str(tmp_path), **environment)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    for word in words:
        assert word in done.stderr


def test_migrate_without_a_database_says_what_makes_one(troupe: Troupe, tmp_path: Path) -> None:
    done = troupe("migrate", "--state", str(tmp_path))
    assert done.returncode == 1
    assert "there is no database" in done.stderr
    assert f"`./troupe dev --state {tmp_path}` makes one" in done.stderr


@pytest.mark.slow
def test_migrate_twice_changes_nothing(troupe: Troupe, db_urls: DatabaseUrls) -> None:
    for _ in range(2):
        done = troupe("migrate", **db_urls.environment())
        assert done.returncode == 0, done.stderr
        assert re.search(r"product tables +revision", done.stdout)


def test_logs_of_an_unknown_part_lists_what_there_is(troupe: Troupe, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "api.log").write_text("one\ntwo [bold]\nthree\n")
    done = troupe("logs", "apo", "--state", str(tmp_path))
    assert done.returncode == 2
    assert "there is api" in done.stderr
    done = troupe("logs", "api", "-n", "2", "--state", str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "two [bold]\nthree\n")


def test_status_without_a_stack_ends_with_1(troupe: Troupe, tmp_path: Path) -> None:
    done = troupe("status", "--state", str(tmp_path))
    assert done.returncode == 1
    assert f"`./troupe dev --state {tmp_path}` starts it" in done.stdout


def test_a_relative_state_folder_is_that_of_the_caller(tmp_path: Path) -> None:
    done = launched("status", "--state", "mine", cwd=tmp_path)
    assert str(tmp_path / "mine") in done.stdout


def test_a_folder_that_no_stack_made_is_neither_used_nor_removed(troupe: Troupe, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for arguments in (["dev"], ["dev", "--reset"]):
        done = troupe(*arguments, "--state", str(tmp_path))
        assert done.returncode == 1
        assert "holds files that are no stack's (thesis.txt" in done.stderr
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    ("mark", "words"),
    [
        ({"format": 0, "postgres": 18, "contracts": "x"}, "made by another version of Troupe"),
        ({"format": 1, "postgres": 17, "contracts": "x"}, "made by another version of Troupe"),
        ({"format": 1, "postgres": 18, "contracts": "x"}, "carries other contracts than this checkout has"),
        ("no JSON", "made by another version of Troupe"),
    ],
)
def test_a_stale_folder_is_refused_with_the_remedy(troupe: Troupe, tmp_path: Path, mark: object, words: str) -> None:
    (tmp_path / "stack.json").write_text(mark if isinstance(mark, str) else json.dumps(mark))
    done = troupe("dev", "--state", str(tmp_path))
    assert done.returncode == 1
    assert words in done.stderr
    assert "start with --reset" in done.stderr


def test_without_node_the_message_says_what_to_install(troupe: Troupe, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("dirname", "setpriv"):
        (tools / name).symlink_to(shutil.which(name) or "/nowhere")
    done = troupe("dev", "--state", str(tmp_path / "state"), PATH=str(tools))
    assert done.returncode == 1
    assert "node is not on PATH" in done.stderr
    assert "install Node 20" in done.stderr
    assert not (tmp_path / "state").exists()


def test_without_anvil_the_message_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(Missing, match="anvil is not installed for this platform: run `make setup`"):
        anvil.binary(tmp_path)


def test_a_nearly_full_disk_is_said_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"only \d+ MB are free .* needs 1000000000000 MB: free some space"):
        require_space(tmp_path, 10**18)


def test_a_port_that_another_program_holds_is_refused_before_anything_starts(troupe: Troupe, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        free = Ports.free()
        others = {"TROUPE_PORT_API": str(free.api), "TROUPE_PORT_ANVIL": str(free.anvil)}
        done = troupe("dev", "--state", str(tmp_path / "state"), TROUPE_PORT_INDEXER=port, **others)
    assert done.returncode == 1
    assert f"port {port} of 127.0.0.1, which indexer needs, is taken" in done.stderr
    assert "TROUPE_PORT_INDEXER" in done.stderr
    assert not (tmp_path / "state" / "pg").exists()


def test_doctor_of_a_folder_that_was_never_started_asks_for_nothing_that_runs(troupe: Troupe, tmp_path: Path) -> None:
    done = troupe("doctor", "--json", "--state", str(tmp_path / "state"))
    rows = {row["part"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == int(any(row["level"] == "fail" for row in rows.values()))
    assert rows["stack"]["level"] == "warn"
    assert rows["stack"]["fix"] == f"start the stack with `./troupe dev --state {tmp_path / 'state'}`"
    assert {rows[part]["level"] for part in ("database", "redis", "chain", "indexer", "api", "worker")} == {"off"}
    assert rows["environments"]["level"] == "ok"


def test_doctor_of_servers_that_are_not_there_fails_with_the_settings_names(troupe: Troupe, tmp_path: Path) -> None:
    done = troupe(
        "doctor",
        "--json",
        TROUPE_DATABASE_URL="postgresql+psycopg://troupe_backend@/troupe?host=/nowhere",
        TROUPE_REDIS_URL=f"unix://{tmp_path}/none.sock",
        TROUPE_RPC_URL="http://127.0.0.1:1",
    )
    rows = {row["part"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 1
    assert rows["database"]["fix"] == "start it, or mend TROUPE_DATABASE_URL"
    assert rows["redis"]["fix"] == "start it, or mend TROUPE_REDIS_URL"
    assert rows["chain"]["fix"] == "start the node, or mend TROUPE_RPC_URL"
    assert rows["product tables"]["detail"] == "not asked: database failed"
    assert rows["contracts"]["level"] == "off"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(["--state"], "--state"), (["--scale", "5"], "less than or equal to 1"), (["--sclae", "1"], "--sclae")],
)
def test_the_demos_options_are_checked_before_anything_starts(
    troupe: Troupe, tmp_path: Path, arguments: list[str], named: str
) -> None:
    done = troupe("demo", *arguments, TROUPE_STATE=str(tmp_path / "state"))
    assert done.returncode == 2
    assert named in done.stderr
    assert not (tmp_path / "state").exists()
