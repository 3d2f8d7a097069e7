"""Ethereum's encodings that a proof needs: RLP, the Merkle-Patricia trie's root, headers and receipts.

Of the yellow paper, appendix B (RLP) and D (trie); EIP-2718 for typed receipts, EIP-1559, 4399, 4788, 4844, 4895 and
7685 for the fields that were added to headers. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from indexer.keccak import keccak

Item = bytes | list["Item"]
EMPTY_ROOT = keccak(b"\x80")
QUANTITY = re.compile("0x[0-9a-fA-F]+")


def _length(size: int, short: int) -> bytes:
    if size < 56:
        return bytes([short + size])
    digits = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([short + 55 + len(digits)]) + digits


def encode(item: Item) -> bytes:
    """RLP of bytes, or of a list of such."""
    if isinstance(item, list):
        body = b"".join(map(encode, item))
        return _length(len(body), 0xC0) + body
    if len(item) == 1 and item[0] < 0x80:
        return item
    return _length(len(item), 0x80) + item


def number(value: int) -> bytes:
    """An integer as RLP takes it: big-endian without leading zeros."""
    return value.to_bytes((value.bit_length() + 7) // 8)


def _path(nibbles: Sequence[int], *, leaf: bool) -> bytes:
    """Hex-prefix encoding of a part of a key."""
    flag = 2 * leaf + len(nibbles) % 2
    padded = [flag, *nibbles] if len(nibbles) % 2 else [flag, 0, *nibbles]
    return bytes(16 * high + low for high, low in zip(padded[::2], padded[1::2], strict=True))


def _reference(node: Item) -> Item:
    """What a parent holds of a node: its hash, or the node itself when that is shorter."""
    raw = encode(node)
    return keccak(raw) if len(raw) >= 32 else node


def _node(pairs: Sequence[tuple[list[int], bytes]], at: int) -> Item:
    """The node over `pairs`, sorted by their keys, which agree in their first `at` nibbles."""
    key, value = pairs[0]
    if len(pairs) == 1:
        return [_path(key[at:], leaf=True), value]
    last = pairs[-1][0]
    shared = at
    while shared < len(key) and key[shared] == last[shared]:
        shared += 1
    if shared > at:
        return [_path(key[at:shared], leaf=False), _reference(_node(pairs, shared))]
    branches: list[Item] = [b""] * 17
    start = 0  # RLP's keys are no prefixes of one another: the 17th place, for a value, stays empty
    while start < len(pairs):
        nibble = pairs[start][0][at]
        end = start
        while end < len(pairs) and pairs[end][0][at] == nibble:
            end += 1
        branches[nibble] = _reference(_node(pairs[start:end], at + 1))
        start = end
    return branches


def trie_root(values: Sequence[bytes]) -> bytes:
    """The root of the trie of a block's list: each value under the RLP of its position."""
    if not values:
        return EMPTY_ROOT
    pairs = []
    for position, value in enumerate(values):
        key = encode(number(position))
        pairs.append(([half for byte in key for half in divmod(byte, 16)], value))
    return keccak(encode(_node(sorted(pairs, key=lambda pair: pair[0]), 0)))


def from_hex(text: str) -> bytes:
    """The bytes of JSON-RPC's data: 0x and two digits for each, nothing between them. Raises TypeError or ValueError.

    A text that `bytes.fromhex` alone would take, with spaces or another prefix, could pass for something else where
    texts are compared.
    """
    found = bytes.fromhex(text[2:])
    if text[:2] != "0x" or len(text) != 2 + 2 * len(found):
        raise ValueError("not 0x and two digits for each byte")
    return found


def from_quantity(text: str) -> int:
    """JSON-RPC's number: 0x and digits. Raises TypeError or ValueError for a sign, spaces or anything else."""
    if not QUANTITY.fullmatch(text):
        raise ValueError("not 0x and digits")
    return int(text, 16)


WORDS = {32}
"""Sizes of topics."""
Log = tuple[bytes, list[bytes], bytes]
"""Address, topics and data."""


def receipt_logs(raw: Mapping[str, Any]) -> list[Log]:
    """The logs of a receipt. Raises as `receipt` does."""
    return [
        (from_hex(log["address"]), [from_hex(topic) for topic in log["topics"]], from_hex(log["data"]))
        for log in raw["logs"]
    ]


def _log(log: Log) -> bytes:
    """As `encode` does, without its recursion: nearly all of a receipt is logs, and nearly all of these are such."""
    address, topics, data = log
    if len(address) != 20 or set(map(len, topics)) != WORDS:
        return encode([address, list(topics), data])
    words = b"\xa0".join(topics)
    body = b"".join((b"\x94", address, _length(1 + len(words), 0xC0), b"\xa0", words, encode(data)))
    return _length(len(body), 0xC0) + body


def receipt(raw: Mapping[str, Any], logs: Iterable[Log]) -> bytes:
    """A receipt of eth_getBlockReceipts as the trie holds it, with its logs as `receipt_logs` found them.

    Raises KeyError, TypeError or ValueError for what has another form.
    """
    outcome = number(from_quantity(raw["status"])) if "status" in raw else from_hex(raw["root"])
    encoded = b"".join(map(_log, logs))
    body = b"".join(
        (
            encode(outcome),
            encode(number(from_quantity(raw["cumulativeGasUsed"]))),
            encode(from_hex(raw["logsBloom"])),
            _length(len(encoded), 0xC0),
            encoded,
        )
    )
    kind = from_quantity(raw.get("type") or "0x0")
    return (bytes([kind]) if kind else b"") + _length(len(body), 0xC0) + body


HEADER = (
    *("parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot", "logsBloom"),
    *("difficulty", "number", "gasLimit", "gasUsed", "timestamp", "extraData", "mixHash", "nonce"),
)
NEWER = (
    *("baseFeePerGas", "withdrawalsRoot", "blobGasUsed", "excessBlobGas", "parentBeaconBlockRoot", "requestsHash"),
)
"""In the order in which they were added; a header has the first few of them."""
NUMBERS = frozenset(
    ("difficulty", "number", "gasLimit", "gasUsed", "timestamp", "baseFeePerGas", "blobGasUsed", "excessBlobGas")
)


def header_hash(raw: Mapping[str, Any]) -> bytes:
    """The hash of a block of eth_getBlockBy..., from its fields alone. Raises as `receipt` does."""
    fields: list[Item] = []
    for name in (*HEADER, *(name for name in NEWER if raw.get(name) is not None)):
        text = raw[name]
        fields.append(number(from_quantity(text)) if name in NUMBERS else from_hex(text))
    return keccak(encode(fields))
