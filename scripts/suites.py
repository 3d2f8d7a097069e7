"""Run the suites of `make test`, `make ci`, `make nightly` and `make bench`, one after the other, and sum them up.

The one table of suites is below; docs/testing.md shows it with measured minutes. A suite that needs something the
machine lacks (Kubo, a browser) skips visibly; where it is required (`make ci`) a skipped test fails the run.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
TARGETS = ("test", "ci", "nightly")
REPORTS = ROOT / "reports"
PYTEST = [".venv/app/bin/python", "-m", "pytest", "-q"]
BOTH_CORES = ["-n", "2", "--dist", "loadfile"]
BROWNIE = ["python3", "scripts/brownie.py"]
CONTRACTS = [*BROWNIE, "test", "tests/contracts", "--network", "development", *BOTH_CORES]
QUICK = [*PYTEST, *BOTH_CORES, "-m", "not slow and not nightly and not browser and not fuzz"]
FUZZ = [*PYTEST, "-s", "-m", "fuzz", "--show-capture=no", "tests/backend/fuzz"]
SAME_EXAMPLES = ["--hypothesis-seed=0"]
"""A change is judged by the examples that judged the one before it; the nightly run draws new ones."""


@dataclass(frozen=True)
class Suite:
    name: str
    """One word, as `--only` takes it."""
    command: list[str]
    where: str
    """The make target that runs it, one of TARGETS."""
    counts: bool = True
    """True when it is pytest and leaves a JUnit file to count."""
    may_skip: bool = False
    env: dict[str, str] = field(default_factory=dict)
    fresh: bool = False
    """True when its random histories are to be new ones; the first one's seed is printed."""


SUITES = [
    Suite("contracts", [*CONTRACTS, *SAME_EXAMPLES, "-m", "not slow"], "test"),
    Suite("backend", [*QUICK, *SAME_EXAMPLES], "test", may_skip=True),
    Suite("lint", ["make", "lint"], "ci", counts=False),
    Suite("types", ["make", "types"], "ci", counts=False),
    Suite("audit", ["make", "audit"], "ci", counts=False),
    Suite(
        "contracts-longer",
        [*CONTRACTS, *SAME_EXAMPLES, "-k", "stateful or slow"],
        "ci",
        env={"TROUPE_STATEFUL_EXAMPLES": "80"},
    ),
    Suite("slow", [*PYTEST, *BOTH_CORES, "-m", "slow and not nightly"], "ci"),
    Suite("kubo", [*PYTEST, "-m", "kubo", "tests/backend/content"], "ci"),
    Suite("pages", [*PYTEST, "-m", "browser", "tests/web"], "ci"),
    Suite("fuzz", FUZZ, "ci"),
    Suite("features", ["make", "features", "ARGS=--check"], "ci", counts=False),
    Suite("nightly", [*PYTEST, "-m", "nightly"], "nightly"),
    Suite("planted", [".venv/app/bin/python", "-m", "scripts.plant"], "nightly", counts=False),
    Suite("contracts-new", CONTRACTS, "nightly"),
    Suite(
        "histories",
        # 500 examples of 50 steps for each machine.
        [*CONTRACTS, "-k", "stateful"],
        "nightly",
        env={"TROUPE_STATEFUL_STEPS": "25000"},
        fresh=True,
    ),
    Suite("backend-new", QUICK, "nightly"),
    Suite("fuzz-longer", FUZZ, "nightly", env={"TROUPE_FUZZ_CASES": "2000"}),
]


@dataclass
class Outcome:
    suite: Suite
    seconds: float
    exit_code: int
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    @property
    def ok(self) -> bool:
        if self.exit_code or self.failed:
            return False
        if self.suite.counts and not self.passed:
            return False  # a suite that ran nothing has shown nothing
        return not self.skipped or self.suite.may_skip


def counted(report: Path) -> tuple[int, int, int]:
    """Passed, failed, skipped of a JUnit file; zeros when the suite died before writing it."""
    if not report.exists():
        return 0, 0, 0
    total = failed = skipped = 0
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        total += 1
        kinds = {child.tag for child in case}
        failed += bool(kinds & {"failure", "error"})
        skipped += "skipped" in kinds
    return total - failed - skipped, failed, skipped


def run(suite: Suite, extra: Iterable[str] = ()) -> Outcome:
    REPORTS.mkdir(exist_ok=True)
    report = REPORTS / f"{suite.name}.xml"
    report.unlink(missing_ok=True)
    command = [*suite.command, *extra]
    if suite.counts:
        command.append(f"--junitxml={report}")
    env = suite.env | ({"TROUPE_STATEFUL_SEED": str(secrets.randbelow(10**9))} if suite.fresh else {})
    shown = [*(f"{name}={value}" for name, value in env.items()), *command]
    print(f"\n=== {suite.name}: {' '.join(shown)}", flush=True)
    started = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, env=os.environ | env)
    outcome = Outcome(suite, time.monotonic() - started, done.returncode)
    if suite.counts:
        outcome.passed, outcome.failed, outcome.skipped = counted(report)
    return outcome


def summary(outcomes: list[Outcome]) -> str:
    lines = ["", f"{'suite':<26}{'seconds':>9}{'passed':>8}{'failed':>8}{'skipped':>9}  result"]
    for o in outcomes:
        result = "ok" if o.ok else ("skipped tests are not allowed here" if o.skipped and not o.failed else "FAILED")
        lines.append(f"{o.suite.name:<26}{o.seconds:>9.1f}{o.passed:>8}{o.failed:>8}{o.skipped:>9}  {result}")
    passed = sum(o.passed if o.suite.counts else o.ok for o in outcomes)
    failed = sum(max(o.failed, not o.ok) for o in outcomes)
    skipped = sum(o.skipped for o in outcomes)
    return "\n".join([*lines, "", f"{passed} passed, {failed} failed, {skipped} skipped"])


def benchmarks() -> int:
    worst = 0
    for file in sorted((ROOT / "bench").glob("[a-z]*.py")):
        print(f"# {file.relative_to(ROOT)}", file=sys.stderr, flush=True)
        worst |= subprocess.run([".venv/app/bin/python", "-m", f"bench.{file.stem}"], cwd=ROOT).returncode
    return worst


def names(where: str) -> str:
    return ", ".join(suite.name for suite in SUITES if suite.where == where)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("where", choices=[*TARGETS, "bench"])
    arguments.add_argument(
        "--only", metavar="SUITE", help="; ".join(f"of {where}: {names(where)}" for where in TARGETS)
    )
    options = arguments.parse_args()
    if options.where == "bench":
        return benchmarks()
    chosen = [s for s in SUITES if s.where == options.where and options.only in (None, s.name)]
    if not chosen:
        print(f"no suite {options.only!r} in {options.where}: there is {names(options.where)}", file=sys.stderr)
        return 2
    outcomes = [run(suite) for suite in chosen]
    print(summary(outcomes), flush=True)
    return 0 if all(o.ok for o in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
