"""`python -m indexer` as an operator meets it: exit status, one sentence, health on its port."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from indexer import health
from indexer.__main__ import _rows
from indexer.sync import Progress
from stack import rpc
from stack.postgres import DatabaseUrls, Postgres, ensure_database
from stack.processes import free_port
from tests.indexer.conftest import ROOT, Done, Mirrored, eventually, other_anvil
from tests.indexer.support import CONTRACTS, random_block, random_record


def sentence(done: Done, status: int) -> str:
    """The error of a command that must have failed with one sentence and no traceback."""
    assert done.returncode == status, done
    assert "Traceback" not in done.stderr
    (told,) = [line for line in done.stderr.strip().splitlines() if not line.startswith('{"')]  # the others are its log
    return told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["runn"], "No such command 'runn'"),
        (["run", "--fast"], "No such option"),
        (["verify", "--ranges", "-1"], "--ranges"),
        (["verify", "--seed", "x"], "--seed"),
        (["status", "now"], "unexpected extra argument"),
    ],
)
def test_wrong_usage_ends_with_2_and_names_the_argument(
    without_database: Mirrored, arguments: list[str], told: str
) -> None:
    done = without_database.command(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert told in re.sub(r"[│\s]+", " ", done.stderr)


def test_short_help_and_an_emptying_that_nobody_confirmed(without_database: Mirrored) -> None:
    assert "reindex" in without_database.command("-h").stdout
    assert "say --yes if that is meant" in sentence(without_database.command("rebuild", "--from-chain"), 2)


@pytest.mark.parametrize(("count", "words"), [(1, "1 row was"), (2, "2 rows were"), (1_234, "1,234 rows were")])
def test_one_is_one(count: int, words: str) -> None:
    assert _rows(count) == words


@pytest.mark.parametrize("command", ["run", "status", "verify", "rebuild", "reindex", "migrate"])
def test_a_missing_setting_is_named(without_database: Mirrored, command: str) -> None:
    done = without_database.command(command, TROUPE_INDEXER_DATABASE_URL=None)
    told = sentence(done, 2)
    assert "TROUPE_INDEXER_DATABASE_URL is not set (the database as role" in told
    assert told.endswith("docs/operations.md shows how to set them for the stack of `./troupe dev`.")


@pytest.mark.parametrize(
    ("variable", "value", "status", "told"),
    [
        (
            "TROUPE_INDEXER_PORT",
            "70000",
            2,
            "TROUPE_INDEXER_PORT must be less than or equal to 65535, not '70000' (the loopback",
        ),
        (
            "TROUPE_INDEXER_PORT",
            "eighty",
            2,
            "TROUPE_INDEXER_PORT must be a valid integer, not 'eighty' (the",
        ),
        ("TROUPE_INDEXER_DATABASE_URL", "sqlite:///x", 2, "TROUPE_INDEXER_DATABASE_URL must begin with postgresql"),
        ("TROUPE_INDEXER_DATABASE_URL", "secret words", 2, "TROUPE_INDEXER_DATABASE_URL must begin with postgresql"),
        ("TROUPE_RPC_URL", "ws://127.0.0.1", 1, "TROUPE_RPC_URL is no http"),
        ("TROUPE_DEPLOYMENT", "/nowhere.json", 1, "no deployment manifest at /nowhere.json"),
    ],
)
def test_a_wrong_setting_is_told(without_database: Mirrored, variable: str, value: str, status: int, told: str) -> None:
    assert told in sentence(without_database.command("run", **{variable: value}), status)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"chainId": 1}, "serves chain 31337, and the deployment is on chain 1"),
        ({"genesisHash": "0x" + "11" * 32}, "serves another chain with the id 31337"),
        (
            {"contracts": {"RevenueLedger": {"address": "0x" + "22" * 20, "block": 1}}},
            "RevenueLedger is not deployed at 0x2222",
        ),
        (
            {
                "contracts": {
                    "RevenueLedger": {"address": CONTRACTS["RevenueLedger"], "block": 1, "codeHash": "33" * 32}
                }
            },
            "is not the RevenueLedger of the manifest",
        ),
        ({"contracts": {"Lottery": {"address": "0x" + "22" * 20, "block": 1}}}, "No ABI is committed for Lottery"),
        ({"contracts": {}}, "names no contract"),
        ({"contracts": {"RevenueLedger": {"address": "0x12", "block": 1}}}, "no address at contracts.RevenueLedger"),
        ({"genesisHash": "0x12"}, "no 32-byte hash at genesisHash"),
        ({"finality": {"mode": "hope"}}, 'finality mode "hope"'),
        ({"startBlock": -1}, "negative startBlock"),
    ],
)
def test_a_wrong_deployment_is_told_at_the_start(
    without_database: Mirrored, tmp_path: Path, changes: dict[str, object], told: str
) -> None:
    manifest = without_database.emitter.write_manifest(tmp_path / "deployment.json", **changes)
    assert told in sentence(without_database.command("run", "--once", TROUPE_DEPLOYMENT=str(manifest)), 1)


def test_a_manifest_that_is_no_json_is_told(without_database: Mirrored, tmp_path: Path) -> None:
    manifest = tmp_path / "deployment.json"
    manifest.write_text("{")
    assert "is no JSON" in sentence(without_database.command("run", TROUPE_DEPLOYMENT=str(manifest)), 1)


def test_an_old_database_is_told_and_rebuilt(mirrored: Mirrored) -> None:
    mirrored.emitter.mine([random_record(random.Random(1))])
    mirrored.catch_up()
    with psycopg.connect(mirrored.urls.conninfo("troupe_indexer"), autocommit=True) as connection:
        value = connection.execute("SELECT value FROM chain.fingerprint").fetchone()
        assert value is not None
        core, _, views = value[0].split(".")
        connection.execute("UPDATE chain.fingerprint SET value = %s", (f"{core}.0123456789abcdef.{views}",))
        connection.execute("ALTER TABLE chain.work_registry_transfer RENAME TO work_registry_gone")
    for command in ("run", "status", "verify", "migrate"):
        assert "made for other contract ABIs" in sentence(mirrored.command(command), 1)
    done = mirrored.command("rebuild")
    assert done.returncode == 0, done.stderr
    assert mirrored.difference() is None


def test_old_views_are_renewed_by_migrate(mirrored: Mirrored) -> None:
    with psycopg.connect(mirrored.urls.conninfo("troupe_indexer"), autocommit=True) as connection:
        connection.execute("DROP VIEW chain.work")
        connection.execute("UPDATE chain.fingerprint SET value = left(value, 34) || '0123456789abcdef'")
    assert "run `python -m indexer migrate`" in sentence(mirrored.command("run"), 1)
    assert mirrored.command("migrate").stdout == "Views renewed\n"
    assert mirrored.command("migrate").stdout == "Chain tables are up to date\n"
    with psycopg.connect(mirrored.urls.conninfo("troupe_backend")) as connection:
        assert connection.execute("SELECT count(*) FROM chain.work").fetchone() == (0,)


def test_a_mirror_of_another_deployment_is_told(mirrored: Mirrored, tmp_path: Path) -> None:
    mirrored.emitter.mine([random_record(random.Random(1))])
    mirrored.catch_up()
    contracts = {name: mirrored.emitter.manifest["contracts"][name] for name in ("RevenueLedger", "WorkRegistry")}
    mirrored.emitter.write_manifest(mirrored.manifest, contracts=contracts)
    assert "The mirror is of another deployment than the manifest's" in sentence(mirrored.command("run"), 1)
    assert "The mirror is empty now" in mirrored.command("rebuild").stdout
    assert mirrored.command("run", "--once").returncode == 0


def test_a_database_without_the_schema_is_told(mirrored: Mirrored, postgres_server: Postgres) -> None:
    urls = postgres_server.database("bare")
    with psycopg.connect(mirrored.urls.conninfo(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE bare")
    bare = Mirrored(mirrored.emitter, urls, mirrored.manifest)
    assert "run `python -m indexer migrate`" in sentence(bare.command("status"), 1)
    without_admin = bare.command("migrate", TROUPE_ADMIN_DATABASE_URL=urls.indexer)
    assert "may not prepare the database" in sentence(without_admin, 1)
    nobody = bare.command("run", "--once", TROUPE_ADMIN_DATABASE_URL=None)
    assert "no schema chain: give TROUPE_ADMIN_DATABASE_URL" in sentence(nobody, 1)
    assert bare.command("migrate").stdout == "Chain tables made\n"
    assert bare.command("run", "--once").returncode == 0


def test_no_database_is_waited_for_and_told_by_status(without_database: Mirrored) -> None:
    assert "database does not answer" in sentence(without_database.command("status"), 1)


def test_a_taken_port_is_told(without_database: Mirrored) -> None:
    with health.HealthServer(Progress(), 0, stall_s=1) as taken:
        done = without_database.command("run", TROUPE_INDEXER_PORT=str(taken.port))
    assert f"Port {taken.port} of 127.0.0.1 is taken" in sentence(done, 1)


# ------------------------------------------------------------------------------------------------------------ running


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


@pytest.mark.feature("Q4", via="cli")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_runs_until_it_is_told_to_end(mirrored: Mirrored, how: signal.Signals) -> None:
    rng = random.Random(1)
    mirrored.emitter.mine(*(random_block(rng) for _ in range(40)))
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "indexer", "run"],
        env=mirrored.environment(TROUPE_INDEXER_PORT=str(port), TROUPE_INDEXER_STALL_S="1"),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            eventually(lambda: get(port, "/ready")[0] == 200, "the indexer is ready")
            assert json.loads(get(port, "/health")[1]) == {"status": "ok"}
            assert json.loads(get(port, "/ready")[1])["head"] == mirrored.emitter.height()
            assert f"troupe_indexer_head_block {mirrored.emitter.height()}" in get(port, "/metrics")[1]
            assert get(port, "/else")[0] == 404
            mirrored.emitter.mine(random_block(rng))
            head = mirrored.emitter.height()
            eventually(lambda: json.loads(get(port, "/ready")[1])["head"] == head, "the new block is mirrored")
        finally:
            process.send_signal(how)
        _, stderr = process.communicate(timeout=20)
    assert process.returncode == 0
    lines = [json.loads(line) for line in stderr.splitlines()]
    assert [line["event"] for line in lines] == ["started", "catching up", "caught up", "stopped"]
    assert mirrored.difference() is None


def test_is_not_ready_without_progress(mirrored: Mirrored, tmp_path: Path) -> None:
    """The node goes away: the process lives, says why, and is not ready until the node is back."""
    with other_anvil(tmp_path / "gone.log") as url:
        genesis = rpc.call(url, "eth_getBlockByNumber", "0x0", False)["hash"]
        for address in CONTRACTS.values():
            rpc.call(url, "anvil_setCode", address, "0x00")
        rpc.call(url, "evm_mine")
        mirrored.emitter.write_manifest(mirrored.manifest, genesisHash=genesis)
        port = free_port()
        process = subprocess.Popen(
            [sys.executable, "-m", "indexer", "run"],
            env=mirrored.environment(TROUPE_RPC_URL=url, TROUPE_INDEXER_PORT=str(port), TROUPE_INDEXER_STALL_S="0.5"),
            cwd=ROOT,
            stderr=subprocess.DEVNULL,
        )
        eventually(lambda: get(port, "/ready")[0] == 200, "the indexer is ready")
    try:
        eventually(lambda: get(port, "/ready")[0] == 503, "the indexer is not ready any more")
        eventually(lambda: json.loads(get(port, "/ready")[1])["last_error"] is not None, "it says why")
        said = json.loads(get(port, "/ready")[1])
        assert said["reason"].startswith("no progress")
        assert "does not answer" in said["last_error"]
        assert get(port, "/health")[0] == 200
    finally:
        process.terminate()
        assert process.wait(20) == 0


def test_status_shows_the_mirror_and_the_chain(mirrored: Mirrored) -> None:
    assert "has not begun" in sentence(mirrored.command("status"), 1)
    rng = random.Random(1)
    mirrored.emitter.mine(*([random_record(rng)] for _ in range(5)))
    mirrored.catch_up()
    mirrored.emitter.mine([])
    found = json.loads(mirrored.command("status", "--json").stdout)
    assert (found["head"], found["chain_head"], found["lag_blocks"]) == (5, 6, 1)
    assert (found["logs"], found["final"], found["chain_id"]) == (5, 3, 31337)
    assert "0x" + mirrored.rows()["block"][-1][-1].hex() == found["digest"]
    shown = mirrored.command("status")
    assert shown.returncode == 0
    assert "blocks 1 to 5, final to 3" in shown.stdout
    gone = mirrored.command("status", TROUPE_RPC_URL=f"http://127.0.0.1:{free_port()}")
    assert "does not answer" in sentence(gone, 1)


def test_status_fits_80_columns_with_its_hashes_whole(mirrored: Mirrored) -> None:
    mirrored.emitter.mine([random_record(random.Random(1))])
    mirrored.catch_up()
    piped = mirrored.command("status", COLUMNS="80")
    assert piped.returncode == 0, piped
    assert max(map(len, piped.stdout.splitlines())) <= 80
    assert len(re.findall(r"^(?:Head's hash|Digest) +0x[0-9a-f]{64}$", piped.stdout, re.MULTILINE)) == 2


@pytest.mark.slow
def test_run_makes_the_tables_that_somebody_dropped_and_ends_with_the_same_digest(mirrored: Mirrored) -> None:
    rng = random.Random(3)
    mirrored.emitter.mine(*(random_block(rng) for _ in range(20)))
    mirrored.catch_up()
    before = json.loads(mirrored.command("status", "--json").stdout)["digest"]
    with psycopg.connect(mirrored.urls.conninfo(), autocommit=True) as connection:
        connection.execute("DROP SCHEMA chain CASCADE")
    assert mirrored.command("run", "--once").returncode == 0
    assert json.loads(mirrored.command("status", "--json").stdout)["digest"] == before
    assert mirrored.difference() is None


@pytest.mark.slow
def test_the_digest_is_the_same_for_a_mirror_that_began_anew(mirrored: Mirrored, another: Mirrored) -> None:
    rng = random.Random(1)
    mirrored.emitter.mine(*(random_block(rng) for _ in range(50)))
    mirrored.catch_up()
    mirrored.emitter.reorganise(3)
    mirrored.emitter.mine(*(random_block(rng) for _ in range(5)))
    mirrored.catch_up()
    another.catch_up()
    one, other = (json.loads(each.command("status", "--json").stdout)["digest"] for each in (mirrored, another))
    assert one == other
    assert mirrored.command("rebuild", "--from-chain", "--yes").returncode == 0
    assert mirrored.command("run", "--once").returncode == 0
    assert json.loads(mirrored.command("status", "--json").stdout)["digest"] == one
    assert mirrored.difference() is None


def test_messages_go_on_over_a_rebuild_which_tells_of_itself(mirrored: Mirrored) -> None:
    """Who reads on from the last id that it handled must hear that all it knew is void."""
    mirrored.emitter.mine([], [])
    mirrored.catch_up()

    def messages() -> list[tuple[int, str]]:
        with psycopg.connect(mirrored.urls.conninfo("troupe_backend")) as connection:
            return connection.execute("SELECT id, message ->> 'kind' FROM chain.outbox ORDER BY id").fetchall()

    last, _ = messages()[-1]
    for _ in range(2):
        assert mirrored.command("rebuild", "--from-chain", "--yes").returncode == 0
        last += 1
        assert messages() == [(last, "rebuilt")]
    mirrored.catch_up()
    assert [number for number, _ in messages()] == [*range(last, last + len(messages()))]
    assert len(messages()) > 1


# -------------------------------------------------------------------------------------------------------------- roles


@pytest.fixture
def backend_role(module_db_urls: DatabaseUrls) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(module_db_urls.conninfo("troupe_backend"), autocommit=True)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO chain.cursor SELECT * FROM chain.cursor",
        "UPDATE chain.cursor SET head_number = 0",
        "DELETE FROM chain.log",
        "TRUNCATE chain.log",
        "DROP TABLE chain.log",
        "DROP VIEW chain.credit",
        "CREATE TABLE chain.mine (x int)",
        "ALTER TABLE chain.block ADD x int",
        "LOCK TABLE chain.block IN ACCESS EXCLUSIVE MODE",
    ],
)
def test_the_backends_role_may_only_read_the_mirror(
    backend_role: psycopg.Connection[tuple[object, ...]], statement: str
) -> None:
    with backend_role, pytest.raises(psycopg.errors.InsufficientPrivilege), backend_role.transaction():
        backend_role.execute(statement.encode())


def test_the_backends_role_may_read_all_of_the_mirror(
    backend_role: psycopg.Connection[tuple[object, ...]],
) -> None:
    with backend_role:
        names = backend_role.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'chain'::regnamespace AND relkind IN ('r', 'v')"
        ).fetchall()
        assert len(names) > 80
        for (name,) in names:
            backend_role.execute(f"SELECT * FROM chain.{name} LIMIT 1".encode())


def test_the_indexers_role_may_not_touch_product_tables(new_database: Callable[[], DatabaseUrls]) -> None:
    urls = new_database()
    ensure_database(urls)
    with psycopg.connect(urls.conninfo("troupe_indexer"), autocommit=True) as connection:
        for statement in (b"CREATE TABLE app.mine (x int)", b"CREATE TABLE public.mine (x int)"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
