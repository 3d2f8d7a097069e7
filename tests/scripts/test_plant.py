"""A break that can't be planted is named, and a test that is blind to one is found."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import plant
from scripts.plant import Break, breaks, outcome

pytestmark = pytest.mark.slow

SOURCE = "def fee(amount):\n    return amount * 25 // 1000\n"
TEST = """
from fees import fee

def test_fee():
    assert fee(1000) == 25

def test_blind():
    assert fee(0) == 0

def test_wrong():
    assert fee(1000) == 26
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "fees.py").write_text(SOURCE)
    (tmp_path / "test_fees.py").write_text(TEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / ".venv").symlink_to((plant.ROOT / ".venv").resolve())
    yield tmp_path
    assert (tmp_path / "fees.py").read_text() == SOURCE


def planted(test: str, old: str = "25", new: str = "24") -> Break:
    return Break("R1", "a smaller fee", "fees.py", old, new, f"test_fees.py::{test}")


def test_a_break_that_is_noticed(folder: Path) -> None:
    assert outcome(planted("test_fee"), folder) == ""


@pytest.mark.parametrize(
    ("test", "new", "said"),
    [
        ("test_blind", "24", "doesn't notice (exit 0)"),
        ("test_wrong", "24", "fails without the break"),
        ("test_fee", "(", "doesn't notice (exit 4)"),
    ],
)
def test_a_blind_test_and_a_break_that_is_no_code(folder: Path, test: str, new: str, said: str) -> None:
    assert said in outcome(planted(test, new=new), folder)


def test_what_can_not_be_planted_is_named(folder: Path) -> None:
    assert planted("test_fee").problems(folder) == []
    assert planted("test_fee", old="26").problems(folder) == [
        "R1: fees.py has the text to replace 0 times, it must be once"
    ]
    assert planted("test_absent").problems(folder) == ["R1: there is no test test_fees.py::test_absent"]
    assert "1 times" not in planted("test_fee", old="amount").problems(folder)[0]


def test_every_full_row_can_be_planted() -> None:
    found = breaks(plant.FULL.read_text())
    assert found
    assert [problem for each in found for problem in each.problems(plant.ROOT)] == []


def test_the_copy_is_what_git_tracks(tmp_path: Path) -> None:
    copy = plant.copy_of(plant.ROOT, tmp_path / "copy")
    listed = subprocess.run(["git", "ls-files"], cwd=plant.ROOT, check=True, capture_output=True, text=True).stdout
    assert all((copy / name).exists() for name in listed.splitlines() if (plant.ROOT / name).exists())
    assert (copy / ".venv" / "app" / "bin" / "python").exists()
