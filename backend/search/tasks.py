"""What searching does by the clock."""

from __future__ import annotations

import structlog

from backend.search import indexing
from backend.worker import celery, core, task_session

log = structlog.get_logger()


@celery.task(name="search.refresh")  # type: ignore[untyped-decorator]  # celery has no types
def refresh() -> None:
    """Bring what searching looks into to what the works' words say."""
    done = indexing.refresh(task_session, folder=core().settings.data_dir / "search", now=core().clock())
    if any(done):
        log.info("search_refreshed", written=done.written, gone=done.gone, space=done.space)
