"""The application on a chain where contract wallets stand: a few bytes of code each, put there by the test."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from backend.app import create_app
from backend.settings import Settings
from stack.anvil import Anvil
from stack.postgres import DatabaseUrls
from stack.processes import free_port, running
from stack.redis import Redis
from tests.backend.conftest import CHAIN_ID, PUBLIC_URL, Client, Clock

MAGIC = "1626ba7e"
ANSWER = "60005260206000f3"
"""MSTORE at 0 what is on the stack, and return that word."""
YES = f"7f{MAGIC}{'00' * 28}{ANSWER}"
"""Says yes to everything."""
OWNED = (
    "600435600052"  # the hash,
    "60a43560001a602052"  # v, r and s where ecrecover takes them
    "606435604052608435606052"
    "602060006080600060015afa50"
    f"600051600054147f{MAGIC}{'00' * 28}02{ANSWER}"  # the magic value times whether it is the owner in slot 0
)
"""A wallet whose owner's address is in its storage."""
FACTORY = "3660006000376000366000 6000f5600052602 06000f3".replace(" ", "")
"""CREATE2 of the call's data, with salt 0."""


def creation(owner: str) -> bytes:
    """Creation code of an OWNED wallet."""
    runtime = bytes.fromhex(OWNED)
    set_owner = b"\x73" + bytes.fromhex(owner[2:]) + bytes.fromhex("600055")
    size, offset = len(runtime), len(set_owner) + 12
    return set_owner + bytes.fromhex(f"60{size:02x}60{offset:02x}60003960{size:02x}6000f3") + runtime


def wrapped(factory: str, data: bytes, signature: bytes) -> bytes:
    """A signature of ERC-6492."""
    return encode(["address", "bytes", "bytes"], [factory, data, signature]) + b"\x64\x92" * 16


@dataclass(frozen=True)
class ContractWallets:
    """A chain on which the test puts code where it likes."""

    rpc_url: str

    def ask(self, method: str, *params: Any) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        request = urllib.request.Request(self.rpc_url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = json.load(response)
        assert "error" not in answer, answer
        return answer["result"]

    def at(self, name: str, code: str) -> str:
        """An address with that runtime code."""
        address = str(to_checksum_address(keccak(text=name)[12:]))
        self.ask("anvil_setCode", address, "0x" + code)
        return address

    def owned(self, name: str, owner: str) -> str:
        """A wallet with an owner, at an address of that name."""
        address = self.at(name, OWNED)
        self.own(address, owner)
        return address

    def own(self, wallet: str, owner: str) -> None:
        """Give a wallet to another owner."""
        self.ask("anvil_setStorageAt", wallet, "0x" + "00" * 32, "0x" + "00" * 12 + owner[2:].lower())

    def counterfactual(self, owner: str) -> tuple[str, str, bytes]:
        """A wallet that is not deployed: its address, its factory, and what to call the factory with."""
        factory = self.at("factory", FACTORY)
        code = creation(owner)
        hashed = keccak(b"\xff" + bytes.fromhex(factory[2:]) + bytes(32) + keccak(code))
        return str(to_checksum_address(hashed[12:])), factory, code


@pytest.fixture(scope="module")
def contract_wallets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContractWallets]:
    chain = Anvil(free_port())
    with running(chain.service(), tmp_path_factory.mktemp("wallets") / "anvil.log"):
        yield ContractWallets(chain.url)


@pytest.fixture(scope="module")
def shared(
    module_db_urls: DatabaseUrls,
    redis_server: Redis,
    contract_wallets: ContractWallets,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Client]:
    """One application for a table of cases that leave nothing behind; its clock stands still."""
    settings = Settings(
        env="test",
        database_url=module_db_urls.backend,  # type: ignore[arg-type]
        redis_url=redis_server.url,
        rpc_url=contract_wallets.rpc_url,
        chain_id=CHAIN_ID,
        deployment=tmp_path_factory.mktemp("shared") / "none.json",
        data_dir=tmp_path_factory.mktemp("data"),
        public_url=PUBLIC_URL,
    )
    with Client(create_app(settings, clock=Clock()), base_url=PUBLIC_URL, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def settings(settings: Settings, contract_wallets: ContractWallets) -> Settings:
    return settings.model_copy(update={"rpc_url": contract_wallets.rpc_url})
