"""Row K2: the type comes from the bytes, nothing active is let in or served as active."""

from __future__ import annotations

import io
import wave
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from backend.content.media import ALLOWED as ALLOWED_TYPES
from backend.content.media import TEXT, UNKNOWN, RefusedMedia, Sniffer, served_as


def picture(kind: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (3, 2), "orange").save(out, kind)
    return out.getvalue()


def sound() -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(160))
    return out.getvalue()


ALLOWED = {
    "jpeg": (picture("JPEG"), "image/jpeg"),
    "png": (picture("PNG"), "image/png"),
    "gif": (picture("GIF"), "image/gif"),
    "webp": (picture("WEBP"), "image/webp"),
    "wav": (sound(), "audio/wav"),
    "mp4": (b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2" + bytes(40), "video/mp4"),
    "webm": (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\xf7\x81\x01\x42\x82\x84webm" + bytes(40), "video/webm"),
    "ogg": (b"OggS\0\x02" + bytes(40), "audio/ogg"),
    "flac": (b"fLaC\0\0\0\x22" + bytes(34), "audio/flac"),
    "mp3 with tag": (b"ID3\x04\0\0\0\0\0\0" + bytes(40), "audio/mpeg"),
    "mp3 frame": (b"\xff\xfb\x90\x64" + bytes(40), "audio/mpeg"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "application/pdf"),
    "text": ("Der Vorhang hebt sich.\n\tÀ bientôt 👋\r\n".encode(), TEXT),
    "text with a mark": (b"\xef\xbb\xbfonce upon", TEXT),
    "markdown": (b"# Act one\n\n> a <b>bold</b> beginning\n", TEXT),
    "json": (b'{"title": "Act one"}', TEXT),
}

REFUSED = {
    "empty": (b"", "empty"),
    "html": (b"<!DOCTYPE html><script>alert(1)</script>", "markup"),
    "html after a mark and blanks": (b"\xef\xbb\xbf \r\n\t<script>alert(1)</script>", "markup"),
    "html after very many blanks": (b" " * 100_000 + b"<script>alert(1)</script>", "markup"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', "markup"),
    "svg behind an xml line": (b'<?xml version="1.0"?><svg onload="alert(1)"/>', "markup"),
    "svg behind a comment": (b"<!-- harmless --><svg onload='alert(1)'/>", "markup"),
    "NUL in text": (b"hello\0world", "U\\+0000"),
    "escape sequence": (b"\x1b[2J\x1b[1;1Hfake prompt", "U\\+001B"),
    "a second mark": (b"\xef\xbb\xbf\xef\xbb\xbf<script>", "U\\+FEFF"),
    "mark in the middle": ("a\ufeff<script>".encode(), "U\\+FEFF"),
    "utf-16 html": ("<script>alert(1)</script>".encode("utf-16"), "neither"),
    "utf-7 lookalike is only text": (b"\xff\xfe", "neither"),
    "zip": (b"PK\x03\x04" + bytes(30), "U\\+0003|neither"),
    "gzip": (b"\x1f\x8b\x08\0" + bytes(30), "U\\+001F"),
    "executable": (b"\x7fELF\x02\x01\x01" + bytes(30), "U\\+007F|neither"),
    "windows executable": (b"MZ\x90\0" + bytes(30), "neither"),
    "flash": (b"CWS\x0a\x90" + bytes(30), "neither"),
    "avif": (b"\0\0\0\x18ftypavif" + bytes(30), "U\\+0000"),
    "heic": (b"\0\0\0\x18ftypheic" + bytes(30), "U\\+0000"),
    "matroska that is not webm": (b"\x1a\x45\xdf\xa3\xa3\x42\x82\x88matroska" + bytes(30), "U\\+001A"),
    "png without a header chunk": (b"\x89PNG\r\n\x1a\n<script>alert(1)</script>", "neither"),
    "tiff": (b"II*\0" + bytes(30), "U\\+0000"),
    "CAR archive": (b"\x3a\xa2eroots\x81\xd8\x2a", "neither"),
    "cut off utf-8": ("é".encode()[:1], "neither"),
    "mpeg sync with an impossible rate": (b"\xff\xfb\xf0\x64" + bytes(40), "neither"),
}


def sniff(data: bytes, cuts: tuple[int, ...] = ()) -> str:
    sniffer = Sniffer()
    bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for start, stop in pairwise(bounds):
        sniffer.feed(data[start:stop])
    return sniffer.finish()


@pytest.mark.parametrize("name", ALLOWED)
def test_allowed_media_are_known_by_their_bytes(name: str) -> None:
    data, expected = ALLOWED[name]
    assert sniff(data) == expected
    assert expected in ALLOWED_TYPES


@pytest.mark.feature("K2", via="cli")
@pytest.mark.parametrize("name", REFUSED)
def test_everything_else_is_refused(name: str) -> None:
    data, reason = REFUSED[name]
    with pytest.raises(RefusedMedia, match=reason):
        sniff(data)


@example((b"\x1f\x8b\x08\0", ""), [1])  # a control character first, then what is no UTF-8
@example((b"\x8b\x1f", ""), [1])
@given(st.sampled_from([*ALLOWED.values(), *REFUSED.values()]), st.lists(st.integers(1, 300), max_size=8))
def test_the_verdict_does_not_depend_on_how_the_bytes_arrive(case: tuple[bytes, str], cuts: list[int]) -> None:
    def verdict(*where: int) -> str:
        try:
            return sniff(case[0], where)
        except RefusedMedia as error:
            return f"refused: {error}"

    assert verdict(*cuts) == verdict()


@given(st.binary(max_size=200))
def test_whatever_the_bytes_the_type_is_on_the_list(data: bytes) -> None:
    try:
        assert sniff(data) in ALLOWED_TYPES
    except RefusedMedia:
        return


def test_nothing_on_the_list_runs_in_a_browser() -> None:
    assert not any(word in media for media in ALLOWED_TYPES for word in ("html", "svg", "xml", "javascript", "css"))


@pytest.mark.parametrize("media", ["text/html", "image/svg+xml", "application/xhtml+xml", "text/javascript", ""])
def test_a_type_that_is_not_on_the_list_leaves_as_a_download(media: str) -> None:
    assert served_as(media) == (UNKNOWN, True)
    assert served_as("application/pdf") == ("application/pdf", True)
    assert served_as("image/png") == ("image/png", False)
