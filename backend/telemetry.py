"""Logs and metrics. A log line is one JSON object with the request's id; it names ids, never payloads or keys."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog
from prometheus_client import Counter, Histogram

requests_total = Counter(
    "troupe_http_requests_total", "Requests answered, by route and status.", ["method", "route", "status"]
)
request_seconds = Histogram(
    "troupe_http_request_seconds",
    "From the first byte of the request to the end of the answer.",
    ["method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
rate_limited_total = Counter(
    "troupe_http_rate_limited_total",
    "Requests refused with 429, by class of routes and kind of caller.",
    ["class", "caller"],
)
limiter_failures_total = Counter(
    "troupe_http_limiter_failures_total", "Times that Redis could not be asked to count requests."
)
tasks_total = Counter("troupe_tasks_total", "Tasks ended, by name and outcome.", ["task", "outcome"])


def configure_logging(*, colours: bool = False, level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Send structlog and the standard library's logs to one stream as JSON lines, or in colours on a terminal."""
    out = stream or sys.stderr
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if colours
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for noisy in ("uvicorn.access", "httpx", "httpcore", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
