"""Splits, metrics and the comparison of models: against slow references, and never a difference that is noise."""

from __future__ import annotations

import gzip
import io
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rich.console import Console

from backend.jsontext import significant
from backend.personalization.evaluation import metrics, offline, report, splits
from backend.personalization.evaluation.datasets import BadDataset, Dataset, movietweetings
from backend.personalization.evaluation.offline import Works
from backend.personalization.evaluation.splits import Log
from backend.personalization.models import sequence
from backend.personalization.ranking.content import Described, Words, embed, unit_rows
from backend.personalization.ranking.scoring import DAY_S, Weights

DAY = 86_400.0


def log(rows: list[tuple[int, int, float]]) -> splits.Log:
    people, works, at = (np.array(column) for column in zip(*rows, strict=True))
    return splits.log_of(people, works, at)[0]


@pytest.fixture(scope="module")
def fashion() -> Dataset:
    """240 people, 40 works, 100 days: works are in fashion for five of them, and half of the people like odd ones."""
    rng = np.random.default_rng(5)
    rows = set()
    for day in range(100):
        for person in rng.integers(0, 240, size=60).tolist():
            work = 2 * ((day // 5 + int(rng.integers(0, 2))) % 20) + person % 2
            rows.add((person, work, day * DAY + float(rng.integers(0, 80_000))))
    first: dict[tuple[int, int], float] = {}
    for person, work, at in sorted(rows, key=lambda row: row[2]):
        first.setdefault((person, work), at)
    made = log([(p, w, t) for (p, w), t in first.items()])
    content = embed([Described("", [("odd" if work % 2 else "even")]) for work in range(40)])
    return Dataset("fashion", made, Works(content, np.zeros(40)))


class TestSplit:
    def test_nothing_after_the_cut_is_known_and_nothing_before_it_is_held_out(self, fashion: Dataset) -> None:
        split = splits.cut_at(fashion.log, 50 * DAY)
        assert split.known.at.max() < 50 * DAY <= split.held_out.at.min()

    def test_who_has_fewer_known_works_is_not_judged(self) -> None:
        made = log([(1, 1, 0), (1, 2, 1), (1, 3, 2), (1, 4, 9), (2, 1, 0), (2, 2, 1), (2, 4, 9)])
        assert np.unique(splits.cut_at(made, 5).held_out.person).tolist() == [0]

    def test_folds_end_before_the_cut_and_do_not_overlap(self, fashion: Dataset) -> None:
        folds = splits.folds_before(fashion.log, 80 * DAY, count=3)
        ends = [(fold.cut, float(fold.held_out.at.max())) for fold in folds]
        assert all(earlier[1] < later[0] for earlier, later in pairwise(ends))
        assert ends[-1][1] < 80 * DAY

    def test_the_core_has_enough_rows_of_everybody(self) -> None:
        person = np.array([1, 1, 2, 2, 3, 1])
        work = np.array([1, 2, 1, 2, 1, 9])
        kept = splits.core(person, work, least=2)
        assert kept.tolist() == [True, True, True, True, False, False]

    def test_another_row_is_another_split(self, fashion: Dataset) -> None:
        one = splits.cut_at(fashion.log, 50 * DAY)
        assert one.digest == splits.cut_at(fashion.log, 50 * DAY).digest != splits.cut_at(fashion.log, 51 * DAY).digest


def slow_ndcg(places: list[int], relevant: set[int], k: int) -> float:
    gained = sum(1 / math.log2(n + 2) for n, work in enumerate(places[:k]) if work in relevant)
    return gained / sum(1 / math.log2(n + 2) for n in range(min(k, len(relevant))))


class TestMetrics:
    @given(st.data())
    def test_ndcg_and_recall_equal_their_definitions(self, data: st.DataObject) -> None:
        places = data.draw(st.permutations(range(15)))[:10]
        relevant = data.draw(st.sets(st.integers(0, 29), min_size=1, max_size=20))
        found = np.array([[work in relevant for work in places]])
        counts = np.array([len(relevant)])
        for k in (1, 5, 10):
            assert metrics.ndcg(found, counts, k)[0] == pytest.approx(slow_ndcg(places, relevant, k))
            assert metrics.recall(found, counts, k)[0] == pytest.approx(len(relevant & set(places[:k])) / len(relevant))

    def test_diversity_is_one_less_the_mean_cosine_of_pairs(self) -> None:
        content = unit_rows(np.random.default_rng(1).normal(size=(9, 4)).astype(np.float32))
        chosen = np.array([[0, 3, 5, 8], [1, 2, -1, -1]])
        pairs = [
            np.mean([1 - content[a] @ content[b] for n, a in enumerate(row) for b in row[n + 1 :]])
            for row in ([0, 3, 5, 8], [1, 2])
        ]
        assert metrics.diversity(chosen, content) == pytest.approx(pairs, abs=1e-6)

    def test_a_hit_that_everybody_knows_or_that_is_like_the_past_is_no_serendipity(self) -> None:
        popularity = np.array([9.0] * 100 + [1.0, 1.0])
        content = np.zeros((102, 2), dtype=np.float32)
        content[:100, 0] = content[100, 0] = content[101, 1] = 1
        known = offline.matrix(splits.Log(np.array([0]), np.array([5]), np.array([0.0]), 1, 102))
        lists = np.array([[0, 100, 101, 50]])
        value = metrics.serendipity(
            lists,
            np.array([[True, True, True, False]]),
            popularity=popularity,
            content=content,
            known=known,
            people=np.array([0]),
        )
        assert value == pytest.approx([0.25])  # 0 is well known, 100 is like work 5: only 101 counts

    def test_noise_is_not_called_a_difference_and_a_difference_is(self) -> None:
        rng = np.random.default_rng(2)
        ours = rng.normal(size=500)
        told = sum(
            metrics.difference(ours, ours + rng.normal(scale=1.0, size=500), rng, rounds=300).beyond_noise
            for _ in range(60)
        )
        assert told <= 9  # 5 % of 60 is 3; more than nine has a probability below 1 in 500
        assert metrics.difference(ours + 0.3, ours + rng.normal(scale=1.0, size=500), rng).beyond_noise


class TestComparison:
    @pytest.mark.slow
    def test_weights_learned_before_the_cut_find_fashion_and_taste(self, fashion: Dataset) -> None:
        found = report.evaluate(fashion)
        by_name = {result.name: result for result in found.results}
        assert found.weights.content > 0 or found.weights.taste > 0
        assert found.against("served score").low > 0
        assert metrics.mean(by_name["popular lately"].ndcg).value > metrics.mean(by_name["popularity"].ndcg).value

    def test_all_of_it_fits_eighty_columns_and_its_json_says_no_more_than_was_measured(self, fashion: Dataset) -> None:
        found = report.evaluate(fashion)
        shown = io.StringIO()
        console = Console(file=shown, width=80)
        for table in report.tables(found):
            console.print(table)
        assert max(map(len, shown.getvalue().splitlines())) <= 80
        assert "…" not in shown.getvalue()
        for result in found.results:
            assert shown.getvalue().count(f"│ {result.name} ") >= 2, "a name is not broken"
            assert f"{metrics.mean(result.ndcg).value:.4f} ± {metrics.mean(result.ndcg).error:.4f}" in shown.getvalue()
        told = report.as_json(found)
        measured = {name: value for name, value in told.items() if name != "weights"}
        assert measured == significant(measured)
        assert told["models"][0]["ndcg_at_10"]["value"] == pytest.approx(metrics.mean(found.results[0].ndcg).value)
        assert told["weights"]["content"] == found.weights.content, "configuration is not rounded"

    @pytest.mark.slow
    def test_what_happens_after_the_cut_changes_no_weight(self, fashion: Dataset) -> None:
        cut = float(np.quantile(fashion.log.at, 0.8))
        shuffled = fashion.log.work.copy()
        after = fashion.log.at >= cut
        shuffled[after] = np.random.default_rng(3).permutation(shuffled[after])
        changed = splits.Log(fashion.log.person, shuffled, fashion.log.at, fashion.log.people, fashion.log.works)
        one, other = (report.evaluate(Dataset("f", made, fashion.works)) for made in (fashion.log, changed))
        assert one.weights == other.weights
        assert one.split != other.split

    def test_nobody_is_shown_what_they_knew(self, fashion: Dataset) -> None:
        split = splits.cut_at(fashion.log, 60 * DAY)
        judged = offline.Judged.of(split)
        made = offline.lists(judged, offline.served(offline.facts_at(split, fashion.works, Weights()), Weights()))
        for row, person in enumerate(judged.people.tolist()):
            assert not set(judged.past(person).tolist()) & set(made[row].tolist())

    def test_a_scorer_that_sees_the_future_is_found_by_the_table(self, fashion: Dataset) -> None:
        """The oracle can tell: planted knowledge of what is held out beats everything."""
        split = splits.cut_at(fashion.log, 60 * DAY)
        judged = offline.Judged.of(split)
        future = np.bincount(split.held_out.work, minlength=40).astype(float)
        cheat = offline.judge("cheat", judged, lambda past: future, fashion.works)
        honest = offline.judge("popularity", judged, lambda past: np.ones(40), fashion.works)
        assert metrics.mean(cheat.ndcg).value > 1.5 * metrics.mean(honest.ndcg).value

    def test_too_small_a_log_is_refused_with_the_reason(self) -> None:
        made = log([(1, 1, 0), (2, 2, 1), (3, 3, 2)])
        with pytest.raises(ValueError, match="too little in the log"):
            report.evaluate(Dataset("tiny", made, Works(np.zeros((3, 1), dtype=np.float32), np.zeros(3))))


def in_order(days: int = 40, sessions: bool = True) -> Log:
    """People who, when they have seen an even work, see the next odd one; in one sitting, or on another day."""
    rng = np.random.default_rng(8)
    rows = []
    for person in range(300):
        for n, first in enumerate(rng.permutation(20)[:6].tolist()):
            start = n * days / 6 * DAY_S + person
            rows.append((person, 2 * first, start))
            rows.append((person, 2 * first + 1, start + (600.0 if sessions else 2 * DAY_S)))
    return log(rows)


class TestSequence:
    def test_matrix_is_the_formula_written_out_slowly(self) -> None:
        rng = np.random.default_rng(2)
        person, work, at = rng.integers(0, 5, 60), rng.integers(0, 7, 60), rng.integers(0, 20, 60) * 500.0
        expected = np.zeros((7, 7))
        counts = np.bincount(work, minlength=7)
        for p in range(5):
            rows = sorted((at[n], int(work[n])) for n in range(60) if person[n] == p)
            for place, (_, j) in enumerate(rows):
                for d in range(1, 6):
                    gaps = (
                        [rows[m][0] - rows[m - 1][0] for m in range(place - d + 1, place + 1)] if place >= d else [1e9]
                    )
                    if max(gaps) <= 1800 and (i := rows[place - d][1]) != j:
                        expected[i, j] += 1 / d / (np.sqrt(counts[i] * counts[j]) + 5)
        np.testing.assert_allclose(sequence.fit(person, work, at).matrix.toarray(), expected, atol=1e-6)

    def test_it_is_directed_and_the_newest_counts_most(self) -> None:
        made = sequence.fit(np.array([0, 0, 1, 1]), np.array([1, 2, 3, 2]), np.array([0.0, 10.0, 0.0, 10.0])).matrix
        assert made.toarray()[0, 1] > 0 == made.toarray()[1, 0]
        assert sequence.scores(made, [2, 0])[1] == pytest.approx(1.5 * made.toarray()[0, 1])
        assert not sequence.scores(made, []).any()

    def test_nothing_and_one_row_give_an_empty_matrix(self) -> None:
        none, one = np.zeros(0, dtype=np.int64), np.zeros(1, dtype=np.int64)
        assert sequence.fit(none, none, none.astype(float)).matrix.nnz == 0
        assert sequence.fit(one, one, one.astype(float)).matrix.nnz == 0

    def test_a_weight_is_given_where_order_tells_and_none_where_it_does_not(self) -> None:
        for sessions, tells in ((True, True), (False, False)):
            made = in_order(sessions=sessions)
            cut = float(np.quantile(made.at, 0.8))
            folds = splits.folds_before(made, cut, count=2)
            works = Works(np.zeros((made.works, 1), dtype=np.float32), np.zeros(made.works))
            found = offline.session_weight(folds, works, Weights(trend=1.0, taste=0.0))
            assert (found.weight > 0) is tells, found


class TestContent:
    def test_works_of_one_tag_are_alike_and_of_no_word_are_like_nothing(self) -> None:
        rows = embed([Described("a storm", ["sea"]), Described("calm", ["sea"]), Described("", ["war"]), Described("")])
        assert float(rows[0] @ rows[1]) > 0.5 > float(rows[0] @ rows[2])
        assert not rows[3].any()

    @pytest.mark.parametrize("works", [[], [Described("")], [Described("one"), Described("one")]])
    def test_few_words_or_none_still_give_a_row_a_work(self, works: list[Described]) -> None:
        assert len(embed(works)) == len(works)

    def test_another_pipeline_stands_beside_the_words_and_counts_as_it_says(self) -> None:
        class Brightness:
            """As a pipeline for pictures would be."""

            weight = 0.5

            def rows(self, works: Sequence[Described]) -> NDArray[np.float32]:
                return np.array([[1.0], [0.0], [1.0]], dtype=np.float32)

        works = [Described("sea", ["calm"]), Described("sea", ["calm"]), Described("", [])]
        rows = embed(works, pipelines=[Words(), Brightness()])
        assert float(rows[0] @ rows[1]) == pytest.approx(1 / np.sqrt(1.25))
        assert float(rows[0] @ rows[2]) == pytest.approx(0.5 / np.sqrt(1.25)), "known by its picture alone"
        with pytest.raises(ValueError, match="Brightness made 3 rows of 1 works"):
            embed(works[:1], pipelines=[Brightness()])

    def test_rows_with_what_is_no_number_become_zeros(self) -> None:
        rows: NDArray[np.float32] = unit_rows(np.array([[np.nan, 1], [3, 4], [0, 0], [np.inf, 0]], dtype=np.float32))
        assert rows.tolist() == [[0, 0], [pytest.approx(0.6), pytest.approx(0.8)], [0, 0], [0, 0]]


RATINGS = "user,movie,rating,ts\n"
BAD = {
    "no file": (None, "is not there"),
    "other columns": ("user,film\n1,2\n", "first row must be user,movie,rating,ts"),
    "a word for a number": (RATINGS + "1,2,nine,4\n", "row 2 holds something that is no number"),
    "a column too few": (RATINGS + "1,2,9\n", "row 2 has 3 columns, not 4"),
    "no good rating": (RATINGS + "1,2,5,4\n", "no rating of 6 or more"),
}


class TestDataset:
    @pytest.mark.parametrize("name", BAD)
    def test_a_bad_file_is_named_with_its_row(self, tmp_path: Path, name: str) -> None:
        text, words = BAD[name]
        if text is not None:
            (tmp_path / "ratings.csv.gz").write_bytes(gzip.compress(text.encode()))
        with pytest.raises(BadDataset, match=words):
            movietweetings(tmp_path)

    def test_what_is_not_gzip_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "ratings.csv.gz").write_bytes(b"user,movie")
        with pytest.raises(BadDataset, match="cannot be read"):
            movietweetings(tmp_path)

    def test_a_film_without_a_row_is_named(self, tmp_path: Path) -> None:
        rows = "".join(f"{user},{movie},9,{user + movie}\n" for user in range(5) for movie in range(5))
        (tmp_path / "ratings.csv.gz").write_bytes(gzip.compress((RATINGS + rows).encode()))
        (tmp_path / "movies.csv.gz").write_bytes(gzip.compress(b"movie,title,genres\n0,A (2001),Drama\n"))
        with pytest.raises(BadDataset, match="4 rated films have no row, the first is 1"):
            movietweetings(tmp_path)
