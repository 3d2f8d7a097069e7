"""Bring a database to this version: roles and schemas, then the chain's tables, then the product's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import psycopg
from sqlalchemy.engine import make_url

from stack.anvil import ROOT
from stack.errors import StackError
from stack.postgres import ensure_roles


def conninfo(url: str) -> str:
    """A SQLAlchemy address as libpq takes it. Raises StackError for what is none."""
    try:
        parsed = make_url(url).set(drivername="postgresql")
    except Exception as error:  # SQLAlchemy raises several kinds for a malformed address
        raise StackError("the database's address is malformed: write postgresql+psycopg://role@host/name") from error
    return parsed.render_as_string(hide_password=False)


def migrate_all(admin_url: str, indexer_url: str, *, say: Callable[[str], object]) -> None:
    """Run every step in order, each of which may run again without harm. Raises StackError."""
    try:
        with psycopg.connect(conninfo(admin_url), connect_timeout=10) as connection:
            ensure_roles(connection)
    except psycopg.OperationalError as error:
        raise StackError(f"the database cannot be reached: {str(error).strip()}") from error
    say("roles and schemas   ready")
    environment = {"TROUPE_ADMIN_DATABASE_URL": admin_url, "TROUPE_INDEXER_DATABASE_URL": indexer_url}
    _run("chain tables", ["-m", "indexer", "migrate"], environment, say)
    _run("product tables", ["-m", "backend.migrations.upgrade"], environment, say)


def _run(name: str, arguments: list[str], environment: dict[str, str], say: Callable[[str], object]) -> None:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise StackError(f"{name} could not be brought to this version:\n{said}")
    say(f"{name:<19} ready")
