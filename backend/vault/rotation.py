"""Rotation of the master key: a new version, and every data key wrapped anew, while everything runs.

    1. the master key file gets a version more, which wraps what is written from then on; the older ones go on opening
    2. person by person the data key is wrapped by it, each file in one step; what the data keys sealed stays as it is
    3. on request, versions that wrap nothing any more leave the master key file

Killed at any moment, everything opens as before, and the same command goes on where it was.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from backend.vault.master_key import VaultError
from backend.vault.vault import SHARDS, Vault

Progress = Callable[[int, int], None]
"""Called with how many of how many folders are done."""


@dataclass
class Rotated:
    """What a rotation did."""

    version: int
    """The current version now."""
    resumed: bool
    """An earlier rotation had not ended: this one ended it, and added no version."""
    wrapped: int = 0
    failed: dict[uuid.UUID, str] = field(default_factory=dict)
    """Persons whose key file could not be wrapped anew, and why."""
    dropped: list[int] = field(default_factory=list)
    """Versions that left the master key file."""


def behind(vault: Vault) -> int:
    """How many data keys older versions wrap. Files that cannot be read count: somebody has to look at them."""
    current, count = vault.current, 0
    for shard in SHARDS:
        for person in vault.settled(shard):
            try:
                count += vault.version_of(person) not in (None, current)
            except VaultError:
                count += 1
    return count


def rotate(vault: Vault, *, retire: bool = False, progress: Progress = lambda done, total: None) -> Rotated:
    """Rotate the master key, or end the rotation that was begun. Raises VaultError when another one runs.

    `retire` drops versions that wrap nothing any more: copies of the vault that are older than that do not open then.
    """
    with vault.rotating():
        vault.sweep()
        resumed = behind(vault) > 0
        result = Rotated(vault.current if resumed else vault.add_version(), resumed)
        for done, shard in enumerate(SHARDS):
            progress(done, len(SHARDS))
            for person in vault.settled(shard):
                try:
                    result.wrapped += vault.rewrap(person)
                except VaultError as error:
                    result.failed[person] = str(error)
        progress(len(SHARDS), len(SHARDS))
        if retire and not result.failed:
            result.dropped = vault.drop_old_versions()
    return result
