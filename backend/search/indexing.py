"""Brings what searching looks into to what the works' words say, from wherever it was. Sync: it runs as a task.

Works are few bytes each and are read in full only when a new space is fitted; otherwise only what changed is.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy import RowMapping, func, select, text
from sqlalchemy.orm import Session

from backend.models.search import SearchSpace
from backend.personalization.content import Described
from backend.search import space as spaces
from backend.search.space import Space
from backend.search.words import folded
from backend.works.rules import Kind

GROWTH: Final = 0.05
"""A new space is fitted when at least this part of the works has changed since the last."""
BATCH: Final = 2_000
_LOCK: Final = 0x736561726368

_GONE: Final = text("""
DELETE FROM app.search_entry e WHERE NOT EXISTS (
    SELECT FROM app.work_text t WHERE t.work_id = e.work_id AND t.cid_digest = e.digest AND t.kept
)
""")
"""Entries of works that are no longer there or say something else; the latter are made anew."""
_SIZE: Final = text("""
SELECT count(*) AS works, count(*) FILTER (WHERE e.fitted) AS fitted
FROM app.work_text t LEFT JOIN app.search_entry e ON e.work_id = t.work_id WHERE t.kept
""")
_WORDS: Final = text("""
SELECT t.work_id, t.cid_digest, t.kind, t.title, t.description, t.tags
FROM app.work_text t LEFT JOIN app.search_entry e ON e.work_id = t.work_id
WHERE t.kept AND t.work_id > :after AND (:all OR e.work_id IS NULL)
ORDER BY t.work_id LIMIT :limit
""")
_WRITE: Final = text("""
INSERT INTO app.search_entry (work_id, digest, document, fitted, space, place)
VALUES (
    :work_id, :digest,
    setweight(to_tsvector('english', :title), 'A') || setweight(to_tsvector('english', :tags), 'B')
    || setweight(to_tsvector('english', :description), 'C'),
    :fitted, :space, CAST(:place AS vector)
)
ON CONFLICT (work_id) DO UPDATE SET digest = excluded.digest, document = excluded.document, fitted = excluded.fitted,
    space = excluded.space, place = excluded.place
""")


class Refreshed(NamedTuple):
    """What was done."""

    written: int
    gone: int
    space: int | None
    """The version of the space that was fitted; None when the one before is still good."""


def newest(session: Session) -> SearchSpace | None:
    """The space in which works lie."""
    return session.scalars(select(SearchSpace).order_by(SearchSpace.version.desc()).limit(1)).first()


def refresh(session: Session, *, folder: Path, now: datetime) -> Refreshed:
    """Bring entries and space to what the words say; nothing when another process is at it.

    A new space and every work's place in it become visible together, at the commit.
    """
    if not session.scalar(select(func.pg_try_advisory_xact_lock(_LOCK))):
        return Refreshed(0, 0, None)
    gone: int = session.execute(_GONE).rowcount  # type: ignore[attr-defined]
    row = newest(session)
    known = _opened(folder, row)
    size = session.execute(_SIZE).one()
    changed = (size.works - size.fitted) + max((row.works if row else 0) - size.fitted, 0)
    if known is None or changed >= max(GROWTH * size.works, 1):
        fitted = spaces.fit([spaces.text_of(described(one)) for one in _all(session)])
        if fitted is not None:
            made = SearchSpace(folder=spaces.write(folder, fitted), works=size.works, created_at=now)
            session.add(made)
            session.flush()
            _drop_older(session, folder, made)
            return Refreshed(_write(session, fitted, made.version, everything=True), gone, made.version)
    version = row.version if row and known else None
    return Refreshed(_write(session, known, version, everything=False), gone, None)


def _drop_older(session: Session, folder: Path, made: SearchSpace) -> None:
    """Drop all spaces but the new one and the one before, which requests may still be reading."""
    rows = session.scalars(select(SearchSpace).order_by(SearchSpace.version.desc())).all()
    kept = {made.folder} | {row.folder for row in rows[:2]}
    for row in rows[2:]:
        session.delete(row)
        if row.folder not in kept:
            shutil.rmtree(folder / row.folder, ignore_errors=True)


def _opened(folder: Path, row: SearchSpace | None) -> Space | None:
    try:
        return None if row is None else spaces.read(folder, row.folder)
    except spaces.BrokenSpace:
        return None  # it is fitted anew


def _batch(session: Session, after: int, *, everything: bool) -> Sequence[RowMapping]:
    values = {"after": after, "all": everything, "limit": BATCH}
    return session.execute(_WORDS, values).mappings().all()


def _all(session: Session) -> list[RowMapping]:
    rows: list[RowMapping] = []
    while found := _batch(session, int(rows[-1]["work_id"]) if rows else 0, everything=True):
        rows += found
    return rows


def described(row: RowMapping) -> Described:
    """A work's words as the space takes them; its kind is a tag."""
    said = f"{row['title'] or ''}\n{row['description'] or ''}"
    return Described(said, [*row["tags"], *_kind(row["kind"])])


def _kind(kind: int) -> list[str]:
    return [Kind(kind).name.lower()] if kind in set(Kind) and kind != Kind.OTHER else []


def _write(session: Session, space: Space | None, version: int | None, *, everything: bool) -> int:
    written, after = 0, 0
    while rows := _batch(session, after, everything=everything):
        places = space.project([spaces.text_of(described(row)) for row in rows]) if space else None
        session.execute(
            _WRITE,
            [
                {
                    "work_id": row["work_id"],
                    "digest": row["cid_digest"],
                    "title": folded(row["title"] or ""),
                    "tags": folded(" ".join([*row["tags"], *_kind(row["kind"])])),
                    "description": folded(row["description"] or ""),
                    "fitted": everything,
                    "space": version,
                    "place": None if places is None or not places[n].any() else str(places[n].tolist()),
                }
                for n, row in enumerate(rows)
            ],
        )
        written, after = written + len(rows), int(rows[-1]["work_id"])
    return written
