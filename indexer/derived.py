"""Rows made from an event's row when it is written, where a view would have to make them at every read.

Such a table is described in `indexer.schema` like the events': undo, rebuild, verify and indexes take it from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from indexer import schema
from indexer.errors import AbiMismatch

Row = tuple[Any, ...]


def batch_moves(row: Row) -> Iterator[Row]:
    """The members of an Items.TransferBatch, counted from 1: rows of `item_batch_move`. Raises AbiMismatch."""
    block_number, log_index, _, _, _, sender, to, ids, values = row
    if len(ids) != len(values):
        raise AbiMismatch(f"block {block_number:,}: a TransferBatch with {len(ids)} ids and {len(values)} values")
    for member, (item_id, amount) in enumerate(zip(ids, values, strict=True), start=1):
        yield block_number, log_index, member, int(item_id), sender, to, int(amount)


DERIVED: Mapping[tuple[str, str], tuple[schema.Table, Callable[[Row], Iterable[Row]]]] = {
    ("Items", "TransferBatch"): (schema.ITEM_BATCH_MOVE, batch_moves),
}
"""(contract, event) -> the table of what is made from its rows, and how."""
