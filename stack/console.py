"""How the process tree looks in a terminal: one table while it starts, plain lines where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from stack.tree import Phase, Row

MARKS: Mapping[Phase, tuple[str, str]] = {
    Phase.WAITING: ("○", "dim"),
    Phase.STARTING: ("◐", "yellow"),
    Phase.READY: ("●", "green"),
    Phase.DONE: ("●", "green"),
    Phase.NOT_NEEDED: ("●", "dim"),
    Phase.STOPPING: ("◐", "yellow"),
    Phase.STOPPED: ("○", "dim"),
    Phase.FAILED: ("✕", "red"),
}
REFRESH_S = 0.1


def seconds(row: Row, now: float) -> str:
    """How long a part took, or has taken so far."""
    if row.seconds is not None:
        return f"{row.seconds:.1f}"
    if row.phase is Phase.STARTING and row.since is not None:
        return f"{now - row.since:.0f}…"
    return ""


def table(rows: Mapping[str, Row], now: float) -> Table:
    """The parts, their state, process, seconds and address."""
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    grid.add_column("part", min_width=10, no_wrap=True)
    grid.add_column("state", min_width=12, no_wrap=True)
    grid.add_column("pid", justify="right", min_width=7, no_wrap=True)
    grid.add_column("seconds", justify="right", no_wrap=True)
    grid.add_column("address", overflow="fold")
    for row in rows.values():
        mark, style = MARKS[row.phase]
        address = row.url if row.phase in (Phase.READY, Phase.STARTING) else ""
        grid.add_row(
            Text(row.name, style="bold" if row.phase is Phase.FAILED else ""),
            Text(f"{mark} {row.phase}", style=style),
            str(row.pid or ""),
            seconds(row, now),
            Text(address, style="dim" if not address.startswith("http") else ""),
        )
    return grid


class Progress:
    """Shows the rows of a supervisor while a `with` block runs; `changed` is its on_change.

    Drawn from the caller's thread: the processes are started from it, and no other thread runs meanwhile.
    """

    def __init__(self, console: Console, rows: Callable[[], Mapping[str, Row]]) -> None:
        self.console = console
        self.rows = rows
        self._live: Live | None = None
        self._said: dict[str, Phase] = {}
        self._drawn = 0.0

    def __enter__(self) -> Progress:
        if self.console.is_terminal:
            self._live = Live(console=self.console, auto_refresh=False, transient=False)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.update(table(self.rows(), time.monotonic()), refresh=True)
            self._live.stop()
            self._live = None

    def changed(self) -> None:
        """Draw again, or print the lines of the parts that changed."""
        now = time.monotonic()
        if self._live:
            self._live.update(table(self.rows(), now), refresh=True)
        elif not self.console.is_terminal:
            for name, row in self.rows().items():
                if self._said.get(name, Phase.WAITING) is not row.phase:
                    self._said[name] = row.phase
                    came_up = row.phase in (Phase.READY, Phase.DONE)
                    took = f" in {row.seconds:.1f} s" if came_up and row.seconds is not None else ""
                    self.console.print(f"{name:<10} {row.phase}{took}", highlight=False)


def readable(size: int) -> str:
    """A number of bytes as a person says it."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} bytes"
