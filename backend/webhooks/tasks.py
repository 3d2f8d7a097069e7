"""Celery wakes; what there is to tell and to send stands in the database."""

from __future__ import annotations

import random

import structlog
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from backend.webhooks import feed
from backend.webhooks.delivery import Sender
from backend.webhooks.transport import Transport
from backend.worker import celery, core, task_session

SENDING_S = 8.0
"""How long one run begins new attempts; an attempt takes 10 s more at the most."""
THREADS = 8
ONE_SENDER = "SELECT pg_try_advisory_lock(hashtext('webhooks.send'))"
LET_GO = "SELECT pg_advisory_unlock(hashtext('webhooks.send'))"

log = structlog.get_logger(__name__)


@celery.task(name="webhooks.tell")  # type: ignore[untyped-decorator]  # celery has no types
def tell() -> None:
    """Make deliveries of what the mirror has told since the last time."""
    try:
        with task_session() as session:
            feed.tell(session, chain_id=core().chain.chain_id, now=core().clock())
    except OperationalError as error:  # another one told meanwhile (40001): what is left is told next time
        if getattr(error.orig, "sqlstate", None) != "40001":
            raise


@celery.task(name="webhooks.send")  # type: ignore[untyped-decorator]
def send() -> None:
    """Send what is due. One run at a time, so that slow receivers keep one of the worker's processes busy at most."""
    with core().database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as guard:
        if not guard.scalar(text(ONE_SENDER)):
            return
        try:
            sender().run(seconds=SENDING_S, threads=THREADS)
        finally:
            guard.execute(text(LET_GO))


def sender() -> Sender:
    """This process's sender, by the settings of the environment."""
    made = core()
    return Sender(
        sessions=made.database.sessions,
        vault=made.vault,
        transport=Transport(loopback=made.settings.webhook_loopback),
        now=made.clock,
        dice=random.random,
    )


@celery.task(name="webhooks.forget")  # type: ignore[untyped-decorator]
def forget() -> None:
    """Drop events and deliveries that are older than the retention."""
    with task_session() as session:
        feed.forget(session, now=core().clock())
