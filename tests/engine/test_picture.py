"""Files of pictures, as strangers send them."""

import io
import random
from typing import Any

import pytest
from PIL import Image

from mlm.engine.picture import PictureError, read_picture
from mlm.engine.sandbox import Sandbox, SandboxError


def file_of(image: Image.Image, kind: str = "PNG", **more: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **more)
    return buffer.getvalue()


def dot(data: bytes) -> tuple[int, ...]:
    """Return the first dot of a picture in a file."""
    return tuple(read_picture(data).rgb[:3])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_the_usual_kinds_are_read(kind: str):
    picture = read_picture(file_of(Image.new("RGB", (40, 30), "white"), kind))
    assert (picture.width, picture.height) == (40, 30)
    assert picture.rgb == b"\xff" * 3 * 40 * 30


@pytest.mark.parametrize(
    ("mode", "color", "seen"),
    [
        ("RGBA", (255, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (255, 0, 0, 255), (255, 0, 0)),
        ("LA", (0, 0), (255, 255, 255)),
        ("L", 100, (100, 100, 100)),
        ("1", 1, (255, 255, 255)),
        ("I;16", 0x8000, (128, 128, 128)),
    ],
)
def test_every_way_to_write_colors_becomes_three_bytes(mode: str, color: Any, seen: tuple[int]):
    assert dot(file_of(Image.new(mode, (4, 4), color))) == seen


def test_a_photo_is_upright():
    image = Image.new("RGB", (40, 30), "black")
    image.paste("white", (0, 0, 20, 30))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: what is left in the file is above
    picture = read_picture(file_of(image, "JPEG", exif=exif))
    assert (picture.width, picture.height) == (30, 40)
    assert picture.rgb[:3] > b"\xf0" and picture.rgb[-3:] < b"\x10"


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_large_one_is_made_smaller(kind: str):
    picture = read_picture(file_of(Image.new("RGB", (4000, 3000)), kind))
    assert 3_000_000 < picture.width * picture.height <= 4_000_000
    assert picture.width / picture.height == pytest.approx(4 / 3, rel=0.01)


PNG = file_of(Image.frombytes("RGB", (40, 30), random.Random(1).randbytes(3600)))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"hello", "no PNG"),
        (file_of(Image.new("RGB", (4, 4)), "BMP"), "no PNG"),
        (PNG[: len(PNG) // 2], "cannot be read"),
        (PNG[:8] + b"\0" * 100, "."),
        (file_of(Image.new("1", (20_000, 20_000))), "megapixels"),
        (file_of(Image.new("1", (32_769, 1000))), "dots a side"),
        (file_of(Image.new("1", (1000, 2))), "too narrow"),
    ],
)
def test_what_is_none_or_too_much_is_refused(data: bytes, why: str):
    with pytest.raises(PictureError, match=why):
        read_picture(data)


def test_spoiled_bytes_never_end_the_reader():
    chance = random.Random(3)
    for kind in ("PNG", "JPEG", "GIF", "WEBP"):
        good = file_of(Image.frombytes("RGB", (40, 30), chance.randbytes(3600)), kind)
        for _ in range(150):
            bad = bytearray(good)
            for _ in range(chance.randint(1, 8)):
                bad[chance.randrange(len(bad))] = chance.randrange(256)
            try:
                picture = read_picture(bytes(bad))
            except PictureError:
                continue
            assert len(picture.rgb) == 3 * picture.width * picture.height


def test_the_sandbox_reads_pictures_and_outlives_bad_ones():
    sandbox = Sandbox("{{ messages[0].content }}")
    try:
        for _ in range(2):
            assert sandbox.read_picture(PNG).width == 40
            with pytest.raises(SandboxError, match="a picture cannot be taken"):
                sandbox.read_picture(b"hello")
        assert sandbox.render([{"role": "user", "content": "hi"}], None, {}) == "hi"
    finally:
        sandbox.stop()
