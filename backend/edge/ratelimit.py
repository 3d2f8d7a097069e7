"""How many requests a caller may make: one token bucket for each caller and class of routes, in Redis.

A caller is a person, an API key, or an address where nobody is known. Who a token belongs to is learnt when a request
with it has been authenticated; until then, and for tokens that nobody has, the address pays. Sign-in and relays are
counted by address whatever token comes along, and are refused while Redis is away; the rest is let through then.

The bucket is the generic cell rate algorithm: one number for each bucket (when it is full again), which expires by
itself when the bucket is full, in one script and one round trip. Of a bucket that is asked often a process takes
several tokens at once (a lease) and serves from those without Redis; tokens so held are already paid for, so leases
never let more through than the quota, and may hold back at most a lease in each other process.

Headers are those of draft-ietf-httpapi-ratelimit-headers-10: `RateLimit-Policy: "read";q=300;w=60` and
`RateLimit: "read";r=299;t=1`, with `Retry-After` on a refusal.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, Protocol

import structlog
from redis.exceptions import RedisError
from starlette.types import Scope

from backend.edge.quotas import CLASSES, CallerKind, Quota, RouteClass, route_class
from backend.errors import AppError, Unavailable
from backend.telemetry import metrics

MAX_LEASE: Final = 20
LEASE_PART: Final = 50
"""A lease is at most this part of a quota."""
REMEMBERED: Final = 20_000
"""Buckets and tokens that a process keeps in mind; the oldest are forgotten, which costs a round trip."""
TOKEN_MEMORY_S: Final = 60
BREAK_S: Final = 5.0
"""After a failure Redis is left alone for so long: no request waits for a time-out that the one before it had."""

SCRIPT: Final = """
local now, interval, window = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local want, limit = tonumber(ARGV[4]), tonumber(ARGV[5])
local full = tonumber(redis.call('GET', KEYS[1]) or '0')
if full < now then full = now end
local free = math.min(limit, math.floor((window - (full - now)) / interval))
local taken = math.max(0, math.min(free, want))
if taken > 0 then
  full = full + taken * interval
  redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
end
return {taken, math.max(0, free - taken), full - now, full + interval - window - now}
"""
"""KEYS[1]: the bucket. ARGV in microseconds: now, interval, window; then tokens wanted, limit.

Returns tokens taken, tokens left, microseconds until it is full, and until there is one more."""


log = structlog.get_logger(__name__)


class RateLimited(AppError):
    """429: the caller's quota for this class of routes is used up."""

    def __init__(self, policy: str, quota: Quota, retry_after_s: int) -> None:
        super().__init__(
            429,
            "rate_limited",
            "Too many requests",
            f"At most {quota.requests} requests of this kind in {quota.window_s} s; try again in {retry_after_s} s.",
            policy=policy,
            limit=quota.requests,
            window_s=quota.window_s,
            retry_after_s=retry_after_s,
        )
        self.headers["Retry-After"] = str(retry_after_s)


class Principal(NamedTuple):
    """Whom a token belongs to; the dependency that authenticates leaves it in the request's state."""

    kind: Literal["person", "key"]
    id: str


def bucket_key(name: str) -> str:
    """Where Redis has the bucket of `<class>:<kind>:<who>`."""
    return "troupe:limit:" + hashlib.blake2b(name.encode(), digest_size=16).hexdigest()


def bucket_keys(principals: Iterable[Principal]) -> list[str]:
    """Every key under which requests of these principals are counted."""
    return [bucket_key(f"{each.name}:{who.kind}:{who.id}") for who in principals for each in CLASSES]


class Store(Protocol):
    """What is needed of an async Redis client."""

    def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Awaitable[Any]: ...


@dataclass
class _Bucket:
    """What a process knows of a bucket between two looks into Redis. Times in microseconds."""

    held: int
    """Tokens of the lease that are left."""
    left: int
    """Tokens that Redis had left beside them."""
    full_at: int
    until: int
    """When the lease lapses, or the refusal ends."""
    refused: bool = False


class Limiter:
    """Counts requests. One for each process, used from its event loop alone."""

    def __init__(
        self,
        store: Callable[[], Store],
        clock: Callable[[], float],
        *,
        quotas: Mapping[str, Mapping[CallerKind, Quota]],
        address: Callable[[Scope], str],
    ) -> None:
        self._store = store
        self._clock = clock
        """Seconds since 1970."""
        self._quotas = quotas
        self._address = address
        self._buckets: dict[str, _Bucket] = {}
        self._tokens: dict[bytes, tuple[Principal, float]] = {}
        self._away_until = 0.0

    async def admit(self, scope: Scope, token: str | None) -> dict[str, str]:
        """Count a request; returns the headers that its answer carries.

        Raises RateLimited, and Unavailable `limits_unavailable` where a class is closed without Redis.
        """
        found = route_class(scope["method"], scope["path"])
        if found is None:
            return {}
        caller: tuple[CallerKind, str] = ("address", "")
        if token is not None and not found.by_address:
            caller = self._known(token) or caller
        kind, who = caller
        if kind == "address":
            who = self._address(scope)
        quota = self._quotas[found.name][kind]
        try:
            remaining, full_us = await self._take(found, f"{found.name}:{kind}:{who}", quota)
        except _Refused as refused:
            metrics.rate_limited_total.labels(found.name, kind).inc()
            error = RateLimited(found.name, quota, max(1, math.ceil(refused.wait_us / 1e6)))
            error.headers.update(_fields(found.name, quota, 0, refused.full_us))
            raise error from None
        except _Away:
            if found.fail_closed:
                raise Unavailable(
                    "Requests of this kind cannot be counted at the moment, and are refused until they can.",
                    code="limits_unavailable",
                ) from None
            return {}
        return _fields(found.name, quota, remaining, full_us)

    def learn(self, scope: Scope, token: str | None, status: int) -> None:
        """Remember, or forget, whose a request's token is, once its answer is known."""
        if token is None:
            return
        key = _digest(token)
        principal = scope["state"].get("principal")
        if principal is not None:
            if len(self._tokens) >= REMEMBERED:
                self._tokens.pop(next(iter(self._tokens)))
            self._tokens[key] = (principal, self._clock() + TOKEN_MEMORY_S)
        elif status == 401:
            self._tokens.pop(key, None)

    def _known(self, token: str) -> tuple[CallerKind, str] | None:
        found = self._tokens.get(_digest(token))
        if found is None or found[1] <= self._clock():
            return None
        return found[0].kind, found[0].id

    async def _take(self, found: RouteClass, name: str, quota: Quota) -> tuple[int, int]:
        """Take one token; tokens left and microseconds until the bucket is full. Raises _Refused, _Away."""
        now = int(self._clock() * 1e6)
        bucket = self._buckets.get(name)
        if bucket is not None and bucket.until > now:
            if bucket.refused:
                raise _Refused(bucket.until - now, bucket.full_at - now)
            if bucket.held > 0:
                bucket.held -= 1
                return bucket.left + bucket.held, max(0, bucket.full_at - now)
        lease = 1 if found.fail_closed else max(1, min(MAX_LEASE, quota.requests // LEASE_PART))
        window_us = quota.window_s * 1_000_000
        answer = await self._ask(name, now, window_us // quota.requests, window_us, lease, quota.requests)
        taken, left, full_us, wait_us = (int(number) for number in answer)
        if bucket is None and len(self._buckets) >= REMEMBERED:
            self._buckets.pop(next(iter(self._buckets)))
        if taken == 0:
            self._buckets[name] = _Bucket(0, 0, now + full_us, now + wait_us, refused=True)
            raise _Refused(wait_us, full_us)
        self._buckets[name] = _Bucket(taken - 1, left, now + full_us, now + window_us)
        return left + taken - 1, full_us

    async def _ask(self, name: str, *numbers: int) -> Any:
        if self._clock() < self._away_until:
            raise _Away
        key = bucket_key(name)
        try:
            return await self._store().eval(SCRIPT, 1, key, *numbers)
        except (RedisError, OSError) as error:
            self._away_until = self._clock() + BREAK_S
            metrics.limiter_failures_total.inc()
            structlog.get_logger(__name__).warning(
                "requests are not counted: Redis is away", error=type(error).__name__
            )
            raise _Away from None


class _Refused(Exception):
    def __init__(self, wait_us: int, full_us: int) -> None:
        super().__init__()
        self.wait_us = wait_us
        self.full_us = full_us


class _Away(Exception):
    pass


def _digest(token: str) -> bytes:
    return hashlib.blake2b(token.encode(errors="surrogatepass"), digest_size=16).digest()


def _fields(policy: str, quota: Quota, remaining: int, full_us: int) -> dict[str, str]:
    return {
        "RateLimit-Policy": f'"{policy}";q={quota.requests};w={quota.window_s}',
        "RateLimit": f'"{policy}";r={remaining};t={math.ceil(full_us / 1e6)}',
    }
