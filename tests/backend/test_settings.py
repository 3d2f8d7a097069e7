"""Settings: what is missing, malformed, unknown or unsafe is said by name, and nothing secret is shown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from backend.settings import Settings, SettingsError, load_settings

ROOT = Path(__file__).parents[2]

GOOD = {
    "TROUPE_DATABASE_URL": "postgresql+psycopg://troupe_backend:hunter2@/troupe?host=/run",
    "TROUPE_REDIS_URL": "unix:///run/redis.sock",
    "TROUPE_RPC_URL": "http://127.0.0.1:8545",
    "TROUPE_CHAIN_ID": "31337",
    "TROUPE_DEPLOYMENT": "/srv/deployment.json",
    "TROUPE_DATA_DIR": "/srv/data",
    "TROUPE_VAULT_DIR": "/srv/vault",
    "TROUPE_MASTER_KEY_FILE": "/etc/troupe/master.key",
    "TROUPE_PUBLIC_URL": "https://troupe.example",
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENV", "ENV_FILE", "OPERATOR_KEY", "ADMIN_DATABASE_URL", "INDEXER_DATABASE_URL"):
        monkeypatch.delenv(f"TROUPE_{name}", raising=False)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)


def test_an_unnamed_environment_is_production() -> None:
    settings = load_settings()
    assert settings.env == "production"
    assert settings.domain == "troupe.example"
    assert settings.secure_cookies


@pytest.mark.parametrize("name", GOOD)
def test_a_missing_setting_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(name)
    with pytest.raises(SettingsError, match=f"{name} is not set"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("TROUPE_DATABASE_URL", "sqlite:///x.db", "PostgreSQL is the only database"),
        ("TROUPE_DATABASE_URL", "postgresql://x", "postgresql\\+psycopg"),
        ("TROUPE_REDIS_URL", "amqp://x", "unix:///path"),
        ("TROUPE_CHAIN_ID", "mainnet", "TROUPE_CHAIN_ID"),
        ("TROUPE_CHAIN_ID", "0", "greater than 0"),
        ("TROUPE_PUBLIC_URL", "troupe.example", "http\\(s\\) address"),
        ("TROUPE_PUBLIC_URL", "https://troupe.example/app", "no path"),
        ("TROUPE_PUBLIC_URL", "https://me@troupe.example", "http\\(s\\) address"),
        ("TROUPE_PUBLIC_URL", "http://troupe.example", "must be https"),
        ("TROUPE_SESSION_TTL_S", "-1", "TROUPE_SESSION_TTL_S"),
        ("TROUPE_VAULT_DIR", "/srv/data/vault", "outside TROUPE_DATA_DIR"),
        ("TROUPE_MASTER_KEY_FILE", "/srv/data/master.key", "outside TROUPE_DATA_DIR"),
        ("TROUPE_MASTER_KEY_FILE", "/srv/vault/master.key", "outside TROUPE_VAULT_DIR"),
        ("TROUPE_ENV", "prod", "TROUPE_ENV"),
        ("TROUPE_OPERATOR_KEY", "0x" + "11" * 32, "TROUPE_OPERATOR_KEYSTORE"),
        ("TROUPE_ENV_FILE", "/nowhere/env", "no such file"),
    ],
)
def test_a_malformed_or_unsafe_setting_is_named(
    name: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=words):
        load_settings()


def test_a_development_key_is_refused_on_another_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TROUPE_ENV", "dev")
    monkeypatch.setenv("TROUPE_CHAIN_ID", "1")
    monkeypatch.setenv("TROUPE_OPERATOR_KEY", "0x" + "11" * 32)
    with pytest.raises(SettingsError, match="refused on chain 1"):
        load_settings()


def test_a_file_of_settings_is_read_and_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "env"
    file.write_text("TROUPE_SESSION_TTL_S=60\nTROUPE_CHAIN_ID=5\n")
    monkeypatch.setenv("TROUPE_ENV_FILE", str(file))
    settings = load_settings()
    assert (settings.session_ttl_s, settings.chain_id) == (60, 31337)


def test_an_unknown_line_of_the_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "env"
    file.write_text("TROUPE_SESION_TTL_S=60\n")
    monkeypatch.setenv("TROUPE_ENV_FILE", str(file))
    with pytest.raises(SettingsError, match="TROUPE_SESION_TTL_S is no setting"):
        load_settings()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_read_by_something_and_told_to_operators(name: str) -> None:
    """A setting that nothing reads is a promise that nobody keeps: it was so with TROUPE_PORT."""
    sources = [path for folder in ("backend", "stack") for path in (ROOT / folder).rglob("*.py")]
    variable = f"TROUPE_{name.upper()}"
    assert any(re.search(rf'(settings|self)\.{name}\b|get\("{variable}"', path.read_text()) for path in sources)
    assert f"`{variable}`" in (ROOT / "docs" / "operations.md").read_text()


def test_settings_do_not_change_and_show_no_secret() -> None:
    settings = load_settings()
    anything: Any = settings
    with pytest.raises(ValidationError):
        anything.chain_id = 1
    assert "hunter2" not in repr(settings)


def test_an_error_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TROUPE_DATABASE_URL", "mysql://me:hunter2@db")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


def test_plain_http_is_for_development(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TROUPE_ENV", "dev")
    monkeypatch.setenv("TROUPE_PUBLIC_URL", "http://127.0.0.1:8000/")
    settings: Settings = load_settings()
    assert (settings.public_url, settings.secure_cookies) == ("http://127.0.0.1:8000", False)
