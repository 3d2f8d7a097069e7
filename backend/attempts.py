"""Tasks that take their worker with them: counted in the database, because the queue alone would send them for ever.

A task is noted when it begins and forgotten when it ends, well or badly. What is still noted when it begins again took
its worker with it. After LIMIT such beginnings it is parked: acknowledged without being run, and kept for a person,
who looks at it with `./troupe tasks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from backend.models.operations import TaskAttempt

LIMIT = 5
FORGOTTEN_AFTER = timedelta(days=7)
"""A task that was begun this long ago, never ended and never came back is lost, and its note with it."""


def begin(session: Session, task_id: str, name: str, arguments: Sequence[Any]) -> bool:
    """Note a beginning in the session's own transaction; False when the task is parked and must not run."""
    session.execute(text("SET LOCAL synchronous_commit = off"))  # a crash of the database may cost an attempt
    now = func.now()
    row = insert(TaskAttempt).values(
        task_id=task_id, name=name, arguments=list(arguments), attempts=1, first_at=now, last_at=now
    )
    attempts = session.execute(
        row.on_conflict_do_update(
            index_elements=[TaskAttempt.task_id], set_={"attempts": TaskAttempt.attempts + 1, "last_at": now}
        ).returning(TaskAttempt.attempts)
    ).scalar_one()
    if attempts <= LIMIT:
        return True
    found = session.get_one(TaskAttempt, task_id)
    found.parked_at = found.parked_at or session.scalar(select(now))
    return False


def ended(session: Session, task_id: str) -> None:
    """Forget a task that came to an end."""
    session.execute(text("SET LOCAL synchronous_commit = off"))
    session.execute(delete(TaskAttempt).where(TaskAttempt.task_id == task_id))


def parked(session: Session) -> list[TaskAttempt]:
    """What is parked, oldest first."""
    wanted = select(TaskAttempt).where(TaskAttempt.parked_at.is_not(None)).order_by(TaskAttempt.parked_at)
    return list(session.scalars(wanted))


def take(session: Session, task_id: str) -> TaskAttempt | None:
    """Forget a task that is parked, its attempts with it; what it was, or None where none of that name is parked."""
    found = session.get(TaskAttempt, task_id, with_for_update=True)
    if found is None or found.parked_at is None:
        return None
    session.delete(found)
    return found


def forget_lost(session: Session) -> None:
    """Drop the notes of tasks that were lost with the queue."""
    old = TaskAttempt.last_at < func.now() - FORGOTTEN_AFTER
    session.execute(delete(TaskAttempt).where(old, TaskAttempt.parked_at.is_(None)))
