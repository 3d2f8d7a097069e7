"""The gate: the one place through which rows about persons are read.

A `Read` is a statement with a reader's name, the purpose it serves and the consents it needs. The gate runs it as

    WITH allowed AS (who allows it now, and did not freeze their data), noted AS (count it in app.data_use) SELECT ...

so that consent is looked at in the same statement that reads (promise V11) and nothing is read that the person cannot
see in their log. All reads stand in backend/consent/reads.py. PostgreSQL refuses the tables to the backend's own role;
`GATE` may read them, and only this package takes that role (docs/decisions/gate-role.md).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final, Literal, NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import DictRow
from sqlalchemy import Column, Table, text
from sqlalchemy.orm import Session

from backend.consent.purposes import NOTICES, Purpose
from backend.migrations.roles import GATE
from backend.models.base import Base
from backend.models.engagement import NOBODY
from backend.models.marks import Gated

ENTER: Final = f"SET LOCAL ROLE {GATE}"
ENTER_ASYNC: Final = (
    f"SELECT set_config('role', '{GATE}', true), set_config('synchronous_commit', 'off', true)"  # both as SET LOCAL
)
"""For what is sent together: the role, and no disk before the answer."""
LEAVE: Final = "RESET ROLE"
SERVICE: Final = "service"
"""What the log calls a use that the service itself needs, and that is not asked for."""

Who = Literal["one", "everybody", "sums"]


def allows_sql(purpose: Purpose, person: str) -> str:
    """Whether a person allows a purpose, as an SQL expression: the newest answer is yes, to a notice that counts today.

    `person` is an SQL expression for the pseudonym, never what a caller sent.
    """
    notice = NOTICES[purpose]
    return f"""COALESCE((
        SELECT r.granted AND r.notice_version BETWEEN {notice.accepts} AND {notice.version}
        FROM app.consent_receipt r WHERE r.person_id = {person} AND r.purpose = '{purpose.value}'
        ORDER BY r.number DESC LIMIT 1
    ), false)"""


def not_frozen_sql(person: str) -> str:
    """Whether a person did not freeze their data, as an SQL expression."""
    return f"NOT EXISTS (SELECT FROM app.restriction f WHERE f.person_id = {person})"


@dataclass(frozen=True)
class Read:
    """One statement on rows about persons.

    `who`: "one" reads about the person of the call; "everybody" about each person that `people` names; "sums" gives
    sums over them, in which no row is one person's, and is counted once for all.
    """

    reader: str
    """A name for the log, `part.what`."""
    what: str
    """What is read and what for, in a person's words."""
    needs: tuple[Purpose, ...]
    """Consents that must all hold."""
    sql: str
    """A SELECT that takes its persons from `allowed(person_id)`."""
    purpose: str = SERVICE
    """What the log says; one of `needs`, or SERVICE."""
    who: Who = "one"
    people: str = "SELECT %(person)s::uuid AS person_id"
    """A SELECT of `person_id`: whom the read is about, if they allow it."""
    also: str = "true"
    """A further condition on `p.person_id`."""
    own: bool = False
    """The person reads themselves: also what is frozen."""

    def __post_init__(self) -> None:
        if "allowed" not in self.sql:
            raise ValueError(f"{self.reader} reads past the gate: it must take its persons from `allowed`")
        if self.purpose != SERVICE and self.purpose not in self.needs:
            raise ValueError(f"{self.reader} says it serves {self.purpose}, and does not ask for it")

    @cached_property
    def statement(self) -> str:
        """The whole statement, with psycopg's named parameters: `now`, `person` where it is about one, and its own."""
        conditions = [*(allows_sql(purpose, "p.person_id") for purpose in self.needs), self.also]
        if not self.own:
            conditions.append(not_frozen_sql("p.person_id"))
        persons = f"SELECT '{NOBODY}'::uuid AS person_id" if self.who == "sums" else "SELECT person_id FROM allowed"
        return f"""
WITH allowed AS MATERIALIZED (
    SELECT p.person_id FROM ({self.people}) p WHERE {" AND ".join(conditions)}
), noted AS (
    INSERT INTO app.data_use AS u (person_id, day, reader, purpose, times, first_at, last_at)
    SELECT person_id, (%(now)s::timestamptz AT TIME ZONE 'UTC')::date, '{self.reader}', '{self.purpose}',
           1, %(now)s, %(now)s
    FROM ({persons}) w ORDER BY person_id  -- always in this order: two who count the same persons never deadlock
    ON CONFLICT (person_id, day, reader, purpose)
    DO UPDATE SET times = u.times + 1, last_at = greatest(u.last_at, excluded.last_at)
)
{self.sql}
"""


@dataclass(frozen=True)
class Check:
    """A person's own switches and consents, looked at to know what may be read. It reads nothing else: not counted."""

    statement: str


# --- reading ----------------------------------------------------------------------------------------------------------


def read(
    session: Session, what: Read, *, now: datetime, person: uuid.UUID | None = None, **parameters: Any
) -> Sequence[Any]:
    """Run a read in the session's transaction; its rows. `person` is the pseudonym, for reads about one."""
    with entered(session):
        result = session.connection().exec_driver_sql(what.statement, _parameters(what, now, person, parameters))
        return result.all()


def look(session: Session, what: Check, *, now: datetime, person: uuid.UUID) -> Mapping[str, Any]:
    """A person's own switches and consents, in the session's transaction."""
    with entered(session):
        result = session.connection().exec_driver_sql(what.statement, _parameters(what, now, person, {}))
        return dict(result.mappings().one())


async def read_async(
    connection: AsyncConnection[DictRow],
    *reads: tuple[Read | Check, Mapping[str, Any]],
    now: datetime,
    person: uuid.UUID | None = None,
    before: Sequence[tuple[str, Mapping[str, Any]]] = (),
) -> list[list[DictRow]]:
    """Run reads in one round trip and in one transaction; the rows of each.

    `before` are statements of the backend's own role, sent along; their rows come first. Of a connection that commits
    each statement (db.at_once) the transaction is what was sent together, and the role ends with it.

    The log of uses needs no disk before the answer leaves: a crash of the server may lose its last half second.
    """
    cursors = []
    async with connection.pipeline():
        for statement, parameters in before:
            cursors.append(await connection.execute(statement.encode(), parameters))
        await connection.execute(ENTER_ASYNC)
        for what, parameters in reads:
            cursors.append(await connection.execute(what.statement, _parameters(what, now, person, parameters)))
        if not connection.autocommit:
            await connection.execute(LEAVE)
    return [await cursor.fetchall() for cursor in cursors]


def _parameters(
    what: Read | Check, now: datetime, person: uuid.UUID | None, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    if isinstance(what, Read) and (what.who == "one") != (person is not None):
        raise ValueError(f"{what.reader} is about {what.who}: name a person for one, and none for others")
    return {"now": now, "person": person, **parameters}


@contextmanager
def entered(session: Session) -> Iterator[None]:
    """Have the gate's role in the session's transaction. For the modules of this package alone.

    An error takes the transaction back to where it was, and the role with it.
    """
    session.flush()
    with session.begin_nested():
        session.execute(text(ENTER))
        yield
        session.flush()
        session.execute(text(LEAVE))


# --- a person's rows as a whole ---------------------------------------------------------------------------------------


def gated_tables() -> list[Table]:
    """The tables behind the gate, by name."""
    tables = Base.metadata.sorted_tables
    return sorted((t for t in tables if isinstance(t.info.get("personal"), Gated)), key=lambda table: table.name)


def own_rows(table: Table) -> Read:
    """The read of all a person's rows of a table, for the person: what an export is made of."""
    mark = table.info["personal"]
    order = ", ".join(f"t.{column.name}" for column in table.primary_key)
    return Read(
        reader=f"you.{table.name}",
        what=f"You asked for {mark.what}.",
        needs=(),
        sql=f"SELECT t.* FROM {table.fullname} t JOIN allowed ON allowed.person_id = t.{mark.person} ORDER BY {order}",
        own=True,
    )


def own_count(table: Table) -> Read:
    """How many rows of a table are a person's, for the person."""
    mark = table.info["personal"]
    return Read(
        reader=f"you.{table.name}",
        what=f"You asked for {mark.what}.",
        needs=(),
        sql=f"SELECT count(*) FROM {table.fullname} t JOIN allowed ON allowed.person_id = t.{mark.person}",
        own=True,
    )


def own_page(table: Table, key: Sequence[Column[Any]], *, after: bool, limit: int) -> Read:
    """As `own_rows`, so many rows in the order of `key`; `after`: those behind the key `after_0`, `after_1`, ..."""
    mark = table.info["personal"]
    names = ", ".join(f"t.{column.name}" for column in key)
    given = ", ".join(f"%(after_{number})s" for number in range(len(key)))
    return Read(
        reader=f"you.{table.name}",
        what=f"You asked for {mark.what}.",
        needs=(),
        sql=f"SELECT t.* FROM {table.fullname} t JOIN allowed ON allowed.person_id = t.{mark.person}"
        f" WHERE {f'({names}) > ({given})' if after else 'true'} ORDER BY {names} LIMIT {int(limit)}",
        own=True,
    )


class Traces(NamedTuple):
    """What may have been learned from a person."""

    first_event_at: datetime | None
    """When the oldest event came that is kept; None where there is none."""
    impressions: bool
    """Whether any slate is kept."""


def traces(session: Session, person: uuid.UUID) -> Traces:
    """What may have been learned from a person's rows, looked at right before `forget` drops them, and their log."""
    with entered(session):
        row = (
            session.connection()
            .exec_driver_sql(
                "SELECT (SELECT min(received_at) FROM app.engagement_event WHERE person_id = %(person)s),"
                " EXISTS (SELECT FROM app.impression WHERE person_id = %(person)s)",
                {"person": person},
            )
            .one()
        )
        return Traces(*row)


def forget(session: Session, persons: Iterable[uuid.UUID]) -> int:
    """Delete every row about these persons behind the gate; how many rows."""
    gone = list(persons)
    with entered(session):
        return sum(
            session.connection()
            .exec_driver_sql(
                f"DELETE FROM {table.fullname} WHERE {table.info['personal'].person} = ANY(%(gone)s)", {"gone": gone}
            )
            .rowcount
            for table in gated_tables()
        )


def freeze(session: Session, person: uuid.UUID, *, now: datetime) -> None:
    """Let nothing about a person be read from the next statement on, but by the person; it stays where it is."""
    with entered(session):
        session.connection().exec_driver_sql(
            "INSERT INTO app.restriction (person_id, since) VALUES (%(person)s, %(now)s) ON CONFLICT DO NOTHING",
            {"person": person, "now": now},
        )


def thaw(session: Session, person: uuid.UUID) -> None:
    """Lift a person's freeze."""
    with entered(session):
        session.connection().exec_driver_sql(
            "DELETE FROM app.restriction WHERE person_id = %(person)s", {"person": person}
        )


def frozen_since(session: Session, person: uuid.UUID) -> datetime | None:
    """Since when a person's data is frozen; None when it is not."""
    with entered(session):
        found: datetime | None = (
            session.connection()
            .exec_driver_sql("SELECT since FROM app.restriction WHERE person_id = %(person)s", {"person": person})
            .scalar_one_or_none()
        )
        return found
