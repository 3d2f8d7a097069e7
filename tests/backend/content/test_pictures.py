"""Pictures of cards: small, upright, whole, without what a camera noted."""

from __future__ import annotations

import io

import pytest
from PIL import Image, ImageChops, ImageOps, ImageStat

from backend.content.media import RefusedMedia
from backend.content.pictures import EDGE, MAX_BYTES, MAX_PIXELS, MAX_SCANS, card_picture
from backend.content.uploads import TooLarge
from tests.backend.content.test_uploads import png


def photo(width: int = 1200, height: int = 800, kind: str = "JPEG", **options: object) -> bytes:
    out = io.BytesIO()
    Image.effect_noise((width, height), 60).convert("RGB").save(out, kind, **options)
    return out.getvalue()


def test_a_photo_becomes_small_and_upright_and_forgets_where_it_was_taken() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    exif[0x010F] = "A camera"
    exif.get_ifd(0x8825)[1] = "N"
    made = card_picture(io.BytesIO(photo(exif=exif)))
    assert (made.width, made.height) == (round(EDGE * 800 / 1200), EDGE)
    with Image.open(io.BytesIO(made.data)) as kept:
        assert (kept.format, kept.size, dict(kept.getexif())) == ("WEBP", (made.width, made.height), {})
    assert b"camera" not in made.data


def test_a_small_one_keeps_its_size_and_a_transparent_one_its_holes() -> None:
    out = io.BytesIO()
    Image.new("RGBA", (40, 30), (255, 0, 0, 0)).save(out, "PNG")
    made = card_picture(io.BytesIO(out.getvalue()))
    with Image.open(io.BytesIO(made.data)) as kept:
        assert (kept.size, kept.mode, kept.getpixel((5, 5))[3]) == ((40, 30), "RGBA", 0)  # type: ignore[index]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP"])
def test_what_is_cut_off_is_no_picture(kind: str) -> None:
    whole = photo(90, 60, kind)
    assert card_picture(io.BytesIO(whole)).width == 90
    with pytest.raises(RefusedMedia, match="no whole"):
        card_picture(io.BytesIO(whole[: len(whole) // 2]))


@pytest.mark.parametrize("data", [b"", b"Act one.\n", b"GIF89a/**/=1", b"<svg xmlns='http://www.w3.org/2000/svg'/>"])
def test_what_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(RefusedMedia):
        card_picture(io.BytesIO(data))


def test_what_unpacks_into_too_much_is_refused_before_it_does() -> None:
    with pytest.raises(TooLarge, match="pixels"):
        card_picture(io.BytesIO(png(MAX_PIXELS, 2)))
    with pytest.raises(TooLarge, match="bytes"):
        card_picture(io.BytesIO(bytes(MAX_BYTES + 1)))


def test_a_jpeg_of_many_scans_is_refused_before_it_is_unpacked() -> None:
    """A few dozen bytes make a decoder go over the whole picture again."""
    out = io.BytesIO()
    Image.new("RGB", (64, 64)).save(out, "JPEG", progressive=True)
    whole = out.getvalue()
    scan = whole[whole.rindex(b"\xff\xda") : -2]
    assert card_picture(io.BytesIO(whole[:-2] + scan * 20 + whole[-2:])).width == 64
    with pytest.raises(RefusedMedia, match="scans"):
        card_picture(io.BytesIO(whole[:-2] + scan * MAX_SCANS + whole[-2:]))


def test_what_a_camera_noted_wrongly_is_passed_over() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    noted = exif.tobytes()
    for broken in (
        noted[:-5] + b"\xff" * 5,
        noted.replace(b"\x12\x01\x03\x00", b"\x12\x01\x02\x00"),
        noted[:12],
        b"Exif\0\0",
    ):
        out = io.BytesIO()
        Image.new("RGB", (40, 30)).save(out, "JPEG", exif=broken)
        made = card_picture(io.BytesIO(out.getvalue()))
        assert sorted((made.width, made.height)) == [30, 40]


@pytest.mark.parametrize("turn", range(1, 9))
def test_every_way_of_holding_a_camera_comes_upright(turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    out = io.BytesIO()
    picture = Image.new("RGB", (40, 30))
    picture.paste((255, 255, 255), (0, 0, 10, 30))
    picture.paste((255, 0, 0), (0, 0, 40, 8))
    picture.save(out, "PNG", exif=exif)
    with (
        Image.open(io.BytesIO(out.getvalue())) as found,
        Image.open(io.BytesIO(card_picture(io.BytesIO(out.getvalue())).data)) as made,
    ):
        want = ImageOps.exif_transpose(found).convert("RGB")
        assert made.size == want.size
        apart = ImageChops.difference(made.convert("RGB"), want)
        assert max(ImageStat.Stat(apart).mean) < 12
