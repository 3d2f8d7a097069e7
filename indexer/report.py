"""What `indexer run` tells people: a progress bar on a terminal, JSON lines in a log file."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

import orjson

from indexer.deployment import Deployment
from indexer.sync import Progress as SyncProgress

if TYPE_CHECKING:  # a log file needs no bar, and rich takes longer to import than the indexer's whole start
    from rich.progress import Progress, TaskID

LOG_EVERY_S = 5.0


class Log:
    """Lines about what happens: JSON for programs, plain for a terminal."""

    def __init__(self, *, interactive: bool) -> None:
        self._interactive = interactive

    def info(self, event: str, **values: Any) -> None:
        self._write("info", event, values)

    def warning(self, event: str, **values: Any) -> None:
        self._write("warning", event, values)

    def _write(self, level: str, event: str, values: dict[str, Any]) -> None:
        at = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        if self._interactive:
            said = "  ".join(f"{name}={value}" for name, value in values.items())
            print(f"{at[11:19]}  {event:<16}  {said}", file=sys.stderr, flush=True)  # noqa: T201
        else:
            line = values | {"event": event, "level": level, "timestamp": at}
            print(orjson.dumps(line).decode(), file=sys.stderr, flush=True)  # noqa: T201


class PassBar:
    """How far a pass over known blocks is: a bar on a terminal, JSON lines in a log file."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._log = Log(interactive=False)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._logged = time.monotonic()

    def __enter__(self) -> PassBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self, *, first: int, at: int, last: int, wrong: int) -> None:
        """All blocks from `first` to `at` of those to `last` are done, and so many rows of them were wrong."""
        if sys.stderr.isatty():
            if self._bar is None:
                from rich.console import Console  # noqa: PLC0415
                from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

                self._bar = Progress(
                    TextColumn(f"[bold]{self._what}"),
                    BarColumn(),
                    TextColumn("block {task.fields[at]:,} of {task.fields[last]:,}, {task.fields[wrong]:,} rows wrong"),
                    TimeRemainingColumn(),
                    console=Console(stderr=True),
                    transient=True,
                )
                self._bar.start()
                self._task = self._bar.add_task(self._what, total=last - first + 1, at=at, last=last, wrong=wrong)
            if self._task is not None:
                self._bar.update(self._task, completed=at - first + 1, at=at, last=last, wrong=wrong)
        elif time.monotonic() - self._logged > LOG_EVERY_S:
            self._logged = time.monotonic()
            self._log.info(self._what.lower(), at=at, last=last, wrong=wrong)


class Reporter:
    """Follows the sync's progress; `step` is called after every step, wait and look that changed something."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._interactive = sys.stderr.isatty()
        self._log = Log(interactive=self._interactive)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._began = time.monotonic()
        self._logged = 0.0
        self._was_caught_up = False
        self._reorganisations = 0
        self._said: str | None = None
        self._final_waits: str | None = None

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
        if progress.final_waits != self._final_waits:
            self._final_waits = progress.final_waits
            if self._final_waits:
                self._log.warning("finality waits", reason=self._final_waits)
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
        if self._interactive:
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
            from rich.console import Console  # noqa: PLC0415
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

            self._bar = Progress(
                TextColumn("[bold]Mirroring"),
                BarColumn(),
                TextColumn("block {task.fields[head]:,} of {task.fields[chain_head]:,}"),
                TextColumn("[cyan]{task.fields[rate]:,} events/s"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
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
