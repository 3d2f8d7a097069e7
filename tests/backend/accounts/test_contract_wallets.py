"""Sign-in by contract wallets: those that say yes, and every way of not saying it (H1 of the reliability plan)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import Any

import pytest
from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount
from httpx import Response

from backend.accounts import wallets
from backend.accounts.siwe import message_hash
from backend.app import create_app
from backend.node import Node
from backend.settings import Settings
from tests.backend.accounts.conftest import ANSWER, FACTORY, MAGIC, OWNED, YES, ContractWallets, creation, wrapped
from tests.backend.conftest import PUBLIC_URL, Client, Clock

pytestmark = pytest.mark.feature("C1", via="http")

UNDEPLOYED = "0x0000000000000000000000000000000000000F00"
IDENTITY = "0x0000000000000000000000000000000000000004"
"""The precompile that returns what it is given; that begins with ERC-1271's magic value."""


def begin(client: Client, address: str) -> str:
    message: str = client.post("/v1/auth/nonce", json={"address": address}).json()["message"]
    return message


def signed(owner: LocalAccount, text: str) -> bytes:
    return bytes(owner.sign_message(encode_defunct(text=text)).signature)


def verify(client: Client, text: str, signature: bytes) -> Response:
    answer = client.post("/v1/auth/verify", json={"message": text, "signature": "0x" + signature.hex()})
    client.cookies.clear()
    return answer


def sign_in(client: Client, wallet: str, owner: LocalAccount) -> Client:
    """A device that is signed in as a deployed wallet by its owner's signature."""
    text = begin(client, wallet)
    answer = verify(client, text, signed(owner, text))
    assert answer.status_code == 200, answer.text
    return client.bearing(answer.json()["token"])


def test_the_owner_of_a_deployed_wallet_signs_in_as_the_wallet(
    client: Client, contract_wallets: ContractWallets, alice: LocalAccount
) -> None:
    wallet = contract_wallets.owned("wallet", alice.address)
    assert sign_in(client, wallet, alice).get("/v1/me").json()["address"] == wallet


@pytest.mark.parametrize("signature", [b"", b"\x01", bytes(64), bytes(66), bytes(65), bytes(3000)], ids=len)
def test_a_wallet_takes_signatures_of_its_own_form(
    signature: bytes, client: Client, contract_wallets: ContractWallets
) -> None:
    wallet = contract_wallets.at("says yes", YES)
    assert verify(client, begin(client, wallet), signature).json()["address"] == wallet


def test_a_wallet_that_is_not_deployed_signs_in_by_its_factory(
    client: Client, contract_wallets: ContractWallets, alice: LocalAccount
) -> None:
    wallet, factory, code = contract_wallets.counterfactual(alice.address)
    text = begin(client, wallet)
    answer = verify(client, text, wrapped(factory, code, signed(alice, text)))
    assert answer.json().get("address") == wallet, answer.text
    assert contract_wallets.ask("eth_getCode", wallet, "latest") == "0x", "nothing was sent"


def test_a_wrapped_signature_of_a_deployed_wallet_is_judged_by_the_wallet_as_it_stands(
    client: Client, contract_wallets: ContractWallets, alice: LocalAccount
) -> None:
    wallet = contract_wallets.owned("wallet", alice.address)
    text = begin(client, wallet)
    assert verify(client, text, wrapped(UNDEPLOYED, b"", signed(alice, text))).status_code == 200


@dataclass(frozen=True)
class Case:
    """A wallet's code, and what is presented as its signature."""

    code: str = YES
    signature: Callable[[Any, str], bytes] = lambda _, __: bytes(65)
    address: str | None = None
    """Instead of one where the code was put."""


@dataclass(frozen=True)
class Setting:
    alice: LocalAccount
    bob: LocalAccount
    chain: ContractWallets


def _word(text: str) -> str:
    return f"7f{text.ljust(64, '0')}{ANSWER}"


def _with_parity(signature: bytes) -> bytes:
    return signature[:64] + bytes([signature[64] - 27])


WRONG: dict[str, Case] = {
    "no code at the address": Case(address=UNDEPLOYED),
    "a precompile that returns the question": Case(address=IDENTITY),
    "the magic value of another standard": Case(_word("20c13b0b")),
    "ffffffff": Case(_word("ffffffff")),
    "zero": Case(_word("")),
    "true": Case("6001" + ANSWER),
    "the magic value as a number": Case(f"63{MAGIC}" + ANSWER),
    "the magic value with a byte after it": Case(_word(MAGIC + "01")),
    "the magic value with a bit at the word's end": Case(f"7f{MAGIC}{'00' * 27}01{ANSWER}"),
    "the magic value in four bytes": Case(YES.replace("6020", "6004")),
    "the magic value in 31 bytes": Case(YES.replace("6020", "601f")),
    "the magic value in 33 bytes": Case(YES.replace("6020", "6021")),
    "the magic value in 64 bytes": Case(YES.replace("6020", "6040")),
    "the magic value and 100,000 bytes": Case(YES.replace("6020", "620186a0")),
    "nothing": Case("00"),
    "a revert": Case("60006000fd"),
    "a revert with the magic value": Case(YES[:-2] + "fd"),
    "an invalid instruction": Case("fe"),
    "a loop until its gas is gone": Case("5b600056"),
    "memory until its gas is gone": Case("6001630fffffff53" + YES),
    "a write to its storage first": Case("6001600055" + YES),
    "an event first": Case("60006000a0" + YES),
    "a yes to the zero address alone, by which nodes estimate gas": Case(
        f"3215 7f{MAGIC}{'00' * 28}02 {ANSWER}".replace(" ", "")
    ),
    "the signature of who does not own it": Case(OWNED, lambda s, text: signed(s.bob, text)),
    "its owner's signature of another message": Case(OWNED, lambda s, text: signed(s.alice, text + ".")),
    "its owner's signature with v 0 or 1": Case(OWNED, lambda s, text: _with_parity(signed(s.alice, text))),
    "its owner's signature in 64 bytes": Case(OWNED, lambda s, text: signed(s.alice, text)[:64]),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_H1_V15_a_wallet_does_not_sign_in_by(
    wrong: str, shared: Client, contract_wallets: ContractWallets, alice: LocalAccount, bob: LocalAccount
) -> None:
    case = WRONG[wrong]
    wallet = case.address or contract_wallets.at("hostile", case.code)
    if case.code == OWNED:
        contract_wallets.own(wallet, alice.address)
    text = begin(shared, wallet)
    answer = verify(shared, text, case.signature(Setting(alice, bob, contract_wallets), text))
    assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_bad_signature"), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    if case.address is None:  # the nonce is still there
        contract_wallets.at("hostile", YES)
        assert verify(shared, text, b"\x01").status_code == 200


@dataclass(frozen=True)
class Wrapper:
    """What is presented as the signature of a wallet of Alice that is not deployed."""

    setting: Setting
    wallet: str
    factory: str
    code: bytes
    text: str

    @property
    def inner(self) -> bytes:
        return signed(self.setting.alice, self.text)

    def at(self, code: str) -> str:
        return self.setting.chain.at("another factory", code)


WRONG_WRAPPER: dict[str, Callable[[Wrapper], bytes]] = {
    "no wrapper": lambda w: w.inner,
    "the signature of who does not own it": lambda w: wrapped(w.factory, w.code, signed(w.setting.bob, w.text)),
    "the code of a wallet of another owner": lambda w: wrapped(
        w.factory, creation(w.setting.bob.address), signed(w.setting.bob, w.text)
    ),
    "a factory that reverts": lambda w: wrapped(w.at("60006000fd"), w.code, w.inner),
    "a factory that does nothing": lambda w: wrapped(w.at("00"), w.code, w.inner),
    "a factory that burns its gas": lambda w: wrapped(w.at("5b600056"), w.code, w.inner),
    "a factory of the same code at another address": lambda w: wrapped(w.at(FACTORY), w.code, w.inner),
    "a factory without code": lambda w: wrapped(UNDEPLOYED, w.code, w.inner),
    "a precompile as its factory": lambda w: wrapped(IDENTITY, w.code, w.inner),
    "itself as its factory": lambda w: wrapped(w.wallet, w.code, w.inner),
    "a factory that is not called with its code": lambda w: wrapped(w.factory, b"", w.inner),
    "the magic value alone": lambda w: b"\x64\x92" * 16,
    "the magic value after garbage": lambda w: b"\xff" * 96 + b"\x64\x92" * 16,
    "a wrapper in a wrapper": lambda w: wrapped(w.factory, w.code, wrapped(w.factory, w.code, w.inner)),
    "a wrapper cut short": lambda w: wrapped(w.factory, w.code, w.inner)[64:],
    "a factory with more than an address": lambda w: b"\x01" + wrapped(w.factory, w.code, w.inner)[1:],
}


@pytest.mark.parametrize("wrong", WRONG_WRAPPER)
def test_H1_V15_a_wallet_that_is_not_deployed_does_not_sign_in_by(
    wrong: str, shared: Client, contract_wallets: ContractWallets, alice: LocalAccount, bob: LocalAccount
) -> None:
    wallet, factory, code = contract_wallets.counterfactual(alice.address)
    text = begin(shared, wallet)
    case = Wrapper(Setting(alice, bob, contract_wallets), wallet, factory, code, text)
    answer = verify(shared, text, WRONG_WRAPPER[wrong](case))
    assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_bad_signature"), answer.text
    assert verify(shared, text, wrapped(factory, code, case.inner)).status_code == 200


def test_H1_nobody_is_signed_in_as_a_person_by_a_factory(
    shared: Client, contract_wallets: ContractWallets, alice: LocalAccount
) -> None:
    factory = contract_wallets.at("hostile factory", YES)
    answer = verify(shared, begin(shared, alice.address), wrapped(factory, b"", b""))
    assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_bad_signature")


def test_H1_a_signature_over_the_limit_is_refused_before_anybody_is_asked(
    shared: Client, contract_wallets: ContractWallets
) -> None:
    wallet = contract_wallets.at("says yes", YES)
    assert verify(shared, begin(shared, wallet), bytes(wallets.SIGNATURE_LIMIT)).status_code == 200
    assert verify(shared, begin(shared, wallet), bytes(wallets.SIGNATURE_LIMIT + 1)).status_code == 422


def test_the_nonce_stays_when_the_node_is_away(
    client: Client, settings: Settings, clock: Clock, contract_wallets: ContractWallets, alice: LocalAccount
) -> None:
    wallet = contract_wallets.owned("wallet", alice.address)
    text, of_alice = begin(client, wallet), begin(client, alice.address)
    away = create_app(settings.model_copy(update={"rpc_url": "http://127.0.0.1:1"}), clock=clock)
    with Client(away, base_url=PUBLIC_URL, raise_server_exceptions=False) as other:
        answer = verify(other, text, signed(alice, text))
        assert (answer.status_code, answer.json()["code"]) == (503, "node_away")
        assert int(answer.headers["retry-after"]) > 0
        assert verify(other, of_alice, signed(alice, of_alice)).status_code == 200, "a key needs no node"
    assert verify(client, text, signed(alice, text)).status_code == 200


def test_few_wallets_are_asked_at_a_time(
    client: Client, contract_wallets: ContractWallets, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = BoundedSemaphore(1)
    busy.acquire()
    monkeypatch.setattr(wallets, "_wallets", busy)
    monkeypatch.setattr(wallets, "TIMEOUT_S", 0.01)
    wallet = contract_wallets.at("says yes", YES)
    text = begin(client, wallet)
    assert verify(client, text, b"").status_code == 503
    busy.release()
    assert verify(client, text, b"").status_code == 200
    assert busy.acquire(blocking=False), "the place was given back"


@pytest.mark.parametrize("broken", ["size", "magic", "caller"])
def test_H1_the_table_finds_a_program_that_forgets_a_check(
    broken: str, contract_wallets: ContractWallets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted bugs: a judgement left out, or a question from the address that nodes estimate gas by."""
    judgement = {
        "size": b"\x3d\x60\x20\x14\x16",
        "magic": b"\x60\x00\x51\x7f" + bytes.fromhex(MAGIC) + bytes(28) + b"\x14\x16",
    }
    whole = wallets.program

    def program(*args: Any) -> bytes:
        code, judged = whole(*args), judgement[broken]
        assert judged in code
        return code.replace(judged, b"\x5b" * len(judged), 1)

    case = {
        "size": "the magic value in 64 bytes",
        "magic": "ffffffff",
        "caller": "a yes to the zero address alone, by which nodes estimate gas",
    }[broken]
    wallet = contract_wallets.at("hostile", WRONG[case].code)

    def approved() -> bool:
        with Node(contract_wallets.rpc_url) as node:
            return wallets.approves(
                node, wallet=bytes.fromhex(wallet[2:]), message_hash=message_hash("x"), signature=b""
            )

    assert not approved()
    if broken == "caller":
        monkeypatch.setattr(wallets, "CALLER", "0x" + "00" * 20)
    else:
        monkeypatch.setattr(wallets, "program", program)
    assert approved()
