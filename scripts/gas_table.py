"""The table of gas in docs/contracts.md, from the budgets that the tests hold.

python -m scripts.gas_table          # writes it
python -m scripts.gas_table --check  # ends with 1 when the page shows something else
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "contracts.md"
BUDGETS = ROOT / "tests" / "contracts"
HEAD = "| operation | gas | budget | ceiling | slots changed |\n|---|---:|---:|---:|---:|\n"
END = "\n\n"


def row(operation: str, entry: dict[str, Any]) -> str:
    """An operation's line of the table."""
    ceiling = f"{entry['ceiling']:,}" if "ceiling" in entry else ""
    return f"| {operation} | {entry['measured']:,} | {entry['budget']:,} | {ceiling} | {entry['slots']} |"


def table() -> str:
    """All budgets of all files, in the order of their names."""
    files = sorted(BUDGETS.glob("gas_*.json"))
    entries = {operation: entry for file in files for operation, entry in json.loads(file.read_text()).items()}
    return HEAD + "\n".join(row(operation, entries[operation]) for operation in sorted(entries))


def renewed(page: str) -> str:
    """The page with today's table."""
    before, found, rest = page.partition(HEAD)
    if not found:
        raise ValueError(f"{PAGE.name} has no table that begins with {HEAD.splitlines()[0]!r}")
    return before + table() + END + rest.partition(END)[2]


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--check", action="store_true", help="write nothing")
    page = PAGE.read_text()
    new = renewed(page)
    if arguments.parse_args().check:
        if new != page:
            print(
                "docs/contracts.md shows other gas than the budgets: run python -m scripts.gas_table", file=sys.stderr
            )
        return int(new != page)
    PAGE.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
