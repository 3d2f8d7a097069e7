"""Celery: the words of works follow the mirror."""

from __future__ import annotations

from backend.content.service import open_store
from backend.worker import celery, core
from backend.works import words


@celery.task(name="works.follow")  # type: ignore[untyped-decorator]  # celery has no types
def follow() -> None:
    """Bring the words of works to what the mirror says."""
    shared = core()
    words.follow(shared.database.session, open_store(shared.settings))
