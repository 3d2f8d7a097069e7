"""Fetching ranges of final blocks ahead of the writing: how many blocks at once, and how much may wait in memory."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, Queue
from types import TracebackType
from typing import TypeVar

from indexer.chain import Chain, Segment
from indexer.errors import Fatal, IndexerError, RangeTooLarge

FIRST_RANGE = 16
MAX_RANGE = 10_000
TARGET_S = 2.0
PATIENCE = 16


class RangeSize:
    """How many blocks to ask for at once: half as many again while answers are small and quick, fewer when not."""

    def __init__(self, target_bytes: int) -> None:
        self.blocks = FIRST_RANGE
        self._target_bytes = target_bytes
        self._patience = 0
        """For so many answers more the range does not grow."""
        self.limits: dict[str, int] = {}
        """Node -> the most blocks that it takes at once, as it said or as it was found out."""

    def learned(self, node: str) -> tuple[int, int]:
        """What the next process should know of a node: its limit, 0 for none, and how many blocks it is asked for."""
        return self.limits.get(node, 0), self.for_node(node)

    def recall(self, node: str, limit: int, blocks: int | None) -> None:
        """Begin with what an earlier process learned of a node; with `blocks`, where that is the one asked first."""
        if limit:
            self.limits[node] = limit
        if blocks is not None:
            self.blocks = max(1, min(MAX_RANGE, blocks))

    def for_node(self, node: str) -> int:
        """How many blocks to ask `node` for."""
        return min(self.blocks, self.limits.get(node, MAX_RANGE))

    def answered(self, blocks: int, size: int, seconds: float) -> None:
        """An answer for `blocks` blocks came: aim at the target size and time, growing by half at most."""
        load = max(size / self._target_bytes, seconds / TARGET_S, 0.01)
        self._patience = max(0, self._patience - 1)
        most = self.blocks if self._patience else min(MAX_RANGE, int(self.blocks * 1.5) + 1)
        self.blocks = max(1, min(most, int(blocks / load)))

    def refused(self, node: str, blocks: int, hint: int | None, *, always: bool = False) -> None:
        """`node` will not answer for `blocks` blocks. A smaller number that it names is asked for; where it holds
        `always`, it is remembered as the node's limit, else the range may grow again after PATIENCE answers.
        """
        if hint is None or hint >= blocks:
            self.blocks = max(1, blocks // 2)
            return
        self.blocks = max(1, hint)
        if always:
            self.limits[node] = self.blocks
        else:
            self._patience = PATIENCE


class Ahead:
    """What was fetched and is not written yet: a queue bounded by the bytes of the answers it came from.

    One answer always fits, however large, so that a large one cannot stop the work.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._held = 0
        self._items: deque[Segment | IndexerError | None] = deque()
        self._changed = threading.Condition()
        self._closed = False

    @property
    def held_bytes(self) -> int:
        return self._held

    def put(self, item: Segment | IndexerError | None) -> bool:
        """Wait for room and add an item; an error or None ends the queue. Returns whether anybody still reads it."""
        size = item.answer_bytes if isinstance(item, Segment) else 0
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._held or self._held + size <= self._limit)
            if not self._closed:
                self._held += size
                self._items.append(item)
                self._changed.notify_all()
            return not self._closed

    def close(self) -> None:
        """Nobody reads any more: whoever waits to put goes on at once."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Segment]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items)
                item = self._items.popleft()
                if isinstance(item, Segment):
                    self._held -= item.answer_bytes
                    self._changed.notify_all()
            if item is None:
                return
            if isinstance(item, IndexerError):
                raise item
            yield item


class Prefetcher:
    """Segments of a range of blocks, fetched by a thread with a connection of its own while others are written."""

    def __init__(self, chain: Chain, first: int, last: int, size: RangeSize, limit_bytes: int) -> None:
        self._chain = chain
        self._size = size
        self._between = first, last
        self._ahead = Ahead(limit_bytes)
        self._thread = threading.Thread(target=self._run, name="prefetch", daemon=True)

    def __enter__(self) -> Iterator[Segment]:
        self._thread.start()
        return iter(self._ahead)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ahead.close()
        self._thread.join()
        self._chain.rpc.close()

    def _run(self) -> None:
        first, last = self._between
        try:
            while first <= last:
                segment = self._fetch(first, last)
                if not self._ahead.put(segment):
                    return
                first = segment.last.number + 1
            self._ahead.put(None)
        except IndexerError as error:
            self._ahead.put(error)
        except Exception as error:  # the reader must not wait for ever, whatever it was
            self._ahead.put(Fatal(f"The prefetching thread failed: {error!r}"))

    def _fetch(self, first: int, last: int) -> Segment:
        while True:
            until = min(last, first + self._size.for_node(self._chain.rpc.node) - 1)
            started = time.monotonic()
            try:
                segment = self._chain.segment_by_range(first, until)
            except RangeTooLarge as error:
                if until == first:
                    return self._chain.segment_by_hash(first, first)
                self._size.refused(self._chain.rpc.node, until - first + 1, error.blocks, always=error.always)
                continue
            self._size.answered(until - first + 1, segment.answer_bytes, time.monotonic() - started)
            return segment


Part = TypeVar("Part")


@contextmanager
def ahead(parts: Iterator[Part], most: int = 2) -> Iterator[Iterator[Part]]:
    """The parts of an iterator, made by a thread of its own, `most` of them before they are asked for.

    What the iterator raises is raised where it is read. Leaving the block of `with` ends the thread after its present
    part; nothing else may use what the iterator uses meanwhile.
    """
    made: Queue[tuple[Part] | BaseException | None] = Queue(most)
    left = threading.Event()

    def make() -> None:
        last: BaseException | None = None
        try:
            for part in parts:
                made.put((part,))
                if left.is_set():
                    return
        except BaseException as error:  # the reader raises it
            last = error
        made.put(last)

    def read() -> Iterator[Part]:
        while isinstance(item := made.get(), tuple):
            yield item[0]
        if item is not None:
            raise item

    thread = threading.Thread(target=make, name="ahead", daemon=True)
    thread.start()
    try:
        yield read()
    finally:
        left.set()
        while thread.is_alive():
            try:
                made.get(timeout=0.01)  # whoever waits to put goes on
            except Empty:
                continue
