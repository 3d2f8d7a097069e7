"""Whose token it is, remembered by a process for a few seconds, so that a read needs no question to the database.

An ended session must end at once. So a memory is believed only while this process hears of every change: the database
tells of each session or account that is changed or deleted (a trigger, `NOTIFY`), and everything is forgotten then.
What this process changes itself is forgotten as soon as its connection is back in the pool, before the answer leaves;
other processes hear of it a moment later. Without the line to the database nothing is remembered, and after TTL_S it is
asked anyway.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import psycopg
from sqlalchemy import Engine, event

from backend.accounts.service import Somebody, token_hash
from backend.models.accounts import CHANNEL

TTL_S: Final = 5.0
LIMIT: Final = 10_000
RETRY_S: Final = 1.0
CHANGES: Final = re.compile(r"(UPDATE|DELETE FROM)\s+app\.(auth_session|account)\b")


@dataclass
class _Entry:
    somebody: Somebody
    expires_at: datetime
    until: float
    notes: dict[str, Any] = field(default_factory=dict)


class SessionMemory:
    """For one process and its event loop; `forget` may be called from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: dict[bytes, _Entry] = {}
        self._task: asyncio.Task[None] | None = None
        self.listening = False
        self.generation = 0
        """Counts what was forgotten: what was read before is not put into a younger memory."""

    def forget(self) -> None:
        """Forget everybody."""
        self.generation += 1
        self._entries = {}

    def get(self, token: str, now: datetime) -> tuple[Somebody, dict[str, Any]] | None:
        """Whose the token is, and a place for what is only true as long; None when it has to be asked."""
        entry = self._entries.get(token_hash(token)) if self.listening else None
        if entry is None or entry.until <= self._clock() or entry.expires_at <= now:
            return None
        return entry.somebody, entry.notes

    def put(self, token: str, somebody: Somebody, expires_at: datetime, *, generation: int) -> dict[str, Any]:
        """Remember what was read when the memory was of this generation; the place for what is only true as long."""
        entry = _Entry(somebody, expires_at, self._clock() + TTL_S)
        if self.listening and generation == self.generation:
            if len(self._entries) >= LIMIT:
                self.forget()
            self._entries[token_hash(token)] = entry
        return entry.notes

    def watch(self, engine: Engine) -> None:
        """Forget what connections of this engine change, when they are done with it."""

        @event.listens_for(engine, "after_cursor_execute")
        def _(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            if CHANGES.search(statement):
                connection.info["sessions_changed"] = True

        @event.listens_for(engine, "checkin")
        def _(_connection: Any, record: Any) -> None:
            if record.info.pop("sessions_changed", False):
                self.forget()

    def start(self, conninfo: str) -> None:
        """Begin to listen, if this loop does not yet."""
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.get_loop() is not loop or self._task.done():
            self._task = loop.create_task(self._listen(conninfo), name="sessions")

    async def _listen(self, conninfo: str) -> None:
        while True:
            with suppress(psycopg.OperationalError):
                async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}".encode())
                    self.forget()
                    self.listening = True
                    try:
                        async for _ in connection.notifies():
                            self.forget()
                    finally:
                        self.listening = False
                        self.forget()
            await asyncio.sleep(RETRY_S)

    async def stop(self) -> None:
        """End listening."""
        if self._task is not None and self._task.get_loop() is asyncio.get_running_loop():
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._task = None
