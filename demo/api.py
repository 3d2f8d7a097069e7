"""The HTTP interface as a dApp uses it: sign in with a wallet, then ask. Every error is raised with what it says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
from eth_account.messages import encode_defunct

from demo.people import Person

T = TypeVar("T")
R = TypeVar("R")
WORKERS = 8


class ApiError(Exception):
    """The API answered with a problem; `problem` is all it said."""

    def __init__(self, request: str, response: httpx.Response) -> None:
        try:
            problem = response.json()
        except ValueError:
            problem = {}
        self.status = response.status_code
        self.code = str(problem.get("code", ""))
        self.problem = problem
        super().__init__(f"{request}: {response.status_code} {self.code} {problem.get('detail', response.text[:200])}")


@dataclass
class Api:
    """A client for one base URL; safe to share between threads, sessions are kept by address."""

    url: str
    chain_id: int
    patience_s: float = 60.0
    _local: threading.local = field(default_factory=threading.local)
    _tokens: dict[str, str] = field(default_factory=dict)

    @property
    def client(self) -> httpx.Client:
        """One keep-alive connection a thread."""
        if not hasattr(self._local, "client"):
            self._local.client = httpx.Client(base_url=self.url, timeout=60.0)
        client: httpx.Client = self._local.client
        return client

    def request(self, method: str, path: str, person: Person | None = None, **options: Any) -> Any:
        """Ask, as somebody or as nobody; waits while the API is away, signs in anew when the session is gone."""
        deadline = time.monotonic() + self.patience_s
        while True:
            headers = {"Authorization": f"Bearer {self.token(person)}"} if person else {}
            try:
                response = self.client.request(method, path, headers=headers, **options)
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
                continue
            if response.status_code == 401 and person and self._tokens.pop(person.address, None):
                continue
            if response.status_code in (429, 503) and time.monotonic() < deadline:
                time.sleep(float(response.headers.get("Retry-After", "0.5")))
                continue
            if response.is_error:
                raise ApiError(f"{method} {path}", response)
            return response.json() if response.content else None

    def get(self, path: str, person: Person | None = None, **params: Any) -> Any:
        return self.request("GET", path, person, params=params)

    def post(self, path: str, person: Person | None = None, **body: Any) -> Any:
        return self.request("POST", path, person, json=body)

    def put(self, path: str, person: Person | None = None, **body: Any) -> Any:
        return self.request("PUT", path, person, json=body)

    def token(self, person: Person) -> str:
        """The person's session, by Sign-In with Ethereum (EIP-4361) when there is none yet."""
        if person.address not in self._tokens:
            nonce = self.request("POST", "/v1/auth/nonce", json={})["nonce"]
            site = urlsplit(self.url)
            message = (
                f"{site.netloc} wants you to sign in with your Ethereum account:\n{person.address}\n\n"
                f"Sign in to Troupe.\n\nURI: {self.url}\nVersion: 1\nChain ID: {self.chain_id}\nNonce: {nonce}\n"
                f"Issued At: {datetime.now(UTC).strftime('%Y-%m-%dT%H:%M:%SZ')}"
            )
            signature = person.wallet.sign_message(encode_defunct(text=message)).signature.hex()
            answer = self.request(
                "POST",
                "/v1/auth/verify",
                json={"message": message, "signature": "0x" + signature.removeprefix("0x")},
            )
            self._tokens[person.address] = answer["token"]
        return self._tokens[person.address]

    def wait_for_block(self, number: int, hash_: str) -> None:
        """Wait until the mirror has seen this very block, or a later one."""
        deadline = time.monotonic() + self.patience_s
        while True:
            head = self.get("/v1/chain")["head"]
            if head is not None and (head["block"] > number or (head["block"], head["hash"]) == (number, hash_)):
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"the mirror has not seen block {number} within {self.patience_s:.0f} s")
            time.sleep(0.05)


def in_parallel(job: Callable[[T], R], items: list[T], tick: Callable[[], None] = lambda: None) -> list[R]:
    """Run a job for each item in a few threads; results in the items' order, the first error is raised."""

    def one(item: T) -> R:
        result = job(item)
        tick()
        return result

    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(one, items))
