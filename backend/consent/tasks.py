"""Celery makes exports and does erasures; whatever a killed worker left is found by the sweep."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path

import structlog
from redis.exceptions import RedisError
from sqlalchemy.orm import Session

from backend.consent import erasure, export
from backend.content.service import open_store
from backend.deps import Core
from backend.edge.ratelimit import Principal, bucket_keys
from backend.personalization.models.training import retrain
from backend.personalization.packaging.variants import learn_anew
from backend.personalization.tasks import LONGEST_S
from backend.worker import celery, core, task_session
from backend.works.drafts import DraftFiles

log = structlog.get_logger()


def exports_folder(shared: Core) -> Path:
    """Where the files of exports are."""
    return shared.settings.data_dir / "exports"


def workshop(shared: Core) -> export.Workshop:
    """What exports are made with."""
    return export.Workshop(
        unit=shared.database.session,
        vault=shared.vault,
        store=open_store(shared.settings),
        drafts=DraftFiles.of(shared.settings, shared.vault),
        chain=shared.chain,
        folder=exports_folder(shared),
    )


def means(shared: Core) -> erasure.Means:
    """What erasures are done with."""

    def learn_again(session: Session, since: int) -> None:
        if not retrain(session, models=shared.settings.data_dir / "models", now=shared.clock(), since=since):
            log.warning("no_model_serves", reason="all that could held what was erased, and no new one was accepted")

    def uncount(principals: Sequence[Principal]) -> None:
        try:
            shared.redis.delete(*bucket_keys(principals))
        except RedisError as error:
            log.warning("requests_not_uncounted", reason=type(error).__name__)

    return erasure.Means(
        unit=shared.database.session,
        vault=shared.vault,
        store=open_store(shared.settings),
        drafts=DraftFiles.of(shared.settings, shared.vault),
        exports=exports_folder(shared),
        retrain=learn_again,
        repackage=lambda session: learn_anew(session, now=shared.clock()),
        uncount=uncount,
    )


@celery.task(name="consent.export")  # type: ignore[untyped-decorator]  # celery has no types
def make_export(export_id: str) -> None:
    """Make one export, from wherever it was broken off."""
    shared = core()
    export.run(workshop(shared), uuid.UUID(export_id), now=shared.clock())


@celery.task(  # type: ignore[untyped-decorator]
    name="consent.erase", soft_time_limit=LONGEST_S, time_limit=LONGEST_S + 60
)
def erase(erasure_id: str) -> None:
    """Take one erasure to its end, from wherever it was broken off. It may train, and has the time for it."""
    shared = core()
    erasure.advance(means(shared), uuid.UUID(erasure_id), now=shared.clock())


@celery.task(name="consent.sweep")  # type: ignore[untyped-decorator]
def sweep() -> None:
    """Go on with what was broken off, erasures first; drop exports that have expired."""
    with task_session() as session:
        erasures, exports = erasure.waiting(session), export.waiting(session)
    for each in erasures:
        erase.delay(str(each))
    for each in exports:
        make_export.delay(str(each))
    shared = core()
    with task_session() as session:
        export.sweep(session, exports_folder(shared), now=shared.clock())
