"""/health, /ready, /metrics and /proof of the indexer's process, on a port of their own on the loopback."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs

import orjson
import psycopg

from indexer.errors import Fatal, IndexerError, Retryable
from indexer.sync import Progress

HOST = "127.0.0.1"


def readiness(progress: Progress, stall_s: float, now: float) -> tuple[bool, dict[str, Any]]:
    """Whether the mirror can be relied on to follow the chain, and the figures behind it. `now` is monotonic time."""
    idle_s = now - progress.last_progress
    cursor = progress.cursor
    if cursor is None:
        reason = "the mirror has not begun"
    elif idle_s > stall_s:
        reason = f"no progress for {idle_s:.0f} s"
    elif not progress.caught_up:
        reason = "catching up with the chain"
    else:
        reason = None
    return reason is None, {
        "ready": reason is None,
        "reason": reason,
        "head": cursor.head_number if cursor else None,
        "final": cursor.final_number if cursor else None,
        "chain_head": progress.chain_head,
        "events_per_s": round(progress.events_per_s(now)),
        "seconds_left": progress.seconds_left(now),
        "last_error": progress.last_error,
        "final_waits": progress.final_waits,
    }


def metrics(progress: Progress, now: float) -> str:
    """The process's figures in Prometheus' text format."""
    cursor = progress.cursor
    head = cursor.head_number if cursor else 0
    lag = max(0, progress.chain_head - head) if progress.chain_head is not None else 0
    figures: list[tuple[str, str, str, float]] = [
        ("head_block", "gauge", "Last mirrored block.", head),
        ("final_block", "gauge", "Last mirrored block that is final.", cursor.final_number if cursor else 0),
        ("head_time_seconds", "gauge", "Unix time of the last mirrored block.", cursor.head_time if cursor else 0),
        ("chain_head_block", "gauge", "Newest block that the node has shown.", progress.chain_head or 0),
        ("lag_blocks", "gauge", "Blocks between the node's head and the mirror's.", lag),
        ("logs", "gauge", "Logs in the mirror.", cursor.log_count if cursor else 0),
        ("events_total", "counter", "Logs written by this process.", progress.events),
        ("steps_total", "counter", "Transactions that appended blocks.", progress.steps),
        ("reorganisations_total", "counter", "Times that blocks were taken back.", progress.reorganisations),
        ("reorganisation_depth_max", "gauge", "Most blocks taken back at once.", progress.deepest),
        ("retries_total", "counter", "Failed attempts that were repeated.", progress.retries),
        ("idle_seconds", "gauge", "Time since the last progress.", round(now - progress.last_progress, 3)),
        ("caught_up", "gauge", "Whether the head was reached.", float(progress.caught_up)),
    ]
    lines = []
    for name, kind, text, value in figures:
        full = f"troupe_indexer_{name}"
        lines += [f"# HELP {full} {text}", f"# TYPE {full} {kind}", f"{full} {value}"]
    return "\n".join(lines) + "\n"


class HealthServer:
    """Answers on `port` from a thread of its own while the block of `with` runs."""

    def __init__(
        self,
        progress: Progress,
        port: int,
        *,
        stall_s: float,
        prove: Callable[[int | None], dict[str, Any]] | None = None,
    ) -> None:
        one_at_a_time = threading.Lock()

        def proof(query: str) -> tuple[HTTPStatus, str, bytes]:
            """The proof of a block (`?block=N`), of the mirror's head if none is named."""
            named = parse_qs(query).get("block", [None])[0]
            if prove is None or not (named is None or (named.isdecimal() and len(named) < 16)):
                return HTTPStatus.BAD_REQUEST, "application/json", orjson.dumps({"detail": "block must be a number"})
            with one_at_a_time:
                try:
                    found = prove(int(named) if named else None)
                except (IndexerError, psycopg.Error) as error:
                    status = HTTPStatus.SERVICE_UNAVAILABLE if isinstance(error, Retryable) else HTTPStatus.NOT_FOUND
                    return status, "application/json", orjson.dumps({"detail": str(error)})
            status = HTTPStatus.OK if found["holds"] else HTTPStatus.CONFLICT
            return status, "application/json", orjson.dumps(found)

        def answer(path: str, query: str) -> tuple[HTTPStatus, str, bytes]:
            now = time.monotonic()
            if path == "/health":
                return HTTPStatus.OK, "application/json", orjson.dumps({"status": "ok"})
            if path == "/ready":
                ready, detail = readiness(progress, stall_s, now)
                status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
                return status, "application/json", orjson.dumps(detail)
            if path == "/metrics":
                return HTTPStatus.OK, "text/plain; version=0.0.4", metrics(progress, now).encode()
            if path == "/proof":
                return proof(query)
            return HTTPStatus.NOT_FOUND, "application/json", orjson.dumps({"status": "no such path"})

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 10

            def do_GET(self) -> None:
                path, _, query = self.path.partition("?")
                status, kind, body = answer(path, query)
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing: probes would fill the log."""

        try:
            self._server = ThreadingHTTPServer((HOST, port), Handler)
        except OSError as error:
            raise Fatal(
                f"Port {port} of {HOST} is taken ({error.strerror}): set TROUPE_INDEXER_PORT to a free one"
            ) from None
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="health", daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def __enter__(self) -> HealthServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
