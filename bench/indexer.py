"""The indexer's speed: events a second into PostgreSQL beside what the node alone can give, memory, and delay.

    python -m bench.indexer [--blocks 600] [--events 200] [--rounds 3] [--blocks-followed 50]

A chain of blocks full of ERC-721 transfers is mirrored from its first block: raw logs, typed rows, headers, digest,
with durable commits, owners read from a view over an index that is made within the time. In the same rounds, over the
same blocks, the floors of bench/_floor.py. Then the time from a block to its rows being visible.

Prints one JSON object a line: bench, metric, value, unit, reference (what `ratio` is against), ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from bench import _support
from indexer import deployment
from indexer.chain import Chain
from indexer.nodes import Nodes
from indexer.proof import prove_all
from stack.anvil import Anvil
from stack.postgres import DatabaseUrls, Postgres, clone, drop, ensure_database
from stack.processes import free_port, running
from tests.indexer.support import CONTRACTS, Emitter, account, record

ROOT = Path(__file__).resolve().parent.parent
BLOCKS_PER_RANGE = 25
TOKENS, PEOPLE = 20_000, 1_000
RSS_LIMIT_MB = 140
FIRST_REQUEST_S = 0.8
PROOF_RATE = 20_000


figure = partial(_support.figure, "indexer")


TRANSFER = record("WorkRegistry", "Transfer", account(0), account(0), 0)[1][:35]
"""The emitter's record up to the arguments: how many topics, how much data, the event's topic."""


def transfer(sender: int, receiver: int, token: int) -> tuple[str, bytes]:
    """As `record` makes it of two accounts' numbers and a token, in a fiftieth of the time."""
    words = (int(account(sender), 16), int(account(receiver), 16), token)
    return "WorkRegistry", TRANSFER + b"".join(word.to_bytes(32) for word in words)


def build_chain(emitter: Emitter, blocks: int, events: int) -> None:
    """`blocks` blocks of `events` transfers each, of 20,000 tokens among 1,000 people."""
    number = 0
    for _ in range(blocks):
        transfers = []
        for _ in range(events):
            number += 1
            token = number % TOKENS + 1
            transfers.append(transfer(number % PEOPLE, (number * 7) % PEOPLE, token))
        emitter.mine(transfers)


def floor(url: str, address: str, blocks: range) -> tuple[float, float]:
    """Seconds for the node's answers alone, and with JSON and decoding (bench/_floor.py), in a process of its own."""
    command = [sys.executable, "-m", "bench._floor", url, address, blocks[0], blocks[-1], BLOCKS_PER_RANGE]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    return found["alone_s"], found["decoded_s"]


def first_request(urls: DatabaseUrls, manifest: Path) -> float:
    """Seconds from the start of the process to its first call of the node."""
    with socket.create_server(("127.0.0.1", 0)) as node:
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "indexer", "run"],
            env=environment(urls, f"http://127.0.0.1:{node.getsockname()[1]}", manifest),
            cwd=ROOT,
            stderr=subprocess.DEVNULL,
        )
        node.settimeout(30)
        asked, _ = node.accept()
        elapsed = time.perf_counter() - started
        asked.close()
        process.kill()
        process.wait()
    return elapsed


def environment(urls: DatabaseUrls, url: str, manifest: Path) -> dict[str, str]:
    ours = urls.environment() | {"TROUPE_RPC_URL": url, "TROUPE_DEPLOYMENT": str(manifest), "TROUPE_INDEXER_PORT": "0"}
    return os.environ | ours


def mirror(urls: DatabaseUrls, url: str, manifest: Path) -> tuple[float, float, float, int]:
    """Seconds with and without start-up, peak memory in MB, and the rows, of one run from nothing to the head."""
    started = time.time()
    process = subprocess.Popen(
        [sys.executable, "-m", "indexer", "run", "--once"],
        env=environment(urls, url, manifest),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    lines, peak_mb = [], 0.0
    with process.stderr:
        for line in process.stderr:
            lines.append(json.loads(line))
            peak_mb = max(peak_mb, peak_memory_mb(process.pid))
    if process.wait():
        raise SystemExit(f"the indexer ended with {process.returncode}: {lines}")
    at = {line["event"]: datetime.fromisoformat(line["timestamp"]).timestamp() for line in lines}
    with psycopg.connect(urls.conninfo()) as connection:
        row = connection.execute("SELECT count(*) FROM chain.work_registry_transfer").fetchone()
        assert row
    return at["caught up"] - started, at["caught up"] - at["started"], peak_mb, int(row[0])


def peak_memory_mb(pid: int) -> float:
    """The most memory that a process has had, in MB; 0 when it has ended.

    Not of getrusage: a child's peak there begins with what its parent had when it was started.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.M)
    return int(found[1]) / 1024 if found else 0.0


def check_owners(urls: DatabaseUrls, events: int) -> None:
    """The latest owner of every token must be what the chain was built with."""
    latest = {number % TOKENS + 1: account((number * 7) % PEOPLE) for number in range(1, events + 1)}
    with psycopg.connect(urls.conninfo()) as connection:
        rows = connection.execute(
            "SELECT DISTINCT ON (token_id) token_id::int, to_ FROM chain.work_registry_transfer"
            " ORDER BY token_id, block_number DESC, log_index DESC"
        )
        found = {token: "0x" + owner.hex() for token, owner in rows}
    if found != latest:
        raise SystemExit("the mirror has other owners than the chain")


def proof_rate(urls: DatabaseUrls, url: str, manifest: Path) -> float:
    """Logs a second whose blocks are proved from their receipts (`verify --receipts`)."""
    chain = Chain(Nodes(url), deployment.load(manifest))
    began = time.perf_counter()
    with psycopg.connect(urls.conninfo()) as connection:
        proofs = list(prove_all(connection, chain))
    if not all(proof.holds for proof in proofs):
        raise SystemExit("the mirror is not proved")
    return sum(proof.logs for proof in proofs) / (time.perf_counter() - began)


def delays(urls: DatabaseUrls, emitter: Emitter, manifest: Path, blocks: int, **more: str) -> list[float]:
    """Milliseconds from a mined block to its commit's notice, for an indexer with the settings `more`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "indexer", "run"],
        env=environment(urls, emitter.url, manifest) | more,
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    found = []
    try:
        with psycopg.connect(urls.conninfo(), autocommit=True) as listener:
            listener.execute("LISTEN chain")
            emitter.mine([])
            wait_for(listener, emitter.height(), 60)
            for number in range(blocks):
                emitter.send([record("WorkRegistry", "Transfer", account(1), account(2), number)])
                time.sleep(0.013 * (number % 5))  # so that the blocks fall everywhere between two polls
                emitter.call("evm_mine")
                mined = time.perf_counter()
                wait_for(listener, emitter.start - 1 + number + 2, 10)
                found.append((time.perf_counter() - mined) * 1000)
    finally:
        process.terminate()
        process.wait(30)
    return found


def wait_for(listener: psycopg.Connection[Any], height_above_start: int, timeout_s: float) -> None:
    for notice in listener.notifies(timeout=timeout_s):
        if json.loads(notice.payload).get("head", 0) >= height_above_start:
            return
    raise SystemExit(f"block {height_above_start} was never mirrored")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=600)
    parser.add_argument("--events", type=int, default=200, help="in each block")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--blocks-followed", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tb-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = Postgres(folder / "pg")
        chain = Anvil(free_port())
        with running(server.service(), folder / "pg.log"), running(chain.service(), folder / "anvil.log"):
            template = server.database("template_bench")
            ensure_database(template)
            subprocess.run(
                [sys.executable, "-m", "indexer", "migrate"],
                env=os.environ | template.environment(),
                cwd=ROOT,
                check=True,
                stdout=subprocess.DEVNULL,
            )
            emitter = Emitter(chain.url)
            build_chain(emitter, options.blocks, options.events)
            measure(emitter, emitter.write_manifest(folder / "deployment.json"), template, options)


def measure(emitter: Emitter, manifest: Path, template: DatabaseUrls, options: argparse.Namespace) -> None:
    events = options.blocks * options.events
    blocks = range(emitter.start, emitter.height() + 1)
    alone, decoded, with_boot, without_boot, memory, starts, proved = [], [], [], [], [], [], []
    for number in range(options.rounds):
        alone_s, decoded_s = floor(emitter.url, CONTRACTS["WorkRegistry"], blocks)
        alone.append(events / alone_s)
        decoded.append(events / decoded_s)
        urls = clone(template, f"round{number}")
        total_s, own_s, rss_mb, rows = mirror(urls, emitter.url, manifest)
        if rows != events:
            raise SystemExit(f"{rows} of {events} events are in the mirror")
        check_owners(urls, events)
        if number == options.rounds - 1:
            proved.append(proof_rate(urls, emitter.url, manifest))
        with_boot.append(events / total_s)
        without_boot.append(events / own_s)
        memory.append(rss_mb)
        starts.append(first_request(urls, manifest))
        drop(urls)
    bare, floor_rate, whole, own = map(statistics.median, (alone, decoded, with_boot, without_boot))
    ratio = statistics.median(one / other for one, other in zip(without_boot, decoded, strict=True))
    figure("getlogs_alone", bare, "events/s")
    figure("getlogs_json_decode", floor_rate, "events/s", "getlogs_alone", floor_rate / bare)
    figure("end_to_end", own, "events/s", "getlogs_json_decode in the same round, limit 0.35", ratio)
    figure("end_to_end_of_getlogs", own, "events/s", "getlogs_alone", own / bare)
    figure("end_to_end_with_start", whole, "events/s", "getlogs_json_decode", whole / floor_rate)
    start = statistics.median(starts)
    figure("first_request", start, "s", f"limit {FIRST_REQUEST_S} s", start / FIRST_REQUEST_S)
    figure("peak_memory", max(memory), "MB", f"limit {RSS_LIMIT_MB} MB", max(memory) / RSS_LIMIT_MB)
    figure("proved_from_receipts", proved[0], "logs/s", f"limit {PROOF_RATE} logs/s", proved[0] / PROOF_RATE)
    for name, limits, more in (
        ("websocket", (12, 40), {}),
        ("polling", (250, 250), {"TROUPE_RPC_WEBSOCKET_URL": ""}),
    ):
        urls = clone(template, name)
        emitter.start = emitter.height() + 1
        manifest = emitter.write_manifest(manifest, startBlock=emitter.start, contracts=from_block(emitter))
        waits = sorted(delays(urls, emitter, manifest, options.blocks_followed, **more))
        for what, value, limit in zip(
            ("median", "p95"), (statistics.median(waits), waits[int(len(waits) * 0.95)]), limits, strict=True
        ):
            figure(f"block_to_row_{name}_{what}", value, "ms", f"limit {limit} ms", value / limit)


def from_block(emitter: Emitter) -> dict[str, Any]:
    return {name: entry | {"block": emitter.start} for name, entry in emitter.manifest["contracts"].items()}


if __name__ == "__main__":
    main()
