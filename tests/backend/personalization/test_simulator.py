"""The simulated world: the same luck for all, what is planted is found, and intervals hold as often as they say."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from backend.cli import app
from backend.jsontext import significant
from backend.personalization.evaluation import report, simulator
from backend.personalization.evaluation.simulator import NOTHING_DRAWN, Life, Log, Way, World, by, live, served
from backend.personalization.ranking.slate import Policy

SMALL = World(people=16, works=40, new_a_day=2, days=9)


def worst(log: Log) -> np.ndarray:
    """What ended worst first."""
    return -log.quality


@pytest.mark.feature("X9")
class TestWorld:
    def test_the_same_seed_is_the_same_life_and_another_is_not(self) -> None:
        way = Way("popular", by(simulator.clicks))
        assert live(SMALL, way, 3) == live(SMALL, way, 3)
        assert live(SMALL, way, 3) != live(SMALL, way, 4)

    def test_a_way_that_lets_people_down_loses_them_and_it_is_told(self) -> None:
        """The planted break: a policy that shows first what ended worst."""
        ways = [Way("served", served(NOTHING_DRAWN)), Way("worst first", by(worst))]
        one, other = simulator.compare(replace(SMALL, days=6), ways, runs=2)
        assert other.finished_against.high < 0
        assert np.mean([life.let_down for life in other.lives]) > np.mean([life.let_down for life in one.lives])
        assert one.finished_against.value == 0

    def test_a_limit_of_one_slate_gives_less_a_day(self) -> None:
        free = live(SMALL, Way("free", by(simulator.clicks)), 1)
        assert live(SMALL, Way("limited", by(simulator.clicks), slates=1), 1).a_day < free.a_day

    def test_nobody_is_shown_what_is_not_there_yet_or_was_clicked(self) -> None:
        def watched(log: Log, person: int, rng: np.random.Generator) -> list[int]:
            chosen = [place for place in served(Policy())(log, person, rng)]
            assert max(chosen, default=0) < log.there
            assert not log.clicked[person, chosen].any()
            assert len(set(chosen)) == len(chosen)
            return chosen

        live(replace(SMALL, days=4), Way("watched", watched), 2)

    def test_who_has_left_does_not_come_back(self) -> None:
        here = live(replace(SMALL, days=29), Way("worst", by(worst)), 5).here
        assert list(here) == sorted(here, reverse=True)

    def test_a_baseline_that_is_not_there_is_named(self) -> None:
        with pytest.raises(ValueError, match="no way 'served'"):
            simulator.compare(SMALL, [Way("popular", by(simulator.clicks))], runs=2)


@pytest.mark.feature("X9")
class TestIntervals:
    def test_they_do_not_hold_a_truth_that_is_another(self) -> None:
        assert simulator.intervals_hold(runs=40, rounds=300, draws=100) > 0.85
        assert simulator.intervals_hold(runs=40, rounds=300, draws=100, lie=0.2) < 0.3

    @pytest.mark.slow
    def test_dr_holds_the_truth_in_93_to_97_of_100_logs(self) -> None:
        assert 0.93 <= simulator.intervals_hold() <= 0.97


@pytest.mark.feature("X9", via="cli")
def test_the_command_prints_the_table_and_json(monkeypatch: pytest.MonkeyPatch) -> None:
    few = [Way("served", served(NOTHING_DRAWN)), Way("popular", by(simulator.clicks))]
    compare, hold = simulator.compare, simulator.intervals_hold
    monkeypatch.setattr(
        simulator, "compare", lambda runs, progress: compare(World(8, 20, 1, 3), few, runs=runs, progress=progress)
    )
    monkeypatch.setattr(simulator, "intervals_hold", lambda progress: hold(runs=5, rounds=100, draws=20))
    monkeypatch.setattr(report, "RETENTION", (1,))
    monkeypatch.setattr(simulator, "RETENTION", (1,))
    done = CliRunner().invoke(app, ["evaluate", "--simulated", "--runs", "2"], env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    assert max(map(len, done.output.splitlines())) <= 80
    assert "…" not in done.output, "nothing is cut off"
    assert "popular" in done.output
    assert "DR's 95 % interval" in done.output
    said = CliRunner().invoke(app, ["evaluate", "--simulated", "--runs", "2", "--json"])
    assert [way["name"] for way in json.loads(said.stdout)["ways"]] == ["served", "popular"]
    assert json.loads(said.stdout) == significant(json.loads(said.stdout)), "no digits that mean nothing"


def test_the_table_calls_no_noise_a_difference() -> None:
    lives = [Life(1.0 + n % 2, 1.0, 0.1, (0.9, 0.8, 0.7), 0.5) for n in range(6)]
    noise = [Life(1.0 + (n + 1) % 2, 1.0, 0.1, (0.9, 0.8, 0.7), 0.5) for n in range(6)]
    against = simulator.metrics.difference(
        np.array([x.finished for x in noise]), np.array([x.finished for x in lives]), np.random.default_rng(0)
    )
    *_, finished, stayed = report.lived(
        [simulator.Outcome("served", lives, against, against), simulator.Outcome("other", noise, against, against)]
    )
    for table in (finished, stayed):
        (name,), (difference,) = (list(column.cells) for column in table.columns)
        assert name == "other"
        assert "within noise" in str(difference)
