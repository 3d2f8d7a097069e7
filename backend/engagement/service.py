"""Accept engagement events once, in any order, under a name only where the person allows it.

One statement does all of it, so that a crash leaves a batch whole or not there: it reads consent, finds the works that
exist, inserts what is new and reports what became of each event.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from backend.consent.writes import store_events
from backend.engagement.schemas import BatchOut, EventIn, EventOut
from backend.models.engagement import NOBODY
from backend.rewards.calendar import INTAKE_LOCK


async def accept(
    connection: AsyncConnection[DictRow],
    *,
    account_id: uuid.UUID | None,
    person: uuid.UUID | None,
    events: list[EventIn],
    epoch: int,
    now: datetime,
) -> BatchOut:
    """Store a batch and say what became of every event; an id that comes twice in one batch counts as a duplicate.

    `person` is the account's pseudonym, if it has one; without consent the events are nobody's. `epoch` is the one that
    is open by the chain's clock; the lock makes the epoch's events a fixed set once it is fixed
    (backend.rewards.service.fix).
    """
    parameters: dict[str, Any] = {
        "account": account_id,
        "person": person,
        "nobody": NOBODY,
        "ids": [event.id for event in events],
        "works": [event.work_id for event in events],
        "kinds": [event.kind.value for event in events],
        "ats": [event.at for event in events],
        "durations": [event.duration_ms for event in events],
        "completions": [event.completion_bps for event in events],
        "digests": [event.digest for event in events],
        "nameless_ids": [event.nameless_id for event in events],
        "slates": [event.slate_id for event in events],
        "devices": [event.device for event in events],
        "nameless_digests": [event.nameless_digest for event in events],
        "now": now,
        "epoch": epoch,
    }
    rows = await store_events(connection, parameters, lock=INTAKE_LOCK)
    first: dict[uuid.UUID, bytes] = {}
    repeated = [event for event in events if first.setdefault(event.id, event.digest) != event.digest]
    refused = [EventOut(id=row["event_id"], outcome="unknown_work") for row in rows if not row["known"]]
    refused += [EventOut(id=row["event_id"], outcome="conflict") for row in rows if row["known"] and not row["same"]]
    refused += [EventOut(id=event.id, outcome="conflict") for event in repeated]
    accepted = sum(row["accepted"] for row in rows)
    return BatchOut(
        accepted=accepted,
        duplicate=len(events) - accepted - len(refused),
        refused=refused,
        epoch=rows[0]["epoch"],
        counted_as="nobody" if rows[0]["person_id"] == NOBODY else "person",
    )


async def head_time(connection: AsyncConnection[DictRow]) -> int | None:
    """The timestamp of the newest mirrored block, in seconds: the chain's clock."""
    row = await (await connection.execute("SELECT head_time FROM chain.cursor")).fetchone()
    return None if row is None else int(row["head_time"])
