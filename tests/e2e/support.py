"""A stack and the demo's driver on it, as `./troupe demo` runs them: the driver is a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stack.supervisor import Settings

ROOT = Path(__file__).resolve().parents[2]
CLOSING = "every figure the database predicted is what the contract paid"
SCALE = "0.05"
STORY_LIMIT_S = 240
ACT = re.compile(r"^\S.*(?: ━+ +(\d+)/\1 \d+:\d\d:\d\d| +done before) *$", re.MULTILINE)
"""The line that the driver prints when an act has ended."""


class Story:
    """One run of the driver against a stack; its output goes to a file."""

    def __init__(self, settings: Settings, output: Path) -> None:
        self.output = output
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "demo", "--scale", SCALE),
                    *("--api", settings.api_url, "--rpc", settings.rpc_url),
                ],
                cwd=ROOT,
                env=os.environ | {"NO_COLOR": "1"},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        return self.output.read_text()

    @property
    def acts(self) -> int:
        """How many acts have ended."""
        return len(ACT.findall(self.said))

    def ended(self) -> bool:
        return self.process.poll() is not None

    def end(self) -> int:
        """Wait for the end; returns the exit status."""
        return self.process.wait(STORY_LIMIT_S)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)


@contextmanager
def telling(settings: Settings, output: Path) -> Iterator[Story]:
    """A story that does not outlive the block."""
    story = Story(settings, output)
    try:
        yield story
    finally:
        if not story.ended():
            story.kill()


def within(limit_s: float, condition: Callable[[], bool]) -> Callable[[], bool]:
    """The condition, for loops that somebody else runs; raises AssertionError when it stays false for too long."""
    deadline = time.monotonic() + limit_s

    def look() -> bool:
        if condition():
            return True
        assert time.monotonic() < deadline, f"not within {limit_s:.0f} s"
        return False

    return look


def indexer(settings: Settings, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m indexer` with these arguments, on the stack's chain and mirror."""
    return subprocess.run(
        [sys.executable, "-m", "indexer", *arguments],
        cwd=ROOT,
        env=os.environ | settings.environment() | {"NO_COLOR": "1", "COLUMNS": "200"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def verify_mirror(settings: Settings) -> subprocess.CompletedProcess[str]:
    """`python -m indexer verify` on the stack's mirror."""
    return indexer(settings, "verify")
