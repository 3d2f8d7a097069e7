"""Row K2: what is looked at before a file is kept."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib

import pytest

from backend.content.media import RefusedMedia
from backend.content.uploads import MAX_PIXELS, TooLarge, inspect
from tests.backend.content.test_media import picture

pytestmark = pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_a_file_is_hashed_and_measured() -> None:
    data = b"Act one.\n" * 100_000
    seen = inspect(io.BytesIO(data))
    assert (seen.sha256, seen.size_bytes) == (hashlib.sha256(data).digest(), len(data))
    assert seen.media_type == "text/plain; charset=utf-8"


def test_the_limit_is_the_last_size_that_passes() -> None:
    assert inspect(io.BytesIO(b"a" * 1000), max_bytes=1000).size_bytes == 1000
    with pytest.raises(TooLarge, match="more than 1000 bytes"):
        inspect(io.BytesIO(b"a" * 1001), max_bytes=1000)


def test_inspecting_begins_at_the_beginning() -> None:
    file = io.BytesIO(b"one two")
    file.seek(4)
    assert inspect(file).size_bytes == 7


@pytest.mark.feature("K2", via="cli")
@pytest.mark.parametrize(
    ("width", "height"), [(8_000, 8_001), (65_000, 65_000), (2**31 - 1, 2**31 - 1), (MAX_PIXELS, 2)]
)
def test_a_picture_that_unpacks_into_too_much_is_refused_by_its_header(width: int, height: int) -> None:
    with pytest.raises(TooLarge, match="pixels"):
        inspect(io.BytesIO(png(width, height)))
    assert inspect(io.BytesIO(png(8_000, 8_000))).media_type == "image/png"


@pytest.mark.feature("K2", via="cli")
@pytest.mark.parametrize(
    "polyglot",
    [
        b"GIF89a/*" + b"*/=1;alert(document.cookie)//",
        b"\xff\xd8\xff<script>alert(1)</script>",
        b"RIFF\x24\0\0\0WEBP<html><script>alert(1)</script>",
        b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR<svg onload=alert(1)>",
    ],
)
def test_a_script_behind_a_pictures_first_bytes_is_no_picture(polyglot: bytes) -> None:
    with pytest.raises(RefusedMedia, match="is none"):
        inspect(io.BytesIO(polyglot))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP"])
def test_a_picture_with_something_behind_it_is_still_only_a_picture(kind: str) -> None:
    """GIFAR and its kin: what is appended is never reached, since the type that is served is the picture's."""
    assert inspect(io.BytesIO(picture(kind) + b"PK\x03\x04<script>")).media_type == f"image/{kind.lower()}"
