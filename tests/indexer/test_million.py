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

from bench.indexer import ROOT, build_chain, check_owners, peak_memory_mb
from stack.anvil import Anvil
from stack.postgres import LASTING, DatabaseUrls, Postgres, clone, drop, ensure_database
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


RUNS = 3
"""What else the machine does slows one tenth and not another; a growth of ours would show in every run."""


@dataclass
class Mark:
    """What was seen when a commit was told of."""

    at: float
    logs: int
    processor_s: float
    """Processor time of the indexer."""
    peak_mb: float
    """The most memory it has had so far."""


@dataclass
class Tenth:
    """One tenth of the events."""

    rate: float
    """Events a second."""
    own_rate: float
    """Events a second of the indexer's processor time."""
    peak_mb: float

    def __str__(self) -> str:
        return f"{self.rate:,.0f} events/s ({self.own_rate:,.0f} a second of its own), at most {self.peak_mb:.0f} MB"


def watch(urls: DatabaseUrls, environment: dict[str, str]) -> list[Mark]:
    """Run the indexer from nothing to the head; what was seen at each of its commits."""
    marks: list[Mark] = []
    with (
        psycopg.connect(urls.conninfo(), autocommit=True) as listener,
        psycopg.connect(urls.conninfo(), autocommit=True) as reader,
    ):
        listener.execute("LISTEN chain")
        process = subprocess.Popen(
            [sys.executable, "-m", "indexer", "run", "--once"], env=environment, cwd=ROOT, stderr=subprocess.DEVNULL
        )
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
                    peak = peak_memory_mb(process.pid)
                    marks.append(Mark(time.perf_counter(), row[0], times.user + times.system, peak))
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()
    return marks


def tenth(marks: list[Mark], number: int) -> Tenth:
    """The tenth of that number, from 1."""
    size = BLOCKS * EVENTS // TENTHS
    first = next(mark for mark in marks if mark.logs >= size * (number - 1))
    last = next(mark for mark in marks if mark.logs >= size * number)
    events = last.logs - first.logs
    return Tenth(events / (last.at - first.at), events / (last.processor_s - first.processor_s), last.peak_mb)


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
        template = server.database("template_million")
        ensure_database(template)
        command = [sys.executable, "-m", "indexer", "migrate"]
        environment = os.environ | template.environment()
        subprocess.run(command, env=environment, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        emitter = Emitter(anvil.url)
        tell(f"mining {BLOCKS * EVENTS:,} transfers in {BLOCKS:,} blocks")
        build_chain(emitter, BLOCKS, EVENTS)
        manifest = str(emitter.write_manifest(tmp_path / "deployment.json"))
        node = {"TROUPE_RPC_URL": emitter.url, "TROUPE_DEPLOYMENT": manifest, "TROUPE_INDEXER_PORT": "0"}
        ratios = []
        for run in range(1, RUNS + 1):
            urls = clone(template, f"million{run}")
            marks = watch(urls, os.environ | urls.environment() | node)
            check_owners(urls, BLOCKS * EVENTS)
            drop(urls)
            found = [tenth(marks, number) for number in range(1, TENTHS + 1)]
            for number, each in enumerate(found, 1):
                tell(f"run {run}, tenth {number}: {each}")
            second, last = found[1], found[-1]
            assert last.peak_mb <= RSS_LIMIT_MB
            assert last.peak_mb <= second.peak_mb + GROWTH_MB
            ratios.append(last.rate / second.rate)
            if ratios[-1] >= LEAST_OF_SECOND:
                break
    assert ratios[-1] >= LEAST_OF_SECOND, f"slower at the end than in the second tenth, every time: {ratios}"
