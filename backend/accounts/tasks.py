"""What the accounts package does by the clock."""

from __future__ import annotations

from sqlalchemy import delete

from backend.models.accounts import AuthSession, SignInNonce
from backend.worker import celery, core, task_session


@celery.task(name="accounts.forget_expired")  # type: ignore[untyped-decorator]  # celery has no types
def forget_expired() -> None:
    """Delete nonces and sessions whose time is over; they were refused already."""
    now = core().clock()
    with task_session() as session:
        session.execute(delete(SignInNonce).where(SignInNonce.expires_at <= now))
        session.execute(delete(AuthSession).where(AuthSession.expires_at <= now))
