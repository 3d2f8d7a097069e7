"""What the edge of the interface costs: counting a request, and streams of live updates.

    python -m bench.interface [--streams 200] [--messages 60]

PostgreSQL and Redis of its own. Counting, in processor time of the API's process: one request admitted through the
process' lease, through Redis each time, and by the `limits` package's sliding window with what its headers need. Live:
memory of the server's process before and with so many idle streams, then from the indexer's COMMIT to each client's
line, over all streams.

Prints one JSON object a line: bench, metric, value, unit, reference (what `ratio` is against), ratio.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import psycopg
from limits import parse
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import Redis

from backend.edge.quotas import parse_quotas
from backend.edge.ratelimit import Limiter
from bench import _support
from indexer import notify
from indexer.chain import Header
from stack.migrate import migrate_all
from stack.postgres import THROW_AWAY, DatabaseUrls, Postgres, ensure_database
from stack.processes import HOST, Service, free_port, running
from stack.redis import Redis as RedisServer
from stack.supervisor import answers_http

REQUESTS = 2_000


figure = partial(_support.figure, "interface")


async def each(call: Callable[[], Awaitable[Any]]) -> float:
    """Microseconds of processor time of one call, the best of three rounds."""
    await call()
    rounds = []
    for _ in range(3):
        began = time.process_time()
        for _ in range(REQUESTS):
            await call()
        rounds.append((time.process_time() - began) / REQUESTS * 1e6)
    return min(rounds)


async def counting(redis_url: str) -> None:
    redis = Redis.from_url(redis_url)
    scope: dict[str, Any] = {"type": "http", "path": "/v1/works", "client": ("192.0.2.1", 1), "state": {}}

    def admit(method: str) -> Callable[[], Awaitable[Any]]:
        quotas = parse_quotas({"read.address": "9999999/60", "sign_in.address": "9999999/60"})
        limiter = Limiter(lambda: redis, time.time, quotas=quotas, address=lambda _: "192.0.2.1")
        one = scope | {"method": method} | ({"path": "/v1/auth/verify"} if method == "POST" else {})
        return lambda: limiter.admit(one, None)

    theirs = SlidingWindowCounterRateLimiter(RedisStorage(f"async+redis+{redis_url}", implementation="redispy"))
    quota = parse("9999999/minute")

    async def library() -> None:
        await theirs.hit(quota, "192.0.2.1")
        await theirs.get_window_stats(quota, "192.0.2.1")

    reference = await each(library)
    figure("limits package, sliding window", reference, "us a request")
    for name, method in (("by lease", "GET"), ("by Redis each time", "POST")):
        value = await each(admit(method))
        figure(f"request counted {name}", value, "us a request", "limits package", value / reference)
    await redis.aclose()


async def stream(port: int, told: list[tuple[int, float]], begun: asyncio.Event) -> None:
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(b"GET /v1/live?topic=chain HTTP/1.1\r\nHost: x\r\n\r\n")
    try:
        while line := await reader.readline():
            if line.startswith(b"event: hello"):
                begun.set()
            elif line.startswith(b"data: ") and b'"head"' in line:
                told.append((int(json.loads(line[6:])["head"]), time.perf_counter()))
    finally:
        writer.close()


async def live(urls: DatabaseUrls, port: int, pid: int, streams: int, messages: int) -> None:
    process = psutil.Process(pid)
    told: list[tuple[int, float]] = []
    first = asyncio.Event()
    tasks = [asyncio.create_task(stream(port, told, first))]
    await first.wait()
    before = process.memory_info().rss
    begun = [asyncio.Event() for _ in range(streams)]
    tasks += [asyncio.create_task(stream(port, told, event)) for event in begun]
    await asyncio.gather(*(event.wait() for event in begun))
    rss = process.memory_info().rss - before
    figure(f"memory of {streams} idle streams", rss / 2**20, "MiB")
    figure("memory of an idle stream", rss / streams / 1024, "KiB")
    sent: dict[int, float] = {}
    with psycopg.connect(urls.conninfo("troupe_indexer")) as connection:
        for number in range(1, messages + 1):
            notify.blocks(connection, number, Header(number, bytes(32), bytes(32), 0, 0), 0, [])
            connection.commit()
            sent[number] = time.perf_counter()
            while sum(1 for head, _ in told if head == number) <= streams:
                await asyncio.sleep(0.002)
    delays = sorted(max(0.0, at - sent[head]) * 1000 for head, at in told)
    figure(f"event to {streams + 1} streams, median", statistics.median(delays), "ms")
    figure(f"event to {streams + 1} streams, p95", delays[int(len(delays) * 0.95)], "ms")
    alone = [min(at for head, at in told if head == number) - sent[number] for number in sent]
    figure("event to the first stream, median", max(0.0, statistics.median(alone)) * 1000, "ms")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--streams", type=int, default=200)
    arguments.add_argument("--messages", type=int, default=60)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="tb-") as text:
        folder = Path(text)
        postgres, redis = Postgres(folder / "pg", settings=THROW_AWAY), RedisServer(folder / "redis")
        with running(postgres.service(), folder / "pg.log"), running(redis.service(), folder / "redis.log"):
            urls = postgres.database("troupe")
            ensure_database(urls)
            migrate_all(urls.admin, urls.indexer)
            asyncio.run(counting(redis.url))
            manifest = folder / "deployment.json"
            manifest.write_text("{}")
            port = free_port()
            env = {
                "TROUPE_ENV": "test",
                "TROUPE_DATABASE_URL": urls.backend,
                "TROUPE_REDIS_URL": redis.url,
                "TROUPE_RPC_URL": "http://127.0.0.1:1",
                "TROUPE_CHAIN_ID": "31337",
                "TROUPE_DEPLOYMENT": str(manifest),
                "TROUPE_DATA_DIR": str(folder / "data"),
                "TROUPE_PUBLIC_URL": f"http://{HOST}:{port}",
                "TROUPE_LIVE_STREAMS": "1000",
            }
            code = (
                "import uvicorn; from backend.app import create_app; from backend.settings import load_settings\n"
                f"uvicorn.run(create_app(load_settings()), port={port}, log_level='error', timeout_graceful_shutdown=3)"
            )
            url = f"http://{HOST}:{port}"
            service = Service(
                "api",
                [sys.executable, "-c", code],
                env=env,
                ready=lambda: answers_http(f"{url}/health"),
                ready_timeout_s=120,
            )
            with running(service, folder / "api.log") as process:
                asyncio.run(live(urls, port, process.pid, options.streams, options.messages))


if __name__ == "__main__":
    main()
