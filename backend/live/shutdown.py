"""Word that the server is to stop, before it waits for its connections to end by themselves."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def before_shutdown(call: Callable[[], object]) -> Iterator[None]:
    """Call `call` when SIGTERM or SIGINT comes, and then whatever handled it before.

    A server like uvicorn waits for open connections and only then ends the application's lifespan: a stream that is to
    end with a word must hear of it at the signal. Outside the main thread, as in tests, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        call()
        previous = before[number]
        if callable(previous):
            previous(number, frame)
        elif previous == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    for number in map(int, (signal.SIGTERM, signal.SIGINT)):
        before[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        for number, previous in before.items():
            if signal.getsignal(number) is handle:
                signal.signal(number, previous)
