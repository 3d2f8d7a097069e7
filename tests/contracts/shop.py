"""What the tests of items and of the storefront share: items with sensible defaults, and events folded into state."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kit
from brownie import Characters, Items, MockUSD, Storefront
from kit import ZERO, domain, sign
from money import NATIVE, Placed, hexed, signed_move
from works import CID

from scripts.deploy.plan import SELLER

GAS_FILE = Path(__file__).with_name("gas_shop.json")


def within_budget(operation: str, tx: Any) -> None:
    """kit.within_budget with the budgets of the shop."""
    kit.within_budget(operation, tx, GAS_FILE)


EDITION, CHARACTER, WORK, RENTAL = range(4)
NO_PIN = (ZERO, 0, False)
NEVER = 2**48 - 1
ORDER = [
    ("address", "seller"),
    ("address", "collection"),
    ("uint256", "tokenId"),
    ("uint256", "amount"),
    ("address", "token"),
    ("uint256", "price"),
    ("address", "taker"),
    ("uint256", "shareWeight"),
    ("uint256", "shareNonce"),
    ("uint256", "counter"),
    ("uint256", "salt"),
    ("uint48", "deadline"),
]


@dataclass
class Shop:
    """A storefront and what it sells, of one registry."""

    registry: Any
    books: Any
    items: Any
    characters: Any
    forwarder: Any
    store: Any
    usd: Any
    admin: Any

    def listed(self, seller: Any, kind: int, asset: int, price: int, **terms: Any) -> int:
        """List; returns the listing's id."""
        tx = self.store.list(listing(kind, asset, price, **terms), {"from": seller})
        return int(tx.events["Listed"]["listingId"])

    def edition(self, work: int, owner: Any, price: int, **terms: Any) -> int:
        """List a new item of a work; returns the listing's id."""
        return self.listed(owner, EDITION, item_created(self.items, work, owner), price, **terms)

    def buy(self, buyer: Any, listing_id: int, qty: int = 1, **changes: Any) -> Any:
        """Buy at the listed price, in the native coin or an allowance given first."""
        given = self.store.listingOf(listing_id)
        total, token = given[8] * qty, str(given[5])
        if token != NATIVE:
            self.fund(buyer, total)
        values = {"qty": qty, "maxTotal": total, "to": buyer, "ref": REF} | changes
        value = total if token == NATIVE else 0
        return self.store.buy(listing_id, *values.values(), {"from": buyer, "value": value})

    def fund(self, account: Any, amount: int) -> None:
        """Give an account tokens and the storefront its allowance."""
        self.usd.mint(account, amount, {"from": account})
        self.usd.approve(self.store, amount, {"from": account})

    def signed(self, key: str, seller: Any, collection: Any, token_id: int, **changes: Any) -> tuple[Any, bytes]:
        """An order of one token for 1,000 wei, if not told otherwise, with its signature by a key."""
        fields = {
            "seller": str(seller),
            "collection": str(collection),
            "tokenId": token_id,
            "amount": 1,
            "token": NATIVE,
            "price": 1_000,
            "taker": ZERO,
            "shareWeight": 0,
            "shareNonce": 0,
            "counter": self.store.counterOf(seller),
            "salt": 1,
            "deadline": NEVER,
        }
        elsewhere = changes.pop("contract", self.store)
        assert not set(changes) - set(fields)
        order = fields | changes
        return tuple(order.values()), sign(key, domain("Troupe Storefront", elsewhere), "Order", ORDER, order)

    def share(self, key: str, seller: Any, work: int, leaf: Placed, **given: Any) -> tuple[Any, ...]:
        """A Share: the seller's reassignment of a leaf, with the storefront as executor, to whoever buys."""
        given = {"executor": self.store} | given
        args = signed_move(self.books, key, seller, work, leaf, None, **given)
        return (*args[:3], *args[5:])

    def is_empty(self) -> bool:
        """Whether the storefront holds nothing."""
        return int(self.store.balance()) == int(self.usd.balanceOf(self.store)) == 0


REF = b"\x05" * 32


def deployed(authority: Any, registry: Any, books: Any, forwarder: Any, admin: Any, contract: Any = Storefront) -> Shop:
    """A storefront with its collections and the role that mints, and a dollar that it takes."""
    sender = {"from": admin}
    items = Items.deploy(authority, registry, sender)
    characters = Characters.deploy(authority, registry, "ipfs://characters", "ipfs://traits", sender)
    store = contract.deploy(forwarder, books, items, characters, sender)
    for collection, names in ((items, ("mint", "mintBatch")), (characters, ("mint",))):
        selectors = [collection.signatures[name] for name in names]
        authority.setTargetFunctionRole(collection, selectors, SELLER, sender)
    authority.grantRole(SELLER, store, 0, sender)
    usd = MockUSD.deploy(sender)
    books.setTokenAllowed(usd, True, sender)
    return Shop(registry, books, items, characters, forwarder, store, usd, admin)


def listing(kind: int, asset: int, price: int, **terms: Any) -> list[Any]:
    """ListingParams: 100 pieces for the native coin at any time, if not told otherwise."""
    fields = {
        "kind": kind,
        "assetId": asset,
        "token": NATIVE,
        "price": price,
        "maxSupply": 1 if kind == WORK else 100,
        "startsAt": 0,
        "endsAt": 0,
        "period": 0,
        "cidDigest": CID if kind == CHARACTER else bytes(32),
        "account": ZERO,
        "expectedState": 0,
    }
    assert not set(terms) - set(fields)
    return [str(value) if hasattr(value, "address") else value for value in (fields | terms).values()]


def class_created(
    characters: Any, work: int, owner: Any, *, supply: int = 100, ticket: bool = False, soulbound: bool = False
) -> int:
    """Create a class of characters or tickets; returns its id."""
    organiser = str(owner) if ticket else ZERO
    params = (work, supply, 0, soulbound, ticket, ZERO, organiser, bytes(32))
    return int(characters.createClass(params, {"from": owner}).events["ClassCreated"]["classId"])


def minted(characters: Any, class_id: int, owner: Any, to: Any) -> int:
    """Mint a character as the work's owner; returns its id."""
    return int(characters.mint(to, class_id, CID, {"from": owner}).events["CharacterMinted"]["tokenId"])


def item_created(
    items: Any, work: int, owner: Any, *, supply: int = 1_000, cap: int = 0, soulbound: bool = False
) -> int:
    """Create an item; returns its id."""
    tx = items.createItem(work, supply, cap, 0, soulbound, CID, {"from": owner})
    return int(tx.events["ItemCreated"]["id"])


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
