"""Models as versions: judged before they serve, refused with a reason, gone back to, swapped under load, killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal as signals
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from psycopg_pool import PoolTimeout
from redis import Redis
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from backend.cli import app as commands
from backend.db import Database
from backend.deps import Core
from backend.models.personalization import ModelSnapshot
from backend.personalization import catalogue
from backend.personalization.models import judging, progress, snapshots, training, versions
from backend.personalization.models.snapshots import Model
from backend.personalization.models.training import Pairs, Shelf, Work
from backend.personalization.ranking.content import Described
from backend.personalization.ranking.scoring import DAY_S, Norm, Weights
from backend.settings import Settings
from tests.backend.conftest import Client, Clock
from tests.factories import Mirror

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def world(people: int = 120, works: int = 60, days: int = 50) -> tuple[Pairs, Shelf]:
    """People of four tastes, each of a quarter of the works, who like one work every few days."""
    rng = np.random.default_rng(4)
    rows = []
    for person in range(people):
        own = np.r_[rng.permutation(np.arange(person % 4, works, 4)), rng.integers(0, works, 4)]
        rng.shuffle(own)
        for n, work in enumerate(own.tolist()):
            rows.append(
                (person, work + 1, NOW.timestamp() - days * DAY_S + (n + rng.random()) * days * DAY_S / len(own))
            )
    person, work, at = map(np.array, zip(*rows, strict=True))
    shelf = Shelf.of([Work(n + 1, 0, Described("")) for n in range(works)])
    return Pairs(person.astype(np.int64), work.astype(np.int64), at.astype(np.float64)), shelf


def judge(weights: Weights, serving: Model | None = None, since: float = np.inf) -> judging.Verdict:
    pairs, shelf = world()
    log, shown = training.log_of(pairs, shelf)
    return judging.judge(
        judging.Past(log, shelf.work_ids, shelf.created_at),
        lambda before, cut, given: training.fit(shown.where(before), shelf, now=cut, weights=given),
        weights=weights,
        serving=serving,
        served_since=since,
    )


TASTE = Weights(trend=0.1, recent=0.0, liking=0.0, mainstream=0.0, content=0.0, taste=1.0)
AGAINST_TASTE = replace(TASTE, taste=-1.0)


@pytest.mark.feature("X2")
@pytest.mark.feature("X9")
class TestJudging:
    def test_a_model_of_the_tastes_is_accepted_with_its_figures(self) -> None:
        verdict = judge(TASTE)
        assert verdict.refused is None
        figures = verdict.metrics["models"]
        assert figures["this model"]["ndcg"] > 2 * figures["popular lately"]["ndcg"]
        assert verdict.metrics["against"]["popular lately"]["low"] > 0
        assert 0 < figures["this model"]["ndcg_error"] < 0.1

    def test_a_model_that_is_worse_than_popular_lately_is_refused_with_its_figures(self) -> None:
        verdict = judge(AGAINST_TASTE)
        assert verdict.refused is not None
        assert "below that of popular lately" in verdict.refused

    def test_a_model_that_is_worse_than_the_one_that_serves_is_refused(self) -> None:
        pairs, shelf = world()
        good = training.fit(pairs, shelf, now=NOW.timestamp(), weights=TASTE)
        weak = replace(TASTE, trend=1.0, taste=0.05)
        assert judge(weak).refused is None, "it is no worse than popular lately"
        verdict = judge(weak, good, NOW.timestamp())
        assert verdict.refused is not None
        assert "below that of the model that serves" in verdict.refused
        assert verdict.metrics["serving_judged"] == "its weights, on what the new one knew"

    def test_a_model_that_was_made_before_the_cut_is_judged_as_it_stands(self) -> None:
        pairs, shelf = world()
        early = float(np.quantile(pairs.at, 0.5))
        old = training.fit(pairs.where(pairs.at < early), shelf, now=early, weights=TASTE)
        verdict = judge(TASTE, old, early)
        assert verdict.metrics["serving_judged"] == "as it stands"
        assert verdict.refused is None

    def test_a_difference_within_noise_refuses_nothing(self) -> None:
        pairs, shelf = world()
        nearly = training.fit(pairs, shelf, now=NOW.timestamp(), weights=replace(TASTE, taste=1.01))
        verdict = judge(TASTE, nearly, NOW.timestamp())
        assert verdict.refused is None

    def test_too_few_people_can_refuse_nothing_and_it_says_so(self) -> None:
        empty = judging.Past(
            training.Log(*(np.zeros(0, dtype=np.int64),) * 2, np.zeros(0), 0, 0), np.zeros(0), np.zeros(0)
        )
        verdict = judging.judge(empty, lambda *_: pytest.fail("nothing to judge"), weights=TASTE)
        assert (verdict.refused, verdict.metrics) == (None, {"judged": 0})

    @pytest.mark.parametrize("array", ["popularity", "familiar", "content"])
    def test_a_model_with_something_that_is_no_number_is_broken(self, array: str) -> None:
        pairs, shelf = world(20, 12)
        model = training.fit(pairs, shelf, now=NOW.timestamp(), weights=TASTE)
        assert judging.broken(model) is None
        planted = np.array(getattr(model, array))
        planted[0] = np.nan
        assert "no number" in str(judging.broken(replace(model, **{array: planted})))
        assert "no number" in str(judging.broken(replace(model, liking=Norm(float("nan"), 0.0))))
        assert "12 works" in str(judging.broken(replace(model, **{array: planted[:-1]})))


# --- versions ---


@pytest.fixture
def core(settings: Settings, clock: Clock) -> Iterator[Core]:
    made = Core(settings, clock)
    yield made
    made.database.dispose()


@pytest.fixture
def mirror(mirror: Mirror, bob: Any) -> Mirror:
    """Ten works."""
    mirror.block(1)
    for work_id in range(1, 11):
        mirror.work(work_id, owner=bob, block=1)
    return mirror


def folder(core: Core) -> Path:
    return core.settings.data_dir / "models"


def tiny(mark: float) -> Model:
    """A model that says of itself which one it is: by how many people know work 1."""
    pairs = Pairs(np.array([0, 0, 1]), np.array([1, 2, 2]), np.zeros(3))
    shelf = Shelf.of([Work(n, 0, Described("")) for n in range(1, 11)])
    made = training.fit(pairs, shelf, now=0.0, weights=Weights())
    return replace(made, popularity=np.r_[mark, np.zeros(9)])


def add(session: Session, core: Core, count: int = 1, *, refused: str | None = None) -> list[ModelSnapshot]:
    """Accepted models, or refused ones, as training adds them."""
    made = []
    for _ in range(count):
        mark = float(len(versions.listed(session, limit=100)) + 1)
        name = None if refused else snapshots.write(folder(core), tiny(mark))
        row = ModelSnapshot(
            folder=name,
            pairs=3,
            works=2,
            metrics={"events": 0, "catalogue": 0},
            refused=refused,
            created_at=core.clock(),
        )
        session.add(row)
        session.flush()
        made.append(row)
        versions.drop_old(session)
    return made


def states(session: Session) -> dict[int, str]:
    return {snapshot.version: of for snapshot, of in versions.listed(session)}


@pytest.mark.feature("X2", via="cli")
class TestVersions:
    def test_the_newest_accepted_serves_and_old_ones_leave_the_disk(self, core: Core) -> None:
        with core.database.session() as session:
            add(session, core, 5)
            add(session, core, refused="it was worse")
            assert states(session) == {6: "refused", 5: "serves", 4: "kept", 3: "kept", 2: "dropped", 1: "dropped"}
            (folder(core) / ".partial-killed").mkdir()
            assert versions.sweep(session, folder(core)) == 3
            assert {path.name for path in folder(core).iterdir()} == {
                snapshot.folder for snapshot, _ in versions.listed(session) if snapshot.folder
            }

    def test_a_rollback_pins_the_one_before_and_newer_ones_do_not_serve_until_it_is_released(self, core: Core) -> None:
        with core.database.session() as session:
            add(session, core, 3)
            assert versions.roll_back(session, folder(core), version=None, now=core.clock()).version == 2
            add(session, core, 4)
            assert states(session) == {
                7: "kept",
                6: "kept",
                5: "kept",
                4: "dropped",
                3: "dropped",
                2: "pinned",
                1: "dropped",
            }
            versions.sweep(session, folder(core))
            assert snapshots.read(folder(core), str(session.get_one(ModelSnapshot, 2).folder)).popularity[0] == 2
            released = versions.release(session)
            assert released is not None
            assert released.version == 7

    def test_what_cannot_serve_is_refused_by_name(self, core: Core) -> None:
        with core.database.session() as session:
            with pytest.raises(versions.NoSuchModel, match="no model before"):
                versions.roll_back(session, folder(core), version=None, now=core.clock())
            add(session, core, 4)
            add(session, core, refused="it was worse")
            for version, said in ((1, "no longer on the disk"), (5, "it was worse"), (9, "there is no model 9")):
                with pytest.raises(versions.NoSuchModel, match=said):
                    versions.roll_back(session, folder(core), version=version, now=core.clock())
            kept = session.get_one(ModelSnapshot, 3)
            (folder(core) / str(kept.folder) / "data.npy").write_bytes(b"something else")
            with pytest.raises(versions.NoSuchModel, match="is not what was written; on the disk: 4, 3, 2"):
                versions.roll_back(session, folder(core), version=3, now=core.clock())
            assert states(session)[4] == "serves"

    def test_one_trains_at_a_time(self, core: Core) -> None:
        with core.database.session() as one, core.database.session() as other:
            assert versions.lock(one)
            assert training.train(other, models=folder(core), now=core.clock()) is None


@pytest.mark.feature("X2", via="cli")
class TestCommand:
    @pytest.fixture
    def run(self, environment: dict[str, str], mirror: Mirror) -> Iterator[Any]:
        def call(*arguments: str, status: int = 0) -> str:
            done = CliRunner().invoke(commands, ["models", *arguments], env={"COLUMNS": "200"})
            assert done.exit_code == status, done.output
            return done.output

        return call

    def test_the_table_rollback_and_release(self, core: Core, run: Any) -> None:
        assert "there is no model yet" in run()
        with core.database.session() as session:
            add(session, core, 3)
            add(session, core, refused="it was worse")
        shown = run()
        assert "4 was refused: it was worse" in shown
        assert "● serves" in next(line for line in shown.splitlines() if line.lstrip().startswith("3 "))
        assert "model 2 serves" in run("rollback")
        assert "model 1 serves" in run("rollback")
        assert "no model before" in run("rollback", status=1)
        assert "serves, pinned" in next(line for line in run().splitlines() if line.lstrip().startswith("1 "))
        assert [json.loads(line)["state"] for line in run("--json").splitlines()] == [
            "refused",
            "kept",
            "kept",
            "pinned",
        ]
        assert "model 3 serves" in run("release")
        assert "was refused and cannot serve" in run("rollback", "4", status=1)

    def test_a_training_under_way_is_shown_and_a_broken_off_one_too(
        self, core: Core, run: Any, settings: Settings
    ) -> None:
        told = progress.told(Redis.from_url(settings.redis_url), core.clock)
        with core.database.session() as session:
            assert versions.lock(session)
            told("fit the model", 1, 2)
            assert "training: fit the model, 1 of 2" in run()
        assert "was broken off" in run()

    def test_training_by_command(self, run: Any) -> None:
        assert "no model was trained" in run("train")


# --- swapping ---


@pytest.mark.feature("X2", via="http")
def test_a_swap_under_load_fails_no_request_and_every_answer_is_of_one_model(
    client: Client, app: FastAPI, core: Core, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the new model is read, slowly, the old one answers; what serves then is of the model that is named."""
    with core.database.session() as session:
        add(session, core)
    assert client.get("/v1/feed").json()["model_version"] == 1
    with core.database.session() as session:
        add(session, core)
    reading, go_on = threading.Event(), threading.Event()
    read = snapshots.read

    def slowly(models: Path, name: str) -> Model:
        reading.set()
        assert go_on.wait(20)
        return read(models, name)

    monkeypatch.setattr(snapshots, "read", slowly)
    window: catalogue.Window = app.state.feed_window
    window._read_at -= (catalogue.AHEAD_S + catalogue.REFRESH_S) / 2
    answers: list[tuple[int, int]] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answer = client.get("/v1/feed")
            answers.append((answer.status_code, answer.json()["model_version"]))

    monkeypatch.setattr(catalogue, "REFRESH_S", 1e9)  # however slow this machine is, the old one is not yet too old
    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    try:
        assert reading.wait(20)
        seen = len(answers)
        _until(lambda: len(answers) > seen + 20)
        assert all(version == 1 for _, version in answers), "the new one is not read yet, and nobody waited for it"
        go_on.set()
        _until(lambda: answers[-1][1] == 2)
    finally:
        go_on.set()
        stop.set()
        for asker in askers:
            asker.join()
    assert {status for status, _ in answers} == {200}
    assert {version for _, version in answers} == {1, 2}
    swapped = window._catalogue
    assert swapped is not None
    assert swapped.shelf.novelty[0] == pytest.approx(
        catalogue.build(
            [{"work_id": n, "created_at": 0, "title": None, "media_cid": None} for n in range(1, 11)],
            [],
            read(folder(core), str(_folder_of(core, 2))),
            version=2,
            serial=0,
            now=core.clock(),
        ).shelf.novelty[0]
    ), "the arrays that serve are those of the model that is named"


def _folder_of(core: Core, version: int) -> str | None:
    with core.database.session() as session:
        return session.get_one(ModelSnapshot, version).folder


def _until(true: Any) -> None:
    done = threading.Event()
    for _ in range(4_000):
        if true():
            return
        done.wait(0.005)
    raise AssertionError("it did not come about")


def test_a_pool_that_has_no_connection_leaves_the_catalogue_as_it_is(tmp_path: Path) -> None:
    class Empty:
        @contextmanager
        def connection(self) -> Iterator[None]:
            raise PoolTimeout("none is free")

    class Dry(Empty):
        def connection(self) -> Any:  # type: ignore[override]
            class Never:
                async def __aenter__(self) -> None:
                    raise PoolTimeout("none is free")

                async def __aexit__(self, *_: object) -> None: ...

            return Never()

    async def look() -> None:
        window = catalogue.Window(tmp_path, Dry)  # type: ignore[arg-type]
        there = catalogue.build([], [], None, version=None, serial=0, now=NOW)
        window._catalogue, window._read_at = there, 0.0
        tick = (catalogue.AHEAD_S + catalogue.REFRESH_S) / 2
        assert await window.catalogue(None, now=NOW, tick=tick) is there  # type: ignore[arg-type]
        assert window._ahead is not None
        await window._ahead

    asyncio.run(look())


# --- killed anywhere ---


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signals.SIGKILL)


def nth(call: Any, number: int) -> Any:
    """The call, but the process dies in the `number`th."""
    counted = iter(range(1, 1_000))
    return lambda *a, **k: die() if next(counted) == number else call(*a, **k)


def killed(core: Core, patch: pytest.MonkeyPatch, *planted: Any) -> None:
    """Train in a process of its own that dies where `planted` says."""
    child = os.fork()
    if child == 0:
        try:
            if planted:
                patch.setattr(*planted)
            database = Database(core.settings.database_url.get_secret_value())
            training.train_and_sweep(database.session, models=folder(core), now=core.clock(), growth=0.0)
            os._exit(0)
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == (-signals.SIGKILL if planted else 0)


@pytest.mark.slow
@pytest.mark.feature("X2", via="cli")
@pytest.mark.parametrize("at", ["arrays", "rename", "row", "sweep"])
def test_a_training_killed_anywhere_serves_no_half_model_and_leaves_nothing(
    at: str, core: Core, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    liked = Pairs(np.array([0, 0, 1]), np.array([1, 2, 2]), np.zeros(3))
    monkeypatch.setattr(training, "positive_pairs", lambda session, now: liked)
    monkeypatch.setattr(training, "read", lambda *a, **k: ((1,),))
    where = {
        "arrays": (np, "save", nth(np.save, 3)),
        "rename": (Path, "rename", die),
        "row": (versions, "drop_old", die),
        "sweep": (versions, "sweep", nth(versions.sweep, 2)),
    }
    with core.database.session() as session:
        add(session, core)
    core.database.dispose()
    killed(core, monkeypatch, *where[at])
    with core.database.session() as session:
        there = versions.listed(session)
        assert {of for _, of in there} <= {"serves", "kept"}
        assert len(there) == (2 if at == "sweep" else 1)
        for snapshot, _ in there:
            snapshots.read(folder(core), str(snapshot.folder))
    core.database.dispose()
    killed(core, monkeypatch)
    with core.database.session() as session:
        named = {snapshot.folder for snapshot, _ in versions.listed(session)}
    assert {path.name for path in folder(core).iterdir()} == named
