"""Gas of every operation that has a budget, beside a split that pushes each payment on to its payees.

    python -m bench.gas

Runs the gas tests of tests/contracts once on a chain of their own (they set up what an operation needs, and fail above
a budget) and prints what they measured in this run: with the budget, the design's ceiling and the storage slots. The
same run, on the same chain, measures the push to 2, 10 and 100 payees.

Prints one JSON object a line for each: bench, metric, value, unit, reference, ratio, and ceiling, slots and state; the
table goes to stderr. Ends with 1 when a budget or ceiling is exceeded, or something with a budget was not measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests" / "contracts"
RUN = ["python3", "scripts/brownie.py", "test", "tests/contracts", "--network", "development", "-q", "-k", "gas"]
WIDTH = 150
"""Columns of the table, also where stderr is no terminal."""


@dataclass(frozen=True)
class Line:
    """One operation; `gas` None when this run did not measure it, `budget` None when it is there to compare with."""

    file: str
    operation: str
    gas: int | None
    budget: int | None = None
    ceiling: int | None = None
    slots: str = ""

    @property
    def state(self) -> str:
        if self.gas is None:
            return "not measured"
        if self.budget is not None and self.gas > self.budget:
            return "above its budget"
        if self.ceiling is not None and self.gas > self.ceiling:
            return "above its ceiling"
        return "ok"


def budgets() -> dict[str, dict[str, Any]]:
    """The committed budgets by file."""
    return {file.name: json.loads(file.read_text()) for file in sorted(TESTS.glob("gas_*.json"))}


def lines(committed: Mapping[str, Mapping[str, Any]], measured: Iterable[Mapping[str, Any]]) -> Iterator[Line]:
    """Every budget with what was measured (of several times the dearest), then what has none."""
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for each in sorted(measured, key=lambda each: int(each["gas"])):
        found[each.get("file", ""), each["operation"]] = each
    for file, operations in committed.items():
        for operation, entry in operations.items():
            seen = found.pop((file, operation), {})
            ceiling = seen.get("ceiling") or entry.get("ceiling")
            yield Line(file, operation, seen.get("gas"), entry["budget"], ceiling, str(entry.get("slots", "")))
    for (file, operation), seen in found.items():
        yield Line(file, operation, seen["gas"])


def run() -> tuple[int, list[dict[str, Any]]]:
    """Run the gas tests; returns their exit code and what they measured."""
    with tempfile.TemporaryDirectory(prefix="tb-") as folder:
        report = Path(folder) / "gas.jsonl"
        report.touch()
        done = subprocess.run(RUN, cwd=ROOT, env=os.environ | {"TROUPE_GAS_REPORT": str(report)}, stdout=sys.stderr)
        return done.returncode, [json.loads(line) for line in report.read_text().splitlines()]


def show(found: Iterable[Line]) -> None:
    """The JSON lines, and a table for people."""
    table = Table(title="gas of whole transactions")
    table.add_column("operation", no_wrap=True)
    for name in ("gas", "budget", "ceiling"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("slots", "state"):
        table.add_column(name)
    file = ""
    for line in found:
        if line.file != file:
            table.add_section()
            file = line.file
        numbers = ["-" if n is None else f"{n:,}" for n in (line.gas, line.budget, line.ceiling)]
        table.add_row(line.operation, *numbers, line.slots, line.state)
        ratio = round(line.gas / line.budget, 3) if line.gas and line.budget else None
        figure = {"bench": "gas", "metric": line.operation, "value": line.gas, "unit": "gas", "reference": line.budget}
        print(json.dumps(figure | {"ratio": ratio, "ceiling": line.ceiling, "slots": line.slots, "state": line.state}))
    Console(stderr=True, width=WIDTH).print(table)


def main() -> int:
    code, measured = run()
    found = list(lines(budgets(), measured))
    show(found)
    wrong = [f"{line.operation} is {line.state}" for line in found if line.state != "ok"]
    if code:
        wrong.append(f"the gas tests ended with {code}")
    for each in wrong:
        print(f"gas: {each}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
