"""docs/interface.md: every exchange that it shows is sent, and answered as it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount

from tests.backend.conftest import Client, sign_in
from tests.factories import Mirror

pytestmark = pytest.mark.feature("Q6", via="http")

PAGE = Path(__file__).resolve().parents[3] / "docs" / "interface.md"
BLOCK = re.compile(r"^```http\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"<([a-z]+)>")


@dataclass
class Exchange:
    """A request as the page has it, and what it says of the answer."""

    line: str
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None
    status: int = 0
    expected: list[str] = field(default_factory=list)


def exchanges(text: str) -> Iterator[Exchange]:
    for block in BLOCK.findall(text):
        for part in block.strip().split("\n\n"):
            first, *rest = part.splitlines()
            made = Exchange(first)
            for line in rest:
                if line.startswith("→ "):
                    if made.status:
                        made.expected.append(line[2:])
                    else:
                        made.status = int(line[2:])
                elif line.startswith("{"):
                    made.body = line
                else:
                    name, _, value = line.partition(": ")
                    made.headers[name] = value
            yield made


def wrong(exchange: Exchange, answer: Any, known: dict[str, str]) -> list[str]:
    """What of the page does not hold; values that it names are noted in `known`."""
    found = [] if answer.status_code == exchange.status else [f"{exchange.line}: {answer.status_code} {answer.text}"]
    for line in exchange.expected:
        header, _, value = line.partition(": ")
        text, pattern = (answer.text, line) if line.startswith('"') else (answer.headers.get(header, ""), value)
        names = NAME.findall(pattern)
        match = re.search(NAME.sub("@", re.escape(pattern)).replace("@", r'([^,"]+|"[^"]+")'), text)
        if match is None:
            found.append(f"{exchange.line}: {line} is not in {text[:300]}")
        else:
            known.update(zip(names, match.groups(), strict=True))
    return found


def replay(client: Client, text: str, known: dict[str, str]) -> list[str]:
    def fill(value: str) -> str:
        return NAME.sub(lambda match: known[match[1]], value)

    found = []
    for exchange in exchanges(text):
        method, path = fill(exchange.line).split(" ")
        headers = {name: fill(value) for name, value in exchange.headers.items()}
        if exchange.body is not None:
            headers["Content-Type"] = "application/json"
        answer = client.request(method, path, headers=headers, content=exchange.body)
        found += wrong(exchange, answer, known)
    return found


def test_what_the_page_shows_is_what_is_answered(client: Client, alice: LocalAccount, mirror: Mirror) -> None:
    for number in (1, 2):
        mirror.block(number)
        mirror.work(number, owner=alice, block=number)
    known = {"token": sign_in(client, alice)["token"]}
    page = PAGE.read_text()
    assert sum(1 for _ in exchanges(page)) >= 12
    assert replay(client, page, known) == []


def test_an_example_that_is_wrong_is_found(client: Client) -> None:
    lies = '```http\nGET /health\n→ 201\n→ ETag: <tag>\n\nGET /health\n→ 200\n→ "status":"ill"\n```\n'
    assert len(replay(client, lies, {})) == 3
