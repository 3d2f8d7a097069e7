"""What personalization does by the clock."""

from __future__ import annotations

import structlog

from backend.personalization import training
from backend.worker import celery, core, task_session

log = structlog.get_logger()


@celery.task(name="personalization.train")  # type: ignore[untyped-decorator]  # celery has no types
def train() -> None:
    """Fit the model anew when enough has happened since the last one."""
    with task_session() as session:
        snapshot = training.train(session, models=core().settings.data_dir / "models", now=core().clock())
        if snapshot is not None:
            log.info("model_trained", version=snapshot.version, pairs=snapshot.pairs, works=snapshot.works)
