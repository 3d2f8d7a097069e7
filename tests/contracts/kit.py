"""What the tests of token, governor, rewards and deployment share: exact reverts, exact times, signatures."""

from __future__ import annotations

import gc
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import brownie.network.account
import brownie.network.transaction
import pytest
from brownie import web3
from brownie.exceptions import VirtualMachineError
from brownie.network.transaction import TransactionReceipt
from eth_account.messages import encode_typed_data
from eth_utils.abi import event_abi_to_log_topic
from web3 import Web3

# Brownie looks whether a transaction is mined, and if not yet sleeps for a whole second. anvil is done in milliseconds.
brisk = SimpleNamespace(time=time.time, sleep=lambda seconds: time.sleep(min(seconds, 0.005)))
brownie.network.transaction.time = brownie.network.account.time = brisk

# anvil counts a sender's transaction a moment before it hands out the receipt; Brownie takes that moment for a loss
# ("Tx dropped without known replacement"). So the receipt is waited for first.
_await_confirmation = TransactionReceipt._await_confirmation


def _await_receipt(receipt: TransactionReceipt, block_number: int | None = None, required_confs: int = 1) -> None:
    web3.eth.wait_for_transaction_receipt(receipt.txid, timeout=60, poll_latency=0.005)
    _await_confirmation(receipt, block_number, required_confs)


TransactionReceipt._await_confirmation = _await_receipt

# Brownie collects garbage after each test; the syntax trees of all contracts need no second look.
gc.collect()
gc.freeze()

ZERO = "0x" + "00" * 20
DAY = 86_400
TRP = 10**18
MNEMONIC = "test test test test test test test test test test test junk"


def _plain(value: Any) -> str:
    """An argument of an error as Brownie prints it."""
    return str(bytes(value) if isinstance(value, bytes) else value).lower()


@contextmanager
def reverts(error: str, *args: Any) -> Iterator[None]:
    """The block's transaction or call must revert with this custom error and, if given, exactly these arguments."""
    with pytest.raises(VirtualMachineError) as caught:
        yield
    name, given = _ended_with(caught.value)
    assert name == error, f"reverted with {name!r} instead of {error}"
    if args:
        expected = ", ".join(_plain(value) for value in args)
        assert given.lower() == expected, f"{error} carries {given}, not {expected}"


def _ended_with(error: VirtualMachineError) -> tuple[str, str]:
    """Name and arguments of the custom error."""
    name, _, given = (error.revert_msg or str(error)).partition(":")
    return name.strip(), given.strip()


def outcome(call: Callable[..., Any], *args: Any) -> str | None:
    """Name of the error that a transaction or call ends with; None if it goes through."""
    try:
        call(*args)
    except VirtualMachineError as error:
        return _ended_with(error)[0]
    return None


class Refused(Exception):
    """A model's refusal: the contract must end with the custom error of this name."""


def both(on_model: Callable[[int], Any], on_chain: Callable[[], Any], time: int | None = None) -> str | None:
    """Do the same in a model and on the chain, at one time. Both must end alike: the error's name, None without one."""
    at = now() + 1 if time is None else time
    next_block_at(at)
    expected = None
    try:
        on_model(at)
    except Refused as refused:
        expected = str(refused)
    found = outcome(on_chain)
    assert found == expected, f"the contract ended with {found}, the model with {expected}"
    return expected


def now() -> int:
    """Timestamp of the latest block."""
    return int(web3.eth.get_block("latest")["timestamp"])


def next_block_at(timestamp: int) -> None:
    """The next block gets exactly this timestamp."""
    web3.provider.make_request("evm_setNextBlockTimestamp", [timestamp])


def mine_at(timestamp: int) -> None:
    """Mine an empty block with exactly this timestamp."""
    next_block_at(timestamp)
    web3.provider.make_request("evm_mine", [])


def mine_after(seconds: int) -> int:
    """Mine an empty block this long after the latest one; returns its timestamp."""
    mine_at(now() + seconds)
    return now()


@contextmanager
def one_block(timestamp: int) -> Iterator[None]:
    """All transactions sent in the block below (with required_confs 0) are mined together, at this timestamp."""
    web3.provider.make_request("evm_setAutomine", [False])
    try:
        yield
        mine_at(timestamp)
    finally:
        web3.provider.make_request("evm_setAutomine", [True])


def send_as(contract: Any, function: Any, *args: Any, sender: str) -> None:
    """A transaction of an account that has no key here, such as a contract: only a test can do this."""
    web3.provider.make_request("anvil_impersonateAccount", [sender])
    call = {"from": sender, "to": contract.address, "data": function.encode_input(*args), "gas": 10**6, "gasPrice": 0}
    receipt = web3.eth.wait_for_transaction_receipt(web3.eth.send_transaction(call))
    assert receipt["status"] == 1, "the transaction of an unlocked account was refused"


def domain(name: str, contract: Any, version: str = "1") -> dict[str, Any]:
    """EIP-712 domain of a contract on this chain."""
    return {
        "name": name,
        "version": version,
        "chainId": web3.eth.chain_id,
        "verifyingContract": str(getattr(contract, "address", contract)),
    }


def sign(
    key: str, domain_data: dict[str, Any], primary: str, fields: list[tuple[str, str]], message: dict[str, Any]
) -> bytes:
    """Signature of a flat EIP-712 struct: 65 bytes r, s, v."""
    types = {primary: [{"name": name, "type": kind} for kind, name in fields]}
    return bytes(web3.eth.account.sign_message(encode_typed_data(domain_data, types, message), key).signature)


Log = tuple[str, dict[str, Any], int]
"""An event: (name, args, time of the block)."""


def folded(state: Any, logs: Iterable[Log]) -> Any:
    """The state after its method of each event's name was called with the args, where it has one."""
    for name, args, _ in logs:
        if handler := getattr(state, name, None):
            handler(**{"from_" if key == "from" else key: value for key, value in args.items()})
    return state


def logs_of(contract: Any, from_block: int = 0) -> Iterator[Log]:
    """All events of a contract in order."""
    decoder = Web3().eth.contract(abi=contract.abi)
    by_topic = {event_abi_to_log_topic(entry): entry["name"] for entry in contract.abi if entry["type"] == "event"}
    times: dict[int, int] = {}
    for log in web3.eth.get_logs({"address": contract.address, "fromBlock": from_block}):
        name = by_topic[log["topics"][0]]
        number = log["blockNumber"]
        if number not in times:
            times[number] = web3.eth.get_block(number)["timestamp"]
        yield name, dict(decoder.events[name]().process_log(log)["args"]), times[number]


GAS_FILE = Path(__file__).with_name("gas_system.json")


def report_gas(operation: str, gas: int, **beside: Any) -> None:
    """Append a measurement to the file that TROUPE_GAS_REPORT names, if any: one JSON object a line (bench/gas.py)."""
    if path := os.environ.get("TROUPE_GAS_REPORT"):
        with Path(path).open("a") as report:
            report.write(json.dumps({"operation": operation, "gas": gas, **beside}) + "\n")


def slots_changed(tx: Any) -> int:
    """Number of storage slots, of all contracts together, that a transaction left with another value."""
    options = {"tracer": "prestateTracer", "tracerConfig": {"diffMode": True}}
    traced = web3.provider.make_request("debug_traceTransaction", [tx.txid, options])["result"]
    sides = (traced["pre"], traced["post"])  # a slot that was cleared stands before only, a fresh one after only
    return len({(account, slot) for side in sides for account, at in side.items() for slot in at.get("storage", {})})


def within_budget(operation: str, tx: Any, file: Path = GAS_FILE) -> None:
    """The transaction costs at most its committed budget and changes as many storage slots as stand beside it.

    A budget is the first reviewed measurement and 2%, never above the design's ceiling. With TROUPE_GAS_WRITE set, what
    is measured is written, for review in the diff.
    """
    budgets = json.loads(file.read_text())
    entry, gas, slots = budgets.setdefault(operation, {}), int(tx.gas_used), slots_changed(tx)
    ceiling = entry.get("ceiling", 2 * gas)
    report_gas(operation, gas, file=file.name, ceiling=entry.get("ceiling"))
    if os.environ.get("TROUPE_GAS_WRITE"):
        entry.update(measured=gas, budget=min(gas * 102 // 100, ceiling), slots=slots)
        file.write_text(json.dumps(budgets, indent=2, sort_keys=True) + "\n")
    assert "budget" in entry, f"{operation} costs {gas} gas and has no budget: run with TROUPE_GAS_WRITE=1"
    assert gas <= ceiling, f"{operation} costs {gas} gas, above its ceiling of {ceiling}: look at the design again"
    assert gas <= entry["budget"], f"{operation} costs {gas} gas, the budget is {entry['budget']}"
    assert slots == entry["slots"], f"{operation} changes {slots} storage slots, not {entry['slots']}"
