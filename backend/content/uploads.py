"""What is looked at before an uploaded file is kept: its size, its type by content, the dimensions of a picture.

The name that a client gives to a file, and the type that it declares, are not used for anything.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from PIL import Image, UnidentifiedImageError

from backend.content.media import RefusedMedia, Sniffer

PIECE_BYTES: Final = 262_144
MAX_UPLOAD_BYTES: Final = 256 * 1024 * 1024
MAX_PIXELS: Final = 64_000_000
"""Larger pictures unpack into more memory than the machine that shows them may have."""

_PICTURES: Final = {"image/jpeg": "JPEG", "image/png": "PNG", "image/gif": "GIF", "image/webp": "WEBP"}

# MAX_PIXELS below is stricter than what Pillow warns of
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class TooLarge(ValueError):
    """The file has more bytes, or the picture more pixels, than is allowed; the message says the limit."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """A file that may be kept."""

    sha256: bytes
    size_bytes: int
    media_type: str


def pieces(file: BinaryIO) -> Iterator[bytes]:
    """The whole file from its beginning, piece by piece."""
    file.seek(0)
    while piece := file.read(PIECE_BYTES):
        yield piece


def inspect(file: BinaryIO, *, max_bytes: int = MAX_UPLOAD_BYTES) -> Inspected:
    """Hash and judge a file in one pass. Raises TooLarge or RefusedMedia."""
    sniffer, sha, size = Sniffer(), hashlib.sha256(), 0
    for piece in pieces(file):
        size += len(piece)
        if size > max_bytes:
            raise TooLarge(f"the file has more than {max_bytes} bytes")
        sha.update(piece)
        sniffer.feed(piece)
    media_type = sniffer.finish()
    if media_type in _PICTURES:
        _check_picture(file, _PICTURES[media_type])
    return Inspected(sha.digest(), size, media_type)


def _check_picture(file: BinaryIO, form: str) -> None:
    """Read a picture's header, nothing more: it must be of that format and of a size that can be unpacked."""
    file.seek(0)
    try:
        with Image.open(file, formats=[form]) as picture:
            width, height = picture.size
    except Image.DecompressionBombError as error:
        raise TooLarge(f"the picture has more than {MAX_PIXELS} pixels") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise RefusedMedia(f"it begins like a {form} picture and is none") from error
    if width * height > MAX_PIXELS:
        raise TooLarge(f"the picture has {width} x {height} pixels; {MAX_PIXELS} in all are allowed")
