"""Plant the break of each row that docs/full.toml calls full, and expect the row's test to turn red.

    python -m scripts.plant            all rows
    python -m scripts.plant R3 E4      these rows

Works in a throw-away copy of the tracked files. For each row the test runs twice: as the code is, where it must pass,
and with one piece of text replaced, where it must fail. Ends with 1 when a test can't tell the two apart.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
FULL = ROOT / "docs" / "full.toml"
CONTRACTS = "tests/contracts/"
LINKED, COPIED = (".venv", "node_modules"), (".tools/solcx", ".tools/compiler-cache", "build")
"""What set-up made: read by all tests; and what a compiler writes to."""


@dataclass(frozen=True)
class Break:
    """One piece of wrong code, and the test that has to notice."""

    row: str
    says: str
    file: str
    old: str
    new: str
    test: str

    def problems(self, root: Path) -> list[str]:
        """Why the break can't be planted, in words; empty when it can."""
        found = []
        file, test = root / self.file, root / self.test.split("::")[0]
        times = file.read_text().count(self.old) if file.exists() else 0
        if times != 1:
            found.append(f"{self.row}: {self.file} has the text to replace {times} times, it must be once")
        if not test.exists() or f"def {self.test.split('::')[-1].split('[')[0]}(" not in test.read_text():
            found.append(f"{self.row}: there is no test {self.test}")
        return found


def breaks(text: str) -> list[Break]:
    """The breaks of docs/full.toml, a table for each row."""
    return [Break(row, **entry) for row, entry in tomllib.loads(text).items()]


def copy_of(root: Path, into: Path) -> Path:
    """The tracked files as they stand, with the tools of set-up."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (root / name).exists():
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, into / name)
    for name in COPIED:
        if (root / name).exists():
            shutil.copytree(root / name, into / name, dirs_exist_ok=True)
    for name in LINKED:
        (into / name).symlink_to((root / name).resolve())
    return into


def run(root: Path, test: str) -> subprocess.CompletedProcess[str]:
    """Run one test in that folder, with the Python that its folder belongs to."""
    if test.startswith(CONTRACTS):
        command = ["python3", "scripts/brownie.py", "test", test, "--network", "development"]
    else:
        command = [".venv/app/bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider", test]
    return subprocess.run(command, cwd=root, capture_output=True, text=True)


def outcome(planted: Break, root: Path) -> str:
    """What the test said, in words; empty when it passed without the break and failed with it."""
    before = run(root, planted.test)
    if before.returncode:
        return f"fails without the break (exit {before.returncode}): {last_line(before.stdout)}"
    file = root / planted.file
    whole = file.read_text()
    file.write_text(whole.replace(planted.old, planted.new))
    try:
        after = run(root, planted.test)
    finally:
        file.write_text(whole)
    if after.returncode == 1 and " failed" in after.stdout:
        return ""
    return f"doesn't notice (exit {after.returncode}): {last_line(after.stdout)}"


def last_line(output: str) -> str:
    return (output.strip().splitlines() or ["no output"])[-1]


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("rows", nargs="*", help="ids of rows; all when none is named")
    options = arguments.parse_args()
    planned = [each for each in breaks(FULL.read_text()) if not options.rows or each.row in options.rows]
    unknown = sorted(set(options.rows) - {each.row for each in planned})
    problems = [f"docs/full.toml has no row {row}" for row in unknown]
    problems += [problem for each in planned for problem in each.problems(ROOT)]
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 2
    table = Table("row", "planted", "test", "result", title="planted breaks", title_justify="left")
    blind = 0
    with tempfile.TemporaryDirectory(prefix="plant-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL may run as another user, and its programs are reached through here
        copy = copy_of(ROOT, Path(folder))
        for each in track(planned, "planting", console=Console(stderr=True), transient=True):
            said = outcome(each, copy)
            blind += bool(said)
            result = f"[red]{said}[/]" if said else "[green]red[/]"
            table.add_row(each.row, each.says, each.test.split("::")[-1], result)
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    print(f"{len(planned)} planted, {len(planned) - blind} turned a test red")
    return 1 if blind else 0


if __name__ == "__main__":
    sys.exit(main())
