"""Sending a deployment's transactions: signed here, one after the other, each confirmed before the next."""

from __future__ import annotations

import time
from typing import Any

from eth_account.signers.local import LocalAccount
from eth_utils import keccak, to_checksum_address
from web3.exceptions import TransactionNotFound

from scripts.deploy.journal import Journal, Step

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
    """One account on one chain. `web3` is a web3.Web3 (given, so that tests and scripts bring their own).

    With a journal, the steps that it knows are not sent anew: they are found on the chain, or the same bytes go there.
    """

    def __init__(self, web3: Any, account: LocalAccount, journal: Journal | None = None) -> None:
        self.web3 = web3
        self.account = account
        self.chain_id: int = web3.eth.chain_id
        count: int = web3.eth.get_transaction_count(account.address)
        started = int(web3.eth.get_block("latest")["timestamp"])
        self.journal = journal or Journal({}, count, started, [])
        self.nonce = self.journal.first_nonce
        self.transactions = 0
        self.gas_used = 0
        self.sent: list[tuple[str, int]] = []
        """What was sent now and not before, with its gas."""
        self._known = list(self.journal.steps)
        if count > self.nonce + len(self._known):
            raise SendError(
                f"{account.address} has sent something else since the deployment began: its contracts would get other"
                f" addresses. Begin anew: remove {self.journal.path} and spend on the whole set again"
            )

    @property
    def started(self) -> int:
        """Time of the block that the deployment began after."""
        return self.journal.started

    def next_created(self, ahead: int = 0) -> str:
        """Address of the contract that the transaction after `ahead` others will create."""
        return created_address(self.account.address, self.nonce + ahead)

    def send(self, what: str, *, to: str | None, data: str, value: int = 0) -> Any:
        """Send and wait. Returns the receipt; raises SendError, which names `what` was being done."""
        call = "0x" + keccak(text=f"{to}:{data}:{value}").hex()
        step = self._known.pop(0) if self._known else None
        if step is None:
            step = self._signed(what, call, to=to, data=data, value=value)
            self.journal.append(step)
            receipt = self._delivered(step)
            self.sent.append((what, receipt["gasUsed"]))
        elif not step.is_of(self.account.address):
            raise SendError(f"{self.journal.path} was changed at {step.what}: put it back as it was")
        elif (step.nonce, step.call) == (self.nonce, call):
            receipt = self._delivered(step)
        else:
            raise SendError(
                f"{what} is not what the deployment was about to do when it was broken off ({step.what}): contracts or"
                f" configuration have changed. Put them back, or remove {self.journal.path} and begin anew"
            )
        self.nonce += 1
        if receipt["status"] != 1:
            raise SendError(
                f"{what} failed in transaction {step.hash}; no step can follow it: begin anew with another key"
            )
        self.transactions += 1
        self.gas_used += receipt["gasUsed"]
        return receipt

    def _signed(self, what: str, call: str, **fields: Any) -> Step:
        fields = {"from": self.account.address, **{key: given for key, given in fields.items() if given is not None}}
        try:
            gas = self.web3.eth.estimate_gas(fields)
        except Exception as error:  # web3 has a dozen classes for a call that reverts or can't be made
            raise SendError(f"{what} would fail: {error}") from error
        tip = self.web3.eth.max_priority_fee
        fields |= {
            "chainId": self.chain_id,
            "nonce": self.nonce,
            "gas": gas * 12 // 10,
            "maxFeePerGas": 2 * self.web3.eth.get_block("latest")["baseFeePerGas"] + tip,
            "maxPriorityFeePerGas": tip,
            "type": 2,
        }
        del fields["from"]
        signed = self.account.sign_transaction(fields)
        return Step(what, self.nonce, call, "0x" + bytes(signed.hash).hex(), "0x" + bytes(signed.raw_transaction).hex())

    def _delivered(self, step: Step) -> Any:
        """The receipt of a step, which is sent if the chain does not know it."""
        try:
            return self.web3.eth.get_transaction_receipt(step.hash)
        except TransactionNotFound:
            self._broadcast(step)
        deadline = time.monotonic() + RECEIPT_TIMEOUT_S
        pause = POLL_S
        while time.monotonic() < deadline:
            try:
                return self.web3.eth.get_transaction_receipt(step.hash)
            except TransactionNotFound:
                time.sleep(pause)
                pause = min(2 * pause, SLOWEST_POLL_S)
        raise SendError(
            f"{step.what}: transaction {step.hash} is not mined after {RECEIPT_TIMEOUT_S} s: deploy again to wait on"
        )

    def _broadcast(self, step: Step) -> None:
        try:
            self.web3.eth.send_raw_transaction(step.raw)
        except Exception as error:  # a node says in its own words that it knows the transaction already
            try:
                self.web3.eth.get_transaction(step.hash)
            except TransactionNotFound:
                raise SendError(f"{step.what}: the node refused the transaction: {error}") from error
