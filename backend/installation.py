"""What a command line works on: the database, Redis and files of an installation."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.markup import escape

from backend.remedies import as_asked

if TYPE_CHECKING:
    from redis import Redis

    from backend.db import Database

err = Console(stderr=True, highlight=False)


@dataclass(frozen=True)
class Place:
    """An installation's database, models and Redis."""

    database: Database
    models: Path
    redis: Redis
    redis_url: str
    experiments: Path | None
    """The file of the experiments that run."""


@contextmanager
def installation(state: Path | None) -> Iterator[Place]:
    """The installation that the environment names, or the stack's own, which has to run."""
    from redis import Redis
    from sqlalchemy.exc import OperationalError

    from backend.db import Database
    from stack.supervisor import Settings, state_from_environment

    named = os.environ
    if state is not None or not named.get("TROUPE_DATABASE_URL"):
        named = Settings(state.resolve() if state else state_from_environment()).environment() | {}  # type: ignore[assignment]
    missing = [name for name in ("TROUPE_DATABASE_URL", "TROUPE_DATA_DIR", "TROUPE_REDIS_URL") if name not in named]
    if missing:
        raise typer.BadParameter("is not set, and its companions are: set all of them", param_hint=missing[0])
    database = Database(named["TROUPE_DATABASE_URL"], pool_size=2, application_name="troupe-cli")
    redis = Redis.from_url(named["TROUPE_REDIS_URL"], socket_connect_timeout=2, socket_timeout=2)
    try:
        models = Path(named["TROUPE_DATA_DIR"]) / "models"
        yield Place(database, models, redis, named["TROUPE_REDIS_URL"], _experiments(named))
    except OperationalError:
        raise fail("the database does not answer: start it, or `./troupe dev`, and try again") from None
    finally:
        database.dispose()


def _experiments(named: Mapping[str, str]) -> Path | None:
    """As Settings.experiments_file has it."""
    from backend.settings import BUILT_IN_EXPERIMENTS

    if file := named.get("TROUPE_EXPERIMENTS") or os.environ.get("TROUPE_EXPERIMENTS"):
        return Path(file)
    return BUILT_IN_EXPERIMENTS if named.get("TROUPE_ENV", "production") == "production" else None


def fail(reason: object) -> typer.Exit:
    """Say why it can't be done; the exit to raise."""
    err.print(f"[bold red]troupe:[/] {escape(as_asked(str(reason)))}", soft_wrap=True)
    return typer.Exit(1)
