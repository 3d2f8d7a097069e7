"""The embedded store (row K1): whole blocks or none, checked on every read, kept while pinned."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from backend.content.cid import CID, RAW
from backend.content.store import BlockStore, ContentCorrupt, ContentMissing, ContentUnavailable
from backend.content.unixfs import Layout


@pytest.fixture
def store(tmp_path: Path) -> BlockStore:
    return BlockStore(tmp_path / "content", Layout(chunk_bytes=1024, max_links=4))


def noise(length: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(length)


def block_files(store: BlockStore) -> list[Path]:
    return sorted((store.root / "blocks").glob("??/*"))


def assert_every_block_is_whole(store: BlockStore) -> None:
    for path in block_files(store):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name


@pytest.mark.feature("K1", via="cli")
def test_added_content_reads_back_whole_and_in_ranges(store: BlockStore) -> None:
    data = noise(20_000)
    link = store.add([data[:7], data[7:15_000], data[15_000:]])
    assert link.content_bytes == store.size(link.cid) == len(data)
    assert b"".join(store.cat(link.cid)) == data
    assert b"".join(store.cat(link.cid, 1_000, 9_000)) == data[1_000:9_000]
    assert store.is_pinned(link.cid)
    assert list(store.pins()) == [link.cid]
    assert_every_block_is_whole(store)


def test_a_small_file_is_one_raw_block_with_the_digest_of_its_bytes(tmp_path: Path) -> None:
    """W5: the digest in the work's slot is sha256 of the metadata file."""
    store = BlockStore(tmp_path)
    metadata = noise(262_144)
    link = store.add([metadata])
    assert link.cid == CID.raw(hashlib.sha256(metadata).digest())
    assert len(block_files(store)) == 1
    assert store.add([metadata + b"."]).cid.codec != RAW


def test_an_unknown_cid_is_missing_before_the_first_byte(store: BlockStore) -> None:
    unknown = CID.raw(bytes(32))
    with pytest.raises(ContentMissing, match=str(unknown)):
        store.cat(unknown)
    with pytest.raises(ContentMissing):
        store.pin(unknown)
    assert not store.is_pinned(unknown)
    store.unpin(unknown)


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"\0" + data[1:], lambda _: b""])
def test_a_damaged_block_is_never_served_and_is_mended_by_adding_again(store: BlockStore, damage) -> None:
    data = noise(5_000)
    link = store.add([data])
    for path in block_files(store):
        whole = path.read_bytes()
        path.write_bytes(damage(whole))
        with pytest.raises(ContentCorrupt, match="add its content again"):
            list(store.cat(link.cid))
        store.add([data])
        assert path.read_bytes() == whole
    assert b"".join(store.cat(link.cid)) == data


def test_garbage_collection_keeps_exactly_what_pins_hold(store: BlockStore) -> None:
    shared = noise(4_096)
    kept, dropped = store.add([shared, noise(3_000, 2)]), store.add([shared, noise(3_000, 3)])
    never = store.add([noise(9_000, 4)], pin=False)
    (store.root / "tmp" / "left-by-a-crash").write_bytes(b"half a block")
    before = {path.name: path.stat().st_size for path in block_files(store)}
    store.unpin(dropped.cid)
    collected = store.collect_garbage()
    after = {path.name: path.stat().st_size for path in block_files(store)}
    assert b"".join(store.cat(kept.cid)) == shared + noise(3_000, 2)
    assert (collected.removed_blocks, collected.kept_blocks) == (len(before) - len(after), len(after))
    assert collected.removed_bytes == sum(before.values()) - sum(after.values()) > 0
    for gone in (dropped.cid, never.cid):
        with pytest.raises(ContentMissing):
            list(store.cat(gone))
    assert not list((store.root / "tmp").iterdir())


def test_collection_removes_nothing_while_a_pinned_tree_has_a_hole(store: BlockStore) -> None:
    link = store.add([noise(30_000)])
    garbage = store.add([noise(100, 9)], pin=False)
    store._path(link.cid).unlink()
    before = block_files(store)
    with pytest.raises(ContentMissing):
        store.collect_garbage()
    assert block_files(store) == before
    assert b"".join(store.cat(garbage.cid)) == noise(100, 9)


def test_a_pin_needs_all_its_blocks(store: BlockStore) -> None:
    link = store.add([noise(5_000)], pin=False)
    leaf = next(path for path in block_files(store) if path.stat().st_size == 1024)
    leaf.unlink()
    with pytest.raises(ContentMissing):
        store.pin(link.cid)
    assert not store.is_pinned(link.cid)


def test_cidv0_and_v1_of_one_tree_are_one_pin(store: BlockStore) -> None:
    link = store.add([noise(5_000)])
    old = CID(0, link.cid.codec, link.cid.digest)
    assert store.is_pinned(old)
    assert b"".join(store.cat(old)) == noise(5_000)
    store.unpin(old)
    assert not store.is_pinned(link.cid)


def test_a_stream_that_breaks_off_pins_nothing(store: BlockStore) -> None:
    def broken() -> Iterator[bytes]:
        yield noise(3_000)
        raise ConnectionResetError("the sender went away")

    with pytest.raises(ConnectionResetError):
        store.add(broken())
    assert not list(store.pins())
    assert_every_block_is_whole(store)
    assert store.collect_garbage().kept_blocks == 0
    assert not block_files(store)


KILLED_WRITER = """
import os, random, signal, sys
from pathlib import Path
from backend.content.store import BlockStore
from backend.content.unixfs import Layout

def pieces():
    source = random.Random(5)
    for index in range(40):
        if index == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        yield source.randbytes(1000)

BlockStore(Path(sys.argv[1]), Layout(chunk_bytes=1024, max_links=4)).add(pieces())
"""


@pytest.mark.parametrize("at", [1, 7, 39])
def test_a_killed_writer_leaves_whole_blocks_and_no_pin(store: BlockStore, at: int) -> None:
    """F2 for content: kill -9 in the middle of an add, then the same add again."""
    done = subprocess.run([sys.executable, "-c", KILLED_WRITER, str(store.root), str(at)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert_every_block_is_whole(store)
    assert not list(store.pins())
    data = random.Random(5).randbytes(1000)
    link = store.add([data])
    assert b"".join(store.cat(link.cid)) == data
    assert store.collect_garbage().kept_blocks == 1


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from backend.content.store import BlockStore, ContentUnavailable
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    BlockStore(Path(sys.argv[1])).add([bytes(5000)])
except ContentUnavailable as error:
    print(error)
    sys.exit(7)
"""


def test_a_write_that_is_cut_short_never_becomes_a_block(store: BlockStore) -> None:
    """F2, full disk (a file size limit stands in): half a block is written, then no more; nothing half stays."""
    command = [sys.executable, "-c", FULL_DISK, str(store.root)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 7, done.stderr
    assert "free space" in done.stdout
    assert not block_files(store)
    assert not list((store.root / "tmp").iterdir())


def test_a_disk_that_refuses_is_named(tmp_path: Path) -> None:
    store = BlockStore(tmp_path)
    (tmp_path / "tmp").rmdir()
    with pytest.raises(ContentUnavailable, match="can't be written"):
        store.add([b"x"])


def test_many_writers_of_the_same_content_agree(store: BlockStore) -> None:
    data = noise(60_000)
    roots: list[CID] = []
    threads = [threading.Thread(target=lambda: roots.append(store.add([data]).cid)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(roots) == 8
    assert len(set(roots)) == 1
    assert b"".join(store.cat(roots[0])) == data
    assert not list((store.root / "tmp").iterdir())


def test_collection_waits_for_a_running_add(store: BlockStore) -> None:
    """Blocks that are written but not pinned yet are not garbage: the collector waits until the add is over."""
    first_written, collect_started = threading.Event(), threading.Event()
    order: list[str] = []

    def slow() -> Iterator[bytes]:
        yield noise(4_096)
        first_written.set()
        assert collect_started.wait(10)
        yield noise(4_096, 2)
        order.append("added")

    def collect() -> None:
        assert first_written.wait(10)
        collect_started.set()
        store.collect_garbage()
        order.append("collected")

    thread = threading.Thread(target=collect)
    thread.start()
    link = store.add(slow())
    thread.join()
    assert order == ["added", "collected"]
    assert b"".join(store.cat(link.cid)) == noise(4_096) + noise(4_096, 2)


class StoreMachine(RuleBasedStateMachine):
    """Any order of add, pin, unpin and collection: what is pinned is always readable, and only garbage ever goes."""

    contents = Bundle("contents")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = BlockStore(Path(self.folder.name), Layout(chunk_bytes=4, max_links=3))
        self.data: dict[CID, bytes] = {}
        self.pinned: set[CID] = set()

    @rule(target=contents, data=st.binary(max_size=60), pin=st.booleans())
    def add(self, data: bytes, pin: bool) -> CID:
        cid = self.store.add([data], pin=pin).cid
        self.data[cid] = data
        self.pinned |= {cid} if pin else set()
        return cid

    @rule(cid=contents)
    def pin(self, cid: CID) -> None:
        try:
            self.store.pin(cid)
        except ContentMissing:
            assert cid not in self.pinned
        else:
            self.pinned.add(cid)

    @rule(cid=contents)
    def unpin(self, cid: CID) -> None:
        self.store.unpin(cid)
        self.pinned.discard(cid)

    @rule()
    def collect(self) -> None:
        self.store.collect_garbage()
        assert self.store.collect_garbage().removed_blocks == 0

    @invariant()
    def pinned_content_is_whole(self) -> None:
        assert set(self.store.pins()) == self.pinned
        for cid in self.pinned:
            assert b"".join(self.store.cat(cid)) == self.data[cid]

    def teardown(self) -> None:
        self.folder.cleanup()


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)


def test_block_names_are_what_sha256sum_prints(store: BlockStore) -> None:
    store.add([noise(3_000)])
    for path in block_files(store):
        printed = subprocess.run(["sha256sum", path], check=True, capture_output=True, text=True, env=os.environ)
        assert printed.stdout.split()[0] == path.name
