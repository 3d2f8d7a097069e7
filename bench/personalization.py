"""The ranking's quality and speed, each figure beside what it is measured against in the same run.

    python -m bench.personalization [--only NAME ...] [--works 5000] [--large 100000] [--rounds 500] [--slates 1000000]

Each section is a file of bench/ranking/; one is added by writing `run(out, sizes)` there and a line in SECTIONS here.
Prints one JSON object a line: bench, metric, value, unit, reference (what `ratio` is against), ratio; `noise` where the
value was measured more than once; `at_most` or `at_least` where there is a limit. Ends with 1, and names them, when a
limit was missed. Times are medians of wall-clock time on one thread, training's are processor time: measure on a
machine that does nothing else.
"""

from __future__ import annotations

import os

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(threads, "1")  # before numpy is there: a serving process has one thread for its arithmetic

import argparse  # noqa: E402
import sys  # noqa: E402
from typing import Final  # noqa: E402

from bench.ranking import (  # noqa: E402
    candidates,
    frame,
    quality,
    serving,
    simulated,
    slates,
    training,
    violations,
)
from bench.ranking.frame import Report, Section, Sizes  # noqa: E402

SECTIONS: Final[dict[str, Section]] = {
    "quality": quality.run,
    "serving": serving.hot,
    "large": serving.large,
    "violations": violations.run,
    "slates": slates.run,
    "simulated": simulated.run,
    "candidates": candidates.run,
    "training": training.run,
    "training-large": training.large,
}


def main() -> int:
    arguments = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        prog="python -m bench.personalization",
    )
    arguments.add_argument("--only", action="append", choices=SECTIONS, metavar="NAME", help=", ".join(SECTIONS))
    for name, value in vars(Sizes()).items():
        arguments.add_argument(f"--{name}", type=int, default=value)
    options = arguments.parse_args()
    out, sizes = Report(), Sizes(**{name: getattr(options, name) for name in vars(Sizes())})
    for section in frame.chosen(options.only, SECTIONS).values():
        section(out, sizes)
    for miss in out.missed:
        print(f"missed: {miss}", file=sys.stderr)
    return 1 if out.missed else 0


if __name__ == "__main__":
    sys.exit(main())
