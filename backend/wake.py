"""Telling the worker that there is something to do. The state is in PostgreSQL: a lost message costs seconds."""

from __future__ import annotations

from typing import Any

import structlog
from kombu.exceptions import OperationalError

log = structlog.get_logger()


def wake(task: Any, *arguments: str) -> None:
    """Send a task. While the queue is away nothing fails: the periodic sweep finds what there is to do."""
    try:
        task.apply_async(arguments, retry=False)
    except OperationalError as error:
        log.warning("worker_not_told", task=task.name, reason=str(error))
