"""The table of security cases in docs/contracts.md is that of the tests: none is missing, none is made up."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CASES = range(1, 88)
ROW = re.compile(r"^\| (\d+) \| [^|]+ \| ([^|]+) \|$", re.MULTILINE)
CITED = re.compile(r"[Cc]ases? (\d+(?:(?:, | and )\d+)*)")


def table(document: str) -> dict[int, str]:
    """The last cell of each case's row; a case that has two rows is an error."""
    section = document.split("\n## Security cases\n")[1].split("\n## ", maxsplit=1)[0]
    rows = [(int(number), cell) for number, cell in ROW.findall(section)]
    assert len(rows) == len(dict(rows)), "a case has two rows"
    return dict(rows)


def cited(source: str) -> dict[str, set[int]]:
    """The cases that each test of a file says it holds, in its name or its docstring."""
    found: dict[str, set[int]] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            numbers = re.findall(r"case_(\d+)", node.name)
            for listed in CITED.findall(ast.get_docstring(node) or ""):
                numbers += re.findall(r"\d+", listed)
            found[node.name] = {int(number) for number in numbers}
    return found


def differences(rows: dict[int, str], tests: dict[str, set[int]]) -> list[str]:
    """What is wrong with a table, in sentences."""
    found = [f"case {number} has no row" for number in CASES if number not in rows]
    for number, cell in rows.items():
        names = re.findall(r"`(\w+)`", cell)
        holders = {name for name, cases in tests.items() if number in cases}
        if not names and not cell.startswith("not built: "):
            found.append(f"case {number} has neither a test nor a reason")
        if not names and holders:
            found.append(f"case {number} is said not to be built, and {sorted(holders)} hold it")
        found += [f"case {number}: there is no test {name}" for name in names if name not in tests]
        found += [f"case {number}: {name} does not say so" for name in names if name in tests and name not in holders]
    return found


def all_tests() -> dict[str, set[int]]:
    """Every test of the repository; tests of one name hold their cases together."""
    tests: dict[str, set[int]] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        for name, cases in cited(path.read_text()).items():
            tests.setdefault(name, set()).update(cases)
    return tests


def test_each_security_case_has_its_tests_or_a_reason() -> None:
    rows = table((ROOT / "docs" / "contracts.md").read_text())
    assert differences(rows, all_tests()) == []
    assert sum("`" in cell for cell in rows.values()) > 80


def test_what_is_wrong_with_a_table_is_named() -> None:
    tests = cited('def test_one():\n    """Cases 1 and 2: x."""\ndef test_case_3_y(): pass\ndef test_none(): pass')
    assert tests == {"test_one": {1, 2}, "test_case_3_y": {3}, "test_none": set()}
    good = {number: "`test_case_3_y`" if number == 3 else "`test_one`" for number in (1, 2, 3)}
    rest = {number: "not built: x" for number in CASES if number > 3}
    assert differences(good | rest, tests) == []
    for wrong, sentence in (
        ({1: "none"}, "case 1 has neither a test nor a reason"),
        ({2: "not built: later"}, "case 2 is said not to be built, and ['test_one'] hold it"),
        ({2: "`test_gone`"}, "case 2: there is no test test_gone"),
        ({3: "`test_none`"}, "case 3: test_none does not say so"),
    ):
        assert sentence in differences(good | rest | wrong, tests)
    assert "case 87 has no row" in differences(good, tests)
