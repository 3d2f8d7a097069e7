"""Every operation of OpenAPI, called by everybody: nobody, a visitor, a person, another one, a moderator, an operator,
keys with and without the scope, a revoked one (H2 of the reliability plan). And what is of one person is not there for
others.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak
from fastapi import FastAPI, routing

from backend.accounts.roles import MODERATOR_ROLE_ID
from backend.accounts.scopes import Scope
from backend.app import create_app
from backend.errors import AppError
from backend.settings import Settings
from stack.postgres import DatabaseUrls
from stack.redis import Redis
from tests.backend.accounts.authorisation import ANYBODY, PUBLIC_OBJECTS, TABLE, WALLET, Row
from tests.backend.conftest import CHAIN_ID, PUBLIC_URL, Client, Clock, allow, write_manifest
from tests.backend.works.uploads import upload
from tests.factories import GENESIS_TIME, Mirror, canonical

pytestmark = pytest.mark.feature("C1", via="http")

PASSED = "passed"
GATES = {
    *("sign_in_required", "session_unknown", "session_expired", "session_unconfirmed", "wallet_required"),
    *("key_unknown", "key_revoked", "key_expired", "key_not_allowed", "scope_missing", "role_required", "cross_origin"),
}
"""Codes by which a request is refused for who makes it, before its route is run."""


@dataclass
class World:
    """An application and everybody who calls it."""

    app: FastAPI
    client: Client
    owner: LocalAccount
    callers: dict[str, Client] = field(default_factory=dict)
    poor: dict[Scope, Client] = field(default_factory=dict)
    """Keys that lack one scope."""

    def operations(self) -> dict[str, tuple[str, str, dict[str, Any]]]:
        return {
            operation["operationId"]: (method.upper(), path, operation)
            for path, methods in self.app.openapi()["paths"].items()
            for method, operation in methods.items()
        }

    def path(self, operation_id: str, **known: str) -> str:
        """The operation's address; what is not known of it is made up after its schema."""
        _, path, operation = self.operations()[operation_id]
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "path":
                value = known.get(parameter["name"]) or self._made_up(parameter["schema"])
                path = path.replace("{" + parameter["name"] + "}", value)
        return path

    def _made_up(self, schema: dict[str, Any]) -> str:
        if "$ref" in schema:
            schema = self.app.openapi()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        if "enum" in schema:
            return str(schema["enum"][0])
        if schema.get("type") == "integer":
            return "1"
        if schema.get("format") == "uuid":
            return str(uuid.UUID(int=7))
        return "0x" + "07" * (32 if "64" in schema.get("pattern", "") else 20)

    def gate(self, caller: Client, operation_id: str) -> str:
        """How far a caller gets: PASSED, or the code of the refusal."""
        method = self.operations()[operation_id][0]
        body = None if method == "GET" else {}
        answer = caller.request(method, self.path(operation_id), json=body)
        assert answer.status_code < 500, answer.text
        code = answer.json().get("code") if answer.headers["content-type"] == "application/problem+json" else None
        return code if code in GATES else PASSED

    def wrong(self, operation_id: str, row: Row) -> dict[str, tuple[str, str]]:
        """Callers who get further or less far than the row says: what they should meet, and what they do."""
        lacking = {"poor key": self.poor[Scope(row.scope or Scope.FEED_READ)]}
        met = {name: self.gate(caller, operation_id) for name, caller in (self.callers | lacking).items()}
        return {name: (expected(row, name), found) for name, found in met.items() if expected(row, name) != found}


def expected(row: Row, caller: str) -> str:
    """What a caller should meet."""
    if not row.asks:
        return PASSED
    refusals = {
        "nobody": None if row.nobody else "sign_in_required",
        "visitor": None if row.visitor else "wallet_required",
        "key": None if row.scope else "key_not_allowed",
        "poor key": "scope_missing" if row.scope else "key_not_allowed",
        "revoked key": "key_revoked",
    }
    by_role = None if row.role in (None, caller) else "role_required"
    return refusals.get(caller, by_role) or PASSED


@pytest.fixture(scope="module")
def world(
    module_db_urls: DatabaseUrls, redis_server: Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    people = {name: Account.from_key(keccak(text=name)) for name in ("person", "other", "moderator", "operator")}
    settings = Settings(
        env="test",
        database_url=module_db_urls.backend,  # type: ignore[arg-type]
        redis_url=redis_server.url,
        rpc_url="http://127.0.0.1:1",
        chain_id=CHAIN_ID,
        deployment=write_manifest(folder),
        data_dir=folder / "data",
        public_url=PUBLIC_URL,
        operators=frozenset({people["operator"].address}),
    )
    mirror = Mirror(module_db_urls)
    mirror.block(1, time=GENESIS_TIME)
    values = {"role_id": MODERATOR_ROLE_ID, "account": canonical(people["moderator"]), "delay": 0}
    mirror.log("AccessManager", "RoleGranted", block=1, since=GENESIS_TIME, new_member=True, **values)
    mirror.close()
    app = create_app(settings, clock=Clock())
    with Client(app, base_url=PUBLIC_URL, raise_server_exceptions=False) as client:
        made = World(app, client, people["person"])
        made.callers["nobody"] = client
        made.callers["visitor"] = client.bearing(client.post("/v1/visitors").json()["token"])
        client.cookies.clear()
        made.callers |= {name: client.as_(person) for name, person in people.items()}
        platform = made.callers["person"]

        def key(*scopes: str) -> dict[str, Any]:
            answer = platform.post("/v1/keys", json={"name": "A platform", "scopes": scopes})
            assert answer.status_code == 201, answer.text
            body: dict[str, Any] = answer.json()
            return body

        made.callers["key"] = client.bearing(key(*Scope)["token"])
        for scope in Scope:
            made.poor[scope] = client.bearing(key(*(set(Scope) - {scope}))["token"])
        revoked = key(*Scope)
        assert platform.delete(f"/v1/keys/{revoked['key']['id']}").status_code == 204
        made.callers["revoked key"] = client.bearing(revoked["token"])
        yield made


@pytest.fixture
def gates_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """No route is run: a request that passes the gate is answered 418, and nothing is done for it."""

    async def passed(**_: Any) -> NoReturn:
        raise AppError(418, PASSED, "Passed", "The route would be run now.")

    monkeypatch.setattr(routing, "run_endpoint_function", passed)


def test_every_route_has_a_row_and_every_row_a_route(world: World) -> None:
    assert set(world.operations()) - set(TABLE) == set(), "say in authorisation.py who may call these"
    assert set(TABLE) - set(world.operations()) == set()


@pytest.mark.parametrize("operation_id", TABLE)
@pytest.mark.usefixtures("gates_only")
def test_H2_V15_everybody_meets_what_the_table_says_at(operation_id: str, world: World) -> None:
    assert world.wrong(operation_id, TABLE[operation_id]) == {}


@pytest.mark.usefixtures("gates_only")
def test_nobody_is_told_to_be_a_visitor_where_a_visitor_may(world: World) -> None:
    for operation_id, (method, _, _) in world.operations().items():
        row = TABLE[operation_id]
        if row.asks and not row.nobody:
            body = None if method == "GET" else {}
            detail = world.callers["nobody"].request(method, world.path(operation_id), json=body).json()["detail"]
            assert ("POST /v1/visitors" in detail) == row.visitor, operation_id
            assert "POST /v1/auth/nonce" in detail


def test_openapi_says_what_the_table_says(world: World) -> None:
    for operation_id, (_, _, operation) in world.operations().items():
        row, security = TABLE[operation_id], operation.get("security")
        if not row.asks:
            assert security is None, operation_id
            continue
        keys = [scheme["key"] for scheme in security if "key" in scheme]
        assert ({} in security, keys) == (row.nobody, [[row.scope]] if row.scope else []), operation_id


@pytest.mark.usefixtures("gates_only")
def test_H2_a_route_that_forgot_its_gate_is_found(world: World) -> None:
    """The planted bug: a table that says more than the code does, as if the code had forgotten it."""
    assert set(world.wrong("get_policy", WALLET)) == {"nobody", "visitor", "key", "poor key", "revoked key"}
    assert set(world.wrong("create_key", ANYBODY)) == {"nobody", "visitor", "key", "poor key", "revoked key"}
    assert set(world.wrong("get_feed", TABLE["list_drafts"])) == {"nobody", "visitor", "poor key"}
    assert set(world.wrong("create_key", WALLET._replace(role="moderator"))) == {"person", "other", "operator"}


# --- what is of one person --------------------------------------------------------------------------------------------

NAMED = re.compile(r"msg_\w+|0x\w+|[0-9a-f]{8}-[0-9a-f-]{27}")
"""What a refusal may repeat of the address that was asked."""
Example = Callable[[Client], dict[str, str]]


def _draft(owner: Client) -> dict[str, str]:
    answer = upload(owner)
    assert answer.status_code in (200, 201), answer.text
    return {"draft_id": answer.json()["id"]}


def _receipt(owner: Client) -> dict[str, str]:
    allow(owner, "behaviour")
    return {"record_id": owner.get("/v1/consents/receipts").json()["items"][0]["record_id"]}


def _key(owner: Client) -> dict[str, str]:
    return {"key_id": owner.post("/v1/keys", json={"name": "x", "scopes": ["works:read"]}).json()["key"]["id"]}


def _export(owner: Client) -> dict[str, str]:
    return {"export_id": owner.post("/v1/me/exports").json()["id"]}


def _webhook(owner: Client) -> dict[str, str]:
    if not (items := owner.get("/v1/webhooks").json()["items"]):
        body = {"url": "https://hooks.example.com/troupe", "types": ["payment.received"]}
        answer = owner.post("/v1/webhooks", json=body)
        assert answer.status_code == 201, answer.text
        items = [answer.json()]
    return {"webhook_id": items[0]["id"]}


def _delivery(owner: Client) -> dict[str, str]:
    known = _webhook(owner)
    return known | {"message": owner.post(f"/v1/webhooks/{known['webhook_id']}/test").json()["id"]}


OWNED: dict[str, Example] = {
    "revoke_session": lambda owner: {"session_id": owner.get("/v1/auth/session").json()["id"]},
    "rotate_key": _key,
    "revoke_key": _key,
    "get_draft": _draft,
    "get_draft_file": lambda owner: _draft(owner) | {"part": "media"},
    "get_registration_intent": _draft,
    "download_receipt": _receipt,
    "get_receipt_proof": _receipt,
    "get_export": _export,
    "delete_export": _export,
    "download_export": _export,
    "get_webhook": _webhook,
    "update_webhook": _webhook,
    "rotate_webhook_secret": _webhook,
    "test_webhook": _webhook,
    "list_webhook_deliveries": _webhook,
    "get_webhook_delivery": _delivery,
    "redeliver_webhook": _delivery,
    "delete_webhook": _webhook,
}
"""Operation -> how to make something of one's own that it names."""


def test_every_object_is_somebodys_or_everybodys(world: World) -> None:
    named = {
        operation_id
        for operation_id, (_, path, _) in world.operations().items()
        if TABLE[operation_id].asks and "{" in path
    }
    assert named == set(OWNED) | PUBLIC_OBJECTS, (
        "give an example in OWNED, or say in authorisation.py that it is public"
    )
    assert not set(OWNED) & PUBLIC_OBJECTS


@pytest.mark.parametrize("operation_id", OWNED)
def test_H2_what_is_of_one_person_is_not_there_for_others(operation_id: str, world: World) -> None:
    method = world.operations()[operation_id][0]
    body = None if method in ("GET", "DELETE") else {}
    owner = world.client.as_(world.owner)
    known = OWNED[operation_id](owner)
    theirs, absent = world.path(operation_id, **known), world.path(operation_id)
    assert theirs != absent
    for caller in ("other", "moderator", "operator", "visitor"):
        found, missing = (world.callers[caller].request(method, path, json=body) for path in (theirs, absent))
        assert found.status_code == missing.status_code, caller
        assert found.status_code in ((403, 404) if caller == "visitor" else (404,)), caller
        assert found.json()["code"] == missing.json()["code"]
        told = [NAMED.sub("", answer.json()["detail"]) for answer in (found, missing)]
        assert told[0] == told[1], caller
    its_own = owner.request(method, theirs, json=body).status_code
    assert its_own < 500
    assert its_own not in (401, 403, 404), "it was there all the time"
