"""Signals, the item-item model, and slates whose reasons are the model's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from backend.personalization import catalogue, service
from backend.personalization.catalogue import Catalogue
from backend.personalization.models.linear import ItemItem, fit
from backend.personalization.models.snapshots import Model
from backend.personalization.models.training import Pairs, Shelf, Work
from backend.personalization.models.training import fit as learn
from backend.personalization.ranking.content import Described
from backend.personalization.ranking.scoring import Weights
from backend.personalization.ranking.signals import EventKind, signal

NOW = datetime(2026, 11, 21, tzinfo=UTC)


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
        assert model.matrix.shape == (0, 0)


def works(count: int, **titles: str) -> list[Work]:
    return [Work(n, 0, Described(titles.get(f"w{n}", ""))) for n in range(1, count + 1)]


def pairs(liked: list[tuple[int, int]]) -> Pairs:
    people, liked_works = np.array(liked, dtype=np.int64).T
    return Pairs(people, liked_works, np.full(len(liked), NOW.timestamp()))


def event(kind: EventKind, work_id: int, *, age: timedelta = timedelta(0), **more: Any) -> dict[str, Any]:
    told = {"kind": kind.value, "work_id": work_id, "duration_ms": 0, "completion_bps": 0, "received_at": NOW - age}
    return told | more


def shelf(model: Model | None, count: int, *, events: Any = (), created: Any = lambda n: 0) -> Catalogue:
    rows = [{"work_id": n, "created_at": created(n), "title": None, "media_cid": None} for n in range(1, count + 1)]
    return catalogue.build(rows, events, model, version=1, serial=0, now=NOW)


def chosen(there: Catalogue, *mine: dict[str, Any], limit: int = 20) -> list[service.Shown]:
    return service.choose(there, service.told(list(mine)), now=NOW, limit=limit)


@pytest.fixture(scope="module")
def model() -> Model:
    """60 people: half like works 1 to 5, half like 6 to 10, each leaving one out."""
    people = [(p, w) for p in range(60) for w in range(1, 11) if (w <= 5) == (p % 2 == 0) and w % 5 != p % 5]
    return learn(pairs(people), Shelf.of(works(10)), now=NOW.timestamp(), weights=Weights())


LIKE, LESS = EventKind.LIKE, EventKind.LESS_LIKE_THIS


@pytest.mark.feature("X5", via="http")
class TestChoice:
    def test_a_like_brings_its_neighbours_and_names_itself(self, model: Model) -> None:
        slate = chosen(shelf(model, 10), event(LIKE, 7), event(EventKind.WATCH, 7, completion_bps=9_500), limit=4)
        assert {item.work_id for item in slate} == {6, 8, 9, 10}
        assert all(item.reason == "taste" and item.because[0][0] == 7 for item in slate)

    def test_less_like_this_sends_neighbours_down(self, model: Model) -> None:
        slate = chosen(shelf(model, 10), event(LESS, 7), limit=9)
        assert {item.work_id for item in slate[-4:]} == {6, 8, 9, 10}
        assert all(item.reason != "taste" for item in slate[-4:])

    def test_without_signals_the_popular_come_first_and_say_so(self, model: Model) -> None:
        liked = [event(LIKE, 2, who=n, times=1) for n in range(9)] + [event(LIKE, 3, who=n, times=1) for n in range(3)]
        slate = chosen(shelf(model, 3, events=liked))
        assert [item.work_id for item in slate] == [2, 3, 1]
        assert [item.reason for item in slate] == ["trend", "trend", "new"]
        assert not any(item.because for item in slate)

    def test_what_is_not_wanted_never_appears(self, model: Model) -> None:
        slate = chosen(shelf(model, 5), event(LESS, 1), event(EventKind.COMPLAINT, 2))
        assert {item.work_id for item in slate} == {3, 4, 5}

    def test_all_hidden_is_an_empty_slate(self, model: Model) -> None:
        assert chosen(shelf(model, 2), event(LESS, 1), event(LESS, 2)) == []

    def test_without_a_model_there_is_still_a_slate(self) -> None:
        assert [item.work_id for item in chosen(shelf(None, 3), event(LIKE, 2))] == [1, 2, 3]

    def test_a_work_that_training_has_not_seen_is_shown_and_breaks_nothing(self, model: Model) -> None:
        slate = chosen(shelf(model, 12), event(LIKE, 12), event(LIKE, 7))
        assert {item.work_id for item in slate} == set(range(1, 13))

    def test_terms_sum_to_the_score(self, model: Model) -> None:
        for item in chosen(shelf(model, 10), event(LIKE, 7), event(LESS, 2)):
            assert item.score == pytest.approx(sum(item.terms.values()))

    def test_five_thousand_events_are_a_past_too(self, model: Model) -> None:
        events = [event(LIKE, 1 + n % 10, age=timedelta(minutes=n)) for n in range(5_000)]
        assert len(chosen(shelf(model, 10), *events)) == 10

    def test_the_stated_part_is_what_forgetting_changes(self, model: Model) -> None:
        """Over the whole way from events to score: without the named work's events the score is lower by the part."""
        mine = [event(LIKE, 2), event(LIKE, 8, age=timedelta(days=2)), event(LIKE, 6, age=timedelta(days=3))]
        there = shelf(model, 10)
        named = 0
        for item in chosen(there, *mine):
            for past, part in item.because:
                less = [e for e in mine if e["work_id"] != past]
                [other] = [o for o in chosen(there, *less) if o.work_id == item.work_id]
                # the session counts what was done today: the event on work 2 is in it, the others are not
                if past != 2:
                    assert item.score - other.score == pytest.approx(part, abs=1e-9)
                    named += 1
        assert named > 0

    def test_what_is_drawn_by_chance_stays_until_the_catalogue_is_read_again(self, model: Model) -> None:
        there = shelf(model, 10)
        one, other = (
            [item.work_id for item in chosen(there, event(LIKE, 7), limit=6)],
            [item.work_id for item in chosen(there, event(LIKE, 7), limit=6)],
        )
        assert one == other

    def test_one_place_is_unlike_and_one_is_fresh_and_both_say_so(self) -> None:
        titles = {f"w{n}": "quiet sea" if n <= 15 else "loud war" for n in range(1, 31)}
        liked = pairs([(p, w) for p in range(20) for w in range(1, 31) if (w + p) % 3])
        made = learn(liked, Shelf.of(works(30, **titles)), now=NOW.timestamp(), weights=Weights())
        slate = chosen(shelf(made, 30), *(event(LIKE, n) for n in (1, 2, 3)), limit=10)
        reasons = [item.reason for item in slate]
        assert (reasons.count("unlike"), reasons.count("fresh")) == (1, 1)
        [unlike] = [item for item in slate if item.reason == "unlike"]
        assert unlike.work_id > 15
        assert slate[0].reason not in ("unlike", "fresh")
