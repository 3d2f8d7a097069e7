"""Candidates of a large catalogue: scores are those of scoring everything, little is missed, the unknown are there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from backend.personalization.ranking import candidates, scoring, slate
from backend.personalization.ranking.candidates import Index, Part, Person
from backend.personalization.ranking.content import unit_rows
from backend.personalization.ranking.explain import Moments
from backend.personalization.ranking.scoring import Facts, Norm, Past, Weights
from backend.personalization.ranking.slate import Policy, Shelf, Viewer

WEIGHTS = Weights(trend=0.4, recent=0.3, liking=0.2, mainstream=-0.3, content=0.7, taste=1.0)


def world(works: int, seed: int, columns: int = 16) -> tuple[Facts, Shelf]:
    rng = np.random.default_rng(seed)
    heads = rng.normal(size=(40, columns))
    content = unit_rows((heads[rng.integers(0, 40, works)] + rng.normal(size=(works, columns))).astype(np.float32))
    rows = np.repeat(np.arange(works), 8)
    taste = sparse.csr_array(
        (rng.normal(size=works * 8), (rows, rng.integers(0, works, works * 8))), shape=(works, works)
    )
    facts = Facts(
        trend=np.log1p(rng.exponential(size=works) * (rng.random(works) < 0.1)),
        familiar=rng.exponential(size=works),
        popularity=rng.normal(size=works),
        recency=rng.random(works),
        content=content.astype(np.float64),
        taste=taste,
        liking=Norm(0.5, 0.1),
        mainstream=Norm(1.0, 0.3),
    )
    shown = rng.poisson(3.0, works).astype(float)
    return facts, Shelf(content, rng.normal(size=works), rng.normal(size=works), np.zeros(works), shown)


def person_of(facts: Facts, events: int, seed: int) -> Person:
    rng = np.random.default_rng(seed)
    works = np.sort(rng.choice(len(facts.trend), events, replace=False))
    return Person.of(facts, Past(works, rng.normal(0.5, 1.0, events), rng.random(events), session=min(events, 3)))


@given(st.integers(30, 300), st.integers(0, 25), st.integers(0, 10_000))
@settings(max_examples=60)
def test_a_candidates_terms_are_those_of_scoring_everything(works: int, events: int, seed: int) -> None:
    facts, _ = world(works, seed)
    person = person_of(facts, events, seed)
    at = np.flatnonzero(np.random.default_rng(seed).random(works) < 0.3)
    everything = scoring.terms(facts, person.past)
    found = candidates.terms(facts, Moments.of(facts), person, at)
    assert set(found) == set(everything)
    for name, values in everything.items():
        np.testing.assert_allclose(found[name], values[at], atol=1e-7, err_msg=name)


@pytest.mark.feature("X2", via="http")
def test_the_best_of_all_works_are_among_the_candidates() -> None:
    facts, shelf = world(30_000, 1)
    index, moments = Index.of(facts, shelf), Moments.of(facts)
    allowed = np.flatnonzero(np.random.default_rng(2).random(30_000) < 0.9)
    for seed in range(5):
        person = person_of(facts, 40, seed)
        score = scoring.total(scoring.terms(facts, person.past), WEIGHTS)
        best = allowed[np.argsort(-score[allowed], kind="stable")[:100]]
        at = candidates.together(candidates.select(index, person, allowed, WEIGHTS, rng=np.random.default_rng(0)))
        assert set(best.tolist()) <= set(at.tolist())
        assert set(at.tolist()) <= set(allowed.tolist())
        assert len(at) <= sum(candidates.MOST.values())
        again = scoring.total(candidates.terms(facts, moments, person, at), WEIGHTS)
        np.testing.assert_array_equal(at[np.argsort(-again, kind="stable")[:20]], best[:20])


def test_a_small_catalogue_is_scored_whole() -> None:
    facts, shelf = world(500, 3)
    allowed = np.arange(0, 500, 2)
    found = candidates.select(
        Index.of(facts, shelf), person_of(facts, 5, 1), allowed, WEIGHTS, rng=np.random.default_rng()
    )
    np.testing.assert_array_equal(candidates.together(found), allowed)


def test_somebody_without_a_past_gets_what_trends_and_is_new() -> None:
    facts, shelf = world(25_000, 4)
    person, allowed = person_of(facts, 0, 1), np.arange(25_000)
    at = candidates.together(
        candidates.select(Index.of(facts, shelf), person, allowed, WEIGHTS, rng=np.random.default_rng(0))
    )
    score = scoring.total(scoring.terms(facts, person.past), WEIGHTS)
    assert set(np.argsort(-score, kind="stable")[:100].tolist()) <= set(at.tolist())


@pytest.mark.feature("X2", via="http")
def test_unknown_creators_have_their_share_of_places() -> None:
    """One place of twenty at least, whoever looks; without what guarantees it there would be next to none."""
    works, rng = 25_000, np.random.default_rng(5)
    facts, shelf = world(works, 5)
    creators = rng.integers(0, 500, works)
    unknown = creators >= 440  # an eighth of the creators: nobody was shown anything of theirs, nobody liked it
    unliked = {"trend": np.where(unknown, 0.0, facts.trend + 5), "recency": facts.recency * ~unknown}
    facts = Facts(**{**vars(facts), **unliked})
    exposures = np.where(unknown, 0.0, rng.poisson(50.0, works) * (rng.random(works) < 0.8))
    shelf = Shelf(**{**vars(shelf), "exposures": candidates.seldom(exposures, creators.tolist())})
    index, moments, allowed = Index.of(facts, shelf), Moments.of(facts), np.arange(works)

    weights = Weights(trend=0.4, recent=0.3, content=0.2, taste=0.0)

    def share(most: dict[candidates.Source, int], policy: Policy) -> float:
        shown: list[int] = []
        for seed in range(40):
            person, draw = person_of(facts, 20, seed), np.random.default_rng(seed)
            at = candidates.together(candidates.select(index, person, allowed, weights, rng=draw, most=most))
            part = Part.of(shelf, at, person.past.works)
            score = scoring.total(candidates.terms(facts, moments, person, part.at), weights)
            viewer = part.viewer(Viewer(past=person.past.towards))
            places = slate.fill(score, part.inside(at), part.shelf, viewer=viewer, policy=policy, size=20, rng=draw)
            shown += [int(part.at[place.work]) for place in places]
        return float(unknown[shown].mean())

    assert share(dict(candidates.MOST), Policy(explore=0)) >= 1 / 20
    assert share({**candidates.MOST, "seldom": 0, "any": 0}, Policy(explore=0, fresh=0, unlike=0)) < 1 / 40


def test_a_new_work_of_an_unknown_creator_comes_before_one_of_a_famous_one() -> None:
    known = candidates.seldom(
        np.array([0.0, 90.0, 0.0, 0.0, 4.0]), [b"famous", b"famous", b"nobody", b"nobody", b"some"]
    )
    assert known.tolist() == [45.0, 135.0, 0.0, 0.0, 8.0]


@given(st.integers(20, 200), st.integers(1, 15), st.integers(0, 10_000))
@settings(max_examples=40)
def test_a_slate_of_a_part_that_is_all_is_the_slate_of_all(works: int, events: int, seed: int) -> None:
    facts, shelf = world(works, seed)
    person = person_of(facts, events, seed)
    score = scoring.total(scoring.terms(facts, person.past), WEIGHTS)
    allowed = np.setdiff1d(np.arange(works), person.past.works)
    viewer = Viewer(past=person.past.towards, shown=np.arange(works) % 3.0, session=(1,))
    part = Part.of(shelf, np.arange(works))
    policy = Policy(explore=0.1)
    draws = [np.random.default_rng(seed) for _ in range(2)]
    whole = slate.fill(score, allowed, shelf, viewer=viewer, policy=policy, size=10, rng=draws[0])
    again = slate.fill(
        score, part.inside(allowed), part.shelf, viewer=part.viewer(viewer), policy=policy, size=10, rng=draws[1]
    )
    assert whole == again


@pytest.mark.parametrize("works", [300, 21_000])
def test_the_slate_of_a_large_catalogue_is_the_slate_of_all_of_it(works: int) -> None:
    """But for its two special places, which are drawn: among candidates where the catalogue is large."""
    facts, shelf = world(works, 7)
    person, allowed = person_of(facts, 30, 3), np.arange(works)
    policy = Policy(explore=0, unlike=0, fresh=0)
    index = Index.of(facts, shelf)
    rest: dict[str, Any] = {"weights": WEIGHTS, "policy": policy, "size": 20, "rng": np.random.default_rng(0)}
    viewer = Viewer(past=person.past.towards)
    slates = [
        candidates.slate_of(
            facts,
            shelf,
            Moments.of(facts),
            index=each,
            past=past,
            allowed=allowed,
            viewer=viewer,
            **rest,
        )
        for each, past in ((index, replace(person.past, sums=person.sums)), (index, person.past), (None, person.past))
    ]
    whole = slates[-1]
    for found in slates[:-1]:
        assert [place.work for place in found.places] == [place.work for place in whole.places]
        for name, values in whole.terms.items():
            np.testing.assert_allclose(found.terms[name], values, atol=1e-6)
