"""A Kubo node as content store, through ipfshttpclient: the one file that talks to it.

The node is not trusted: whatever is added is imported here as well and the two CIDs compared, and whatever is read is
fetched block by block and hashed. ipfshttpclient sends no import parameters of its own accord, so all that decide the
CID are sent with each call; otherwise they would be the node's configuration.
"""

from __future__ import annotations

import tempfile
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar, cast

import ipfshttpclient
from ipfshttpclient.exceptions import CommunicationError, ErrorResponse

from backend.content.cid import CID, InvalidCid
from backend.content.store import (
    ContentCorrupt,
    ContentError,
    ContentMissing,
    ContentUnavailable,
    file_bytes,
    file_size,
)
from backend.content.unixfs import MAX_BLOCK_BYTES, Layout, Link, import_file

TIMEOUT_S: Final = 30
_ADD: Final = {"cid_version": 1, "raw_leaves": True, "chunker": "size-262144", "trickle": False, "pin": False}
"""Equal to `Layout()`. Named arguments, because the library overwrites `opts` with its own defaults for these."""
_ADD_OPTIONS: Final = {"max-file-links": 174}
"""For what the library has no argument."""

# ipfshttpclient passes urllib3 an argument of the past
warnings.filterwarnings("ignore", message=".*strict.*", category=FutureWarning)

R = TypeVar("R")


class ContentDisagrees(ContentError):
    """Kubo and our importer gave different CIDs for the same bytes; what Kubo has is not pinned."""

    def __init__(self, ours: CID, theirs: str) -> None:
        super().__init__(f"Kubo says {theirs} where the same bytes have the CID {ours}; check the node's version")
        self.ours = ours
        self.theirs = theirs


class KuboStore:
    """A ContentStore on a Kubo node whose RPC API listens at a multiaddr, like `/ip4/127.0.0.1/tcp/5001`."""

    def __init__(self, address: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._threads = threading.local()

    @property
    def _client(self) -> Any:
        """This thread's client with its kept connection; requests' sessions are not shared between threads."""
        if not hasattr(self._threads, "client"):
            # not connect(), which probes the version and warns of every Kubo since 0.9
            self._threads.client = ipfshttpclient.Client(self._address, session=True, timeout=self._timeout_s)
        return self._threads.client

    def _call(self, request: Callable[[Any], R], cid: CID | None = None) -> R:
        """Make one request; turn the library's errors into the store's."""
        try:
            return request(self._client)
        except ErrorResponse as error:
            if cid is not None and ("not found" in str(error) or "could not find" in str(error)):
                raise ContentMissing(cid) from error
            raise ContentUnavailable(f"Kubo at {self._address} refuses: {error}") from error
        except CommunicationError as error:
            raise ContentUnavailable(f"Kubo at {self._address} does not answer; is `ipfs daemon` running?") from error

    def version(self) -> str:
        """The node's version, for `doctor`."""
        return str(self._call(lambda client: client.version())["Version"])

    def add(self, pieces: Iterable[bytes], *, pin: bool = True) -> Link:
        """Import a file here and on the node, and pin it once both agree on the CID.

        Raises ContentDisagrees or ContentUnavailable; then nothing is pinned.
        """
        with tempfile.NamedTemporaryFile() as spool:  # the library wants a name

            def copied() -> Iterator[bytes]:
                for piece in pieces:
                    spool.write(piece)
                    yield piece

            ours = import_file(copied(), _discard, Layout())
            spool.seek(0)
            answer = self._call(lambda client: client.add(spool, **_ADD, opts=dict(_ADD_OPTIONS)))
        theirs = str(answer["Hash"])
        if not _same(theirs, ours.cid):
            raise ContentDisagrees(ours.cid, theirs)
        if pin:
            self.pin(ours.cid)
        return ours

    def size(self, cid: CID) -> int:
        """Bytes of the file. Raises ContentMissing, ContentCorrupt or ContentUnavailable."""
        return file_size(cid, self.block)

    def block(self, cid: CID) -> bytes:
        """One block from the node, checked. Raises ContentMissing, ContentCorrupt or ContentUnavailable."""
        data = cast(bytes, self._call(lambda client: client.block.get(str(cid), offline=True), cid))
        if len(data) > MAX_BLOCK_BYTES or not cid.matches(data):
            raise ContentCorrupt(cid, f"the node sent {len(data)} bytes with another hash")
        return data

    def cat(self, cid: CID, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Stream a file or a range of it, each block checked; an unknown CID raises here."""
        return file_bytes(cid, self.block, start, stop)

    def pin(self, cid: CID) -> None:
        """Pin recursively."""
        self._call(lambda client: client.pin.add(str(cid)), cid)

    def unpin(self, cid: CID) -> None:
        """Forget the pin; nothing happens when there is none."""
        if self.is_pinned(cid):
            self._call(lambda client: client.pin.rm(str(cid)))

    def is_pinned(self, cid: CID) -> bool:
        """Whether this very CID is a recursive pin."""
        try:
            self._call(lambda client: client.pin.ls(str(cid), type="recursive"))
        except ContentUnavailable as error:
            if "is not pinned" in str(error):
                return False
            raise
        return True

    def collect_garbage(self) -> None:
        """Let the node remove what no pin holds."""
        self._call(lambda client: client.repo.gc(quiet=True))

    def close(self) -> None:
        """Close this thread's connection."""
        if hasattr(self._threads, "client"):
            self._threads.client.close()
            del self._threads.client


def _discard(_cid: CID, _block: bytes) -> None:
    """The blocks are the node's to keep; only the root is wanted here."""


def _same(theirs: str, ours: CID) -> bool:
    try:
        return CID.parse(theirs) == ours
    except InvalidCid:
        return False
