"""`troupe backup` and `troupe restore` as an operator types them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psycopg
import pytest

from backend.backup.service import Installation
from backend.models.accounts import Account
from backend.personalization.person import portable
from backend.vault.vault import Place, Vault
from tests.backend.backup.test_backup import filled, place  # noqa: F401  fixtures

ROOT = Path(__file__).resolve().parents[3]


def troupe(place: Installation, *arguments: str) -> subprocess.CompletedProcess[str]:  # noqa: F811
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TROUPE_")}
    named = {
        "TROUPE_ENV": "test",
        "TROUPE_ADMIN_DATABASE_URL": place.admin_url,
        "TROUPE_DATABASE_URL": place.settings.database_url.get_secret_value(),
        "TROUPE_REDIS_URL": place.settings.redis_url,
        "TROUPE_RPC_URL": place.settings.rpc_url,
        "TROUPE_CHAIN_ID": "31337",
        "TROUPE_DEPLOYMENT": str(place.settings.deployment),
        "TROUPE_DATA_DIR": str(place.settings.data_dir),
        "TROUPE_PUBLIC_URL": place.settings.public_url,
    }
    return subprocess.run(
        [str(ROOT / "troupe"), *arguments],
        cwd=ROOT,
        env=kept | {"NO_COLOR": "1", "COLUMNS": "200"} | named,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.feature("Q2", via="cli")
def test_backup_and_restore_by_command(place: Installation, filled: Account, tmp_path: Path) -> None:  # noqa: F811
    sealed = place.vault.seal(filled.id, "mine", Place("t", "1", "c"))
    signs = portable.public_bytes(portable.key_of(place.settings.taste_key))
    to, mirror = tmp_path / "backups", tmp_path / "keys"
    done = troupe(place, "backup", "--to", str(to), "--keys", str(mirror))
    assert done.returncode == 0, done.stderr
    (path,) = to.glob("*.backup")
    assert str(path) in done.stdout
    assert "1 people" in done.stdout
    assert "master key" in done.stdout
    assert "and the key that signs taste documents" in done.stdout

    refused = troupe(place, "restore", str(path))
    assert (refused.returncode, "--replace" in refused.stderr) == (1, True), refused
    assert "Traceback" not in refused.stderr
    assert "debug" not in refused.stderr

    with psycopg.connect(place.admin_url.replace("+psycopg", "")) as connection:
        connection.execute("DELETE FROM app.account")
    place.vault.path(filled.id).unlink()  # the disk with the vault is lost too
    place.settings.taste_key.unlink()
    done = troupe(place, "restore", str(path), "--keys", str(mirror))
    assert done.returncode == 0, done.stderr
    assert "1 brought back" in done.stdout
    assert "the key that signs taste documents was brought back" in done.stdout
    assert portable.public_bytes(portable.read_key(place.settings.taste_key)) == signs
    with psycopg.connect(place.admin_url.replace("+psycopg", "")) as connection:
        assert connection.execute("SELECT id FROM app.account").fetchall() == [(filled.id,)]
    again = Vault(place.settings.vault, place.settings.master_key)
    assert again.unseal(filled.id, sealed, Place("t", "1", "c")) == b"mine"
