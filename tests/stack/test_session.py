"""A stack in a terminal with a story told against it, over small processes in the place of Troupe's."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from stack import session
from stack.processes import Identity, Service
from stack.supervisor import Ports, Stack
from stack.tree import PartFailed, Supervisor


class Small(Stack):
    """Troupe's stack with one quiet part."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, Ports.free())
        quiet = Service("quiet", ["sleep", "60"], ready=lambda: True)
        Supervisor.__init__(self, [[quiet]], folder)


def run(folder: Path, story: str, *, once: bool = True) -> tuple[int, str]:
    output = io.StringIO()
    stack = Small(folder)
    status = session.run(stack, Console(file=output, width=200), story=[sys.executable, "-c", story], once=once)
    assert [row.phase for row in stack.rows.values()] == ["stopped"]
    return status, output.getvalue()


def test_a_story_is_told_the_addresses_and_the_stack_ends_with_it(tmp_path: Path) -> None:
    told = str(tmp_path / "told")
    story = f"from os import environ as e; open({told!r}, 'w').write(e['TROUPE_API_URL'] + ' ' + e['TROUPE_RPC_URL'])"
    status, said = run(tmp_path / "state", story)
    assert status == 0
    api, rpc = (tmp_path / "told").read_text().split()
    assert f"{api}/docs" in said
    assert rpc in said


@pytest.mark.parametrize("once", [True, False])
def test_a_story_that_fails_ends_the_stack_with_its_status(tmp_path: Path, once: bool) -> None:
    status, _ = run(tmp_path / "state", "raise SystemExit(3)", once=once)
    assert status == 3


def test_a_part_that_dies_ends_the_story(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    story = f"import os, pathlib, time; pathlib.Path({str(begun)!r}).write_text(str(os.getpid())); time.sleep(60)"
    stack = Small(tmp_path / "state")
    stack.every_second = lambda: stack.kill("quiet") if begun.exists() and begun.read_text() else None
    with pytest.raises(PartFailed, match="quiet was ended by SIGKILL"):
        session.run(stack, Console(file=io.StringIO()), story=[sys.executable, "-c", story])
    assert Identity.of(int(begun.read_text())) is None
