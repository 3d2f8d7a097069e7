"""The chain of a manifest as the console sees it: its contracts, people, tokens, time, and transactions that explain
themselves."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from eth_abi import decode
from eth_utils import keccak, to_checksum_address
from eth_utils.abi import event_abi_to_log_topic
from web3 import Web3

from backend.content.cid import CID
from scripts.console.amounts import Amount, Refused, Token, percent, readable, span
from scripts.console.errors import advice, notes
from scripts.deploy.export_abi import CONTRACTS
from scripts.deploy.keys import DEV_ROLES
from scripts.deploy.plan import DAY, NATIVE, ZERO_ADDRESS

PEOPLE = ("ana", "ben", "mia")
"""The development voters: ordinary people of the console, who hold tokens to vote with."""
FAN = "zoe"
"""The account of anvil that plays no role."""
NOBODY_S_STEP = FAN
"""Sends what anybody may send."""
FETCH_TIMEOUT_S = 5


def dev_names() -> list[str]:
    """The names of anvil's accounts, in their order."""
    spare = iter(PEOPLE)
    names, founders = [], 0
    for role in DEV_ROLES:
        founders += role == "founder"
        names.append(next(spare) if role == "voter" else f"founder{founders}" if role == "founder" else role)
    return [*names, FAN]


class Troupe:
    """One deployment. `contract_at(name, address)` binds a contract of the project."""

    def __init__(self, web3: Any, manifest: Mapping[str, Any], contract_at: Any, folder: Path, **given: Any) -> None:
        self.web3 = web3
        self.manifest = manifest
        self.folder = folder
        """Where trees and metadata of works that this console made are kept, by their sha256."""
        self.api: str = given.get("api", "")
        """Where the stack's API is, which knows the files of what was made through it; empty for none."""
        self._builds = given.get("builds", ())
        self.tokens = [Token(**entry) for entry in manifest["tokens"]]
        self.contracts = {name: contract_at(name, manifest["contracts"][name]["address"]) for name in CONTRACTS}
        self.erc20 = {t.address: contract_at("MockUSD", t.address) for t in self.tokens if t.address != NATIVE}
        self.people = dict(zip(dev_names(), map(str, web3.eth.accounts), strict=False))

    def __getattr__(self, name: str) -> Any:
        """`troupe.RevenueLedger` is the contract."""
        try:
            return self.__dict__["contracts"][name]
        except KeyError:
            raise AttributeError(name) from None

    # ---------------------------------------------------------------------------------------------------------- people

    @cached_property
    def _names(self) -> dict[str, str]:
        wallets = self.manifest["parameters"]["wallets"]
        contracts = {str(contract.address): name for name, contract in self.contracts.items()}
        people = {address: name for name, address in self.people.items()}
        money = {self.TimelockController.address: "the treasury", self.RewardDistributor.address: "the reward streams"}
        return {wallets["treasury"]: "the treasury's wallet", ZERO_ADDRESS: "anyone"} | contracts | people | money

    def called(self, address: Any) -> str:
        """The name of an account, or its address in short."""
        text = str(address)
        return self._names.get(text, f"{text[:8]}..{text[-4:]}")

    def account(self, given: Any) -> str:
        """The address of a name, an address or an account of Brownie. Raises Refused."""
        text = str(given)
        if text in self.people:
            return self.people[text]
        if text.startswith("0x") and len(text) == 42:
            return str(to_checksum_address(text))
        raise Refused(f"nobody here is called {text!r}: there are {', '.join(self.people)}, or give an address")

    def sender(self, by: Any) -> str:
        """An account that can send here. Raises Refused."""
        if by is None:
            raise Refused("say who does it, such as by=ana; people() lists everybody")
        address = self.account(by)
        if address not in self.people.values():
            raise Refused(f"nobody here has the key of {address}: choose one of {', '.join(self.people)}")
        return address

    # ------------------------------------------------------------------------------------------------------------ time

    def now(self) -> int:
        """Time of the latest block."""
        return int(self.web3.eth.get_block("latest")["timestamp"])

    def until(self, moment: int) -> str:
        """How long until a moment, in words."""
        return "now" if moment <= self.now() else f"in {span(moment - self.now())}"

    def forward(self, seconds: int) -> None:
        """Move the clock, which only a development chain can do."""
        self._ask("evm_increaseTime", seconds)
        self._ask("evm_mine")

    # ---------------------------------------------------------------------------------------------------- transactions

    def _ask(self, method: str, *parameters: Any) -> Any:
        answer = self.web3.provider.make_request(method, list(parameters))
        if "error" in answer:
            raise Refused(self._why(answer["error"]))
        return answer["result"]

    def send(self, by: Any, contract: Any, function: str, *args: Any, value: int = 0) -> Receipt:
        """Try a call, then send it and wait. Raises Refused with the contract's reason in words."""
        data = getattr(contract, function).encode_input(*args)
        call = {"from": self.sender(by), "to": contract.address, "data": data, "value": hex(value)}
        self._ask("eth_call", call, "latest")
        sent = self._ask("eth_sendTransaction", call | {"gasPrice": "0x0"})  # the development chain has no base fee
        return Receipt(self, self.web3.eth.wait_for_transaction_receipt(sent, poll_latency=0.01))

    def pay(self, by: Any, price: Amount, contract: Any, function: str, *args: Any) -> Receipt:
        """Send a call that costs this much: with the coins, or after allowing the contract to draw the tokens."""
        held = self.balance(self.sender(by), price.token)
        if held < price.units:
            have, name = readable(held, price.token), self.called(self.sender(by))
            source = f"; faucet('{price}', {name}) mints it" if price.token.decimals == 6 else ""
            raise Refused(f"that costs {price} and {name} has {have}{source}")
        if price.is_native:
            return self.send(by, contract, function, *args, value=price.units)
        self.send(by, self.erc20[price.token.address], "approve", contract.address, price.units)
        return self.send(by, contract, function, *args)

    def balance(self, account: str, token: Token) -> int:
        if token.address == NATIVE:
            return int(self.web3.eth.get_balance(account))
        return int(self.erc20[token.address].balanceOf(account))

    @cached_property
    def _errors(self) -> dict[bytes, tuple[dict[str, Any], str]]:
        """By selector: ABI and note of every custom error of the set."""
        said = notes(self._builds)
        found = {}
        for contract in self.contracts.values():
            for entry in contract.abi:
                if entry["type"] == "error":
                    signature = f"{entry['name']}({','.join(given['type'] for given in entry['inputs'])})"
                    selector = keccak(text=signature)[:4]
                    found[selector] = (entry, said.get(selector, ""))
        return found

    def _why(self, error: Mapping[str, Any]) -> str:
        """A node's error in words: the custom error by name, what it means, and what to do."""
        raw = error.get("data")
        data = bytes.fromhex(raw[2:]) if isinstance(raw, str) and raw.startswith("0x") else b""
        known = self._errors.get(data[:4])
        if known is None:
            return f"the chain refused: {error.get('message', error)}"
        entry, note = known
        name = entry["name"]
        values = decode([given["type"] for given in entry["inputs"]], data[4:])
        named = dict(zip((given["name"] for given in entry["inputs"]), values, strict=True))
        shown = {key: self._shown(key, value) for key, value in named.items()}
        arguments = ", ".join(f"{key} {value}" for key, value in shown.items())
        return " ".join(filter(None, [f"{name} ({arguments}):" if arguments else f"{name}:", note, advice(name)]))

    def _shown(self, name: str, value: Any) -> str:
        if isinstance(value, bytes):
            return "0x" + value.hex()[:8]
        if isinstance(value, str) and value.startswith("0x"):
            return self.called(to_checksum_address(value))
        if name in ("given", "min", "bps"):
            return percent(value)
        if name in ("votes", "threshold"):
            return readable(value, self.token_of(self.TroupeToken.address))
        if name in ("until", "time", "finalizableAt", "expires", "deadline", "startsAt", "endsAt", "expiresAt"):
            return self.until(value) if value - self.now() < 100 * 365 * DAY else "never"
        return str(value)

    def token_of(self, address: Any) -> Token:
        return next(token for token in self.tokens if token.address == str(address))

    # ---------------------------------------------------------------------------------------------------------- events

    def events(self, contract: str, name: str) -> Iterator[Mapping[str, Any]]:
        """The arguments of all events of one name, oldest first."""
        bound = self.contracts[contract]
        entry = next(e for e in bound.abi if e["type"] == "event" and e["name"] == name)
        wanted = {
            "address": bound.address,
            "topics": ["0x" + event_abi_to_log_topic(entry).hex()],
            "fromBlock": self.manifest["startBlock"],
        }
        decoder = Web3().eth.contract(abi=[entry]).events[name]()
        return (decoder.process_log(log)["args"] for log in self.web3.eth.get_logs(wanted))

    # ----------------------------------------------------------------------------------------------------------- files

    def keep(self, content: bytes) -> bytes:
        """Keep a file by its sha256, which is returned."""
        digest = sha256(content).digest()
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / digest.hex()).write_bytes(content)
        return digest

    def file(self, digest: bytes) -> bytes | None:
        """The file with this sha256, of this console or of the stack's content store; None where neither has it."""
        kept = self.folder / digest.hex()
        content = kept.read_bytes() if kept.exists() else self._fetched(digest)
        return content if content is not None and sha256(content).digest() == digest else None

    def _fetched(self, digest: bytes) -> bytes | None:
        if not self.api:
            return None
        try:
            with urllib.request.urlopen(f"{self.api}/v1/content/{CID.raw(digest)}", timeout=FETCH_TIMEOUT_S) as answer:
                return bytes(answer.read())
        except (urllib.error.URLError, TimeoutError):
            return None

    def document(self, digest: bytes) -> dict[str, Any]:
        """The JSON file with this sha256; empty where nobody has it."""
        content = self.file(digest)
        return json.loads(content) if content else {}

    def keep_metadata(self, name: str) -> bytes:
        """Keep the smallest metadata file, of ERC-721's `name` alone; returns its sha256."""
        return self.keep(json.dumps({"name": name}, sort_keys=True, separators=(",", ":")).encode())

    def named(self, digest: Any) -> str:
        """The name in a metadata file as «name»; empty where the file can't be had."""
        name = self.document(bytes(digest)).get("name")
        return f"«{name}»" if name else ""


class Receipt:
    """A mined transaction."""

    def __init__(self, troupe: Troupe, mined: Any) -> None:
        self._troupe = troupe
        self._logs = mined["logs"]
        if mined["status"] != 1:
            raise Refused(f"transaction {bytes(mined['transactionHash']).hex()} failed on chain")

    def events(self, contract: str, name: str) -> list[Mapping[str, Any]]:
        """The arguments of the transaction's events of one name."""
        bound = self._troupe.contracts[contract]
        entry = next(e for e in bound.abi if e["type"] == "event" and e["name"] == name)
        topic = event_abi_to_log_topic(entry)
        decoder = Web3().eth.contract(abi=[entry]).events[name]()
        mine = [log for log in self._logs if log["address"] == bound.address and bytes(log["topics"][0]) == topic]
        return [decoder.process_log(log)["args"] for log in mine]

    def event(self, contract: str, name: str) -> Mapping[str, Any]:
        """The only event of one name."""
        (found,) = self.events(contract, name)
        return found
