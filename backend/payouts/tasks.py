"""Celery: keep the trees of new splits found, and look again for those whose file was not there."""

from __future__ import annotations

from backend.payouts.service import Payouts
from backend.worker import celery, core


@celery.task(name="payouts.find_trees")  # type: ignore[untyped-decorator]  # celery has no types
def find_trees() -> None:
    """Find the trees of splits that appeared since the last time; requests do it too, so that nobody waits for beat."""
    Payouts.of(core()).resolve_trees()


@celery.task(name="payouts.retry_trees")  # type: ignore[untyped-decorator]  # celery has no types
def retry_trees() -> None:
    """Look again for trees whose file was not kept here when their split appeared."""
    Payouts.of(core()).retry_trees()
