"""The embedded services: real servers, started and ended as processes of ours."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from redis import Redis as RedisClient

from backend.migrations.roles import BACKEND, INDEXER
from stack import rpc
from stack.anvil import Anvil, keep, kept_copy
from stack.errors import NotReady, PortInUse, StackError
from stack.postgres import DatabaseUrls, Postgres, ensure_database, socket_folder
from stack.processes import Identity, Service, end, free_port, launch, running, stop, wait_ready
from stack.redis import Redis


def test_postgres_refuses_what_a_role_may_not_do(db_urls: DatabaseUrls) -> None:
    with psycopg.connect(db_urls.conninfo(INDEXER)) as indexer:
        indexer.execute("CREATE TABLE chain.probe (n int)")
        indexer.execute("INSERT INTO chain.probe VALUES (7)")
    with psycopg.connect(db_urls.conninfo(BACKEND), autocommit=True) as backend:
        assert backend.execute("SELECT n FROM chain.probe").fetchone() == (7,)
        for refused in (
            "INSERT INTO chain.probe VALUES (8)",
            "DROP TABLE chain.probe",
            "CREATE TABLE app.probe (n int)",
            "CREATE TABLE public.probe (n int)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                backend.execute(refused)
    with psycopg.connect(db_urls.conninfo()) as admin:
        admin.execute("CREATE TABLE app.probe (id bigserial, n int)")
    with psycopg.connect(db_urls.conninfo(BACKEND)) as backend:
        backend.execute("INSERT INTO app.probe (n) VALUES (1)")
    with (
        psycopg.connect(db_urls.conninfo(INDEXER)) as indexer,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        indexer.execute("SELECT * FROM app.probe")


def test_databases_of_two_tests_are_apart(new_database: Callable[[], DatabaseUrls]) -> None:
    one, two = new_database(), new_database()
    with psycopg.connect(one.conninfo()) as connection:
        connection.execute("CREATE TABLE app.only_here (n int)")
    with psycopg.connect(two.conninfo()) as connection:
        found = connection.execute("SELECT to_regclass('app.only_here')").fetchone()
    assert found == (None,)


def test_postgres_keeps_its_data_over_a_kill(short_dir: Path) -> None:
    server = Postgres(short_dir / "kept")
    log = short_dir / "kept.log"
    urls = server.database()
    process = launch(server.service(), log)
    try:
        while not server.answers():
            assert process.poll() is None, log.read_text()
        ensure_database(urls)
        with psycopg.connect(urls.conninfo()) as connection:
            connection.execute("CREATE TABLE app.note (n int)")
            connection.execute("INSERT INTO app.note VALUES (42)")
    finally:
        process.kill()
        process.wait()
    with running(server.service(), log), psycopg.connect(urls.conninfo()) as connection:
        assert connection.execute("SELECT n FROM app.note").fetchone() == (42,)


def test_postgres_of_another_version_is_refused_in_words(tmp_path: Path) -> None:
    data = tmp_path / "pg"
    data.mkdir()
    (data / "PG_VERSION").write_text("15\n")
    with pytest.raises(StackError, match=r"made by PostgreSQL 15 and this is 18: start with --reset"):
        Postgres(data).initialise()


def test_long_paths_get_a_short_private_socket_folder(tmp_path: Path) -> None:
    assert socket_folder(Path("/srv/troupe/pg")) == Path("/srv/troupe/pg")
    deep = tmp_path / ("d" * 120)
    assert len(os.fsencode(socket_folder(deep))) < 60


def test_postgres_runs_in_a_folder_with_a_long_path(tmp_path: Path) -> None:
    server = Postgres(tmp_path / ("d" * 90) / "pg")
    with running(server.service(), tmp_path / "log"):
        assert (server.socket_dir.stat().st_mode & 0o777) == 0o700


def test_redis_keeps_what_it_acknowledged(short_dir: Path) -> None:
    server = Redis(short_dir / "kept-redis")
    log = short_dir / "kept-redis.log"
    with running(server.service(), log), RedisClient.from_url(server.url) as client:
        client.set("story", "told")
    with running(server.service(), log), RedisClient.from_url(server.url) as client:
        assert client.get("story") == b"told"


def test_redis_is_empty_for_each_test(redis_url: str) -> None:
    with RedisClient.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left", "behind")


test_redis_is_empty_for_the_next_test_too = test_redis_is_empty_for_each_test


def test_anvil_restarts_where_it_was_with_finality_two_blocks_behind(tmp_path: Path) -> None:
    chain = Anvil(free_port(), state=tmp_path / "chain" / "state.json")
    log = tmp_path / "anvil.log"
    with running(chain.service(), log):
        rpc.call(chain.url, "anvil_mine", hex(10))
        one, two = rpc.call(chain.url, "eth_accounts")[:2]
        sent = rpc.call(chain.url, "eth_sendTransaction", {"from": one, "to": two, "value": "0x1"})
        while not rpc.call(chain.url, "eth_getTransactionReceipt", sent):
            pass
        head = rpc.call(chain.url, "eth_getBlockByNumber", "latest", False)
        genesis = rpc.call(chain.url, "eth_getBlockByNumber", "0x0", False)
    with running(chain.service(), log):
        assert rpc.call(chain.url, "eth_getBlockByNumber", "latest", False)["hash"] == head["hash"]
        assert rpc.call(chain.url, "eth_getBlockByNumber", "0x0", False)["hash"] == genesis["hash"]
        final = rpc.call(chain.url, "eth_getBlockByNumber", "finalized", False)
        assert int(final["number"], 16) == int(head["number"], 16) - 2
        rpc.call(chain.url, "anvil_reorg", 3, [])
        assert rpc.call(chain.url, "eth_getBlockByNumber", "latest", False)["hash"] != head["hash"]


def test_anvil_does_not_attach_to_a_port_that_is_taken(anvil: Anvil, tmp_path: Path) -> None:
    second = Anvil(anvil.port, port_variable="TROUPE_PORT_ANVIL")
    with pytest.raises(PortInUse, match=r"port \d+ .* TROUPE_PORT_ANVIL"):
        launch(second.service(), tmp_path / "second.log")


def test_a_service_that_ends_at_once_is_named_with_its_last_lines(tmp_path: Path) -> None:
    service = Service("narrator", ["sh", "-c", "echo lost my voice; exit 3"], ready=lambda: False)
    said = r"narrator ended at once with status 3.*\n +lost my voice"
    with pytest.raises(NotReady, match=said), running(service, tmp_path / "narrator.log"):
        pass


def test_a_service_that_never_answers_is_given_up(tmp_path: Path) -> None:
    service = Service("narrator", ["sleep", "60"], ready=lambda: False, ready_timeout_s=0.1)
    said = r"narrator did not answer within 0\.1 s"
    with pytest.raises(NotReady, match=said), running(service, tmp_path / "narrator.log"):
        pass


def test_stop_takes_the_children_of_a_child_with_it(tmp_path: Path) -> None:
    service = Service("parent", ["sh", "-c", "sleep 60 & echo $! > child; wait"], ready=(tmp_path / "child").exists)
    process = launch(service, tmp_path / "log", cwd=tmp_path)
    while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text().strip():
        assert process.poll() is None
    child = Identity.of(int((tmp_path / "child").read_text()))
    assert child
    assert child.process()
    stop(process)
    assert child.process() is None


def test_a_pid_that_somebody_else_has_now_is_not_signalled(tmp_path: Path) -> None:
    process = launch(Service("bystander", ["sleep", "60"], ready=lambda: True), tmp_path / "log")
    try:
        now = Identity.of(process.pid)
        assert now
        end([Identity(now.pid, now.started - 100, now.command)], grace_s=0.1)
        assert process.poll() is None
    finally:
        stop(process)


def test_children_end_with_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    script = (
        "import sys, signal; from pathlib import Path; from stack.processes import *\n"
        "p = launch(Service('child', ['sleep', '60'], ready=lambda: True), Path(sys.argv[1]) / 'log')\n"
        "(Path(sys.argv[1]) / 'pid').write_text(str(p.pid) + '\\n'); signal.pause()\n"
    )
    ready = lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().endswith("\n")  # noqa: E731
    supervisor = Service("supervisor", [sys.executable, "-c", script, tmp_path], ready=ready)
    process = launch(supervisor, tmp_path / "supervisor.log", cwd=Path(__file__).parents[2])
    while not ready():
        assert process.poll() is None, (tmp_path / "supervisor.log").read_text()
    child = Identity.of(int((tmp_path / "pid").read_text()))
    assert child
    process.kill()
    process.wait()
    while child.process():
        pass


def chain_of_a_clock_ahead(chain: Anvil) -> int:
    rpc.call(chain.url, "evm_increaseTime", 10 * 86400)
    rpc.call(chain.url, "evm_mine")
    return int(rpc.call(chain.url, "eth_getBlockByNumber", "latest", False)["timestamp"], 16)


def test_the_first_block_stays_the_first_over_many_restarts(tmp_path: Path) -> None:
    chain = Anvil(free_port(), state=tmp_path / "state.json")
    found = set()
    for _ in range(6):
        with running(chain.service(), tmp_path / "log"):
            found.add(rpc.call(chain.url, "eth_getBlockByNumber", "0x0", False)["hash"])
            rpc.call(chain.url, "evm_mine")
        blocks = json.loads((tmp_path / "state.json").read_bytes())["blocks"]
        assert sum(int(block["header"]["number"], 16) == 0 for block in blocks) == 1
    assert len(found) == 1


def test_the_chains_clock_is_ours_after_a_restart(tmp_path: Path) -> None:
    chain = Anvil(free_port(), state=tmp_path / "state.json")
    (tmp_path / "genesis-time").write_text(str(int(time.time()) - 86_400))
    for _ in range(2):
        with running(chain.service(), tmp_path / "log"):
            rpc.call(chain.url, "evm_mine")
            head = rpc.call(chain.url, "eth_getBlockByNumber", "latest", False)
        assert abs(int(head["timestamp"], 16) - time.time()) < 60


def test_the_chains_clock_does_not_run_back_over_a_restart(tmp_path: Path) -> None:
    chain = Anvil(free_port(), state=tmp_path / "state.json")
    with running(chain.service(), tmp_path / "log"):
        before = chain_of_a_clock_ahead(chain)
    with running(chain.service(), tmp_path / "log"):
        rpc.call(chain.url, "evm_mine")
        after = int(rpc.call(chain.url, "eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    assert before < after < before + 60


def test_a_half_written_chain_file_is_replaced_by_the_kept_copy(tmp_path: Path) -> None:
    chain = Anvil(free_port(), state=tmp_path / "state.json")
    state = tmp_path / "state.json"
    with running(chain.service(), tmp_path / "log"):
        rpc.call(chain.url, "anvil_mine", "0x5")
    keep(state, settled_s=0)
    state.write_bytes(state.read_bytes()[:-100])  # as a kill in the middle of a dump leaves it
    keep(state, settled_s=0)  # half a file is not kept
    with running(chain.service(), tmp_path / "log"):
        assert rpc.call(chain.url, "eth_blockNumber") == "0x5"


def test_a_chain_file_that_is_just_being_written_is_not_kept(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    state.write_text("{}")
    keep(state, settled_s=60)
    assert not kept_copy(state).exists()
    keep(state, settled_s=0)
    assert kept_copy(state).read_text() == "{}"


def test_a_half_written_chain_file_without_a_copy_is_said(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"block": ')
    with pytest.raises(StackError, match="not written to its end and there is no older copy: start with --reset"):
        launch(Anvil(free_port(), state=tmp_path / "state.json").service(), tmp_path / "log")


def test_a_chain_killed_before_its_first_dump_has_the_same_genesis_again(tmp_path: Path) -> None:
    chain = Anvil(free_port(), state=tmp_path / "chain" / "state.json")
    found = []
    for _ in range(2):
        process = launch(chain.service(), tmp_path / "log")
        try:
            wait_ready(chain.service(), process, tmp_path / "log")
            found.append(rpc.call(chain.url, "eth_getBlockByNumber", "0x0", False)["hash"])
        finally:
            process.kill()
            process.wait()
    assert found[0] == found[1]
