"""`./troupe keys` as an operator types it."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from typer.testing import CliRunner

from backend.cli import app
from backend.vault.master_key import read
from backend.vault.vault import Vault

runner = CliRunner()


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    vault, master = tmp_path / "vault", tmp_path / "keys" / "master.key"
    monkeypatch.setenv("TROUPE_VAULT_DIR", str(vault))
    monkeypatch.setenv("TROUPE_MASTER_KEY_FILE", str(master))
    monkeypatch.delenv("TROUPE_STATE", raising=False)
    return vault, master


def keys(*arguments: str) -> tuple[int, str]:
    done = runner.invoke(app, ["keys", *arguments])
    return done.exit_code, done.output


@pytest.mark.feature("C4", via="cli")
def test_init_rotate_and_status(places: tuple[Path, Path]) -> None:
    status, said = keys("init")
    assert (status, "keep a copy of it apart" in said.replace("\n", " ")) == (0, True)
    assert places[1].stat().st_mode & 0o777 == 0o600
    vault = Vault(*places)
    for _ in range(3):
        vault.ensure(uuid.uuid4())
    status, said = keys("rotate")
    assert (status, "rotated to version 2: 3 data keys were wrapped anew" in said) == (0, True)
    status, said = keys("status")
    assert status == 0
    assert "rotate --retire" in said
    status, said = keys("rotate", "--retire")
    assert (status, "dropped version 1, 2" in said) == (0, True)
    assert read(places[1]).keys.keys() == {3}
    assert not any(key.hex() in said for key in read(places[1]).keys.values())


@pytest.mark.feature("C4", via="cli")
def test_what_cannot_be_done_is_one_sentence_and_status_1(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, said = keys("rotate")
    assert (status, "There is no master key at" in said) == (1, True)
    keys("init")
    status, said = keys("init")
    assert (status, "is there already" in said) == (1, True)
    Vault(*places).ensure(uuid.uuid4())
    moved = places[1].rename(places[1].with_name("elsewhere"))
    status, said = keys("init")
    assert (status, "a new one cannot open them" in said.replace("\n", " ")) == (1, True)
    moved.rename(places[1])
    places[1].chmod(0o644)
    status, said = keys("status")
    assert (status, "chmod 600" in said) == (1, True)
    places[1].chmod(0o600)
    next(places[0].glob("??/*.key")).write_bytes(b"damaged")
    status, said = keys("status")
    assert (status, "1 data keys do not open" in said) == (1, True)
    monkeypatch.delenv("TROUPE_VAULT_DIR")
    assert keys("status")[0] == 2
