"""A person's own rows, page by page, as plain values: what an export is made of."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Column, RowMapping, Select, Table, func, select, tuple_
from sqlalchemy.orm import Session

from backend.consent.gate import gated_tables, own_count, own_page, read
from backend.models import registry
from backend.models.accounts import Account
from backend.models.marks import OfAccount
from backend.vault.vault import Place, Sealed, Tampered, Vault
from indexer.db import Uint256
from indexer.models import event_tables

MODELS: Final = registry.load()

PAGE: Final = 5_000
"""Rows in memory at once."""
SAFE_INTEGER: Final = 2**53
"""Beyond it, programs that read numbers as floats would change them."""
NOT_WORDS: Final = frozenset({"pseudonym", "salt"})
"""Sealed columns whose content is bytes."""
DOCUMENTS: Final = frozenset({"record"})
"""Sealed columns whose content is a JSON object of several values."""
HIDDEN: Final = frozenset({"token_hash", "previous_hash", "key_hash", "secret", "content_index"})
"""Columns that open doors, or serve look-ups, and tell the person nothing."""

Row = Mapping[str, Any] | RowMapping
Key = list[Any]


@dataclass(frozen=True)
class Owner:
    """Whose rows: the account, its pseudonym, its address."""

    account_id: uuid.UUID
    person: uuid.UUID | None
    address: bytes | None


@dataclass(frozen=True)
class Source:
    """One file of an export: its rows in a fixed order, from anywhere in it."""

    name: str
    words: str
    """What is in it, in a person's words."""
    columns: Sequence[str]
    count: Callable[[Session, Owner], int]
    page: Callable[[Session, Owner, Key | None], tuple[list[Row], Key | None]]
    """The rows after a key, and the key of the next page; None at the end."""


# --- values -----------------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """A value as JSON has it: bytes as 0x-hex, times in UTC, integers that are too large for a float as text."""
    shown: Any
    match value:
        case bool() | None | str() | float():
            shown = value
        case int():
            shown = value if abs(value) < SAFE_INTEGER else str(value)
        case bytes() | memoryview():
            shown = "0x" + bytes(value).hex()
        case datetime():
            shown = value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case list() | tuple():
            shown = [plain(item) for item in value]
        case dict():
            shown = {str(key): plain(item) for key, item in value.items()}
        case _:  # ids, days, decimals
            shown = str(value)
    return shown


def unsealed(vault: Vault, owner: Owner, column: Column[Any], row: Row) -> Any:
    """What a sealed column holds. Tables name a row by its primary key or by another id of it: each is tried."""
    value = row[column.name]
    if value is None:
        return None
    names = {str(item) for item in row.values() if isinstance(item, uuid.UUID | int | str) and item is not True}
    pk = "|".join(str(row[key.name]) for key in column.table.primary_key)
    for name in (pk, *sorted(names - {pk})):
        try:
            data = vault.unseal(owner.account_id, value, Place(column.table.name, name, column.name))
        except Tampered:
            continue
        return _words(column.name, data)
    raise Tampered(f"{column.table.name}.{column.name} of {pk} opens in no place of its row")


def _words(name: str, data: bytes) -> Any:
    if name in DOCUMENTS:
        return json.loads(data)
    if name not in NOT_WORDS:
        try:
            return data.decode()
        except UnicodeDecodeError:
            pass
    return "0x" + data.hex()


def shown(vault: Vault, owner: Owner, table: Table, row: Row) -> Row:
    """A row as its owner may have it."""
    return {
        column.name: plain(unsealed(vault, owner, column, row))
        if isinstance(column.type, Sealed)
        else cell(column, row)
        for column in table.columns
        if column.name not in HIDDEN
    }


def cell(column: Column[Any], row: Row) -> Any:
    """A column's plain value; an amount is text, however small it is."""
    value = row[column.name]
    return str(value) if isinstance(column.type, Uint256) and value is not None else plain(value)


def _columns(table: Table) -> list[str]:
    return [column.name for column in table.columns if column.name not in HIDDEN]


# --- sources ----------------------------------------------------------------------------------------------------------


def sources(vault: Vault) -> list[Source]:
    """Everything of a person that this installation keeps, and every event on chain that names their address."""
    marked = [table for table in MODELS.sorted_tables if isinstance(table.info.get("personal"), OfAccount)]
    accounts = [_of_account(vault, table, column) for table in marked if (column := owner_column(table)) is not None]
    return [*accounts, *(_gated(vault, table) for table in gated_tables()), _chain()]


def owner_column(table: Table) -> Column[Any] | None:
    """The column that says whose a row is: the account's id, or a reference to it."""
    if table is Account.__table__:
        return table.c.id
    return next((key.parent for key in table.foreign_keys if key.column is Account.__table__.c.id), None)


def _of_account(vault: Vault, table: Table, whose: Column[Any]) -> Source:
    key = [column for column in table.primary_key if column is not whose] or list(table.primary_key)

    def count(session: Session, owner: Owner) -> int:
        query = select(func.count()).select_from(table).where(whose == owner.account_id)
        return session.scalar(query) or 0

    def page(session: Session, owner: Owner, after: Key | None) -> tuple[list[Row], Key | None]:
        query = _after(select(table).where(whose == owner.account_id), key, after)
        found = session.execute(query.limit(PAGE)).mappings().all()
        return [shown(vault, owner, table, row) for row in found], _next(found, key)

    return Source(table.name, table.info["personal"].what, _columns(table), count, page)


def _gated(vault: Vault, table: Table) -> Source:
    key = [column for column in table.primary_key if column.name != table.info["personal"].person]
    key = key or list(table.primary_key)

    def count(session: Session, owner: Owner) -> int:
        if owner.person is None:
            return 0
        return int(read(session, own_count(table), now=_now(session), person=owner.person)[0][0])

    def page(session: Session, owner: Owner, after: Key | None) -> tuple[list[Row], Key | None]:
        if owner.person is None:
            return [], None
        given = {f"after_{i}": value for i, value in enumerate(after or [])}
        what = own_page(table, key, after=after is not None, limit=PAGE)
        found = [row._mapping for row in read(session, what, now=_now(session), person=owner.person, **given)]
        return [shown(vault, owner, table, row) for row in found], _next(found, key)

    return Source(table.name, table.info["personal"].what, _columns(table), count, page)


def _now(session: Session) -> datetime:
    found = session.scalar(select(func.now()))
    assert isinstance(found, datetime)
    return found


def _after(query: Select[Any], key: Sequence[Column[Any]], after: Key | None) -> Select[Any]:
    if after is not None:
        values = (_typed(column, value) for column, value in zip(key, after, strict=True))
        query = query.where(tuple_(*key) > tuple_(*values))
    return query.order_by(*key)


def _typed(column: Column[Any], value: Any) -> Any:
    """A key's value as it was before `plain`."""
    match column.type.python_type:
        case found if found is uuid.UUID:
            return uuid.UUID(value)
        case found if found is bytes:
            return bytes.fromhex(value[2:])
        case found if found is datetime:
            return datetime.fromisoformat(value)
        case _:
            return value


def _next(found: Sequence[Row], key: Sequence[Column[Any]]) -> Key | None:
    """The key after a full page, as JSON keeps it."""
    if len(found) < PAGE:
        return None
    return [plain(found[-1][column.name]) for column in key]


# --- the chain --------------------------------------------------------------------------------------------------------

_PLACE: Final = ("block_number", "log_index", "tx_hash", "block_time")


def _chain() -> Source:
    """Every event that names the address: what it is, and where on chain anybody finds it."""
    tables = [(table, _addresses(table)) for table in event_tables()]
    tables = [(table, columns) for table, columns in tables if columns]

    def of(table: Table, columns: Sequence[Column[Any]], address: bytes) -> Select[Any]:
        named = columns[0] == address
        for column in columns[1:]:
            named |= column == address
        return select(table).where(named)

    def count(session: Session, owner: Owner) -> int:
        if owner.address is None:
            return 0
        queries = (of(table, columns, owner.address).subquery() for table, columns in tables)
        return sum(session.scalar(select(func.count()).select_from(query)) or 0 for query in queries)

    def page(session: Session, owner: Owner, after: Key | None) -> tuple[list[Row], Key | None]:
        if owner.address is None:
            return [], None
        number, last = (after[0], after[1:]) if after else (0, [])
        found: list[Row] = []
        for index in range(number, len(tables)):
            table, columns = tables[index]
            key = [table.c.block_number, table.c.log_index]
            query = _after(of(table, columns, owner.address), key, last or None).limit(PAGE - len(found))
            rows = session.execute(query).mappings().all()
            found += [_event(table, row) for row in rows]
            if len(found) == PAGE:
                return found, [index, rows[-1]["block_number"], rows[-1]["log_index"]]
            last = []
        return found, None

    words = "every event on chain that names your address, with its transaction, block and place in the block's log"
    return Source("chain_events", words, ["event", *_PLACE, "arguments"], count, page)


def _addresses(table: Table) -> list[Column[Any]]:
    """Columns that may hold an address: bytes of an argument. Those of 32 bytes never equal one of 20."""
    return [c for c in table.columns if c.name not in _PLACE and c.type.python_type is bytes]


def _event(table: Table, row: Row) -> Row:
    arguments = {c.name: cell(c, row) for c in table.columns if c.name not in _PLACE}
    return {"event": table.name, **{name: plain(row[name]) for name in _PLACE}, "arguments": arguments}


def pages(source: Source, session: Session, owner: Owner, after: Key | None = None) -> Iterator[list[Row]]:
    """All pages of a source from a place on, for those who need no rest between them."""
    while True:
        rows, after = source.page(session, owner, after)
        if rows:
            yield rows
        if after is None:
            return
