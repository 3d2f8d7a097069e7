"""Celery: wakes what has to be done. State is in PostgreSQL; a message is a wake-up and carries ids only.

    celery -A backend.worker:celery worker        and        celery -A backend.worker:celery beat

Tasks live in `<package>/tasks.py` and are named in `TASKS`; periodic ones add a line to `SCHEDULE`. A task opens its
own unit of work: `with task_session() as session: ...`, committed once at its end. Every task may run twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from celery import Celery
from celery.signals import beat_init, setup_logging, task_postrun, worker_init, worker_process_init
from sqlalchemy.orm import Session

from backend import preflight, telemetry
from backend.deps import Core
from backend.settings import Settings, SettingsError, load_settings

TASKS = (  # modules with tasks; a package adds its line
    "backend.accounts.tasks",
    "backend.payouts.tasks",
    "backend.personalization.tasks",
    "backend.rewards.tasks",
    "backend.sender.tasks",
    "backend.system.tasks",
)

SCHEDULE: dict[str, dict[str, Any]] = {  # what beat sends; a package adds its line
    "forget-expired-sign-ins": {"task": "accounts.forget_expired", "schedule": 300.0},
    "forget-idempotent-answers": {"task": "system.forget_answers", "schedule": 600.0},
    "find-split-trees": {"task": "payouts.find_trees", "schedule": 10.0, "options": {"expires": 10.0}},
    "retry-split-trees": {"task": "payouts.retry_trees", "schedule": 120.0, "options": {"expires": 120.0}},
    "advance-reward-epochs": {"task": "rewards.tick", "schedule": 5.0, "options": {"expires": 5.0}},
    "sweep-the-outbox": {"task": "sender.sweep", "schedule": 3.0, "options": {"expires": 3.0}},
    "train-item-item": {"task": "personalization.train", "schedule": 15.0},
}

SOFT_LIMIT_S = 240
HARD_LIMIT_S = 300


def broker_url(redis_url: str) -> str:
    """The Redis address as kombu takes it: a unix socket is redis+socket://."""
    return redis_url.replace("unix://", "redis+socket://", 1)


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
        broker = {"broker_url": broker_url(load_settings().redis_url)}
    except SettingsError:
        broker = {}
    return broker | {
        "broker_connection_retry_on_startup": True,
        "broker_transport_options": {"visibility_timeout": 2 * HARD_LIMIT_S},
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "result_backend": None,
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
    }


celery = Celery("troupe", include=list(TASKS), set_as_current=True)
celery.add_defaults(_configuration)


def use(settings: Settings) -> None:
    """Send tasks to the Redis of these settings."""
    celery.conf.broker_url = broker_url(settings.redis_url)


@contextmanager
def task_session() -> Iterator[Session]:
    """One unit of work of a task: committed at its end, rolled back by an exception."""
    with core().database.session() as session:
        yield session


@setup_logging.connect(weak=False)  # type: ignore[untyped-decorator]
def _logging(**_: Any) -> None:
    telemetry.configure_logging()


@worker_init.connect(weak=False)  # type: ignore[untyped-decorator]
@beat_init.connect(weak=False)  # type: ignore[untyped-decorator]
def _preflight(**_: Any) -> None:
    preflight.settings_or_exit()


@worker_process_init.connect(weak=False)  # type: ignore[untyped-decorator]
def _fresh_connections(**_: Any) -> None:
    core.cache_clear()  # a forked child must not share its parent's sockets


@task_postrun.connect(weak=False)  # type: ignore[untyped-decorator]
def _count(task: Any = None, state: str | None = None, **_: Any) -> None:
    telemetry.tasks_total.labels(getattr(task, "name", "?"), state or "?").inc()
