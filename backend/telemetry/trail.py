"""What ties log lines and traces of one doing together: the request's id, and the block that it read the chain at.

A trail begins with a request or a task and is passed on by `headers` to the tasks that it wakes. It is one object for
all threads that serve the request, so that the log line at the request's end knows what a thread has noted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
"""What is taken as an id from outside; anything else is replaced."""
ID_HEADER = "troupe_request_id"
BLOCK_HEADER = "troupe_block"


@dataclass(slots=True)
class Trail:
    """The ids of one request, or of one task with those of the request that woke it."""

    request_id: str
    block: int | None = None
    """The block of the last `as_of` that was made."""
    task: str | None = None

    def fields(self) -> dict[str, str | int]:
        """What every log line of it carries."""
        found: dict[str, str | int] = {"request_id": self.request_id}
        if self.block is not None:
            found["block"] = self.block
        if self.task is not None:
            found["task"] = self.task
        return found


_current: ContextVar[Trail | None] = ContextVar("troupe_trail", default=None)


def current() -> Trail | None:
    """The trail of what runs here now."""
    return _current.get()


def begin(request_id: str | None = None, *, task: str | None = None, block: int | None = None) -> Trail:
    """Begin a trail with the given id, if it is one, or a new one. It lasts until another begins, or `end`."""
    given = request_id if request_id and REQUEST_ID.fullmatch(request_id) else os.urandom(16).hex()
    trail = Trail(given, block, task)
    _current.set(trail)
    return trail


def end() -> None:
    """Nothing that follows belongs to the trail."""
    _current.set(None)


def at_block(number: int) -> None:
    """Note the block that the answer stands on."""
    if (trail := _current.get()) is not None:
        trail.block = number


def headers() -> dict[str, str | int]:
    """What a message to another process carries of the trail."""
    trail = _current.get()
    if trail is None:
        return {}
    block = {} if trail.block is None else {BLOCK_HEADER: trail.block}
    return {ID_HEADER: trail.request_id, **block}


def resume(carried: Mapping[str, object], *, task: str, otherwise: str) -> Trail:
    """Begin a task's trail with what its message carries; `otherwise` is the id of one that no request has woken."""
    given, block = carried.get(ID_HEADER), carried.get(BLOCK_HEADER)
    return begin(
        given if isinstance(given, str) else otherwise, task=task, block=block if isinstance(block, int) else None
    )
