"""The master key: a file outside the database, with one version or more. It wraps every person's data key.

    {"format": "troupe-master-key/1", "current": 2, "keys": {"1": "<64 hex>", "2": "<64 hex>"}, "index": "<64 hex>"}

`current` wraps what is written now; older versions only open what has not been re-wrapped yet. `index` is the key of
blind indexes and never changes: what was indexed by it is looked up by it.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import orjson

from backend.files import write_durably

FORMAT: Final = "troupe-master-key/1"
KEY_BYTES: Final = 32
SIZE_LIMIT: Final = 1 << 20


class VaultError(Exception):
    """The root of what goes wrong with keys; the text never holds a key."""


class MasterKeyError(VaultError):
    """The master key file cannot be used; the text is one sentence with the remedy."""


@dataclass(frozen=True)
class MasterKey:
    """The versions of a master key. Its repr shows none of them."""

    current: int
    keys: Mapping[int, bytes] = field(repr=False)
    index: bytes = field(repr=False)

    @classmethod
    def new(cls) -> MasterKey:
        return cls(1, {1: os.urandom(KEY_BYTES)}, os.urandom(KEY_BYTES))

    def with_new_version(self) -> MasterKey:
        """One version more, which is the current one."""
        version = max(self.keys) + 1
        return MasterKey(version, {**self.keys, version: os.urandom(KEY_BYTES)}, self.index)

    def only_current(self) -> MasterKey:
        """Without the older versions: what they wrapped cannot be opened any more."""
        return MasterKey(self.current, {self.current: self.keys[self.current]}, self.index)

    def text(self) -> bytes:
        """The file's content."""
        document = {
            "format": FORMAT,
            "current": self.current,
            "keys": {str(version): key.hex() for version, key in sorted(self.keys.items())},
            "index": self.index.hex(),
        }
        return json.dumps(document, indent=1).encode() + b"\n"


def create(path: Path) -> MasterKey:
    """Make a master key file, or read the one that somebody else made meanwhile. Raises MasterKeyError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        write_durably(path, MasterKey.new().text(), replace=False)
    return read(path)


def save(path: Path, master: MasterKey) -> None:
    """Replace the file as a whole, with mode 0600."""
    write_durably(path, master.text())


def read(path: Path) -> MasterKey:
    """The master key of a file. Raises MasterKeyError unless it is there, private, and whole."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise MasterKeyError(
            f"There is no master key at {path}: bring it back from its copy, or for a new installation make one with"
            " `./troupe keys init`"
        ) from None
    except OSError as error:
        raise MasterKeyError(f"The master key file {path} cannot be opened ({error.strerror})") from None
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        os.close(handle)
        raise MasterKeyError(f"The master key {path} is not a file: TROUPE_MASTER_KEY_FILE must name one")
    with open(handle, "rb") as file:
        if found.st_mode & 0o077:
            raise MasterKeyError(
                f"The master key file {path} can be read by others (mode {stat.S_IMODE(found.st_mode):04o}):"
                f" run `chmod 600 {path}`, and rotate the key if others were on this machine"
            )
        data = file.read(SIZE_LIMIT + 1)
    return _parsed(path, data)


def _parsed(path: Path, data: bytes) -> MasterKey:
    try:
        document = orjson.loads(data)  # bounds the depth by itself
        if document["format"] != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        keys = {int(version): bytes.fromhex(key) for version, key in document["keys"].items()}
        master = MasterKey(int(document["current"]), keys, bytes.fromhex(document["index"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        # the text of a parser's error may quote the file
        reason = str(error) if "its format is not" in str(error) else "it is damaged"
        raise MasterKeyError(
            f"The master key file {path} cannot be used, {reason}: bring it back from its copy"
        ) from None
    if any(len(key) != KEY_BYTES for key in (*keys.values(), master.index)):
        raise MasterKeyError(
            f"A key in the master key file {path} has the wrong length, and must have {KEY_BYTES} bytes as hex:"
            " bring the file back from its copy"
        )
    if master.current not in keys or min(keys) < 1 or len(keys) != len(document["keys"]):
        raise MasterKeyError(
            f"The master key file {path} does not hold its current version: bring it back from its copy"
        )
    return master
