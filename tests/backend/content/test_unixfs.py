"""Importer and reader are each other's inverse, whatever the sizes; and a lying block is found out."""

from __future__ import annotations

import contextlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.content import unixfs
from backend.content.cid import CID, DAG_PB, RAW
from backend.content.unixfs import (
    InvalidBlock,
    Layout,
    Link,
    blocks_below,
    decode,
    import_file,
    import_folder,
    read_file,
)

LAYOUTS = st.builds(
    lambda chunk, links, shape: Layout(chunk, shape[0], shape[1], links),
    st.integers(1, 40),
    st.integers(2, 5),
    st.sampled_from([(0, False), (1, False), (1, True)]),
)


class Blocks(dict[CID, bytes]):
    """An in-memory block store that remembers what was fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[CID] = []

    def emit(self, cid: CID, block: bytes) -> None:
        assert cid.matches(block)
        self[cid] = block

    def fetch(self, cid: CID) -> bytes:
        self.fetched.append(cid)
        return self[cid]


@given(st.binary(max_size=2000), LAYOUTS, st.lists(st.integers(0, 2000), max_size=6))
def test_what_is_imported_reads_back_however_it_was_fed(data: bytes, layout: Layout, cuts: list[int]) -> None:
    whole, pieces = Blocks(), Blocks()
    bounds = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    link = import_file([data], whole.emit, layout)
    assert import_file([data[a:b] for a, b in pairwise(bounds)], pieces.emit, layout) == link
    assert pieces == whole
    assert b"".join(read_file(link.cid, whole.fetch)) == data
    assert link.content_bytes == len(data)
    assert set(blocks_below(link.cid, whole.fetch)) == set(whole)


@given(st.binary(max_size=600), LAYOUTS, st.integers(0, 700), st.integers(0, 700))
def test_a_range_is_the_slice(data: bytes, layout: Layout, start: int, stop: int) -> None:
    blocks = Blocks()
    link = import_file([data], blocks.emit, layout)
    assert b"".join(read_file(link.cid, blocks.fetch, start, stop)) == data[start:stop]


def test_a_range_fetches_only_its_own_path() -> None:
    blocks = Blocks()
    link = import_file([bytes(range(256)) * 4], blocks.emit, Layout(chunk_bytes=16, max_links=4))
    blocks.fetched.clear()
    assert b"".join(read_file(link.cid, blocks.fetch, 500, 501)) == bytes([500 % 256])
    assert len(blocks.fetched) == 4  # three levels and one leaf, of 64 leaves


@given(st.binary(max_size=300), LAYOUTS)
def test_all_leaves_lie_at_one_depth(data: bytes, layout: Layout) -> None:
    blocks = Blocks()
    link = import_file([data], blocks.emit, layout)

    def depths(cid: CID, depth: int) -> set[int]:
        node = decode(cid, blocks[cid])
        assert len(node.links) <= layout.max_links
        return set().union(*(depths(child, depth + 1) for _, child, _ in node.links)) if node.links else {depth}

    assert len(depths(link.cid, 0)) == 1


def test_each_wrong_layout_is_refused() -> None:
    for bad in ({"chunk_bytes": 0}, {"chunk_bytes": 1_048_577}, {"max_links": 1}, {"version": 0}):
        with pytest.raises(ValueError, match=r"chunk_bytes|max_links|CIDv0"):
            Layout(**bad)


def test_a_finished_importer_takes_no_more() -> None:
    importer = unixfs.Importer(Blocks().emit)
    importer.finish()
    with pytest.raises(ValueError, match="finished"):
        importer.feed(b"more")
    with pytest.raises(ValueError, match="finished"):
        importer.finish()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b", "/etc"])
def test_a_folder_refuses_names_that_walk(name: str) -> None:
    blocks = Blocks()
    with pytest.raises(ValueError, match="can't name"):
        import_folder({name: import_file([b"x"], blocks.emit)}, blocks.emit)


def test_a_folder_that_kubo_would_shard_is_refused() -> None:
    link = import_file([b"x"], Blocks().emit)
    with pytest.raises(ValueError, match="sub-folders"):
        import_folder({f"{n:0>200}": link for n in range(1200)}, Blocks().emit)


def test_a_folder_has_no_bytes() -> None:
    blocks = Blocks()
    folder = import_folder({"a": import_file([b"x"], blocks.emit)}, blocks.emit)
    with pytest.raises(InvalidBlock, match="folder"):
        list(read_file(folder.cid, blocks.fetch))


# --- lying blocks: each is hashed correctly, so only its structure can give it away -----------------------------------

LEAF = CID.of(b"leaf", RAW)
LINK = ("", Link(LEAF, 4, 4))


def node(links: list[tuple[str, Link]], message: bytes) -> bytes:
    return unixfs._dag_pb(links, message)


LIES = {
    "child is shorter than stated": node([LINK], unixfs._unixfs(2, b"", 5, [5])),
    "child is longer than stated": node([LINK], unixfs._unixfs(2, b"", 3, [3])),
    "sum is not the size": node([LINK], unixfs._unixfs(2, b"", 9, [4])),
    "child without a size": node([LINK], unixfs._unixfs(2, b"", 0, [])),
    "size without a child": node([], unixfs._unixfs(2, b"", 4, [4])),
    "empty child (endless work for no bytes)": node([LINK], unixfs._unixfs(2, b"", 0, [0])),
    "symbolic link": node([], unixfs._unixfs(4, b"/etc/passwd", 11)),
    "sharded folder": node([], unixfs._unixfs(5, b"", 0)),
    "no data": b"",
    "field cut off": b"\x0a\x7f\x08",
    "huge field": b"\x0a\xff\xff\xff\xff\xff\xff\xff\x7f\x08",
    "group wire type": b"\x0b\x00",
    "unknown field": b"\x1a\x00",
    "data twice": node([], unixfs._unixfs(2)) * 2,
    "number where bytes belong": b"\x08\x01",
    "broken CID": b"\x12\x04\x0a\x02\x01\x55" + node([], unixfs._unixfs(2)),
    "link without CID": b"\x12\x02\x12\x00" + node([], unixfs._unixfs(2)),
    "name that is not UTF-8": b"\x12\x03\x12\x01\xff" + node([], unixfs._unixfs(2)),
    "above the block limit": b"\x0a" + b"\x00" * unixfs.MAX_BLOCK_BYTES,
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_block_is_refused(lie: str) -> None:
    root = CID.of(LIES[lie], DAG_PB)
    blocks = {root: LIES[lie], LEAF: b"leaf"}
    with pytest.raises(InvalidBlock):
        list(read_file(root, blocks.__getitem__))


def test_a_tree_that_never_ends_is_refused() -> None:
    blocks = Blocks()
    blocks.emit(LEAF, b"leaf")
    top = LEAF
    for _ in range(unixfs.MAX_DEPTH + 2):
        block = node([("", Link(top, 4, 4))], unixfs._unixfs(2, b"", 4, [4]))
        top = CID.of(block, DAG_PB)
        blocks.emit(top, block)
    with pytest.raises(InvalidBlock, match="deeper"):
        list(read_file(top, blocks.fetch))


@given(st.binary(max_size=120))
def test_any_bytes_as_a_block_are_read_or_refused(block: bytes) -> None:
    with contextlib.suppress(InvalidBlock):
        decode(CID.of(block, DAG_PB), block)
