"""H6: what people mistype: arguments, settings, files. An exit status by whose turn it is, a sentence with the fix.

Every row runs in this process by the command's own entry point; that the launcher reaches it is in test_cli.py.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from backend import cli
from backend.rewards import __main__ as rewards
from backend.rewards import recompute
from backend.sender import __main__ as sender
from indexer import __main__ as indexer

TOKEN = "0x" + "11" * 20
NOWHERE = "postgresql+psycopg://troupe_backend@/troupe?host=/nowhere"
BACKEND = {
    "TROUPE_ENV": "dev",
    "TROUPE_DATABASE_URL": NOWHERE,
    "TROUPE_REDIS_URL": "unix:///nowhere/redis.sock",
    "TROUPE_RPC_URL": "http://127.0.0.1:1",
    "TROUPE_CHAIN_ID": "31337",
    "TROUPE_DEPLOYMENT": "/nowhere/deployment.json",
    "TROUPE_DATA_DIR": "/nowhere/data",
    "TROUPE_PUBLIC_URL": "http://127.0.0.1:8000",
}
INDEXER = {
    "TROUPE_INDEXER_DATABASE_URL": "postgresql+psycopg://troupe_indexer@/troupe?host=/nowhere",
    "TROUPE_RPC_URL": "http://127.0.0.1:1",
}


def troupe(arguments: Sequence[str]) -> int:
    before, sys.argv = sys.argv, ["troupe", *arguments]
    try:
        return cli.main()
    finally:
        sys.argv = before


COMMANDS: dict[str, Callable[[Sequence[str]], object]] = {
    "troupe": troupe,
    "indexer": lambda arguments: indexer.app(list(arguments), prog_name="indexer"),
    "rewards": rewards.main,
    "recompute": recompute.main,
    "sender": sender.main,
}


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("TROUPE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TROUPE_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


def run(command: str, arguments: Sequence[str]) -> int:
    """The exit status of a command."""
    try:
        status = COMMANDS[command](arguments)
    except SystemExit as ending:
        status = ending.code
    assert isinstance(status, int)
    return status


class Case(NamedTuple):
    """A mistake, and what is said of it."""

    line: str
    """Command and arguments; `@name` is a file that `files` makes."""
    status: int
    words: tuple[str, ...]
    env: dict[str, str] = {}  # noqa: RUF012 - never changed
    files: dict[str, bytes] = {}  # noqa: RUF012


def settings(**changes: str | None) -> dict[str, str]:
    """The backend's settings with some changed or, as None, left out."""
    named = BACKEND | {f"TROUPE_{name.upper()}": value for name, value in changes.items()}
    return {name: value for name, value in named.items() if value is not None}


CASES = [
    # arguments
    Case("troupe bogus", 2, ("No such command 'bogus'", "-h")),
    Case("troupe dev --rest", 2, ("No such option: --rest", "--reset")),
    Case("troupe dev extra", 2, ("extra",)),
    Case("troupe dev --state", 2, ("--state", "requires an argument")),
    Case("troupe demo --scale 0", 2, ("--scale", "greater than or equal to 0.02")),
    Case("troupe demo --scale much", 2, ("--scale", "valid number")),
    Case("troupe logs", 2, ("Missing argument 'NAME'",)),
    Case("troupe logs api -n 0", 2, ("--lines", "greater than or equal to 1")),
    Case("troupe logs api -n many", 2, ("--lines", "valid integer")),
    Case("troupe logs api", 2, ("no part 'api' has a log", "`./troupe dev` does")),
    Case("troupe logs ../../etc/passwd", 2, ("no part '../../etc/passwd'",)),
    Case("indexer runn", 2, ("No such command 'runn'",)),
    Case("indexer run --fast", 2, ("No such option",)),
    Case("indexer verify --ranges -1", 2, ("--ranges", "greater than or equal to 0")),
    Case("indexer verify --seed x", 2, ("--seed", "valid integer")),
    Case("indexer proof --block x", 2, ("--block", "valid integer")),
    Case("rewards forget 1 " + TOKEN, 2, ("decision", "withdraw", "repropose")),
    Case("rewards withdraw one " + TOKEN, 2, ("epoch", "invalid int")),
    Case("rewards withdraw 1 0x12", 2, ("token", "40 hexadecimal digits")),
    Case("rewards withdraw 1 0x" + "Ab" * 20, 2, ("token", "wrong checksum")),
    Case("rewards withdraw 1", 2, ("token", "required")),
    Case("recompute", 2, ("tree_file", "required")),
    Case("recompute missing.json", 2, ("missing.json does not exist", "name the tree file")),
    Case("recompute @tree.json --files nowhere", 2, ("nowhere does not exist", "--files"), files={"tree.json": b"{}"}),
    Case("sender resume 12", 2, ("address", "40 hexadecimal digits")),
    Case("sender stop", 2, ("command", "status", "resume")),
    Case("troupe tasks retry", 2, ("Missing argument", "task_id")),
    Case("troupe tasks bury x", 2, ("No such command 'bury'",)),
    # settings
    Case("troupe dev", 2, ("TROUPE_PORT_API is 'http'", "from 1 to 65535"), {"TROUPE_PORT_API": "http"}),
    Case("troupe dev", 2, ("TROUPE_PORT_API is '70000'", "from 1 to 65535"), {"TROUPE_PORT_API": "70000"}),
    Case("troupe dev", 2, ("TROUPE_PORT_ANVIL", "both 8000", "port of its own"), {"TROUPE_PORT_ANVIL": "8000"}),
    Case(
        "troupe migrate",
        2,
        ("TROUPE_INDEXER_DATABASE_URL", "is not set"),
        {"TROUPE_ADMIN_DATABASE_URL": "postgresql+psycopg://a@/b"},
    ),
    Case(
        "troupe migrate",
        1,
        ("is no database's address", "postgresql+psycopg://"),
        INDEXER | {"TROUPE_ADMIN_DATABASE_URL": "not an address"},
    ),
    Case(
        "troupe migrate",
        1,
        ("cannot be reached", "/nowhere"),
        INDEXER | {"TROUPE_ADMIN_DATABASE_URL": "postgresql+psycopg://a@/b?host=/nowhere"},
    ),
    Case("sender status", 1, ("TROUPE_DATABASE_URL is not set", "TROUPE_PUBLIC_URL is not set")),
    Case("rewards withdraw 1 " + TOKEN, 1, ("TROUPE_CHAIN_ID", "valid integer"), settings(chain_id="one")),
    Case("sender status", 1, ("TROUPE_REDIS_URL", "must be redis://"), settings(redis_url="http://x")),
    Case("sender status", 1, ("TROUPE_PUBLIC_URL", "must have no path"), settings(public_url="http://x/y")),
    Case("sender status", 1, ("must be https:// in production",), settings(env="production")),
    Case("sender status", 1, ("TROUPE_OTEL_ENDPOINT", "http(s) address"), settings(otel_endpoint="here")),
    Case("sender status", 1, ("TROUPE_LOG_LEVEL", "'debug'"), settings(log_level="loud")),
    Case("sender status", 1, ("TROUPE_SESSION_TTL_S", "greater than 0"), settings(session_ttl_s="0")),
    Case("sender status", 1, ("TROUPE_ENV_FILE names", "no such file"), {"TROUPE_ENV_FILE": "nowhere.env"}),
    Case("indexer status", 2, ("TROUPE_INDEXER_DATABASE_URL is not set",)),
    Case("indexer status", 2, ("TROUPE_INDEXER_PORT",), INDEXER | {"TROUPE_INDEXER_PORT": "70000"}),
    # files
    Case(
        "sender status",
        1,
        ("TROUPE_SESION_TTL_S is no setting", "remove the line"),
        settings(env_file="@bad.env"),
        {"bad.env": b"TROUPE_SESION_TTL_S=5\n"},
    ),
    Case("indexer status", 1, ("deployment.json",), INDEXER | {"TROUPE_DEPLOYMENT": "@deployment.json"}),
    Case(
        "indexer status",
        1,
        ("deployment.json",),
        INDEXER | {"TROUPE_DEPLOYMENT": "@deployment.json"},
        {"deployment.json": b"{"},
    ),
    Case(
        "indexer status",
        1,
        ("deployment.json",),
        INDEXER | {"TROUPE_DEPLOYMENT": "@deployment.json"},
        {"deployment.json": b"\xff\xfe\x00"},
    ),
    Case("recompute @tree.json", 1, ("tree.json", "not JSON"), files={"tree.json": b"not json"}),
    Case("recompute @tree.json", 1, ("tree.json", "depth"), files={"tree.json": b"[" * 5000}),
    Case("recompute @tree.json", 1, ("tree.json", "not a file of format"), files={"tree.json": b'{"format": 1}'}),
    Case("recompute @tree.json", 1, ("tree.json", "empty"), files={"tree.json": b""}),
]


@pytest.mark.feature("Q5", via="cli")
@pytest.mark.parametrize("case", CASES, ids=[f"{case.line[:40]} {case.words[0][:30]}" for case in CASES])
def test_H6_a_mistake_is_told_with_its_fix(
    case: Case, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name, content in case.files.items():
        (tmp_path / name).write_bytes(content)

    def placed(text: str) -> str:
        return re.sub(r"^@", f"{tmp_path}/", text)

    for name, value in case.env.items():
        monkeypatch.setenv(name, placed(value))
    command, *arguments = case.line.split()
    status = run(command, [placed(argument) for argument in arguments])
    said = capsys.readouterr()
    text = re.sub(r"[│╭╮╰╯─\s]+", " ", said.err)
    assert status == case.status, text
    assert "Traceback" not in said.out + said.err
    for word in case.words:
        assert word in text


def test_H6_there_are_forty_and_they_name_no_secret_of_the_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(CASES) >= 40
    secret = "postgresql+psycopg://me:hunter2@/b?host=/nowhere"
    for name, value in settings(database_url=secret, operator_key="0x" + "77" * 32, chain_id="1").items():
        monkeypatch.setenv(name, value)
    assert run("sender", ["status"]) == 1
    said = capsys.readouterr()
    assert "TROUPE_OPERATOR_KEY is refused on chain 1" in said.err
    assert "hunter2" not in said.out + said.err
    assert "77" * 8 not in said.out + said.err


def test_H6_debug_shows_the_traceback_that_is_hidden_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TROUPE_PORT_API", "http")
    with pytest.raises(Exception, match="TROUPE_PORT_API is 'http'"):
        run("troupe", ["--debug", "dev"])


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        (lambda _: 0, "assert 0 == 2"),  # ends well where it should not
        (lambda _: 2, "Missing argument"),  # says nothing
        (lambda _: 1 // 0, "by zero"),  # leaves with a traceback
    ],
)
def test_H6_the_table_finds_a_planted_command(
    *,
    planted: Callable[[Sequence[str]], object],
    found: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setitem(COMMANDS, "troupe", planted)
    (case,) = [case for case in CASES if case.line == "troupe logs"]
    with pytest.raises((AssertionError, ZeroDivisionError), match=found):
        test_H6_a_mistake_is_told_with_its_fix(case, monkeypatch, capsys, tmp_path)
