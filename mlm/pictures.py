"""Pictures: which bytes are one, and how they travel inside JSON."""

import base64
import binascii
import re
from collections.abc import Iterable

MAX_PICTURE_BYTES = 32 * 1024**2  # of a file that somebody wants to show; what is sent is smaller
MAX_PICTURES = 16  # in a request
FORMATS = ("PNG", "JPEG", "GIF", "WEBP")  # Pillow's names of the kinds that are read
MAX_PIXELS = 50_000_000  # as many as today's phones make; a few kilobytes may claim far more
MAX_ASPECT = 100  # times as long as wide; beyond that nothing is to be seen
# What a model is shown. Those that look closest split a picture into 4,096 tokens of 28x28 pixels,
# which is 3.2 million; more would be thrown away there.
MAX_SHOWN_PIXELS = 4_000_000

_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}
_URI = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)?(?:;[\w.=+-]+)*;base64,", re.ASCII)

_HEAD_CHARS = 256  # megabytes of parameters would keep a server busy for a second


def media_type(data: bytes) -> str | None:
    """Return the kind of picture by its first bytes, as ``image/png``; None: no kind mlm reads."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), None)


def to_data_uri(data: bytes) -> str:
    """Return a picture as the URI that holds all of it.

    Raises:
        ValueError: it is no picture of a kind that mlm reads.
    """
    kind = media_type(data)
    if kind is None:
        raise ValueError("it is no PNG, JPEG, GIF or WebP picture")
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def to_content(text: str, pictures: Iterable[bytes] = ()) -> str | list[dict[str, object]]:
    """Return what a message of OpenAI's chat API holds: a text, with pictures before it if any."""
    parts: list[dict[str, object]] = [
        {"type": "image_url", "image_url": {"url": to_data_uri(data)}} for data in pictures
    ]
    return [*parts, {"type": "text", "text": text}] if parts else text


def from_data_uri(uri: str) -> bytes:
    """Return the picture that a URI holds. What the URI says of its kind is not believed.

    Raises:
        ValueError: it points elsewhere, is not base64, or holds no picture.
    """
    head = _URI.match(uri, 0, _HEAD_CHARS)
    if head is None:
        raise ValueError("it must hold the picture itself: data:image/png;base64,...")
    try:
        data = base64.b64decode(uri[head.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("it is not base64") from None
    if media_type(data) is None:
        raise ValueError("it holds no PNG, JPEG, GIF or WebP picture")
    return data
