"""Processes that must not start say one sentence and end with 1: wrong chain, no contracts, old tables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from eth_utils.crypto import keccak
from pydantic import SecretStr

from backend import preflight
from backend.preflight import PreflightError
from backend.settings import Settings
from stack.anvil import Anvil
from stack.postgres import DatabaseUrls
from stack.processes import free_port, running

ROOT = Path(__file__).resolve().parents[2]
CODE = bytes.fromhex("6001600155")


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    anvil = Anvil(free_port())
    with running(anvil.service(), tmp_path_factory.mktemp("preflight") / "anvil.log"):
        yield anvil.url


def rpc(url: str, method: str, *params: object) -> Any:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    answer = httpx.post(url, json=body).json()
    assert "error" not in answer, answer
    return answer["result"]


@pytest.fixture
def good(settings: Settings, chain: str) -> Settings:
    """Settings whose chain has code wherever the manifest says."""
    manifest = json.loads(settings.deployment.read_text())
    for contract in manifest["contracts"].values():
        contract["codeHash"] = "0x" + keccak(CODE).hex()
        rpc(chain, "anvil_setCode", contract["address"], "0x" + CODE.hex())
    settings.deployment.write_text(json.dumps(manifest))
    return settings.model_copy(update={"rpc_url": chain})


def change(settings: Settings, **values: Any) -> None:
    manifest = json.loads(settings.deployment.read_text())
    settings.deployment.write_text(json.dumps(manifest | values))


def test_all_is_well(good: Settings) -> None:
    preflight.check(good)


def test_a_manifest_that_is_missing(good: Settings, tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match="does not exist: deploy the contracts"):
        preflight.check(good.model_copy(update={"deployment": tmp_path / "none.json"}))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"chainId": "x"}', '{"chainId": 1, "network": "n"}'])
def test_a_manifest_that_is_none(text: str, good: Settings) -> None:
    good.deployment.write_text(text)
    with pytest.raises(PreflightError, match="is malformed"):
        preflight.check(good)


def test_settings_of_another_chain_than_the_manifest(good: Settings) -> None:
    with pytest.raises(PreflightError, match="TROUPE_CHAIN_ID is 1 and the manifest"):
        preflight.check(good.model_copy(update={"chain_id": 1}))


def test_a_node_on_another_chain_than_the_manifest(good: Settings) -> None:
    change(good, chainId=1)
    with pytest.raises(PreflightError, match=r"is on chain 31337 and the manifest .* is of chain 1"):
        preflight.check(good.model_copy(update={"chain_id": 1}))


def test_a_contract_that_is_not_deployed(good: Settings, chain: str) -> None:
    address = json.loads(good.deployment.read_text())["contracts"]["RevenueLedger"]["address"]
    rpc(chain, "anvil_setCode", address, "0x")
    with pytest.raises(PreflightError, match="RevenueLedger is not deployed: there is no code at"):
        preflight.check(good)


def test_a_contract_with_other_code(good: Settings, chain: str) -> None:
    address = json.loads(good.deployment.read_text())["contracts"]["WorkRegistry"]["address"]
    rpc(chain, "anvil_setCode", address, "0x6002600255")
    with pytest.raises(PreflightError, match="is not the WorkRegistry of the manifest"):
        preflight.check(good)


def test_a_node_that_is_away(good: Settings) -> None:
    with pytest.raises(PreflightError, match=r"does not answer .*: start it, or set TROUPE_RPC_URL"):
        preflight.check(good.model_copy(update={"rpc_url": f"http://127.0.0.1:{free_port()}"}))


def test_a_manifest_of_a_version_that_knew_no_price_of_a_voice(good: Settings) -> None:
    change(good, parameters={"rewards": {"genesis": 1, "epochSeconds": 604_800}})
    with pytest.raises(PreflightError, match=r"cannot be used for rewards: it states no price .* add parameters"):
        preflight.check(good)


def test_a_price_of_a_voice_in_a_token_that_is_not_listed(good: Settings) -> None:
    rewards = {"genesis": 1, "epochSeconds": 604_800, "voicePrice": {"0x" + "22" * 20: "1"}}
    change(good, parameters={"rewards": rewards})
    with pytest.raises(PreflightError, match="voicePrice names 0x2222"):
        preflight.check(good)


def test_a_database_that_is_away(good: Settings) -> None:
    url = SecretStr("postgresql+psycopg://troupe_backend:hunter2@/troupe?host=/nowhere")
    with pytest.raises(PreflightError, match="start it, or set TROUPE_DATABASE_URL") as caught:
        preflight.check(good.model_copy(update={"database_url": url}))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("UPDATE app.alembic_version SET version_num = '0000'", "at revision 0000 and this version needs"),
        ("DROP TABLE app.alembic_version", "at revision none and this version needs .*: run `./troupe migrate`"),
        ("UPDATE chain.fingerprint SET value = 'old.old.old'", "other contract ABIs than these"),
        ("DROP TABLE chain.fingerprint", "no chain tables yet"),
    ],
)
def test_tables_of_another_version(
    statement: str, sentence: str, good: Settings, new_database: Callable[[], DatabaseUrls]
) -> None:
    urls = new_database()
    with psycopg.connect(urls.conninfo()) as connection:
        connection.execute(statement.encode())
    with pytest.raises(PreflightError, match=sentence):
        preflight.check(good.model_copy(update={"database_url": SecretStr(urls.backend)}))


API = [sys.executable, "-m", "uvicorn", "--factory", "backend.app:create_app", "--port", "0"]
CELERY = [sys.executable, "-m", "celery", "-A", "backend.worker:celery"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [API, [*CELERY, "worker", "-P", "solo"], [*CELERY, "beat"]], ids=["api", "worker", "beat"]
)
def test_a_process_ends_with_one_sentence_and_status_1(command: list[str], good: Settings, tmp_path: Path) -> None:
    environment = os.environ | {
        "TROUPE_ENV": "test",
        "TROUPE_DATABASE_URL": good.database_url.get_secret_value(),
        "TROUPE_REDIS_URL": good.redis_url,
        "TROUPE_RPC_URL": good.rpc_url,
        "TROUPE_CHAIN_ID": "1",
        "TROUPE_DEPLOYMENT": str(good.deployment),
        "TROUPE_DATA_DIR": str(good.data_dir),
        "TROUPE_PUBLIC_URL": good.public_url,
    }
    done = subprocess.run(
        command,
        cwd=tmp_path,  # beat leaves a file where it starts
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr + done.stdout
    said = [line for line in done.stderr.splitlines() if line.startswith("troupe: ")]
    assert len(said) == 1
    assert "TROUPE_CHAIN_ID is 1" in said[0]


def test_missing_settings_are_one_line_each(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TROUPE_")}
    done = subprocess.run(API, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "TROUPE_DATABASE_URL is not set" in done.stderr
    assert "Traceback" not in done.stderr
