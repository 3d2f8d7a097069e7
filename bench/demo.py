"""How long the small demo takes on a stack that is up, and the peak memory of the API and the indexer meanwhile.

    python -m bench.demo [--scale 0.05]

Prints one JSON object a line: bench, metric, value, unit, reference (what `ratio` is against), ratio. Ends with 1 when
the demo fails or a process needs more memory than its limit; seconds depend on what else the machine does: they are
shown beside theirs.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from bench import _support
from stack.supervisor import Ports, Stack

ROOT = Path(__file__).resolve().parent.parent
RSS_LIMITS_MB = {"api": 250, "indexer": 200}
SMALL_LIMIT_S, WHOLE_LIMIT_S = 60, 240
"""The demo's limits after set-up, at a scale of at most 0.05 and above."""
HIGH_WATER = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


figure = partial(_support.figure, "demo")


def peak_mb(pid: int) -> float:
    """The largest resident size that a process ever had, as the kernel counted it (proc(5), VmHWM)."""
    found = HIGH_WATER.search(Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


def limited(metric: str, value: float, unit: str, limit: float) -> bool:
    """Print a figure beside its limit; whether it is within."""
    figure(metric, value, unit, f"limit {limit:g} {unit}", value / limit)
    return value <= limit


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.05)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tb-") as name:
        folder = Path(name)
        stack = Stack(folder / "state", Ports.free())
        began = time.monotonic()
        with stack:
            figure("stack_from_nothing", time.monotonic() - began, "s")
            settings = stack.settings
            command = [sys.executable, "-m", "demo", "--scale", str(options.scale)]
            command += ["--api", settings.api_url, "--rpc", settings.rpc_url]
            started = time.monotonic()
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
            seconds = time.monotonic() - started
            if done.returncode:
                sys.stderr.write(done.stdout + done.stderr)
                return 1
            limited("story", seconds, "s", SMALL_LIMIT_S if options.scale <= 0.05 else WHOLE_LIMIT_S)
            ok = all(
                [
                    limited(f"{part}_peak_memory", peak_mb(stack.pid(part)), "MB", limit)
                    for part, limit in RSS_LIMITS_MB.items()
                ]
            )
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
