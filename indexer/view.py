"""What a view of schema `chain` is made of: its columns' kinds, and joins that several views share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

BYTES = "bytea"
NUMBER = "numeric"
SMALL = "int8"
INDEX = "int4"
FLAG = "bool"
TEXT = "text"


@dataclass(frozen=True)
class View:
    """A view of schema `chain`: its columns in order with their kinds (`schema.SQL_TYPES`), and its query."""

    name: str
    columns: Mapping[str, str]
    query: str


def latest(table: str, key: str, value: str, column: str) -> str:
    """A lateral join for the last event of `table` about `key`; an index in LOOKUPS carries it."""
    return (
        f"LEFT JOIN LATERAL (SELECT e.{column} FROM chain.{table} e WHERE e.{key} = {value}"
        f" ORDER BY e.block_number DESC, e.log_index DESC LIMIT 1) {table} ON true"
    )
