"""Sending a deployment's transactions: signed here, one after the other, each confirmed before the next."""

from __future__ import annotations

import time
from typing import Any

from eth_account.signers.local import LocalAccount
from eth_utils import keccak, to_checksum_address
from web3.exceptions import TransactionNotFound

RECEIPT_TIMEOUT_S = 600
POLL_S = 0.01
SLOWEST_POLL_S = 2.0


class SendError(Exception):
    """A transaction failed or did not arrive; the text names it."""


def created_address(sender: str, nonce: int) -> str:
    """Address of the contract that a transaction with this nonce creates: keccak(rlp(sender, nonce))[12:]."""
    raw_nonce = nonce.to_bytes((nonce.bit_length() + 7) // 8, "big")
    is_own_encoding = len(raw_nonce) == 1 and raw_nonce[0] < 0x80
    encoded_nonce = raw_nonce if is_own_encoding else bytes([0x80 + len(raw_nonce)]) + raw_nonce
    payload = bytes([0x80 + 20]) + bytes.fromhex(sender.removeprefix("0x")) + encoded_nonce
    return str(to_checksum_address(keccak(bytes([0xC0 + len(payload)]) + payload)[12:]))


class Sender:
    """One account on one chain. `web3` is a web3.Web3 (given, so that tests and scripts bring their own)."""

    def __init__(self, web3: Any, account: LocalAccount) -> None:
        self.web3 = web3
        self.account = account
        self.chain_id: int = web3.eth.chain_id
        self.nonce: int = web3.eth.get_transaction_count(account.address)
        self.transactions = 0
        self.gas_used = 0
        self.first_block: int | None = None

    def next_created(self, ahead: int = 0) -> str:
        """Address of the contract that the transaction after `ahead` others will create."""
        return created_address(self.account.address, self.nonce + ahead)

    def send(self, what: str, *, to: str | None, data: str, value: int = 0) -> Any:
        """Send and wait. Returns the receipt; raises SendError, which names `what` was being done."""
        fields: dict[str, Any] = {"from": self.account.address, "data": data, "value": value}
        if to is not None:
            fields["to"] = to
        try:
            gas = self.web3.eth.estimate_gas(fields)
        except Exception as error:  # web3 has a dozen classes for a call that reverts or can't be made
            raise SendError(f"{what} would fail: {error}") from error
        tip = self.web3.eth.max_priority_fee
        base = self.web3.eth.get_block("latest")["baseFeePerGas"]
        fields |= {
            "chainId": self.chain_id,
            "nonce": self.nonce,
            "gas": gas * 12 // 10,
            "maxFeePerGas": 2 * base + tip,
            "maxPriorityFeePerGas": tip,
            "type": 2,
        }
        fields.pop("from")
        signed = self.account.sign_transaction(fields)
        sent = self.web3.eth.send_raw_transaction(signed.raw_transaction)
        self.nonce += 1
        receipt = self._receipt(sent, what)
        if receipt["status"] != 1:
            raise SendError(f"{what} failed in transaction {sent.hex()}")
        self.transactions += 1
        self.gas_used += receipt["gasUsed"]
        if self.first_block is None:
            self.first_block = receipt["blockNumber"]
        return receipt

    def _receipt(self, sent: bytes, what: str) -> Any:
        deadline = time.monotonic() + RECEIPT_TIMEOUT_S
        pause = POLL_S
        while time.monotonic() < deadline:
            try:
                return self.web3.eth.get_transaction_receipt(sent)
            except TransactionNotFound:
                time.sleep(pause)
                pause = min(2 * pause, SLOWEST_POLL_S)
        raise SendError(f"{what}: transaction {sent.hex()} is not mined after {RECEIPT_TIMEOUT_S} s")
