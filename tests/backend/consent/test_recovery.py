"""After an erasure, with the master key and every file in hand, nobody recovers what was sealed (promise V10)."""

from __future__ import annotations

import logging
import shutil
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from eth_account.signers.local import LocalAccount
from redis import Redis as RedisClient
from sqlalchemy import create_engine, text

from backend.app import create_app
from backend.backup import keys
from backend.backup.service import Installation, put_back, take
from backend.models import registry
from backend.settings import Settings
from backend.vault import master_key
from backend.vault.vault import Place, Sealed, Vault
from backend.works.drafts import DraftFiles
from tests.backend.conftest import Client, Clock
from tests.backend.consent.owndata import core_of, erase, like, make
from tests.backend.leaks import Leak, Scanner, canary
from tests.backend.test_leaks import Services, services  # noqa: F401  a fixture
from tests.backend.works.uploads import upload
from tests.factories import Mirror

KEY_FILE_SECRET = slice(41, 89)
"""Of a key file: the wrapped key, without what says whose it is."""


def sealed_values(admin: str) -> Iterator[tuple[str, str, set[str], bytes]]:
    """(table, column, names that the row may have, value) of everything sealed in a database."""
    engine = create_engine(admin)
    with engine.connect() as connection:
        for table in registry.load().sorted_tables:
            columns = [column.name for column in table.columns if isinstance(column.type, Sealed)]
            for row in connection.execute(text(f"SELECT * FROM {table.fullname}")).mappings() if columns else ():
                pk = "|".join(str(row[key.name]) for key in table.primary_key)
                names = {pk, *(str(value) for value in row.values() if isinstance(value, uuid.UUID | int | str))}
                yield from ((table.name, c, names, bytes(row[c])) for c in columns if row[c] is not None)
    engine.dispose()


def opened_files(data: Path, vaults: list[Vault]) -> Iterator[bytes]:
    """The files of drafts that open with a key of any vault."""
    for vault in vaults:
        files = DraftFiles(data / "drafts", vault)
        for path in files.folder.glob("*/*.sealed"):
            draft, part, _ = path.name.split(".")
            try:
                yield b"".join(files.read(uuid.UUID(path.parent.name), uuid.UUID(draft), part))  # type: ignore[arg-type]
            except Exception:
                continue


def recovered(admin: str, data: Path, vaults: list[Vault]) -> set[bytes]:
    """All that an attacker opens who has the master key, all files, and every copy of the vault: by trying."""
    found = set(opened_files(data, vaults))
    people = [(vault, person) for vault in vaults for person in vault.people()]
    for table, column, names, value in sealed_values(admin):
        for vault, person in people:
            for name in names:
                try:
                    found.add(vault.unseal(person, value, Place(table, name, column)))
                except Exception:
                    continue
    return found


@pytest.mark.slow
@pytest.mark.feature("C3", via="http")
@pytest.mark.feature("C4", via="http")
def test_V10_nothing_is_recovered_with_every_file_in_hand_even_from_an_older_backup(  # noqa: PLR0917
    services: Services,  # noqa: F811
    manifest: Path,
    tmp_path: Path,
    alice: LocalAccount,
    bob: LocalAccount,
    clock: Clock,
) -> None:
    settings = Settings(
        env="test",
        database_url=services.urls.backend,  # type: ignore[arg-type]
        redis_url=services.redis.url,
        rpc_url="http://127.0.0.1:1",
        chain_id=31337,
        deployment=manifest,
        data_dir=tmp_path / "data",
        public_url="http://127.0.0.1:8000",
    )
    logs = tmp_path / "logs"
    logs.mkdir()
    began = logs.stat().st_mtime
    handler = logging.FileHandler(logs / "api.log")
    logging.getLogger().addHandler(handler)
    typed = {"browser": canary(), "key name": canary(), "film": canary(), "title": canary(), "description": canary()}
    app = create_app(settings, clock=clock)
    with Client(app, base_url=settings.public_url, raise_server_exceptions=False) as client:
        story(client, services, alice, bob, typed)
        vault = core_of(client).vault
        place = Installation(settings, services.urls.admin, vault)
        account = account_of(services, alice)
        mirror = tmp_path / "mirror"
        keys.mirror(vault, mirror)
        backup = take(place, tmp_path / "backups", now=datetime(2026, 11, 21, tzinfo=UTC)).path
        secrets = {
            "data key": vault._read_key(account),
            "wrapped key": vault.path(account).read_bytes()[KEY_FILE_SECRET],
        }
        media = {
            "database": services.postgres.data,
            "redis": services.redis.folder,
            "logs": logs,
            "data": settings.data_dir,
            "backups": backup.parent,
            "vault": vault.folder,
            "mirror": mirror,
        }
        scanner = Scanner(typed | secrets)
        vaults = [vault, Vault(mirror, settings.master_key)]

        # the scanner and the attacker can: what they are to miss afterwards is there now
        there = scan(services, scanner, media, began)
        assert {(leak.medium, leak.secret) for leak in there} == {
            ("vault", "wrapped key"),
            ("mirror", "wrapped key"),
        }
        before = recovered(services.urls.admin, settings.data_dir, vaults)
        assert {what for what, words in typed.items() if any(words.encode() in value for value in before)} == set(typed)

        receipt = erase(client, client.as_(alice))
        assert receipt["state"] == "done"
        assert scan(services, scanner, media, began) == []
        for each in vaults:
            each.forget()
        opened = recovered(services.urls.admin, settings.data_dir, vaults)
        assert any(b"bob" in value for value in opened), "bob's are still there, and still open"
        assert not any(words.encode() in value for words in typed.values() for value in opened)
    handler.close()
    logging.getLogger().removeHandler(handler)

    # the database of before comes back, with every sealed value in it
    restored = put_back(place, backup, replace=True, ask_consents_again=clock())
    assert (restored.erased, restored.withdrawn) == (1, 2), "bob is asked anew, alice is gone"
    assert scan(services, scanner, media, began) == []
    with psycopg.connect(services.urls.conninfo()) as connection:
        assert connection.execute("SELECT count(*) FROM app.account WHERE id = %s", (account,)).fetchone() == (0,)
        (people,) = connection.execute("SELECT count(DISTINCT person_id) FROM app.engagement_event").fetchone() or (0,)
        assert people == 1, "what she did leads to nobody, and is gone too"
    opened = recovered(services.urls.admin, settings.data_dir, vaults)
    assert not any(words.encode() in value for words in typed.values() for value in opened)


def story(
    client: Client,
    services: Services,  # noqa: F811
    alice: LocalAccount,
    bob: LocalAccount,
    typed: dict[str, str],
) -> None:
    """Two people who leave something everywhere; what Alice types is what is looked for."""
    mirror = Mirror(services.urls)
    mirror.block(1)
    mirror.work(1, owner=bob, block=1)
    mirror.close()
    for person, browser, name in ((bob, "bob's browser", "bob's key"), (alice, typed["browser"], typed["key name"])):
        client.headers["user-agent"] = browser
        me = client.as_(person)
        me.headers["user-agent"] = "another"
        for purpose in ("behaviour", "content_taste"):
            assert me.put(f"/v1/consents/{purpose}", json={"granted": True}).status_code == 200
        like(me, 1)
        made = me.post("/v1/keys", json={"name": name, "scopes": ["engagement:write"], "lifetime_days": 1})
        assert made.status_code == 201, made.text
        said = typed if person is alice else {"film": "bob", "title": "bob's film", "description": "bob"}
        film = f"{said['film']}\n" * 50
        made = upload(me, film.encode(), title=said["title"], description=said["description"])
        assert made.status_code == 201
        assert me.get(f"/v1/works/drafts/{made.json()['id']}/intent").status_code == 200
        assert make(client, me)["state"] == "ready"
        me.get("/v1/feed")
    client.headers["user-agent"] = "another"


def account_of(services: Services, person: LocalAccount) -> uuid.UUID:  # noqa: F811
    with psycopg.connect(services.urls.conninfo()) as connection:
        row = connection.execute(
            "SELECT id FROM app.account WHERE address = %s", (bytes.fromhex(person.address[2:]),)
        ).fetchone()
    assert row
    found: uuid.UUID = row[0]
    return found


def scan(services: Services, scanner: Scanner, media: dict[str, Path], began: float) -> list[Leak]:  # noqa: F811
    """Look at everything, once the servers have written down what they hold in memory."""
    services.run("CHECKPOINT")
    with RedisClient.from_url(services.redis.url) as redis:
        redis.save()
    return scanner.scan(media, since=began - 1)


def test_a_key_file_holds_the_wrapped_key_where_the_test_looks(tmp_path: Path) -> None:
    """The oracle's own ground: what is looked for is what a vault needs to open a value."""
    master_key.create(tmp_path / "master.key")
    vault, person = Vault(tmp_path / "vault", tmp_path / "master.key"), uuid.uuid4()
    sealed = vault.seal(person, "mine", Place("t", "1", "c"))
    path = vault.path(person)
    data = path.read_bytes()
    secret = data[KEY_FILE_SECRET]
    other = tmp_path / "other"
    shutil.copytree(vault.folder, other)
    broken = Vault(other, tmp_path / "master.key")
    broken.path(person).write_bytes(data.replace(secret, bytes(len(secret))))
    with pytest.raises(Exception, match="changed"):
        broken.unseal(person, sealed, Place("t", "1", "c"))
    assert vault.unseal(person, sealed, Place("t", "1", "c")) == b"mine"
