"""One connection to Redis for scripts, with any number of questions under way at once.

Each request that is counted waits for its answer, and redis-py's own client takes longer to ask (75 µs of a processor,
a lock, a pool) than Redis to answer. Here a question is written as it is asked, what is asked in one turn of the event
loop leaves in one system call, and answers come in the order of the questions (RESP 2, pipelining). Whoever is
connected speaks through redis-py's own settings: address, name, password, database. With TLS it is redis-py that asks.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from functools import cache
from typing import Any, Final, cast

from redis.asyncio import ConnectionPool, Redis, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import NoScriptError, ResponseError
from redis.exceptions import TimeoutError as Late

TIMEOUT_S: Final = 5.0
_END: Final = b"\r\n"


def pack(*parts: str | bytes | int) -> bytes:
    """A command as Redis reads it."""
    encoded = [part if isinstance(part, bytes) else str(part).encode() for part in parts]
    return b"".join([b"*%d\r\n" % len(encoded), *(b"$%d\r\n%b\r\n" % (len(part), part) for part in encoded)])


class Incomplete(Exception):
    """The rest of the answer has not come in yet."""


def unpack(data: bytes | bytearray, at: int = 0) -> tuple[Any, int]:
    """The answer that begins at a place, and where it ends; an error is returned. Raises Incomplete, Disconnected."""
    end = data.find(_END, at)
    if end < 0:
        raise Incomplete
    kind, text, end = data[at : at + 1], bytes(data[at + 1 : end]), end + 2
    if kind == b":":
        return int(text), end
    if kind == b"+":
        return text, end
    if kind == b"-":
        said = text.decode(errors="replace")
        return (NoScriptError if said.startswith("NOSCRIPT") else ResponseError)(said), end
    if kind == b"$":
        length = int(text)
        if length < 0:
            return None, end
        if len(data) < end + length + 2:
            raise Incomplete
        return bytes(data[end : end + length]), end + length + 2
    if kind == b"*":
        items = []
        for _ in range(int(text)):
            item, end = unpack(data, end)
            items.append(item)
        return items, end
    raise Disconnected("Redis answered what is no RESP 2")


class _Line(asyncio.Protocol):
    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._unread = bytearray()
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        self._unread += data
        try:
            while self._unread:
                answer, end = unpack(self._unread)
                del self._unread[:end]
                waiting = self._waiting.popleft()
                if not waiting.done():
                    waiting.set_result(answer)
        except Incomplete:
            return
        except (Disconnected, ValueError, IndexError):
            self.close()

    def connection_lost(self, _: Exception | None) -> None:
        while self._waiting:
            self._fail(self._waiting.popleft(), Disconnected("Redis has hung up"))

    async def ask(self, command: bytes) -> Any:
        """The answer to a packed command. Raises Disconnected, Late, ResponseError."""
        if self._transport is None or self._transport.is_closing():
            raise Disconnected("Redis has hung up")
        waiting = self._loop.create_future()
        self._waiting.append(waiting)
        self._transport.write(command)
        patience = self._loop.call_later(TIMEOUT_S, self._too_late, waiting)
        try:
            answer = await waiting
        finally:
            patience.cancel()
        if isinstance(answer, ResponseError):
            raise answer
        return answer

    def _too_late(self, waiting: asyncio.Future[Any]) -> None:
        self._fail(waiting, Late(f"Redis has not answered within {TIMEOUT_S:.0f} s"))
        self.close()  # whatever it answers now would be taken for the answer to the next question

    def _fail(self, waiting: asyncio.Future[Any], error: Exception) -> None:
        if not waiting.done():
            waiting.set_exception(error)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


@cache
def _digest(script: str) -> str:
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()  # what Redis calls a script by


class ScriptLine:
    """For one event loop. It connects when it is first asked, and again after the connection was lost."""

    def __init__(self, url: str) -> None:
        pool = ConnectionPool.from_url(url)
        self._how: dict[str, Any] = pool.connection_kwargs
        self._local = issubclass(pool.connection_class, UnixDomainSocketConnection)
        self._other = Redis.from_url(url) if issubclass(pool.connection_class, SSLConnection) else None
        self._line: _Line | None = None
        self._opening = asyncio.Lock()

    async def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any:
        """As redis-py's `eval`. Raises RedisError, OSError."""
        if self._other is not None:
            return await self._other.eval(script, numkeys, *keys_and_args)
        line = self._line
        if line is None or not line.open:
            line = await self._opened()
        try:
            return await line.ask(pack("EVALSHA", _digest(script), numkeys, *keys_and_args))
        except NoScriptError:  # of a Redis that was started since, or emptied
            return await line.ask(pack("EVAL", script, numkeys, *keys_and_args))

    async def _opened(self) -> _Line:
        async with self._opening:  # whoever waits here finds it open
            if self._line is None or not self._line.open:
                self._line = await self._connect()
            return self._line

    async def _connect(self) -> _Line:
        how, loop = self._how, asyncio.get_running_loop()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                if self._local:
                    _, line = await loop.create_unix_connection(_Line, how["path"])
                else:
                    _, line = await loop.create_connection(_Line, how.get("host", "localhost"), how.get("port", 6379))
        except TimeoutError as error:
            raise Late("Redis cannot be reached") from error
        try:
            if how.get("password"):
                await line.ask(pack("AUTH", *filter(None, [how.get("username")]), how["password"]))
            if how.get("db"):
                await line.ask(pack("SELECT", how["db"]))
        except BaseException:  # whatever it is, nobody else would end it
            line.close()
            raise
        return line

    async def aclose(self) -> None:
        """End the connection."""
        if self._line is not None:
            self._line.close()
        if self._other is not None:
            await self._other.aclose()
