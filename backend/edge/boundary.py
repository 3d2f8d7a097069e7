"""The edge of the HTTP interface: what holds for every request and every answer, whatever the route.

A request gets an id and is counted (ratelimit.py). A JSON body is at most 1 MiB and 32 levels deep, and holds only
characters that can be stored. An answer carries the id, the security headers, what is left of the quota, and whether
pages of another origin may read it (cors.py). An exception that nobody foresaw becomes a 500 without its stack, which
goes to the log.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.deps import Core, raw_token
from backend.edge.callers import address_of
from backend.edge.cors import Cors
from backend.edge.quotas import DEVELOPMENT_FACTOR, parse_quotas
from backend.edge.ratelimit import Limiter
from backend.errors import MEDIA_TYPE, AppError, problem
from backend.jsontext import MAX_DEPTH, too_deep
from backend.telemetry import logs as telemetry
from backend.telemetry import metrics, tracing, trail

JSON_LIMIT = 1024 * 1024
JSON_DEPTH = MAX_DEPTH

API_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; object-src 'none'; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'"
)


COMMON_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),  # with "no-referrer" a browser sends our own forms without our Origin
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=()"),
    (b"cache-control", b"no-store"),
)
PAGE_HEADERS = (*COMMON_HEADERS, (b"content-security-policy", PAGE_POLICY.encode()))
API_HEADERS = (*COMMON_HEADERS, (b"content-security-policy", API_POLICY.encode()))
SECURE = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")
"""Headers of every answer that does not set them itself, as bytes: they are added to each."""

RawHeader = tuple[bytes, bytes]
PLAIN = re.compile(rb"[!-$&-~]*")
"""An address in which nothing is escaped."""

log = structlog.get_logger(__name__)


class TooLarge(AppError):
    """413."""

    def __init__(self, limit: int | None = None) -> None:
        most = f"may be at most {limit} bytes" if limit else "is larger than this route takes"
        super().__init__(
            413,
            "body_too_large",
            "Request body too large",
            f"The body {most}; split it, or upload the file in its own request.",
            **({"limit_bytes": limit} if limit else {}),
        )


class Malformed(AppError):
    """400: the request cannot be read at all."""

    def __init__(self, detail: str, code: str = "malformed") -> None:
        super().__init__(400, code, "Malformed request", detail)


def check_json(body: bytes) -> None:
    """Raise Malformed for JSON text that is not UTF-8, nests too deep, or holds characters no text column can hold."""
    try:
        if b"\0" in body:
            raise ValueError("UTF-16 or UTF-32, which Python's parser would guess")
        body.decode()  # RFC 8259 section 8.1
    except ValueError:
        raise Malformed("The body is not valid JSON: it is not UTF-8.", "malformed_json") from None
    if too_deep(body, JSON_DEPTH):
        raise Malformed(f"The JSON body nests deeper than {JSON_DEPTH} levels.", "json_too_deep")
    if b"\\u" in body:  # NUL and lone surrogates can only come escaped: raw ones are no JSON, or no UTF-8
        try:
            value = json.loads(body)
        except ValueError:
            return  # not JSON: the route's own parser says where
        if not all(map(_storable, _strings(value))):
            raise Malformed("The JSON body holds a NUL character or half of a surrogate pair.", "unstorable_text")


def _strings(value: Any) -> list[str]:
    found: list[str] = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, dict):
            found += item
            waiting += item.values()
    return found


def _storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def is_json(content_type: str) -> bool:
    """Whether a Content-Type names JSON: application/json or application/...+json."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


async def read_json_body(headers: Headers, receive: Receive) -> bytes | None:
    """The whole body, checked; None when the caller has gone away. Raises TooLarge, Malformed."""
    announced = headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > JSON_LIMIT:
        raise TooLarge(JSON_LIMIT)
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        size += len(part)
        if size > JSON_LIMIT:
            raise TooLarge(JSON_LIMIT)
        parts.append(part)
        more = message.get("more_body", False)
    body = b"".join(parts)
    check_json(body)
    return body


def check_address(scope: Scope) -> None:
    """Raise Malformed for a path or query with a NUL character or bytes that are not UTF-8."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope["query_string"]
    if PLAIN.fullmatch(raw) and PLAIN.fullmatch(query):
        return
    for part in (raw, query.replace(b"+", b" ")):
        try:
            text = unquote_to_bytes(part).decode()
        except UnicodeDecodeError:
            raise Malformed("The address is not UTF-8.") from None
        if "\0" in text:
            raise Malformed("The address holds a NUL character.")


def _replay(body: bytes, receive: Receive) -> Receive:
    """A receive that gives the body once, then whatever follows (the disconnect)."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def problem_response(scope: Scope, error: AppError) -> JSONResponse:
    """The error as an answer to the request in `scope`."""
    metrics.problems_total.labels(error.code).inc()
    return JSONResponse(
        problem(
            status=error.status,
            code=error.code,
            title=error.title,
            detail=error.detail,
            instance=scope["path"],
            request_id=scope["state"]["request_id"],
            data=error.data,
        ),
        status_code=error.status,
        media_type=MEDIA_TYPE,
        headers=error.headers,
    )


def unforeseen() -> AppError:
    """500: our mistake."""
    return AppError(
        500,
        "internal",
        "Internal error",
        "Something went wrong on our side; it has been noted under this request's id. Trying again is safe for reads.",
    )


def _route(scope: Scope) -> str:
    """The route's template, so that metrics have one line a route and not one an address."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else "(none)"


def _begin(scope: Scope, headers: Mapping[bytes, bytes]) -> str:
    """Give the request its id, which every log line of it carries."""
    given = headers.get(b"x-request-id")
    request_id = trail.begin(given.decode("latin-1") if given else None).request_id
    scope.setdefault("state", {})["request_id"] = request_id
    metrics.requests_open.inc()
    return request_id


def _end(scope: Scope, status: int, taken_s: float) -> None:
    """Count and log the request."""
    route = _route(scope)
    method = scope["method"] if route != "(none)" and scope["method"] in metrics.METHODS else "(any)"
    metrics.requests_open.dec()
    metrics.answered(method, route, status, taken_s)
    ms = round(taken_s * 1000, 1)
    telemetry.tell(__name__, "request", method=scope["method"], route=route, status=status, ms=ms)


class Boundary:
    """The ASGI middleware around the routes; see the module."""

    def __init__(self, app: ASGIApp, *, core: Core) -> None:
        settings = core.settings
        self.app = app
        self.settings = settings
        secure = (SECURE,) if settings.public_url.startswith("https://") else ()
        self._page_headers = (*PAGE_HEADERS, *secure)
        self._api_headers = (*API_HEADERS, *secure)
        self.cors = Cors(settings.cors_origins, settings.cors_credentials)
        factor = 1 if settings.env == "production" else DEVELOPMENT_FACTOR
        self.limiter = Limiter(
            lambda: core.scripts,
            lambda: core.clock().timestamp(),
            quotas=parse_quotas(settings.rate_limits, factor=factor),
            address=lambda scope: address_of(scope, settings),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        first = dict(reversed(scope["headers"]))  # of a header that came twice, the first
        request_id = _begin(scope, first)
        token = scope["state"]["token"] = raw_token(first, self.settings)
        counted: dict[str, str] = {}
        status = 0
        over_limit = False

        async def answer(message: Message) -> None:
            nonlocal status, over_limit
            if over_limit:
                return
            if message["type"] == "http.response.start":
                given = message["status"]
                if given == 413 and Headers(scope=message).get("content-type", "").startswith("text/plain"):
                    over_limit = True  # a route's own limit, told in the framework's words: ours follow below
                    return
                status = given
                tracing.note()
                raw = message["headers"] = self._dressed(message.get("headers", ()), request_id, counted)
                if self.cors:
                    self.cors.dress(Headers(scope=scope).get("origin"), MutableHeaders(raw=raw))
            await send(message)

        try:
            if scope["method"] == "OPTIONS" and (preflight := self.cors.preflight("OPTIONS", Headers(scope=scope))):
                await preflight(scope, receive, answer)
                return
            check_address(scope)
            counted = await self.limiter.admit(scope, token)
            if is_json(first.get(b"content-type", b"").decode("latin-1")):
                body = await read_json_body(Headers(scope=scope), receive)
                if body is None:
                    return
                receive = _replay(body, receive)
            await self.app(scope, receive, answer)
            if over_limit:
                over_limit = False
                await problem_response(scope, TooLarge())(scope, receive, answer)
        except AppError as error:
            if status:
                raise  # the answer has begun: only cutting it off tells the caller
            await problem_response(scope, error)(scope, receive, answer)
        except Exception:  # the last resort: anything that a route did not foresee
            log.exception("request failed", method=scope["method"], route=_route(scope))
            if status:
                raise
            await problem_response(scope, unforeseen())(scope, receive, answer)
        finally:
            self.limiter.learn(scope, token, status)
            _end(scope, status, time.perf_counter() - began)

    def _dressed(self, given: Iterable[RawHeader], request_id: str, counted: Mapping[str, str]) -> list[RawHeader]:
        """An answer's headers with those that every answer has, of which its own stand."""
        raw = [pair for pair in given if pair[0] != b"x-request-id"]
        names = dict(raw)
        page = names.get(b"content-type", b"").startswith(b"text/html")
        raw += [pair for pair in (self._page_headers if page else self._api_headers) if pair[0] not in names]
        raw += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in counted.items()]
        raw.append((b"x-request-id", request_id.encode("latin-1")))
        return raw
