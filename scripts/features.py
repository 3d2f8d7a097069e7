"""Print the rows of docs/spec.md with the tests that hold each, the doors they go through, and what is missing.

A test names its row by `@pytest.mark.feature("R3", via="http")`, without `via` when it holds the row from inside. A row
without a test is open; one with tests is part; it is full when a test goes through one of its doors and docs/full.toml
names it with a break that turns a test red (scripts/plant.py shows it).
`--check` fails on a test that names a row or a door that does not exist, and on a break that can't be planted.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from scripts.plant import FULL, breaks

ROOT = Path(__file__).resolve().parent.parent
DOORS = ("chain", "http", "cli", "page")
INSIDE = "inside"
ROW = re.compile(r"^\| ([A-Z]\d+) \| ([^|]+) \| ([^|]+) \|$")


@dataclass(frozen=True)
class Claim:
    row: str
    door: str
    test: str


def spec_rows(text: str) -> dict[str, str]:
    """Row id -> its name, in the order of the specification."""
    return {m[1]: m[2].strip() for line in text.splitlines() if (m := ROW.match(line))}


def claims(source: str, name: str) -> list[Claim]:
    """The feature marks in one test file, on tests, classes, or the module's `pytestmark`."""
    found: list[Claim] = []

    def marks(node: ast.expr) -> list[ast.Call]:
        return [c for c in ast.walk(node) if isinstance(c, ast.Call) and ast.unparse(c.func).endswith("mark.feature")]

    def collect(calls: list[ast.Call], test: str) -> None:
        for call in calls:
            row = ast.literal_eval(call.args[0])
            door = next((ast.literal_eval(k.value) for k in call.keywords if k.arg == "via"), INSIDE)
            found.append(Claim(row, door, test))

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                for decorator in node.decorator_list:
                    collect(marks(decorator), f"{prefix}::{node.name}")
                if isinstance(node, ast.ClassDef):
                    visit(node.body, f"{prefix}::{node.name}")
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
                collect(marks(node.value), prefix)

    visit(ast.parse(source).body, name)
    return found


def main() -> int:
    arguments = argparse.ArgumentParser(description="The rows of the specification and the tests that hold them.")
    arguments.add_argument("--check", action="store_true", help="fail on a test that names an unknown row or door")
    arguments.add_argument("--tests", action="store_true", help="name every test, not only how many")
    options = arguments.parse_args()
    rows = spec_rows((ROOT / "docs" / "spec.md").read_text())
    planted = breaks(FULL.read_text())
    full = {each.row for each in planted}
    by_row: dict[str, list[Claim]] = defaultdict(list)
    wrong: list[str] = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for claim in claims(path.read_text(), str(path.relative_to(ROOT))):
            by_row[claim.row].append(claim)
            if claim.row not in rows:
                wrong.append(f"{claim.test} names row {claim.row!r}, which docs/spec.md does not have")
            if claim.door not in (*DOORS, INSIDE):
                wrong.append(f"{claim.test} goes through {claim.door!r}; a door is one of {', '.join(DOORS)}")
    shut = {row for row in full if not any(claim.door in DOORS for claim in by_row[row])}
    wrong += [f"docs/full.toml calls {row} full, and no test goes through a door of it" for row in sorted(shut)]
    wrong += [problem for each in planted for problem in each.problems(ROOT)]

    table = Table(title="rows and the tests that hold them", title_justify="left")
    columns = (*DOORS, INSIDE)
    for column in ("id", "row", "state", *columns):
        table.add_column(column, justify="right" if column in columns else "left")
    for row, name in rows.items():
        held = by_row.get(row, [])
        state = "[green]full[/]" if row in full else "[yellow]part[/]" if held else "[dim]open[/]"
        counts = [sum(c.door == door for c in held) for door in columns]
        table.add_row(row, name, state, *(str(n) if n else "[dim]-[/]" for n in counts))
        if options.tests:
            for claim in held:
                table.add_row("", f"[dim]{claim.test}[/]", "", *("•" if claim.door == d else "" for d in columns))
    Console(width=None if sys.stdout.isatty() else 110).print(table)
    held_rows = sum(bool(by_row.get(row)) for row in rows)
    print(f"{len(rows)} rows: {len(full)} full, {held_rows - len(full)} part, {len(rows) - held_rows} open")
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
