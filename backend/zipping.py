"""Zip files as streams: any number of members of any size in constant memory. Pure."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from typing import Any, Final

PIECE: Final = 65_536
EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The members' time: the same content is the same zip."""


class _Pipe:
    """What a ZipFile writes to: forward only, emptied by whoever reads."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def write(self, data: bytes) -> int:
        self._kept += data
        return len(data)

    def flush(self) -> None:
        """Nothing waits here."""

    def take(self, least: int = 1) -> Iterator[bytes]:
        if len(self._kept) >= least:
            yield bytes(self._kept)
            self._kept.clear()


def zip_stream(members: Iterable[tuple[str, Iterable[bytes]]]) -> Iterator[bytes]:
    """The bytes of a zip whose members are made while it is read; `members` are names with their content in pieces."""
    pipe = _Pipe()
    target: Any = pipe  # ZipFile takes what only writes, and its stubs do not say so
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, pieces in members:
            info = zipfile.ZipInfo(name, EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o600 << 16
            with archive.open(info, "w", force_zip64=True) as member:
                for piece in pieces:
                    member.write(piece)
                    yield from pipe.take(PIECE)
    yield from pipe.take()
