"""A person with something of everything, and the means of a worker in the test's own process."""

from __future__ import annotations

import io
import json
import os
import signal
import uuid
import zipfile
from collections.abc import Callable
from datetime import datetime
from typing import Any

from eth_account.signers.local import LocalAccount
from fastapi import FastAPI

from backend.consent import erasure, export
from backend.consent.tasks import means, workshop
from backend.deps import Core
from tests.backend.conftest import Client, allow
from tests.backend.works.uploads import upload
from tests.factories import Mirror

FILM = b"The film that nobody has seen. " * 3_000


def core_of(client: Client) -> Core:
    app = client.app
    assert isinstance(app, FastAPI)
    core: Core = app.state.core
    return core


def lively(
    client: Client, mirror: Mirror, person: LocalAccount, *, title: str = "=HYPERLINK(1)", works: int = 3
) -> Client:
    """The person signed in, with consents, events, a draft, and works on chain."""
    mirror.block(1)
    for work_id in range(1, works + 1):
        mirror.work(work_id, owner=person, block=1)
    me = client.as_(person)
    allow(me, "behaviour", "content_taste")
    me.put("/v1/consents/research", json={"granted": False})
    me.put("/v1/me/personalization", json={"enabled": True})
    like(me, *range(1, works + 1))
    assert upload(me, FILM, title=title).status_code == 201
    return me


def like(me: Client, *works: int, at: str = "2026-11-21T20:00:00Z") -> None:
    events = [{"id": str(uuid.uuid4()), "kind": "like", "work_id": work, "at": at} for work in works]
    answer = me.post("/v1/engagement", json={"events": events}).json()
    assert answer["counted_as"] == "person", answer


def send(me: Client, at: datetime, kind: str, *works: int, **more: Any) -> None:
    """What the person did, one event a work."""
    events = [{"id": str(uuid.uuid4()), "kind": kind, "work_id": w, "at": at.isoformat(), **more} for w in works]
    answer = me.post("/v1/engagement", json={"events": events}).json()
    assert answer["accepted"] == len(works), answer


def make(client: Client, me: Client, at: export.At = export.nothing) -> dict[str, Any]:
    """Ask for an export and let the worker make it; how it stands then."""
    asked = me.post("/v1/me/exports")
    assert asked.status_code == 202, asked.text
    core = core_of(client)
    export.run(workshop(core), uuid.UUID(asked.json()["id"]), now=core.clock(), at=at)
    stands: dict[str, Any] = me.get(f"/v1/me/exports/{asked.json()['id']}").json()
    return stands


def taken(me: Client, export_: dict[str, Any]) -> zipfile.ZipFile:
    answer = me.get(export_["download"])
    assert answer.status_code == 200, answer.text
    return zipfile.ZipFile(io.BytesIO(answer.content))


def lines(archive: zipfile.ZipFile, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in archive.read(f"{name}.jsonl").splitlines()]


def erase(client: Client, me: Client, at: Callable[[str], None] = export.nothing) -> dict[str, Any]:
    """Ask for an erasure and let the worker do it; its receipt."""
    asked = me.post("/v1/me/erasure", json={"confirm": "erase"})
    assert asked.status_code == 202, asked.text
    finish(client, asked.json()["id"], at)
    receipt: dict[str, Any] = client.get(f"/v1/erasures/{asked.json()['id']}").json()
    return receipt


def finish(client: Client, erasure_id: str, at: Callable[[str], None] = export.nothing) -> None:
    core = core_of(client)
    erasure.advance(means(core), uuid.UUID(erasure_id), now=core.clock(), at=at)


def killed(core: Core, work: Callable[[Core, Callable[[str], None]], object], point: str, *, nth: int = 1) -> None:
    """Do the work in a process of its own that is killed with SIGKILL at a labelled point."""
    child = os.fork()
    if child == 0:
        left = nth

        def at(reached: str) -> None:
            nonlocal left
            left -= reached == point
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        own = Core(core.settings, core.clock)
        try:
            work(own, at)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"{point} was not reached"
