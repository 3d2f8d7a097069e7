"""anvil, the development chain: the native binary, its state in one file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stack import rpc
from stack.errors import Missing
from stack.processes import HOST, Service, require_free_port

ROOT = Path(__file__).resolve().parent.parent
CHAIN_ID = 31337
DUMP_INTERVAL_S = 5
FLAGS = (
    *("--chain-id", str(CHAIN_ID)),
    *("--hardfork", "cancun"),
    *("--base-fee", "0"),
    *("--slots-in-an-epoch", "1"),  # finalized = head - 2
    "--preserve-historical-states",  # without it anvil_reorg fails after a restart
    *("--prune-history", "64"),  # without it every dump writes the state of every block
)


def binary() -> Path:
    """The native anvil. The npm command around it is a Node wrapper that keeps signals to itself. Raises Missing."""
    found = sorted((ROOT / "node_modules" / "@foundry-rs").glob("anvil-*/bin/anvil"))
    if not found:
        raise Missing("anvil is not installed for this platform: run `make setup` (it needs Node 20 or newer with npm)")
    return found[0]


@dataclass(frozen=True)
class Anvil:
    """A chain on `port` of the loopback. With `state` it is kept in that file, written every 5 s and at the end.

    Killed without a signal it comes back at its last dump: the head has gone backwards, and followers take that as a
    reorganisation. `load` is a state file that is read and never written.
    """

    port: int
    state: Path | None = None
    load: Path | None = None
    port_variable: str | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def _prepare(self) -> None:
        require_free_port(self.port, "anvil", self.port_variable)
        if self.state:
            self.state.parent.mkdir(parents=True, exist_ok=True)

    def service(self) -> Service:
        command: list[str | Path] = [binary(), "--host", HOST, "--port", str(self.port), *FLAGS]
        if self.state:
            command += ["--state", self.state, "--state-interval", str(DUMP_INTERVAL_S)]
        if self.load:
            command += ["--load-state", self.load]
        return Service(
            name="anvil",
            command=command,
            env={"RUST_LOG": "error,node=error"},  # its log is a line for each RPC call otherwise
            ready=self.answers,
            url=self.url,
            prepare=self._prepare,
            grace_s=20,  # it writes its state
        )

    def answers(self) -> bool:
        """Whether the node answers with the chain id that it was started with."""
        return bool(rpc.call(self.url, "eth_chainId", timeout_s=2) == hex(CHAIN_ID))
