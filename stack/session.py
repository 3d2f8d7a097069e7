"""A stack in a terminal: started under a table, watched, ended by Ctrl-C; and what runs against it meanwhile."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence

from rich.console import Console

from backend.remedies import as_asked
from stack.anvil import ROOT
from stack.console import Progress, readable
from stack.processes import stop
from stack.supervisor import Settings, Stack
from stack.tree import signals_as_interrupts


def run(
    stack: Stack, console: Console, *, reset: bool = False, story: Sequence[str] | None = None, once: bool = False
) -> int:
    """Start a stack and stay until Ctrl-C. Returns the exit status; raises StackError when a part fails.

    `story` is a command that runs against the stack when it is ready. With `once` the stack ends with it; it ends too
    when the story fails.
    """
    progress = Progress(console, lambda: stack.rows)
    stack.on_change = progress.changed
    status = 0
    with signals_as_interrupts(stack):
        try:
            if reset:
                say_removed(stack, console)
            started = time.monotonic()
            with progress:
                stack.start()
            say_ready(stack.settings, console, time.monotonic() - started)
            if story:
                status = _tell(stack, story)
                if once and status == 0:
                    console.print(as_asked("\nthe stack ends; `./troupe dev` brings it back with all that was told"))
            if not story or (status == 0 and not once):
                stack.watch()
        except KeyboardInterrupt:
            console.print("\nending; press Ctrl-C again to end at once")
        finally:
            with progress:
                stack.stop()
    return status


def driver_environment(settings: Settings) -> dict[str, str]:
    """What a program that uses the stack from outside is told: two addresses."""
    return {"TROUPE_API_URL": settings.api_url, "TROUPE_RPC_URL": settings.rpc_url}


def _tell(stack: Stack, story: Sequence[str]) -> int:
    """Run a command in this terminal while the stack is watched. Raises PartFailed when a part ends meanwhile."""
    process = subprocess.Popen(story, cwd=ROOT, env=os.environ | driver_environment(stack.settings))
    try:
        stack.watch(until=lambda: process.poll() is not None)
    finally:
        stop(process)
    return process.returncode


def run_driver(settings: Settings, story: Sequence[str]) -> int:
    """Run a command in this terminal against a stack that runs already; returns its exit status."""
    return subprocess.run(story, cwd=ROOT, env=os.environ | driver_environment(settings), check=False).returncode


def say_removed(stack: Stack, console: Console) -> None:
    """Clear the stack's folder and say what was in it. Raises AlreadyRunning."""
    removed = stack.reset()
    if not removed:
        console.print(f"nothing to remove in {stack.state}", soft_wrap=True)
        return
    parts = ", ".join(f"{name} ({readable(size)})" for name, size in removed)
    console.print(f"removed from {stack.state}: {parts}", soft_wrap=True)


def say_ready(settings: Settings, console: Console, seconds: float) -> None:
    """The addresses that a person opens next."""
    url = settings.api_url
    console.print(f"\nready in {seconds:.1f} s")
    for what, where in (("page", f"{url}/"), ("API", f"{url}/docs"), ("chain", settings.rpc_url)):
        console.print(f"  {what:<6} {where}")
    console.print(as_asked("  logs   ./troupe logs NAME      check  ./troupe doctor      end  Ctrl-C\n"))
