"""Health and metrics."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from backend.schemas import Schema

router = APIRouter(tags=["system"])


class Health(Schema):
    """The process answers."""

    status: str


@router.get("/health")
async def get_health() -> Health:
    """Whether this process answers; it asks nothing else. `/ready` says whether it can serve."""
    return Health(status="ok")


@router.get("/metrics", response_class=Response, include_in_schema=False)
async def get_metrics() -> Response:
    """Prometheus metrics."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
