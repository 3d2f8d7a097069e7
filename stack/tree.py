"""A tree of processes: started stage by stage, watched, ended in reverse, and found again after a crash.

It knows nothing of Troupe: `Supervisor` runs any stages of services and tasks in a state folder.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

from stack.errors import StackError
from stack.processes import Command, Identity, Service, end, family, is_ready, launch, spawn, stop, tail

LOG_LIMIT = 20 * 2**20
"""Bytes; a longer log is moved aside (one older copy stays) when its part starts."""
POLL_S = 0.05
DISK_FULL = "the disk is full: free some space and start again; nothing that was confirmed is lost"


class Phase(StrEnum):
    """Where a part is on its way."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    DONE = "done"
    NOT_NEEDED = "not needed"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True)
class Task:
    """A part that runs to its end before the next one starts."""

    name: str
    commands: Callable[[], Sequence[Command]] = lambda: ()
    """What is run, one after the other, each ending with status 0."""
    env: Mapping[str, str] = field(default_factory=dict)
    needed: Callable[[], bool] = lambda: True
    before: Callable[[], None] | None = None
    """Done in this process first."""
    after: Callable[[], None] | None = None
    """Done in this process last: checks that what the commands promised is there."""
    timeout_s: float = 300.0


Part = Service | Task
Stage = Sequence[Part]


@dataclass
class Row:
    """What is known of one part now, for people to look at."""

    name: str
    phase: Phase = Phase.WAITING
    pid: int | None = None
    since: float | None = None
    """Of time.monotonic(), when it was started."""
    seconds: float | None = None
    """How long it took to be ready or done."""
    url: str = ""


class PartFailed(StackError):
    """A part ended by itself, or did not come up; the text has the last lines of its log."""

    def __init__(self, name: str, what: str, log: Path) -> None:
        self.name = name
        self.log = log
        lines = tail(log)
        text = f"{name} {what}"
        if lines:
            text += f". The last lines of {_short(log)}:\n" + "\n".join(f"    {line}" for line in lines)
        if any("No space left on device" in line for line in lines):
            text += f"\n{DISK_FULL}"
        super().__init__(text)


class AlreadyRunning(StackError):
    """Another supervisor holds the state folder."""


def _short(path: Path) -> str:
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


def describe_status(code: int) -> str:
    """A process' exit status in words."""
    if code >= 0:
        return f"ended with status {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


class Supervisor:
    """Runs `stages` with logs and records below `state`. Use `start`, `watch` and `stop`, or `with supervisor:`.

    The parts of one stage are started together and awaited in their order; the next stage waits for all of them.
    `on_change` is called whenever a row changes and every second. Start it from the thread that
    lives longest (see `spawn`).
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        state: Path,
        *,
        cwd: Path | None = None,
        on_change: Callable[[], None] = lambda: None,
        every_second: Callable[[], None] = lambda: None,
    ) -> None:
        self.stages = stages
        self.state = state
        self.cwd = cwd
        self.on_change = on_change
        self.every_second = every_second
        self.rows = {part.name: Row(part.name, url=getattr(part, "url", "")) for stage in stages for part in stage}
        self._running: dict[str, tuple[Service, subprocess.Popen[bytes]]] = {}
        self._identities: dict[str, Identity] = {}
        self._lock: int | None = None
        self._last_second = 0.0
        self.stopping = False
        self.hurry = False
        """Set (by a second Ctrl-C) to kill what is still ending."""

    # --- the folder -------------------------------------------------------------------------------------------

    def log(self, name: str) -> Path:
        """The log file of a part."""
        return self.state / "logs" / f"{name}.log"

    @property
    def _records(self) -> Path:
        return self.state / "processes.json"

    def lock(self) -> None:
        """Take the state folder for this process. Raises AlreadyRunning when another one has it."""
        if self._lock is not None:
            return
        self.state.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.state / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 32).decode().strip() or "unknown"
            os.close(handle)
            raise AlreadyRunning(
                f"a stack runs already in {_short(self.state)} (process {holder}):"
                " end it there with Ctrl-C, or give this one another folder with --state and other ports"
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        self._lock = handle

    def unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def end_leftovers(self) -> list[str]:
        """End what a killed supervisor left running, by pid, start time and command; returns the names."""
        try:
            records = json.loads(self._records.read_text())
        except (FileNotFoundError, ValueError):
            return []
        names = []
        for name, record in reversed(records.items()):
            leader = Identity(record["pid"], record["started"], tuple(record["command"]))
            found = [*([leader] if leader.process() else []), *family(leader)]
            if found:
                names.append(name)
                end(found, how=record["signal"], grace_s=record["grace_s"])
        self._records.unlink(missing_ok=True)
        return names

    def _record(self) -> None:
        records = {
            name: asdict(identity)
            | {"signal": int(self._running[name][0].stop_signal), "grace_s": self._running[name][0].grace_s}
            for name, identity in self._identities.items()
        }
        partial = self._records.with_suffix(".partial")
        partial.write_text(json.dumps(records))
        partial.replace(self._records)

    # --- start ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start every stage. Raises StackError when a part fails; what was started is then still running: `stop`."""
        self.stopping = self.hurry = False
        self.lock()
        self.end_leftovers()
        try:
            for stage in self.stages:
                for part in stage:
                    if isinstance(part, Service):
                        self._launch(part)
                for part in stage:
                    if isinstance(part, Service):
                        self._await(part)
                    else:
                        self._run(part)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise StackError(DISK_FULL) from error

    def _change(self, name: str, phase: Phase, pid: int | None = None) -> None:
        row = self.rows[name]
        again = row.phase is phase
        row.phase, row.pid = phase, pid
        now = time.monotonic()
        if phase is Phase.STARTING and not again:
            row.since, row.seconds = now, None
        elif phase in (Phase.READY, Phase.DONE, Phase.FAILED) and row.since is not None and row.seconds is None:
            row.seconds = now - row.since
        self.on_change()

    def _rotated(self, name: str) -> Path:
        log = self.log(name)
        if log.exists() and log.stat().st_size > LOG_LIMIT:
            log.replace(log.with_suffix(".log.1"))
        return log

    def _launch(self, service: Service) -> None:
        self._change(service.name, Phase.STARTING)
        process = launch(service, self._rotated(service.name), cwd=self.cwd)
        self._running[service.name] = (service, process)
        if identity := Identity.of(process.pid):
            self._identities[service.name] = identity
            self._record()
        self._change(service.name, Phase.STARTING, process.pid)

    def _await(self, service: Service) -> None:
        process = self._running[service.name][1]
        deadline = time.monotonic() + service.ready_timeout_s
        while not is_ready(service):
            self.check()
            if time.monotonic() > deadline:
                self._change(service.name, Phase.FAILED, process.pid)
                what = f"did not answer within {service.ready_timeout_s:g} s"
                raise PartFailed(service.name, what, self.log(service.name))
            time.sleep(POLL_S)
        if service.settle:
            service.settle()
        if identity := Identity.of(process.pid):  # its command after its own exec
            self._identities[service.name] = identity
            self._record()
        self._change(service.name, Phase.READY, process.pid)

    def _run(self, task: Task) -> None:
        if not task.needed():
            self._change(task.name, Phase.NOT_NEEDED)
            return
        self._change(task.name, Phase.STARTING)
        log = self._rotated(task.name)
        try:
            if task.before:
                task.before()
            for command in task.commands():
                self._run_command(task, command, log)
            if task.after:
                task.after()
        except BaseException:
            self._change(task.name, Phase.FAILED)
            raise
        self._change(task.name, Phase.DONE)

    def _run_command(self, task: Task, command: Command, log: Path) -> None:
        process = spawn(command, log=log, env=task.env, cwd=self.cwd)
        self._change(task.name, Phase.STARTING, process.pid)
        deadline = time.monotonic() + task.timeout_s
        try:
            while (code := process.poll()) is None:
                self.check()
                if time.monotonic() > deadline:
                    raise PartFailed(task.name, f"did not end within {task.timeout_s:g} s", log)
                time.sleep(POLL_S)
        finally:
            if process.poll() is None:
                stop(process, grace_s=2)
        if code:
            raise PartFailed(task.name, describe_status(code), log)

    # --- watch ------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Look at every child once. Raises PartFailed for one that has ended."""
        for name, (_, process) in self._running.items():
            if (code := process.poll()) is not None and self.rows[name].phase is not Phase.FAILED:
                self._change(name, Phase.FAILED)
                raise PartFailed(name, describe_status(code), self.log(name))
        if time.monotonic() - self._last_second >= 1:
            self._last_second = time.monotonic()
            self.every_second()
            self.on_change()

    def watch(self, until: Callable[[], bool] = lambda: False) -> None:
        """Stay until a part ends by itself (PartFailed), `until` is true, or the caller is interrupted."""
        while not until():
            self.check()
            time.sleep(0.2)

    def pid(self, name: str) -> int:
        """The process id of a service. Raises KeyError for a part that is none, or is not started."""
        return self._running[name][1].pid

    def kill(self, name: str, how: int = signal.SIGKILL) -> None:
        """Send a signal to one service, to see what happens. Raises KeyError for a part that is none."""
        self._running[name][1].send_signal(how)

    # --- stop -------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End every service, the last stage first, by the signal it asks for; what stays is killed."""
        self.stopping = True
        for stage in reversed(self.stages):
            services = [part for part in reversed(stage) if isinstance(part, Service) and part.name in self._running]
            self._stop_stage(services)
        if self._lock is not None:
            self._records.unlink(missing_ok=True)
        self.unlock()

    def _stop_stage(self, services: Sequence[Service]) -> None:
        families = {}
        for service in services:
            process = self._running[service.name][1]
            identity = self._identities.get(service.name)
            families[service.name] = family(identity) if identity else []
            if process.poll() is None:
                self._change(service.name, Phase.STOPPING, process.pid)
                process.send_signal(service.stop_signal)
        started = time.monotonic()
        for service in services:
            process = self._running.pop(service.name)[1]
            while process.poll() is None:
                if self.hurry or time.monotonic() - started > service.grace_s:
                    process.kill()
                    process.wait()
                time.sleep(0.02)
            end(families[service.name], grace_s=0.5)
            self._identities.pop(service.name, None)
            failed = self.rows[service.name].phase is Phase.FAILED
            self._change(service.name, Phase.FAILED if failed else Phase.STOPPED)

    def __enter__(self) -> Supervisor:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@contextlib.contextmanager
def signals_as_interrupts(supervisor: Supervisor) -> Iterator[None]:
    """SIGTERM and SIGHUP act as Ctrl-C; a second one of them makes the stopping brief."""
    seen = False

    def handle(number: int, _: object) -> None:
        nonlocal seen
        if seen or supervisor.stopping:
            supervisor.hurry = True
            return
        seen = True
        raise KeyboardInterrupt(signal.Signals(number).name)

    kinds = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as `nohup` leaves it
        kinds.append(signal.SIGHUP)
    before = {kind: signal.signal(kind, handle) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def clear(state: Path, keep: frozenset[str] = frozenset({"lock"})) -> list[tuple[str, int]]:
    """Remove what is in a state folder; returns the names with their bytes. The folder must be locked by the caller."""
    removed = []
    for path in sorted(state.iterdir()):
        if path.name in keep:
            continue
        removed.append((path.name, size(path)))
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return removed


def size(path: Path) -> int:
    """The bytes of a file, or of all files below a folder."""
    if not path.is_dir() or path.is_symlink():
        return path.lstat().st_size
    return sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())
