"""Roles, schemas and the grants between them. Idempotent.

`chain` belongs to troupe_indexer, and troupe_backend reads it. `app` belongs to whoever migrates; troupe_backend reads
and writes rows there and changes no table. PostgreSQL itself refuses the rest.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

BACKEND = "troupe_backend"
INDEXER = "troupe_indexer"


def ensure_roles(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """Give the connected database its two roles and schemas; the caller commits.

    Needs a superuser, or the owner of the database with CREATEROLE. A new role has no password: where connections are
    made over TCP, set one by ALTER ROLE.
    """
    run = connection.execute
    for role in (BACKEND, INDEXER):
        if not run("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone():
            run(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
    run("CREATE EXTENSION IF NOT EXISTS vector")
    run("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    run(f"CREATE SCHEMA IF NOT EXISTS chain AUTHORIZATION {INDEXER}")
    run("CREATE SCHEMA IF NOT EXISTS app")
    run(f"GRANT USAGE ON SCHEMA chain, app TO {BACKEND}")
    run(f"GRANT SELECT ON ALL TABLES IN SCHEMA chain TO {BACKEND}")
    run(f"ALTER DEFAULT PRIVILEGES FOR ROLE {INDEXER} IN SCHEMA chain GRANT SELECT ON TABLES TO {BACKEND}")
    run(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA app TO {BACKEND}")
    run(f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA app TO {BACKEND}")
    rows = "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES"
    run(f"ALTER DEFAULT PRIVILEGES IN SCHEMA app {rows} TO {BACKEND}")
    run(f"ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT USAGE, SELECT ON SEQUENCES TO {BACKEND}")
