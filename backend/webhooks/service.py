"""Endpoints and their deliveries, as their owners manage them."""

from __future__ import annotations

import base64
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping, func, select, true
from sqlalchemy.orm import Session

from backend.errors import Conflict, Invalid, NotFound
from backend.models.accounts import Account
from backend.models.base import uuid7
from backend.models.webhooks import WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookEvent
from backend.vault.vault import Vault, place
from backend.webhooks import feed
from backend.webhooks.delivery import give_up
from backend.webhooks.transport import RefusedUrl, check_url

ENDPOINT_LIMIT = 10
SECRET_BYTES = 32
PAUSED = "you paused it"
ATTEMPTS_SHOWN = 100


def new_secret() -> str:
    """A signing secret as Standard Webhooks writes it."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


@dataclass(frozen=True)
class Desk:
    """One person's webhooks: the session, their account, and what their columns are sealed with."""

    session: Session
    vault: Vault
    account: Account
    now: datetime
    loopback: bool

    def _seal(self, row: uuid.UUID, column: str, value: str) -> bytes:
        return self.vault.seal(self.account.id, value, place(getattr(WebhookEndpoint, column), row))

    def url(self, endpoint: WebhookEndpoint) -> str:
        """Where it sends to."""
        return self.vault.unseal_text(self.account.id, endpoint.url, place(WebhookEndpoint.url, endpoint.id))

    def _check(self, url: str) -> None:
        try:
            check_url(url, loopback=self.loopback)
        except RefusedUrl as error:
            raise Invalid(f"Nothing can be sent there: {error}.", code="webhook_url") from None

    def create(self, *, url: str, types: Sequence[str], work_ids: Sequence[int] | None) -> tuple[WebhookEndpoint, str]:
        """A new endpoint and its secret, which is nowhere else in the clear. Raises Invalid, Conflict."""
        self._check(url)
        self.session.get_one(Account, self.account.id, with_for_update=True)  # two at once count one after the other
        mine = select(func.count()).where(WebhookEndpoint.account_id == self.account.id)
        if (self.session.scalar(mine) or 0) >= ENDPOINT_LIMIT:
            raise Conflict(
                f"You have {ENDPOINT_LIMIT} endpoints already: delete one, or let one take more types.",
                code="webhook_limit",
            )
        feed.begin(self.session)  # what happens from now on is told
        row_id, secret = uuid7(), new_secret()
        endpoint = WebhookEndpoint(
            id=row_id,
            account_id=self.account.id,
            url=self._seal(row_id, "url", url),
            secret=self._seal(row_id, "secret", secret),
            types=sorted(set(types)),
            work_ids=None if work_ids is None else sorted(set(work_ids)),
            created_at=self.now,
            failures=0,
            next_at=self.now,
        )
        self.session.add(endpoint)
        self.session.flush()
        return endpoint, secret

    def endpoints(self) -> list[WebhookEndpoint]:
        """The account's endpoints, oldest first."""
        query = select(WebhookEndpoint).where(WebhookEndpoint.account_id == self.account.id)
        return list(self.session.scalars(query.order_by(WebhookEndpoint.created_at, WebhookEndpoint.id)))

    def endpoint(self, endpoint_id: uuid.UUID, *, lock: bool = False) -> WebhookEndpoint:
        """One of the account's endpoints. Raises NotFound."""
        query = select(WebhookEndpoint).where(
            WebhookEndpoint.id == endpoint_id, WebhookEndpoint.account_id == self.account.id
        )
        found = self.session.scalars(query.with_for_update() if lock else query).one_or_none()
        if found is None:
            raise NotFound("You have no such webhook endpoint.", code="webhook_not_found")
        return found

    def waiting(self, endpoint: WebhookEndpoint) -> int:
        """How many events wait for it."""
        query = select(func.count()).where(
            WebhookDelivery.endpoint_id == endpoint.id, WebhookDelivery.state == "waiting"
        )
        return self.session.scalar(query) or 0

    def change(
        self,
        endpoint_id: uuid.UUID,
        *,
        url: str | None,
        types: Sequence[str] | None,
        work_ids: Sequence[int] | None,
        all_works: bool,
        enabled: bool | None,
        drop_waiting: bool,
    ) -> WebhookEndpoint:
        """Change what was given. Raises NotFound, Invalid."""
        endpoint = self.endpoint(endpoint_id, lock=True)
        if url is not None:
            self._check(url)
            endpoint.url = self._seal(endpoint.id, "url", url)
            endpoint.next_at = self.now
        if types is not None:
            endpoint.types = sorted(set(types))
        if work_ids is not None or all_works:
            endpoint.work_ids = None if work_ids is None else sorted(set(work_ids))
        if enabled is True:
            endpoint.disabled_at = endpoint.disabled_reason = None
            endpoint.failures, endpoint.next_at = 0, self.now
        elif enabled is False and endpoint.disabled_at is None:
            endpoint.disabled_at, endpoint.disabled_reason = self.now, PAUSED
        if drop_waiting:
            give_up(self.session, endpoint_id=endpoint.id)
        self.session.flush()
        return endpoint

    def delete(self, endpoint_id: uuid.UUID) -> None:
        """Remove an endpoint with its log. Raises NotFound."""
        self.session.delete(self.endpoint(endpoint_id, lock=True))

    def rotate(self, endpoint_id: uuid.UUID, *, overlap: timedelta) -> tuple[WebhookEndpoint, str]:
        """A new secret; the one before goes on signing beside it for the overlap, an older one is void."""
        endpoint = self.endpoint(endpoint_id, lock=True)
        old = self.vault.unseal_text(self.account.id, endpoint.secret, place(WebhookEndpoint.secret, endpoint.id))
        if overlap:
            endpoint.old_secret = self._seal(endpoint.id, "old_secret", old)
            endpoint.old_secret_until = self.now + overlap
        else:
            endpoint.old_secret = endpoint.old_secret_until = None
        secret = new_secret()
        endpoint.secret = self._seal(endpoint.id, "secret", secret)
        self.session.flush()
        return endpoint, secret

    def test(self, endpoint_id: uuid.UUID) -> str:
        """Queue a test behind what waits; its `webhook-id`. Raises NotFound, Conflict."""
        endpoint = self.endpoint(endpoint_id, lock=True)
        self._require_active(endpoint)
        return feed.message_id(feed.tell_one(self.session, endpoint_id=endpoint.id, now=self.now))

    def redeliver(self, endpoint_id: uuid.UUID, message_id: str) -> str:
        """Send an event again, with the same id and before what waits. Raises NotFound, Conflict."""
        endpoint = self.endpoint(endpoint_id, lock=True)
        found = self.delivery(endpoint_id, message_id)
        self._require_active(endpoint)
        delivery = self.session.get_one(WebhookDelivery, (endpoint.id, found["position"]))
        delivery.state, delivery.delivered_at = "waiting", None
        endpoint.next_at = self.now
        self.session.flush()
        return feed.message_id(found["id"])

    def _require_active(self, endpoint: WebhookEndpoint) -> None:
        if endpoint.disabled_at is not None:
            raise Conflict(
                f"Nothing is sent to this endpoint: {endpoint.disabled_reason}. Enable it first.",
                code="webhook_disabled",
            )

    # --- the log --------------------------------------------------------------------------------------------------

    def deliveries(
        self, endpoint_id: uuid.UUID, *, state: str | None, before: int | None, limit: int
    ) -> Sequence[RowMapping]:
        """The newest deliveries of an endpoint, those before a position if given. Raises NotFound."""
        self.endpoint(endpoint_id)
        query = _deliveries().where(WebhookDelivery.endpoint_id == endpoint_id)
        if state is not None:
            query = query.where(WebhookDelivery.state == state)
        if before is not None:
            query = query.where(WebhookDelivery.position < before)
        return self.session.execute(query.limit(limit)).mappings().all()

    def delivery(self, endpoint_id: uuid.UUID, message_id: str) -> RowMapping:
        """One delivery. Raises NotFound."""
        self.endpoint(endpoint_id)
        query = _deliveries().where(
            WebhookDelivery.endpoint_id == endpoint_id, WebhookEvent.id == feed.parse_message_id(message_id)
        )
        found = self.session.execute(query).mappings().one_or_none()
        if found is None:
            raise NotFound(
                f"No such event was for this endpoint within the last {feed.RETENTION.days} days.",
                code="webhook_delivery_not_found",
            )
        return found

    def attempts(self, endpoint_id: uuid.UUID, position: int) -> list[WebhookAttempt]:
        """The attempts of a delivery, newest first."""
        query = select(WebhookAttempt).where(
            WebhookAttempt.endpoint_id == endpoint_id, WebhookAttempt.position == position
        )
        return list(self.session.scalars(query.order_by(WebhookAttempt.id.desc()).limit(ATTEMPTS_SHOWN)))


def _deliveries() -> Any:
    """Deliveries with their events and how their attempts went, newest first."""
    of_it = (WebhookAttempt.endpoint_id == WebhookDelivery.endpoint_id) & (
        WebhookAttempt.position == WebhookDelivery.position
    )
    last = select(WebhookAttempt.status, WebhookAttempt.error).where(of_it).order_by(WebhookAttempt.id.desc()).limit(1)
    latest = last.lateral("latest")
    return (
        select(
            WebhookEvent.id,
            WebhookEvent.position,
            WebhookEvent.type,
            WebhookEvent.body,
            WebhookEvent.created_at,
            WebhookDelivery.state,
            WebhookDelivery.delivered_at,
            select(func.count()).where(of_it).correlate(WebhookDelivery).scalar_subquery().label("attempts"),
            latest.c.status.label("last_status"),
            latest.c.error.label("last_error"),
        )
        .join(WebhookDelivery, WebhookDelivery.position == WebhookEvent.position)
        .outerjoin(latest, true())
        .order_by(WebhookDelivery.position.desc())
    )
