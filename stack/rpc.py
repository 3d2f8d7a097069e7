"""The few JSON-RPC questions that the stack asks a node; the product has its own client."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy has no business on the loopback


class RpcError(Exception):
    """The node answered with an error."""


def call(url: str, method: str, *params: object, timeout_s: float = 10) -> Any:
    """Ask `url` for `method` and return the result. Raises RpcError for an error answer, OSError when unreachable."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with OPENER.open(request, timeout=timeout_s) as response:
            answer = json.load(response)
    except ValueError as error:
        raise OSError(f"{url} does not speak JSON-RPC") from error
    if "error" in answer:
        raise RpcError(f"{method}: {answer['error'].get('message', answer['error'])}")
    return answer.get("result")
