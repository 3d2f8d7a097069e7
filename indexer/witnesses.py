"""What the other given nodes say: how far blocks are final is not the word of one node where there are several."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from indexer.chain import Chain, Header
from indexer.deployment import Deployment
from indexer.errors import IndexerError, Retryable
from indexer.nodes import Node

SILENT_S = 60.0
"""How long a node that did not answer is not asked again."""
STALE_S = 30.0
"""After so long without a new block the others are asked whether there are any."""
STALE_BLOCKS = 2
"""By so many more blocks another node must be ahead."""


class Witnesses:
    """Asks the nodes beside the one that is followed, with little patience: they never hold up the mirror for long."""

    def __init__(
        self,
        nodes: Callable[[], Sequence[Node]],
        deployment: Deployment,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._nodes = nodes
        self._deployment = deployment
        self._clock = clock
        self._silent_until: dict[str, float] = {}
        self._head: bytes = b""
        self._since = clock()
        self.agreed = 0
        self._of = ""
        """The newest block that was found to be final; what is below it is not asked about again."""
        self.waits: str | None = None
        """Why finality does not move, if it should."""

    def _answers(self) -> Iterator[tuple[Chain, Header, int]]:
        """Each other node that answers, with its head and the number of its newest final block."""
        now = self._clock()
        for node in self._nodes():
            if self._silent_until.get(node.node, 0.0) > now:
                continue
            chain = Chain(node, self._deployment)
            try:
                yield chain, *chain.head()
            except IndexerError:
                self._silent_until[node.node] = now + SILENT_S

    def final(self, chain: Chain, claimed: int, known: int) -> int:
        """The newest block, not above `claimed`, that the followed node's chain has and another node calls final, too.

        Where there are no others the followed node is believed. `known` is what was final before: it stays.
        """
        self.waits = None
        if chain.rpc.node != self._of:  # what was agreed on was the other node's chain
            self._of, self.agreed = chain.rpc.node, 0
        if self._deployment.development or not self._nodes():
            found = claimed
        else:
            found = min(claimed, max(known, self.agreed))
            if claimed > found:
                found = self._agree(chain, claimed, found)
        if claimed < known and not self._deployment.development:
            self.waits = f"{chain.rpc.node} calls block {claimed:,} final, and {known:,} was"
        return max(found, known)

    def _agree(self, chain: Chain, claimed: int, found: int) -> int:
        """As `final`, beyond block `found`."""
        agreed, why = found, "no other node answers"
        for other, _, theirs in self._answers():
            number = min(claimed, theirs)
            if number <= agreed:
                why = f"{other.rpc.node} does so with block {theirs:,}"
            elif self._same(chain, other, number):
                agreed = number
            else:
                why = f"{other.rpc.node} has another block {number:,}"
        self.agreed = max(self.agreed, agreed)
        if agreed == found:
            self.waits = f"{chain.rpc.node} calls block {claimed:,} final, and {why}"
        return agreed

    def of_range(self, last: Header, final: int, known: int) -> int:
        """`final`, if another node has the very block that a range to be written ends with; else what was `known`.

        A node can name a final block truly and serve others below it.
        """
        if self._deployment.development or not self._nodes():
            return final
        for other, _, _ in self._answers():
            try:
                theirs = other.header(last.number)
            except IndexerError:
                continue
            if theirs is not None and theirs.hash == last.hash:
                return final
        return known

    def _same(self, chain: Chain, other: Chain, number: int) -> bool:
        """Whether both nodes have the same block at a height. A witness that does not answer has not."""
        ours = chain.header(number)
        try:
            theirs = other.header(number)
        except IndexerError:
            return False
        return ours is not None and theirs is not None and ours.hash == theirs.hash

    def require_fresh(self, chain: Chain, head: Header) -> None:
        """Raises Retryable for a node whose head has long not moved while another node has newer blocks."""
        now = self._clock()
        if head.hash != self._head:
            self._head, self._since = head.hash, now
        if now - self._since < STALE_S or self._deployment.development:
            return
        self._since = now
        for other, theirs, _ in self._answers():
            if theirs.number > head.number + STALE_BLOCKS:
                raise Retryable(
                    f"{chain.rpc.node} stays at block {head.number:,}, and {other.rpc.node} is at {theirs.number:,}"
                )
