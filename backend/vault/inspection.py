"""What is in a vault: how many keys each version of the master key wraps, which do not open, which are nobody's."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from backend.vault.master_key import VaultError
from backend.vault.vault import SHARDS, Vault

YOUNG: Final = timedelta(hours=1)
"""A key is on the disk before the account that it is for is committed: so long that is no finding."""


@dataclass
class Inspection:
    """What was found."""

    counts: dict[int, int]
    """Version of the master key -> data keys that it wraps."""
    erased: int = 0
    damaged: list[tuple[uuid.UUID, str]] = field(default_factory=list)
    """Keys that do not open, and why."""
    present: set[uuid.UUID] = field(default_factory=set)


def inspect(vault: Vault) -> Inspection:
    """Open every key once. Raises MasterKeyError."""
    found = Inspection(dict.fromkeys(vault.known_versions(), 0))
    for shard in SHARDS:
        for person in vault.settled(shard):
            try:
                version = vault.version_of(person)
                vault.check(person)
            except VaultError as error:
                found.damaged.append((person, str(error)))
                continue
            if version is None:
                found.erased += 1
            else:
                found.counts[version] = found.counts.get(version, 0) + 1
                found.present.add(person)
    return found


def orphans(vault: Vault, found: Inspection, accounts: Collection[uuid.UUID], *, now: datetime) -> list[uuid.UUID]:
    """Keys of no account of the database, but for those that were written within the last hour."""
    limit = (now - YOUNG).timestamp()
    return sorted(person for person in found.present - set(accounts) if vault.path(person).stat().st_mtime <= limit)
