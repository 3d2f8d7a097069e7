"""Schema `chain` in the database: made from the metadata, marked with its fingerprint, made anew when that differs.

There are no step-by-step migrations: the mirror can always be made again, from its raw logs or from the chain.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import NamedTuple

import psycopg
from psycopg import sql

from indexer import schema, views
from indexer.connection import Connection, connect
from indexer.errors import Fatal, Retryable, StaleMirror

WRITER = "troupe_indexer"
READER = "troupe_backend"
REMEDY = "run `python -m indexer rebuild`"


def core_statements() -> list[str]:
    """DDL of the mirror's own tables."""
    statements = [line for table in schema.CORE for line in table.ddl()]
    # the empty blocks above finality, which are removed when they become final
    return [*statements, "CREATE INDEX ix_block_empty ON chain.block (number) WHERE log_count = 0"]


def event_statements() -> list[str]:
    """DDL of the event tables, and of those derived from them."""
    return [line for table in schema.typed() for line in table.ddl()]


def view_statements() -> list[str]:
    """DDL of the views and of the indexes behind them, which can be made anew at any time."""
    return [*views.indexes().values(), *(f"CREATE VIEW chain.{view.name} AS {view.query}" for view in views.VIEWS)]


class Fingerprint(NamedTuple):
    """Hashes of the DDL: what differs says what has to be made anew."""

    core: str
    events: str
    views: str

    @property
    def text(self) -> str:
        return ".".join(self)


@cache
def expected() -> Fingerprint:
    """The fingerprint of this code and its ABIs."""

    def digest(statements: list[str]) -> str:
        return hashlib.sha256("\n".join(statements).encode()).hexdigest()[:16]

    return Fingerprint(digest(core_statements()), digest(event_statements()), digest(view_statements()))


def present(connection: Connection) -> Fingerprint | None:
    """The fingerprint of the mirror in the database; None when there is no mirror."""
    if connection.execute("SELECT to_regclass('chain.fingerprint')").fetchone() == (None,):
        return None
    row = connection.execute("SELECT value FROM chain.fingerprint").fetchone()
    parts = str(row[0]).split(".") if row else []
    return Fingerprint(*parts) if len(parts) == len(Fingerprint._fields) else Fingerprint("", "", "")


def require_current(connection: Connection) -> None:
    """Raise Fatal unless the mirror in the database was made for this code and its ABIs."""
    found = present(connection)
    if found is None:
        raise Fatal("The database has no chain tables yet: run `python -m indexer migrate`")
    if (found.core, found.events) != (expected().core, expected().events):
        raise StaleMirror(f"The chain tables were made for other contract ABIs than these: {REMEDY}")
    if found.views != expected().views:
        raise StaleMirror("The views of the chain tables are of another version: run `python -m indexer migrate`")


def _run(connection: Connection, statements: list[str]) -> None:
    for statement in statements:
        connection.execute(statement.encode())


def _mark(connection: Connection) -> None:
    connection.execute(
        "INSERT INTO chain.fingerprint (id, value) VALUES (1, %s)"
        " ON CONFLICT (id) DO UPDATE SET value = excluded.value",
        (expected().text,),
    )


def _grant(connection: Connection) -> None:
    if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (READER,)).fetchone():
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA chain TO {READER}")


def _names(connection: Connection, kinds: str) -> list[str]:
    """Names of the relations of schema chain whose pg_class.relkind is one of `kinds`."""
    rows = connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'chain'::regnamespace AND relkind = ANY(%s::\"char\"[])"
        " ORDER BY relname",
        (list(kinds),),
    )
    return [str(name) for (name,) in rows]


def tables(connection: Connection) -> frozenset[str]:
    """The tables of schema chain."""
    return frozenset(_names(connection, "r"))


def drop_views(connection: Connection) -> None:
    """Remove every view of schema chain, and the indexes of LOOKUPS."""
    for name in _names(connection, "v"):
        connection.execute(sql.SQL("DROP VIEW IF EXISTS chain.{} CASCADE").format(sql.Identifier(name)))
    for name in _names(connection, "i"):
        if name.startswith("ix_") and name != "ix_block_empty":
            connection.execute(sql.SQL("DROP INDEX chain.{}").format(sql.Identifier(name)))


def drop_tables(connection: Connection, *, keep: frozenset[str] = frozenset()) -> None:
    """Remove the tables of schema chain but those in `keep`."""
    for name in _names(connection, "r"):
        if name not in keep:
            connection.execute(sql.SQL("DROP TABLE chain.{} CASCADE").format(sql.Identifier(name)))


def create_core(connection: Connection) -> None:
    _run(connection, core_statements())


def create_events(connection: Connection) -> None:
    _run(connection, event_statements())


def create_views(connection: Connection) -> None:
    """Make the views and indexes, mark the mirror with its fingerprint, and let the backend read it."""
    _run(connection, view_statements())
    _mark(connection)
    _grant(connection)


def prepare_roles(admin_url: str) -> None:
    """Make the two roles and schema `chain` where they are missing, and let the backend read there.

    Raises Fatal when the administrator may not do so.
    """
    try:
        with connect(admin_url) as connection:
            for role in (WRITER, READER):
                if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone():
                    connection.execute(f"CREATE ROLE {role} LOGIN")
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS chain AUTHORIZATION {WRITER}")
            connection.execute(f"GRANT USAGE ON SCHEMA chain TO {READER}")
            connection.execute(
                f"ALTER DEFAULT PRIVILEGES FOR ROLE {WRITER} IN SCHEMA chain GRANT SELECT ON TABLES TO {READER}"
            )
    except psycopg.errors.InsufficientPrivilege as error:
        raise Fatal(f"The role in TROUPE_ADMIN_DATABASE_URL may not prepare the database: {error}") from error


def migrate(database_url: str, admin_url: str | None = None) -> str:
    """Make the chain tables, or renew their views. Returns what was done, in a few words.

    Raises StaleMirror when the tables were made for other ABIs, Fatal when the role may not make them.
    """
    if admin_url is not None:
        prepare_roles(admin_url)
    try:
        with connect(database_url) as connection:
            return _migrate(connection)
    except psycopg.errors.InsufficientPrivilege as error:
        raise Fatal(
            f"The role in TROUPE_INDEXER_DATABASE_URL may not make tables in schema chain: {error}".strip()
        ) from error


def make_where_missing(database_url: str, admin_url: str | None = None) -> None:
    """Make the chain tables if there are none at all: who deleted them wants them again. Raises as `migrate` does.

    A database that does not answer is left to whoever goes on and waits for it.
    """
    try:
        with connect(database_url) as connection:
            found = present(connection)
    except Retryable:
        return
    if found is None:
        migrate(database_url, admin_url)


def _migrate(connection: Connection) -> str:
    if connection.execute("SELECT to_regnamespace('chain')").fetchone() == (None,):
        raise Fatal("The database has no schema chain: give TROUPE_ADMIN_DATABASE_URL to `python -m indexer migrate`")
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('chain schema'))")
    found = present(connection)
    if found is None:
        create_core(connection)
        create_events(connection)
        create_views(connection)
        return "chain tables made"
    if (found.core, found.events) != (expected().core, expected().events):
        raise StaleMirror(f"The chain tables were made for other contract ABIs than these: {REMEDY}")
    if found.views != expected().views:
        drop_views(connection)
        create_views(connection)
        return "views renewed"
    _grant(connection)
    return "chain tables are up to date"
