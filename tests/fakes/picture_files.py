"""Pictures to be shown, made by hand: a PNG is a few chunks."""

import struct
import zlib


def png(width: int = 4, height: int = 3, colour: bytes = b"\xff\0\0") -> bytes:
    """Return a picture of one colour: red, green and blue, or those and how opaque it is."""
    kind = {3: 2, 4: 6}[len(colour)]
    rows = (b"\0" + colour * width) * height
    return png_of(struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0), zlib.compress(rows))


def png_of(header: bytes, pixels: bytes) -> bytes:
    """Return a PNG that says and holds just this, whether it fits together or not."""
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
