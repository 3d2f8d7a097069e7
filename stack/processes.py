"""Operating-system processes: started with a log file, ended by their own pid, never left behind.

A child gets the kernel's parent-death signal (Linux), so that it ends with a supervisor that was killed. Where that
is missing (macOS) the next start ends what was left, by `Identity`: pid, time of start and command together, so that
a pid that the system gave to somebody else is never signalled.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from stack.errors import NotReady, PortInUse

HOST = "127.0.0.1"
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

Command = Sequence[str | os.PathLike[str]]


@dataclass(frozen=True)
class Identity:
    """A process, told apart from a later one with the same pid by its time of start and its command."""

    pid: int
    started: float
    """Seconds since the epoch, as the kernel has it."""
    command: tuple[str, ...]

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """The identity of a running process, or None when there is none with this pid."""
        try:
            process = psutil.Process(pid)
            return cls(pid, process.create_time(), tuple(process.cmdline()))
        except psutil.NoSuchProcess:
            return None

    def process(self) -> psutil.Process | None:
        """The process, if it still runs and is the same one; a zombie has ended."""
        try:
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.started) > 0.05 or process.status() == psutil.STATUS_ZOMBIE:
                return None
            return process
        except psutil.NoSuchProcess:
            return None


def spawn(
    command: Command,
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    death_signal: int = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, with its output appended to `log`.

    `env` is added to ours. The child receives `death_signal` when the *thread* that called this ends: call it from the
    thread that outlives the stack (the main one).
    """
    parent = os.getpid()

    def die_with_parent() -> None:
        if LIBC is not None:
            LIBC.prctl(PR_SET_PDEATHSIG, death_signal)
            if os.getppid() != parent:  # it died between fork and prctl
                os._exit(1)

    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            [os.fspath(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | dict(env or {}),
            cwd=cwd,
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509  prctl and getppid are safe between fork and exec
        )


def family(leader: Identity) -> list[Identity]:
    """The processes that a process of `spawn` has started: those below it, and those of its session.

    The session is what is left of the family when the leader was killed and its children were adopted. The kernel gives
    no new process the number of a session that still has members, so that they are the leader's.
    """
    found: dict[int, Identity] = {}
    if process := leader.process():
        with contextlib.suppress(psutil.NoSuchProcess):
            found |= {child.pid: identity for child in process.children(True) if (identity := Identity.of(child.pid))}
    if process or not psutil.pid_exists(leader.pid) or _is_zombie(leader.pid):
        for pid in psutil.pids():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if pid != leader.pid and os.getsid(pid) == leader.pid and (identity := Identity.of(pid)):
                    found[pid] = identity
    return list(found.values())


def _is_zombie(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def end(identities: Iterable[Identity], *, how: int = signal.SIGTERM, grace_s: float = 5.0) -> list[Identity]:
    """Signal each process that still runs, wait, kill what stays; return those that had to be killed."""
    alive = [identity for identity in identities if (process := identity.process()) and _send(process, how)]
    deadline = time.monotonic() + grace_s
    while any(identity.process() for identity in alive) and time.monotonic() < deadline:
        time.sleep(0.02)
    stubborn = [identity for identity in alive if (process := identity.process()) and _send(process, signal.SIGKILL)]
    deadline = time.monotonic() + 5
    while any(identity.process() for identity in stubborn) and time.monotonic() < deadline:
        time.sleep(0.02)
    return stubborn


def _send(process: psutil.Process, how: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(how)
        return True
    return False


def stop(process: subprocess.Popen[bytes], *, how: int = signal.SIGTERM, grace_s: float = 5.0) -> bool:
    """End a child and whatever it started; False when it had to be killed."""
    leader = Identity.of(process.pid)
    below = family(leader) if leader else []
    if process.poll() is None:
        process.send_signal(how)
    try:
        process.wait(grace_s)
        gentle = True
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        gentle = False
    end(below, grace_s=0.5)
    return gentle


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int) -> bool:
    """Whether a server can be opened on this port (a port in TIME_WAIT is free)."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def require_free_port(port: int, name: str, variable: str | None = None) -> None:
    """Raise PortInUse when somebody listens there; nothing of ours ever attaches to a port that it did not open."""
    if not port_is_free(port):
        raise PortInUse(port, name, variable)


def tail(log: Path, lines: int = 15) -> list[str]:
    """The last lines of a log file; an absent file has none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 64 * 1024))
            return file.read().decode(errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        return []


@dataclass(frozen=True)
class Service:
    """A long-running part of the stack: how to start it and how to know that it is ready."""

    name: str
    command: Command | Callable[[], Command]
    """What is run; a function is asked after `prepare`."""
    ready: Callable[[], bool]
    """Asked again and again until it is True; an OSError counts as not yet."""
    env: Mapping[str, str] = field(default_factory=dict)
    url: str = ""
    """What a person would open or connect to."""
    prepare: Callable[[], None] | None = None
    """Run before each start: folders, ports."""
    settle: Callable[[], None] | None = None
    """Run once when it is ready, before anybody else is told."""
    stop_signal: int = signal.SIGTERM
    grace_s: float = 5.0
    ready_timeout_s: float = 30.0


def launch(service: Service, log: Path, *, cwd: Path | None = None) -> subprocess.Popen[bytes]:
    """Prepare and start a service; it is not awaited."""
    if service.prepare:
        service.prepare()
    command = service.command() if callable(service.command) else service.command
    return spawn(command, log=log, env=service.env, cwd=cwd, death_signal=service.stop_signal)


def is_ready(service: Service) -> bool:
    """One attempt of the service's probe; what is not reachable is not ready."""
    try:
        return service.ready()
    except OSError:
        return False


def wait_ready(service: Service, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the service answers. Raises NotReady, with the log's last lines, when it ends first or takes long."""
    deadline = time.monotonic() + service.ready_timeout_s
    while process.poll() is None:
        if is_ready(service):
            if service.settle:
                service.settle()
            return
        if time.monotonic() > deadline:
            raise NotReady(f"{service.name} did not answer within {service.ready_timeout_s:g} s{_quote(log)}")
        time.sleep(0.03)
    raise NotReady(f"{service.name} ended at once with status {process.returncode}{_quote(log)}")


def _quote(log: Path) -> str:
    lines = tail(log)
    return "; the last lines of its log:\n" + "\n".join("    " + line for line in lines) if lines else ""


@contextlib.contextmanager
def running(service: Service, log: Path, *, cwd: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A service for the length of a `with` block: started, awaited, ended by its own pid."""
    process = launch(service, log, cwd=cwd)
    try:
        wait_ready(service, process, log)
        yield process
    finally:
        stop(process, how=service.stop_signal, grace_s=service.grace_s)
