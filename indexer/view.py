"""What a view of schema `chain` is made of: its columns' kinds, its rows' key, and SQL that several views share.

A place is a row's position in the chain as an array, {block_number, log_index}: such arrays compare as the chain goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

BYTES = "bytea"
NUMBER = "numeric"
SMALL = "int8"
INDEX = "int4"
FLAG = "bool"
TEXT = "text"
JSON = "jsonb"

WRITTEN: Mapping[str, str] = {"block_number": SMALL, "log_index": INDEX}
"""The columns that every view has: where its row was last written, joinable to `chain.log`.

A row is written by each event about it, be it the first or one that changes what it says.
"""
CREATED: Mapping[str, str] = {"created_block": SMALL, "created_at": SMALL, "created_tx": BYTES}
"""Beside them where more than one event writes a row: block, time and transaction of the first."""


@dataclass(frozen=True)
class View:
    """A view of schema `chain`: its columns in order with their kinds (`schema.SQL_TYPES`), and its query.

    `key` are the columns by which one row is told from another; none where there is only one row.
    """

    name: str
    columns: Mapping[str, str]
    query: str
    key: tuple[str, ...]


def place(row: str) -> str:
    """The place of an event's row, by its name or alias in the query."""
    return f"ARRAY[{row}.block_number, {row}.log_index]"


def written(*places: str) -> str:
    """The columns of `WRITTEN` from places, of which the last counts; those that are NULL have not happened."""
    last = places[0] if len(places) == 1 else f"greatest({', '.join(places)})"
    return f"({last})[1] AS block_number, ({last})[2]::int AS log_index"


def created(row: str) -> str:
    """The columns of `CREATED` from an event's row."""
    return f"{row}.block_number AS created_block, {row}.block_time AS created_at, {row}.tx_hash AS created_tx"


def latest(table: str, key: str, value: str, *columns: str, name: str = "", where: str = "true") -> str:
    """A lateral join, called as its table or `name`, for the last event of `table` about `key`, and its `place`.

    An index in LOOKUPS carries it. `where` says more about the event, whose row is `e`.
    """
    wanted = ", ".join([*(f"e.{column}" for column in columns), f"{place('e')} AS place"])
    return (
        f"LEFT JOIN LATERAL (SELECT {wanted} FROM chain.{table} e WHERE e.{key} = {value} AND {where}"
        f" ORDER BY e.block_number DESC, e.log_index DESC LIMIT 1) {name or table} ON true"
    )
