"""Row K1: our importer gives the CID that Kubo 0.42.0 gave, on every recorded row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from backend.content.cid import CID
from backend.content.unixfs import Importer, Layout, Link, import_file, import_folder

RECORD: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "kubo-cids.json").read_text())
FILES = [row for row in RECORD["rows"] if "bytes" in row]
FOLDERS = [row for row in RECORD["rows"] if "directory" in row]
BATCH = 4096


def stream(length: int) -> Iterator[bytes]:
    """The record's byte stream: sha256(b"troupe" + i as 8 bytes big-endian) for i = 0, 1, 2, ... cut to the length."""
    made = index = 0
    while made < length:
        piece = b"".join(
            hashlib.sha256(b"troupe" + i.to_bytes(8, "big")).digest() for i in range(index, index + BATCH)
        )[: length - made]
        yield piece
        made += len(piece)
        index += BATCH


@cache
def bytes_of(length: int) -> tuple[bytes, ...]:
    return tuple(stream(length))


def layout_of(row: dict[str, Any]) -> Layout:
    version, leaves = row["layout"].split("-")
    return Layout(
        chunk_bytes=int(row["chunker"].removeprefix("size-")),
        version=int(version[1]),
        raw_leaves=leaves == "raw",
        max_links=RECORD["max_file_links"],
    )


def discard(cid: CID, block: bytes) -> None:
    assert cid.matches(block)


def test_record_is_whole() -> None:
    assert (len(FILES), len(FOLDERS)) == (84, 2)
    assert {row["layout"] for row in FILES} == {"v0-pb", "v1-raw", "v1-pb"}
    assert max(row["bytes"] for row in FILES) > 174 * 174 * 1024  # a third level


@pytest.mark.feature("K1", via="cli")
@pytest.mark.parametrize("row", FILES, ids=lambda row: f"{row['bytes']}-{row['chunker']}-{row['layout']}")
def test_file_has_kubos_cid(row: dict[str, Any]) -> None:
    pieces = bytes_of(row["bytes"])
    assert hashlib.sha256(b"".join(pieces)).hexdigest() == row["sha256"]  # the stream is the recorded one
    link = import_file(pieces, discard, layout_of(row))
    assert str(link.cid) == row["cid"]
    assert link.content_bytes == row["bytes"]
    assert str(CID.parse(row["cid"])) == row["cid"]


@pytest.mark.feature("K1", via="cli")
@pytest.mark.parametrize("row", FOLDERS, ids=lambda row: row["layout"])
def test_folder_has_kubos_cid(row: dict[str, Any]) -> None:
    layout = layout_of(row)

    def entry(name: str) -> Link:
        text = {"metadata.json": b'{"name":"Troupe"}', "media/été.txt": "déjà vu".encode()}.get(name)
        return import_file([text] if text else stream(row["directory"][name]), discard, layout)

    media = {name.removeprefix("media/"): entry(name) for name in row["directory"] if name.startswith("media/")}
    media["empty"] = import_folder({}, discard, layout.version)
    root = {"metadata.json": entry("metadata.json"), "media": import_folder(media, discard, layout.version)}
    assert str(import_folder(root, discard, layout.version).cid) == row["cid"]


@pytest.mark.parametrize(("change", "value"), [("chunk_bytes", 262_143), ("max_links", 173), ("raw_leaves", False)])
def test_oracle_sees_a_wrong_layout(change: str, value: int) -> None:
    """The comparison can fail: each parameter of the layout, altered, gives another CID somewhere in the record."""
    rows = [row for row in FILES if row["layout"] == "v1-raw" and row["bytes"] < 1_000_000]

    def altered(row: dict[str, Any]) -> Layout:
        made = layout_of(row)
        fields = {name: getattr(made, name) for name in ("chunk_bytes", "version", "raw_leaves", "max_links")}
        return Layout(**(fields | {change: value}))

    assert any(str(import_file(bytes_of(row["bytes"]), discard, altered(row)).cid) != row["cid"] for row in rows)


def test_importer_memory_does_not_grow_with_the_file() -> None:
    """At any moment at most one chunk and one unfinished node a level are held."""
    importer = Importer(discard, Layout(chunk_bytes=64, max_links=4))
    for piece in stream(64 * 4**5):
        importer.feed(piece)
        assert len(importer._buffer) < 64
        assert all(len(level) <= 4 for level in importer._levels)
        assert len(importer._levels) <= 6
    assert importer.finish().content_bytes == 64 * 4**5
