"""H5: a task that kills its worker is tried a few times and then parked; messages are small, and JSON alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from kombu.exceptions import ContentDisallowed, EncodeError
from kombu.serialization import dumps, loads
from redis import Redis
from sqlalchemy import func, select, update
from typer.testing import CliRunner

from backend import attempts, worker
from backend.cli import app
from backend.models.operations import TaskAttempt
from backend.telemetry import metrics

ran: list[tuple[Any, ...]] = []


class WorkerDied(BaseException):
    """Stands for SIGKILL: nothing of ours runs after it."""


@worker.celery.task(name="test.work")  # type: ignore[untyped-decorator]  # celery has no types
def work(*values: Any) -> None:
    ran.append(values)
    if values == ("fail",):
        raise ValueError("as told")


@pytest.fixture(autouse=True)
def _worker(environment: dict[str, str]) -> Iterator[None]:
    ran.clear()
    worker.core.cache_clear()
    for each in metrics.SHARED:
        each.take()
    yield
    worker.core().database.dispose()
    worker.core.cache_clear()


def noted() -> dict[str, int]:
    with worker.task_session() as session:
        return {row.task_id: row.attempts for row in session.scalars(select(TaskAttempt))}


def outcomes() -> dict[str, float]:
    (family,) = [family for family in metrics.shared(worker.core().redis) if family.name == "troupe_tasks"]
    return {sample.labels["outcome"]: sample.value for sample in family.samples}


def die(task_id: str) -> None:
    """A worker takes the task and is killed: it was begun and never ended."""
    with worker.task_session() as session:
        assert attempts.begin(session, task_id, "test.work", (("a",), {}))


@pytest.mark.parametrize(("value", "outcome"), [("a", "succeeded"), ("fail", "failed")])
def test_H5_a_task_that_ends_well_or_badly_leaves_no_note(value: str, outcome: str) -> None:
    work.apply(args=(value,), task_id="one")
    assert ran == [(value,)]
    assert noted() == {}
    assert outcomes() == {outcome: 1.0}


@pytest.mark.parametrize(("deaths", "runs"), [(0, 1), (1, 1), (attempts.LIMIT - 1, 1), (attempts.LIMIT, 0)])
def test_H5_a_task_is_parked_after_it_took_five_workers(deaths: int, runs: int) -> None:
    for _ in range(deaths):
        die("poison")
    work.apply(args=("a",), task_id="poison")
    assert len(ran) == runs
    with worker.task_session() as session:
        assert [row.task_id for row in attempts.parked(session)] == (["poison"] if not runs else [])
    assert outcomes() == {"succeeded" if runs else "parked": 1.0}


def test_H5_without_the_limit_the_poison_would_run_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "LIMIT", 10**9)
    for _ in range(9):
        die("poison")
    work.apply(args=("a",), task_id="poison")
    assert ran == [("a",)]


def troupe(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["tasks", *arguments])
    return done.exit_code, done.output


@pytest.mark.feature("Q2", via="cli")
def test_H5_a_parked_task_is_shown_dropped_or_sent_again(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert troupe() == (0, "none is parked\n")
    for task_id in ("one", "two"):
        for _ in range(attempts.LIMIT):
            die(task_id)
        work.apply(args=("a",), task_id=task_id)
    die("begun")
    listed = [json.loads(line) for line in troupe("--json")[1].splitlines()]
    assert [(row["task_id"], row["name"], row["attempts"]) for row in listed] == [
        ("one", "test.work", 6),
        ("two", "test.work", 6),
    ]
    assert re.search(r"^two +test\.work +6 times +20", troupe()[1], re.MULTILINE)
    assert troupe("drop", "one") == (0, "forgot test.work\n")
    assert troupe("retry", "two") == (0, "sent test.work again\n")
    assert noted() == {"begun": 1}
    with Redis.from_url(environment["TROUPE_REDIS_URL"]) as redis:
        (raw,) = redis.lrange("celery", 0, -1)  # type: ignore[misc]
    assert json.loads(raw)["headers"]["task"] == "test.work"
    for command in ("retry", "drop"):
        for none in ("three", "begun"):
            status, said = troupe(command, none)
            assert (status, f"no task '{none}' is parked" in said) == (1, True)


@pytest.mark.feature("Q2", via="cli")
def test_H5_a_task_stays_parked_when_it_cannot_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(attempts.LIMIT):
        die("one")
    work.apply(args=("a",), task_id="one")
    monkeypatch.setenv("TROUPE_REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setitem(worker.celery.conf, "task_publish_retry", False)
    status, said = troupe("retry", "one")
    assert (status, "Redis does not answer" in said) == (1, True)
    assert noted() == {"one": 6}


def test_H5_notes_of_lost_tasks_are_forgotten_and_parked_ones_kept() -> None:
    die("lost")
    die("fresh")
    for _ in range(attempts.LIMIT):
        die("parked")
    work.apply(args=("a",), task_id="parked")
    with worker.task_session() as session:
        old = TaskAttempt.task_id.in_(("lost", "parked"))
        session.execute(update(TaskAttempt).where(old).values(last_at=func.now() - 2 * attempts.FORGOTTEN_AFTER))
    with worker.task_session() as session:
        attempts.forget_lost(session)
    assert set(noted()) == {"fresh", "parked"}


@pytest.mark.parametrize("value", ["x" * worker.ARGUMENTS_LIMIT, list(range(5_000)), {"deep": ["x" * 20_000]}])
def test_H5_huge_arguments_are_neither_sent_nor_run(value: Any, environment: dict[str, str]) -> None:
    worker.celery.conf.broker_url = worker.core().settings.broker_url
    with pytest.raises(ValueError, match="arguments are ids"):
        work.delay(value)
    with Redis.from_url(environment["TROUPE_REDIS_URL"]) as redis:
        assert redis.llen("celery") == 0
    work.apply(args=(value,), task_id="huge")  # as if another program had put it into the queue
    assert (ran, outcomes(), noted()) == ([], {"failed": 1.0}, {})


@pytest.mark.parametrize("serializer", ["pickle", "yaml", "msgpack"])
def test_H5_a_message_that_is_no_json_is_refused(serializer: str) -> None:
    try:
        kind, encoding, payload = dumps({"x": 1}, serializer=serializer)
    except EncodeError:  # not even installed here: then it is named as its sender would name it
        kind, encoding, payload = f"application/x-{serializer}", "binary", b"\x80\x04."
    with pytest.raises(ContentDisallowed):
        loads(payload, kind, encoding, accept=worker.celery.conf.accept_content)


def test_H5_what_is_no_json_cannot_be_sent() -> None:
    with pytest.raises(TypeError):
        work.delay(object())
