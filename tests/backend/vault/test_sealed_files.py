"""Files under a key: they come back whole, or not at all."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.vault.sealed_files import CHUNK, MAGIC, SALT, TAG, NotOpened, open_stream, seal_stream
from backend.zipping import zip_stream

KEY = bytes(range(32))


def opened(sealed: bytes, key: bytes = KEY, context: str = "a") -> bytes:
    return b"".join(open_stream(io.BytesIO(sealed), key=key, context=context))


def sealed(data: bytes, piece: int = 10_000) -> bytes:
    pieces = (data[i : i + piece] for i in range(0, len(data), piece))
    return b"".join(seal_stream(pieces, key=KEY, context="a"))


@pytest.mark.feature("C4", via="http")
@settings(max_examples=25)
@given(st.sampled_from([0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 7]), st.integers(1, 100_000))
def test_V10_a_file_of_any_size_comes_back_however_it_was_cut(size: int, piece: int) -> None:
    data = bytes(i * 31 % 251 for i in range(size))
    out = sealed(data, piece)
    assert opened(out) == data
    assert data[:40] not in out or size < 8


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("a flipped bit", lambda s: s[:-1] + bytes([s[-1] ^ 1])),
        ("cut off at a chunk", lambda s: s[: len(MAGIC) + SALT + CHUNK + TAG]),
        ("cut off within a chunk", lambda s: s[:-5]),
        ("something after it", lambda s: s + b"x"),
        ("no file of ours", lambda s: b"PK" + s),
        ("nothing", lambda s: b""),
        (
            "two chunks swapped",
            lambda s: (
                s[: len(MAGIC) + SALT]
                + s[len(MAGIC) + SALT + CHUNK + TAG : len(MAGIC) + SALT + 2 * (CHUNK + TAG)]
                + s[len(MAGIC) + SALT : len(MAGIC) + SALT + CHUNK + TAG]
                + s[len(MAGIC) + SALT + 2 * (CHUNK + TAG) :]
            ),
        ),
        ("a chunk left out", lambda s: s[: len(MAGIC) + SALT] + s[len(MAGIC) + SALT + CHUNK + TAG :]),
    ],
)
def test_V10_what_was_altered_does_not_open(what: str, change: object) -> None:
    out = sealed(bytes(2 * CHUNK + 100))
    with pytest.raises(NotOpened):
        opened(change(out))  # type: ignore[operator]


def test_V10_another_key_or_another_name_does_not_open_it() -> None:
    out = sealed(b"secret")
    with pytest.raises(NotOpened):
        opened(out, key=bytes(32))
    with pytest.raises(NotOpened):
        opened(out, context="b")


def test_a_zip_is_made_piece_by_piece_and_read_by_anybody() -> None:
    held: list[int] = []

    def rows() -> Iterator[bytes]:
        for number in range(2000):
            yield bytes([number % 251]) * 1000

    pieces = []
    for piece in zip_stream([("a.txt", [b"one", b"two"]), ("rows/b", rows())]):
        pieces.append(piece)
        held.append(len(piece))
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert archive.testzip() is None
        assert archive.read("a.txt") == b"onetwo"
        assert archive.getinfo("rows/b").file_size == 2_000_000
    assert max(held) < 200_000
