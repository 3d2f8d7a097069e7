"""What training costs, in a process of its own: processor seconds, and the most memory that it held.

    python -m bench.ranking.training WORKS

is that process; it prints one JSON object.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from typing import Any

import numpy as np

from bench.ranking.frame import Report, Sizes, processor_seconds

PAIRS_A_WORK = 80


def run(out: Report, sizes: Sizes) -> None:
    """The model that says which works go together."""
    empty, cost = measured(1), measured(sizes.works)
    beside, name = "the same process with one work", f"train {sizes.works:,} works"
    out.figure(f"{name}, processor time", cost["seconds"], "s", at_most=10)
    ratio = cost["megabytes"] / empty["megabytes"]
    out.figure(f"{name}, memory", cost["megabytes"], "MB at most", beside=beside, ratio=ratio, at_most=600)


def measured(works: int) -> dict[str, Any]:
    """Train in another process. Raises CalledProcessError when it fails."""
    command = [sys.executable, "-m", "bench.ranking.training", str(works)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


def main() -> None:
    from backend.personalization import linear  # noqa: PLC0415 - in the process that is measured

    works = int(sys.argv[1])
    rng = np.random.default_rng(1)
    people = rng.integers(0, works, size=works * PAIRS_A_WORK)
    liked = (rng.beta(0.6, 2.0, size=works * PAIRS_A_WORK) * works).astype(np.int64)
    with processor_seconds() as seconds:
        model = linear.fit(people, liked)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds(), "megabytes": peak, "entries": int(model.matrix.nnz)}))


if __name__ == "__main__":
    main()
