"""Contract wallets: whether one calls a signature its own, deployed (ERC-1271) or not yet (ERC-6492).

A wallet is anybody's code. So the node runs a few instructions of ours around it, as the creation of a contract that is
never sent: they deploy the wallet by its factory if it is not there, ask it, and judge the answer. Whatever the wallet
does (revert, burn its gas, return a megabyte), one byte comes back. Nothing is trusted but the node.
"""

from __future__ import annotations

from threading import BoundedSemaphore
from typing import Final, NamedTuple

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_utils.crypto import keccak

from backend.errors import Unavailable
from backend.node import Node, NodeRefused, NodeUnreachable

SIGNATURE_LIMIT: Final = 16 * 1024
"""Bytes; a counterfactual signature carries the wallet's creation code."""
GAS: Final = 5_000_000
"""For a deployment by a factory and a passkey checked in Solidity; a call that would take more is a no."""
TIMEOUT_S: Final = 3
COUNTERFACTUAL: Final = b"\x64\x92" * 16
"""What ends a signature of a wallet that may not be deployed yet (ERC-6492)."""
CALLER: Final = "0x" + keccak(text="Troupe asks a wallet").hex()[24:]
"""Nobody's address. Some wallets say yes to whatever comes from the zero address, by which nodes estimate gas."""

_SELECTOR: Final = keccak(text="isValidSignature(bytes32,bytes)")[:4]
_YES: Final = _SELECTOR + bytes(28)
"""The whole answer of ERC-1271: its magic value as the bytes4 of one word, and nothing more."""
_wallets: Final = BoundedSemaphore(4)
"""Strangers' code holds a thread of the server while it runs: few at a time."""


class Deployment(NamedTuple):
    """How a wallet comes to its address: a call to its factory."""

    factory: bytes
    data: bytes


def unwrap(signature: bytes) -> tuple[Deployment | None, bytes]:
    """The deployment and the inner signature of ERC-6492; no deployment where there is no wrapper.

    Raises ValueError for a wrapper that holds something else.
    """
    if not signature.endswith(COUNTERFACTUAL):
        return None, signature
    try:
        factory, data, inner = decode(["address", "bytes", "bytes"], signature[:-32])
    except (DecodingError, OverflowError) as error:
        raise ValueError("no ERC-6492 signature") from error
    return Deployment(bytes.fromhex(factory[2:]), data), inner


def _push(value: int, size: int) -> bytes:
    return bytes([0x5F + size]) + value.to_bytes(size)


def _load(offset: int, size: int) -> bytes:
    """A part of the program itself to the start of memory."""
    return _push(size, 3) + _push(offset, 3) + _push(0, 1) + b"\x39"  # CODECOPY


def _arguments(size: int, answer_size: int) -> bytes:
    """For a call: where its answer goes, and where its data is."""
    return _push(answer_size, 1) + _push(0, 1) + _push(size, 3) + _push(0, 1)


def _has_code(wallet: bytes) -> bytes:
    return b"\x73" + wallet + b"\x3b"  # PUSH20, EXTCODESIZE


def _deploy(wallet: bytes, deployment: Deployment, data_at: int, ask_at: int) -> bytes:
    """Call the factory unless the wallet is there already. Whether that did it shows in the wallet's code."""
    return (
        (_has_code(wallet) + _push(ask_at, 2) + b"\x57")  # JUMPI
        + _load(data_at, len(deployment.data))
        + (_arguments(len(deployment.data), 0) + _push(0, 1))  # no coins
        + (b"\x73" + deployment.factory + b"\x5a\xf1\x50")  # PUSH20, GAS, CALL, POP
    )


def _ask(wallet: bytes, question_at: int, question_size: int) -> bytes:
    """Ask the wallet, and leave one byte that says whether all of it is right."""
    return (
        b"\x5b"  # JUMPDEST
        + (_load(question_at, question_size) + _arguments(question_size, 32))
        + (b"\x73" + wallet + b"\x5a\xfa")  # PUSH20, GAS, STATICCALL: it succeeds
        + (_has_code(wallet) + b"\x15\x15\x16")  # ISZERO, ISZERO, AND: somebody is there
        + (b"\x3d" + _push(32, 1) + b"\x14\x16")  # RETURNDATASIZE, EQ, AND: one word
        + (_push(0, 1) + b"\x51\x7f" + _YES + b"\x14\x16")  # MLOAD, PUSH32, EQ, AND: the magic one
        + (_push(0, 1) + b"\x53" + _push(1, 1) + _push(0, 1) + b"\xf3")  # MSTORE8, RETURN
    )


def program(wallet: bytes, message_hash: bytes, signature: bytes, deployment: Deployment | None) -> bytes:
    """Creation code that leaves 0x01 where the wallet calls the signature its own, and 0x00 where it does not.

    The wallet must have code, succeed without changing any state, and return exactly the one word of ERC-1271.
    """
    question = _SELECTOR + encode(["bytes32", "bytes"], [message_hash, signature])
    ask_size = len(_ask(wallet, 0, 0))
    if deployment is None:
        return _ask(wallet, ask_size, len(question)) + question
    ask_at = len(_deploy(wallet, deployment, 0, 0))
    data_at = ask_at + ask_size
    question_at = data_at + len(deployment.data)
    code = _deploy(wallet, deployment, data_at, ask_at) + _ask(wallet, question_at, len(question))
    return code + deployment.data + question


def approves(node: Node, *, wallet: bytes, message_hash: bytes, signature: bytes) -> bool:
    """Whether the contract wallet at an address, as the chain is now, calls the signature of a hash its own.

    A wallet that is deployed is asked as it stands: what its signature says of a factory is passed over. Raises
    Unavailable where the node does not answer, or too many wallets are asked at the same time.
    """
    try:
        deployment, inner = unwrap(signature)
    except ValueError:
        return False
    if not _wallets.acquire(timeout=TIMEOUT_S):
        raise Unavailable("Too many contract wallets are asked at the same time.", code="node_away")
    try:
        call = {
            "from": CALLER,
            "data": "0x" + program(wallet, message_hash, inner, deployment).hex(),
            "gas": hex(GAS),
        }
        answer = node.ask("eth_call", call, "latest", timeout_s=TIMEOUT_S)
    except (NodeUnreachable, NodeRefused) as error:
        raise Unavailable(
            "The node does not answer, so the wallet can't be asked about its signature.", code="node_away"
        ) from error
    finally:
        _wallets.release()
    if answer not in ("0x00", "0x01"):
        raise Unavailable("The node can't ask the wallet about its signature.", code="node_away")
    return bool(answer == "0x01")
