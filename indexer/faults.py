"""Named points at which a test can kill the process, as a power cut would. On the development chain only."""

from __future__ import annotations

import os
import signal
from itertools import count

from indexer.deployment import Deployment
from indexer.settings import SettingsError

_name, _, _nth = os.environ.get("FAULT_AT", "").partition(":")
_passes = count(1)


def point(name: str) -> None:
    """Kill this process if FAULT_AT names the point (`name`, or `name:3` for the third pass); else do nothing."""
    if name == _name and next(_passes) == int(_nth or 1):
        os.kill(os.getpid(), signal.SIGKILL)


def require_development(deployment: Deployment) -> None:
    """Refuse to work towards a death that somebody left in the environment. Raises SettingsError."""
    if _name and not deployment.development:
        raise SettingsError(
            f"FAULT_AT={_name} kills the indexer for a test, and this is chain {deployment.chain_id}, not the"
            " development chain: unset FAULT_AT"
        )
