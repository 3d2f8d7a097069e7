"""A million events, without growth in memory or loss of speed: `make nightly` (V5)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import pytest

from bench.indexer import ROOT, build_chain, check_owners
from stack.anvil import Anvil
from stack.postgres import LASTING, DatabaseUrls, Postgres, ensure_database
from stack.processes import free_port, running
from tests.indexer.support import Emitter

BLOCKS, EVENTS = 5_000, 200
"""Blocks, and events in each."""
TENTHS = 10
LEAST_OF_SECOND = 0.9
"""The rate of the last tenth, at least, of that of the second."""
RSS_LIMIT_MB = 140
GROWTH_MB = 10
"""Memory in the last tenth may be more than in the second by so much."""


@dataclass
class Mark:
    """What was seen when a commit was told of."""

    at: float
    logs: int
    processor_s: float
    """Processor time of the indexer."""
    memory_mb: float


def watch(urls: DatabaseUrls, command: list[str], environment: dict[str, str]) -> tuple[list[Mark], float]:
    """Run the indexer to its end; what was seen at each of its commits, and its peak memory in MB."""
    marks: list[Mark] = []
    with (
        psycopg.connect(urls.conninfo(), autocommit=True) as listener,
        psycopg.connect(urls.conninfo(), autocommit=True) as reader,
    ):
        listener.execute("LISTEN chain")
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.DEVNULL)
        seen = psutil.Process(process.pid)
        try:
            while not marks or marks[-1].logs < BLOCKS * EVENTS:
                assert process.poll() is None, "it ended before it had all"
                for notice in listener.notifies(timeout=5, stop_after=1):
                    if json.loads(notice.payload).get("kind") != "blocks":
                        continue
                    row = reader.execute("SELECT log_count FROM chain.cursor").fetchone()
                    assert row
                    times = seen.cpu_times()
                    marks.append(
                        Mark(
                            time.perf_counter(),
                            row[0],
                            times.user + times.system,
                            seen.memory_info().rss / 1e6,
                        )
                    )
        finally:
            if not marks or marks[-1].logs < BLOCKS * EVENTS:
                process.kill()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return marks, usage.ru_maxrss / 1024


def tenth(marks: list[Mark], number: int) -> tuple[float, float, float]:
    """Of one tenth of the events, from 1: events a second, events a second of processor time, most memory in MB."""
    size = BLOCKS * EVENTS // TENTHS
    first = next(mark for mark in marks if mark.logs >= size * (number - 1))
    last = next(mark for mark in marks if mark.logs >= size * number)
    events = last.logs - first.logs
    memory = max(mark.memory_mb for mark in marks if first.logs <= mark.logs <= last.logs)
    return events / (last.at - first.at), events / (last.processor_s - first.processor_s), memory


@pytest.mark.nightly
def test_v5_a_million_events_without_growth_or_slow_down(
    short_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With durable commits, from nothing to the head, in a process of its own."""

    def tell(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}", end="", flush=True)  # noqa: T201

    server = Postgres(short_dir / "million", settings=LASTING)
    anvil = Anvil(free_port())
    with running(server.service(), tmp_path / "postgres.log"), running(anvil.service(), tmp_path / "anvil.log"):
        urls = server.database("million")
        ensure_database(urls)
        environment = os.environ | urls.environment()
        command = [sys.executable, "-m", "indexer"]
        subprocess.run([*command, "migrate"], env=environment, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        emitter = Emitter(anvil.url)
        tell(f"mining {BLOCKS * EVENTS:,} transfers in {BLOCKS:,} blocks")
        build_chain(emitter, BLOCKS, EVENTS)
        environment |= {
            "TROUPE_RPC_URL": emitter.url,
            "TROUPE_DEPLOYMENT": str(emitter.write_manifest(tmp_path / "deployment.json")),
            "TROUPE_INDEXER_PORT": "0",
        }
        marks, peak_mb = watch(urls, [*command, "run", "--once"], environment)
        found = [tenth(marks, number) for number in range(1, TENTHS + 1)]
        for number, (rate, own, memory) in enumerate(found, 1):
            tell(
                f"tenth {number}: {rate:,.0f} events/s, {own:,.0f} a second of its own processor time, {memory:.0f} MB"
            )
        tell(f"peak {peak_mb:.0f} MB")
        check_owners(urls, BLOCKS * EVENTS)
    second, last = found[1], found[-1]
    assert peak_mb <= RSS_LIMIT_MB
    assert last[2] <= second[2] + GROWTH_MB
    assert last[1] >= LEAST_OF_SECOND * second[1], "it needs more processor time for an event than in the beginning"
    assert last[0] >= LEAST_OF_SECOND * second[0], "it is slower than in the beginning"
