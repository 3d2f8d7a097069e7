"""What nodes answer is sorted into the few reasons the sender acts on, and never trusted for its shape."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import pytest

from backend.node import Node, NodeRefused, NodeUnreachable, refusal
from backend.sender.keys import OperatorKey
from stack.anvil import CHAIN_ID, Anvil
from tests.backend.sender.chain import ETHER, Chain, operator


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("already known", "known"),
        ("ALREADY_EXISTS: already known", "known"),
        ("transaction already imported", "known"),
        ("nonce too low: next nonce 5, tx nonce 4", "nonce_too_low"),
        ("insufficient funds for gas * price + value: balance 0", "insufficient_funds"),
        ("replacement transaction underpriced", "underpriced"),
        ("max fee per gas less than block base fee", "underpriced"),
        ("intrinsic gas too low", "other"),
    ],
)
def test_the_words_of_nodes(message: str, reason: str) -> None:
    assert refusal(message).reason == reason


def test_anvils_own_words(anvil: Anvil) -> None:
    key = OperatorKey(operator(), CHAIN_ID)

    def send(nonce: int, value: int, fee: int) -> str | None:
        signed = key.sign(nonce=nonce, to=b"\x01" * 20, value=value, data=b"", gas=21_000, max_fee=fee, priority=fee)
        refused = node.send(signed.raw)
        return refused.reason if refused else None

    with Node(anvil.url) as node:
        chain = Chain(node, anvil.url)
        chain.fund(key.address, 1_000 * ETHER)
        chain.automine(False)
        assert send(0, 1, 10**9) is None
        assert send(0, 1, 10**9) == "known"
        assert send(0, 2, 10**9) == "underpriced"
        assert send(1, 10**30, 10**9) == "insufficient_funds"
        chain.mine()
        assert send(0, 3, 10**9) == "nonce_too_low"
        node.ask("anvil_setNextBlockBaseFeePerGas", hex(10**10))
        chain.mine()
        assert send(1, 1, 10**9) == "underpriced"


class Liar(BaseHTTPRequestHandler):
    """Answers every question with what the test wrote down."""

    answer: ClassVar[Any] = None

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = self.answer if isinstance(self.answer, bytes) else json.dumps({"id": asked["id"]} | self.answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def liar() -> Iterator[Node]:
    server = HTTPServer(("127.0.0.1", 0), Liar)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with Node(f"http://127.0.0.1:{server.server_port}") as node:
        yield node
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"[]",
        {"id": 99, "result": "0x1"},
        {},
        {"result": None},
        {"result": 5},
        {"result": "12"},
        {"result": "0xzz"},
        {"result": {"number": "0x1"}},
    ],
)
def test_an_answer_of_the_wrong_shape_is_no_answer(liar: Node, answer: Any) -> None:
    Liar.answer = answer
    with pytest.raises(NodeUnreachable):
        liar.chain_id()


def test_a_receipt_of_the_wrong_shape_is_no_answer(liar: Node) -> None:
    Liar.answer = {"result": {"blockHash": "0x01", "transactionHash": "0x" + "00" * 31, "status": "0x1"}}
    with pytest.raises(NodeUnreachable):
        liar.receipt(b"\0" * 32)


@pytest.mark.parametrize("error", ["words", {"message": "words"}, {"code": 3, "message": "words", "data": {"data": 1}}])
def test_a_refusal_keeps_the_nodes_words(liar: Node, error: Any) -> None:
    Liar.answer = {"error": error}
    with pytest.raises(NodeRefused, match="words") as refused:
        liar.block()
    assert refused.value.data is None
