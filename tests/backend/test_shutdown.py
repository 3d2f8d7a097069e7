"""What was accepted before a SIGTERM is answered or done: the API under load, the worker with a full queue, beat."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
from redis import Redis

from backend import worker
from backend.settings import Settings
from backend.telemetry import metrics, trail
from stack.postgres import DatabaseUrls
from stack.processes import HOST, free_port, spawn, stop
from tests.backend.edge.streams import following
from tests.conftest import Deployed

pytestmark = [pytest.mark.slow, pytest.mark.feature("Q2", via="http")]
CLIENTS = 12
TASKS = 30


def wait_for(condition: Callable[[], object], log: Path) -> None:
    ends = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < ends, log.read_text()[-3000:]
        time.sleep(0.02)


@contextmanager
def started(command: list[str], log: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process, and its end whatever happens."""
    running = spawn([sys.executable, "-m", *command], log=log, env=environment)
    try:
        yield running
    finally:
        stop(running, grace_s=1)


def terminate_twice(running: subprocess.Popen[bytes], log: Path, heard: str) -> None:
    """Send SIGTERM, and again when the log shows that the first was heard."""
    running.send_signal(signal.SIGTERM)
    wait_for(lambda: heard in log.read_text(), log)
    assert running.poll() is None
    running.send_signal(signal.SIGTERM)


@contextmanager
def process(command: list[str], log: Path, environment: Mapping[str, str]) -> Iterator[Callable[[], int]]:
    """A process; calling what is given sends SIGTERM, waits for the end, and gives the status."""
    with started(command, log, environment) as running:

        def terminate() -> int:
            running.send_signal(signal.SIGTERM)
            return running.wait(30)

        yield terminate


@pytest.fixture
def served(deployed: Deployed, settings: Settings, environment: dict[str, str]) -> dict[str, str]:
    """The environment of a process on the deployed chain."""
    return {**os.environ, **environment, "TROUPE_RATE_LIMITS": json.dumps({"sign_in.address": "1000000/60"})}


class Caller(threading.Thread):
    """Asks for nonces until the server is gone; notes what it was answered, and how it ended."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.nonces: list[str] = []
        self.ended: object = None

    def run(self) -> None:
        with httpx.Client(base_url=self.url, timeout=30, trust_env=False) as client:
            while self.ended is None:
                try:
                    answer = client.post("/v1/auth/nonce", json={})
                except httpx.TransportError as error:
                    self.ended = error
                    return
                if answer.status_code != 200:
                    self.ended = answer
                    return
                self.nonces.append(answer.json()["nonce"])


def api(port: int, *, grace_s: int) -> list[str]:
    command = ["uvicorn", "--factory", "backend.app:create_app", "--host", HOST, "--port", str(port)]
    return [*command, "--timeout-graceful-shutdown", str(grace_s)]


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def received(connection: socket.socket, end: bytes | None = None) -> bytes:
    """What comes until it ends so, or until the other side closes."""
    data = b""
    while not (end and data.endswith(end)) and (piece := connection.recv(65_536)):
        data += piece
    return data


def test_V16_a_second_sigterm_cuts_off_no_answer_and_streams_are_told_when_to_come_back(
    served: dict[str, str], clean_db: DatabaseUrls, tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "api.log"
    url = f"http://{HOST}:{port}"
    head = b"POST /v1/auth/nonce HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
    with started(api(port, grace_s=60), log, served) as running, ExitStack() as streams:
        wait_for(lambda: answers(url), log)
        followed = [streams.enter_context(following(url, "chain")) for _ in range(3)]
        with socket.create_connection((HOST, port), timeout=60) as slow:
            slow.sendall(head + b"Expect: 100-continue\r\n\r\n")
            assert received(slow, b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")  # the route has begun
            slow.sendall(b"{")
            terminate_twice(running, log, "Shutting down")
            for stream in followed:
                bye = stream.until("bye")
                assert bye.data["reason"] == "shutdown"
                assert stream.retry_ms == bye.data["retry_ms"]
                assert 500 <= bye.data["retry_ms"] <= 3_000
                assert stream.rest() == []
            assert running.poll() is None
            slow.sendall(b"}")
            answer = received(slow)
        assert running.wait(30) in (0, -signal.SIGTERM)
    assert answer.startswith(b"HTTP/1.1 200 ")
    nonce = json.loads(answer.partition(b"\r\n\r\n")[2])["nonce"]
    with psycopg.connect(clean_db.conninfo()) as connection:
        assert (nonce,) in connection.execute("SELECT nonce FROM app.sign_in_nonce").fetchall()
    assert "Traceback" not in log.read_text()


def test_V16_the_api_answers_what_it_accepted_before_it_ends(
    served: dict[str, str], clean_db: DatabaseUrls, tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "api.log"
    url = f"http://{HOST}:{port}"
    with process(api(port, grace_s=5), log, served) as terminate:
        wait_for(lambda: answers(url), log)
        callers = [Caller(url) for _ in range(CLIENTS)]
        for caller in callers:
            caller.start()
        wait_for(lambda: sum(len(caller.nonces) for caller in callers) > 4 * CLIENTS, log)
        assert terminate() in (0, -signal.SIGTERM)
        for caller in callers:
            caller.join(30)
    assert all(isinstance(caller.ended, httpx.TransportError) for caller in callers)  # no 5xx, no half answer
    answered = {nonce for caller in callers for nonce in caller.nonces}
    with psycopg.connect(clean_db.conninfo()) as connection:
        kept = {nonce for (nonce,) in connection.execute("SELECT nonce FROM app.sign_in_nonce")}
    assert answered <= kept  # whatever was answered is there
    assert len(kept - answered) <= CLIENTS  # and of each caller at most the one whose answer was on its way
    assert "Traceback" not in log.read_text()


def done(redis: Redis) -> float:
    (family,) = [family for family in metrics.shared(redis) if family.name == "troupe_tasks"]
    return sum(sample.value for sample in family.samples if sample.labels["task"] == "worker.forget_lost")


def test_F2_a_worker_ends_what_it_began_and_leaves_the_rest_in_the_queue(
    *, served: dict[str, str], settings: Settings, clean_db: DatabaseUrls, tmp_path: Path
) -> None:
    log = tmp_path / "worker.log"
    command = ["celery", "-A", "backend.worker:celery", "worker", "--concurrency", "1", "--without-gossip"]
    worker.celery.conf.broker_url = settings.broker_url
    trail.begin("trace-shutdown")
    try:
        for _ in range(TASKS):
            worker.forget_lost.delay()
    finally:
        trail.end()
    with Redis.from_url(settings.redis_url) as redis:
        with process([*command, "--without-mingle"], log, served) as terminate:
            wait_for(lambda: done(redis) >= 2, log)
            assert terminate() == 0
        first = done(redis)
        with process([*command, "--without-mingle"], log, served) as terminate:
            wait_for(lambda: done(redis) >= TASKS, log)
            assert terminate() == 0
        assert done(redis) == TASKS  # none was lost, and none was begun twice
        assert 2 <= first <= TASKS
        assert redis.llen("celery") == 0
    with psycopg.connect(clean_db.conninfo()) as connection:
        assert connection.execute("SELECT count(*) FROM app.task_attempt").fetchone() == (0,)
    lines = [json.loads(line) for line in log.read_text().splitlines() if '"event":"task"' in line]
    assert {line["request_id"] for line in lines} == {"trace-shutdown"}


def test_F2_a_second_sigterm_does_not_end_the_task_that_runs(
    served: dict[str, str], settings: Settings, clean_db: DatabaseUrls, tmp_path: Path
) -> None:
    log = tmp_path / "worker.log"
    command = ["celery", "-A", "backend.worker:celery", "worker", "--concurrency", "1", "--without-gossip"]
    worker.celery.conf.broker_url = settings.broker_url
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with (
        Redis.from_url(settings.redis_url) as redis,
        psycopg.connect(clean_db.conninfo()) as held,
        psycopg.connect(clean_db.conninfo(), autocommit=True) as looks,
        started([*command, "--without-mingle"], log, served) as running,
    ):
        wait_for(lambda: "ready" in log.read_text(), log)
        held.execute("LOCK TABLE app.task_attempt IN ACCESS EXCLUSIVE MODE")
        worker.forget_lost.delay()
        wait_for(lambda: looks.execute(waiting).fetchone() == (1,), log)
        terminate_twice(running, log, "Warm shutdown")
        assert running.poll() is None
        held.rollback()
        assert running.wait(30) == 0
        assert done(redis) == 1
        assert redis.llen("celery") == 0
        assert looks.execute("SELECT count(*) FROM app.task_attempt").fetchone() == (0,)


def test_F4_a_beat_hands_its_lease_on_when_it_ends(
    served: dict[str, str], clean_db: DatabaseUrls, tmp_path: Path
) -> None:
    log = tmp_path / "beat.log"

    def lease() -> bool | None:
        with psycopg.connect(clean_db.conninfo()) as connection:
            row = connection.execute("SELECT expires_at > now() FROM app.lease WHERE name = 'beat'").fetchone()
        return None if row is None else bool(row[0])

    with process(["celery", "-A", "backend.worker:celery", "beat", "--pidfile="], log, served) as terminate:
        wait_for(lambda: lease() is True, log)
        assert terminate() == 0
    assert lease() is False
