"""Roles, schemas and the grants between them. Idempotent.

`chain` belongs to troupe_indexer, and troupe_backend reads it. `app` belongs to whoever migrates; troupe_backend reads
and writes rows there and changes no table. Tables behind the gate (backend.models.marks.Gated) are open to troupe_gate
alone, a role that nobody signs in as and that troupe_backend has to take by name. PostgreSQL itself refuses the rest.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

from backend.models import registry
from backend.models.marks import Gated

BACKEND = "troupe_backend"
GATE = "troupe_gate"
INDEXER = "troupe_indexer"


def ensure_roles(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """Give the connected database its two roles and schemas; the caller commits.

    Needs a superuser, or the owner of the database with CREATEROLE. A new role has no password: where connections are
    made over TCP, set one by ALTER ROLE.
    """
    run = connection.execute
    for role, may in ((BACKEND, "LOGIN"), (INDEXER, "LOGIN"), (GATE, "NOLOGIN")):
        if not run("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone():
            run(sql.SQL("CREATE ROLE {} {}").format(sql.Identifier(role), sql.SQL(may)))
    if run("SELECT NOT pg_has_role(%s, %s, 'SET')", (BACKEND, GATE)).fetchone() == (True,):
        run(f"GRANT {GATE} TO {BACKEND} WITH INHERIT FALSE, SET TRUE")
    run("CREATE EXTENSION IF NOT EXISTS vector")
    run("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    run(f"CREATE SCHEMA IF NOT EXISTS chain AUTHORIZATION {INDEXER}")
    run("CREATE SCHEMA IF NOT EXISTS app")
    run(f"GRANT USAGE ON SCHEMA chain, app TO {BACKEND}, {GATE}")
    run(f"GRANT SELECT ON ALL TABLES IN SCHEMA chain TO {BACKEND}, {GATE}")
    run(f"ALTER DEFAULT PRIVILEGES FOR ROLE {INDEXER} IN SCHEMA chain GRANT SELECT ON TABLES TO {BACKEND}, {GATE}")
    run(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA app TO {BACKEND}, {GATE}")
    run(f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA app TO {BACKEND}, {GATE}")
    rows = "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES"
    run(f"ALTER DEFAULT PRIVILEGES IN SCHEMA app {rows} TO {BACKEND}, {GATE}")
    run(f"ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT USAGE, SELECT ON SEQUENCES TO {BACKEND}, {GATE}")
    close_gate(connection)


def close_gate(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """Take the tables behind the gate from the backend's own role; the caller commits."""
    for table in registry.load().sorted_tables:
        found = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (table.fullname,)).fetchone()
        if isinstance(table.info.get("personal"), Gated) and found == (True,):
            connection.execute(sql.SQL("REVOKE ALL ON {} FROM {}").format(sql.SQL(table.fullname), sql.SQL(BACKEND)))
