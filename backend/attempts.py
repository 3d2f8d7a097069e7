"""Tasks that take their worker with them: counted in the database, because the queue alone would send them for ever.

A task is noted when it begins and forgotten when it ends, well or badly. What is still noted when it begins again took
its worker with it. After LIMIT such beginnings it is parked: acknowledged without being run, and kept for a person.

    python -m backend.attempts list            what is parked
    python -m backend.attempts retry TASK_ID   send it again, with all its attempts before it
    python -m backend.attempts drop TASK_ID    forget it
"""

from __future__ import annotations

import argparse
import json
import sys
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


def forget_lost(session: Session) -> None:
    """Drop the notes of tasks that were lost with the queue."""
    old = TaskAttempt.last_at < func.now() - FORGOTTEN_AFTER
    session.execute(delete(TaskAttempt).where(old, TaskAttempt.parked_at.is_(None)))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m backend.attempts", description="Tasks that were parked.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="what is parked")
    for name, what in (("retry", "send it again"), ("drop", "forget it")):
        commands.add_parser(name, help=what).add_argument("task_id")
    chosen = parser.parse_args(arguments)

    from backend import worker  # noqa: PLC0415 - it imports this module
    from backend.settings import SettingsError  # noqa: PLC0415

    try:
        with worker.task_session() as session:
            if chosen.command == "list":
                for row in parked(session):
                    said = {"task_id": row.task_id, "name": row.name, "attempts": row.attempts}
                    sys.stdout.write(json.dumps(said | {"parked_at": str(row.parked_at)}) + "\n")
                return 0
            found = session.get(TaskAttempt, chosen.task_id)
            if found is None or found.parked_at is None:
                sys.stderr.write(f"attempts: no task {chosen.task_id!r} is parked: `list` shows those that are\n")
                return 1
            session.delete(found)
            name, (args, kwargs) = found.name, found.arguments
    except SettingsError as error:
        sys.stderr.write(f"attempts: {error}\n")
        return 1
    if chosen.command == "retry":
        worker.celery.send_task(name, args=args, kwargs=kwargs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
