"""A deployment carried out on a copy of the chain, on this machine: what it does, whether it ends well, what it costs.

The copy is anvil's fork of the node; nothing that is sent there reaches the chain.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from scripts.brownie import anvil_binary, free_port
from scripts.deploy.sending import Sender

START_LIMIT_S = 60
PLENTY = 10**24
"""What the deployer has on the copy, in wei, so that a rehearsal needs no coins."""


class ForkError(Exception):
    """The chain could not be copied; the text says why."""


class Prices(NamedTuple):
    """Wei a gas: what a block takes now, and what the deployment is ready to pay at most."""

    now: int
    most: int


class Rehearsal(NamedTuple):
    """What a deployment would still do."""

    steps: list[tuple[str, int]]
    """What is done and the gas that it takes, in order."""
    prices: Prices
    balance: int
    """Of the deployer, wei."""

    @property
    def gas(self) -> int:
        return sum(gas for _, gas in self.steps)

    @property
    def cost(self) -> int:
        """Wei, at what a block takes now."""
        return self.gas * self.prices.now

    @property
    def most(self) -> int:
        """Wei, at the highest price and with the reserve of gas that each transaction is sent with."""
        return self.gas * 12 // 10 * self.prices.most


def prices(web3: Any) -> Prices:
    """The chain's prices of this moment."""
    tip, base = web3.eth.max_priority_fee, web3.eth.get_block("latest")["baseFeePerGas"]
    return Prices(base + tip, 2 * base + tip)


@contextmanager
def copied(web3: Any) -> Iterator[None]:
    """Let `web3`, Brownie's own, speak to a copy of its chain while the block runs. Raises ForkError."""
    real = web3.provider.endpoint_uri
    port = free_port()
    command = [anvil_binary(), "--fork-url", real, "--port", str(port), "--hardfork", "cancun", "--silent"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as fork:
        try:
            web3.connect(f"http://127.0.0.1:{port}")
            _await(web3, fork, real)
            yield
        finally:
            fork.terminate()
            web3.connect(real)


def _await(web3: Any, fork: subprocess.Popen[bytes], real: str) -> None:
    """Wait until the copy answers, and make sure that it is the copy: what is rehearsed is signed with the real key."""
    deadline = time.monotonic() + START_LIMIT_S
    while not web3.is_connected():
        if fork.poll() is not None or time.monotonic() > deadline:
            raise ForkError("anvil could not copy the chain: does the node answer for past blocks?")
        time.sleep(0.05)
    told = web3.provider.make_request("anvil_nodeInfo", []).get("result") or {}
    if fork.poll() is not None or told.get("forkConfig", {}).get("forkUrl") != real:
        raise ForkError("another program answers where the copy of the chain should: try again")


def rehearse(sender: Sender, deploy: Callable[[Sender], None]) -> Rehearsal:
    """Carry out `deploy` with what is left of the sender's journal on a copy of its chain."""
    web3, account = sender.web3, sender.account
    known, balance = prices(web3), int(web3.eth.get_balance(account.address))
    with copied(web3):
        web3.provider.make_request("anvil_setBalance", [account.address, hex(PLENTY)])
        player = Sender(web3, account, sender.journal.rehearsal())
        deploy(player)
        return Rehearsal(player.sent, known, balance)
