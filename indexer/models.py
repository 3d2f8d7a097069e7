"""The tables of schema `chain`: one for each event of each committed ABI, and those of the mirror itself.

    from indexer.models import event, view
    event("RevenueLedger", "PaymentReceived").c.work_id
    view("work").c.owner

Event tables begin with `block_number, log_index, tx_hash, block_time`; the event's arguments follow in snake_case.
Every table that holds a block's rows names its block column in `info["undo"]`: a reorganisation deletes by it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine

from indexer import abi
from indexer.db import Uint256

SCHEMA = "chain"
UNDO = "undo"

metadata = MetaData(schema=SCHEMA)
view_metadata = MetaData(schema=SCHEMA)


def column_type(kind: str) -> TypeEngine[Any]:
    """SQLAlchemy's type of an event column's kind (see `indexer.abi.Column`)."""
    types: dict[str, type[TypeEngine[Any]]] = {
        "bytea": LargeBinary,
        "text": Text,
        "bool": Boolean,
        "int8": BigInteger,
        "numeric": Uint256,
        "jsonb": JSONB,
    }
    return types[kind]()


block = Table(
    "block",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("parent_hash", LargeBinary, nullable=False),
    Column("time", BigInteger, nullable=False, comment="the block's timestamp, seconds since 1970"),
    Column("log_count", Integer, nullable=False),
    Column("digest", LargeBinary, nullable=False, comment="of all logs up to and with this block, see indexer.digest"),
    info={UNDO: "number"},
    comment="every block with logs of ours, and every block that may still be replaced",
)

log = Table(
    "log",
    metadata,
    Column("block_number", BigInteger, primary_key=True, autoincrement=False),
    Column("log_index", Integer, primary_key=True, autoincrement=False),
    Column("tx_hash", LargeBinary, nullable=False),
    Column("address", LargeBinary, nullable=False),
    Column("topics", LargeBinary, nullable=False, comment="0 to 4 words of 32 bytes, joined"),
    Column("data", LargeBinary, nullable=False),
    info={UNDO: "block_number"},
    comment="the logs of our contracts as the chain has them",
)

cursor = Table(
    "cursor",
    metadata,
    Column("id", SmallInteger, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    Column("chain_id", BigInteger, nullable=False),
    Column("genesis_hash", LargeBinary, nullable=False),
    Column("contracts", JSONB, nullable=False, comment="name -> address of what is mirrored"),
    Column("start_block", BigInteger, nullable=False, comment="the first block that is mirrored"),
    Column("start_parent", LargeBinary, nullable=False, comment="hash of the block before it"),
    Column("head_number", BigInteger, nullable=False, comment="the last block that is mirrored"),
    Column("head_hash", LargeBinary, nullable=False),
    Column("head_time", BigInteger, nullable=False),
    Column("final_number", BigInteger, nullable=False, comment="the last mirrored block that the network calls final"),
    Column("log_count", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    comment="one row: how far the mirror is; it moves in the transaction that writes the rows",
)

reorganisation = Table(
    "reorganisation",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("first_block", BigInteger, nullable=False, comment="the first block that was replaced"),
    Column("old_head_number", BigInteger, nullable=False),
    Column("old_head_hash", LargeBinary, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    comment="what the chain took back, for readers that must know that their answers are void",
)

fingerprint = Table(
    "fingerprint",
    metadata,
    Column("id", SmallInteger, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    Column("value", Text, nullable=False),
    comment="of the tables and views, so that a mirror made for other ABIs is not taken for this one",
)


def _event_table(description: abi.Event) -> Table:
    return Table(
        description.table_name,
        metadata,
        Column("block_number", BigInteger, primary_key=True, autoincrement=False),
        Column("log_index", Integer, primary_key=True, autoincrement=False),
        Column("tx_hash", LargeBinary, nullable=False),
        Column("block_time", BigInteger, nullable=False),
        *(Column(column.name, column_type(column.kind), nullable=False) for column in description.columns),
        info={UNDO: "block_number"},
        comment=f"{description.contract}.{description.signature}",
    )


_events = {
    (contract, description.name): _event_table(description)
    for contract, descriptions in abi.contracts().items()
    for description in descriptions
}


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
    from indexer import views  # noqa: PLC0415  they are written over the tables above

    try:
        return views.tables()[name]
    except KeyError:
        raise LookupError(f"there is no view chain.{name}: see indexer/views.py") from None


def undo_columns() -> dict[str, str]:
    """Table -> block column, for every table that a reorganisation takes rows from."""
    return {table.name: table.info[UNDO] for table in metadata.sorted_tables if UNDO in table.info}
