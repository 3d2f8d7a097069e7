"""The API's speed beside a bare FastAPI handler on the same kind of server, and a sign-in beside its floor.

    python -m bench.api [--seconds 2] [--rounds 7] [--connections 16] [--sign-ins 60]

A stack of its own is started on free ports. Every round asks, one after the other and for the same time, the bare
handler (uvicorn, one process, an answer of the same size) and GET /v1/me of a person who is signed in; the ratio is
the median of the rounds' own ratios, so that a machine that is busy for a while moves both. A sign-in
(POST /v1/auth/verify) is compared with one recovery of a public key and one committed insert, measured between.

Prints one JSON object a line: bench, metric, value, unit, reference (what `ratio` is against), ratio.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import httpx
import psycopg
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount
from fastapi import FastAPI

from backend.accounts.siwe import recover
from backend.db import conninfo
from bench import _support
from stack.processes import HOST
from stack.supervisor import Ports, Settings, Stack

ROOT = Path(__file__).resolve().parent.parent
BARE_BODY = "TROUPE_BENCH_BODY"
QUOTAS = {f"{name}.{caller}": "1000000/60" for name in ("read", "sign_in") for caller in ("address", "person")}
"""What is measured is the work of a request, not its refusal."""


def bare() -> FastAPI:
    """An application with one handler that returns a fixed object, as FastAPI's first example does."""
    app = FastAPI()
    body = json.loads(os.environ[BARE_BODY])

    @app.get("/bare")
    async def get_bare() -> dict[str, object]:
        return body

    return app


figure = partial(_support.figure, "api")


class Connection(asyncio.Protocol):
    """One kept connection that asks the same thing again as soon as it is answered, and counts."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.answered = 0
        self.refused = 0
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        at = head.lower().index(b"content-length:") + 15
        length = int(head[at : at + 12].split(b"\r\n", 1)[0])
        if len(rest) < length:
            return
        self._buffer = b""
        self.answered += 1
        self.refused += not head.startswith(b"HTTP/1.1 200")
        self.transport.write(self.request)


async def drive(port: int, path: str, headers: dict[str, str], *, connections: int, seconds: float) -> float:
    """Requests a second that a server answers on so many connections. Raises SystemExit when it refuses some."""
    lines = [f"GET {path} HTTP/1.1", f"Host: {HOST}:{port}", *(f"{name}: {value}" for name, value in headers.items())]
    request = "\r\n".join([*lines, "", ""]).encode()
    loop = asyncio.get_running_loop()
    opened = [await loop.create_connection(lambda: Connection(request), HOST, port) for _ in range(connections)]
    began = time.perf_counter()
    await asyncio.sleep(seconds)
    answered = sum(connection.answered for _, connection in opened)
    taken = time.perf_counter() - began
    for transport, _ in opened:
        transport.abort()
    if refused := sum(connection.refused for _, connection in opened):
        raise SystemExit(f"{refused} of {answered} requests of {path} were not answered 200")
    return answered / taken


def sign_in(client: httpx.Client, person: LocalAccount) -> tuple[str, float, str, str]:
    """Sign in; the token, the seconds that the verification took, the message and its signature."""
    message: str = client.post("/v1/auth/nonce", json={"address": person.address}).json()["message"]
    signature = "0x" + person.sign_message(encode_defunct(text=message)).signature.hex().removeprefix("0x")
    began = time.perf_counter()
    answer = client.post("/v1/auth/verify", json={"message": message, "signature": signature})
    taken = time.perf_counter() - began
    answer.raise_for_status()
    return answer.json()["token"], taken, message, signature


def least(connection: psycopg.Connection[object], message: str, signature: str) -> float:
    """Seconds of what no sign-in can do without: one recovery of a key, one insert that is committed."""
    began = time.perf_counter()
    recover(message, bytes.fromhex(signature[2:]))
    with connection.transaction():
        connection.execute("INSERT INTO bench_session (token) VALUES (%s)", (signature,))
    return time.perf_counter() - began


def measure_sign_in(settings: Settings, person: LocalAccount, count: int) -> str:
    """Compare a sign-in with its floor, in turns; returns a token."""
    ours, floor = [], []
    with (
        httpx.Client(base_url=settings.api_url, trust_env=False) as client,
        psycopg.connect(conninfo(settings.database.admin), autocommit=True) as connection,
    ):
        connection.execute("CREATE TABLE bench_session (id bigserial PRIMARY KEY, token text UNIQUE)")
        for _ in range(count):
            token, taken, message, signature = sign_in(client, person)
            client.cookies.clear()
            ours.append(taken * 1000)
            floor.append(least(connection, message, signature) * 1000)
    reference = statistics.median(floor)
    figure("recovery_and_insert_p50", reference, "ms")
    found = statistics.median(ours)
    figure("sign_in_verify_p50", found, "ms", "recovery_and_insert_p50", found / reference)
    return token


def measure_reads(settings: Settings, token: str, folder: Path, options: argparse.Namespace) -> None:
    """Compare the cached read with the bare handler, in turns."""
    headers = {"Authorization": f"Bearer {token}"}
    body = httpx.get(f"{settings.api_url}/v1/me", headers=headers, trust_env=False).json()

    async def rounds(port: int) -> list[tuple[float, float]]:
        found = []
        for number in range(options.rounds + 1):
            common = {"connections": options.connections, "seconds": options.seconds if number else 1.0}
            floor = await drive(port, "/bare", headers, **common)
            ours = await drive(settings.ports.api, "/v1/me", headers, **common)
            found.append((floor, ours))
        return found[1:]  # the first one warms up

    with _support.bare_server(
        "bench.api:bare",
        {BARE_BODY: json.dumps(body)},
        path="/bare",
        log=folder / "bare.log",
        options=["--no-access-log"],
    ) as url:
        found = asyncio.run(rounds(httpx.URL(url).port))
    figure("bare_rate", statistics.median(floor for floor, _ in found), "requests/s")
    ratio = statistics.median(ours / floor for floor, ours in found)
    figure("cached_read_rate", statistics.median(ours for _, ours in found), "requests/s", "bare_rate", ratio)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each half of a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--sign-ins", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tb-") as name:
        folder = Path(name)
        stack = Stack(folder / "state", Ports.free(), extra={"TROUPE_RATE_LIMITS": json.dumps(QUOTAS)})
        with stack:
            token = measure_sign_in(stack.settings, Account.create(), options.sign_ins)
            measure_reads(stack.settings, token, folder, options)


if __name__ == "__main__":
    main()
