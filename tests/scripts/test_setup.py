"""Two set-ups of one checkout take turns: each would remove the environment that the other one is filling."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from scripts import setup

PATIENCE_S = 20
WAITS = "set-up waits for another one that is at work in this checkout"


@pytest.fixture
def installs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """A checkout whose set-up installs nothing and notes that it would have."""
    noted: list[bool] = []
    monkeypatch.setattr(setup, "STAMPS", tmp_path / "stamps")
    monkeypatch.setattr(setup, "LOCK", tmp_path / "setup.lock")
    monkeypatch.setattr(setup, "install", lambda *, audit, kubo_too: noted.append(audit))
    monkeypatch.setattr(sys, "argv", ["setup.py", "--audit"])
    return noted


def test_second_setup_waits_for_the_first_and_says_so(installs: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    waits = threading.Event()

    def note(text: str, **_: object) -> None:
        said.append(text)
        waits.set()

    monkeypatch.setattr(setup, "print", note, raising=False)
    setup.STAMPS.mkdir()
    second = threading.Thread(target=setup.main)
    try:
        with setup.alone():
            second.start()
            assert waits.wait(PATIENCE_S)
            assert said == [WAITS]
            assert installs == []
    finally:
        second.join(PATIENCE_S)
    assert not second.is_alive()
    assert installs == [True]
    assert [line.partition(" done")[0] for line in said] == [WAITS, "set-up", "set-up"]


def test_setup_on_its_own_does_not_speak_of_waiting(installs: list[bool], capsys: pytest.CaptureFixture[str]) -> None:
    assert setup.main() == 0
    assert setup.main() == 0  # the first one's lock is gone
    assert installs == [True, True]
    assert "waits" not in capsys.readouterr().out
