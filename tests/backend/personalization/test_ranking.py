"""Signals, the item-item model, and slates whose reasons are the model's own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.personalization.linear import ItemItem, fit
from backend.personalization.ranking import Catalogue, Signal, slate, weights_by_work
from backend.personalization.signals import EventKind, signal

DAY = 86_400.0


def catalogue(count: int, trend: list[float] | None = None) -> Catalogue:
    return Catalogue(
        work_ids=np.arange(1, count + 1),
        trend=np.array(trend if trend is not None else [0.0] * count),
        registered_at=np.zeros(count, dtype=np.int64),
    )


@pytest.fixture(scope="module")
def two_tastes() -> ItemItem:
    """60 people: half like works 1 to 5, half like 6 to 10, each leaving one out."""
    pairs = [(p, w) for p in range(60) for w in range(1, 11) if (w <= 5) == (p % 2 == 0) and w % 5 != p % 5]
    people, works = np.array(pairs).T
    return fit(people, works, lambda_=5.0)


class TestSignal:
    @pytest.mark.parametrize(
        ("kind", "duration_ms", "completion_bps", "expected"),
        [
            (EventKind.WATCH, 0, 9_000, 1.0),
            (EventKind.WATCH, 0, 8_999, 0.8999),
            (EventKind.WATCH, 0, 1_999, 0.0),
            (EventKind.SKIP, 4_999, 0, -0.5),
            (EventKind.SKIP, 5_000, 0, -0.2),
            (EventKind.SKIP, 30_000, 0, 0.0),
            (EventKind.DWELL, 1_500, 0, 0.05),
            (EventKind.DWELL, 60_000, 0, 0.1),
            (EventKind.LIKE, 0, 0, 1.0),
            (EventKind.LESS_LIKE_THIS, 0, 0, -1.5),
            (EventKind.IMPRESSION, 0, 0, 0.0),
        ],
    )
    def test_value(self, kind: EventKind, duration_ms: int, completion_bps: int, expected: float) -> None:
        assert signal(kind, duration_ms, completion_bps) == pytest.approx(expected)

    def test_sum_of_one_work_is_clipped(self) -> None:
        assert weights_by_work([Signal(1, 1.0, 0.0)] * 10) == {1: 2.0}

    def test_half_life_halves(self) -> None:
        assert weights_by_work([Signal(1, 1.0, 60 * DAY)])[1] == pytest.approx(0.5)


class TestFit:
    def test_matches_the_formula_written_out_slowly(self) -> None:
        pairs = [(0, 1), (0, 2), (1, 1), (1, 3), (2, 2), (2, 3), (2, 1), (3, 3)]
        people, works = np.array(pairs).T
        x = np.zeros((4, 3))
        for p, w in pairs:
            x[p, w - 1] = 1
        d = x.sum(axis=1) ** -0.25
        x *= (d / d.mean())[:, None]
        g = x.T @ x
        c = np.linalg.inv(g + 50 * np.eye(3) + 0.25 * np.diag(np.diag(g)))
        expected = np.array([[0 if i == j else -c[i, j] / c[j, j] for j in range(3)] for i in range(3)])
        np.testing.assert_allclose(fit(people, works).matrix.toarray(), expected, atol=1e-6)

    def test_repeats_of_a_pair_change_nothing(self) -> None:
        people, works = np.array([0, 0, 1]), np.array([1, 2, 1])
        once, twice = fit(people, works), fit(np.r_[people, people], np.r_[works, works])
        np.testing.assert_array_equal(once.matrix.toarray(), twice.matrix.toarray())

    def test_keeps_the_top_k_of_each_column(self, two_tastes: ItemItem) -> None:
        rng = np.random.default_rng(1)
        model = fit(rng.integers(0, 50, 400), rng.integers(0, 30, 400), top_k=4)
        assert (np.count_nonzero(model.matrix.toarray(), axis=0) <= 4).all()

    def test_nothing_to_learn_from(self) -> None:
        model = fit(np.array([], dtype=np.int64), np.array([], dtype=np.int64))
        assert [r.work_id for r in slate(catalogue(3), model, [Signal(1, 1.0, 0.0)])] == [1, 2, 3]


@pytest.mark.feature("X5", via="http")
class TestSlate:
    def test_a_like_brings_its_neighbours_and_names_itself(self, two_tastes: ItemItem) -> None:
        ranked = slate(catalogue(10), two_tastes, [Signal(7, 1.0, 0.0)], hidden={7}, limit=4)
        assert {r.work_id for r in ranked} == {6, 8, 9, 10}
        assert all(r.reason == "taste" and r.because[0][0] == 7 for r in ranked)

    def test_less_like_this_sends_neighbours_down(self, two_tastes: ItemItem) -> None:
        ranked = slate(catalogue(10), two_tastes, [Signal(7, -1.5, 0.0)], hidden={7}, limit=9)
        assert {r.work_id for r in ranked[-4:]} == {6, 8, 9, 10}

    def test_without_signals_the_popular_come_first_and_say_so(self, two_tastes: ItemItem) -> None:
        ranked = slate(catalogue(3, trend=[1.0, 9.0, 3.0]), two_tastes, [])
        assert [r.work_id for r in ranked] == [2, 3, 1]
        assert all(r.reason == "trend" and not r.because for r in ranked)

    def test_hidden_works_never_appear(self, two_tastes: ItemItem) -> None:
        assert {r.work_id for r in slate(catalogue(5), two_tastes, [], hidden={1, 2})} == {3, 4, 5}

    def test_the_newest_unseen_work_gets_the_last_place(self) -> None:
        works = Catalogue(np.arange(1, 6), np.array([5.0, 4.0, 3.0, 2.0, 0.0]), np.array([1, 1, 1, 1, 9]))
        ranked = slate(works, None, [], limit=3)
        assert [(r.work_id, r.reason) for r in ranked] == [(1, "trend"), (2, "trend"), (5, "fresh")]

    def test_the_reason_is_faithful(self, two_tastes: ItemItem) -> None:
        """Taking the named work out of the history lowers the raw taste sum by exactly the part that was named."""
        signals = [Signal(6, 1.0, 0.0), Signal(8, 0.6, 0.0), Signal(2, 1.0, 0.0)]
        history = weights_by_work(signals)
        [first, *_] = slate(catalogue(10), two_tastes, signals, hidden={6, 8, 2})
        past, part = first.because[0]

        def raw(without: int | None) -> np.ndarray:
            return np.array(
                [sum(y * two_tastes.entry(h - 1, i) for h, y in history.items() if h != without) for i in range(10)]
            )

        scale = raw(None).std()
        change = (raw(None) - raw(past))[first.work_id - 1]
        assert part == pytest.approx(change / scale, rel=1e-5)

    @given(st.permutations([Signal(6, 1.0, 0.0), Signal(8, 0.5, DAY), Signal(2, -0.5, 9 * DAY), Signal(6, 0.3, 1.0)]))
    def test_order_of_signals_does_not_matter(self, signals: list[Signal]) -> None:
        model = fit(np.array([0, 0, 1, 1, 2, 2]), np.array([6, 8, 2, 6, 8, 2]), lambda_=1.0)
        one = slate(catalogue(10), model, signals)
        two = slate(catalogue(10), model, sorted(signals, key=lambda s: (s.work_id, s.age_s)))
        assert [(r.work_id, round(r.score, 9)) for r in one] == [(r.work_id, round(r.score, 9)) for r in two]
