"""Every operation of OpenAPI has a request example; each is sent, and answered with a status that OpenAPI names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from eth_account import Account
from fastapi import FastAPI
from httpx import Response

from backend.app import create_app
from backend.edge.examples import PERSON, WITHOUT
from backend.settings import Settings
from backend.shop.order_schemas import OrderSigned
from backend.shop.orderbook import _contract_order, domain
from backend.shop.orders import order_hash
from tests.backend.conftest import PUBLIC_URL, Client, Clock
from tests.backend.edge.declared import operation as route_of
from tests.backend.edge.declared import undeclared
from tests.factories import Mirror

pytestmark = pytest.mark.feature("Q6", via="http")

KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
"""Of `PERSON`: the first account of every development chain."""
TELL = "give it an example: a parameter's by its name in PARAMETERS, a body's in BODIES of backend/edge/examples.py"
LAST = ("sign_out", "erase_me")
"""They end the session that asks."""
NODE = {"node_away", "unavailable"}
"""What is answered where only the chain's node could say more: these tests run without one."""
Json = dict[str, Any]


def operations(schema: Json) -> Iterator[tuple[str, str, Json]]:
    found = [(method, path, each) for path, methods in schema["paths"].items() for method, each in methods.items()]
    return iter(sorted(found, key=lambda row: row[2]["operationId"] in LAST))


def lacking(schema: Json) -> list[str]:
    """Operations with a parameter or body that has no example."""
    found = []
    for _, _, operation in operations(schema):
        parts = [each for each in operation.get("parameters", []) if each["name"] not in WITHOUT]
        parts += operation.get("requestBody", {}).get("content", {}).values()
        if any("example" not in each for each in parts):
            found.append(operation["operationId"])
    return found


def send(client: Client, method: str, path: str, operation: Json) -> Response:
    """The request that the operation's examples make."""
    given: dict[str, Json] = {"path": {}, "query": {}, "header": {}, "cookie": {}}
    for each in operation.get("parameters", []):
        if "example" in each:
            given[each["in"]][each["name"]] = each["example"]
    options: Json = {"params": given["query"], "headers": given["header"]}
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        example = content["example"]
        if kind == "multipart/form-data":
            options["files"] = {"file": ("act-one.txt", example["file"].encode(), "text/plain")}
            options["data"] = {name: json.dumps(part) for name, part in example.items() if name != "file"}
        else:
            options["json"] = example
    return client.request(method.upper(), path.format(**given["path"]), **options)


def wrong(answer: Response, operation: Json) -> str | None:
    """What is the matter with an example's answer."""
    status, named = answer.status_code, operation["responses"]
    problem = answer.json() if answer.headers.get("content-type") == "application/problem+json" else {}
    said = f"{operation['operationId']}: {status} {answer.text[:300]}"
    if status >= 500:
        return None if problem.get("code") in NODE or operation["operationId"] == "get_readiness" else said
    if operation["operationId"] == "import_taste" and problem.get("code") == "taste_issuer_unknown":
        return None  # what another platform signed: an example can't be of one that is known here
    return said if status == 422 or str(status) not in named else None


@pytest.fixture
def client(settings: Settings, clock: Clock) -> Iterator[Client]:
    """The product's application whose live streams end at once."""
    app = create_app(settings.model_copy(update={"live_lifetime_s": 0.2}), clock=clock)
    with Client(app, base_url=PUBLIC_URL, raise_server_exceptions=False) as made:
        yield made


def described(client: Client) -> Json:
    assert isinstance(client.app, FastAPI)
    return json.loads(json.dumps(client.app.openapi()))


def signed(client: Client, example: Json) -> str:
    """The seller's signature of the example's order, which depends on where the storefront stands."""
    chain = client.app.state.core.chain
    key = order_hash(_contract_order(chain, OrderSigned(**example["order"])), domain(chain))
    return "0x" + Account.unsafe_sign_hash(key, KEY).signature.hex().removeprefix("0x")


def test_V15_every_operation_has_a_request_example_that_works(client: Client, mirror: Mirror) -> None:
    mirror.block(1)
    mirror.work(1, owner=PERSON, block=1)
    schema = described(client)
    assert lacking(schema) == [], TELL
    body = schema["paths"]["/v1/orders"]["post"]["requestBody"]["content"]["application/json"]["example"]
    body["signature"] = signed(client, body)
    me = client.as_(Account.from_key(KEY))
    answers = {each["operationId"]: (send(me, method, path, each), each) for method, path, each in operations(schema)}
    failed = [said for answer, each in answers.values() if (said := wrong(answer, each))]
    assert failed == [], "\n".join(failed)
    done = [name for name, (answer, _) in answers.items() if answer.status_code < 300]
    assert len(done) > len(answers) // 2, "most examples do what they say, and are not refused"


def test_an_operation_without_an_example_or_with_a_wrong_one_is_found(client: Client, mirror: Mirror) -> None:
    """The planted mistakes: a body without an example, one that the route refuses, a status that is not named."""
    mirror.block(1)
    schema = described(client)
    create = schema["paths"]["/v1/auth/nonce"]["post"]
    content = create["requestBody"]["content"]["application/json"]
    content["example"] = {"address": "0x12"}
    assert wrong(send(client, "post", "/v1/auth/nonce", create), create) is not None
    del content["example"]
    assert "create_nonce" in lacking(schema)
    work = schema["paths"]["/v1/works/{work_id}"]["get"]
    answer = send(client, "get", "/v1/works/{work_id}", work)
    assert wrong(answer, work) is None
    del work["responses"]["404"]
    assert wrong(answer, work) is not None


def test_a_code_that_openapi_does_not_name_is_told_with_what_to_add() -> None:
    problem = {"status": 409, "code": "work_frozen"}
    said = undeclared("GET", "/v1/works/7", problem)
    assert said is not None
    assert "add `work_frozen` to the line of 'get_work' in OWN of backend/edge/problems.py" in said
    assert undeclared("GET", "/v1/works/7", {"status": 404, "code": "work_not_found"}) is None
    assert undeclared("GET", "/works/7", problem) is None, "a page"
    assert (found := route_of("GET", "/v1/works/drafts")) is not None
    assert found.name == "list_drafts"
