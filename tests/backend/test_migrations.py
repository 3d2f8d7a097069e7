"""The migration and the models say the same, and PostgreSQL holds the line between the two schemas."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from backend.migrations import autogenerate
from backend.migrations.upgrade import UnknownRevision, options, upgrade
from backend.models import registry
from stack.postgres import BACKEND, INDEXER, DatabaseUrls


def test_the_committed_migration_is_what_the_models_say() -> None:
    assert autogenerate.main(["--check"]) == 0, "run `.venv/app/bin/python -m backend.migrations.autogenerate`"


def test_a_migrated_database_has_the_models_tables(clean_db: DatabaseUrls) -> None:
    engine = create_engine(clean_db.admin)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options())
        differences = [
            difference
            for difference in compare_metadata(context, registry.load())
            if not (difference[0] == "remove_table" and difference[1].schema != "app")
        ]
    engine.dispose()
    assert differences == []


def test_a_second_migration_changes_nothing(clean_db: DatabaseUrls) -> None:
    before, after = upgrade(clean_db.admin)
    assert before == after


def test_tables_of_another_version_are_refused_with_the_remedy(new_database: Callable[[], DatabaseUrls]) -> None:
    urls = new_database()
    with psycopg.connect(urls.conninfo()) as connection:
        connection.execute("UPDATE app.alembic_version SET version_num = '0001_of_last_week'")
    with pytest.raises(UnknownRevision, match="start with --reset"):
        upgrade(urls.admin)


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        (BACKEND, "INSERT INTO chain.block (number, hash, parent_hash, time) VALUES (1, '', '', 0)"),
        (BACKEND, "DELETE FROM chain.cursor"),
        (BACKEND, "UPDATE chain.log SET data = ''"),
        (BACKEND, "CREATE TABLE chain.mine (n int)"),
        (BACKEND, "CREATE TABLE app.mine (n int)"),
        (BACKEND, "DROP TABLE app.auth_session"),
        (BACKEND, "CREATE TABLE public.mine (n int)"),
        (BACKEND, "CREATE ROLE mine"),
        (INDEXER, "SELECT * FROM app.account"),
        (INDEXER, "DELETE FROM app.auth_session"),
    ],
)
def test_the_database_refuses_what_a_role_may_not(role: str, statement: str, clean_db: DatabaseUrls) -> None:
    with psycopg.connect(clean_db.conninfo(role)) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement.encode())


def test_each_role_does_its_own_work(clean_db: DatabaseUrls) -> None:
    with psycopg.connect(clean_db.conninfo(BACKEND)) as connection:
        connection.execute("SELECT * FROM chain.cursor")
        connection.execute("INSERT INTO app.sign_in_nonce (nonce, expires_at) VALUES ('n', now())")
        connection.execute("DELETE FROM app.sign_in_nonce")
    with psycopg.connect(clean_db.conninfo(INDEXER)) as connection:
        connection.execute("DELETE FROM chain.cursor")
