"""Sudden changes are found soon and seldom where there are none; what is not allowed is not watched."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.personalization.ranking import drift
from backend.personalization.ranking.content import unit_rows
from backend.personalization.ranking.drift import (
    EXPLORED_S,
    LEARN,
    Kind,
    Watched,
    alarms,
    latest,
    season,
    surprises,
    turns,
)

pytestmark = pytest.mark.feature("X8")

NOW = datetime(2026, 11, 21, tzinfo=UTC)
OLD = np.array([0.4, 0.3, 0.15, 0.1, 0.04, 0.01])
NEW = OLD[::-1]
ONE = np.array([0.97, 0.03])


def likings(rng: np.random.Generator, entries: int, change: int | None = None) -> np.ndarray:
    """What the works of a person are about: round one direction, and from `change` on round another."""
    directions = rng.normal(size=(2, 16))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    which = np.zeros(entries, dtype=int) if change is None else (np.arange(entries) >= change).astype(int)
    return unit_rows((directions[which] + 0.6 * rng.normal(size=(entries, 16))).astype(np.float32)).astype(float)


def habits(rng: np.random.Generator, entries: int, chances: np.ndarray, change: int | None = None) -> list[int]:
    """Categories with these chances, and from `change` on with the same the other way round."""
    before = rng.choice(len(chances), entries, p=chances).tolist()
    after = rng.choice(len(chances), entries, p=chances[::-1]).tolist()
    return before if change is None else before[:change] + after[change:]


def z_of(kind: Kind, rng: np.random.Generator, change: int | None = None) -> np.ndarray:
    if kind == "taste":
        return turns(likings(rng, 300, change))
    return surprises(habits(rng, 300, OLD if kind == "hour" else ONE, change))


KINDS: tuple[Kind, ...] = ("taste", "hour", "device")


def found(kind: Kind, z: np.ndarray) -> list[int]:
    return alarms(z, allowance=drift.ALLOWANCE[kind], limit=drift.LIMIT[kind])


class TestStreams:
    @pytest.mark.parametrize("kind", KINDS)
    def test_fewer_than_one_steady_stream_in_fifty_has_an_alarm_in_300_entries(self, kind: Kind) -> None:
        rng = np.random.default_rng(1)
        assert np.mean([bool(found(kind, z_of(kind, rng))) for _ in range(150)]) < 0.02

    @pytest.mark.parametrize(("kind", "median"), [("taste", 8), ("hour", 11), ("device", 5)])
    def test_a_change_is_found_by_so_many_entries_after_it(self, kind: Kind, median: int) -> None:
        """The numbers that docs/personalization.md gives, with the limits that are served."""
        rng = np.random.default_rng(3)
        delays = []
        for _ in range(200):
            after = [n - 149 for n in found(kind, z_of(kind, rng, 150)) if n >= 150]
            delays.append(after[0] if after else 300)
        assert abs(np.median(delays) - median) <= 0.5
        assert np.mean(np.array(delays) < 100) > 0.9

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_deaf_detector_would_be_seen(self, kind: Kind) -> None:
        """The planted bug: without surprises there is no alarm, whatever happens."""
        assert found(kind, np.zeros(300)) == []

    @given(st.lists(st.integers(0, 4), max_size=80), st.integers(0, 79))
    def test_what_comes_later_changes_nothing_before(self, stream: list[int], cut: int) -> None:
        whole, part = surprises(stream), surprises(stream[:cut])
        if len(set(stream[:cut])) == len(set(stream)):
            np.testing.assert_allclose(whole[: len(part)], part)

    @given(st.integers(0, 60), st.integers(0, 100))
    def test_a_taste_is_judged_by_what_was_before_alone(self, cut: int, seed: int) -> None:
        rows = likings(np.random.default_rng(seed), 60)
        np.testing.assert_allclose(turns(rows)[:cut], turns(rows[:cut]), atol=1e-9)

    @given(st.lists(st.floats(-10, 10), max_size=50))
    def test_the_sum_never_falls_below_nothing_and_begins_anew(self, z: list[float]) -> None:
        height, expected = 0.0, []
        for n, value in enumerate(z):
            height = max(0.0, height + min(max(value, -3.0), 3.0) - 0.5)
            if height > 4:
                expected.append(n)
                height = 0.0
        assert alarms(np.array(z), allowance=0.5, limit=4) == expected

    @pytest.mark.parametrize("rows", [np.zeros((40, 4)), np.full((40, 4), np.nan), np.zeros((0, 4)), np.ones((1, 4))])
    def test_works_that_nothing_is_known_of_are_no_change(self, rows: np.ndarray) -> None:
        assert turns(rows).tolist() == [0.0] * len(rows)

    @pytest.mark.parametrize("stream", [[], [1], ["a"] * LEARN, ["a"] * 300])
    def test_short_and_constant_streams_are_no_change(self, stream: list[Any]) -> None:
        assert alarms(surprises(stream), allowance=0.5, limit=8) == []


class TestState:
    def watched(self, changed: timedelta) -> Watched:
        """A taste that turned so long ago, after 150 events, and went on for 20 an hour apart from another."""
        rows = likings(np.random.default_rng(3), 170, 150)
        return Watched(at=(NOW - changed).timestamp() + 60.0 * (np.arange(170) - 150), content=rows)

    def test_it_lasts_two_days_and_says_so(self) -> None:
        state = latest(self.watched(timedelta(hours=47)), NOW)
        assert state.kind == "taste"
        assert state.since is not None
        assert state.until == state.since + timedelta(seconds=EXPLORED_S)
        assert state.words is not None
        assert state.words.startswith("What you turn to has changed since 2026-11-19")
        assert latest(self.watched(timedelta(hours=49)), NOW) == drift.STEADY
        assert drift.STEADY.words is None

    def test_a_clock_that_goes_back_is_no_change(self) -> None:
        assert not latest(self.watched(timedelta(hours=-5)), NOW).active

    def test_nothing_done_is_steady(self) -> None:
        assert latest(Watched(), NOW) == drift.STEADY

    def test_places_and_devices_are_watched_where_they_are_said(self) -> None:
        at = [(NOW - timedelta(hours=200 - n)).timestamp() for n in range(200)]
        for kind in ("place", "device"):
            stream = list(zip(at, ["home"] * 180 + ["away"] * 20, strict=True))
            assert latest(Watched(categories={kind: stream}), NOW).kind == kind  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("day", "begun"),
    [
        (datetime(2026, 1, 1, tzinfo=UTC), datetime(2025, 12, 1, tzinfo=UTC)),
        (datetime(2026, 2, 28, tzinfo=UTC), datetime(2025, 12, 1, tzinfo=UTC)),
        (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)),
        (datetime(2026, 11, 30, 23, 59, tzinfo=UTC), datetime(2026, 9, 1, tzinfo=UTC)),
        (datetime(2026, 12, 31, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)),
    ],
)
def test_seasons_begin_where_they_do(day: datetime, begun: datetime) -> None:
    assert season(day) == begun
