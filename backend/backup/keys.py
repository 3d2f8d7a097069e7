"""The mirror of the vault: every key, and every mark of an erasure, as they are now, in another folder. No history.

A backup holds ciphertext that these keys open, so a mirror belongs on another disk than the backups. An erasure reaches
every mirror that the vault knows of; one that is away then is mended by the next backup, since a mark always wins.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backend.backup.archive import BackupError
from backend.files import write_durably
from backend.vault.master_key import VaultError
from backend.vault.vault import Vault

KNOWN: Final = "mirrors.json"
"""In the vault's folder: the mirrors that were ever made of it."""


@dataclass(frozen=True)
class Mirrored:
    """What a mirroring has changed."""

    people: int
    written: int
    erased: int


def known(vault: Vault) -> list[Path]:
    """The folders that an erasure has to reach beside the vault."""
    try:
        return [Path(folder) for folder in json.loads((vault.folder / KNOWN).read_text())]
    except FileNotFoundError:
        return []


def _remember(vault: Vault, folder: Path) -> None:
    folders = [str(path) for path in known(vault)]
    if str(folder) not in folders:
        write_durably(vault.folder / KNOWN, json.dumps([*folders, str(folder)]).encode())


def mirror(vault: Vault, folder: Path) -> Mirrored:
    """Bring a mirror up to the vault. Keys that the vault does not have are left there, but none of the erased."""
    folder = folder.resolve()
    if folder == vault.folder.resolve():
        raise BackupError("the mirror of the keys must be another folder than the vault itself")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if vault.folder.is_dir():
        _remember(vault, folder)
    other = Vault(folder, vault.master_file)
    people = written = 0
    for person in vault.people("present"):
        people += 1
        key = vault.path(person).read_bytes()
        if other.state(person) == "erased":
            continue  # the vault was put back from an older copy: a mark wins
        if other.state(person) == "absent" or other.path(person).read_bytes() != key:
            other.path(person).parent.mkdir(exist_ok=True, mode=0o700)
            write_durably(other.path(person), key)
            written += 1
    erased = sum(other.destroy(person) for person in vault.people("erased") if other.state(person) != "erased")
    return Mirrored(people, written, erased)


def bring_back(vault: Vault, folder: Path) -> Mirrored:
    """Give a vault the keys of a mirror that it lacks, and the marks of all that were erased there."""
    if not folder.is_dir():
        raise BackupError(f"{folder} is no folder: give --keys the mirror that `troupe backup` made")
    other = Vault(folder, vault.master_file)
    people = written = 0
    for person in other.people("present"):
        people += 1
        if vault.state(person) == "absent":
            vault.path(person).parent.mkdir(exist_ok=True, parents=True, mode=0o700)
            write_durably(vault.path(person), other.path(person).read_bytes())
            written += 1
    erased = sum(vault.destroy(person) for person in other.people("erased") if vault.state(person) != "erased")
    return Mirrored(people, written, erased)


def destroy_everywhere(vault: Vault, person: uuid.UUID) -> list[Path]:
    """Destroy a person's key in the vault and in every mirror; returns the mirrors that could not be reached."""
    vault.destroy(person)
    away = []
    for folder in known(vault):
        try:
            if not folder.is_dir():
                raise FileNotFoundError(folder)
            Vault(folder, vault.master_file).destroy(person)
        except (OSError, VaultError):
            away.append(folder)
    return away
