"""The operator's key: from an encrypted keystore file, or, on the development chain alone, given in the open."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address

DEVELOPMENT_CHAIN_ID = 31337


class KeyRefused(Exception):
    """No usable operator key; the message says what to set."""


@dataclass(frozen=True, slots=True)
class SignedBytes:
    """A signed transaction as it goes over the wire, and its hash."""

    raw: bytes
    hash: bytes


class OperatorKey:
    """Signs EIP-1559 transactions for one chain. Never printed: its repr shows the address alone."""

    def __init__(self, account: LocalAccount, chain_id: int) -> None:
        self._account = account
        self.chain_id = chain_id
        self.address: str = account.address

    def __repr__(self) -> str:
        return f"OperatorKey({self.address}, chain {self.chain_id})"

    @property
    def address_bytes(self) -> bytes:
        """The address as 20 bytes."""
        return bytes.fromhex(self.address[2:])

    def sign(
        self, *, nonce: int, to: bytes, value: int, data: bytes, gas: int, max_fee: int, priority: int
    ) -> SignedBytes:
        """Sign a type-2 transaction for this key's chain; the same arguments give the same bytes (RFC 6979)."""
        transaction: dict[str, Any] = {
            "type": 2,
            "chainId": self.chain_id,
            "nonce": nonce,
            "to": to_checksum_address(to),
            "value": value,
            "data": data,
            "gas": gas,
            "maxFeePerGas": max_fee,
            "maxPriorityFeePerGas": priority,
            "accessList": [],
        }
        signed = self._account.sign_transaction(transaction)
        return SignedBytes(bytes(signed.raw_transaction), bytes(signed.hash))


def load(
    *, chain_id: int, keystore: Path | None = None, password_file: Path | None = None, key: str | None = None
) -> OperatorKey:
    """The operator's key for `chain_id`, from a keystore file and its password file, or `key` on chain 31337.

    Raises KeyRefused for an open key on any other chain, for none at all, and for a file that doesn't open.
    """
    if key is not None:
        if chain_id != DEVELOPMENT_CHAIN_ID:
            raise KeyRefused(
                f"TROUPE_OPERATOR_KEY is for the development chain {DEVELOPMENT_CHAIN_ID}; for chain {chain_id} set"
                " TROUPE_OPERATOR_KEYSTORE and TROUPE_OPERATOR_PASSWORD_FILE"
            )
        try:
            return OperatorKey(Account.from_key(key), chain_id)
        except Exception:
            # The library raises many kinds; none of its messages is passed on, because they may show the key.
            raise KeyRefused("TROUPE_OPERATOR_KEY is not 32 bytes of hex") from None
    if keystore is None or password_file is None:
        raise KeyRefused("no operator key: set TROUPE_OPERATOR_KEYSTORE and TROUPE_OPERATOR_PASSWORD_FILE")
    try:
        encrypted = json.loads(keystore.read_text())
        password = password_file.read_text().rstrip("\n")
        secret = Account.decrypt(encrypted, password)
    except OSError as error:
        raise KeyRefused(f"{error.filename} can't be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise KeyRefused(f"{keystore} does not open with the password in {password_file}") from error
    return OperatorKey(Account.from_key(secret), chain_id)
