"""A TCP port in front of a server that breaks connections when a test says so: cut, half-open, or silent."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Literal

Side = Literal["client", "server"]
"""Who sent the bytes."""
Fate = Literal["pass", "cut", "leave", "swallow"]
"""Of some bytes and their connection: go on; closed on both sides without them; closed on the client's side alone, so
that the server doesn't know; or kept open on both sides while nothing comes through any more, as a network does that
lost the way.
"""
Rule = Callable[[Side, bytes], Fate]
Dial = Callable[[], socket.socket]


def passing(side: Side, data: bytes) -> Fate:
    return "pass"


class Relay:
    """`rule` decides about everything that goes through; a test may change it at any time."""

    def __init__(self, dial: Dial) -> None:
        self.rule: Rule = passing
        self._dial = dial
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._left: set[socket.socket] = set()
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = self._dial()
                except OSError:
                    client.close()
                    continue
                self._open += [client, server]
                for side, here, there in (("client", client, server), ("server", server, client)):
                    threading.Thread(target=self._pump, args=(side, here, there, client), daemon=True).start()

    def _pump(self, side: Side, here: socket.socket, there: socket.socket, client: socket.socket) -> None:
        swallowing = False
        try:
            while data := here.recv(65_536):
                fate: Fate = "swallow" if swallowing else self.rule(side, data)
                if fate == "pass":
                    there.sendall(data)
                elif fate == "swallow":
                    swallowing = True
                else:
                    if fate == "leave":
                        self._left.add(client)
                    for each in (client,) if fate == "leave" else (here, there):
                        hang_up(each)
                    return
        except OSError:
            pass
        if not swallowing and client not in self._left:
            hang_up(there)

    def close(self) -> None:
        for each in (self._listener, *self._open):
            hang_up(each)
            each.close()


def hang_up(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def relay(dial: Dial) -> Iterator[Relay]:
    """A relay while the block of `with` runs."""
    found = Relay(dial)
    try:
        yield found
    finally:
        found.close()


def to_port(url: str) -> Dial:
    """To the server of an http URL with a port."""
    host, _, port = url.removeprefix("http://").partition(":")
    return lambda: socket.create_connection((host, int(port)), timeout=None)


def to_unix(path: str) -> Dial:
    def dial() -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(path)
        return connection

    return dial
