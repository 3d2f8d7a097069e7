"""Keccak-256 without the packages around it, whose import takes longer than the indexer's whole start."""

from __future__ import annotations

from eth_hash.auto import keccak as _keccak


def keccak(value: bytes) -> bytes:
    """The Keccak-256 hash of `value`."""
    return bytes(_keccak(value))


def is_checksummed(address: str) -> bool:
    """Whether `0x` and 40 hex digits carry the capitals that EIP-55 gives them."""
    digits = address[2:].lower()
    nibbles = keccak(digits.encode()).hex()
    return address[2:] == "".join(
        digit.upper() if int(nibble, 16) > 7 else digit for digit, nibble in zip(digits, nibbles[:40], strict=True)
    )
