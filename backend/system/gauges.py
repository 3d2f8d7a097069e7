"""What is looked at when metrics are asked for: outbox, mirror, pools, Redis, parked tasks.

A part that is away leaves its figures out and says so in `troupe_up`; the rest is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from prometheus_client import REGISTRY, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError
from sqlalchemy import QueuePool, func, select
from sqlalchemy.exc import SQLAlchemyError

from backend.deps import Core
from backend.models.operations import TaskAttempt
from backend.models.sender import OutboxIntent, SenderAccount
from backend.node import Node, NodeRefused, NodeUnreachable
from backend.sender.states import IN_FLIGHT, State
from backend.system.readiness import NODE_TIMEOUT_S, mirrored
from backend.telemetry import metrics
from backend.webhooks.delivery import Backlog, backlog

QUEUE = "celery"
"""Celery's own name for the one queue that there is."""
STATES = ("waiting", "delivered", "dropped")
WAITING = (State.QUEUED, *sorted(IN_FLIGHT))


class Gauges(Collector):
    """The figures of one moment, as Prometheus' client library collects them."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def collect(self) -> Iterator[Metric]:
        """Ask every part."""
        up = GaugeMetricFamily("troupe_up", "Whether the part answered this scrape.", labels=["part"])
        for part, ask in (
            ("database", self._database),
            ("redis", self._redis),
            ("node", self._node),
        ):
            found: list[Metric] = []
            with suppress(SQLAlchemyError, RedisError, OSError, NodeUnreachable, NodeRefused, ValueError):
                found = list(ask())
            up.add_metric([part], float(bool(found)))
            yield from found
        yield up
        yield self._pools()

    def _database(self) -> Iterable[Metric]:
        intents = GaugeMetricFamily("troupe_outbox_intents", "Intents on their way, by state.", labels=["state"])
        oldest = GaugeMetricFamily(
            "troupe_outbox_oldest_seconds", "Age of the oldest intent in the state; 0 for none.", labels=["state"]
        )
        halted = GaugeMetricFamily("troupe_sender_halted", "Accounts of the operator that sign nothing any more.")
        parked = GaugeMetricFamily("troupe_tasks_parked", "Tasks that ended their worker too often, kept for a person.")
        age = func.extract("epoch", func.now() - func.min(OutboxIntent.created_at))
        with self._core.database.session() as session:
            counted = (
                select(OutboxIntent.state, func.count(), age)
                .where(OutboxIntent.state.in_(WAITING))
                .group_by(OutboxIntent.state)
            )
            rows = {state: (count, float(seconds)) for state, count, seconds in session.execute(counted)}
            halted_count = session.scalar(
                select(func.count()).select_from(SenderAccount).where(SenderAccount.halted_code.is_not(None))
            )
            parked_count = session.scalar(
                select(func.count()).select_from(TaskAttempt).where(TaskAttempt.parked_at.is_not(None))
            )
            webhooks = backlog(session)
        yield from _webhooks(webhooks)
        for state in WAITING:
            count, seconds = rows.get(state, (0, 0.0))
            intents.add_metric([state], count)
            oldest.add_metric([state], seconds)
        halted.add_metric([], halted_count or 0)
        parked.add_metric([], parked_count or 0)
        yield from (intents, oldest, halted, parked)
        if (at := mirrored(self._core)) is not None:
            yield _gauge("troupe_mirror_head_block", "The last block in the mirror.", at)

    def _redis(self) -> Iterable[Metric]:
        redis = self._core.redis
        metrics.hand_on(redis)
        yield from metrics.shared(redis)
        info = redis.info("memory")
        assert isinstance(info, dict)
        yield _gauge("troupe_redis_memory_bytes", "Memory that Redis uses.", info["used_memory"])
        waiting = redis.llen(QUEUE)
        assert isinstance(waiting, int)
        yield _gauge("troupe_tasks_waiting", "Tasks in the queue that no worker has taken.", waiting)

    def _node(self) -> Iterable[Metric]:
        with Node(self._core.settings.rpc_url, timeout_s=NODE_TIMEOUT_S) as node:
            number = int(str(node.ask("eth_blockNumber")), 16)
        yield _gauge("troupe_node_head_block", "The node's last block.", number)
        at = mirrored(self._core)
        yield _gauge(
            "troupe_mirror_lag_blocks", "Blocks between the node's head and the mirror's.", max(0, number - (at or 0))
        )

    def _pools(self) -> Metric:
        """The connections to the database that this process holds."""
        family = GaugeMetricFamily(
            "troupe_db_connections", "Connections to the database, by pool and state.", labels=["pool", "state"]
        )
        pool = self._core.database.engine.pool
        assert isinstance(pool, QueuePool)
        family.add_metric(["sync", "used"], pool.checkedout())
        family.add_metric(["sync", "idle"], pool.checkedin())
        stats = self._core.database.async_pool.get_stats()
        idle = stats.get("pool_available", 0)
        family.add_metric(["async", "used"], stats.get("pool_size", 0) - idle)
        family.add_metric(["async", "idle"], idle)
        family.add_metric(["async", "waiting"], stats.get("requests_waiting", 0))
        return family


def _gauge(name: str, text: str, value: float) -> Metric:
    family = GaugeMetricFamily(name, text)
    family.add_metric([], value)
    return family


class _All(Collector):
    def __init__(self, core: Core) -> None:
        self._gauges = Gauges(core)

    def collect(self) -> Iterator[Metric]:
        yield from REGISTRY.collect()
        yield from self._gauges.collect()


def exposition(core: Core) -> bytes:
    """All metrics in Prometheus' text format."""
    return generate_latest(_All(core))


def _webhooks(found: Backlog) -> Iterator[Metric]:
    deliveries = GaugeMetricFamily(
        "troupe_webhook_deliveries", "Events for webhooks that are kept, by what became of them.", labels=["state"]
    )
    for state in STATES:
        deliveries.add_metric([state], found.states.get(state, 0))
    yield deliveries
    yield _gauge("troupe_webhook_oldest_seconds", "Age of the event that waits longest to be sent.", found.oldest_s)
    yield _gauge("troupe_webhooks_disabled", "Endpoints that were switched off after failing.", found.disabled)
