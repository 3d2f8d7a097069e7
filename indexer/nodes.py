"""Several nodes of one chain: the first is asked, and another takes its place when it fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from indexer.errors import Fatal, NodeFatal, Retryable
from indexer.rpc import Rpc

REST_S = 5.0
"""How long a node that failed is passed over when it did not say."""
WITNESS_TIMEOUT_S = 3.0
"""How long a node may stay silent that is only asked whether it agrees."""
FATAL_REST_S = 60.0
"""How long, when it failed in a way that only a person mends."""


class Node(Protocol):
    """What the indexer asks of a node, or of several that stand for one."""

    @property
    def node(self) -> str: ...
    @property
    def bytes_read(self) -> int: ...
    def call(self, method: str, *params: Any) -> Any: ...
    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]: ...
    def close(self) -> None: ...


class Nodes:
    """A `Node` made of those whose URLs are given, separated by commas, in the order of preference.

    A call goes to one node and raises what that node raises: whoever repeats a step calls `failed` first. One node
    answers all calls of a step, so that a step never mixes two views of the chain.
    """

    def __init__(self, urls: str, *, read_timeout_s: float | None = None, clock: Callable[[], float] = time.monotonic):
        self.urls = urls
        self._read_timeout_s = read_timeout_s
        more = {} if read_timeout_s is None else {"read_timeout_s": read_timeout_s}
        self._rpcs = [Rpc(url.strip(), **more) for url in urls.split(",") if url.strip()]
        if not self._rpcs:
            raise Fatal("TROUPE_RPC_URL is no http(s) URL of a node")
        self._rests_until = [0.0] * len(self._rpcs)
        self._fatal_until = [0.0] * len(self._rpcs)
        self._clock = clock
        self._at = 0
        self._witnesses: list[Rpc] = []

    @property
    def node(self) -> str:
        """The node that is asked now."""
        return self._rpcs[self._at].node

    @property
    def bytes_read(self) -> int:
        return self._rpcs[self._at].bytes_read

    def call(self, method: str, *params: Any) -> Any:
        return self._rpcs[self._at].call(method, *params)

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        return self._rpcs[self._at].batch(calls)

    def close(self) -> None:
        for rpc in (*self._rpcs, *self._witnesses):
            rpc.close()

    def again(self) -> Nodes:
        """The same nodes by connections of their own, for another thread, beginning with the one that is asked now."""
        found = Nodes(self.urls, read_timeout_s=self._read_timeout_s, clock=self._clock)
        found._at = self._at
        return found

    def failed(self, error: Retryable | NodeFatal) -> bool:
        """The present node failed: pass over it for a while. Returns whether another can be asked at once.

        Raises a NodeFatal again when every node has failed with one of late.
        """
        now = self._clock()
        rest = FATAL_REST_S if isinstance(error, NodeFatal) else error.after_s or REST_S
        self._rests_until[self._at] = now + rest
        if isinstance(error, NodeFatal):
            self._fatal_until[self._at] = now + rest
            if min(self._fatal_until) > now:
                raise error
        others = [(self._rests_until[at], at) for at in range(len(self._rpcs)) if at != self._at]
        if not others:
            return False
        until, self._at = min(others)
        return until <= now

    def others(self) -> Sequence[Node]:
        """The nodes beside the one that is asked now."""
        return [rpc for at, rpc in enumerate(self._rpcs) if at != self._at]

    def witnesses(self) -> Sequence[Node]:
        """The same, by connections that are given up soon."""
        if not self._witnesses:
            self._witnesses = [
                Rpc(rpc.url, read_timeout_s=WITNESS_TIMEOUT_S, answer_timeout_s=WITNESS_TIMEOUT_S) for rpc in self._rpcs
            ]
        return [rpc for at, rpc in enumerate(self._witnesses) if at != self._at]
