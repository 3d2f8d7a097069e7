"""What personalization does by the clock."""

from __future__ import annotations

import structlog

from backend.personalization import progress, training
from backend.worker import celery, core, task_session

log = structlog.get_logger()

LONGEST_S = 3_600
"""A large catalogue takes longer than other tasks may; another wake-up meanwhile finds the lock and does nothing."""


@celery.task(  # type: ignore[untyped-decorator]  # celery has no types
    name="personalization.train", soft_time_limit=LONGEST_S, time_limit=LONGEST_S + 60
)
def train() -> None:
    """Fit the model anew when enough has happened since the last one, and judge it before it serves."""
    redis = core().redis
    said = False

    def tell(what: str, done: int, of: int) -> None:
        nonlocal said
        said = True
        progress.told(redis, core().clock)(what, done, of)

    try:
        snapshot = training.train_and_sweep(
            task_session, models=core().settings.data_dir / "models", now=core().clock(), said=tell
        )
    finally:
        if said:
            progress.ended(redis)
    if snapshot is None:
        return
    if snapshot.refused is not None:
        log.error("model_refused", version=snapshot.version, reason=snapshot.refused)
    else:
        log.info("model_trained", version=snapshot.version, pairs=snapshot.pairs, works=snapshot.works)
