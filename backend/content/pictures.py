"""Pictures of cards: decoded whole, turned upright, made small, written anew without what a camera noted. Pure."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import BinaryIO, Final

from PIL import Image, ImageOps, UnidentifiedImageError

from backend.content.media import RefusedMedia
from backend.content.uploads import TooLarge

MAX_BYTES: Final = 8 * 1024 * 1024
"""Of the file that is sent."""
MAX_PIXELS: Final = 24_000_000
"""All of them are unpacked."""
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
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as found:
            if found.width * found.height > MAX_PIXELS:
                raise TooLarge(
                    f"the picture has {found.width} x {found.height} pixels; {MAX_PIXELS} in all are allowed"
                )
            upright = ImageOps.exif_transpose(found)
            made = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    except TooLarge:
        raise
    except Image.DecompressionBombError as error:
        raise TooLarge(f"the picture has more than {MAX_PIXELS} pixels") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise RefusedMedia("it is no whole JPEG, PNG, GIF or WebP picture") from error
    made.thumbnail((EDGE, EDGE))
    out = io.BytesIO()
    made.save(out, "WEBP", quality=82, method=4)
    return CardPicture(out.getvalue(), *made.size)
