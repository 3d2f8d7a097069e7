"""Large catalogues: a head that fits and a tail by content; and the same model whoever makes its blocks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.personalization.models import cluster, knowledge, linear, training
from backend.personalization.models.training import Pairs, Shelf, Work
from backend.personalization.ranking import scoring
from backend.personalization.ranking.content import Described
from backend.personalization.ranking.scoring import Past, Weights

ROOT = Path(__file__).resolve().parents[3]


def pairs(people: int = 400, works: int = 700, each: int = 12, seed: int = 5) -> Pairs:
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(people), each)
    work = 1 + (rng.beta(0.7, 2.0, size=len(person)) * works).astype(np.int64)
    return Pairs(person, work, rng.random(len(person)) * 1e6)


def same(one: linear.ItemItem, other: linear.ItemItem) -> bool:
    """Bit by bit."""
    return (
        np.array_equal(one.work_ids, other.work_ids)
        and one.matrix.data.tobytes() == other.matrix.data.tobytes()
        and np.array_equal(one.matrix.indices, other.matrix.indices)
        and np.array_equal(one.matrix.indptr, other.matrix.indptr)
    )


class TestHead:
    def test_all_works_are_in_it_as_long_as_they_fit(self) -> None:
        work = np.array([5, 5, 7, 9])
        assert linear.head(work, None, 3).all()

    def test_the_most_popular_lately_are_and_equals_go_to_the_lower_id(self) -> None:
        work = np.array([5, 5, 7, 9, 9, 11])
        assert set(work[linear.head(work, None, 2)]) == {5, 9}
        assert set(work[linear.head(work, None, 3)]) == {5, 7, 9}
        old = np.array([0.1, 0.1, 1.0, 1.0, 1.0, 1.0])
        assert set(work[linear.head(work, old, 3)]) == {7, 9, 11}

    @pytest.mark.feature("X2")
    def test_the_tail_is_ranked_by_what_it_is_about(self) -> None:
        """A person who likes two works about the sea: a tail work about it stands before one that is about war."""
        words = {1: "sea", 2: "sea", 3: "war", 4: "war", 5: "sea", 6: "war"}
        liked = [(p, w) for p in range(40) for w in (1, 2) if p % 2] + [(p, w) for p in range(40) for w in (3, 4)]
        liked += [(0, 5), (1, 6)]
        person, work = np.array(liked).T
        shelf = Shelf.of(
            [Work(n, 0, Described(f"{words[n]} and {'waves' if words[n] == 'sea' else 'guns'}")) for n in words]
        )
        given = Pairs(person, work, np.zeros(len(person)))
        items = linear.fit(given.person, given.work_id, most=4)
        assert items.work_ids.tolist() == [1, 2, 3, 4]
        model = replace(training.fit(given, shelf, now=0.0, weights=Weights()), items=items)
        known = knowledge.of_works(model, shelf.work_ids)
        facts = knowledge.facts(model, known, shelf.work_ids, trend=np.zeros(6), recency=np.zeros(6))
        parts = scoring.terms(facts, Past.flat(np.array([0, 1])))
        score = scoring.total(parts, Weights())
        assert parts["taste"][4] == parts["taste"][5], "the model of who likes what says nothing of the tail"
        assert score[4] > score[5]

    def test_a_head_that_is_all_there_is_changes_nothing(self) -> None:
        given = pairs()
        assert same(linear.fit(given.person, given.work_id), linear.fit(given.person, given.work_id, most=700))


class TestBlocks:
    def test_columns_are_those_of_the_whole_matrix(self) -> None:
        given = pairs(200, 700, 8)
        made = linear.fit(given.person, given.work_id, top_k=9)
        ids, column = np.unique(given.work_id, return_inverse=True)
        x = np.zeros((200, len(ids)))
        x[given.person, column] = 1
        x *= (x.sum(axis=1) ** -0.25 / (x.sum(axis=1) ** -0.25).mean())[:, None]
        gram = x.T @ x
        c = np.linalg.inv(gram + 50 * np.eye(len(ids)) + 0.25 * np.diag(np.diag(gram)))
        b = -c / np.diag(c)[None, :]
        np.fill_diagonal(b, 0)
        found = made.matrix.toarray()
        assert (np.count_nonzero(found, axis=0) <= 9).all()
        np.testing.assert_allclose(found, np.where(found != 0, b, 0), atol=2e-6)
        least = np.sort(np.abs(b), axis=0)[-9]
        assert (np.abs(b)[found != 0] >= (least - 2e-6)[np.nonzero(found)[1]]).all()

    def test_equal_weights_go_to_the_lower_id(self) -> None:
        values = np.array([[1.0], [3.0], [1.0], [1.0], [2.0]], dtype=np.float32)
        assert np.flatnonzero(linear._largest(values, 3)).tolist() == [0, 1, 4]

    def test_a_planted_mistake_in_one_block_is_seen(self) -> None:
        def wrong(function: Callable[[Any, int], Any], given: Any, numbers: Sequence[int]) -> Iterator[Any]:
            for number, block in zip(numbers, linear.here(function, given, numbers), strict=True):
                yield block * np.float32(1 + 1e-6) if number else block

        given = pairs()
        assert not same(linear.fit(given.person, given.work_id), linear.fit(given.person, given.work_id, share=wrong))


class TestCluster:
    @pytest.mark.parametrize("address", ["tcp://203.0.113.7:8786", "http://127.0.0.1:8786", "tcp://127.0.0.1", "here"])
    def test_only_a_scheduler_on_this_machine_is_spoken_to(self, address: str) -> None:
        with pytest.raises(cluster.NoCluster, match="no scheduler on this machine"), cluster.shared(address):
            raise AssertionError

    @pytest.mark.slow
    def test_dask_is_not_imported_unless_asked_for(self) -> None:
        look = (
            "import sys; from backend.personalization.models import cluster, training;"
            " print('distributed' in sys.modules)"
        )
        assert subprocess.check_output([sys.executable, "-c", look], cwd=ROOT, text=True) == "False\n"

    @pytest.mark.slow
    @pytest.mark.feature("X2", via="cli")
    def test_two_worker_processes_make_the_same_model_bit_by_bit(self) -> None:
        from distributed import LocalCluster  # noqa: PLC0415 - in this test alone

        given, shelf = pairs(), Shelf.of([Work(n, 0, Described("")) for n in range(1, 701)])
        alone = training.fit(given, shelf, now=1e6, weights=Weights())
        with LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
        ) as there:
            seen: list[str] = []
            with cluster.shared(there.scheduler_address) as share:

                def watched(function: Callable[[Any, int], Any], x: Any, numbers: Sequence[int]) -> Iterator[Any]:
                    seen.extend(str(n) for n in numbers)
                    return share(function, x, numbers)

                together = training.fit(given, shelf, now=1e6, weights=Weights(), share=watched)
        assert len(seen) == 2, "the blocks were made over there"
        assert same(alone.items, together.items)
        assert np.array_equal(alone.popularity, together.popularity)
