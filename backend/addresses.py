"""Addresses as people see them. Pure."""

from __future__ import annotations

from functools import lru_cache

from eth_utils.address import to_checksum_address


@lru_cache(maxsize=4096)
def eip55(address: str | bytes) -> str:
    """An address, 0x and 40 hexadecimal digits of any case or 20 bytes, with its EIP-55 checksum.

    Remembered: within one sign-in the same address is written four times, and each time is a Keccak and 40 digits.
    """
    return str(to_checksum_address(address))
