"""Whose token it is, remembered by a process for a few seconds, so that a read needs no question to the database.

An ended session must end at once, in every process. So a memory is believed only while this process hears of every
change: the database tells of each session or account that is changed or deleted (a trigger, `NOTIFY`), and everything
is forgotten then. Without the line to the database nothing is remembered, and after TTL_S it is asked anyway.

Hearing takes a moment. So whoever changes a session waits, after its commit and before its answer, until every
process has heard (`settle`): it takes a transaction id, tells it, and waits for those that still hold the lock of an
earlier one. A process takes the lock of what it heard last (shared, advisory, on the connection that it listens on)
once it has forgotten; the lock goes with the connection. What a process that hears nothing still remembers is over
after TTL_S, and so is the wait.
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
import structlog
from sqlalchemy import Engine, event

from backend.accounts.service import Somebody, token_hash
from backend.models.accounts import CHANNEL

TTL_S: Final = 5.0
LIMIT: Final = 10_000
RETRY_S: Final = 1.0
POLL_S: Final = 0.001
HEARD: Final = 0x5E55 << 48
"""The advisory locks of those who listen: this and the transaction id that they heard last."""
TELL: Final = "SELECT n, pg_notify(%s, n::text) FROM (SELECT pg_current_xact_id()::text::bigint AS n OFFSET 0) AS told"
DEAF: Final = """
SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database AND datname = current_database()
WHERE locktype = 'advisory' AND mode = 'ShareLock' AND granted AND objsubid = 1 AND pid <> %s
AND classid::bigint << 32 | objid::bigint BETWEEN %s AND %s
"""
log = structlog.get_logger(__name__)
CHANGES: Final = re.compile(r"(UPDATE|DELETE FROM)\s+app\.(auth_session|account)\b")


@dataclass
class _Entry:
    somebody: Somebody
    expires_at: datetime
    until: float
    notes: dict[str, Any] = field(default_factory=dict)


def settle(connection: psycopg.Connection[Any], *, but: int = 0, patience_s: float = TTL_S) -> bool:
    """Wait until every process has heard of what was committed before this; False when one did not in time.

    `but` is the backend of a listener that needs no waiting for. The connection is in no transaction.
    """
    ends = time.monotonic() + patience_s
    connection.execute("SET LOCAL synchronous_commit = off")  # nothing is written
    row = connection.execute(TELL, (CHANNEL,)).fetchone()
    connection.commit()
    assert row is not None
    while True:
        waiting = connection.execute(DEAF, (but, HEARD, HEARD + row[0] - 1)).fetchone()
        connection.rollback()
        assert waiting is not None
        if waiting[0] == 0 or time.monotonic() > ends:
            return bool(waiting[0] == 0)
        time.sleep(POLL_S)


class SessionMemory:
    """For one process and its event loop; `forget` may be called from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: dict[bytes, _Entry] = {}
        self._task: asyncio.Task[None] | None = None
        self._backend = 0
        """The process of the database that this one listens to."""
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

    def ask(self) -> tuple[int, float]:
        """To be taken before a session is read that is to be remembered."""
        return self.generation, self._clock()

    def put(self, token: str, somebody: Somebody, expires_at: datetime, *, asked: tuple[int, float]) -> dict[str, Any]:
        """Remember what was read, if nothing was forgotten since; the place for what is only true as long."""
        generation, at = asked
        entry = _Entry(somebody, expires_at, at + TTL_S)
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
        def _(connection: psycopg.Connection[Any] | None, record: Any) -> None:
            if not record.info.pop("sessions_changed", False):
                return
            self.forget()
            try:
                if connection is not None and not settle(connection, but=self._backend):
                    log.warning("a process has not heard of an ended session in time")
            except psycopg.Error:  # the change is committed or undone already, and its trigger has told of it
                log.warning("nobody could be asked whether they heard of an ended session", exc_info=True)

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
                    heard = await self._take_lock(connection, 0, await _transaction_id(connection))
                    self.forget()
                    self._backend = connection.info.backend_pid
                    self.listening = True
                    try:
                        while True:
                            latest = heard
                            async for told in connection.notifies(stop_after=1):
                                self.forget()  # before the lock says so
                                latest = max(latest, int(told.payload or 0))
                            heard = await self._take_lock(connection, heard, latest)
                    finally:
                        self.listening = False
                        self.forget()
            await asyncio.sleep(RETRY_S)

    async def _take_lock(self, connection: psycopg.AsyncConnection[Any], held: int, heard: int) -> int:
        if heard != held:
            await connection.execute("SELECT pg_advisory_lock_shared(%s)", (HEARD + heard,))
            if held:
                await connection.execute("SELECT pg_advisory_unlock_shared(%s)", (HEARD + held,))
        return heard

    async def stop(self) -> None:
        """End listening."""
        if self._task is not None and self._task.get_loop() is asyncio.get_running_loop():
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._task = None


async def _transaction_id(connection: psycopg.AsyncConnection[Any]) -> int:
    row = await (await connection.execute("SELECT pg_current_xact_id()::text::bigint")).fetchone()
    assert row is not None
    return int(row[0])
