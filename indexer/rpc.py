"""JSON-RPC over one keep-alive connection: small, typed in its failures, sceptical about its answers."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import threading
import time
import weakref
from base64 import b64encode
from collections.abc import Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime
from itertools import count
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson

from indexer.errors import Fatal, NodeFatal, RangeTooLarge, Retryable

MAX_REPLY_BYTES = 256_000_000
"""An answer beyond this is refused before it fills the memory; ranges aim at a few megabytes."""
CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 30.0
"""How long a node may stay silent."""
ANSWER_TIMEOUT_S = 120.0
"""How long a whole answer may take, however busily it drips."""
CHUNK_BYTES = 1 << 20

_TOO_LARGE = re.compile(
    r"range|too many|more than \d+ (logs|results)|limit(ed)? (to|exceeded)|response size|too large|query timeout", re.I
)
_NOT_YET = re.compile(r"BlockOutOfRange|unknown block|header not found|block not found", re.I)
METHOD_NOT_FOUND = -32601
EXECUTION_REVERTED = 3


class MethodMissing(NodeFatal):
    """The node does not know a method."""


class Reverted(Fatal):
    """A contract refused a call: asked again about the same block, it refuses again."""


class Rpc:
    """A JSON-RPC client of one node. Not for use by several threads at a time; each takes its own.

    Every failure is a Retryable or a Fatal whose text names the node's host, never the URL, which may hold a key.
    """

    def __init__(
        self, url: str, *, read_timeout_s: float = READ_TIMEOUT_S, answer_timeout_s: float = ANSWER_TIMEOUT_S
    ) -> None:
        try:
            parsed = urlsplit(url)
            port = parsed.port
        except ValueError:
            raise Fatal("TROUPE_RPC_URL is no http(s) URL of a node") from None
        if parsed.scheme not in ("http", "https") or not parsed.hostname:
            raise Fatal("TROUPE_RPC_URL is no http(s) URL of a node")
        self.url = url
        self.node = parsed.hostname + (f":{port}" if port else "")
        self._path = (parsed.path or "/") + (f"?{parsed.query}" if parsed.query else "")
        self._headers = {"content-type": "application/json", "user-agent": "troupe-indexer"}
        if parsed.username is not None:
            login = f"{unquote(parsed.username)}:{unquote(parsed.password or '')}"
            self._headers["authorization"] = "Basic " + b64encode(login.encode()).decode()
        self._read_timeout_s = read_timeout_s
        self._answer_timeout_s = answer_timeout_s
        self._connection: http.client.HTTPConnection
        if parsed.scheme == "https":
            context = ssl.create_default_context()
            self._connection = http.client.HTTPSConnection(
                parsed.hostname, port, timeout=CONNECT_TIMEOUT_S, context=context
            )
        else:
            self._connection = http.client.HTTPConnection(parsed.hostname, port, timeout=CONNECT_TIMEOUT_S)
        self._socket: socket.socket | None = None
        self._late = False
        weakref.finalize(self, self._connection.close)
        self._ids = count(1)
        self.bytes_read = 0
        """Size of the last answer."""

    def close(self) -> None:
        self._connection.close()

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
            blocks, always = hinted_blocks(text)
            return RangeTooLarge(said, blocks=blocks, always=always)
        return Retryable(said)

    def _post(self, body: Any) -> Any:
        content = self._exchange(body)
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise Retryable(f"{self.node} answered no JSON but {len(content)} bytes of something else") from error

    def _exchange(self, body: Any) -> bytes:
        try:
            status, headers, content = self._send(orjson.dumps(body))
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Retryable(f"{self.node} does not answer: {_reason(error)}") from error
        self.bytes_read = len(content)
        if len(content) > MAX_REPLY_BYTES:
            self.close()
            raise RangeTooLarge(f"{self.node} answered with more than {MAX_REPLY_BYTES:,} bytes")
        if status in (401, 403):
            raise NodeFatal(f"{self.node} refuses us (HTTP {status}): check the key in TROUPE_RPC_URL")
        if status == 413:
            raise RangeTooLarge(f"{self.node} refuses the size (HTTP 413)")
        if status == 429 or status >= 500:
            raise Retryable(f"{self.node} is busy (HTTP {status})", after_s=_wait(headers))
        if headers.get("content-encoding", "identity") != "identity":
            raise Retryable(f"{self.node} packed its answer, which it was not asked to")
        return content

    def _send(self, body: bytes) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Status, headers and content. After `answer_timeout_s` the socket is shut, whatever still drips from it."""
        self._late = False
        watch = threading.Timer(self._answer_timeout_s, self._shut)
        watch.daemon = True
        watch.start()
        try:
            found = self._exchanged(body)
        except (OSError, http.client.HTTPException):
            if not self._late:
                raise
        finally:
            watch.cancel()
        if self._late:  # what was cut off may look whole
            raise TimeoutError
        return found

    def _shut(self) -> None:
        self._late = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _exchanged(self, body: bytes) -> tuple[int, http.client.HTTPMessage, bytes]:
        """As `_send`. A kept connection that the node has closed meanwhile is opened anew, once."""
        kept = self._connection.sock is not None
        while True:
            try:
                if self._connection.sock is None:
                    self._connection.connect()
                    connected: Any = self._connection.sock
                    connected.settimeout(self._read_timeout_s)
                    self._socket = connected
                self._connection.request("POST", self._path, body, self._headers)
                response = self._connection.getresponse()
            except (ConnectionError, http.client.RemoteDisconnected):
                self.close()
                if not kept or self._late:
                    raise
                kept = False
                continue
            if response.length is not None and response.length > MAX_REPLY_BYTES:
                self.close()
                raise RangeTooLarge(f"{self.node} announced more than {MAX_REPLY_BYTES:,} bytes")
            return response.status, response.headers, self._content(response)

    def _content(self, response: http.client.HTTPResponse) -> bytes:
        """The whole answer, or as much as shows that it is too large. Raises OSError or HTTPException."""
        announced = response.length
        until = time.monotonic() + self._answer_timeout_s
        parts: list[bytes] = []
        size = 0
        while size <= MAX_REPLY_BYTES and (part := response.read1(CHUNK_BYTES)):
            parts.append(part)
            size += len(part)
            if time.monotonic() > until:
                raise TimeoutError
        content = b"".join(parts)
        if announced is not None and size < announced:
            raise http.client.IncompleteRead(content, announced - size)
        if size <= MAX_REPLY_BYTES:
            response.read()  # nothing is left: it lets go of the connection, which read1 does not
        return content


_BETWEEN = re.compile(r"\[\s*(0x[0-9a-f]+|\d+)\s*,\s*(0x[0-9a-f]+|\d+)\s*\]", re.I)
_BLOCKS = re.compile(
    r"(?<![\dx])(\d[\d,]{0,8})[ -]blocks?\b|\bblock range\D{0,30}?(?<![\dx])(\d[\d,]{0,8})(?![\dx])", re.I
)


def hinted_blocks(text: str) -> tuple[int | None, bool]:
    """How many blocks a node says that it would answer for, in the words of those that say so; and whether that is its
    limit for every question, or advice about this one, whose blocks hold many logs.
    """
    if between := _BETWEEN.search(text):
        first, last = (int(each, 0) for each in between.groups())
        return (last - first + 1 if last >= first else None), False
    if "results" not in text and (said := _BLOCKS.search(text)):
        return int((said[1] or said[2]).replace(",", "")) or None, True
    return None, False


def _request(number: int, method: str, params: Sequence[Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, ConnectionRefusedError):
        return "no connection"
    return type(error).__name__


def _wait(headers: http.client.HTTPMessage) -> float | None:
    said = headers.get("retry-after")
    return None if said is None else retry_after_s(said, headers.get("date"), time.time())


def retry_after_s(said: str, date: str | None, now: float) -> float | None:
    """Seconds that a Retry-After asks for (RFC 9110, section 10.2.3): a number of them, or the date `said`.

    A date is taken against the node's own clock where the answer has a Date, else against `now`, Unix time. None when
    it is of another form, or lies in the past.
    """
    if said.isascii() and said.isdigit():
        return float(said)
    try:
        wait = parsedate_to_datetime(said).timestamp() - (parsedate_to_datetime(date).timestamp() if date else now)
    except (ValueError, OverflowError):
        return None
    return wait if wait > 0 else None
