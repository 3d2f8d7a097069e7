"""A contract wallet's sessions and keys end within minutes of its change of owner, and nobody else's do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from eth_account.signers.local import LocalAccount

from backend.accounts import owners
from backend.node import Node
from backend.settings import Settings
from tests.backend.accounts.conftest import ContractWallets
from tests.backend.accounts.test_contract_wallets import sign_in
from tests.backend.accounts.test_keys import new_key
from tests.backend.conftest import Client, Clock
from tests.backend.consent.owndata import core_of
from tests.factories import Mirror

pytestmark = pytest.mark.feature("C1", via="http")


@pytest.fixture
def settings(settings: Settings, contract_wallets: ContractWallets) -> Settings:
    return settings.model_copy(update={"rpc_url": contract_wallets.rpc_url})


@pytest.fixture(autouse=True)
def some_chain(mirror: Mirror) -> None:
    mirror.block(1)


@pytest.fixture
def gone() -> Iterator[Node]:
    """A node that does not answer."""
    with Node("http://127.0.0.1:1") as node:
        yield node


def asked(client: Client, node: Node | None = None) -> owners.Asked:
    """What the worker does every minute."""
    core = core_of(client)
    return owners.ask_wallets(core.database.session, node or core.node, now=core.clock())


def code(device: Client) -> str:
    answer = device.get("/v1/works/drafts")
    return "well" if answer.status_code == 200 else str(answer.json()["code"])


def test_sessions_and_keys_end_when_the_wallet_has_another_owner_and_the_new_owners_do_not(
    client: Client, clock: Clock, contract_wallets: ContractWallets, alice: LocalAccount, bob: LocalAccount
) -> None:
    wallet = contract_wallets.owned("wallet", alice.address)
    old = sign_in(client, wallet, alice)
    program = client.bearing(new_key(old)["token"])
    person = client.as_(alice)
    persons = client.bearing(new_key(person)["token"])
    clock.forward(minutes=5)
    assert asked(client) == (2, 0), "its owner is who it was; a person's own key is never asked about"
    assert asked(client) == (0, 0), "not again within five minutes"
    contract_wallets.own(wallet, bob.address)
    new = sign_in(client, wallet, bob)
    theirs = client.bearing(new_key(new)["token"])
    assert (code(old), code(program)) == ("well", "well")
    clock.forward(minutes=5)
    assert asked(client) == (4, 2)
    assert (code(old), code(program)) == ("session_unknown", "key_revoked")
    assert [code(each) for each in (new, theirs, person, persons)] == ["well"] * 4


def test_a_key_that_the_new_owner_rotated_rests_on_their_sign_in(
    client: Client, clock: Clock, contract_wallets: ContractWallets, alice: LocalAccount, bob: LocalAccount
) -> None:
    wallet = contract_wallets.owned("wallet", alice.address)
    key = new_key(sign_in(client, wallet, alice))["key"]
    contract_wallets.own(wallet, bob.address)
    rotated = sign_in(client, wallet, bob).post(f"/v1/keys/{key['id']}/rotate", json={"overlap_s": 0})
    assert rotated.status_code == 200, rotated.text
    clock.forward(minutes=5)
    assert asked(client).ended == 1, "the old session alone"
    assert code(client.bearing(rotated.json()["token"])) == "well"


def test_a_node_that_is_away_ends_nothing_and_the_next_asking_does(  # noqa: PLR0917
    client: Client,
    clock: Clock,
    contract_wallets: ContractWallets,
    alice: LocalAccount,
    bob: LocalAccount,
    gone: Node,
) -> None:
    wallet = contract_wallets.owned("wallet", alice.address)
    old = sign_in(client, wallet, alice)
    contract_wallets.own(wallet, bob.address)
    clock.forward(minutes=6)
    assert asked(client, gone) == (0, 0)
    assert code(old) == "well"
    assert asked(client) == (1, 1)
    assert code(old) == "session_unknown"


def test_those_that_waited_longest_are_asked_first(
    client: Client,
    clock: Clock,
    contract_wallets: ContractWallets,
    alice: LocalAccount,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(owners, "BATCH", 2)
    wallet = contract_wallets.owned("wallet", alice.address)
    for _ in range(3):
        sign_in(client, wallet, alice)
        clock.forward(seconds=1)
    clock.forward(minutes=5)
    assert [asked(client).asked for _ in range(3)] == [2, 1, 0]
