"""The database: one engine a process with sync sessions, and an async psycopg pool for the measured hot routes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cached_property
from typing import Any

from anyio import to_thread
from psycopg import AsyncConnection, Connection, Cursor
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool
from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session, sessionmaker

STATEMENT_TIMEOUT_MS = 30_000
LOCK_TIMEOUT_MS = 10_000
_OPTIONS = f"-c timezone=UTC -c statement_timeout={STATEMENT_TIMEOUT_MS} -c lock_timeout={LOCK_TIMEOUT_MS}"

AsyncPool = AsyncConnectionPool[AsyncConnection[DictRow]]


def conninfo(url: str) -> str:
    """SQLAlchemy's URL as libpq and psycopg take it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


class InSession:
    """A sync session's transaction as far as async code speaks to a connection: its statements run in a thread, one by
    one. What is slower, and part of a transaction that somebody else began.
    """

    def __init__(self, session: Session) -> None:
        self._connection: Connection[Any] = session.connection().connection.driver_connection  # type: ignore[assignment]

    async def execute(self, query: str, parameters: Any = None) -> InSessionRows:
        """As psycopg's."""
        cursor = self._connection.cursor(row_factory=dict_row)
        await to_thread.run_sync(lambda: cursor.execute(query.encode(), parameters))
        return InSessionRows(cursor)

    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator[None]:
        """Nothing is sent together here."""
        yield


class InSessionRows:
    """What a statement returned; it has all been fetched."""

    def __init__(self, cursor: Cursor[DictRow]) -> None:
        self._cursor = cursor

    async def fetchone(self) -> DictRow | None:
        return self._cursor.fetchone()

    async def fetchall(self) -> list[DictRow]:
        return self._cursor.fetchall()


@asynccontextmanager
async def at_once(connection: AsyncConnection[DictRow]) -> AsyncIterator[None]:
    """Each statement within is a transaction of its own: one round trip, where BEGIN and COMMIT would be two more."""
    await connection.set_autocommit(True)
    try:
        yield
    finally:
        if not connection.closed:
            await connection.set_autocommit(False)


class Database:
    """Connections to one database. Nothing is opened before it is used; `close` ends what was."""

    def __init__(self, url: str, *, pool_size: int = 10, application_name: str = "troupe-backend") -> None:
        self.url = url
        self._connect: dict[str, Any] = {
            "options": _OPTIONS,
            "application_name": application_name,
            "connect_timeout": 10,
        }
        self._pool_size = pool_size

    @cached_property
    def engine(self) -> Engine:
        """The sync engine; a connection that the server has closed is noticed and replaced."""
        return create_engine(
            self.url,
            pool_size=self._pool_size,
            max_overflow=self._pool_size,
            pool_timeout=10,
            pool_pre_ping=True,
            connect_args=self._connect,
            hide_parameters=True,  # an error's text goes to the log, and parameters are what people sent
        )

    @cached_property
    def sessions(self) -> sessionmaker[Session]:
        """Makes sessions whose rows stay readable after the commit."""
        return sessionmaker(self.engine, expire_on_commit=False)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """One unit of work: committed at the end, rolled back when an exception leaves it."""
        with self.sessions.begin() as session:
            yield session

    @cached_property
    def async_pool(self) -> AsyncPool:
        """Async connections that return rows as dicts; opened by the application's lifespan."""
        return AsyncConnectionPool(
            conninfo(self.url),
            min_size=1,
            max_size=self._pool_size,
            timeout=10,
            kwargs=self._connect | {"row_factory": dict_row},
            open=False,
        )

    async def open(self) -> None:
        """Let the async pool connect, in the background: a database that is away makes requests fail, not the start."""
        await self.async_pool.open()

    async def close(self) -> None:
        """Close every connection."""
        if "async_pool" in self.__dict__:
            await self.async_pool.close()
        self.dispose()

    def dispose(self) -> None:
        """Close the sync connections."""
        if "engine" in self.__dict__:
            self.engine.dispose()
