"""`GET /v1/live`: what happens, as server-sent events."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import suppress
from typing import Annotated, Any, Final

import anyio
import orjson
import psycopg
from eth_utils.address import to_checksum_address
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse, format_sse_event
from starlette.types import Receive, Scope, Send

from backend.accounts.service import SignedIn
from backend.deps import AsyncDb, Core, CoreDep, identify
from backend.edge.callers import address_of
from backend.edge.scoped import OptionalFollower
from backend.errors import AppError, Invalid, Unauthorized, Unavailable
from backend.live.hub import Hub, Subscriber
from backend.live.seats import Seat
from backend.live.topics import MAX_ROWS, Event, parse_topics, read_ticks
from backend.settings import Settings

router = APIRouter(prefix="/v1", tags=["system"])

RETRY_MS: Final = 2_000
SHUTDOWN_RETRY_MS: Final = (500, 3_000)
"""Everybody who was on a server that stops comes back at once; so each is told another time."""
SEND_TIMEOUT_S: Final = 20.0
"""Who takes nothing for so long is cut off."""
LEAVE_TIMEOUT_S: Final = 2.0
MAX_REPLAY: Final = 10
"""Readings of MAX_ROWS messages that are told to who comes back; who was away longer begins anew."""
MAX_STREAMS: Final = 2_000
"""Of one process."""

Topics = Annotated[
    list[str],
    Query(
        alias="topic",
        description="`chain`, `work:<id>`, `payouts:<address>`, `proposals`, `proposal:<id>`, `me`; may be repeated",
    ),
]
LastEventId = Annotated[str | None, Header(description="The last `id` that was received: goes on after it")]


class LiveStream(EventSourceResponse):
    """Server-sent events that end when nobody takes them."""

    def __init__(
        self,
        content: AsyncIterator[bytes],
        *,
        left: Callable[[], Awaitable[None]],
        send_timeout_s: float = SEND_TIMEOUT_S,
    ) -> None:
        super().__init__(content, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._left = left
        self._send_timeout_s = send_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            with anyio.move_on_after(LEAVE_TIMEOUT_S, shield=True):
                await self._left()

    async def stream_response(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for chunk in self.body_iterator:
            with anyio.move_on_after(self._send_timeout_s) as timer:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            if timer.cancelled_caught:
                return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@router.get(
    "/live",
    response_class=StreamingResponse,  # FastAPI takes any function for a generator that names its own class here
    response_model=None,
    responses={200: {"description": "A stream of events, see docs/interface.md", "content": {"text/event-stream": {}}}},
)
async def follow_live(  # noqa: PLR0917 - FastAPI calls it by name
    request: Request,
    core: CoreDep,
    db: AsyncDb,
    person: OptionalFollower,
    topic: Topics = ["chain"],  # noqa: B006 - FastAPI copies it
    last_event_id: LastEventId = None,
) -> LiveStream:
    """Follow what happens: new blocks, payments to a work, an account's payouts, proposals and their tallies.

    Server-sent events (`EventSource` in a browser). Each carries the `id` to go on from; a client that comes back with
    `Last-Event-ID` misses nothing, and one that was away too long gets `reset`: read anew. When the chain takes blocks
    back, `undo` names the first one: forget what was told of it and above. `bye` says why a stream ends; come back
    after its `retry`. `me` follows your own payouts, and ends with your session.
    """
    topics = parse_topics(topic)
    if "me" in topics:
        if person is None:
            raise Unauthorized("The topic `me` needs a session.")
        if isinstance(person, SignedIn):
            topics |= {f"payouts:{to_checksum_address(person.address)}"}
    hub = hub_of(request)
    after = _last_id(last_event_id)
    if not await hub.ready():
        raise Unavailable("Live updates wait for the database.", code="live_unavailable")
    # a visitor is one request: visitors are counted by address, as their rates are
    caller: Hashable = person.account_id if isinstance(person, SignedIn) else address_of(request.scope, core.settings)
    _require_room(hub, caller, core.settings)
    seat = Seat(
        lambda: core.scripts,
        str(caller),
        limit=core.settings.live_streams,
        heartbeat_s=core.settings.live_heartbeat_s,
    )
    if not await seat.take():
        raise _too_many(core.settings)
    stream = Subscriber(topics, hub.position if after is None else after)
    hub.join(caller, stream)

    async def still_there() -> bool:
        return await _still_there(request, core) and await seat.take()

    async def left() -> None:
        hub.leave(caller, stream)
        await seat.leave()

    return LiveStream(_tell(stream, hub, db, core.settings, after=after, still_there=still_there), left=left)


def hub_of(request: Request) -> Hub:
    """The process' hub."""
    hub: Hub = request.app.state.live_hub
    return hub


def _last_id(text: str | None) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Invalid("Last-Event-ID is no id of this stream; leave it out.", code="last_event_id_invalid")
    return int(text)


def _require_room(hub: Hub, caller: Hashable, settings: Settings) -> None:
    if hub.streams_of(caller) >= settings.live_streams:
        raise _too_many(settings)
    if len(hub) >= MAX_STREAMS:
        raise Unavailable("There are too many live streams on this server.", code="live_unavailable", retry_after_s=10)


def _too_many(settings: Settings) -> AppError:
    error = AppError(
        429,
        "too_many_streams",
        "Too many streams",
        f"You may have {settings.live_streams} live streams at once; name several topics in one, or end one.",
        limit=settings.live_streams,
    )
    error.headers["Retry-After"] = "30"
    return error


async def _still_there(request: Request, core: Core) -> bool:
    """Whether the session or key that opened the stream is still good."""
    try:
        await identify(request, core)
    except Unauthorized:
        return False
    except psycopg.Error:
        return True  # nobody can say at the moment; it is asked again at the next heartbeat
    return True


async def _tell(
    stream: Subscriber,
    hub: Hub,
    db: AsyncDb,
    settings: Settings,
    *,
    after: int | None,
    still_there: Callable[[], Awaitable[bool]],
) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    ends = loop.time() + settings.live_lifetime_s
    hello = {
        "topics": sorted(stream.topics),
        "heartbeat_s": settings.live_heartbeat_s,
        "lifetime_s": settings.live_lifetime_s,
    }
    yield _text("hello", hello, number=stream.after, retry=RETRY_MS)
    if after is not None:
        async for chunk in _replay(stream, hub, db, after):
            yield chunk
    beat = loop.time() + settings.live_heartbeat_s  # by the clock, and not since the last event: some never rest
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(min(beat, ends)):
                await stream.wake.wait()
        now = loop.time()
        if now >= ends:
            stream.end("lifetime")
        elif now >= beat:
            if not await still_there():
                stream.end("session_ended")
            elif not stream.wake.is_set():
                yield b": still here\n" + _mark(stream.after)
            beat = loop.time() + settings.live_heartbeat_s
        if stream.ended is not None:
            yield _bye(stream.ended)
            return
        if stream.wake.is_set():
            yield _texts(stream.take())


async def _replay(stream: Subscriber, hub: Hub, db: AsyncDb, after: int) -> AsyncIterator[bytes]:
    """What happened after a message and before the hub's news begin."""
    upto = hub.position
    async with db.connection() as connection:
        row: Any = await (
            await connection.execute(
                "SELECT coalesce(min(id), 0) AS oldest, coalesce(max(id), 0) AS newest FROM chain.outbox"
            )
        ).fetchone()
    reason = "unknown" if after > row["newest"] else "too_old" if after + 1 < row["oldest"] else None
    if upto - after > MAX_REPLAY * MAX_ROWS:
        reason = "too_old"
    while reason is None and after < upto:
        async with db.connection() as connection:
            ticks = await read_ticks(connection, after, upto, stream.topics)
        if not ticks:
            break
        told = [
            (tick.id, tuple(event for event in tick.events if event.topic is None or event.topic in stream.topics))
            for tick in ticks
        ]
        after = ticks[-1].id
        yield _texts([(number, events) for number, events in told if events]) + _mark(after)
    if reason is not None:
        yield _text("reset", {"reason": reason}) + _mark(upto)
        after = upto
    stream.after = max(after, upto if reason else after)
    while stream.waiting and stream.waiting[0][0] <= stream.after:
        stream.waiting.popleft()


def _text(name: str, data: dict[str, Any], *, number: int | None = None, retry: int | None = None) -> bytes:
    return format_sse_event(
        event=name,
        data_str=orjson.dumps(data).decode(),
        id=None if number is None else str(number),
        retry=retry,
    )


def _mark(number: int) -> bytes:
    """Only an id: a browser remembers it, and tells the page nothing."""
    return f"id: {number}\n\n".encode()


def _texts(ticks: Sequence[tuple[int, Sequence[Event]]]) -> bytes:
    """Events as text. Only the last of a message carries its id: who is cut off before it is told all of them again."""
    parts = []
    for number, events in ticks:
        for index, event in enumerate(events, start=1):
            data = {**event.data} if event.topic is None else {"topic": event.topic, **event.data}
            parts.append(_text(event.name, data, number=number if index == len(events) else None))
    return b"".join(parts)


def _bye(reason: str) -> bytes:
    wait = random.randint(*SHUTDOWN_RETRY_MS) if reason == "shutdown" else RETRY_MS
    return _text("bye", {"reason": reason, "retry_ms": wait}, retry=wait)
