"""Following the chain: backfill in ranges, then block by block, and back again when the chain changes its mind.

Invariants:
  * the mirror holds exactly the logs of the blocks from the deployment's first to the cursor's head, on one chain of
    block hashes; a step appends a linked segment to it or takes blocks back, in one transaction;
  * no network call is made inside a transaction, and nothing outside the database is changed by a step.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from indexer import endpoints, faults
from indexer.chain import Chain, Header, Segment, finality_text
from indexer.deployment import Deployment
from indexer.errors import BelowFinality, IndexerError, NodeFatal, Retryable, WrongChain
from indexer.fetch import Prefetcher, RangeSize
from indexer.head import NewHeads, websocket_url
from indexer.nodes import Nodes
from indexer.settings import IndexerSettings
from indexer.store import Cursor, Store
from indexer.witnesses import Witnesses

BACKFILL_FROM = 32
"""With more final blocks than this to go, they are asked for in ranges, ahead of the writing."""
BLOCKS_PER_STEP = 64
DEEP = 6
"""Taking back more blocks than this needs the other nodes' consent, where there are others."""
RANGES_AHEAD = 2
"""How many answers of the aimed-at size may wait to be written."""
BACKOFF_S = (0.1, 30.0)
DEVELOPMENT_POLL_S = 0.05
POLL_S = 1.0
GAP_OF_POLL = 0.1
"""The least time between two looks at a head that has not moved, of that between two polls: hints of new blocks that
pour in must not ask for it without pause.
"""
RATE_S = 10.0


@dataclass
class Progress:
    """What the process knows of itself, for /ready, /metrics and the progress bar. Written by the sync thread alone."""

    cursor: Cursor | None = None
    chain_head: int | None = None
    caught_up: bool = False
    last_progress: float = field(default_factory=time.monotonic)
    """Monotonic time of the last step, or of the last look at the head that found nothing new."""
    events: int = 0
    steps: int = 0
    reorganisations: int = 0
    deepest: int = 0
    retries: int = 0
    last_error: str | None = None
    final_waits: str | None = None
    """Why finality does not move, if it should."""

    marks: deque[tuple[float, int, int]] = field(default_factory=lambda: deque(maxlen=64))
    """Monotonic time, events and head of the last steps."""

    def advanced(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.last_progress = time.monotonic()
        self.marks.append((self.last_progress, self.events, cursor.head_number))

    def _recent(self, now: float) -> tuple[float, int, int]:
        """Seconds, events and blocks of the last RATE_S seconds or 64 steps."""
        marks = [mark for mark in list(self.marks) if mark[0] >= now - RATE_S]
        if not marks:
            return 1.0, 0, 0
        return max(0.001, now - marks[0][0]), self.events - marks[0][1], marks[-1][2] - marks[0][2]

    def events_per_s(self, now: float) -> float:
        """Logs written a second of late. `now` is monotonic time."""
        seconds, events, _ = self._recent(now)
        return events / seconds

    def seconds_left(self, now: float) -> float | None:
        """How long the head is away at this speed; 0 at the head, None when nobody knows."""
        if self.caught_up:
            return 0.0
        seconds, _, blocks = self._recent(now)
        if self.cursor is None or self.chain_head is None or blocks <= 0:
            return None
        return round((self.chain_head - self.cursor.head_number) * seconds / blocks, 1)


class Sync:
    """One process's work: keep the mirror at the chain's head until told to stop."""

    def __init__(
        self,
        settings: IndexerSettings,
        deployment: Deployment,
        *,
        progress: Progress | None = None,
        on_step: Callable[[Progress], None] = lambda _: None,
        rng: random.Random | None = None,
        backoff_s: tuple[float, float] = BACKOFF_S,
        nodes: Nodes | None = None,
    ) -> None:
        self.settings = settings
        self.deployment = deployment
        self.progress = progress or Progress()
        self._on_step = on_step
        self._rng = rng or random.Random()
        self._backoff_s = backoff_s
        self._stop = threading.Event()
        self._wake = threading.Event()
        """Set when there may be something to do before the next poll."""
        self._nodes = nodes or Nodes(settings.rpc_url)
        self._chain = Chain(self._nodes, deployment)
        self._witnesses = Witnesses(self._nodes.witnesses, deployment)
        self._store = Store(settings.indexer_database_url, deployment, lock_wait_s=settings.indexer_lock_wait_s)
        self._size = RangeSize(settings.indexer_range_bytes)
        self._remembered: dict[str, tuple[int, int]] = {}
        """Node -> what the database has of it, see `_remember`."""
        self._cursor: Cursor | None = None
        self._checked = False
        """Whether the node that is asked now serves the deployment's chain."""

    @property
    def poll_s(self) -> float:
        if self.settings.indexer_poll_ms is not None:
            return self.settings.indexer_poll_ms / 1000
        return DEVELOPMENT_POLL_S if self.deployment.development else POLL_S

    def stop(self) -> None:
        """Finish the present step and return from `run`. May be called from a signal handler or another thread."""
        self._stop.set()
        self._wake.set()

    def run(self, *, until_caught_up: bool = False) -> None:
        """Follow the chain until `stop` is called, or until the head was reached once. Raises Fatal."""
        attempt = 0
        try:
            with ExitStack() as stack:
                hinted = until_caught_up
                while not self._stop.is_set():
                    self._wake.clear()
                    looked = time.monotonic()
                    try:
                        self._check_node()
                        moved = self.advance()
                    except (Retryable, NodeFatal) as error:
                        attempt += 1
                        self._wait_after(error, attempt)
                        continue
                    attempt = 0
                    self.progress.last_error = None
                    if not moved:
                        if until_caught_up and self.progress.caught_up:
                            return
                        if not hinted and (url := self._websocket_url()):
                            stack.enter_context(NewHeads(url, self._wake))
                        hinted = True
                        self._wake.wait(self.poll_s)
                        self._stop.wait(looked + GAP_OF_POLL * self.poll_s - time.monotonic())
        finally:
            self.close()

    def _websocket_url(self) -> str | None:
        """Where the hints of new blocks come from."""
        if self.settings.rpc_websocket_url is not None or not self.deployment.development:
            return self.settings.rpc_websocket_url
        return websocket_url(self.settings.rpc_url)

    def close(self) -> None:
        """Let go of the database, its writer's lock and the node."""
        self._store.close()
        self._chain.rpc.close()

    def _check_node(self) -> None:
        if not self._checked:
            self._chain.check()
            self._checked = True

    def _wait_after(self, error: Retryable | NodeFatal, attempt: int) -> None:
        """Another node is asked at once. Else full jitter below a doubling bound; a node that says how long to wait is
        believed, up to the bound's end. Raises a NodeFatal again when no other node does better.
        """
        at_once = self._nodes.failed(error)
        self.progress.retries += 1
        self.progress.last_error = str(error)
        self._on_step(self.progress)
        self._checked = self._checked and not self._nodes.others()  # where there are others, one of them is next
        if at_once:
            return
        least, most = self._backoff_s
        bound = min(most, least * 2 ** min(attempt, 20))
        after_s = error.after_s if isinstance(error, Retryable) else None
        self._stop.wait(min(most, after_s) if after_s else self._rng.uniform(0, bound))

    def advance(self) -> bool:
        """Take one look at the head and do what it asks for. Returns whether the mirror moved.

        Raises Retryable when this should be tried again later, Fatal when it must not.
        """
        head, final = self._chain.head()
        self.progress.chain_head = head.number
        self._witnesses.require_fresh(self._chain, head)
        cursor = self._ensure_cursor()
        final = self._witnesses.final(self._chain, final, cursor.final_number)
        self.progress.final_waits = self._witnesses.waits
        if head.hash == cursor.head_hash:
            return self._rest(cursor, final)
        if head.number <= cursor.head_number:
            return self._at_or_below(cursor, head)
        if head.number - cursor.head_number > BLOCKS_PER_STEP:
            self.progress.caught_up = False
        if min(final, head.number) - cursor.head_number > BACKFILL_FROM:
            self._backfill(cursor, final)
        else:
            self._follow(cursor, head, final)
        return True

    def _ensure_cursor(self) -> Cursor:
        cursor = self._cursor if self._cursor is not None and self._store.is_open else self._open()
        return self._fill_gap(cursor) if self._store.unmirrored else cursor

    def _open(self) -> Cursor:
        cursor = self._store.open()
        for node, limit, blocks in endpoints.known(self._store):
            self._remembered[node] = limit, blocks
            self._size.recall(node, limit, blocks if node == self._chain.rpc.node else None)
        if cursor is None:
            parent = self._chain.header(self.deployment.start_block - 1)
            if parent is None:
                raise Retryable(f"the chain has not reached block {self.deployment.start_block} of the deployment")
            cursor = self._store.begin(parent)
        return self._keep(cursor)

    def _fill_gap(self, cursor: Cursor) -> Cursor:
        """Mirror what the manifest's new contracts have logged up to the mirror's head: their own gap, nothing else."""
        head = self._chain.header(cursor.head_number)
        if head is None or head.hash != cursor.head_hash:
            self._reorganise(cursor, cursor.head_number)
            raise Retryable("blocks were taken back before the new contracts' logs are fetched")
        chain = Chain(self._nodes.again(), replace(self.deployment, contracts=self._store.unmirrored))
        first = max(1, min(contract.block for contract in self._store.unmirrored))
        before = self._chain.header(first - 1) if first < cursor.start_block else None
        if before is None and first < cursor.start_block:
            raise Retryable(f"{self._chain.rpc.node} does not show block {first - 1}, before a new contract")
        ahead = self.settings.indexer_range_bytes * RANGES_AHEAD
        with Prefetcher(chain, first, cursor.head_number, self._size, ahead) as segments:
            self._store.stage(cursor, _linked(segments, before, cursor))
        try:
            moved = self._store.fill(cursor, before)
        except IndexerError:
            self._cursor = None
            raise
        self.progress.events += moved.log_count - cursor.log_count
        return self._keep(moved)

    def _keep(self, cursor: Cursor) -> Cursor:
        self._cursor = cursor
        self.progress.advanced(cursor)
        self._on_step(self.progress)
        return cursor

    def _rest(self, cursor: Cursor, final: int) -> bool:
        """The mirror is at the head: at most the mark of finality moves."""
        self.progress.last_progress = time.monotonic()
        if not self.progress.caught_up:
            self._store.index()
            self.progress.caught_up = True
            self._on_step(self.progress)
        reached = min(final, cursor.head_number)
        if reached > cursor.final_number:
            self._keep(self._store.set_final(cursor, final))
            return True
        return False

    def _at_or_below(self, cursor: Cursor, head: Header) -> bool:
        """The node's head is another block at our height, or lies below ours."""
        known = self._store.known_block(head.number, 0)
        # what is not kept at a height below the head is empty and final
        replaced = known is not None and known[0] == head.number and known[1] != head.hash
        if head.number < cursor.head_number and not replaced and not self.deployment.development:
            # one of the nodes behind a balancer is late
            raise Retryable(f"{self._chain.rpc.node} is {cursor.head_number - head.number} blocks behind the mirror")
        self._reorganise(cursor, head.number)
        return True

    def _backfill(self, cursor: Cursor, final: int) -> None:
        """Mirror the final blocks above the cursor, a range at a time."""
        chain = Chain(self._nodes.again(), self.deployment)
        with Prefetcher(
            chain, cursor.head_number + 1, final, self._size, self.settings.indexer_range_bytes * RANGES_AHEAD
        ) as segments:
            for segment in segments:
                faults.point("after fetch")
                if segment.first.parent != cursor.head_hash:
                    self._reorganise(cursor, cursor.head_number)
                    return
                agreed = self._witnesses.of_range(segment.last, final, cursor.final_number)
                cursor = self._append(cursor, segment, agreed)
                self._remember(limit_only=True)
                if self._stop.is_set():
                    break
        self._remember()

    def _remember(self, *, limit_only: bool = False) -> None:
        """Keep what was learned of the node's ranges for the next process; `limit_only`: when its limit is new."""
        node = self._chain.rpc.node
        learned = self._size.learned(node)
        known = self._remembered.get(node, (0, 0))
        if learned[0] != known[0] or (not limit_only and learned != known):
            endpoints.remember(self._store, node, *learned)
            self._remembered[node] = learned

    def _follow(self, cursor: Cursor, head: Header, final: int) -> None:
        """Mirror the next blocks up to the head, asking for their logs by block hash."""
        last = min(head.number, cursor.head_number + BLOCKS_PER_STEP)
        if head.number == cursor.head_number + 1:
            segment = self._chain.segment_of([head])
        else:
            segment = self._chain.segment_by_hash(cursor.head_number + 1, last)
        faults.point("after fetch")
        if segment.first.parent != cursor.head_hash:
            self._reorganise(cursor, cursor.head_number)
        else:
            self._append(cursor, segment, final)

    def _append(self, cursor: Cursor, segment: Segment, final: int) -> Cursor:
        try:
            moved = self._store.append(cursor, segment, final)
        except IndexerError:
            self._cursor = None  # whether it was committed is read from the database
            raise
        self.progress.events += len(segment.logs)
        self.progress.steps += 1
        return self._keep(moved)

    def _reorganise(self, cursor: Cursor, below: int) -> None:
        """Go back to the highest mirrored block, not above `below`, that is still on the chain.

        Raises BelowFinality when that lies below what the network called final, WrongChain when not even the block
        before the deployment is there.
        """
        ancestor = self._common_ancestor(cursor, below)
        if ancestor.number < cursor.final_number and not self.deployment.development:
            self._confirm(cursor)
            promise = finality_text(self.deployment.finality)
            raise BelowFinality(
                f"The chain replaced block {ancestor.number + 1}, and all up to {cursor.final_number} were final by"
                f" {promise}: make sure that {self._chain.rpc.node} is on the right chain, then run"
                " `python -m indexer rebuild --from-chain`"
            )
        if ancestor.hash == cursor.head_hash:
            raise Retryable("the chain changed while it was read")
        if cursor.head_number - ancestor.number > DEEP:
            self._confirm(cursor)
        try:
            moved = self._store.undo(cursor, ancestor)
        except IndexerError:
            self._cursor = None
            raise
        self.progress.reorganisations += 1
        self.progress.deepest = max(self.progress.deepest, cursor.head_number - ancestor.number)
        self._keep(moved)

    def _confirm(self, cursor: Cursor) -> None:
        """Before many blocks are taken back, or all is given up, on the word of one node, no other may still have the
        mirror's head.

        Raises Retryable when one has: the nodes are on different chains, and time will tell.
        """
        for other in self._nodes.others():
            try:
                header = Chain(other, self.deployment).header(cursor.head_number)
            except IndexerError:
                continue  # it has no voice while it does not answer
            if header is not None and header.hash == cursor.head_hash:
                raise Retryable(
                    f"{self._chain.rpc.node} has replaced many or final blocks that {other.node} still has: one of"
                    " them is on another chain"
                )

    def _common_ancestor(self, cursor: Cursor, below: int) -> Header:
        """The highest mirrored block, not above `below`, whose hash the chain still has.

        If a block is on the chain all blocks before it are, so the search gallops down and then halves.
        """

        def on_chain(skip: int) -> Header | None:
            """The chain's header of the row that is `skip` rows below the top, if it is the row's; else None."""
            known = self._store.known_block(below, skip)
            if known is None:
                return self._start(cursor)
            header = self._chain.header(known[0])
            if header is None and not self.deployment.development:
                raise Retryable(f"{self._chain.rpc.node} is behind the mirror: it does not show block {known[0]}")
            return header if header is not None and header.hash == known[1] else None

        replaced, skip = -1, 0
        while (found := on_chain(skip)) is None:
            replaced, skip = skip, 2 * skip + 1
        while skip - replaced > 1:
            middle = (replaced + skip) // 2
            header = on_chain(middle)
            if header is None:
                replaced = middle
            else:
                skip, found = middle, header
        return found

    def _start(self, cursor: Cursor) -> Header:
        """The block before the first mirrored one. Raises WrongChain when the chain has another there."""
        header = self._chain.header(cursor.start_block - 1)
        if header is None:
            raise Retryable(
                f"{self._chain.rpc.node} does not show block {cursor.start_block - 1}, before the deployment"
            )
        if header.hash != cursor.start_parent:
            self._confirm(cursor)
            raise WrongChain(
                f"{self._chain.rpc.node} has another block {cursor.start_block - 1} than the one before the deployment:"
                " this is another chain. Deploy again and run `python -m indexer rebuild --from-chain`"
            )
        return header


def _linked(segments: Iterable[Segment], before: Header | None, cursor: Cursor) -> Iterator[Segment]:
    """The segments of a gap, each held to follow the one before it, and the last to end at the mirror's head.

    Raises Retryable when the chain changed meanwhile.
    """
    last = before
    for segment in segments:
        if last is not None and segment.first.parent != last.hash:
            raise Retryable("the chain changed while the new contracts' logs were read")
        last = segment.last
        yield segment
    if last is not None and last is not before and last.hash != cursor.head_hash:
        raise Retryable("the chain changed while the new contracts' logs were read")
