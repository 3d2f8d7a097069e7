"""Word to whoever listens (`LISTEN chain`) that the mirror has moved. PostgreSQL sends it when the transaction commits.

Payloads are JSON objects: `{"kind": "blocks", "first", "head", "hash", "time", "final", "events": [...]}` with names
like "RevenueLedger.PaymentReceived"; `{"kind": "undo", "first"}` names the first block that was taken back;
`{"kind": "final", "final"}`; `{"kind": "contracts", "names"}` names contracts whose past logs were added;
`{"kind": "rebuilt"}` says that the mirror was emptied and begins anew: all that was told before is void;
`{"kind": "reindexed", "first"}` that rows of blocks from `first` on were wrong and are put right.

Each message is also a row of `chain.outbox`, written in the same transaction; its number is the message's "id". Who was
away reads on from the last id that it handled. The last `KEPT` rows are kept; who was away longer begins anew with
`chain.cursor`. The numbers go on over a rebuild, which leaves no row but its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from indexer.chain import Header
from indexer.connection import Connection

CHANNEL = "chain"
PAYLOAD_LIMIT = 7900
"""Bytes; PostgreSQL takes fewer than 8,000."""


KEPT = 100_000
"""Messages of the outbox."""


def _send(connection: Connection, payload: dict[str, Any]) -> None:
    row = connection.execute(
        "INSERT INTO chain.outbox (message) VALUES (%s::jsonb) RETURNING id", (orjson.dumps(payload).decode(),)
    ).fetchone()
    number = row[0] if row else 0
    connection.execute("DELETE FROM chain.outbox WHERE id <= %s", (number - KEPT,))
    payload["id"] = number
    if len(orjson.dumps(payload)) > PAYLOAD_LIMIT:
        payload["events"] = None
    connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, orjson.dumps(payload).decode()))


def blocks(connection: Connection, first: int, head: Header, final: int, events: Sequence[str]) -> None:
    """Blocks `first` to `head` are mirrored. Too many event names for one notice are left out of it (null)."""
    payload: dict[str, Any] = {
        "kind": "blocks",
        "first": first,
        "head": head.number,
        "hash": "0x" + head.hash.hex(),
        "time": head.time,
        "final": final,
        "events": sorted(events),
    }
    _send(connection, payload)


def undo(connection: Connection, first: int) -> None:
    """The chain took back block `first` and all above it."""
    _send(connection, {"kind": "undo", "first": first})


def final(connection: Connection, number: int) -> None:
    """Blocks up to `number` are final; the head has not moved."""
    _send(connection, {"kind": "final", "final": number})


def contracts(connection: Connection, names: Sequence[str]) -> None:
    """All that these contracts have logged so far was added to blocks that were mirrored before."""
    _send(connection, {"kind": "contracts", "names": list(names)})


def reindexed(connection: Connection, first: int) -> None:
    """Rows of blocks from `first` on were not as the chain has them, and are now."""
    _send(connection, {"kind": "reindexed", "first": first})


def last_id(connection: Connection) -> int:
    """The number of the last message; 0 when there was none."""
    row = connection.execute("SELECT max(id) FROM chain.outbox").fetchone()
    return row[0] or 0 if row else 0


def rebuilt(connection: Connection, after: int) -> None:
    """The mirror is empty and begins anew; in its new outbox the numbers go on above `after`."""
    connection.execute(f"ALTER TABLE chain.outbox ALTER COLUMN id RESTART WITH {after + 1}".encode())
    _send(connection, {"kind": "rebuilt"})
