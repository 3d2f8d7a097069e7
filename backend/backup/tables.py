"""Product tables out of a database and into one, as PostgreSQL's COPY text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql
from sqlalchemy import MetaData, Table

from backend.models.base import SCHEMA

Connection = psycopg.Connection[Any]

LEFT_OUT: Final = {
    "auth_session": "a session that was ended since would live again",
    "sign_in_nonce": "a nonce that was used since could be used again",
    "work_text": "read again from the files of the works on chain",
    "model_snapshot": "made anew from the rows that people still allow",
}
"""Tables that no backup holds, and why. A table may also say so itself: `info={"backup": False}`."""


@dataclass
class Copied:
    """How much was read of a table; whole once its pieces have been used up."""

    rows: int = 0


def kept(metadata: MetaData) -> list[Table]:
    """The tables that a backup holds, each after those that it refers to."""
    return [t for t in metadata.sorted_tables if t.name not in LEFT_OUT and t.info.get("backup", True)]


def columns(table: Table) -> list[str]:
    """A table's columns but for those that the database computes."""
    return [column.name for column in table.columns if column.computed is None]


def _named(table: str, names: Iterable[str]) -> sql.Composed:
    return sql.SQL("{} ({})").format(sql.Identifier(SCHEMA, table), sql.SQL(", ").join(map(sql.Identifier, names)))


def read(connection: Connection, table: Table, copied: Copied) -> Iterator[bytes]:
    """A table's rows in pieces; their number is in `copied` at the end."""
    with connection.cursor() as cursor:
        with cursor.copy(sql.SQL("COPY {} TO STDOUT").format(_named(table.name, columns(table)))) as copy:
            for piece in copy:
                yield bytes(piece)
        copied.rows = cursor.rowcount


def write(connection: Connection, table: str, names: Iterable[str], pieces: Iterable[bytes]) -> int:
    """Add rows to a table; returns how many. Raises psycopg.Error for rows that don't fit it."""
    with connection.cursor() as cursor:
        with cursor.copy(sql.SQL("COPY {} FROM STDIN").format(_named(table, names))) as copy:
            for piece in pieces:
                copy.write(piece)
        return cursor.rowcount


def sequences(connection: Connection) -> dict[str, int]:
    """Where the sequences of the product tables stand, so that no number is given out twice."""
    rows = connection.execute(
        "SELECT sequencename, coalesce(last_value, 0) FROM pg_sequences WHERE schemaname = %s", (SCHEMA,)
    ).fetchall()
    return {str(name): int(value) for name, value in rows}


def set_sequences(connection: Connection, standing: dict[str, int]) -> None:
    """Let every sequence go on after where it stood."""
    for name in sequences(connection):
        if value := standing.get(name):
            connection.execute("SELECT setval(%s::regclass, %s)", (f'{SCHEMA}."{name}"', value))
