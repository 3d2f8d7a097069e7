"""Random histories: a chain that changes its mind, a node that lies, a process that dies; the mirror is the fold (V5).

A seed decides everything, since nothing runs beside anything else; a failure prints it, and the environment variable
TROUPE_SIMULATION_SEED repeats it.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from indexer import deployment, faults, schema, views
from indexer.chain import Chain, Filter, Segment
from indexer.errors import Retryable
from indexer.fetch import Prefetcher, RangeSize
from indexer.store import Store
from indexer.sync import Sync
from stack.postgres import DatabaseUrls
from tests.indexer.fake import Call, FakeBlock, FakeChain, FakeNode, fold, lie
from tests.indexer.support import Rows, difference, random_block, settings

POINTS = (
    *("after fetch", "raw logs written", "mid decode", "rows written", "before commit", "after commit"),
    *("mid undo", "before undo commit", "after undo"),
)
CI_SECONDS = 240
NIGHTLY_SEEDS = 500


class Killed(BaseException):
    """The process dies here: nothing that catches errors may see it."""


class Inline(Prefetcher):
    """Fetches when it is asked for the next segment, in the same thread: the same dice fall each time."""

    def __enter__(self) -> Iterator[Segment]:
        first, last = self._between
        while first <= last:
            segment = self._fetch(first, last)
            yield segment
            first = segment.last.number + 1

    def __exit__(self, *_: object) -> None:
        """No thread to end."""


class World:
    """One history: a chain, a mirror of it, and dice."""

    def __init__(self, urls: DatabaseUrls, folder: Path, seed: int, patch: pytest.MonkeyPatch) -> None:
        self.rng = random.Random(seed)
        self.urls = urls
        self.chain = FakeChain()
        self.manifest = folder / "deployment.json"
        self.manifest.write_text(json.dumps(self.chain.manifest()))
        self.lies = 0.0
        self.dies_at: tuple[str, int] | None = None
        self.deaths = 0
        self.changes_left = 0
        self.tips: list[list[FakeBlock]] = []
        patch.setattr(faults, "point", self.point)
        patch.setattr("indexer.sync.Prefetcher", Inline)
        patch.setattr(views, "indexes", dict)  # they have a test of their own and cost most of a history's time
        with psycopg.connect(urls.conninfo(), autocommit=True) as connection:
            for table in schema.tables():
                if table.name != schema.FINGERPRINT.name and _has_rows(connection, table.name):
                    connection.execute(f"DELETE FROM chain.{table.name}".encode())

    def point(self, name: str) -> None:
        if self.dies_at is None or self.dies_at[0] != name:
            return
        left = self.dies_at[1] - 1
        self.dies_at = (name, left) if left else None
        if not left:
            self.deaths += 1
            raise Killed

    def hook(self, calls: Sequence[Call], answers: list[Any]) -> list[Any]:
        """The answers to the calls of one request: true, or one of them a lie. The chain may change meanwhile."""
        if self.changes_left and self.rng.random() < self.lies / 4:
            self.changes_left -= 1
            self.change()
        if self.rng.random() < self.lies:
            at = self.rng.randrange(len(calls))
            answers[at] = lie(self.rng, calls[at][0], answers[at])
        return answers

    def change(self) -> None:
        """Something happens to the chain."""
        rng = self.rng
        match rng.randrange(8):
            case 0:
                self.tips.append(self.chain.cut(rng.randrange(1, 8)))
                for _ in range(rng.randrange(10)):
                    self.chain.mine(random_block(rng))
            case 1 if self.tips:  # back to a branch that was left, where it still fits
                tip = self.tips.pop()
                depth = self.chain.head.number - tip[0].number + 1 if tip else -1
                if 0 <= depth < len(self.chain.blocks) and self.chain.blocks[tip[0].number - 1].hash == tip[0].parent:
                    self.tips.append(self.chain.cut(depth))
                    self.chain.blocks += tip
            case 2:
                for _ in range(rng.randrange(35, 60)):
                    self.chain.mine(random_block(rng) if rng.random() < 0.3 else [])
            case 3:
                self.tips.append(self.chain.cut(rng.randrange(1, 4)))  # the head goes down
            case _:
                for _ in range(rng.randrange(1, 4)):
                    self.chain.mine(random_block(rng))

    def run(self) -> None:
        """The indexer runs until it is at the head, dying on the way when the dice say so."""
        if self.rng.random() < 0.5:
            self.dies_at = self.rng.choice(POINTS), self.rng.randrange(1, 4)
        while True:
            sync = Sync(
                settings(self.urls, "http://unused.invalid", self.manifest, indexer_range_bytes=10_000),
                deployment.load(self.manifest),
                rng=self.rng,
                backoff_s=(0.0, 0.0),
                nodes=FakeNode(self.chain, self.hook),  # type: ignore[arg-type]
            )
            sync._size = RangeSize(self.rng.choice([1_000, 100_000]))
            try:
                sync.run(until_caught_up=True)
            except Killed:
                continue
            return

    def story(self) -> None:
        for _ in range(self.rng.randrange(2, 7)):
            for _ in range(self.rng.randrange(1, 4)):
                self.change()
            self.lies = self.rng.choice([0.0, 0.0, 0.1, 0.3])
            self.changes_left = 4
            self.run()
        self.lies, self.dies_at = 0.0, None
        self.run()

    def difference(self) -> str | None:
        return difference(_rows(self.urls), fold(self.chain))


def _has_rows(connection: psycopg.Connection[Any], table: str) -> bool:
    row = connection.execute(f"SELECT EXISTS (SELECT FROM chain.{table})".encode()).fetchone()
    return row == (True,)


def _rows(urls: DatabaseUrls) -> Rows:
    """All rows that a reorganisation can take back, of the tables that have any."""
    rows: Rows = {"block": [], "log": []}
    with psycopg.connect(urls.conninfo()) as connection:
        for table in schema.tables():
            if table.undo and _has_rows(connection, table.name):
                found = connection.execute(f"SELECT * FROM chain.{table.name} ORDER BY {', '.join(table.key)}".encode())
                rows[table.name] = [
                    tuple(int(value) if hasattr(value, "as_tuple") else value for value in row) for row in found
                ]
    return rows


History = Callable[[int], World]


@pytest.fixture
def history(db_urls: DatabaseUrls, tmp_path: Path) -> History:
    """Tell the history of a seed to its end."""

    def tell(seed: int) -> World:
        with pytest.MonkeyPatch.context() as patch:
            world = World(db_urls, tmp_path, seed, patch)
            world.story()
            return world

    return tell


def judged(history: History, seed: int) -> World:
    try:
        world = history(seed)
        found = world.difference()
    except Exception as error:
        raise AssertionError(f"seed {seed}: {error!r}") from error
    assert found is None, f"seed {seed}: {found}"
    return world


@pytest.mark.feature("Q4", via="chain")
def test_v5_histories_of_known_seeds(history: History) -> None:
    seeds = [int(os.environ["TROUPE_SIMULATION_SEED"])] if "TROUPE_SIMULATION_SEED" in os.environ else range(12)
    worlds = [judged(history, seed) for seed in seeds]
    if len(worlds) > 1:
        assert sum(world.deaths for world in worlds) > 3, "no process died: the dice are loaded"
        assert sum(len(fold(world.chain)["log"]) for world in worlds) > 200


@pytest.mark.slow
def test_v5_as_many_fresh_histories_as_minutes_allow(history: History) -> None:
    rng = random.SystemRandom()
    until = time.monotonic() + CI_SECONDS
    told = 0
    while time.monotonic() < until:
        judged(history, rng.randrange(2**32))
        told += 1
    print(f"{told} histories")  # noqa: T201  shown with -s
    assert told > 20


@pytest.mark.nightly
def test_v5_five_hundred_fresh_histories(history: History, capsys: pytest.CaptureFixture[str]) -> None:
    """Of consecutive seeds; TROUPE_SIMULATION_FIRST repeats a run."""
    first = int(os.environ.get("TROUPE_SIMULATION_FIRST") or random.SystemRandom().randrange(2**32))
    deaths = 0
    for told, seed in enumerate(range(first, first + NIGHTLY_SEEDS)):
        deaths += judged(history, seed).deaths
        if told % 50 == 49:
            with capsys.disabled():
                print(f"\n{told + 1} of {NIGHTLY_SEEDS} histories from seed {first} on, {deaths} deaths", end="")  # noqa: T201
    assert deaths > NIGHTLY_SEEDS // 10


# ------------------------------------------------------------------------------------------- bugs that must be found


def forgetting_undo(patch: pytest.MonkeyPatch) -> None:
    """One event's table is forgotten by the undo."""
    columns = {name: by for name, by in Store._undo_columns.items() if name != "work_registry_transfer"}
    patch.setattr(Store, "_undo_columns", columns)


def trusting_empty_answers(patch: pytest.MonkeyPatch) -> None:
    """An empty answer is believed, whatever the bloom and the receipts say."""
    patch.setattr(Chain, "_confirm_empty", lambda self, header: None)
    patch.setattr(Filter, "may_hold_known", lambda self, bloom: False)


def cursor_apart(patch: pytest.MonkeyPatch) -> None:
    """The rows are committed before the cursor: a death in between writes them twice, or stops the work."""
    move = Store._move

    def moved_later(self: Store, connection: Any, old: Any, new: Any) -> None:
        connection.execute("COMMIT")
        connection.execute("BEGIN")
        move(self, connection, old, new)

    patch.setattr(Store, "_move", moved_later)


@pytest.mark.parametrize("plant", [forgetting_undo, trusting_empty_answers, cursor_apart])
def test_v5_planted_bugs_are_found(
    history: History, plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    for seed in range(60):
        try:
            if history(seed).difference() is not None:
                return
        except Retryable:
            continue
        except Exception:
            return  # it stopped of itself, loudly: that is found, too
    pytest.fail("60 histories have not shown the bug")
