"""The platform's signing key in the mirror of the keys, wrapped by the master key as data keys are.

Without it nobody here or elsewhere believes the taste documents that people carry. It leads to no person, so it has a
copy and no mark of an erasure.

    taste.key    4 bytes: version of the master key; 12: nonce; the 32 of the key by AES-256-GCM
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from backend.backup.archive import BackupError
from backend.files import write_durably
from backend.personalization.person import portable
from backend.vault import master_key
from backend.vault.master_key import MasterKey

NAME: Final = "taste.key"
"""In the mirror's folder, whose data keys lie deeper."""
SIZE: Final = 4 + 12 + 32 + 16

Brought = Literal["none", "same", "brought", "other"]
"""No copy in the mirror; the copy is what is here; was brought back; another one is here, and stays."""


def mirror(file: Path, master_file: Path, folder: Path) -> bool:
    """Bring the mirror's copy up to the key in `file`; False where none was made yet. Raises BackupError."""
    key = _read(file)
    if key is None:
        return False
    master, copy = master_key.read(master_file), folder / NAME
    if not copy.exists() or not _is_copy(copy.read_bytes(), master, key):
        write_durably(copy, _wrap(master, key))
    return True


def bring_back(file: Path, master_file: Path, folder: Path) -> Brought:
    """Put the mirror's copy where the key is missing. Raises BackupError for a copy that does not open."""
    try:
        data = (folder / NAME).read_bytes()
    except FileNotFoundError:
        return "none"
    key, here = _unwrap(data, master_key.read(master_file), folder / NAME), _read(file)
    if here is None:
        portable.write_key(file, key)
        return "brought"
    return "same" if here.private_bytes_raw() == key.private_bytes_raw() else "other"


def _read(file: Path) -> Ed25519PrivateKey | None:
    try:
        return portable.read_key(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BackupError(str(error)) from error


def _aad(version: int) -> bytes:
    return portable.KEY_FORMAT.encode() + version.to_bytes(4)


def _wrap(master: MasterKey, key: Ed25519PrivateKey) -> bytes:
    version, nonce = master.current, os.urandom(12)
    wrapped = AESGCM(master.keys[version]).encrypt(nonce, key.private_bytes_raw(), _aad(version))
    return version.to_bytes(4) + nonce + wrapped


def _unwrap(data: bytes, master: MasterKey, copy: Path) -> Ed25519PrivateKey:
    version = int.from_bytes(data[:4])
    if len(data) == SIZE and version not in master.keys:
        raise BackupError(
            f"{copy} is wrapped by version {version} of the master key, and the master key file holds no such version:"
            " bring back the file that does"
        )
    try:
        opened = AESGCM(master.keys[version]).decrypt(data[4:16], data[16:], _aad(version))
        return Ed25519PrivateKey.from_private_bytes(opened)
    except (InvalidTag, KeyError, ValueError):
        raise BackupError(
            f"{copy} does not open with the master key: take another mirror, or move the file away and go on without"
        ) from None


def _is_copy(data: bytes, master: MasterKey, key: Ed25519PrivateKey) -> bool:
    """Whether it holds this key, wrapped by the version that is current."""
    try:
        same = _unwrap(data, master, Path(NAME)).private_bytes_raw() == key.private_bytes_raw()
    except BackupError:
        return False
    return same and int.from_bytes(data[:4]) == master.current
