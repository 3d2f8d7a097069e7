"""UnixFS files and folders as dag-pb blocks, equal to what Kubo's `ipfs add` makes of the same bytes.

Pure: bytes in, blocks out; nothing is read or written here. A file is cut into chunks of one size and bound together by
the balanced layout: leaves from left to right, at most `max_links` links a node, all leaves at the same depth. The
importer holds one chunk and one unfinished node a level, so memory does not grow with the file.

Sources: the UnixFS and dag-pb specifications of IPFS; `backend/content` tests compare with Kubo 0.42.0 row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from backend.content.cid import CID, DAG_PB, RAW, InvalidCid, decode_varint, encode_varint

CHUNK_BYTES: Final = 262_144
MAX_LINKS: Final = 174
MAX_CHUNK_BYTES: Final = 1_048_576
MAX_BLOCK_BYTES: Final = 2_097_152
"""Blocks above this are not exchanged by IPFS nodes, so none is made and none is read."""
MAX_DEPTH: Final = 16
MAX_FOLDER_BYTES: Final = 262_144
"""Past this estimate Kubo shards a folder (HAMT); this importer refuses instead of giving another CID."""

_TYPE_RAW: Final = 0
_TYPE_DIRECTORY: Final = 1
_TYPE_FILE: Final = 2

Emit = Callable[[CID, bytes], None]
"""Takes each finished block, children before parents."""
Fetch = Callable[[CID], bytes]
"""Gives the block of a CID, already checked against it."""


class InvalidBlock(ValueError):
    """A block is not the dag-pb or UnixFS node that it claims to be; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file becomes a tree. The default is the project's: CIDv1, raw leaves, 256 KiB, 174 links.

    CIDv0 has no raw leaves (a single raw chunk would need a CIDv1), so that pair is refused.
    """

    chunk_bytes: int = CHUNK_BYTES
    version: int = 1
    raw_leaves: bool = True
    max_links: int = MAX_LINKS

    def __post_init__(self) -> None:
        if not 1 <= self.chunk_bytes <= MAX_CHUNK_BYTES:
            raise ValueError(f"chunk_bytes must be 1 to {MAX_CHUNK_BYTES}, not {self.chunk_bytes}")
        if self.max_links < 2:
            raise ValueError(f"max_links must be at least 2, not {self.max_links}")
        if self.version == 0 and self.raw_leaves:
            raise ValueError("CIDv0 has no raw leaves; use version=1 or raw_leaves=False")


@dataclass(frozen=True, slots=True)
class Link:
    """A file or folder as its parent sees it: CID, bytes of content, and bytes of all blocks below (Tsize)."""

    cid: CID
    content_bytes: int
    tree_bytes: int


@dataclass(frozen=True, slots=True)
class Node:
    """A decoded block: its own data, the sizes of its children and their links, in order."""

    kind: int
    data: bytes
    content_bytes: int
    links: tuple[tuple[str, CID, int], ...] = ()
    child_bytes: tuple[int, ...] = ()

    @property
    def is_folder(self) -> bool:
        return self.kind == _TYPE_DIRECTORY


# --- protobuf, the four field shapes that dag-pb and UnixFS need ------------------------------------------------------


def _field_varint(number: int, value: int) -> bytes:
    return encode_varint(number << 3) + encode_varint(value)


def _field_bytes(number: int, value: bytes) -> bytes:
    return encode_varint(number << 3 | 2) + encode_varint(len(value)) + value


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Walk a protobuf message; raise InvalidBlock where it is cut off or uses other wire types."""
    offset = 0
    try:
        while offset < len(message):
            key, offset = decode_varint(message, offset)
            value, offset = decode_varint(message, offset)
            if key & 7 == 0:
                yield key >> 3, value
            elif key & 7 == 2:
                if value > len(message) - offset:
                    raise InvalidBlock("a field is longer than its block")
                yield key >> 3, message[offset : offset + value]
                offset += value
            else:
                raise InvalidBlock(f"wire type {key & 7} is not used here")
    except InvalidCid as error:  # the varint reader is the CID's
        raise InvalidBlock(str(error)) from error


def _as_int(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise InvalidBlock("a number was expected")
    return value


def _as_bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise InvalidBlock("bytes were expected")
    return value


# --- encoding ---------------------------------------------------------------------------------------------------------


def _unixfs(kind: int, data: bytes = b"", content_bytes: int | None = None, child_bytes: Iterable[int] = ()) -> bytes:
    """The UnixFS message; empty data is left out and a folder states no size, as Kubo writes them."""
    return b"".join(
        (
            _field_varint(1, kind),
            _field_bytes(2, data) if data else b"",
            _field_varint(3, content_bytes) if content_bytes is not None else b"",
            *(_field_varint(4, size) for size in child_bytes),
        )
    )


def _dag_pb(links: Iterable[tuple[str, Link]], data: bytes) -> bytes:
    """The canonical dag-pb node: links first, then data; a link without a name still carries the empty one."""
    encoded = (
        _field_bytes(
            2, _field_bytes(1, link.cid.binary) + _field_bytes(2, name.encode()) + _field_varint(3, link.tree_bytes)
        )
        for name, link in links
    )
    return b"".join((*encoded, _field_bytes(1, data)))


@dataclass(slots=True)
class Importer:
    """Turns a stream of bytes into the blocks of one UnixFS file.

    `feed` any number of pieces of any size, then `finish` once for the file's Link. Every block goes to `emit` as soon
    as it is complete, children before parents.
    """

    emit: Emit
    layout: Layout = field(default_factory=Layout)
    _buffer: bytearray = field(default_factory=bytearray, init=False)
    _levels: list[list[Link]] = field(default_factory=lambda: [[]], init=False)
    _finished: bool = field(default=False, init=False)

    def feed(self, piece: bytes) -> None:
        """Take the next bytes of the file."""
        if self._finished:
            raise ValueError("the file is finished; use a new Importer for another one")
        size = self.layout.chunk_bytes
        view = memoryview(piece)
        while view:
            taken = min(size - len(self._buffer), len(view))
            self._buffer += view[:taken]
            view = view[taken:]
            if len(self._buffer) == size:
                self._flush_chunk()

    def finish(self) -> Link:
        """Close the tree and return the root. An empty file is one empty leaf."""
        if self._finished:
            raise ValueError("the file is finished already")
        self._finished = True
        if self._buffer or not any(self._levels):
            self._flush_chunk()
        level = 0
        while level < len(self._levels) - 1:
            if self._levels[level]:
                self._collapse(level)
            level += 1
        top = self._levels[-1]
        return top[0] if len(top) == 1 else self._node(top)

    def _flush_chunk(self) -> None:
        chunk = bytes(self._buffer)
        self._buffer.clear()
        if self.layout.raw_leaves:
            block, codec = chunk, RAW
        else:
            block, codec = _dag_pb((), _unixfs(_TYPE_FILE, chunk, len(chunk))), DAG_PB
        self._push(0, self._block(block, codec, len(chunk), len(block)))

    def _push(self, level: int, link: Link) -> None:
        """Append to a level; a full one is bound into a node only when another link needs its place."""
        if len(self._levels[level]) == self.layout.max_links:
            self._collapse(level)
        self._levels[level].append(link)

    def _collapse(self, level: int) -> None:
        links, self._levels[level] = self._levels[level], []
        if level + 1 == len(self._levels):
            self._levels.append([])
        self._push(level + 1, self._node(links))

    def _node(self, links: list[Link]) -> Link:
        sizes = [link.content_bytes for link in links]
        block = _dag_pb((("", link) for link in links), _unixfs(_TYPE_FILE, b"", sum(sizes), sizes))
        return self._block(block, DAG_PB, sum(sizes), len(block) + sum(link.tree_bytes for link in links))

    def _block(self, block: bytes, codec: int, content_bytes: int, tree_bytes: int) -> Link:
        cid = CID.of(block, codec, self.layout.version)
        self.emit(cid, block)
        return Link(cid, content_bytes, tree_bytes)


def import_file(pieces: Iterable[bytes], emit: Emit, layout: Layout | None = None) -> Link:
    """Import one file from an iterable of byte pieces; see Importer."""
    importer = Importer(emit, layout or Layout())
    for piece in pieces:
        importer.feed(piece)
    return importer.finish()


def import_folder(entries: Mapping[str, Link], emit: Emit, version: int = 1) -> Link:
    """Bind named files and folders into one folder; names sort by their UTF-8 bytes.

    Raises:
        ValueError: a name is empty, `.`, `..` or holds a slash or NUL; or the folder is so large that Kubo would
            shard it.
    """
    for name in entries:
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            raise ValueError(f"{name!r} can't name a file in a folder")
    estimate = sum(len(name.encode()) + len(link.cid.binary) for name, link in entries.items())
    if estimate >= MAX_FOLDER_BYTES:
        raise ValueError(f"a folder of {len(entries)} entries needs sharding; put them into sub-folders")
    ordered = sorted(entries.items(), key=lambda entry: entry[0].encode())
    block = _dag_pb(ordered, _unixfs(_TYPE_DIRECTORY))
    cid = CID.of(block, DAG_PB, version)
    emit(cid, block)
    return Link(cid, 0, len(block) + sum(link.tree_bytes for link in entries.values()))


# --- decoding ---------------------------------------------------------------------------------------------------------


def decode(cid: CID, block: bytes) -> Node:
    """Read a block as a UnixFS node; a raw block is a leaf.

    The caller has checked the block against the CID. What it says of itself is still a stranger's word: sizes are
    checked here and again against each child when it is read.

    Raises:
        InvalidBlock: broken protobuf, another UnixFS type, or sizes that contradict each other.
    """
    if len(block) > MAX_BLOCK_BYTES:
        raise InvalidBlock(f"a block of {len(block)} bytes is above the limit of {MAX_BLOCK_BYTES}")
    if cid.codec == RAW:
        return Node(_TYPE_RAW, block, len(block))
    links: list[tuple[str, CID, int]] = []
    message: bytes | None = None
    for number, value in _fields(block):
        if number == 2:
            links.append(_decode_link(_as_bytes(value)))
        elif number == 1 and message is None:
            message = _as_bytes(value)
        else:
            raise InvalidBlock(f"field {number} is not part of a dag-pb node, or stands twice")
    if message is None:
        raise InvalidBlock("a dag-pb node without data is not a file")
    return _decode_unixfs(message, tuple(links))


def _decode_link(message: bytes) -> tuple[str, CID, int]:
    cid: CID | None = None
    name, tree_bytes = "", 0
    try:
        for number, value in _fields(message):
            if number == 1:
                cid = CID.decode(_as_bytes(value))
            elif number == 2:
                name = _as_bytes(value).decode()
            elif number == 3:
                tree_bytes = _as_int(value)
            else:
                raise InvalidBlock(f"field {number} is not part of a link")
    except (InvalidCid, UnicodeDecodeError) as error:
        raise InvalidBlock(f"a link is broken: {error}") from error
    if cid is None:
        raise InvalidBlock("a link without a CID")
    return name, cid, tree_bytes


def _decode_unixfs(message: bytes, links: tuple[tuple[str, CID, int], ...]) -> Node:
    kind: int | None = None
    data = b""
    stated: int | None = None
    child_bytes: list[int] = []
    for number, value in _fields(message):
        if number == 1:
            kind = _as_int(value)
        elif number == 2:
            data = _as_bytes(value)
        elif number == 3:
            stated = _as_int(value)
        elif number == 4:
            child_bytes.append(_as_int(value))
    if kind == _TYPE_DIRECTORY:
        return Node(kind, b"", 0, links)
    if kind not in (_TYPE_RAW, _TYPE_FILE):
        raise InvalidBlock(f"UnixFS type {kind} is neither a file nor a folder")
    content_bytes = len(data) + sum(child_bytes)
    if stated is not None and stated != content_bytes:
        raise InvalidBlock(f"the node states {stated} bytes and its parts add up to {content_bytes}")
    if len(child_bytes) != len(links) or 0 in child_bytes:
        raise InvalidBlock("each child of a file needs its size, and none may be empty")
    return Node(kind, data, content_bytes, links, tuple(child_bytes))


def read_file(root: CID, fetch: Fetch, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
    """Yield the bytes `start` to `stop` (exclusive; None: the end) of a file, fetching only the blocks of that range.

    Each child must have exactly the size that its parent gave, so the output is never longer than the root says.

    Raises:
        InvalidBlock: the tree contradicts itself, is deeper than MAX_DEPTH, or is a folder.
        whatever `fetch` raises.
    """
    node = decode(root, fetch(root))
    end = node.content_bytes if stop is None else min(stop, node.content_bytes)
    if start < end:
        yield from _read(node, fetch, start, end, 0)
    elif node.is_folder:
        raise InvalidBlock("a folder has no bytes of its own")


def _read(node: Node, fetch: Fetch, start: int, stop: int, depth: int) -> Iterator[bytes]:
    if depth > MAX_DEPTH:
        raise InvalidBlock(f"the tree is deeper than {MAX_DEPTH} levels")
    own = node.data[start:stop]
    if own:
        yield own
    position = len(node.data)
    for (_, cid, _), size in zip(node.links, node.child_bytes, strict=True):
        if position >= stop:
            return
        if position + size > start:
            child = decode(cid, fetch(cid))
            if child.is_folder or child.content_bytes != size:
                raise InvalidBlock(f"{cid} has {child.content_bytes} bytes and its parent says {size}")
            yield from _read(child, fetch, max(start - position, 0), min(stop - position, size), depth + 1)
        position += size


def blocks_below(root: CID, fetch: Fetch) -> Iterator[CID]:
    """Yield the root and every CID below it, each once, parents first: what a recursive pin holds."""
    seen: set[bytes] = set()
    stack = [root]
    while stack:
        cid = stack.pop()
        if cid.binary in seen:
            continue
        seen.add(cid.binary)
        yield cid
        if cid.codec == DAG_PB:
            stack.extend(child for _, child, _ in reversed(decode(cid, fetch(cid)).links))
