"""Logs: one JSON object a line, with the request's id and block; ids, never payloads, keys, signatures or tokens.

Metrics are in `backend.telemetry.metrics`, traces in `backend.telemetry.tracing`.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from collections.abc import MutableMapping
from datetime import UTC, datetime
from functools import cache
from types import TracebackType
from typing import Any, TextIO

import orjson
import psycopg
import structlog
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from backend.telemetry import trail

SECRET = re.compile(r"0x[0-9a-fA-F]{40,}|\b[0-9a-fA-F]{64,}\b|[A-Za-z0-9_\-]{43,}|://[^\s/@]+@")
"""What may be an address, a hash, a signature, a key, a token or a server's password, in a text that is not ours."""
TEXT_LIMIT = 1_000


def masked(text: str) -> str:
    """A text of somebody else, without whatever in it may be a secret."""
    return SECRET.sub("…", text[:TEXT_LIMIT])


def safe_text(error: BaseException) -> str:
    """What an exception says, without the values that it quotes."""
    if isinstance(error, ValidationError):
        found = error.errors(include_url=False, include_context=False, include_input=False)
        return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['type']}" for each in found)
    if isinstance(error, DBAPIError):
        said = safe_text(error.orig) if error.orig is not None else "no cause"
        return f"{said} in {(error.statement or '?')[:TEXT_LIMIT]}"  # with placeholders for its values
    if isinstance(error, psycopg.Error):
        diag = error.diag
        if diag.sqlstate is None:
            return masked(str(error))  # of the connection: nothing was asked yet
        return " ".join(filter(None, (diag.sqlstate, diag.table_name, diag.column_name, diag.constraint_name)))
    return masked(str(error))


def _stack(error: BaseException) -> list[str]:
    where = "".join(traceback.format_tb(error.__traceback__))
    return [f"{where}{type(error).__name__}: {safe_text(error)}"]


def rendered(error: BaseException) -> str:
    """An exception with its causes: where, what kind, and what it says without values."""
    parts = []
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        parts += _stack(at)
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
    return "\nduring:\n".join(parts)


ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def _exception(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    info = event.pop("exc_info", None)
    error: BaseException | None
    if isinstance(info, BaseException):
        error = info
    elif isinstance(info, tuple):
        error = info[1]
    else:
        error = sys.exc_info()[1] if info else None
    if error is not None:
        event["exception"] = rendered(error)
    return event


def _trail(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if (found := trail.current()) is not None:
        for name, value in found.fields().items():
            event.setdefault(name, value)
    return event


def _foreign(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event["event"] = masked(str(event["event"]))
    return event


def _json(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    try:
        return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # an amount of more than 64 bits, half of a surrogate pair: a log line fails over neither
        return json.dumps(event, default=str)


_out: logging.StreamHandler[TextIO] | None = None
"""Where lines go as JSON; None while logs are for a terminal, or not configured."""


_logger = cache(logging.getLogger)


def tell(logger: str, event: str, **fields: Any) -> None:
    """Write a line at level info as all others are, a tenth of the time: each request has one, and pays for it."""
    if not _logger(logger).isEnabledFor(logging.INFO):
        return
    if _out is None:
        structlog.get_logger(logger).info(event, **fields)
        return
    found = trail.current()
    line = {
        **fields,
        "event": event,
        **(found.fields() if found is not None else {}),
        "logger": logger,
        "level": "info",
        "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
    }
    text = _json(None, "", line) + "\n"
    _out.acquire()
    try:
        _out.stream.write(text)
        _out.stream.flush()
    finally:
        _out.release()


def configure_logging(*, colours: bool = False, level: int | str = logging.INFO, stream: TextIO | None = None) -> None:
    """Send structlog and the standard library's logs to one stream as JSON lines, or in colours on a terminal."""
    out = stream or sys.stderr
    shared: list[structlog.typing.Processor] = [
        _trail,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: list[structlog.typing.Processor] = [structlog.dev.ConsoleRenderer()] if colours else [_exception, _json]
    global _out  # noqa: PLW0603 - of the process, as the root logger is
    handler = logging.StreamHandler(out)
    _out = None if colours else handler
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_foreign, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for noisy in ("uvicorn.access", "httpx", "httpcore", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
