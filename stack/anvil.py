"""anvil, the development chain: the native binary, its state in one file."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import orjson

from stack import rpc
from stack.errors import Missing, StackError
from stack.processes import HOST, Command, Service, require_free_port

ROOT = Path(__file__).resolve().parent.parent
CHAIN_ID = 31337
DUMP_INTERVAL_S = 5
SETTLED_S = 1.0
HISTORY = 64
FLAGS = (
    *("--chain-id", str(CHAIN_ID)),
    *("--hardfork", "cancun"),
    *("--base-fee", "0"),
    *("--slots-in-an-epoch", "1"),  # finalized = head - 2
    "--preserve-historical-states",  # without it anvil_reorg fails after a restart
)


def binary(root: Path = ROOT) -> Path:
    """The native anvil. The npm command around it is a Node wrapper that keeps signals to itself. Raises Missing."""
    found = sorted((root / "node_modules" / "@foundry-rs").glob("anvil-*/bin/anvil"))
    if not found:
        raise Missing("anvil is not installed for this platform: run `make setup` (it needs Node 20 or newer with npm)")
    return found[0]


def kept_copy(state: Path) -> Path:
    """The last whole copy of a state file."""
    return state.with_name(state.name + ".kept")


def is_whole(state: bytes) -> bool:
    """Whether a state file was written to its end."""
    try:
        return isinstance(orjson.loads(state), dict)
    except orjson.JSONDecodeError:
        return False


def keep(state: Path, settled_s: float = SETTLED_S) -> None:
    """Copy the state file aside when there is a new one that anvil has finished writing.

    anvil overwrites its file in place: killed in those milliseconds, or on a full disk, it leaves half a file. A file
    that has not grown for `settled_s` and ends like JSON is taken for whole; `restore` reads it to its end.
    """
    copy = kept_copy(state)
    try:
        found = state.stat()
        known = copy.stat().st_mtime_ns if copy.exists() else 0
        if found.st_mtime_ns <= known or time.time() - found.st_mtime < settled_s or not _ends_well(state):
            return
        partial = copy.with_suffix(".partial")
        shutil.copyfile(state, partial)
        if state.stat().st_mtime_ns == found.st_mtime_ns:
            partial.replace(copy)
    except FileNotFoundError:
        return


def _ends_well(state: Path) -> bool:
    with state.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 8))
        return file.read().rstrip().endswith(b"}")


def restore(state: Path) -> None:
    """Put the kept copy in the place of a state file that is missing or was not written to its end.

    Raises StackError when there is no whole copy either.
    """
    copy = kept_copy(state)
    if state.exists() and is_whole(state.read_bytes()):
        return
    if copy.exists():
        shutil.copyfile(copy, state.with_suffix(".partial"))
        state.with_suffix(".partial").replace(state)
    elif state.exists() and state.stat().st_size:
        raise StackError(
            f"the chain's file {state} was not written to its end and there is no older copy: start with --reset"
        )
    else:
        state.unlink(missing_ok=True)


@dataclass(frozen=True)
class Anvil:
    """A chain on `port` of the loopback. With `state` it is kept in that file, written every 5 s and at the end.

    Killed without a signal it comes back at its last dump: the head has gone backwards, and followers take that as a
    reorganisation. `load` is a state file that is read and never written. `history` is how many blocks' states it can
    still be asked about; every dump writes them all.
    """

    port: int
    state: Path | None = None
    load: Path | None = None
    port_variable: str | None = None
    history: int = HISTORY

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def _prepare(self) -> None:
        require_free_port(self.port, "anvil", self.port_variable)
        if self.state:
            self.state.parent.mkdir(parents=True, exist_ok=True)
            restore(self.state)

    def _born(self) -> int:
        """The genesis' time, the same at every start.

        Loading a state, anvil keeps the genesis that it has just made beside the loaded one, dumps both, and takes
        either for block 0 at the next start: they have to be one block. A chain that was killed before its first dump
        begins again with the same genesis, too.
        """
        assert self.state
        note = self.state.with_name("genesis-time")
        if not note.exists():
            note.write_text(str(int(time.time())))
        return int(note.read_text())

    def _command(self) -> Command:
        command: list[str | Path] = [binary(), "--host", HOST, "--port", str(self.port), *FLAGS]
        command += ["--prune-history", str(self.history)]
        if self.state:
            command += ["--state", self.state, "--state-interval", str(DUMP_INTERVAL_S)]
            command += ["--timestamp", str(self._born())]
        if self.load:
            command += ["--load-state", self.load]
        return command

    def service(self) -> Service:
        return Service(
            name="anvil",
            command=self._command,
            env={"RUST_LOG": "error,node=error"},  # its log is a line for each RPC call otherwise
            ready=self.answers,
            url=self.url,
            prepare=self._prepare,
            settle=self.set_clock,
            grace_s=20,  # it writes its state
        )

    def set_clock(self) -> None:
        """Set the chain's clock to ours, or to the head's time where that is ahead of it.

        A restarted anvil would mine blocks older than their parents, or (given a genesis time) as old as its genesis.
        """
        head = rpc.call(self.url, "eth_getBlockByNumber", "latest", False)
        rpc.call(self.url, "evm_setTime", max(int(time.time()), int(head["timestamp"], 16) + 1))

    def answers(self) -> bool:
        """Whether the node answers with the chain id that it was started with."""
        return bool(rpc.call(self.url, "eth_chainId", timeout_s=2) == hex(CHAIN_ID))
