"""Connections of psycopg, for the indexer's own work."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from indexer.errors import Fatal, Retryable

Connection = psycopg.Connection[tuple[Any, ...]]

WRITER_LOCK = 0x54524F5550454958
"""Key of the advisory lock that the one writer of the chain tables holds ("TROUPEIX")."""


def conninfo(url: str) -> str:
    """SQLAlchemy's URL of a PostgreSQL database as libpq takes it. Raises Fatal for any other database."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Fatal("The database's URL has no such form as postgresql+psycopg://role@host/name") from None
    kind = parts.scheme.partition("+")[0]
    if kind != "postgresql":
        raise Fatal(f"The database must be PostgreSQL (postgresql+psycopg://...), not {kind or 'an empty URL'}")
    given: dict[str, Any] = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    given |= {
        name: unquote(value)
        for name, value in (
            ("user", parts.username),
            ("password", parts.password),
            ("host", parts.hostname),
            ("dbname", parts.path[1:]),
        )
        if value
    }
    return make_conninfo("", **given | ({"port": port} if port else {}))


PATIENCE: dict[str, Any] = {
    "application_name": "indexer",
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""A server that is gone without a word is noticed within half a minute, where the system would take hours. libpq's
names; seconds, the last in milliseconds; without meaning for a unix socket.
"""


def connect(url: str, *, autocommit: bool = False) -> Connection:
    """A connection to `url`. Raises Retryable when the server cannot be reached."""
    try:
        return psycopg.connect(make_conninfo("", **PATIENCE | conninfo_to_dict(conninfo(url))), autocommit=autocommit)
    except psycopg.OperationalError as error:
        raise Retryable(f"The database does not answer: {' '.join(str(error).split())}") from error
