"""What a view of schema `chain` is made of: its columns' types, and joins that several views share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Boolean, LargeBinary, Text
from sqlalchemy.types import TypeEngine

from indexer.db import Uint256

BYTES = LargeBinary()
NUMBER = Uint256()
SMALL = BigInteger()
FLAG = Boolean()
TEXT = Text()


@dataclass(frozen=True)
class View:
    """A view of schema `chain`: its columns in order with their types, and its query."""

    name: str
    columns: Mapping[str, TypeEngine[Any]]
    query: str


def latest(table: str, key: str, value: str, column: str) -> str:
    """A lateral join for the last event of `table` about `key`; an index in LOOKUPS carries it."""
    return (
        f"LEFT JOIN LATERAL (SELECT e.{column} FROM chain.{table} e WHERE e.{key} = {value}"
        f" ORDER BY e.block_number DESC, e.log_index DESC LIMIT 1) {table} ON true"
    )
