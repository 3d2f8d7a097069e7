"""Celery wakes the epochs: whatever is due by the chain's clock is done, each step in a transaction of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.chain import ChainInfo
from backend.content.service import open_store
from backend.content.store import ContentStore
from backend.errors import Unavailable
from backend.models.rewards import RewardEpoch
from backend.rewards import service, streams
from backend.rewards.terms import Terms
from backend.sender.tasks import operator_sender, sweep
from backend.vault.vault import Vault
from backend.worker import celery, core, task_session

log = structlog.get_logger(__name__)

Unit = Callable[[], AbstractContextManager[Session]]
"""Opens one transaction, committed at its end."""


@celery.task(name="rewards.tick")  # type: ignore[untyped-decorator]  # celery has no types
def tick() -> None:
    """Fix and score epochs that are over, plan and finalize roots; then wake the sender."""
    sender = operator_sender()
    shared = core()
    operator = sender.key.address_bytes if sender else None
    if advance(
        task_session, open_store(shared.settings), shared.chain, shared.vault, operator=operator, now=shared.clock()
    ):
        sweep.delay()


def advance(
    unit: Unit, store: ContentStore, chain: ChainInfo, vault: Vault, *, operator: bytes | None, now: datetime
) -> bool:
    """Do what is due; whether something was queued for the sender. Without an operator nothing is published."""
    terms = Terms.of(chain)
    try:
        while _step(unit, lambda session: _fix(session, terms, now)):
            pass
        while _step(unit, lambda session: _score(session, store, chain, vault, now)):
            pass
    except Unavailable:  # the mirror is empty: there is no chain's clock yet
        return False
    queued = False
    if operator is not None:
        with unit() as session:
            tokens = streams.tokens(session)
        for token in tokens:
            queued |= _publish(unit, store, chain, token, operator=operator, now=now)
    return queued


def _step(unit: Unit, work: Callable[[Session], bool]) -> bool:
    """One transaction under the lock; False when there was nothing to do or another process is at it."""
    with unit() as session:
        return service.alone(session) and work(session)


def _fix(session: Session, terms: Terms, now: datetime) -> bool:
    epoch = service.closable(session, terms)
    if epoch is not None:
        service.fix(session, epoch, now=now)
    return epoch is not None


def _score(session: Session, store: ContentStore, chain: ChainInfo, vault: Vault, now: datetime) -> bool:
    epoch = session.scalar(
        select(RewardEpoch.epoch).where(RewardEpoch.scored_at.is_(None)).order_by(RewardEpoch.epoch).limit(1)
    )
    if epoch is not None:
        service.score(session, store, chain, vault, epoch, now=now)
    return epoch is not None


def _publish(
    unit: Unit, store: ContentStore, chain: ChainInfo, token: bytes, *, operator: bytes, now: datetime
) -> bool:
    def finalize(session: Session) -> bool:
        service.count_what_was_mined(session, token)
        return service.finalize(session, chain, token, operator=operator) is not None

    def plan(session: Session) -> bool:
        service.void_what_failed(session, token)
        return service.plan(session, store, chain, token, operator=operator, now=now) is not None

    queued = _step(unit, finalize)
    while _step(unit, plan):  # epochs that reward nobody follow one another at once
        queued = True
    return queued
