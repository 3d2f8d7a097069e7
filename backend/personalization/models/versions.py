"""Which model serves, which ones may be gone back to, and which are dropped. One pointer for all processes.

The pinned one serves, else the newest that was accepted. The pointer is the database's: every process reads it with its
catalogue (catalogue.REFRESH_S), so that all follow within two seconds. A row without a folder is history. A folder is
named by a row that is committed, or nobody needs it: whatever a killed training left is swept by the next.
"""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from backend.files import PARTIAL
from backend.models.personalization import ModelSnapshot
from backend.personalization.models import snapshots
from backend.personalization.models.snapshots import BrokenSnapshot

KEPT: Final = 3
"""So many accepted models stay on the disk, the serving one among them, to go back to."""
LOCK: Final = 0x7472_6169_6E
"""The advisory lock of whoever writes or removes models."""

READ_WITHIN: Final = timedelta(minutes=10)
"""So long after its `now` a training has read what it learns from, if every statement before takes all it may."""

SERVING: Final = f"""
SELECT version, folder FROM app.model_snapshot WHERE folder IS NOT NULL AND refused IS NULL
ORDER BY (pinned_at IS NOT NULL) DESC, version DESC LIMIT {KEPT + 1}
"""
"""The model that serves, and those that would if its files were broken."""

State = Literal["pinned", "serves", "kept", "refused", "dropped"]


class NoSuchModel(Exception):
    """What was asked to serve can't; the text says why and what can."""


def lock(session: Session, *, wait: bool = False) -> bool:
    """Be the only one who writes or removes models until the transaction ends; without `wait`, False if another is."""
    if wait:
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        return True
    return bool(session.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": LOCK}))


def first_with(session: Session, since: datetime) -> int:
    """The first version that may hold what was stored at `since` or later; the next one where none of these does.

    A training that is under way now gets the next version, or a later one.
    """
    made = ModelSnapshot.created_at >= since - READ_WITHIN
    first = session.scalar(select(func.min(ModelSnapshot.version)).where(made))
    return first or (session.scalar(select(func.max(ModelSnapshot.version))) or 0) + 1


def serving(session: Session) -> ModelSnapshot | None:
    """The model that serves; None where there is none yet."""
    row = session.execute(text(SERVING)).first()
    return session.get(ModelSnapshot, row.version) if row else None


def listed(session: Session, limit: int = 20) -> list[tuple[ModelSnapshot, State]]:
    """The newest versions, and older ones that serve or are kept, newest first."""
    serves = serving(session)
    newest = select(ModelSnapshot.version).order_by(ModelSnapshot.version.desc()).limit(limit)
    found = session.scalars(
        select(ModelSnapshot)
        .where(ModelSnapshot.version.in_(newest) | ModelSnapshot.folder.is_not(None))
        .order_by(ModelSnapshot.version.desc())
    )
    return [(snapshot, state(snapshot, serves)) for snapshot in found]


def state(snapshot: ModelSnapshot, serves: ModelSnapshot | None) -> State:
    """What a version is at the moment."""
    if snapshot.refused is not None:
        return "refused"
    if snapshot.pinned_at is not None:
        return "pinned"
    if serves is not None and snapshot.version == serves.version:
        return "serves"
    return "dropped" if snapshot.folder is None else "kept"


def roll_back(session: Session, models: Path, *, version: int | None, now: datetime) -> ModelSnapshot:
    """Let an older model serve, the one before the serving one unless named, until `release`. Raises NoSuchModel."""
    lock(session, wait=True)
    there = [snapshot for snapshot, of in listed(session) if of in ("pinned", "serves", "kept")]
    serves = serving(session)
    names = ", ".join(str(snapshot.version) for snapshot in there) or "none"
    if version is None:
        older = [snapshot for snapshot in there if serves is not None and snapshot.version < serves.version]
        if not older:
            raise NoSuchModel(f"there is no model before the one that serves; on the disk: {names}")
        chosen = older[0]
    else:
        named = session.get(ModelSnapshot, version)
        if named is None:
            raise NoSuchModel(f"there is no model {version}; on the disk: {names}")
        if named.refused is not None:
            raise NoSuchModel(f"model {version} was refused and cannot serve: {named.refused}")
        if named.folder is None:
            raise NoSuchModel(f"model {version} is no longer on the disk; there: {names}")
        chosen = named
    try:
        snapshots.read(models, str(chosen.folder))
    except BrokenSnapshot as error:
        raise NoSuchModel(f"{error}; on the disk: {names}") from error
    _unpin(session)
    chosen.pinned_at = now
    session.flush()
    return chosen


def release(session: Session) -> ModelSnapshot | None:
    """Let the newest accepted model serve again; it, or None where there is none. Without a pin nothing changes."""
    lock(session, wait=True)
    _unpin(session)
    return serving(session)


def _unpin(session: Session) -> None:
    session.execute(update(ModelSnapshot).where(ModelSnapshot.pinned_at.is_not(None)).values(pinned_at=None))


def drop_old(session: Session) -> None:
    """Take the folders from all but the KEPT newest accepted models and the pinned one; `sweep` removes them."""
    accepted = select(ModelSnapshot).where(ModelSnapshot.refused.is_(None), ModelSnapshot.folder.is_not(None))
    for old in session.scalars(accepted.order_by(ModelSnapshot.version.desc()).offset(KEPT)):
        if old.pinned_at is None:
            old.folder = None
    session.flush()


def sweep(session: Session, models: Path) -> int:
    """Remove the folders that no row names, and what killed trainings left; how many. The caller has the lock.

    Processes that serve from a removed folder go on: its files are mapped, and live as long as they are.
    """
    if not models.is_dir():
        return 0
    named = set(session.scalars(select(ModelSnapshot.folder).where(ModelSnapshot.folder.is_not(None))))
    gone = [path for path in models.iterdir() if path.name not in named]
    for path in gone:
        if path.name.startswith(PARTIAL) or path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
    return len(gone)
