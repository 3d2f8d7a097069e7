"""Log lines are JSON, carry the request's id, and no secret."""

from __future__ import annotations

import io
import json
import logging

import pytest
from eth_account.signers.local import LocalAccount

from backend.telemetry import configure_logging
from tests.backend.conftest import Client, sign_in


@pytest.fixture
def lines() -> io.StringIO:
    stream = io.StringIO()
    configure_logging(stream=stream)
    return stream


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


def test_an_exception_is_in_its_line(lines: io.StringIO) -> None:
    try:
        raise ZeroDivisionError("by nought")
    except ZeroDivisionError:
        logging.getLogger("some.library").exception("failed")
    line = json.loads(lines.getvalue())
    assert "ZeroDivisionError: by nought" in line["exception"]
