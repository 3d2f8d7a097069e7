"""Bring schema `app` to this version: `python -m backend.migrations.upgrade` (and `python -m backend.migrations`).

Reads TROUPE_ADMIN_DATABASE_URL alone, so that it runs before there is a deployment or a Redis. Makes the roles first.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import OperationalError

from backend.db import conninfo
from backend.migrations.roles import close_gate, ensure_roles
from backend.models.base import SCHEMA

FOLDER = Path(__file__).resolve().parent
LOCK = 0x54524F555045
"""Key of the advisory lock under which one migration runs at a time ("TROUPE")."""


class UnknownRevision(Exception):
    """The database was migrated by another version of this code; the text says what to do."""


def options() -> dict[str, Any]:
    """How Alembic looks at our database: schema `app` alone, its own version table there."""
    return {
        "version_table_schema": SCHEMA,
        "include_schemas": True,
        "include_name": lambda name, kind, parents: name == SCHEMA if kind == "schema" else True,
        "compare_type": True,
        "transaction_per_migration": True,
    }


def config(connection: Connection | None = None) -> Config:
    made = Config()
    made.set_main_option("script_location", str(FOLDER))
    made.attributes["connection"] = connection
    return made


def head() -> str:
    """The revision that this version of the code needs."""
    found = ScriptDirectory.from_config(config()).get_current_head()
    assert found is not None, "backend/migrations/versions is empty"
    return found


def known() -> set[str]:
    """Every revision that this version of the code can start from."""
    return {script.revision for script in ScriptDirectory.from_config(config()).walk_revisions()}


def current(connection: Connection) -> str | None:
    """The revision of a database; None for one that was never migrated."""
    return MigrationContext.configure(connection, opts=options()).get_current_revision()


def upgrade(admin_url: str) -> tuple[str | None, str]:
    """Make the roles and run the migrations that are missing. Returns the revision before and after.

    Raises UnknownRevision for a database of another version.
    """
    with psycopg.connect(conninfo(admin_url), connect_timeout=10) as roles:
        roles.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        ensure_roles(roles)
    engine = create_engine(admin_url)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"SELECT pg_advisory_lock({LOCK})")
            connection.commit()
            before = current(connection)
            connection.commit()
            if before is not None and before not in known():
                raise UnknownRevision(
                    f"The product tables are at revision {before}, which this version does not know. Before the first"
                    " release the tables are not carried over: start with --reset, or use a new database"
                )
            command.upgrade(config(connection), "head")
            connection.commit()
    finally:
        engine.dispose()
    with psycopg.connect(conninfo(admin_url), connect_timeout=10) as roles:
        close_gate(roles)
    return before, head()


def main() -> int:
    url = os.environ.get("TROUPE_ADMIN_DATABASE_URL")
    if not url:
        sys.stderr.write("TROUPE_ADMIN_DATABASE_URL is not set: the address of the database as its owner\n")
        return 2
    try:
        before, after = upgrade(url)
    except (OperationalError, psycopg.OperationalError) as error:
        reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
        sys.stderr.write(f"The database does not take the connection: {reason}\n")
        return 1
    except UnknownRevision as error:
        sys.stderr.write(f"{error}\n")
        return 1
    change = after if before == after else f"{before or 'new'} -> {after}"
    sys.stdout.write(f"schema {SCHEMA}: {change}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
