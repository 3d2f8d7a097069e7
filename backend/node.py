"""The JSON-RPC questions this backend asks a node; every answer is untrusted and checked for its shape."""

from __future__ import annotations

import itertools
import time
from typing import Any, NamedTuple

import httpx
import structlog

from backend.telemetry import metrics, tracing

log = structlog.get_logger(__name__)

METHODS = frozenset(
    {
        "eth_blockNumber",
        "eth_call",
        "eth_chainId",
        "eth_estimateGas",
        "eth_getBalance",
        "eth_getBlockByNumber",
        "eth_getCode",
        "eth_getTransactionByHash",
        "eth_getTransactionCount",
        "eth_getTransactionReceipt",
        "eth_maxPriorityFeePerGas",
        "eth_sendRawTransaction",
    }
)
"""Of the metrics' label `method`."""


class NodeUnreachable(Exception):
    """No usable answer: nothing is known about what was asked, and nothing is changed because of it."""


class NodeRefused(Exception):
    """The node answered with an error: `code`, `message`, and the revert `data` where it gives some."""

    def __init__(self, method: str, code: int, message: str, data: str | None = None) -> None:
        super().__init__(f"{method}: {message} ({code})")
        self.code = code
        self.message = message
        self.data = data


class Block(NamedTuple):
    """A block's head."""

    number: int
    hash: bytes
    time: int
    base_fee: int


class Receipt(NamedTuple):
    """What became of a transaction."""

    tx_hash: bytes
    succeeded: bool
    block_number: int
    block_hash: bytes
    gas_used: int
    gas_price: int


class Refusal(NamedTuple):
    """Why `eth_sendRawTransaction` was refused."""

    reason: str
    """known, nonce_too_low, underpriced, insufficient_funds or other"""
    message: str


_REFUSALS = (  # words of geth, erigon, nethermind, besu, anvil
    ("known", ("already known", "already imported", "known transaction", "alreadyknown")),
    ("nonce_too_low", ("nonce too low", "nonce is too low", "old nonce", "oldnonce")),
    ("insufficient_funds", ("insufficient funds", "insufficient balance", "upfront cost")),
    ("underpriced", ("underpriced", "less than block base fee", "fee too low", "feetoolow", "gas price too low")),
)


def refusal(message: str) -> Refusal:
    """Sort a node's words into the few reasons that the sender acts on."""
    lower = message.lower()
    for reason, words in _REFUSALS:
        if any(word in lower for word in words):
            return Refusal(reason, message)
    return Refusal("other", message)


class Node:
    """A JSON-RPC endpoint; use as a context manager or call `close`. Raises NodeUnreachable and NodeRefused."""

    def __init__(self, url: str, *, timeout_s: float = 10) -> None:
        self._client = httpx.Client(timeout=timeout_s, trust_env=False)
        self._url = url
        self._ids = itertools.count(1)

    def __enter__(self) -> Node:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def ask(self, method: str, *params: object, timeout_s: float | None = None) -> Any:
        """The bare result of a method, waited for as long as the node's client waits unless said otherwise."""
        began = time.perf_counter()
        outcome = "unreachable"
        try:
            with tracing.node_call(method) as headers:
                result = self._answer(method, params, timeout_s, headers)
            outcome = "ok"
            return result
        except NodeRefused:
            outcome = "refused"
            raise
        finally:
            seconds = time.perf_counter() - began
            metrics.node_calls.add(_known(method), outcome)
            metrics.node_seconds.add(_known(method), amount=seconds)
            tell = log.warning if outcome == "unreachable" else log.debug
            tell("node asked", method=method, outcome=outcome, ms=round(seconds * 1000, 1))

    def _answer(self, method: str, params: tuple[object, ...], timeout_s: float | None, headers: dict[str, str]) -> Any:
        number = next(self._ids)
        try:
            body = {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}
            response = self._client.post(
                self._url, json=body, headers=headers, timeout=timeout_s or self._client.timeout
            )
            answer = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise NodeUnreachable(f"{method}: {type(error).__name__}") from error
        if not isinstance(answer, dict) or answer.get("id") != number:
            raise NodeUnreachable(f"{method}: not the answer to this question")
        if (refused := answer.get("error")) is not None:
            raise _refused(method, refused)
        if "result" not in answer:
            raise NodeUnreachable(f"{method}: neither result nor error")
        return answer["result"]

    def chain_id(self) -> int:
        """The chain's id."""
        return _int(self.ask("eth_chainId"))

    def block(self, which: str | int = "latest") -> Block | None:
        """A block's head by number or tag; None when there is none."""
        tag = which if isinstance(which, str) else hex(which)
        found = self.ask("eth_getBlockByNumber", tag, False)
        if found is None:
            return None
        return Block(
            _int(found.get("number")),
            _bytes32(found.get("hash")),
            _int(found.get("timestamp")),
            _int(found.get("baseFeePerGas") or "0x0"),
        )

    def nonce(self, account: str, which: str | int = "latest") -> int:
        """Transactions that the account has in the chain up to a block."""
        return _int(self.ask("eth_getTransactionCount", account, which if isinstance(which, str) else hex(which)))

    def balance(self, account: str) -> int:
        """The account's native coin in wei."""
        return _int(self.ask("eth_getBalance", account, "latest"))

    def knows(self, tx_hash: bytes) -> bool:
        """Whether the node has the transaction, waiting or mined."""
        return self.ask("eth_getTransactionByHash", "0x" + tx_hash.hex()) is not None

    def receipt(self, tx_hash: bytes) -> Receipt | None:
        """The receipt in the chain as the node sees it now; None when it has none."""
        found = self.ask("eth_getTransactionReceipt", "0x" + tx_hash.hex())
        if found is None or found.get("blockHash") is None:
            return None
        return Receipt(
            _bytes32(found.get("transactionHash")),
            _int(found.get("status")) == 1,
            _int(found.get("blockNumber")),
            _bytes32(found.get("blockHash")),
            _int(found.get("gasUsed")),
            _int(found.get("effectiveGasPrice") or "0x0"),
        )

    def priority_fee(self) -> int:
        """The priority fee that the node suggests, in wei."""
        return _int(self.ask("eth_maxPriorityFeePerGas"))

    def estimate_gas(self, call: dict[str, str]) -> int:
        """Gas that the call takes on top of what is pending. Raises NodeRefused when it would revert."""
        return _int(self.ask("eth_estimateGas", call, "pending"))

    def call(
        self,
        to: str,
        data: bytes,
        which: str | int = "latest",
        *,
        gas: int | None = None,
        timeout_s: float | None = None,
    ) -> bytes:
        """The return data of a view call; `gas` and `timeout_s` bound what the code of a stranger can cost."""
        tag = which if isinstance(which, str) else hex(which)
        asked = {"to": to, "data": "0x" + data.hex()} | ({} if gas is None else {"gas": hex(gas)})
        return _bytes(self.ask("eth_call", asked, tag, timeout_s=timeout_s))

    def send(self, raw: bytes) -> Refusal | None:
        """Hand over signed bytes; None when the node took them. Raises NodeUnreachable."""
        try:
            self.ask("eth_sendRawTransaction", "0x" + raw.hex())
        except NodeRefused as error:
            return refusal(error.message)
        return None


def _known(method: str) -> str:
    """The method as a metric's label: what this program itself asks, all else under one name."""
    return method if method in METHODS else "other"


def _refused(method: str, error: object) -> NodeRefused:
    if not isinstance(error, dict):
        return NodeRefused(method, 0, str(error))
    data = error.get("data")
    if isinstance(data, dict):  # some nodes nest it
        data = data.get("data")
    code = error.get("code")
    return NodeRefused(
        method,
        code if isinstance(code, int) else 0,
        str(error.get("message", "")),
        data if isinstance(data, str) else None,
    )


def _int(value: object) -> int:
    if not isinstance(value, str) or not value.startswith("0x"):
        raise NodeUnreachable(f"{value!r} is not a quantity")
    try:
        return int(value, 16)
    except ValueError as error:
        raise NodeUnreachable(f"{value!r} is not a quantity") from error


def _bytes(value: object) -> bytes:
    if not isinstance(value, str) or not value.startswith("0x"):
        raise NodeUnreachable("not bytes")
    try:
        return bytes.fromhex(value[2:])
    except ValueError as error:
        raise NodeUnreachable("not bytes") from error


def _bytes32(value: object) -> bytes:
    raw = _bytes(value)
    if len(raw) != 32:
        raise NodeUnreachable(f"a hash has 32 bytes, not {len(raw)}")
    return raw
