"""Word to whoever listens (`LISTEN chain`) that the mirror has moved. PostgreSQL sends it when the transaction commits.

Payloads are JSON objects: `{"kind": "blocks", "first", "head", "hash", "time", "final", "events": [...]}` with names
like "RevenueLedger.PaymentReceived"; `{"kind": "undo", "first"}` names the first block that was taken back;
`{"kind": "final", "final"}`. A listener that was away reads `chain.cursor` and `chain.reorganisation`.
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


def _send(connection: Connection, payload: dict[str, Any]) -> None:
    connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, orjson.dumps(payload).decode()))


def blocks(connection: Connection, first: int, head: Header, final: int, events: Sequence[str]) -> None:
    """Blocks `first` to `head` are mirrored. Too many event names for one payload are left out (null)."""
    payload: dict[str, Any] = {
        "kind": "blocks",
        "first": first,
        "head": head.number,
        "hash": "0x" + head.hash.hex(),
        "time": head.time,
        "final": final,
        "events": sorted(events),
    }
    if len(orjson.dumps(payload)) > PAYLOAD_LIMIT:
        payload["events"] = None
    _send(connection, payload)


def undo(connection: Connection, first: int) -> None:
    """The chain took back block `first` and all above it."""
    _send(connection, {"kind": "undo", "first": first})


def final(connection: Connection, number: int) -> None:
    """Blocks up to `number` are final; the head has not moved."""
    _send(connection, {"kind": "final", "final": number})
