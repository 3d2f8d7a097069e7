"""Celery: wakes what has to be done. State is in PostgreSQL; a message is a wake-up and carries ids only.

    celery -A backend.worker:celery worker        and        celery -A backend.worker:celery beat

Tasks live in `<package>/tasks.py` and are named in `TASKS`; periodic ones add a line to `SCHEDULE`. A task opens its
own unit of work: `with task_session() as session: ...`, committed once at its end. Every task may run twice.

A task's message carries ids in its headers (backend.telemetry), so that its log lines and spans belong to the request
that woke it. A task that takes its worker with it is parked after a few times (backend.attempts).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import structlog
from celery import Celery, Task
from celery.exceptions import Retry
from celery.signals import (
    beat_init,
    before_task_publish,
    setup_logging,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
)
from kombu.utils.json import dumps
from redis.exceptions import RedisError
from sqlalchemy.orm import Session

from backend import attempts, preflight
from backend.deps import Core
from backend.settings import Settings, SettingsError, load_settings
from backend.telemetry import logs as telemetry
from backend.telemetry import metrics, tracing, trail

TASKS = (  # modules with tasks; a package adds its line
    "backend.accounts.tasks",
    "backend.consent.tasks",
    "backend.payouts.tasks",
    "backend.personalization.tasks",
    "backend.rewards.tasks",
    "backend.search.tasks",
    "backend.sender.tasks",
    "backend.system.tasks",
    "backend.webhooks.tasks",
    "backend.works.tasks",
)

SCHEDULE: dict[str, dict[str, Any]] = {  # what beat sends; a package adds its line
    "forget-lost-tasks": {"task": "worker.forget_lost", "schedule": 3600.0},
    "forget-expired-sign-ins": {"task": "accounts.forget_expired", "schedule": 300.0},
    "ask-contract-wallets": {"task": "accounts.ask_wallets", "schedule": 60.0, "options": {"expires": 60.0}},
    "forget-idempotent-answers": {"task": "system.forget_answers", "schedule": 600.0},
    "go-on-with-exports-and-erasures": {"task": "consent.sweep", "schedule": 10.0, "options": {"expires": 10.0}},
    "find-split-trees": {"task": "payouts.find_trees", "schedule": 10.0, "options": {"expires": 10.0}},
    "retry-split-trees": {"task": "payouts.retry_trees", "schedule": 120.0, "options": {"expires": 120.0}},
    "advance-reward-epochs": {"task": "rewards.tick", "schedule": 5.0, "options": {"expires": 5.0}},
    "sweep-the-outbox": {"task": "sender.sweep", "schedule": 3.0, "options": {"expires": 3.0}},
    "tell-webhooks": {"task": "webhooks.tell", "schedule": 2.0, "options": {"expires": 2.0}},
    "send-webhooks": {"task": "webhooks.send", "schedule": 2.0, "options": {"expires": 2.0}},
    "forget-webhooks": {"task": "webhooks.forget", "schedule": 3600.0, "options": {"expires": 3600.0}},
    "follow-the-words-of-works": {"task": "works.follow", "schedule": 2.0, "options": {"expires": 2.0}},
    "sweep-the-files-of-drafts": {"task": "works.sweep_drafts", "schedule": 600.0, "options": {"expires": 600.0}},
    "learn-packaging": {"task": "personalization.package", "schedule": 60.0, "options": {"expires": 60.0}},
    "learn-packaging-anew": {"task": "personalization.package_anew", "schedule": 86400.0},
    "forget-impressions": {"task": "personalization.forget_impressions", "schedule": 3600.0},
    "forget-pictures": {"task": "personalization.forget_pictures", "schedule": 3600.0},
    "train-item-item": {"task": "personalization.train", "schedule": 15.0, "options": {"expires": 15.0}},
    "refresh-search": {"task": "search.refresh", "schedule": 5.0, "options": {"expires": 5.0}},
}

SOFT_LIMIT_S = 240
HARD_LIMIT_S = 300
ARGUMENTS_LIMIT = 16_384
"""Bytes of a task's arguments as JSON: they are ids; what is larger belongs into the database."""

log = structlog.get_logger(__name__)


@cache
def core() -> Core:
    """What this process shares between its tasks, by the settings of the environment."""
    return Core(load_settings())


def _configuration() -> dict[str, Any]:
    """Read when Celery first needs it, so that importing this module reads no environment.

    Where there are no settings, as in a tool that only looks at the tasks, there is no broker; worker and beat check
    their settings first, and the API names its broker (`use`).
    """
    try:
        broker = {"broker_url": load_settings().broker_url}
    except SettingsError:
        broker = {}
    return broker | {
        "broker_connection_retry_on_startup": True,
        "broker_transport_options": {"visibility_timeout": 2 * HARD_LIMIT_S},
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "result_backend": None,
        "result_expires": 3600,  # should a task ever keep one
        "task_ignore_result": True,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        "task_soft_time_limit": SOFT_LIMIT_S,
        "task_time_limit": HARD_LIMIT_S,
        "worker_send_task_events": False,
        "worker_hijack_root_logger": False,
        "enable_utc": True,
        "timezone": "UTC",
        "beat_schedule": SCHEDULE,
        "beat_scheduler": "backend.beat:LeasedScheduler",
    }


class Counted(Task):  # type: ignore[misc]  # celery has no types
    """A task as a worker runs it: on the trail of who sent it, counted, timed, and parked when it kills its worker."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task; called directly, as tests do, it is the bare function."""
        if self.request.called_directly:
            return super().__call__(*args, **kwargs)
        carried = self.request.headers or {}
        trail.resume(carried, task=self.name, otherwise=self.request.id)
        outcome = "failed"
        began = time.perf_counter()
        try:
            with tracing.task(self.name, carried):
                require_small(args, kwargs)
                with task_session() as session:
                    may_run = attempts.begin(session, self.request.id, self.name, (args, kwargs))
                if not may_run:
                    outcome = "parked"
                    log.error("task parked: it ended its worker too often", task_id=self.request.id)
                    return None
                result = self._to_its_end(args, kwargs)
                outcome = "succeeded"
                return result
        except Retry:
            outcome = "retried"
            raise
        finally:
            self._told(outcome, time.perf_counter() - began)

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Send the task. Raises ValueError for arguments that are no ids."""
        require_small(args or (), kwargs or {})
        return super().apply_async(args, kwargs, **options)

    def _to_its_end(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        finally:  # not reached when the process is killed, and that is what is counted
            with task_session() as session:
                attempts.ended(session, self.request.id)

    def _told(self, outcome: str, seconds: float) -> None:
        metrics.tasks.add(self.name, outcome)
        metrics.task_seconds.add(self.name, amount=seconds)
        with suppress(RedisError):  # the work is done; only its count is lost
            metrics.hand_on(core().redis)
        log.info("task", outcome=outcome, ms=round(seconds * 1000, 1))
        trail.end()


def require_small(args: Any, kwargs: Any) -> None:
    """Raise ValueError for arguments that are no ids."""
    size = len(dumps([args, kwargs]))  # type: ignore[no-untyped-call]  # as the message will be
    if size > ARGUMENTS_LIMIT:
        raise ValueError(f"a task's arguments are ids, at most {ARGUMENTS_LIMIT} bytes; these are {size}")


celery = Celery("troupe", include=list(TASKS), set_as_current=True, task_cls=Counted)
celery.add_defaults(_configuration)


def use(settings: Settings) -> None:
    """Send tasks to the Redis of these settings."""
    celery.conf.broker_url = settings.broker_url


@contextmanager
def task_session() -> Iterator[Session]:
    """One unit of work of a task: committed at its end, rolled back by an exception."""
    with core().database.session() as session:
        yield session


@celery.task(name="worker.forget_lost")  # type: ignore[untyped-decorator]  # celery has no types
def forget_lost() -> None:
    """Drop the notes of tasks that were begun long ago and lost with the queue."""
    with task_session() as session:
        attempts.forget_lost(session)


@before_task_publish.connect(weak=False)  # type: ignore[untyped-decorator]
def _label(headers: dict[str, Any] | None = None, **_: Any) -> None:
    """Put the ids of what runs here into the message."""
    if headers is not None:
        headers.update(trail.headers())
        tracing.inject(headers)


@setup_logging.connect(weak=False)  # type: ignore[untyped-decorator]
def _logging(**_: Any) -> None:
    try:
        level = load_settings().log_level
    except SettingsError:  # the start ends with it, in words (_preflight)
        level = "info"
    telemetry.configure_logging(level=level.upper())


@worker_init.connect(weak=False)  # type: ignore[untyped-decorator]
@beat_init.connect(weak=False)  # type: ignore[untyped-decorator]
def _preflight(**_: Any) -> None:
    preflight.settings_or_exit()


@worker_process_init.connect(weak=False)  # type: ignore[untyped-decorator]
def _fresh_connections(**_: Any) -> None:
    core.cache_clear()  # a forked child must not share its parent's sockets
    tracing.start(core().settings, "troupe-worker")


@worker_process_shutdown.connect(weak=False)  # type: ignore[untyped-decorator]
def _last_spans(**_: Any) -> None:
    tracing.stop()
