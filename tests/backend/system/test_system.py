"""Health, readiness with reasons, and the chain that is served."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fastapi import FastAPI

from backend.app import create_app
from backend.node import Node
from backend.settings import Settings
from stack.anvil import Anvil
from stack.postgres import DatabaseUrls
from tests.backend.conftest import PUBLIC_URL, Client
from tests.backend.mirror import MirrorWriter

pytestmark = pytest.mark.feature("Q2", via="http")


@pytest.fixture
def mirror(clean_db: DatabaseUrls) -> Iterator[MirrorWriter]:
    writer = MirrorWriter(clean_db)
    yield writer
    writer.close()


def checks(client: Client) -> dict[str, Any]:
    answer = client.get("/ready")
    assert answer.status_code == (200 if answer.json()["status"] == "ready" else 503)
    return {check["name"]: check for check in answer.json()["checks"]}


def with_node(settings: Settings, url: str, **changes: Any) -> FastAPI:
    return create_app(settings.model_copy(update={"rpc_url": url, **changes}))


def test_health_asks_nothing(client: Client) -> None:
    assert client.get("/health").json() == {"status": "ok"}


def test_ready_when_every_part_answers_and_the_mirror_is_near(
    settings: Settings, anvil: Anvil, mirror: MirrorWriter
) -> None:
    mirror.block()
    with Client(with_node(settings, anvil.url), base_url=PUBLIC_URL) as client:
        found = checks(client)
        assert [name for name, check in found.items() if not check["ok"]] == []
        assert client.get("/ready").status_code == 200
        assert "troupe_mirror_head_block 1.0" in client.get("/metrics").text


def test_not_ready_before_anything_is_mirrored(settings: Settings, anvil: Anvil) -> None:
    with Client(with_node(settings, anvil.url), base_url=PUBLIC_URL) as client:
        assert "is the indexer running" in checks(client)["mirror"]["detail"]
        assert client.get("/ready").headers["retry-after"]


def test_not_ready_when_the_mirror_is_far_behind(settings: Settings, anvil: Anvil, mirror: MirrorWriter) -> None:
    mirror.block()
    with Node(anvil.url) as node:
        node.ask("anvil_mine", "0xa")
    with Client(with_node(settings, anvil.url, ready_lag_blocks=5), base_url=PUBLIC_URL) as client:
        found = checks(client)["mirror"]
    assert (found["ok"], found["detail"]) == (False, "At block 1, 9 behind the node; at most 5 is well.")


def test_each_part_that_is_away_is_named(settings: Settings, mirror: MirrorWriter) -> None:
    mirror.block()
    away = settings.model_copy(update={"redis_url": "unix:///nowhere/redis.sock"})
    with Client(create_app(away), base_url=PUBLIC_URL) as client:
        found = checks(client)
    assert {name: check["ok"] for name, check in found.items()} == {
        "database": True,
        "migrations": True,
        "redis": False,
        "node": False,
        "mirror": True,
        "content": True,
        "vault": True,
    }
    assert {name: check["fix"] for name, check in found.items() if not check["ok"]} == {
        "redis": "Start it, or mend TROUPE_REDIS_URL.",
        "node": "Start it, or mend TROUPE_RPC_URL.",
    }


def test_a_node_of_another_chain_is_not_ready(settings: Settings, anvil: Anvil) -> None:
    with Client(with_node(settings, anvil.url, chain_id=1), base_url=PUBLIC_URL) as client:
        found = checks(client)["node"]
    assert (found["ok"], found["detail"]) == (False, "The node is on chain 31337, and this deployment is on 1.")


def test_tables_of_another_version_are_not_ready(settings: Settings, clean_db: DatabaseUrls) -> None:
    with psycopg.connect(clean_db.conninfo()) as admin:
        (revision,) = admin.execute("SELECT version_num FROM app.alembic_version").fetchone() or ("",)
        (made_for,) = admin.execute("SELECT value FROM chain.fingerprint").fetchone() or ("",)
    core, events, _ = made_for.split(".")
    with Client(create_app(settings), base_url=PUBLIC_URL) as client:
        for table, column, was, other, fix in (
            ("app.alembic_version", "version_num", revision, "elsewhere", "Run `./troupe migrate`."),
            ("chain.fingerprint", "value", made_for, f"{core}.{events}.x", "Run `python -m indexer migrate`."),
        ):
            change = f"UPDATE {table} SET {column} = %s".encode()
            with psycopg.connect(clean_db.conninfo()) as admin:
                admin.execute(change, (other,))
            try:
                found = checks(client)
            finally:
                with psycopg.connect(clean_db.conninfo()) as admin:
                    admin.execute(change, (was,))
            assert found["database"]["ok"]
            assert (found["migrations"]["ok"], found["migrations"]["fix"]) == (False, fix)
        assert checks(client)["migrations"]["ok"]


def test_a_master_key_that_others_can_read_is_not_ready(settings: Settings) -> None:
    with Client(create_app(settings), base_url=PUBLIC_URL) as client:
        assert checks(client)["vault"]["ok"]
        settings.master_key.chmod(0o644)
        found = checks(client)["vault"]
    assert (found["ok"], found["fix"]) == (
        False,
        "Bring the file of TROUPE_MASTER_KEY_FILE back from its copy, with mode 0600.",
    )


def test_a_content_store_that_is_away_or_read_only_is_named(settings: Settings, tmp_path: Path) -> None:
    away = {"ipfs_api": "/ip4/127.0.0.1/tcp/1"}
    with Client(create_app(settings.model_copy(update=away)), base_url=PUBLIC_URL) as client:
        found = checks(client)["content"]
    assert (found["ok"], found["fix"]) == (False, "Start it, or mend TROUPE_IPFS_API.")
    (tmp_path / "file").touch()
    with Client(create_app(settings.model_copy(update={"data_dir": tmp_path / "file" / "x"}))) as client:
        found = checks(client)["content"]
    assert (found["ok"], found["fix"]) == (False, "Give this user the folder of TROUPE_DATA_DIR.")


def test_readiness_shows_no_address_and_no_secret(settings: Settings) -> None:
    url = type(settings.database_url)("postgresql+psycopg://me:hunter2@/x?host=/nowhere")
    with Client(create_app(settings.model_copy(update={"database_url": url})), base_url=PUBLIC_URL) as client:
        answer = client.get("/ready")
    assert answer.status_code == 503
    for secret in ("hunter2", "nowhere", settings.rpc_url):
        assert secret not in answer.text


def test_the_chain_before_anything_is_mirrored(client: Client) -> None:
    before = client.get("/v1/chain").json()
    assert (before["head"], before["final_block"]) == (None, None)


def test_the_chain_that_is_served(client: Client, settings: Settings, mirror: MirrorWriter) -> None:
    mirror.block()
    answer = client.get("/v1/chain").json()
    assert answer["chain_id"] == settings.chain_id
    assert answer["head"]["block"] == 1
    assert answer["head"]["stage"] in ("seen", "final")
    assert answer["head"]["time"].endswith("Z")
    assert [token["symbol"] for token in answer["tokens"]] == ["ETH", "USD"]
    assert answer["tokens"][0]["address"] == "0x" + "00" * 20
    assert answer["contracts"]["RevenueLedger"].startswith("0x")
