"""The console: its tour in docs/console.md is typed into the real one, line by line, and each answer compared."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pytest

from stack import deployment
from tests.conftest import Deployed

PAGE = deployment.ROOT / "docs" / "console.md"
PROMPT = ">>> "
BLOCK = re.compile(r"^```pycon\n(.*?)^```\n", re.MULTILINE | re.DOTALL)


class Step(NamedTuple):
    """A line that a person types, and what the console answers."""

    typed: str
    answer: str


def steps(transcript: str) -> list[Step]:
    """The steps of a session as it stands in a terminal or in a block of the page."""
    parts = transcript.split(PROMPT)[1:]
    return [Step(typed, answer) for typed, _, answer in (part.partition("\n") for part in parts) if typed]


def on_the_page() -> list[Step]:
    return [step for block in BLOCK.findall(PAGE.read_text()) for step in steps(block)]


def session(deployed: Deployed, lines: list[str]) -> str:
    """What the console prints on a fresh chain when these lines are typed."""
    done = subprocess.run(
        [*deployment.BROWNIE, "run", "console/main", "-I", "--network", "troupe"],
        env=os.environ | deployment.environment(deployed.rpc_url, deployed.manifest) | {"TERM": "dumb"},
        input="".join(f"{line}\n" for line in lines),
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "Error" not in done.stderr, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.feature("G1", via="cli")
def test_the_tour_of_the_console_answers_what_its_page_shows(deployed: Deployed) -> None:
    """With TROUPE_TOUR_WRITE=1 the page's answers are written anew, for review in the diff."""
    expected = on_the_page()
    found = steps(session(deployed, [step.typed for step in expected]))
    if os.environ.get("TROUPE_TOUR_WRITE"):
        answers = iter(found)
        PAGE.write_text(BLOCK.sub(lambda block: _rewritten(block.group(1), answers), PAGE.read_text()))
        expected = on_the_page()
    assert found == expected
    commands = next(step.answer for step in expected if step.typed == "help()").partition("\n\n")[0]
    typed = " ".join(step.typed for step in expected)
    assert not [name for line in commands.splitlines() if f"{(name := line.split()[0])}(" not in typed]


def _rewritten(block: str, answers: Iterator[Step]) -> str:
    count = len(steps(block))
    return "```pycon\n" + "".join(f"{PROMPT}{s.typed}\n{s.answer}" for s in islice(answers, count)) + "```\n"


def test_the_console_ends_with_a_sentence_without_a_stack(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "backend.cli", "console", "--state", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "start one with `make dev`" in ended.stderr
