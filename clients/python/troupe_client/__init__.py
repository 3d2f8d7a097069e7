"""A small typed client of the Troupe API for Python: httpx and eth-account, nothing else of ours.

    from eth_account import Account
    from troupe_client import Troupe

    troupe = Troupe("http://127.0.0.1:8000")
    troupe.sign_in(Account.from_key(key))
    for work in troupe.items("/v1/works"):
        print(work["work_id"], work["title"])
    for event in troupe.live("work:1"):
        print(event.type, event.data)

One client for one thread and one person.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import httpx
from eth_account.messages import SignableMessage, encode_defunct

__all__ = ["LiveEvent", "Troupe", "TroupeProblem", "idempotency_key"]

FIRST_WAIT_S = 2.0
LONGEST_WAIT_S = 60.0
TRY_AGAIN = frozenset({429, 503})


class TroupeProblem(Exception):
    """The API refused; `code` is stable (docs/errors.md), `problem` is all it said (RFC 9457)."""

    def __init__(self, response: httpx.Response) -> None:
        try:
            problem = response.json()
        except ValueError:
            problem = None
        self.problem: dict[str, Any] = problem if isinstance(problem, dict) else {}
        self.status = response.status_code
        self.code = str(self.problem.get("code", f"http_{self.status}"))
        self.detail = str(self.problem.get("detail", response.text[:200]))
        self.retry_after_s = _seconds(response.headers.get("retry-after"))
        super().__init__(
            f"{response.request.method} {response.request.url.path}: {self.status} {self.code} {self.detail}"
        )


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isdigit() else None


class _Signed(Protocol):
    @property
    def signature(self) -> Any: ...


class Wallet(Protocol):
    """What is needed of a wallet: eth-account's LocalAccount is one."""

    @property
    def address(self) -> Any: ...

    def sign_message(self, signable_message: SignableMessage) -> _Signed: ...


@dataclass(frozen=True)
class LiveEvent:
    """One event of GET /v1/live; docs/interface.md says what each type holds."""

    type: str
    data: dict[str, Any]
    id: str | None
    """The place to go on from."""


def idempotency_key(key: str | None = None) -> dict[str, str]:
    """A header that lets a request be sent again without being done again."""
    return {"Idempotency-Key": key or str(uuid.uuid4())}


class Troupe:
    """A client for one base URL. Closes its connections in `close` or at the end of a `with`."""

    def __init__(
        self,
        base_url: str,
        *,
        token: str | None = None,
        client: httpx.Client | None = None,
        patience_s: float = 0.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`token`: a session's or an API key. `patience_s`: how long 429 and 503 are asked again before they raise."""
        self._http = client or httpx.Client(base_url=base_url.rstrip("/"), timeout=60.0)
        self._sleep = sleep
        self.patience_s = patience_s
        self.token = token

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _headers(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        mine = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return {**mine, **(more or {})}

    def request(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **options: Any) -> Any:
        """Ask; the JSON that was answered, None for nothing. Raises TroupeProblem, httpx.TransportError."""
        waited = 0.0
        while True:
            response = self._http.request(method, path, headers=self._headers(headers), **options)
            if not response.is_error:
                return response.json() if response.content else None
            problem = TroupeProblem(response)
            wait = problem.retry_after_s or 1.0
            if problem.status not in TRY_AGAIN or waited + wait > self.patience_s:
                raise problem
            self._sleep(wait)
            waited += wait

    def get(self, path: str, **params: Any) -> Any:
        """GET with query parameters; those that are None are left out."""
        return self.request("GET", path, params={name: value for name, value in params.items() if value is not None})

    def post(self, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None) -> Any:
        """POST a JSON body."""
        return self.request("POST", path, headers=headers, **({} if body is None else {"json": body}))

    def put(self, path: str, body: Any, *, headers: Mapping[str, str] | None = None) -> Any:
        """PUT a JSON body."""
        return self.request("PUT", path, headers=headers, json=body)

    def items(self, path: str, **params: Any) -> Iterator[dict[str, Any]]:
        """All items of a list, page by page as they are taken. `cursor_void` is raised after a reorganisation."""
        cursor: str | None = None
        while True:
            page = self.get(path, **params, cursor=cursor)
            yield from page["items"]
            cursor = page.get("next")
            if cursor is None:
                return

    def sign_in(self, wallet: Wallet) -> str:
        """Sign in with Ethereum (EIP-4361): the server writes the message, the wallet signs it. Returns the token."""
        message = self.post("/v1/auth/nonce", {"address": wallet.address})["message"]
        signature = bytes(wallet.sign_message(encode_defunct(text=message)).signature).hex()
        answer = self.post("/v1/auth/verify", {"message": message, "signature": "0x" + signature})
        self.token = str(answer["token"])
        return self.token

    def live(self, *topics: str, last_event_id: str | None = None) -> Iterator[LiveEvent]:
        """What happens, as it happens; a stream that breaks goes on from the last event. Leave the loop to end it.

        After `undo` forget what was told of its first block and above, after `reset` read anew. Raises TroupeProblem
        where trying again would not mend it.
        """
        last, wait, failures = last_event_id, FIRST_WAIT_S, 0
        while True:
            try:
                for fields in self._stream(topics, last):
                    failures = 0
                    wait = int(fields["retry"]) / 1000 if fields.get("retry", "").isdigit() else wait
                    if "data" in fields:
                        yield LiveEvent(fields.get("event", "message"), json.loads(fields["data"]), fields.get("id"))
                    last = fields.get("id", last)
            except httpx.TransportError:
                failures += 1
            except TroupeProblem as problem:
                if problem.status < 500 and problem.status not in TRY_AGAIN:
                    raise
                failures += 1
                wait = max(wait, problem.retry_after_s or 0.0)
            self._sleep(min(wait * 2 ** min(failures, 5), LONGEST_WAIT_S))

    def _stream(self, topics: tuple[str, ...], last: str | None) -> Iterator[dict[str, str]]:
        headers = self._headers({"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {}))
        with self._http.stream("GET", "/v1/live", params={"topic": list(topics)}, headers=headers) as response:
            if response.is_error:
                response.read()
                raise TroupeProblem(response)
            fields: dict[str, str] = {}
            for line in response.iter_lines():
                name, _, value = line.partition(":")
                if not line:
                    if fields:
                        yield fields
                    fields = {}
                elif name == "data" and "data" in fields:
                    fields["data"] += "\n" + value.removeprefix(" ")
                elif name:  # a line that begins with a colon keeps the connection open
                    fields[name] = value.removeprefix(" ")
