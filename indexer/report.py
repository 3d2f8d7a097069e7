"""What `indexer run` tells people: a progress bar on a terminal, JSON lines in a log file."""

from __future__ import annotations

import sys
import time
from types import TracebackType

import structlog
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from indexer.deployment import Deployment
from indexer.sync import Progress as SyncProgress

LOG_EVERY_S = 5.0


def _logger(interactive: bool) -> structlog.stdlib.BoundLogger:
    renderer = structlog.dev.ConsoleRenderer() if interactive else structlog.processors.JSONRenderer()
    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(0),
    )
    return logger


class Reporter:
    """Follows the sync's progress; `step` is called after every step, wait and look that changed something."""

    def __init__(self, deployment: Deployment, console: Console) -> None:
        self._deployment = deployment
        self._console = console
        self._log = _logger(console.is_terminal)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._began = time.monotonic()
        self._logged = 0.0
        self._was_caught_up = False
        self._reorganisations = 0
        self._said: str | None = None

    def __enter__(self) -> Reporter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_bar()

    def started(self, health_port: int) -> None:
        self._log.info(
            "started",
            network=self._deployment.network,
            chain_id=self._deployment.chain_id,
            contracts=len(self._deployment.contracts),
            health=f"http://127.0.0.1:{health_port}/ready",
        )

    def stopped(self, progress: SyncProgress) -> None:
        self._end_bar()
        self._log.info("stopped", head=progress.cursor.head_number if progress.cursor else None, events=progress.events)

    def step(self, progress: SyncProgress) -> None:
        """Tell what is new."""
        if progress.last_error != self._said:
            self._said = progress.last_error
            if self._said:
                self._log.warning("waiting", reason=self._said)
        cursor = progress.cursor
        if cursor is None:
            return
        if progress.reorganisations != self._reorganisations:
            self._reorganisations = progress.reorganisations
            self._log.warning("reorganisation", first_block=cursor.head_number + 1, deepest=progress.deepest)
        if progress.caught_up:
            if not self._was_caught_up:
                self._was_caught_up = True
                self._end_bar()
                self._log.info("caught up", head=cursor.head_number, logs=cursor.log_count)
            return
        if progress.chain_head is None or self._was_caught_up:
            return
        if self._console.is_terminal:
            self._show(progress, cursor.start_block, cursor.head_number, progress.chain_head)
        elif time.monotonic() - self._logged > LOG_EVERY_S:
            self._logged = time.monotonic()
            self._log.info(
                "catching up", head=cursor.head_number, chain_head=progress.chain_head, rate=self._rate(progress)
            )

    def _rate(self, progress: SyncProgress) -> int:
        return round(progress.events / max(0.001, time.monotonic() - self._began))

    def _show(self, progress: SyncProgress, start: int, head: int, chain_head: int) -> None:
        if self._bar is None:
            self._bar = Progress(
                TextColumn("[bold]Mirroring"),
                BarColumn(),
                TextColumn("block {task.fields[head]:,} of {task.fields[chain_head]:,}"),
                TextColumn("[cyan]{task.fields[rate]:,} events/s"),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task("mirror", total=None, head=head, chain_head=chain_head, rate=0)
        if self._task is not None:
            self._bar.update(
                self._task,
                total=chain_head - start + 1,
                completed=head - start + 1,
                head=head,
                chain_head=chain_head,
                rate=self._rate(progress),
            )

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
