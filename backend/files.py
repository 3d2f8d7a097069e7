"""Files that must survive a power cut."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def sync(path: Path) -> None:
    """Make a file's bytes, or the renames in a folder, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


PARTIAL = ".partial-"
"""How names of files begin that are not whole yet; what a killed process left of them may be removed."""


def write_durably(path: Path, data: bytes, *, mode: int = 0o600, replace: bool = True) -> None:
    """Write a file that is there whole or not at all, whenever the power goes. Raises FileExistsError unless `replace`.

    The bytes go to a file beside it, which takes its name when they are on the disk.
    """
    write_pieces_durably(path, [data], mode=mode, replace=replace)


def write_pieces_durably(path: Path, pieces: Iterable[bytes], *, mode: int = 0o600, replace: bool = True) -> None:
    """As `write_durably`, of bytes that come in pieces; what `pieces` raises leaves nothing behind."""
    partial = path.with_name(f"{PARTIAL}{path.name}-{os.getpid()}-{os.urandom(4).hex()}")
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with open(handle, "wb") as file:
            os.fchmod(handle, mode)  # whatever the umask is
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(handle)
        if replace:
            partial.replace(path)
        else:
            os.link(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    sync(path.parent)
