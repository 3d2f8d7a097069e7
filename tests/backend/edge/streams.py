"""A served API whose streams are read as they come, and a mirror that tells as the indexer does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
import uvicorn
from fastapi import FastAPI

from indexer import notify
from indexer.chain import Header
from stack.postgres import DatabaseUrls
from stack.processes import free_port
from tests.factories import GENESIS_TIME, Mirror, canonical, hash32

PATIENCE_S = 10.0
"""How long a test waits for what must come. What must not come is never waited for: something later is."""


@dataclass
class Told:
    """One event as a client sees it."""

    name: str
    data: dict[str, Any]
    id: str | None


@dataclass
class Stream:
    """An open stream; `next` gives event after event."""

    answer: httpx.Response
    last_id: str | None = None
    retry_ms: int | None = None
    _lines: Iterator[str] = field(init=False)

    def __post_init__(self) -> None:
        self._lines = self.answer.iter_lines()

    def __next__(self) -> Told:
        """The next event that a page would see. Raises StopIteration at the end of the stream."""
        name, data, number = "message", "", None
        for line in self._lines:
            key, _, value = line.partition(": ")
            if not line:
                if data:
                    return Told(name, json.loads(data), number)
                name, data, number = "message", "", None
            elif key == "event":
                name = value
            elif key == "data":
                data += value
            elif key == "id":
                number = self.last_id = value
            elif key == "retry":
                self.retry_ms = int(value)
        raise StopIteration

    def until(self, name: str) -> Told:
        """The next event of this name."""
        while (told := next(self)).name != name:
            pass
        return told

    def rest(self) -> list[str]:
        """The names of all events until the stream ends."""
        names = []
        while True:
            try:
                names.append(next(self).name)
            except StopIteration:
                return names


@contextmanager
def following(url: str, *topics: str, last_id: str | None = None, token: str | None = None) -> Iterator[Stream]:
    """A stream that has said hello."""
    headers = {"Last-Event-ID": last_id} if last_id is not None else {}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    with (
        httpx.Client(timeout=PATIENCE_S, headers=headers) as client,
        client.stream("GET", f"{url}/v1/live", params=[("topic", topic) for topic in topics]) as answer,
    ):
        assert answer.status_code == 200, answer.read()
        stream = Stream(answer)
        assert next(stream).name == "hello"
        yield stream


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """The application on a port of its own, in a thread; gives its address."""
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(app, port=port, log_config=None, timeout_graceful_shutdown=5, proxy_headers=False)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    waiter = threading.Event()
    while not server.started:
        assert thread.is_alive()
        waiter.wait(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)


@dataclass
class TellingMirror:
    """Writes rows and messages as the indexer does, in one go each."""

    mirror: Mirror
    urls: DatabaseUrls

    def pay(self, block: int, *works: int, payer: Any = b"\x01" * 20, amount: int = 1_000) -> None:
        """A block with a payment to each work."""
        self.mirror.block(block)
        for work in works:
            self.mirror.log(
                "RevenueLedger",
                "PaymentReceived",
                block=block,
                work_id=work,
                token=bytes(20),
                payer=canonical(payer),
                amount=amount,
                fee=amount // 20,
                kind=0,
                ref=bytes(32),
            )
        self.blocks(block, *(["RevenueLedger.PaymentReceived"] if works else []))

    def blocks(self, number: int, *events: str, first: int | None = None) -> None:
        header = Header(number, hash32("block", number), hash32("block", number - 1), GENESIS_TIME + number, 0)
        with psycopg.connect(self.urls.conninfo()) as connection:
            notify.blocks(connection, number if first is None else first, header, max(number - 2, 0), events)

    def undo(self, first: int) -> None:
        """Take blocks back, with their rows."""
        with psycopg.connect(self.urls.conninfo()) as connection:
            connection.execute("DELETE FROM chain.block WHERE number >= %s", (first,))
            connection.execute("DELETE FROM chain.revenue_ledger_payment_received WHERE block_number >= %s", (first,))
            connection.execute("DELETE FROM chain.troupe_governor_vote_cast WHERE block_number >= %s", (first,))
            notify.undo(connection, first)

    def run(self, sql: str, *parameters: Any) -> Any:
        with psycopg.connect(self.urls.conninfo()) as connection:
            found = connection.execute(sql.encode(), parameters)
            return found.fetchall() if found.description else None
