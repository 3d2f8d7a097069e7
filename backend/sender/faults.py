"""Kill this process at a named point of the sender, for fault tests of a running stack. Development and tests only."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

STEPS = ("claim", "nonce", "sign", "commit", "send", "ack", "receipt", "final", "done")
POINTS = tuple(f"{when}_{step}" for step in STEPS for when in ("before", "after"))


def nothing(point: str) -> None:
    """The probe of production."""


def from_environment(environment: Mapping[str, str], *, env: str) -> Callable[[str], None]:
    """A probe that kills its process with SIGKILL at TROUPE_FAULT_AT, once if TROUPE_FAULT_ONCE names a marker file.

    `env` is the setting: in production the variables are ignored. Raises ValueError for a point that does not exist.
    """
    wanted = environment.get("TROUPE_FAULT_AT")
    if not wanted or env == "production":
        return nothing
    if wanted not in POINTS:
        raise ValueError(f"TROUPE_FAULT_AT={wanted} is no point of the sender: use one of {', '.join(POINTS)}")
    once = environment.get("TROUPE_FAULT_ONCE")

    def probe(point: str) -> None:
        if point != wanted:
            return
        if once:
            try:
                Path(once).touch(exist_ok=False)
            except FileExistsError:
                return
        os.kill(os.getpid(), signal.SIGKILL)

    return probe
