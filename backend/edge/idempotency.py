"""`Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a request that is sent again has its effect once.

It holds for every POST, PUT, PATCH and DELETE below /v1/ but those that hand out sessions. The route's work and the
note of its answer are one transaction, so there is no moment at which one is there without the other. An advisory lock
of that transaction keeps a second request with the key out while the first one runs (409); it ends with the
transaction, so a process that dies lets go of it at once, and one that stands still when PostgreSQL ends its idle
transaction.

A person's answers are sealed with the person's key; answers that hold a secret are never kept, only that they were
given. Keys are kept as hashes, for a day.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from anyio import to_thread
from sqlalchemy import delete, func, select, text
from sqlalchemy.exc import IntegrityError, OperationalError, TimeoutError
from sqlalchemy.orm import Session
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.accounts.keys import KeyHolder
from backend.deps import Core, identify
from backend.edge.boundary import Malformed
from backend.edge.quotas import SAFE_METHODS
from backend.errors import AppError, Conflict, Invalid, Unavailable
from backend.models.idempotency import IdempotentAnswer
from backend.vault.vault import Erased, place

KEPT: Final = timedelta(hours=24)
NOT_FOR: Final = re.compile(r"/v1/(auth/|visitors$)")
"""Their answers are sessions. A nonce is good for one sign-in anyway, and a visitor's token names the visitor."""
KEY: Final = re.compile(r'"([\x20-\x21\x23-\x5b\x5d-\x7e]{1,255})"|([\x21\x23-\x5b\x5d-\x7e]{1,255})')
"""A string of RFC 8941, as the draft has it; without the quotes too, as everybody sends it."""
PASSING: Final = frozenset({401, 408, 425, 429})
"""Answers that say nothing about the request itself: they are not kept, and neither is any from 500 on."""
KEPT_HEADERS: Final = ("content-type", "location", "etag", "content-language", "link")
IDLE_LIMIT_S: Final = 120
"""A process that stands still in the middle is cut off by PostgreSQL after so long."""


def parse_key(values: list[str]) -> str | None:
    """The key of a request's headers; None without one. Raises Malformed."""
    if not values:
        return None
    match = KEY.fullmatch(values[0].strip())
    if match is None or len(values) > 1:
        raise Malformed(
            "Idempotency-Key must be one string of 1 to 255 printable ASCII characters, such as a UUID.",
            "idempotency_key_malformed",
        )
    return match[1] or match[2]


class Fingerprint:
    """What a key is used for: method, address and body, hashed as the body comes in.

    The delimiter of a multipart body is chosen anew at each sending, so it is left out.
    """

    def __init__(self, secret: bytes | None, scope: Scope, headers: Headers) -> None:
        self._mac = hmac.new(secret or b"nobody", digestmod=hashlib.sha256)
        kind = headers.get("content-type", "")
        delimiter = re.search(r'boundary="?([^";\s]+)', kind) if kind.startswith("multipart/") else None
        self._delimiter = delimiter[1].encode() if delimiter else None
        self._rest = b""
        self.complete = False
        for part in (scope["method"], scope["path"], scope["query_string"].decode("latin-1"), kind.partition(";")[0]):
            self._mac.update(len(part).to_bytes(4) + part.encode())

    def add(self, message: Message) -> None:
        """Take in a message of the body."""
        data = self._rest + message.get("body", b"")
        self.complete = not message.get("more_body", False)
        if self._delimiter is not None:
            data = data.replace(self._delimiter, b"")
            keep = 0 if self.complete else min(len(data), len(self._delimiter) - 1)
            data, self._rest = data[: len(data) - keep], data[len(data) - keep :]
        self._mac.update(data)

    def digest(self) -> bytes:
        return self._mac.digest()


class Replay(Exception):
    """The request was answered before; here is the answer. Leaves the route before it did anything."""

    def __init__(self, answer: Response) -> None:
        super().__init__()
        self.answer = answer


def _in_flight() -> Conflict:
    error = Conflict(
        "A request with this Idempotency-Key is being worked on; ask again for its answer.",
        code="idempotency_in_flight",
        title="Still in work",
    )
    error.headers["Retry-After"] = "1"
    return error


class Unit:
    """One request with a key: its transaction, from the lock to the note of the answer. For one thread at a time."""

    def __init__(
        self, core: Core, account_id: uuid.UUID | None, key: str, *, fingerprint: Fingerprint, secret: bytes | None
    ) -> None:
        self._core = core
        self._account_id = account_id
        self._key_hash = hmac.new(secret or b"nobody", key.encode(), hashlib.sha256).digest()
        self._fingerprint = fingerprint
        self._session: Session | None = None
        self._holds = False
        self.refused = False
        """The key is not this request's: nothing of its answer is kept."""

    @contextmanager
    def work(self) -> Iterator[Session]:
        """The transaction, for what the route does: undone if an exception leaves it. Raises as `begin`."""
        session = self.begin()
        with session.begin_nested():
            yield session

    def begin(self) -> Session:
        """Take the key, once. Raises Replay; Conflict `idempotency_in_flight`; Invalid `idempotency_key_reused`."""
        if self._session is None:
            self._session = self._core.database.sessions()
        if not self._holds:
            try:
                self._take(self._session)
            except AppError:
                self.refused = True
                raise
            self._holds = True
        return self._session

    def _take(self, session: Session) -> None:
        session.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_LIMIT_S}s'"))
        lock = hashlib.sha256(str(self._account_id).encode() + self._key_hash).digest()[:8]
        if not session.scalar(select(func.pg_try_advisory_xact_lock(int.from_bytes(lock, signed=True)))):
            raise _in_flight()
        mine = (
            IdempotentAnswer.account_id.is_not_distinct_from(self._account_id),
            IdempotentAnswer.key_hash == self._key_hash,
        )
        now = self._core.clock()
        session.execute(delete(IdempotentAnswer).where(*mine, IdempotentAnswer.expires_at <= now))
        if (found := session.scalar(select(IdempotentAnswer).where(*mine))) is not None:
            raise Replay(self._recall(found))

    def _recall(self, row: IdempotentAnswer) -> Response:
        if not hmac.compare_digest(row.fingerprint, self._fingerprint.digest()):
            raise Invalid(
                "This Idempotency-Key was used for another request; make a new key for each thing to be done.",
                code="idempotency_key_reused",
                title="Key used for another request",
            )
        body = row.body
        if row.sealed_body is not None and row.account_id is not None:
            at = place(IdempotentAnswer.sealed_body, row.id)
            body = self._core.vault.unseal(row.account_id, row.sealed_body, at)
        if body is None:
            raise Conflict(
                "This was done, and its answer is not kept because it held a secret; undo it and begin anew if you"
                " never got the answer.",
                code="idempotency_answer_not_kept",
                title="Done before",
                first_status=row.status,
            )
        return Response(body, row.status, headers={**row.headers, "Idempotency-Replayed": "true"})

    def finish(self, status: int, headers: Headers, body: bytes, *, keep_body: bool) -> None:
        """Note the answer and commit it with the work."""
        session = self.begin()
        row = IdempotentAnswer(
            id=uuid.uuid4(),
            account_id=self._account_id,
            key_hash=self._key_hash,
            fingerprint=self._fingerprint.digest(),
            status=status,
            headers={name: headers[name] for name in KEPT_HEADERS if name in headers},
            expires_at=self._core.clock() + KEPT,
        )
        try:
            if keep_body and self._account_id is None:
                row.body = body
            elif keep_body and self._account_id is not None:
                at = place(IdempotentAnswer.sealed_body, row.id)
                row.sealed_body = self._core.vault.seal(self._account_id, body, at)
            with session.begin_nested():
                session.add(row)
        except (Erased, IntegrityError):
            pass  # the request was to erase the person: with them goes what is kept for them
        session.commit()

    def close(self) -> None:
        """Undo what was not finished, and let go of the key."""
        if self._session is not None:
            self._session.close()


class Idempotency:
    """The ASGI middleware; see the module."""

    def __init__(self, app: ASGIApp, *, core: Core) -> None:
        self.app = app
        self.core = core

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = self._key(scope)
        if key is None:
            await self.app(scope, receive, send)
            return
        person = await identify(Request(scope), self.core)
        account_id = None if person is None else person.account_id
        secret = None if account_id is None else await to_thread.run_sync(self._secret, account_id)
        headers = Headers(scope=scope)
        fingerprint = Fingerprint(secret, scope, headers)
        if isinstance(person, KeyHolder):
            key = f"{person.key_id} {key}"  # what a key may do is not what its owner's session may do
        unit = Unit(self.core, account_id, key, fingerprint=fingerprint, secret=secret)
        try:
            await self._perform(unit, fingerprint, scope, receive, send)
        except Replay as replay:
            await replay.answer(scope, receive, send)
        except (OperationalError, TimeoutError) as error:
            raise Unavailable(
                "The database does not answer; send the request again with the same key.", code="database_unavailable"
            ) from error
        finally:
            await to_thread.run_sync(unit.close)

    def _key(self, scope: Scope) -> str | None:
        if scope["type"] != "http" or scope["method"] in SAFE_METHODS:
            return None
        if not scope["path"].startswith("/v1/") or NOT_FOR.match(scope["path"]):
            return None
        return parse_key(Headers(scope=scope).getlist("idempotency-key"))

    def _secret(self, account_id: uuid.UUID) -> bytes:
        self.core.vault.ensure(account_id)
        return self.core.vault.derive(account_id, "idempotency")

    async def _perform(self, unit: Unit, fingerprint: Fingerprint, scope: Scope, receive: Receive, send: Send) -> None:
        async def hashed() -> Message:
            message = await receive()
            if message["type"] == "http.request" and not fingerprint.complete:
                fingerprint.add(message)
            return message

        first = await hashed()
        if fingerprint.complete:  # else no connection is held while an upload comes in: the route takes the key then
            await to_thread.run_sync(unit.begin)
        scope["state"]["unit"] = unit
        answer: list[Message] = []

        async def hold(message: Message) -> None:
            answer.append(message)

        await self.app(scope, _once(first, hashed), hold)
        start = answer[0]
        status = start["status"]
        content = b"".join(message.get("body", b"") for message in answer[1:])
        if status < 400:
            await _drain(fingerprint, hashed)
        if fingerprint.complete and not unit.refused and status < 500 and status not in PASSING:
            keep = not scope["state"].get("secret_answer", False)
            done = Headers(raw=start["headers"])
            await to_thread.run_sync(lambda: unit.finish(status, done, content, keep_body=keep))
        for message in answer:
            await send(message)


def _once(message: Message, receive: Receive) -> Receive:
    """A receive that gives this message first."""
    waiting = [message]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


async def _drain(fingerprint: Fingerprint, receive: Receive) -> None:
    """Take in what a route left of the body."""
    while not fingerprint.complete:
        if (await receive())["type"] == "http.disconnect":
            return


def forget(session: Session, core: Core) -> int:
    """Delete the answers whose day is over; returns how many."""
    gone = session.execute(
        delete(IdempotentAnswer).where(IdempotentAnswer.expires_at <= core.clock()).returning(IdempotentAnswer.id)
    )
    return len(gone.all())
