"""The words of the works on chain, kept in `app.work_text` for lists, the feed and search (see `WorkText`).

`follow` brings the table to what the mirror says, from wherever it was: after a new work, a changed metadata file, a
reorganisation, a mirror that was made again. It can be broken off anywhere and done again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import RowMapping, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from backend.content import service as content
from backend.content.store import ContentStore
from backend.models.works import WorkText
from backend.works import publication
from backend.works.metadata import MAX_BYTES, Described, describe
from backend.works.publication import Means, Unit

BATCH: Final = 200
_LOCK: Final = 0x776F726473
"""Of the one process that follows at a time."""

_PENDING: Final = text("""
SELECT w.work_id, w.registrant, w.content_hash, w.cid_digest, r.cid_digest AS registered_digest, w.kind, w.created_block
FROM chain.work w
JOIN chain.work_registry_work_registered r ON r.work_id = w.work_id
LEFT JOIN app.work_text t ON t.work_id = w.work_id
WHERE w.work_id > :after
  AND (t.work_id IS NULL OR t.cid_digest <> w.cid_digest OR t.content_hash <> w.content_hash
       OR NOT t.kept AND EXISTS (SELECT FROM app.content c WHERE c.sha256 = w.cid_digest)
       OR EXISTS (SELECT FROM app.draft d WHERE d.files = 'publishing' AND d.content_hash = w.content_hash))
ORDER BY w.work_id LIMIT :limit
""")
"""Works whose words are not their registration's, whose file has come since, or whose draft is half published."""

_GONE: Final = text("""
SELECT t.work_id FROM app.work_text t
WHERE t.seen_block <= (SELECT head_number FROM chain.cursor)
  AND NOT EXISTS (SELECT FROM chain.work_registry_work_registered r
                  WHERE r.work_id = t.work_id AND r.content_hash = t.content_hash)
""")
"""Registrations that a reorganisation took: the mirror has come past their block without them. A mirror that is being
made again has not, and takes nothing back."""


class Followed(NamedTuple):
    """What changed."""

    read: int
    """Works whose words were read."""
    gone: int
    """Works that are no longer on chain."""
    published: int = 0
    """Drafts whose files became public."""


def follow(means: Means) -> Followed:
    """Publish what was registered, take back what is gone, and bring the words to what the mirror says.

    Nothing when another process is at it.
    """
    unit = means.unit
    with unit() as holding:
        if not holding.scalar(select(func.pg_try_advisory_xact_lock(_LOCK))):
            return Followed(0, 0)
        publication.take_back(means)
        gone = _take_back(unit)
        with unit() as session:
            publication.settle(session)
        read, published, after = 0, 0, 0
        while True:
            with unit() as session:
                rows = session.execute(_PENDING, {"after": after, "limit": BATCH}).mappings().all()
                drafts = publication.drafts_of(session, means.vault, rows)
            away = set()
            for row in rows:
                for draft_id in drafts.get(int(row["work_id"]), ()):
                    if publication.publish(means, row, draft_id):
                        published += 1
                    else:
                        away.add(int(row["work_id"]))
            with unit() as session:
                for row in rows:
                    if int(row["work_id"]) not in away:
                        _keep(session, means.store, row)
                        read += 1
            if len(rows) < BATCH:
                return Followed(read, gone, published)
            after = int(rows[-1]["work_id"])


def _keep(session: Session, store: ContentStore, row: RowMapping) -> None:
    """Read a work's metadata file and write its words down, in the place of older ones."""
    data = content.read_by_sha256(session, store, bytes(row["cid_digest"]), MAX_BYTES)
    said = Described() if data is None else describe(data)
    values: dict[str, Any] = {
        "work_id": int(row["work_id"]),
        "content_hash": row["content_hash"],
        "cid_digest": row["cid_digest"],
        "kept": data is not None,
        "seen_block": int(row["created_block"]),
        "kind": int(row["kind"]),
        "title": said.title,
        "description": said.description,
        "tags": list(said.tags),
        "language": said.language,
        "ai_tools": list(said.ai_tools),
        "media_cid": said.media_cid,
        "media_type": said.media_type,
        "duration_ms": said.duration_ms,
    }
    written = insert(WorkText).values(**values)
    session.execute(written.on_conflict_do_update(index_elements=[WorkText.work_id], set_=values))


def _take_back(unit: Unit) -> int:
    with unit() as session:
        gone = session.scalars(_GONE).all()
        if gone:
            session.execute(delete(WorkText).where(WorkText.work_id.in_(gone)))
        return len(gone)


def said_of(session: Session, works: Sequence[RowMapping]) -> Mapping[int, WorkText]:
    """The words of these rows of the view `work`, by work; those of another metadata file are left out."""
    digests = {int(row["work_id"]): bytes(row["cid_digest"]) for row in works}
    found = session.scalars(select(WorkText).where(WorkText.work_id.in_(digests)))
    return {text.work_id: text for text in found if text.cid_digest == digests[text.work_id]}
