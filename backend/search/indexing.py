"""Brings what searching looks into to what the works' words say, from wherever it was. Sync: it runs as a task.

A new space is filled in batches, each its own transaction, while the one before serves; it serves from the moment when
every work has its place in it. What is broken off goes on where it was.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import RowMapping, delete, func, select, text
from sqlalchemy.orm import Session

from backend.models.search import SearchSpace
from backend.personalization.ranking.content import Described
from backend.search import space as spaces
from backend.search.space import Space
from backend.search.words import folded
from backend.works.rules import Kind

Unit = Callable[[], AbstractContextManager[Session]]
"""Opens one transaction, committed at its end."""

GROWTH: Final = 0.05
"""A new space is fitted when at least this part of the works has changed since the last."""
BATCH: Final = 500
BATCHES: Final = 20
"""Of one run; the next goes on."""
_LOCK: Final = 0x736561726368

_GONE: Final = text("""
DELETE FROM app.search_entry e WHERE NOT EXISTS (
    SELECT FROM app.work_text t WHERE t.work_id = e.work_id AND t.cid_digest = e.digest AND t.kept
)
""")
"""Entries of works that are no longer there or say something else; the latter are made anew."""
_MISSING: Final = text("""
SELECT t.work_id, t.cid_digest, t.kind, t.title, t.description, t.tags, t.language, t.duration_ms, r.licence_id
FROM app.work_text t
JOIN chain.work_registry_work_registered r ON r.work_id = t.work_id AND r.content_hash = t.content_hash
LEFT JOIN app.search_entry e ON e.work_id = t.work_id
WHERE t.kept AND e.work_id IS NULL ORDER BY t.work_id LIMIT :limit
""")
_WRITE: Final = text("""
INSERT INTO app.search_entry (work_id, digest, document, kind, licence_id, language, duration_ms, since)
VALUES (
    :work_id, :digest,
    setweight(to_tsvector('english', :title), 'A') || setweight(to_tsvector('english', :tags), 'B')
    || setweight(to_tsvector('english', :description), 'C'),
    :kind, :licence_id, :language, :duration_ms, :since
)
""")
_SIZE: Final = text("""
SELECT count(*) AS works, count(*) FILTER (WHERE since < :version) AS fitted FROM app.search_entry
""")
_WORDS: Final = text("""
SELECT e.work_id, t.kind, t.title, t.description, t.tags
FROM app.search_entry e JOIN app.work_text t ON t.work_id = e.work_id AND t.cid_digest = e.digest
WHERE e.work_id > :after AND (CAST(:version AS bigint) IS NULL OR e.placed IS DISTINCT FROM CAST(:version AS bigint))
ORDER BY e.work_id LIMIT :limit
""")
_PLACE: Final = text("""
INSERT INTO app.search_place (space, work_id, place) VALUES (:space, :work_id, CAST(:place AS vector))
""")
_PLACED: Final = text("UPDATE app.search_entry SET placed = :space WHERE work_id = ANY(CAST(:works AS bigint[]))")


class Refreshed(NamedTuple):
    """What was done."""

    written: int
    gone: int
    space: int | None
    """The version of the space that serves since now; None when the one before still does."""


def newest(session: Session, *, ready: bool = True) -> SearchSpace | None:
    """The space that serves; or the newest there is, whether or not it is filled."""
    query = select(SearchSpace).order_by(SearchSpace.version.desc()).limit(1)
    return session.scalars(query.where(SearchSpace.ready) if ready else query).first()


def refresh(unit: Unit, *, folder: Path, now: datetime, batches: int = BATCHES) -> Refreshed:
    """Bring entries and space to what the words say; nothing when another process is at it."""
    with unit() as holding:
        if not holding.scalar(select(func.pg_try_advisory_xact_lock(_LOCK))):
            return Refreshed(0, 0, None)
        with unit() as session:
            gone: int = session.execute(_GONE).rowcount  # type: ignore[attr-defined]
        written = _enter(unit)
        with unit() as session:
            row, space = _fitted(session, folder, now)
        if row is None or space is None:
            return Refreshed(written, gone, None)
        complete = _fill(unit, space, row.version, batches)
        with unit() as session:
            serves = complete and not row.ready
            if serves:
                _serve(session, folder, row.version)
        return Refreshed(written, gone, row.version if serves else None)


def _enter(unit: Unit) -> int:
    """Write the entries that are missing."""
    written = 0
    while True:
        with unit() as session:
            last = newest(session, ready=False)
            rows = session.execute(_MISSING, {"limit": BATCH}).mappings().all()
            if rows:
                session.execute(_WRITE, [_entry(row, last.version if last else 0) for row in rows])
        written += len(rows)
        if len(rows) < BATCH:
            return written


def _entry(row: RowMapping, since: int) -> dict[str, Any]:
    return {
        "work_id": row["work_id"],
        "digest": row["cid_digest"],
        "title": folded(row["title"] or ""),
        "tags": folded(" ".join(described(row).tags)),
        "description": folded(row["description"] or ""),
        "kind": row["kind"],
        "licence_id": row["licence_id"],
        "language": (row["language"] or "").partition("-")[0].lower() or None,
        "duration_ms": row["duration_ms"],
        "since": since,
    }


def _fitted(session: Session, folder: Path, now: datetime) -> tuple[SearchSpace | None, Space | None]:
    """The space to fill: the newest, or one that is fitted now because too much has changed or it can't be read."""
    row = newest(session, ready=False)
    size = session.execute(_SIZE, {"version": row.version if row else 0}).one()
    changed = (size.works - size.fitted) + max((row.works if row else 0) - size.fitted, 0)
    if row is not None and not (row.ready and changed >= max(GROWTH * size.works, 1)):
        try:
            return row, spaces.read(folder, row.folder)
        except spaces.BrokenSpace:
            pass  # it is fitted anew
    fitted = spaces.fit([spaces.text_of(described(one)) for one in _all(session)])
    if fitted is None:
        return None, None
    made = SearchSpace(folder=spaces.write(folder, fitted), works=size.works, ready=False, created_at=now)
    session.add(made)
    session.flush()
    return made, fitted


def _words(session: Session, after: int, version: int | None) -> Sequence[RowMapping]:
    values = {"after": after, "version": version, "limit": BATCH}
    return session.execute(_WORDS, values).mappings().all()


def _all(session: Session) -> list[RowMapping]:
    rows: list[RowMapping] = []
    while found := _words(session, int(rows[-1]["work_id"]) if rows else 0, None):
        rows += found
    return rows


def described(row: RowMapping) -> Described:
    """A work's words as the space takes them; its kind is a tag."""
    kind = [Kind(row["kind"]).name.lower()] if row["kind"] in set(Kind) and row["kind"] != Kind.OTHER else []
    return Described(f"{row['title'] or ''}\n{row['description'] or ''}", [*row["tags"], *kind])


def _fill(unit: Unit, space: Space, version: int, batches: int) -> bool:
    """Give works their places in a space; True when all have them."""
    for _ in range(batches):
        with unit() as session:
            rows = _words(session, 0, version)
            places = space.project([spaces.text_of(described(row)) for row in rows])
            found = [
                {"space": version, "work_id": row["work_id"], "place": str(places[n].tolist())}
                for n, row in enumerate(rows)
                if places[n].any()
            ]
            if found:
                session.execute(_PLACE, found)
            session.execute(_PLACED, {"space": version, "works": [row["work_id"] for row in rows]})
        if len(rows) < BATCH:
            return True
    return False


def _serve(session: Session, folder: Path, version: int) -> None:
    """Let a filled space serve and drop the older ones; their files stay for requests that still read them."""
    row = session.get_one(SearchSpace, version)
    row.ready = True
    older = session.scalars(select(SearchSpace).where(SearchSpace.version < version)).all()
    session.execute(delete(SearchSpace).where(SearchSpace.version < version))
    kept = {row.folder, *(one.folder for one in older)}
    for found in folder.iterdir():
        if found.name not in kept and not found.name.startswith("."):
            shutil.rmtree(found, ignore_errors=True)
