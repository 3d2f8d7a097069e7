"""Celery wakes the sender; the outbox in the database says what there is to do."""

from __future__ import annotations

from functools import cache

import structlog

from backend.sender.operator import make_sender
from backend.sender.sweeper import Sender
from backend.worker import celery, core

log = structlog.get_logger(__name__)


@cache
def operator_sender() -> Sender | None:
    """This process's sender; None where no operator key is set, which is said once."""
    settings = core().settings
    if settings.operator_key is None and settings.operator_keystore is None:
        log.warning("sender.no_key", detail="no operator key is set: this worker sends nothing")
        return None
    return make_sender(core())


@celery.task(name="sender.sweep")  # type: ignore[untyped-decorator]  # celery has no types
def sweep() -> None:
    """Take every intent of the operator's account one step on; harmless when it runs twice or at the same time."""
    if (sender := operator_sender()) is not None:
        sender.sweep()
