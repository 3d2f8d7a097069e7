"""The metrics of the backend, in Prometheus' terms; docs/operations.md has their table, and a test compares the two.

Three kinds: what this process counts itself (requests); what all processes count together, in Redis, because only the
API is asked for metrics and the worker does most of the counting (`Shared`); and what is looked at when metrics are
asked for (`backend.system.gauges`). Labels take values from this program alone, never from a request.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from http import HTTPMethod

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily
from redis import Redis

disable_created_metrics()  # type: ignore[no-untyped-call]  # the times at which series began: as many series again, that nobody asks for
METHODS = frozenset(HTTPMethod)

requests_total = Counter(
    "troupe_http_requests_total", "Requests answered, by route and status.", ["method", "route", "status"]
)
request_seconds = Histogram(
    "troupe_http_request_seconds",
    "From the first byte of the request to the end of the answer.",
    ["method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)


@cache
def _series(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    """The series of a kind of answer; as many as routes, methods and statuses, since looking one up costs its half."""
    return requests_total.labels(method, route, str(status)), request_seconds.labels(method, route)


def answered(method: str, route: str, status: int, taken_s: float) -> None:
    """Count a request that was answered."""
    total, seconds = _series(method, route, status)
    total.inc()
    seconds.observe(taken_s)


requests_open = Gauge("troupe_http_requests_open", "Requests that are being answered now, live streams among them.")
problems_total = Counter("troupe_http_problems_total", "Error answers by their code of docs/errors.md.", ["code"])
rate_limited_total = Counter(
    "troupe_http_rate_limited_total",
    "Requests refused with 429, by class of routes and kind of caller.",
    ["class", "caller"],
)
limiter_failures_total = Counter(
    "troupe_http_limiter_failures_total", "Times that Redis could not be asked to count requests."
)
live_streams = Gauge("troupe_live_streams", "Streams of live updates that are open.")


@dataclass
class Shared:
    """A counter of all processes: added up here, then in a hash of Redis. What a killed process had not yet handed on
    is lost; an emptied Redis begins anew, which Prometheus takes for a restart."""

    name: str
    help: str
    labels: tuple[str, ...]
    _waiting: dict[tuple[str, ...], float] = field(default_factory=lambda: defaultdict(float))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, *values: str, amount: float = 1) -> None:
        """Count for these values of the labels."""
        if len(values) != len(self.labels):
            raise ValueError(f"{self.name} has the labels {self.labels}")
        with self._lock:
            self._waiting[values] += amount

    def take(self) -> dict[tuple[str, ...], float]:
        """What was counted since the last time."""
        with self._lock:
            taken, self._waiting = self._waiting, defaultdict(float)
        return taken


tasks = Shared("troupe_tasks", "Tasks ended, by outcome.", ("task", "outcome"))
task_seconds = Shared("troupe_task_seconds", "Time spent in tasks.", ("task",))
node_calls = Shared("troupe_node_calls", "Questions to the chain's node, by outcome.", ("method", "outcome"))
node_seconds = Shared("troupe_node_seconds", "Time spent waiting for the node.", ("method",))

sealed_values = Shared("troupe_sealed_values", "Values sealed, unsealed, or refused for not being whole.", ("what",))

webhook_attempts = Shared(
    "troupe_webhook_attempts", "Requests made to webhooks' receivers: taken, refused, or unanswered.", ("outcome",)
)

wish_model = Shared(
    "troupe_wish_model", "Wishes, by what the language model made of them; none where none is plugged in.", ("outcome",)
)

SHARED = (tasks, task_seconds, node_calls, node_seconds, sealed_values, webhook_attempts, wish_model)
KEY = "troupe:metrics:"
SEPARATOR = "\x1f"


def hand_on(redis: Redis) -> None:
    """Add what this process counted to the totals. Raises RedisError; then it is lost, as counts may be."""
    with redis.pipeline(transaction=False) as pipeline:
        for each in SHARED:
            for values, amount in each.take().items():
                pipeline.hincrbyfloat(KEY + each.name, SEPARATOR.join(values), amount)
        pipeline.execute()


def shared(redis: Redis) -> Iterable[CounterMetricFamily]:
    """The totals of all processes. Raises RedisError."""
    for each in SHARED:
        family = CounterMetricFamily(each.name, each.help, labels=each.labels)
        found: dict[bytes, bytes] = redis.hgetall(KEY + each.name)  # type: ignore[assignment]  # of a sync client
        for values, amount in sorted(found.items()):
            family.add_metric(values.decode().split(SEPARATOR), float(amount))
        yield family
