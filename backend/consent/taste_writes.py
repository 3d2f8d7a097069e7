"""Statements by which a person's feed forgets, and takes in what they bring along; the log of what they did stays.

A reset is a mark in time: the reads that a feed or a model is made of leave out what was done until then, in the very
statement (`reads._REMEMBERED`). What is done afterwards counts again. The log itself, by which creators are paid and
which is the person's to take along, stays until they erase it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from backend.consent.gate import entered
from backend.consent.writes import set_feed
from backend.models.personalization import FeedPrior

PRIORS_AT_MOST: Final = 500
"""So many likings a person can bring along, as many as events are read for a slate."""

_DONE_WITH: Final = """
SELECT e.work_id FROM app.engagement_event e WHERE e.person_id = %(person)s
UNION SELECT p.work_id FROM app.feed_prior p WHERE p.person_id = %(person)s"""
_OF_KIND: Final = """
SELECT r.work_id FROM chain.work_registry_work_registered r WHERE r.kind = %(topic)s::smallint"""
_WITH_TAG: Final = """
SELECT t.work_id FROM app.work_text t WHERE EXISTS (SELECT FROM unnest(t.tags) g WHERE lower(g) = lower(%(topic)s))"""


class Prior(NamedTuple):
    """A liking that a person brings along."""

    work_id: int
    value: float
    at: datetime


def forget_all(session: Session, *, person: uuid.UUID, now: datetime) -> None:
    """Whatever was done until now says nothing to the feed any more."""
    set_feed(session, person=person, values={"forgotten_at": now}, now=now)


def forget_today(session: Session, *, person: uuid.UUID, now: datetime) -> None:
    """What was done until now is no mood of today any more; it counts as lasting taste alone."""
    set_feed(session, person=person, values={"today_forgotten_at": now}, now=now)


def forget_topic(session: Session, *, person: uuid.UUID, topic: str, now: datetime) -> int:
    """Forget what was done with the works of a topic (`kind:3`, `tag:noir`) until now; how many works."""
    what, _, word = topic.partition(":")
    works = f"({_DONE_WITH}) INTERSECT {_OF_KIND if what == 'kind' else _WITH_TAG}"
    return _forget(session, f"SELECT work_id FROM ({works}) w", person=person, now=now, topic=topic, word=word)


def forget_work(session: Session, *, person: uuid.UUID, work_id: int, now: datetime) -> bool:
    """Forget what was done with one work until now; whether anything was."""
    one = f"SELECT work_id FROM ({_DONE_WITH}) w WHERE work_id = %(topic)s::bigint"
    return bool(_forget(session, one, person=person, now=now, topic=None, word=str(work_id)))


def _forget(session: Session, works: str, *, person: uuid.UUID, now: datetime, topic: str | None, word: str) -> int:
    with entered(session):
        return int(
            session.connection()
            .exec_driver_sql(
                "INSERT INTO app.feed_forgotten AS t (person_id, work_id, at, topic)"
                f" SELECT %(person)s, w.work_id, %(now)s, %(named)s FROM ({works}) w"
                " ON CONFLICT (person_id, work_id)"
                " DO UPDATE SET at = greatest(t.at, excluded.at), topic = excluded.topic",
                {"person": person, "now": now, "named": topic, "topic": word},
            )
            .rowcount
        )


HIDDEN_AT_MOST: Final = 1_000
"""So many creators a person can hide."""


def hide_creator(session: Session, *, person: uuid.UUID, creator: bytes, now: datetime) -> bool:
    """Keep that a person does not want to be shown a creator's works; False when they hide HIDDEN_AT_MOST already."""
    with entered(session):
        session.connection().exec_driver_sql(
            "INSERT INTO app.feed_hidden (person_id, creator, at) SELECT %(person)s, %(creator)s, %(now)s"
            " WHERE (SELECT count(*) FROM app.feed_hidden WHERE person_id = %(person)s) < %(most)s"
            " ON CONFLICT DO NOTHING",
            {"person": person, "creator": creator, "now": now, "most": HIDDEN_AT_MOST},
        )
        found = session.connection().exec_driver_sql(
            "SELECT FROM app.feed_hidden WHERE person_id = %(person)s AND creator = %(creator)s",
            {"person": person, "creator": creator},
        )
        return found.first() is not None


def show_creator(session: Session, *, person: uuid.UUID, creator: bytes) -> None:
    """Take that back."""
    with entered(session):
        session.connection().exec_driver_sql(
            "DELETE FROM app.feed_hidden WHERE person_id = %(person)s AND creator = %(creator)s",
            {"person": person, "creator": creator},
        )


def bring_along(session: Session, *, person: uuid.UUID, issuer: str, priors: Iterable[Prior], now: datetime) -> None:
    """Keep likings from a document, in the place of all that were brought along before."""
    rows = [
        {"person_id": person, "issuer": issuer, "imported_at": now, **each._asdict()}
        for each in list(priors)[:PRIORS_AT_MOST]
    ]
    with entered(session):
        _leave_behind(session, person)
        if rows:
            session.execute(insert(FeedPrior).values(rows))


def leave_behind(session: Session, *, person: uuid.UUID) -> int:
    """Drop the likings that were brought along; how many."""
    with entered(session):
        return _leave_behind(session, person)


def _leave_behind(session: Session, person: uuid.UUID) -> int:
    return int(
        session.connection()
        .exec_driver_sql("DELETE FROM app.feed_prior WHERE person_id = %(person)s", {"person": person})
        .rowcount
    )
