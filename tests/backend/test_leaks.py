"""The scanner that says "nothing of this person is left" finds a leak in every medium where there may be one."""

from __future__ import annotations

import base64
import logging
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from redis import Redis as RedisClient

from backend.backup.archive import Member, Writer
from backend.backup.service import Installation, take
from backend.settings import Settings
from backend.vault.vault import Vault
from backend.zipping import zip_stream
from stack.migrate import migrate_all
from stack.postgres import LASTING, DatabaseUrls, Postgres, ensure_database
from stack.processes import running
from stack.redis import Redis
from tests.backend.leaks import Scanner, canary, forms

SECRET = canary()
KEY = bytes(range(7, 39))


@pytest.mark.parametrize("before", [b"", b"x", b"xy", b"some words before it "])
def test_V10_a_secret_is_found_in_every_form_and_at_every_alignment(before: bytes) -> None:
    scanner = Scanner({"title": SECRET, "key": KEY})
    text = before + SECRET.encode() + b" and after"
    assert ("title", "raw") in scanner.within(text)
    assert ("title", "hex") in scanner.within(text.hex().encode())
    assert ("title", "hex") in scanner.within(text.hex().upper().encode())
    assert ("title", "base64") in scanner.within(base64.b64encode(text))
    assert ("key", "base64") in scanner.within(base64.urlsafe_b64encode(before + KEY))
    assert ("title", "raw") in scanner.within(before + SECRET[:24].encode()), "one half is enough"
    assert scanner.within(b"nothing of it " * 1000) == set()
    assert {"raw", "hex", "base64"} == set(forms(KEY))


def test_a_secret_that_may_occur_by_chance_is_refused_and_so_is_an_empty_medium(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="32 are needed"):
        Scanner({"short": b"hello"})
    with pytest.raises(FileNotFoundError):
        Scanner({"title": SECRET}).scan({"logs": tmp_path})


# --- one leak planted in each medium ---------------------------------------------------------------------------------


@dataclass
class Services:
    """Servers of this module's own, so that all that is on their disks is known."""

    folder: Path
    postgres: Postgres
    redis: Redis
    urls: DatabaseUrls
    media: dict[str, Path] = field(default_factory=dict)

    def run(self, *statements: str) -> None:
        with psycopg.connect(self.urls.conninfo(), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[call-overload]

    def base(self) -> Path:
        with psycopg.connect(self.urls.conninfo()) as connection:
            row = connection.execute("SELECT oid FROM pg_database WHERE datname = current_database()").fetchone()
        assert row
        return self.postgres.data / "base" / str(row[0])


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory, short_dir: Path) -> Iterator[Services]:
    folder = tmp_path_factory.mktemp("media")
    # the write-ahead log stays, so that what was ever in it is looked for
    postgres = Postgres(short_dir / "leaks-pg", settings=LASTING | {"fsync": "off", "wal_keep_size": "512MB"})
    redis = Redis(short_dir / "leaks-redis")
    with running(postgres.service(), folder / "postgres.log"), running(redis.service(), folder / "redis.log"):
        urls = postgres.database()
        ensure_database(urls)
        migrate_all(urls.admin, urls.indexer)
        yield Services(folder, postgres, redis, urls)


def plant_in_heap(services: Services, secret: str) -> Path:
    services.run(f"CREATE TABLE IF NOT EXISTS heap_leak AS SELECT '{secret}' AS said", "CHECKPOINT")
    return services.base()


def plant_in_toast(services: Services, secret: str) -> Path:
    services.run(
        "CREATE TABLE toast_leak (said text)",
        f"INSERT INTO toast_leak SELECT string_agg(md5(n::text), '') || '{secret}' || repeat('compressible ', 20000)"
        " FROM generate_series(1, 3000) n",
        "CHECKPOINT",
    )
    return services.base()


def plant_in_wal(services: Services, secret: str) -> Path:
    services.run(f"CREATE TABLE wal_leak AS SELECT '{secret}' AS said", "DROP TABLE wal_leak", "CHECKPOINT")
    assert Scanner({"title": secret}).scan({"heap": services.base()}) == [], "the table is gone, only the log has it"
    return services.postgres.data / "pg_wal"


def plant_in_redis(services: Services, secret: str) -> Path:
    with RedisClient.from_url(services.redis.url) as client:
        client.set("leak", secret)
        client.save()
        client.delete("leak")
    return services.redis.folder / "dump.rdb"


def plant_in_log(services: Services, secret: str) -> Path:
    path = services.folder / "logs" / "api.log"
    path.parent.mkdir()
    handler = logging.FileHandler(path)
    logging.getLogger("leak").addHandler(handler)
    logging.getLogger("leak").warning("signed in with %r", {"agent": secret})
    handler.close()
    logging.getLogger("leak").removeHandler(handler)
    return path.parent


def plant_in_export(services: Services, secret: str) -> Path:
    path = services.folder / "exports" / "one.zip"
    path.parent.mkdir()
    path.write_bytes(b"".join(zip_stream([("drafts.jsonl", [b'{"title": "', secret.encode(), b'"}\n'] * 50)])))
    return path.parent


def plant_in_backup(services: Services, secret: str) -> Path:
    services.run(f"INSERT INTO app.outbox_intent {outbox_row(secret)}")
    manifest = services.folder / "deployment.json"
    manifest.write_text(
        '{"chainId": 31337, "network": "test", "startBlock": 0, "genesisHash": "0x' + "00" * 32 + '", "finality":'
        ' {"mode": "tag"}, "contracts": {"WorkRegistry": {"address": "0x' + "11" * 20 + '", "block": 1}},'
        ' "tokens": [], "parameters": {}}'
    )
    settings = Settings(
        env="test",
        database_url=services.urls.backend,  # type: ignore[arg-type]
        redis_url=services.redis.url,
        rpc_url="http://127.0.0.1:1",
        chain_id=31337,
        deployment=manifest,
        data_dir=services.folder / "data",
        public_url="http://127.0.0.1:8000",
    )
    place = Installation(settings, services.urls.admin, Vault.open(settings))
    return take(place, services.folder / "backups", now=datetime(2026, 11, 21, tzinfo=UTC)).path.parent


def plant_in_draft(services: Services, secret: str) -> Path:
    """A draft whose file was written as it is, past the seal."""
    files = services.folder / "drafts" / "an account"
    files.mkdir(parents=True)
    (files / "a draft.media.sealed").write_bytes(b"the film begins " * 5_000 + secret.encode())
    return files.parent


def plant_in_record(services: Services, secret: str) -> Path:
    """A draft whose title went into its row past the seal."""
    account = "INSERT INTO app.account (id) VALUES (gen_random_uuid()) RETURNING id"
    services.run(
        f"WITH a AS ({account}) INSERT INTO app.draft (id, account_id, record, content_index, files)"
        f" SELECT gen_random_uuid(), id, '{{\"title\": \"{secret}\"}}', '', 'sealed' FROM a",
        "CHECKPOINT",
    )
    return services.base()


def outbox_row(detail: str) -> str:
    return (
        "(key, kind, chain_id, sender, target, value, data, state, attempts, detail)"
        " VALUES ('leak', 'x', 1, decode(repeat('01', 20), 'hex'), decode(repeat('02', 20), 'hex'), 0, ''::bytea,"
        f" 'failed', 0, '{detail}')"
    )


@pytest.mark.slow
@pytest.mark.feature("C3", via="http")
@pytest.mark.parametrize(
    "plant",
    [
        *(plant_in_heap, plant_in_toast, plant_in_wal, plant_in_redis, plant_in_log, plant_in_export, plant_in_backup),
        *(plant_in_draft, plant_in_record),
    ],
    ids=["heap", "toast", "wal", "redis dump", "log", "export", "backup", "draft's file", "draft's words"],
)
def test_V10_a_planted_leak_is_found_in_each_medium(
    services: Services, plant: Callable[[Services, str], Path], request: pytest.FixtureRequest
) -> None:
    secret, other = canary(), canary()
    medium = plant(services, secret)
    leaks = Scanner({"planted": secret, "elsewhere": other}).scan({request.node.callspec.id: medium})
    assert {leak.secret for leak in leaks} == {"planted"}, leaks


def test_V10_a_backup_is_looked_into_though_it_is_compressed(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "one.backup")
    member: Any = writer.add("tables/a.copy", [b"the same words again and again " * 500, SECRET.encode()])
    writer.close(None)
    assert isinstance(member, Member)
    assert SECRET.encode() not in (tmp_path / "one.backup").read_bytes()
    assert Scanner({"title": SECRET}).scan({"backup": tmp_path})
    with zipfile.ZipFile(tmp_path / "one.backup") as archive:
        assert archive.namelist() == ["tables/a.copy"]
