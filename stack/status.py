"""What runs of a stack, from its records; asked from another process than its supervisor."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from stack.processes import Identity, family


@dataclass(frozen=True)
class PartStatus:
    """One process of the tree; memory and time are of it and of what it started."""

    name: str
    pid: int
    runs: bool
    up_s: float
    memory_bytes: int


def processes(state: Path) -> list[PartStatus]:
    """The parts that the supervisor of this folder has recorded, in their order; none when no stack was started."""
    try:
        records = json.loads((state / "processes.json").read_text())
    except (FileNotFoundError, ValueError):
        return []
    return [_status(name, record) for name, record in records.items()]


def _status(name: str, record: dict[str, object]) -> PartStatus:
    leader = Identity(int(str(record["pid"])), float(str(record["started"])), tuple(record["command"]))  # type: ignore[arg-type]
    process = leader.process()
    if process is None:
        return PartStatus(name, leader.pid, runs=False, up_s=0, memory_bytes=0)
    total = 0
    for pid in [leader.pid, *(child.pid for child in family(leader))]:
        try:
            memory = psutil.Process(pid).memory_full_info()
            total += memory.pss  # shared pages are counted once over the family
        except (psutil.Error, AttributeError):
            continue
    return PartStatus(name, leader.pid, runs=True, up_s=time.time() - leader.started, memory_bytes=total)
