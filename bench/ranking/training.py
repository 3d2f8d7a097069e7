"""What training costs, in a process of its own: processor seconds, and the most memory that it held.

    python -m bench.ranking.training WORKS

is that process; it prints one JSON object. Everything that a model needs is in it, what works are about too; reading
the database and judging are not.
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
WORDS = 20_000


def run(out: Report, sizes: Sizes) -> None:
    """A catalogue of usual size: all of it is in the matrix."""
    _figures(out, sizes.works, seconds=10, megabytes=600)


def large(out: Report, sizes: Sizes) -> None:
    """One that does not fit: a head of it is in the matrix. Takes minutes."""
    _figures(out, sizes.large, seconds=None, megabytes=None)


def _figures(out: Report, works: int, *, seconds: float | None, megabytes: float | None) -> None:
    empty, cost = measured(10), measured(works)
    beside, name = "the same process with ten works", f"train {works:,} works"
    out.figure(f"{name}, processor time", cost["seconds"], "s", at_most=seconds)
    ratio = cost["megabytes"] / empty["megabytes"]
    out.figure(f"{name}, memory", cost["megabytes"], "MB at most", beside=beside, ratio=ratio, at_most=megabytes)
    out.figure(f"{name}, in the matrix", cost["head"], "works", beside="all works", ratio=cost["head"] / works)
    whole = 4 * works**2 / 1e6
    out.figure(f"{name}, one matrix of all works", whole, "MB", beside="what was used", ratio=whole / cost["megabytes"])


def measured(works: int) -> dict[str, Any]:
    """Train in another process. Raises CalledProcessError when it fails."""
    command = [sys.executable, "-m", "bench.ranking.training", str(works)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


def main() -> None:
    # in the process that is measured
    from backend.personalization.models.training import Pairs, Shelf, Work, fit  # noqa: PLC0415
    from backend.personalization.ranking.content import Described  # noqa: PLC0415
    from backend.personalization.ranking.scoring import Weights  # noqa: PLC0415

    works = int(sys.argv[1])
    rng = np.random.default_rng(1)
    people = rng.integers(0, works, size=works * PAIRS_A_WORK)
    liked = (rng.beta(0.6, 2.0, size=works * PAIRS_A_WORK) * works).astype(np.int64)
    said = (rng.beta(0.5, 5.0, size=(works, 8)) * WORDS).astype(np.int64)
    known = [Work(n, 0, Described(" ".join(f"w{word}" for word in said[n]), (f"t{n % 40}",))) for n in range(works)]
    pairs = Pairs(people, liked, rng.random(len(people)) * 1e6)
    with processor_seconds() as seconds:
        model = fit(pairs, Shelf.of(known), now=1e6, weights=Weights())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds(), "megabytes": peak, "head": len(model.items.work_ids)}))


if __name__ == "__main__":
    main()
