"""Reads pictures that strangers send. Only for `mlm.engine.sandbox`, which may be killed."""

import math
import warnings
from io import BytesIO
from typing import TYPE_CHECKING

import msgspec

from mlm.pictures import FORMATS, MAX_ASPECT, MAX_PIXELS, MAX_SHOWN_PIXELS

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_SIDE = 32_768  # dots


class Picture(msgspec.Struct, frozen=True):
    """Dots row by row, each a byte of red, of green and of blue."""

    width: int
    height: int
    rgb: bytes


class PictureError(ValueError):
    """The bytes are no picture, or one that cannot be taken."""


def read_picture(data: bytes) -> Picture:
    """Return the picture in a file; of a moving one, the first frame.

    It is upright, on white where it is transparent, and has 4 million dots at most.

    Raises:
        PictureError: it is none, or too large.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with (
            warnings.catch_warnings(action="ignore"),
            Image.open(BytesIO(data), "r", FORMATS) as file,
        ):
            _check_size(*file.size)
            file.draft("RGB", _fit(*file.size))  # a large JPEG is read at half its size or less
            scaled = _scale(file)
            ImageOps.exif_transpose(scaled, in_place=True)
            if scaled.has_transparency_data:
                scaled = _put_on_white(scaled)
            image = scaled.convert("RGB")
    except PictureError:
        raise
    except Image.DecompressionBombError:
        raise PictureError(f"it has more than {MAX_PIXELS // 1_000_000} megapixels") from None
    except UnidentifiedImageError:
        raise PictureError("it is no PNG, JPEG, GIF or WebP picture") from None
    except Exception as error:  # a parser of strangers' bytes can raise anything
        raise PictureError(
            f"it cannot be read: {str(error)[:200] or type(error).__name__}"
        ) from None
    return Picture(image.width, image.height, image.tobytes())


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        limit = f"{MAX_PIXELS // 1_000_000} megapixels and {MAX_SIDE} dots a side"
        raise PictureError(f"it has {width} by {height} dots, and {limit} are the most")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise PictureError(f"with {width} by {height} dots it is too narrow to show anything")


def _fit(width: int, height: int) -> tuple[int, int]:
    factor = min(1.0, math.sqrt(MAX_SHOWN_PIXELS / (width * height)))
    return max(1, int(width * factor)), max(1, int(height * factor))


def _scale(image: "Image") -> "Image":
    """Return the picture at a size that is handed on, with its transparency."""
    if image.mode.startswith("I"):  # 16 bits for each dot, of which only the upper ones count
        image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    elif image.mode in ("1", "P", "PA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    target = _fit(*image.size)
    return image.resize(target, reducing_gap=2.0) if target != image.size else image.copy()


def _put_on_white(image: "Image") -> "Image":
    from PIL import Image

    layer = image.convert("RGBA")
    page = Image.new("RGBA", layer.size, "white")
    page.alpha_composite(layer)
    return page
