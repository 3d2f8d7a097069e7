"""The API's speed beside a bare FastAPI handler on the same kind of server, a sign-in beside its floor, and an export.

    python -m bench.api [--seconds 2] [--rounds 7] [--connections 16] [--sign-ins 60] [--events 100000]

A stack of its own is started on free ports. Every round asks, one after the other and for the same time, bare handlers
(uvicorn, one process, an answer of the same size; `async def` and `def`), GET /v1/me of a person who is signed in (an
async route that answers from memory) and GET /v1/auth/session (a sync route that asks the database); the ratio is the
median of the rounds' own ratios, so that a machine that is busy for a while moves both.

A sign-in (POST /v1/auth/verify, of an account that is there and signed in here before, with a User-Agent, which is
sealed) is compared with a bare handler on the same kind of server that does one recovery of a public key and one
committed insert, with the same code, driver and durability; both are timed where the bytes leave and come in. The
same two things without any server are printed beside it (`recovery_and_insert_alone_p50`): what HTTP itself takes is
in the sign-in and not in that.

An export of a tenth of the events, then of all of them, is asked for, made by the worker, downloaded: rows a second,
and how far the resident memory of the worker and of the API rises above what it was, sampled all the while.

Prints one JSON object a line: bench, metric, value, unit, reference (what `ratio` is against), ratio. Ends with 1 where
a limit is missed: `cached_read_rate` at least 0.45 of the bare handler, `sign_in_verify_p50` at most twice its floor,
`export_memory` of all events at most 16 MiB more than of a tenth.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
import psycopg
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount
from fastapi import FastAPI
from pydantic import BaseModel

from backend.accounts.siwe import recover
from backend.db import conninfo
from bench import _support
from stack.processes import HOST
from stack.supervisor import Ports, Settings, Stack

ROOT = Path(__file__).resolve().parent.parent
BARE_BODY = "TROUPE_BENCH_BODY"
BARE_DATABASE = "TROUPE_BENCH_DATABASE"
LEAST: Final = "INSERT INTO bench_session (token) VALUES (%s)"
QUOTAS = {f"{name}.{caller}": "1000000/60" for name in ("read", "sign_in") for caller in ("address", "person")}
"""What is measured is the work of a request, not its refusal."""
LEAST_READ: Final = 0.45
MOST_SIGN_IN: Final = 2.0
WARM: Final = 10
"""Sign-ins before the first that counts: one makes the account and its key, a few more and statements are prepared."""
AGENT: Final = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
MOST_EXPORT_MIB: Final = 16.0
PATIENCE_S: Final = 300.0
JSON: Final = {"Content-Type": "application/json"}
EVENTS: Final = """
INSERT INTO app.engagement_event
    (person_id, event_id, work_id, kind, at, received_at, duration_ms, completion_bps, epoch, digest)
SELECT (SELECT DISTINCT person_id FROM app.consent_receipt), gen_random_uuid(), n %% 1000 + 1, 'like', now(), now(),
    0, 0, 1, sha256(n::text::bytea)
FROM generate_series(1, %s) AS n
"""


def bare() -> FastAPI:
    """An application with one handler that returns a fixed object, as FastAPI's first example does."""
    app = FastAPI()
    body = json.loads(os.environ[BARE_BODY])

    @app.get("/bare")
    async def get_bare() -> dict[str, object]:
        return body

    @app.get("/bare-sync")
    def get_bare_sync() -> dict[str, object]:
        return body

    connected: list[psycopg.AsyncConnection[Any]] = []

    @app.post("/least")
    async def post_least(sent: Signed) -> dict[str, str]:
        if not connected:
            connected.append(await psycopg.AsyncConnection.connect(os.environ[BARE_DATABASE], autocommit=True))
        address = recover(sent.message, bytes.fromhex(sent.signature[2:]))
        async with connected[0].transaction():
            await connected[0].execute(LEAST, (sent.signature,))
        return {"address": address}

    return app


class Signed(BaseModel):
    """What the bare handler takes of a sign-in."""

    message: str
    signature: str


figure = partial(_support.figure, "api")


@contextmanager
def bare_server(environment: dict[str, str], *, log: Path) -> Iterator[int]:
    """The bare handlers, served as the API is; yields their port."""
    options = ["--no-access-log"]
    with _support.bare_server("bench.api:bare", environment, path="/bare", log=log, options=options) as url:
        yield httpx.URL(url).port or 0


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


class Caller:
    """One kept connection. An answer takes from the first byte of its request to the last of its own."""

    def __init__(self, port: int, token: str | None = None, *, agent: str | None = None) -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=PATIENCE_S)
        self._headers = JSON | ({"Authorization": f"Bearer {token}"} if token else {})
        self._headers |= {"User-Agent": agent} if agent else {}

    def ask(self, method: str, path: str, **body: object) -> tuple[dict[str, Any], float]:
        """The answer, and the seconds that it took. Raises SystemExit for a refusal."""
        sent = json.dumps(body).encode() if body else None
        began = time.perf_counter()
        self._connection.request(method, path, sent, self._headers)
        answer = self._connection.getresponse()
        read = answer.read()
        taken = time.perf_counter() - began
        if answer.status >= 300:
            raise SystemExit(f"{method} {path}: {answer.status} {read.decode()[:500]}")
        return json.loads(read) if read else {}, taken

    def take(self, path: str) -> int:
        """Download, and forget; how many bytes."""
        self._connection.request("GET", path, headers=self._headers)
        answer = self._connection.getresponse()
        if answer.status != 200:
            raise SystemExit(f"GET {path}: {answer.status}")
        return sum(len(piece) for piece in iter(lambda: answer.read(65_536), b""))


def sign_in(caller: Caller, person: LocalAccount) -> tuple[str, float, str, str]:
    """Sign in; the token, the seconds that the verification took, the message and its signature."""
    message: str = caller.ask("POST", "/v1/auth/nonce", address=person.address)[0]["message"]
    signature = "0x" + person.sign_message(encode_defunct(text=message)).signature.hex().removeprefix("0x")
    answer, taken = caller.ask("POST", "/v1/auth/verify", message=message, signature=signature)
    return answer["token"], taken, message, signature


def least(connection: psycopg.Connection[object], message: str, signature: str) -> float:
    """Seconds of what no sign-in can do without: one recovery of a key, one insert that is committed."""
    began = time.perf_counter()
    recover(message, bytes.fromhex(signature[2:]))
    with connection.transaction():
        connection.execute(LEAST, (signature,))
    return time.perf_counter() - began


def measure_sign_in(settings: Settings, person: LocalAccount, folder: Path, count: int) -> tuple[str, float]:
    """Compare a sign-in with its floor, in turns; returns a token and the ratio."""
    ours, floor, alone = [], [], []
    database = conninfo(settings.database.admin)
    bare_settings = {BARE_BODY: "{}", BARE_DATABASE: database}
    with (
        psycopg.connect(database, autocommit=True) as connection,
        bare_server(bare_settings, log=folder / "least.log") as port,
    ):
        connection.execute("CREATE TABLE bench_session (id bigserial PRIMARY KEY, token text)")
        caller, bare_caller = Caller(settings.ports.api, agent=AGENT), Caller(port, agent=AGENT)
        for number in range(count + WARM):
            token, taken, message, signature = sign_in(caller, person)
            _, bare_taken = bare_caller.ask("POST", "/least", message=message, signature=signature)
            alone_taken = least(connection, message, signature)
            if number >= WARM:
                ours.append(taken * 1000)
                floor.append(bare_taken * 1000)
                alone.append(alone_taken * 1000)
    found, reference = statistics.median(ours), statistics.median(floor)
    figure("recovery_and_insert_alone_p50", statistics.median(alone), "ms")
    figure("recovery_and_insert_p50", reference, "ms")
    figure("sign_in_verify_p50", found, "ms", "recovery_and_insert_p50", found / reference)
    figure("sign_in_verify_p50", found, "ms", "recovery_and_insert_alone_p50", found / statistics.median(alone))
    return token, found / reference


def measure_reads(settings: Settings, token: str, folder: Path, options: argparse.Namespace) -> float:
    """Compare the cached read and a sync one with the bare handlers, in turns; returns the cached read's ratio."""
    headers = {"Authorization": f"Bearer {token}"}
    body = httpx.get(f"{settings.api_url}/v1/me", headers=headers, trust_env=False).json()
    asked = {"bare": "/bare", "cached_read": "/v1/me", "bare_sync": "/bare-sync", "sync_read": "/v1/auth/session"}

    async def rounds(bare_port: int) -> list[dict[str, float]]:
        found = []
        for number in range(options.rounds + 1):
            common = {"connections": options.connections, "seconds": options.seconds if number else 1.0}
            found.append(
                {
                    name: await drive(
                        bare_port if name.startswith("bare") else settings.ports.api, path, headers, **common
                    )
                    for name, path in asked.items()
                }
            )
        return found[1:]  # the first one warms up

    with bare_server({BARE_BODY: json.dumps(body)}, log=folder / "bare.log") as port:
        found = asyncio.run(rounds(port))
    ratios = {name: statistics.median(each[name] / each["bare"] for each in found) for name in asked}
    for name in asked:
        rate = statistics.median(each[name] for each in found)
        figure(f"{name}_rate", rate, "requests/s", *(() if name == "bare" else ("bare_rate", ratios[name])))
    return ratios["cached_read"]


def serving(settings: Settings) -> list[psutil.Process]:
    """The API's process and the worker's, with its children."""
    wanted = ("backend.app:create_app", "worker@troupe")
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # the database's own come and go
            if any(word in process.cmdline() for word in wanted):
                found.append(process)
    return found


@contextmanager
def risen(settings: Settings) -> Iterator[list[float]]:
    """How many MiB the resident memory of one of the processes has risen at most; in the list when the block ends."""
    before = {process: process.memory_info().rss for process in serving(settings)}
    ended = threading.Event()
    found: list[float] = []

    def watch() -> None:
        most = 0
        while not ended.wait(0.02):
            most = max(most, *(process.memory_info().rss - was for process, was in before.items()))
        found.append(most / 2**20)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def export(caller: Caller) -> tuple[float, float, int]:
    """Ask for an export, wait for it, take it; seconds that each took, and its rows. Raises SystemExit."""
    began = time.perf_counter()
    made = caller.ask("POST", "/v1/me/exports")[0]
    while made["state"] != "ready":
        if made["state"] == "failed" or time.perf_counter() - began > PATIENCE_S:
            raise SystemExit(f"the export was not made: {made}")
        time.sleep(0.05)
        made = caller.ask("GET", f"/v1/me/exports/{made['id']}")[0]
    ready = time.perf_counter()
    caller.take(made["download"])
    return ready - began, time.perf_counter() - ready, made["total"]


def measure_export(settings: Settings, token: str, events: int) -> float:
    """Export a tenth of the events, then all of them; returns how many MiB more the latter takes."""
    Caller(settings.ports.api, token).ask("PUT", "/v1/consents/behaviour", granted=True)
    few = events // 10
    found: dict[int, float] = {}
    for total, more in ((few, few), (events, events - few)):
        with psycopg.connect(conninfo(settings.database.admin), autocommit=True) as connection:
            connection.execute(EVENTS, (more,))
        with risen(settings) as memory:
            making, taking, rows = export(Caller(settings.ports.api, token))
        found[total] = memory[0]
        figure(f"export_made_{total}", rows / making, "rows/s")
        figure(f"export_sent_{total}", rows / taking, "rows/s")
    figure(f"export_memory_{few}", found[few], "MiB")
    figure(f"export_memory_{events}", found[events], "MiB", f"export_memory_{few}", found[events] / max(found[few], 1))
    return found[events] - found[few]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each part of a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--sign-ins", type=int, default=60)
    parser.add_argument("--events", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tb-") as name:
        folder = Path(name)
        stack = Stack(folder / "state", Ports.free(), extra={"TROUPE_RATE_LIMITS": json.dumps(QUOTAS)})
        with stack:
            token, sign_ins = measure_sign_in(stack.settings, Account.create(), folder, options.sign_ins)
            read = measure_reads(stack.settings, token, folder, options)
            memory = measure_export(stack.settings, token, options.events)
    missed = [
        *([f"the cached read is {read:.3f} of a bare handler, not {LEAST_READ}"] if read < LEAST_READ else []),
        *([f"a sign-in takes {sign_ins:.2f} times its floor, not {MOST_SIGN_IN}"] if sign_ins > MOST_SIGN_IN else []),
        *([f"an export of more rows takes {memory:.1f} MiB more"] if memory > MOST_EXPORT_MIB else []),
    ]
    for miss in missed:
        print(f"missed: {miss}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
