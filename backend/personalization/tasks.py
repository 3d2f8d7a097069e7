"""What personalization does by the clock."""

from __future__ import annotations

from datetime import timedelta

import structlog

from backend.consent.writes import forget_slates
from backend.content.service import open_store
from backend.models.impressions import KEPT_DAYS
from backend.personalization.models import progress, training
from backend.personalization.packaging import pictures, variants
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


@celery.task(name="personalization.package")  # type: ignore[untyped-decorator]
def package() -> None:
    """Learn which titles and pictures please, from the impressions whose time is over; anew once a day."""
    shared = core()
    count = variants.learn_on(task_session, now=shared.clock(), said=progress.logged(log, "packaging"))
    if count:
        log.info("packaging_learned", impressions=count)


@celery.task(name="personalization.package_anew")  # type: ignore[untyped-decorator]
def package_anew() -> None:
    """Learn it anew from what is kept and may be read now, so that what was withdrawn leaves it within a day."""
    with task_session() as session:
        variants.learn_anew(session, now=core().clock(), said=progress.logged(log, "packaging"))


@celery.task(name="personalization.forget_pictures")  # type: ignore[untyped-decorator]
def forget_pictures() -> None:
    """Remove pictures of cards that no card has shown for a day."""
    shared = core()
    with task_session() as session:
        count = pictures.sweep(session, open_store(shared.settings), now=shared.clock())
    if count:
        log.info("pictures_removed", files=count)


@celery.task(name="personalization.forget_impressions")  # type: ignore[untyped-decorator]
def forget_impressions() -> None:
    """Drop slates whose time is over, some thousands a transaction."""
    before = core().clock() - timedelta(days=KEPT_DAYS)
    while True:
        with task_session() as session:
            if not forget_slates(session, before=before):
                return
