"""docs/accounts.md: its requests are sent as they stand there, one after the other, to the application."""

from __future__ import annotations

import re
import shlex
import string
from pathlib import Path
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount

from backend.accounts.scopes import Scope
from tests.backend.accounts.test_visitors import visit
from tests.backend.conftest import PUBLIC_URL, Client, signature
from tests.factories import Mirror

pytestmark = pytest.mark.feature("C1", via="http")

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "accounts.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL) for line in block.splitlines()]
CAPTURED = re.compile(r"(\w+)=\$\((.*) \| jq -r (\S+)\)")


def curl(client: Client, command: str, known: dict[str, str], stdin: Any = None) -> Any:
    """Send what a curl command would send; the answer's JSON."""
    words = shlex.split(string.Template(command).safe_substitute({k: v for k, v in known.items() if k != "MESSAGE"}))
    assert words.pop(0) == "curl"
    method, url, headers, body = "GET", "", {}, None
    waiting = iter(words)
    for word in waiting:
        if word == "-X":
            method = next(waiting)
        elif word == "-H":
            name, _, value = next(waiting).partition(": ")
            headers[name] = value
        elif word == "-d":
            body, method = next(waiting), method if method != "GET" else "POST"
        elif word != "-s":
            url = word
    assert url.startswith(PUBLIC_URL), command
    sent = {"json": stdin} if body == "@-" else {"content": body}
    answer = client.request(method, url.removeprefix(PUBLIC_URL), headers=headers, **sent)
    assert answer.status_code < 400, (command, answer.text)
    client.cookies.clear()
    return answer.json() if answer.content else None


def test_the_requests_of_the_page_are_answered(client: Client, mirror: Mirror, alice: LocalAccount) -> None:
    mirror.block(1)
    known = {"TROUPE": PUBLIC_URL, "ADDRESS": alice.address, "OTHER": visit(client).headers["Authorization"][7:]}
    for command in COMMANDS:
        if command.startswith("SIGNATURE="):  # what the wallet does
            known["SIGNATURE"] = signature(alice, known["MESSAGE"])
            continue
        captured = CAPTURED.fullmatch(command)
        text, stdin = captured[2] if captured else command, None
        if text.startswith("jq "):
            text = text.rpartition(" | ")[2]
            stdin = {"message": known["MESSAGE"], "signature": known["SIGNATURE"]}
        answer = curl(client, text, known, stdin)
        if captured:
            for name in captured[3].strip(".").split("."):
                answer = answer[int(name)] if name.isdigit() else answer[name]
            known[captured[1]] = answer
    assert {"TOKEN", "VISITOR", "API_KEY", "KEY_ID", "NEW_KEY"} < set(known)
    assert known["NEW_KEY"] != known["API_KEY"]


def test_the_page_lists_every_scope() -> None:
    assert set(re.findall(r"^\| `(\w+:\w+)` \|", PAGE, flags=re.MULTILINE)) == set(Scope)
