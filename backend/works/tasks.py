"""Celery: works follow the mirror: their files become public, their words are read."""

from __future__ import annotations

from backend.content.service import open_store
from backend.deps import Core
from backend.payouts.tasks import retry_trees
from backend.wake import wake
from backend.worker import celery, core, task_session
from backend.works import words
from backend.works.drafts import DraftFiles
from backend.works.publication import Means


def means(shared: Core) -> Means:
    """What publishing is done with."""
    files = DraftFiles.of(shared.settings, shared.vault)
    return Means(shared.database.session, open_store(shared.settings), shared.vault, files)


@celery.task(name="works.follow")  # type: ignore[untyped-decorator]  # celery has no types
def follow() -> None:
    """Publish what was registered, take back what is gone, and read the words of works."""
    if words.follow(means(core())).published:
        wake(retry_trees)  # a request may have looked for the split's tree before it was public


@celery.task(name="works.sweep_drafts")  # type: ignore[untyped-decorator]
def sweep_drafts() -> None:
    """Remove sealed files that no draft needs."""
    shared = core()
    with task_session() as session:
        means(shared).files.sweep(session, now=shared.clock())
