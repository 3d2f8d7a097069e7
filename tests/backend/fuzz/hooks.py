"""What schemathesis is told about this API: who asks, which things exist, and to count every case.

Loaded into its process by SCHEMATHESIS_HOOKS; TROUPE_FUZZ names a JSON file with the base URL, the wallet that is
signed in (null: nobody), and values that are known to lead somewhere, by parameter name.
"""

from __future__ import annotations

import atexit
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import schemathesis
from eth_account import Account
from eth_account.messages import encode_defunct
from hypothesis import strategies as st

GIVEN = json.loads(Path(os.environ["TROUPE_FUZZ"]).read_text())
KNOWN: dict[str, list[Any]] = GIVEN["known"]
counted: dict[str, Counter[str]] = {}


def token(wallet: Any) -> str:
    """A new session of a wallet."""
    with httpx.Client(base_url=GIVEN["url"], timeout=30) as client:
        message = client.post("/v1/auth/nonce", json={"address": wallet.address}).json()["message"]
        signature = "0x" + wallet.sign_message(encode_defunct(text=message)).signature.hex().removeprefix("0x")
        answer = client.post("/v1/auth/verify", json={"message": message, "signature": signature})
        answer.raise_for_status()
        return str(answer.json()["token"])


person = Account.from_key(GIVEN["key"]) if GIVEN["key"] else None
session = token(person) if person else None


def _mixed(container: dict[str, Any], places: list[float]) -> dict[str, Any]:
    """The generated values, with about half of those that name something replaced by something that exists."""
    changed = dict(container)
    for place, name in zip(places, sorted(container), strict=False):
        if (values := KNOWN.get(name)) and place < 0.5:
            changed[name] = values[int(place * 2 * len(values))]
    return changed


PLACES = st.lists(st.floats(0, 1, exclude_max=True), min_size=4, max_size=4)


@schemathesis.hook
def flatmap_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> st.SearchStrategy[Any]:
    if not path_parameters:
        return st.just(path_parameters)
    return PLACES.map(lambda places: _mixed(path_parameters, places))


@schemathesis.hook
def flatmap_body(context: Any, body: Any) -> st.SearchStrategy[Any]:
    if not isinstance(body, dict):
        return st.just(body)
    return PLACES.map(lambda places: _mixed(body, places))


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Ask as somebody who is signed in; what ends a session or a person gets one of its own."""
    if session is None:
        return
    ends = case.operation.definition.raw.get("operationId") in ("sign_out", "erase_me")
    mine = token(Account.create()) if ends else session
    case.headers = {**(case.headers or {}), "Authorization": f"Bearer {mine}"}


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """Count; and sign in anew where the case before ended our session by its id."""
    global session  # noqa: PLW0603 - one process of schemathesis, one session
    counted.setdefault(case.operation.label, Counter())[str(response.status_code)] += 1
    if session and response.status_code == 401 and b"session_unknown" in response.content:
        session = token(person)


@atexit.register
def _write() -> None:
    Path(GIVEN["counted"]).write_text(json.dumps(counted))
