"""V16: a request that is sent again with its Idempotency-Key has its effect once and gets the same answer."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from eth_account.signers.local import LocalAccount
from fastapi import APIRouter, Depends, FastAPI
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text
from starlette.datastructures import Headers

from backend.app import ROUTERS, create_app
from backend.deps import CoreDep, CurrentAccount, DbSession, secret_answer
from backend.edge import idempotency
from backend.edge.boundary import JSON_LIMIT, Malformed
from backend.errors import Conflict
from backend.models.idempotency import IdempotentAnswer
from backend.settings import Settings, load_settings
from stack.processes import Service, free_port, running
from stack.supervisor import answers_http
from tests.backend.conftest import Client, Clock, sign_in
from tests.backend.works.uploads import upload
from tests.factories import Mirror

pytestmark = pytest.mark.feature("Q6", via="http")

router = APIRouter(prefix="/v1/probe")


@router.post("/effects", status_code=201)
def make_effect(session: DbSession, body: dict[str, Any]) -> dict[str, Any]:
    """One row an execution."""
    number = str(uuid.uuid4())
    session.execute(
        text("INSERT INTO app.sign_in_nonce (nonce, expires_at) VALUES (:nonce, now() + interval '1 day')"),
        {"nonce": number},
    )
    match body.get("then"):
        case "conflict":
            raise Conflict("Taken.", code="taken")
        case "break":
            raise ZeroDivisionError
        case "disconnect":
            session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        case "die":
            flag = Path(body["flag"])
            if not flag.exists():
                flag.touch()
                os.kill(os.getpid(), signal.SIGKILL)
    return {"made": number}


@router.post("/secrets", dependencies=[Depends(secret_answer)])
def make_secret(session: DbSession, body: dict[str, Any]) -> dict[str, Any]:
    return make_effect(session, body) | {"secret": "hunter2"}


@router.post("/personal")
def make_personal(session: DbSession, me: CurrentAccount) -> dict[str, str]:
    return {"diary": "dear diary", "id": str(uuid.uuid4())}


@router.post("/apart")
def make_apart(core: CoreDep) -> None:
    """The planted mistake: a transaction of its own, before something fails."""
    with core.database.session() as session:
        make_effect(session, {})
    raise ZeroDivisionError


@router.get("/effects")
def read_effects(session: DbSession) -> dict[str, str]:
    return {"read": str(uuid.uuid4())}


def served() -> FastAPI:
    """The application of the environment, with this module's probes: for a process of its own."""
    app = create_app(load_settings())
    app.include_router(router, max_body_size=JSON_LIMIT)
    return app


@pytest.fixture
def app(app: FastAPI) -> FastAPI:
    app.include_router(router, max_body_size=JSON_LIMIT)
    return app


Effects = Callable[[], int]


@pytest.fixture
def effects(app: FastAPI) -> Effects:
    def count() -> int:
        with app.state.core.database.session() as session:
            return int(session.scalar(text("SELECT count(*) FROM app.sign_in_nonce")) or 0)

    return count


def ask(client: Any, key: str | None = "k-1", body: Any = None, path: str = "/v1/probe/effects") -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.post(path, json={} if body is None else body, headers=headers)


def test_V16_the_same_request_has_one_effect_and_the_same_bytes(client: Client, effects: Effects) -> None:
    first, second = ask(client), ask(client)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    assert first.headers["content-type"] == second.headers["content-type"]
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert effects() == 1
    assert ask(client, '"k-1"').content == first.content, "the draft's form, with quotes"
    assert ask(client, "k-2").content != first.content
    assert ask(client, None).content != first.content
    assert effects() == 3


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/probe/effects", {"other": 1}), ("/v1/probe/effects?x=1", {}), ("/v1/probe/secrets", {})],
)
def test_V16_the_same_key_for_another_request_is_refused(
    path: str, body: dict[str, Any], client: Client, effects: Effects
) -> None:
    ask(client)
    refused = ask(client, body=body, path=path)
    assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")
    assert effects() == 1


def test_V16_fifty_at_once_have_one_effect(client: Client, effects: Effects) -> None:
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: ask(client), range(50)))
    done = [answer for answer in answers if answer.status_code == 201]
    waiting = [answer for answer in answers if answer.status_code == 409]
    assert len(done) + len(waiting) == 50
    assert len({answer.content for answer in done}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in done) == 1
    for answer in waiting:
        assert (answer.json()["code"], answer.headers["retry-after"]) == ("idempotency_in_flight", "1")
    assert effects() == 1
    assert ask(client).content == done[0].content


def test_V16_without_a_key_the_oracle_sees_two_effects(client: Client, effects: Effects) -> None:
    ask(client, None)
    ask(client, None)
    assert effects() == 2


def test_V16_a_refusal_is_the_same_again_and_leaves_nothing(client: Client, effects: Effects) -> None:
    first, second = (ask(client, body={"then": "conflict"}) for _ in range(2))
    assert (first.status_code, first.json()["code"]) == (409, "taken")
    assert first.content == second.content
    assert second.headers["idempotency-replayed"] == "true"
    assert effects() == 0


@pytest.mark.parametrize(("then", "status"), [("break", 500), ("disconnect", 503)])
def test_V16_what_failed_on_our_side_had_no_effect_and_can_be_sent_again(
    then: str, status: int, client: Client, effects: Effects
) -> None:
    for _ in range(2):
        answer = ask(client, body={"then": then})
        assert answer.status_code == status
        assert "idempotency-replayed" not in answer.headers
        assert effects() == 0


def test_V16_the_oracle_sees_work_outside_the_requests_transaction(client: Client, effects: Effects) -> None:
    assert [ask(client, path="/v1/probe/apart").status_code for _ in range(2)] == [500, 500]
    assert effects() == 2, "what the test above must not see"


def test_keys_are_each_persons_own_and_follow_them_to_a_new_session(
    client: Client, alice: LocalAccount, bob: LocalAccount
) -> None:
    path = "/v1/probe/personal"
    hers = ask(client.as_(alice), path=path)
    assert ask(client.as_(alice), path=path).content == hers.content, "another session, the same person"
    assert ask(client.as_(bob), path=path).content != hers.content


def test_who_is_not_signed_in_gets_no_answer_of_who_was(client: Client, alice: LocalAccount) -> None:
    device = client.as_(alice)
    ask(device, path="/v1/probe/personal")
    assert device.delete("/v1/auth/session").status_code == 204
    refused = ask(device, path="/v1/probe/personal")
    assert (refused.status_code, refused.json()["code"]) == (401, "session_unknown")
    assert ask(client, path="/v1/probe/personal").status_code == 401
    assert ask(client, path="/v1/probe/personal").headers.get("idempotency-replayed") is None


def test_V10_what_is_kept_of_a_person_is_sealed_and_a_secret_is_not_kept(
    client: Client, alice: LocalAccount, app: FastAPI
) -> None:
    device = client.as_(alice)
    ask(device, "my-own-key", path="/v1/probe/personal")
    assert ask(device, "another-key", path="/v1/probe/secrets").json()["secret"] == "hunter2"
    again = ask(device, "another-key", path="/v1/probe/secrets")
    assert (again.status_code, again.json()["code"]) == (409, "idempotency_answer_not_kept")
    assert again.json()["first_status"] == 200
    with app.state.core.database.session() as session:
        kept = " ".join(str(row) for row in session.execute(text("SELECT a::text FROM app.idempotent_answer a")))
    for word in ("dear diary", "hunter2", "my-own-key", *(word.encode().hex() for word in ("dear diary", "hunter2"))):
        assert word not in kept


def test_sign_in_is_not_repeated_from_memory(client: Client, alice: LocalAccount, app: FastAPI) -> None:
    client.headers["Idempotency-Key"] = "k"
    tokens = {sign_in(client, alice)["token"] for _ in range(2)}
    client.post("/v1/visitors")
    assert len(tokens) == 2
    with app.state.core.database.session() as session:
        assert session.scalars(select(IdempotentAnswer)).all() == []


def test_an_answer_is_kept_for_a_day(client: Client, clock: Clock, app: FastAPI, effects: Effects) -> None:
    first = ask(client)
    clock.forward(hours=23, minutes=59)
    assert ask(client).content == first.content
    clock.forward(minutes=1)
    assert ask(client).content != first.content, "whether or not the task has been by"
    assert effects() == 2
    clock.forward(hours=24)
    with app.state.core.database.session() as session:
        assert idempotency.forget(session, app.state.core) == 1
        assert session.scalars(select(IdempotentAnswer)).all() == []


def test_reads_take_no_notice_of_a_key(client: Client) -> None:
    headers = {"Idempotency-Key": "k"}
    assert (
        client.get("/v1/probe/effects", headers=headers).content
        != client.get("/v1/probe/effects", headers=headers).content
    )


@pytest.mark.parametrize("key", ["", " ", "x" * 256, 'a"b', '"', '""', "a b", "é".encode().decode("latin-1"), '"a\\b"'])
def test_V15_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(Malformed):
        idempotency.parse_key([key])


def test_V15_two_keys_are_none(client: Client) -> None:
    answer = client.post("/v1/probe/effects", json={}, headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "b")])
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_malformed")


def test_V16_an_upload_is_the_same_although_its_delimiter_is_not(
    client: Client, alice: LocalAccount, mirror: Mirror
) -> None:
    mirror.block(1)
    device = client.as_(alice)
    device.headers["Idempotency-Key"] = "upload-1"
    story = os.urandom(10).hex().encode() * 200_000
    first, second = upload(device, story), upload(device, story)
    assert first.status_code == 201, first.text
    assert first.content == second.content
    assert second.headers["idempotency-replayed"] == "true"
    assert len(device.get("/v1/works/drafts").json()["items"]) == 1
    assert upload(device, story + b"!").json()["code"] == "idempotency_key_reused"


def fingerprint(delimiter: bytes, body: bytes, cut: int) -> bytes:
    headers = Headers({"content-type": f"multipart/form-data; boundary={delimiter.decode()}"})
    made = idempotency.Fingerprint(b"s", {"method": "POST", "path": "/", "query_string": b""}, headers)
    made.add({"body": body[:cut], "more_body": True})
    made.add({"body": body[cut:]})
    return made.digest()


@given(st.binary(max_size=60), st.integers(0, 90), st.integers(0, 90))
def test_a_fingerprint_does_not_depend_on_delimiter_or_pieces(content: bytes, one: int, two: int) -> None:
    def body(delimiter: bytes) -> bytes:
        return b"--" + delimiter + b"\r\n\r\n" + content + b"\r\n--" + delimiter + b"--\r\n"

    first = fingerprint(b"Q7x-aaaaaaaa", body(b"Q7x-aaaaaaaa"), one)
    assert first == fingerprint(b"Q7x-bbbb", body(b"Q7x-bbbb"), two)
    assert first != fingerprint(b"Q7x-aaaaaaaa", body(b"Q7x-aaaaaaaa") + b".", one)


def test_no_answer_that_is_kept_has_a_field_for_a_secret(settings: Settings) -> None:
    """A route that hands out a secret declares it with `secret_answer`; sign-in is not kept at all."""
    app = create_app(settings)
    schema = app.openapi()
    telling = {"secret", "api_key", "private_key", "password", "session_token"}
    declared = {
        (route.path, method.lower())
        for name in ROUTERS
        for route in importlib.import_module(name).router.routes
        if any(d.dependency is secret_answer for d in getattr(route, "dependencies", ()))
        for method in getattr(route, "methods", ())
    }
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            if method == "get" or idempotency.NOT_FOR.match(path) or (path, method) in declared:
                continue
            for answer in operation["responses"].values():
                for content in answer.get("content", {}).values():
                    name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
                    fields = schema["components"]["schemas"].get(name, {}).get("properties", {})
                    assert not telling & set(fields), f"{method} {path} must declare secret_answer"


def api(port: int) -> Service:
    """The API with the probes, as a process of its own."""
    command = [sys.executable, "-m", "uvicorn", "--factory", f"{__name__}:served", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    return Service("api", command, ready=lambda: answers_http(f"{url}/health"), url=url, ready_timeout_s=120)


@pytest.mark.slow
def test_V16_a_process_killed_between_effect_and_answer_leaves_no_effect_and_no_lock(
    environment: dict[str, str], effects: Effects, tmp_path: Path
) -> None:
    body = {"then": "die", "flag": str(tmp_path / "died")}
    service = api(free_port())
    with httpx.Client(base_url=service.url, timeout=60) as client:
        with running(service, tmp_path / "api.log"), pytest.raises(httpx.TransportError):
            ask(client, body=body)
        assert effects() == 0
        with running(service, tmp_path / "api.log"):
            first, second = ask(client, body=body), ask(client, body=body)
    assert first.status_code == 201, first.text
    assert first.content == second.content
    assert effects() == 1
