"""How many live streams a caller holds, over all processes: seats in Redis, each with an end of its own.

A seat is held by renewing it at every heartbeat. A process that dies renews nothing, so its seats are free again after
a few heartbeats; nothing has to be tidied up. While Redis is away streams are bounded by each process alone.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import structlog
from redis.exceptions import RedisError

BEATS: Final = 3
"""A seat outlives so many heartbeats: one may be late."""
SPARE_S: Final = 5.0

TAKE: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then
  return 0
end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""
"""KEYS[1]: the caller's seats, by when they end. ARGV: the seat, how many there may be, milliseconds. By Redis' clock:
the processes' own may differ."""

LEAVE = "return redis.call('ZREM', KEYS[1], ARGV[1])"

log = structlog.get_logger(__name__)


class Store(Protocol):
    """What is needed of an async Redis client."""

    def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Awaitable[Any]: ...


class Seat:
    """One stream's place among its caller's."""

    def __init__(self, store: Callable[[], Store], caller: str, *, limit: int, heartbeat_s: float) -> None:
        self._store = store
        self._key = "troupe:live:" + hashlib.blake2b(caller.encode(), digest_size=16).hexdigest()
        self._id = secrets.token_hex(16)
        self._limit = limit
        self._lasts_ms = int((BEATS * heartbeat_s + SPARE_S) * 1000)

    async def take(self) -> bool:
        """Take the seat, or keep it for some heartbeats more; False when the caller has as many others as may be."""
        try:
            return bool(await self._store().eval(TAKE, 1, self._key, self._id, self._limit, self._lasts_ms))
        except (RedisError, OSError) as error:
            log.warning("live streams are not counted over processes: Redis is away", error=type(error).__name__)
            return True

    async def leave(self) -> None:
        """Free the seat; if that fails it ends by itself."""
        try:
            await self._store().eval(LEAVE, 1, self._key, self._id)
        except (RedisError, OSError) as error:
            log.info("a live stream's seat is left to end", error=type(error).__name__)
