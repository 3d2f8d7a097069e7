"""Sending what waits: per endpoint one after the other in order, each until it was taken (2xx), at least once.

The database owns the state. A sender takes an endpoint by a lease (SKIP LOCKED), sends its first waiting event with no
transaction open, and writes down how that ended only while the lease is still its own. Killed in between, the lease
runs out and the same event goes out again with the same id. An endpoint that has failed too often in a row is disabled
with the reason, and what waits for it stays.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import structlog
from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session, sessionmaker
from standardwebhooks import Webhook

from backend.models.webhooks import WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookEvent
from backend.telemetry import metrics
from backend.vault.vault import NoKey, Vault, place
from backend.webhooks.feed import message_id
from backend.webhooks.transport import Transport, Unsent

LEASE = timedelta(seconds=60)
"""Longer than any attempt can take."""
FIRST_DELAY_S = 5.0
LONGEST_DELAY_S = 6 * 3600.0
MAX_FAILURES = 12
"""Failed attempts in a row, about a day, after which an endpoint is disabled."""
USER_AGENT = "Troupe-Webhooks/1"
GONE = 410

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Claim:
    """An endpoint's first waiting event, opened, and the lease under which it is sent."""

    lease: uuid.UUID
    endpoint_id: uuid.UUID
    position: int
    message_id: str
    url: str
    secrets: tuple[str, ...]
    body: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended."""

    status: int | None
    error: str | None
    at: datetime
    duration_ms: int

    @property
    def kind(self) -> str:
        """How it ended, for the metrics."""
        return "taken" if self.taken else "unanswered" if self.status is None else "refused"

    @property
    def taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def delay_s(failures: int, dice: float) -> float:
    """Seconds to wait after so many failures in a row: threefold each time, up to 6 hours, a fifth more or less."""
    grown: float = FIRST_DELAY_S * 3 ** (failures - 1)
    return min(grown, LONGEST_DELAY_S) * (0.8 + 0.4 * dice)


def signed_headers(claim: Claim, at: datetime) -> dict[str, str]:
    """Standard Webhooks: the id, the time of this attempt, and a signature by each secret that counts."""
    signatures = [Webhook(secret).sign(claim.message_id, at, claim.body) for secret in claim.secrets]
    return {
        "content-type": "application/json",
        "user-agent": USER_AGENT,
        "webhook-id": claim.message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def _no_probe(point: str) -> None:
    return None


@dataclass
class Sender:
    """Sends what waits. Time, dice (0 to 1) and fault probes are passed in; any number may run at once."""

    sessions: sessionmaker[Session]
    vault: Vault
    transport: Transport
    now: Callable[[], datetime]
    dice: Callable[[], float]
    probe: Callable[[str], None] = _no_probe

    def run(self, *, seconds: float, threads: int = 1) -> int:
        """Send until nothing is due or the time is over; returns how many attempts were made."""
        until = time.monotonic() + seconds

        def work(_: int) -> int:
            made = 0
            while time.monotonic() < until and self.step():
                made += 1
            return made

        with ThreadPoolExecutor(threads) as pool:
            return sum(pool.map(work, range(threads)))

    def step(self) -> bool:
        """One attempt for one endpoint that is due; False when none is."""
        claim = self.claim()
        if claim is None:
            return False
        self.probe("claimed")
        outcome = self.attempt(claim)
        self.probe("sent")
        self.settle(claim, outcome)
        return True

    def claim(self) -> Claim | None:
        """Take a lease on an endpoint that has something waiting and due; of those the one due for longest."""
        while True:
            with self.sessions.begin() as session:
                endpoint = self._lease(session)
                if endpoint is None:
                    return None
                waiting = (
                    select(WebhookEvent)
                    .join(WebhookDelivery, WebhookDelivery.position == WebhookEvent.position)
                    .where(WebhookDelivery.endpoint_id == endpoint.id, WebhookDelivery.state == "waiting")
                    .order_by(WebhookEvent.position)
                    .limit(1)
                )
                event = session.scalars(waiting).one_or_none()
                if event is None:  # given up meanwhile
                    endpoint.lease = endpoint.leased_until = None
                    continue
                try:
                    return self._open(endpoint, event)
                except NoKey:
                    # the person was erased, and their key with them: nobody can be told any more
                    session.delete(endpoint)

    def _lease(self, session: Session) -> WebhookEndpoint | None:
        now = self.now()
        waiting = select(WebhookDelivery.position).where(
            WebhookDelivery.endpoint_id == WebhookEndpoint.id, WebhookDelivery.state == "waiting"
        )
        endpoint = session.scalars(
            select(WebhookEndpoint)
            .where(
                WebhookEndpoint.disabled_at.is_(None),
                WebhookEndpoint.next_at <= now,
                or_(WebhookEndpoint.leased_until.is_(None), WebhookEndpoint.leased_until <= now),
                waiting.exists(),
            )
            .order_by(WebhookEndpoint.next_at, WebhookEndpoint.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        ).one_or_none()
        if endpoint is not None:
            endpoint.lease, endpoint.leased_until = uuid.uuid4(), now + LEASE
        return endpoint

    def _open(self, endpoint: WebhookEndpoint, event: WebhookEvent) -> Claim:
        assert endpoint.lease is not None
        person = endpoint.account_id

        def text(column: str, sealed: bytes) -> str:
            at = place(getattr(WebhookEndpoint, column), endpoint.id)
            return self.vault.unseal_text(person, sealed, at)

        secrets = [text("secret", endpoint.secret)]
        if endpoint.old_secret and endpoint.old_secret_until and endpoint.old_secret_until > self.now():
            secrets.append(text("old_secret", endpoint.old_secret))
        return Claim(
            lease=endpoint.lease,
            endpoint_id=endpoint.id,
            position=event.position,
            message_id=message_id(event.id),
            url=text("url", endpoint.url),
            secrets=tuple(secrets),
            body=event.body,
        )

    def attempt(self, claim: Claim) -> Outcome:
        """Send it once."""
        at, began = self.now(), time.perf_counter()
        status = error = None
        try:
            status = self.transport.post(claim.url, signed_headers(claim, at), claim.body.encode())
        except Unsent as failure:
            error = failure.code
        return Outcome(status, error, at, int((time.perf_counter() - began) * 1000))

    def settle(self, claim: Claim, outcome: Outcome) -> bool:
        """Write down how an attempt ended; False when the lease had run out, and another counts."""
        metrics.webhook_attempts.add(outcome.kind)
        with self.sessions.begin() as session:
            endpoint = session.scalars(
                select(WebhookEndpoint)
                .where(WebhookEndpoint.id == claim.endpoint_id, WebhookEndpoint.lease == claim.lease)
                .with_for_update()
            ).one_or_none()
            if endpoint is None:
                return False
            endpoint.lease = endpoint.leased_until = None
            delivery = session.get(WebhookDelivery, (claim.endpoint_id, claim.position))
            if delivery is not None:
                session.add(
                    WebhookAttempt(
                        endpoint_id=claim.endpoint_id,
                        position=claim.position,
                        at=outcome.at,
                        status=outcome.status,
                        error=outcome.error,
                        duration_ms=outcome.duration_ms,
                    )
                )
            if outcome.taken:
                if delivery is not None and delivery.state == "waiting":
                    delivery.state, delivery.delivered_at = "delivered", outcome.at
                endpoint.failures, endpoint.next_at = 0, self.now()
            else:
                self._failed(endpoint, outcome)
            return True

    def _failed(self, endpoint: WebhookEndpoint, outcome: Outcome) -> None:
        endpoint.failures += 1
        now = self.now()
        endpoint.next_at = now + timedelta(seconds=delay_s(endpoint.failures, self.dice()))
        said = f"the last one ended with {outcome.status or outcome.error}"
        if outcome.status == GONE:
            endpoint.disabled_at, endpoint.disabled_reason = now, "the receiver answered 410 Gone"
        elif endpoint.failures >= MAX_FAILURES and endpoint.disabled_at is None:
            endpoint.disabled_at = now
            endpoint.disabled_reason = f"{endpoint.failures} attempts in a row failed, {said}"
        if endpoint.disabled_at is not None:
            log.info("webhooks.disabled", endpoint=str(endpoint.id), reason=endpoint.disabled_reason)


def give_up(session: Session, *, endpoint_id: uuid.UUID) -> None:
    """Drop what waits for an endpoint."""
    mine = WebhookDelivery.endpoint_id == endpoint_id
    session.execute(update(WebhookDelivery).where(mine, WebhookDelivery.state == "waiting").values(state="dropped"))


class Backlog(NamedTuple):
    """What waits to be sent and what became of the rest, of the last 30 days."""

    states: dict[str, int]
    oldest_s: float
    """Age of the event that waits longest at an endpoint that is not disabled."""
    disabled: int
    """Endpoints to which nothing is sent any more."""


def backlog(session: Session) -> Backlog:
    """The figures of all deliveries, for the metrics: no endpoint is told from another."""
    counted = select(WebhookDelivery.state, func.count()).group_by(WebhookDelivery.state)
    waiting = (
        select(func.extract("epoch", func.now() - func.min(WebhookEvent.created_at)))
        .join(WebhookDelivery, WebhookDelivery.position == WebhookEvent.position)
        .join(WebhookEndpoint, WebhookEndpoint.id == WebhookDelivery.endpoint_id)
        .where(WebhookDelivery.state == "waiting", WebhookEndpoint.disabled_at.is_(None))
    )
    disabled = select(func.count()).select_from(WebhookEndpoint).where(WebhookEndpoint.disabled_at.is_not(None))
    return Backlog(
        {state: count for state, count in session.execute(counted)},
        max(0.0, float(session.scalar(waiting) or 0)),
        session.scalar(disabled) or 0,
    )
