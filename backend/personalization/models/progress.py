"""How far a training is, for whoever looks: a key in Redis, for its own transaction shows nothing before it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError

KEY: Final = "troupe:personalization:training"
FORGET_S: Final = 3_600
"""A training that says nothing for so long was killed."""

Said = Callable[[str, int, int], None]
"""What is done, how many of its steps are done, and of how many."""


def quiet(what: str, done: int, of: int) -> None:
    """Tell nobody."""


def logged(log: Any, of_what: str) -> Said:
    """A teller that writes its word to the log at each tenth of the way."""

    def tell(what: str, done: int, of: int) -> None:
        if of and 10 * done // of > 10 * (done - 1) // of:
            log.info("progress", of=of_what, what=what, done=done, steps=of)

    return tell


@dataclass(frozen=True)
class Training:
    """A training that is under way, as it last said."""

    what: str
    done: int
    of: int
    said_at: str


def told(redis: Redis, clock: Callable[[], datetime]) -> Said:
    """A teller that keeps the newest word in Redis; without Redis the training goes on untold."""

    def tell(what: str, done: int, of: int) -> None:
        word = json.dumps(asdict(Training(what, done, of, clock().isoformat())))
        with suppress(RedisError):
            redis.set(KEY, word, ex=FORGET_S)

    return tell


def ended(redis: Redis) -> None:
    """Nothing is under way any more."""
    with suppress(RedisError):
        redis.delete(KEY)


def under_way(redis: Redis) -> Training | None:
    """The training that is under way; None where none is, or Redis can't say."""
    with suppress(RedisError):
        word = redis.get(KEY)
        return Training(**json.loads(word)) if word else None
    return None
