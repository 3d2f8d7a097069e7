"""Which pages of other origins may read our answers (Fetch standard, CORS). Nobody, unless the settings name them.

An origin is named exactly. `*` lets any page read what anybody may read, without cookies; only an origin that is named
among those with credentials may have the browser send the session cookie along.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response

METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE"
REQUEST_HEADERS: Final = (
    "authorization",
    "content-type",
    "idempotency-key",
    "if-match",
    "if-none-match",
    "last-event-id",
    "range",
    "x-request-id",
)
"""What a page may send besides the headers that are always allowed."""
EXPOSED: Final = (
    "Content-Range",
    "ETag",
    "Idempotency-Replayed",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Request-ID",
)
"""What a page may read besides the headers that are always shown."""
MAX_AGE_S: Final = 600


@dataclass(frozen=True)
class Cors:
    """The rule of one installation."""

    origins: frozenset[str]
    """Exact, or `*`."""
    credentialed: frozenset[str]
    """Exact; their pages may also use the session cookie."""

    def __bool__(self) -> bool:
        """Whether any page of another origin may read anything."""
        return bool(self.origins or self.credentialed)

    def allows(self, origin: str) -> bool:
        return origin in self.origins or origin in self.credentialed or "*" in self.origins

    def preflight(self, method: str, headers: Headers) -> Response | None:
        """The answer to a preflight request; None for a request that is none. A refusal lacks the allowing headers."""
        if method != "OPTIONS" or "origin" not in headers or "access-control-request-method" not in headers:
            return None
        answer = Response(status_code=204, headers={"Vary": "Origin, Access-Control-Request-Headers"})
        if self.allows(headers["origin"]):
            answer.headers["Access-Control-Allow-Methods"] = METHODS
            answer.headers["Access-Control-Allow-Headers"] = ", ".join(REQUEST_HEADERS)
            answer.headers["Access-Control-Max-Age"] = str(MAX_AGE_S)
        return answer

    def dress(self, origin: str | None, headers: MutableHeaders) -> None:
        """Tell the browser whether the page that asked may read this answer."""
        if not self:
            return
        headers.add_vary_header("Origin")
        if origin is None or not self.allows(origin):
            return
        known = origin in self.credentialed or origin in self.origins
        headers["Access-Control-Allow-Origin"] = origin if known else "*"
        if origin in self.credentialed:
            headers["Access-Control-Allow-Credentials"] = "true"
        headers["Access-Control-Expose-Headers"] = ", ".join(EXPOSED)
        headers["Cross-Origin-Resource-Policy"] = "cross-origin"
