"""A shop on the real contracts, mirrored by the real indexer: what people do, and what the API says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak

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
    signed_in: dict[str, Client] = field(default_factory=dict)

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

    # through the API

    def ask_for(self, who: LocalAccount | None, path: str, status: int = 200, **body: Any) -> dict[str, Any]:
        """What the API answers to a POST of somebody, or of nobody; with `status` 4xx the problem's code is there."""
        client = self.client if who is None else self.as_(who)
        answer = client.post(path, json=body)
        assert answer.status_code == status, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def as_(self, who: LocalAccount) -> Client:
        """The API as somebody who is signed in, once."""
        if who.address not in self.signed_in:
            self.signed_in[who.address] = self.client.as_(who)
        return self.signed_in[who.address]

    def do(self, who: LocalAccount, path: str, **body: Any) -> dict[str, Any]:
        """Ask for an intent as somebody, sign all of it, mirror; the answer."""
        answer = self.ask_for(who, path, **body)
        for intent in answer["intents"]:
            self.sign(who.address, intent)
        self.sync()
        return answer

    def pays_as_said(
        self, who: LocalAccount, path: str, *, work: int, kind: int, seller: str | None = None, **body: Any
    ) -> dict[str, Any]:
        """As `do`; and ledger, platform and seller got to the unit what the answer said, under this kind."""
        answer = self.ask_for(who, path, **body)
        said = {name: int(amount) for name, amount in answer["pays"].items()}
        *first, sale = answer["intents"]
        for intent in first:
            self.sign(who.address, intent)
        token = NATIVE if int(sale["value"]) else self.usd
        before = self.balance(seller, token) if seller else 0
        receipt = self.sign(who.address, sale)
        paid = self.payments(receipt)
        if said["to_work"] + said["fee"]:
            assert paid == [(work, token.lower(), said["to_work"] + said["fee"], said["fee"], kind)]
        else:
            assert paid == []
        assert seller is None or self.balance(seller, token) - before == said["to_seller"]
        assert said["total"] == said["to_work"] + said["fee"] + said["to_seller"]
        self.sync()
        return answer

    def payments(self, receipt: dict[str, Any]) -> list[tuple[int, str, int, int, int]]:
        """(work, token, amount, fee, kind) of a transaction's payments to the ledger."""
        topic = "0x" + keccak(text="PaymentReceived(uint64,address,address,uint256,uint256,uint8,bytes32)").hex()
        found = []
        for log in receipt["logs"]:
            if log["topics"][0] == topic:
                words = [int(log["data"][2 + 64 * i : 66 + 64 * i], 16) for i in range(3)]
                found.append((int(log["topics"][1], 16), "0x" + log["topics"][2][26:], *words))
        return found  # type: ignore[return-value]
