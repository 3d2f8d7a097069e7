"""A small world whose truth is known, so that policies can be judged by what logs can't show: who is still there.

People have a taste, get tired of what they have had much of, are let down by what promised more than it kept, and come
back the next day, stay away, or leave for good, by how they felt. Works come every day; nobody knows their quality
until somebody has watched them, and how they look says little of it. What a policy is told is what a server would see:
shown, clicked, finished. The score and the slates are the served code (scoring.py, linear.py, slate.py).

    looked at: place k with probability DECLINE^k;  clicked: sigma(2.5 t.e + 1.2 appeal - 1.5)
    value v = 1.2 t.e + 0.9 quality - 0.8 tiredness of the topic + N(0, 0.3);  finished when v > 0
    felt: +1 finished, -LET_DOWN clicked and not finished, -TOO_MUCH for each finished one above ENOUGH in a day
    mood <- 0.8 mood + 0.2 felt;  there tomorrow: sigma(0.4 + 0.8 mood);  gone for good: sigma(-3.4 - 1.2 mood)

The numbers are chosen, not measured: what holds here is a statement on the policies in such a world, and no forecast.
All policies of a run meet the same people, works and luck, so that differences are paired by run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from backend.personalization.evaluation import metrics, off_policy
from backend.personalization.evaluation.off_policy import Rounds
from backend.personalization.models import linear
from backend.personalization.ranking import scoring, slate
from backend.personalization.ranking.content import unit_rows
from backend.personalization.ranking.scoring import DAY_S, Facts, Past, Weights
from backend.personalization.ranking.slate import Policy, Shelf, Viewer

Floats = NDArray[np.float64]
Positions = NDArray[np.int64]

DECLINE: Final = 0.9
LET_DOWN: Final = 0.6
TOO_MUCH: Final = 0.5
ENOUGH: Final = 4
AGAIN: Final = 0.6
"""The probability to ask for another slate after one that felt good, up to MOST_SLATES."""
MOST_SLATES: Final = 4
RESTED: Final = 0.7
"""What of a topic's tiredness is left the next day."""
RETENTION: Final = (1, 7, 28)


@dataclass(frozen=True)
class World:
    """How much of everything there is."""

    people: int = 80
    works: int = 80
    """On the first day."""
    new_a_day: int = 4
    days: int = 29
    topics: int = 8
    slate: int = 10


@dataclass(frozen=True)
class Way:
    """A way to choose, and how many slates a day it gives to somebody who set a limit."""

    name: str
    rank: Callable[[Log, int, np.random.Generator], Sequence[int]]
    slates: int = MOST_SLATES


class Log:
    """What a server knows: which works there are, what they look like from outside, and what people did."""

    def __init__(self, world: World, content: NDArray[np.float32]) -> None:
        total = len(content)
        self.world, self.content = world, content
        self.day = 0
        self.shown = np.zeros((world.people, total))
        self.clicked = np.zeros((world.people, total))
        self.finished = np.full((world.people, total), -1)
        """The day, or -1."""
        self._facts: Facts | None = None

    @property
    def there(self) -> int:
        """How many works there are by now; they are numbered in the order in which they came."""
        return self.world.works + self.day * self.world.new_a_day

    def next_day(self, day: int) -> None:
        """Learn from what was done until now, as training does."""
        self.day, self._facts = day, None

    @property
    def quality(self) -> Floats:
        """z of the part of clicks that ended in a finish, drawn to one half where there are few."""
        clicks = self.clicked[:, : self.there].sum(axis=0)
        ends = (self.finished[:, : self.there] >= 0).sum(axis=0)
        return scoring.standardised((ends + 2) / (clicks + 4))

    def facts(self, weights: Weights) -> Facts:
        """What the score needs, as of this morning."""
        if self._facts is None:
            size = self.there
            person, work = np.nonzero(self.finished[:, :size] >= 0)
            at = self.finished[person, work] * DAY_S
            model = linear.fit(person, work, lambda_=5.0)
            born = np.maximum(np.arange(size) - self.world.works, -1) // max(self.world.new_a_day, 1) * DAY_S
            recency = scoring.recency(born.astype(np.float64), self.day * DAY_S, weights)
            history = sparse.csr_array((np.ones(len(person)), (person, work)), shape=(self.world.people, size))
            counts = np.bincount(work, minlength=size).astype(np.float64)
            now, half_life_s = self.day * DAY_S, weights.trend_half_life_s
            self._facts = Facts(
                trend=np.log1p(scoring.decayed_counts(work, at, now=now, half_life_s=half_life_s, works=size)),
                familiar=np.log1p(counts),
                popularity=scoring.standardised(np.log1p(counts)),
                recency=recency,
                content=self.content[:size].astype(np.float64),
                taste=scoring.placed(model, np.arange(size, dtype=np.int64)),
                liking=scoring.traits(recency, history),
                mainstream=scoring.traits(np.log1p(counts), history),
            )
        return self._facts

    def open(self, person: int) -> Positions:
        """What a person may be shown: works that they have not clicked."""
        return np.flatnonzero(self.clicked[person, : self.there] == 0).astype(np.int64)


# --- ways to choose ---


def by(values: Callable[[Log], Floats]) -> Callable[[Log, int, np.random.Generator], Sequence[int]]:
    """The same ranking for everybody."""

    def rank(log: Log, person: int, rng: np.random.Generator) -> Sequence[int]:
        allowed, worth = log.open(person), values(log)
        return [int(work) for work in allowed[np.lexsort((allowed, -worth[allowed]))][: log.world.slate]]

    return rank


def clicks(log: Log) -> Floats:
    """How many clicked each work."""
    return np.asarray(log.clicked[:, : log.there].sum(axis=0), dtype=np.float64)


def click_rate(log: Log) -> Floats:
    """The part of those who were shown a work that clicked it: what a policy after clicks is greedy for."""
    shown = log.shown[:, : log.there].sum(axis=0)
    return np.asarray((clicks(log) + 1) / (shown + 3), dtype=np.float64)


def served(policy: Policy) -> Callable[[Log, int, np.random.Generator], Sequence[int]]:
    """The score with its built-in weights, and the slate, that serve."""
    weights = Weights()

    def rank(log: Log, person: int, rng: np.random.Generator) -> Sequence[int]:
        facts = log.facts(weights)
        past = Past.flat(np.flatnonzero(log.finished[person, : log.there] >= 0).astype(np.int64))
        score = scoring.total(scoring.terms(facts, past), weights)
        zeros = np.zeros(log.there)
        known = np.maximum(np.expm1(facts.familiar), 0.5) / log.world.people
        shelf = Shelf(
            content=log.content[: log.there],
            novelty=scoring.standardised(-np.log2(known)),
            quality=log.quality,
            energy=zeros,
            exposures=log.shown[:, : log.there].sum(axis=0),
        )
        viewer = Viewer(past=past.towards, shown=log.shown[person, : log.there] - log.clicked[person, : log.there])
        places = slate.fill(score, log.open(person), shelf, viewer=viewer, policy=policy, size=log.world.slate, rng=rng)
        return [place.work for place in places]

    return rank


NOTHING_DRAWN: Final = Policy(explore=0, fresh=0, unlike=0)
WAYS: Final = (
    Way("popular", by(clicks)),
    Way("greedy for clicks", by(click_rate)),
    Way("served, nothing drawn", served(NOTHING_DRAWN)),
    Way("served", served(Policy())),
    Way("served, 2 slates a day", served(Policy()), slates=2),
)


# --- living ---


@dataclass(frozen=True)
class Life:
    """What became of the people under one way to choose."""

    finished: float
    """Works a person, over all days."""
    a_day: float
    """Works for each day that a person was there."""
    let_down: float
    """The part of clicks that were not finished."""
    here: tuple[float, ...]
    """The part of the people that had not left for good after RETENTION days."""
    explored: float
    """The part of all works that anybody finished."""


def live(world: World, way: Way, seed: int) -> Life:
    """Let the people of a seed live under a way. The same seed gives the same people, works and luck."""
    born = np.random.default_rng([seed, 0])
    total = world.works + world.new_a_day * world.days
    centres = born.normal(size=(world.topics, world.topics))
    topic = born.integers(0, world.topics, size=total)
    essence = unit_rows((centres[topic] + 0.5 * born.normal(size=(total, world.topics))).astype(np.float32))
    outside = unit_rows((essence + 0.25 * born.normal(size=essence.shape)).astype(np.float32))
    quality, appeal = born.normal(size=total), born.normal(size=total)
    appeal = 0.3 * quality + np.sqrt(1 - 0.09) * appeal
    loved = born.integers(0, world.topics, size=(world.people, 2))
    taste = unit_rows(
        (centres[loved].sum(axis=1) + 0.5 * born.normal(size=(world.people, world.topics))).astype(np.float32)
    )
    liking = (taste @ essence.T).astype(np.float64)
    log = Log(world, outside)
    tired, mood = np.zeros((world.people, world.topics)), np.zeros(world.people)
    here, today = np.ones(world.people, dtype=bool), np.ones(world.people, dtype=bool)
    visits, kept = 0, []
    draws = np.random.default_rng([seed, 1])
    for day in range(world.days):
        log.next_day(day)
        luck = np.random.default_rng([seed, 2, day])  # of the day, not of how much was drawn before it
        nights = luck.random((world.people, 2))
        moods = luck.spawn(world.people)
        if day in RETENTION:
            kept.append(float(here.mean()))
        for person in np.flatnonzero(here & today).tolist():
            visits += 1
            felt = _visit(log, way, person, liking[person], appeal, quality, topic, tired[person], moods[person], draws)
            mood[person] = 0.8 * mood[person] + 0.2 * felt
        tired *= RESTED
        today = nights[:, 0] < _sigma(0.4 + 0.8 * mood)
        here &= nights[:, 1] >= _sigma(-3.4 - 1.2 * mood)
    ends, opened = int((log.finished >= 0).sum()), float(log.clicked.sum())
    return Life(
        finished=ends / world.people,
        a_day=ends / max(visits, 1),
        let_down=1 - ends / max(opened, 1.0),
        here=tuple(kept),
        explored=float((log.finished >= 0).any(axis=0).mean()),
    )


def _sigma(x: Floats | float) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.asarray(x))), dtype=np.float64)


def _visit(  # noqa: PLR0917 - a person's part of the world
    log: Log,
    way: Way,
    person: int,
    liking: Floats,
    appeal: Floats,
    quality: Floats,
    topic: Positions,
    tired: Floats,
    luck: np.random.Generator,
    draws: np.random.Generator,
) -> float:
    """A day of one person; how it felt."""
    felt, ends = 0.0, 0
    for _ in range(way.slates):
        before = felt
        for place, work in enumerate(way.rank(log, person, draws)):
            seen, opened, noise = luck.random(), luck.random(), luck.normal()
            if seen > DECLINE**place:
                continue
            log.shown[person, work] += 1
            if opened > _sigma(2.5 * liking[work] + 1.2 * appeal[work] - 1.5):
                continue
            log.clicked[person, work] += 1
            if 1.2 * liking[work] + 0.9 * quality[work] - 0.8 * tired[topic[work]] + 0.3 * noise > 0:
                log.finished[person, work] = log.day
                ends += 1
                felt += 1.0 if ends <= ENOUGH else -TOO_MUCH
                tired[topic[work]] += 0.3
            else:
                felt -= LET_DOWN
        if felt <= before or luck.random() > AGAIN:
            break
    return felt


# --- judging ---


@dataclass(frozen=True)
class Outcome:
    """A way over all runs, and how it differs from the one that serves in the same runs."""

    name: str
    lives: Sequence[Life]
    finished_against: metrics.Difference
    here_against: metrics.Difference
    """Of the last day of RETENTION that was lived."""


def compare(
    world: World = World(),
    ways: Sequence[Way] = WAYS,
    *,
    runs: int = 8,
    baseline: str = "served",
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> list[Outcome]:
    """Every way in the same runs. Raises ValueError when no way is named as the baseline."""
    if baseline not in {way.name for way in ways}:
        raise ValueError(f"there is no way {baseline!r}")
    lives: dict[str, list[Life]] = {way.name: [] for way in ways}
    for run in range(runs):
        for number, way in enumerate(ways):
            lives[way.name].append(live(world, way, run))
            progress(run * len(ways) + number + 1, runs * len(ways))
    mine = lives[baseline]

    def against(theirs: list[Life], value: Callable[[Life], float]) -> metrics.Difference:
        rng = np.random.default_rng(3)
        return metrics.difference(np.array([value(x) for x in theirs]), np.array([value(x) for x in mine]), rng)

    return [
        Outcome(
            name,
            found,
            against(found, lambda life: life.finished),
            against(found, lambda life: life.here[-1] if life.here else 1.0),
        )
        for name, found in lives.items()
    ]


# --- judging from logs ---


def bandit_world(rng: np.random.Generator, rounds: int) -> tuple[Rounds, Floats, float]:
    """A log with propensities, a model of the reward that is wrong, and the truth of the policy to be judged."""
    rates = np.array([[0.1, 0.3, 0.6], [0.5, 0.2, 0.1]])
    logging = np.array([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3]])
    judged = np.array([[0.1, 0.2, 0.7], [0.8, 0.1, 0.1]])
    context = rng.integers(0, 2, size=rounds)
    action = (rng.random(rounds)[:, None] > np.cumsum(logging[context], axis=1)).sum(axis=1)
    reward = (rng.random(rounds) < rates[context, action]).astype(float)
    truth = float((rates * judged).sum(axis=1).mean())
    return Rounds(action, reward, logging[context, action], judged[context]), np.full((rounds, 3), 0.3), truth


def intervals_hold(
    name: str = "DR",
    *,
    runs: int = 500,
    rounds: int = 400,
    draws: int = 150,
    lie: float = 0.0,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> float:
    """The part of runs in which an estimator's 95 % interval holds the truth; `lie` moves the truth away from it."""
    rng = np.random.default_rng(41)
    held = 0
    for run in range(runs):
        log, expected, truth = bandit_world(rng, rounds)
        found = off_policy.estimate(name, log, expected, rng, draws=draws)
        held += found.low <= truth + lie <= found.high
        progress(run + 1, runs)
    return held / runs
