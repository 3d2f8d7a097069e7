"""The operators' page of experiments: the split first, then what may be said, day by day; and pictures of it (X9)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from eth_account.signers.local import LocalAccount
from playwright.sync_api import Page, expect

from backend.consent.gate import entered
from backend.db import Database
from backend.personalization.evaluation import experiment
from backend.personalization.evaluation.experiment import Sample, Sums
from backend.personalization.evaluation.experiments import METRICS, ArmResult, Comparison, Experiment, Result, parse
from backend.settings import Settings
from backend.web import experiments_page
from tests.backend.conftest import signature
from tests.backend.personalization.test_experiments import EVENT, SLATE, consent
from tests.web.conftest import LOOKS, Look
from tests.web.test_pages import assert_fits, assert_quiet, picture

Open = Callable[..., Page]
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def declared(now: datetime, *, shares: tuple[str, str] = ("1/2", "1/2")) -> str:
    return f"""
[variety]
says = "Does more variety please?"
control = "as-now"
since = {now - timedelta(days=20):%Y-%m-%dT%H:%M:%SZ}
[variety.worth]
satisfied = 0.05
early_skips = 0.05
[[variety.arms]]
name = "varied"
share = "{shares[0]}"
[[variety.arms]]
name = "as-now"
share = "{shares[1]}"
"""


def history(effect: float, *, sizes: tuple[int, int] = (60, 60), days: int = 20) -> list[tuple[datetime, Result]]:
    """Looks of an experiment whose effect is this, made from drawn people."""
    rng = np.random.default_rng(5)
    [each] = parse(declared(NOW))
    values = [rng.normal(0.4, 0.1, size) + (effect if arm == 0 else 0) for arm, size in enumerate(sizes)]
    made = []
    for day in range(1, days + 1):
        upto = [max(int(size * day / days), 1) for size in sizes]
        made.append((NOW - timedelta(days=days - day), look(each, [v[:n] for v, n in zip(values, upto, strict=True)])))
    return made


def look(each: Experiment, values: list[Any]) -> Result:
    arms = []
    for arm, people in zip(each.arms, values, strict=True):
        sums = dict.fromkeys(METRICS, Sums.of(Sample(people))) if len(people) >= 10 else {}
        arms.append(ArmResult(arm.name, arm.share, len(people), 10 * len(people), sums))
    p = experiment.ratio_check({arm.name: arm.people for arm in arms}, each.arms)
    compared = [
        Comparison(
            arms[0].name,
            metric,
            experiment.judge_sums(arms[0].sums[metric], arms[1].sums[metric], sound=p >= 0.001, tau=worth),
        )
        for metric, worth in each.worth.items()
        if arms[0].sums and arms[1].sums
    ]
    return Result(each, arms, p, compared)


@pytest.mark.feature("X9")
class TestWords:
    def test_an_effect_that_tells_is_said_and_none_that_does_not(self) -> None:
        told = experiments_page.shown(history(0.2), now=NOW)
        assert told.rows[0].says == "more than in the control"
        assert told.headline.startswith("varied: +0.")
        nothing = experiments_page.shown(history(0.0), now=NOW)
        assert [row.says for row in nothing.rows] == ["can’t be told from chance yet"] * 2
        assert nothing.headline == "No difference in satisfied can be told from chance yet."

    def test_a_broken_split_says_nothing_else(self) -> None:
        broken = experiments_page.shown(history(0.2, sizes=(90, 30)), now=NOW)
        assert not broken.sound
        assert broken.charts == []
        assert {row.says for row in broken.rows} == {"nothing: the split is broken"}
        assert "Find out who is lost" in broken.ratio

    def test_few_people_and_nobody_are_said_so(self) -> None:
        few = experiments_page.shown(history(0.2, sizes=(9, 9)), now=NOW)
        assert few.headline == "Too few people yet: an arm is shown from 10 people on."
        nobody = experiments_page.shown([(NOW, look(parse(declared(NOW))[0], [np.zeros(0), np.zeros(0)]))], now=NOW)
        assert nobody.headline == "Nobody is in it yet."

    def test_the_chart_has_a_point_a_day_and_p_never_rises(self) -> None:
        [chart] = experiments_page.shown(history(0.2), now=NOW).charts
        data = json.loads(chart.data)
        assert len(data["times"]) == len(chart.days) > 10
        assert all(
            low <= value <= high
            for low, value, high in zip(*(data[k] for k in ("low", "difference", "high")), strict=True)
        )
        lowest = [float(day.p.removeprefix("less than ")) for day in reversed(chart.days)]
        assert lowest == sorted(lowest, reverse=True)

    def test_looks_begin_with_the_experiment_and_end_with_it(self) -> None:
        [each] = parse(declared(NOW))
        looks = experiments_page.looks(each, NOW)
        assert (looks[0], looks[-1], len(looks)) == (NOW - timedelta(days=20), NOW, 21)
        assert experiments_page.looks(each, NOW - timedelta(days=30)) == []
        arms = [experiment.Arm(name, Fraction(1, 2)) for name in "ab"]
        always = Experiment("x", "y", arms, "a", {"days": 1.0})  # type: ignore[arg-type]
        assert len(experiments_page.looks(always, NOW)) == experiments_page.LOOKS


# --- in a browser ---


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def settings(settings: Settings, tmp_path: Path, alice: LocalAccount, now: datetime) -> Settings:
    file = tmp_path / "experiments.toml"
    lopsided = (
        declared(now, shares=("19/20", "1/20"))
        .replace("variety", "lopsided")
        .replace("Does more variety please?", "A split that went wrong.")
    )
    file.write_text(declared(now) + lopsided)
    return settings.model_copy(update={"experiments": file, "operators": frozenset({alice.address})})


@pytest.fixture
def written(settings: Settings, now: datetime) -> None:
    """Eighty people over twenty days; who is in the first arm finishes more."""
    database = Database(settings.database_url.get_secret_value())
    rng = np.random.default_rng(9)
    slates: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    with database.session() as session, entered(session):
        for n in range(80):
            person, arm = uuid.UUID(int=n + 1), "varied" if n % 2 else "as-now"
            session.add(consent(person))
            for day in rng.permutation(19)[:6].tolist():
                at, slate = now - timedelta(days=day, hours=3), uuid.uuid4()
                arms = json.dumps({"variety": arm, "lopsided": arm})
                slates.append({"person": person, "slate": slate, "at": at, "arms": arms})
                if rng.random() < (0.75 if n % 2 else 0.4):
                    done = {"person": person, "work": 1, "at": at, "slate": slate, "kind": "watch"}
                    events.append(done | {"duration": 9, "completion": 9_000})
        session.execute(SLATE, slates)
        session.execute(EVENT, events)
    database.dispose()


def signed_in(site: str, person: LocalAccount) -> dict[str, Any]:
    with httpx.Client(base_url=site) as api:
        message = api.post("/v1/auth/nonce", json={"address": person.address}).json()["message"]
        signed = {"message": message, "signature": signature(person, message)}
        token = api.post("/v1/auth/verify", json=signed).json()["token"]
    cookie = {"name": "troupe_session", "value": token, "domain": urlsplit(site).hostname, "path": "/"}
    return {"storage_state": {"cookies": [cookie], "origins": []}}


@pytest.mark.browser
@pytest.mark.feature("X9", via="page")
@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.name)
def test_operators_see_the_split_first_and_then_what_may_be_said(
    *, open_page: Open, written: None, site: str, alice: LocalAccount, pictures: Path, look: Look
) -> None:
    page = open_page("/operator/experiments", look, **signed_in(site, alice))
    variety = page.locator("section", has=page.locator("#e-variety"))
    expect(variety.locator(".check.good")).to_contain_text("sizes that were planned")
    expect(variety.locator(".headline-line")).to_contain_text("varied: +0.")
    expect(variety.locator("[data-band][data-drawn] canvas")).to_be_visible()
    variety.get_by_text("Show as a table").click()
    expect(variety.locator("details tbody tr").first).to_be_visible()
    lopsided = page.locator("section", has=page.locator("#e-lopsided"))
    expect(lopsided.locator(".check.bad")).to_contain_text("do not have the sizes")
    expect(lopsided.locator("[data-band]")).to_have_count(0)
    expect(lopsided).not_to_contain_text("What came of it")
    variety.get_by_text("Show as a table").click()
    picture(page, pictures, "experiments", look)
    assert_fits(page)
    assert_quiet(page)


@pytest.mark.browser
@pytest.mark.feature("X9", via="page")
def test_nobody_else_does(open_page: Open, site: str, bob: LocalAccount) -> None:
    expect(open_page("/operator/experiments").locator("main")).to_contain_text("Sign in as an operator")
    page = open_page("/operator/experiments", **signed_in(site, bob))
    expect(page.locator("main")).to_contain_text("Only an operator may do this")
