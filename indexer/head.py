"""A hint that there is a new block: the node's `newHeads` over WebSocket.

Only the hint is taken, never what it says: the chain is read as by polling, which goes on beneath. So a node that sends
nothing, or nonsense, or hangs up, costs nothing but the time between two polls.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

RECONNECT_S = (0.2, 30.0)
OPEN_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 0.5
SUBSCRIBE = '{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}'
MAX_MESSAGE_BYTES = 1_000_000


def websocket_url(rpc_url: str) -> str:
    """Where a node whose JSON-RPC is at `rpc_url` has its WebSocket, if it has both at one place, as anvil does."""
    return "ws" + rpc_url.split(",", maxsplit=1)[0].strip().removeprefix("http")


class NewHeads:
    """Sets `wake` at each message, from a thread of its own while the block of `with` runs."""

    def __init__(self, url: str, wake: threading.Event) -> None:
        self._url = url
        self._wake = wake
        self._stop = threading.Event()
        self._socket: ClientConnection | None = None
        self.connected = False
        self.hints = 0
        self._thread = threading.Thread(target=self._run, name="newHeads", daemon=True)

    def __enter__(self) -> NewHeads:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._socket is not None:
            self._socket.close()
        self._thread.join(2)

    def _run(self) -> None:
        wait, most = RECONNECT_S
        while not self._stop.is_set():
            before = self.hints
            try:
                self._listen()
            except Exception:  # whatever it was: this is a hint, and polling goes on
                self.connected = False
            wait = RECONNECT_S[0] if self.hints > before else min(most, wait * 2)
            self._stop.wait(wait)

    def _listen(self) -> None:
        from websockets.sync.client import connect  # noqa: PLC0415  a thread's time, not the start's

        with connect(
            self._url,
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            max_size=MAX_MESSAGE_BYTES,
            compression=None,
            proxy=None,
        ) as socket:
            self._socket = socket  # before the look at `_stop`: whoever sets that closes this
            socket.send(SUBSCRIBE)
            while not self._stop.is_set():
                message = orjson.loads(socket.recv())
                if message.get("method") == "eth_subscription":
                    self.hints += 1
                    self._wake.set()
                self.connected = "error" not in message
