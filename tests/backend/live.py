"""The deployed contracts on anvil, the real indexer behind them, and people who send what the API hands out."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak

from backend.chain import NATIVE, ChainInfo, decode_error, decode_result, encode_call
from stack.postgres import DatabaseUrls
from tests.backend.conftest import Client, follow
from tests.backend.works.uploads import upload
from tests.conftest import Deployed

STRANGER = "0x" + "5a" * 20
"""Sends what anybody may send."""


class Reverted(Exception):
    """The chain refused a transaction; the text is the decoded error."""


@dataclass
class Live:
    """A chain, and its mirror when `sync` is called. Everybody's signature is the node's."""

    deployed: Deployed
    urls: DatabaseUrls
    info: ChainInfo = field(init=False)

    def __post_init__(self) -> None:
        self.info = ChainInfo.load(self.deployed.manifest)
        self.ask("anvil_autoImpersonateAccount", True)
        self.ask("anvil_setBalance", STRANGER, hex(10**24))

    @property
    def usd(self) -> str:
        """The development chain's dollar, which anybody may mint."""
        return next(token.address for token in self.info.manifest.tokens if token.decimals == 6)

    def ask(self, method: str, *params: Any) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        request = urllib.request.Request(self.deployed.rpc_url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = json.load(response)
        if "error" in answer:
            data = answer["error"].get("data")
            if isinstance(data, str) and data.startswith("0x"):
                raise Reverted(decode_error(bytes.fromhex(data[2:])))
            raise AssertionError(f"{method}: {answer['error']}")
        return answer["result"]

    def attempt(self, sender: str, to: str, data: str | bytes, value: int = 0) -> dict[str, str]:
        """Try a call without sending it; what to send. Raises Reverted."""
        data = data if isinstance(data, str) else "0x" + data.hex()
        call = {"from": sender, "to": to, "data": data, "value": hex(value), "gas": "0x7a1200"}
        self.ask("eth_call", call, "latest")
        return call

    def send(self, sender: str, to: str, data: str | bytes, value: int = 0) -> dict[str, Any]:
        """Send from an account whose key the chain does not ask for, and wait until it is mined. Raises Reverted."""
        call = self.attempt(sender, to, data, value)
        sent = self.ask("eth_sendTransaction", call)
        receipt: dict[str, Any] | None = None
        while receipt is None:
            receipt = self.ask("eth_getTransactionReceipt", sent)
        assert receipt["status"] == "0x1", receipt
        return receipt

    def sign(self, sender: str, intent: dict[str, Any]) -> dict[str, Any]:
        """What a wallet does with an intent."""
        assert int(intent["chainId"]) == self.info.chain_id
        return self.send(sender, intent["to"], intent["data"], int(intent["value"]))

    def view(self, contract: str, function: str, *args: Any, at: str | None = None) -> Any:
        call = {"to": at or self.info.address(contract), "data": "0x" + encode_call(contract, function, args).hex()}
        return decode_result(contract, function, bytes.fromhex(self.ask("eth_call", call, "latest")[2:]))

    def balance(self, account: str, token: str) -> int:
        if token == NATIVE:
            return int(self.ask("eth_getBalance", account, "latest"), 16)
        return int(self.view("ERC20", "balanceOf", account, at=token))

    def forward(self, seconds: int) -> None:
        """Move the chain's clock, and mine a block that has the new time."""
        self.ask("evm_increaseTime", seconds)
        self.ask("evm_mine")

    def sync(self) -> None:
        self.deployed.mirror(self.urls)

    # what people do, through the API

    def fund(self, *people: LocalAccount) -> None:
        """Coins and dollars for everybody."""
        for person in people:
            self.ask("anvil_setBalance", person.address, hex(10**24))
            mint = keccak(text="mint(address,uint256)")[:4] + bytes(12) + bytes.fromhex(person.address[2:])
            self.send(person.address, self.usd, "0x" + (mint + (10**15).to_bytes(32)).hex())

    def licence(self, client: Client, person: LocalAccount, *, relative: bool) -> int:
        """A licence that allows derivations from 3%; returns its id."""
        terms = {"title": "Remix", "derivatives": True, "min_share_bps": 300, "relative": relative}
        answer = client.as_(person).post("/v1/licences/intent", json=terms)
        assert answer.status_code == 200, answer.text
        self.sign(person.address, answer.json()["intent"])
        self.sync()
        return int(client.get("/v1/licences", params={"limit": 100}).json()["items"][-1]["licence_id"])

    def register(self, client: Client, person: LocalAccount, content: bytes, **said: Any) -> int:
        """A work from upload to registration; returns its id."""
        author = client.as_(person)
        draft = upload(author, content, **said)
        assert draft.status_code in (200, 201), draft.text
        intents = author.get(f"/v1/works/drafts/{draft.json()['id']}/intent").json()
        self.sign(person.address, intents["register"])
        self.sync()
        follow(client)
        return int(author.get(f"/v1/works/drafts/{draft.json()['id']}").json()["work_id"])

    def pay(
        self, client: Client, person: LocalAccount, *, work: int, amount: int, token: str = NATIVE, kind: str = "tip"
    ) -> None:
        body = {"work_id": work, "amount": str(amount), "token": token, "kind": kind, "payer": person.address}
        answer = client.post("/v1/payments/intent", json=body)
        assert answer.status_code == 200, answer.text
        for intent in answer.json()["intents"]:
            self.sign(person.address, intent)
