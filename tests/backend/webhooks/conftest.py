"""A receiver of webhooks on a free port of this machine, and the mirror's outbox as the indexer writes it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from fastapi import FastAPI
from sqlalchemy import delete, func, insert, select
from standardwebhooks import Webhook

from backend.settings import Settings
from backend.webhooks import feed
from backend.webhooks.delivery import Sender
from backend.webhooks.transport import Transport
from indexer import models as chain
from stack.postgres import DatabaseUrls
from tests.backend.conftest import CHAIN_ID, Client, Clock
from tests.backend.mirror import MirrorWriter


@dataclass
class Received:
    """One request that came."""

    path: str
    headers: dict[str, str]
    text: str

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.text)
        return found

    def verify(self, secret: str) -> Any:
        """What the receiver's library makes of it; its clock is the delivery's."""
        return _Timeless(secret).verify(self.text, self.headers)


class _Timeless(Webhook):
    """The library without its look at this machine's clock: tests move time."""

    def _Webhook__verify_timestamp(self, header: str) -> Any:
        return datetime.fromtimestamp(float(header), UTC)


@dataclass
class Receiver:
    """Keeps what comes, and answers with the next of `answers`, or else 204."""

    url: str
    got: list[Received] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    location: str = "http://127.0.0.1:9/"
    during: Callable[[], None] = lambda: None

    @property
    def types(self) -> list[str]:
        return [each.body["type"] for each in self.got]

    @property
    def ids(self) -> list[str]:
        return [each.id for each in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["content-length"])).decode()
            made.got.append(Received(self.path, {name.lower(): value for name, value in self.headers.items()}, text))
            made.during()
            status = made.answers.pop(0) if made.answers else 204
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", made.location)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Receiver(f"http://127.0.0.1:{server.server_port}/hook")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class Told(MirrorWriter):
    """A mirror that writes its outbox too."""

    final: int = 0

    def say(self, **message: Any) -> None:
        with self._engine.begin() as connection:
            connection.execute(insert(chain.outbox).values(message=message))

    def block(self, *events: tuple[str, str, dict[str, Any]]) -> int:
        number = super().block(*events)
        self.say(
            kind="blocks",
            first=number,
            head=number,
            hash="0x" + self.hash_of(number).hex(),
            time=self.time,
            final=self.final,
            events=sorted({f"{contract}.{name}" for contract, name, _ in events}),
        )
        return number

    def finalise(self) -> None:
        super().finalise()
        self.final = self.height
        self.say(kind="final", final=self.height)

    def reorganise(self, depth: int, fork: str) -> None:
        super().reorganise(depth, fork)
        self.say(kind="undo", first=self.height + 1)

    def rebuild(self) -> None:
        """What `python -m indexer rebuild` does to the outbox."""
        with self._engine.begin() as connection:
            last = connection.scalar(select(func.max(chain.outbox.c.id)))
            connection.execute(delete(chain.outbox))
            connection.execute(insert(chain.outbox).values(id=last + 1, message={"kind": "rebuilt"}))
            connection.exec_driver_sql(f"ALTER TABLE chain.outbox ALTER COLUMN id RESTART WITH {last + 2}")

    def lose(self, messages: int) -> None:
        """The oldest messages are dropped, as from an outbox that is full."""
        with self._engine.begin() as connection:
            oldest = select(chain.outbox.c.id).order_by(chain.outbox.c.id).limit(messages)
            connection.execute(delete(chain.outbox).where(chain.outbox.c.id.in_(oldest)))

    def pay(self, work_id: int, amount: int) -> int:
        """A payment in a block of its own."""
        args = {"work_id": work_id, "token": bytes(20), "payer": b"\x07" * 20, "amount": amount, "fee": amount // 40}
        return self.block(("RevenueLedger", "PaymentReceived", args | {"kind": 1, "ref": bytes(32)}))


@dataclass
class Hooks:
    """The API as alice, the mirror, what tells and what sends; time stands still unless moved."""

    app: FastAPI
    client: Client
    mirror: Told
    sender: Sender
    clock: Clock

    def create(self, url: str, *types: str, **more: Any) -> dict[str, Any]:
        body = {"url": url, "types": list(types) or ["payment.received", "chain.reorganised"]} | more
        answer = self.client.post("/v1/webhooks", json=body)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def tell(self) -> int:
        with self.app.state.core.database.session() as session:
            return feed.tell(session, chain_id=CHAIN_ID, now=self.clock())

    def send(self) -> int:
        """Send all that is due now; the number of attempts."""
        attempts = 0
        while self.sender.step():
            attempts += 1
        return attempts

    def run(self) -> int:
        self.tell()
        return self.send()

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        answer = self.client.get(f"/v1/webhooks{path}", params=params)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def post(self, path: str, status: int = 202, **body: Any) -> dict[str, Any]:
        answer = self.client.post(f"/v1/webhooks{path}", json=body)
        assert answer.status_code == status, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def later(self, **delta: float) -> None:
        self.clock.now += timedelta(**delta)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"webhook_loopback": True})


@pytest.fixture
def hooks(app: FastAPI, client: Client, clean_db: DatabaseUrls, alice: LocalAccount, clock: Clock) -> Iterator[Hooks]:
    core = app.state.core
    made = Told(clean_db)
    sender = Sender(
        sessions=core.database.sessions,
        vault=core.vault,
        transport=Transport(loopback=True, timeout_s=5),
        now=clock,
        dice=lambda: 0.5,
    )
    yield Hooks(app, client.as_(alice), made, sender, clock)
    made.close()
