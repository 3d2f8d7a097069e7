"""Named points at which a test can kill the process, as a power cut would."""

from __future__ import annotations

import os
import signal
from itertools import count

_name, _, _nth = os.environ.get("FAULT_AT", "").partition(":")
_passes = count(1)


def point(name: str) -> None:
    """Kill this process if FAULT_AT names the point (`name`, or `name:3` for the third pass); else do nothing."""
    if name == _name and next(_passes) == int(_nth or 1):
        os.kill(os.getpid(), signal.SIGKILL)
