"""The database from Python: amounts as int, connections of psycopg for bulk work."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import psycopg
from sqlalchemy import Dialect, Numeric
from sqlalchemy.engine import make_url
from sqlalchemy.types import TypeDecorator

from indexer.errors import Fatal, Retryable

Connection = psycopg.Connection[tuple[Any, ...]]

WRITER_LOCK = 0x54524F5550454958
"""Key of the advisory lock that the one writer of the chain tables holds ("TROUPEIX")."""


class Uint256(TypeDecorator[int]):
    """NUMERIC(78,0), which holds every uint256 and int256; an `int` in Python, never a float or a Decimal."""

    impl = Numeric(78, 0)
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> Decimal | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"an amount is an int, not {value!r}")
        return Decimal(value)

    def process_result_value(self, value: Decimal | None, dialect: Dialect) -> int | None:
        return None if value is None else int(value)


def conninfo(url: str) -> str:
    """SQLAlchemy's URL of a PostgreSQL database as libpq takes it. Raises Fatal for any other database."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "postgresql":
        raise Fatal(f"The database must be PostgreSQL (postgresql+psycopg://...), not {parsed.get_backend_name()}")
    return parsed.set(drivername="postgresql").render_as_string(hide_password=False)


def connect(url: str, *, autocommit: bool = False) -> Connection:
    """A connection to `url`. Raises Retryable when the server cannot be reached."""
    try:
        return psycopg.connect(conninfo(url), autocommit=autocommit, connect_timeout=10, application_name="indexer")
    except psycopg.OperationalError as error:
        raise Retryable(f"The database does not answer: {' '.join(str(error).split())}") from error
