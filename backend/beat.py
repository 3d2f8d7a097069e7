"""The scheduler of `celery beat`: any number of beats may run, one of them sends, and each slot is sent once.

Who sends holds a lease in the database. A beat that was paused past its lease, and does not know it, sends nothing:
each slot is claimed under the lease's fence, which a new holder has moved on. What was sent when is in the database
too, so that a beat that starts anew neither repeats nor forgets.
"""

from __future__ import annotations

import time
import uuid
from datetime import timedelta
from typing import Any

import structlog
from celery.beat import ScheduleEntry, Scheduler
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from backend.db import Database

log = structlog.get_logger(__name__)

NAME = "beat"
TTL_S = 15.0
RENEW_S = 5.0
RETRY_S = 2.0
"""How often a beat that does not send looks whether it should."""

_TAKE = text("""
    INSERT INTO app.lease AS held (name, holder, fence, expires_at)
    VALUES (:name, :holder, 1, now() + :ttl * interval '1 second')
    ON CONFLICT (name) DO UPDATE
    SET holder = excluded.holder, expires_at = excluded.expires_at,
        fence = held.fence + CASE WHEN held.holder = excluded.holder THEN 0 ELSE 1 END
    WHERE held.holder = excluded.holder OR held.expires_at <= now()
    RETURNING fence
""")
_RELEASE = text("UPDATE app.lease SET expires_at = now() WHERE name = :name AND holder = :holder AND fence = :fence")
_CLAIM = text("""
    INSERT INTO app.beat_slot AS last (job, slot, fence, sent_at)
    SELECT :job, floor(extract(epoch FROM now()) / :interval), held.fence, now() FROM app.lease held
    WHERE held.name = :name AND held.holder = :holder AND held.fence = :fence AND held.expires_at > now()
    ON CONFLICT (job) DO UPDATE SET slot = excluded.slot, fence = excluded.fence, sent_at = excluded.sent_at
    WHERE last.slot < excluded.slot
    RETURNING job
""")
_SENT = text("SELECT job, sent_at FROM app.beat_slot")


class Lease:
    """The right to send, for one process at a time. Times are the database's."""

    def __init__(self, database: Database, *, name: str = NAME, ttl_s: float = TTL_S) -> None:
        self._database = database
        self._me: dict[str, Any] = {"name": name, "holder": uuid.uuid4()}
        self._ttl_s = ttl_s
        self.fence: int | None = None
        """Of the time that it was last taken; None when it is another's."""

    def take(self) -> bool:
        """Take it, or keep it for longer; False while another holds it."""
        with self._database.session() as session:
            self.fence = session.scalar(_TAKE, self._me | {"ttl": self._ttl_s})
        return self.fence is not None

    def release(self) -> None:
        """Let the next one have it at once."""
        if self.fence is not None:
            with self._database.session() as session:
                session.execute(_RELEASE, self._me | {"fence": self.fence})
            self.fence = None

    def claim(self, job: str, interval_s: float) -> bool:
        """Claim the job's present slot; False when it was sent, or the lease has passed on meanwhile."""
        with self._database.session() as session:
            values = self._me | {"fence": self.fence, "job": job, "interval": interval_s}
            return session.scalar(_CLAIM, values) is not None

    def sent(self) -> dict[str, Any]:
        """When each job was last sent, by whichever beat."""
        with self._database.session() as session:
            return {row.job: row.sent_at for row in session.execute(_SENT)}


class LeasedScheduler(Scheduler):  # type: ignore[misc]  # celery has no types
    """Celery's scheduler under a Lease."""

    def setup_schedule(self) -> None:
        """Take the schedule from the settings; nothing is kept in a file, and nothing is connected yet."""
        from backend.worker import core  # noqa: PLC0415 - it names this class in its settings

        self.merge_inplace(self.app.conf.beat_schedule)
        self.lease = Lease(core().database)
        self._renew_at = 0.0

    def _holds(self) -> bool:
        now = time.monotonic()
        if self.lease.fence is not None and now < self._renew_at:
            return True
        held = self.lease.fence
        if not self.lease.take():
            return False
        if self.lease.fence != held:
            log.info("this beat sends", fence=self.lease.fence)
            for name, sent_at in self.lease.sent().items():
                if (entry := self.schedule.get(name)) is not None:
                    entry.last_run_at = sent_at
            self._heap = None  # Celery makes it anew from the entries
        self._renew_at = now + RENEW_S
        return True

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due, if this is the beat that sends; how many seconds to wait."""
        try:
            return min(super().tick(*args, **kwargs), RENEW_S) if self._holds() else RETRY_S
        except SQLAlchemyError:
            log.warning("the database does not answer: nothing is sent")
            self.lease.fence = None
            return RETRY_S

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        """Send a due task, unless its slot was sent already."""
        every = getattr(entry.schedule, "run_every", timedelta(minutes=1))
        if self.lease.claim(entry.name, every.total_seconds()):
            super().apply_entry(entry, producer=producer)

    def close(self) -> None:
        """Hand the lease on."""
        try:
            self.lease.release()
        except SQLAlchemyError:
            log.warning("the lease ends by itself", seconds=TTL_S)
        super().close()
