"""How many random histories a run has, which ones, and what they must have reached together."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

EXAMPLES = int(os.environ.get("TROUPE_STATEFUL_EXAMPLES", "8"))
"""How much a run does: eight are one history of each machine, so `make test` does one, and `make ci` ten."""

WHOLE_STEPS = int(os.environ.get("TROUPE_STATEFUL_STEPS", "0"))
"""Instead: as many histories of each machine as it takes for so many steps."""

FIRST = int(os.environ.get("TROUPE_STATEFUL_SEED", "0"))


def seeds(steps: int) -> range:
    """Seeds of a machine's histories, which have so many steps each.

    A test has its seed in its name; with that as TROUPE_STATEFUL_SEED it is the first of a run.
    """
    return range(FIRST, FIRST + (-(-WHOLE_STEPS // steps) or max(1, EXAMPLES // 8)))


class Reached:
    """What the histories of a run reached. It is demanded of them together, since one alone may draw little."""

    def __init__(self) -> None:
        self.histories, self.counts = 0, Counter[Any]()

    def add(self, reached: Mapping[Any, int]) -> None:
        """Count a history that is over."""
        self.histories += 1
        self.counts.update(reached)

    def demand(self, least: Mapping[Any, float]) -> None:
        """Each must have been reached so often a history, on average: what one in ten does, by ten together."""
        assert self.histories, "no history was run: select them together with this test"
        short = {what: (self.counts[what], int(often * self.histories)) for what, often in least.items()}
        short = {what: figures for what, figures in short.items() if figures[0] < figures[1]}
        assert not short, f"{self.histories} histories reached too little (found, wanted): {short}"
