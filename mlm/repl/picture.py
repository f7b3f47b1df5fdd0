"""Pictures made fit to be sent: whole, upright, small enough, in a format that any server reads."""

import io
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mlm.errors import UsageError
from mlm.pictures import FORMATS, MAX_ASPECT, MAX_PICTURE_BYTES, MAX_PIXELS, media_type
from mlm.sessions.types import Picture
from mlm.units import format_size

if TYPE_CHECKING:
    from PIL.Image import Image

# What is sent: models see no more than this, and several have to fit into a request of 8 MiB.
MAX_SENT_BYTES = 1024**2
_SIDES = (2048, 1536, 1024, 768, 512)  # pixels; the first at which it is small enough is taken
_SENT_AS_THEY_ARE = ("PNG", "JPEG")  # engines do not know the others
_PLAIN_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
_QUALITY = 90  # of JPEG
_ORIENTATION = 0x0112  # the EXIF tag; 5 to 8 mean that it lies on its side


def fit_picture(data: bytes, name: str) -> tuple[Picture, str]:
    """Return the picture in a file as it is sent, and what was made of it ("": nothing to tell).

    Raises:
        UsageError: it is broken, or too large to be looked at.
        EngineMissing: what reads pictures is not installed.
    """
    from mlm.engine.extra import EngineMissing

    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError as error:
        raise EngineMissing("PIL") from error
    if len(data) > MAX_PICTURE_BYTES:
        raise _too_large(name, f"more than {format_size(MAX_PICTURE_BYTES)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of metadata; what is too large is refused below
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise _too_large(name, f"{width}x{height} pixels")
                if max(width, height) > MAX_ASPECT * min(width, height):
                    raise UsageError(
                        f"{name} is too narrow to show anything: {width}x{height} pixels",
                        remedy="cut out the part that matters",
                    )
                kind, turn = image.format, image.getexif().get(_ORIENTATION, 1)
                is_moving = bool(getattr(image, "is_animated", False))
                if _is_fit(image, data) and turn == 1:
                    image.load()
                    return Picture(name, width, height, data), ""
                if kind == "JPEG":  # while it is decoded, which is many times faster
                    image.thumbnail((_SIDES[0], _SIDES[0]))
                image.load()
                sent = _shrink(ImageOps.exif_transpose(_to_plain(image)))
    except UsageError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(name, f"more than {MAX_PIXELS:,} pixels") from error
    except Exception as error:  # Pillow raises whatever its parsers stumble over
        is_hopeless = isinstance(error, UnidentifiedImageError)
        why = "its beginning makes no sense" if is_hopeless else str(error) or type(error).__name__
        raise UsageError(
            f"{name} is no whole picture: {why}",
            remedy="open it in a viewer: it may have been cut off; PNG and JPEG are safest",
        ) from error
    before = (height, width) if turn >= 5 else (width, height)
    return Picture(name, *sent), _tell(before, sent, is_moving=is_moving, was_fit=kind)


def _too_large(name: str, size: str) -> UsageError:
    return UsageError(
        f"{name} is too large a picture: {size}", remedy="make it smaller; 2048x2048 is enough"
    )


def _is_fit(image: "Image", data: bytes) -> bool:
    is_small = max(image.size) <= _SIDES[0] and len(data) <= MAX_SENT_BYTES
    return is_small and image.format in _SENT_AS_THEY_ARE and image.mode in _PLAIN_MODES


def _to_plain(image: "Image") -> "Image":
    """Return the picture in RGB, with transparency if any of it can be seen through."""
    if image.mode.startswith("I"):  # 16 bits of grey
        image = image.point(lambda level: level * (1 / 256)).convert("L")
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        if clear.getchannel("A").histogram()[255] < clear.width * clear.height:
            return clear
    return image.convert("RGB")


def _shrink(image: "Image") -> tuple[int, int, bytes]:
    """Return width, height and file of a picture that may be sent."""
    for data in _encodings(image):
        if len(data) <= MAX_SENT_BYTES:
            break
    return *image.size, data


def _encodings(image: "Image") -> Iterator[bytes]:
    """Yield a picture as a file, ever smaller."""
    for side in _SIDES:
        image.thumbnail((side, side))
        file = io.BytesIO()
        if image.mode == "RGBA":
            image.save(file, "PNG")
        else:
            image.save(file, "JPEG", quality=_QUALITY)
        yield file.getvalue()


def _tell(
    before: tuple[int, int], sent: tuple[int, int, bytes], *, is_moving: bool, was_fit: str | None
) -> str:
    """Return what was made of a picture, if its owner should know."""
    width, height, data = sent
    first = "the first image of it, " if is_moving else ""
    was = f"{before[0]}x{before[1]}"
    if (width, height) != before:
        return f"{first}{was} made {width}x{height} to send it"
    kind = str(media_type(data)).removeprefix("image/").upper()
    if is_moving or kind != was_fit:
        return f"{first}{was}, made a {kind} to send it"
    return ""
