"""What limits who may be shown a work: declared by its owner, decided by moderators, from its licences and consents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import numpy as np
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from backend.errors import Forbidden
from backend.models.showing import LicenceTerritory, ModerationDecision, WorkShowing
from backend.personalization.showing.constraints import Limit, Stated, Surface, build, eligible
from backend.personalization.showing.constraints import limits as limits_of
from backend.works.catalogue import find_work
from backend.works.rules import Status

LIMITS: Final = """
WITH touched AS (
    SELECT work_id::numeric FROM app.work_showing UNION SELECT work_id FROM app.moderation_decision
    UNION SELECT work_id FROM chain.work_standing_consent_linked
), stand AS (  -- the chain's clock decides when a consent ends
    SELECT l.work_id, bool_and(r.uid IS NULL AND (a.expires = 0 OR a.expires > (SELECT head_time FROM chain.cursor)))
           AS all_of_them
    FROM chain.work_standing_consent_linked l
    JOIN chain.attestation_registry_attested a ON a.uid = l.attestation_uid
    LEFT JOIN chain.attestation_registry_revoked r ON r.uid = a.uid
    GROUP BY l.work_id
)
SELECT t.work_id::bigint AS work_id, coalesce(stand.all_of_them, true) AS consents_stand,
       s.age AS declared_age, s.territory, s.shown_from, s.shown_until, d.state, d.age AS decided_age
FROM touched t
LEFT JOIN stand ON stand.work_id = t.work_id
LEFT JOIN app.work_showing s ON s.work_id = t.work_id
LEFT JOIN LATERAL (
    SELECT m.state, m.age FROM app.moderation_decision m WHERE m.work_id = t.work_id ORDER BY m.number DESC LIMIT 1
) d ON true
WHERE %(ids)s::bigint[] IS NULL OR t.work_id = ANY(%(ids)s::bigint[])
"""
"""A row for each work that anything but its licences limits; `ids`: of these alone."""

TERRITORIES: Final = """
WITH RECURSIVE bound AS MATERIALIZED (  -- licences that hold in some places only; null: their terms are not known here
    SELECT l.licence_id, t.territory FROM chain.licence l
    LEFT JOIN app.licence_territory t ON t.terms_hash = l.terms_hash
    WHERE l.terms_hash <> decode(repeat('00', 32), 'hex') AND (t.territory IS NULL OR t.territory <> '[]'::jsonb)
), under(work_id, licence_id) AS (
    (SELECT w.work_id, w.licence_id FROM chain.work_registry_work_registered w JOIN bound USING (licence_id)
     UNION SELECT d.work_id, d.licence_id FROM chain.derivation d JOIN bound USING (licence_id))
    UNION
    SELECT d.work_id, under.licence_id FROM under JOIN chain.derivation d ON d.parent_id = under.work_id
)
SELECT work_id::bigint AS work_id, jsonb_agg(bound.territory ORDER BY licence_id) AS territories
FROM under JOIN bound USING (licence_id)
WHERE %(ids)s::bigint[] IS NULL OR work_id = ANY(%(ids)s::bigint[])
GROUP BY work_id
"""
"""A row for each work whose own licence, or one that it or an ancestor derives under, holds in some places only."""

ACTIVE: Final = """
SELECT work_id::bigint AS work_id, creator FROM chain.work WHERE work_id = ANY(%(ids)s::bigint[]) AND status = 0
"""


async def limits_async(connection: AsyncConnection[DictRow]) -> list[Limit]:
    """The limits of all works; one without any is left out."""
    async with connection.pipeline():
        rows, territories = [await connection.execute(each, {"ids": None}) for each in (LIMITS, TERRITORIES)]
    return limits_of(await rows.fetchall(), await territories.fetchall())


async def gone_async(
    connection: AsyncConnection[DictRow],
    ids: Sequence[int],
    *,
    stated: Stated,
    now: datetime,
    surface: Surface,
    unread: Sequence[int] = (),
) -> frozenset[int]:
    """Which of these works may not be shown to the person, as it is at this very moment.

    For the answer: a slate is made from a catalogue that may be two seconds old. What a work inherits from licences is
    not read again: neither a work's ancestors nor a licence's terms ever change. It is read for those `unread`, works
    that are newer than the catalogue.
    """
    async with connection.pipeline():
        active, rows = [await connection.execute(*each) for each in still(ids)]
    inherited = await (await connection.execute(TERRITORIES, {"ids": list(unread)})).fetchall() if unread else ()
    found = await active.fetchall(), await rows.fetchall(), inherited
    return gone(ids, *found, stated=stated, now=now, surface=surface)


def still(ids: Sequence[int]) -> list[tuple[str, Mapping[str, Any]]]:
    """The statements whose rows `gone` takes."""
    return [(each, {"ids": list(ids)}) for each in (ACTIVE, LIMITS)]


def gone(
    ids: Sequence[int],
    active: Sequence[DictRow],
    rows: Sequence[DictRow],
    inherited: Sequence[DictRow] = (),
    *,
    stated: Stated,
    now: datetime,
    surface: Surface,
) -> frozenset[int]:
    """Which of these works may not be shown, by the rows of `still`, and of TERRITORIES where that is asked. Pure."""
    creators = {row["work_id"]: row["creator"] for row in active}
    work_ids = np.array(sorted(creators), dtype=np.int64)
    limits = limits_of(rows, inherited)
    rules = build(work_ids, limits, [creators[work_id] for work_id in work_ids.tolist()])
    there = work_ids[eligible(rules, stated, now.timestamp(), surface=surface)]
    return frozenset(ids) - frozenset(there.tolist())


def limit_of(session: Session, work_id: int) -> Limit:
    """What limits one work. Raises NotFound for one that the chain does not have."""
    work = find_work(session, work_id)
    run = session.connection().exec_driver_sql
    given = {"ids": [work_id]}
    found = limits_of(run(LIMITS, given).mappings().all(), run(TERRITORIES, given).mappings().all())
    limit = found[0] if found else Limit(work_id)
    return limit if work["status"] == Status.ACTIVE else replace(limit, live=False)


def declared(session: Session, work_id: int) -> WorkShowing | None:
    """What a work's owner declared."""
    return session.get(WorkShowing, work_id)


def decisions(session: Session, work_id: int) -> Sequence[ModerationDecision]:
    """What moderators decided about a work, newest first."""
    query = select(ModerationDecision).where(ModerationDecision.work_id == work_id)
    return session.scalars(query.order_by(ModerationDecision.number.desc()).limit(100)).all()


def declare(
    session: Session,
    *,
    work_id: int,
    owner: bytes,
    age: int,
    territory: Sequence[str],
    shown_from: datetime | None,
    shown_until: datetime | None,
    now: datetime,
) -> None:
    """Keep what a work's owner declares. Raises NotFound, and Forbidden for anybody else."""
    if bytes(find_work(session, work_id)["owner"]) != owner:
        raise Forbidden(f"Work {work_id} is another account's: its owner says who may see it.", code="not_the_owner")
    row = {
        "age": age,
        "territory": sorted(set(territory)),
        "shown_from": shown_from,
        "shown_until": shown_until,
        "declared_by": owner,
        "changed_at": now,
    }
    session.execute(
        insert(WorkShowing)
        .values(work_id=work_id, **row)
        .on_conflict_do_update(index_elements=[WorkShowing.work_id], set_=row)
    )


def decide(
    session: Session, *, work_id: int, moderator: bytes, state: str, age: int | None, reason: str, now: datetime
) -> None:
    """Keep what a moderator decides about a work; earlier decisions stay to be read. Raises NotFound."""
    find_work(session, work_id)
    session.add(
        ModerationDecision(work_id=work_id, state=state, age=age, reason=reason, moderator=moderator, decided_at=now)
    )
    session.flush()


def know_territory(session: Session, terms_hash: bytes, territory: Sequence[str]) -> None:
    """Note where a licence's terms hold, when they are made known here."""
    session.execute(
        insert(LicenceTerritory).values(terms_hash=terms_hash, territory=list(territory)).on_conflict_do_nothing()
    )
