"""The worker: JSON only, late acknowledgement, a unit of work for each task; and its tasks run for real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from fastapi import FastAPI
from kombu.exceptions import ContentDisallowed
from kombu.serialization import dumps, loads
from sqlalchemy import func, select

from backend import worker
from backend.accounts.tasks import forget_expired
from backend.models.accounts import AuthSession, SignInNonce
from backend.settings import celery_broker
from tests.backend.conftest import Client, Clock


def test_a_unix_socket_is_named_as_kombu_names_it() -> None:
    assert celery_broker("unix:///a/redis.sock") == "redis+socket:///a/redis.sock"
    assert celery_broker("redis://host:6379/0") == "redis://host:6379/0"


def test_importing_the_worker_reads_no_settings() -> None:
    bare = {name: value for name, value in os.environ.items() if not name.startswith("TROUPE_")}
    subprocess.run([sys.executable, "-c", "import backend.worker"], env=bare, check=True)


_CONFIGURATION = """
import json
from backend.worker import celery
celery.loader.import_default_modules()
keys = ("task_acks_late", "task_reject_on_worker_lost", "worker_prefetch_multiplier", "accept_content",
        "task_serializer", "task_time_limit", "task_soft_time_limit", "broker_url")
print(json.dumps({
    "conf": {key: celery.conf[key] for key in keys},
    "visibility": celery.conf.broker_transport_options["visibility_timeout"],
    "tasks": [name for name in celery.tasks],
    "scheduled": [entry["task"] for entry in celery.conf.beat_schedule.values()],
}))
"""


@pytest.mark.slow
def test_the_worker_is_configured_by_the_rules_and_knows_every_scheduled_task(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _CONFIGURATION], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    said: dict[str, Any] = json.loads(done.stdout)
    conf = said["conf"]
    assert conf["task_acks_late"]
    assert conf["task_reject_on_worker_lost"]
    assert conf["worker_prefetch_multiplier"] == 1
    assert (conf["accept_content"], conf["task_serializer"]) == (["json"], "json")
    assert conf["task_soft_time_limit"] < conf["task_time_limit"] < said["visibility"]
    assert conf["broker_url"].startswith("redis+socket:///")
    assert set(said["scheduled"]) <= set(said["tasks"])


def test_H5_a_pickled_message_is_refused() -> None:
    kind, encoding, payload = dumps({"x": Path("/")}, serializer="pickle")
    with pytest.raises(ContentDisallowed):
        loads(payload, kind, encoding, accept=["json"])


def test_what_has_expired_is_forgotten_and_nothing_else(
    environment: dict[str, str], app: FastAPI, client: Client, alice: LocalAccount, clock: Clock
) -> None:
    client.post("/v1/auth/nonce", json={})
    client.as_(alice)
    database = app.state.core.database
    with database.session() as session:
        stale = session.scalars(select(AuthSession)).one()
        stale.expires_at = clock.now - timedelta(seconds=1)
        session.scalars(select(SignInNonce)).one().expires_at = clock.now - timedelta(seconds=1)
    client.post("/v1/auth/nonce", json={})
    living = client.as_(alice)
    worker.core.cache_clear()
    try:
        forget_expired()
    finally:
        worker.core().database.dispose()
        worker.core.cache_clear()
    with database.session() as session:
        assert session.scalar(select(func.count()).select_from(AuthSession)) == 1
        assert session.scalar(select(func.count()).select_from(SignInNonce)) == 1
    assert living.get("/v1/me").status_code == 200


def _write_and_fail(clock: Clock) -> None:
    with worker.task_session() as session:
        session.add(SignInNonce(nonce="left behind", expires_at=clock.now))
        session.flush()
        raise ZeroDivisionError


def test_a_task_that_fails_leaves_nothing_behind(environment: dict[str, str], app: FastAPI, clock: Clock) -> None:
    worker.core.cache_clear()
    try:
        with pytest.raises(ZeroDivisionError):
            _write_and_fail(clock)
    finally:
        worker.core().database.dispose()
        worker.core.cache_clear()
    with app.state.core.database.session() as session:
        assert session.scalars(select(SignInNonce)).all() == []
