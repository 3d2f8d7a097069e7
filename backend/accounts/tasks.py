"""What the accounts package does by the clock."""

from __future__ import annotations

from sqlalchemy import delete

from backend.accounts import visitors
from backend.models.accounts import AuthSession, SignInNonce
from backend.worker import celery, core, task_session


@celery.task(name="accounts.forget_expired")  # type: ignore[untyped-decorator]  # celery has no types
def forget_expired() -> None:
    """Delete nonces and sessions whose time is over, which were refused already, and the visitors they led to."""
    now = core().clock()
    with task_session() as session:
        session.execute(delete(SignInNonce).where(SignInNonce.expires_at <= now))
        session.execute(delete(AuthSession).where(AuthSession.expires_at <= now))
    gone = visitors.BATCH
    while gone == visitors.BATCH:
        with task_session() as session:
            gone = visitors.forget_abandoned(session, core().vault)
