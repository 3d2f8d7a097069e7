"""The bench of the ranking ends with 1 and a name when a figure misses its limit, and measures only what was asked."""

from __future__ import annotations

import json
import sys

import pytest

from bench import personalization
from bench.ranking.frame import Report, Sizes


def _run(monkeypatch: pytest.MonkeyPatch, arguments: list[str], value: float) -> int:
    def fast(out: Report, sizes: Sizes) -> None:
        out.figure("speed", value, "ms", beside="floor", ratio=2.0, noise=0.1, at_most=2.0)

    def never(out: Report, sizes: Sizes) -> None:
        raise AssertionError("it was not asked for")

    monkeypatch.setattr(personalization, "SECTIONS", {"fast": fast, "never": never})
    monkeypatch.setattr(sys, "argv", ["bench", *arguments])
    return personalization.main()


def test_a_figure_beyond_its_limit_ends_the_run_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(monkeypatch, ["--only", "fast"], 2.0) == 0
    line = json.loads(capsys.readouterr().out)
    assert (line["reference"], line["ratio"], line["noise"], line["at_most"]) == ("floor", 2.0, 0.1, 2.0)
    assert _run(monkeypatch, ["--only", "fast"], 2.1) == 1
    assert "speed" in capsys.readouterr().err
    assert _run(monkeypatch, ["--only", "fast"], float("nan")) == 1, "what could not be measured misses its limit"


def test_a_section_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit):
        _run(monkeypatch, ["--only", "nothing"], 1.0)
