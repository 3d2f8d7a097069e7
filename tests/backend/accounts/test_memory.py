"""Sessions are remembered for a few seconds, and an ended one ends at once all the same."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from eth_account.signers.local import LocalAccount
from fastapi import FastAPI
from fastapi.testclient import TestClient

from backend.accounts import service
from backend.accounts.memory import HEARD, TTL_S, SessionMemory, settle
from backend.accounts.service import Somebody
from backend.app import create_app
from backend.models.accounts import CHANNEL
from backend.settings import Settings
from stack.postgres import DatabaseUrls
from tests.backend.conftest import PUBLIC_URL, Client, Clock

ANYBODY = Somebody(uuid.uuid4(), uuid.uuid4())


def wait_for(condition: Callable[[], object]) -> None:
    ends = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < ends


def listening(app: FastAPI, client: Client, mine: Client) -> SessionMemory:
    """The application's memory, with `mine` in it."""
    memory: SessionMemory = app.state.core.sessions

    def remembered() -> bool:
        assert mine.get("/v1/me").status_code == 200
        return bool(memory._entries)

    wait_for(remembered)
    return memory


def unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, whoever asks the database whose token it is fails."""

    async def refuse(*_: object, **__: object) -> object:
        raise AssertionError("the database was asked")

    monkeypatch.setattr(service, "authenticate_async", refuse)


def test_a_read_of_a_remembered_person_asks_nothing(
    app: FastAPI, client: Client, alice: LocalAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = client.as_(alice)
    first = mine.get("/v1/me").json()
    listening(app, client, mine)
    unasked(monkeypatch)
    assert mine.get("/v1/me").json() == first
    assert first["address"] == alice.address


@pytest.mark.parametrize("how", ["signs out", "revokes", "expires"])
def test_an_ended_session_ends_at_once(
    *, app: FastAPI, client: Client, alice: LocalAccount, clock: Clock, how: str
) -> None:
    mine, other = client.as_(alice), client.as_(alice)
    listening(app, client, mine)
    if how == "signs out":
        assert mine.delete("/v1/auth/session").status_code == 204
    elif how == "revokes":
        mine_id = mine.get("/v1/auth/session").json()["id"]
        assert other.delete(f"/v1/auth/sessions/{mine_id}").status_code == 204
    else:
        clock.forward(days=400)
    assert mine.get("/v1/me").status_code == 401


def test_a_session_that_another_process_ends_is_heard_of(
    app: FastAPI, client: Client, alice: LocalAccount, clean_db: DatabaseUrls
) -> None:
    mine = client.as_(alice)
    listening(app, client, mine)
    with psycopg.connect(clean_db.conninfo()) as elsewhere:
        elsewhere.execute("DELETE FROM app.account")
    wait_for(lambda: mine.get("/v1/me").status_code == 401)


@contextmanager
def another_listener(clean_db: DatabaseUrls) -> Iterator[tuple[psycopg.Connection[Any], Callable[[], None]]]:
    """A process that listens, as its database sees it, and what it does once it has forgotten."""
    with psycopg.connect(clean_db.conninfo(), autocommit=True) as line:
        line.execute(f"LISTEN {CHANNEL}".encode())
        held = line.execute(
            "SELECT n, pg_advisory_lock_shared(%s + n) FROM (SELECT pg_current_xact_id()::text::bigint AS n) AS begun",
            (HEARD,),
        ).fetchone()
        assert held is not None
        yield line, lambda: line.execute("SELECT pg_advisory_unlock_shared(%s)", (HEARD + held[0],)) and None


def test_V11_a_session_is_ended_once_every_process_has_forgotten_it(
    client: Client, alice: LocalAccount, clean_db: DatabaseUrls
) -> None:
    mine = client.as_(alice)
    with another_listener(clean_db) as (line, forgotten), ThreadPoolExecutor(1) as pool:
        ending = pool.submit(mine.delete, "/v1/auth/session")
        told = [note.payload for note in line.notifies(timeout=20, stop_after=2)]
        assert not ending.done()  # the trigger's word and the question are out, and this one has not answered
        forgotten()
        assert ending.result(20).status_code == 204
    assert sorted(told)[0] == ""
    assert int(sorted(told)[1]) > 0


def test_who_never_hears_is_waited_for_as_long_as_it_may_remember(clean_db: DatabaseUrls) -> None:
    with another_listener(clean_db) as (_, forgotten), psycopg.connect(clean_db.conninfo()) as changing:
        assert not settle(changing, patience_s=0.01)
        forgotten()
        assert settle(changing)


def test_two_processes_forget_before_the_answer(settings: Settings, client: Client, alice: LocalAccount) -> None:
    second = create_app(settings, clock=client.app.state.core.clock)  # type: ignore[attr-defined]
    with TestClient(second, base_url=PUBLIC_URL) as elsewhere:
        memory: SessionMemory = second.state.core.sessions
        for _ in range(3):
            mine = client.as_(alice)
            bearer = {"Authorization": mine.headers["authorization"]}

            def remembered(bearer: dict[str, str] = bearer) -> bool:
                assert elsewhere.get("/v1/me", headers=bearer).status_code == 200
                return bool(memory._entries)

            wait_for(remembered)
            assert mine.delete("/v1/auth/session").status_code == 204
            assert not memory._entries
            assert elsewhere.get("/v1/me", headers=bearer).status_code == 401


def test_without_the_line_to_the_database_nothing_is_remembered() -> None:
    memory = SessionMemory()
    now = Clock()()
    memory.put("token", ANYBODY, now + timedelta(days=1), asked=memory.ask())
    assert memory.get("token", now) is None


@pytest.fixture
def memory() -> SessionMemory:
    made = SessionMemory(clock=lambda: made.at)  # type: ignore[attr-defined]
    made.at = 0.0  # type: ignore[attr-defined]
    made.listening = True
    return made


def test_what_was_read_before_a_change_is_not_remembered_after_it(memory: SessionMemory) -> None:
    now = Clock()()
    before = memory.ask()
    memory.forget()  # the change, while the read was on its way
    memory.put("token", ANYBODY, now + timedelta(days=1), asked=before)
    assert memory.get("token", now) is None
    memory.put("token", ANYBODY, now + timedelta(days=1), asked=memory.ask())
    assert memory.get("token", now) is not None


def test_nobody_is_remembered_for_long_nor_past_the_sessions_end(memory: SessionMemory) -> None:
    now = Clock()()
    memory.put("token", ANYBODY, now + timedelta(seconds=1), asked=memory.ask())
    assert memory.get("token", now) is not None
    assert memory.get("token", now + timedelta(seconds=1)) is None
    asked = memory.ask()
    memory.at = TTL_S  # type: ignore[attr-defined]
    assert memory.get("token", now) is None
    memory.put("token", ANYBODY, now + timedelta(seconds=1), asked=asked)  # by a process that stood still meanwhile
    assert memory.get("token", now) is None


def test_the_oracle_finds_a_memory_that_does_not_forget(
    app: FastAPI, client: Client, alice: LocalAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = client.as_(alice)
    memory = listening(app, client, mine)
    stubborn: Callable[[], None] = lambda: None  # noqa: E731
    monkeypatch.setattr(memory, "forget", stubborn)
    assert mine.delete("/v1/auth/session").status_code == 204
    assert mine.get("/v1/me").status_code == 200
