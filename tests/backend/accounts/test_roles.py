"""Moderators by the chain's roles, operators by the settings, and nobody by their own word."""

from __future__ import annotations

import pytest
from eth_account.signers.local import LocalAccount
from fastapi import FastAPI

from backend.accounts.roles import MODERATOR_ROLE_ID
from backend.app import create_app
from backend.deps import CurrentModerator, CurrentOperator
from backend.settings import Settings
from scripts.deploy.plan import MODERATOR
from tests.backend.conftest import PUBLIC_URL, Client, Clock
from tests.factories import GENESIS_TIME, Mirror, canonical

pytestmark = pytest.mark.feature("C1", via="http")


def roles(person: Client) -> list[str]:
    person.app.state.core.sessions.forget()  # type: ignore[attr-defined]  # as five seconds do
    found: list[str] = person.get("/v1/me").json()["roles"]
    return found


def test_the_role_has_the_number_that_the_deployment_gives_it() -> None:
    assert MODERATOR_ROLE_ID == MODERATOR


def test_a_moderator_is_who_the_chain_says_from_when_it_says(
    client: Client, mirror: Mirror, alice: LocalAccount, bob: LocalAccount
) -> None:
    of_alice, of_bob = client.as_(alice), client.as_(bob)
    assert roles(of_alice) == [], "the mirror is empty"
    mirror.block(1, time=GENESIS_TIME)
    account = canonical(alice)

    def grant(block: int, *, role: int = MODERATOR, since: int = GENESIS_TIME, new: bool = True) -> None:
        values = {"role_id": role, "account": account, "delay": 0, "since": since, "new_member": new}
        mirror.log("AccessManager", "RoleGranted", block=block, **values)

    def revoke(block: int, *, role: int = MODERATOR) -> None:
        mirror.log("AccessManager", "RoleRevoked", block=block, role_id=role, account=account)

    grant(1, role=MODERATOR + 1)
    assert roles(of_alice) == [], "another role"
    grant(1, since=GENESIS_TIME + 100)
    assert roles(of_alice) == [], "not yet"
    mirror.block(2, time=GENESIS_TIME + 100)
    assert roles(of_alice) == ["moderator"]
    assert roles(of_bob) == []
    grant(2, since=GENESIS_TIME + 1_000_000, new=False)
    assert roles(of_alice) == ["moderator"], "only the delay has changed"
    revoke(2, role=MODERATOR + 1)
    assert roles(of_alice) == ["moderator"]
    revoke(2)
    assert roles(of_alice) == []
    mirror.block(3, time=GENESIS_TIME + 200)
    grant(3, new=False)
    assert roles(of_alice) == []
    grant(3, since=GENESIS_TIME + 200)
    assert roles(of_alice) == ["moderator"]


def test_what_is_for_moderators_or_operators_refuses_everybody_else(
    settings: Settings, clock: Clock, mirror: Mirror, alice: LocalAccount, bob: LocalAccount
) -> None:
    app: FastAPI = create_app(settings.model_copy(update={"operators": frozenset({bob.address})}), clock=clock)

    @app.get("/moderate")
    def moderate(me: CurrentModerator) -> str:
        return "done"

    @app.get("/operate")
    def operate(me: CurrentOperator) -> str:
        return "done"

    mirror.block(1, time=GENESIS_TIME)
    mirror.log(
        "AccessManager",
        "RoleGranted",
        block=1,
        role_id=MODERATOR,
        account=canonical(alice),
        delay=0,
        since=GENESIS_TIME,
        new_member=True,
    )
    with Client(app, base_url=PUBLIC_URL, raise_server_exceptions=False) as client:
        moderator, operator = client.as_(alice), client.as_(bob)
        visitor = client.bearing(client.post("/v1/visitors").json()["token"])
        client.cookies.clear()
        assert roles(operator) == ["operator"]
        answers = {
            path: [each.get(path).status_code for each in (client, visitor, moderator, operator)]
            for path in ("/moderate", "/operate")
        }
        assert answers == {"/moderate": [401, 403, 200, 403], "/operate": [401, 403, 403, 200]}
        assert operator.get("/moderate").json()["code"] == "role_required"
