"""Pictures of cards: decoded whole, turned upright, made small, written anew without what a camera noted. Pure."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import BinaryIO, Final

from PIL import Image, UnidentifiedImageError

from backend.content.media import RefusedMedia
from backend.content.uploads import TooLarge

MAX_BYTES: Final = 8 * 1024 * 1024
"""Of the file that is sent."""
MAX_PIXELS: Final = 24_000_000
"""All of them are unpacked, those of a JPEG at a fraction of their size."""
MAX_SCANS: Final = 100
"""Of a JPEG: each goes over the whole picture again, and a few bytes are enough for one. Cameras write ten or so."""
AT_ONCE: Final = BoundedSemaphore(2)
"""Pictures that a process unpacks at a time."""
ORIENTATION: Final = 0x0112
TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What a camera noted of how it was held -> how the picture comes upright (Exif 2.3, table 6)."""
EDGE: Final = 640
"""The longer edge of what is kept, in pixels: a card's width, twice over."""
FORMATS: Final = ("JPEG", "PNG", "GIF", "WEBP")
TYPE: Final = "image/webp"


@dataclass(frozen=True, slots=True)
class CardPicture:
    """A picture as it is kept: WebP."""

    data: bytes
    width: int
    height: int


def card_picture(file: BinaryIO) -> CardPicture:
    """The picture of a card from an uploaded one; of a moving one the first frame.

    Raises TooLarge or RefusedMedia; a file that is cut off is refused, for it is read to its end.
    """
    data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise TooLarge(f"the picture has more than {MAX_BYTES} bytes")
    if data.startswith(b"\xff\xd8") and data.count(b"\xff\xda") > MAX_SCANS:
        raise RefusedMedia(f"it is a JPEG of more than {MAX_SCANS} scans")
    try:
        with AT_ONCE, Image.open(io.BytesIO(data), formats=FORMATS) as found:
            if found.width * found.height > MAX_PIXELS:
                raise TooLarge(
                    f"the picture has {found.width} x {found.height} pixels; {MAX_PIXELS} in all are allowed"
                )
            turn = TURNS.get(_orientation(found))
            found.draft("RGB", (2 * EDGE, 2 * EDGE))
            made = found.convert("RGBA" if found.has_transparency_data else "RGB")
    except TooLarge:
        raise
    except Image.DecompressionBombError as error:
        raise TooLarge(f"the picture has more than {MAX_PIXELS} pixels") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise RefusedMedia("it is no whole JPEG, PNG, GIF or WebP picture") from error
    made.thumbnail((EDGE, EDGE))
    made = made if turn is None else made.transpose(turn)
    out = io.BytesIO()
    made.save(out, "WEBP", quality=82, method=4)
    return CardPicture(out.getvalue(), *made.size)


def _orientation(picture: Image.Image) -> int:
    """What a camera noted of how it was held; 0 where what it noted can't be read."""
    try:
        return int(picture.getexif().get(ORIENTATION, 0))
    except (struct.error, TypeError, ValueError, SyntaxError, OSError, LookupError, OverflowError):
        return 0
