"""JSON-RPC as a wallet speaks it: sign, send the same bytes until they are mined, read receipts and logs."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from eth_account.signers.local import LocalAccount
from eth_utils.conversions import to_hex
from eth_utils.crypto import keccak

GAS_PRICE_WEI = 10**9
BATCH = 100
RESEND_S = 1.0
KEPT = 1_000
"""How many signed transactions are kept to be sent again after a reorganisation."""


class ChainError(Exception):
    """The node refused a request or a transaction failed; the text is the node's own."""


def topic(signature: str) -> str:
    """The first topic of an event, e.g. `topic("Transfer(address,address,uint256)")`."""
    return "0x" + keccak(text=signature).hex()


def selector(signature: str) -> str:
    return "0x" + keccak(text=signature)[:4].hex()


def word(value: int | str | bytes) -> str:
    """One ABI word without 0x: an int, an address as text, or bytes32."""
    if isinstance(value, str):
        value = int(value, 16)
    if isinstance(value, bytes):
        return value.rjust(32, b"\0").hex()
    return value.to_bytes(32, "big").hex()


def words(data: str) -> list[int]:
    """The 32-byte words of ABI-encoded static data as integers."""
    raw = bytes.fromhex(data.removeprefix("0x"))
    return [int.from_bytes(raw[i : i + 32], "big") for i in range(0, len(raw), 32)]


class Reverted(ChainError):
    """A transaction was mined and failed: the contract refused it."""


@dataclass
class Sent:
    """A transaction that left our hands: its signed bytes are kept so that they can be sent again."""

    hash: str
    raw: str
    note: str


@dataclass
class Chain:
    """One node. Every call is bounded; a node that restarts is waited for."""

    url: str
    patience_s: float = 60.0
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30.0))
    _ids: Iterable[int] = field(default_factory=itertools.count)
    _nonces: dict[str, int] = field(default_factory=dict)
    _sent: deque[Sent] = field(default_factory=lambda: deque(maxlen=KEPT))

    def _post(self, body: Any) -> Any:
        deadline = time.monotonic() + self.patience_s
        while True:
            try:
                answer = self.client.post(self.url, json=body)
                answer.raise_for_status()
                return answer.json()
            except httpx.TransportError as error:
                if time.monotonic() > deadline:
                    raise ChainError(f"the node at {self.url} has not answered for {self.patience_s:.0f} s") from error
                time.sleep(0.2)

    def call(self, method: str, *params: Any) -> Any:
        """One request; raises ChainError with the node's message."""
        answer = self._post({"jsonrpc": "2.0", "id": next(iter(self._ids)), "method": method, "params": list(params)})
        if "error" in answer:
            raise ChainError(f"{method}: {answer['error'].get('message')}")
        return answer["result"]

    def batch(self, method: str, params: Sequence[Sequence[Any]]) -> list[Any]:
        """Many requests of one method, in order; an error stands in its place as a ChainError."""
        results: list[Any] = []
        for start in range(0, len(params), BATCH):
            part = params[start : start + BATCH]
            body = [{"jsonrpc": "2.0", "id": i, "method": method, "params": list(p)} for i, p in enumerate(part)]
            by_id = {answer["id"]: answer for answer in self._post(body)}
            for i in range(len(part)):
                answer = by_id[i]
                error = answer.get("error")
                results.append(ChainError(f"{method}: {error.get('message')}") if error else answer["result"])
        return results

    @property
    def chain_id(self) -> int:
        return int(self.call("eth_chainId"), 16)

    @property
    def head(self) -> int:
        return int(self.call("eth_blockNumber"), 16)

    @property
    def newest(self) -> tuple[int, str]:
        """Number and hash of the newest block."""
        block = self.call("eth_getBlockByNumber", "latest", False)
        return int(block["number"], 16), str(block["hash"])

    @property
    def time(self) -> int:
        """The chain's clock: the timestamp of its newest block, in seconds."""
        return int(self.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)

    def balance(self, address: str) -> int:
        return int(self.call("eth_getBalance", address, "latest"), 16)

    def view(self, to: str, signature: str, *arguments: int | str | bytes) -> list[int]:
        """Call a view function of static arguments; its answer as words."""
        data = selector(signature) + "".join(word(a) for a in arguments)
        return words(self.call("eth_call", {"to": to, "data": data}, "latest"))

    def logs(self, address: str, signature: str, *topics: str | None) -> list[dict[str, Any]]:
        criteria = {"address": address, "fromBlock": "0x0", "toBlock": "latest", "topics": [topic(signature), *topics]}
        found: list[dict[str, Any]] = self.call("eth_getLogs", criteria)
        return found

    # -- transactions

    def sign(self, wallet: LocalAccount, intent: dict[str, Any], gas: int, note: str) -> Sent:
        """Sign an intent with the wallet's next nonce."""
        address = str(wallet.address)
        if address not in self._nonces:
            self._nonces[address] = int(self.call("eth_getTransactionCount", address, "latest"), 16)
        transaction = {
            "to": intent["to"],
            "data": intent["data"],
            "value": int(intent["value"]),
            "chainId": int(intent["chainId"]),
            "nonce": self._nonces[address],
            "gas": gas,
            "maxFeePerGas": 2 * GAS_PRICE_WEI,
            "maxPriorityFeePerGas": GAS_PRICE_WEI,
        }
        signed = wallet.sign_transaction(transaction)
        self._nonces[address] += 1
        return Sent(hash=to_hex(signed.hash), raw=to_hex(signed.raw_transaction), note=note)

    def forget_nonces(self) -> None:
        """After a reorganisation or a restart of the node: ask again."""
        self._nonces.clear()

    def send(self, sent: Sequence[Sent], tick: Callable[[], None] = lambda: None) -> list[dict[str, Any]]:
        """Send and wait for every receipt; what fell out of the chain is sent again, the same bytes."""
        self._sent.extend(sent)
        receipts: dict[str, dict[str, Any]] = {}
        deadline = time.monotonic() + self.patience_s
        waiting = list(sent)
        first, sent_at = True, 0.0
        while waiting:
            if time.monotonic() - sent_at > RESEND_S:
                if not first:
                    # after a reorganisation anvil can keep a transaction queued behind a gap that is long closed, and
                    # answers "already imported" for ever: it has to let go of it first
                    self.batch("anvil_dropTransaction", [[item.hash] for item in waiting])
                answers = self.batch("eth_sendRawTransaction", [[item.raw] for item in waiting])
                for answer, item in zip(answers, waiting, strict=True):
                    if isinstance(answer, ChainError) and first and not _already_known(str(answer)):
                        raise ChainError(f"{item.note}: {answer}")
                first, sent_at = False, time.monotonic()
            answers = self.batch("eth_getTransactionReceipt", [[item.hash] for item in waiting])
            for answer, item in zip(answers, waiting, strict=True):
                if isinstance(answer, dict):
                    if answer["status"] != "0x1":
                        raise Reverted(f"{item.note}: the transaction {item.hash} was mined and failed")
                    receipts[item.hash] = answer
                    tick()
            waiting = [item for item in waiting if item.hash not in receipts]
            if waiting:
                if time.monotonic() > deadline:
                    raise ChainError(f"{waiting[0].note}: not mined after {self.patience_s:.0f} s")
                time.sleep(0.02)
        return [receipts[item.hash] for item in sent]

    # -- the development chain's clock and faults

    def warp_to(self, timestamp: int) -> None:
        """Move the chain's clock (the development chain's only); three blocks, so that the first is final."""
        if timestamp > self.time:
            self.call("evm_setNextBlockTimestamp", hex(timestamp))
            self.call("evm_mine")
        self.mine(3)

    def mine(self, blocks: int = 1) -> None:
        """Empty blocks, one second apart: other chains make them by themselves."""
        self.call("anvil_mine", hex(blocks), "0x1")

    def reorganise(self, depth: int) -> int:
        """Replace the newest `depth` blocks by empty ones and send again what was in them, the same bytes, as wallets
        do; returns how many transactions that were."""
        self.call("anvil_reorg", depth, [])
        self.forget_nonces()
        sent = list(self._sent)
        receipts = self.batch("eth_getTransactionReceipt", [[item.hash] for item in sent])
        gone = [item for item, receipt in zip(sent, receipts, strict=True) if receipt is None]
        self.send(gone)
        return len(gone)


def _already_known(message: str) -> bool:
    return any(text in message.lower() for text in ("already known", "already imported", "nonce too low"))
