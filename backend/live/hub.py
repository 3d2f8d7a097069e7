"""One process' ear at the mirror: a single LISTEN connection, however many streams.

A notification only wakes it up; what happened is read from `chain.outbox`, so nothing is missed when PostgreSQL was
restarted in between, when a notification was cut short, or when it came while another was being read.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Hashable
from typing import Any, Final

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from backend.db import conninfo
from backend.live.topics import Connection, Event, Tick, read_ticks
from backend.telemetry import metrics
from indexer.notify import CHANNEL

QUEUE: Final = 256
"""Events that wait for one stream; one that is further behind is ended, and reads on from its last id."""
POLL_S: Final = 10.0
"""It looks at the outbox so often even if nobody calls it."""
RECONNECT_S: Final = (0.1, 5.0)
READY_S: Final = 5.0

log = structlog.get_logger(__name__)


class Subscriber:
    """One stream's mailbox. Used from the event loop alone."""

    def __init__(self, topics: frozenset[str], after: int) -> None:
        self.topics = topics
        self.after = after
        """The last message that it knows of."""
        self.waiting: deque[tuple[int, tuple[Event, ...]]] = deque()
        self.wake = asyncio.Event()
        self.ended: str | None = None
        """Why it is over; nothing more is coming."""
        self.held = 0

    def tell(self, tick: Tick) -> None:
        """Take in a message, as far as it is for this stream."""
        if self.ended is not None or tick.id <= self.after:
            return
        mine = tuple(event for event in tick.events if event.topic is None or event.topic in self.topics)
        if not mine:
            if not self.waiting:
                self.after = tick.id
            return
        self.held += len(mine)
        if self.held > QUEUE:
            self.end("slow")
            return
        self.waiting.append((tick.id, mine))
        self.wake.set()

    def take(self) -> list[tuple[int, tuple[Event, ...]]]:
        """All that waits; the last id of it is then known."""
        taken = list(self.waiting)
        self.waiting.clear()
        self.held = 0
        self.wake.clear()
        if taken:
            self.after = taken[-1][0]
        return taken

    def end(self, reason: str) -> None:
        """Let the stream say why it ends, and end. What waits is forgotten: it can be read again."""
        if self.ended is None:
            self.ended = reason
            self.waiting.clear()
            self.wake.set()


class Hub:
    """Listens from the first stream on; `close` ends all streams with a reason."""

    def __init__(self, url: str) -> None:
        self._conninfo = conninfo(url)
        self._streams: set[Subscriber] = set()
        self._callers: Counter[Hashable] = Counter()
        self._task: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self.position = 0
        """The last message that was told."""
        self.closing = False
        self._heard = False

    def __len__(self) -> int:
        return len(self._streams)

    async def ready(self) -> bool:
        """Start listening; False when the database does not answer."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="live hub")
        try:
            async with asyncio.timeout(READY_S):
                await self._ready.wait()
        except TimeoutError:
            return False
        return not self.closing

    def streams_of(self, caller: Hashable) -> int:
        return self._callers[caller]

    def join(self, caller: Hashable, stream: Subscriber) -> None:
        self._streams.add(stream)
        self._callers[caller] += 1
        metrics.live_streams.inc()

    def leave(self, caller: Hashable, stream: Subscriber) -> None:
        """Forget a stream. Once for each `join`."""
        if stream in self._streams:
            self._streams.remove(stream)
            self._callers[caller] -= 1
            if not self._callers[caller]:
                del self._callers[caller]
            metrics.live_streams.dec()

    def end_all(self, reason: str) -> None:
        """End every stream and take no new ones. Safe to call from a signal handler of this thread."""
        self.closing = True
        for stream in list(self._streams):
            stream.end(reason)

    async def close(self) -> None:
        self.end_all("shutdown")
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        wait, longest = RECONNECT_S
        while True:
            try:
                await self._listen()
            except (psycopg.Error, OSError) as error:
                log.warning("live updates wait for the database", error=type(error).__name__)
                wait = RECONNECT_S[0] if self._heard else min(longest, wait * 2)
            except Exception:  # a mistake of ours must not end all streams' news for ever
                log.exception("live updates stumbled")
                wait = min(longest, wait * 2)
            await asyncio.sleep(wait)

    async def _listen(self) -> None:
        self._heard = False
        connection: Connection = await AsyncConnection.connect(
            self._conninfo,
            autocommit=True,
            row_factory=dict_row,
            application_name="troupe-live",
            connect_timeout=5,
            options="-c statement_timeout=10000",
        )
        async with connection:
            await connection.execute(f"LISTEN {CHANNEL}".encode())
            if not self._ready.is_set():
                row: Any = await (
                    await connection.execute("SELECT coalesce(max(id), 0) AS id FROM chain.outbox")
                ).fetchone()
                self.position = int(row["id"])
                self._ready.set()
            while True:
                await self._tell(connection)
                self._heard = True
                async for _ in connection.notifies(timeout=POLL_S, stop_after=1):
                    pass

    async def _tell(self, connection: Connection) -> None:
        """Tell everybody what happened since."""
        while True:
            topics = frozenset(topic for stream in self._streams for topic in stream.topics)
            ticks = await read_ticks(connection, self.position, None, topics)
            if not ticks:
                return
            for tick in ticks:
                for stream in self._streams:
                    stream.tell(tick)
            self.position = ticks[-1].id
