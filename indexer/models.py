"""The tables and views of schema `chain` for those who read them with SQLAlchemy.

    from indexer.models import event, view
    event("RevenueLedger", "PaymentReceived").c.work_id
    view("work").c.owner

What they hold is said in `indexer.schema` and `indexer.views`.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Integer, LargeBinary, MetaData, SmallInteger, Table, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine

from indexer import schema, views
from indexer.db import Uint256

UNDO = "undo"

metadata = MetaData(schema=schema.SCHEMA)
view_metadata = MetaData(schema=schema.SCHEMA)

TYPES: dict[str, TypeEngine[Any]] = {
    "bytea": LargeBinary(),
    "text": Text(),
    "bool": Boolean(),
    "int2": SmallInteger(),
    "int4": Integer(),
    "int8": BigInteger(),
    "numeric": Uint256(),
    "jsonb": JSONB(),
    "timestamptz": DateTime(timezone=True),
}
"""SQLAlchemy's type of each kind of column (`schema.SQL_TYPES`)."""


def _table(given: schema.Table) -> Table:
    columns = [
        Column(
            column.name,
            TYPES[column.kind],
            primary_key=column.name in given.key,
            autoincrement="IDENTITY" in column.more,
            nullable=False,
            comment=column.comment or None,
        )
        for column in given.columns
    ]
    info = {UNDO: given.undo} if given.undo else {}
    return Table(given.name, metadata, *columns, info=info, comment=given.comment)


block = _table(schema.BLOCK)
log = _table(schema.LOG)
cursor = _table(schema.CURSOR)
reorganisation = _table(schema.REORGANISATION)
outbox = _table(schema.OUTBOX)
fingerprint = _table(schema.FINGERPRINT)
_events = {key: _table(table) for key, table in schema.events().items()}
_derived = [_table(table) for table in schema.DERIVED]
_views = {
    each.name: Table(each.name, view_metadata, *(Column(name, TYPES[kind]) for name, kind in each.columns.items()))
    for each in views.VIEWS
}  # made at import: two threads of a server that made them at first use would define them twice


def event(contract: str, name: str) -> Table:
    """The table of a contract's event. Raises LookupError for one that the committed ABIs do not have."""
    try:
        return _events[contract, name]
    except KeyError:
        raise LookupError(f"no committed ABI has an event {contract}.{name}: see indexer/abi") from None


def event_tables() -> list[Table]:
    """All event tables."""
    return list(_events.values())


def view(name: str) -> Table:
    """A view of schema `chain` as a table to select from. Raises LookupError for one that does not exist."""
    try:
        return _views[name]
    except KeyError:
        raise LookupError(f"there is no view chain.{name}: see indexer/views.py") from None


def undo_columns() -> dict[str, str]:
    """Table -> block column, for every table that a reorganisation takes rows from."""
    return schema.undo_columns()
