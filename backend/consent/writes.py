"""Statements that write rows about persons, and read nothing of them but what they are about to write."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import DictRow
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from backend.consent.gate import ENTER, ENTER_ASYNC, LEAVE, allows_sql, entered, not_frozen_sql
from backend.consent.purposes import Purpose
from backend.consent.reads import enough_slates_sql
from backend.db import at_once
from backend.models.engagement import PersonVoice
from backend.models.personalization import FeedSettings
from backend.models.rewards import RewardViewer
from backend.vault.vault import Place, Vault, place

_PERSON = "%(person)s::uuid"
_NOT_ERASING: Final = "NOT EXISTS (SELECT FROM app.erasure x WHERE x.account_id = %(account)s::uuid)"
_PRESENT: Final = "SELECT FROM app.account WHERE id = %(account)s::uuid FOR KEY SHARE"
"""Waited for by itself: a statement that waits within goes on with what it saw before, an erased person's consent."""

INTAKE: Final = f"""
WITH present AS MATERIALIZED (  -- until this commits nobody ends the account, or brings its events to another
    SELECT FROM app.account WHERE id = %(account)s::uuid AND {_NOT_ERASING} FOR KEY SHARE
), who AS MATERIALIZED (
    SELECT CASE WHEN EXISTS (SELECT FROM present) AND {_PERSON} IS NOT NULL
                 AND {allows_sql(Purpose.BEHAVIOUR, _PERSON)} AND {not_frozen_sql(_PERSON)}
           THEN {_PERSON} ELSE %(nobody)s::uuid END AS person_id,
           {allows_sql(Purpose.LOCATION_TIME, _PERSON)} AS placed,
           (SELECT f.territory FROM app.feed_settings f WHERE f.person_id = {_PERSON}) AS place
), sent AS MATERIALIZED (
    SELECT DISTINCT ON (event_id) event_id, work_id, kind, at, duration_ms, completion_bps,
           CASE WHEN who.person_id <> %(nobody)s::uuid THEN slate_id END AS slate_id,
           CASE WHEN who.person_id <> %(nobody)s::uuid AND who.placed THEN device END AS device,
           CASE WHEN who.person_id <> %(nobody)s::uuid AND who.placed THEN who.place END AS place,
           CASE WHEN who.person_id = %(nobody)s::uuid THEN nameless_id ELSE event_id END AS kept_id,
           CASE WHEN who.person_id = %(nobody)s::uuid THEN nameless_digest ELSE named_digest END AS digest
    FROM who, unnest(%(ids)s::uuid[], %(works)s::bigint[], %(kinds)s::text[], %(ats)s::timestamptz[],
                     %(durations)s::int[], %(completions)s::int[], %(digests)s::bytea[],
                     %(nameless_ids)s::uuid[], %(nameless_digests)s::bytea[], %(slates)s::uuid[],
                     %(devices)s::text[])
         WITH ORDINALITY AS e(event_id, work_id, kind, at, duration_ms, completion_bps, named_digest,
                              nameless_id, nameless_digest, slate_id, device, nth)
    ORDER BY event_id, nth
), opened AS MATERIALIZED (  -- an epoch that has been fixed takes nothing more, whatever the chain's clock says
    SELECT greatest(%(epoch)s, (SELECT coalesce(max(f.epoch), 0) + 1 FROM app.reward_epoch f)) AS epoch
), known AS (
    SELECT sent.* FROM sent
    WHERE EXISTS (SELECT FROM chain.work_registry_work_registered w WHERE w.work_id = sent.work_id)
), added AS (
    INSERT INTO app.engagement_event
        (person_id, event_id, work_id, kind, at, received_at, duration_ms, completion_bps, epoch, slate_id, digest,
         device, place)
    SELECT who.person_id, kept_id, work_id, kind,
           CASE WHEN who.person_id = %(nobody)s::uuid THEN date_trunc('hour', at) ELSE at END,
           CASE WHEN who.person_id = %(nobody)s::uuid THEN date_trunc('hour', %(now)s::timestamptz) ELSE %(now)s END,
           duration_ms, completion_bps, opened.epoch, slate_id, digest, known.device, known.place
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


async def store_events(
    connection: AsyncConnection[DictRow], parameters: Mapping[str, Any], *, lock: int
) -> list[DictRow]:
    """Store a batch of events under a shared advisory lock, in one round trip; what became of each.

    The person's consent to `behaviour` is read in the statement that stores the rows (promise V11): without it, and
    while the person's data is frozen, the events are nobody's.
    """
    async with connection.pipeline():
        await connection.execute("SELECT pg_advisory_xact_lock_shared(%s)", (lock,))
        await connection.execute(_PRESENT, parameters)
        await connection.execute(f"{ENTER}")
        cursor = await connection.execute(INTAKE, parameters)
        await connection.execute(LEAVE)
    return await cursor.fetchall()


KEEP_SLATE: Final = f"""
WITH present AS MATERIALIZED (  -- until this commits nobody ends the account, or brings its rows to another
    SELECT FROM app.account WHERE id = %(account)s::uuid AND {_NOT_ERASING} FOR KEY SHARE
)
INSERT INTO app.impression
    (person_id, slate_id, at, works, whys, propensities, choices, usual, configuration, model_version, arms, packaging)
SELECT {_PERSON}, %(slate)s, %(now)s, %(works)s::bigint[], %(whys)s::text[], %(propensities)s::float8[],
       %(choices)s::bigint[], %(usual)s::float8[], %(configuration)s, %(model_version)s::bigint,
       %(arms)s::jsonb, %(packaging)s::jsonb
FROM present WHERE {allows_sql(Purpose.BEHAVIOUR, _PERSON)} AND {not_frozen_sql(_PERSON)}
  AND NOT {enough_slates_sql(_PERSON)}
ON CONFLICT (person_id, slate_id) DO NOTHING
"""


async def keep_slate(connection: AsyncConnection[DictRow], parameters: Mapping[str, Any]) -> None:
    """Keep what was shown, in one round trip; nothing where consent does not hold in this very statement (V11).

    What is sent together is one transaction, and the role ends with it. The same slate again changes nothing. It needs
    no disk: of what is lost in a crash nobody was promised anything.
    """
    async with at_once(connection), connection.pipeline():
        await connection.execute(_PRESENT, parameters)
        await connection.execute(ENTER_ASYNC)
        await connection.execute(KEEP_SLATE, parameters)


def forget_slates(session: Session, *, before: datetime, limit: int = 5_000) -> int:
    """Delete slates that were shown before a moment, at most so many; how many."""
    with entered(session):
        return int(
            session.connection()
            .exec_driver_sql(
                "DELETE FROM app.impression i USING (SELECT person_id, slate_id FROM app.impression"
                " WHERE at < %(before)s ORDER BY at LIMIT %(limit)s) gone"
                " WHERE i.person_id = gone.person_id AND i.slate_id = gone.slate_id",
                {"before": before, "limit": limit},
            )
            .rowcount
        )


def set_feed(session: Session, *, person: uuid.UUID, values: Mapping[str, Any], now: datetime) -> None:
    """Keep a person's switches and limits: columns of `FeedSettings`; those not named stay as they are."""
    row = {**values, "changed_at": now}
    with entered(session):
        session.execute(
            insert(FeedSettings)
            .values(person_id=person, **{"enabled": True, **row})
            .on_conflict_do_update(index_elements=[FeedSettings.person_id], set_=row)
        )


def give_voice(session: Session, person: uuid.UUID) -> None:
    """Say that a person signs in with a wallet, and counts as one; that it is said again changes nothing."""
    with entered(session):
        session.execute(insert(PersonVoice).values(person_id=person).on_conflict_do_nothing())


class Viewer(NamedTuple):
    """Who is who in an epoch's published log."""

    person_id: uuid.UUID
    account_id: uuid.UUID
    salt: bytes
    tag: bytes
    verified: bool


def keep_viewers(session: Session, vault: Vault, epoch: int, viewers: Iterable[Viewer]) -> None:
    """Keep who is who in an epoch's published log, each salt sealed for its person."""
    with entered(session):
        session.add_all(
            RewardViewer(
                person_id=each.person_id,
                epoch=epoch,
                salt=vault.seal(each.account_id, each.salt, viewer_salt(each.person_id, epoch)),
                tag=each.tag,
                verified=each.verified,
            )
            for each in viewers
        )


def viewer_salt(person: uuid.UUID, epoch: int) -> Place:
    """Where the salt of a person's name in an epoch is sealed."""
    return place(RewardViewer.salt, f"{person}/{epoch}")


_PLACED: Final = allows_sql(Purpose.LOCATION_TIME, "%(person)s::uuid")


def hand_over(session: Session, *, visitor: uuid.UUID, person: uuid.UUID) -> int:
    """Make what a visitor did a person's, and the feed's settings where the person has none; how many events.

    An event that the person has by the same id stays as the person has it. What the visitor had forgotten stays so,
    work by work: a visitor's reset says nothing about what the person did elsewhere.
    """
    both = {"visitor": visitor, "person": person}
    with entered(session):
        run = session.connection().exec_driver_sql
        run(
            "INSERT INTO app.feed_forgotten AS t (person_id, work_id, at, topic)"
            " SELECT %(person)s, work_id, max(at), max(topic) FROM ("
            "   SELECT work_id, at, topic FROM app.feed_forgotten WHERE person_id = %(visitor)s UNION ALL"
            "   SELECT e.work_id, s.forgotten_at, NULL FROM app.feed_settings s JOIN app.engagement_event e"
            "   ON e.person_id = s.person_id AND e.received_at <= s.forgotten_at WHERE s.person_id = %(visitor)s"
            " ) f GROUP BY work_id"
            " ON CONFLICT (person_id, work_id) DO UPDATE SET at = greatest(t.at, excluded.at)",
            both,
        )
        moved = run(
            # where from and on what they did it stays with it only where the person allows that, too
            "UPDATE app.engagement_event e SET person_id = %(person)s, device = CASE WHEN may.be THEN e.device END,"
            f" place = CASE WHEN may.be THEN e.place END FROM (SELECT {_PLACED} AS be) may"
            " WHERE e.person_id = %(visitor)s AND NOT EXISTS"
            " (SELECT FROM app.engagement_event o WHERE o.person_id = %(person)s AND o.event_id = e.event_id)",
            both,
        ).rowcount
        run(
            # arms of experiments were drawn for the visitor: a person is in those of their own alone. Nor does the
            # bandit learn from them: many visitors that one wallet brings along would count as one who is known
            "UPDATE app.impression i SET person_id = %(person)s, arms = '{}', packaging = '[]'"
            " WHERE i.person_id = %(visitor)s"
            " AND NOT EXISTS (SELECT FROM app.impression o WHERE o.person_id = %(person)s AND o.slate_id = i.slate_id)",
            both,
        )
        run(
            "UPDATE app.feed_settings s SET person_id = %(person)s, forgotten_at = NULL, today_forgotten_at = NULL"
            " WHERE s.person_id = %(visitor)s AND NOT EXISTS"
            " (SELECT FROM app.feed_settings o WHERE o.person_id = %(person)s)",
            both,
        )
        for table, key in (("feed_hidden", "creator"), ("feed_prior", "work_id")):
            run(
                f"UPDATE app.{table} s SET person_id = %(person)s WHERE s.person_id = %(visitor)s AND NOT EXISTS"
                f" (SELECT FROM app.{table} o WHERE o.person_id = %(person)s AND o.{key} = s.{key})",
                both,
            )
    return int(moved)
