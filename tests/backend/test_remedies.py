"""Remedies can be typed again as they stand: they name the folder that was named."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

import backend.cli
import backend.installation
import backend.vault.cli
from backend.cli import app
from backend.remedies import with_state

pytestmark = pytest.mark.feature("Q2", via="cli")


@pytest.mark.parametrize(
    ("said", "typed"),
    [
        ("see `./troupe logs api`, then `./troupe dev`.", "see `./troupe logs api -S`, then `./troupe dev -S`."),
        ("`./troupe backup --keys` made it", "`./troupe backup -S --keys` made it"),
        ("until `./troupe models release`", "until `./troupe models release -S`"),
        ("  logs   ./troupe logs NAME      end  Ctrl-C", "  logs   ./troupe logs NAME -S      end  Ctrl-C"),
        ("`./troupe taste verify FILE` and `./troupe version`", "`./troupe taste verify FILE` and `./troupe version`"),
        ("run `make setup`", "run `make setup`"),
    ],
)
def test_commands_of_the_stack_get_the_folder(said: str, typed: str) -> None:
    assert with_state(said, Path("/some where")) == typed.replace("-S", "--state '/some where'")


@pytest.mark.parametrize(
    "command", [["status"], ["migrate"], ["logs", "api"], ["doctor"], ["doctor", "--json"], ["keys", "init"]]
)
def test_a_command_with_a_folder_names_it_and_one_that_has_it_from_the_environment_does_not(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TROUPE_DATABASE_URL", "TROUPE_ADMIN_DATABASE_URL", "TROUPE_VAULT_DIR", "TROUPE_MASTER_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    if command[0] == "keys":
        (tmp_path / "master.key").touch(mode=0o600)
    for module in (backend.cli, backend.vault.cli):  # wide enough that no table breaks the folder's name
        monkeypatch.setattr(module, "out", Console(highlight=False, width=1000))
        monkeypatch.setattr(module, "err", Console(stderr=True, highlight=False, width=1000))
    monkeypatch.setattr(backend.installation, "err", Console(stderr=True, highlight=False, width=1000))
    wide = {"COLUMNS": "1000"}
    given = CliRunner().invoke(app, [*command, "--state", str(tmp_path)], env=wide | {"TROUPE_STATE": None})
    named = CliRunner().invoke(app, command, env=wide | {"TROUPE_STATE": str(tmp_path)})
    for done in (given, named):
        assert "`./troupe " in done.output, done.output
    assert f" --state {tmp_path}`" in given.output
    assert " --state " not in named.output
