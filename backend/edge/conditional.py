"""Conditional requests and caching of JSON answers (RFC 9110 section 13, RFC 9111).

An answer's entity tag is the digest of its bytes. One that comes from the chain also names the block that it was read
at, `"<block>-<hash>-<digest>"`, so that a tag of before a reorganisation matches nothing of after it, and `If-Match` on
it is told apart: 412 `etag_void`. What anybody may read may be kept by a cache that asks each time (`no-cache`); what
was asked with a token or cookie is kept by nobody.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.deps import Core
from backend.errors import AppError

AS_OF: Final = re.compile(rb'"as_of":\{"block":(\d+),"hash":"0x([0-9a-f]{64})"')
"""Where an answer says what it was read at. No text in it looks so: quotes within JSON strings are escaped."""
TAG: Final = re.compile(r'(?:W/)?("[\x21\x23-\x7e]*")')
OF_BLOCK: Final = re.compile(r'"(\d{1,18})-([0-9a-f]{16})-')
WRITERS: Final = 4
"""Conditional changes at once in one process: each holds a connection of the pool while its route needs another."""
PUBLIC: Final = "no-cache"
PRIVATE: Final = "private, no-store"
CONDITIONS: Final = frozenset({b"if-match", b"if-none-match"})
VARY: Final = b"Authorization, Cookie"


def entity_tag(body: bytes) -> str:
    """The strong entity tag of an answer."""
    digest = base64.urlsafe_b64encode(hashlib.blake2b(body, digest_size=15).digest()).decode()
    found = AS_OF.search(body)
    if found is None:
        return f'"{digest}"'
    return f'"{found[1].decode()}-{found[2][:16].decode()}-{digest}"'


def matches(header: str, tag: str) -> bool:
    """Whether a list of If-None-Match or If-Match names the tag; `*` names any."""
    return header.strip() == "*" or tag in TAG.findall(header)


class PreconditionFailed(AppError):
    """412: what the caller saw is not what is there now."""

    def __init__(self, detail: str, *, code: str = "precondition_failed", title: str = "Changed meanwhile") -> None:
        super().__init__(412, code, title, detail)


class Conditional:
    """The ASGI middleware; see the module."""

    def __init__(self, app: ASGIApp, *, core: Core) -> None:
        self.app = app
        self.core = core
        self._room = asyncio.Semaphore(WRITERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self.app(scope, receive, send)
            return
        conditions = {name: value.decode("latin-1") for name, value in reversed(scope["headers"]) if name in CONDITIONS}
        if scope["method"] == "GET":
            await self._read(scope, conditions, receive, send)
        elif scope["method"] in ("PUT", "PATCH", "DELETE") and b"if-match" in conditions:
            await self._write(scope, conditions[b"if-match"], receive, send)
        else:
            await self.app(scope, receive, send)

    async def _read(self, scope: Scope, conditions: dict[bytes, str], receive: Receive, send: Send) -> None:
        changed = False
        expected, known = conditions.get(b"if-match"), conditions.get(b"if-none-match")

        async def tagged(start: Message, body: bytes) -> None:
            nonlocal changed
            tag = entity_tag(body)
            if expected is not None and not matches(expected, tag):
                changed = True  # told below: the routes think that their answer is on its way
                return
            raw = _tagged_headers(start["headers"], tag, PUBLIC if scope["state"]["token"] is None else PRIVATE)
            if known is not None and matches(known, tag):
                raw = [pair for pair in raw if pair[0] not in (b"content-length", b"content-type")]
                start, body = {**start, "status": 304}, b""
            await send({**start, "headers": raw})
            await send({"type": "http.response.body", "body": body})

        await self.app(scope, receive, _whole(tagged, send))
        if changed and expected is not None:
            raise await self._changed(expected)

    async def _write(self, scope: Scope, expected: str, receive: Receive, send: Send) -> None:
        """Change what is there only if it is what the caller saw. Two such requests wait for each other."""
        name = f"{scope['path']} {scope['state']['token']}"
        lock = int.from_bytes(hashlib.sha256(name.encode(errors="surrogatepass")).digest()[:8], signed=True)
        pool = self.core.database.async_pool
        async with self._room, pool.connection() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (lock,))
            tag = await self._present(scope)
            if tag is None or not matches(expected, tag):
                raise await self._changed(expected)
            await self.app(scope, receive, send)

    async def _present(self, scope: Scope) -> str | None:
        """The tag of what GET answers at this address now; None when it answers nothing."""
        found: list[str] = []

        async def tagged(_: Message, body: bytes) -> None:
            found.append(entity_tag(body))

        async def nothing(_: Message) -> None:
            pass

        async def empty() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        kept = [(name, value) for name, value in scope["headers"] if name in (b"authorization", b"cookie", b"host")]
        look = {**scope, "method": "GET", "headers": kept, "state": {**scope["state"]}}
        look["state"].pop("unit", None)
        await self.app(look, empty, _whole(tagged, nothing))
        return found[0] if found else None

    async def _changed(self, header: str) -> AppError:
        for number, prefix in OF_BLOCK.findall(header):
            if await self._is_void(int(number), bytes.fromhex(prefix)):
                return PreconditionFailed(
                    f"The chain was reorganised at or below block {number} since this was read; read it again.",
                    code="etag_void",
                    title="Read before a reorganisation",
                )
        return PreconditionFailed("What is there now is not what you saw; read it again and decide anew.")

    async def _is_void(self, number: int, prefix: bytes) -> bool:
        """Whether a block is known not to be the chain's any more. Of pruned final blocks nobody knows."""
        async with self.core.database.async_pool.connection() as connection:
            row: Any = await (
                await connection.execute(
                    "SELECT (SELECT head_number FROM chain.cursor) AS head,"
                    " (SELECT head_hash FROM chain.cursor WHERE head_number = %(n)s) AS head_hash,"
                    " (SELECT hash FROM chain.block WHERE number = %(n)s) AS hash",
                    {"n": number},
                )
            ).fetchone()
        known = row["hash"] or row["head_hash"]
        if known is not None:
            return not bytes(known).startswith(prefix)
        return row["head"] is not None and number > row["head"]


def _tagged_headers(given: Iterable[tuple[bytes, bytes]], tag: str, caching: str) -> list[tuple[bytes, bytes]]:
    """An answer's headers with its tag, whose caches may keep it, and that it differs from caller to caller."""
    raw = [pair for pair in given if pair[0] != b"vary"]
    varies = [value for name, value in given if name == b"vary"]
    raw += [(b"etag", tag.encode()), (b"vary", b", ".join([*varies, VARY]))]
    if not any(name == b"cache-control" for name, _ in raw):
        raw.append((b"cache-control", caching.encode()))
    return raw


def _whole(then: Callable[[Message, bytes], Awaitable[None]], send: Send) -> Send:
    """A send that hands over a whole JSON answer of 200 without a tag of its own; all else goes on as it comes."""
    held: Message | None = None

    async def receive(message: Message) -> None:
        nonlocal held
        if message["type"] == "http.response.start":
            answer = dict(message["headers"])
            json = answer.get(b"content-type", b"").startswith(b"application/json")
            if json and message["status"] == 200 and b"etag" not in answer:
                held = message
                return
        elif held is not None:
            start, held = held, None
            if not message.get("more_body", False):
                await then(start, message.get("body", b""))
                return
            await send(start)
        await send(message)

    return receive
