"""A picture is sent whole, upright and small enough; what only pretends to be one is refused."""

import io
import random
import struct
import zlib

import pytest
from fakes.picture_files import png, png_of
from PIL import Image

from mlm.errors import UsageError
from mlm.repl.picture import MAX_SENT_BYTES, fit_picture


def file_of(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def gradient(width: int, height: int, mode: str = "RGB") -> Image.Image:
    return Image.linear_gradient("L").resize((width, height)).convert(mode)


@pytest.mark.parametrize("data", [png(), file_of(gradient(40, 30), "JPEG")], ids=["PNG", "JPEG"])
def test_a_small_picture_is_sent_as_it_is(data):
    picture, remark = fit_picture(data, "a.png")
    assert (picture.data, remark) == (data, "")
    assert opened(data).size == (picture.width, picture.height)


def test_a_photo_is_made_smaller_and_that_is_said():
    photo = file_of(gradient(4032, 3024), "JPEG", quality=95)
    picture, remark = fit_picture(photo, "photo.jpg")
    assert remark == "4032x3024 made 2048x1536 to send it"
    sent = opened(picture.data)
    assert (sent.format, sent.size) == ("JPEG", (2048, 1536))
    assert (picture.width, picture.height) == sent.size
    assert sent.getpixel((1000, 20))[0] < 20 < 235 < sent.getpixel((1000, 1515))[0]


def test_a_photo_that_lies_on_its_side_is_put_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # the first row is the right edge
    lying = Image.new("RGB", (3000, 1000), "white")
    lying.paste("black", (0, 0, 500, 1000))  # what is left of it is to be on top
    picture, remark = fit_picture(file_of(lying, "JPEG", exif=exif), "photo.jpg")
    assert remark == "1000x3000 made 683x2048 to send it"
    sent = opened(picture.data)
    assert sent.size == (683, 2048) and 0x0112 not in sent.getexif()
    assert sent.getpixel((300, 20))[0] < 20 and sent.getpixel((300, 2000))[0] > 235
    small, remark = fit_picture(file_of(lying.resize((30, 10)), "JPEG", exif=exif), "s.jpg")
    assert (small.width, small.height, remark) == (10, 30, "")


def test_noise_is_shrunk_until_it_is_small_in_bytes_too():
    noise = Image.frombytes("RGB", (1800, 1800), random.Random(1).randbytes(1800 * 1800 * 3))
    picture, remark = fit_picture(file_of(noise, "PNG"), "noise.png")
    assert len(picture.data) <= MAX_SENT_BYTES
    assert remark == f"1800x1800 made {picture.width}x{picture.height} to send it"


@pytest.mark.parametrize(
    ("colour", "kind", "mode"),
    [(b"\xff\0\0\x80", "PNG", "RGBA"), (b"\xff\0\0\xff", "JPEG", "RGB")],
    ids=["seen through", "opaque"],
)
def test_what_can_be_seen_through_stays_so(colour, kind, mode):
    picture, _ = fit_picture(png(2100, 30, colour), "a.png")
    sent = opened(picture.data)
    assert (sent.format, sent.mode, sent.size) == (kind, mode, (2048, 29))
    if mode == "RGBA":
        assert sent.getpixel((5, 5)) == (255, 0, 0, 128)


def test_of_a_moving_picture_the_first_image_is_sent_in_a_format_that_engines_know():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    moving = file_of(frames[0], "GIF", save_all=True, append_images=frames[1:])
    picture, remark = fit_picture(moving, "a.gif")
    assert remark == "the first image of it, 8x8, made a JPEG to send it"
    red, _, blue = opened(picture.data).getpixel((4, 4))
    assert red > 200 > 50 > blue


def test_a_webp_becomes_what_engines_know():
    picture, remark = fit_picture(file_of(gradient(30, 20), "WEBP"), "a.webp")
    assert remark == "30x20, made a JPEG to send it"
    assert opened(picture.data).format == "JPEG"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "I;16"])
def test_whatever_a_png_counts_in_it_can_be_made_smaller(mode):
    image = gradient(3000, 30)
    grey = image.convert("L")
    if mode == "I;16":
        levels = b"".join(struct.pack("<H", level * 257) for level in grey.tobytes())
        image = Image.frombytes("I;16", grey.size, levels)
    else:
        image = image.convert(mode)
    picture, _ = fit_picture(file_of(image, "PNG"), "a.png")
    sent = opened(picture.data).convert("L")
    assert sent.size == (2048, 20)
    assert sent.getpixel((1000, 0)) < 60 < 195 < sent.getpixel((1000, 19))


def test_a_jpeg_for_a_printer_becomes_one_for_a_screen():
    picture, _ = fit_picture(file_of(gradient(30, 20).convert("CMYK"), "JPEG"), "a.jpg")
    assert opened(picture.data).mode == "RGB"


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG\r\n\x1a\n rest",
        png()[:45],
        file_of(gradient(400, 300), "JPEG")[:2000],
        b"\xff\xd8\xff\xe0" + bytes(100),
        b"GIF89a" + b"\xff" * 100,
        b"RIFF\x10\0\0\0WEBPVP8 " + bytes(50),
        png_of(struct.pack(">IIBBBBB", 4, 3, 8, 2, 0, 0, 0), zlib.compress(b"too short")),
        png_of(struct.pack(">IIBBBBB", 0, 0, 8, 2, 0, 0, 0), b""),
    ],
    ids=[
        "a PNG's name",
        "half a PNG",
        "half a JPEG",
        "a JPEG's name",
        "GIF",
        "WebP",
        "short",
        "0x0",
    ],
)
def test_what_only_pretends_to_be_a_picture_is_refused(data):
    with pytest.raises(UsageError, match=r"cat\.png is no whole picture: ") as caught:
        fit_picture(data, "cat.png")
    assert caught.value.remedy and "BytesIO" not in caught.value.message


def test_a_few_bytes_that_claim_to_be_a_huge_picture_are_not_unpacked():
    bomb = png_of(struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0), zlib.compress(b""))
    with pytest.raises(UsageError, match="too large a picture: more than 50,000,000 pixels"):
        fit_picture(bomb, "bomb.png")
    large = png_of(struct.pack(">IIBBBBB", 9_000, 9_000, 8, 2, 0, 0, 0), zlib.compress(b""))
    with pytest.raises(UsageError, match="too large a picture: 9000x9000 pixels"):
        fit_picture(large, "large.png")


def test_a_line_is_no_picture():
    with pytest.raises(UsageError, match="too narrow to show anything: 1010x10 pixels"):
        fit_picture(png(1010, 10), "line.png")
