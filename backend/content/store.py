"""The embedded content store: IPFS blocks as plain files on one machine, with pins and garbage collection.

    <root>/blocks/ab/ab12...   one block, named by the sha256 of its bytes (so `sha256sum` checks it)
    <root>/pins/bafk...        one recursive pin
    <root>/tmp/                blocks that are being written
    <root>/lock                shared while something is added, exclusive while garbage is collected

A block is written to tmp, flushed to disk and renamed, so a crash leaves a whole block or none; a pin is written after
all of its blocks. Every block is hashed again whenever it is read. `ContentStore` is the small interface that the Kubo
client (client.py) has too, so that nothing else knows which of the two it talks to.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from backend.content.cid import CID
from backend.content.unixfs import InvalidBlock, Layout, Link, blocks_below, decode, import_file, read_file
from backend.files import sync


class ContentError(Exception):
    """What a content store can't do; the message says what to do about it."""


class ContentMissing(ContentError):
    """A block is not in the store."""

    def __init__(self, cid: CID) -> None:
        super().__init__(f"{cid} is not in this store; add its content again")
        self.cid = cid


class ContentCorrupt(ContentError):
    """What is stored under a CID is not what the CID names; adding the same content again mends it."""

    def __init__(self, cid: CID, reason: str) -> None:
        super().__init__(f"{cid} is damaged ({reason}); add its content again to mend it")
        self.cid = cid


class ContentUnavailable(ContentError):
    """The store itself can't be reached or has no room."""


class ContentStore(Protocol):
    """Where content lives: this file's BlockStore, or a Kubo node."""

    def add(self, pieces: Iterable[bytes], *, pin: bool = True) -> Link:
        """Import one file (CIDv1, raw leaves, 256 KiB, 174 links) and pin it; return its root."""
        ...

    def size(self, cid: CID) -> int:
        """Bytes of the file."""
        ...

    def cat(self, cid: CID, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The file's bytes from `start` to `stop` (exclusive; None: the end)."""
        ...

    def pin(self, cid: CID) -> None:
        """Keep a file or folder, with all blocks below it, through garbage collection."""
        ...

    def unpin(self, cid: CID) -> None:
        """Let garbage collection take it; nothing happens when it is not pinned."""
        ...

    def is_pinned(self, cid: CID) -> bool:
        """Whether this very CID is a recursive pin."""
        ...


def file_size(cid: CID, block: Callable[[CID], bytes]) -> int:
    """Bytes of a file whose blocks are read by `block`. Raises ContentCorrupt, and what `block` raises."""
    try:
        node = decode(cid, block(cid))
    except InvalidBlock as error:
        raise ContentCorrupt(cid, str(error)) from error
    if node.is_folder:
        raise ContentCorrupt(cid, "it is a folder, not a file")
    return node.content_bytes


def file_bytes(cid: CID, block: Callable[[CID], bytes], start: int = 0, stop: int | None = None) -> Iterator[bytes]:
    """Stream a file or a range of it.

    The root is read before this returns, so that an unknown CID raises here and not in the middle of an answer.
    """

    def stream() -> Iterator[bytes]:
        try:
            yield from read_file(cid, block, start, stop)
        except InvalidBlock as error:
            raise ContentCorrupt(cid, str(error)) from error

    file_size(cid, block)
    return stream()


@dataclass(frozen=True, slots=True)
class Collected:
    """What a garbage collection removed and kept."""

    removed_blocks: int
    removed_bytes: int
    kept_blocks: int


@dataclass(frozen=True, slots=True)
class BlockStore:
    """A ContentStore below one folder; any number of threads and processes of one machine may share it."""

    root: Path
    layout: Layout = field(default_factory=Layout)

    def __post_init__(self) -> None:
        for name in ("blocks", "pins", "tmp"):
            (self.root / name).mkdir(parents=True, exist_ok=True)

    # --- blocks -------------------------------------------------------------------------------------------------------

    def block(self, cid: CID) -> bytes:
        """Read one block and check it. Raises ContentMissing or ContentCorrupt."""
        try:
            data = self._path(cid).read_bytes()
        except FileNotFoundError:
            raise ContentMissing(cid) from None
        if not cid.matches(data):
            raise ContentCorrupt(cid, f"its {len(data)} bytes have another hash")
        return data

    def _path(self, cid: CID) -> Path:
        name = cid.digest.hex()
        return self.root / "blocks" / name[:2] / name

    def _write_block(self, cid: CID, data: bytes) -> Path:
        """Write a block unless exactly these bytes are there already; return its folder."""
        path = self._path(cid)
        with contextlib.suppress(FileNotFoundError):
            if path.read_bytes() == data:
                return path.parent
        path.parent.mkdir(exist_ok=True)
        self._replace(path, data)
        return path.parent

    def _replace(self, path: Path, data: bytes) -> None:
        partial = self.root / "tmp" / secrets.token_hex(16)
        try:
            with partial.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    # --- the ContentStore interface -----------------------------------------------------------------------------------

    def add(self, pieces: Iterable[bytes], *, pin: bool = True) -> Link:
        """Import a file as a stream; when this returns, its blocks and its pin have reached the disk.

        Raises:
            ContentUnavailable: the disk is full or can't be written.
            whatever `pieces` raises; what was written of it until then goes with the next collection.
        """
        touched: set[Path] = set()

        def emit(cid: CID, data: bytes) -> None:
            with _disk():
                touched.add(self._write_block(cid, data))

        with self._locked(fcntl.LOCK_SH):
            link = import_file(pieces, emit, self.layout)
            for folder in (*touched, self.root / "blocks"):
                sync(folder)
            if pin:
                self._write_pin(link.cid)
        return link

    def size(self, cid: CID) -> int:
        """Bytes of the file. Raises ContentMissing or ContentCorrupt (a folder has no bytes of its own)."""
        return file_size(cid, self.block)

    def cat(self, cid: CID, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Stream a file or a range of it, each block checked as it is read; an unknown CID raises here."""
        return file_bytes(cid, self.block, start, stop)

    def pin(self, cid: CID) -> None:
        """Pin recursively. Raises ContentMissing when a block below it is not here: a pin is a promise to have all."""
        with self._locked(fcntl.LOCK_SH):
            for below in self._below(cid):
                if not self._path(below).exists():
                    raise ContentMissing(below)
            self._write_pin(cid)

    def unpin(self, cid: CID) -> None:
        """Forget the pin; the blocks stay until the next collection."""
        self._pin_path(cid).unlink(missing_ok=True)

    def is_pinned(self, cid: CID) -> bool:
        """Whether this CID (as version 0 or 1) is a recursive pin of its own."""
        return self._pin_path(cid).exists()

    def pins(self) -> Iterator[CID]:
        """All recursive pins."""
        for path in (self.root / "pins").iterdir():
            yield CID.parse(path.name)

    def collect_garbage(self) -> Collected:
        """Remove every block that no pin holds, and what crashed writers left in tmp.

        Waits until nothing is being added. Raises ContentMissing or ContentCorrupt, and removes nothing, when a pinned
        tree has a hole: what hangs below the hole could not be told from garbage.
        """
        with self._locked(fcntl.LOCK_EX):
            kept = {below.digest.hex() for cid in self.pins() for below in self._below(cid)}
            removed = removed_bytes = 0
            for path in (self.root / "blocks").glob("??/*"):
                if path.name not in kept:
                    removed_bytes += path.stat().st_size
                    path.unlink()
                    removed += 1
            for partial in (self.root / "tmp").iterdir():
                partial.unlink()
        return Collected(removed, removed_bytes, len(kept))

    # --- below --------------------------------------------------------------------------------------------------------

    def _below(self, cid: CID) -> Iterator[CID]:
        try:
            yield from blocks_below(cid, self.block)
        except InvalidBlock as error:
            raise ContentCorrupt(cid, str(error)) from error

    def _pin_path(self, cid: CID) -> Path:
        return self.root / "pins" / str(CID(1, cid.codec, cid.digest))

    def _write_pin(self, cid: CID) -> None:
        path = self._pin_path(cid)
        if not path.exists():
            with _disk():
                self._replace(path, b"recursive\n")
                sync(path.parent)

    @contextlib.contextmanager
    def _locked(self, mode: int) -> Iterator[IO[bytes]]:
        """Hold the store's lock: shared for writers, exclusive for the collector, across processes."""
        with (self.root / "lock").open("ab") as file:
            fcntl.flock(file, mode)
            yield file


@contextlib.contextmanager
def _disk() -> Iterator[None]:
    """Turn a full or read-only disk into the store's own error."""
    try:
        yield
    except OSError as error:
        raise ContentUnavailable(f"the content store can't be written ({error.strerror}); free space, retry") from error
