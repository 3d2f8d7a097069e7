"""Each suite can be run by itself, by a name that a shell takes as one word, and docs/testing.md lists them all."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from scripts import suites
from scripts.suites import SUITES, Suite

TABLE = Path(__file__).resolve().parents[2] / "docs" / "testing.md"


def test_names_are_one_word_and_stand_for_one_suite() -> None:
    assert [suite.name for suite in SUITES if not re.fullmatch(r"[a-z]+(-[a-z]+)*", suite.name)] == []
    assert len({suite.name for suite in SUITES}) == len(SUITES)


def test_the_page_lists_the_suites_there_are() -> None:
    section = TABLE.read_text().split("## Suites\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ([a-z-]+) \| (\w+) \|", section, re.MULTILINE)
    assert [row for row in rows if row[1] != "target"] == [(suite.name, suite.where) for suite in SUITES]


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_only_runs_the_one_that_is_named(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    monkeypatch.setattr(suites, "run", lambda chosen: ran.append(chosen.name) or suites.Outcome(chosen, 0, 0, passed=1))
    monkeypatch.setattr(sys, "argv", ["suites", suite.where, "--only", suite.name])
    assert suites.main() == 0
    assert ran == [suite.name]


def test_a_name_that_is_none_is_answered_with_those_there_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["suites", "test", "--only", "contract"])
    assert suites.main() == 2
    assert capsys.readouterr().err == "no suite 'contract' in test: there is contracts, backend\n"
