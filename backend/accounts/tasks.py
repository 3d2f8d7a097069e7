"""What the accounts package does by the clock."""

from __future__ import annotations

from sqlalchemy import delete, or_

from backend.accounts import keys, owners, visitors
from backend.models.accounts import ApiKey, AuthSession, SignInNonce
from backend.worker import celery, core, task_session


@celery.task(name="accounts.ask_wallets")  # type: ignore[untyped-decorator]
def ask_wallets() -> None:
    """End sessions and keys of contract wallets that have changed their owner."""
    shared = core()
    owners.ask_wallets(shared.database.session, shared.node, now=shared.clock())


@celery.task(name="accounts.forget_expired")  # type: ignore[untyped-decorator]  # celery has no types
def forget_expired() -> None:
    """Delete nonces, sessions and keys whose time is over (they were refused already), and abandoned visitors."""
    now = core().clock()
    with task_session() as session:
        session.execute(delete(SignInNonce).where(SignInNonce.expires_at <= now))
        session.execute(delete(AuthSession).where(AuthSession.expires_at <= now))
        ended = now - keys.KEPT_AFTER_END
        session.execute(delete(ApiKey).where(or_(ApiKey.revoked_at <= ended, ApiKey.expires_at <= ended)))
    visitors.destroy_ended(core().database, core().vault)
    gone = visitors.BATCH
    while gone == visitors.BATCH:
        with task_session() as session:
            gone = visitors.forget_abandoned(session, core().vault)
