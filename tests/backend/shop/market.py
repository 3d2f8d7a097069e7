"""A shop on the real contracts, mirrored by the real indexer: what people do, and what the API says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from eth_account.signers.local import LocalAccount

from backend.chain import NATIVE, encode_call
from tests.backend.conftest import Client
from tests.backend.live import Live

EDITION, CHARACTER, WORK, RENTAL = range(4)
NOBODY = "0x" + "00" * 20
DIGEST = b"\x05" * 32
DAY = 86_400
HOUR = 3_600


@dataclass
class Market(Live):
    """The chain with its mirror and the API; everybody has coins and dollars."""

    client: Client = field(kw_only=True)

    def at(self, sender: LocalAccount, contract: str, function: str, *args: Any, value: int = 0) -> dict[str, Any]:
        """Call a contract itself. Raises Reverted."""
        return self.send(sender.address, self.info.address(contract), self.data(contract, function, args), value)

    @staticmethod
    def data(contract: str, function: str, args: Any) -> str:
        """Calldata."""
        return "0x" + encode_call(contract, function, args).hex()

    @property
    def now(self) -> int:
        """The chain's clock."""
        return int(self.ask("eth_getBlockByNumber", "latest", False)["timestamp"], 16)

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        """What the API answers to anybody, 200."""
        answer = self.client.get(path, params=params)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def all(self, path: str, *, limit: int = 3, **params: Any) -> list[dict[str, Any]]:
        """A whole list, page by page."""
        found: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            page = self.get(path, limit=limit, **params, **cursor)
            found += page["items"]
            if page["next"] is None:
                return found
            assert len(page["items"]) == limit
            cursor = {"cursor": page["next"]}

    # at the contracts

    def item(self, owner: LocalAccount, work: int, **terms: Any) -> int:
        """A new item of a work; its id."""
        given = {"supply": 100, "cap": 0, "rarity": 3, "soulbound": False, "digest": DIGEST} | terms
        expires = given.pop("expires", None)
        args = [work, *given.values()]
        if expires is None:
            self.at(owner, "Items", "createItem", *args)
        else:
            self.at(owner, "Items", "createPass", *args, expires)
        return int(self.view("Items", "itemCount"))

    def kind(self, owner: LocalAccount, work: int, *, ticket: bool = False, soulbound: bool = False) -> int:
        """A new class of characters, or of tickets that the owner checks in; its id."""
        organiser = owner.address if ticket else NOBODY
        self.at(owner, "Characters", "createClass", (work, 50, 1, soulbound, ticket, NOBODY, organiser, bytes(32)))
        return int(self.view("Characters", "classCount"))

    def mint(self, owner: LocalAccount, class_id: int, to: LocalAccount) -> int:
        """A new character; its id."""
        self.at(owner, "Characters", "mint", to.address, class_id, DIGEST)
        minted = self.view("Characters", "classOf", class_id)[2]
        return (class_id << 32) | int(minted)

    def listed(self, seller: LocalAccount, kind: int, asset: int, price: int, **terms: Any) -> int:
        """A new listing; its id."""
        given = {"token": NATIVE, "supply": 10, "starts": 0, "ends": 0, "period": 0} | terms
        params = (kind, asset, given["token"], price, given["supply"], given["starts"], given["ends"], given["period"])
        digest = DIGEST if kind == CHARACTER else bytes(32)
        self.at(seller, "Storefront", "list", (*params, digest, NOBODY, 0))
        return int(self.view("Storefront", "listingCount"))

    def allow(self, person: LocalAccount, amount: int) -> None:
        """Let the storefront take dollars."""
        data = encode_call("ERC20", "approve", [self.info.address("Storefront"), amount])
        self.send(person.address, self.usd, data)

    def approve_shop(self, person: LocalAccount, contract: str) -> None:
        """Let the storefront move a person's tokens of a contract."""
        self.at(person, contract, "setApprovalForAll", self.info.address("Storefront"), True)
