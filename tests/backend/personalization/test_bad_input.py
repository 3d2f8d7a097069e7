"""What unusual input gets: the rows of the table in docs/personalization.md that need no server."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from backend.personalization import catalogue, service
from backend.personalization.configuration import BUILT_IN, changed
from backend.personalization.models.snapshots import Model
from backend.personalization.models.training import Shelf as Learnt
from backend.personalization.models.training import fit
from backend.personalization.ranking import community, energy
from backend.personalization.ranking.scoring import Weights
from backend.personalization.ranking.signals import EventKind
from backend.personalization.ranking.slate import Policy, Shelf, fill
from backend.personalization.showing.constraints import Stated
from tests.backend.personalization.test_choice import LESS, LIKE, NOW, chosen, event, pairs, shelf, works

pytestmark = pytest.mark.feature("X3")


@pytest.fixture(scope="module")
def model() -> Model:
    """60 people: half like works 1 to 5, half like 6 to 10, each leaving one out."""
    people = [(p, w) for p in range(60) for w in range(1, 11) if (w <= 5) == (p % 2 == 0) and w % 5 != p % 5]
    return fit(pairs(people), Learnt.of(works(10)), now=NOW.timestamp(), weights=Weights())


def ids(slate: list[service.Shown]) -> list[int]:
    return [item.work_id for item in slate]


class TestHistories:
    def test_none_and_one_event(self, model: Model) -> None:
        there = shelf(model, 10)
        nobody, one = chosen(there), chosen(there, event(LIKE, 7), limit=4)
        assert not any(item.because or item.reason == "taste" for item in nobody)
        assert len(nobody) == 10
        assert set(ids(one)) == {6, 8, 9, 10}

    def test_only_dislikes(self, model: Model) -> None:
        slate = chosen(shelf(model, 10), *(event(LESS, work) for work in (6, 7)))
        assert {6, 7}.isdisjoint(ids(slate))
        assert set(ids(slate)[-3:]) == {8, 9, 10}
        assert not any(item.because for item in slate)

    def test_events_of_the_future_count_as_of_now(self, model: Model) -> None:
        there = shelf(model, 10)
        future = event(LIKE, 7, age=timedelta(days=-400))
        assert ids(chosen(there, future)) == ids(chosen(there, event(LIKE, 7)))

    def test_slates_of_the_future_count_as_of_now(self, model: Model) -> None:
        there = shelf(model, 10)
        history = service.History((), frozenset(), frozenset(), frozenset())
        for ahead in (timedelta(0), timedelta(days=9)):
            shown = service.tired(there, replace(history, slates=[{"at": NOW + ahead, "works": [3, 99]}]), NOW)
            assert shown is not None
            assert shown.tolist() == [0, 0, 1, 0, 0, 0, 0, 0, 0, 0]


class TestNumbers:
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_embeddings_that_are_no_numbers_say_nothing(self, model: Model, value: float) -> None:
        broken = model.content.copy()
        broken[6] = value
        silent = model.content.copy()
        silent[6] = 0.0
        for mine in ([], [event(LIKE, 8)], [event(LIKE, 7)]):
            odd = chosen(shelf(replace(model, content=broken), 10), *mine)
            assert ids(odd) == ids(chosen(shelf(replace(model, content=silent), 10), *mine))
            assert all(np.isfinite(item.score) for item in odd)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_a_score_that_is_no_number_comes_last_or_first_and_breaks_nothing(self, value: float) -> None:
        score = np.arange(8.0)
        score[5] = value
        zeros = np.zeros(8)
        plain = Shelf(np.zeros((8, 2), dtype=np.float32), zeros, zeros, zeros, zeros)
        made = fill(score, np.arange(8), plain, policy=Policy(explore=0.1), size=8, rng=np.random.default_rng(0))
        assert sorted(place.work for place in made) == list(range(8))
        assert [place.work for place in made].index(5) == 0 if value == np.inf else made[-1].work == 5
        assert all(np.isfinite(place.total) and 0 < place.propensity <= 1 for place in made if place.work != 5)


class TestFew:
    def test_fewer_eligible_than_places(self, model: Model) -> None:
        slate = chosen(shelf(model, 3), limit=20)
        assert set(ids(slate)) == {1, 2, 3}
        assert {item.reason for item in slate} <= {"new", "trend"}

    def test_nothing_eligible(self, model: Model) -> None:
        there = shelf(model, 5)
        rules = replace(there.rules, age=np.full(5, 18, dtype=np.int16))
        assert service.choose(replace(there, rules=rules), service.NOTHING, now=NOW, limit=20) == []
        grown = Stated(age=18)
        assert len(service.choose(replace(there, rules=rules), service.NOTHING, now=NOW, limit=20, stated=grown)) == 5

    def test_no_works_at_all(self, model: Model) -> None:
        assert chosen(shelf(model, 0)) == []
        assert chosen(shelf(None, 0), event(LIKE, 1)) == []


def assessed(work_id: int, persons: int, satisfied: int, complained: int) -> dict[str, int]:
    return {"work_id": work_id, "persons": persons, "satisfied": satisfied, "complained": complained}


@pytest.mark.feature("X6")
class TestQuality:
    def test_is_the_lower_bound_against_what_nobody_assessed(self) -> None:
        place = {1: 0, 2: 1, 3: 2, 4: 3, 5: 4}
        rows = [assessed(2, 100, 90, 0), assessed(3, 2, 2, 0), assessed(4, 100, 10, 0), assessed(5, 100, 90, 60)]
        found = community.quality(place, [*rows, assessed(99, 5, 5, 5)])
        unknown, loved, new, left, complained = found.tolist()
        assert unknown == 0
        assert loved > new > 0 > left
        assert loved > complained
        a, b = 92.0, 12.0
        assert loved == pytest.approx(a / (a + b) - (a * b / ((a + b) ** 2 * (a + b + 1))) ** 0.5 - community.UNKNOWN)

    def test_one_more_complaint_never_helps_and_one_more_like_never_hurts(self) -> None:
        place = {n: n for n in range(50)}
        complaints = community.quality(place, [assessed(n, 50, 25, n) for n in range(50)])
        likes = community.quality(place, [assessed(n, 50, n, 5) for n in range(50)])
        assert (np.diff(complaints) < 0).all()
        assert (np.diff(likes) > 0).all()

    def test_of_two_alike_the_better_taken_comes_first(self, model: Model) -> None:
        rows = [{"work_id": n, "created_at": 0, "title": None, "media_cid": None} for n in range(1, 11)]
        voices = [assessed(2, 40, 5, 20), assessed(4, 40, 38, 0)]
        there = catalogue.build(rows, (), model, version=1, serial=0, now=NOW, assessed=voices)
        order = ids(chosen(there))
        assert order.index(4) < order.index(3) < order.index(2)


class TestEnergy:
    def test_words_say_it_and_audio_goes_before_them(self) -> None:
        works: list[Any] = [(1, "Quiet sea", ["calm"]), (2, "War", ["action"]), (3, "Untitled", []), (4, None, [])]
        calm, lively, untitled, nothing = energy.energies(works).tolist()
        assert calm < 0 < lively
        assert untitled == nothing == 0
        measured = energy.energies(works, {1: 1.0, 3: -1.0, 4: float("nan")})
        assert measured[0] > 0 > measured[2]
        assert measured[3] == 0

    def test_all_alike_is_nobody_livelier(self) -> None:
        assert energy.energies([(1, "calm", []), (2, "quiet", [])]).tolist() == [0, 0]
        assert energy.energies([]).tolist() == []


class TestTiring:
    def test_what_was_shown_in_vain_sinks_and_what_was_taken_does_not(self, model: Model) -> None:
        there = shelf(model, 10)
        first = ids(chosen(there))[0]
        slates = [{"at": NOW - timedelta(hours=n), "works": [first]} for n in range(1, 12)]
        passed = service.History((), frozenset(), frozenset(), frozenset(), slates=slates)
        assert ids(service.choose(there, passed, now=NOW, limit=10))[0] != first
        took = event(EventKind.PLAY, first)
        shown = service.tired(there, replace(passed, rows=[took]), NOW)
        assert shown is not None
        assert shown.max() == 0

    def test_a_sitting_ends_with_half_an_hour_of_nothing(self, model: Model) -> None:
        there = shelf(model, 10)
        slates = [{"at": NOW - timedelta(minutes=m), "works": [w]} for m, w in ((5, 1), (30, 2), (61, 3), (62, 4))]
        history = service.History((), frozenset(), frozenset(), frozenset(), slates=slates)
        assert service.session(there, history, NOW) == [0, 1]

    def test_lasting_taste_from_before_the_season_counts_a_quarter_once(self, model: Model) -> None:
        there = shelf(model, 10)
        for age, keep in ((80, 1.0), (82, 0.25), (200, 0.25)):  # the season began on 1 September, 81 days before
            done = service.past(there, [event(LIKE, 7, age=timedelta(days=age))], NOW)
            assert done.long[0] == pytest.approx(keep * 2.0 ** (-age / 60))
        never = replace(there, configuration=changed(BUILT_IN, {"decays": {"season_keep": 1}}))
        done = service.past(never, [event(LIKE, 7, age=timedelta(days=82))], NOW)
        assert done.long[0] == pytest.approx(2.0 ** (-82 / 60))


def test_weights_of_a_policy_are_served_as_they_are() -> None:
    assert changed(BUILT_IN, {"weights": {"trend": 2}}).weights == replace(Weights(), trend=2)
