"""JSON-RPC over one keep-alive connection: small, typed in its failures, sceptical about its answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import count
from typing import Any

import orjson
import urllib3
from urllib3.util import Timeout, parse_url

from indexer.errors import Fatal, RangeTooLarge, Retryable

MAX_REPLY_BYTES = 256_000_000
"""An answer beyond this is refused before it fills the memory; ranges aim at a few megabytes."""
CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 30.0

_TOO_LARGE = re.compile(
    r"range|too many|more than \d+ (logs|results)|limit(ed)? (to|exceeded)|response size|too large|query timeout", re.I
)
_NOT_YET = re.compile(r"BlockOutOfRange|unknown block|header not found|block not found", re.I)
METHOD_NOT_FOUND = -32601
EXECUTION_REVERTED = 3


class MethodMissing(Fatal):
    """The node does not know a method."""


class Reverted(Fatal):
    """A contract refused a call: asked again about the same block, it refuses again."""


class Rpc:
    """A JSON-RPC client of one node. Not for use by several threads at a time; each takes its own.

    Every failure is a Retryable or a Fatal whose text names the node's host, never the URL, which may hold a key.
    """

    def __init__(self, url: str, *, read_timeout_s: float = READ_TIMEOUT_S) -> None:
        try:
            parsed = parse_url(url)
        except urllib3.exceptions.LocationParseError:
            parsed = None
        if parsed is None or parsed.scheme not in ("http", "https") or not parsed.host:
            raise Fatal("TROUPE_RPC_URL is no http(s) URL of a node")
        self.url = url
        self.node: str = parsed.netloc or parsed.host
        self._path = parsed.request_uri
        headers = {"content-type": "application/json", "accept-encoding": "identity", "user-agent": "troupe-indexer"}
        if parsed.auth:
            headers |= urllib3.make_headers(basic_auth=parsed.auth)
        self._pool = urllib3.connection_from_url(
            url,
            maxsize=1,
            headers=headers,
            retries=False,
            timeout=Timeout(connect=CONNECT_TIMEOUT_S, read=read_timeout_s),
        )
        self._ids = count(1)
        self.bytes_read = 0
        """Size of the last answer."""

    def close(self) -> None:
        self._pool.close()

    def call(self, method: str, *params: Any) -> Any:
        """The result of one call."""
        number = next(self._ids)
        reply = self._post(_request(number, method, params))
        return self._result(reply, number, method)

    def read(self, method: str, *params: Any) -> bytes:
        """The answer to one call as it came, unparsed: what a benchmark of the node measures."""
        return self._exchange(_request(next(self._ids), method, params))

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """The results of several calls in their order; the first that failed raises."""
        return [
            self._result(reply, number, method)
            for reply, number, (method, _) in zip(*self._batch_replies(calls), calls, strict=True)
        ]

    def _batch_replies(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> tuple[list[Any], list[int]]:
        if not calls:
            return [], []
        numbers = [next(self._ids) for _ in calls]
        requests = [_request(number, method, params) for number, (method, params) in zip(numbers, calls, strict=True)]
        replies = self._post(requests)
        if not isinstance(replies, list):
            self._result(replies, None, "batch")  # an error for the batch as a whole
            raise Retryable(f"{self.node} answered a batch with no list")
        by_id = {reply.get("id"): reply for reply in replies if isinstance(reply, dict)}
        missing = [number for number in numbers if number not in by_id]
        if missing or len(replies) != len(numbers):
            raise Retryable(f"{self.node} left {len(missing)} of {len(numbers)} calls of a batch unanswered")
        return [by_id[number] for number in numbers], numbers

    def _result(self, reply: Any, number: int | None, method: str) -> Any:
        if not isinstance(reply, dict):
            raise Retryable(f"{self.node} answered {method} with no JSON-RPC object")
        if reply.get("error") is not None:
            raise self._error(reply["error"], method)
        if reply.get("id") != number or "result" not in reply:
            raise Retryable(f"{self.node} answered another call than {method}")
        return reply["result"]

    def _error(self, error: Any, method: str) -> Exception:
        code = error.get("code") if isinstance(error, dict) else None
        text = str(error.get("message") if isinstance(error, dict) else error)[:300]
        said = f"{self.node} refused {method}: {text}"
        if code == METHOD_NOT_FOUND:
            return MethodMissing(f"{said}. The indexer needs a node that has it: name another in TROUPE_RPC_URL")
        if method == "eth_call" and (code == EXECUTION_REVERTED or "revert" in text.lower()):
            return Reverted(said)
        if _NOT_YET.search(text):
            return Retryable(said)
        if method == "eth_getLogs" and _TOO_LARGE.search(text):
            return RangeTooLarge(said)
        return Retryable(said)

    def _post(self, body: Any) -> Any:
        content = self._exchange(body)
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise Retryable(f"{self.node} answered no JSON but {len(content)} bytes of something else") from error

    def _exchange(self, body: Any) -> bytes:
        try:
            response = self._pool.urlopen(
                "POST", self._path, body=orjson.dumps(body), preload_content=False, redirect=False
            )
            try:
                content = response.read(MAX_REPLY_BYTES + 1)
            finally:
                response.release_conn()
        except urllib3.exceptions.HTTPError as error:
            raise Retryable(f"{self.node} does not answer: {_reason(error)}") from error
        self.bytes_read = len(content)
        if len(content) > MAX_REPLY_BYTES:
            self._pool.close()
            raise RangeTooLarge(f"{self.node} answered with more than {MAX_REPLY_BYTES:,} bytes")
        if response.status in (401, 403):
            raise Fatal(f"{self.node} refuses us (HTTP {response.status}): check the key in TROUPE_RPC_URL")
        if response.status == 413:
            raise RangeTooLarge(f"{self.node} refuses the size (HTTP 413)")
        if response.status == 429 or response.status >= 500:
            raise Retryable(
                f"{self.node} is busy (HTTP {response.status})", after_s=_seconds(response.headers.get("retry-after"))
            )
        return content


def _request(number: int, method: str, params: Sequence[Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def _reason(error: urllib3.exceptions.HTTPError) -> str:
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return "it took too long"
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        return "no connection"
    return type(error).__name__


def _seconds(retry_after: str | None) -> float | None:
    """Seconds of a Retry-After header; its form as a date is not used by nodes and is ignored."""
    return float(retry_after) if retry_after is not None and retry_after.isdigit() else None
