"""What the tests of items and of the storefront share: items with sensible defaults, and events folded into state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kit
from brownie import web3
from kit import ZERO
from money import hexed
from web3 import Web3
from works import CID

GAS_FILE = Path(__file__).with_name("gas_shop.json")


def within_budget(operation: str, gas: int) -> None:
    """kit.within_budget with the budgets of the shop."""
    kit.within_budget(operation, gas, GAS_FILE)


def item_created(
    items: Any, work: int, owner: Any, *, supply: int = 1_000, cap: int = 0, soulbound: bool = False
) -> int:
    """Create an item; returns its id."""
    tx = items.createItem(work, supply, cap, 0, soulbound, CID, {"from": owner})
    return int(tx.events["ItemCreated"]["id"])


def events_of(contract: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """All events of a contract in order: name and arguments."""
    decoder = Web3().eth.contract(abi=contract.abi)
    by_topic = {}
    for entry in contract.abi:
        if entry["type"] == "event":
            kinds = ",".join(i["type"] for i in entry["inputs"])
            by_topic[Web3.keccak(text=f"{entry['name']}({kinds})")] = entry["name"]
    for log in web3.eth.get_logs({"address": contract.address, "fromBlock": 0}):
        name = by_topic[log["topics"][0]]
        yield name, dict(decoder.events[name]().process_log(log)["args"])


@dataclass
class FoldedItems:
    """The state of Items as its events tell it."""

    items: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    balances: dict[tuple[int, str], int] = field(default_factory=dict)
    alive: dict[int, int] = field(default_factory=dict)
    minted_to: dict[tuple[int, str], int] = field(default_factory=dict)

    def ItemCreated(
        self, id: int, workId: int, maxSupply: int, perAccountCap: int, rarity: int, soulbound: bool, cidDigest: bytes
    ) -> None:
        self.items[id] = (workId, maxSupply, 0, perAccountCap, rarity, soulbound, 0, hexed(cidDigest))
        self.alive[id] = 0

    def ItemExpirySet(self, id: int, expiresAt: int) -> None:
        self.items[id] = (*self.items[id][:6], expiresAt, self.items[id][7])

    def TransferSingle(self, operator: str, from_: str, to: str, id: int, value: int) -> None:
        if from_ == ZERO:
            item = self.items[id]
            self.items[id] = (*item[:2], item[2] + value, *item[3:])
            self.alive[id] += value
            self.minted_to[id, to] = self.minted_to.get((id, to), 0) + value
        else:
            self.balances[id, from_] -= value
        if to == ZERO:
            self.alive[id] -= value
        else:
            self.balances[id, to] = self.balances.get((id, to), 0) + value

    def TransferBatch(self, operator: str, from_: str, to: str, ids: list[int], values: list[int]) -> None:
        for one, value in zip(ids, values, strict=True):
            self.TransferSingle(operator, from_, to, one, value)


def fold_items(events: Iterator[tuple[str, dict[str, Any]]]) -> FoldedItems:
    """Items rebuilt from its events alone."""
    state = FoldedItems()
    for name, args in events:
        handler = getattr(state, name, None)
        if handler:
            handler(**{"from_" if key == "from" else key: value for key, value in args.items()})
    return state
