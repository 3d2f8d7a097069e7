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

from backend.consent.purposes import Purpose
from backend.consent.service import allows_sql
from backend.engagement.schemas import BatchOut, EventIn, EventOut
from backend.models.engagement import NOBODY
from backend.rewards.calendar import INTAKE_LOCK

_INTAKE = f"""
WITH present AS MATERIALIZED (  -- until this commits nobody ends the account, or brings its events to another
    SELECT FROM app.account WHERE id = %(account)s::uuid FOR KEY SHARE
), who AS MATERIALIZED (
    SELECT CASE WHEN EXISTS (SELECT FROM present) AND {allows_sql(Purpose.BEHAVIOUR, "%(account)s::uuid")}
           THEN %(account)s::uuid ELSE %(nobody)s::uuid END AS person_id
), sent AS MATERIALIZED (
    SELECT DISTINCT ON (event_id) event_id, work_id, kind, at, duration_ms, completion_bps,
           CASE WHEN who.person_id = %(nobody)s::uuid THEN nameless_id ELSE event_id END AS kept_id,
           CASE WHEN who.person_id = %(nobody)s::uuid THEN nameless_digest ELSE named_digest END AS digest
    FROM who, unnest(%(ids)s::uuid[], %(works)s::bigint[], %(kinds)s::text[], %(ats)s::timestamptz[],
                     %(durations)s::int[], %(completions)s::int[], %(digests)s::bytea[],
                     %(nameless_ids)s::uuid[], %(nameless_digests)s::bytea[])
         WITH ORDINALITY AS e(event_id, work_id, kind, at, duration_ms, completion_bps, named_digest,
                              nameless_id, nameless_digest, place)
    ORDER BY event_id, place
), opened AS MATERIALIZED (  -- an epoch that has been fixed takes nothing more, whatever the chain's clock says
    SELECT greatest(%(epoch)s, (SELECT coalesce(max(f.epoch), 0) + 1 FROM app.reward_epoch f)) AS epoch
), known AS (
    SELECT sent.* FROM sent
    WHERE EXISTS (SELECT FROM chain.work_registry_work_registered w WHERE w.work_id = sent.work_id)
), added AS (
    INSERT INTO app.engagement_event
        (person_id, event_id, work_id, kind, at, received_at, duration_ms, completion_bps, epoch, digest)
    SELECT who.person_id, kept_id, work_id, kind,
           CASE WHEN who.person_id = %(nobody)s::uuid THEN date_trunc('hour', at) ELSE at END,
           CASE WHEN who.person_id = %(nobody)s::uuid THEN date_trunc('hour', %(now)s::timestamptz) ELSE %(now)s END,
           duration_ms, completion_bps, opened.epoch, digest
    FROM known, who, opened
    ON CONFLICT (person_id, event_id) DO NOTHING
    RETURNING event_id AS kept_id
)
SELECT sent.event_id, who.person_id, opened.epoch, added.kept_id IS NOT NULL AS accepted,
       known.event_id IS NOT NULL AS known, there.digest IS NULL OR there.digest = sent.digest AS same
FROM who, opened, sent
LEFT JOIN known USING (event_id)
LEFT JOIN added ON added.kept_id = sent.kept_id
LEFT JOIN app.engagement_event there ON there.event_id = sent.kept_id
      AND there.person_id = (SELECT person_id FROM who)
"""


async def accept(
    connection: AsyncConnection[DictRow],
    *,
    account_id: uuid.UUID | None,
    events: list[EventIn],
    epoch: int,
    now: datetime,
) -> BatchOut:
    """Store a batch and say what became of every event; an id that comes twice in one batch counts as a duplicate.

    The person's consent to the purpose `behaviour` is read in the same statement that stores the rows (promise V11).
    `epoch` is the one that is open by the chain's clock; the lock makes the epoch's events a fixed set once it is
    fixed (backend.rewards.service.fix).
    """
    parameters: dict[str, Any] = {
        "account": account_id,
        "nobody": NOBODY,
        "ids": [event.id for event in events],
        "works": [event.work_id for event in events],
        "kinds": [event.kind.value for event in events],
        "ats": [event.at for event in events],
        "durations": [event.duration_ms for event in events],
        "completions": [event.completion_bps for event in events],
        "digests": [event.digest for event in events],
        "nameless_ids": [event.nameless_id for event in events],
        "nameless_digests": [event.nameless_digest for event in events],
        "now": now,
        "epoch": epoch,
    }
    await connection.execute("SELECT pg_advisory_xact_lock_shared(%s)", (INTAKE_LOCK,))
    rows = await (await connection.execute(_INTAKE, parameters)).fetchall()
    first: dict[uuid.UUID, bytes] = {}
    repeated = [event for event in events if first.setdefault(event.id, event.digest) != event.digest]
    refused = [EventOut(id=row["event_id"], outcome="unknown_work") for row in rows if not row["known"]]
    refused += [EventOut(id=row["event_id"], outcome="conflict") for row in rows if row["known"] and not row["same"]]
    refused += [EventOut(id=event.id, outcome="conflict") for event in repeated]
    accepted = sum(row["accepted"] for row in rows)
    person = rows[0]["person_id"]
    return BatchOut(
        accepted=accepted,
        duplicate=len(events) - accepted - len(refused),
        refused=refused,
        epoch=rows[0]["epoch"],
        counted_as="nobody" if person == NOBODY else "person",
    )


async def head_time(connection: AsyncConnection[DictRow]) -> int | None:
    """The timestamp of the newest mirrored block, in seconds: the chain's clock."""
    row = await (await connection.execute("SELECT head_time FROM chain.cursor")).fetchone()
    return None if row is None else int(row["head_time"])
