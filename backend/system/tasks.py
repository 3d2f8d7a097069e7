"""What the interface does by the clock."""

from __future__ import annotations

from backend.edge import idempotency
from backend.worker import celery, core, task_session


@celery.task(name="system.forget_answers")  # type: ignore[untyped-decorator]  # celery has no types
def forget_answers() -> None:
    """Delete the answers that were kept for repeated requests, a day after they were given."""
    with task_session() as session:
        idempotency.forget(session, core())
