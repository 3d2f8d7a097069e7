"""Run every command of the README's shell blocks, as a stranger would: `python3 scripts/readme.py`.

A command that keeps a stack running is run so that it ends: `make demo` with ARGS=--once. Ends with 1 at the first
command that fails.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENDING = {"make demo": "make demo ARGS=--once"}


def commands(text: str) -> list[str]:
    """The lines of all ```sh blocks, without comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return [line.split("#")[0].strip() for block in blocks for line in block.splitlines() if line.split("#")[0].strip()]


def main() -> int:
    found = commands((ROOT / "README.md").read_text())
    if not found:
        print("the README has no commands", file=sys.stderr)
        return 1
    for command in found:
        run = ENDING.get(command, command)
        print(f"\n$ {run}", flush=True)
        started = time.monotonic()
        status = subprocess.run(run.split(), cwd=ROOT).returncode
        print(f"`{run}` ended with {status} after {time.monotonic() - started:.0f} s", flush=True)
        if status:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
