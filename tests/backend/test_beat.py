"""F4: beats at once: one sends, each slot is sent once, and one that was paused past its lease sends nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from celery.beat import ScheduleEntry
from fastapi import FastAPI
from sqlalchemy import text

from backend import worker
from backend.beat import RETRY_S, Lease, LeasedScheduler
from backend.db import Database


@pytest.fixture
def database(app: FastAPI) -> Database:
    found: Database = app.state.core.database
    return found


def expire(database: Database) -> None:
    with database.session() as session:
        session.execute(text("UPDATE app.lease SET expires_at = now() - interval '1 second'"))


def next_slot(database: Database) -> None:
    with database.session() as session:
        session.execute(text("UPDATE app.beat_slot SET slot = slot - 1"))


def test_F4_one_holds_the_lease_and_hands_it_on(database: Database) -> None:
    one, two = Lease(database), Lease(database)
    assert one.take()
    assert one.take()
    assert not two.take()
    one.release()
    assert two.take()
    assert (one.fence, two.fence) == (None, 2)


def test_F4_a_slot_is_sent_once(database: Database) -> None:
    lease = Lease(database)
    lease.take()
    assert lease.claim("job", 3600.0)
    assert not lease.claim("job", 3600.0)
    assert lease.claim("other", 3600.0)
    next_slot(database)
    assert lease.claim("job", 3600.0)
    assert set(lease.sent()) == {"job", "other"}


def test_F4_a_paused_beat_is_fenced_off(database: Database) -> None:
    paused, other = Lease(database), Lease(database)
    paused.take()
    expire(database)
    assert other.take()
    assert not paused.claim("job", 3600.0)  # it does not know yet
    assert other.claim("job", 3600.0)
    assert not paused.take()
    expire(database)
    assert not other.claim("late", 3600.0)  # its own time is over, though nobody came


def test_F4_without_the_fence_the_paused_beat_would_send_too(database: Database) -> None:
    paused, other = Lease(database), Lease(database)
    paused.take()
    expire(database)
    other.take()
    paused.fence = other.fence
    paused._me = other._me
    assert paused.claim("job", 3600.0)


def test_F4_fifty_races_for_a_slot_have_one_winner_each(database: Database) -> None:
    lease = Lease(database)
    lease.take()
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda number: lease.claim(f"job {number // 8}", 3600.0), range(50)))
    assert sum(won) == 7
    leases = [Lease(database) for _ in range(8)]
    expire(database)
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(Lease.take, leases)) == 1


@pytest.fixture
def beats(environment: dict[str, str], app: FastAPI) -> Iterator[list[LeasedScheduler]]:
    worker.core.cache_clear()
    worker.celery.conf.broker_url = worker.core().settings.broker_url
    yield [LeasedScheduler(app=worker.celery) for _ in range(2)]
    worker.core().database.dispose()
    worker.core.cache_clear()


def test_F4_two_beats_send_each_periodic_task_once(
    beats: list[LeasedScheduler], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    monkeypatch.setattr(LeasedScheduler, "apply_async", lambda _self, entry, **_: sent.append(entry.task), raising=True)
    first, second = beats
    everything = sorted(entry["task"] for entry in worker.SCHEDULE.values())

    def due(beat: LeasedScheduler) -> None:
        entry: ScheduleEntry
        for entry in beat.schedule.values():
            entry.last_run_at = entry.default_now() - 2 * entry.schedule.run_every
        beat._heap = None

    def run(beat: LeasedScheduler) -> None:
        ends = time.monotonic() + 30
        while beat.tick() == 0 and time.monotonic() < ends:
            pass

    first.tick()
    for beat in beats:
        due(beat)
        run(beat)
    assert sorted(sent) == everything
    assert second.tick() == RETRY_S

    sent.clear()
    expire(database)  # the first is paused, the second takes over and knows what was sent when
    run(second)
    assert sent == []
    next_slot(database)
    due(second)
    run(second)
    due(first)
    run(first)  # wakes up, believes that it sends
    assert sorted(sent) == everything


def test_F4_a_beat_waits_while_the_database_is_away(
    beats: list[LeasedScheduler], monkeypatch: pytest.MonkeyPatch
) -> None:
    beat = beats[0]
    beat.lease = Lease(Database("postgresql+psycopg://nobody@/none?host=/nowhere"))
    assert beat.tick() == RETRY_S
