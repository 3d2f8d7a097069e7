"""`./troupe tasks`: tasks that are parked because they ended their worker again and again."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from backend.installation import fail, installation
from backend.remedies import StateOption, as_asked

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from backend.models.operations import TaskAttempt

app = typer.Typer(
    name="tasks", help="Tasks that are parked: each ended its worker five times.", invoke_without_command=True
)
out = Console(highlight=False)

TaskId = Annotated[str, typer.Argument(help="As `./troupe tasks` shows it.", show_default=False)]


@app.callback()
def tasks(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")] = False,
    state: StateOption = None,
) -> None:
    """Show what is parked, oldest first."""
    if context.invoked_subcommand is not None:
        return
    import json

    from backend import attempts

    with installation(state) as place, place.database.session() as session:
        rows = [_row(each) for each in attempts.parked(session)]
    if as_json:
        for row in rows:
            out.print(json.dumps(row), markup=False, soft_wrap=True)
        return
    if not rows:
        out.print("none is parked")
        return
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("task", "what", "begun", "parked"):
        grid.add_column(heading, justify="right" if heading == "begun" else "left", overflow="fold")
    for row in rows:
        begun, parked_at = f"{row['attempts']} times", str(row["parked_at"])[:16].replace("T", " ")
        grid.add_row(escape(str(row["task_id"])), escape(str(row["name"])), begun, parked_at)
    out.print(grid)
    out.print(as_asked("mend what ended the worker, then `./troupe tasks retry`, or `./troupe tasks drop`"))


@app.command()
def retry(task_id: TaskId, state: StateOption = None) -> None:
    """Send a parked task again, with all its attempts before it."""
    from kombu.exceptions import OperationalError

    from backend import worker
    from backend.settings import celery_broker

    with installation(state) as place, place.database.session() as session:
        found = _taken(session, task_id)
        name, (args, kwargs) = found.name, found.arguments
        try:
            with worker.celery.connection_for_write(celery_broker(place.redis_url)) as connection:
                worker.celery.send_task(name, args=args, kwargs=kwargs, connection=connection)
        except OperationalError:  # nothing is committed: it stays parked
            raise fail("Redis does not answer: start it, or `./troupe dev`, and try again") from None
    out.print(escape(f"sent {name} again"))


@app.command()
def drop(task_id: TaskId, state: StateOption = None) -> None:
    """Forget a parked task. What it was to do is not done."""
    with installation(state) as place, place.database.session() as session:
        name = _taken(session, task_id).name
    out.print(escape(f"forgot {name}"))


def _taken(session: Session, task_id: str) -> TaskAttempt:
    from backend import attempts

    found = attempts.take(session, task_id)
    if found is None:
        raise fail(f"no task {task_id!r} is parked: `./troupe tasks` shows those that are")
    return found


def _row(task: TaskAttempt) -> dict[str, object]:
    parked_at = task.parked_at and task.parked_at.astimezone(UTC).isoformat()
    return {"task_id": task.task_id, "name": task.name, "attempts": task.attempts, "parked_at": parked_at}
