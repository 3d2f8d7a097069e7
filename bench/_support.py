"""What the benchmarks share: how a figure is printed, and a server to measure beside ours. No benchmark itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from stack.processes import HOST, free_port
from stack.supervisor import answers_http

ROOT = Path(__file__).resolve().parent.parent
START_S = 30


def figure(  # noqa: PLR0917 - a figure's parts in the order in which it is read
    bench: str,
    metric: str,
    value: float,
    unit: str,
    reference: str | None = None,
    ratio: float | None = None,
    *,
    digits: int = 3,
    at_most: float | None = None,
) -> bool:
    """Print one figure as a line of JSON; `reference` is what `ratio` is against. Whether its limit holds."""
    line = {"bench": bench, "metric": metric, "value": round(value, digits), "unit": unit, "reference": reference}
    line |= {"ratio": None if ratio is None else round(ratio, 3)}
    print(json.dumps(line if at_most is None else line | {"at_most": at_most}), flush=True)
    return at_most is None or value <= at_most


@contextmanager
def bare_server(
    factory: str, environment: Mapping[str, str], *, path: str, log: Path, options: Sequence[str] = ()
) -> Iterator[str]:
    """An application under uvicorn on a free port; yields the address of `path` once it answers.

    `options` are further ones of uvicorn. Raises SystemExit when it does not start.
    """
    port = free_port()
    url = f"http://{HOST}:{port}{path}"
    command = [sys.executable, "-m", "uvicorn", "--factory", factory, "--host", HOST, "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *options], cwd=ROOT, env={**os.environ, **environment}, stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + START_S
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the bare server did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def _answers(url: str) -> bool:
    try:
        return answers_http(url)
    except OSError:
        return False
