"""What a file is, told from its bytes alone: an allow-list of media that a browser shows without running them.

Pure. Names and declared types are a stranger's words and are not looked at. Text is whatever is valid UTF-8 without
control characters, and it is always served as plain text; markup (HTML, SVG, XML) is refused, because one wrong header
anywhere on its way would make it run. Signatures follow the WHATWG MIME Sniffing Standard and the formats' own
specifications.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field
from typing import Final

HEAD_BYTES: Final = 512
"""How much of the start of a file the signatures need."""
TEXT: Final = "text/plain; charset=utf-8"
PDF: Final = "application/pdf"
UNKNOWN: Final = "application/octet-stream"
ALLOWED: Final = frozenset(
    {
        *("image/jpeg", "image/png", "image/gif", "image/webp"),
        *("video/mp4", "video/webm", "audio/mpeg", "audio/ogg", "audio/flac", "audio/wav"),
        *(PDF, TEXT),
    }
)
"""What is taken in and given out."""

_MP4_BRANDS: Final = frozenset(
    {
        b"isom",
        b"iso2",
        b"iso4",
        b"iso5",
        b"iso6",
        b"iso8",
        b"mp41",
        b"mp42",
        b"avc1",
        b"dash",
        b"M4V ",
        b"M4A ",
        b"MSNV",
    }
)
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f\ufeff]")
_MARK: Final = "\ufeff"
_MARKUP: Final = re.compile(r"<[a-zA-Z!?/]")


class RefusedMedia(ValueError):
    """The file is of no allowed type; the message says what it looks like."""


def _mpeg_audio(head: bytes) -> bool:
    """An MPEG audio frame: sync, layer III, a bit rate and a sample rate that exist."""
    return (
        len(head) >= 4
        and head[0] == 0xFF
        and head[1] & 0xE6 == 0xE2
        and head[1] & 0x18 != 0x08
        and head[2] >> 4 not in (0, 15)
        and head[2] >> 2 & 3 != 3
    )


def _signature(head: bytes) -> str | None:  # noqa: PLR0911 - one return a format reads as the table that it is
    """The media type whose signature the file starts with, or None."""
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n") and head[8:16] == b"\0\0\0\x0dIHDR":
        return "image/png"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "image/gif"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "audio/wav"
    if head[4:8] == b"ftyp" and head[8:12] in _MP4_BRANDS:
        return "video/mp4"
    if head.startswith(b"\x1a\x45\xdf\xa3") and b"\x42\x82\x84webm" in head[:64]:
        return "video/webm"
    if head[:4] == b"OggS" and head[4:5] == b"\0":
        return "audio/ogg"
    if head.startswith(b"fLaC"):
        return "audio/flac"
    if (head.startswith(b"ID3") and len(head) > 10 and head[3] < 0xFF) or _mpeg_audio(head):
        return "audio/mpeg"
    if head.startswith(b"%PDF-"):
        return PDF
    return None


@dataclass(slots=True)
class Sniffer:
    """Tells the type of a file that streams by: `feed` every piece, then `finish`.

    Binary formats are told by their first bytes; text only once every byte of it has been decoded.
    """

    _head: bytearray = field(default_factory=bytearray, init=False)
    _decoder: codecs.IncrementalDecoder = field(default_factory=codecs.getincrementaldecoder("utf-8"), init=False)
    _not_text: str | None = field(default=None, init=False)
    _begun: bool = field(default=False, init=False)
    _start: str = field(default="", init=False)

    def feed(self, piece: bytes) -> None:
        """Take the next bytes of the file."""
        if len(self._head) < HEAD_BYTES:
            self._head += piece[: HEAD_BYTES - len(self._head)]
        if self._not_text is None:
            self._decode(piece, final=False)

    def finish(self) -> str:
        """The media type. Raises RefusedMedia for an empty file, markup, and whatever is not on the list."""
        if not self._head:
            raise RefusedMedia("the file is empty")
        known = _signature(bytes(self._head))
        if known:
            return known
        if self._not_text is None:
            self._decode(b"", final=True)
        if self._not_text is not None:
            raise RefusedMedia(self._not_text)
        if _MARKUP.match(self._start):
            raise RefusedMedia("it is markup (HTML, SVG or XML), which could run in a browser")
        return TEXT

    def _decode(self, piece: bytes, *, final: bool) -> None:
        """Read on; the first thing in the file that is not text is the reason, however the pieces were cut."""
        broken = False
        try:
            text = self._decoder.decode(piece, final)
        except UnicodeDecodeError as error:
            broken = True
            text = error.object[: error.start].decode()
        if text and not self._begun:
            self._begun = True
            text = text.removeprefix(_MARK)
        control = _CONTROLS.search(text)
        if control:
            self._not_text = f"it holds the control character U+{ord(control[0]):04X}, so it is not plain text"
        elif broken:
            self._not_text = "its bytes are neither an allowed media format nor UTF-8 text"
        if len(self._start) < 2:
            self._start = (self._start + text).lstrip()[:2]


def served_as(media_type: str) -> tuple[str, bool]:
    """Content-Type for a stored media type, and whether it leaves as a download only.

    PDF can hold scripts, so it is a download; so is whatever isn't on the list, as unknown bytes.
    """
    if media_type not in ALLOWED:
        return UNKNOWN, True
    return media_type, media_type == PDF
