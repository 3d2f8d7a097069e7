"""Where people register endpoints, and look at what was sent."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, status
from sqlalchemy import RowMapping

from backend.deps import DbSession, Now, SettingsDep, VaultDep, secret_answer
from backend.edge.scoped import WebhookOwner
from backend.errors import Problem
from backend.models.webhooks import WebhookEndpoint
from backend.pagination import DEFAULT_LIMIT, Cursor, Limit, decode_cursor, encode_cursor, page
from backend.webhooks import schemas
from backend.webhooks.feed import message_id
from backend.webhooks.service import Desk

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])
sent = APIRouter(tags=["webhooks"])
"""What we send, for OpenAPI's `webhooks`."""

SCOPE = "webhook-deliveries"
NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "`webhook_not_found`"}}
NO_DELIVERY: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "`webhook_not_found`, `webhook_delivery_not_found`"}
}
UNFIT: dict[int | str, dict[str, Any]] = {422: {"model": Problem, "description": "`webhook_url`, `invalid`"}}
DISABLED: dict[int | str, dict[str, Any]] = {409: {"model": Problem, "description": "`webhook_disabled`"}}

MessageId = Annotated[
    str, Path(max_length=64, description="The `webhook-id`", examples=["msg_0199f0c27f3b7c10a2b4d6e8f0a1b2c3"])
]


def get_desk(session: DbSession, vault: VaultDep, me: WebhookOwner, now: Now, settings: SettingsDep) -> Desk:
    return Desk(session, vault, me, now, settings.webhook_loopback)


DeskDep = Annotated[Desk, Depends(get_desk)]


def _endpoint(desk: Desk, row: WebhookEndpoint) -> dict[str, Any]:
    waiting = desk.waiting(row)
    active = row.disabled_at is None
    overlapping = row.old_secret_until is not None and row.old_secret_until > desk.now
    return {
        "id": row.id,
        "url": desk.url(row),
        "types": row.types,
        "work_ids": row.work_ids,
        "state": "active" if active else "disabled",
        "disabled_reason": row.disabled_reason,
        "disabled_at": row.disabled_at,
        "failures": row.failures,
        "waiting": waiting,
        "next_attempt_at": max(row.next_at, desk.now) if active and waiting else None,
        "old_secret_until": row.old_secret_until if overlapping else None,
        "created_at": row.created_at,
    }


def _delivery(row: RowMapping) -> dict[str, Any]:
    names = ("type", "state", "created_at", "delivered_at", "attempts", "last_status", "last_error")
    return {"id": message_id(row["id"])} | {name: row[name] for name in names}


@router.post(
    "",
    dependencies=[Depends(secret_answer)],
    status_code=status.HTTP_201_CREATED,
    responses={
        409: {"model": Problem, "description": "`webhook_limit`"},
        422: {"model": Problem, "description": "`webhook_url`, `invalid`"},
    },
)
def create_webhook(desk: DeskDep, body: schemas.EndpointIn) -> schemas.EndpointWithSecret:
    """Register an address where events are sent, from now on. The secret is in this answer and in none after it.

    Deliveries follow Standard Webhooks: headers `webhook-id`, `webhook-timestamp`, `webhook-signature`; events of one
    endpoint come in order, each at least once; anything but 2xx is tried again for about a day.
    """
    row, secret = desk.create(url=body.url, types=body.types, work_ids=body.work_ids)
    return schemas.EndpointWithSecret(**_endpoint(desk, row), secret=secret)


@router.get("")
def list_webhooks(desk: DeskDep) -> schemas.EndpointList:
    """Your endpoints, oldest first, with how they do."""
    return schemas.EndpointList(items=[schemas.Endpoint(**_endpoint(desk, row)) for row in desk.endpoints()])


@router.get("/{webhook_id}", responses=NOT_FOUND)
def get_webhook(desk: DeskDep, webhook_id: uuid.UUID) -> schemas.Endpoint:
    """One of your endpoints."""
    return schemas.Endpoint(**_endpoint(desk, desk.endpoint(webhook_id)))


@router.patch("/{webhook_id}", responses=NOT_FOUND | UNFIT)
def update_webhook(desk: DeskDep, webhook_id: uuid.UUID, body: schemas.EndpointPatch) -> schemas.Endpoint:
    """Change an endpoint; enable it again after a failure, with what waited meanwhile or without."""
    row = desk.change(
        webhook_id,
        url=body.url,
        types=body.types,
        work_ids=body.work_ids,
        all_works=bool(body.all_works),
        enabled=body.enabled,
        drop_waiting=body.drop_waiting,
    )
    return schemas.Endpoint(**_endpoint(desk, row))


@router.delete("/{webhook_id}", status_code=status.HTTP_204_NO_CONTENT, responses=NOT_FOUND)
def delete_webhook(desk: DeskDep, webhook_id: uuid.UUID) -> None:
    """Remove an endpoint, its secret and its log."""
    desk.delete(webhook_id)


@router.post("/{webhook_id}/rotate-secret", responses=NOT_FOUND, dependencies=[Depends(secret_answer)])
def rotate_webhook_secret(desk: DeskDep, webhook_id: uuid.UUID, body: schemas.RotateIn) -> schemas.EndpointWithSecret:
    """Make a new secret. Until the overlap is over deliveries carry a signature by each of the two."""
    row, secret = desk.rotate(webhook_id, overlap=timedelta(hours=body.overlap_hours))
    return schemas.EndpointWithSecret(**_endpoint(desk, row), secret=secret)


@router.post("/{webhook_id}/test", status_code=status.HTTP_202_ACCEPTED, responses=NOT_FOUND | DISABLED)
def test_webhook(desk: DeskDep, webhook_id: uuid.UUID) -> schemas.Queued:
    """Send an event of type `webhook.test`, behind what waits already."""
    return schemas.Queued(id=desk.test(webhook_id))


@router.get("/{webhook_id}/deliveries", responses=NOT_FOUND)
def list_webhook_deliveries(
    desk: DeskDep,
    webhook_id: uuid.UUID,
    *,
    state: Annotated[schemas.DeliveryState | None, Query(description="Only these")] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> schemas.DeliveryPage:
    """What was sent to an endpoint or waits for it, newest first, kept for 30 days."""
    before = None if cursor is None else decode_cursor(SCOPE, cursor, int)[0]
    rows = desk.deliveries(webhook_id, state=state, before=before, limit=limit + 1)
    items, following = page(rows, limit, lambda row: encode_cursor(SCOPE, row["position"]))
    return schemas.DeliveryPage(items=[schemas.Delivery(**_delivery(row)) for row in items], next=following)


@router.get("/{webhook_id}/deliveries/{message}", responses=NO_DELIVERY)
def get_webhook_delivery(desk: DeskDep, webhook_id: uuid.UUID, message: MessageId) -> schemas.DeliveryDetail:
    """One delivery: the body that is sent, and each attempt."""
    row = desk.delivery(webhook_id, message)
    attempts = [
        schemas.Attempt.model_validate(attempt, from_attributes=True)
        for attempt in desk.attempts(webhook_id, row["position"])
    ]
    return schemas.DeliveryDetail(**_delivery(row), body=row["body"], log=attempts)


@router.post(
    "/{webhook_id}/deliveries/{message}/redeliver",
    status_code=status.HTTP_202_ACCEPTED,
    responses=NO_DELIVERY | DISABLED,
)
def redeliver_webhook(desk: DeskDep, webhook_id: uuid.UUID, message: MessageId) -> schemas.Queued:
    """Send an event again, with the same `webhook-id`, before what waits."""
    return schemas.Queued(id=desk.redeliver(webhook_id, message))


# what is sent


@sent.post("work.registered")
def work_registered(body: schemas.Envelope[schemas.WorkRegistered]) -> None:
    """A work was registered."""


@sent.post("payment.received")
def payment_received(body: schemas.Envelope[schemas.PaymentReceived]) -> None:
    """A work was paid."""


@sent.post("payout.withdrawn")
def payout_withdrawn(body: schemas.Envelope[schemas.PayoutWithdrawn]) -> None:
    """Somebody took out what a share had earned."""


@sent.post("proposal.created")
def proposal_created(body: schemas.Envelope[schemas.ProposalCreated]) -> None:
    """A vote will be held."""


@sent.post("proposal.closed")
def proposal_closed(body: schemas.Envelope[schemas.ProposalClosed]) -> None:
    """A vote is over, or was called off."""


@sent.post("reward.finalised")
def reward_finalised(body: schemas.Envelope[schemas.RewardFinalised]) -> None:
    """An epoch's rewards in a token can be claimed."""


@sent.post("chain.reorganised")
def chain_reorganised(body: schemas.Envelope[schemas.ChainReorganised]) -> None:
    """What was told of a block and all above it is void; what the chain has instead follows."""


@sent.post("webhook.test")
def webhook_tried(body: schemas.Envelope[schemas.Trial]) -> None:
    """You asked for a test."""
