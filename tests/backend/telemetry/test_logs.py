"""Log lines are JSON, carry the request's id and block, and no secret."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import psycopg
import pytest
import structlog
from eth_account.signers.local import LocalAccount
from fastapi import FastAPI
from pydantic import TypeAdapter
from sqlalchemy import text

from backend.deps import DbSession
from backend.node import Node, NodeUnreachable
from backend.telemetry import trail
from backend.telemetry.logs import configure_logging, masked, rendered
from stack.postgres import DatabaseUrls
from tests.backend.conftest import PUBLIC_URL, Client, sign_in, signature
from tests.backend.mirror import MirrorWriter


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    configure_logging(stream=stream, level=logging.DEBUG)
    yield stream
    configure_logging()


def parsed(lines: io.StringIO, event: str) -> list[dict[str, object]]:
    return [line for line in map(json.loads, lines.getvalue().splitlines()) if line["event"] == event]


def test_a_request_is_one_json_line_with_its_id_and_no_secret(
    lines: io.StringIO, client: Client, alice: LocalAccount
) -> None:
    token = sign_in(client, alice)["token"]
    client.get("/v1/me?private=1", headers={"Authorization": f"Bearer {token}", "X-Request-ID": "trace-0042"})
    text = lines.getvalue()
    requests = [json.loads(line) for line in text.splitlines() if '"request"' in line]
    last = requests[-1]
    assert (last["request_id"], last["route"], last["status"], last["method"]) == ("trace-0042", "/v1/me", 200, "GET")
    assert last["timestamp"].endswith("Z")
    for secret in (token, alice.address, "private"):
        assert secret not in text


def test_the_libraries_speak_json_too(lines: io.StringIO) -> None:
    logging.getLogger("some.library").warning("it is %s", "late")
    assert json.loads(lines.getvalue())["event"] == "it is late"


@pytest.mark.parametrize("value", [2**200, "half a pair \ud800"])
def test_no_value_keeps_a_line_out_of_the_log(lines: io.StringIO, value: object) -> None:
    structlog.get_logger("money").info("rewards.planned", pool=value)
    assert [line["pool"] for line in parsed(lines, "rewards.planned")] == [value]


def test_an_exception_is_in_its_line(lines: io.StringIO) -> None:
    try:
        raise ZeroDivisionError("by nought")
    except ZeroDivisionError:
        logging.getLogger("some.library").exception("failed")
    line = json.loads(lines.getvalue())
    assert "ZeroDivisionError: by nought" in line["exception"]


CANARY = "canary-7Qz"


def test_no_canary_of_sign_in_engagement_or_errors_reaches_the_log(
    lines: io.StringIO, app: FastAPI, alice: LocalAccount
) -> None:
    """Signatures, tokens, messages, bodies, addresses, queries, and what a database quotes in its errors."""

    @app.get("/v1/test-database-error")
    def fail(session: DbSession, word: str) -> None:
        session.execute(text("SELECT CAST(:word AS uuid), :word"), {"word": word}).all()

    @app.get("/v1/test-crash")
    def crash(word: str) -> None:
        try:
            TypeAdapter(int).validate_python(word)
        except ValueError as error:
            raise RuntimeError(f"while at 0x{'ab' * 32} with key {'Zz9_' * 12}") from error

    with Client(app, base_url=PUBLIC_URL, raise_server_exceptions=False) as client:
        begun = client.post("/v1/auth/nonce", json={"address": alice.address}).json()
        signed = signature(alice, begun["message"])
        body = {"message": begun["message"], "signature": signed}
        token = client.post("/v1/auth/verify", json=body, headers={"User-Agent": CANARY}).json()["token"]
        refused = client.post("/v1/auth/verify", json=body | {"signature": signed[:-2] + "ff"})
        bearer = {"Authorization": f"Bearer {token}"}
        client.post("/v1/engagement", json={"events": [{"kind": CANARY}]}, headers=bearer)
        client.post("/v1/engagement", content=CANARY, headers=bearer)
        client.get(f"/v1/{CANARY}?q={CANARY}", headers={"Authorization": f"Bearer {CANARY}", "Cookie": CANARY})
        client.get(f"/v1/payouts/{alice.address}/summary")
        broken = client.get("/v1/test-database-error", params={"word": CANARY})
        crashed = client.get("/v1/test-crash", params={"word": CANARY})
    assert refused.status_code >= 400
    assert (broken.status_code, crashed.status_code) == (422, 500)
    text_ = lines.getvalue()
    assert "RuntimeError: while at … with key …" in text_
    assert "int_parsing" in text_  # the cause is told by its kind
    for secret in (CANARY, token, signed[2:], begun["nonce"], alice.address, alice.address.lower()[2:], "ab" * 20):
        assert secret not in text_, secret


def test_the_oracle_finds_a_planted_leak(lines: io.StringIO) -> None:
    logging.getLogger("ours").info("request %s", CANARY)
    assert CANARY in lines.getvalue()


def test_a_database_error_is_told_without_its_values(database_template: DatabaseUrls) -> None:
    with psycopg.connect(database_template.conninfo()) as connection:
        connection.execute("CREATE TEMPORARY TABLE kept (name text UNIQUE)")
        connection.execute("INSERT INTO kept VALUES (%s)", (CANARY,))
        with pytest.raises(psycopg.errors.UniqueViolation) as caught:
            connection.execute("INSERT INTO kept VALUES (%s)", (CANARY,))
    assert CANARY in str(caught.value)
    told = rendered(caught.value)
    assert told.endswith("UniqueViolation: 23505 kept kept_name_key")
    assert CANARY not in told


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("insufficient funds for 0x" + "Aa" * 20, "insufficient funds for …"),
        ("postgresql://me:hunter2@host/db", "postgresql…host/db"),
        ("Task sender.sweep[0192f1c2-8d2e-7c3a-9b1f-5a1de4f4b0aa] succeeded", None),
        ("eyJ" + "x" * 60, "…"),
        ("a file /srv/troupe/content/blocks is full", None),
    ],
)
def test_what_may_be_a_secret_is_masked_in_texts_of_others(said: str, kept: str | None) -> None:
    assert masked(said) == (kept or said)


def test_a_request_line_names_the_block_that_its_answer_stands_on(
    lines: io.StringIO, client: Client, clean_db: DatabaseUrls
) -> None:
    mirror = MirrorWriter(clean_db)
    mirror.block()
    mirror.block()
    try:
        answer = client.get("/v1/works")
    finally:
        mirror.close()
    (line,) = parsed(lines, "request")
    assert line["block"] == answer.json()["as_of"]["block"] == 2
    assert line["request_id"] == answer.headers["x-request-id"]
    client.get("/v1/me")
    assert "block" not in parsed(lines, "request")[-1]


def test_a_question_to_the_node_is_told_with_the_requests_id(lines: io.StringIO) -> None:
    trail.begin("trace-0042", block=7)
    try:
        with Node("http://127.0.0.1:1") as node, pytest.raises(NodeUnreachable):
            node.ask("eth_call", CANARY)
    finally:
        trail.end()
    (line,) = parsed(lines, "node asked")
    assert (line["request_id"], line["block"], line["level"]) == ("trace-0042", 7, "warning")
    assert (line["method"], line["outcome"]) == ("eth_call", "unreachable")
    assert CANARY not in lines.getvalue()
